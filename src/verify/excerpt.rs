//! A bundle: what is in it is there because a receipt speaks of it, and has to be what that receipt says.

use std::collections::BTreeMap;

use camino::Utf8Path;

use super::VerifyError;
use super::evidence::{Evidence, failed};
use super::report::{Assurance, Code, Finding, Report};
use super::subjects::Question;
use crate::bundle::BundleError;
use crate::digest::Digests;
use crate::receipt::digests::file_digests;
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::Trust;
use crate::tree::{Below, Site};

/// Checks the inputs and definitions of a bundle; outputs are compared as those in a folder are. Nothing to do with a folder, where
/// files may lie that no receipt speaks of.
pub(super) fn check(
    site: &dyn Site,
    evidence: &Evidence,
    question: &Question<'_>,
) -> Result<Vec<Finding>, VerifyError> {
    let Some(run) = site.excerpt_of() else {
        return Ok(Vec::new());
    };
    let mut findings: Vec<Finding> = of_run(run, evidence, question).into_iter().collect();
    let named = named(evidence);
    let mut unlisted = 0;
    for Below { path, .. } in site.files_below("".into()).map_err(|source| failed("", source))? {
        // A file of a folder is compared with the folder.
        let is_claimed = |above: &Utf8Path| {
            let is_folder = |claim: &super::evidence::Claim| claim.digests.is_folder();
            let claims = question.claims.get(above);
            claims.is_some_and(|claims| claims.iter().any(is_folder))
        };
        if question.claims.contains_key(path.as_path()) || path.ancestors().skip(1).any(is_claimed) {
            continue;
        }
        if findings.len() >= MAX_FAULTS {
            unlisted += 1;
            continue;
        }
        let found = site.digests(&path).map_err(|source| failed(&path, source))?;
        let Some(claims) = named.get(path.as_path()) else {
            let message = "is in the bundle, and no receipt in it names it";
            findings.push(Finding::new(Code::Bundle, message).file(&path));
            continue;
        };
        let is_trusted = |claim: &&Claim| claim.is_trusted;
        if claims.iter().any(|claim| claim.digests == found && claim.is_trusted) {
            continue;
        }
        if let Some(claim) = claims.iter().find(is_trusted) {
            let message = "was changed: no trusted receipt names the bytes that are in the bundle";
            let finding = Finding::new(Code::Digest, message).file(&path).receipt(&claim.receipt);
            findings.push(finding.differs(claim.digests.sha256.to_string(), found.sha256.to_string()));
        } else if let Some(claim) = claims.last().filter(|_| !question.trusts_nobody) {
            // Nothing that holds rests on it, but whoever unpacks the bundle has it beside what holds.
            let finding = Finding::new(Code::Key, "only receipts by keys that are not trusted name it");
            findings.push(
                finding
                    .severity(question.key_severity)
                    .file(&path)
                    .receipt(&claim.receipt),
            );
        }
    }
    if unlisted > 0 {
        let message = format!("{unlisted} more files in the bundle were not compared with what receipts used");
        findings.push(Finding::new(Code::Bundle, message));
    }
    Ok(findings)
}

/// What is wrong with the receipt of the run that a bundle was made for: with others that hold it would be taken for one that does.
fn of_run(run: &str, evidence: &Evidence, question: &Question<'_>) -> Option<Finding> {
    let Some(own) = evidence.runs.get(run).map(|index| &evidence.receipts[*index]) else {
        let message = format!("the receipt of the run that it was made for, `{run}`, is not in it");
        return Some(Finding::new(Code::Bundle, message));
    };
    if own.signer.is_some() || question.trusts_nobody {
        return None;
    }
    let message = format!("the run that the bundle was made for, `{run}`, is by a key that is not trusted");
    let finding = Finding::new(Code::Key, message).severity(question.key_severity);
    let finding = finding
        .file(&own.file)
        .receipt(&own.id)
        .differs("a trusted key", own.stranger());
    Some(finding.help("if you know whose key that is, name it with `--trust`"))
}

/// So many files are each said to be wrong; of the others, only how many they are.
const MAX_FAULTS: usize = 100;

/// That a receipt used a file with certain bytes.
struct Claim {
    receipt: ReceiptId,
    digests: Digests,
    is_trusted: bool,
}

/// What receipts used, by path.
fn named(evidence: &Evidence) -> BTreeMap<&Utf8Path, Vec<Claim>> {
    let mut named: BTreeMap<&Utf8Path, Vec<Claim>> = BTreeMap::new();
    for receipt in &evidence.receipts {
        for dependency in receipt.statement.dependencies() {
            if let Some(digests) = file_digests(dependency) {
                named.entry(Utf8Path::new(&dependency.name)).or_default().push(Claim {
                    receipt: receipt.id,
                    digests,
                    is_trusted: receipt.signer.is_some(),
                });
            }
        }
    }
    named
}

/// The report on a bundle that is not taken.
#[must_use]
pub fn refused_bundle(file: &Utf8Path, error: &BundleError, trust: Option<&Trust>) -> Report {
    let code = match error {
        BundleError::Read(_) => Code::Read,
        _ => Code::Bundle,
    };
    let finding = Finding::new(code, error.to_string()).file(file);
    Report {
        version: 1,
        trust: trust.map(Trust::describe),
        receipts: 0,
        artifacts: Vec::new(),
        findings: vec![match error.help() {
            Some(help) => finding.help(help),
            None => finding,
        }],
        assurance: Assurance::default(),
        rerun: None,
        not_checked: vec!["nothing in the bundle was looked at".to_owned()],
    }
}
