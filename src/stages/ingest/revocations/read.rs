//! Revocations, read from files: all of them, or nothing is let in.

use serde_json::Value;

use super::super::event::{IdKey, read_json, too_long};
use super::super::fault::{Fault, Faults, at, grouped};
use super::super::lines::{Pieces, Place};
use super::super::schema::EventSchema;
use super::super::source::{Source, unreadable};
use super::{Key, Named, Revocations};
use crate::consent::secret::SecretId;
use crate::consent::token::{SubjectToken, Token, Tokens};
use crate::stages::{InputFile, Refusal, StageError};

/// All of them are held in memory: so many, and no more.
const MAX_LINES: u64 = 1 << 23;

/// The members of which a revocation has one.
const NAMES: [&str; 4] = ["event_id", "subject", "event_token", "subject_token"];

/// What stands for what is withdrawn, beside what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::stages::ingest) enum Standing {
    /// Nobody asks.
    Unasked,
    /// Its token.
    Token,
}

impl Revocations {
    /// Reads every line of `files`, for events that are held against `events`, and whose tokens are made by `tokens`. What is revoked twice
    /// is revoked.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if any line is not a valid revocation, names a person and `events` does not say where an
    /// event does, or names by a token under another secret than that of `tokens`; [`StageError::Io`] if a file cannot be read;
    /// [`StageError::InputChanged`] if it has other bytes than the stage's action says.
    pub fn read(files: &[InputFile], events: &EventSchema, tokens: Option<&Tokens>) -> Result<Self, StageError> {
        Reading::new(tokens, Standing::Unasked).read(files, events)
    }

    /// The same; what stands for all that is withdrawn is known as well, if there is anything to make it by, so that tokens can be
    /// held against it.
    ///
    /// # Errors
    ///
    /// As [`Revocations::read`].
    pub fn read_with_tokens(
        files: &[InputFile],
        events: &EventSchema,
        tokens: Option<&Tokens>,
    ) -> Result<Self, StageError> {
        Reading::new(tokens, Standing::Token).read(files, events)
    }
}

struct Reading<'a> {
    schema: EventSchema,
    tokens: Option<&'a Tokens>,
    revocations: Revocations,
    /// The first that names a person, and how many lines do.
    persons: Option<(Place, u64)>,
    /// The first that names by a token under a secret that is not at hand, and how many lines do.
    strange: Option<(Place, SecretId, u64)>,
}

impl<'a> Reading<'a> {
    fn new(tokens: Option<&'a Tokens>, standing: Standing) -> Self {
        let asked = tokens.filter(|_| standing == Standing::Token);
        Self {
            schema: EventSchema::revocation(),
            tokens,
            revocations: Revocations {
                tokens: asked.map(|_| Box::default()),
                ..Revocations::default()
            },
            persons: None,
            strange: None,
        }
    }

