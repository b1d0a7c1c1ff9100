//! What a schema of the subset is compiled to: for each type of JSON value what it must satisfy.

use std::sync::Arc;

use super::literal::Literal;

/// Which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(pub(super) usize);

/// What a value must satisfy, by its type. A type without a rule is not allowed.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) null: bool,
    /// Whether `false` is allowed, and whether `true` is.
    pub(super) booleans: [bool; 2],
    pub(super) number: Option<NumberRule>,
    pub(super) string: Option<StringRule>,
    pub(super) object: Option<Arc<ObjectRule>>,
    pub(super) array: Option<ArrayRule>,
}

/// What a number must satisfy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct NumberRule {
    pub(super) is_integer: bool,
    pub(super) least: Option<Bound>,
    pub(super) greatest: Option<Bound>,
}

/// An end of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bound {
    pub(super) value: f64,
    pub(super) is_inside: bool,
}

/// What a text must satisfy. Lengths are in Unicode code points.
#[derive(Clone, Debug)]
pub(super) struct StringRule {
    pub(super) shortest: u64,
    pub(super) longest: u64,
    /// The only texts that are allowed, but for those in which something would be escaped.
    pub(super) words: Option<Vec<Literal>>,
    pub(super) checks: Vec<Arc<StringCheck>>,
}

/// Keywords about texts that the complete validator is asked for.
#[derive(Debug)]
pub(super) struct StringCheck {
    pub(super) validator: jsonschema::Validator,
    /// A text of any of these shapes satisfies it, so that nobody need be asked.
    pub(super) shapes: Vec<Shape>,
}

/// A form that a text is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `2026-01-05` (RFC 3339, `full-date`).
    Date,
    /// `2026-01-05T07:12:33Z` (RFC 3339, `date-time`).
    DateTime,
}

/// What an object must satisfy.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectRule {
    pub(super) properties: Vec<Property>,
    /// Bit `n`: the property at `n` must be there.
    pub(super) required: u64,
    /// What all other members must satisfy; none are allowed without it.
    pub(super) additional: Option<NodeId>,
}

/// A member that the schema names.
#[derive(Clone, Debug)]
pub(super) struct Property {
    /// With its colon.
    pub(super) name: Literal,
    pub(super) node: NodeId,
    pub(super) slot: Option<Slot>,
}

/// What an array must satisfy.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArrayRule {
    pub(super) items: NodeId,
    pub(super) fewest: u64,
    pub(super) most: u64,
}

/// A member of an event that the reader wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// `event_id`.
    Id,
    /// `consent.scope`.
    Scope,
    /// `consent.revocable`.
    Revocable,
    /// Where events name the person that they came from.
    Subject,
    /// `source`.
    Source,
    /// `source.kind`.
    SourceKind,
    /// `source.region`.
    SourceRegion,
    /// `payload.label`.
    Label,
    /// `payload.features`: its members are told one by one.
    Features,
}

/// So many of them there are.
pub(super) const SLOTS: usize = 9;

/// The most properties that one object may have, for there is a bit for each.
pub(super) const MAX_PROPERTIES: usize = 64;

/// The most that a schema may name of one: those that the reader wants to know have room besides.
pub(super) const MAX_NAMED: usize = MAX_PROPERTIES - SLOTS;

/// The node that everything satisfies.
pub(super) const ANYTHING: NodeId = NodeId(0);

impl Node {
    /// What everything satisfies.
    pub(super) fn anything() -> Self {
        Self {
            null: true,
            booleans: [true; 2],
            number: Some(NumberRule::default()),
            string: Some(StringRule::default()),
            object: Some(Arc::new(ObjectRule::anything())),
            array: Some(ArrayRule::anything()),
        }
    }

    /// Whether nothing but texts satisfies it.
    pub(super) fn is_text(&self) -> bool {
        self.string.is_some()
            && !self.null
            && self.booleans == [false; 2]
            && self.number.is_none()
            && self.object.is_none()
            && self.array.is_none()
    }

