//! Withdrawn consents.

use std::collections::HashMap;

use serde_json::Value;

use super::event::{Event, IdKey, read_json, too_long};
use super::fault::{Fault, Faults, at, grouped};
use super::lines::{Pieces, Place};
use super::schema::EventSchema;
use super::source::{Source, unreadable};
use crate::stages::{InputFile, Refusal, StageError};

/// The events and the persons whose consent was withdrawn, and which of them were seen.
#[derive(Debug, Default)]
pub struct Revocations {
    by_event: HashMap<IdKey, Revocation>,
    by_subject: HashMap<IdKey, Revocation>,
}

/// By what a revocation names events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the id of one.
    Event,
    /// By the id of the person that they came from.
    Subject,
}

impl Named {
    /// Every way.
    pub const ALL: [Self; 2] = [Self::Event, Self::Subject];
}

/// All of them are held in memory: so many, and no more.
const MAX_LINES: u64 = 1 << 23;

/// The members of which a revocation has one.
const NAMES: [&str; 2] = ["event_id", "subject"];

#[derive(Debug)]
struct Revocation {
    place: Place,
    matched: bool,
}

impl Revocation {
    /// One that stands in no file.
    const GIVEN: Self = Self {
        place: Place { file: 0, line: 1 },
        matched: false,
    };
}

impl Revocations {
    /// The event with this id alone.
    #[must_use]
    pub fn of_event(id: &str) -> Self {
        let mut revocations = Self::default();
        revocations.by_event.insert(IdKey::of(id), Revocation::GIVEN);
        revocations
    }

    /// The events of this person alone.
    #[must_use]
    pub fn of_subject(id: &str) -> Self {
        let mut revocations = Self::default();
        revocations.by_subject.insert(IdKey::of(id), Revocation::GIVEN);
        revocations
    }

    /// Adds what is withdrawn by `other` too.
    pub fn add_all(&mut self, other: Self) {
        self.by_event.extend(other.by_event);
        self.by_subject.extend(other.by_subject);
    }

    /// Whether all that `other` withdraws is withdrawn by these too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other.by_event.keys().all(|id| self.by_event.contains_key(id))
            && other.by_subject.keys().all(|id| self.by_subject.contains_key(id))
    }

    /// Whether a person is among what they name.
    #[must_use]
    pub fn name_persons(&self) -> bool {
        !self.by_subject.is_empty()
    }

    /// Reads every line of `files`, for events that are held against `events`. What is revoked twice is revoked.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if any line is not a valid revocation, or names a person and `events` does not say where an
    /// event does; [`StageError::Io`] if a file cannot be read;
    /// [`StageError::InputChanged`] if it has other bytes than the stage's action says.
    pub fn read(files: &[InputFile], events: &EventSchema) -> Result<Self, StageError> {
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
                if lines > MAX_LINES {
                    return Err(StageError::Refused(Refusal::of(format!(
                        "there are more than {} revocations",
                        grouped(MAX_LINES)
                    ))));
                }
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
            return match events.subject() {
                None => revocations.without_subjects(files),
                Some(_) => Ok(revocations),
            };
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

    fn add(&mut self, content: &[u8], place: Place, schema: &EventSchema) -> Result<(), Vec<Fault>> {
        let revocation = read_json(content).map_err(|fault| vec![fault])?;
        let named = NAMES.iter().filter(|name| revocation.get(name).is_some()).count();
        if revocation.is_object() && named != 1 {
            let message = format!("must have one of {}, and only one", quoted(&NAMES));
            return Err(vec![Fault::new("", message, "oneOf")]);
        }
        schema.check(&revocation)?;
        for (name, revoked) in NAMES.iter().zip([&mut self.by_event, &mut self.by_subject]) {
            if let Some(id) = revocation.get(name).and_then(Value::as_str) {
                let revocation = Revocation { place, matched: false };
                revoked.entry(IdKey::of(id)).or_insert(revocation);
            }
        }
        Ok(())
    }

    /// Refuses revocations that could not be kept.
    fn without_subjects(self, files: &[InputFile]) -> Result<Self, StageError> {
        let Some(first) = self.by_subject.values().map(|revocation| revocation.place).min() else {
            return Ok(self);
        };
        Err(StageError::Refused(Refusal {
            summary: format!(
                "{} of {} revocations name a person, and it is not known where events do; until it is, no event can be let in",
                grouped(self.by_subject.len() as u64),
                grouped(self.total())
            ),
            details: vec![format!("{}: the first of them", at(files, first))],
            unlisted: 0,
            help: Some("say where by `subject`, a JSON pointer such as `/subject` or `/person/id`".to_owned()),
        }))
    }

    /// By what the event is revoked, if it is; remembers that it was asked for. What it is itself named by comes first.
    pub fn revokes(&mut self, event: &Event) -> Option<Named> {
        let mut found = None;
        if let Some(revocation) = event.subject.and_then(|subject| self.by_subject.get_mut(&subject)) {
            revocation.matched = true;
            found = Some(Named::Subject);
        }
        if let Some(revocation) = self.by_event.get_mut(&event.id) {
            revocation.matched = true;
            found = Some(Named::Event);
        }
        found
    }

    /// Whether the event is revoked.
    #[must_use]
    pub fn has(&self, event: &Event) -> bool {
        let is_of_subject = |subject: IdKey| self.by_subject.contains_key(&subject);
        self.by_event.contains_key(&event.id) || event.subject.is_some_and(is_of_subject)
    }

    /// How many events and persons are named.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.all().count() as u64
    }

    /// Where those stand that name no event that was seen, in the order of lines.
    #[must_use]
    pub fn unknown(&self) -> Vec<Place> {
        let unseen = self.all().filter(|revocation| !revocation.matched);
        let mut places: Vec<Place> = unseen.map(|revocation| revocation.place).collect();
        places.sort_unstable();
        places
    }

    fn all(&self) -> impl Iterator<Item = &Revocation> {
        self.by_event.values().chain(self.by_subject.values())
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
