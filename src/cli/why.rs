//! `madmall why`: the chain from the first cause to a stage.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::opened::{Opened, open_set};
use super::plan::with_session;
use super::surroundings::Surroundings;
use super::terminal::{BOLD, DIM, Failure, Terminal, environment, shown};
use super::{PipelineArgument, SetArguments};
use crate::exec::forecast::{Forecast, forecast};
use crate::exec::{CacheMode, Session};
use crate::exit_code::ExitCode;
use crate::git::{self, CommitId, Origin, Repository};
use crate::history::cause::{ChangedFile, Files, What, changed_files, files_now, files_of_receipt};
use crate::plan::StageId;
use crate::plan::snapshot::Snapshot;
use crate::plan::stale::Stale;
use crate::receipt::statement::{Role, Statement};
use crate::store::believed::Claim;

/// Arguments of `why`.
#[derive(clap::Args)]
pub(super) struct WhyArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    set: SetArguments,
    /// The stage
    #[arg(value_name = "STAGE")]
    stage: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A stage of the chain, with its reasons.
struct Link {
    stage: String,
    reasons: Vec<Stale>,
    /// By the name of a source that changed: its files that did, and how many more.
    files: BTreeMap<String, (Vec<ChangedFile>, usize)>,
}

/// Explains a stage.
pub(super) fn why(
    arguments: &WhyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let opened = open_set(surroundings, &arguments.pipeline.pipeline, &arguments.set, terminal)?;
    let id = opened.find(&arguments.stage)?;
    // What is temporary is made again for those that read it.
    let is_temporary = opened.plan.stages[id.index()]
        .outputs
        .iter()
        .any(|output| output.is_temporary);
    let selected = match is_temporary {
        true => opened.select(&[])?,
        false => opened.select(std::slice::from_ref(&arguments.stage))?,
    };
    let (state, chain) = with_session(surroundings, &opened, CacheMode::Use, |session| {
        let forecasts = forecast(session, &selected).map_err(|error| environment(&error))?;
        Ok(explain(&opened, session, id, &forecasts))
    })?;
    if arguments.json {
        let chain: Vec<serde_json::Value> = chain
            .iter()
            .map(|link| {
                let reasons: Vec<_> = link.reasons.iter().map(ToString::to_string).collect();
                let files: Vec<_> = link
                    .files
                    .values()
                    .flat_map(|(files, _)| files)
                    .map(file_json)
                    .collect();
                json!({ "stage": link.stage, "why": reasons, "files": files })
            })
            .collect();
        let first = chain
            .first()
            .map(|link| json!({ "stage": link["stage"], "why": link["why"][0] }));
        let (stage, version) = (&arguments.stage, 1);
        terminal.result(json!({
            "version": version, "stage": stage, "state": state, "firstCause": first, "chain": chain,
        }));
        return Ok(ExitCode::Success);
    }
    terminal.result(format_args!("{BOLD}{}{BOLD:#}: {state}", arguments.stage));
    for (depth, link) in chain.iter().enumerate() {
        let indent = "  ".repeat(depth + 1);
        for (number, reason) in link.reasons.iter().enumerate() {
            let arrow = if depth == 0 { "" } else { "└ " };
            let first = match (depth, number) {
                (0, 0) if chain.len() > 1 || link.reasons.len() > 1 => "  (the first cause)",
                _ => "",
            };
            terminal.result(format_args!(
                "{indent}{arrow}{DIM}{}:{DIM:#} {}{DIM}{first}{DIM:#}",
                link.stage,
                shown(&reason.to_string())
            ));
            if let Stale::InputChanged { input, .. } = reason
                && let Some((files, more)) = link.files.get(input)
            {
                print_files(files, *more, &indent, terminal);
            }
        }
    }
    Ok(ExitCode::Success)
}

