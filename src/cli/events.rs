//! Events that a model is used on, by `predict` and by `evaluate`: which of them, and what is said of the others.

use std::fs::File;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use clap::ValueEnum;

use super::meant::meant;
use super::numbers::jobs;
use super::opened::find_workspace;
use super::surroundings::Surroundings;
use super::terminal::{BOLD, ERROR, Failure, HELP, Terminal, WARNING, environment, shown, with_causes};
use crate::consent::Purpose;
use crate::consent::purposes::Purposes;
use crate::consent::token::Tokens;
use crate::exit_code::ExitCode;
use crate::model::Model;
use crate::plan::purposes_of;
use crate::predict::{Detail, OnReject, Predictor, Report};
use crate::preparation::Preparation;
use crate::stages::ingest::fault::grouped;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::subject::SubjectPointer;
use crate::stages::{InputFile, StageError};

/// The largest schema that is read, in bytes.
const MAX_SCHEMA: u64 = 1 << 20;

/// Which events may be used, and how they are read.
#[derive(clap::Args)]
pub(super) struct EventArguments {
    /// What the scores are for: an event whose consent does not cover it is not scored [default: care]
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// Withdrawn consents, NDJSON: their events are not scored (may be given several times)
    #[arg(long, value_name = "FILE")]
    revocations: Vec<Utf8PathBuf>,
    /// Where events name the person that they came from, a JSON pointer: for revocations by person
    #[arg(long, value_name = "POINTER")]
    subject: Option<SubjectPointer>,
    /// The JSON Schema of the events; without it, that of byte events
    #[arg(long, value_name = "FILE")]
    schema: Option<Utf8PathBuf>,
    /// What to do about a line that is no event [default: fail]
    #[arg(long, value_enum)]
    on_reject: Option<RejectArgument>,
    /// How many threads (default: the number of cores)
    #[arg(short, long, value_name = "N", value_parser = jobs, allow_negative_numbers = true)]
    jobs: Option<u16>,
}

#[derive(Clone, Copy, ValueEnum)]
enum RejectArgument {
    /// Score no line after it; tell every fault; end with code 2
    Fail,
    /// Leave it out, and tell every fault
    Skip,
}

impl EventArguments {
    /// How many threads are wanted.
    pub(super) fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or_else(cores, usize::from)
    }

    /// The files that are named.
    pub(super) fn files(&self) -> impl Iterator<Item = &Utf8PathBuf> {
        self.revocations.iter().chain(&self.schema)
    }

    /// The first that was given of those that mean nothing without events.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            (self.purpose.is_some(), "--purpose"),
            (!self.revocations.is_empty(), "--revocations"),
            (self.subject.is_some(), "--subject"),
            (self.schema.is_some(), "--schema"),
            (self.on_reject.is_some(), "--on-reject"),
        ];
        given.into_iter().find(|(is_given, _)| *is_given).map(|(_, name)| name)
    }
}

/// What the arguments name, read.
pub(super) struct Setting {
    schema: EventSchema,
    purpose: Purpose,
    revocations: Revocations,
    tokens: Option<Tokens>,
    on_reject: OnReject,
}

impl Setting {
    pub(super) fn of(arguments: &EventArguments, surroundings: &Surroundings) -> Result<Self, Failure> {
        let purposes = purposes(surroundings)?;
        let name = arguments.purpose.as_deref().unwrap_or("care");
        let purpose = purposes.purpose(name).ok_or_else(|| {
            let message = format!("`{}` {}", shown(name), purposes.is_not_one());
            let help = "`--purpose` says what the scores are for";
            Failure::new(ExitCode::Refused, message, Some(help))
        })?;
        let schema = schema(arguments, surroundings)?.of_purposes(purposes);
        let secret = match arguments.revocations.is_empty() {
            true => None,
            false => surroundings.secret_if_any()?,
        };
        let tokens = secret.as_ref().map(Tokens::by);
        let revoked = files(&arguments.revocations, surroundings);
        let revocations = Revocations::read(&revoked, &schema, tokens.as_ref()).map_err(|error| failed(&error))?;
        Ok(Self {
            schema,
            purpose,
            tokens: tokens.filter(|_| revocations.name_tokens()),
            revocations,
            on_reject: match arguments.on_reject {
                None | Some(RejectArgument::Fail) => OnReject::Fail,
                Some(RejectArgument::Skip) => OnReject::Skip,
            },
        })
    }

    pub(super) fn predictor<'a>(
        &'a self,
        model: &'a Model,
        preparation: &'a Preparation,
        detail: Detail,
    ) -> Predictor<'a> {
        Predictor {
            model,
            preparation,
            schema: &self.schema,
            purpose: self.purpose,
            revocations: &self.revocations,
            tokens: self.tokens.as_ref(),
            on_reject: self.on_reject,
            detail,
        }
    }
}

/// Files that the user names.
pub(super) fn files(paths: &[Utf8PathBuf], surroundings: &Surroundings) -> Vec<InputFile> {
    let file = |path: &Utf8PathBuf| InputFile {
        absolute: surroundings.folder.join(path),
        name: path.clone(),
        digest: None,
    };
    paths.iter().map(file).collect()
}

/// Why a stage's reader did not read, in words.
pub(super) fn failed(error: &StageError) -> Failure {
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

fn schema(arguments: &EventArguments, surroundings: &Surroundings) -> Result<EventSchema, Failure> {
    let path = arguments.schema.as_deref();
    let embedded = include_bytes!("../../schemas/byte_event.schema.json").as_slice();
    let mut bytes = Vec::new();
    let bytes = match path {
        None => embedded,
        Some(path) => {
            let place = surroundings.folder.join(path);
            let read = File::open(&place).and_then(|file| file.take(MAX_SCHEMA + 1).read_to_end(&mut bytes));
            read.map_err(|error| {
                let message = format!("cannot read the schema `{path}`: {error}");
                let help = meant(&place, path, &error);
                Failure::new(ExitCode::Refused, shown(&message), help.as_deref())
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

/// Says which events were not scored, and why; `kept` says what became of the others if any fault refuses them.
pub(super) fn tell(
    report: &Report,
    events: &[InputFile],
    on_reject: OnReject,
    kept: &str,
    terminal: &mut Terminal,
) -> ExitCode {
    let counts = report.counts;
    if report.faults.is_empty() {
        return ExitCode::Success;
    }
    let verb = if counts.invalid == 1 { "is" } else { "are" };
    let (invalid, all) = (grouped(counts.invalid), grouped(counts.events));
    match on_reject {
        OnReject::Fail => terminal.say(format_args!(
            "{ERROR}error{ERROR:#}{BOLD}: {invalid} of {all} events {verb} invalid{BOLD:#}"
        )),
        OnReject::Skip => terminal.say(format_args!("{WARNING}warning{WARNING:#}: {}", counts.summary())),
    }
    for fault in report.faults.render(events) {
        terminal.say(format_args!("  {}", shown(&fault)));
    }
    if on_reject == OnReject::Skip {
        return ExitCode::Success;
    }
    let help = format!("{kept}; mend these lines, or leave them out with `--on-reject skip`");
    terminal.say(format_args!("{HELP}help{HELP:#}: {}", shown(&help)));
    ExitCode::Refused
}
