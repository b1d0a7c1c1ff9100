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
    let closed = Closed::of(evidence);
    let purposes = purposes(evidence, basis);
    let mut findings = Vec::new();
    for index in basis {
        let receipt = &evidence.receipts[*index];
        if receipt.statement.stage().is_none() || is_ingest(receipt) {
            continue;
        }
        for used in receipt.statement.dependencies() {
            if let Some(why) = closed.why(used) {
                let message = format!("a stage other than ingest has read it, and it holds {why}");
                let finding = Finding::new(Code::Consent, message).file(&used.name);
                findings.push(finding.receipt(&receipt.id));
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

/// What only an ingest may read, and why.
#[derive(Default)]
struct Closed<'a> {
    by_name: BTreeMap<(&'a str, &'a DigestSet), &'static str>,
    by_digest: BTreeMap<&'a DigestSet, &'static str>,
    /// What an ingest let through. Raw events that were all let through have the same bytes, and a copy of them may be read.
    let_through: BTreeSet<&'a DigestSet>,
}

impl<'a> Closed<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let mut closed = Self::default();
        for receipt in evidence.receipts.iter().filter(|r| r.signer.is_some() && is_ingest(r)) {
            for source in receipt.statement.dependencies() {
                if let Role::Input { input, receipt: None } | Role::Member { input, .. } = source.role()
                    && input == EVENTS
                {
                    closed.add(source, "events before consent was looked at");
                }
            }
            for made in &receipt.statement.subject {
                match made.role() {
                    Role::Output { output, .. } if output == REJECTS => closed.add(made, "events that were rejected"),
                    Role::Output { output, .. } if output == EVENTS => {
                        closed.let_through.insert(&made.digest);
                    }
                    _ => {}
                }
            }
        }
        closed
    }

    fn add(&mut self, resource: &'a Resource, why: &'static str) {
        self.by_name.insert((&resource.name, &resource.digest), why);
        self.by_digest.insert(&resource.digest, why);
    }

    /// Why a stage that is no ingest may not read `input`; a copy under another name is no other thing.
    fn why(&self, input: &Resource) -> Option<&'static str> {
        let is_let_through = self.let_through.contains(&input.digest);
        let copied = self.by_digest.get(&input.digest).filter(|_| !is_let_through);
        let named = self.by_name.get(&(input.name.as_str(), &input.digest));
        named.or(copied).copied()
    }
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
        if !unknown.is_empty() && entered.insert(index) {
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
