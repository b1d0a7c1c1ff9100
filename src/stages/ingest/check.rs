//! The first reading: what becomes of each line.
//!
//! Lines are read side by side; what is found out of each is then put together in their order.

use super::again::Seen;
use super::blocks::{Block, Whole, each_block};
use super::event::{Event, EventTokens, Reader, too_long};
use super::fault::{Fault, Faults, LineFaults, MAX_LISTED};
use super::gather::Gathered;
use super::lines::{Place, is_blank};
use super::repeats::{Repeats, Sighting};
use super::revocations::Revocations;
use super::schema::EventSchema;
use super::verdicts::{Verdict, Verdicts};
use crate::consent::Purpose;
use crate::consent::token::Tokens;
use crate::stages::read_ahead::{LinesAhead, ReadAhead, RowsAhead};
use crate::stages::room::Room;
use crate::stages::{InputFile, PassedOn, StageError};

/// What events are held against.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// What a valid event looks like.
    pub schema: &'a EventSchema,
    /// What the events are to be used for; `None` lets in every valid event.
    pub purpose: Option<Purpose>,
    /// Which events must not be used.
    pub revocations: &'a Revocations,
    /// What becomes of an event that is revoked, and whose consent says that it cannot be.
    pub non_revocable: NonRevocable,
    /// By what the tokens of events are made that are let in; `None` makes none.
    pub tokens: Option<&'a Tokens>,
    /// What the stage that reads the events wants of their lines.
    pub ahead: Option<&'a ReadAhead>,
}

impl Rules<'_> {
    fn judge(&self, event: &Event<'_>) -> Verdict {
        let consent = event.facts.consent;
        let revoked = self.revocations.revokes(event);
        let is_kept = !consent.is_revocable && self.non_revocable == NonRevocable::Keep;
        match (revoked, self.purpose) {
            (Some(named), _) if !is_kept => Verdict::Revoked(consent, named),
            (_, Some(purpose)) if !consent.scope.covers(purpose) => Verdict::NotCovered(consent),
            (Some(_), _) => Verdict::Kept(event.facts),
            (None, _) => Verdict::Accepted(event.facts),
        }
    }
}

/// What becomes of an event that is revoked, and whose consent says that it cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonRevocable {
    /// It is left out all the same.
    #[default]
    Honour,
    /// It stays.
    Keep,
}

/// What the first reading found.
pub struct Checked {
    /// For each line that is not blank, in order.
    pub verdicts: Verdicts,
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
    /// The tokens of those that are let in, if they were asked for.
    pub gathered: Option<Gathered>,
    /// What the next stage wants of the lines.
    pub(super) rows: Option<RowsAhead>,
}

impl Checked {
    /// The one of `files`, if there is but one, not compressed, and every line of it is accepted: the accepted lines are then its bytes.
    #[must_use]
    pub fn passed_on(&self, files: &[InputFile]) -> Option<PassedOn> {
        let ([file], [hash]) = (files, self.hashes.as_slice()) else {
            return None;
        };
        let is_left_out = |(verdict, lines): (Verdict, u64)| !verdict.is_accepted() && lines > 0;
        let is_all = !self.is_compressed && self.blank == 0 && !self.verdicts.counts().any(is_left_out);
        is_all.then(|| PassedOn {
            file: file.name.clone(),
            read: (*hash).into(),
        })
    }
}

/// Reads `files` on up to `threads` threads beside this one, each line once. What there is no `room` for in memory is on disk.
/// `tick` is told how far it is, now and then.
///
/// # Errors
///
/// [`StageError::Io`] if a file cannot be read, or what does not fit into memory not be written; whatever `tick` gives.
pub fn check(
    files: &[InputFile],
    rules: Rules<'_>,
    threads: usize,
    room: &Room,
    tick: &mut dyn FnMut(&Reached) -> Result<(), StageError>,
) -> Result<Checked, StageError> {
    let mut checker = Checker::new(rules, room);
    let mut reached = Reached::default();
    let whole = each_block(
        files,
        threads,
        |block| Reading::of(block, &rules),
        |block, reading| {
            tick(&reached)?;
            reached.bytes += block.used;
            checker.take(block, reading)?;
            reached.events = checker.checked.verdicts.len();
            reached.faults = checker.checked.faults.lines();
            Ok(())
        },
    )?;
    tick(&reached)?;
    checker.finish(files, &whole)
}

