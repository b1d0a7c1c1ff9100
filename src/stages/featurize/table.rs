//! The features file: Arrow IPC, the layout that `train`, polars, pandas and DuckDB read.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use rayon::ThreadPool;
use rayon::prelude::*;

use super::event::Group;
use super::rows::{Row, SortedTable};
use crate::preparation::Preparation;

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

/// The key of the schema's metadata that holds how features became columns: a [`Preparation`] in JSON.
pub(crate) const PREPARATION: &str = "madmall.preparation";

/// What is written.
#[derive(Clone, Copy)]
pub(crate) struct Columns<'a> {
    /// Where values come from.
    pub(crate) table: &'a SortedTable,
    /// What they become.
    pub(crate) preparation: &'a Preparation,
    /// The asked-for group columns.
    pub(crate) groups: &'a [Group],
}

/// Writes the features file. Batches are made in `pool`, and written in their order on this thread.
/// `progress` is told how many rows are written.
pub(crate) fn write(
    columns: Columns<'_>,
    writer: impl Write,
    pool: &ThreadPool,
    mut progress: impl FnMut(usize),
) -> Result<(), ArrowError> {
    let schema = Arc::new(schema(columns)?);
    let mut writer = FileWriter::try_new(writer, &schema)?;
    let starts: Vec<usize> = (0..columns.table.len()).step_by(BATCH_ROWS).collect();
    let mut made: Vec<Result<RecordBatch, ArrowError>> = Vec::new();
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
            Ok::<(), ArrowError>(())
        })?;
    }
    writer.finish()?;
    writer.flush()
}

fn batch(columns: Columns<'_>, schema: &Arc<Schema>, start: usize) -> Result<RecordBatch, ArrowError> {
    let Columns { table, groups, .. } = columns;
    let range = start..table.len().min(start + BATCH_ROWS);
    let texts = |text: &dyn for<'a> Fn(Row<'a>) -> Option<&'a str>| -> ArrayRef {
        Arc::new(table.rows(range.clone()).map(text).collect::<StringArray>())
    };
    let mut columns = vec![texts(&|row| Some(row.id)), texts(&|row| row.label)];
    for group in groups {
        columns.push(texts(&|row| row.groups[*group as usize]));
    }
    for values in table.dense(range.clone()) {
        columns.push(Arc::new(Float64Array::from(values)));
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
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
            .preparation
            .columns()
            .iter()
            .map(|name| Field::new(format!("{FEATURE_PREFIX}{name}"), DataType::Float64, false)),
    );
    let preparation = columns.preparation.to_json();
    let preparation = preparation.map_err(|error| ArrowError::ExternalError(error.into()))?;
    let (key, value) = FORMAT;
    Ok(Schema::new(fields).with_metadata([
        (key.to_owned(), value.to_owned()),
        (PREPARATION.to_owned(), preparation),
    ]))
}
