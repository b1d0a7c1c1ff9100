//! The canonical order of rows: by the BLAKE3 of their ids.
//!
//! Rows in memory stay where they are, and what is put in order is where they begin. On disk they are kept in parts whose ids' hashes
//! begin alike, so that a part is put in order within the processor's cache, and the parts one after the other are in order. A
//! part stays as it was added, and is put in order each time it is read.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::gathered::{Gathered, Held};
use super::record::Record;
use crate::stages::StageError;
use crate::stages::partitions::{self, Part, Partitions, record_at, records};
use crate::stages::room::Room;

/// A part is put in order in memory if it takes no more than this part of the room; else it is parted further.
const PARTS_IN_ROOM: usize = 4;

/// Keys that stand alone have this part of the room.
const KEYS_OF_ROOM: usize = 32;

/// Rows that are being parted.
pub(super) struct Parted {
    /// By the first bits of the BLAKE3 of their ids.
    rows: Partitions,
    /// The same without the rows, so that these need not be read again to find out that no id stands twice.
    keys: Partitions,
}

impl Parted {
    /// What does not fit into `room` goes to disk.
    pub(super) fn new(room: &Room) -> Self {
        Self {
            rows: Partitions::on_disk(room),
            keys: Partitions::new(&room.part(KEYS_OF_ROOM)),
        }
    }

    /// Adds a row whose id has the key `key`: `write` adds the number of its chunk (u32) and its bytes to what it is given.
    pub(super) fn add(&mut self, key: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), StageError> {
        self.keys.add(key, |_| {})?;
        self.rows.add(key, write)
    }
}

/// Rows in canonical order.
pub(super) enum Ordered {
    /// In memory.
    Held {
        /// Chunk by chunk, as they came.
        chunks: Vec<Held>,
        /// Where they begin, in order.
        starts: Vec<HeldStart>,
    },
    /// On disk: the parts are in order.
    Parts(Vec<Part>),
}

/// Where a row begins that is in memory.
#[derive(Clone, Copy)]
pub(super) struct HeldStart {
    key: u64,
    chunk: u32,
    at: u32,
}

impl HeldStart {
    /// The row, and its shape's number among all.
    pub(super) fn row(self, chunks: &[Held]) -> Stored<'_> {
        let chunk = &chunks[self.chunk as usize];
        let (shape, bytes) = chunk.row(self.at);
        Stored {
            chunk: chunk.chunk,
            shape,
            bytes,
        }
    }
}

/// A row, wherever it is kept.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    chunk: u32,
    /// A number among all, or [`SPELLED`].
    pub(super) shape: u32,
    bytes: &'a [u8],
}

impl<'a> Stored<'a> {
    /// The one that stands in a part as `bytes`.
    fn in_part(bytes: &'a [u8]) -> Self {
        let (chunk, bytes) = bytes.split_first_chunk().expect("a row is read as it was written");
        Self {
            chunk: u32::from_le_bytes(*chunk),
            shape: Record::shape_of(bytes),
            bytes,
        }
    }

    pub(super) fn record(self) -> Record<'a> {
        Record::read(self.bytes)
    }

    fn id(self) -> &'a [u8] {
        self.record().id
    }

    /// Which line it is, among those of its chunk.
    pub(super) fn line(self) -> ChunkLine {
        (self.chunk, self.record().line)
    }
}

/// The number of a chunk, and that of a line in it.
pub(super) type ChunkLine = (u32, u32);

/// Why there is no order.
pub(super) enum Unordered {
    /// Ids stand twice: where the first of them do, the earlier line first.
    Duplicates(Vec<[ChunkLine; 2]>),
    Disk(StageError),
}

impl From<StageError> for Unordered {
    fn from(error: StageError) -> Self {
        Self::Disk(error)
    }
}

