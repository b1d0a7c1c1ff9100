//! One line: is it an event, and what does `ingest` need to know of it?

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hasher as _};

use serde_json::Value;

use super::fault::Fault;
use super::lines::MAX_LINE;
use super::schema::EventSchema;
use super::subject::SubjectPointer;
use crate::consent::Scope;
use crate::consent::purposes::Purposes;
use crate::consent::token::{SubjectToken, Token, Tokens};
use crate::json::{Limits, parse_strict};
use crate::recognise::{Member, Memory, Recognised, Recogniser};
use crate::stages::featurize::reading::Taken;
use crate::stages::read_ahead::LinesAhead;

/// How deep an event may be.
pub(super) const MAX_DEPTH: usize = 64;

/// How large and how deep an event may be.
const LIMITS: Limits = Limits {
    bytes: MAX_LINE,
    depth: MAX_DEPTH,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A valid event, and what `ingest` needs to know of it. What stands for it is made when it is asked for.
pub struct Event<'a> {
    /// Its `event_id`.
    pub id: &'a str,
    /// The person that it came from, if `ingest` is told where events name one.
    pub subject: Option<&'a str>,
    /// Its consent and source.
    pub facts: Facts,
    by: Option<&'a Tokens>,
    key: OnceCell<IdKey>,
    tokens: OnceCell<EventTokens>,
}

/// What stands for an event, and for the person that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTokens {
    /// For the event.
    pub event: Token,
    /// For the person, if `ingest` is told where events name one.
    pub subject: Option<SubjectToken>,
}

/// What is counted of an accepted event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What its person agreed to.
    pub consent: Consent,
    /// Where it came from.
    pub source: SourceKind,
}

/// What the person that an event came from agreed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consent {
    /// To what use.
    pub scope: Scope,
    /// Whether it may be withdrawn: unless `consent.revocable` is `false`.
    pub is_revocable: bool,
}

/// The first half of the BLAKE3 of the id of an event, or of a person: equal ids have equal keys, and no two ids with one key are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdKey([u8; 16]);

impl IdKey {
    /// The key of an id, as its parsed text has it.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self(half_digest(id.as_bytes()))
    }

    /// Its first half: few ids that are not the same have the same.
    #[must_use]
    pub fn short(self) -> u64 {
        let mut half = [0; 8];
        half.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(half)
    }
}

/// The first half of the BLAKE3 of `bytes`.
fn half_digest(bytes: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(bytes).as_bytes()[..16]);
    half
}

/// The kinds of source that byte events know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// An event of the network (a health fair, a screening day).
    Event,
    /// A kit sent by mail.
    MailKit,
    /// A mobile unit.
    MobileUnit,
    /// Whatever else a schema other than that of byte events allows.
    Other,
    /// A pharmacy.
    Pharmacy,
    /// The person.
    Person,
}

impl SourceKind {
    /// Every kind, in the byte order of their words.
    pub const ALL: [Self; 6] = [
        Self::Event,
        Self::MailKit,
        Self::MobileUnit,
        Self::Other,
        Self::Pharmacy,
        Self::Person,
    ];

    fn of(event: &Value) -> Self {
        let source = event.get("source");
        let kind = source.and_then(|source| source.get("kind")).or(source);
        Self::named(kind.and_then(Value::as_str))
    }

    fn named(word: Option<&str>) -> Self {
        match word {
            Some("event") => Self::Event,
            Some("mail_kit") => Self::MailKit,
            Some("mobile_unit") => Self::MobileUnit,
            Some("pharmacy") => Self::Pharmacy,
            Some("self") => Self::Person,
            _ => Self::Other,
        }
    }

    /// The word for it in an event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::MailKit => "mail_kit",
            Self::MobileUnit => "mobile_unit",
            Self::Other => "other",
            Self::Pharmacy => "pharmacy",
            Self::Person => "self",
        }
    }
}

/// Reads lines as events.
pub struct Reader<'a> {
    schema: &'a EventSchema,
    quick: Option<(&'a Recogniser, Memory)>,
    tokens: Option<&'a Tokens>,
}

