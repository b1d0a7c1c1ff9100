//! What does not fit into memory, on disk: parted by bits of its keys, so that what has one key comes to be together.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::marker::PhantomData;

use super::room::Room;
use crate::stages::StageError;

/// So many bits of a key part what there is at each level.
const BITS: u32 = 4;
/// How many levels there are: with the last, all that are in one part have one key.
pub(super) const LEVELS: u32 = u64::BITS / BITS;
/// How much of each part is held before it is written.
const BUFFER: usize = 64 * 1024;

/// What can be parted.
pub(super) trait Parted: Copy {
    /// How many bytes it takes on disk, and about as many in memory.
    const SIZE: usize;

    /// By what it is parted: its first bits first.
    fn key(&self) -> u64;

    /// Adds its bytes.
    fn put(&self, bytes: &mut Vec<u8>);

    /// Reads them.
    fn get(reader: &mut impl Read) -> io::Result<Self>;
}

/// What is being parted.
#[derive(Debug)]
pub(super) struct Partitions<T> {
    room: Room,
    level: u32,
    parts: Vec<Unfinished>,
    of: PhantomData<T>,
}

#[derive(Debug, Default)]
struct Unfinished {
    file: Option<File>,
    buffer: Vec<u8>,
    count: u64,
}

/// What has keys that begin alike, in the order in which it was added.
#[derive(Debug)]
pub(super) struct Part<T> {
    room: Room,
    file: File,
    count: u64,
    of: PhantomData<T>,
}

impl<T: Parted> Partitions<T> {
    /// Parts by the bits of `level`, from 0; all are alike in the levels before.
    pub(super) fn new(room: Room, level: u32) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(1 << BITS, Unfinished::default);
        let of = PhantomData;
        Self { room, level, parts, of }
    }

    /// Adds one more.
    pub(super) fn add(&mut self, added: T) -> Result<(), StageError> {
        let shift = u64::BITS - BITS * (self.level + 1);
        let place = usize::try_from(added.key() >> shift).unwrap_or_default() % self.parts.len();
        let part = &mut self.parts[place];
        part.count += 1;
        added.put(&mut part.buffer);
        match part.buffer.len() >= BUFFER {
            true => part.write(&self.room),
            false => Ok(()),
        }
    }

    /// The parts that have any, in the order of their keys.
    pub(super) fn finish(self) -> Result<Vec<Part<T>>, StageError> {
        let mut parts = Vec::new();
        for mut part in self.parts {
            part.write(&self.room)?;
            parts.extend(part.file.map(|file| Part {
                room: self.room.clone(),
                file,
                count: part.count,
                of: PhantomData,
            }));
        }
        Ok(parts)
    }
}

impl Unfinished {
    fn write(&mut self, room: &Room) -> Result<(), StageError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(room.file()?),
        };
        let written = file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|source| room.failed("write", source))
    }
}

impl<T: Parted> Part<T> {
    /// Whether there is room for it in memory.
    pub(super) fn fits(&self) -> bool {
        self.count.saturating_mul(T::SIZE as u64) <= self.room.held as u64
    }

    /// Gives each to `take`.
    pub(super) fn each(self, mut take: impl FnMut(T) -> Result<(), StageError>) -> Result<(), StageError> {
        let failed = |source| self.room.failed("read", source);
        (&self.file).seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(BUFFER, &self.file);
        for _ in 0..self.count {
            take(T::get(&mut reader).map_err(failed)?)?;
        }
        Ok(())
    }
}
