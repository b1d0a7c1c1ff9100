//! Events that are plainly valid, recognised in one pass over the bytes of their line.
//!
//! To check an event against a JSON Schema, most of the time goes into building a tree that is thrown away again. Where the
//! schema is in a subset (`type`, `required`, `properties`, `additionalProperties`, `enum`, `const`, lengths, bounds of
//! numbers, `items`, `minItems`, `maxItems`, `anyOf` of types, local `$ref`; `pattern` and `format` of texts), it is compiled
//! to a program that reads a line without building anything.
//!
//! It only ever says *yes*. To whatever it does not take, for whatever reason (a fault, an escape in a key, a number of twenty
//! digits that must be compared, a schema outside of the subset), the complete reader has the answer, and the words for it:
//! strict JSON ([`crate::json`]), then the `jsonschema` crate. So the two cannot disagree about a fault, and that they agree
//! about what is taken is tested on mutated events.

mod compile;
mod dates;
mod forms;
mod found;
mod keys;
mod literal;
mod memory;
mod numbers;
mod program;
mod scan;
mod values;
mod walk;

use serde_json::{Value, json};

use self::compile::Program;
use self::found::Held;
pub use self::memory::Memory;
use self::program::{Node, NodeId, Slot};
use self::scan::Text;
use self::walk::Walk;

/// A compiled schema.
pub struct Recogniser {
    nodes: Vec<Node>,
    root: NodeId,
}

/// The value of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feature {
    /// A number; `true` is 1 and `false` 0.
    Number(f64),
    /// `null`: missing.
    Null,
    /// A text.
    Text(TextPlace),
}

/// Where a text stands in its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPlace {
    start: u32,
    end: u32,
    is_escaped: bool,
}

/// What stands in a member of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// There is none.
    Absent,
    /// `null`.
    Null,
    /// A text, in which nothing is escaped.
    Text(&'a str),
    /// `true` or `false`.
    Boolean(bool),
    /// Anything else.
    Other,
}

/// A line that is taken, and what its reader wants of it. What was not asked for is absent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recognised<'a> {
    /// `event_id`.
    pub id: Member<'a>,
    /// `consent.scope`.
    pub scope: Member<'a>,
    /// `consent.revocable`.
    pub revocable: Member<'a>,
    /// Where events name the person that they came from, if the reader was told.
    pub subject: Member<'a>,
    /// `source`.
    pub source: Member<'a>,
    /// `source.kind`.
    pub source_kind: Member<'a>,
    /// `source.region`.
    pub source_region: Member<'a>,
    /// `payload.label`.
    pub label: Member<'a>,
    /// `payload.features`: for each the number of its key (see [`Memory::key`]), and its value.
    pub features: &'a [(u32, Feature)],
}

/// The longest line that is read: longer ones than events may be, and than any place in a line must be told.
const MAX_LINE: usize = u32::MAX as usize / 2;

/// Makes a complete validator of a keyword about texts.
pub type Opaque<'a> = dyn Fn(&Value) -> Option<jsonschema::Validator> + 'a;

impl Recogniser {
    /// Compiles `schema` for a reader of ids, consents, sources and of the person at the member `subject` of the members of
    /// members. Nothing if it is outside of the subset.
    ///
    /// `opaque` makes a complete validator of a keyword about texts. If the person stands where something else does that is told,
    /// that alone is told.
    pub fn compile(schema: &Value, opaque: &Opaque<'_>, subject: Option<&[&str]>) -> Option<Self> {
        let mut program = compile::compile(schema, opaque)?;
        program.watch_consent(subject);
        program.watch(&["event_id"], Slot::Id);
        program.watch(&["source"], Slot::Source);
        program.watch(&["source", "kind"], Slot::SourceKind);
        Some(program.into())
    }

    /// Compiles `schema` for a reader of labels and features too. Nothing if it is outside of the subset, or names single features
    /// (as `subject` may), for those would not be told.
    pub fn compile_with_features(schema: &Value, opaque: &Opaque<'_>, subject: Option<&[&str]>) -> Option<Self> {
        let mut program = compile::compile(schema, opaque)?;
        program.watch_consent(subject);
        program.watch_row()?;
        Some(program.into())
    }

