//! Receipts and artifacts, checked again from nothing.
//!
//! Knows the receipts, the files and git; of plans only what resolving one gives (for `--at`), and nothing of
//! execution. It trusts no cache, opens nothing for writing and no socket, and reports everything that it finds.
//!
//! ```text
//! runs/ ─ evidence ─▶ receipts ─ authority ─ chain ─▶ links     strict parse, signature, what the key may sign, links
//!                        │
//!                        ├─ history  ─▶ logs under runs/log, from their files alone; then `pins`, what was seen of them
//!                        ├─ subjects ─▶ files in place, by all their digests
//!                        ├─ commits  ─▶ files of the commits that the receipts name
//!                        ├─ secrets  ─▶ by what the tokens of events are keyed
//!                        ├─ consent  ─▶ who has read raw events, and for what purpose
//!                        ├─ withdrawn ▶ what was let in, against what is withdrawn now
//!                        ├─ excerpt  ─▶ what is in a bundle must be what receipts name
//!                        └─ conform  ─▶ stages of the commit asked for (`--at`), or of the working tree (a warning)
//! ```

mod authority;
mod chain;
mod commits;
mod conform;
mod consent;
mod evidence;
mod excerpt;
mod heads;
mod history;
mod ingests;
mod kept;
mod logs;
mod membership;
mod modes;
mod moved;
mod pins;
mod places;
mod question;
mod render;
pub mod report;
mod secrets;
mod source;
mod subjects;
mod tombstones;
mod withdrawn;

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::commitment::PersonalKey;
use crate::consent::token::Tokens;
use crate::exit_code::ExitCode;
use crate::git;
use crate::plan::Plan;
use crate::receipt::statement::{ReceiptId, Statement};
use crate::receipt::trust::{OnWithdrawn, Trust, TrustRoot, TrustedKey};
use crate::tree::{Site, Tree, TreeError};
use commits::Commits;
use evidence::Evidence;
use logs::Logs;
use question::NO_RECEIPT;
use report::{Assurance, Code, Finding, Report, Severity, State};
use source::Pipelines;
use subjects::{Answer, Question};

pub use excerpt::refused_bundle;
pub use ingests::{Ingest, ingests};
pub use membership::{OwnKey, ProofAssurance, ProofReport, ProofRequest, verify_proof};
pub use pins::Pin;
pub use question::What;
pub(crate) use question::normal;
pub use render::{Format, Line, Tone, finding_lines};

/// How a pipeline file of a tree is resolved; the error is for the reader.
pub type Resolve<'a> = dyn Fn(&dyn Tree, &Utf8Path) -> Result<Plan, String> + 'a;

/// What is to be verified, and on whose word.
pub struct Request<'a> {
    /// Where receipts and files lie: a folder, or a bundle.
    pub site: &'a dyn Site,
    /// What the question is about.
    pub what: What,
    /// Whom to believe; with nobody, nothing can be concluded.
    pub trust: Option<&'a Trust>,
    /// The commit whose pipeline must give what is here.
    pub at: Option<&'a str>,
    /// Where logs were seen before: they must have been extended since.
    pub pins: &'a [Pin],
    /// Whether results from uncommitted files fail.
    pub require_clean: bool,
    /// By what the tokens of events are made, if the caller has the secret.
    pub tokens: Option<&'a Tokens>,
    /// What the digests of what is personal are keyed by, if the caller has the secret.
    pub personal: Option<&'a PersonalKey>,
    /// How to resolve a pipeline file.
    pub resolve: &'a Resolve<'a>,
}

/// Why nothing could be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder of receipts cannot be read.
    #[error("cannot verify what lies in `{path}`")]
    Read {
        /// Relative to the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: TreeError,
    },
    /// What was asked for is not one thing.
    #[error("{0}")]
    Usage(String),
}

impl VerifyError {
    /// How the command ends.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Read { .. } => ExitCode::Environment,
            Self::Usage(_) => ExitCode::Refused,
        }
    }
}

/// Verifies what is asked, from nothing.
///
/// # Errors
///
/// [`VerifyError`] if the folder of receipts cannot be read, or what is asked for names several things. Everything else
/// is a finding of the report.
pub fn verify(request: &Request<'_>) -> Result<Report, VerifyError> {
    examine(request).map(|(report, _)| report)
}

