//! `madmall consent status`: events by consent, as they lie now. Numbers only: never an id.

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use super::super::every::{Found, everything};
use super::super::opened::find_workspace;
use super::super::surroundings::Surroundings;
use super::super::table::{pad, pad_left};
use super::super::terminal::{BOLD, DIM, ERROR, Failure, HELP, Terminal, WARNING, shown};
use crate::exit_code::ExitCode;
use crate::plan::{Plan, Stage};
use crate::stages::ingest::fault::grouped;
use crate::stages::ingest::report::RevocationCounts;
use crate::stages::ingest::survey::Survey;
use crate::stages::{Refusal, StageError};
use crate::status::ingests::{IngestError, ingests, survey};

/// How many faults are shown; `run` shows more.
const MAX_SHOWN: usize = 10;

/// Arguments of `consent status`.
#[derive(clap::Args)]
pub(super) struct StatusArguments {
    /// The pipeline file; without it, every file under pipelines/
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<Utf8PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// An ingest, and what it would do.
struct Looked<'a> {
    plan: &'a Plan,
    stage: &'a Stage,
    survey: Result<Survey, IngestError>,
}

/// Shows how the consents of each ingest stand.
pub(super) fn status(
    arguments: &StatusArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let named = arguments.pipeline.as_deref();
    let all = everything(surroundings, named)?;
    let only = named
        .map(|path| find_workspace(&surroundings.folder, path).map(|(_, file)| file))
        .transpose()?;
    let is_asked = |found: &&Found| only.as_ref().is_none_or(|file| found.file == *file);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let secret = surroundings.secret_if_any()?;
    let scratch = Utf8PathBuf::from_path_buf(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into());
    let (mut looked, mut broken) = (Vec::new(), Vec::new());
    for found in all.pipelines.iter().filter(is_asked) {
        match &found.plan {
            Ok(plan) => looked.extend(ingests(plan).map(|stage| Looked {
                plan,
                stage,
                survey: survey(&all.workspace, plan, stage, threads, scratch.clone(), secret.as_ref()),
            })),
            Err(mistakes) => broken.push((&found.file, &mistakes.first)),
        }
    }
    if arguments.json {
        let ingests: Vec<Value> = looked.iter().map(to_json).collect();
        let unread: Vec<Value> = broken
            .iter()
            .map(|(file, first)| json!({ "file": file, "first": first }))
            .collect();
        terminal.result(json!({ "version": 1, "ingests": ingests, "unread": unread }));
    } else {
        for looked in &looked {
            print(looked, terminal);
        }
        if looked.is_empty() && broken.is_empty() {
            terminal.result("no pipeline here has an ingest");
        }
        for (file, first) in &broken {
            let text = shown(&format!("{file}: {first}"));
            terminal.say(format_args!("{ERROR}error{ERROR:#}{BOLD}: {text}{BOLD:#}"));
        }
    }
    let codes = looked.iter().map(code);
    let broken = broken.iter().map(|_| ExitCode::Refused);
    Ok(codes
        .chain(broken)
        .max_by_key(|code| severity(*code))
        .unwrap_or(ExitCode::Success))
}

/// Which of several codes is the one to end with: that the disk failed hides nothing else.
const fn severity(code: ExitCode) -> u8 {
    match code {
        ExitCode::Success => 0,
        ExitCode::Inconclusive => 1,
        ExitCode::Refused => 2,
        _ => 3,
    }
}

/// As the ingest itself would end.
fn code(looked: &Looked<'_>) -> ExitCode {
    match &looked.survey {
        Ok(survey) if survey.refusal.is_none() => ExitCode::Success,
        Ok(_) | Err(IngestError::Stage(StageError::Refused(_))) => ExitCode::Refused,
        Err(IngestError::Absent { .. }) => ExitCode::Inconclusive,
        Err(IngestError::List { .. } | IngestError::Stage(_)) => ExitCode::Environment,
    }
}

