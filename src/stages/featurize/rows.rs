//! Events gathered into rows, in canonical order, and what was counted on the way.

pub(crate) mod chunk;
mod texts;

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use self::chunk::{Chunk, level_of_value};
pub(crate) use self::texts::LevelFault;
use super::event::Group;
use crate::preparation::{Input, Range};
use crate::stages::ingest::lines::Place;

/// The most feature keys that are taken.
pub(crate) const MAX_FEATURES: usize = 4096;

/// All rows, in the chunks in which they were read.
#[derive(Default)]
pub(crate) struct Rows {
    chunks: Vec<Chunk>,
    keys: Vec<KeyCounts>,
    by_key: HashMap<Box<str>, usize>,
}

/// A feature key, and how often what stands there.
#[derive(Default)]
pub(crate) struct KeyCounts {
    pub(crate) key: Box<str>,
    pub(crate) excluded: bool,
    range: Option<Range>,
    /// Values that are taken: numbers in their range, and levels.
    pub(crate) present: u64,
    pub(crate) out_of_range: u64,
    pub(crate) texts: u64,
    pub(crate) nulls: u64,
    pub(crate) numbers: u64,
    pub(crate) is_category: bool,
    /// Why it cannot be a category, though it shall.
    pub(crate) level_fault: Option<LevelFault>,
}

/// More keys than can be columns.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_FEATURES} different feature keys")]
pub(crate) struct TooManyKeys {
    /// Where the first of those stands that are too many.
    pub(crate) place: Place,
}

impl Rows {
    /// Adds the rows of lines that come after all others; the line before the first of them is `before`.
    pub(crate) fn append(&mut self, mut chunk: Chunk, before: Place) -> Result<(), TooManyKeys> {
        chunk.before = before;
        for own in std::mem::take(&mut chunk.keys) {
            let index = match self.by_key.get(&own.counts.key) {
                Some(index) => *index,
                None if self.keys.len() == MAX_FEATURES => {
                    let place = chunk.place_of(own.first_line);
                    return Err(TooManyKeys { place });
                }
                None => {
                    self.by_key.insert(own.counts.key.clone(), self.keys.len());
                    self.keys.push(KeyCounts {
                        key: own.counts.key.clone(),
                        excluded: own.counts.excluded,
                        is_category: own.levels.is_some(),
                        ..KeyCounts::default()
                    });
                    self.keys.len() - 1
                }
            };
            self.keys[index].add(&own.counts);
            chunk.indexes.push(index);
            if let Some(levels) = own.levels {
                let fault = &mut self.keys[index].level_fault;
                *fault = fault.or(levels.fault());
                chunk.levels.push((index, levels));
            }
        }
        chunk.forget_how_to_add();
        self.chunks.push(chunk);
        Ok(())
    }

    /// Puts rows into canonical order (by the BLAKE3 of their ids) and columns into the order of their keys' bytes.
    ///
    /// If ids stand twice, the places of at most `most` of them are given instead, the earlier place first.
    pub(crate) fn into_table(self, most: usize) -> Result<SortedTable, Vec<[Place; 2]>> {
        let Self { chunks, keys, .. } = self;
        let mut order: Vec<Ordered> = Vec::with_capacity(chunks.iter().map(Chunk::len).sum());
        for (number, chunk) in (0..).zip(&chunks) {
            let rows = (0..).zip(&chunk.prefixes);
            order.extend(rows.map(|(row, prefix)| Ordered {
                prefix: *prefix,
                chunk: number,
                row,
            }));
        }
        let id = |row: &Ordered| chunks[row.chunk as usize].id(row.row as usize);
        order.par_sort_unstable_by(|a, b| {
            // Two ids with one prefix are hardly ever there, unless they are one id.
            let whole = || {
                blake3::hash(id(a).as_bytes())
                    .as_bytes()
                    .cmp(blake3::hash(id(b).as_bytes()).as_bytes())
            };
            let place = || (a.chunk, a.row).cmp(&(b.chunk, b.row));
            a.prefix.cmp(&b.prefix).then_with(whole).then_with(place)
        });
        let place = |row: &Ordered| {
            let chunk = &chunks[row.chunk as usize];
            chunk.place_of(chunk.lines[row.row as usize])
        };
        let duplicates: Vec<_> = order
            .windows(2)
            .filter(|pair| pair[0].prefix == pair[1].prefix && id(&pair[0]) == id(&pair[1]))
            .take(most)
            .map(|pair| [place(&pair[0]), place(&pair[1])])
            .collect();
        if !duplicates.is_empty() {
            return Err(duplicates);
        }
        Ok(SortedTable::new(chunks, order, keys))
    }
}

