//! The features file, read into rows with a label, in canonical order.

mod layout;
mod texts;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use arrow_array::{Array, Float64Array, RecordBatch, StringArray};
use arrow_schema::Schema;
use rayon::ThreadPool;

use self::layout::Layout;
use self::texts::{BatchTexts, Texts};
use super::blocks::Matrix;
use super::envelope::{ArrowFile, EnvelopeError};
use super::evaluate::population::Coded;
use crate::preparation::Preparation;
use crate::stages::featurize::table::{FEATURE_PREFIX, PREPARATION};
use crate::stages::side_by_side::in_order;

/// The largest magnitude that is taken: squares and products of such values are still far from overflow.
const MAX_MAGNITUDE: f64 = 1e100;

/// Whether a row can weigh so much: more than nothing, for what is to count for nothing does not belong in the table.
pub(crate) fn is_weight(weight: f64) -> bool {
    weight > 0.0 && weight <= MAX_MAGNITUDE
}

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

/// What a features file holds beside its rows.
#[derive(Debug)]
pub(crate) struct FeatureTable {
    /// Feature keys, in the order of their bytes.
    pub(crate) keys: Vec<String>,
    /// Rows in the file.
    pub(crate) total_rows: u64,
    /// Labels, each with how many rows have it.
    pub(crate) labels: BTreeMap<String, u64>,
    /// Group columns, by name.
    pub(crate) groups: Vec<String>,
    /// The texts of the label column, and of each of the group columns.
    label_texts: Texts,
    group_texts: Vec<Texts>,
    /// How events became these features, if the file says so.
    pub(crate) preparation: Option<Preparation>,
}

/// Some of the rows that have a label, in canonical order: by the BLAKE3 of the event id.
#[derive(Debug)]
pub(crate) struct LabelledRows {
    /// Their numbers in the file.
    numbers: Vec<usize>,
    /// Where each one's label is among those of the table.
    labels: Vec<u32>,
    /// For each of [`FeatureTable::groups`], where each row's value is; see [`FeatureTable::values`].
    pub(crate) groups: Vec<Vec<u32>>,
    /// A row of features for each, with a last column of ones.
    pub(crate) matrix: Matrix,
    /// What each row weighs, if a column says so.
    pub(crate) weights: Option<Vec<f64>>,
}

impl LabelledRows {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn new(layout: &Layout) -> Self {
        Self {
            numbers: Vec::new(),
            labels: Vec::new(),
            groups: vec![Vec::new(); layout.groups.len()],
            matrix: Matrix::new(layout.features.len() + 1),
            weights: layout.weight.map(|_| Vec::new()),
        }
    }

    /// The rows at `places`, in that order.
    fn pick(&self, places: &[usize]) -> Self {
        fn pick<T: Copy>(all: &[T], places: &[usize]) -> Vec<T> {
            places.iter().map(|place| all[*place]).collect()
        }
        Self {
            numbers: pick(&self.numbers, places),
            labels: pick(&self.labels, places),
            groups: self.groups.iter().map(|column| pick(column, places)).collect(),
            matrix: self.matrix.pick(places),
            weights: self.weights.as_ref().map(|weights| pick(weights, places)),
        }
    }
}

impl FeatureTable {
    /// Reads all of `reader`, decoding in `pool`: the table, the rows to train on, and those whose ids stand below `holdout`
    /// (see [`split`]). `weights` is the column that holds what rows weigh. `on_rows` is told how many rows have been read, and may
    /// end the reading.
    pub(crate) fn read<E: From<FeaturesError>>(
        reader: impl Read + Seek,
        holdout: f64,
        weights: Option<&str>,
        pool: &ThreadPool,
        on_rows: impl Fn(u64) -> Result<(), E>,
    ) -> Result<(Self, [LabelledRows; 2]), E> {
        let mut file = ArrowFile::open(reader).map_err(FeaturesError::from)?;
        let layout = Layout::of(file.schema(), weights)?;
        let decoder = file.decoder();
        let mut gathered = Gathered::new(file.schema(), &layout);
        gathered.table.preparation = preparation(file.schema(), &gathered.table.keys)?;
        // One more than are decoded, so that there is something to do while one is added.
        let most = pool.current_num_threads() + 1;
        in_order(
            (&mut file, pool, most),
            |file| Ok(file.next_raw().map_err(FeaturesError::from)?),
            |raw| Decoded::of(decoder.decode(raw)?, &layout, holdout),
            |_, decoded| {
                gathered.add(&decoded?, &layout)?;
                on_rows(gathered.table.total_rows)
            },
        )?;
        Ok(gathered.finish()?)
    }

