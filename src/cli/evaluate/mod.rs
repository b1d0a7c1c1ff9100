//! `madmall evaluate`: a model on another data set.

mod events;
mod show;

use std::fs::File;
use std::io::Seek as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::events::EventArguments;
use super::meant::meant;
use super::model::read_model_hashed;
use super::numbers::whole;
use super::out;
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment, shown, with_causes};
use crate::digest::hash_reader;
use crate::exit_code::ExitCode;
use crate::model::Model;
use crate::model::evaluation::Assessment;
use crate::stages::train::assess::{AssessError, Request, assess};
use crate::store::atomic;

/// Arguments of `evaluate`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("rows").args(["features", "events"]).required(true)))]
pub(super) struct EvaluateArguments {
    /// The model, as `train` writes it
    #[arg(long, value_name = "FILE")]
    model: Utf8PathBuf,
    /// The rows to measure it on, as `featurize` writes them (with the parameters that the model's own were made with)
    #[arg(long, value_name = "FILE")]
    features: Option<Utf8PathBuf>,
    /// The events to measure it on, NDJSON, prepared as the model says (may be given several times)
    #[arg(long, value_name = "FILE")]
    events: Vec<Utf8PathBuf>,
    /// Measure events by this, too: source.kind or source.region (may be given several times)
    #[arg(long, value_name = "COLUMN", value_parser = ["source.kind", "source.region"])]
    group: Vec<String>,
    #[command(flatten)]
    events_are: EventArguments,
    /// The level of the confidence intervals
    #[arg(long, value_name = "LEVEL", default_value = "0.95", value_parser = level)]
    confidence: f64,
    /// Show nothing from which a count of fewer rows of a label could be computed
    #[arg(long, value_name = "N", default_value = "5", value_parser = whole::<u64>, allow_negative_numbers = true)]
    suppress_below: u64,
    /// Take a feature that the file has no column for as 0 in every row
    #[arg(long, conflicts_with = "events")]
    absent_as_zero: bool,
    /// The column of the features file that holds what rows weigh
    #[arg(long, value_name = "COLUMN", conflicts_with = "events")]
    weights: Option<String>,
    /// Write the JSON object to this file too
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<f64, String> {
    let level = text.parse::<f64>().ok();
    let level = level.filter(|level| *level > 0.0 && *level < 1.0);
    level.ok_or_else(|| "must be more than 0 and less than 1".to_owned())
}

/// Measures, and shows a table.
pub(super) fn evaluate(
    arguments: &EvaluateArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let path = |path: &Utf8Path| surroundings.folder.join(path);
    let group = (!arguments.group.is_empty()).then_some("--group");
    if let (Some(given), true) = (arguments.events_are.given().or(group), arguments.events.is_empty()) {
        let message = format_args!("`{given}` goes with `--events` alone");
        let help = "a features file has the events that its pipeline let in";
        return Err(Failure::new(ExitCode::Refused, message, Some(help)));
    }
    let out = arguments.output.as_deref();
    let otherwise = "name another file; `--json` prints the same object";
    let out = out.map(|out| out::writable(out, surroundings, otherwise)).transpose()?;
    if let Some(name) = &arguments.output {
        let events = arguments.events.iter().chain(arguments.events_are.files());
        let named = arguments.features.iter().chain(events).chain([&arguments.model]);
        out::not_an_input(name, named, surroundings)?;
    }
    let (model, model_digest) = read_model_hashed(&arguments.model, surroundings)?;
    let assessment = match &arguments.features {
        Some(features) => read_features(&path(features), features, arguments, &model, model_digest)?,
        None => match events::measure_events(arguments, &model, model_digest, surroundings, terminal)? {
            Ok(assessment) => assessment,
            Err(code) => return Ok(code),
        },
    };
    let bytes = assessment
        .to_bytes()
        .map_err(|error| Failure::new(ExitCode::Refused, with_causes(&error), None))?;
    if let Some(out) = &out {
        atomic::write(out, &bytes).map_err(|error| environment(&error))?;
    }
    match arguments.json {
        true => terminal.result(String::from_utf8_lossy(&bytes)),
        false => show::show(&assessment, terminal),
    }
    Ok(ExitCode::Success)
}

impl EvaluateArguments {
    fn request(&self) -> Request {
        Request {
            confidence: self.confidence,
            suppress_below: self.suppress_below,
            absent_as_zero: self.absent_as_zero,
        }
    }
}

/// The file at `path`, which the user called `name`, cannot be opened, or not be read to its end.
fn cannot_read(code: ExitCode, (path, name): (&Utf8Path, &Utf8Path), error: &std::io::Error) -> Failure {
    let help = meant(path, name, error);
    Failure::new(
        code,
        format_args!("cannot read `{}`: {error}", shown(name.as_str())),
        help.as_deref(),
    )
}

fn read_features(
    path: &Utf8Path,
    name: &Utf8Path,
    arguments: &EvaluateArguments,
    model: &Model,
    model_digest: String,
) -> Result<Assessment, Failure> {
    // What is named and is not there is a mistake in the command line, as a model is.
    let mut file = File::open(path).map_err(|error| cannot_read(ExitCode::Refused, (path, name), &error))?;
    let unreadable = |error: &std::io::Error| cannot_read(ExitCode::Environment, (path, name), error);
    let (hashed, _) = hash_reader(&mut file).map_err(|error| unreadable(&error))?;
    file.rewind().map_err(|error| unreadable(&error))?;
    let digests = (model_digest, hashed.blake3.to_string());
    let threads = arguments.events_are.threads();
    let request = arguments.request();
    assess(model, file, arguments.weights.as_deref(), digests, request, threads).map_err(|error| {
        let help = match &error {
            AssessError::Absent { absent, all } if absent.len() < *all => Some(
                "`--absent-as-zero` takes them as 0, as `featurize` takes what is missing where it is not told otherwise",
            ),
            AssessError::Absent { .. } => Some("were these features made for another model?"),
            AssessError::Features(_) => Some("`featurize` makes features files; events are named by `--events`"),
            _ => None,
        };
        let message = format!("cannot evaluate on `{}`: {}", shown(name.as_str()), with_causes(&error));
        Failure::new(ExitCode::Refused, message, help)
    })
}
