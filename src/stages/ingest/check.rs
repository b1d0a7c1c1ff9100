//! The first reading: what becomes of each line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::event::{self, Event, Facts, IdKey, half_digest, too_long};
use super::fault::{Fault, Faults};
use super::lines::{Piece, Pieces, Place, open};
use super::revocations::Revocations;
use super::schema::EventSchema;
use crate::consent::Purpose;
use crate::stages::{InputFile, StageError};

/// After how many lines progress is told and an interruption noticed.
const LINES_PER_TICK: u64 = 1000;

/// What events are held against.
pub struct Rules<'a> {
    /// What a valid event looks like.
    pub schema: &'a EventSchema,
    /// What the events are to be used for; `None` lets in every valid event.
    pub purpose: Option<Purpose>,
    /// Which events must not be used.
    pub revocations: &'a mut Revocations,
}

/// What becomes of a line that is not blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Accepted(Facts),
    /// It is valid; its consent does not cover the purpose.
    NotCovered,
    /// It is valid, and revoked.
    Revoked,
    /// The same event stood in an earlier line, with the same bytes.
    Duplicate,
    /// It is invalid.
    Fault,
}

/// What the first reading found.
pub struct Checked {
    /// For each line that is not blank, in order.
    pub verdicts: Vec<Verdict>,
    /// What is wrong with those that are invalid.
    pub faults: Faults,
    /// How many lines there are, and how many of them are blank.
    pub lines: u64,
    /// How many lines are blank.
    pub blank: u64,
    /// The BLAKE3 of each file, so that the second reading can tell that it read the same.
    pub hashes: Vec<blake3::Hash>,
}

/// Reads `files` one after the other, each line once. `tick` is told the bytes read so far, now and then.
///
/// # Errors
///
/// [`StageError::Io`] if a file cannot be read; whatever `tick` gives.
pub fn check(
    files: &[InputFile],
    rules: Rules<'_>,
    tick: &mut dyn FnMut(u64) -> Result<(), StageError>,
) -> Result<Checked, StageError> {
    let mut checker = Checker::new(rules);
    let (mut bytes, mut pieces_read) = (0, 0);
    for (file, number) in files.iter().zip(0..) {
        let unreadable = |source| StageError::Io {
            verb: "read",
            path: file.name.clone(),
            source,
        };
        let mut pieces = Pieces::new(open(file).map_err(unreadable)?, number);
        while let Some(piece) = pieces.next_piece().map_err(unreadable)? {
            if pieces_read % LINES_PER_TICK == 0 {
                tick(bytes)?;
            }
            pieces_read += 1;
            bytes += piece.bytes.len() as u64;
            checker.take(&piece);
        }
        let (hash, lines) = pieces.finish();
        checker.checked.hashes.push(hash);
        checker.checked.lines += lines;
    }
    tick(bytes)?;
    Ok(checker.checked)
}

struct Checker<'a> {
    rules: Rules<'a>,
    seen: HashMap<IdKey, Seen>,
    places: Places,
    checked: Checked,
}

/// The first valid line with an id.
struct Seen {
    index: u64,
    content: [u8; 16],
}

impl<'a> Checker<'a> {
    fn new(rules: Rules<'a>) -> Self {
        Self {
            rules,
            seen: HashMap::new(),
            places: Places::default(),
            checked: Checked {
                verdicts: Vec::new(),
                faults: Faults::default(),
                lines: 0,
                blank: 0,
                hashes: Vec::new(),
            },
        }
    }

    fn take(&mut self, piece: &Piece<'_>) {
        if !piece.first {
            return;
        }
        if piece.is_blank() {
            self.checked.blank += 1;
            return;
        }
        let index = self.checked.verdicts.len() as u64;
        self.places.push(index, piece.place);
        let read = match piece.content() {
            None => Err(vec![too_long()]),
            Some(content) => event::read(content, self.rules.schema).map(|event| (event, content)),
        };
        let verdict = match read {
            Ok((event, content)) => self.judge(index, &event, content),
            Err(faults) => {
                self.checked.faults.add(index, piece.place, faults);
                Verdict::Fault
            }
        };
        self.checked.verdicts.push(verdict);
    }

    fn judge(&mut self, index: u64, event: &Event, content: &[u8]) -> Verdict {
        let content = half_digest(content);
        match self.seen.entry(event.id) {
            Entry::Vacant(entry) => {
                entry.insert(Seen { index, content });
            }
            Entry::Occupied(entry) if entry.get().content == content => return Verdict::Duplicate,
            Entry::Occupied(entry) => {
                let first = entry.get().index;
                self.conflict(first, index);
                return Verdict::Fault;
            }
        }
        if self.rules.revocations.revokes(event.id) {
            return Verdict::Revoked;
        }
        match self.rules.purpose {
            Some(purpose) if !event.facts.scope.covers(purpose) => Verdict::NotCovered,
            _ => Verdict::Accepted(event.facts),
        }
    }

    /// Two lines have one id and other bytes: which is right cannot be known, so that neither is let in.
    fn conflict(&mut self, first: u64, second: u64) {
        let same_id = |other: Place| Fault {
            other: Some(other),
            ..Fault::new("/event_id", "another line has the same id and other bytes", "duplicate")
        };
        let (at_first, at_second) = (self.places.of(first), self.places.of(second));
        self.checked.faults.add(second, at_second, [same_id(at_first)]);
        let verdict = usize::try_from(first)
            .ok()
            .and_then(|first| self.checked.verdicts.get_mut(first));
        if let Some(verdict) = verdict
            && *verdict != Verdict::Fault
        {
            *verdict = Verdict::Fault;
            self.checked.faults.add(first, at_first, [same_id(at_second)]);
        }
    }
}

/// Where each line that is not blank stands, kept only where it is not simply the next line.
#[derive(Default)]
struct Places {
    jumps: Vec<(u64, Place)>,
}

impl Places {
    fn push(&mut self, index: u64, place: Place) {
        if self.jumps.is_empty() || self.of(index) != place {
            self.jumps.push((index, place));
        }
    }

    /// The place of the line at `index`, which was pushed, or would be if it simply followed.
    fn of(&self, index: u64) -> Place {
        let after = self.jumps.partition_point(|(start, _)| *start <= index);
        let (start, place) = self.jumps[after - 1];
        Place {
            line: place.line + (index - start),
            ..place
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_again_across_blank_lines_and_files() {
        let pushed = [(0, 1), (0, 2), (0, 5), (0, 6), (1, 1), (1, 2), (3, 9)];
        let mut places = Places::default();
        for (index, (file, line)) in (0..).zip(pushed) {
            places.push(index, Place { file, line });
        }
        assert_eq!(places.jumps.len(), 4);
        for (index, (file, line)) in (0..).zip(pushed) {
            assert_eq!(places.of(index), Place { file, line });
        }
    }
}
