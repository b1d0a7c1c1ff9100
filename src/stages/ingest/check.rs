//! The first reading: what becomes of each line.
//!
//! Lines are read side by side; what is found out of each is then put together in their order.

use super::blocks::{Block, Whole, each_block};
use super::event::{Event, Facts, Reader, too_long};
use super::fault::{Fault, Faults, LineFaults};
use super::lines::{Place, is_blank};
use super::repeats::{Repeat, Repeats, Sighting};
use super::revocations::Revocations;
use super::schema::EventSchema;
use crate::consent::Purpose;
use crate::stages::{InputFile, PassedOn, StageError};

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
    /// Whether what is in any of the files is other than its bytes.
    pub is_compressed: bool,
}

impl Checked {
    /// The one of `files`, if there is but one, not compressed, and every line of it is accepted: the accepted lines are then its bytes.
    #[must_use]
    pub fn passed_on(&self, files: &[InputFile]) -> Option<PassedOn> {
        let ([file], [hash]) = (files, self.hashes.as_slice()) else {
            return None;
        };
        let is_accepted = |verdict: &Verdict| matches!(verdict, Verdict::Accepted(_));
        let is_all = !self.is_compressed && self.blank == 0 && self.verdicts.iter().all(is_accepted);
        is_all.then(|| PassedOn {
            file: file.name.clone(),
            read: (*hash).into(),
        })
    }
}

/// Reads `files` on up to `threads` threads beside this one, each line once. `tick` is told the bytes read so far, now and then.
///
/// # Errors
///
/// [`StageError::Io`] if a file cannot be read; whatever `tick` gives.
pub fn check(
    files: &[InputFile],
    rules: Rules<'_>,
    threads: usize,
    tick: &mut dyn FnMut(u64) -> Result<(), StageError>,
) -> Result<Checked, StageError> {
    let schema = rules.schema;
    let mut checker = Checker::new(rules);
    let mut bytes = 0;
    let whole = each_block(
        files,
        threads,
        |block| Reading::of(block, schema),
        |block, reading| {
            tick(bytes)?;
            bytes += block.used;
            checker.take(block, reading);
            Ok(())
        },
    )?;
    tick(bytes)?;
    checker.finish(files, &whole)
}

/// What was read in one block.
struct Reading {
    /// How many lines begin in it, and how many of them are blank.
    lines: u64,
    blank: u64,
    /// Those that are not blank.
    events: Vec<Line>,
}

struct Line {
    /// Which of the block's lines, from 0.
    number: u64,
    /// Where in the block it begins.
    offset: u64,
    read: Result<Event, LineFaults>,
}

impl Reading {
    fn of(block: &Block, schema: &EventSchema) -> Self {
        let mut reader = Reader::new(schema);
        let mut reading = Self {
            lines: 0,
            blank: 0,
            events: Vec::new(),
        };
        for line in block.lines() {
            reading.lines += 1;
            let read = match line.content {
                None => Err(LineFaults::from_iter([too_long()])),
                Some(content) if is_blank(content) => {
                    reading.blank += 1;
                    continue;
                }
                Some(content) => reader.read(content).map_err(LineFaults::from_iter),
            };
            reading.events.push(Line {
                number: line.number,
                offset: line.offset as u64,
                read,
            });
        }
        reading
    }
}

struct Checker<'a> {
    rules: Rules<'a>,
    repeats: Repeats,
    places: Places,
    file: u32,
    checked: Checked,
    /// Lines of the file before the block.
    lines_before: u64,
}

impl<'a> Checker<'a> {
    fn new(rules: Rules<'a>) -> Self {
        Self {
            rules,
            repeats: Repeats::default(),
            places: Places::default(),
            file: 0,
            lines_before: 0,
            checked: Checked {
                verdicts: Vec::new(),
                faults: Faults::default(),
                lines: 0,
                blank: 0,
                hashes: Vec::new(),
                is_compressed: false,
            },
        }
    }

    fn take(&mut self, block: &Block, reading: Reading) {
        if block.file != self.file {
            (self.file, self.lines_before) = (block.file, 0);
        }
        for line in reading.events {
            let index = self.checked.verdicts.len() as u64;
            let place = Place {
                file: block.file,
                line: self.lines_before + line.number + 1,
            };
            self.places.push(index, place);
            let verdict = match line.read {
                Ok(event) => {
                    self.repeats.add(Sighting {
                        id: event.id.short(),
                        index,
                        offset: block.offset + line.offset,
                    });
                    self.judge(&event)
                }
                Err(faults) => {
                    self.checked.faults.add_line(index, place, faults);
                    Verdict::Fault
                }
            };
            self.checked.verdicts.push(verdict);
        }
        self.lines_before += reading.lines;
        self.checked.lines += reading.lines;
        self.checked.blank += reading.blank;
    }

    fn judge(&mut self, event: &Event) -> Verdict {
        if self.rules.revocations.revokes(event.id) {
            return Verdict::Revoked;
        }
        match self.rules.purpose {
            Some(purpose) if !event.facts.scope.covers(purpose) => Verdict::NotCovered,
            _ => Verdict::Accepted(event.facts),
        }
    }

    /// Looks for ids that stand more than once.
    fn finish(mut self, files: &[InputFile], whole: &[Whole]) -> Result<Checked, StageError> {
        let places = &self.places;
        let file_of = |index: u64| places.of(index).file;
        let checked = &mut self.checked;
        let mut found = |repeat: Repeat| match repeat.is_same {
            true => drop(checked.set(repeat.index, Verdict::Duplicate)),
            false => checked.conflict(places, repeat.first, repeat.index),
        };
        std::mem::take(&mut self.repeats).find(files, &file_of, self.rules.schema, &mut found)?;
        self.checked.is_compressed = whole.iter().any(|whole| whole.is_compressed);
        self.checked.hashes = whole.iter().map(|whole| whole.hash).collect();
        Ok(self.checked)
    }
}

impl Checked {
    /// Gives the verdict before.
    fn set(&mut self, index: u64, verdict: Verdict) -> Verdict {
        let place = usize::try_from(index)
            .ok()
            .and_then(|index| self.verdicts.get_mut(index));
        place.map_or(Verdict::Fault, |place| std::mem::replace(place, verdict))
    }

    /// Two lines have one id and other bytes: which is right cannot be known, so that neither is let in.
    fn conflict(&mut self, places: &Places, first: u64, second: u64) {
        let same_id = |other: Place| Fault {
            other: Some(other),
            ..Fault::new("/event_id", "another line has the same id and other bytes", "duplicate")
        };
        let (at_first, at_second) = (places.of(first), places.of(second));
        self.faults.add(second, at_second, [same_id(at_first)]);
        self.set(second, Verdict::Fault);
        if self.set(first, Verdict::Fault) != Verdict::Fault {
            self.faults.add(first, at_first, [same_id(at_second)]);
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
