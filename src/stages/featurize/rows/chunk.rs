//! Rows of neighbouring lines.
//!
//! A row's *shape* is which features it has, in which order: most rows have one of few. The value of a category is the
//! number of its level. Keys, shapes and levels have numbers of the chunk's own, so that chunks are made side by side.

use std::collections::HashMap;

use super::kept::Kept;
use super::levels::most;
use super::record::NewRecord;
use super::texts::{Counted, Levels, fits};
use super::{KeyCounts, MAX_FEATURES, Row};
use crate::preparation::{Input, Value, level_column, spelled};
use crate::stages::featurize::event::Group;
use crate::stages::featurize::params::Params;
use crate::stages::ingest::event::IdKey;

/// Rows of neighbouring lines: of one block, or so many that what is counted in 32 bits cannot overflow.
pub(crate) struct Chunk {
    pub(super) rows: Kept,
    labels: Counted,
    groups: [Counted; 2],
    shapes: Vec<Box<[u16]>>,
    /// How many rows have each.
    rows_of: Vec<u64>,
    by_shape: HashMap<Box<[u16]>, u32>,
    /// The shape of the row that was added last.
    last: u32,
    /// The shape and the values of the row that is being added.
    shape: Vec<u16>,
    values: Vec<f64>,
    pub(super) keys: Vec<OwnKey>,
    by_key: HashMap<Box<str>, u16>,
}

/// A key as one chunk knows it.
pub(super) struct OwnKey {
    pub(super) counts: KeyCounts,
    pub(super) first_line: u32,
    /// Of a category.
    pub(super) levels: Option<Levels>,
}

/// The number of a key in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKey {
    number: u16,
    takes_texts: bool,
    takes_all_numbers: bool,
}

impl ChunkKey {
    /// Whether texts of this key are kept.
    pub(crate) fn takes_texts(self) -> bool {
        self.takes_texts
    }
}

/// A row that is added: what it has beside its features.
#[derive(Clone, Copy)]
pub(crate) struct NewRow<'a> {
    /// Its line, counted from the first of the chunk, from 0.
    pub(crate) line: u32,
    /// The first half of the BLAKE3 of its id: where it stands in the canonical order, but for the rarest of ties.
    pub(crate) key: IdKey,
    /// The rest.
    pub(crate) row: Row<'a>,
}

impl Chunk {
    pub(crate) fn new() -> Self {
        Self {
            rows: Kept::default(),
            labels: Counted::default(),
            groups: Default::default(),
            shapes: Vec::new(),
            rows_of: Vec::new(),
            by_shape: HashMap::new(),
            last: 0,
            shape: Vec::new(),
            values: Vec::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
        }
    }

    /// The number of the key `name`, which stands in `line`. Nothing if there are more keys than can be columns in any case.
    pub(crate) fn key(&mut self, name: &str, line: u32, params: &Params) -> Option<ChunkKey> {
        if let Some(number) = self.by_key.get(name) {
            return Some(self.key_of(*number));
        }
        // One too many is kept, so that it is known where it stands.
        let number = u16::try_from(self.keys.len())
            .ok()
            .filter(|_| self.keys.len() <= MAX_FEATURES)?;
        self.keys.push(OwnKey {
            counts: KeyCounts {
                excluded: params.exclude.contains(name),
                range: params.range.get(name).copied(),
                key: name.into(),
                ..KeyCounts::default()
            },
            first_line: line,
            levels: params.one_hot.contains(name).then(Levels::default),
        });
        self.by_key.insert(name.into(), number);
        Some(self.key_of(number))
    }

    fn key_of(&self, number: u16) -> ChunkKey {
        let key = &self.keys[usize::from(number)];
        ChunkKey {
            number,
            takes_texts: key.levels.is_some(),
            takes_all_numbers: key.takes_all_numbers(),
        }
    }

    /// Adds a row after all others. Its groups are counted, and those kept with it that `params` has a use for.
    pub(crate) fn push<'a>(
        &mut self,
        new: NewRow<'_>,
        params: &Params,
        features: impl Iterator<Item = (ChunkKey, Value<'a>)>,
    ) {
        self.shape.clear();
        self.values.clear();
        for (key, value) in features {
            let taken = match value {
                Value::Number(number) if key.takes_all_numbers => Some(canonical(number)),
                value => self.keys[usize::from(key.number)].take(value, params),
            };
            if let Some(value) = taken {
                self.shape.push(key.number);
                self.values.push(value);
            }
        }
        let NewRow { line, key, mut row } = new;
        self.labels.add(row.label);
        for group in &params.one_hot_groups {
            let place = *group as usize;
            self.groups[place].add(row.groups[place]);
        }
        for (group, is_wanted) in row.groups.iter_mut().zip(params.keeps_groups()) {
            *group = group.filter(|_| is_wanted);
        }
        self.last = self.shape_number();
        self.rows_of[self.last as usize] += 1;
        let record = NewRecord {
            line,
            row,
            shape: self.last,
            keys: &[],
            values: &self.values,
        };
        self.rows.add(key.short(), |bytes| record.write(bytes));
    }

