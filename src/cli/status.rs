//! `madmall status`: how things stand.

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::{Value, json};

use super::every::{Everything, Found, everything, look};
use super::opened::find_workspace;
use super::plan::reasons;
use super::runs;
use super::surroundings::Surroundings;
use super::table::{bytes, count, cut, pad, width};
use super::terminal::{BOLD, Columns, DIM, ERROR, Failure, GOOD, Terminal, WARNING, environment, shown};
use super::waiting::tell_unpublished;
use crate::exec::forecast::Forecast;
use crate::exec::inputs::FileHashes;
use crate::exit_code::ExitCode;
use crate::history::runs::{newest_of, run_ids};
use crate::listing::ArtifactDigests;
use crate::plan::Plan;
use crate::plan::stale::Stale;
use crate::receipt::run_file::Receipt;
use crate::status::{Orphan, OutputState, StageStatus, orphans, stages};
use crate::store::stat_cache::StatCache;
use crate::store::usage::{Amount, Usage, measure};

/// Arguments of `status`.
#[derive(clap::Args)]
pub(super) struct StatusArguments {
    /// The pipeline file; without it, every file under pipelines/
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<Utf8PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How one pipeline stands.
struct PipelineStatus<'a> {
    plan: &'a Plan,
    stages: Vec<StageStatus>,
    /// Its newest run; or why that cannot be read.
    last: Result<Option<Receipt>, String>,
}

/// What is shown.
struct Shown<'a> {
    pipelines: Vec<(&'a Found, Option<PipelineStatus<'a>>)>,
    /// None if they cannot be told, for a pipeline cannot be read.
    orphans: Option<Vec<Orphan>>,
    usage: Usage,
    /// How a pipeline's file is named in a command.
    typed: &'a dyn Fn(&Utf8Path) -> String,
}

/// Shows how things stand.
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
    let ids = run_ids(&all.workspace).map_err(|error| environment(&error))?;
    let mut pipelines = Vec::new();
    for found in all
        .pipelines
        .iter()
        .filter(|found| only.as_ref().is_none_or(|file| found.file == *file))
    {
        let status = match &found.plan {
            Ok(plan) => Some(PipelineStatus {
                plan,
                stages: look(surroundings, &all.workspace, plan, stages)?,
                last: newest_of(&all.workspace, &ids, &plan.pipeline)
                    .map_err(|(id, error)| format!("{}: {error}", crate::history::runs::file_of(&id))),
            }),
            Err(_) => None,
        };
        pipelines.push((found, status));
    }
    let mut orphans = orphans_of(&all);
    if let (Some(orphans), [(_, Some(status))]) = (&mut orphans, &pipelines[..])
        && only.is_some()
    {
        orphans.retain(|orphan| orphan.pipeline == status.plan.pipeline);
    }
    let usage = measure(&all.store).map_err(|error| environment(&error))?;
    let shown = Shown {
        pipelines,
        orphans,
        usage,
        typed: &|file| all.typed(file),
    };
    match arguments.json {
        true => terminal.result(to_json(&shown)),
        false => print(&shown, terminal),
    }
    let stages = shown.pipelines.iter().flat_map(|(_, status)| status);
    let mut stages = stages.flat_map(|status| &status.stages);
    if !arguments.json && stages.any(|stage| !stage.forecast.is_settled()) {
        tell_unpublished(&all.workspace, "look", terminal);
    }
    let is_broken = shown.pipelines.iter().any(|(found, _)| found.plan.is_err());
    let is_unread = shown
        .pipelines
        .iter()
        .flat_map(|(_, status)| status)
        .any(|status| status.last.is_err());
    Ok(match (is_broken, is_unread) {
        (true, _) => ExitCode::Refused,
        (_, true) => ExitCode::Inconclusive,
        _ => ExitCode::Success,
    })
}

/// What no pipeline makes any more; `None` if a pipeline cannot be resolved, for it may make it.
pub(super) fn orphans_of(all: &Everything) -> Option<Vec<Orphan>> {
    let plans: Option<Vec<&Plan>> = all.pipelines.iter().map(|found| found.plan.as_ref().ok()).collect();
    let hashes = FileHashes::new(&all.workspace, StatCache::load(&all.store.stat_cache_file()))
        .keyed_by(all.store.key().cloned());
    let stored = |digests: &ArtifactDigests| all.store.holds(digests);
    plans.map(|plans| orphans(&plans, &all.believed, &hashes, &all.workspace, &stored))
}

