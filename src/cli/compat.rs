//! `madmall ingest` and `madmall train`: the replaced package's commands, so that a caller changes one word.

use camino::Utf8PathBuf;

use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal};
use crate::compat::{self, CompatOutcome};
use crate::exit_code::ExitCode;

/// Arguments of `ingest`.
#[derive(clap::Args)]
pub(super) struct IngestArguments {
    /// The raw events, NDJSON
    #[arg(long = "in", value_name = "RAW")]
    raw: Utf8PathBuf,
    /// Where to write the valid events
    #[arg(long, value_name = "EVENTS", default_value = compat::ingest::DEFAULT_OUT)]
    out: Utf8PathBuf,
}

/// Arguments of `train`.
#[derive(clap::Args)]
pub(super) struct TrainArguments {
    /// The events, NDJSON
    #[arg(long, default_value = compat::train::DEFAULT_EVENTS)]
    events: Utf8PathBuf,
    /// The folder for the model
    #[arg(long, value_name = "DIR", default_value = compat::train::DEFAULT_MODELS)]
    models: Utf8PathBuf,
    /// Where to write the (unsigned) receipt
    #[arg(long, value_name = "FILE", default_value = compat::train::DEFAULT_RECEIPT)]
    receipt: Utf8PathBuf,
}

/// Validates and copies events.
pub(super) fn ingest(
    arguments: &IngestArguments,
    _surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let arguments = compat::ingest::IngestArgs {
        raw: arguments.raw.clone(),
        out: arguments.out.clone(),
    };
    Ok(print(&compat::ingest::ingest(&arguments, threads()), terminal))
}

/// Trains a model.
pub(super) fn train(
    arguments: &TrainArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let arguments = compat::train::TrainArgs {
        events: arguments.events.clone(),
        models: arguments.models.clone(),
        receipt: arguments.receipt.clone(),
    };
    Ok(print(
        &compat::train::train(&arguments, (surroundings.clock)(), threads()),
        terminal,
    ))
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn print(outcome: &CompatOutcome, terminal: &mut Terminal) -> ExitCode {
    for note in &outcome.notes {
        terminal.say(note);
    }
    terminal.result(&outcome.json);
    outcome.code
}
