//! How much is kept of all receipts. What one has that an earlier one has too is kept once, and counts once.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::receipt::shared::Shared;
use crate::receipt::statement::{Resource, Statement};

/// What was read is kept, in a form of about its own size: whatever lies in a folder, there is an end to it.
const MAX_BYTES: usize = 1 << 30;

/// What is kept, and how much it is. Any number of threads add to it: how much it is in the end does not depend on which was first.
#[derive(Default)]
pub(super) struct Kept {
    shared: Shared,
    bytes: AtomicUsize,
}

impl Kept {
    /// Counts a statement that `length` bytes say, and lets it have what is known already instead of its own. That it names it takes room
    /// all the same.
    pub(super) fn add(&self, statement: &mut Statement, length: usize) {
        let named = statement.subject.len() + statement.dependencies().len();
        let new = length.saturating_sub(self.shared.share(statement));
        self.count(new + size_of::<Statement>() + named * size_of::<Resource>());
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
    use crate::receipt::run_file::{Receipt, frozen};

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
        let once = add(&kept, &mut frozen());
        let again = add(&kept, &mut frozen());
        assert!(again < once, "{once}, {again}");
        assert_eq!(add(&kept, &mut frozen()), again);
    }

    #[test]
    fn what_only_names_what_is_known_takes_room_too() {
        let kept = Kept::default();
        for receipt in &mut frozen() {
            let before = kept.bytes.load(Ordering::Relaxed);
            kept.add(&mut receipt.statement, 0);
            let named = receipt.statement.subject.len() + receipt.statement.dependencies().len();
            let room = size_of::<Statement>() + named * size_of::<usize>();
            assert_eq!(kept.bytes.load(Ordering::Relaxed) - before, room);
        }
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        kept.add_wrong(MAX_BYTES);
        assert!(!kept.is_too_much());
        add(&kept, &mut frozen());
        assert!(kept.is_too_much());
    }
}
