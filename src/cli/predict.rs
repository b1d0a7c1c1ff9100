//! `madmall predict`: what a model says of events, a line for a line.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::events::{EventArguments, Setting, failed, files};
use super::model::{prepared, read_model};
use super::out;
use super::surroundings::Surroundings;
use super::terminal::{DIM, Failure, Terminal, environment};
use crate::exit_code::ExitCode;
use crate::predict::{Detail, OnReject, Report, predict as score};
use crate::stages::ingest::blocks::Blocks;
use crate::stages::ingest::fault::grouped;
use crate::stages::ingest::source::Source;
use crate::stages::{InputFile, StageError};
use crate::store::StoreError;
use crate::store::atomic::{self, Existing};

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
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
    /// Say what each feature contributed, and which were missing
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    events_are: EventArguments,
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
    let out = arguments.output.as_deref();
    let out = out
        .map(|out| out::writable(out, surroundings, out::NOT_NAMED))
        .transpose()?;
    if let Some(name) = &arguments.output {
        let named = arguments.events.iter().chain(arguments.events_are.files());
        out::not_an_input(name, named.chain([&arguments.model]), surroundings)?;
    }
    let model = read_model(&arguments.model, surroundings)?;
    let preparation = prepared(&model)?;
    let setting = Setting::of(&arguments.events_are, surroundings)?;
    let detail = match arguments.explain {
        true => Detail::Explained,
        false => Detail::Score,
    };
    let predictor = setting.predictor(&model, &preparation, detail);
    let (events, is_stdin) = match arguments.events.as_slice() {
        [] => (files(&["standard input".into()], surroundings), true),
        events => (files(events, surroundings), false),
    };
    let threads = arguments.events_are.threads();
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
    let report = match &out {
        None => to_stdout(run)?,
        Some(path) => to_file(path, predictor.on_reject, run)?,
    };
    // Whoever closed the pipe has read enough.
    let Some(report) = report else {
        return Ok(ExitCode::Success);
    };
    Ok(tell(arguments, &events, &report, predictor.on_reject, terminal))
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

/// Says what was not scored, and why; and what became of a file.
fn tell(
    arguments: &PredictArguments,
    events: &[InputFile],
    report: &Report,
    on_reject: OnReject,
    terminal: &mut Terminal,
) -> ExitCode {
    let counts = report.counts;
    if report.faults.is_empty() && (arguments.output.is_some() || counts.scored < counts.events) {
        terminal.say(counts.summary());
    }
    let kept = match &arguments.output {
        Some(out) => format!("nothing was written to `{out}`"),
        None => format!(
            "{} events before the first of these were scored, and none after it",
            grouped(counts.scored)
        ),
    };
    super::events::tell(report, events, on_reject, &kept, terminal)
}
