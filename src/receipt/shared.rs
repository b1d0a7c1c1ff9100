//! What statements have in common, once: every run's own receipt names all stages and outputs again, changed or not, so a long
//! history says little that is new.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::statement::{Resource, Statement};

/// So many threads may look at once without waiting for each other, mostly.
const PARTS: usize = 64;

/// The resources of all statements, each once. Any number of threads add to it: what there is in the end does not depend on which was
/// first.
pub struct Shared {
    /// By their digests, each with its length as it is spelled.
    parts: [Mutex<HashMap<Resource, usize>>; PARTS],
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Shared {
    /// Lets a statement have what is known already instead of its own. Returns how many bytes of its payload say what was known.
    pub fn share(&self, statement: &mut Statement) -> usize {
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
        known
    }

    fn part_of(&self, resource: &Resource) -> MutexGuard<'_, HashMap<Resource, usize>> {
        let part = &self.parts[usize::from(resource.digest.first_byte()) % PARTS];
        // Nothing is half done when a thread panics.
        part.lock().unwrap_or_else(PoisonError::into_inner)
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
    use crate::receipt::run_file::frozen;

    /// How many resources there are.
    fn count(shared: &Shared) -> usize {
        let parts = shared.parts.iter();
        parts.map(|part| part.lock().expect("nothing panicked").len()).sum()
    }

    #[test]
    fn what_is_said_again_is_there_once() {
        let shared = Shared::default();
        for receipt in &mut frozen() {
            shared.share(&mut receipt.statement);
        }
        let known = count(&shared);
        let (mut again, first) = (frozen(), frozen());
        for receipt in &mut again {
            let all = receipt.statement.subject.iter().chain(receipt.statement.dependencies());
            let spelled: usize = all.map(spelled).sum();
            assert_eq!(shared.share(&mut receipt.statement), spelled);
        }
        assert_eq!(count(&shared), known);
        assert_eq!(again, first);
        let (again, first) = (&again[0].statement.subject[0], &first[0].statement.subject[0]);
        assert!(!again.is_one_with(first));
        let mut shares = first.clone();
        assert!(shares.is_one_with(first));
        shares.name.push('x');
        assert_ne!(shares.name, first.name);
    }

    #[test]
    fn what_differs_in_one_word_is_another() {
        let shared = Shared::default();
        let mut statement = frozen().remove(0).statement;
        shared.share(&mut statement);
        let known = count(&shared);
        statement.subject[0].name.push('x');
        shared.share(&mut statement);
        assert_eq!(count(&shared), known + 1);
        let mut first = frozen().remove(0).statement;
        shared.share(&mut first);
        assert_eq!(first, frozen()[0].statement);
    }
}