fn print_files(files: &[ChangedFile], more: usize, indent: &str, terminal: &mut Terminal) {
    for file in files {
        let what = match file.what {
            What::Changed => "",
            What::Added => " is new",
            What::Removed => " is gone",
        };
        let since = match &file.origin {
            None if what.is_empty() => continue,
            None => String::new(),
            Some(origin) => format!(": {}", origin_text(origin)),
        };
        terminal.result(format_args!(
            "{indent}    {}",
            shown(&format!("{}{what}{since}", file.path))
        ));
    }
    if more > 0 {
        terminal.result(format_args!("{indent}    and {more} more files"));
    }
}

fn origin_text(origin: &Origin) -> String {
    match origin {
        Origin::Uncommitted => "uncommitted".to_owned(),
        Origin::Older => "changed by a commit further back than was looked at".to_owned(),
        Origin::Commit { id, summary, ends } => {
            let id = id.to_string();
            let or = if *ends {
                ", or before (the history ends there)"
            } else {
                ""
            };
            format!("changed by commit {} {summary:?}{or}", id.get(..12).unwrap_or(&id))
        }
    }
}

fn file_json(file: &ChangedFile) -> serde_json::Value {
    let what = match file.what {
        What::Changed => "changed",
        What::Added => "added",
        What::Removed => "removed",
    };
    let (commit, summary) = match &file.origin {
        Some(Origin::Commit { id, summary, .. }) => (Some(id.to_string()), Some(summary)),
        _ => (None, None),
    };
    let committed = file.origin.as_ref().map(|origin| *origin != Origin::Uncommitted);
    json!({ "path": file.path, "what": what, "committed": committed, "commit": commit, "summary": summary })
}

/// The repository, if it can be read: what it cannot say is left out.
fn repository(opened: &Opened) -> Option<Repository> {
    git::open(opened.workspace.root()).ok().flatten()
}

/// Which files of the sources of a stage that would run changed since its receipt, and since when.
fn changed_now(
    opened: &Opened,
    session: &Session<'_>,
    id: StageId,
    reasons: &[Stale],
) -> BTreeMap<String, (Vec<ChangedFile>, usize)> {
    let stage = &opened.plan.stages[id.index()];
    let last = session.believed.of_stage(&opened.plan.pipeline, &stage.name).next();
    let Some(last) = last.and_then(|claim| session.believed.statement(&claim)) else {
        return BTreeMap::new();
    };
    let repository = repository(opened);
    let head = repository
        .as_ref()
        .and_then(|repository| Some((repository, repository.head().ok()??)));
    let is_of = |name: &str| {
        let input = stage.inputs.iter().find(|input| input.name == name)?;
        files_now(&input.source, &session.hashes)
    };
    of_inputs(
        reasons,
        |input| Some((files_of_receipt(&last, input)?, is_of(input)?)),
        head,
    )
}

/// The same between two receipts; the history is asked from the commit of the later one.
fn changed_then(
    opened: &Opened,
    now: &Statement,
    before: &Statement,
    reasons: &[Stale],
) -> BTreeMap<String, (Vec<ChangedFile>, usize)> {
    let repository = repository(opened);
    let commit = now.internal().made.commit.as_ref();
    let start = repository.as_ref().zip(commit).and_then(|(repository, hex)| {
        let commit = repository.find_commit(hex)?;
        Some((repository, commit))
    });
    of_inputs(
        reasons,
        |input| Some((files_of_receipt(before, input)?, files_of_receipt(now, input)?)),
        start,
    )
}

fn of_inputs(
    reasons: &[Stale],
    files: impl Fn(&str) -> Option<(Files, Files)>,
    history: Option<(&Repository, CommitId)>,
) -> BTreeMap<String, (Vec<ChangedFile>, usize)> {
    let changed = reasons.iter().filter_map(|reason| match reason {
        Stale::InputChanged { input, .. } => {
            let (was, is) = files(input)?;
            Some((input.clone(), changed_files(&was, &is, history)))
        }
        _ => None,
    });
    changed.collect()
}

