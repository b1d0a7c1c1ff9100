//! Events gathered into rows, in canonical order, and what was counted on the way.

pub(crate) mod chunk;

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::Serialize;

use self::chunk::Chunk;
use crate::preparation::Range;
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

#[derive(Default)]
struct KeyCounts {
    key: Box<str>,
    excluded: bool,
    range: Option<Range>,
    present: u64,
    out_of_range: u64,
    texts: u64,
    nulls: u64,
    numbers: u64,
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
                        ..KeyCounts::default()
                    });
                    self.keys.len() - 1
                }
            };
            self.keys[index].add(&own.counts);
            chunk.indexes.push(index);
        }
        chunk.forget_how_to_add();
        self.chunks.push(chunk);
        Ok(())
    }

    /// Whether any event has the feature `key`.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Chunk::len).sum()
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

/// Rows in canonical order, and which keys are columns.
pub(crate) struct SortedTable {
    chunks: Vec<Chunk>,
    order: Vec<Ordered>,
    keys: Vec<KeyCounts>,
    /// Indices of keys, in the order of the keys' bytes.
    columns: Vec<usize>,
    /// For each chunk and each shape in it, the column of each cell.
    columns_of: Vec<Vec<Vec<usize>>>,
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
        let is_column = |index: &usize| keys[*index].numbers > 0 && !keys[*index].excluded;
        let mut columns: Vec<usize> = (0..keys.len()).filter(is_column).collect();
        columns.sort_by(|a, b| keys[*a].key.as_bytes().cmp(keys[*b].key.as_bytes()));
        let mut column_of = vec![usize::MAX; keys.len()];
        for (column, index) in columns.iter().enumerate() {
            column_of[*index] = column;
        }
        let columns_of = chunks
            .iter()
            .map(|chunk| {
                chunk
                    .shapes()
                    .map(|shape| shape.map(|index| column_of[index]).collect())
                    .collect()
            })
            .collect();
        Self {
            chunks,
            order,
            keys,
            columns,
            columns_of,
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

    /// The keys that are columns, in the order of their bytes.
    pub(crate) fn feature_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|index| &*self.keys[*index].key)
    }

    /// Columns of numbers for the rows in `range`; what is missing is 0.
    pub(crate) fn dense(&self, range: std::ops::Range<usize>) -> Vec<Vec<f64>> {
        let mut columns = vec![vec![0.0; range.len()]; self.columns.len()];
        for (place, ordered) in self.order[range].iter().enumerate() {
            let chunk = ordered.chunk as usize;
            let (shape, values) = self.chunks[chunk].cells(ordered.row as usize);
            for (column, value) in self.columns_of[chunk][shape].iter().zip(values) {
                columns[*column][place] = *value;
            }
        }
        columns
    }

    /// What was counted.
    pub(crate) fn report(&self) -> Report<'_> {
        let rows = self.order.len() as u64;
        let mut labels = BTreeMap::new();
        for chunk in &self.chunks {
            chunk.count_labels(&mut labels);
        }
        let labelled: u64 = labels.values().sum();
        let features = self.columns.iter().map(|index| {
            let counts = &self.keys[*index];
            FeatureReport {
                key: &counts.key,
                present: counts.present,
                missing: rows - counts.present,
                out_of_range: counts.out_of_range,
            }
        });
        let mut ignored: Vec<_> = self.keys.iter().flat_map(ignored).collect();
        ignored.sort();
        Report {
            format: "madmall-features-report/v1",
            rows,
            unlabelled: rows - labelled,
            labels,
            features: features.collect(),
            ignored,
        }
    }
}

fn ignored(counts: &KeyCounts) -> Vec<IgnoredReport<'_>> {
    let entry = |reason, rows| IgnoredReport {
        key: &counts.key,
        reason,
        rows,
    };
    let mut entries = Vec::new();
    if counts.excluded {
        entries.push(entry("excluded", counts.numbers + counts.texts + counts.nulls));
        return entries;
    }
    if counts.texts > 0 {
        entries.push(entry("text", counts.texts));
    }
    // Beside numbers a null is a missing value and counted there.
    if counts.nulls > 0 && counts.numbers == 0 {
        entries.push(entry("null", counts.nulls));
    }
    entries
}

/// What featurize says it did. `missing` counts what is absent, null, a text or out of range.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    format: &'static str,
    rows: u64,
    unlabelled: u64,
    labels: BTreeMap<&'a str, u64>,
    features: Vec<FeatureReport<'a>>,
    ignored: Vec<IgnoredReport<'a>>,
}

#[derive(Debug, Serialize)]
struct FeatureReport<'a> {
    key: &'a str,
    present: u64,
    missing: u64,
    out_of_range: u64,
}

#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct IgnoredReport<'a> {
    key: &'a str,
    reason: &'static str,
    rows: u64,
}
