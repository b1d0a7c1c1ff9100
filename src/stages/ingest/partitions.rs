//! Lines on disk, parted by bits of the keys of their ids, so that those with one key come to be together.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};

use super::repeats::Sighting;
use super::room::Room;
use crate::stages::StageError;

/// So many bits of a key part lines at each level.
const BITS: u32 = 4;
/// How many levels there are: with the last, all that are in one part have one key.
pub(super) const LEVELS: u32 = u64::BITS / BITS;
/// How much of each part is held before it is written.
const BUFFER: usize = 64 * 1024;
/// What a line takes.
pub(super) const SIZE: usize = 32;

/// Lines that are being parted.
#[derive(Debug)]
pub(super) struct Partitions {
    room: Room,
    level: u32,
    parts: Vec<Unfinished>,
}

#[derive(Debug, Default)]
struct Unfinished {
    file: Option<File>,
    buffer: Vec<u8>,
    count: u64,
}

/// Lines whose keys begin alike, in the order in which they stand.
#[derive(Debug)]
pub(super) struct Part {
    room: Room,
    file: File,
    count: u64,
}

impl Partitions {
    /// Parts lines by the bits of `level`, from 0; they are alike in the levels before.
    pub(super) fn new(room: Room, level: u32) -> Self {
        let mut parts = Vec::new();
        parts.resize_with(1 << BITS, Unfinished::default);
        Self { room, level, parts }
    }

    /// Adds a line that stands after those before.
    pub(super) fn add(&mut self, sighting: Sighting) -> Result<(), StageError> {
        let shift = u64::BITS - BITS * (self.level + 1);
        let place = usize::try_from(sighting.id >> shift).unwrap_or_default() % self.parts.len();
        let part = &mut self.parts[place];
        part.count += 1;
        for number in [sighting.id, sighting.index, sighting.line, sighting.offset] {
            part.buffer.extend_from_slice(&number.to_le_bytes());
        }
        match part.buffer.len() >= BUFFER {
            true => part.write(&self.room),
            false => Ok(()),
        }
    }

    /// The parts that have lines.
    pub(super) fn finish(self) -> Result<Vec<Part>, StageError> {
        let mut parts = Vec::new();
        for mut part in self.parts {
            part.write(&self.room)?;
            parts.extend(part.file.map(|file| Part {
                room: self.room.clone(),
                file,
                count: part.count,
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

impl Part {
    /// Whether there is room for it in memory.
    pub(super) fn fits(&self) -> bool {
        self.count.saturating_mul(SIZE as u64) <= self.room.held as u64
    }

    /// Gives each line to `take`.
    pub(super) fn each(self, mut take: impl FnMut(Sighting) -> Result<(), StageError>) -> Result<(), StageError> {
        let failed = |source| self.room.failed("read", source);
        (&self.file).seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(BUFFER, &self.file);
        for _ in 0..self.count {
            take(read(&mut reader).map_err(failed)?)?;
        }
        Ok(())
    }
}

fn read(reader: &mut impl Read) -> io::Result<Sighting> {
    let mut next = || {
        let mut bytes = [0; 8];
        reader.read_exact(&mut bytes)?;
        Ok::<u64, io::Error>(u64::from_le_bytes(bytes))
    };
    Ok(Sighting {
        id: next()?,
        index: next()?,
        line: next()?,
        offset: next()?,
    })
}
