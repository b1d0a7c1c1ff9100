//! What was erased: the tombstones under `runs/`, and which receipts rest on what they are about.

use std::collections::BTreeSet;

use super::evidence::Evidence;
use super::report::{Code, Finding};
use crate::receipt::erasure::{Erased, ErasedKind};
use crate::receipt::statement::ReceiptId;

/// A warning for each trusted tombstone: what rests on it can be checked, and not be made again.
pub(super) fn check(evidence: &Evidence, basis: &[usize]) -> Vec<Finding> {
    let basis: BTreeSet<ReceiptId> = basis.iter().map(|index| evidence.receipts[*index].id).collect();
    let trusted = evidence.receipts.iter().filter(|receipt| receipt.signer.is_some());
    let findings = trusted.filter_map(|receipt| {
        let (erasure, erased) = receipt.statement.erasure()?;
        let what = match erasure.of {
            ErasedKind::Event => "an event",
            ErasedKind::Subject => "all of a person",
        };
        let resting: Vec<ReceiptId> = receipt.statement.receipts().map(|(_, id)| id).collect();
        let asked = resting.iter().filter(|id| basis.contains(id)).count();
        let when = &receipt.statement.metadata().finished_on;
        let rests = match (resting.len(), asked) {
            (0, _) if has_doubt(erased) => "no receipt is known to rest on it".to_owned(),
            (0, _) => "no receipt rests on it".to_owned(),
            (all, 0) => format!("{all} earlier receipts rest on it, and nothing that was asked for"),
            (all, asked) => format!("{all} receipts rest on it, {asked} of them behind what was asked for"),
        };
        let message = format!("{what} was erased on {when}: {rests}");
        let finding = Finding::new(Code::WarnErased, message).file(&receipt.file);
        let shown = format!("when that was written: `madmall show {}`", receipt.id);
        Some(match erased.left.len() {
            0 => finding,
            1 => finding.help(format!("it was left in one place {shown} names it")),
            left => finding.help(format!("it was left in {left} places {shown} names them")),
        })
    });
    findings.collect()
}

/// Whether it names runs of which it was not known, or which hold it themselves.
fn has_doubt(erased: &Erased) -> bool {
    erased.left.iter().any(|place| place.starts_with("runs/"))
}