    fn shape_number(&mut self) -> u32 {
        if self
            .shapes
            .get(self.last as usize)
            .is_some_and(|last| **last == *self.shape)
        {
            return self.last;
        }
        if let Some(known) = self.by_shape.get(self.shape.as_slice()) {
            return *known;
        }
        let number = fits(self.shapes.len());
        self.shapes.push(self.shape.as_slice().into());
        self.rows_of.push(0);
        self.by_shape.insert(self.shape.as_slice().into(), number);
        number
    }

    /// The numbers of the keys of each shape.
    pub(super) fn shapes(&self) -> impl Iterator<Item = &[u16]> {
        self.shapes.iter().map(|shape| &**shape)
    }

    /// The number of the key that stands at `place` in a shape.
    pub(super) fn key_at(&self, shape: u32, place: usize) -> u16 {
        self.shapes[shape as usize][place]
    }

    /// Counts the values of keys that take all numbers: each row of a shape has one.
    pub(super) fn count_numbers(&mut self) {
        for (shape, rows) in self.shapes.iter().zip(self.rows_of.iter_mut().map(std::mem::take)) {
            for number in shape {
                let key = &mut self.keys[usize::from(*number)];
                if key.takes_all_numbers() {
                    key.counts.numbers += rows;
                    key.counts.present += rows;
                }
            }
        }
    }

    /// Labels, each with how many rows have it.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        self.labels.counted()
    }

    /// The texts of a group, each with how many rows have it.
    pub(super) fn group_levels(&self, group: Group) -> impl Iterator<Item = (&str, u64)> {
        self.groups[group as usize].counted()
    }
}

/// For the keys and the levels of a chunk, the numbers that they have among all.
#[derive(Default)]
pub(super) struct Rewriting {
    keys: Vec<u16>,
    /// Of a category.
    levels: Vec<Option<Vec<u32>>>,
    has_levels: bool,
}

impl Rewriting {
    /// Adds the next key, whose number is `index`.
    pub(super) fn push(&mut self, index: usize, levels: Option<Vec<u32>>) {
        self.keys
            .push(u16::try_from(index).expect("there are no more keys than can be columns"));
        self.has_levels |= levels.is_some();
        self.levels.push(levels);
    }

    /// The keys of a shape.
    pub(super) fn shape(&self, keys: &[u16]) -> Vec<u16> {
        keys.iter().map(|key| self.keys[usize::from(*key)]).collect()
    }

    /// Whether values are rewritten.
    pub(super) fn has_levels(&self) -> bool {
        self.has_levels
    }

    /// The value of the key `key` of the chunk.
    pub(super) fn value(&self, key: u16, value: f64) -> f64 {
        match &self.levels[usize::from(key)] {
            Some(levels) => level_as_value(levels[level_of_value(value)]),
            None => value,
        }
    }
}

impl OwnKey {
    /// Whether every number is kept as it is, and no text: such numbers are counted by the shapes of rows.
    fn takes_all_numbers(&self) -> bool {
        self.levels.is_none() && self.counts.range.is_none() && !self.counts.excluded
    }

    /// Counts a value of a key that does not take all numbers, or what is no number, and gives what is kept of it.
    fn take(&mut self, value: Value<'_>, params: &Params) -> Option<f64> {
        let counts = &mut self.counts;
        let level = match value {
            Value::Missing => {
                counts.nulls += 1;
                return None;
            }
            Value::Text(text) => {
                counts.texts += 1;
                number_of(text, &counts.key, self.levels.as_mut()?, params)
            }
            Value::Number(number) => {
                counts.numbers += 1;
                if counts.range.is_some_and(|range| !range.contains(number)) {
                    counts.out_of_range += 1;
                    return None;
                }
                if counts.excluded {
                    return None;
                }
                let Some(levels) = &mut self.levels else {
                    counts.present += 1;
                    return Some(canonical(number));
                };
                number_of(&spelled(number)?, &counts.key, levels, params)
            }
        };
        counts.present += 1;
        level.map(level_as_value)
    }
}

/// The number of a level of the category `key`, among its `levels`.
fn number_of(level: &str, key: &str, levels: &mut Levels, params: &Params) -> Option<u32> {
    let of = || Input::Feature(key.to_owned());
    let is_left_out = |level: &str| params.exclude.contains(&level_column(&of(), level));
    levels.add(level, most(&params.exclude), is_left_out)
}

/// One zero, so that what is equal has equal bytes.
fn canonical(number: f64) -> f64 {
    number + 0.0
}

/// A level's number as a value of a row. These are the bits of a double, and not its value.
fn level_as_value(level: u32) -> f64 {
    f64::from_bits(u64::from(level))
}

/// The level's number that is kept as `value`.
pub(super) fn level_of_value(value: f64) -> usize {
    usize::try_from(value.to_bits()).expect("a level's number was kept, which has 32 bits")
}