impl<'a> Reader<'a> {
    /// Reads events that `schema` allows, which know their `tokens` if there are any to make them by.
    #[must_use]
    pub fn new(schema: &'a EventSchema, tokens: Option<&'a Tokens>) -> Self {
        let quick = schema.recogniser().map(|recogniser| (recogniser, recogniser.memory()));
        Self { schema, quick, tokens }
    }

    /// Reads one line (without its end) as an event: strict JSON, then the schema, then id and consent. Gives what `told` makes of it.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at least one fault.
    pub fn read<T>(&mut self, content: &[u8], told: impl FnOnce(&Event<'_>) -> T) -> Result<T, Vec<Fault>> {
        self.read_ahead(content, |event| (told(event), false), None)
    }

    /// The same; what `ahead` wants of an event is noted there if `told` says that it is let in.
    ///
    /// # Errors
    ///
    /// As [`Reader::read`].
    pub(in crate::stages) fn read_ahead<T>(
        &mut self,
        content: &[u8],
        told: impl FnOnce(&Event<'_>) -> (T, bool),
        ahead: Option<&mut LinesAhead<'_>>,
    ) -> Result<T, Vec<Fault>> {
        if content.len() <= MAX_LINE
            && let Some((recogniser, memory)) = &mut self.quick
            && let Some(found) = recogniser.recognise(content, memory)
            && let Some(event) = Event::of(&found, self.schema, self.tokens)
        {
            let (made, is_let_in) = told(&event);
            if let Some(ahead) = ahead.filter(|_| is_let_in) {
                match ahead.add_recognised(content, (&found, event.key())) {
                    Some(Taken::Whole) => {}
                    Some(Taken::NewKeys(numbers)) => {
                        ahead.learn(&numbers, memory);
                        ahead.add(content);
                    }
                    None => ahead.add(content),
                }
            }
            return Ok(made);
        }
        // The complete path: a tree of the line, held against the schema.
        let tree = read_json(content).map_err(|fault| vec![fault])?;
        let (made, is_let_in) = told(&check(&tree, self.schema, self.tokens)?);
        if let Some(ahead) = ahead.filter(|_| is_let_in) {
            ahead.add(content);
        }
        Ok(made)
    }
}

impl<'a> Event<'a> {
    fn new((id, subject): (&'a str, Option<&'a str>), facts: Facts, by: Option<&'a Tokens>) -> Self {
        Self {
            id,
            subject,
            facts,
            by,
            key: OnceCell::new(),
            tokens: OnceCell::new(),
        }
    }

    /// The event that was recognised, if its id and scope are in order, and its subject if `schema` asks for one.
    #[must_use]
    pub fn of(found: &Recognised<'a>, schema: &EventSchema, tokens: Option<&'a Tokens>) -> Option<Self> {
        let (Member::Text(id), Member::Text(scope)) = (found.id, found.scope) else {
            return None;
        };
        if !is_id(id) {
            return None;
        }
        let subject = match (schema.subject(), found.subject) {
            (None, _) => None,
            (Some(_), Member::Text(subject)) if is_id(subject) => Some(subject),
            _ => return None,
        };
        let kind = match (found.source_kind, found.source) {
            (Member::Text(kind), _) | (Member::Absent, Member::Text(kind)) => Some(kind),
            _ => None,
        };
        let facts = Facts {
            consent: Consent {
                scope: schema.purposes().scope(scope)?,
                is_revocable: found.revocable != Member::Boolean(false),
            },
            source: SourceKind::named(kind),
        };
        Some(Self::new((id, subject), facts, tokens))
    }

    /// Stands for its id.
    pub fn key(&self) -> IdKey {
        *self.key.get_or_init(|| IdKey::of(self.id))
    }

    /// Stands for the person that it came from.
    #[must_use]
    pub fn subject_key(&self) -> Option<IdKey> {
        self.subject.map(IdKey::of)
    }

    /// What stands for it outside of here, if there is anything to make that by.
    pub fn tokens(&self) -> Option<EventTokens> {
        let by = self.by?;
        let make = || EventTokens {
            event: by.token(self.id),
            subject: self.subject.map(|subject| by.subject(subject)),
        };
        Some(*self.tokens.get_or_init(make))
    }

    /// A short hash of its id: few ids that are not the same have the same, and who makes some up that have makes nothing but work. It
    /// means nothing outside of this process.
    #[must_use]
    pub fn short(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.id.as_bytes());
        hasher.finish()
    }
}

/// Holds a tree against the schema, then looks at id and consent.
///
/// # Errors
///
/// Everything that is wrong with it, at least one fault.
pub fn check<'a>(event: &'a Value, schema: &EventSchema, tokens: Option<&'a Tokens>) -> Result<Event<'a>, Vec<Fault>> {
    schema.check(event)?;
    let subject = schema.subject().map(|pointer| subject_of(event, pointer)).transpose();
    match (id_of(event), scope_of(event, schema.purposes()), subject) {
        (Ok(id), Ok(scope), Ok(subject)) => {
            let facts = Facts {
                consent: Consent {
                    scope,
                    is_revocable: is_revocable(event),
                },
                source: SourceKind::of(event),
            };
            Ok(Event::new((id, subject), facts, tokens))
        }
        (id, scope, subject) => Err([id.err(), scope.err(), subject.err()].into_iter().flatten().collect()),
    }
}

/// Reads one line as strict JSON.
///
/// # Errors
///
/// What is wrong with it: a byte order mark, a carriage return inside, no JSON, a key twice, too long, too deep.
pub fn read_json(content: &[u8]) -> Result<Value, Fault> {
    if content.starts_with(BYTE_ORDER_MARK) {
        let message = "begins with a byte order mark: save the file as UTF-8 without one";
        return Err(Fault::new("", message, "line"));
    }
    if content.contains(&b'\r') {
        let message = "has a carriage return inside: end each line with LF or CR LF";
        return Err(Fault::new("", message, "line"));
    }
    parse_strict(content, LIMITS).map_err(|error| {
        let message = super::fault::printable(&error.message);
        Fault::new("", format!("{message}, at column {}", error.column), "json")
    })
}

/// The fault of a line that was not even read whole.
#[must_use]
pub fn too_long() -> Fault {
    Fault::new("", format!("is longer than {MAX_LINE} bytes"), "line")
}

// The schema of byte events demands what `id_of` and `scope_of` ask for; a schema of the user's own may not.

fn id_of(event: &Value) -> Result<&str, Fault> {
    let fault = |message| Err(Fault::new("/event_id", message, "event_id"));
    match event.get("event_id").and_then(Value::as_str) {
        None => fault("is not a text: every event needs an id"),
        Some("") => fault("is empty: every event needs an id"),
        Some(id) if !is_id(id) => fault("holds a control character"),
        Some(id) => Ok(id),
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn subject_of<'a>(event: &'a Value, pointer: &SubjectPointer) -> Result<&'a str, Fault> {
    let fault = |message| Err(Fault::new(pointer.as_str(), message, "subject"));
    match pointer.of(event) {
        None => fault("is not a text: every event must name the person it came from"),
        Some("") => fault("is empty: every event must name the person it came from"),
        Some(id) if !is_id(id) => fault("holds a control character"),
        Some(id) => Ok(id),
    }
}

/// What does not say that it cannot be withdrawn can be.
fn is_revocable(event: &Value) -> bool {
    let consent = event.get("consent");
    consent.and_then(|consent| consent.get("revocable")) != Some(&Value::Bool(false))
}

fn scope_of(event: &Value, purposes: &Purposes) -> Result<Scope, Fault> {
    let scope = event.get("consent").and_then(|consent| consent.get("scope"));
    match scope.and_then(Value::as_str).map(|word| purposes.scope(word)) {
        Some(Some(scope)) => Ok(scope),
        Some(None) => Err(Fault::new("/consent/scope", purposes.is_not_one(), "consent")),
        None => Err(Fault::new(
            "/consent/scope",
            "is missing: no consent, no use",
            "consent",
        )),
    }
}
