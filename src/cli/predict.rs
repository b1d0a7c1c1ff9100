//! `madmall predict`: what a model says of events, a line for a line.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Write};
use std::os::fd::AsFd as _;

use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;

use super::model::{prepared, read_model};
use super::opened::{Surroundings, environment, find_workspace};
use super::terminal::{BOLD, DIM, ERROR, Failure, HELP, Terminal, WARNING, shown, with_causes};
use crate::consent::purposes::Purposes;
use crate::consent::token::Tokens;
use crate::exit_code::ExitCode;
use crate::plan::purposes_of;
use crate::predict::{Detail, OnReject, Predictor, Report, predict as score};
use crate::stages::ingest::blocks::Blocks;
use crate::stages::ingest::fault::grouped;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::source::Source;
use crate::stages::ingest::subject::SubjectPointer;
use crate::stages::{InputFile, StageError};
use crate::store::StoreError;
use crate::store::atomic::{self, Existing};

/// The largest schema that is read, in bytes.
const MAX_SCHEMA: u64 = 1 << 20;

/// Arguments of `predict`.
#[derive(clap::Args)]
pub(super) struct PredictArguments {
    /// The model, as `train` wrote it
    #[arg(long, value_name = "FILE")]
    model: Utf8PathBuf,
    /// The events, NDJSON (may be given several times); without it, standard input
    #[arg(long = "in", value_name = "EVENTS")]
    events: Vec<Utf8PathBuf>,
    /// Where to write the scores, whole or not at all; without it, standard output
    #[arg(short, long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Say what each feature contributed, and which were missing
    #[arg(long)]
    explain: bool,
    /// What the scores are for: an event whose consent does not cover it is not scored
    #[arg(long, value_name = "PURPOSE", default_value = "care")]
    purpose: String,
    /// Withdrawn consents, NDJSON: their events are not scored (may be given several times)
    #[arg(long, value_name = "FILE")]
    revocations: Vec<Utf8PathBuf>,
    /// Where events name the person that they came from, a JSON pointer: for revocations by person
    #[arg(long, value_name = "POINTER")]
    subject: Option<SubjectPointer>,
    /// The JSON Schema of the events; without it, that of byte events
    #[arg(long, value_name = "FILE")]
    schema: Option<Utf8PathBuf>,
    /// What to do about a line that is no event
    #[arg(long, value_enum, default_value_t = RejectArgument::Fail)]
    on_reject: RejectArgument,
    /// How many threads (default: the number of cores)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RejectArgument {
    /// Score no line after it; tell every fault; end with code 2
    Fail,
    /// Leave it out, and tell every fault
    Skip,
}

/// Why a file of scores was not written.
enum Unwritten {
    Store(StoreError),
    Stage(StageError),
    Refused(Report),
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Scores events.
pub(super) fn predict(
    arguments: &PredictArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let model = read_model(&arguments.model, surroundings)?;
    let preparation = prepared(&model)?;
    let files = |paths: &[Utf8PathBuf]| -> Vec<InputFile> {
        let file = |path: &Utf8PathBuf| InputFile {
            absolute: surroundings.folder.join(path),
            name: path.clone(),
            digest: None,
        };
        paths.iter().map(file).collect()
    };
    let purposes = purposes(surroundings)?;
    let purpose = purposes.purpose(&arguments.purpose).ok_or_else(|| {
        let message = format!("`{}` {}", shown(&arguments.purpose), purposes.is_not_one());
        Failure::new(
            ExitCode::Refused,
            message,
            Some("`--purpose` says what the scores are for"),
        )
    })?;
    let schema = schema(arguments, surroundings)?.of_purposes(purposes);
    let secret = match arguments.revocations.is_empty() {
        true => None,
        false => surroundings.secret_if_any()?,
    };
    let tokens = secret.as_ref().map(Tokens::by);
    let revocations = Revocations::read(&files(&arguments.revocations), &schema, tokens.as_ref());
    let revocations = revocations.map_err(|error| failed(&error))?;
    let predictor = Predictor {
        model: &model,
        preparation: &preparation,
        schema: &schema,
        purpose,
        revocations: &revocations,
        tokens: tokens.as_ref().filter(|_| revocations.name_tokens()),
        on_reject: match arguments.on_reject {
            RejectArgument::Fail => OnReject::Fail,
            RejectArgument::Skip => OnReject::Skip,
        },
        detail: if arguments.explain {
            Detail::Explained
        } else {
            Detail::Score
        },
    };
    let (events, is_stdin) = match arguments.events.as_slice() {
        [] => (files(&["standard input".into()]), true),
        events => (files(events), false),
    };
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.jobs.map_or_else(cores, usize::from);
    if is_stdin && io::stdin().is_terminal() {
        terminal.say(format_args!("{DIM}reading events from standard input{DIM:#}"));
    }
    let run = |out: &mut dyn FnMut(&[u8]) -> Result<(), StageError>| {
        let blocks = match is_stdin {
            true => Blocks::of_open(&events, stdin()?),
            false => Blocks::new(&events),
        };
        score(blocks, &predictor, threads, out)
    };
    let report = match &arguments.out {
        None => to_stdout(run)?,
        Some(path) => to_file(&surroundings.folder.join(path), predictor.on_reject, run)?,
    };
    // Whoever closed the pipe has read enough.
    let Some(report) = report else {
        return Ok(ExitCode::Success);
    };
    Ok(tell(arguments, &events, &report, terminal))
}

/// Standard input, as a file that nobody else has a buffer of.
fn stdin() -> Result<Source, StageError> {
    let file = io::stdin().as_fd().try_clone_to_owned().map(File::from);
    file.and_then(Source::of).map_err(|source| StageError::Io {
        verb: "read",
        path: "standard input".into(),
        source,
    })
}

type Run<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), StageError>;

