//! Withdrawn consents.

mod read;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use super::event::{Event, IdKey};
use super::lines::Place;
use crate::consent::population::{KeptPopulation, PopulationError};
use crate::consent::token::{SubjectToken, Token, Tokens};

/// The events and the persons whose consent was withdrawn, and which of them were seen.
#[derive(Debug, Default)]
pub struct Revocations {
    by: HashMap<Key, Revocation>,
    /// Which kinds of keys there are: those of others need not be looked for.
    kinds: Vec<Kind>,
    /// What stands for all that they name, if that was asked for.
    tokens: Option<Box<StandingFor>>,
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

/// What a revocation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Event(IdKey),
    Subject(IdKey),
    EventToken(Token),
    SubjectToken(SubjectToken),
}

/// How it names it: the member that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Event,
    Subject,
    EventToken,
    SubjectToken,
}

/// The tokens of what is withdrawn.
#[derive(Debug, Default)]
struct StandingFor {
    events: HashSet<Token>,
    subjects: HashSet<SubjectToken>,
}

#[derive(Debug)]
struct Revocation {
    place: Place,
    matched: AtomicBool,
}

impl Key {
    const fn kind(&self) -> Kind {
        match self {
            Self::Event(_) => Kind::Event,
            Self::Subject(_) => Kind::Subject,
            Self::EventToken(_) => Kind::EventToken,
            Self::SubjectToken(_) => Kind::SubjectToken,
        }
    }
}

impl Kind {
    const fn named(self) -> Named {
        match self {
            Self::Event | Self::EventToken => Named::Event,
            Self::Subject | Self::SubjectToken => Named::Subject,
        }
    }

    /// What of this kind stands for `event`.
    fn key_of(self, event: &Event<'_>) -> Option<Key> {
        match self {
            Self::Event => Some(Key::Event(event.key())),
            Self::Subject => event.subject_key().map(Key::Subject),
            Self::EventToken => event.tokens().map(|tokens| Key::EventToken(tokens.event)),
            Self::SubjectToken => event.tokens()?.subject.map(Key::SubjectToken),
        }
    }
}

impl Revocations {
    /// The event with this id alone; with its token, if there is anything to make it by.
    #[must_use]
    pub fn of_event(id: &str, tokens: Option<&Tokens>) -> Self {
        let mut revocations = Self::given(Key::Event(IdKey::of(id)));
        revocations.tokens = tokens.map(|tokens| {
            Box::new(StandingFor {
                events: HashSet::from([tokens.token(id)]),
                ..StandingFor::default()
            })
        });
        revocations
    }

    /// The events of this person alone; with the person's token, if there is anything to make it by.
    #[must_use]
    pub fn of_subject(id: &str, tokens: Option<&Tokens>) -> Self {
        let mut revocations = Self::given(Key::Subject(IdKey::of(id)));
        revocations.tokens = tokens.map(|tokens| {
            Box::new(StandingFor {
                subjects: HashSet::from([tokens.subject(id)]),
                ..StandingFor::default()
            })
        });
        revocations
    }

    /// One that stands in no file.
    fn given(key: Key) -> Self {
        let mut revocations = Self::default();
        revocations.insert(key, Place { file: 0, line: 1 });
        revocations
    }

    fn insert(&mut self, key: Key, place: Place) {
        self.add_kind(key.kind());
        self.by.entry(key).or_insert(Revocation {
            place,
            matched: AtomicBool::new(false),
        });
    }

    fn add_kind(&mut self, kind: Kind) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }

    /// Adds what is withdrawn by `other` too.
    pub fn add_all(&mut self, other: Self) {
        // What stands for all of them is known only if it is of each.
        let is_first = self.by.is_empty();
        self.tokens = match (self.tokens.take(), other.tokens) {
            (Some(mut own), Some(others)) => {
                own.events.extend(others.events);
                own.subjects.extend(others.subjects);
                Some(own)
            }
            (None, others) if is_first => others,
            (own, _) if other.by.is_empty() => own,
            _ => None,
        };
        self.by.extend(other.by);
        other.kinds.into_iter().for_each(|kind| self.add_kind(kind));
    }

    /// Whether all that `other` withdraws is withdrawn by these too: by its id, or, if both know what stands for it, by its token.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let is_by_token = || match (&self.tokens, &other.tokens) {
            (Some(own), Some(others)) => {
                others.events.is_subset(&own.events) && others.subjects.is_subset(&own.subjects)
            }
            _ => false,
        };
        other.by.keys().all(|key| self.by.contains_key(key)) || is_by_token()
    }

    /// Whether a person is among what they name.
    #[must_use]
    pub fn name_persons(&self) -> bool {
        self.kinds.iter().any(|kind| kind.named() == Named::Subject)
    }

    /// Whether any names by a token, so that those of events are needed to tell.
    #[must_use]
    pub fn name_tokens(&self) -> bool {
        self.kinds.contains(&Kind::EventToken) || self.kinds.contains(&Kind::SubjectToken)
    }

    /// By what the event is revoked, if it is; remembers that it was asked for. What it is itself named by comes first. May be asked from
    /// whatever thread.
    pub fn revokes(&self, event: &Event<'_>) -> Option<Named> {
        let mut found = None;
        for kind in &self.kinds {
            if let Some(revocation) = kind.key_of(event).and_then(|key| self.by.get(&key)) {
                revocation.matched.store(true, Ordering::Relaxed);
                if found != Some(Named::Event) {
                    found = Some(kind.named());
                }
            }
        }
        found
    }

    /// Whether the event is revoked.
    #[must_use]
    pub fn has(&self, event: &Event<'_>) -> bool {
        let is_named = |kind: &Kind| kind.key_of(event).is_some_and(|key| self.by.contains_key(&key));
        self.kinds.iter().any(is_named)
    }

    /// How many of the events in `population` are revoked; nothing if that cannot be told by tokens, for it is not known what stands for
    /// all that is withdrawn, or for the persons of these events.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if it cannot be read, or is damaged.
    pub fn count_in(&self, population: &KeptPopulation) -> Result<Option<u64>, PopulationError> {
        let Some(standing_for) = &self.tokens else {
            return Ok(None);
        };
        let (mut count, mut without_person) = (0, 0_u64);
        population.each(|event, subject| {
            let is_of_subject = subject.is_some_and(|subject| standing_for.subjects.contains(&subject));
            count += u64::from(is_of_subject || standing_for.events.contains(&event));
            without_person += u64::from(subject.is_none());
        })?;
        let is_told = count > 0 || without_person == 0 || !self.name_persons();
        Ok(is_told.then_some(count))
    }

    /// How many events and persons are named.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by.len() as u64
    }

    /// Where those stand that name no event that was seen, in the order of lines.
    #[must_use]
    pub fn unknown(&self) -> Vec<Place> {
        let unseen = self
            .by
            .values()
            .filter(|revocation| !revocation.matched.load(Ordering::Relaxed));
        let mut places: Vec<Place> = unseen.map(|revocation| revocation.place).collect();
        places.sort_unstable();
        places
    }
}