/// Puts rows in order. Ids that stand twice are looked for, of which at most `most` are told.
pub(super) fn put_in_order(rows: Gathered, room: usize, most: usize, pool: &ThreadPool) -> Result<Ordered, Unordered> {
    let (ordered, duplicates) = match rows {
        Gathered::Held(chunks) => pool.install(|| order_held(chunks, most)),
        Gathered::Parted(parted) => {
            let (parts, duplicates) = order_parted(parted, room, most, pool)?;
            (Ordered::Parts(parts), duplicates)
        }
    };
    match duplicates.is_empty() {
        true => Ok(ordered),
        false => Err(Unordered::Duplicates(duplicates)),
    }
}

fn order_held(chunks: Vec<Held>, most: usize) -> (Ordered, Vec<[ChunkLine; 2]>) {
    let starts = (0..).zip(&chunks).flat_map(|(chunk, held)| {
        let start = move |(key, at)| HeldStart { key, chunk, at };
        held.rows.starts().map(start)
    });
    let mut starts: Vec<HeldStart> = starts.collect();
    starts.par_sort_unstable_by_key(|start| start.key);
    let row = |start: &HeldStart| start.row(&chunks);
    // Two ids with one key are hardly ever there, unless they are one id.
    for alike in starts
        .chunk_by_mut(|a, b| a.key == b.key)
        .filter(|alike| alike.len() > 1)
    {
        alike.sort_unstable_by(|a, b| by_hash(row(a).id(), row(b).id()).then((a.chunk, a.at).cmp(&(b.chunk, b.at))));
    }
    let repeated = repeated_among(&starts, most, |start| start.key, row);
    (Ordered::Held { chunks, starts }, repeated)
}

/// The lines of rows that have the id of the one before in canonical order, each with that one's; at most `most`. Rows whose keys
/// differ are not looked at.
fn repeated_among<'a, T>(
    ordered: &[T],
    most: usize,
    key: impl Fn(&T) -> u64,
    row: impl Fn(&T) -> Stored<'a>,
) -> Vec<[ChunkLine; 2]> {
    let alike = ordered.windows(2).filter(|pair| key(&pair[0]) == key(&pair[1]));
    let rows = alike.map(|pair| [row(&pair[0]), row(&pair[1])]);
    let repeated = rows.filter(|[first, second]| first.id() == second.id());
    repeated.take(most).map(|pair| pair.map(Stored::line)).collect()
}

/// The parts in order.
fn order_parted(
    parted: Parted,
    room: usize,
    most: usize,
    pool: &ThreadPool,
) -> Result<(Vec<Part>, Vec<[ChunkLine; 2]>), StageError> {
    let fits = room / PARTS_IN_ROOM;
    let parts = parted.rows.finish(fits)?;
    if pool.install(|| are_distinct(parted.keys, fits))? {
        return Ok((parts, Vec::new()));
    }
    let repeated: Vec<_> = pool.install(|| parts.par_iter().map(|part| repeated_in(part, fits, most)).collect());
    let mut duplicates = Vec::new();
    for found in repeated {
        duplicates.extend(found?);
    }
    duplicates.truncate(most);
    Ok((parts, duplicates))
}

/// Whether no two rows have one key, and so no two one id.
fn are_distinct(keys: Partitions, fits: usize) -> Result<bool, StageError> {
    let is_distinct = |part: &Part| {
        if part.has_one_key() {
            return Ok(part.count() < 2);
        }
        let bytes = part.bytes()?;
        let mut keys: Vec<u64> = records(&bytes).map(|record| record.key).collect();
        keys.sort_unstable();
        Ok(keys.windows(2).all(|pair| pair[0] != pair[1]))
    };
    let parts = keys.finish(fits)?;
    let all: Result<Vec<bool>, StageError> = parts.par_iter().map(is_distinct).collect();
    Ok(all?.into_iter().all(|is_distinct| is_distinct))
}

/// The bytes of a part, and where its rows begin in canonical order.
pub(super) fn ordered(part: &Part) -> Result<(Cow<'_, [u8]>, Vec<usize>), StageError> {
    let bytes = part.bytes()?;
    let starts = sorted_starts(&bytes).into_iter().map(|start| start.at).collect();
    Ok((bytes, starts))
}