/// How far the first reading is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// How many bytes of the files were read.
    pub bytes: u64,
    /// How many lines that are not blank.
    pub events: u64,
    /// How many of them are invalid.
    pub faults: u64,
}

/// What was read in one block.
struct Reading<'a> {
    /// How many lines begin in it, and how many of them are blank.
    lines: u64,
    blank: u64,
    /// Those that are not blank.
    events: Vec<Line>,
    /// How many lines have faults that are kept: no more than are listed of all lines.
    listed: usize,
    /// What the next stage wants of them.
    ahead: Option<LinesAhead<'a>>,
}

/// A valid event is longer. Room is made for no more lines than there could be of this length.
const LEAST_LENGTH: usize = 128;

/// What there is to know of an event.
struct Known {
    /// A short hash of its id.
    id: u64,
    /// What becomes of it, unless its id stands twice.
    verdict: Verdict,
    /// What stands for it, if it is let in.
    tokens: Option<EventTokens>,
}

struct Line {
    /// Which of the block's lines, from 0.
    number: u32,
    /// Where in the block it begins.
    offset: u32,
    /// What there is to know of the event, or what is wrong.
    read: Result<Known, Box<LineFaults>>,
}

impl<'a> Reading<'a> {
    fn of(block: &Block, rules: &Rules<'a>) -> Self {
        let mut reader = Reader::new(rules.schema, rules.tokens);
        let mut reading = Self {
            lines: 0,
            blank: 0,
            events: Vec::new(),
            listed: 0,
            ahead: rules.ahead.map(ReadAhead::lines),
        };
        for line in block.lines() {
            reading.lines += 1;
            let read = match line.content {
                None => Err(reading.faults(vec![too_long()])),
                Some(content) if is_blank(content) => {
                    reading.blank += 1;
                    continue;
                }
                Some(content) => {
                    let told = |event: &Event<'_>| {
                        let verdict = rules.judge(event);
                        let is_let_in = verdict.is_accepted();
                        let known = Known {
                            id: event.short(),
                            verdict,
                            tokens: if is_let_in { event.tokens() } else { None },
                        };
                        (known, is_let_in)
                    };
                    let read = reader.read_ahead(content, told, reading.ahead.as_mut());
                    read.map_err(|faults| reading.faults(faults))
                }
            };
            if reading.events.is_empty() {
                // Lines are about as long as the first: few are moved when there are more.
                let length = line.content.map_or(block.bytes.len(), <[u8]>::len);
                reading.events.reserve(block.bytes.len() / length.max(LEAST_LENGTH));
            }
            // A block has fewer bytes than that.
            reading.events.push(Line {
                number: u32::try_from(line.number).unwrap_or(u32::MAX),
                offset: u32::try_from(line.offset).unwrap_or(u32::MAX),
                read,
            });
        }
        reading
    }

    /// What is wrong with the next line: the words of it only as long as they may be listed.
    fn faults(&mut self, faults: Vec<Fault>) -> Box<LineFaults> {
        self.listed += 1;
        let mut faults = LineFaults::from_iter(faults);
        if self.listed > MAX_LISTED {
            faults.forget_words();
        }
        Box::new(faults)
    }
}

struct Checker<'a> {
    rules: Rules<'a>,
    repeats: Repeats,
    places: Places,
    checked: Checked,
}

impl<'a> Checker<'a> {
    fn new(rules: Rules<'a>, room: &Room) -> Self {
        let gathered = rules.tokens.map(|_| Gathered::new(room.clone()));
        Self {
            repeats: Repeats::new(room.clone()),
            places: Places::default(),
            checked: Checked {
                verdicts: Verdicts::new(room.clone()),
                faults: Faults::default(),
                lines: 0,
                blank: 0,
                hashes: Vec::new(),
                is_compressed: false,
                gathered,
                rows: rules.ahead.map(ReadAhead::begin),
            },
            rules,
        }
    }

