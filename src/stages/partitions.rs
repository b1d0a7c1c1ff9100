//! Records parted by the first bits of their keys: in memory as long as there is room, and else on disk.
//!
//! ```text
//! record   length of what follows (u32) │ key (u64) │ bytes         little-endian
//! parts    keys 00… │ keys 01… │ … │ keys ff…                        each in memory, or pieces of one file
//! ```
//!
//! Parts stand in the order of their keys, the records of one in the order in which they were added.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::StageError;
use super::room::Room;

/// So many bits of a key part records at once.
const BITS: u32 = 8;
/// How much of a part that is on disk is held at most before it is written.
const BUFFER: usize = 32 * 1024;
/// What a record takes beside its own bytes.
const HEADER: usize = LENGTH + 8;
const LENGTH: usize = 4;

/// Records that are being parted.
#[derive(Debug)]
pub(crate) struct Partitions {
    room: Room,
    /// How many bits of a key stand after those that part.
    shift: u32,
    parts: Vec<Part>,
    /// So many bytes may be held before all goes to disk.
    most: usize,
    held: usize,
    disk: Option<Arc<Disk>>,
}

/// Records whose keys begin alike, in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Part {
    held: Vec<u8>,
    disk: Option<Arc<Disk>>,
    pieces: Vec<Range<u64>>,
    size: u64,
    count: u64,
    least: u64,
    greatest: u64,
}

/// A record, as it was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) key: u64,
    pub(crate) bytes: &'a [u8],
    /// How it is kept, with its length and its key.
    pub(crate) whole: &'a [u8],
}

/// The file of all parts that are on disk.
#[derive(Debug)]
struct Disk {
    room: Room,
    file: Mutex<(File, u64)>,
}

impl Partitions {
    /// Parts records by the first bits of their keys. They are held in `room` as long as there is some.
    pub(crate) fn new(room: &Room) -> Self {
        Self::by(room, u64::BITS - BITS, room.held)
    }

    /// The same on disk from the first record on.
    pub(crate) fn on_disk(room: &Room) -> Self {
        Self::by(room, u64::BITS - BITS, 0)
    }

    fn by(room: &Room, shift: u32, most: usize) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(1 << BITS, Part::new);
        Self {
            room: room.clone(),
            shift,
            parts,
            most,
            held: 0,
            disk: None,
        }
    }

    /// Adds the record whose bytes `write` adds to what it is given.
    pub(crate) fn add(&mut self, key: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), StageError> {
        let parts = self.parts.len();
        let place = usize::try_from(key >> self.shift).unwrap_or_default() % parts;
        let part = &mut self.parts[place];
        let before = part.held.len();
        part.add(key, write);
        self.held += part.held.len() - before;
        match &self.disk {
            None if self.held > self.most => self.move_to_disk(),
            Some(disk) if part.held.len() >= BUFFER.min(self.room.held / parts) => part.write(disk),
            _ => Ok(()),
        }
    }

    /// Writes all that is held, and makes the room free.
    fn move_to_disk(&mut self) -> Result<(), StageError> {
        let disk = Arc::new(Disk {
            file: Mutex::new((self.room.file()?, 0)),
            room: self.room.clone(),
        });
        for part in &mut self.parts {
            part.write(&disk)?;
            part.held = Vec::new();
        }
        self.disk = Some(disk);
        Ok(())
    }

    /// The parts that have records. One of more than `most` bytes has one key alone, or was in memory all the time.
    pub(crate) fn finish(self, most: usize) -> Result<Vec<Part>, StageError> {
        let mut parts = Vec::new();
        for mut part in self.parts {
            if let Some(disk) = &self.disk {
                part.write(disk)?;
                part.held = Vec::new();
            }
            match part.disk.is_none() || part.size <= most as u64 || part.has_one_key() {
                true => parts.extend((part.count > 0).then_some(part)),
                false => parts.extend(part.parted(&self.room)?.finish(most)?),
            }
        }
        Ok(parts)
    }
}

