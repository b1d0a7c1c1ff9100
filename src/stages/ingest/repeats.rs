//! Ids that stand in more than one line.
//!
//! Of each valid line only a short key of its id is kept, and where it is: in memory as long as there is room, and else on disk, parted
//! by the keys. Lines whose keys are equal are read again, in the order in which they stand, and compared by their whole ids and
//! bytes.

use rayon::prelude::*;

use super::again::{Again, Seen};
use super::event::Reader;
use crate::stages::partitions::{Part, Partitions, Record};
use crate::stages::room::Room;
use crate::stages::{InputFile, StageError};

/// What a line takes.
const SIZE: usize = 32;

/// What a line takes while it is read again, with those that are read again at once.
const READ_AGAIN: usize = 192;

/// A valid line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// The short hash of its id.
    pub id: u64,
    /// Which of the lines that are not blank, from 0.
    pub index: u64,
    /// Which of all lines of all files, from 0.
    pub line: u64,
    /// Where it begins in its file, or in what is in it if it is compressed.
    pub offset: u64,
}

impl Sighting {
    fn add_to(self, parted: &mut Partitions) -> Result<(), StageError> {
        parted.add(self.id, |bytes| {
            for number in [self.index, self.line, self.offset] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        })
    }

    /// The line that was added as `record`.
    fn of(record: Record<'_>) -> Self {
        let (numbers, _) = record.bytes.as_chunks();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let mut next = || numbers.next().expect("three numbers were added");
        Self {
            id: record.key,
            index: next(),
            line: next(),
            offset: next(),
        }
    }
}

/// Told of a line, and of the first one with the same id; of those with one id in their order.
pub type Found<'a> = dyn FnMut(&Seen, &Seen) -> Result<(), StageError> + 'a;

/// All valid lines.
#[derive(Debug)]
pub struct Repeats {
    room: Room,
    held: Vec<Sighting>,
    parted: Option<Partitions>,
}

impl Repeats {
    /// None yet.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            held: Vec::new(),
            parted: None,
        }
    }

    /// Notes a line that stands after those before.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what does not fit into memory cannot be written.
    pub fn add(&mut self, sighting: Sighting) -> Result<(), StageError> {
        if let Some(parted) = &mut self.parted {
            return sighting.add_to(parted);
        }
        self.held.push(sighting);
        if self.held.len() * SIZE <= self.room.held {
            return Ok(());
        }
        let mut parted = Partitions::on_disk(&self.room);
        for sighting in std::mem::take(&mut self.held) {
            sighting.add_to(&mut parted)?;
        }
        self.parted = Some(parted);
        Ok(())
    }

    /// Gives every line that has the id of an earlier one to `found`, as `reader` reads it again. `file_of` tells in which of `files`
    /// one of all lines stands.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if a file cannot be read again; [`StageError::InputChanged`] if a line is not as it was; whatever
    /// `found` gives.
    pub fn find(
        self,
        files: &[InputFile],
        file_of: &dyn Fn(u64) -> u32,
        reader: Reader<'_>,
        found: &mut Found<'_>,
    ) -> Result<(), StageError> {
        let mut suspects = Suspects {
            again: Again::new(files, file_of, reader),
            most: (self.room.held / READ_AGAIN).max(1),
            lines: Vec::new(),
            firsts: Vec::new(),
            found,
        };
        match self.parted {
            None => suspects.add_alike(self.held)?,
            Some(parted) => {
                for part in parted.finish(self.room.held)? {
                    suspects.add_part(&part, &self.room)?;
                }
            }
        }
        suspects.compare(None)
    }
}

/// Lines whose ids have keys that another has too, to be compared.
struct Suspects<'a> {
    again: Again<'a>,
    most: usize,
    lines: Vec<Sighting>,
    /// The first lines with the ids that the key has with which the last comparison ended, if there are more with it.
    firsts: Vec<Seen>,
    found: &'a mut Found<'a>,
}

impl Suspects<'_> {
    /// Adds what is on disk: what fits into memory at once, and what does not line by line.
    fn add_part(&mut self, part: &Part, room: &Room) -> Result<(), StageError> {
        if part.size() > room.held as u64 {
            // All of them have one key, and they are in order.
            return part.each(|record| self.add(Sighting::of(record)));
        }
        let mut held = Vec::new();
        part.each(|record| {
            held.push(Sighting::of(record));
            Ok(())
        })?;
        self.add_alike(held)
    }

    /// Adds those of `lines` whose key another of them has too; there are no others with these keys.
    fn add_alike(&mut self, mut lines: Vec<Sighting>) -> Result<(), StageError> {
        lines.par_sort_unstable();
        let groups = lines.chunk_by(|a, b| a.id == b.id);
        let mut suspects = groups.filter(|alike| alike.len() > 1).flatten();
        suspects.try_for_each(|sighting| self.add(*sighting))
    }

    /// Adds a line. Those with one key follow each other, in order.
    fn add(&mut self, sighting: Sighting) -> Result<(), StageError> {
        if self.lines.len() >= self.most {
            self.compare(Some(sighting.id))?;
        }
        self.lines.push(sighting);
        Ok(())
    }

    /// Compares what is there. More lines with the key `open` may come.
    fn compare(&mut self, open: Option<u64>) -> Result<(), StageError> {
        let lines = std::mem::take(&mut self.lines);
        let mut seen = std::mem::take(&mut self.firsts);
        seen.extend(self.again.read_all(lines)?);
        seen.sort_unstable_by_key(|line| (line.id, line.index));
        for alike in seen.chunk_by(|a, b| a.id == b.id) {
            let [first, later @ ..] = alike else { continue };
            for line in later {
                (self.found)(first, line)?;
            }
            if open == Some(first.short) {
                self.firsts.push(*first);
            }
        }
        Ok(())
    }
}