/// What can be said of the stage, and the chain of causes, the first cause first.
fn explain(
    opened: &Opened,
    session: &Session<'_>,
    id: StageId,
    forecasts: &[(StageId, Forecast)],
) -> (String, Vec<Link>) {
    let forecast = forecasts
        .iter()
        .find(|(other, _)| *other == id)
        .map(|(_, forecast)| forecast);
    let pending = |state: &str| (state.to_owned(), pending_chain(opened, session, id, forecasts));
    match forecast {
        Some(Forecast::Run { .. }) => pending("would run"),
        Some(Forecast::Perhaps { .. }) => pending("would run if what runs before it changes its inputs"),
        Some(Forecast::Refuse { .. }) => pending("would be refused"),
        Some(Forecast::Block { .. }) => pending("would not run, for what it reads would be refused"),
        Some(Forecast::UpToDate { receipt } | Forecast::Restore { receipt, .. }) => {
            let stage = &opened.plan.stages[id.index()];
            let state = match forecast {
                Some(Forecast::UpToDate { .. }) => "up to date",
                _ => "up to date; outputs would be put back from the store",
            };
            let claim = session
                .believed
                .of_stage(&opened.plan.pipeline, &stage.name)
                .find(|claim| claim.id == *receipt);
            match claim {
                Some(claim) => (
                    format!("{state}; it last ran in {}", claim.run),
                    history_chain(opened, session, &claim),
                ),
                None => (format!("{state}, by receipt {receipt}"), Vec::new()),
            }
        }
        None => ("not part of this plan".to_owned(), Vec::new()),
    }
}

/// The stages that would run, from the first cause down to `id`.
fn pending_chain(opened: &Opened, session: &Session<'_>, id: StageId, forecasts: &[(StageId, Forecast)]) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(id);
    while let Some(id) = next.take() {
        if !seen.insert(id) {
            break;
        }
        let forecast = forecasts.iter().find(|(other, _)| *other == id);
        let reasons = forecast.map_or_else(Vec::new, |(_, forecast)| forecast.why().to_vec());
        next = reasons.iter().find_map(|reason| match reason {
            Stale::AfterStage { stage } | Stale::AfterRefused { stage } | Stale::Needed { by: stage, .. } => opened
                .plan
                .stages
                .iter()
                .position(|s| s.name == *stage)
                .map(StageId::new),
            _ => None,
        });
        chain.push(Link {
            stage: opened.plan.stages[id.index()].name.clone(),
            files: changed_now(opened, session, id, &reasons),
            reasons,
        });
    }
    chain.reverse();
    chain
}

/// Why a stage ran when it last ran: what its receipt has otherwise than the one before, and so on back along the
/// inputs that changed.
fn history_chain(opened: &Opened, session: &Session<'_>, claim: &Claim) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(claim.clone());
    while let Some(claim) = next.take() {
        if !seen.insert(claim.id) {
            break;
        }
        let Some(now) = session.believed.statement(&claim) else {
            break;
        };
        let earlier = session.believed.of_stage(&claim.pipeline, &claim.stage).find(|other| {
            // Newest first: the first that is older than this one is the one before.
            (&other.run, other.line) < (&claim.run, claim.line)
        });
        let before = earlier.and_then(|earlier| session.believed.statement(&earlier));
        let reasons = match (Snapshot::of(&now), before.as_ref().and_then(Snapshot::of)) {
            (Some(now), Some(before)) => now.differences(&before),
            _ => vec![Stale::NeverRun],
        };
        next = reasons.iter().find_map(|reason| match reason {
            Stale::InputChanged { input, .. } => maker(session, &now, input),
            _ => None,
        });
        let reasons = if reasons.is_empty() {
            vec![Stale::Forced]
        } else {
            reasons
        };
        let files = before
            .as_ref()
            .map(|before| changed_then(opened, &now, before, &reasons))
            .unwrap_or_default();
        chain.push(Link {
            stage: claim.stage,
            reasons,
            files,
        });
    }
    chain.reverse();
    chain
}

/// The claim of the receipt that made the input `name` of a stage.
fn maker(session: &Session<'_>, statement: &Statement, name: &str) -> Option<Claim> {
    let receipt = statement
        .dependencies()
        .iter()
        .find_map(|dependency| match dependency.role() {
            Role::Input { input, receipt, .. } if input == name => receipt.clone(),
            _ => None,
        })?;
    session.believed.by_receipt(receipt.parse().ok()?)
}
