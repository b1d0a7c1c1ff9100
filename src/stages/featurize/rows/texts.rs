//! Texts that come again and again, each kept once.

use std::collections::HashMap;

use crate::preparation::{MAX_LEVELS, MAX_TEXT};

/// Below so many texts, looking at each is quicker than hashing.
const FEW: usize = 16;

/// Texts, each of which has a number, and how often they come.
#[derive(Default)]
pub(super) struct Counted {
    texts: Vec<(Box<str>, u64)>,
    by_text: HashMap<Box<str>, u32>,
}

impl Counted {
    /// Counts a text, if there is one.
    pub(super) fn add(&mut self, text: Option<&str>) {
        text.map(|text| self.number(text));
    }

    /// Counts a text, and gives its number.
    fn number(&mut self, text: &str) -> u32 {
        let known = match self.texts.len() <= FEW {
            true => self.texts.iter().position(|(known, _)| **known == *text).map(fits),
            false => self.by_text.get(text).copied(),
        };
        let number = known.unwrap_or_else(|| {
            let number = fits(self.texts.len());
            self.texts.push((text.into(), 0));
            self.by_text.insert(text.into(), number);
            number
        });
        self.texts[number as usize].1 += 1;
        number
    }

    /// Each text with how often it came, in the order of their numbers.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        self.texts.iter().map(|(text, count)| (&**text, *count))
    }
}

/// The levels of a category, counted, as far as they are not so many that they can be no columns however many are excluded.
#[derive(Default)]
pub(super) struct Levels {
    texts: Counted,
    fault: Option<LevelFault>,
}

/// Why something is no category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LevelFault {
    /// It has more levels than can be columns.
    #[error("has more than {MAX_LEVELS} different values")]
    TooMany,
    /// A level is longer than a column can be called.
    #[error("has a value longer than {MAX_TEXT} bytes")]
    TooLong,
}

impl Levels {
    /// The number of a level, which one more row has. Nothing if that cannot be: it is too long, or `most` are there already, and it is none
    /// of those that are left out. Whether they are too many is for whoever has those of all chunks to say.
    pub(super) fn add(&mut self, level: &str, most: usize, is_left_out: impl FnOnce(&str) -> bool) -> Option<u32> {
        if level.len() > MAX_TEXT {
            self.fault = Some(LevelFault::TooLong);
            return None;
        }
        let is_kept = self.texts.texts.len() < most || self.texts.by_text.contains_key(level) || is_left_out(level);
        is_kept.then(|| self.texts.number(level))
    }

    /// What is wrong with one of them by itself.
    pub(super) fn fault(&self) -> Option<LevelFault> {
        self.fault
    }

    /// Each level with how many rows have it, in the order of their numbers.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        self.texts.counted()
    }
}

pub(super) fn fits(number: usize) -> u32 {
    u32::try_from(number).expect("a chunk is of so few lines that all of it is counted in 32 bits")
}
