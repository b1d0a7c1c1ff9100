//! The tokens of the events that are let in, each once, put in order.
//!
//! They come in the order of the lines. They are held in memory as long as there is room, and else on disk, parted by their first
//! bits; each part is then sorted by itself.

use camino::Utf8PathBuf;
use rayon::prelude::*;

use super::event::EventTokens;
use crate::consent::population::{Form, Population, PopulationWriter};
use crate::consent::secret::SecretId;
use crate::consent::token::{SubjectToken, Token};
use crate::stages::StageError;
use crate::stages::partitions::{Part, Partitions, Record};
use crate::stages::room::Room;

/// Tokens of events that are let in, and of events that turned out not to be.
#[derive(Debug)]
pub struct Gathered {
    room: Room,
    held: Vec<Entry>,
    parted: Option<Partitions>,
}

/// What was found of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    event: Token,
    /// That it is not stands before that it is, and settles it.
    is_let_in: bool,
    subject: Option<SubjectToken>,
}

impl Entry {
    /// What it takes.
    const SIZE: usize = 65;

    /// How the token begins, as a number: in the same order as tokens are.
    fn key(&self) -> u64 {
        let first = self.event.as_bytes().first_chunk();
        first.map_or(0, |first| u64::from_be_bytes(*first))
    }

    fn add_to(self, parted: &mut Partitions) -> Result<(), StageError> {
        parted.add(self.key(), |bytes| {
            bytes.extend_from_slice(self.event.as_bytes());
            bytes.extend_from_slice(&self.subject.map_or([0; 32], |subject| *subject.as_bytes()));
            bytes.push(u8::from(self.is_let_in) | u8::from(self.subject.is_some()) << 1);
        })
    }

    /// The one that was added as `record`.
    fn of(record: Record<'_>) -> Self {
        let (tokens, what) = record.bytes.as_chunks();
        let [event, subject] = tokens else {
            panic!("two tokens were added");
        };
        let what = what.first().map_or(0, |what| *what);
        Self {
            event: Token::from_bytes(*event),
            is_let_in: what & 1 != 0,
            subject: (what & 2 != 0).then(|| SubjectToken::from_bytes(*subject)),
        }
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
            return entry.add_to(parted);
        }
        self.held.push(entry);
        if self.held.len() * Entry::SIZE <= self.room.held {
            return Ok(());
        }
        let mut parted = Partitions::on_disk(&self.room);
        for entry in std::mem::take(&mut self.held) {
            entry.add_to(&mut parted)?;
        }
        self.parted = Some(parted);
        Ok(())
    }

    /// Writes the tokens of those that are let in to `file`, in order. They are keyed by `secret`.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if it cannot be written, or what is on disk cannot be read.
    pub fn write(self, file: Utf8PathBuf, form: Form, secret: SecretId) -> Result<Population, StageError> {
        let failed = |source| StageError::Io {
            verb: "write",
            path: file.clone(),
            source,
        };
        let mut writer = PopulationWriter::create(&file, form).map_err(failed)?;
        self.each(&mut |entries| {
            let tokens = |entry: &Entry| (entry.event, entry.subject);
            writer.extend(entries, tokens).map_err(failed)
        })?;
        let (root, size) = writer.finish().map_err(failed)?;
        Ok(Population {
            root,
            size,
            secret,
            file,
        })
    }

    /// Gives those that are let in to `take`, in order, many at once.
    fn each(self, take: &mut dyn FnMut(&[Entry]) -> Result<(), StageError>) -> Result<(), StageError> {
        let Some(parted) = self.parted else {
            return take(&settled(self.held));
        };
        for part in parted.finish(self.room.held)? {
            take(&settled(read(&part, &self.room)?))?;
        }
        Ok(())
    }
}

/// What is in a part. Events that stand often are no more than one: if it does not fit into memory they all begin alike, and are
/// hardly more than one event.
fn read(part: &Part, room: &Room) -> Result<Vec<Entry>, StageError> {
    let most = (room.held / Entry::SIZE).max(2);
    let mut held: Vec<Entry> = Vec::new();
    part.each(|record| {
        held.push(Entry::of(record));
        if held.len() > most {
            held.sort_unstable();
            held.dedup();
        }
        Ok(())
    })?;
    Ok(held)
}

/// Those that are let in, each once and in order.
fn settled(mut entries: Vec<Entry>) -> Vec<Entry> {
    // Two numbers are compared in a moment, and hardly any two are alike.
    entries.par_sort_unstable_by(|a, b| a.key().cmp(&b.key()).then_with(|| a.cmp(b)));
    // The first of those that are alike stays.
    entries.dedup_by_key(|entry| entry.event);
    entries.retain(|entry| entry.is_let_in);
    entries
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
            gathered.each(&mut |entries| {
                for Entry { event, subject, .. } in entries {
                    assert_eq!(subject.map(|subject| *subject.as_bytes()), Some(*event.as_bytes()));
                    found.push(*event);
                }
                Ok(())
            }).expect("read");
            let expected: Vec<Token> = expected.into_iter().filter_map(|(token, is_let_in)| is_let_in.then_some(token)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
