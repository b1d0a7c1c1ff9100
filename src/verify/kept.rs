//! What is kept of all receipts: what one has that an earlier one has too is kept once. Every run's own receipt names all
//! stages and outputs again, changed or not, so a long history says little that is new.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::receipt::statement::{Resource, Statement};

/// What was read is kept, in a form of about its own size: whatever lies in a folder, there is an end to it.
const MAX_BYTES: usize = 1 << 30;

/// So many threads may look at once without waiting for each other, mostly.
const PARTS: usize = 64;

/// The resources of all statements, each once, and how much is kept. Any number of threads add to it: what is kept in the end, and how
/// much it is, does not depend on which was first.
pub(super) struct Kept {
    /// By their digests, each with its length as it is spelled.
    parts: [Mutex<HashMap<Resource, usize>>; PARTS],
    bytes: AtomicUsize,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl Kept {
    /// Counts a statement that `length` bytes say, and lets it have what is known already instead of its own.
    pub(super) fn add(&self, statement: &mut Statement, length: usize) {
        let dependencies = &mut statement.predicate.build_definition.resolved_dependencies;
        let mut known = 0;
        for resource in statement.subject.iter_mut().chain(dependencies) {
            let mut part = self.part_of(resource);
            match part.get_key_value(resource) {
                Some((same, length)) => {
                    *resource = same.clone();
                    known += length;
                }
                None => {
                    part.insert(resource.clone(), spelled(resource));
                }
            }
        }
        self.add_wrong(length.saturating_sub(known));
    }

    fn part_of(&self, resource: &Resource) -> MutexGuard<'_, HashMap<Resource, usize>> {
        let part = &self.parts[usize::from(resource.digest.first_byte()) % PARTS];
        // Nothing is half done when a thread panics.
        part.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts bytes that are no receipt: nothing is kept of them, and nobody goes through them without end.
    pub(super) fn add_wrong(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Whether it is more than is kept.
    pub(super) fn is_too_much(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > MAX_BYTES
    }
}

/// How many bytes of a payload the resource takes.
fn spelled(resource: &Resource) -> usize {
    let mut length = Length(0);
    // Nothing that was read can fail to be written, and nothing is written.
    serde_json::to_writer(&mut length, resource).map_or(0, |()| length.0)
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::run_file::{Receipt, RunFile};

    /// The receipts of a run, from the frozen files.
    fn receipts() -> Vec<Receipt> {
        let bytes = include_bytes!("../../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
        RunFile::parse(bytes).expect("it is frozen").receipts().to_vec()
    }

    fn length(receipt: &Receipt) -> usize {
        receipt.envelope.payload().len()
    }

    fn add(kept: &Kept, receipt: &mut Receipt) {
        let length = length(receipt);
        kept.add(&mut receipt.statement, length);
    }

    /// How many resources are kept, and how many bytes.
    fn amount(kept: &Kept) -> (usize, usize) {
        let parts = kept.parts.iter();
        let resources = parts.map(|part| part.lock().expect("nothing panicked").len()).sum();
        (resources, kept.bytes.load(Ordering::Relaxed))
    }

    #[test]
    fn what_is_said_again_is_kept_and_counted_once() {
        let kept = Kept::default();
        let (first, mut again) = (receipts(), receipts());
        receipts().iter_mut().for_each(|receipt| add(&kept, receipt));
        let (resources, once) = amount(&kept);
        let said: usize = first.iter().map(length).sum();
        assert!(once <= said, "{once} of {said}");
        let all = |receipt: &'_ Receipt| -> usize {
            let resources = receipt.statement.subject.iter();
            resources.chain(receipt.statement.dependencies()).map(spelled).sum()
        };
        let spelled: usize = first.iter().map(all).sum();
        again.iter_mut().for_each(|receipt| add(&kept, receipt));
        assert_eq!(amount(&kept), (resources, once + said - spelled));
        assert_eq!(again, first);
    }

    #[test]
    fn what_differs_in_one_word_is_another() {
        let kept = Kept::default();
        let mut receipt = receipts().remove(0);
        add(&kept, &mut receipt);
        let (known, _) = amount(&kept);
        receipt.statement.subject[0].name.push('x');
        add(&kept, &mut receipt);
        assert_eq!(amount(&kept).0, known + 1);
        let mut first = receipts().remove(0);
        add(&kept, &mut first);
        assert_eq!(first, receipts()[0]);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let kept = Kept::default();
        kept.add_wrong(MAX_BYTES);
        assert!(!kept.is_too_much());
        add(&kept, &mut receipts()[0]);
        assert!(kept.is_too_much());
    }
}
