//! What is asked: everything in place, a file, a receipt, or a run.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::evidence::{Claim, Evidence, Known, RUNS};
use super::places::{self, Place};
use super::report::{Code, Finding, Severity};
use super::subjects::Question;
use super::{Request, VerifyError};
use crate::commitment::Same;
use crate::history::runs::{self, NameError};
use crate::listing::ArtifactDigests;
use crate::receipt::check::is_run_id;
use crate::receipt::run_file::{RUN_FILE_SUFFIX, RunFileName};
use crate::workspace::Workspace;

/// Said of what lies at a path if nobody claims it.
pub(super) const NO_RECEIPT: &str = "no receipt is about it";
/// The fewest digits by which a receipt can be named.
const MIN_PREFIX: usize = 8;

/// What a question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Every output in place.
    Everything,
    /// What made this file? Relative to the workspace.
    File(Utf8PathBuf),
    /// The receipt whose id begins with these hexadecimal digits.
    Receipt(String),
    /// The run of that id.
    Run(String),
    /// That run, called by less than its id: by what could be the name of a file as well, which is not here. If a receipt claims
    /// that file, it is what is meant.
    Called {
        /// The run's id.
        run: String,
        /// The file. Relative to the workspace.
        file: Utf8PathBuf,
    },
}

impl What {
    /// Reads what a user typed, relative to `working_folder` (absolute, links resolved): a receipt's id (`sha256:…`, or
    /// at least eight digits of it), a run (its id, a beginning of it that only one has, its file, `latest` or `latest~N`), or a file.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Usage`] if it is none of these, or a file outside the workspace.
    pub fn parse(text: &str, workspace: &Workspace, working_folder: &Utf8Path) -> Result<Self, VerifyError> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            return match is_prefix(digits) {
                true => Ok(Self::Receipt(digits.to_owned())),
                false => Err(VerifyError::Usage(format!(
                    "`{text}` is no receipt: give `sha256:` and 8 to 64 lower-case hexadecimal digits"
                ))),
            };
        }
        let path = normal(&working_folder.join(text));
        let path = path.strip_prefix(workspace.root()).map(Utf8Path::to_owned);
        let is_here = path
            .as_ref()
            .is_ok_and(|path| workspace.absolute(path).symlink_metadata().is_ok());
        let run = Utf8Path::new(text)
            .file_name()
            .and_then(RunFileName::parse)
            .map(|name| name.run);
        if let (Some(run), Ok(path)) = (run, &path)
            && path.parent() == Some(Utf8Path::new(RUNS))
            && is_run_id(run)
        {
            return Ok(Self::Run(run.to_owned()));
        }
        if !is_here && is_run_id(text) {
            let file = workspace.absolute(&Utf8Path::new(RUNS).join(format!("{text}{RUN_FILE_SUFFIX}")));
            if file.symlink_metadata().is_ok() {
                return Ok(Self::Run(text.to_owned()));
            }
            if is_prefix(text) {
                return Ok(Self::Receipt(text.to_owned()));
            }
        }
        if !is_here
            && let Ok(file) = &path
            && let Some(run) = called(text, workspace)?
        {
            let file = file.clone();
            return Ok(Self::Called { run, file });
        }
        path.map(Self::File)
            .map_err(|_| VerifyError::Usage(format!("`{text}` is not in the workspace `{}`", workspace.root())))
    }

    /// The same where no file can be meant.
    ///
    /// # Errors
    ///
    /// As [`What::parse`].
    pub fn parse_receipts(text: &str, workspace: &Workspace, working_folder: &Utf8Path) -> Result<Self, VerifyError> {
        Ok(match Self::parse(text, workspace, working_folder)? {
            Self::Called { run, .. } => Self::Run(run),
            what => what,
        })
    }
}

/// The run that is called so in another way than by its whole id.
fn called(text: &str, workspace: &Workspace) -> Result<Option<String>, VerifyError> {
    // That there are no runs, or that their folder cannot be read, is said where it is known what they are wanted for.
    let ids = runs::run_ids(workspace).unwrap_or_default();
    match runs::find(&ids, text) {
        Ok(id) => Ok(Some(id.to_owned())),
        Err(NameError::NoRuns | NameError::Unknown(_)) => Ok(None),
        Err(error @ (NameError::TooFarBack { .. } | NameError::Ambiguous { .. })) => {
            Err(VerifyError::Usage(error.to_string()))
        }
    }
}

fn is_prefix(digits: &str) -> bool {
    let is_hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (MIN_PREFIX..=64).contains(&digits.len()) && is_hex
}

/// Takes `.` and `..` out by name alone: the file may be absent.
pub(crate) fn normal(path: &Utf8Path) -> Utf8PathBuf {
    use camino::Utf8Component;
    path.components().fold(Utf8PathBuf::new(), |mut normal, component| {
        match component {
            Utf8Component::CurDir => {}
            Utf8Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
        normal
    })
}

/// A question, and what was found while it was posed.
pub(super) struct Posed<'a> {
    pub(super) question: Question<'a>,
    pub(super) findings: Vec<Finding>,
}

