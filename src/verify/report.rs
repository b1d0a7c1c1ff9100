//! What a verification found: findings with stable codes, what held, what failed, and what was not checked.

use camino::Utf8Path;
use serde::Serialize;

use crate::exit_code::ExitCode;
use crate::receipt::statement::ReceiptId;

/// The stable name of a kind of finding. Each has a section in `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// A line or a file of receipts is not in its one spelling.
    Json,
    /// A signature does not fit.
    Signature,
    /// A claim rests on a key that is not trusted.
    Key,
    /// Receipts do not link up.
    Chain,
    /// A file's bytes are not what a receipt says.
    Digest,
    /// What stands at a path is no file that may be opened.
    File,
    /// A commit has other bytes than a receipt says.
    Commit,
    /// A result is not what the pipeline of a commit gives.
    Pipeline,
    /// Files were not committed, and that was demanded.
    Uncommitted,
    /// A log of receipts contradicts itself or what is here.
    Log,
    /// The history does not extend what was seen of it before.
    Pin,
    /// Consent does not cover what was used.
    Consent,
    /// A proof of which events were used does not hold.
    Proof,
    /// It rests on withdrawn events, and the policy does not allow that.
    Withdrawn,
    /// An archive is not a bundle as it is written.
    Bundle,
    /// Running it again gave something else.
    Rerun,
    /// It could not be run again.
    NoRerun,
    /// An object of the store is not what its name says.
    Object,
    /// What was asked for, or anything to compare, is missing.
    Absent,
    /// A file or repository could not be read.
    Read,
    /// Files used were not committed.
    WarnUncommitted,
    /// The commit named is not here.
    WarnCommitGone,
    /// The working tree would give something else now.
    WarnStale,
    /// A later receipt claims other bytes.
    WarnOlder,
    /// Receipts of unknown keys, on which nothing asked for rests.
    WarnForeign,
    /// Receipts that the answer rests on are in no log.
    WarnUnlogged,
    /// A log lists receipts that were not here either when its checkpoint was made.
    WarnElsewhere,
    /// Running it again gave something else, within the tolerance that the pipeline declares.
    WarnTolerance,
    /// A file in place may be executed, and was not so when it was made; or the other way round.
    WarnMode,
    /// Something lies in the store that is no part of it.
    WarnStray,
    /// The tokens of events are keyed by another secret than before.
    WarnSecret,
    /// Something was erased.
    WarnErased,
    /// It rests on events that are withdrawn now.
    WarnWithdrawn,
}