/// Whether nobody has a say about the file that `report` was asked about: no receipt claims it, and none that could is damaged or gone.
#[must_use]
pub fn is_nobodys(report: &Report) -> bool {
    let is_failure = |finding: &Finding| finding.severity == Severity::Failure;
    let is_said = |finding: &Finding| finding.code == Code::Absent && finding.message.contains(NO_RECEIPT);
    report.findings.iter().any(is_said) && !report.findings.iter().any(is_failure)
}

/// A receipt that an answer rests on.
#[derive(Clone, Debug)]
pub struct Rested {
    /// Its id.
    pub id: ReceiptId,
    /// The file it stands in, relative to the site.
    pub file: Utf8PathBuf,
    /// Whether a trusted key signed it.
    pub is_trusted: bool,
    /// Whether it is what was asked about, or made what was; the others made the inputs of these.
    pub is_asked: bool,
    /// What it says.
    pub statement: Statement,
}

/// So often the answer is looked for, if each time something is published meanwhile.
const MOST_LOOKS: usize = 5;

/// Verifies what is asked, and gives the receipts that the answer rests on as well.
///
/// Receipts are read first, then the logs that list them, then the files that they speak of. What was published in between is missing among
/// the receipts, as if it had been taken away: an answer that is no success counts only if nothing was.
///
/// # Errors
///
/// As [`verify`].
pub fn examine(request: &Request<'_>) -> Result<(Report, Vec<Rested>), VerifyError> {
    let mut looks = 1;
    loop {
        let (report, rested, files) = look(request)?;
        if report.exit_code() == ExitCode::Success || looks == MOST_LOOKS || evidence::list(request.site)?.0 == files {
            return Ok((report, rested));
        }
        looks += 1;
    }
}

/// The same, of what lies here at this moment; with the files of receipts that were read for it.
fn look(request: &Request<'_>) -> Result<(Report, Vec<Rested>, Vec<Utf8PathBuf>), VerifyError> {
    let trusted = request.trust.map_or(&[][..], |trust| &trust.keys);
    let key_severity = match request.trust.map(|trust| &trust.root) {
        Some(TrustRoot::Given { .. }) => Severity::Failure,
        _ => Severity::Inconclusive,
    };
    let (mut evidence, mut findings) = evidence::gather(request.site, trusted)?;
    let (logs, misplaced) = Logs::gather(request.site, request.trust)?;
    authority::apply(&mut evidence, trusted, &logs);
    evidence.index();
    findings.extend(chain::check(&evidence, key_severity));
    if trusted.is_empty() {
        findings.push(nobody_is_trusted());
    }
    let posed = question::pose(request, &evidence, key_severity)?;
    findings.extend(posed.findings);
    let places = posed.question.look(request.site);
    let answer = posed.question.answer(request.site, &evidence, &places);
    let basis = match request.site.is_excerpt() {
        // Everything in a bundle is there because the run that it was made for rests on it.
        true => evidence.trusted(),
        false => basis(&evidence, &posed.question, &answer),
    };
    // That the log of a failed stage is unchanged does not answer a question about everything.
    let counts =
        |maker: usize| request.what != What::Everything || evidence.receipts[maker].statement.is_stage_success();
    let was_refuted = answer
        .findings
        .iter()
        .any(|finding| finding.severity == Severity::Failure);
    if !was_refuted && !answer.makers.values().any(|(maker, _)| counts(*maker)) {
        findings.push(nothing_compared(request, &evidence));
    }
    let ties = tie_to_commits(request, &evidence, &basis, &answer);
    findings.extend(ties.findings);
    let history = history::check(&logs, &evidence, &basis);
    findings.extend(misplaced);
    findings.extend(history.findings);
    let pinned = pins::check(request.pins, &logs, &evidence, &basis);
    findings.extend(pinned.findings);
    let consents = consent::check(&evidence, &basis, request.personal);
    let untold = consents.not_checked();
    findings.extend(consents.findings);
    findings.extend(secrets::check(&evidence));
    findings.extend(tombstones::check(&evidence, &basis));
    let on_withdrawn = request.trust.map_or(OnWithdrawn::Warn, |trust| trust.on_withdrawn);
    let roots = roots(request.site, &evidence, &posed.question, &answer);
    let withdrawn = withdrawn::check(request, &evidence, &roots, on_withdrawn);
    findings.extend(withdrawn.findings);
    findings.extend(foreign(&evidence, &answer));
    findings.extend(answer.findings.iter().cloned());
    findings.extend(excerpt::check(request.site, &evidence, &posed.question)?);
    let assurance = Assurance {
        log: history.state,
        pin: pinned.state,
        ..assure(&findings, &basis, &answer, ties.state)
    };
    findings.sort_by(|a, b| finding_order(a).cmp(&finding_order(b)));
    findings.dedup();
    let mut not_checked = answer.not_checked.clone();
    not_checked.extend(ties.not_checked);
    not_checked.extend(history.not_checked);
    not_checked.extend(pinned.not_checked);
    not_checked.extend(withdrawn.not_checked);
    not_checked.extend(untold);
    not_checked.extend(NOT_YET.iter().map(|&text| text.to_owned()));
    let report = Report {
        version: 1,
        trust: request.trust.map(Trust::describe),
        receipts: evidence.receipts.len(),
        artifacts: source::artifacts(&evidence, &answer, trusted, &posed.question),
        findings,
        assurance,
        not_checked,
        rerun: None,
    };
    let files = std::mem::take(&mut evidence.files);
    let rested = rested(evidence, &basis, posed.question.chosen.as_ref());
    Ok((report, rested, files))
}

