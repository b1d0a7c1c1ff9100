//! The features file, read into rows with a label, in canonical order.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use arrow_array::{Array, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Schema};

use super::blocks::Matrix;
use super::envelope::{ArrowFile, EnvelopeError};
use crate::stages::featurize::rows::MAX_FEATURES;
use crate::stages::featurize::table::{FEATURE_PREFIX, FORMAT, ID_COLUMN, LABEL_COLUMN};

/// The largest magnitude that is taken: squares and products of such values are still far from overflow.
const MAX_MAGNITUDE: f64 = 1e100;

/// More labels than this are not even counted.
const MAX_LABELS: usize = 1000;

/// Why a file is no features file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeaturesError {
    /// Not an Arrow file that is read.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// An Arrow file, but not the right columns or values.
    #[error("{0}")]
    Content(String),
}

fn content(message: impl Into<String>) -> FeaturesError {
    FeaturesError::Content(message.into())
}

/// The rows that have a label, and what was counted on the way.
#[derive(Debug)]
pub(crate) struct FeatureTable {
    /// Feature keys, in the order of their bytes.
    pub(crate) keys: Vec<String>,
    /// Rows in the file.
    pub(crate) total_rows: u64,
    /// Labels, each with how many rows have it.
    pub(crate) labels: BTreeMap<String, u64>,
    /// The labelled rows, in canonical order.
    pub(crate) rows: Vec<LabelledRow>,
    /// Group columns, by name.
    pub(crate) groups: Vec<String>,
    /// A row of features for each of `rows`, with a last column of ones.
    pub(crate) matrix: Matrix,
}

/// What a labelled row has beside its features.
#[derive(Clone, Debug)]
pub(crate) struct LabelledRow {
    /// BLAKE3 of the event id: the canonical order.
    order: [u8; 32],
    /// The event id's place in `[0, 1)` for splitting.
    pub(crate) split: f64,
    /// The label.
    pub(crate) label: String,
    /// A value for each of [`FeatureTable::groups`].
    pub(crate) groups: Vec<Option<String>>,
}

#[cfg(test)]
impl LabelledRow {
    /// A row with one group column.
    pub(crate) fn for_test(group: Option<&str>) -> Self {
        Self {
            order: [0; 32],
            split: 0.0,
            label: String::new(),
            groups: vec![group.map(str::to_owned)],
        }
    }
}

/// Which columns hold what, by their index.
struct Layout {
    id: usize,
    label: usize,
    groups: Vec<usize>,
    features: Vec<usize>,
}

impl FeatureTable {
    /// Reads all of `reader`. `on_rows` is told how many rows have been read, and may end the reading.
    pub(crate) fn read<E: From<FeaturesError>>(
        reader: impl Read + Seek,
        on_rows: impl Fn(u64) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut file = ArrowFile::open(reader).map_err(FeaturesError::from)?;
        let layout = layout(file.schema())?;
        let name = |column: &usize| file.schema().field(*column).name().clone();
        let mut gathered = Gathered {
            ids: Vec::new(),
            table: Self {
                keys: layout
                    .features
                    .iter()
                    .map(|column| name(column)[FEATURE_PREFIX.len()..].to_owned())
                    .collect(),
                total_rows: 0,
                labels: BTreeMap::new(),
                rows: Vec::new(),
                groups: layout.groups.iter().map(name).collect(),
                matrix: Matrix::new(layout.features.len() + 1),
            },
            splitter: blake3::Hasher::new_derive_key("madmall holdout v1"),
        };
        while let Some(batch) = file.next_batch().map_err(FeaturesError::from)? {
            gathered.add(&batch, &layout)?;
            on_rows(gathered.table.total_rows)?;
        }
        Ok(gathered.finish()?)
    }

    /// How many rows have no label.
    pub(crate) fn unlabelled_rows(&self) -> u64 {
        self.total_rows - self.rows.len() as u64
    }
}

