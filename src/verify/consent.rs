//! What receipts can show of consent: nobody but `ingest` has read raw or rejected events, and what each stage has read covers what
//! it was for. That `ingest` itself did what it should is its receipt's word.
//!
//! What a stage says of the consent of its inputs is not believed: it is found out again, from the receipts that made them, back to
//! the ingests.

mod closed;
mod flow;

use std::collections::BTreeSet;

use closed::Closed;
use flow::Flow;

use super::evidence::Evidence;
use super::report::{Code, Finding};
use crate::commitment::PersonalKey;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Outcome, Resource};

/// Checks the receipts that the answer rests on.
pub(super) fn check<'a>(evidence: &'a Evidence, basis: &[usize], key: Option<&'a PersonalKey>) -> Judged<'a> {
    let form = Form::of(evidence, key);
    let flow = Flow::of(evidence, form);
    let closed = Closed::of(&flow);
    let mut judged = Judged::default();
    for index in basis {
        let receipt = &evidence.receipts[*index];
        if receipt.statement.stage().is_none() || receipt.statement.is_ingest() {
            continue;
        }
        // A stage that was refused has read nothing, and a built-in one that refused has written nothing.
        if receipt.statement.internal().outcome == Outcome::Refused {
            continue;
        }
        for used in receipt.statement.dependencies() {
            if let Some(why) = closed.why(*index, used) {
                let message = format!("a stage other than ingest has read it, and it holds {why}");
                let finding = Finding::new(Code::Consent, message).file(&used.name);
                judged.findings.push(finding.receipt(&receipt.id));
            } else if let Some(message) = flow.fault(*index, used) {
                let finding = Finding::new(Code::Consent, message).file(&used.name);
                judged.findings.push(finding.receipt(&receipt.id));
            } else if flow.is_untold(used) {
                judged.untold.insert(&used.name);
            }
        }
    }
    judged
}

/// What was found.
#[derive(Default)]
pub(super) struct Judged<'a> {
    pub(super) findings: Vec<Finding>,
    /// Personal sources of which nobody can tell without the secret whether any stage made them.
    untold: BTreeSet<&'a str>,
}

impl Judged<'_> {
    /// What could not be checked, in a line.
    pub(super) fn not_checked(&self) -> Option<String> {
        let first = self.untold.first()?;
        let more = match self.untold.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Some(format!(
            "consent: whether `{first}`{more}, which is personal, holds events: without the secret its bytes are nobody's"
        ))
    }
}

/// The form in which digests are compared: all keyed, if anything is and the key is here, so that bytes are the same whatever they are
/// called.
#[derive(Clone, Copy)]
struct Form<'a> {
    key: Option<&'a PersonalKey>,
    /// Whether anything is keyed.
    is_any: bool,
}

impl<'a> Form<'a> {
    fn of(evidence: &Evidence, key: Option<&'a PersonalKey>) -> Self {
        let is_any = evidence.receipts.iter().any(|receipt| receipt.statement.is_personal());
        let key = key.filter(|_| is_any);
        Self { key, is_any }
    }

    fn digests(self, resource: &Resource) -> Option<ArtifactDigests> {
        let digests = artifact_digests(resource)?;
        Some(digests.keyed_by(self.key))
    }

    /// Whether nobody can tell whether it has the bytes of another.
    fn is_untold(self, resource: &Resource) -> bool {
        let by_another = |digests| matches!(digests, ArtifactDigests::Keyed(found) if self.key.map(PersonalKey::id) != Some(found.key));
        self.is_any && self.digests(resource).is_some_and(by_another)
    }
}
