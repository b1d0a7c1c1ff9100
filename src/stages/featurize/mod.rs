//! `featurize`: events in, a table of numbers out, in an order that no longer depends on the order of the lines.
//!
//! The features file is an Arrow IPC file. Its columns, in this order:
//!
//! | column | type | holds |
//! | --- | --- | --- |
//! | `event_id` | utf8 | the event's id |
//! | `label` | utf8, nullable | `payload.label` |
//! | `source.kind`, `source.region` | utf8, nullable | for metrics by group; only those that `groups:` names |
//! | `weight` | float64 | what the row weighs, if `weights:` names the key that holds it |
//! | `features.<column>` | float64 | `payload.features.<key>`: booleans are 0 and 1, what is missing is 0; or what is made of it |
//!
//! Rows stand in canonical order, by the BLAKE3 of the event id; feature columns by the bytes of their name. Texts and
//! nulls are not features unless `one_hot:` asks for them; what is done to values is a [`crate::preparation`], which the
//! schema's metadata hold. The file's bytes are a function of the set of events and the parameters alone.

mod asked;
pub(crate) mod event;
mod fit;
mod medians;
mod methods;
pub(crate) mod params;
pub(crate) mod prepared;
pub(crate) mod reading;
mod report;
pub(crate) mod rows;
pub(crate) mod table;
mod weights;

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use arrow_schema::ArrowError;
use camino::Utf8Path;
use rayon::ThreadPool;

use self::fit::fit;
use self::params::Params;
use self::prepared::Prepared;
use self::reading::{BlockFaults, Reading};
use self::report::report;
use self::rows::sorted::{OrderError, SortedTable};
use self::rows::{AppendError, Rows};
use self::table::{Columns, WriteError};
use super::ingest::blocks::{each_block, pool};
use super::ingest::lines::Place;
use super::room::Room;
use super::{Builtin, InputFile, Progress, Refusal, StageContext, StageError, Unit};
use crate::recognise::Recogniser;

/// The stage as the runner knows it.
pub const BUILTIN: Builtin = Builtin {
    name: "featurize",
    revision: 2,
    definition: include_str!("../../../stages/featurize.yaml"),
    needs_purpose: false,
    run,
};

/// At most this many faults are listed.
const MAX_DETAILS: usize = 50;

/// A refusal without details.
fn refused(summary: impl Into<String>) -> StageError {
    StageError::Refused(Refusal::of(summary))
}

fn run(ctx: &mut StageContext<'_>) -> Result<(), StageError> {
    let room = Room::in_folder(&ctx.scratch);
    run_in(ctx, &room)
}

/// Runs the stage with so much room for rows in memory.
fn run_in(ctx: &mut StageContext<'_>, room: &Room) -> Result<(), StageError> {
    let params = Arc::new(Params::read(ctx.params)?);
    let (rows, whence) = match read_ahead(ctx, &params)? {
        Some(rows) => (rows, ", of lines that were read with `ingest`"),
        None => (gather(ctx, &params, room)?, ""),
    };
    let features = ctx
        .output("features")
        .ok_or_else(|| refused("output `features` is not named"))?;
    let pool = pool(ctx.threads).map_err(|error| write_error(features, error))?;
    let table = in_order(ctx, rows, &pool)?;
    asked::check(&params, &table)?;
    if let Some(key) = &params.weights {
        weights::check(ctx, key, &table, &pool)?;
    }
    let preparation = fit(&table, &params, &pool)?;
    let columns = Columns {
        table: &table,
        groups: &params.groups,
        has_weights: params.weights.is_some(),
        prepared: &Prepared::new(&table, &preparation),
    };
    write_features(ctx, columns, &pool, features)?;
    let report = report(&table, &preparation, params.weights.as_deref());
    if let Some(path) = ctx.output("report") {
        let bytes = serde_json_canonicalizer::to_vec(&report).map_err(|error| write_error(path, error.into()))?;
        let written = File::create(path).and_then(|mut file| file.write_all(&bytes));
        written.map_err(|error| write_error(path, error))?;
    }
    let line = format!(
        "{} rows, {} feature columns{whence}\n",
        table.len(),
        preparation.columns().len()
    );
    // A log that cannot be written is no reason to fail.
    let _ = ctx.log.write_all(line.as_bytes());
    Ok(())
}

/// The rows of the input, if the stage that let its events in has read them for this one.
fn read_ahead(ctx: &StageContext<'_>, params: &Params) -> Result<Option<Rows>, StageError> {
    let Some(ahead) = ctx.read_ahead else {
        return Ok(None);
    };
    Ok(ahead.take(params, events(ctx)?))
}