fn rested(evidence: Evidence, basis: &[usize], chosen: Option<&BTreeSet<usize>>) -> Vec<Rested> {
    let in_basis = |(index, _): &(usize, _)| basis.binary_search(index).is_ok();
    let receipts = evidence.receipts.into_iter().enumerate().filter(in_basis);
    let rested = receipts.map(|(index, receipt)| Rested {
        id: receipt.id,
        file: receipt.file,
        is_trusted: receipt.signer.is_some(),
        is_asked: chosen.is_none_or(|chosen| chosen.contains(&index)),
        statement: receipt.statement,
    });
    rested.collect()
}

/// The trusted receipts that the answer rests on: those that made what is here or were asked for, and all before them.
fn basis(evidence: &Evidence, question: &Question<'_>, answer: &Answer) -> Vec<usize> {
    let chosen = question.chosen.iter().flatten().copied();
    let trusted = chosen.filter(|index| evidence.receipts[*index].signer.is_some());
    let makers = answer.present().map(|(maker, _)| maker);
    evidence.with_ancestors(makers.chain(trusted))
}

/// The trusted receipts that made what is here, with what they claim, or were asked for; of a bundle all, as in [`basis`]. Not those of
/// stages that failed: they made nothing, and their logs stay where they are when the stage has been run again.
fn roots(site: &dyn Site, evidence: &Evidence, question: &Question<'_>, answer: &Answer) -> Vec<withdrawn::Resting> {
    let chosen = match site.is_excerpt() {
        true => evidence.trusted(),
        false => question.chosen.iter().flatten().copied().collect(),
    };
    let trusted = chosen
        .into_iter()
        .filter(|index| evidence.receipts[*index].signer.is_some());
    let makers = answer.present().map(|(maker, claimed)| (maker, Some(claimed)));
    let roots = makers.chain(trusted.map(|index| (index, None)));
    roots
        .filter(|(index, _)| evidence.receipts[*index].statement.is_stage_success())
        .collect()
}

