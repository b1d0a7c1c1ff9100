//! Rows in canonical order, block by block: of a fixed number of rows, wherever these are kept.

use std::borrow::Cow;
use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Row;
use super::order::{HeldStart, Ordered, Stored, ordered, stored_at};
use super::record::{Record, SPELLED};
use super::sorted::{CellOf, SortedTable};
use crate::stages::StageError;
use crate::stages::ingest::lines::Place;
use crate::stages::partitions::Part;
use crate::stages::side_by_side::in_order;

/// Rows of one block, but for the last. Part of what the bits of sums and the bytes of the features file depend on.
pub(crate) const BLOCK_ROWS: usize = 8192;

impl SortedTable {
    /// Gives every block of rows to `work`, on the threads of `pool`, and what comes of it to `consume`, in canonical order and on
    /// this thread. `work` makes `width` numbers of 8 bytes for each row.
    ///
    /// # Errors
    ///
    /// Whatever `consume` gives, and what is given if rows cannot be read again.
    pub(crate) fn each_block<R: Send, E: From<StageError>>(
        &self,
        pool: &ThreadPool,
        width: usize,
        work: impl Fn(&Block<'_>) -> R + Sync,
        mut consume: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        let most = self.blocks_at_once(pool, width);
        match &self.rows {
            Ordered::Held { chunks, starts } => in_order(
                (&mut starts.chunks(BLOCK_ROWS), pool, most),
                |blocks| Ok(blocks.next()),
                |starts: &[HeldStart]| {
                    work(&Block {
                        table: self,
                        rows: starts.iter().map(|start| start.row(chunks)).collect(),
                    })
                },
                |_, made| consume(made),
            ),
            Ordered::Parts(parts) => self.each_block_of(parts, (pool, most), work, consume),
        }
    }

    /// How many blocks may be made at once that `width` numbers are made of for each row.
    fn blocks_at_once(&self, pool: &ThreadPool, width: usize) -> usize {
        let row = self.size / self.len.max(1) + 8 * width as u64;
        let block = usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(BLOCK_ROWS);
        (self.room / block.max(1)).clamp(1, 2 * pool.current_num_threads())
    }

    fn each_block_of<R: Send, E: From<StageError>>(
        &self,
        parts: &[Part],
        (pool, most): (&ThreadPool, usize),
        work: impl Fn(&Block<'_>) -> R + Sync,
        mut consume: impl FnMut(R) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut window = Window {
            table: self,
            parts,
            threads: pool.current_num_threads(),
            blocks: most,
            loaded: Vec::new(),
        };
        let mut made: Result<Vec<R>, StageError> = Ok(Vec::new());
        loop {
            let ready = std::mem::replace(&mut made, Ok(Vec::new()))?;
            if ready.is_empty() && window.is_at_end() {
                return Ok(());
            }
            // While some are used, the next are made.
            pool.in_place_scope(|scope| {
                let (work, made, window) = (&work, &mut made, &mut window);
                scope.spawn(move |_| *made = window.next(work));
                ready.into_iter().try_for_each(&mut consume)
            })?;
        }
    }
}

/// The rows from the first that was not yet in a block on, as far as they were read from disk.
struct Window<'t> {
    table: &'t SortedTable,
    /// The next parts.
    parts: &'t [Part],
    threads: usize,
    /// So many blocks are made at once.
    blocks: usize,
    loaded: Vec<Loaded<'t>>,
}

/// A part, and what is left of it.
struct Loaded<'t> {
    bytes: Cow<'t, [u8]>,
    /// Where its rows begin, in canonical order.
    starts: Vec<usize>,
    /// How many of them were taken.
    taken: usize,
}

