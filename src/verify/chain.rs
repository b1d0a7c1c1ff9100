//! Do the receipts link up? Every receipt that a trusted one names must be here, be trusted, and claim what it is named
//! for.
//!
//! A receipt's id is the SHA-256 of bytes that hold the ids it rests on, so a cycle would be a broken SHA-256; the walk
//! over ancestors visits each receipt once all the same.

use std::collections::HashMap;

use super::evidence::{Evidence, Known};
use super::report::{Code, Finding, Severity};
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Outcome, ReceiptId, Resource, Role};

/// Checks the links of every trusted receipt. `key_severity` is how bad it is to rest on a key that is not trusted.
pub(super) fn check(evidence: &Evidence, key_severity: Severity) -> Vec<Finding> {
    let mut findings = Vec::new();
    for receipt in evidence.receipts.iter().filter(|r| r.signer.is_some()) {
        let mut links = Links {
            evidence,
            receipt,
            key_severity,
            findings: &mut findings,
        };
        match receipt.statement.stage() {
            Some(_) => links.check_stage(),
            None if receipt.statement.is_run() => links.check_run(),
            None => links.check_erasure(),
        }
    }
    findings
}

struct Links<'a> {
    evidence: &'a Evidence,
    receipt: &'a Known,
    key_severity: Severity,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Links<'a> {
    /// Each input that a stage made must be a subject of that stage's receipt, with the same digests.
    fn check_stage(&mut self) {
        for input in self.receipt.statement.dependencies() {
            let Role::Input { receipt: Some(id), .. } = input.role() else {
                continue;
            };
            let Some(maker) = id.parse().ok().and_then(|id| self.follow(id, &input.name)) else {
                continue;
            };
            if !maker.statement.is_stage_success() {
                let message = format!("input `{}` is said to be made by a stage that failed", input.name);
                self.broken(message, None);
            } else {
                self.compare(input, maker);
            }
        }
    }

    /// Each receipt named must be that of a stage, and each subject be one of the receipt named for its stage.
    fn check_run(&mut self) {
        let mut makers: HashMap<&str, &Known> = HashMap::new();
        for (stage, id) in self.receipt.statement.receipts() {
            let Some(maker) = self.follow(id, stage) else {
                continue;
            };
            if maker.statement.stage().is_none() {
                let message = format!("the receipt named for stage `{stage}` is that of a run");
                self.broken(message, None);
                continue;
            }
            makers.insert(stage, maker);
        }
        for subject in &self.receipt.statement.subject {
            let (Role::Output { stage: Some(stage), .. } | Role::Log { stage }) = subject.role() else {
                continue;
            };
            if let Some(maker) = makers.get(stage.as_str()) {
                self.compare(subject, maker);
            }
        }
        self.require_outputs(&makers);
        let run = self.receipt.statement.internal();
        let failed = |maker: &&&Known| !matches!(maker.statement.internal().outcome, Outcome::Succeeded);
        if run.outcome == Outcome::Succeeded && makers.values().any(|maker| failed(&maker)) {
            self.broken(
                "the run is said to have succeeded, but a stage of it failed".to_owned(),
                None,
            );
        }
    }

    /// What rested on what was erased is still here, as receipts.
    fn check_erasure(&mut self) {
        for (stage, id) in self.receipt.statement.receipts() {
            self.follow(id, stage);
        }
    }

    /// A run names all that its stages made, and the logs of those that failed: nothing is left out. If it is not of the first version, it
    /// speaks of what ran in it, and of the others only if nothing did.
    fn require_outputs(&mut self, makers: &HashMap<&str, &Known>) {
        let run = &self.receipt.statement;
        let ran_in_it = |maker: &Known| maker.statement.metadata().invocation_id == run.metadata().invocation_id;
        let is_all = run.names_all_outputs() || !makers.values().any(|maker| ran_in_it(maker));
        let mut left_out: Vec<&str> = Vec::new();
        for (stage, maker) in makers.iter().filter(|(_, maker)| is_all || ran_in_it(maker)) {
            let is_named = |made: &&Resource| {
                let named = self.receipt.statement.subject_named(&made.name).map(Resource::role);
                matches!(named, Some(Role::Output { stage: Some(of), .. } | Role::Log { stage: of }) if of == stage)
            };
            let made = maker.statement.subject.iter();
            left_out.extend(made.filter(|made| !is_named(made)).map(|made| made.name.as_str()));
        }
        left_out.sort_unstable();
        for name in left_out {
            self.broken(
                format!("the run does not name `{name}`, which a stage of it made"),
                None,
            );
        }
    }

    fn follow(&mut self, id: ReceiptId, what: &str) -> Option<&'a Known> {
        let evidence = self.evidence;
        let Some(index) = evidence.named(id) else {
            let message = format!("the receipt that it names for `{what}` is not here: a line or a file is missing");
            self.broken(message, Some((id.to_string(), "nothing".to_owned())));
            return None;
        };
        let maker = &evidence.receipts[index];
        if maker.signer.is_none() {
            let message = format!("rests, for `{what}`, on a receipt by a key that is not trusted");
            let finding = Finding::new(Code::Key, message).severity(self.key_severity);
            let finding = finding.file(&maker.file).line(maker.line).receipt(&self.receipt.id);
            self.findings.push(finding.differs("a trusted key", maker.stranger()));
            return None;
        }
        Some(maker)
    }

    fn compare(&mut self, named: &Resource, maker: &Known) {
        match maker.statement.subject_named(&named.name) {
            Some(subject) if subject.digest == named.digest => {}
            Some(subject) => {
                let message = format!("`{}` has other digests in the receipt that made it", named.name);
                self.broken(message, Some((public_digest(subject), public_digest(named))));
            }
            None => {
                let message = format!("`{}` is not made by the receipt named for it", named.name);
                self.broken(message, None);
            }
        }
    }

    fn broken(&mut self, message: String, differs: Option<(String, String)>) {
        let finding = Finding::new(Code::Chain, message)
            .file(&self.receipt.file)
            .line(self.receipt.line)
            .receipt(&self.receipt.id);
        self.findings.push(match differs {
            Some((expected, found)) => finding.differs(expected, found),
            None => finding,
        });
    }
}

/// The digest that other tools can check.
fn public_digest(resource: &Resource) -> String {
    artifact_digests(resource).map_or_else(|| "none".to_owned(), |digests| digests.public())
}