impl Code {
    /// As it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "E-JSON",
            Self::Signature => "E-SIG",
            Self::Key => "E-KEY",
            Self::Chain => "E-CHAIN",
            Self::Digest => "E-DIGEST",
            Self::File => "E-FILE",
            Self::Commit => "E-COMMIT",
            Self::Pipeline => "E-PIPELINE",
            Self::Uncommitted => "E-UNCOMMITTED",
            Self::Log => "E-LOG",
            Self::Pin => "E-PIN",
            Self::Consent => "E-CONSENT",
            Self::Proof => "E-PROOF",
            Self::Withdrawn => "E-WITHDRAWN",
            Self::Bundle => "E-BUNDLE",
            Self::Rerun => "E-RERUN",
            Self::NoRerun => "E-NORERUN",
            Self::Object => "E-OBJECT",
            Self::Absent => "E-ABSENT",
            Self::Read => "E-READ",
            Self::WarnUncommitted => "W-UNCOMMITTED",
            Self::WarnCommitGone => "W-COMMIT-GONE",
            Self::WarnStale => "W-STALE",
            Self::WarnOlder => "W-OLDER",
            Self::WarnForeign => "W-FOREIGN",
            Self::WarnUnlogged => "W-UNLOGGED",
            Self::WarnElsewhere => "W-ELSEWHERE",
            Self::WarnTolerance => "W-TOLERANCE",
            Self::WarnMode => "W-MODE",
            Self::WarnStray => "W-STRAY",
            Self::WarnSecret => "W-SECRET",
            Self::WarnErased => "W-ERASED",
            Self::WarnWithdrawn => "W-WITHDRAWN",
        }
    }

    /// Every code, for the page that explains them.
    pub const ALL: [Self; 33] = [
        Self::Json,
        Self::Signature,
        Self::Key,
        Self::Chain,
        Self::Digest,
        Self::File,
        Self::Commit,
        Self::Pipeline,
        Self::Uncommitted,
        Self::Log,
        Self::Pin,
        Self::Consent,
        Self::Proof,
        Self::Withdrawn,
        Self::Bundle,
        Self::Rerun,
        Self::NoRerun,
        Self::Object,
        Self::Absent,
        Self::Read,
        Self::WarnUncommitted,
        Self::WarnCommitGone,
        Self::WarnStale,
        Self::WarnOlder,
        Self::WarnForeign,
        Self::WarnUnlogged,
        Self::WarnElsewhere,
        Self::WarnTolerance,
        Self::WarnMode,
        Self::WarnStray,
        Self::WarnSecret,
        Self::WarnErased,
        Self::WarnWithdrawn,
    ];

    /// How bad it is, unless the finding says otherwise ([`Code::Key`]).
    #[must_use]
    pub const fn severity(self) -> Severity {
        match self {
            Self::Rerun => Severity::NotReproduced,
            Self::Absent | Self::Read | Self::Key | Self::NoRerun => Severity::Inconclusive,
            Self::WarnUncommitted
            | Self::WarnCommitGone
            | Self::WarnStale
            | Self::WarnOlder
            | Self::WarnForeign
            | Self::WarnUnlogged
            | Self::WarnElsewhere
            | Self::WarnTolerance
            | Self::WarnMode
            | Self::WarnStray
            | Self::WarnSecret
            | Self::WarnErased
            | Self::WarnWithdrawn => Severity::Warning,
            _ => Severity::Failure,
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Something was changed: code 4.
    Failure,
    /// Running it again gave something else: code 5.
    NotReproduced,
    /// It cannot be told: code 6.
    Inconclusive,
    /// Worth knowing.
    Warning,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Its stable code.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is so, in a sentence.
    pub message: String,
    /// The file it is about, relative to the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The line of that file, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The receipt that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// What should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Finding {
    /// What a finding has beside its message, each with its title, in the order in which they are read.
    pub(super) fn details(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let details = [
            ("expected", &self.expected),
            ("found", &self.found),
            ("receipt", &self.receipt),
            ("help", &self.help),
        ];
        details
            .into_iter()
            .filter_map(|(title, value)| Some((title, value.as_deref()?)))
    }

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            file: None,
            line: None,
            receipt: None,
            expected: None,
            found: None,
            help: None,
        }
    }

    pub(crate) fn file(mut self, file: impl AsRef<Utf8Path>) -> Self {
        self.file = Some(file.as_ref().to_string());
        self
    }

    pub(crate) fn line(mut self, line: usize) -> Self {
        self.line = Some(line);
        self
    }

    pub(crate) fn receipt(mut self, receipt: &ReceiptId) -> Self {
        self.receipt = Some(receipt.to_string());
        self
    }

    pub(crate) fn differs(mut self, expected: impl Into<String>, found: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self.found = Some(found.into());
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

/// Whether a promise held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was checked and holds.
    Held,
    /// It was checked and does not hold.
    Failed,
    /// It was not, or could not be, checked.
    #[default]
    NotChecked,
}

/// What a verifier can promise, each by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Assurance {
    /// The receipts are signed by trusted keys.
    pub signature: State,
    /// The files in place are those that the receipts name.
    pub subject: State,
    /// The receipts link back to raw inputs.
    pub chain: State,
    /// The receipts are in an append-only history.
    pub log: State,
    /// That history extends what was seen before.
    pub pin: State,
    /// Others have seen that history.
    pub witness: State,
    /// The commits named have the files named.
    pub commit: State,
    /// Consent covers what was used.
    pub consent: State,
    /// Running it again gives the same.
    pub rerun: State,
}

