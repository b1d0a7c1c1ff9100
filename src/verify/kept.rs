//! How much is kept of all receipts. What one has that an earlier one has too is kept once, and counts once.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::receipt::shared::Shared;
use crate::receipt::statement::Statement;

/// What was read is kept, in a form of about its own size: whatever lies in a folder, there is an end to it.
const MAX_BYTES: usize = 1 << 30;

/// What is kept, and how much it is. Any number of threads add to it: how much it is in the end does not depend on which was first.
#[derive(Default)]
pub(super) struct Kept {
    shared: Shared,
    bytes: AtomicUsize,
}

impl Kept {
    /// Counts a statement that `length` bytes say, and lets it have what is known already instead of its own.
    pub(super) fn add(&self, statement: &mut Statement, length: usize) {
        self.count(length.saturating_sub(self.shared.share(statement)));
    }

    /// Counts bytes that are no receipt: nothing is kept of them, and nobody goes through them without end.
    pub(super) fn add_wrong(&self, bytes: usize) {
        self.count(bytes);
    }

    fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it is more than is kept.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MAX_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::run_file::{Receipt, RunFile};

    /// The receipts of a run, from the frozen files.
    fn receipts() -> Vec<Receipt> {
        let bytes = include_bytes!("../../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
        RunFile::parse(bytes).expect("it is frozen").into_receipts()
    }

    fn add(kept: &Kept, receipts: &mut [Receipt]) -> usize {
        let before = kept.bytes.load(Ordering::Relaxed);
        for receipt in receipts {
            kept.add(&mut receipt.statement, receipt.envelope.payload().len());
        }
        kept.bytes.load(Ordering::Relaxed) - before
    }

    #[test]
    fn what_is_said_again_counts_only_as_far_as_it_is_new() {
        let kept = Kept::default();
        let once = add(&kept, &mut receipts());
        let again = add(&kept, &mut receipts());
        assert!(again > 0 && again < once, "{once}, {again}");
        assert_eq!(add(&kept, &mut receipts()), again);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        kept.add_wrong(MAX_BYTES);
        assert!(!kept.is_too_much());
        add(&kept, &mut receipts());
        assert!(kept.is_too_much());
    }
}
