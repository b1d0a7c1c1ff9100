//! The secrets that the tokens of events are keyed by: what is shown by one says nothing of what was made under another.

use super::evidence::Evidence;
use super::report::{Code, Finding};
use crate::receipt::statement::PopulationRecord;

/// One finding for each secret but the first, at the first trusted receipt that names it. Receipts are in the order of their runs.
pub(super) fn check(evidence: &Evidence) -> Vec<Finding> {
    let mut known: Vec<&str> = Vec::new();
    let mut findings = Vec::new();
    for receipt in evidence.receipts.iter().filter(|receipt| receipt.signer.is_some()) {
        let population = receipt
            .statement
            .stage()
            .and_then(|(_, stage)| stage.population.as_ref());
        let Some(PopulationRecord { secret, .. }) = population else {
            continue;
        };
        if known.contains(&secret.as_str()) {
            continue;
        }
        if let Some(before) = known.last() {
            let message = "its events have tokens by another secret than those of the ingests before: proofs need the secret of each";
            let finding = Finding::new(Code::WarnSecret, message)
                .file(&receipt.file)
                .line(receipt.line);
            findings.push(
                finding
                    .receipt(&receipt.id)
                    .differs((*before).to_owned(), secret.clone()),
            );
        }
        known.push(secret);
    }
    findings
}
