//! Rows in canonical order, block by block: of a fixed number of rows, whatever parts they are kept in and wherever these are.

use std::borrow::Cow;
use std::ops::Range;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::Row;
use super::order::ordered;
use super::record::Record;
use super::sorted::{CellOf, SortedTable};
use crate::stages::StageError;
use crate::stages::ingest::lines::Place;
use crate::stages::partitions::{Part, record_at};

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
        let mut window = Window::new(self, pool.current_num_threads(), width);
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

/// The rows from the first that was not yet in a block on, as far as they are held.
struct Window<'t> {
    table: &'t SortedTable,
    threads: usize,
    /// So many blocks are made at once.
    blocks: usize,
    /// The next part.
    next: usize,
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

impl<'t> Window<'t> {
    fn new(table: &'t SortedTable, threads: usize, width: usize) -> Self {
        let row = table.size / table.len.max(1) + 8 * width as u64;
        let block = usize::try_from(row).unwrap_or(usize::MAX).saturating_mul(BLOCK_ROWS);
        Self {
            table,
            threads,
            blocks: (table.room / block.max(1)).clamp(1, 2 * threads),
            next: 0,
            loaded: Vec::new(),
        }
    }

    fn is_at_end(&self) -> bool {
        self.next == self.table.parts.len() && self.loaded.is_empty()
    }

    fn next<R: Send>(&mut self, work: impl Fn(&Block<'_>) -> R + Sync) -> Result<Vec<R>, StageError> {
        while self.rows() < self.blocks * BLOCK_ROWS && self.next < self.table.parts.len() {
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
                let is_last = place + 1 == last && loaded.rows() == 0 && self.next == self.table.parts.len();
                if rows == BLOCK_ROWS || is_last {
                    blocks.push((std::mem::take(&mut pieces), rows));
                    rows = 0;
                }
            }
        }
        let made = blocks.par_iter().map(|(pieces, rows)| {
            let piece = |(place, range): &(usize, Range<usize>)| Piece {
                bytes: &self.loaded[*place].bytes,
                starts: &self.loaded[*place].starts[range.clone()],
            };
            work(&Block {
                table: self.table,
                pieces: pieces.iter().map(piece).collect(),
                rows: *rows,
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
        let parts = &self.table.parts[self.next..];
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
        self.next += count;
        let loaded: Vec<_> = parts[..count].par_iter().map(Loaded::of).collect();
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

/// Some rows of one part.
struct Piece<'a> {
    bytes: &'a [u8],
    starts: &'a [usize],
}

/// Some rows that follow each other in canonical order.
pub(crate) struct Block<'a> {
    table: &'a SortedTable,
    pieces: Vec<Piece<'a>>,
    rows: usize,
}

impl Block<'_> {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.pieces.iter().flat_map(|piece| {
            let record = |start: &usize| record_at(piece.bytes, *start).expect("a row begins here");
            piece.starts.iter().map(record).map(|record| Record::read(record.bytes))
        })
    }

    /// The rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.records().map(|record| record.row())
    }

    /// Where the rows stood.
    pub(crate) fn places(&self) -> impl Iterator<Item = Place> {
        self.records().map(|record| record.place)
    }

    /// What each row weighs, as far as it is known.
    pub(crate) fn weights(&self) -> Vec<Option<f64>> {
        let mut weights = vec![None; self.len()];
        self.each_cell(|cell| {
            if cell.of == CellOf::Weight {
                weights[cell.place] = Some(cell.number());
            }
        });
        weights
    }

    /// Visits what is not missing, row after row.
    pub(crate) fn each_cell(&self, mut visit: impl FnMut(Cell)) {
        let mut spelled = Vec::new();
        for (place, record) in self.records().enumerate() {
            let cells = match record.known_shape() {
                Some(shape) => &self.table.cells[shape],
                None => {
                    spelled.clear();
                    spelled.extend(record.keys().map(|key| self.table.cell_of[usize::from(key)]));
                    &spelled
                }
            };
            for (of, value) in cells.iter().zip(record.values()) {
                visit(Cell { place, of: *of, value });
            }
        }
    }
}

/// A value that is not missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Which row of those that are visited.
    pub(crate) place: usize,
    /// What it is a value of.
    pub(crate) of: CellOf,
    value: f64,
}

impl Cell {
    /// The number.
    pub(crate) fn number(self) -> f64 {
        self.value
    }

    /// The number of the level among [`SortedTable::numbered_levels`].
    pub(crate) fn level(self) -> usize {
        super::chunk::level_of_value(self.value)
    }
}
