//! Texts that come again and again, each kept once.

use std::collections::HashMap;

use crate::preparation::{MAX_LEVELS, MAX_TEXT};

/// Stands for no text.
pub(super) const NONE: u32 = u32::MAX;

/// Below so many texts, looking at each is quicker than hashing.
const FEW: usize = 16;

/// Texts, each of which has a number.
#[derive(Default)]
pub(super) struct Texts {
    texts: Vec<Box<str>>,
    by_text: HashMap<Box<str>, u32>,
}

impl Texts {
    pub(super) fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else {
            return NONE;
        };
        let known = match self.texts.len() <= FEW {
            true => self.texts.iter().position(|known| **known == *text).map(fits),
            false => self.by_text.get(text).copied(),
        };
        known.unwrap_or_else(|| {
            let number = fits(self.texts.len());
            self.texts.push(text.into());
            self.by_text.insert(text.into(), number);
            number
        })
    }

    pub(super) fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(|text| &**text)
    }

    /// All of them, in the order of their numbers.
    pub(super) fn all(&self) -> &[Box<str>] {
        &self.texts
    }
}

/// The levels of a category, counted, as far as they are not too many.
#[derive(Default)]
pub(super) struct Levels {
    texts: Texts,
    /// For each text, how many rows have it.
    rows: Vec<u64>,
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
    /// The number of a level, which one more row has. Nothing if that cannot be.
    pub(super) fn add(&mut self, level: &str) -> Option<u32> {
        // One too many is taken, so that it is known.
        self.fault = match level.len() > MAX_TEXT {
            true => Some(LevelFault::TooLong),
            false if self.rows.len() > MAX_LEVELS => Some(LevelFault::TooMany),
            false => self.fault,
        };
        if self.fault.is_some() {
            return None;
        }
        let number = self.texts.number(Some(level));
        if self.rows.len() == number as usize {
            self.rows.push(0);
        }
        self.rows[number as usize] += 1;
        Some(number)
    }

    pub(super) fn fault(&self) -> Option<LevelFault> {
        self.fault
    }

    /// Each level with how many rows have it, in the order of their numbers.
    pub(super) fn counted(&self) -> impl Iterator<Item = (&str, u64)> {
        let texts = self.texts.all().iter().map(|text| &**text);
        texts.zip(self.rows.iter().copied())
    }
}

pub(super) fn fits(number: usize) -> u32 {
    u32::try_from(number).expect("a chunk is of so few lines that all of it is counted in 32 bits")
}