fn layout(schema: &Schema) -> Result<Layout, FeaturesError> {
    if let Some(format) = schema.metadata().get(FORMAT.0)
        && format != FORMAT.1
    {
        return Err(content(format!(
            "its format is `{format}`; `{}` is read here",
            FORMAT.1
        )));
    }
    let (mut id, mut label, mut groups, mut features) = (None, None, Vec::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for (index, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_str();
        if seen.insert(name, index).is_some() {
            return Err(content(format!("it has two columns `{name}`")));
        }
        let expected = match name {
            ID_COLUMN => {
                id = Some(index);
                DataType::Utf8
            }
            LABEL_COLUMN => {
                label = Some(index);
                DataType::Utf8
            }
            _ if name.starts_with(FEATURE_PREFIX) => {
                features.push(index);
                DataType::Float64
            }
            _ => {
                groups.push(index);
                DataType::Utf8
            }
        };
        if *field.data_type() != expected {
            return Err(content(format!("column `{name}` must have the type {expected}")));
        }
    }
    if features.len() > MAX_FEATURES {
        return Err(content(format!("it has more than {MAX_FEATURES} feature columns")));
    }
    let by_name = |a: &usize, b: &usize| {
        schema
            .field(*a)
            .name()
            .as_bytes()
            .cmp(schema.field(*b).name().as_bytes())
    };
    features.sort_by(by_name);
    groups.sort_by(by_name);
    let needed =
        |column: Option<usize>, name: &str| column.ok_or_else(|| content(format!("it has no column `{name}`")));
    Ok(Layout {
        id: needed(id, ID_COLUMN)?,
        label: needed(label, LABEL_COLUMN)?,
        groups,
        features,
    })
}

struct Gathered {
    table: FeatureTable,
    /// The order of every row, labelled or not.
    ids: Vec<[u8; 32]>,
    splitter: blake3::Hasher,
}

impl Gathered {
    fn add(&mut self, batch: &RecordBatch, layout: &Layout) -> Result<(), FeaturesError> {
        let first_row = self.table.total_rows;
        self.table.total_rows += batch.num_rows() as u64;
        let (ids, labels) = (texts(batch, layout.id)?, texts(batch, layout.label)?);
        let groups: Vec<_> = layout
            .groups
            .iter()
            .map(|index| texts(batch, *index))
            .collect::<Result<_, _>>()?;
        let features: Vec<_> = layout
            .features
            .iter()
            .map(|index| numbers(batch, *index))
            .collect::<Result<_, _>>()?;
        for (place, values) in features.iter().enumerate() {
            let wrong = |value: &f64| value.is_nan() || value.abs() > MAX_MAGNITUDE;
            if let Some(row) = values.iter().position(wrong) {
                return Err(content(format!(
                    "feature `{}` of row {} is not finite, or larger than 1e100",
                    self.table.keys[place],
                    first_row + row as u64 + 1
                )));
            }
        }
        for row in 0..batch.num_rows() {
            if ids.is_null(row) {
                return Err(content(format!("row {} has no event id", first_row + row as u64 + 1)));
            }
            let id = ids.value(row).as_bytes();
            let order = *blake3::hash(id).as_bytes();
            self.ids.push(order);
            if labels.is_null(row) {
                continue;
            }
            let label = labels.value(row).to_owned();
            *self.table.labels.entry(label.clone()).or_insert(0) += 1;
            if self.table.labels.len() > MAX_LABELS {
                return Err(content(format!("it has more than {MAX_LABELS} different labels")));
            }
            self.table.rows.push(LabelledRow {
                order,
                split: split(&self.splitter, id),
                label,
                groups: groups.iter().map(|column| value(column, row)).collect(),
            });
            let values = features.iter().map(|values| values[row]);
            self.table.matrix.push(values.chain([1.0]));
        }
        Ok(())
    }

    /// Puts the rows into canonical order, in which `featurize` writes them anyway.
    fn finish(mut self) -> Result<FeatureTable, FeaturesError> {
        self.ids.sort_unstable();
        if self.ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(content("an event id stands in two rows"));
        }
        if !self.table.rows.is_sorted_by(|a, b| a.order < b.order) {
            let mut places: Vec<usize> = (0..self.table.rows.len()).collect();
            places.sort_unstable_by_key(|place| self.table.rows[*place].order);
            let rows: Vec<_> = self.table.matrix.rows().collect();
            let mut matrix = Matrix::new(self.table.matrix.columns());
            for place in &places {
                matrix.push(rows[*place].iter().copied());
            }
            self.table.matrix = matrix;
            self.table.rows.sort_unstable_by_key(|row| row.order);
        }
        Ok(self.table)
    }
}

/// Where `id` stands in `[0, 1)`: the first 53 bits of a hash in a domain of its own, so that it says nothing about
/// the order of rows and depends on no other row.
fn split(splitter: &blake3::Hasher, id: &[u8]) -> f64 {
    let hash = splitter.clone().update(id).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    let bits = (u64::from_be_bytes(first) >> 11) as f64;
    bits / 9_007_199_254_740_992.0
}

fn value(column: &StringArray, row: usize) -> Option<String> {
    (!column.is_null(row)).then(|| column.value(row).to_owned())
}

fn texts(batch: &RecordBatch, column: usize) -> Result<&StringArray, FeaturesError> {
    let array = batch.column(column).as_any().downcast_ref();
    array.ok_or_else(|| content(format!("column {column} is not what the schema says")))
}

fn numbers(batch: &RecordBatch, column: usize) -> Result<&[f64], FeaturesError> {
    let array: Option<&Float64Array> = batch.column(column).as_any().downcast_ref();
    let array = array.ok_or_else(|| content(format!("column {column} is not what the schema says")))?;
    if array.null_count() > 0 {
        let name = batch.schema_ref().field(column).name().clone();
        return Err(content(format!("column `{name}` has nulls; a missing feature is 0")));
    }
    Ok(array.values())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_even_and_depend_on_the_id_alone() {
        let splitter = blake3::Hasher::new_derive_key("madmall holdout v1");
        let places: Vec<f64> = (0..10_000)
            .map(|n: u32| split(&splitter, n.to_string().as_bytes()))
            .collect();
        assert!(places.iter().all(|place| (0.0..1.0).contains(place)));
        let below = places.iter().filter(|place| **place < 0.2).count();
        assert!((1900..2100).contains(&below), "{below}");
        assert_eq!(split(&splitter, b"7").to_bits(), places[7].to_bits());
    }
}
