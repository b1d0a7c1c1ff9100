//! Rows of neighbouring lines, kept column by column.
//!
//! ```text
//! ids      evt-1evt-22evt-3          ends 5 11 16
//! labels   0 1 0                     texts flare, stable
//! values   61 1.5 │ 58 │ 70 2.25     starts 0 2 3; shapes 0 1 0: shape 0 is [hr, crp], shape 1 is [hr]
//! ```
//!
//! A row's *shape* is which features it has, in which order: most rows have one of few.

use std::collections::{BTreeMap, HashMap};

use super::{KeyCounts, MAX_FEATURES, Row};
use crate::recognise::Feature;
use crate::stages::featurize::params::Params;
use crate::stages::ingest::lines::Place;

/// Stands for no text.
const NONE: u32 = u32::MAX;

/// Below so many texts, looking at each is quicker than hashing.
const FEW: usize = 8;

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
}

/// A key as one chunk knows it.
pub(super) struct OwnKey {
    pub(super) counts: KeyCounts,
    pub(super) first_line: u32,
}

/// The number of a key in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkKey(u16);

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
        }
    }

    /// The number of the key `name`, which stands in `line`. Nothing if there are more keys than can be columns in any case.
    pub(crate) fn key(&mut self, name: &str, line: u32, params: &Params) -> Option<ChunkKey> {
        if let Some(number) = self.by_key.get(name) {
            return Some(ChunkKey(*number));
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
        });
        self.by_key.insert(name.into(), number);
        Some(ChunkKey(number))
    }

    /// Adds a row after all others.
    pub(crate) fn push(&mut self, new: NewRow<'_>, features: impl Iterator<Item = (ChunkKey, Feature)>) {
        let start = fits(self.values.len());
        self.shape.clear();
        for (ChunkKey(key), feature) in features {
            let counts = &mut self.keys[usize::from(key)].counts;
            match feature {
                Feature::Null => counts.nulls += 1,
                Feature::Text => counts.texts += 1,
                Feature::Number(value) => {
                    counts.numbers += 1;
                    if counts.range.is_some_and(|range| !range.contains(value)) {
                        counts.out_of_range += 1;
                    } else if !counts.excluded {
                        counts.present += 1;
                        self.shape.push(key);
                        // One zero, so that what is equal has equal bytes.
                        self.values.push(value + 0.0);
                    }
                }
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
        self.texts.by_text = HashMap::new();
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
        let mut by_text = vec![0; self.texts.texts.len()];
        for label in self.labels.iter().filter(|label| **label != NONE) {
            by_text[*label as usize] += 1;
        }
        for (text, count) in self.texts.texts.iter().zip(by_text).filter(|(_, count)| *count > 0) {
            *counts.entry(text).or_default() += count;
        }
    }
}

/// Texts, each of which has a number.
#[derive(Default)]
struct Texts {
    texts: Vec<Box<str>>,
    by_text: HashMap<Box<str>, u32>,
}

impl Texts {
    fn number(&mut self, text: Option<&str>) -> u32 {
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

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(number as usize).map(|text| &**text)
    }
}

fn fits(number: usize) -> u32 {
    u32::try_from(number).expect("a chunk is of so few lines that all of it is counted in 32 bits")
}

/// The first bytes of the BLAKE3 of an id: where it stands in the canonical order, but for the rarest of ties.
fn prefix(id: &str) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..8]);
    u64::from_be_bytes(first)
}
