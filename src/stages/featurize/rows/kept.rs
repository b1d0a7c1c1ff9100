//! Rows in memory, as they came.
//!
//! ```text
//! length of what follows (u32) │ a row │ length │ a row │ …
//! ```

use super::record::{NewRecord, Record};
use super::texts::fits;

/// Rows one after the other; for each the first bytes of the BLAKE3 of its id, and where it begins.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    keys: Vec<u64>,
    starts: Vec<u32>,
}

const LENGTH: usize = 4;

/// What a row takes beside its bytes.
const EACH: usize = size_of::<u64>() + size_of::<u32>();

impl Kept {
    /// Adds the row that `write` adds to what it is given.
    pub(super) fn add(&mut self, key: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        write(&mut self.bytes);
        let length = fits(self.bytes.len() - start - LENGTH);
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
        self.keys.push(key);
        self.starts.push(fits(start));
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// What they take.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.len() * EACH
    }

    /// Gives back room that was made for more.
    pub(super) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.keys.shrink_to_fit();
        self.starts.shrink_to_fit();
    }

    /// The key of each row, and where it begins.
    pub(super) fn starts(&self) -> impl Iterator<Item = (u64, u32)> {
        self.keys.iter().copied().zip(self.starts.iter().copied())
    }

    /// The row that begins at `start`.
    pub(super) fn row(&self, start: u32) -> &[u8] {
        let rest = &self.bytes[start as usize..];
        let (length, rest) = rest.split_first_chunk::<LENGTH>().expect("a row begins here");
        &rest[..u32::from_le_bytes(*length) as usize]
    }

    /// The key and the bytes of each row.
    pub(super) fn rows(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.starts().map(|(key, start)| (key, self.row(start)))
    }

    /// Writes each value anew: what `value` makes of the row's shape, the value's place in it, and the value.
    pub(super) fn rewrite(&mut self, value: impl Fn(u32, usize, f64) -> f64) {
        let rows = std::mem::take(self);
        for (key, bytes) in rows.rows() {
            let record = Record::read(bytes);
            let values: Vec<f64> = (record.doubles().enumerate())
                .map(|(place, old)| value(record.shape, place, old))
                .collect();
            let new = NewRecord {
                line: record.line,
                row: record.row(),
                shape: record.shape,
                keys: &[],
                values: &values,
            };
            self.add(key, |bytes| new.write(bytes));
        }
    }
}
