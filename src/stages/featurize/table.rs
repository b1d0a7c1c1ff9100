//! The features file: Arrow IPC, the layout that `train`, polars, pandas and DuckDB read.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};

use super::event::Group;
use super::rows::{Row, SortedTable};

/// Rows of one record batch, but for the last.
const BATCH_ROWS: usize = 8192;

/// Column of the event id.
pub(crate) const ID_COLUMN: &str = "event_id";

/// Column of the label.
pub(crate) const LABEL_COLUMN: &str = "label";

/// What a feature's column is called before its key. No other column can be called so, whatever the keys are.
pub(crate) const FEATURE_PREFIX: &str = "features.";

/// The key and the value of the schema's one entry of metadata.
pub(crate) const FORMAT: (&str, &str) = ("madmall.format", "madmall-features/v1");

/// Writes `table` with the asked-for group columns. `progress` is told how many rows are written.
pub(crate) fn write(
    table: &SortedTable,
    groups: &[Group],
    writer: impl Write,
    mut progress: impl FnMut(usize),
) -> Result<(), ArrowError> {
    let schema = Arc::new(schema(table, groups));
    let mut writer = FileWriter::try_new(writer, &schema)?;
    let rows = table.rows().len();
    for start in (0..rows).step_by(BATCH_ROWS) {
        let range = start..rows.min(start + BATCH_ROWS);
        let batch = &table.rows()[range.clone()];
        let mut columns = vec![
            texts(batch, |row| Some(&row.id)),
            texts(batch, |row| row.label.as_deref()),
        ];
        for group in groups {
            columns.push(texts(batch, |row| row.groups[*group as usize].as_deref()));
        }
        for values in table.dense(range.clone()) {
            columns.push(Arc::new(Float64Array::from(values)));
        }
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
        progress(range.end);
    }
    writer.finish()?;
    writer.flush()
}

fn schema(table: &SortedTable, groups: &[Group]) -> Schema {
    let mut fields = vec![
        Field::new(ID_COLUMN, DataType::Utf8, false),
        Field::new(LABEL_COLUMN, DataType::Utf8, true),
    ];
    fields.extend(
        groups
            .iter()
            .map(|group| Field::new(group.name(), DataType::Utf8, true)),
    );
    fields.extend(
        table
            .feature_keys()
            .map(|key| Field::new(format!("{FEATURE_PREFIX}{key}"), DataType::Float64, false)),
    );
    let (key, value) = FORMAT;
    Schema::new(fields).with_metadata([(key.to_owned(), value.to_owned())])
}

fn texts<'a>(rows: &'a [Row], text: impl Fn(&'a Row) -> Option<&'a str>) -> ArrayRef {
    Arc::new(rows.iter().map(text).collect::<StringArray>())
}
