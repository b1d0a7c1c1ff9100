//! `train --events EVENTS --models DIR --receipt FILE`, as the replaced package had it.
//!
//! The model is the replaced package's: features sorted by key, missing ones 0, 800 steps of gradient descent at rate
//! 0.1 from zero on the mean log loss, nothing scaled. Different are:
//!
//! - every event is held against the embedded schema of byte events: no consent, no training;
//! - a blank label, or one with white space at its ends, is an error and not silently dropped or merged with another;
//! - rows are added up in canonical order, so that neither the order of lines nor the number of threads changes a bit;
//! - a run id is `train-<unix seconds>-<6 hexadecimal digits>` and never repeats, and no model is written over;
//! - the hash in the receipt is of the very bytes that were trained on;
//! - model and receipt are whole or absent; a model that is not finite is refused.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use rayon::ThreadPool;
use serde::Serialize;

use super::ingest::{failure, invalid, make_folder, temporary_in};
use super::{CompatOutcome, room};
use crate::digest::{Sha256, hex};
use crate::model::Labels;
use crate::stages::featurize::params::Params;
use crate::stages::featurize::reading::{RowAdder, read_event};
use crate::stages::featurize::rows::Rows;
use crate::stages::featurize::rows::blocks::Block;
use crate::stages::featurize::rows::chunk::Chunk;
use crate::stages::featurize::rows::sorted::{CellOf, OrderError, SortedTable};
use crate::stages::ingest::blocks::pool;
use crate::stages::ingest::check::{Checked, NonRevocable, Rules, check};
use crate::stages::ingest::fault::{Fault, Faults, grouped};
use crate::stages::ingest::lines::{Pieces, Place};
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::source::Source;
use crate::stages::ingest::verdicts::Verdict;
use crate::stages::train::blocks::Matrix;
use crate::stages::train::loss::Objective;
use crate::stages::train::solve::descent;
use crate::stages::{InputFile, StageError};
use crate::store::atomic::in_the_way;

/// Where the events are if `--events` is not given.
pub const DEFAULT_EVENTS: &str = "ml/data/events.ndjson";

/// Where models go if `--models` is not given.
pub const DEFAULT_MODELS: &str = "ml/models";

/// Where the receipt goes if `--receipt` is not given.
pub const DEFAULT_RECEIPT: &str = "ml/receipts/latest-train-receipt.json";

/// What the command is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainArgs {
    /// `--events`: the events.
    pub events: Utf8PathBuf,
    /// `--models`: the folder that the model is written to.
    pub models: Utf8PathBuf,
    /// `--receipt`: the receipt, which the next run writes over.
    pub receipt: Utf8PathBuf,
}

#[derive(Serialize)]
struct ModelFile<'a> {
    kind: &'static str,
    run_id: &'a str,
    trained_at: &'a str,
    labels: &'a Labels,
    feature_keys: &'a [String],
    weights: &'a [f64],
    bias: f64,
}

#[derive(Serialize)]
struct Receipt<'a> {
    status: &'static str,
    run_id: &'a str,
    trained_at: &'a str,
    events: EventsFile<'a>,
    labels: [&'a str; 2],
    feature_keys: &'a [String],
    model_path: &'a str,
}

#[derive(Serialize)]
struct EventsFile<'a> {
    path: &'a str,
    sha256: String,
}

