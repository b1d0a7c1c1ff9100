//! `madmall consent affected`: what was made with events whose consent is withdrawn. Never an id of an event or a person.

use std::collections::BTreeSet;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::super::every::{Everything, everything};
use super::super::surroundings::Surroundings;
use super::super::table::{count, pad};
use super::super::terminal::{BOLD, DIM, Failure, GOOD, HELP, Terminal, WARNING, environment, shown};
use crate::consent::token::Tokens;
use crate::exec::inputs::FileHashes;
use crate::exit_code::ExitCode;
use crate::history::affected::{Affected, AffectedArtifact, AffectedReceipt, NotKnown, Places, find, pending};
use crate::stages::StageError;
use crate::stages::ingest::fault::grouped;
use crate::stages::ingest::revocations::Revocations;
use crate::status::ingests::{IngestError, ingests, revocations};
use crate::store::stat_cache::StatCache;

/// Arguments of `consent affected`.
#[derive(clap::Args)]
pub(super) struct AffectedArguments {
    /// This event alone; without it, and without a person, all that the revocations of the workspace's pipelines name
    #[arg(long, value_name = "ID", conflicts_with = "subject")]
    event: Option<String>,
    /// The events of this person alone
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Names what is affected.
pub(super) fn affected(
    arguments: &AffectedArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let all = everything(surroundings, None)?;
    let secret = surroundings.secret_if_any()?;
    let tokens = secret.as_ref().map(Tokens::by);
    let tokens = tokens.as_ref();
    let present = present(&all, tokens)?;
    let asked = match (&arguments.event, &arguments.subject) {
        (Some(id), _) => Some(Revocations::of_event(id, tokens)),
        (None, Some(id)) => Some(Revocations::of_subject(id, tokens)),
        (None, None) => None,
    };
    let is_revoked = asked.as_ref().is_none_or(|asked| present.covers(asked));
    let hashes = FileHashes::new(&all.workspace, StatCache::load(&all.store.stat_cache_file()))
        .keyed_by(all.store.key().cloned());
    let places = Places {
        workspace: &all.workspace,
        store: &all.store,
        believed: &all.believed,
        hashes: &hashes,
        tokens,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let found = find(&places, asked.as_ref().unwrap_or(&present)).map_err(|error| environment(&error))?;
    let steps = steps(&found, &all, is_revoked);
    match arguments.json {
        true => terminal.result(to_json(&found, &steps)),
        false => print(&found, &steps, terminal),
    }
    Ok(match (found.unknown.is_empty(), steps.is_empty()) {
        (false, _) => ExitCode::Inconclusive,
        (true, false) => ExitCode::Pending,
        (true, true) => ExitCode::Success,
    })
}

/// All that is withdrawn by what the pipelines of the workspace read.
fn present(all: &Everything, tokens: Option<&Tokens>) -> Result<Revocations, Failure> {
    let mut present = Revocations::default();
    for found in &all.pipelines {
        let plan = found.plan.as_ref().map_err(|mistakes| {
            let message = format!("cannot tell what is withdrawn: {}: {}", found.file, mistakes.first);
            let help = format!("`madmall check {}` shows where", all.typed(&found.file));
            Failure::new(ExitCode::Refused, shown(&message), Some(&shown(&help)))
        })?;
        for stage in ingests(plan) {
            let read = revocations(&all.workspace, plan, stage, tokens).map_err(|error| {
                let name = format!("`{}` of {}", stage.name, found.file);
                let message = format!(
                    "cannot tell what is withdrawn: {name}: {}",
                    crate::diagnostic::with_causes(&error)
                );
                let (code, help) = match &error {
                    IngestError::Stage(StageError::Refused(refusal)) => {
                        let first = refusal.details.first().cloned();
                        (ExitCode::Refused, first.or_else(|| refusal.help.clone()))
                    }
                    IngestError::Absent { .. } => (ExitCode::Inconclusive, None),
                    IngestError::List { .. } | IngestError::Stage(_) => (ExitCode::Environment, None),
                };
                Failure::new(code, shown(&message), help.as_deref().map(shown).as_deref())
            })?;
            present.add_all(read);
        }
    }
    Ok(present)
}

/// What to type so that nothing in place is affected any more.
fn steps(found: &Affected, all: &Everything, is_revoked: bool) -> Vec<String> {
    let pending = pending(found);
    if pending.is_empty() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if !is_revoked {
        steps.push("add a line to the revocations that the pipelines read: as yet none names it".to_owned());
    }
    let plans = || all.pipelines.iter().filter_map(|found| found.plan.as_ref().ok());
    let made: BTreeSet<&Utf8Path> = plans()
        .flat_map(|plan| plan.stages.iter().flat_map(|stage| &stage.outputs))
        .map(|output| output.path.as_path())
        .collect();
    let paths: BTreeSet<&Utf8Path> = pending.values().flatten().copied().collect();
    for plan in plans() {
        let outputs = plan.stages.iter().flat_map(|stage| &stage.outputs);
        if outputs.into_iter().any(|output| paths.contains(output.path.as_path())) {
            steps.push(format!("madmall run {}", all.typed(&plan.pipeline_file)));
        }
    }
    if paths.iter().any(|path| !made.contains(path)) {
        steps.push("madmall clean --orphans --yes".to_owned());
    }
    steps
}

fn print(found: &Affected, steps: &[String], terminal: &mut Terminal) {
    if found.receipts.is_empty() {
        let sure = if found.unknown.is_empty() {
            ""
        } else {
            " that could be told"
        };
        terminal.result(format_args!("nothing{sure} was made with anything withdrawn"));
    } else {
        let artifacts: BTreeSet<_> = found
            .artifacts()
            .map(|(_, artifact)| (&artifact.path, artifact.digests.blake3()))
            .collect();
        let models = found.artifacts().filter(|(_, artifact)| artifact.is_model);
        let models: BTreeSet<_> = models.map(|(_, artifact)| artifact.digests.blake3()).collect();
        terminal.result(format_args!(
            "made with something withdrawn: {}, {}, {}, {} of them",
            count(found.runs.len(), "run", "runs"),
            count(found.receipts.len(), "receipt", "receipts"),
            count(artifacts.len(), "artifact", "artifacts"),
            count(models.len(), "model", "models"),
        ));
    }
    for run in &found.runs {
        let id = shown(&run.id);
        terminal.result(format_args!("{BOLD}{id}{BOLD:#}"));
        let own = found.receipts.iter().filter(|receipt| receipt.run == run.id);
        let own: Vec<_> = own.collect();
        own.iter().for_each(|receipt| print_receipt(receipt, terminal));
        let earlier = run.receipts.len().saturating_sub(own.len());
        if earlier > 0 {
            let receipts = count(earlier, "receipt", "receipts");
            terminal.result(format_args!("  {DIM}rests on {receipts} of earlier runs{DIM:#}"));
        }
    }
    for NotKnown { run, stage, why } in &found.unknown {
        let stage = stage.as_ref().map(|stage| format!(" {stage}")).unwrap_or_default();
        let text = shown(&format!("{run}{stage}: {why}"));
        terminal.result(format_args!("{WARNING}not known{WARNING:#}  {text}"));
    }
    for step in steps {
        terminal.result(format_args!("{HELP}to do{HELP:#}: {}", shown(step)));
    }
}

fn print_receipt(receipt: &AffectedReceipt, terminal: &mut Terminal) {
    let events = match receipt.events {
        Some(1) => ": 1 event that is withdrawn".to_owned(),
        Some(events) => format!(": {} events that are withdrawn", grouped(events)),
        None => String::new(),
    };
    terminal.result(format_args!("  {}{events}", shown(&receipt.stage)));
    for artifact in &receipt.artifacts {
        let path = pad(&shown(artifact.path.as_str()), 40);
        let kind = if artifact.is_model { ", a model" } else { "" };
        match artifact.is_in_place {
            true => terminal.result(format_args!(
                "    {path} {WARNING}{}{WARNING:#}{kind}",
                where_it_is(artifact)
            )),
            false => terminal.result(format_args!("    {path} {GOOD}{}{GOOD:#}{kind}", where_it_is(artifact))),
        }
    }
}

fn where_it_is(artifact: &AffectedArtifact) -> &'static str {
    match (artifact.is_in_place, artifact.is_stored) {
        (true, true) => "in place, in the store",
        (true, false) => "in place",
        (false, true) => "in the store",
        (false, false) => "gone",
    }
}

fn to_json(found: &Affected, steps: &[String]) -> Value {
    let runs = found.runs.iter().map(|run| {
        let receipts: Vec<String> = run.receipts.iter().map(ToString::to_string).collect();
        json!({ "run": run.id, "pipeline": run.pipeline, "finishedOn": run.finished_on, "receipts": receipts })
    });
    let artifact = |artifact: &AffectedArtifact| {
        json!({
            "path": artifact.path, "digest": artifact.digests.public(), "model": artifact.is_model, "inPlace": artifact.is_in_place,
            "stored": artifact.is_stored,
        })
    };
    let receipts = found.receipts.iter().map(|receipt| {
        let artifacts: Vec<Value> = receipt.artifacts.iter().map(artifact).collect();
        json!({
            "receipt": receipt.id.to_string(), "run": receipt.run, "pipeline": receipt.pipeline,
            "pipelineFile": receipt.pipeline_file, "stage": receipt.stage, "withdrawnEvents": receipt.events,
            "artifacts": artifacts,
        })
    });
    let unknown = found.unknown.iter();
    let unknown = unknown.map(|NotKnown { run, stage, why }| json!({ "run": run, "stage": stage, "why": why }));
    json!({
        "version": 1, "runs": runs.collect::<Vec<_>>(), "receipts": receipts.collect::<Vec<_>>(),
        "notKnown": unknown.collect::<Vec<_>>(), "toDo": steps,
    })
}
