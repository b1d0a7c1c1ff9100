//! Rows that `ingest` makes beside its own work for the `featurize` that reads what it lets in, so that no line is parsed twice.
//!
//! ```text
//! ingest      each line: parse ─ check ─ … ─ a row, if it is let in     at the end: offer (rows, the BLAKE3 of the lines let in)
//! featurize   take (its input's BLAKE3) ─▶ the rows, or none, and then it reads its input as if nothing had been
//! ```
//!
//! It is a short cut and nothing else: whatever is not plain (an id that stands twice, an event that makes no row, a disk that is
//! full) ends it, and whoever reads the file by itself says what there is to say. Rows are taken for no other bytes than those that they
//! were made of, and by no other parameters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8Path;

use super::featurize::params::Params;
use super::featurize::reading::{Added, RowAdder, Taken, read_event};
use super::featurize::rows::Rows;
use super::featurize::rows::chunk::Chunk;
use super::ingest::event::IdKey;
use super::ingest::lines::Place;
use super::room::Room;
use super::{InputFile, StageError};
use crate::digest::Digest;
use crate::plan::ParamValue;
use crate::recognise::{Memory, Recognised};

/// What one `featurize` wants of the lines that one `ingest` reads.
pub struct ReadAhead {
    params: Arc<Params>,
    room: Room,
    /// Whether it is known that nothing comes of it.
    is_over: Arc<AtomicBool>,
    offered: Mutex<Option<Offered>>,
}

struct Offered {
    /// The BLAKE3 of the lines that the rows are of, as a file.
    file: Digest,
    rows: Rows,
}

impl ReadAhead {
    /// For a `featurize` with these parameters. What does not fit into memory goes to files without names in `folder`, which must last
    /// until the rows are taken.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if no `featurize` can have them.
    pub fn new(params: &BTreeMap<String, ParamValue>, folder: &Utf8Path) -> Result<Self, StageError> {
        Ok(Self {
            params: Arc::new(Params::read(params)?),
            room: Room::in_folder(folder),
            is_over: Arc::default(),
            offered: Mutex::default(),
        })
    }

    /// No rows yet.
    pub(super) fn begin(&self) -> RowsAhead {
        RowsAhead {
            is_over: Arc::clone(&self.is_over),
            lines: 0,
            rows: Some(Rows::new(&self.params, &self.room)),
        }
    }

    /// Lines of one block that are let in, unless it is known already that nothing comes of it.
    pub(super) fn lines(&self) -> LinesAhead<'_> {
        LinesAhead {
            lines: 0,
            adder: RowAdder::new(&self.params),
            chunk: (!self.is_over.load(Ordering::Relaxed)).then(Chunk::new),
        }
    }

    /// All lines of what has the BLAKE3 `file` were added to `rows`, and no others.
    pub(super) fn offer(&self, file: Digest, rows: RowsAhead) {
        let mut offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner);
        *offered = rows.rows.map(|rows| Offered { file, rows });
    }

    /// The rows of what `files` are, if they were made, and as `params` ask for them. Nobody is given them twice.
    pub(super) fn take(&self, params: &Params, files: &[InputFile]) -> Option<Rows> {
        let offered = self.offered.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let is_file = matches!(files, [file] if file.digest == Some(offered.file));
        (is_file && offered.rows.params() == params).then_some(offered.rows)
    }
}

/// The rows of all lines so far.
pub(super) struct RowsAhead {
    is_over: Arc<AtomicBool>,
    /// How many there are.
    lines: u64,
    rows: Option<Rows>,
}

impl RowsAhead {
    /// Adds those of the next block.
    pub(super) fn add(&mut self, lines: LinesAhead<'_>) {
        // Where they stand among those that are let in, which is where they will stand for whoever reads that.
        let before = Place {
            file: 0,
            line: self.lines,
        };
        self.lines += u64::from(lines.lines);
        let added = match (&mut self.rows, lines.chunk) {
            (Some(rows), Some(chunk)) => rows.append(chunk, before).is_ok(),
            _ => false,
        };
        if !added {
            self.end();
        }
    }

    /// Whether something may come of it.
    pub(super) fn goes_on(&self) -> bool {
        self.rows.is_some()
    }

    /// Nothing comes of it.
    pub(super) fn end(&mut self) {
        self.rows = None;
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Lines of one block, as rows.
pub(super) struct LinesAhead<'a> {
    /// How many were added.
    lines: u32,
    adder: RowAdder<'a>,
    /// Nothing once there was a line that makes no row.
    chunk: Option<Chunk>,
}

impl LinesAhead<'_> {
    /// Adds the next line, in which an event was recognised: always by the same memory; `key` stands for its id. If that cannot
    /// be done, the line is for [`LinesAhead::add`]; and if it has keys that are new, these are for [`LinesAhead::learn`] before.
    pub(super) fn add_recognised(&mut self, content: &[u8], (found, key): (&Recognised<'_>, IdKey)) -> Option<Taken> {
        let Some(chunk) = &mut self.chunk else {
            return Some(Taken::Whole);
        };
        let taken = self
            .adder
            .add_recognised(chunk, (self.lines, content), (found, Some(key)));
        self.lines += u32::from(taken == Some(Taken::Whole));
        taken
    }

    /// Makes keys of the next line known, which have these numbers in `memory`.
    pub(super) fn learn(&mut self, numbers: &[u32], memory: &Memory) {
        if let Some(chunk) = &mut self.chunk
            && self.adder.learn(chunk, self.lines, numbers, memory) != Added::Whole
        {
            self.chunk = None;
        }
    }

    /// Adds the next line, by a tree of it.
    pub(super) fn add(&mut self, content: &[u8]) {
        if let Some(chunk) = &mut self.chunk {
            let added = read_event(Some(content)).map(|event| self.adder.add_event(chunk, self.lines, &event));
            self.lines += 1;
            if added != Ok(Added::Whole) {
                self.chunk = None;
            }
        }
    }
}

#[cfg(test)]
mod tests;