    /// Of each of `rows`, whether its label is `label`.
    pub(crate) fn have_label(&self, rows: &LabelledRows, label: &str) -> Vec<bool> {
        let place = self.label_texts.find(label);
        rows.labels.iter().map(|own| Some(*own) == place).collect()
    }

    /// The values that rows have in each group column, by where they are.
    pub(crate) fn values<'a>(&'a self, groups: &'a [Vec<u32>]) -> Vec<Coded<'a>> {
        let coded = |(codes, texts): (&'a Vec<u32>, &'a Texts)| Coded {
            codes,
            values: texts.all().collect(),
        };
        groups.iter().zip(&self.group_texts).map(coded).collect()
    }

    /// How many rows have no label.
    pub(crate) fn unlabelled_rows(&self) -> u64 {
        self.total_rows - self.labels.values().sum::<u64>()
    }
}

/// What the file says of how its columns, which are called `keys`, were made.
fn preparation(schema: &Schema, keys: &[String]) -> Result<Option<Preparation>, FeaturesError> {
    let Some(text) = schema.metadata().get(PREPARATION) else {
        return Ok(None);
    };
    let preparation = Preparation::parse(text.as_bytes()).map_err(|error| content(error.to_string()))?;
    if preparation.columns() != keys {
        return Err(content("its preparation makes other columns than it has"));
    }
    Ok(Some(preparation))
}

/// A batch, with what can be known of its rows without those before it.
struct Decoded {
    batch: RecordBatch,
    /// For each row the BLAKE3 of its id, and whether it is held out.
    ids: Vec<([u8; 32], bool)>,
    label: BatchTexts,
    groups: Vec<BatchTexts>,
    /// The first feature (by its place) that holds what is no number to calculate with, and in which row.
    wrong: Option<(usize, usize)>,
    /// The first row without an id.
    nameless: Option<usize>,
    /// The first row with a weight that is none.
    weightless: Option<usize>,
}

impl Decoded {
    fn of(batch: RecordBatch, layout: &Layout, holdout: f64) -> Result<Self, FeaturesError> {
        let splitter = blake3::Hasher::new_derive_key("madmall holdout v1");
        let names = texts(&batch, layout.id)?;
        // No id stands below 0.
        let is_held_out = |id: &[u8]| holdout > 0.0 && split(&splitter, id) < holdout;
        let hashes = |id: &str| (*blake3::hash(id.as_bytes()).as_bytes(), is_held_out(id.as_bytes()));
        let ids = names.iter().map(|id| hashes(id.unwrap_or_default())).collect();
        let mut wrong = None;
        for (place, column) in layout.features.iter().enumerate() {
            let is_wrong = |value: &f64| value.is_nan() || value.abs() > MAX_MAGNITUDE;
            let row = numbers(&batch, *column)?.iter().position(is_wrong);
            wrong = wrong.or(row.map(|row| (place, row)));
        }
        let weightless = match layout.weight {
            None => None,
            Some(column) => numbers(&batch, column)?.iter().position(|weight| !is_weight(*weight)),
        };
        let groups = layout.groups.iter().map(|column| texts(&batch, *column));
        Ok(Self {
            label: BatchTexts::of(texts(&batch, layout.label)?),
            groups: groups
                .map(|column| Ok(BatchTexts::of(column?)))
                .collect::<Result<_, FeaturesError>>()?,
            weightless,
            nameless: (0..batch.num_rows()).find(|row| names.is_null(*row)),
            ids,
            wrong,
            batch,
        })
    }
}

struct Gathered {
    table: FeatureTable,
    train: LabelledRows,
    holdout_rows: LabelledRows,
    /// The order of every row, labelled or not.
    ids: Vec<[u8; 32]>,
    /// How many rows have each of the label column's texts.
    label_counts: Vec<u64>,
}

impl Gathered {
    fn new(schema: &Schema, layout: &Layout) -> Self {
        let name = |column: &usize| schema.field(*column).name().clone();
        let key = |column| name(column)[FEATURE_PREFIX.len()..].to_owned();
        Self {
            table: FeatureTable {
                keys: layout.features.iter().map(key).collect(),
                total_rows: 0,
                labels: BTreeMap::new(),
                groups: layout.groups.iter().map(name).collect(),
                label_texts: Texts::default(),
                group_texts: layout.groups.iter().map(|_| Texts::default()).collect(),
                preparation: None,
            },
            train: LabelledRows::new(layout),
            holdout_rows: LabelledRows::new(layout),
            ids: Vec::new(),
            label_counts: Vec::new(),
        }
    }