impl KeyCounts {
    fn add(&mut self, other: &Self) {
        self.present += other.present;
        self.out_of_range += other.out_of_range;
        self.texts += other.texts;
        self.nulls += other.nulls;
        self.numbers += other.numbers;
    }
}

/// A row in canonical order.
#[derive(Clone, Copy)]
struct Ordered {
    /// The first bytes of the BLAKE3 of its id.
    prefix: u64,
    chunk: u32,
    row: u32,
}

/// Rows in canonical order, and which keys are numbers and which categories.
pub(crate) struct SortedTable {
    chunks: Vec<Chunk>,
    order: Vec<Ordered>,
    keys: Vec<KeyCounts>,
    /// Indices of keys, in the order of the keys' bytes.
    numbers: Vec<usize>,
    /// The same.
    categories: Vec<usize>,
    /// For each chunk and each shape in it, what each cell is of.
    cells: Vec<Vec<Vec<CellOf>>>,
}

/// Which number, or which category, a cell is of: its place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellOf {
    /// Among [`SortedTable::numbers`].
    Number(usize),
    /// Among [`SortedTable::categories`].
    Category(usize),
}

/// What one row has beside its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// `event_id`.
    pub(crate) id: &'a str,
    /// `payload.label`.
    pub(crate) label: Option<&'a str>,
    /// A value for each of `Group::ALL`.
    pub(crate) groups: [Option<&'a str>; 2],
}

impl SortedTable {
    fn new(chunks: Vec<Chunk>, order: Vec<Ordered>, keys: Vec<KeyCounts>) -> Self {
        let mut sorted: Vec<usize> = (0..keys.len()).collect();
        sorted.sort_by(|a, b| keys[*a].key.as_bytes().cmp(keys[*b].key.as_bytes()));
        let is_category = |index: &usize| keys[*index].is_category;
        let is_number = |index: &usize| keys[*index].numbers > 0 && !keys[*index].excluded && !is_category(index);
        let numbers: Vec<usize> = sorted.iter().copied().filter(is_number).collect();
        let categories: Vec<usize> = sorted.into_iter().filter(is_category).collect();
        let mut cell_of = vec![CellOf::Number(usize::MAX); keys.len()];
        for (number, index) in numbers.iter().enumerate() {
            cell_of[*index] = CellOf::Number(number);
        }
        for (category, index) in categories.iter().enumerate() {
            cell_of[*index] = CellOf::Category(category);
        }
        let cells = chunks
            .iter()
            .map(|chunk| {
                chunk
                    .shapes()
                    .map(|shape| shape.map(|index| cell_of[index]).collect())
                    .collect()
            })
            .collect();
        Self {
            chunks,
            order,
            keys,
            numbers,
            categories,
            cells,
        }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// The rows in `range`.
    pub(crate) fn rows(&self, range: std::ops::Range<usize>) -> impl Iterator<Item = Row<'_>> {
        let row = |ordered: &Ordered| self.chunks[ordered.chunk as usize].row(ordered.row as usize);
        self.order[range].iter().map(row)
    }

    /// Every key, in no particular order.
    pub(crate) fn keys(&self) -> &[KeyCounts] {
        &self.keys
    }