impl Part {
    fn new() -> Self {
        Self {
            held: Vec::new(),
            disk: None,
            pieces: Vec::new(),
            size: 0,
            count: 0,
            least: u64::MAX,
            greatest: 0,
        }
    }

    fn add(&mut self, key: u64, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.held.len();
        if self.held.capacity() - start < 1024 {
            // By a quarter and not to the double: what is unused counts against the room as well.
            self.held.reserve_exact((start / 4).max(4096));
        }
        self.held.extend_from_slice(&[0; LENGTH]);
        self.held.extend_from_slice(&key.to_le_bytes());
        write(&mut self.held);
        let length =
            u32::try_from(self.held.len() - start - LENGTH).expect("a record is shorter than a block of lines");
        self.held[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
        self.size += (self.held.len() - start) as u64;
        self.count += 1;
        self.least = self.least.min(key);
        self.greatest = self.greatest.max(key);
    }

    /// Writes what is held.
    fn write(&mut self, disk: &Arc<Disk>) -> Result<(), StageError> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.disk = Some(Arc::clone(disk));
        self.pieces.push(disk.write(&self.held)?);
        self.held.clear();
        Ok(())
    }

    /// Parts it by the first bits in which its keys differ.
    fn parted(&self, room: &Room) -> Result<Partitions, StageError> {
        let differing = u64::BITS - (self.least ^ self.greatest).leading_zeros();
        let mut finer = Partitions::by(room, differing.saturating_sub(BITS), 0);
        self.each(|record| finer.add(record.key, |bytes| bytes.extend_from_slice(record.bytes)))?;
        Ok(finer)
    }

    /// How many records it has: one or more.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// How many bytes its records take.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether all records have the same key.
    pub(crate) fn has_one_key(&self) -> bool {
        self.least >= self.greatest
    }

    /// All of its records, as [`records`] takes them.
    pub(crate) fn bytes(&self) -> Result<Cow<'_, [u8]>, StageError> {
        let Some(disk) = &self.disk else {
            return Ok(Cow::Borrowed(&self.held));
        };
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or_default());
        for piece in &self.pieces {
            disk.read(piece, &mut bytes)?;
        }
        Ok(Cow::Owned(bytes))
    }

    /// Gives each record to `take`, without all being in memory that are not.
    pub(crate) fn each(&self, mut take: impl FnMut(Record<'_>) -> Result<(), StageError>) -> Result<(), StageError> {
        let Some(disk) = &self.disk else {
            return records(&self.held).try_for_each(take);
        };
        let mut bytes = Vec::new();
        for piece in &self.pieces {
            bytes.clear();
            disk.read(piece, &mut bytes)?;
            records(&bytes).try_for_each(&mut take)?;
        }
        Ok(())
    }
}

/// The records that stand one after the other in `bytes`.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let record = record_at(bytes, at)?;
        at += record.whole.len();
        Some(record)
    })
}

/// The record that begins in `bytes` at `at`.
pub(crate) fn record_at(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let bytes = bytes.get(at..)?;
    let (length, _) = bytes.split_first_chunk::<LENGTH>()?;
    let length = LENGTH + usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let whole = bytes.get(..length)?;
    let (key, own) = whole[LENGTH..].split_first_chunk::<{ HEADER - LENGTH }>()?;
    Some(Record {
        key: u64::from_le_bytes(*key),
        bytes: own,
        whole,
    })
}