impl Assurance {
    /// Each promise with its name, in a fixed order.
    #[must_use]
    pub const fn list(&self) -> [(&'static str, State); 9] {
        [
            ("signature", self.signature),
            ("subject", self.subject),
            ("chain", self.chain),
            ("log", self.log),
            ("pin", self.pin),
            ("witness", self.witness),
            ("commit", self.commit),
            ("consent", self.consent),
            ("rerun", self.rerun),
        ]
    }
}

/// The verdict on one file in place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Relative to the workspace.
    pub path: String,
    /// No receipt names the file, but it has the bytes of this output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_of: Option<String>,
    /// `sha256:…` of a file's bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// `dirHash:…` of a folder's files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dir_hash: Option<String>,
    /// `hmacSha256:…` or `hmacDirHash:…` of what is personal, in place of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyed: Option<String>,
    /// The id of the receipt that says so.
    pub receipt: String,
    /// The stage that made it.
    pub stage: String,
    /// The pipeline file of that stage.
    pub pipeline_file: String,
    /// The run in which it was made.
    pub run: String,
    /// The commit that was checked out then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether files used were not as in that commit.
    pub uncommitted: bool,
    /// When its stage ended.
    pub finished_on: String,
    /// Whose key signed it, and what that is called.
    pub signer: String,
    /// The keyid.
    pub keyid: String,
    /// The raw inputs that it comes from, with the digest of each.
    pub sources: Vec<Source>,
}

/// A raw input: nothing that is recorded made it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Source {
    /// A path or pattern in the workspace.
    pub path: String,
    /// `sha256:…`, or `dirHash:…` of several files.
    pub digest: String,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The version of this object.
    pub version: u32,
    /// Whom the verdict rests on; none if nobody is trusted.
    pub trust: Option<String>,
    /// How many receipts were read.
    pub receipts: usize,
    /// The verdict on each final artifact that is in place.
    pub artifacts: Vec<Artifact>,
    /// Worst first, then by code and file.
    pub findings: Vec<Finding>,
    /// What held, what failed, what was not checked.
    pub assurance: Assurance,
    /// What was not checked, in words.
    pub not_checked: Vec<String>,
    /// What running it again gave, a stage each in the order of the plan; none if that was not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rerun: Option<Vec<RerunStage>>,
}

/// A stage that was to be run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RerunStage {
    /// Its name.
    pub stage: String,
    /// The receipt whose claim was to be tried.
    pub receipt: String,
    /// The commit whose files were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// What came of it.
    pub verdict: RerunVerdict,
    /// Why it was not compared, or how it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The outputs that are not bit for bit as the receipt says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<RerunOutput>,
    /// What else was not as it was: tools, variables, versions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub otherwise: Vec<String>,
}

/// What running a stage again gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RerunVerdict {
    /// The same bits.
    Identical,
    /// Other bits, but no number is further off than the pipeline allows.
    WithinTolerance,
    /// Something else.
    Differs,
    /// It could not be run, or what it gave could not be compared.
    NotCompared,
}

/// An output that came out otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RerunOutput {
    /// Its path.
    pub path: String,
    /// `sha256:…` as the receipt has it.
    pub expected: String,
    /// `sha256:…` of what came out now.
    pub found: String,
    /// The first place that differs, in words; or that no number is further off than the pipeline allows.
    pub place: String,
    /// Whether that is what is said.
    #[serde(skip)]
    pub is_within: bool,
}

impl Report {
    /// 4 if anything was changed, else 5 if it was not reproduced, else 6 if something cannot be told, else 0.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.findings.iter().map(|finding| finding.severity).min() {
            Some(Severity::Failure) => ExitCode::VerificationFailed,
            Some(Severity::NotReproduced) => ExitCode::NotReproduced,
            Some(Severity::Inconclusive) => ExitCode::Inconclusive,
            Some(Severity::Warning) | None => ExitCode::Success,
        }
    }

    /// One versioned object for other programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("texts, numbers and lists have a spelling");
        value["exitCode"] = self.exit_code().number().into();
        value
    }
}
