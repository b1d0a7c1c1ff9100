//! The features file: Arrow IPC, the layout that `train`, polars, pandas and DuckDB read.

use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use rayon::ThreadPool;

use super::event::Group;
use super::prepared::{Prepared, TooLarge};
use super::rows::blocks::Block;
use super::rows::sorted::SortedTable;
use crate::stages::StageError;
use crate::stages::ingest::fault::printable;

/// Column of the event id.
pub(crate) const ID_COLUMN: &str = "event_id";

/// Column of the label.
pub(crate) const LABEL_COLUMN: &str = "label";

/// Column of what the rows weigh, if a key holds that.
pub(crate) const WEIGHT_COLUMN: &str = "weight";

/// What a feature's column is called before its key. No other column can be called so, whatever the keys are.
pub(crate) const FEATURE_PREFIX: &str = "features.";

/// The key and the value of the schema's metadata that name the format.
pub(crate) const FORMAT: (&str, &str) = ("madmall.format", "madmall-features/v1");

/// The key of the schema's metadata that holds how features became columns: a [`crate::preparation::Preparation`] in JSON.
pub(crate) const PREPARATION: &str = "madmall.preparation";

/// Why a features file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// The disk, or the format.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// A column holds more than a number can.
    #[error("column `{0}` holds a value that is too large for a number")]
    TooLarge(String),
    /// Rows cannot be read again, or whoever is told of the progress ends it.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Rows, and what is not a feature.
    pub(crate) table: &'a SortedTable,
    /// The asked-for group columns.
    pub(crate) groups: &'a [Group],
    /// Whether rows weigh something.
    pub(crate) has_weights: bool,
    /// Features.
    pub(crate) prepared: &'a Prepared<'a>,
}

/// Writes the features file: a record batch for each block of rows. Batches are made in `pool`, and written in their order on this
/// thread. `progress` is told how many rows are written.
pub(crate) fn write(
    columns: Columns<'_>,
    writer: impl Write,
    pool: &ThreadPool,
    mut progress: impl FnMut(usize) -> Result<(), StageError>,
) -> Result<(), WriteError> {
    let schema = Arc::new(schema(columns)?);
    let mut writer = FileWriter::try_new(writer, &schema)?;
    let batch = |block: &Block<'_>| batch(columns, &schema, block);
    columns.table.each_block(pool, schema.fields().len(), batch, |batch| {
        let batch = batch?;
        writer.write(&batch)?;
        Ok::<(), WriteError>(progress(batch.num_rows())?)
    })?;
    writer.finish()?;
    Ok(writer.flush()?)
}

fn batch(columns: Columns<'_>, schema: &Arc<Schema>, block: &Block<'_>) -> Result<RecordBatch, WriteError> {
    // What is UTF-8 is asked of a whole column at once: of one text after the other it takes longer than to copy them.
    let mut texts: Vec<BinaryBuilder> = (0..2 + columns.groups.len()).map(|_| BinaryBuilder::new()).collect();
    for row in block.records() {
        let [id, label, groups @ ..] = &mut *texts else {
            unreachable!("there are two, and the groups");
        };
        id.append_value(row.id);
        label.append_option(row.label);
        for (texts, group) in groups.iter_mut().zip(columns.groups) {
            texts.append_option(row.groups[*group as usize]);
        }
    }
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for mut texts in texts {
        arrays.push(Arc::new(StringArray::try_from_binary(texts.finish())?));
    }
    if columns.has_weights {
        let weights = block.weights().into_iter().map(Option::unwrap_or_default);
        arrays.push(Arc::new(Float64Array::from_iter_values(weights)));
    }
    let features = columns.prepared.columns(block);
    for values in features.map_err(|TooLarge(column)| WriteError::TooLarge(printable(&column)))? {
        arrays.push(Arc::new(Float64Array::from(values)));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), arrays)?)
}

fn schema(columns: Columns<'_>) -> Result<Schema, ArrowError> {
    let mut fields = vec![
        Field::new(ID_COLUMN, DataType::Utf8, false),
        Field::new(LABEL_COLUMN, DataType::Utf8, true),
    ];
    fields.extend(
        columns
            .groups
            .iter()
            .map(|group| Field::new(group.name(), DataType::Utf8, true)),
    );
    if columns.has_weights {
        fields.push(Field::new(WEIGHT_COLUMN, DataType::Float64, false));
    }
    fields.extend(
        columns
            .prepared
            .preparation()
            .columns()
            .iter()
            .map(|name| Field::new(format!("{FEATURE_PREFIX}{name}"), DataType::Float64, false)),
    );
    let preparation = columns.prepared.preparation().to_json();
    let preparation = preparation.map_err(|error| ArrowError::ExternalError(error.into()))?;
    let (key, value) = FORMAT;
    Ok(Schema::new(fields).with_metadata([
        (key.to_owned(), value.to_owned()),
        (PREPARATION.to_owned(), preparation),
    ]))
}
