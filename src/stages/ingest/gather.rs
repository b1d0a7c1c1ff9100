//! The tokens of the events that are let in, each once, put in order.
//!
//! They come in the order of the lines. They are held in memory as long as there is room, and else on disk, parted by their first
//! bits; each part is then sorted by itself.

use std::io::{self, Read};

use rayon::prelude::*;

use super::event::EventTokens;
use super::partitions::{LEVELS, Part, Parted, Partitions};
use super::room::Room;
use crate::consent::token::{SubjectToken, Token};
use crate::stages::StageError;

/// Told of each token, in order.
pub type Take<'a> = dyn FnMut(Token, Option<SubjectToken>) -> Result<(), StageError> + 'a;

/// Tokens of events that are let in, and of events that turned out not to be.
#[derive(Debug)]
pub struct Gathered {
    room: Room,
    held: Vec<Entry>,
    parted: Option<Partitions<Entry>>,
}

/// What was found of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    event: Token,
    /// That it is not stands before that it is, and settles it.
    is_let_in: bool,
    subject: Option<SubjectToken>,
}

impl Parted for Entry {
    const SIZE: usize = 65;

    fn key(&self) -> u64 {
        let first = self.event.as_bytes().first_chunk();
        first.map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(self.event.as_bytes());
        bytes.push(u8::from(self.is_let_in) | u8::from(self.subject.is_some()) << 1);
        bytes.extend_from_slice(&self.subject.map_or([0; 32], |subject| *subject.as_bytes()));
    }

    fn get(reader: &mut impl Read) -> io::Result<Self> {
        let (mut event, mut what, mut subject) = ([0; 32], [0], [0; 32]);
        for bytes in [&mut event[..], &mut what, &mut subject] {
            reader.read_exact(bytes)?;
        }
        Ok(Self {
            event: Token::from_bytes(event),
            is_let_in: what[0] & 1 != 0,
            subject: (what[0] & 2 != 0).then(|| SubjectToken::from_bytes(subject)),
        })
    }
}

impl Gathered {
    /// None yet.
    #[must_use]
    pub fn new(room: Room) -> Self {
        Self {
            room,
            held: Vec::new(),
            parted: None,
        }
    }

    /// The event with these tokens is let in, as far as is known.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what does not fit into memory cannot be written.
    pub fn let_in(&mut self, tokens: EventTokens) -> Result<(), StageError> {
        self.add(Entry {
            event: tokens.event,
            is_let_in: true,
            subject: tokens.subject,
        })
    }

    /// It is not, whatever was said before or is said later.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what does not fit into memory cannot be written.
    pub fn keep_out(&mut self, tokens: EventTokens) -> Result<(), StageError> {
        self.add(Entry {
            event: tokens.event,
            is_let_in: false,
            subject: None,
        })
    }

    fn add(&mut self, entry: Entry) -> Result<(), StageError> {
        if let Some(parted) = &mut self.parted {
            return parted.add(entry);
        }
        self.held.push(entry);
        if self.held.len() * Entry::SIZE <= self.room.held {
            return Ok(());
        }
        self.parted = Some(parted(&self.room, 0, std::mem::take(&mut self.held))?);
        Ok(())
    }

    /// Gives the tokens of those that are let in to `take`.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what is on disk cannot be read; whatever `take` gives.
    pub fn each(self, take: &mut Take<'_>) -> Result<(), StageError> {
        match self.parted {
            None => give(self.held, take),
            Some(parted) => each_part(parted, 1, &self.room, take),
        }
    }
}

fn parted(room: &Room, level: u32, entries: Vec<Entry>) -> Result<Partitions<Entry>, StageError> {
    let mut parted = Partitions::new(room.clone(), level);
    for entry in entries {
        parted.add(entry)?;
    }
    Ok(parted)
}

/// Gives what is parted by so many levels.
fn each_part(parted: Partitions<Entry>, levels: u32, room: &Room, take: &mut Take<'_>) -> Result<(), StageError> {
    for part in parted.finish()? {
        match read(part, levels, room)? {
            Ok(entries) => give(entries, take)?,
            Err(further) => each_part(further, levels + 1, room, take)?,
        }
    }
    Ok(())
}

/// What is in a part, or what it was parted into since it is too much. Events that stand often are no more than one.
fn read(part: Part<Entry>, levels: u32, room: &Room) -> Result<Result<Vec<Entry>, Partitions<Entry>>, StageError> {
    let most = (room.held / Entry::SIZE).max(2);
    let mut held: Vec<Entry> = Vec::new();
    let mut further = None;
    part.each(|entry| {
        if let Some(further) = &mut further {
            return Partitions::add(further, entry);
        }
        held.push(entry);
        if held.len() > most {
            held.sort_unstable();
            held.dedup();
            // With all levels they are of one event.
            if held.len() > most / 2 && levels < LEVELS {
                further = Some(parted(room, levels, std::mem::take(&mut held))?);
            }
        }
        Ok(())
    })?;
    Ok(further.map_or(Ok(held), Err))
}

fn give(mut entries: Vec<Entry>, take: &mut Take<'_>) -> Result<(), StageError> {
    entries.par_sort_unstable();
    for alike in entries.chunk_by(|a, b| a.event == b.event) {
        if let Some(Entry {
            event,
            is_let_in: true,
            subject,
        }) = alike.first()
        {
            take(*event, *subject)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use camino::Utf8Path;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn those_that_are_let_in_come_once_and_in_order(
            events in prop::collection::vec((0..4_u8, 0..4_u8, 0..40_usize, any::<bool>()), 0..200),
            held in 0..6000_usize,
        ) {
            let temp = tempfile::tempdir().expect("a temporary folder");
            let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
            let mut gathered = Gathered::new(Room::with(folder, held));
            let mut expected: BTreeMap<Token, bool> = BTreeMap::new();
            for (first, last, at, is_let_in) in events {
                let mut bytes = [0; 32];
                bytes[at.min(31)] = first;
                bytes[31] = last;
                let event = Token::from_bytes(bytes);
                let tokens = EventTokens { event, subject: Some(SubjectToken::from_bytes(bytes)) };
                // Most are said to be let in.
                let is_let_in = is_let_in || first > 0;
                match is_let_in {
                    true => gathered.let_in(tokens),
                    false => gathered.keep_out(tokens),
                }.expect("written");
                *expected.entry(event).or_insert(true) &= is_let_in;
            }
            let mut found = Vec::new();
            gathered.each(&mut |event, subject| {
                assert_eq!(subject.map(|subject| *subject.as_bytes()), Some(*event.as_bytes()));
                found.push(event);
                Ok(())
            }).expect("read");
            let expected: Vec<Token> = expected.into_iter().filter_map(|(token, is_let_in)| is_let_in.then_some(token)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
