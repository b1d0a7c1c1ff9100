//! Events in, the probability of a model's positive label for each out, a line for a line.
//!
//! ```text
//! {"event_id":"evt-000001","log_odds":-1.5,"positive":"flare","probability":0.18242552380635635}
//! ```
//!
//! An event is read as strictly as `ingest` and `featurize` read it, blocks of lines side by side; what is printed stands in the
//! order of the input. Memory is bounded whatever the length of the input: no line is remembered once it is scored.

mod features;
mod line;
mod measured;
mod reader;
mod score;

use self::measured::Row;
pub use self::measured::{MeasureError, Measured, assess, measure};
use self::reader::{EventReader, Read};
use self::score::Scorer;
use crate::consent::Purpose;
use crate::consent::token::Tokens;
use crate::model::Model;
use crate::preparation::Preparation;
use crate::stages::StageError;
use crate::stages::ingest::blocks::{Block, Blocks, Whole, each_of};
use crate::stages::ingest::event::too_long;
use crate::stages::ingest::fault::{Fault, Faults, LineFaults, MAX_LISTED, grouped};
use crate::stages::ingest::lines::{Place, is_blank};
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;

/// What a part of a block's output is at most, but for its last line: a model of many features could make of a small event a
/// large line.
const MAX_PART: usize = 8 << 20;

/// What is scored, and how.
pub struct Predictor<'a> {
    /// The model.
    pub model: &'a Model,
    /// How an event becomes what it weighs; the model's own ([`Model::preparation`]).
    pub preparation: &'a Preparation,
    /// What a valid event looks like; compiled by [`EventSchema::compile_with_features`], else every event takes the slow path.
    pub schema: &'a EventSchema,
    /// What the scores are for.
    pub purpose: Purpose,
    /// Which events must not be used.
    pub revocations: &'a Revocations,
    /// By what the tokens of events are made, if any revocation names by one.
    pub tokens: Option<&'a Tokens>,
    /// What becomes of the others if a line is no event.
    pub on_reject: OnReject,
    /// What is said of each event.
    pub detail: Detail,
}

/// What becomes of the other events if a line is no event that can be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnReject {
    /// No line after it is scored; all are still looked at.
    Fail,
    /// It is left out and counted.
    Skip,
}

/// What is said of each event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Its probability, and the log odds.
    Score,
    /// What each feature contributed as well, and which were missing.
    Explained,
    /// Nothing: the scores are held against the events' labels ([`measure`]).
    Measured,
}

/// What was done with how many lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that are not blank.
    pub events: u64,
    /// Lines that were scored.
    pub scored: u64,
    /// Valid lines whose consent does not cover the purpose.
    pub not_covered: u64,
    /// Valid lines whose consent was withdrawn.
    pub revoked: u64,
    /// Lines that are no events, or cannot be scored.
    pub invalid: u64,
    /// Valid lines that were not scored, for an earlier one is invalid.
    pub withheld: u64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct Report {
    /// What was done with how many lines.
    pub counts: Counts,
    /// What is wrong with those that are invalid.
    pub faults: Faults,
}

impl Counts {
    /// `9,172 events: 9,134 scored, 38 revoked`; what is zero is left out.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = [
            (self.not_covered, "not covered by the purpose"),
            (self.revoked, "revoked"),
            (self.invalid, "invalid"),
            (self.withheld, "valid, after an invalid one, and not scored"),
        ];
        let mut text = format!("{} events: {} scored", grouped(self.events), grouped(self.scored));
        for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
            text.push_str(&format!(", {} {what}", grouped(number)));
        }
        text
    }

    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.scored += other.scored;
        self.not_covered += other.not_covered;
        self.revoked += other.revoked;
        self.invalid += other.invalid;
        self.withheld += other.withheld;
    }
}

/// Scores all that `blocks` reads, on `threads` threads beside this one if there is more than one, into `out`. The bytes do not depend
/// on how many.
///
/// # Errors
///
/// [`StageError::Io`] if the input cannot be read; what `out` gives, which is told the bytes of some whole lines at a time.
pub fn predict(
    blocks: Blocks<'_>,
    predictor: &Predictor<'_>,
    threads: usize,
    out: &mut dyn FnMut(&[u8]) -> Result<(), StageError>,
) -> Result<Report, StageError> {
    let mut write = |part: &mut Part, _| match part.out.is_empty() {
        true => Ok(()),
        false => out(&part.out),
    };
    Ok(score_all(blocks, predictor, threads, &mut write)?.0)
}

/// What is done with the scores of some lines, which begin after so many lines of their file.
type Take<'t> = &'t mut dyn FnMut(&mut Part, Place) -> Result<(), StageError>;

