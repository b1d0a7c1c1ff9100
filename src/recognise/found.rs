//! What the reader wanted of a line, as it is found.

use super::program::{SLOTS, Slot};
use super::scan::Text;
use super::{Feature, TextPlace};

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Nobody wants it.
    Nowhere,
    /// A member that the reader wants to know.
    Slot(Slot),
    /// The value of a feature, by the number of its key.
    Feature(u32),
}

/// What stands in the member that a slot is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Held {
    #[default]
    Absent,
    Null,
    Boolean(bool),
    Text(TextPlace),
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) held: [Held; SLOTS],
    pub(super) features: Vec<(u32, Feature)>,
}

impl Found {
    /// Another line begins.
    pub(super) fn clear(&mut self) {
        self.held = Default::default();
        self.features.clear();
    }

    #[inline(always)]
    pub(super) fn at(&mut self, goal: Goal) -> Noted<'_> {
        Noted { found: self, goal }
    }

    /// An object or an array stands there.
    pub(super) fn note_nested(&mut self, slot: Slot) {
        self.held[slot as usize] = Held::Other;
    }
}

/// Notes a value where it goes.
pub(super) struct Noted<'a> {
    found: &'a mut Found,
    goal: Goal,
}

impl Noted<'_> {
    #[inline(always)]
    fn note(self, held: Held, feature: Feature) {
        match self.goal {
            Goal::Nowhere => {}
            Goal::Slot(slot) => self.found.held[slot as usize] = held,
            Goal::Feature(key) => self.found.features.push((key, feature)),
        }
    }

    #[inline(always)]
    pub(super) fn wants_plain_texts(&self) -> bool {
        matches!(self.goal, Goal::Slot(_))
    }

    #[inline(always)]
    pub(super) fn wants_numbers(&self) -> bool {
        matches!(self.goal, Goal::Feature(_))
    }

    #[inline(always)]
    pub(super) fn null(self) {
        self.note(Held::Null, Feature::Null);
    }

    #[inline(always)]
    pub(super) fn boolean(self, value: bool) {
        self.note(Held::Boolean(value), Feature::Number(f64::from(u8::from(value))));
    }

    #[inline(always)]
    pub(super) fn number(self, value: f64) {
        self.note(Held::Other, Feature::Number(value));
    }

    #[inline(always)]
    pub(super) fn text(self, text: Text) {
        let place = TextPlace::of_text(text);
        self.note(Held::Text(place), Feature::Text(place));
    }
}