impl Disk {
    /// Writes `bytes`, and gives where they are.
    fn write(&self, bytes: &[u8]) -> Result<Range<u64>, StageError> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, end) = &mut *file;
        let written = file.seek(SeekFrom::Start(*end)).and_then(|_| file.write_all(bytes));
        written.map_err(|source| self.room.failed("write", source))?;
        let start = *end;
        *end += bytes.len() as u64;
        Ok(start..*end)
    }

    /// Adds what is at `piece` to `bytes`.
    fn read(&self, piece: &Range<u64>, bytes: &mut Vec<u8>) -> Result<(), StageError> {
        let wanted = piece.end - piece.start;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, _) = &mut *file;
        let read = file.seek(SeekFrom::Start(piece.start));
        let read = read.and_then(|_| file.take(wanted).read_to_end(bytes));
        let read = read.and_then(|read| match read as u64 == wanted {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        });
        read.map_err(|source| self.room.failed("read", source))
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use proptest::prelude::*;

    use super::*;

    /// All records in the order of the parts, and how many bytes the largest part has that has more than one key.
    fn parted(records: &[(u64, Vec<u8>)], room: &Room, most: usize) -> (Vec<(u64, Vec<u8>)>, u64) {
        let mut partitions = Partitions::new(room);
        for (key, bytes) in records {
            let added = partitions.add(*key, |to| to.extend_from_slice(bytes));
            added.expect("written");
        }
        let (mut all, mut largest) = (Vec::new(), 0);
        for part in partitions.finish(most).expect("written") {
            let bytes = part.bytes().expect("read");
            let whole: Vec<(u64, Vec<u8>)> = super::records(&bytes).map(|of| (of.key, of.bytes.to_vec())).collect();
            assert_eq!((whole.len() as u64, bytes.len() as u64), (part.count(), part.size()));
            let mut each = Vec::new();
            let given = part.each(|record| {
                each.push((record.key, record.bytes.to_vec()));
                Ok(())
            });
            given.expect("read");
            assert_eq!(each, whole, "read at once and one by one");
            if part.disk.is_some() && !part.has_one_key() {
                largest = largest.max(part.size());
            }
            all.extend(whole);
        }
        (all, largest)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn records_come_back_by_their_keys_and_in_their_order_wherever_they_were(
            records in prop::collection::vec(
                (prop_oneof![any::<u64>(), 0..4_u64, Just(u64::MAX)], prop::collection::vec(any::<u8>(), 0..40)),
                0..300,
            ),
            most in 1..400_usize,
        ) {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
            let mut expected = records.clone();
            expected.sort_by_key(|(key, _)| *key);
            for held in [0, 1, 200, 300 * 256, 1 << 20] {
                let (mut all, largest) = parted(&records, &Room::with(folder, held), most);
                prop_assert!(largest <= most as u64, "{largest}");
                // Within a part the order is that in which they were added.
                all.sort_by_key(|(key, _)| *key);
                prop_assert_eq!(&all, &expected, "{} bytes held", held);
            }
            prop_assert_eq!(std::fs::read_dir(folder).expect("listed").count(), 0, "no file has a name");
        }
    }

    #[test]
    fn parts_stand_in_the_order_of_their_keys() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let records: Vec<(u64, Vec<u8>)> = (0..2000_u64)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (n % 3 * 20), vec![0; 8]))
            .collect();
        for held in [0, 1 << 20] {
            let (all, _) = parted(&records, &Room::with(folder, held), 1);
            let mut firsts: Vec<u64> = all.iter().map(|(key, _)| key >> 56).collect();
            assert!(firsts.is_sorted());
            firsts.dedup();
            assert!(firsts.len() > 200);
            // Whatever was on disk was parted until its keys were alike.
            assert!(held > 0 || all.is_sorted_by_key(|(key, _)| *key));
        }
    }

    #[test]
    fn what_is_held_stays_within_the_room() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let most = 4 << 20;
        let mut partitions = Partitions::new(&Room::with(folder, most));
        let mut greatest = 0;
        for number in 0..400_000_u64 {
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            partitions
                .add(key, |to| to.extend_from_slice(&[7; 52]))
                .expect("written");
            if number % 1000 == 0 {
                let held: usize = partitions.parts.iter().map(|part| part.held.capacity()).sum();
                greatest = greatest.max(held);
            }
        }
        assert!(greatest > most / 2 && greatest < most + most / 2, "{greatest}");
        let parts = partitions.finish(1 << 20).expect("written");
        assert_eq!(parts.iter().map(Part::size).sum::<u64>(), 400_000 * 64);
        assert!(parts.iter().all(|part| part.held.capacity() == 0));
    }
}