fn print(looked: &Looked<'_>, terminal: &mut Terminal) {
    let name = shown(&format!("{}  {}", looked.plan.pipeline_file, looked.stage.name));
    let survey = match &looked.survey {
        Ok(survey) => survey,
        Err(error) => {
            terminal.result(format_args!("{BOLD}{name}{BOLD:#}"));
            let text = shown(&crate::diagnostic::with_causes(error));
            terminal.say(format_args!("{ERROR}error{ERROR:#}{BOLD}: {text}{BOLD:#}"));
            if let IngestError::Stage(StageError::Refused(refusal)) = error {
                print_details(refusal, terminal);
            }
            return;
        }
    };
    terminal.result(format_args!("{BOLD}{name}{BOLD:#} {DIM}for {}{DIM:#}", survey.purpose));
    terminal.result(format_args!("  {}", survey.counts.summary()));
    let columns = ["events", "revocable", "revoked", "used"];
    let line = |first: &str, cells: [String; 4]| {
        let cells = cells.map(|cell| pad_left(&cell, 11));
        format!("  {}{}", pad(first, 10), cells.concat())
    };
    terminal.result(format_args!("{DIM}{}{DIM:#}", line("", columns.map(str::to_owned))));
    for (scope, of) in &survey.by_scope {
        terminal.result(line(scope, [of.events, of.revocable, of.revoked, of.used].map(grouped)));
    }
    print_revocations(&survey.revocations, terminal);
    if let Some(refusal) = &survey.refusal {
        let text = shown(&refusal.summary);
        terminal.say(format_args!("{ERROR}error{ERROR:#}{BOLD}: {text}{BOLD:#}"));
        print_details(refusal, terminal);
    }
}

/// What the revocations left out, and which of them did nothing.
fn print_revocations(counts: &RevocationCounts, terminal: &mut Terminal) {
    if counts.total > 0 {
        let revocations = if counts.total == 1 { "revocation" } else { "revocations" };
        let events = if counts.by_event == 1 { "event" } else { "events" };
        let ids = if counts.by_event == 1 {
            "its own id"
        } else {
            "their own ids"
        };
        let persons = if counts.by_subject == 1 {
            "its person's"
        } else {
            "their persons'"
        };
        terminal.result(format_args!(
            "  {} {revocations}: {} {events} left out by {ids}, {} by {persons}",
            grouped(counts.total),
            grouped(counts.by_event),
            grouped(counts.by_subject)
        ));
    }
    for (number, one, many) in [
        (
            counts.non_revocable,
            "event left out though its consent says that it cannot be revoked",
            "events left out though their consents say that they cannot be revoked",
        ),
        (
            counts.kept,
            "revoked event used, for its consent says that it cannot be revoked",
            "revoked events used, for their consents say that they cannot be revoked",
        ),
        (
            counts.unknown,
            "revocation names no event that is here",
            "revocations name no event that is here",
        ),
    ] {
        if number > 0 {
            let what = if number == 1 { one } else { many };
            let number = grouped(number);
            terminal.result(format_args!("  {WARNING}{number}{WARNING:#} {what}"));
        }
    }
}

fn print_details(refusal: &Refusal, terminal: &mut Terminal) {
    for detail in refusal.details.iter().take(MAX_SHOWN) {
        terminal.say(format_args!("  {}", shown(detail)));
    }
    let unlisted = refusal.unlisted + refusal.details.len().saturating_sub(MAX_SHOWN) as u64;
    if unlisted > 0 {
        terminal.say(format_args!("  and {} more", grouped(unlisted)));
    }
    if let Some(help) = &refusal.help {
        terminal.say(format_args!("{HELP}help{HELP:#}: {}", shown(help)));
    }
}

fn to_json(looked: &Looked<'_>) -> Value {
    let mut value = json!({
        "file": looked.plan.pipeline_file, "pipeline": looked.plan.pipeline, "stage": looked.stage.name,
    });
    match &looked.survey {
        Ok(survey) => {
            let scopes = survey.by_scope.iter().map(|(scope, of)| {
                let counts = json!({
                    "events": of.events, "revocable": of.revocable, "nonRevocable": of.events - of.revocable,
                    "revoked": of.revoked, "used": of.used,
                });
                ((*scope).to_owned(), counts)
            });
            let (counts, revocations) = (survey.counts, survey.revocations);
            value["purpose"] = json!(survey.purpose);
            value["events"] = json!({
                "all": counts.events, "used": counts.accepted, "notCovered": counts.excluded.purpose,
                "revoked": counts.excluded.revoked, "duplicates": counts.duplicates, "invalid": counts.invalid,
            });
            value["byScope"] = Value::Object(scopes.collect());
            value["revocations"] = json!({
                "all": revocations.total, "matched": revocations.matched, "unknown": revocations.unknown,
                "byEvent": revocations.by_event, "bySubject": revocations.by_subject,
                "nonRevocable": revocations.non_revocable, "kept": revocations.kept,
            });
            value["refused"] = json!(survey.refusal.as_ref().map(|refusal| &refusal.summary));
        }
        Err(error) => value["error"] = json!(crate::diagnostic::with_causes(error)),
    }
    value
}
