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
mod keys;
mod program;
mod scan;
mod walk;

use serde_json::{Value, json};

use self::compile::Program;
use self::keys::Keys;
use self::program::{Node, NodeId, Slot};
use self::walk::{Held, Walk};

/// A compiled schema.
pub struct Recogniser {
    nodes: Vec<Node>,
    root: NodeId,
}

/// What a reader keeps from one line to the next: which keys came after which.
pub struct Memory {
    /// For each node and each of its properties, which property came after it; last, which came first.
    after: Vec<Vec<u8>>,
    /// For each depth.
    keys: Vec<Keys>,
    features: Vec<(u32, Feature)>,
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

/// Makes a complete validator of a keyword about texts.
pub type Opaque<'a> = dyn Fn(&Value) -> Option<jsonschema::Validator> + 'a;

/// The depth at which features stand.
const FEATURES_DEPTH: usize = 2;

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
        let places = |node: &Node| vec![0; node.object.as_ref().map_or(0, |object| object.properties.len() + 1)];
        Memory {
            after: self.nodes.iter().map(places).collect(),
            keys: (0..walk::DEPTHS).map(|_| Keys::default()).collect(),
            features: Vec::new(),
        }
    }

    /// Reads `line` (without its end). Nothing if it is not plainly valid.
    pub fn recognise<'a>(&'a self, line: &'a [u8], memory: &'a mut Memory) -> Option<Recognised<'a>> {
        let text = std::str::from_utf8(line).ok()?;
        let held = Walk::through(self, line, memory)?;
        let member = |slot: Slot| match &held[slot as usize] {
            Held::Absent => Member::Absent,
            Held::Null => Member::Null,
            Held::Text(range) => text.get(range.clone()).map_or(Member::Other, Member::Text),
            Held::Boolean(value) => Member::Boolean(*value),
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
            features: &memory.features,
        })
    }
}

impl TextPlace {
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

impl Memory {
    /// The key of a feature.
    #[must_use]
    pub fn key(&self, number: u32) -> &str {
        self.keys[FEATURES_DEPTH].name(number)
    }
}
