//! Withdrawn consents.

use std::collections::HashMap;

use serde_json::Value;

use super::event::{IdKey, read_json, too_long};
use super::fault::{Faults, grouped};
use super::lines::{Pieces, Place};
use super::schema::EventSchema;
use super::source::{Source, unreadable};
use crate::stages::{InputFile, Refusal, StageError};

/// The events that must not be used, and which of them were seen.
#[derive(Debug, Default)]
pub struct Revocations {
    by_id: HashMap<IdKey, Revocation>,
}

#[derive(Debug)]
struct Revocation {
    place: Place,
    matched: bool,
}

impl Revocations {
    /// Reads every line of `files`. An event that is revoked twice is revoked.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if any line is not a valid revocation; [`StageError::Io`] if a file cannot be read;
    /// [`StageError::InputChanged`] if it has other bytes than the stage's action says.
    pub fn read(files: &[InputFile]) -> Result<Self, StageError> {
        let schema = EventSchema::revocation();
        let mut revocations = Self::default();
        let mut faults = Faults::default();
        let (mut lines, mut invalid) = (0, 0);
        for (file, number) in files.iter().zip(0..) {
            let source = Source::open(file).map_err(|error| unreadable(file, error))?;
            let mut pieces = Pieces::new(source, number);
            while let Some(piece) = pieces.next_piece().map_err(|error| unreadable(file, error))? {
                if !piece.first || piece.is_blank() {
                    continue;
                }
                lines += 1;
                let read = match piece.content() {
                    None => Err(vec![too_long()]),
                    Some(content) => revocations.add(content, piece.place, &schema),
                };
                if let Err(found) = read {
                    invalid += 1;
                    faults.add(lines - 1, piece.place, found);
                }
            }
            file.check_read(pieces.source().hash().into())?;
        }
        if invalid == 0 {
            return Ok(revocations);
        }
        Err(StageError::Refused(Refusal {
            summary: format!(
                "{} of {} revocations are invalid; until they are right, no event can be let in",
                grouped(invalid),
                grouped(lines)
            ),
            details: faults.listed().map(|listed| listed.render(files)).collect(),
            unlisted: faults.unlisted(),
            help: None,
        }))
    }

    fn add(&mut self, content: &[u8], place: Place, schema: &EventSchema) -> Result<(), Vec<super::fault::Fault>> {
        let revocation = read_json(content).map_err(|fault| vec![fault])?;
        schema.check(&revocation)?;
        // The schema has seen to it that there is a text.
        let id = revocation.get("event_id").and_then(Value::as_str).unwrap_or_default();
        self.by_id
            .entry(IdKey::of(id))
            .or_insert(Revocation { place, matched: false });
        Ok(())
    }

    /// Whether the event is revoked; remembers that it was asked for.
    pub fn revokes(&mut self, id: IdKey) -> bool {
        match self.by_id.get_mut(&id) {
            None => false,
            Some(revocation) => {
                revocation.matched = true;
                true
            }
        }
    }

    /// Whether the event is revoked.
    #[must_use]
    pub fn has(&self, id: IdKey) -> bool {
        self.by_id.contains_key(&id)
    }

    /// How many events are revoked.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_id.len() as u64
    }

    /// Where those stand that name no event that was seen, in the order of lines.
    #[must_use]
    pub fn unknown(&self) -> Vec<Place> {
        let unseen = self.by_id.values().filter(|revocation| !revocation.matched);
        let mut places: Vec<Place> = unseen.map(|revocation| revocation.place).collect();
        places.sort_unstable();
        places
    }
}