/// The row that begins at `start` in the bytes of a part.
pub(super) fn stored_at(bytes: &[u8], start: usize) -> Stored<'_> {
    Stored::in_part(record_at(bytes, start).expect("a row begins here").bytes)
}

/// The ids that stand twice in a part.
fn repeated_in(part: &Part, room: usize, most: usize) -> Result<Vec<[ChunkLine; 2]>, StageError> {
    if part.has_one_key() && part.size() > room as u64 {
        return repeated(part, most);
    }
    let bytes = part.bytes()?;
    let starts = sorted_starts(&bytes);
    let row = |start: &Start| stored_at(&bytes, start.at);
    Ok(repeated_among(&starts, most, |start| start.key, row))
}

/// Finds ids that stand twice among rows of one key for which there is no room. At least one does: another id with the same 64
/// bits of BLAKE3 is hardly to be found, let alone so many.
fn repeated(part: &Part, most: usize) -> Result<Vec<[ChunkLine; 2]>, StageError> {
    let mut lines: BTreeMap<[u8; 32], Vec<ChunkLine>> = BTreeMap::new();
    part.each(|record| {
        let row = Stored::in_part(record.bytes);
        let lines = lines.entry(*blake3::hash(row.id()).as_bytes()).or_default();
        if lines.len() <= most {
            lines.push(row.line());
        }
        Ok(())
    })?;
    let pairs = lines.values().flat_map(|lines| lines.windows(2));
    Ok(pairs.map(|pair| [pair[0], pair[1]]).take(most).collect())
}

/// Where a row of a part begins.
#[derive(Clone, Copy)]
struct Start {
    key: u64,
    at: usize,
}

/// Where the rows begin, as they stand.
fn starts(bytes: &[u8]) -> Vec<Start> {
    let mut at = 0;
    let start = |record: partitions::Record<'_>| {
        let start = Start { key: record.key, at };
        at += record.whole.len();
        start
    };
    records(bytes).map(start).collect()
}

/// Where the rows begin, in canonical order; those with one id in the order in which they were added.
fn sorted_starts(bytes: &[u8]) -> Vec<Start> {
    let mut starts = starts(bytes);
    let id = |start: &Start| stored_at(bytes, start.at).id();
    starts.sort_unstable_by(|a, b| {
        // Two ids with one key are hardly ever there, unless they are one id.
        let by_id = || by_hash(id(a), id(b)).then(a.at.cmp(&b.at));
        a.key.cmp(&b.key).then_with(by_id)
    });
    starts
}

/// The order of two ids whose keys are one.
fn by_hash(a: &[u8], b: &[u8]) -> Ordering {
    match a == b {
        true => Ordering::Equal,
        false => blake3::hash(a).as_bytes().cmp(blake3::hash(b).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::super::record::NewRecord;
    use super::*;

    #[test]
    fn ids_of_one_key_are_repeated_only_if_they_are_one() {
        let rows: Vec<Vec<u8>> = (0..)
            .zip(["a", "b", "b", "b"])
            .map(|(line, id)| {
                let mut bytes = Vec::new();
                let row = Row {
                    id,
                    label: None,
                    groups: [None, None],
                };
                let (keys, values) = (&[], &[]);
                let new = NewRecord {
                    line,
                    row,
                    shape: 0,
                    keys,
                    values,
                };
                new.write(&mut bytes);
                bytes
            })
            .collect();
        let row = |bytes: &Vec<u8>| Stored {
            chunk: 5,
            shape: 0,
            bytes: &rows[rows.iter().position(|other| other == bytes).expect("one of them")],
        };
        // No two ids are known whose keys are one.
        let repeated = |most| repeated_among(&rows, most, |_| 7, row);
        assert_eq!(repeated(9), [[(5, 1), (5, 2)], [(5, 2), (5, 3)]]);
        assert_eq!(repeated(1), [[(5, 1), (5, 2)]]);
        assert!(repeated_among(&rows, 9, |bytes| u64::from(bytes[0]), row).is_empty());
    }
}
