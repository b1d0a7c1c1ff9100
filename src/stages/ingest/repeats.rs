//! Ids that stand in more than one line.
//!
//! Of each valid line only a short key of its id is kept, and where it is. Lines whose keys are equal are read again, in the order
//! in which they stand, and compared by their whole ids and bytes.

use rayon::prelude::*;

use super::again::{Again, Seen};
use super::schema::EventSchema;
use crate::stages::{InputFile, StageError};

/// So many lines are read again at once.
const BATCH: usize = 1 << 19;

/// A valid line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// A part of a hash of its id.
    pub id: u64,
    /// Which of the lines that are not blank, from 0.
    pub index: u64,
    /// Where it begins in its file, or in what is in it if it is compressed.
    pub offset: u64,
}

/// A line that has the id of an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The first line with this id.
    pub first: u64,
    /// This line.
    pub index: u64,
    /// Whether it has the same bytes as the first.
    pub is_same: bool,
}

/// All valid lines.
#[derive(Debug, Default)]
pub struct Repeats {
    sightings: Vec<Sighting>,
}

impl Repeats {
    /// Notes a line.
    pub fn add(&mut self, sighting: Sighting) {
        self.sightings.push(sighting);
    }

    /// Gives every line that has the id of an earlier one to `found`; those with one id in their order. `file_of` tells in
    /// which of `files` a line stands.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if a file cannot be read again; [`StageError::InputChanged`] if a line is not as it was.
    pub fn find(
        mut self,
        files: &[InputFile],
        file_of: &dyn Fn(u64) -> u32,
        schema: &EventSchema,
        found: &mut dyn FnMut(Repeat),
    ) -> Result<(), StageError> {
        self.sightings.par_sort_unstable();
        let mut suspects = Suspects {
            again: Again::new(files, file_of, schema),
            most: BATCH,
            lines: Vec::new(),
            firsts: Vec::new(),
            found,
        };
        let groups = self.sightings.chunk_by(|a, b| a.id == b.id);
        for alike in groups.filter(|alike| alike.len() > 1) {
            suspects.add(alike)?;
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
    found: &'a mut dyn FnMut(Repeat),
}

impl Suspects<'_> {
    /// Adds all lines with one key, in order.
    fn add(&mut self, alike: &[Sighting]) -> Result<(), StageError> {
        for sighting in alike {
            if self.lines.len() >= self.most {
                self.compare(Some(sighting.id))?;
            }
            self.lines.push(*sighting);
        }
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
                (self.found)(Repeat {
                    first: first.index,
                    index: line.index,
                    is_same: line.content == first.content,
                });
            }
            if open == Some(first.id.short()) {
                self.firsts.push(*first);
            }
        }
        Ok(())
    }
}