    fn read(mut self, files: &[InputFile], events: &EventSchema) -> Result<Revocations, StageError> {
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
                    let message = format!("there are more than {} revocations", grouped(MAX_LINES));
                    return Err(StageError::Refused(Refusal::of(message)));
                }
                let read = match piece.content() {
                    None => Err(vec![too_long()]),
                    Some(content) => self.add(content, piece.place),
                };
                if let Err(found) = read {
                    invalid += 1;
                    faults.add(lines - 1, piece.place, found);
                }
            }
            file.check_read(pieces.source().hash().into())?;
        }
        if invalid > 0 {
            return Err(StageError::Refused(Refusal {
                summary: format!(
                    "{} of {} revocations are invalid; until they are right, no event can be let in",
                    grouped(invalid),
                    grouped(lines)
                ),
                details: faults.listed().map(|listed| listed.render(files)).collect(),
                unlisted: faults.unlisted(),
                help: None,
                is_for_lack: false,
            }));
        }
        self.refuse_strange(files, lines)?;
        if events.subject().is_none() {
            self.refuse_persons(files, lines)?;
        }
        Ok(self.revocations)
    }

    fn add(&mut self, content: &[u8], place: Place) -> Result<(), Vec<Fault>> {
        let revocation = read_json(content).map_err(|fault| vec![fault])?;
        let named = NAMES.iter().filter(|name| revocation.get(name).is_some()).count();
        if revocation.is_object() && named != 1 {
            let message = format!("must have one of {}, and only one", quoted(&NAMES));
            return Err(vec![Fault::new("", message, "oneOf")]);
        }
        if revocation.get("secret").is_some() && NAMES[..2].iter().any(|name| revocation.get(name).is_some()) {
            let message = "stands beside a token only";
            return Err(vec![Fault::new("/secret", message, "dependentSchemas")]);
        }
        self.schema.check(&revocation)?;
        let key = key_of(&revocation).map_err(|fault| vec![fault])?;
        if let Some(secret) = text_in(&revocation, "secret") {
            let secret = SecretId::from_hex(secret).map_err(|_| vec![no_hash("/secret")])?;
            if self.tokens.is_none_or(|tokens| tokens.secret() != secret) {
                let (first, id, others) = self.strange.unwrap_or((place, secret, 0));
                self.strange = Some((first, id, others + 1));
            }
        }
        if key.kind().named() == Named::Subject {
            let (first, others) = self.persons.unwrap_or((place, 0));
            self.persons = Some((first, others + 1));
        }
        if let (Some(standing_for), Some(tokens)) = (&mut self.revocations.tokens, self.tokens) {
            let id = |name: &str| text_in(&revocation, name).unwrap_or_default();
            match key {
                Key::Event(_) => standing_for.events.insert(tokens.token(id("event_id"))),
                Key::Subject(_) => standing_for.subjects.insert(tokens.subject(id("subject"))),
                Key::EventToken(token) => standing_for.events.insert(token),
                Key::SubjectToken(token) => standing_for.subjects.insert(token),
            };
        }
        self.revocations.insert(key, place);
        Ok(())
    }

    /// Refuses revocations that could not be kept, for no event has a token that could be theirs.
    fn refuse_strange(&self, files: &[InputFile], lines: u64) -> Result<(), StageError> {
        let Some((first, secret, count)) = &self.strange else {
            return Ok(());
        };
        let id = &secret.to_hex()[..8];
        let what = match self.tokens {
            Some(_) => "the consent secret at hand is another",
            None => "there is no consent secret at hand",
        };
        Err(StageError::Refused(Refusal {
            summary: format!(
                "{} of {} revocations name by a token, and {what}; until theirs is, no event can be let in",
                grouped(*count),
                grouped(lines)
            ),
            details: vec![format!("{}: under the secret {id}…, the first of them", at(files, *first))],
            unlisted: 0,
            help: Some(
                "name the secret that they were made under by `MADMALL_CONSENT_SECRET`, or put it back as `consent-secret` into the \
                 configuration folder"
                    .to_owned(),
            ),
            is_for_lack: true,
        }))
    }

    /// Refuses revocations that could not be kept, for nobody knows whose an event is.
    fn refuse_persons(&self, files: &[InputFile], lines: u64) -> Result<(), StageError> {
        let Some((first, count)) = self.persons else {
            return Ok(());
        };
        Err(StageError::Refused(Refusal {
            summary: format!(
                "{} of {} revocations name a person, and it is not known where events do; until it is, no event can be let in",
                grouped(count),
                grouped(lines)
            ),
            details: vec![format!("{}: the first of them", at(files, first))],
            unlisted: 0,
            help: Some("say where by `subject`, a JSON pointer such as `/subject` or `/person/id`".to_owned()),
            is_for_lack: false,
        }))
    }
}

fn text_in<'a>(revocation: &'a Value, name: &str) -> Option<&'a str> {
    revocation.get(name)?.as_str()
}

fn no_hash(name: &str) -> Fault {
    Fault::new(name, "is not 64 lower-case hexadecimal digits", "pattern")
}

/// What a revocation names that satisfies the schema.
fn key_of(revocation: &Value) -> Result<Key, Fault> {
    let text = |name: &str| text_in(revocation, name);
    if let Some(id) = text("event_id") {
        return Ok(Key::Event(IdKey::of(id)));
    }
    if let Some(id) = text("subject") {
        return Ok(Key::Subject(IdKey::of(id)));
    }
    if let Some(token) = text("event_token") {
        let token = Token::from_hex(token).map_err(|_| no_hash("/event_token"))?;
        return Ok(Key::EventToken(token));
    }
    let token = SubjectToken::from_hex(text("subject_token").unwrap_or_default());
    token.map(Key::SubjectToken).map_err(|_| no_hash("/subject_token"))
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
