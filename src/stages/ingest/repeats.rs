//! Ids that stand in more than one line.
//!
//! Of each valid line only a short key of its id is kept, and where it is. Lines whose keys are equal are read again, and
//! compared by their whole ids and bytes.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use rayon::prelude::*;

use super::blocks::MAX_LINE_WITH_END;
use super::event::{IdKey, Reader};
use super::lines::{content_of, open};
use super::schema::EventSchema;
use crate::stages::{InputFile, StageError};

/// A valid line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sighting {
    /// A part of a hash of its id.
    pub id: u64,
    /// Which of the lines that are not blank, from 0.
    pub index: u64,
    /// Where it begins in its file.
    pub offset: u64,
}

/// Lines that have one id.
#[derive(Debug, PartialEq, Eq)]
pub struct Group {
    /// The first of them.
    pub first: u64,
    /// The others in order, and whether each has the same bytes as the first.
    pub later: Vec<(u64, bool)>,
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

    /// Every id that stands more than once. `file_of` tells in which of `files` a line stands.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if a file cannot be read again; [`StageError::InputChanged`] if a line is not as it was.
    pub fn find(
        mut self,
        files: &[InputFile],
        file_of: &dyn Fn(u64) -> u32,
        schema: &EventSchema,
    ) -> Result<Vec<Group>, StageError> {
        self.sightings.par_sort_unstable();
        let mut again = Again {
            files,
            file_of,
            reader: Reader::new(schema),
            open: None,
        };
        let mut groups = Vec::new();
        for alike in self
            .sightings
            .chunk_by(|a, b| a.id == b.id)
            .filter(|alike| alike.len() > 1)
        {
            again.group(alike, &mut groups)?;
        }
        Ok(groups)
    }
}

/// Reads single lines again.
struct Again<'a> {
    files: &'a [InputFile],
    file_of: &'a dyn Fn(u64) -> u32,
    reader: Reader<'a>,
    open: Option<(u32, File)>,
}

impl Again<'_> {
    fn group(&mut self, alike: &[Sighting], groups: &mut Vec<Group>) -> Result<(), StageError> {
        // More than one id with one key is next to impossible, and of no consequence.
        let mut ids: Vec<(IdKey, Vec<u8>, Group)> = Vec::new();
        for sighting in alike {
            let (id, content) = self.read(*sighting)?;
            match ids.iter_mut().find(|(other, ..)| *other == id) {
                Some((_, first, group)) => group.later.push((sighting.index, *first == content)),
                None => {
                    let group = Group {
                        first: sighting.index,
                        later: Vec::new(),
                    };
                    ids.push((id, content, group));
                }
            }
        }
        let repeated = ids.into_iter().map(|(.., group)| group);
        groups.extend(repeated.filter(|group| !group.later.is_empty()));
        Ok(())
    }

    fn read(&mut self, sighting: Sighting) -> Result<(IdKey, Vec<u8>), StageError> {
        let number = (self.file_of)(sighting.index);
        let file = &self.files[number as usize];
        let unreadable = |source| StageError::Io {
            verb: "read",
            path: file.name.clone(),
            source,
        };
        let source = match &mut self.open {
            Some((open, source)) if *open == number => source,
            place => &mut place.insert((number, open(file).map_err(unreadable)?)).1,
        };
        let line = line_at(source, sighting.offset).map_err(unreadable)?;
        let content = content_of(&line);
        match self.reader.read(content) {
            Ok(event) if event.id.short() == sighting.id => Ok((event.id, content.to_vec())),
            _ => Err(StageError::InputChanged {
                path: file.name.clone(),
            }),
        }
    }
}

/// The line that begins at `offset`, with its end.
fn line_at(source: &mut File, offset: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut wanted = 4096;
    source.seek(SeekFrom::Start(offset))?;
    loop {
        let before = line.len();
        let read = (&mut *source).take(wanted).read_to_end(&mut line)?;
        if let Some(end) = memchr::memchr(b'\n', &line[before..]) {
            line.truncate(before + end + 1);
            return Ok(line);
        }
        if read == 0 || line.len() > MAX_LINE_WITH_END {
            return Ok(line);
        }
        wanted *= 4;
    }
}
