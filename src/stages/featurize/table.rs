//! The features file: Arrow IPC, the layout that `train`, polars, pandas and DuckDB read.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::event::Group;
use super::prepared::{Prepared, TooLarge};
use super::rows::{Row, SortedTable};
use crate::stages::ingest::fault::printable;

/// Rows of one record batch, but for the last.
const BATCH_ROWS: usize = 8192;

/// Column of the event id.
pub(crate) const ID_COLUMN: &str = "event_id";

/// Column of the label.
pub(crate) const LABEL_COLUMN: &str = "label";

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
}

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Rows, and what is not a feature.
    pub(crate) table: &'a SortedTable,
    /// The asked-for group columns.
    pub(crate) groups: &'a [Group],
    /// Features.
    pub(crate) prepared: &'a Prepared<'a>,
}

/// Writes the features file. Batches are made in `pool`, and written in their order on this thread.
/// `progress` is told how many rows are written.
pub(crate) fn write(
    columns: Columns<'_>,
    writer: impl Write,
    pool: &ThreadPool,
    mut progress: impl FnMut(usize),
) -> Result<(), WriteError> {
    let schema = Arc::new(schema(columns)?);
    let mut writer = FileWriter::try_new(writer, &schema)?;
    let starts: Vec<usize> = (0..columns.table.len()).step_by(BATCH_ROWS).collect();
    let mut made: Vec<Result<RecordBatch, WriteError>> = Vec::new();
    // While some are written, the next are made.
    for starts in starts.chunks(2 * pool.current_num_threads()).map(Some).chain([None]) {
        let ready = std::mem::take(&mut made);
        pool.in_place_scope(|scope| {
            let (made, schema) = (&mut made, &schema);
            if let Some(starts) = starts {
                scope.spawn(move |_| {
                    let batch = |start: &usize| batch(columns, schema, *start);
                    *made = starts.par_iter().map(batch).collect();
                });
            }
            for batch in ready {
                let batch = batch?;
                writer.write(&batch)?;
                progress(batch.num_rows());
            }
            Ok::<(), WriteError>(())
        })?;
    }
    writer.finish()?;
    Ok(writer.flush()?)
}

fn batch(columns: Columns<'_>, schema: &Arc<Schema>, start: usize) -> Result<RecordBatch, WriteError> {
    let Columns {
        table,
        groups,
        prepared,
    } = columns;
    let range = start..table.len().min(start + BATCH_ROWS);
    let texts = |text: &dyn for<'a> Fn(Row<'a>) -> Option<&'a str>| -> ArrayRef {
        Arc::new(table.rows(range.clone()).map(text).collect::<StringArray>())
    };
    let mut columns = vec![texts(&|row| Some(row.id)), texts(&|row| row.label)];
    for group in groups {
        columns.push(texts(&|row| row.groups[*group as usize]));
    }
    let features = prepared.columns(range.clone());
    for values in features.map_err(|TooLarge(column)| WriteError::TooLarge(printable(&column)))? {
        columns.push(Arc::new(Float64Array::from(values)));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
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