/// Reads every event of the input.
fn gather(ctx: &StageContext<'_>, params: &Arc<Params>, room: &Room) -> Result<Rows, StageError> {
    let files = events(ctx)?;
    let at = |place: Place| super::ingest::fault::at(files, place);
    let size = |file: &InputFile| file.absolute.metadata().map_or(0, |found| found.len());
    let total = files.iter().map(size).sum();
    let recogniser = Recogniser::of_features();
    let mut rows = Rows::new(params, room);
    let mut faults = Faults::default();
    let mut done = 0;
    let mut before = Place { file: 0, line: 0 };
    each_block(
        files,
        ctx.threads,
        |block| Reading::of(block, &recogniser, params),
        |block, reading| {
            ctx.check_cancelled()?;
            (ctx.progress)(Progress {
                unit: Unit::Bytes,
                done,
                total: Some(total),
            });
            done += block.used;
            if block.file != before.file {
                before = Place {
                    file: block.file,
                    line: 0,
                };
            }
            faults.add(reading.faults, |line| {
                at(Place {
                    line: before.line + 1 + u64::from(line),
                    ..before
                })
            });
            rows.append(reading.chunk, before).map_err(|error| match error {
                AppendError::TooManyKeys { place } => refused(format!("{}: {error}", at(place))),
                AppendError::Disk(error) => error,
            })?;
            before.line += reading.lines;
            Ok(())
        },
    )?;
    faults.refuse()?;
    Ok(rows)
}

/// The files of the input.
fn events<'c>(ctx: &'c StageContext<'_>) -> Result<&'c [InputFile], StageError> {
    let files = ctx.inputs.get("events").map(Vec::as_slice);
    files.ok_or_else(|| refused("input `events` is not named"))
}

/// Puts the rows in order, in which no id may stand twice.
fn in_order(ctx: &StageContext<'_>, rows: Rows, pool: &ThreadPool) -> Result<SortedTable, StageError> {
    let files = events(ctx)?;
    let at = |place: Place| super::ingest::fault::at(files, place);
    rows.into_table(MAX_DETAILS, pool).map_err(|error| match error {
        OrderError::Disk(error) => error,
        OrderError::Duplicates(duplicates) => {
            let detail = |[first, second]: &[Place; 2]| format!("{}: has the id of {}", at(*second), at(*first));
            StageError::Refused(Refusal {
                summary: "an event id stands more than once; run the events through `ingest`".to_owned(),
                details: duplicates.iter().map(detail).collect(),
                ..Refusal::default()
            })
        }
    })
}

fn write_features(
    ctx: &StageContext<'_>,
    columns: Columns<'_>,
    pool: &ThreadPool,
    path: &Utf8Path,
) -> Result<(), StageError> {
    let file = File::create(path).map_err(|error| write_error(path, error))?;
    let total = Some(columns.table.len());
    let mut done = 0;
    let progress = |rows: usize| {
        done += rows as u64;
        (ctx.progress)(Progress {
            unit: Unit::Rows,
            done,
            total,
        });
        ctx.check_cancelled()
    };
    table::write(columns, BufWriter::new(file), pool, progress).map_err(|error| match error {
        WriteError::Arrow(ArrowError::IoError(_, source)) => write_error(path, source),
        WriteError::TooLarge(_) => refused(format!("{error}; give its feature a `range`")),
        WriteError::Stage(error) => error,
        other @ WriteError::Arrow(_) => write_error(path, std::io::Error::other(other)),
    })
}

fn write_error(path: &Utf8Path, source: std::io::Error) -> StageError {
    StageError::Io {
        verb: "write",
        path: path.to_owned(),
        source,
    }
}

/// Faults of the events, counted all, listed up to a bound.
#[derive(Default)]
struct Faults {
    count: u64,
    details: Vec<String>,
}

impl Faults {
    /// Adds those of the next block; `at` names a line of it.
    fn add(&mut self, found: BlockFaults, at: impl Fn(u32) -> String) {
        self.count += found.count;
        let room = MAX_DETAILS - self.details.len();
        let shown = found.first.into_iter().take(room);
        self.details
            .extend(shown.map(|(line, fault)| format!("{}: {fault}", at(line))));
    }

    fn refuse(self) -> Result<(), StageError> {
        if self.count == 0 {
            return Ok(());
        }
        Err(StageError::Refused(Refusal {
            summary: format!("{} lines are no events; run them through `ingest`", self.count),
            unlisted: self.count - self.details.len() as u64,
            details: self.details,
            help: None,
            is_for_lack: false,
        }))
    }
}

#[cfg(test)]
mod tests;