    /// What satisfies both; nothing if that cannot be said in these terms.
    pub(super) fn and(self, other: Self) -> Option<Self> {
        Some(Self {
            null: self.null && other.null,
            booleans: [
                self.booleans[0] && other.booleans[0],
                self.booleans[1] && other.booleans[1],
            ],
            number: self.number.zip(other.number).map(|(a, b)| a.and(b)),
            string: self.string.zip(other.string).map(|(a, b)| a.and(b)),
            object: match self.object.zip(other.object) {
                None => None,
                Some((a, b)) if a.allows_anything() => Some(b),
                Some((a, b)) if b.allows_anything() => Some(a),
                Some(_) => return None,
            },
            array: match self.array.zip(other.array) {
                None => None,
                Some((a, b)) if a.allows_anything() => Some(b),
                Some((a, b)) if b.allows_anything() => Some(a),
                Some(_) => return None,
            },
        })
    }

    /// What satisfies either; nothing if both have a rule for one type.
    pub(super) fn or(self, other: Self) -> Option<Self> {
        fn either<T>(a: Option<T>, b: Option<T>) -> Option<Option<T>> {
            match (a, b) {
                (Some(_), Some(_)) => None,
                (a, b) => Some(a.or(b)),
            }
        }
        Some(Self {
            null: self.null || other.null,
            booleans: [
                self.booleans[0] || other.booleans[0],
                self.booleans[1] || other.booleans[1],
            ],
            number: either(self.number, other.number)?,
            string: either(self.string, other.string)?,
            object: either(self.object, other.object)?,
            array: either(self.array, other.array)?,
        })
    }
}

impl NumberRule {
    /// Whether any number is allowed.
    #[inline(always)]
    pub(super) fn allows_anything(&self) -> bool {
        !self.is_integer && self.least.is_none() && self.greatest.is_none()
    }

    fn and(self, other: Self) -> Self {
        Self {
            is_integer: self.is_integer || other.is_integer,
            least: tighter(self.least, other.least, |a, b| a > b),
            greatest: tighter(self.greatest, other.greatest, |a, b| a < b),
        }
    }
}

/// The bound that leaves less, where `beyond` says which of two values does.
pub(super) fn tighter(a: Option<Bound>, b: Option<Bound>, beyond: impl Fn(f64, f64) -> bool) -> Option<Bound> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    if beyond(a.value, b.value) || (a.value == b.value && !a.is_inside) {
        Some(a)
    } else {
        Some(b)
    }
}

impl Default for StringRule {
    fn default() -> Self {
        Self {
            shortest: 0,
            longest: u64::MAX,
            words: None,
            checks: Vec::new(),
        }
    }
}

impl StringRule {
    /// Whether any text is allowed in which nothing is escaped, or of some words any.
    #[inline(always)]
    pub(super) fn needs_no_check(&self) -> bool {
        self.shortest == 0 && self.longest == u64::MAX && self.checks.is_empty()
    }

    fn and(self, other: Self) -> Self {
        Self {
            shortest: self.shortest.max(other.shortest),
            longest: self.longest.min(other.longest),
            words: match (self.words, other.words) {
                (Some(a), Some(b)) => Some(a.into_iter().filter(|word| b.contains(word)).collect()),
                (a, b) => a.or(b),
            },
            checks: self.checks.into_iter().chain(other.checks).collect(),
        }
    }
}

impl Property {
    /// Whether this is its name, in which nothing is escaped.
    pub(super) fn is_called(&self, name: &[u8]) -> bool {
        matches!(self.name.bytes(), [b'"', own @ .., b'"', b':'] if own == name)
    }
}

impl ObjectRule {
    pub(super) fn anything() -> Self {
        Self {
            additional: Some(ANYTHING),
            ..Self::default()
        }
    }

    fn allows_anything(&self) -> bool {
        self.properties.is_empty() && self.required == 0 && self.additional == Some(ANYTHING)
    }
}

impl ArrayRule {
    pub(super) fn anything() -> Self {
        Self {
            items: ANYTHING,
            fewest: 0,
            most: u64::MAX,
        }
    }

    fn allows_anything(self) -> bool {
        self.items == ANYTHING && self.fewest == 0 && self.most == u64::MAX
    }
}