/// Runs the command. `now` is the time that model and receipt state; `threads` changes how long it takes and nothing
/// else.
#[must_use]
pub fn train(args: &TrainArgs, now: Timestamp, threads: usize) -> CompatOutcome {
    match try_train(args, now, threads) {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

fn try_train(args: &TrainArgs, now: Timestamp, threads: usize) -> Result<CompatOutcome, CompatOutcome> {
    if let Some(what) = in_the_way(&args.receipt) {
        return Err(failure(
            &format!("Cannot write the receipt: it is {what}, and not replaced by a file"),
            Some(&args.receipt),
        ));
    }
    let real = |path: &Utf8Path| path.canonicalize_utf8().ok();
    if real(&args.receipt).is_some_and(|receipt| real(&args.events) == Some(receipt)) {
        let why = "Cannot write the receipt: it is the events file";
        return Err(failure(why, Some(&args.receipt)));
    }
    let (bytes, sha256, checked) = read(&args.events, threads)?;
    let pool = pool(threads).map_err(|error| failure(&format!("Cannot train: {error}"), None))?;
    let data = gather(&bytes, &checked, &pool)?;
    let trained = fit(&data, &pool)?;
    let trained_at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (run_id, model_path) = write_model(&args.models, &trained, now, &trained_at)?;
    let receipt = Receipt {
        status: "OK",
        run_id: &run_id,
        trained_at: &trained_at,
        events: EventsFile {
            path: args.events.as_str(),
            sha256: sha256.to_hex(),
        },
        labels: [&trained.labels.negative, &trained.labels.positive],
        feature_keys: &trained.feature_keys,
        model_path: model_path.as_str(),
    };
    let mut outcome = CompatOutcome::success(&receipt);
    let mut counts = checked.verdicts.counts();
    let repeated = counts.find(|(verdict, _)| *verdict == Verdict::Duplicate);
    match repeated.map_or(0, |(_, lines)| lines) {
        0 => {}
        count => outcome.notes.push(format!(
            "{} lines repeat an earlier event byte for byte and count once",
            grouped(count)
        )),
    }
    let written = publish(
        &args.receipt,
        (outcome.json.clone() + "\n").as_bytes(),
        Existing::Replace,
    );
    written.map_err(|error| {
        // A model without its receipt would look as if it had one.
        let _ = std::fs::remove_file(&model_path);
        failure(&format!("Cannot write the receipt: {error}"), Some(&args.receipt))
    })?;
    Ok(outcome)
}

/// The bytes of the events, the digest of their file, and what `ingest` says of each line of them.
fn read(events: &Utf8Path, threads: usize) -> Result<(Vec<u8>, Sha256, Checked), CompatOutcome> {
    let unreadable = |error: &io::Error| match error.kind() {
        io::ErrorKind::NotFound => failure("Events file not found", Some(events)),
        _ => failure(&format!("Cannot read the events file: {error}"), Some(events)),
    };
    let files = [InputFile {
        absolute: events.to_owned(),
        name: events.to_owned(),
        digest: None,
    }];
    let rules = Rules {
        schema: &EventSchema::byte_event(),
        purpose: None,
        revocations: &Revocations::default(),
        non_revocable: NonRevocable::Honour,
        tokens: None,
        ahead: None,
    };
    let checked = check(&files, rules, threads, &room(), &mut |_| Ok(())).map_err(|error| match error {
        StageError::Io { source, .. } => unreadable(&source),
        other => failure(&format!("Cannot read the events file: {other}"), Some(events)),
    })?;
    // What was refused is not read again: it may be far larger than what can be kept.
    if !checked.faults.is_empty() {
        return Err(invalid(&checked.faults));
    }
    let raw = std::fs::read(events).map_err(|error| unreadable(&error))?;
    let sha256 = Sha256::of(&raw);
    let mut hashes = vec![blake3::hash(&raw)];
    let mut bytes = raw;
    if checked.is_compressed {
        bytes.clear();
        let source = Source::open(&files[0]).and_then(|mut source| {
            source.read_to_end(&mut bytes)?;
            Ok(source)
        });
        hashes.push(source.map_err(|error| unreadable(&error))?.hash());
    }
    // The lines were checked as they lay on disk; what is trained on must be the same bytes.
    if hashes.iter().any(|hash| checked.hashes != [*hash]) {
        return Err(failure(
            "Events file changed while it was read; run again",
            Some(events),
        ));
    }
    Ok((bytes, sha256, checked))
}

/// So many lines at most are kept together.
const LINES_A_CHUNK: u64 = 16_384;

/// The labelled events as rows in canonical order.
fn gather(bytes: &[u8], checked: &Checked, pool: &ThreadPool) -> Result<SortedTable, CompatOutcome> {
    let params = Arc::new(Params::default());
    let mut rows = Rows::new(&params, &room());
    let mut faults = Faults::default();
    let mut pieces = Pieces::new(bytes, 0);
    let unreadable = |error: StageError| failure(&format!("Cannot read the events: {error}"), None);
    let mut verdicts = checked.verdicts.reader().map_err(unreadable)?;
    let mut next = 0;
    let mut before = Place { file: 0, line: 0 };
    let mut chunk = Chunk::new();
    let mut adder = RowAdder::new(&params);
    let cannot = |error: &dyn std::fmt::Display| failure(&format!("Cannot train: {error}"), None);
    while let Some(piece) = pieces
        .next_piece()
        .map_err(|error| failure(&format!("Cannot read the events: {error}"), None))?
    {
        if !piece.first || piece.is_blank() {
            continue;
        }
        let Some(verdict) = verdicts.next_verdict().map_err(unreadable)? else {
            break;
        };
        let index = next;
        next += 1;
        if !verdict.is_accepted() {
            continue;
        }
        if piece.place.line - before.line > LINES_A_CHUNK {
            let whole = std::mem::replace(&mut chunk, Chunk::new());
            rows.append(whole, before).map_err(|error| cannot(&error))?;
            adder = RowAdder::new(&params);
            before.line = piece.place.line - 1;
        }
        let line = u32::try_from(piece.place.line - before.line - 1).map_err(|error| cannot(&error))?;
        match read_event(piece.content()) {
            Err(fault) => faults.add(index, piece.place, [Fault::new(&fault.pointer, fault.message, "train")]),
            Ok(event) if event.label.is_none() => {}
            // Keys that are too many are told when the chunk is whole.
            Ok(event) => drop(adder.add_event(&mut chunk, line, &event)),
        }
    }
    if !faults.is_empty() {
        return Err(invalid(&faults));
    }
    rows.append(chunk, before).map_err(|error| cannot(&error))?;
    rows.into_table(1, pool).map_err(|error| match error {
        // Repeated ids are no longer among them.
        OrderError::Duplicates(_) => failure("Cannot train: an event id stands more than once", None),
        OrderError::Disk(error) => cannot(&error),
    })
}

/// A model before it has a name.
struct Trained {
    labels: Labels,
    feature_keys: Vec<String>,
    weights: Vec<f64>,
    bias: f64,
}

fn fit(table: &SortedTable, pool: &ThreadPool) -> Result<Trained, CompatOutcome> {
    let labels: Vec<&str> = table.labels().into_keys().collect();
    let labels = match labels.as_slice() {
        [] => {
            let why = "No labeled events found. Add payload.label for training.";
            return Err(failure(why, None));
        }
        [negative, positive] => Labels {
            negative: (*negative).to_owned(),
            positive: (*positive).to_owned(),
        },
        others => {
            let list = others.iter().map(|label| format!("'{label}'")).collect::<Vec<_>>();
            let why = format!("Binary training requires exactly 2 labels; got [{}]", list.join(", "));
            return Err(failure(&why, None));
        }
    };
    let feature_keys: Vec<String> = table.numbers().map(|counts| counts.key.to_string()).collect();
    if feature_keys.is_empty() {
        let why = "No numeric features found. Add numeric payload.features.* fields.";
        return Err(failure(why, None));
    }
    let (matrix, positives) = matrix(table, feature_keys.len(), &labels.positive, pool)
        .map_err(|error| failure(&format!("Cannot train: {error}"), None))?;
    let objective = Objective {
        matrix: &matrix,
        labels: &positives,
        l2: 0.0,
        class_weights: [1.0, 1.0],
        weights: None,
        threads: pool.current_num_threads(),
        stride: 1,
    };
    let fit = descent(&objective, &|_| Ok(())).map_err(|_| {
        failure(
            "Training did not give a finite model; the features are too large for gradient descent without scaling",
            None,
        )
    })?;
    // Adding 0 makes -0 into 0.
    let mut weights: Vec<f64> = fit.parameters.iter().map(|parameter| parameter + 0.0).collect();
    let bias = weights.pop().unwrap_or(0.0);
    Ok(Trained {
        labels,
        feature_keys,
        weights,
        bias,
    })
}

/// The rows, and which of them have the label `positive`.
fn matrix(
    table: &SortedTable,
    keys: usize,
    positive: &str,
    pool: &ThreadPool,
) -> Result<(Matrix, Vec<bool>), StageError> {
    let (mut matrix, mut positives) = (Matrix::new(keys + 1), Vec::new());
    let of_block = |block: &Block<'_>| {
        let mut columns = vec![vec![0.0; block.len()]; keys];
        block.each_run(|run| {
            if let CellOf::Number(key) = run.of {
                let cells = columns[key][run.places()].iter_mut();
                cells.zip(run.numbers()).for_each(|(cell, number)| *cell = number);
            }
        });
        let positives: Vec<bool> = block.rows().map(|row| row.label == Some(positive)).collect();
        (columns, positives)
    };
    table.each_block(pool, keys, of_block, |(columns, are_positive)| {
        let rows: Vec<usize> = (0..are_positive.len()).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        matrix.append(&columns, &rows);
        positives.extend(are_positive);
        Ok::<(), StageError>(())
    })?;
    Ok((matrix, positives))
}

/// Writes the model under a run id that no other model has.
fn write_model(
    models: &Utf8Path,
    trained: &Trained,
    now: Timestamp,
    trained_at: &str,
) -> Result<(String, Utf8PathBuf), CompatOutcome> {
    let cannot = |path: &Utf8Path, error: &dyn std::fmt::Display| {
        failure(&format!("Cannot write the model: {error}"), Some(path))
    };
    loop {
        let mut random = [0; 3];
        getrandom::fill(&mut random).map_err(|error| cannot(models, &error))?;
        let run_id = format!("train-{}-{}", now.as_second(), hex(&random));
        let path = models.join(format!("{run_id}.model.json"));
        let file = ModelFile {
            kind: "logreg",
            run_id: &run_id,
            trained_at,
            labels: &trained.labels,
            feature_keys: &trained.feature_keys,
            weights: &trained.weights,
            bias: trained.bias,
        };
        let bytes = serde_json::to_vec_pretty(&file).map_err(|error| cannot(&path, &error))?;
        match publish(&path, &bytes, Existing::Keep) {
            Ok(()) => return Ok((run_id, path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(cannot(&path, &error)),
        }
    }
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, PartialEq)]
enum Existing {
    /// It stays, and writing is an error.
    Keep,
    /// It is replaced.
    Replace,
}

/// Writes `bytes` to `path` whole or not at all.
fn publish(path: &Utf8Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_str().is_empty() => folder,
        _ => Utf8Path::new("."),
    };
    make_folder(folder)?;
    let mut temporary = temporary_in(folder)?;
    temporary.write_all(bytes)?;
    temporary.as_file().sync_all()?;
    match existing {
        Existing::Keep => temporary.persist_noclobber(path),
        Existing::Replace => temporary.persist(path),
    }
    .map_err(|error| error.error)?;
    // Sync the folder too: after a crash the rename may be lost although the file's bytes are safe.
    std::fs::File::open(folder)?.sync_all()
}
