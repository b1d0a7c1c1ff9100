//! `madmall gc`: frees what no run needs any more.

use std::collections::HashSet;

use serde_json::json;

use super::every::{Everything, everything, look};
use super::numbers::whole;
use super::opened::find_workspace;
use super::surroundings::Surroundings;
use super::table::{bytes, count};
use super::terminal::{Failure, Terminal, environment, shown, warn};
use super::waiting::take_lock;
use crate::digest::Digest;
use crate::exit_code::ExitCode;
use crate::git;
use crate::store::usage::Amount;
use crate::sweep::gc::{Sweep, carry_out, plan};
use crate::sweep::needed::{Needed, needed};

/// Arguments of `gc`.
#[derive(clap::Args)]
pub(super) struct GcArguments {
    /// Keep what the last N runs of each pipeline need
    #[arg(long, value_name = "N", default_value = "3", value_parser = whole::<usize>, allow_negative_numbers = true)]
    keep_last: usize,
    /// Remove what was found in outputs' places too: nothing can bring it back
    #[arg(long)]
    displaced: bool,
    /// Do it; without this, it is only shown
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what could be freed, or frees it.
pub(super) fn gc(
    arguments: &GcArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, ".".into())?;
    // From before it is asked what is needed until it is done: a run makes new objects, and receipts that need them.
    let _lock = match arguments.yes {
        true => Some(take_lock(&workspace, "gc", terminal)?),
        false => None,
    };
    let all = everything(surroundings, None)?;
    let repository = git::open(workspace.root()).map_err(|error| environment(&error))?;
    let needed = needed(&workspace, &all.store, repository.as_ref(), arguments.keep_last);
    let needed = needed.map_err(|error| environment(&error))?;
    for broken in &needed.broken_elsewhere {
        warn(terminal, format_args!("{}: it keeps nothing", shown(broken)));
    }
    if let Some(broken) = needed.broken.first() {
        let message = format!("it cannot be told what is needed by {broken}");
        let help = "put the file back as it was committed (`git checkout -- runs/`), or move it out of `runs/`";
        if arguments.yes {
            return Err(Failure::new(ExitCode::Inconclusive, shown(&message), Some(help)));
        }
        warn(
            terminal,
            format_args!("{}: --yes is refused until that is mended", shown(&message)),
        );
    }
    let current = current(surroundings, &all, terminal)?;
    let sweep = plan(&all.store, &needed, &current, arguments.keep_last).map_err(|error| environment(&error))?;
    if arguments.yes {
        carry_out(&sweep, arguments.displaced).map_err(|error| environment(&error))?;
    }
    match arguments.json {
        true => print_json(arguments, &needed, &sweep, terminal),
        false => print_text(arguments, &needed, &sweep, repository.is_some(), terminal),
    }
    Ok(ExitCode::Success)
}

/// What the stages of the pipelines that are here are up to date by: a run with nothing to do leaves no receipt.
fn current(surroundings: &Surroundings, all: &Everything, terminal: &mut Terminal) -> Result<HashSet<Digest>, Failure> {
    let mut current = HashSet::new();
    for found in &all.pipelines {
        let Ok(plan) = &found.plan else {
            let file = shown(found.file.as_str());
            warn(
                terminal,
                format_args!("`{file}` has mistakes: only what its last runs need is kept of it"),
            );
            continue;
        };
        let receipts = look(surroundings, &all.workspace, plan, |_, forecasts| {
            let receipts = forecasts.into_iter().filter_map(|(_, forecast)| forecast.receipt());
            receipts.collect::<HashSet<_>>()
        })?;
        let claims = all.believed.all().filter(|claim| receipts.contains(&claim.id));
        current.extend(
            claims
                .flat_map(|claim| claim.outputs)
                .map(|output| output.digests.blake3()),
        );
    }
    Ok(current)
}

fn print_text(arguments: &GcArguments, needed: &Needed, sweep: &Sweep, in_git: bool, terminal: &mut Terminal) {
    let number = |amount: &Amount| usize::try_from(amount.files).unwrap_or(usize::MAX);
    let objects = |amount: &Amount| {
        format!(
            "{}, {}",
            count(number(amount), "object", "objects"),
            bytes(amount.bytes)
        )
    };
    let tips = match in_git {
        true => format!("; {}", count(needed.tips, "branch or tag", "branches and tags")),
        false => "; no git repository".to_owned(),
    };
    let runs = count(needed.runs.len(), "run", "runs");
    terminal.result(format_args!(
        "kept: {}, for {runs} and what is up to date{tips}",
        objects(&sweep.kept)
    ));
    let (free, remove) = match arguments.yes {
        true => ("freed", "removed"),
        false => ("would free", "would remove"),
    };
    terminal.result(format_args!("{free}: {}", objects(&sweep.freed)));
    if !sweep.logs.is_empty() {
        let runs = count(sweep.logs.len(), "run", "runs");
        terminal.result(format_args!(
            "{remove}: logs of {runs}, {}",
            bytes(sweep.logs_freed.bytes)
        ));
    }
    if !sweep.displaced.is_empty() {
        let files = count(number(&sweep.displaced_held), "file", "files");
        let held = bytes(sweep.displaced_held.bytes);
        match arguments.displaced {
            true => terminal.result(format_args!("{remove} displaced: {files}, {held}")),
            false => terminal.result(format_args!(
                "displaced: {files}, {held}, stay (--displaced removes them)"
            )),
        }
    }
    let anything = sweep.freed.files > 0 || !sweep.logs.is_empty();
    if !arguments.yes && (anything || (arguments.displaced && !sweep.displaced.is_empty())) {
        terminal.result("nothing was removed yet; --yes does it");
    }
}

fn print_json(arguments: &GcArguments, needed: &Needed, sweep: &Sweep, terminal: &mut Terminal) {
    let amount = |amount: &Amount| json!({ "files": amount.files, "bytes": amount.bytes });
    let freed: Vec<String> = sweep.objects.iter().map(|object| object.digest.to_string()).collect();
    terminal.result(json!({
        "version": 1, "dryRun": !arguments.yes, "keepLast": arguments.keep_last, "runsKept": needed.runs,
        "branchesAndTags": needed.tips, "kept": amount(&sweep.kept), "freed": amount(&sweep.freed),
        "freedObjects": freed, "logs": amount(&sweep.logs_freed), "displaced": amount(&sweep.displaced_held),
        "displacedRemoved": arguments.yes && arguments.displaced,
        "broken": needed.broken, "brokenElsewhere": needed.broken_elsewhere,
    }));
}
