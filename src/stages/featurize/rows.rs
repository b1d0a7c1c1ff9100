//! Events gathered into rows, in canonical order, and what was counted on the way.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::event::{Event, Feature};
use super::params::Params;
use crate::stages::ingest::lines::Place;

/// The most feature keys that are taken.
pub(crate) const MAX_FEATURES: usize = 4096;

/// Rows and columns, gathered event by event.
#[derive(Default)]
pub(crate) struct Rows {
    rows: Vec<Row>,
    keys: Vec<KeyCounts>,
    by_key: HashMap<String, u32>,
}

/// One event.
pub(crate) struct Row {
    /// The BLAKE3 of the id: rows stand in this order.
    order: [u8; 32],
    /// `event_id`.
    pub(crate) id: String,
    /// `payload.label`.
    pub(crate) label: Option<String>,
    /// A value for each of `Group::ALL`.
    pub(crate) groups: [Option<String>; 2],
    /// The values that are there: index into the keys as they came, and the value.
    cells: Vec<(u32, f64)>,
    /// Where the event stands.
    place: Place,
}

#[derive(Default)]
struct KeyCounts {
    key: String,
    excluded: bool,
    range: Option<(f64, f64)>,
    present: u64,
    out_of_range: u64,
    texts: u64,
    nulls: u64,
    numbers: u64,
}

/// More keys than can be columns.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_FEATURES} different feature keys")]
pub(crate) struct TooManyKeys;

impl Rows {
    /// Adds an event that stands at `place`.
    pub(crate) fn add(&mut self, event: Event, place: Place, params: &Params) -> Result<(), TooManyKeys> {
        let mut cells = Vec::with_capacity(event.features.len());
        for (key, value) in event.features {
            let index = self.index_of(key, params)?;
            let counts = &mut self.keys[index as usize];
            match value {
                Feature::Null => counts.nulls += 1,
                Feature::Text => counts.texts += 1,
                Feature::Number(value) => {
                    counts.numbers += 1;
                    let outside = counts
                        .range
                        .is_some_and(|(least, greatest)| value < least || value > greatest);
                    if outside {
                        counts.out_of_range += 1;
                    } else if !counts.excluded {
                        counts.present += 1;
                        cells.push((index, value));
                    }
                }
            }
        }
        self.rows.push(Row {
            order: *blake3::hash(event.id.as_bytes()).as_bytes(),
            id: event.id,
            label: event.label,
            groups: event.groups,
            cells,
            place,
        });
        Ok(())
    }

    fn index_of(&mut self, key: String, params: &Params) -> Result<u32, TooManyKeys> {
        if let Some(index) = self.by_key.get(&key) {
            return Ok(*index);
        }
        if self.keys.len() == MAX_FEATURES {
            return Err(TooManyKeys);
        }
        let index = u32::try_from(self.keys.len()).expect("bounded above");
        self.keys.push(KeyCounts {
            excluded: params.exclude.contains(&key),
            range: params.range.get(&key).copied(),
            key: key.clone(),
            ..KeyCounts::default()
        });
        self.by_key.insert(key, index);
        Ok(index)
    }

    /// Whether any event has the feature `key`.
    pub(crate) fn has_key(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Puts rows into canonical order (by the BLAKE3 of their ids) and columns into the order of their keys' bytes.
    ///
    /// If ids stand twice, the places of at most `most` of them are given instead, the earlier place first.
    pub(crate) fn into_table(mut self, most: usize) -> Result<SortedTable, Vec<[Place; 2]>> {
        self.rows
            .sort_unstable_by(|a, b| (&a.order, a.place).cmp(&(&b.order, b.place)));
        let duplicates: Vec<_> = self
            .rows
            .windows(2)
            .filter(|pair| pair[0].id == pair[1].id)
            .take(most)
            .map(|pair| [pair[0].place, pair[1].place])
            .collect();
        if !duplicates.is_empty() {
            return Err(duplicates);
        }
        let mut columns: Vec<u32> = (0u32..)
            .zip(&self.keys)
            .filter(|(_, counts)| counts.numbers > 0 && !counts.excluded)
            .map(|(index, _)| index)
            .collect();
        columns.sort_by(|a, b| {
            let key = |index: &u32| self.keys[*index as usize].key.as_bytes();
            key(a).cmp(key(b))
        });
        Ok(SortedTable {
            rows: self.rows,
            keys: self.keys,
            columns,
        })
    }
}

/// Rows in canonical order, and which keys are columns.
pub(crate) struct SortedTable {
    rows: Vec<Row>,
    keys: Vec<KeyCounts>,
    columns: Vec<u32>,
}

impl SortedTable {
    /// The rows.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The keys that are columns, in the order of their bytes.
    pub(crate) fn feature_keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.columns.iter().map(|index| self.keys[*index as usize].key.as_str())
    }

    /// Columns of numbers for the rows in `range`; what is missing is 0.
    pub(crate) fn dense(&self, range: std::ops::Range<usize>) -> Vec<Vec<f64>> {
        let mut column_of = vec![usize::MAX; self.keys.len()];
        for (column, index) in self.columns.iter().enumerate() {
            column_of[*index as usize] = column;
        }
        let mut columns = vec![vec![0.0; range.len()]; self.columns.len()];
        for (place, row) in self.rows[range].iter().enumerate() {
            for (index, value) in &row.cells {
                columns[column_of[*index as usize]][place] = *value;
            }
        }
        columns
    }

    /// What was counted.
    pub(crate) fn report(&self) -> Report<'_> {
        let rows = self.rows.len() as u64;
        let mut labels = BTreeMap::new();
        for label in self.rows.iter().filter_map(|row| row.label.as_deref()) {
            *labels.entry(label).or_insert(0) += 1;
        }
        let labelled: u64 = labels.values().sum();
        let features = self.columns.iter().map(|index| {
            let counts = &self.keys[*index as usize];
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