impl Window<'_> {
    fn is_at_end(&self) -> bool {
        self.parts.is_empty() && self.loaded.is_empty()
    }

    fn next<R: Send>(&mut self, work: impl Fn(&Block<'_>) -> R + Sync) -> Result<Vec<R>, StageError> {
        while self.rows() < self.blocks * BLOCK_ROWS && !self.parts.is_empty() {
            self.load()?;
        }
        let mut blocks = Vec::new();
        let mut pieces = Vec::new();
        let mut rows = 0;
        let last = self.loaded.len();
        for (place, loaded) in self.loaded.iter_mut().enumerate() {
            while loaded.rows() > 0 && blocks.len() < self.blocks {
                let taken = loaded.rows().min(BLOCK_ROWS - rows);
                rows += taken;
                pieces.push((place, loaded.take(taken)));
                let is_last = place + 1 == last && loaded.rows() == 0 && self.parts.is_empty();
                if rows == BLOCK_ROWS || is_last {
                    blocks.push((std::mem::take(&mut pieces), rows));
                    rows = 0;
                }
            }
        }
        let made = blocks.par_iter().map(|(pieces, count)| {
            let rows = pieces.iter().flat_map(|(place, range): &(usize, Range<usize>)| {
                let Loaded { bytes, starts, .. } = &self.loaded[*place];
                starts[range.clone()].iter().map(|start| stored_at(bytes, *start))
            });
            let mut all = Vec::with_capacity(*count);
            all.extend(rows);
            work(&Block {
                table: self.table,
                rows: all,
            })
        });
        let made = made.collect();
        self.loaded.retain(|loaded| loaded.rows() > 0);
        Ok(made)
    }

    fn rows(&self) -> usize {
        self.loaded.iter().map(Loaded::rows).sum()
    }

    /// Loads the next parts.
    fn load(&mut self) -> Result<(), StageError> {
        let parts = self.parts;
        let (mut rows, mut bytes) = (self.rows() as u64, 0);
        let mut count = 0;
        for part in parts {
            let is_enough = rows >= (self.blocks * BLOCK_ROWS) as u64 && count >= self.threads;
            if count > 0 && (is_enough || bytes + part.size() > self.table.room as u64) {
                break;
            }
            rows += part.count();
            bytes += part.size();
            count += 1;
        }
        let (next, rest) = parts.split_at(count);
        self.parts = rest;
        let loaded: Vec<_> = next.par_iter().map(Loaded::of).collect();
        for part in loaded {
            self.loaded.push(part?);
        }
        Ok(())
    }
}

impl<'t> Loaded<'t> {
    fn of(part: &'t Part) -> Result<Self, StageError> {
        let (bytes, starts) = ordered(part)?;
        Ok(Self {
            bytes,
            starts,
            taken: 0,
        })
    }

    /// How many rows are left.
    fn rows(&self) -> usize {
        self.starts.len() - self.taken
    }

    /// Takes the next `rows` of [`Loaded::starts`].
    fn take(&mut self, rows: usize) -> Range<usize> {
        let start = self.taken;
        self.taken += rows;
        start..self.taken
    }
}

/// Some rows that follow each other in canonical order.
pub(crate) struct Block<'a> {
    table: &'a SortedTable,
    rows: Vec<Stored<'a>>,
}

impl Block<'_> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The rows, as they are kept.
    pub(crate) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.rows.iter().map(|row| row.record())
    }

    /// The rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records().map(|record| record.row())
    }

    /// Where the rows stood.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.rows.iter().map(|row| self.table.place_of(row.line()))
    }

    /// What each row weighs, as far as it is known.
    pub(crate) fn weights(&self) -> Vec<Option<f64>> {
        let mut weights = vec![None; self.len()];
        self.each_run(|run| {
            if run.of == CellOf::Weight {
                let places = weights[run.places()].iter_mut();
                places
                    .zip(run.numbers())
                    .for_each(|(weight, number)| *weight = Some(number));
            }
        });
        weights
    }

    /// Visits what is not missing: of a few rows of one shape one thing after the other, of each the values in the order of the rows. So what
    /// there is to know of the thing is asked once for all of them, while their bytes are in the innermost cache.
    pub(crate) fn each_run(&self, mut visit: impl FnMut(Run<'_>)) {
        let (mut spelled, mut values, mut first) = (Vec::new(), Vec::with_capacity(TOGETHER), 0);
        let are_alike = |one: &Stored<'_>, other: &Stored<'_>| one.shape == other.shape && one.shape != SPELLED;
        for rows in self.rows.chunk_by(are_alike).flat_map(|alike| alike.chunks(TOGETHER)) {
            let cells = match rows[0].shape {
                SPELLED => {
                    let record = rows[0].record();
                    spelled.clear();
                    spelled.extend(record.keys().map(|key| self.table.cell_of[usize::from(key)]));
                    &spelled
                }
                shape => &self.table.cells[shape as usize],
            };
            values.clear();
            values.extend(rows.iter().map(|row| row.record().values()));
            for (at, of) in cells.iter().enumerate() {
                let (of, values) = (*of, &*values);
                visit(Run { of, first, values, at });
            }
            first += rows.len();
        }
    }
}

/// So many rows at most are visited together.
const TOGETHER: usize = 64;

/// The values of one thing in rows that follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    /// What they are values of.
    pub(crate) of: CellOf,
    first: usize,
    /// All values of each row.
    values: &'a [&'a [[u8; 8]]],
    at: usize,
}

impl Run<'_> {
    /// Which rows of the block these are.
    pub(crate) fn places(&self) -> Range<usize> {
        self.first..self.first + self.values.len()
    }

    /// The numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = f64> {
        self.values.iter().map(|values| f64::from_le_bytes(values[self.at]))
    }

    /// The numbers of the levels among [`SortedTable::numbered_levels`].
    pub(crate) fn levels(&self) -> impl Iterator<Item = usize> {
        self.numbers().map(super::chunk::level_of_value)
    }
}
