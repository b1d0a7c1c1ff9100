//! The canonical order of rows: by the BLAKE3 of their ids.
//!
//! Rows are kept in parts whose ids' hashes begin alike, so that a part is put in order within the processor's cache, and
//! the parts one after the other are in order. What is on disk stays there as it was added, and is put in order each time
//! it is read.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rayon::ThreadPool;
use rayon::prelude::*;

use super::record::{NewRecord, Record};
use crate::stages::StageError;
use crate::stages::ingest::lines::Place;
use crate::stages::partitions::{self, Part, Partitions, record_at, records};
use crate::stages::room::Room;

/// A part is put in order in memory if it takes no more than this part of the room; else it is parted further.
const PARTS_IN_ROOM: usize = 4;

/// Keys that stand alone have this part of the room.
const KEYS_OF_ROOM: usize = 32;

/// Why rows cannot be put in order.
#[derive(Debug)]
pub(crate) enum OrderError {
    /// Ids stand twice: the places of the first of them, the earlier place first.
    Duplicates(Vec<[Place; 2]>),
    /// What does not fit into memory cannot be written or read.
    Disk(StageError),
}

impl From<StageError> for OrderError {
    fn from(error: StageError) -> Self {
        Self::Disk(error)
    }
}

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
            rows: Partitions::new(room),
            keys: Partitions::new(&room.part(KEYS_OF_ROOM)),
        }
    }

    /// Adds a row whose id has the key `key`.
    pub(super) fn add(&mut self, key: u64, row: &NewRecord<'_>) -> Result<(), StageError> {
        self.keys.add(key, |_| {})?;
        self.rows.add(key, |bytes| row.write(bytes))
    }
}

/// The parts in order, with those in order that are in memory. Ids that stand twice are looked for, of which at most `most` are told.
pub(super) fn put_in_order(
    parted: Parted,
    room: usize,
    most: usize,
    pool: &ThreadPool,
) -> Result<Vec<Part>, OrderError> {
    let fits = room / PARTS_IN_ROOM;
    let mut parts = parted.rows.finish(fits)?;
    let is_on_disk = parts.iter_mut().all(|part| part.held().is_none());
    if is_on_disk && pool.install(|| are_distinct(parted.keys, fits))? {
        return Ok(parts);
    }
    let repeated: Vec<_> = pool.install(|| parts.par_iter_mut().map(|part| order(part, fits, most)).collect());
    let mut duplicates = Vec::new();
    for found in repeated {
        duplicates.extend(found?);
    }
    duplicates.truncate(most);
    match duplicates.is_empty() {
        true => Ok(parts),
        false => Err(OrderError::Duplicates(duplicates)),
    }
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

/// The records of a part, and where they begin in canonical order.
pub(super) fn ordered(part: &Part) -> Result<(Cow<'_, [u8]>, Vec<usize>), StageError> {
    let bytes = part.bytes()?;
    let starts = match bytes {
        // They were put in order for good.
        Cow::Borrowed(held) => starts(held),
        Cow::Owned(ref read) => sorted_starts(read),
    };
    Ok((bytes, starts.into_iter().map(|start| start.at).collect()))
}

/// Puts a part in order if it is in memory, and gives ids that stand twice in it.
fn order(part: &mut Part, room: usize, most: usize) -> Result<Vec<[Place; 2]>, StageError> {
    if part.held().is_none() && part.has_one_key() && part.size() > room as u64 {
        return repeated(part, most);
    }
    let bytes = part.bytes()?;
    let starts = sorted_starts(&bytes);
    let row = |start: &Start| Record::read(whole(&bytes, start).bytes);
    let is_repeated = |pair: &&[Start]| pair[0].key == pair[1].key && row(&pair[0]).id() == row(&pair[1]).id();
    let repeated = starts.windows(2).filter(is_repeated).take(most);
    let repeated = repeated
        .map(|pair| [row(&pair[0]).place, row(&pair[1]).place])
        .collect();
    let sorted = matches!(bytes, Cow::Borrowed(_)).then(|| in_order(&bytes, &starts));
    if let (Some(held), Some(sorted)) = (part.held(), sorted) {
        *held = sorted;
    }
    Ok(repeated)
}

/// Finds ids that stand twice among rows of one key for which there is no room. At least one does: another id with the same 64
/// bits of BLAKE3 is hardly to be found, let alone so many.
fn repeated(part: &Part, most: usize) -> Result<Vec<[Place; 2]>, StageError> {
    let mut places: BTreeMap<[u8; 32], Vec<Place>> = BTreeMap::new();
    part.each(|record| {
        let row = Record::read(record.bytes);
        let places = places.entry(*blake3::hash(row.id()).as_bytes()).or_default();
        if places.len() <= most {
            places.push(row.place);
        }
        Ok(())
    })?;
    let pairs = places.values().flat_map(|places| places.windows(2));
    Ok(pairs.map(|pair| [pair[0], pair[1]]).take(most).collect())
}

/// Where a row begins.
#[derive(Clone, Copy)]
struct Start {
    key: u64,
    at: usize,
}

fn whole<'a>(bytes: &'a [u8], start: &Start) -> partitions::Record<'a> {
    record_at(bytes, start.at).expect("a row begins here")
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
    let id = |start: &Start| Record::read(whole(bytes, start).bytes).id();
    starts.sort_unstable_by(|a, b| {
        // Two ids with one key are hardly ever there, unless they are one id.
        let by_hash = || match id(a) == id(b) {
            true => a.at.cmp(&b.at),
            false => blake3::hash(id(a)).as_bytes().cmp(blake3::hash(id(b)).as_bytes()),
        };
        a.key.cmp(&b.key).then_with(by_hash)
    });
    starts
}

fn in_order(bytes: &[u8], starts: &[Start]) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(bytes.len());
    for start in starts {
        sorted.extend_from_slice(whole(bytes, start).whole);
    }
    sorted
}