/// Finds the files and receipts that are asked about.
pub(super) fn pose<'a>(
    request: &'a Request<'_>,
    evidence: &Evidence,
    key_severity: Severity,
) -> Result<Posed<'a>, VerifyError> {
    let all = evidence.claims();
    let mut findings = Vec::new();
    let (mut named, mut within) = (None, None);
    let mut chosen = None;
    let mut claims: BTreeMap<Utf8PathBuf, Vec<Claim>> = BTreeMap::new();
    let mut of_file = |path: &'a Utf8Path| {
        // Of a file in a folder that a stage made, the folder is asked about.
        let folder = folder_of(path, &all);
        within = folder.map(|_| path);
        let path = folder.unwrap_or(path);
        named = Some(path);
        let list = match all.get(path) {
            Some(list) => list.clone(),
            None => by_content(request, path, &all, &mut findings),
        };
        claims.insert(path.to_owned(), list);
    };
    let is_claimed = |path: &Utf8Path| all.contains_key(path) || folder_of(path, &all).is_some();
    match &request.what {
        What::File(path) => of_file(path),
        What::Called { file, .. } if is_claimed(file) => of_file(file),
        What::Everything => {
            claims = all
                .iter()
                .map(|(path, list)| (path.to_path_buf(), list.clone()))
                .collect()
        }
        What::Receipt(digits) => chosen = Some(by_digits(digits, evidence, &mut findings)?),
        What::Run(id) | What::Called { run: id, .. } => chosen = Some(of_run(id, evidence, &mut findings)),
    }
    for receipt in chosen.iter().flatten().map(|index| &evidence.receipts[*index]) {
        for subject in &receipt.statement.subject {
            let path = Utf8Path::new(&subject.name);
            let list = all.get(path).cloned().unwrap_or_default();
            claims.insert(path.to_owned(), list);
        }
        if receipt.signer.is_none() && request.trust.is_some_and(|trust| !trust.keys.is_empty()) {
            let finding = Finding::new(Code::Key, "the receipt asked for is by a key that is not trusted")
                .severity(key_severity)
                .file(&receipt.file)
                .line(receipt.line)
                .receipt(&receipt.id);
            findings.push(finding.differs("a trusted key", receipt.stranger()));
        }
    }
    let trusts_nobody = request.trust.is_none_or(|trust| trust.keys.is_empty());
    let question = Question {
        claims,
        chosen,
        named,
        within,
        key_severity,
        trusts_nobody,
        key: request.personal,
    };
    Ok(Posed { question, findings })
}

/// The folder, claimed by a receipt, that `path` lies in.
fn folder_of<'a>(path: &'a Utf8Path, all: &BTreeMap<&Utf8Path, Vec<Claim>>) -> Option<&'a Utf8Path> {
    if all.contains_key(path) {
        return None;
    }
    let is_folder = |claim: &Claim| claim.digests.is_folder();
    let mut above = path.ancestors().skip(1);
    above.find(|folder| all.get(folder).is_some_and(|claims| claims.iter().any(is_folder)))
}

/// A file that no receipt names may still be a copy of one that a receipt names.
fn by_content(
    request: &Request<'_>,
    path: &Utf8Path,
    all: &BTreeMap<&Utf8Path, Vec<Claim>>,
    findings: &mut Vec<Finding>,
) -> Vec<Claim> {
    let Place::File { digests: found, .. } = places::look_at(request.site, path) else {
        return Vec::new();
    };
    let found = ArtifactDigests::File(found);
    let is_it = |claim: &&Claim| found.compare(&claim.digests, request.personal) == Same::Yes;
    let claims = all.values().flatten().filter(is_it);
    let claims: Vec<Claim> = claims.copied().collect();
    if claims.is_empty() {
        let finding = Finding::new(Code::Absent, format!("{NO_RECEIPT}, by name or by content")).file(path);
        findings.push(finding.help("a raw input has no receipt of its own; `madmall verify OUTPUT` names its inputs"));
    }
    claims
}

fn by_digits(digits: &str, evidence: &Evidence, findings: &mut Vec<Finding>) -> Result<BTreeSet<usize>, VerifyError> {
    let found: BTreeSet<usize> = evidence
        .by_id
        .iter()
        .filter(|(id, _)| id.to_hex().starts_with(digits))
        .map(|(_, index)| *index)
        .collect();
    match found.len() {
        0 => {
            let message = format!("no receipt here has an id that begins with `{digits}`");
            findings.push(Finding::new(Code::Absent, message));
            Ok(found)
        }
        1 => Ok(found
            .into_iter()
            .flat_map(|index| with_stages(index, evidence))
            .collect()),
        count => Err(VerifyError::Usage(format!(
            "{count} receipts have an id that begins with `{digits}`: give more digits"
        ))),
    }
}

fn of_run(id: &str, evidence: &Evidence, findings: &mut Vec<Finding>) -> BTreeSet<usize> {
    // What says that something was erased is of no run, and has an id of its own.
    let is_tombstone =
        |receipt: &Known| receipt.statement.erasure().is_some() && receipt.statement.metadata().invocation_id == id;
    let tombstone = || evidence.receipts.iter().position(is_tombstone);
    match evidence.runs.get(id).copied().or_else(tombstone) {
        Some(index) => with_stages(index, evidence),
        None => {
            let message = format!("no receipt of the run `{id}` is here");
            findings.push(Finding::new(Code::Absent, message));
            BTreeSet::new()
        }
    }
}

/// A receipt; with a run's, those of its stages.
fn with_stages(index: usize, evidence: &Evidence) -> BTreeSet<usize> {
    let named = evidence.receipts[index].statement.receipts();
    let stages = named.filter_map(|(_, id)| evidence.named(id));
    stages.chain([index]).collect()
}