    /// The keys that are numbers, in the order of their bytes.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = &KeyCounts> {
        self.numbers.iter().map(|index| &self.keys[*index])
    }

    /// The keys that are categories, in the order of their bytes.
    pub(crate) fn categories(&self) -> impl ExactSizeIterator<Item = &KeyCounts> {
        self.categories.iter().map(|index| &self.keys[*index])
    }

    /// Labels, each with how many rows have it.
    pub(crate) fn labels(&self) -> BTreeMap<&str, u64> {
        let mut labels = BTreeMap::new();
        for chunk in &self.chunks {
            chunk.count_labels(&mut labels);
        }
        labels
    }

    /// Visits what is not missing in the rows in `range`, row after row: the row's place in `range`, what it is of, and the
    /// number; of a category, the number of its level in the row's chunk.
    pub(crate) fn each_cell(&self, range: std::ops::Range<usize>, mut visit: impl FnMut(Cell)) {
        for (place, ordered) in self.order[range].iter().enumerate() {
            let chunk = ordered.chunk as usize;
            let (shape, values) = self.chunks[chunk].cells(ordered.row as usize);
            for (of, value) in self.cells[chunk][shape].iter().zip(values) {
                visit(Cell {
                    place,
                    chunk,
                    of: *of,
                    value: *value,
                });
            }
        }
    }

    /// All values of a number, in no particular order.
    pub(crate) fn values_of(&self, number: usize) -> Vec<f64> {
        let of = CellOf::Number(number);
        let mut values = Vec::new();
        for (chunk, shapes) in self.chunks.iter().zip(&self.cells) {
            let places: Vec<Option<usize>> = shapes
                .iter()
                .map(|cells| cells.iter().position(|cell| *cell == of))
                .collect();
            for row in 0..chunk.len() {
                let (shape, cells) = chunk.cells(row);
                values.extend(places[shape].map(|place| cells[place]));
            }
        }
        values
    }

    /// For each chunk the levels of an input, in the order of the numbers that cells and [`SortedTable::group_levels`] have,
    /// each with how many rows have it.
    pub(crate) fn levels(&self, of: &Input) -> impl Iterator<Item = Vec<(&str, u64)>> {
        let index = match of {
            Input::Feature(key) => self.keys.iter().position(|counts| *counts.key == **key),
            Input::SourceKind | Input::SourceRegion => None,
        };
        let group = Group::of(of);
        self.chunks.iter().map(move |chunk| match (index, group) {
            (Some(index), _) => chunk.levels(index).collect(),
            (None, Some(group)) => chunk.group_levels(group).collect(),
            (None, None) => Vec::new(),
        })
    }

    /// The levels of an input, each with how many rows have it.
    pub(crate) fn counted_levels(&self, of: &Input) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for (level, rows) in self.levels(of).flatten().filter(|(_, rows)| *rows > 0) {
            *counts.entry(level).or_default() += rows;
        }
        counts
    }

    /// For each row in `range` its chunk, and the number of its level there, if it has one.
    pub(crate) fn group_levels(
        &self,
        range: std::ops::Range<usize>,
        group: Group,
    ) -> impl Iterator<Item = (usize, Option<usize>)> {
        self.order[range].iter().map(move |ordered| {
            let chunk = ordered.chunk as usize;
            (chunk, self.chunks[chunk].group_level(ordered.row as usize, group))
        })
    }
}

/// A value that is not missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    /// Which row of those that are visited.
    pub(crate) place: usize,
    /// The row's chunk.
    pub(crate) chunk: usize,
    /// What it is a value of.
    pub(crate) of: CellOf,
    value: f64,
}

impl Cell {
    /// The number.
    pub(crate) fn number(self) -> f64 {
        self.value
    }

    /// The number of the level in the chunk.
    pub(crate) fn level(self) -> usize {
        level_of_value(self.value)
    }
}