/// Compares with the commits that the receipts name, then with the one asked for or else with the working tree.
fn tie_to_commits(request: &Request<'_>, evidence: &Evidence, basis: &[usize], answer: &Answer) -> Commits {
    let repository = request.site.folder().map(git::open).transpose();
    let repository = match &repository {
        Ok(Some(Some(repository))) => Ok(repository),
        Ok(Some(None) | None) => Err("there is no git repository here".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let named = repository.as_ref().map(|r| *r).map_err(String::as_str);
    let mut ties = commits::check(evidence, basis, named, request);
    let pipelines = Pipelines {
        request,
        evidence,
        basis,
        answer,
    };
    let findings = match request.at {
        Some(revision) => {
            let (state, findings) = pipelines.check_at(revision, repository);
            ties.state = state;
            findings
        }
        None if request.site.is_excerpt() => {
            let note = "definition: that the pipeline files give the stages that ran (`--at COMMIT` in a clone does)";
            ties.not_checked.push(note.to_owned());
            Vec::new()
        }
        None => pipelines.check_working_tree(),
    };
    ties.findings.extend(findings);
    ties
}

/// What this version does not look at, whatever is asked.
const NOT_YET: [&str; 3] = [
    "witness: nobody else says what they saw of the history",
    "consent: that ingest enforced it is its receipt's word",
    "rerun: nothing was run again",
];

fn finding_order(finding: &Finding) -> (Severity, &'static str, Option<&str>, Option<usize>, &str) {
    let file = finding.file.as_deref();
    (
        finding.severity,
        finding.code.as_str(),
        file,
        finding.line,
        &finding.message,
    )
}

fn assure(findings: &[Finding], basis: &[usize], answer: &Answer, commit: State) -> Assurance {
    let failed = |codes: &[Code]| {
        let is_one = |f: &Finding| f.severity == Severity::Failure && codes.contains(&f.code);
        findings.iter().any(is_one)
    };
    let state = |codes: &[Code], checked: bool| match (failed(codes), checked) {
        (true, _) => State::Failed,
        (false, true) => State::Held,
        (false, false) => State::NotChecked,
    };
    Assurance {
        signature: state(&[Code::Signature, Code::Json, Code::Key], !basis.is_empty()),
        subject: state(&[Code::Digest, Code::File], !answer.makers.is_empty()),
        chain: state(&[Code::Chain], !basis.is_empty()),
        consent: state(&[Code::Consent, Code::Withdrawn], false),
        commit: match failed(&[Code::Commit, Code::Pipeline, Code::Uncommitted]) {
            true => State::Failed,
            false => commit,
        },
        ..Assurance::default()
    }
}

fn nobody_is_trusted() -> Finding {
    Finding::new(Code::Key, "nobody is trusted, so no receipt proves anything")
        .help("name a public key with `--trust`, or make your own with `madmall key`")
}

/// Said where receipts were asked for, and none of the files that they claim is here.
pub(crate) const NOTHING_COMPARED: &str = "no trusted receipt and no file here could be compared for what was asked";

fn nothing_compared(request: &Request<'_>, evidence: &Evidence) -> Finding {
    if evidence.receipts.is_empty() {
        return Finding::new(
            Code::Absent,
            "there are no receipts in `runs/`: nothing could be compared",
        )
        .help("go to the project's folder; if nothing has run there yet, `madmall run PIPELINE` makes them");
    }
    let message = match request.what {
        What::Everything if request.site.is_excerpt() => {
            let message = "the bundle holds no artifact that a trusted receipt claims: no bytes could be compared";
            return Finding::new(Code::Absent, message)
                .help("`madmall bundle --artifacts` puts the outputs in; receipts, signatures and logs were checked all the same");
        }
        What::Everything => "no file here has the bytes that a trusted receipt claims: nothing holds",
        _ => NOTHING_COMPARED,
    };
    Finding::new(Code::Absent, message)
}

/// One finding for each unknown key on whose receipts nothing asked for rests, and for each that signed what it may not.
fn foreign(evidence: &Evidence, answer: &Answer) -> Vec<Finding> {
    let mut by_key: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (index, receipt) in evidence.receipts.iter().enumerate() {
        if receipt.signer.is_none() && !answer.blamed.contains(&index) {
            by_key
                .entry((receipt.keyid, receipt.limit.is_some()))
                .or_default()
                .push(index);
        }
    }
    let describe = |((keyid, _), indexes): ((_, bool), Vec<usize>)| {
        let first = &evidence.receipts[indexes[0]];
        let count = indexes.len();
        let why = first.limit.as_deref().unwrap_or("which is not trusted");
        let message = format!("{count} receipts are by key {keyid}, {why}; nothing asked for rests on them");
        Finding::new(Code::WarnForeign, message).file(&first.file)
    };
    by_key.into_iter().map(describe).collect()
}

/// The name of the key that signed, for people.
fn signer_name(trusted: &[TrustedKey], signer: Option<usize>) -> String {
    signer
        .and_then(|index| trusted.get(index))
        .map_or("nobody who is trusted", |key| key.name.as_str())
        .to_owned()
}
