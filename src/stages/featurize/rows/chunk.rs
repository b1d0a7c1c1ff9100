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

use std::collections::{BTreeMap, HashMap};

use super::texts::{Levels, NONE, Texts, fits};
use super::{KeyCounts, MAX_FEATURES, Row};
use crate::preparation::{Value, spelled};
use crate::stages::featurize::event::Group;
use crate::stages::featurize::params::Params;
use crate::stages::ingest::lines::Place;

/// Rows of neighbouring lines: of one block, or so many that what is counted in 32 bits cannot overflow.
pub(crate) struct Chunk {
    /// The line before the first.
    pub(super) before: Place,
    /// For each row its line, counted from the first of the chunk, from 0.
    pub(super) lines: Vec<u32>,
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
    /// For each key of the chunk its index among all.
    pub(super) indexes: Vec<usize>,
    /// The levels of each category, which is known by the index of its key among all.
    pub(super) levels: Vec<(usize, Levels)>,
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
            before: Place { file: 0, line: 0 },
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
            indexes: Vec::new(),
            levels: Vec::new(),
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

    /// Frees what is of use only while rows are added.
    pub(super) fn forget_how_to_add(&mut self) {
        self.by_shape = HashMap::new();
        self.by_key = HashMap::new();
        self.texts.forget_how_to_add();
        for (_, levels) in &mut self.levels {
            levels.forget_how_to_add();
        }
        self.values.shrink_to_fit();
        self.ids.shrink_to_fit();
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Where the line stands that is this many after the first.
    pub(super) fn place_of(&self, line: u32) -> Place {
        Place {
            line: self.before.line + 1 + u64::from(line),
            ..self.before
        }
    }

    pub(super) fn id(&self, row: usize) -> &str {
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

    /// For each shape the indices of its keys among all.
    pub(super) fn shapes(&self) -> impl Iterator<Item = impl Iterator<Item = usize>> {
        let index = |key: &u16| self.indexes[usize::from(*key)];
        self.shapes.iter().map(move |shape| shape.iter().map(index))
    }

    pub(super) fn count_labels<'a>(&'a self, counts: &mut BTreeMap<&'a str, u64>) {
        for (text, count) in self
            .counted(self.labels.iter().copied())
            .filter(|(_, count)| *count > 0)
        {
            *counts.entry(text).or_default() += count;
        }
    }

    /// Each text of the chunk with how many of `numbers` are its own.
    fn counted(&self, numbers: impl Iterator<Item = u32>) -> impl Iterator<Item = (&str, u64)> {
        let mut by_text = vec![0; self.texts.all().len()];
        for number in numbers.filter(|number| *number != NONE) {
            by_text[number as usize] += 1;
        }
        self.texts.all().iter().map(|text| &**text).zip(by_text)
    }

    /// The levels of a category, each with how many rows have it; in the order of the numbers that [`Chunk::level`] and
    /// [`Chunk::group_level`] give. `index` is that of the category's key among all.
    pub(super) fn levels(&self, index: usize) -> impl Iterator<Item = (&str, u64)> {
        let own = self.levels.iter().find(|(of, _)| *of == index);
        own.into_iter().flat_map(|(_, levels)| levels.counted())
    }

    /// The same of a group.
    pub(super) fn group_levels(&self, group: Group) -> impl Iterator<Item = (&str, u64)> {
        self.counted(self.groups.iter().map(move |groups| groups[group as usize]))
    }

    /// The number of the level that a row has, if it has one.
    pub(super) fn group_level(&self, row: usize, group: Group) -> Option<usize> {
        let number = self.groups[row][group as usize];
        (number != NONE).then_some(number as usize)
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
