//! What receipts can show of consent: nobody but `ingest` has read raw or rejected events, and what was let in for one purpose
//! is not used for another. That `ingest` itself did what it should is its receipt's word.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::evidence::{Evidence, Known};
use super::report::{Code, Finding};
use crate::receipt::statement::{CommandRecord, Resource, Role};

/// The built-in that reads raw events.
const INGEST: &str = "ingest";
/// Its input of raw events.
const EVENTS: &str = "events";
/// Its output of what was rejected.
const REJECTS: &str = "rejects";

/// A pipeline that states no purpose.
const NONE: &str = "none";

/// Checks the receipts that the answer rests on.
pub(super) fn check(evidence: &Evidence, basis: &[usize]) -> Vec<Finding> {
    let closed = closed_sources(evidence);
    let purposes = purposes(evidence, basis);
    let mut findings = Vec::new();
    for index in basis {
        let receipt = &evidence.receipts[*index];
        if receipt.statement.stage().is_none() || is_ingest(receipt) {
            continue;
        }
        for dependency in sources(receipt) {
            if let Some(why) = closed.get(&(dependency.name.as_str(), &dependency.digest)) {
                let message = format!("a stage other than ingest has read it, and it holds {why}");
                findings.push(
                    Finding::new(Code::Consent, message)
                        .file(&dependency.name)
                        .receipt(&receipt.id),
                );
            }
        }
        findings.extend(
            purposes
                .get(index)
                .and_then(|purposes| other_purpose(receipt, purposes)),
        );
    }
    findings
}

/// A digest set, as receipts carry it.
type DigestSet = BTreeMap<String, String>;

/// What only an ingest may read, by name and digests, and why.
fn closed_sources(evidence: &Evidence) -> BTreeMap<(&str, &DigestSet), &'static str> {
    let mut closed = BTreeMap::new();
    for receipt in evidence.receipts.iter().filter(|r| r.signer.is_some() && is_ingest(r)) {
        let is_of_events = |resource: &&Resource| match resource.role() {
            Role::Input { input, receipt: None } | Role::Member { input, .. } => input == EVENTS,
            _ => false,
        };
        for source in receipt.statement.dependencies().iter().filter(is_of_events) {
            closed.insert(
                (source.name.as_str(), &source.digest),
                "events before consent was looked at",
            );
        }
        let is_rejects =
            |resource: &&Resource| matches!(resource.role(), Role::Output { output, .. } if output == REJECTS);
        for rejects in receipt.statement.subject.iter().filter(is_rejects) {
            closed.insert((rejects.name.as_str(), &rejects.digest), "events that were rejected");
        }
    }
    closed
}

/// What a receipt reads that no stage before it made.
fn sources(receipt: &Known) -> impl Iterator<Item = &Resource> {
    let is_source = |resource: &&Resource| match resource.role() {
        Role::Input { receipt, input } => receipt.is_none() || input == REJECTS,
        Role::Member { .. } => true,
        _ => false,
    };
    receipt.statement.dependencies().iter().filter(is_source)
}

/// The purposes of the ingests that each receipt of `basis` rests on; `basis` holds all that its receipts rest on.
fn purposes<'a>(evidence: &'a Evidence, basis: &[usize]) -> HashMap<usize, BTreeSet<&'a str>> {
    let mut known: HashMap<usize, BTreeSet<&str>> = HashMap::new();
    let mut waiting: Vec<usize> = basis.to_vec();
    let mut entered = HashSet::new();
    while let Some(index) = waiting.last().copied() {
        // A receipt is left when all before it are known; entered twice, it would be part of a cycle, and SHA-256 has none.
        let unknown: Vec<usize> = makers(evidence, index)
            .filter(|maker| !known.contains_key(maker))
            .collect();
        if !known.contains_key(&index) && !unknown.is_empty() && entered.insert(index) {
            waiting.extend(unknown);
            continue;
        }
        waiting.pop();
        let mut all: BTreeSet<&str> = BTreeSet::new();
        for maker in makers(evidence, index) {
            all.extend(known.get(&maker).into_iter().flatten());
        }
        let receipt = &evidence.receipts[index];
        if is_ingest(receipt) {
            all.insert(receipt.statement.external().purpose.as_deref().unwrap_or(NONE));
        }
        known.insert(index, all);
    }
    known
}

/// The receipts of the stages that made the inputs of a receipt.
fn makers(evidence: &Evidence, index: usize) -> impl Iterator<Item = usize> {
    let dependencies = evidence.receipts[index].statement.dependencies().iter();
    dependencies.filter_map(|dependency| match dependency.role() {
        Role::Input { receipt: Some(id), .. } => evidence.named(id),
        _ => None,
    })
}

fn other_purpose(receipt: &Known, purposes: &BTreeSet<&str>) -> Option<Finding> {
    let own = receipt.statement.external().purpose.as_deref().unwrap_or(NONE);
    let other = purposes.iter().find(|purpose| **purpose != own)?;
    let message = "rests on events that were let in for another purpose than the one that it states";
    let finding = Finding::new(Code::Consent, message)
        .file(&receipt.file)
        .line(receipt.line);
    Some(finding.receipt(&receipt.id).differs(*other, own))
}

fn is_ingest(receipt: &Known) -> bool {
    let command = receipt.statement.stage().map(|(stage, _)| &stage.command);
    matches!(command, Some(CommandRecord::Builtin { name, .. }) if name == INGEST)
}