/// Nothing if standard output was closed.
fn to_stdout(run: impl FnOnce(Run<'_>) -> Result<Report, StageError>) -> Result<Option<Report>, Failure> {
    let mut out = io::stdout().lock();
    let ended = run(&mut |bytes| {
        out.write_all(bytes)
            .map_err(|source| unwritable("standard output", source))
    });
    let ended = ended.and_then(|report| {
        let flushed = out.flush().map_err(|source| unwritable("standard output", source));
        flushed.map(|()| report)
    });
    match ended {
        Ok(report) => Ok(Some(report)),
        Err(StageError::Io {
            verb: "write", source, ..
        }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn to_file(
    path: &Utf8Path,
    on_reject: OnReject,
    run: impl FnOnce(Run<'_>) -> Result<Report, StageError>,
) -> Result<Option<Report>, Failure> {
    let written = atomic::write_with(path, Existing::Replace, |file: &mut File| {
        let ended = run(&mut |bytes| {
            file.write_all(bytes)
                .map_err(|source| unwritable(path.as_str(), source))
        });
        let report = ended.map_err(Unwritten::Stage)?;
        match on_reject {
            OnReject::Fail if !report.faults.is_empty() => Err(Unwritten::Refused(report)),
            _ => Ok(report),
        }
    });
    match written {
        Ok(report) | Err(Unwritten::Refused(report)) => Ok(Some(report)),
        Err(Unwritten::Stage(error)) => Err(failed(&error)),
        Err(Unwritten::Store(error)) => Err(environment(&error)),
    }
}

fn unwritable(path: &str, source: io::Error) -> StageError {
    StageError::Io {
        verb: "write",
        path: path.into(),
        source,
    }
}

fn failed(error: &StageError) -> Failure {
    match error {
        StageError::Refused(refusal) => {
            let details: String = refusal
                .details
                .iter()
                .map(|line| format!("\n  {}", shown(line)))
                .collect();
            let message = format!("{}{details}", shown(&refusal.summary));
            Failure::new(ExitCode::Refused, message, refusal.help.as_deref())
        }
        StageError::Io {
            verb: "read", source, ..
        } if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
            Failure::new(ExitCode::Refused, with_causes(error), None)
        }
        error => environment(error),
    }
}

/// The purposes of the project that the working folder is in.
fn purposes(surroundings: &Surroundings) -> Result<Purposes, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, ".".into())?;
    purposes_of(&workspace).map_err(|faults| {
        let first = faults.0.first().map(|fault| fault.message.clone()).unwrap_or_default();
        let message = format!("the settings of this project are wrong: {first}");
        Failure::new(ExitCode::Refused, shown(&message), Some("`madmall check` shows where"))
    })
}

fn schema(arguments: &PredictArguments, surroundings: &Surroundings) -> Result<EventSchema, Failure> {
    let path = arguments.schema.as_deref();
    let embedded = include_bytes!("../../schemas/byte_event.schema.json").as_slice();
    let mut bytes = Vec::new();
    let bytes = match path {
        None => embedded,
        Some(path) => {
            let read = File::open(surroundings.folder.join(path))
                .and_then(|file| file.take(MAX_SCHEMA + 1).read_to_end(&mut bytes));
            read.map_err(|error| {
                let message = format!("cannot read the schema `{path}`: {error}");
                Failure::new(ExitCode::Refused, shown(&message), None)
            })?;
            bytes.as_slice()
        }
    };
    EventSchema::compile_with_features(bytes, arguments.subject.clone()).map_err(|error| {
        let name = path.map_or("of byte events", Utf8Path::as_str);
        let message = format!("the schema `{name}` cannot be used: {error}");
        Failure::new(ExitCode::Refused, shown(&message), None)
    })
}

/// Says what was not scored, and why; and what became of a file.
fn tell(arguments: &PredictArguments, events: &[InputFile], report: &Report, terminal: &mut Terminal) -> ExitCode {
    let counts = report.counts;
    let is_refused = !report.faults.is_empty() && matches!(arguments.on_reject, RejectArgument::Fail);
    if report.faults.is_empty() {
        if arguments.out.is_some() || counts.scored < counts.events {
            terminal.say(counts.summary());
        }
        return ExitCode::Success;
    }
    let verb = if counts.invalid == 1 { "is" } else { "are" };
    let (invalid, all) = (grouped(counts.invalid), grouped(counts.events));
    match is_refused {
        true => terminal.say(format_args!(
            "{ERROR}error{ERROR:#}{BOLD}: {invalid} of {all} events {verb} invalid{BOLD:#}"
        )),
        false => terminal.say(format_args!("{WARNING}warning{WARNING:#}: {}", counts.summary())),
    }
    for fault in report.faults.render(events) {
        terminal.say(format_args!("  {}", shown(&fault)));
    }
    if !is_refused {
        return ExitCode::Success;
    }
    let kept = match &arguments.out {
        Some(out) => format!("nothing was written to `{out}`"),
        None => format!(
            "{} events before the first of these were scored, and none after it",
            grouped(counts.scored)
        ),
    };
    let help = format!("{kept}; mend these lines, or leave them out with `--on-reject skip`");
    terminal.say(format_args!("{HELP}help{HELP:#}: {}", shown(&help)));
    ExitCode::Refused
}