    fn take(&mut self, block: &Block, reading: Reading<'_>) -> Result<(), StageError> {
        let before = self.checked.lines;
        if let (Some(rows), Some(lines)) = (&mut self.checked.rows, reading.ahead) {
            rows.add(lines);
        }
        self.places.begin(block.file, before);
        for line in reading.events {
            let index = self.checked.verdicts.len();
            let number = before + u64::from(line.number);
            let verdict = match line.read {
                Ok(known) => {
                    self.repeats.add(Sighting {
                        id: known.id,
                        index,
                        line: number,
                        offset: block.offset + u64::from(line.offset),
                    })?;
                    if let (Some(gathered), Some(tokens)) = (&mut self.checked.gathered, known.tokens) {
                        gathered.let_in(tokens)?;
                    }
                    known.verdict
                }
                Err(faults) => {
                    self.checked.faults.add_line(index, self.places.of(number), *faults);
                    Verdict::Fault
                }
            };
            self.checked.verdicts.push(verdict)?;
        }
        self.checked.lines += reading.lines;
        self.checked.blank += reading.blank;
        Ok(())
    }

    /// Looks for ids that stand more than once.
    fn finish(self, files: &[InputFile], whole: &[Whole]) -> Result<Checked, StageError> {
        let Self {
            rules,
            repeats,
            places,
            mut checked,
        } = self;
        let file_of = |line: u64| places.of(line).file;
        let mut found = |first: &Seen, line: &Seen| {
            // A row was made of both.
            if let Some(rows) = &mut checked.rows {
                rows.end();
            }
            match line.content == first.content {
                true => checked.verdicts.replace(line.index, Verdict::Duplicate).map(drop),
                false => checked.conflict(&places, first, line),
            }
        };
        let reader = Reader::new(rules.schema, rules.tokens);
        repeats.find(files, &file_of, reader, &mut found)?;
        checked.is_compressed = whole.iter().any(|whole| whole.is_compressed);
        checked.hashes = whole.iter().map(|whole| whole.hash).collect();
        Ok(checked)
    }
}

impl Checked {
    /// Two lines have one id and other bytes: which is right cannot be known, so that neither is let in.
    fn conflict(&mut self, places: &Places, first: &Seen, second: &Seen) -> Result<(), StageError> {
        let same_id = |other: Place| Fault {
            other: Some(other),
            ..Fault::new("/event_id", "another line has the same id and other bytes", "duplicate")
        };
        if let (Some(gathered), Some(tokens)) = (&mut self.gathered, second.tokens) {
            gathered.keep_out(tokens)?;
        }
        let (at_first, at_second) = (places.of(first.line), places.of(second.line));
        self.faults.add(second.index, at_second, [same_id(at_first)]);
        self.verdicts.replace(second.index, Verdict::Fault)?;
        if self.verdicts.replace(first.index, Verdict::Fault)? != Verdict::Fault {
            self.faults.add(first.index, at_first, [same_id(at_second)]);
        }
        Ok(())
    }
}

/// With which of all lines each file begins.
#[derive(Default)]
struct Places {
    files: Vec<(u64, u32)>,
}

impl Places {
    /// A block of `file` begins with this of all lines.
    fn begin(&mut self, file: u32, line: u64) {
        if self.files.last().is_none_or(|(_, last)| *last != file) {
            self.files.push((line, file));
        }
    }

    /// Where one of all lines stands, of which a block has told.
    fn of(&self, line: u64) -> Place {
        let after = self.files.partition_point(|(begin, _)| *begin <= line);
        let (begin, file) = self.files[after - 1];
        Place {
            file,
            line: line - begin + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_again_in_their_files() {
        let mut places = Places::default();
        for (file, line) in [(0, 0), (0, 3), (1, 7), (3, 7), (3, 9)] {
            places.begin(file, line);
        }
        for (line, file, number) in [(0, 0, 1), (6, 0, 7), (7, 3, 1), (12, 3, 6)] {
            assert_eq!(places.of(line), Place { file, line: number });
        }
    }
}