    fn add(&mut self, decoded: &Decoded, layout: &Layout) -> Result<(), FeaturesError> {
        let (batch, first_row) = (&decoded.batch, self.ids.len());
        if let Some((place, row)) = decoded.wrong {
            return Err(content(format!(
                "feature `{}` of row {} is not finite, or larger than 1e100",
                self.table.keys[place],
                first_row + row + 1
            )));
        }
        if let Some(row) = decoded.nameless {
            return Err(content(format!("row {} has no event id", first_row + row + 1)));
        }
        if let Some(row) = decoded.weightless {
            let row = first_row + row + 1;
            return Err(content(format!(
                "row {row} weighs nothing that a row can: more than 0, at most 1e100"
            )));
        }
        self.ids.extend(decoded.ids.iter().map(|(order, _)| order));
        self.table.total_rows = self.ids.len() as u64;
        let label_column = texts(batch, layout.label)?;
        let labels = self.table.label_texts.take(label_column, &decoded.label)?;
        self.label_counts.resize(self.table.label_texts.all().len(), 0);
        let (mut train, mut holdout) = (Vec::new(), Vec::new());
        for (row, place) in decoded.label.places.iter().enumerate() {
            if label_column.is_null(row) {
                continue;
            }
            let label = labels[*place];
            self.label_counts[label as usize] += 1;
            let (part, rows) = match decoded.ids[row].1 {
                true => (&mut self.holdout_rows, &mut holdout),
                false => (&mut self.train, &mut train),
            };
            rows.push(row);
            part.numbers.push(first_row + row);
            part.labels.push(label);
        }
        if self.label_counts.iter().filter(|count| **count > 0).count() > MAX_LABELS {
            return Err(content(format!("it has more than {MAX_LABELS} different labels")));
        }
        for (place, column) in layout.groups.iter().enumerate() {
            let own = &decoded.groups[place];
            let kept = self.table.group_texts[place].take(texts(batch, *column)?, own)?;
            for (part, rows) in [(&mut self.train, &train), (&mut self.holdout_rows, &holdout)] {
                part.groups[place].extend(rows.iter().map(|row| kept[own.places[*row]]));
            }
        }
        let features = layout.features.iter().map(|index| numbers(batch, *index));
        let features: Vec<_> = features.collect::<Result<_, _>>()?;
        self.train.matrix.append(&features, &train);
        self.holdout_rows.matrix.append(&features, &holdout);
        if let Some(column) = layout.weight {
            let weights = numbers(batch, column)?;
            for (part, rows) in [(&mut self.train, &train), (&mut self.holdout_rows, &holdout)] {
                part.weights
                    .get_or_insert_default()
                    .extend(rows.iter().map(|row| weights[*row]));
            }
        }
        Ok(())
    }

    /// Puts the rows into canonical order, in which `featurize` writes them anyway.
    fn finish(mut self) -> Result<(FeatureTable, [LabelledRows; 2]), FeaturesError> {
        let labels = self.table.label_texts.all().zip(self.label_counts);
        self.table.labels = labels
            .filter_map(|(label, count)| Some((label?.to_owned(), count)))
            .collect();
        if self.ids.is_sorted_by(|a, b| a < b) {
            return Ok((self.table, [self.train, self.holdout_rows]));
        }
        for part in [&mut self.train, &mut self.holdout_rows] {
            let order = |place: &usize| self.ids[part.numbers[*place]];
            let mut places: Vec<usize> = (0..part.len()).collect();
            places.sort_unstable_by_key(order);
            *part = part.pick(&places);
        }
        self.ids.sort_unstable();
        if self.ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(content("an event id stands in two rows"));
        }
        Ok((self.table, [self.train, self.holdout_rows]))
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

fn texts(batch: &RecordBatch, column: usize) -> Result<&StringArray, FeaturesError> {
    let array = batch.column(column).as_any().downcast_ref();
    array.ok_or_else(|| content(format!("column {column} is not what the schema says")))
}

fn numbers(batch: &RecordBatch, column: usize) -> Result<&[f64], FeaturesError> {
    let array: Option<&Float64Array> = batch.column(column).as_any().downcast_ref();
    let array = array.ok_or_else(|| content(format!("column {column} is not what the schema says")))?;
    if array.null_count() > 0 {
        let name = batch.schema_ref().field(column).name().clone();
        return Err(content(format!(
            "column `{name}` has nulls; in a feature what is missing is 0"
        )));
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
