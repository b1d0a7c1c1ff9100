//! Arrow IPC files: the first column and row that differ. Read batch by batch, with the checks that `train` reads with.

use std::fs::File;
use std::io;

use arrow_array::{Array, Float64Array, RecordBatch, StringArray};
use camino::Utf8Path;

use super::{Found, Tolerance};
use crate::stages::train::envelope::{ArrowFile, EnvelopeError};

/// Larger files are compared by their bytes: a batch is read whole, and a file may be one.
const LARGEST_FILE: u64 = 64 << 20;

/// Compares two files.
pub(super) fn compare(before: &Utf8Path, now: &Utf8Path, tolerance: Option<Tolerance>) -> io::Result<Found> {
    let (before, now) = (File::open(before)?, File::open(now)?);
    if before.metadata()?.len() > LARGEST_FILE || now.metadata()?.len() > LARGEST_FILE {
        return Ok(Found::Unreadable);
    }
    match compare_files(before, now, tolerance) {
        Ok(found) => Ok(found),
        Err(EnvelopeError::Io(error)) => Err(error),
        Err(EnvelopeError::Malformed(_)) => Ok(Found::Unreadable),
    }
}

fn compare_files(before: File, now: File, tolerance: Option<Tolerance>) -> Result<Found, EnvelopeError> {
    let (mut before, mut now) = (Rows::of(before)?, Rows::of(now)?);
    if before.file.schema() != now.file.schema() {
        return Ok(Found::At("its columns (names, types or metadata)".to_owned()));
    }
    let name = |column: usize| before.file.schema().field(column).name().clone();
    let names: Vec<String> = (0..before.file.schema().fields().len()).map(name).collect();
    let mut row = 0_u64;
    loop {
        let rows = match (before.ahead()?, now.ahead()?) {
            (0, 0) => return Ok(Found::Nothing),
            (_, 0) => return Ok(Found::At(format!("row {row} (from 0), which is not there now"))),
            (0, _) => return Ok(Found::At(format!("row {row} (from 0), which was not there"))),
            (one, other) => one.min(other),
        };
        if let (Some(one), Some(other)) = (&before.batch, &now.batch) {
            for index in 0..rows {
                let differs = |column: &usize| {
                    let (one, other) = (one.column(*column), other.column(*column));
                    !is_same(one, before.at + index, other, now.at + index, tolerance)
                };
                if let Some(column) = (0..names.len()).find(differs) {
                    let (name, row) = (&names[column], row + index as u64);
                    return Ok(Found::At(format!("column `{name}`, row {row} (from 0)")));
                }
            }
        }
        row += rows as u64;
        before.at += rows;
        now.at += rows;
    }
}

/// The rows of a file, one batch of them in memory.
struct Rows {
    file: ArrowFile<File>,
    batch: Option<RecordBatch>,
    /// How many rows of the batch were looked at.
    at: usize,
}

impl Rows {
    fn of(file: File) -> Result<Self, EnvelopeError> {
        Ok(Self {
            file: ArrowFile::open(file)?,
            batch: None,
            at: 0,
        })
    }

    /// How many rows of the batch are to be looked at; another batch is read if there is none. 0 at the end.
    fn ahead(&mut self) -> Result<usize, EnvelopeError> {
        loop {
            if let Some(batch) = &self.batch
                && batch.num_rows() > self.at
            {
                return Ok(batch.num_rows() - self.at);
            }
            self.at = 0;
            self.batch = self.file.next_batch()?;
            if self.batch.is_none() {
                return Ok(0);
            }
        }
    }
}

/// Whether two cells are the same, by their bits; or close enough.
fn is_same(one: &dyn Array, at: usize, other: &dyn Array, there: usize, tolerance: Option<Tolerance>) -> bool {
    if one.is_null(at) || other.is_null(there) {
        return one.is_null(at) && other.is_null(there);
    }
    let text = |array: &dyn Array, at: usize| {
        let texts = array.as_any().downcast_ref::<StringArray>();
        texts.map(|texts| texts.value(at).to_owned())
    };
    let number = |array: &dyn Array, at: usize| {
        let numbers = array.as_any().downcast_ref::<Float64Array>();
        numbers.map(|numbers| numbers.value(at))
    };
    match (number(one, at), number(other, there)) {
        (Some(one), Some(other)) => {
            one.to_bits() == other.to_bits() || tolerance.is_some_and(|tolerance| tolerance.allows(one, other))
        }
        _ => text(one, at) == text(other, there),
    }
}
