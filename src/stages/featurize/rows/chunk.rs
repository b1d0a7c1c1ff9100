//! Rows of neighbouring lines, kept column by column.
//!
//! ```text
//! ids      evt-1evt-22evt-3          ends 5 11 16
//! labels   0 1 0                     texts flare, stable
//! values   61 1.5 │ 58 │ 70 2.25     starts 0 2 3; shapes 0 1 0: shape 0 is [hr, crp], shape 1 is [hr]
//! ```
//!
//! A row's *shape* is which features it has, in which order: most rows have one of few. The value of a category is the
//! number of its level.

use std::collections::HashMap;

use super::texts::{Levels, NONE, Texts, fits};
use super::{KeyCounts, MAX_FEATURES, Row};
use crate::preparation::{Value, spelled};
use crate::stages::featurize::event::Group;
use crate::stages::featurize::params::Params;
use crate::stages::ingest::lines::Place;

/// Rows of neighbouring lines: of one block, or so many that what is counted in 32 bits cannot overflow.
pub(crate) struct Chunk {
    /// For each row its line, counted from the first of the chunk, from 0.
    lines: Vec<u32>,
    ids: String,
    id_ends: Vec<u32>,
    /// For each row the first bytes of the BLAKE3 of its id.
    pub(super) prefixes: Vec<u64>,
    texts: Texts,
    labels: Vec<u32>,
    groups: Vec<[u32; 2]>,
    values: Vec<f64>,
    starts: Vec<u32>,
    shape_of: Vec<u32>,
    shapes: Vec<Box<[u16]>>,
    by_shape: HashMap<Box<[u16]>, u32>,
    /// The shape of the row that is being added.
    shape: Vec<u16>,
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
    /// The rest.
    pub(crate) row: Row<'a>,
}

impl Chunk {
    pub(crate) fn new() -> Self {
        Self {
            lines: Vec::new(),
            ids: String::new(),
            id_ends: Vec::new(),
            prefixes: Vec::new(),
            texts: Texts::default(),
            labels: Vec::new(),
            groups: Vec::new(),
            values: Vec::new(),
            starts: Vec::new(),
            shape_of: Vec::new(),
            shapes: Vec::new(),
            by_shape: HashMap::new(),
            shape: Vec::new(),
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
        ChunkKey {
            number,
            takes_texts: self.keys[usize::from(number)].levels.is_some(),
        }
    }

    /// Adds a row after all others.
    pub(crate) fn push<'a>(&mut self, new: NewRow<'_>, features: impl Iterator<Item = (ChunkKey, Value<'a>)>) {
        let start = fits(self.values.len());
        self.shape.clear();
        for (key, value) in features {
            if let Some(value) = self.keys[usize::from(key.number)].take(value) {
                self.shape.push(key.number);
                self.values.push(value);
            }
        }
        let shape = self.shape_number();
        self.shape_of.push(shape);
        self.starts.push(start);
        self.lines.push(new.line);
        self.ids.push_str(new.row.id);
        self.id_ends.push(fits(self.ids.len()));
        self.prefixes.push(prefix(new.row.id));
        self.labels.push(self.texts.number(new.row.label));
        self.groups.push(new.row.groups.map(|group| self.texts.number(group)));
    }

    fn shape_number(&mut self) -> u32 {
        let last = self.shape_of.last().copied();
        if let Some(last) = last.filter(|last| *self.shapes[*last as usize] == *self.shape) {
            return last;
        }
        if let Some(known) = self.by_shape.get(self.shape.as_slice()) {
            return *known;
        }
        let number = fits(self.shapes.len());
        self.shapes.push(self.shape.as_slice().into());
        self.by_shape.insert(self.shape.as_slice().into(), number);
        number
    }

    /// Where a row stands, if the line before the first of the chunk is `before`.
    pub(super) fn place_of(&self, row: usize, before: Place) -> Place {
        place(self.lines[row], before)
    }

    fn id(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.id_ends[before]);
        &self.ids[start as usize..self.id_ends[row] as usize]
    }

    pub(super) fn row(&self, row: usize) -> Row<'_> {
        Row {
            id: self.id(row),
            label: self.texts.text(self.labels[row]),
            groups: self.groups[row].map(|group| self.texts.text(group)),
        }
    }

    /// A row's shape, and its values in the order of the shape.
    pub(super) fn cells(&self, row: usize) -> (usize, &[f64]) {
        let end = self.starts.get(row + 1).map_or(self.values.len(), |end| *end as usize);
        (
            self.shape_of[row] as usize,
            &self.values[self.starts[row] as usize..end],
        )
    }

    /// The numbers of the keys of each shape.
    pub(super) fn shapes(&self) -> impl Iterator<Item = &[u16]> {
        self.shapes.iter().map(|shape| &**shape)
    }

    /// The numbers of the keys of one shape.
    pub(super) fn shape(&self, number: usize) -> &[u16] {
        &self.shapes[number]
    }

    /// Labels, each with how many rows have it.
    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counted(self.labels.iter().copied())
    }

    /// The texts of a group, each with how many rows have it.
    pub(super) fn group_levels(&self, group: Group) -> impl Iterator<Item = (&str, u64)> {
        self.counted(self.groups.iter().map(move |groups| groups[group as usize]))
    }

    /// The texts of the chunk that are among `numbers`, each with how often.
    fn counted(&self, numbers: impl Iterator<Item = u32>) -> impl Iterator<Item = (&str, u64)> {
        let mut by_text = vec![0; self.texts.all().len()];
        for number in numbers.filter(|number| *number != NONE) {
            by_text[number as usize] += 1;
        }
        let texts = self.texts.all().iter().map(|text| &**text);
        texts.zip(by_text).filter(|(_, count)| *count > 0)
    }
}

/// Where the line stands that is this many after the first.
pub(super) fn place(line: u32, before: Place) -> Place {
    Place {
        line: before.line + 1 + u64::from(line),
        ..before
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

    /// The values of a row of that shape.
    pub(super) fn rewrite(&self, keys: &[u16], values: &mut [f64]) {
        if !self.has_levels {
            return;
        }
        for (key, value) in keys.iter().zip(values) {
            if let Some(levels) = &self.levels[usize::from(*key)] {
                *value = level_as_value(levels[level_of_value(*value)]);
            }
        }
    }
}

impl OwnKey {
    /// Counts a value, and gives what is kept of it.
    fn take(&mut self, value: Value<'_>) -> Option<f64> {
        let counts = &mut self.counts;
        let level = match value {
            Value::Missing => {
                counts.nulls += 1;
                return None;
            }
            Value::Text(text) => {
                counts.texts += 1;
                self.levels.as_mut()?.add(text)
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
                    // One zero, so that what is equal has equal bytes.
                    return Some(number + 0.0);
                };
                levels.add(&spelled(number)?)
            }
        };
        counts.present += 1;
        level.map(level_as_value)
    }
}

/// A level's number as a value of a row. These are the bits of a double, and not its value.
fn level_as_value(level: u32) -> f64 {
    f64::from_bits(u64::from(level))
}

/// The level's number that is kept as `value`.
pub(super) fn level_of_value(value: f64) -> usize {
    usize::try_from(value.to_bits()).expect("a level's number was kept, which has 32 bits")
}

/// The first bytes of the BLAKE3 of an id: where it stands in the canonical order, but for the rarest of ties.
fn prefix(id: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}