/// Scores all that `blocks` reads; `take` is told of the parts one after the other. Beside the report the files that were read.
fn score_all(
    blocks: Blocks<'_>,
    predictor: &Predictor<'_>,
    threads: usize,
    take: Take<'_>,
) -> Result<(Report, Vec<Whole>), StageError> {
    let mut total = Total::default();
    let mut worker = Worker::new(predictor);
    let files = each_of(
        blocks,
        threads,
        |block| Worker::new(predictor).part(block, 0, Voice::Loud),
        |block, part| {
            let mut part = part;
            loop {
                let next = part.next;
                total.take(block, part, predictor.on_reject, take)?;
                let Some(next) = next else {
                    return Ok(());
                };
                part = worker.part(block, next, total.voice(predictor.on_reject));
            }
        },
    )?;
    Ok((total.report, files))
}

/// Whether scores are printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    Loud,
    /// A line before was invalid.
    Silent,
}

/// All parts so far.
#[derive(Default)]
struct Total {
    report: Report,
    /// The file of the last block, and how many lines of it came before that block.
    before: (u32, u64),
    /// How many lines the files before have.
    earlier: u64,
}

impl Total {
    fn voice(&self, on_reject: OnReject) -> Voice {
        match on_reject == OnReject::Fail && !self.report.faults.is_empty() {
            true => Voice::Silent,
            false => Voice::Loud,
        }
    }

    fn take(&mut self, block: &Block, mut part: Part, on_reject: OnReject, take: Take<'_>) -> Result<(), StageError> {
        if block.file != self.before.0 {
            self.earlier += self.before.1;
            self.before = (block.file, 0);
        }
        if self.voice(on_reject) == Voice::Silent {
            part.counts.withheld += std::mem::take(&mut part.counts.scored);
        } else {
            let (file, line) = self.before;
            take(&mut part, Place { file, line })?;
        }
        self.report.counts.add(part.counts);
        for (number, faults) in part.faults {
            let place = Place {
                file: block.file,
                line: self.before.1 + number + 1,
            };
            self.report.faults.add_line(self.earlier + place.line, place, faults);
        }
        if part.next.is_none() {
            self.before.1 += part.lines;
        }
        Ok(())
    }
}

/// What some lines of a block gave.
#[derive(Default)]
struct Part {
    /// Whole lines of output, up to the first fault if that ends it.
    out: Vec<u8>,
    /// Of what is measured, the lines that were scored.
    rows: Vec<Row>,
    counts: Counts,
    /// For each line that is invalid, which of the block's it is, from 0, and what is wrong with it.
    faults: Vec<(u64, LineFaults)>,
    /// How many lines begin in the block, if this is its last part.
    lines: u64,
    /// The line to go on with, if this is not the last part.
    next: Option<u64>,
}

/// Scores lines one after the other.
struct Worker<'a> {
    predictor: &'a Predictor<'a>,
    reader: EventReader<'a>,
    scorer: Scorer<'a>,
}

impl<'a> Worker<'a> {
    fn new(predictor: &'a Predictor<'a>) -> Self {
        let withdrawn = (predictor.revocations, predictor.tokens);
        Self {
            predictor,
            reader: EventReader::new(predictor.schema, predictor.preparation, withdrawn)
                .keeping_labels(predictor.detail == Detail::Measured),
            scorer: Scorer::new(predictor),
        }
    }

    /// Scores lines of `block` from the one at `first`, as long as what is to be kept of them does not grow large.
    fn part(&mut self, block: &Block, first: u64, mut voice: Voice) -> Part {
        let mut part = Part::default();
        for line in block.lines().skip(usize::try_from(first).unwrap_or(usize::MAX)) {
            if part.out.len() >= MAX_PART || part.faults.len() >= MAX_LISTED {
                part.next = Some(line.number);
                return part;
            }
            part.lines = line.number + 1;
            if line.content.is_some_and(is_blank) {
                continue;
            }
            part.counts.events += 1;
            if let Err(faults) = self.line(line.number, line.content, &mut part, voice) {
                part.counts.invalid += 1;
                part.faults.push((line.number, LineFaults::from_iter(faults)));
                if self.predictor.on_reject == OnReject::Fail {
                    voice = Voice::Silent;
                }
            }
        }
        part
    }

    /// Scores one line; `None` is one too long to be read whole.
    fn line(&mut self, number: u64, content: Option<&[u8]>, part: &mut Part, voice: Voice) -> Result<(), Vec<Fault>> {
        let content = content.ok_or_else(|| vec![too_long()])?;
        let Read { id, known, given, kept } = self.reader.read(content)?;
        if known.is_revoked {
            part.counts.revoked += 1;
        } else if !known.facts.consent.scope.covers(self.predictor.purpose) {
            part.counts.not_covered += 1;
        } else {
            let score = self.scorer.score(given).map_err(|fault| vec![fault])?;
            match voice {
                Voice::Silent => part.counts.withheld += 1,
                Voice::Loud => {
                    part.counts.scored += 1;
                    match kept {
                        Some(kept) => part.rows.push(Row::new(id, number, score, kept)),
                        None => self.scorer.write(&mut part.out, id, score, given),
                    }
                }
            }
        }
        Ok(())
    }
}
