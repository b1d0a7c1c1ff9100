//! The heads of logs that trusted receipts name: each log must go at least as far, and through them.

use std::collections::BTreeMap;

use super::evidence::Evidence;
use super::logs::{Extends, Logs};
use super::report::{Code, Finding};
use crate::log::LogId;
use crate::log::checkpoint::Head;

/// The findings: a log that is shorter than a receipt says or has another root, and a log that is not here.
pub(super) fn check(logs: &Logs, evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    // By log that is not here: how far it went, and which receipt says so.
    let mut gone: BTreeMap<LogId, (u64, usize)> = BTreeMap::new();
    for (head, receipt) in named(evidence) {
        let Head { log, size, .. } = &head;
        let (message, found) = match logs.compare(&head) {
            // That its files do not give the root that is signed is said where they are.
            Extends::Yes | Extends::Damaged => continue,
            // Nothing rests on a log that no trusted key signed.
            Extends::Unsigned if logs.is_foreign(log) => continue,
            Extends::Gone | Extends::Unsigned => {
                let far = gone.entry(log.clone()).or_insert((*size, receipt));
                *far = (*far).max((*size, receipt));
                continue;
            }
            Extends::Shorter { size: here } => {
                let message = format!(
                    "names the log {log} with {size} entries, and it has {here} here: the end of its history is missing"
                );
                (message, None)
            }
            Extends::Forked { root } => {
                let message =
                    format!("names the log {log} with another root at {size} entries: the history was forked");
                (message, Some(root))
            }
        };
        let finding = at(evidence, receipt, Finding::new(Code::Log, message)).help(RESTORE);
        findings.push(match found {
            Some(found) => finding.differs(head.root.to_hex(), found.to_hex()),
            None => finding,
        });
    }
    findings.extend(gone.into_iter().map(|(log, (size, receipt))| {
        let message = format!(
            "names the log {log}, which had {size} entries then and is not here: another branch or clone has it, or it was \
             removed"
        );
        at(evidence, receipt, Finding::new(Code::WarnElsewhere, message))
    }));
    findings
}

const RESTORE: &str = "put the log's files back as they were committed (`git checkout -- runs/`); if a run was killed before it \
                       could append, the next `madmall run` does";

fn at(evidence: &Evidence, receipt: usize, finding: Finding) -> Finding {
    let receipt = &evidence.receipts[receipt];
    finding.file(&receipt.file).line(receipt.line).receipt(&receipt.id)
}

/// Each head once, with the first trusted receipt that names it.
fn named(evidence: &Evidence) -> BTreeMap<Head, usize> {
    let mut named = BTreeMap::new();
    for (index, receipt) in evidence.receipts.iter().enumerate() {
        if receipt.signer.is_some() {
            for head in receipt.statement.internal().logs.iter().filter_map(Head::named) {
                named.entry(head).or_insert(index);
            }
        }
    }
    named
}