fn print(all: &Shown<'_>, terminal: &mut Terminal) {
    let columns = terminal.columns();
    for (found, status) in &all.pipelines {
        match (&found.plan, status) {
            (_, Some(status)) => print_pipeline(status, columns, terminal),
            (Err(mistakes), None) => {
                let mistake = count(mistakes.count, "mistake", "mistakes");
                terminal.result(format_args!("{BOLD}{}{BOLD:#}", found.file));
                let text = format!("{mistake}: {}", mistakes.first);
                terminal.result(format_args!(
                    "  {ERROR}{}{ERROR:#}",
                    cut(&shown(&text), columns.most.saturating_sub(2))
                ));
                let check = shown(&(all.typed)(&found.file));
                terminal.result(format_args!("  `madmall check {check}` shows where"));
            }
            (Ok(_), None) => {}
        }
        terminal.result("");
    }
    if all.pipelines.is_empty() {
        terminal.say(
            "there is no pipeline under `pipelines/`, and none that has run: `madmall status PIPELINE` looks at one",
        );
    }
    print_orphans(all, terminal);
    // Where nothing was ever run there is nothing to say of it.
    if !(all.pipelines.is_empty() && all.usage == Usage::default()) {
        print_usage(&all.usage, terminal);
    }
}

fn print_usage(usage: &Usage, terminal: &mut Terminal) {
    let Usage {
        objects,
        logs,
        displaced,
        populations,
    } = usage;
    let mut text = format!(
        "store: {}, {}",
        amount(objects, "object", "objects"),
        bytes(objects.bytes)
    );
    if logs.files > 0 {
        text.push_str(&format!("; logs {}", bytes(logs.bytes)));
    }
    if populations.files > 0 {
        text.push_str(&format!("; tokens of events {}", bytes(populations.bytes)));
    }
    if displaced.files > 0 {
        let files = amount(displaced, "file", "files");
        text.push_str(&format!(
            "; displaced: {files}, {}, in .madmall/displaced/",
            bytes(displaced.bytes)
        ));
    }
    terminal.result(text);
}

fn amount(amount: &Amount, one: &str, many: &str) -> String {
    count(usize::try_from(amount.files).unwrap_or(usize::MAX), one, many)
}

fn print_pipeline(status: &PipelineStatus<'_>, columns: Columns, terminal: &mut Terminal) {
    let plan = status.plan;
    terminal.result(format_args!(
        "{BOLD}{}{BOLD:#}  {DIM}{}{DIM:#}",
        plan.pipeline,
        shown(plan.pipeline_file.as_str())
    ));
    let name_width = plan
        .stages
        .iter()
        .map(|stage| width(&stage.name))
        .max()
        .unwrap_or(0)
        .min(32);
    for stage in &status.stages {
        let (style, state, why) = said(&stage.forecast);
        let name = pad(&cut(&plan.stages[stage.stage.index()].name, name_width), name_width);
        let room = columns.most.saturating_sub(name_width + 16);
        let line = format!("  {name}  {style}{state:10}{style:#}  {}", cut(&shown(&why), room));
        terminal.result(line.trim_end());
        for output in &stage.outputs {
            let (style, text) = match output.state {
                OutputState::InPlace => continue,
                // Of a stage that would run, an earlier result is what is to be expected.
                OutputState::Earlier if !matches!(stage.forecast, Forecast::Restore { .. }) => continue,
                OutputState::Earlier => (DIM, "holds an earlier result"),
                OutputState::Missing => (DIM, "is missing"),
                OutputState::Gone => (DIM, "is temporary, and made again when it is needed"),
                OutputState::Foreign => (DIM, "is claimed by receipts that you do not believe, and by no other"),
                OutputState::Edited => (WARNING, "was edited: no receipt that you believe claims its bytes"),
            };
            let room = columns.most.saturating_sub(name_width + 4);
            let text = cut(&format!("{} {text}", shown(output.path.as_str())), room);
            terminal.result(format_args!("  {}  {style}{text}{style:#}", " ".repeat(name_width)));
        }
    }
    let last = match &status.last {
        Ok(None) => "no run yet".to_owned(),
        Ok(Some(receipt)) => {
            let (metadata, internal) = (receipt.statement.metadata(), receipt.statement.internal());
            let how = runs::outcome(&internal.outcome);
            format!("last run {}, {how}", metadata.invocation_id)
        }
        Err(why) => format!("the last run cannot be told: {why}"),
    };
    terminal.result(format_args!(
        "  {DIM}{}{DIM:#}",
        cut(&shown(&last), columns.most.saturating_sub(2))
    ));
}