    /// Takes what features, labels and groups can be made from, whatever else stands in an event.
    #[must_use]
    pub fn of_features() -> Self {
        let text = json!({"type": ["string", "null"]});
        let value = json!({"type": ["number", "boolean", "null", "string"]});
        let schema = json!({
            "type": "object",
            "required": ["event_id", "payload"],
            "properties": {
                "event_id": {"type": "string", "minLength": 1},
                "source": {"type": ["string", "object"], "properties": {"kind": text, "region": text}},
                "payload": {
                    "type": "object",
                    "properties": {"label": text, "features": {"type": "object", "additionalProperties": value}},
                },
            },
        });
        let mut program = compile::compile(&schema, &|_| None).expect("a test compiles this schema");
        program.watch_row().expect("the schema above names no feature");
        program.into()
    }

    /// A memory without anything in it. One memory may be used for lines of one recogniser only.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory::new(&self.nodes)
    }

    /// Reads `line` (without its end). Nothing if it is not plainly valid.
    pub fn recognise<'a>(&'a self, line: &'a [u8], memory: &'a mut Memory) -> Option<Recognised<'a>> {
        let text = std::str::from_utf8(line).ok().filter(|text| text.len() <= MAX_LINE)?;
        if memory.forms.read(&self.nodes, line, &mut memory.found).is_none() {
            Walk::through(self, line, memory)?;
            memory.forms.learn(line, &memory.trace);
        }
        let found = &memory.found;
        let member = |slot: Slot| match found.held[slot as usize] {
            Held::Absent => Member::Absent,
            Held::Null => Member::Null,
            Held::Text(place) => text
                .get(place.start as usize..place.end as usize)
                .map_or(Member::Other, Member::Text),
            Held::Boolean(value) => Member::Boolean(value),
            Held::Other => Member::Other,
        };
        Some(Recognised {
            id: member(Slot::Id),
            scope: member(Slot::Scope),
            revocable: member(Slot::Revocable),
            subject: member(Slot::Subject),
            source: member(Slot::Source),
            source_kind: member(Slot::SourceKind),
            source_region: member(Slot::SourceRegion),
            label: member(Slot::Label),
            features: &found.features,
        })
    }
}

impl TextPlace {
    #[inline(always)]
    fn of_text(text: Text) -> Self {
        // No line is as long as that.
        let place = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            start: place(text.start),
            end: place(text.end),
            is_escaped: text.is_escaped,
        }
    }

    /// The text, which stands in `line`. Nothing if something in it is escaped: the complete reader knows what it spells.
    #[must_use]
    pub fn of(self, line: &[u8]) -> Option<&str> {
        if self.is_escaped {
            return None;
        }
        let inside = line.get(self.start as usize..self.end as usize)?;
        std::str::from_utf8(inside).ok()
    }
}

impl Program {
    /// Notes what a person agreed to, and who it is.
    fn watch_consent(&mut self, subject: Option<&[&str]>) {
        // First, so that what stands at the same place is found.
        if let Some(subject) = subject {
            self.watch(subject, Slot::Subject);
        }
        self.watch(&["consent", "scope"], Slot::Scope);
        self.watch(&["consent", "revocable"], Slot::Revocable);
    }

    /// Notes all that a row is made from; nothing if features would be missed.
    fn watch_row(&mut self) -> Option<()> {
        self.watch(&["event_id"], Slot::Id);
        self.watch(&["source"], Slot::Source);
        self.watch(&["source", "kind"], Slot::SourceKind);
        self.watch(&["source", "region"], Slot::SourceRegion);
        self.watch(&["payload", "label"], Slot::Label);
        let features = self.watch(&["payload", "features"], Slot::Features)?;
        features.object.as_ref()?.properties.is_empty().then_some(())
    }
}

impl From<Program> for Recogniser {
    fn from(Program { nodes, root }: Program) -> Self {
        Self { nodes, root }
    }
}