fn said(forecast: &Forecast) -> (anstyle::Style, &'static str, String) {
    let short = |why: &[Stale]| reasons(why).join("; ");
    match forecast {
        Forecast::UpToDate { .. } => (DIM, "up to date", String::new()),
        Forecast::Restore { .. } => (GOOD, "restore", "outputs would be put back from the store".to_owned()),
        Forecast::Run { why } => (BOLD, "would run", short(why)),
        Forecast::Perhaps { why } => (BOLD, "may run", short(why)),
        Forecast::Refuse { why } => (ERROR, "refused", short(why)),
        Forecast::Block { why } => (ERROR, "blocked", short(why)),
    }
}

fn print_orphans(status: &Shown<'_>, terminal: &mut Terminal) {
    match &status.orphans {
        None => terminal.result("orphans: not known while a pipeline has mistakes"),
        Some(orphans) if orphans.is_empty() => {}
        Some(orphans) => {
            let files = count(orphans.len(), "output", "outputs");
            terminal.result(format_args!(
                "orphans: {files} of stages that no pipeline has any more (`madmall clean --orphans`)"
            ));
            for orphan in orphans {
                let edited = match orphan.is_claimed {
                    true => "",
                    false => ", and no receipt that you believe claims what is there now",
                };
                let text = format!(
                    "{}  made by `{}` of `{}`{edited}",
                    orphan.path, orphan.stage, orphan.pipeline
                );
                terminal.result(format_args!("  {}", shown(&text)));
            }
            terminal.result("");
        }
    }
}

fn to_json(status: &Shown<'_>) -> Value {
    let pipelines = status
        .pipelines
        .iter()
        .map(|(found, status)| match (&found.plan, status) {
            (Ok(plan), Some(status)) => pipeline_json(plan, status),
            (Err(mistakes), _) => {
                json!({ "file": found.file, "mistakes": mistakes.count, "first": mistakes.first })
            }
            (Ok(_), None) => json!({ "file": found.file }),
        });
    let pipelines: Vec<_> = pipelines.collect();
    let orphans = status.orphans.as_ref().map(|orphans| {
        let orphan = |o: &Orphan| {
            json!({
                "path": o.path, "pipeline": o.pipeline, "stage": o.stage, "claimed": o.is_claimed, "stored": o.is_stored,
                "bytes": o.size,
            })
        };
        orphans.iter().map(orphan).collect::<Vec<_>>()
    });
    let amount = |amount: &Amount| json!({ "files": amount.files, "bytes": amount.bytes });
    let Usage {
        objects,
        logs,
        displaced,
        populations,
    } = &status.usage;
    json!({
        "version": 1, "pipelines": pipelines, "orphans": orphans,
        "store": { "objects": amount(objects), "logs": amount(logs), "displaced": amount(displaced),
                   "populations": amount(populations) },
    })
}

fn pipeline_json(plan: &Plan, status: &PipelineStatus<'_>) -> Value {
    let stages = status.stages.iter().map(|stage| {
        let (state, why) = state_json(&stage.forecast);
        let outputs = stage.outputs.iter().map(|output| {
            let state = match output.state {
                OutputState::InPlace => "inPlace",
                OutputState::Earlier => "earlier",
                OutputState::Missing => "missing",
                OutputState::Gone => "gone",
                OutputState::Foreign => "foreign",
                OutputState::Edited => "edited",
            };
            json!({ "path": output.path, "state": state })
        });
        let outputs: Vec<_> = outputs.collect();
        json!({ "stage": plan.stages[stage.stage.index()].name, "state": state, "why": why, "outputs": outputs })
    });
    let stages: Vec<_> = stages.collect();
    let last = status.last.as_ref().ok().and_then(Option::as_ref).map(|receipt| {
        let (metadata, internal) = (receipt.statement.metadata(), receipt.statement.internal());
        json!({
            "run": metadata.invocation_id, "finishedOn": metadata.finished_on, "outcome": internal.outcome,
            "commit": internal.made.commit,
        })
    });
    let unread = status.last.as_ref().err();
    json!({
        "file": plan.pipeline_file, "pipeline": plan.pipeline, "stages": stages, "lastRun": last, "lastRunUnread": unread,
    })
}

/// A forecast in the words of `--json`, and its reasons.
pub(super) fn state_json(forecast: &Forecast) -> (&'static str, Vec<String>) {
    (forecast.word(), reasons(forecast.why()))
}
