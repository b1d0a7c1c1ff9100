//! `madmall clean`: removes outputs that can be put back, or that nobody makes any more.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};
use serde_json::json;

use super::every::{Everything, everything};
use super::opened::find_workspace;
use super::status::orphans_of;
use super::surroundings::Surroundings;
use super::table::{bytes, count};
use super::terminal::{DIM, Failure, Terminal, environment, shown};
use super::waiting::take_lock;
use crate::exec::inputs::FileHashes;
use crate::exit_code::ExitCode;
use crate::store::stat_cache::StatCache;
use crate::sweep::clean::{Candidate, Kept, orphans, outputs, remove};

/// Arguments of `clean`.
#[derive(clap::Args)]
pub(super) struct CleanArguments {
    /// The pipeline file; without it, every pipeline
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<Utf8PathBuf>,
    /// Remove the outputs of stages that no pipeline has any more, and no others
    #[arg(long)]
    orphans: bool,
    /// Do it; without this, it is only shown
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows what would be removed, or removes it.
pub(super) fn clean(
    arguments: &CleanArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let named = arguments.pipeline.as_deref();
    let (workspace, file) = find_workspace(&surroundings.folder, named.unwrap_or(".".into()))?;
    let _lock = match arguments.yes {
        true => Some(take_lock(&workspace, "clean", terminal)?),
        false => None,
    };
    let all = everything(surroundings, named)?;
    let only = named.map(|_| file.as_path());
    let candidates = candidates(arguments, &all, only)?;
    let mut removed = Vec::new();
    if arguments.yes {
        for candidate in &candidates {
            let gone = remove(candidate, &workspace, &all.store).map_err(|error| {
                let message = format!("cannot remove `{}`: {error}", candidate.path);
                Failure::new(ExitCode::Environment, shown(&message), None)
            })?;
            removed.push(gone);
        }
    }
    match arguments.json {
        true => print_json(arguments, &candidates, &removed, terminal),
        false => print_text(arguments, &candidates, &removed, terminal),
    }
    Ok(ExitCode::Success)
}

fn candidates(
    arguments: &CleanArguments,
    all: &Everything,
    only: Option<&Utf8Path>,
) -> Result<Vec<Candidate>, Failure> {
    let mistakes = |file: &Utf8PathBuf| {
        let message = format!("`{file}` cannot be read, so it is not known what it makes");
        let help = format!("`madmall check {}` shows its mistakes", all.typed(file));
        Failure::new(ExitCode::Refused, shown(&message), Some(&shown(&help)))
    };
    let hashes = FileHashes::new(&all.workspace, StatCache::load(&all.store.stat_cache_file()))
        .keyed_by(all.store.key().cloned());
    if arguments.orphans {
        let Some(mut found) = orphans_of(all) else {
            let broken = all.pipelines.iter().find(|found| found.plan.is_err());
            return Err(broken.map_or_else(
                || environment(&std::io::Error::other("no pipeline can be read")),
                |found| mistakes(&found.file),
            ));
        };
        if let Some(only) = only {
            let plan = all
                .pipelines
                .iter()
                .find(|found| found.file == only)
                .and_then(|found| found.plan.as_ref().ok());
            found.retain(|orphan| plan.is_some_and(|plan| plan.pipeline == orphan.pipeline));
        }
        return Ok(orphans(&found, &hashes, &all.workspace));
    }
    let mut candidates = Vec::new();
    for found in all
        .pipelines
        .iter()
        .filter(|found| only.is_none_or(|only| found.file == only))
    {
        let plan = found.plan.as_ref().map_err(|_| mistakes(&found.file))?;
        candidates.extend(outputs(plan, &all.believed, &hashes, &all.workspace, &all.store));
    }
    // What several pipelines include is made by each.
    let mut paths = BTreeSet::new();
    candidates.retain(|candidate| paths.insert(candidate.path.clone()));
    Ok(candidates)
}

fn print_text(arguments: &CleanArguments, candidates: &[Candidate], removed: &[bool], terminal: &mut Terminal) {
    let verb = if arguments.yes { "removed" } else { "would remove" };
    let mut gone = (0, 0);
    for (index, candidate) in candidates.iter().enumerate() {
        let path = shown(candidate.path.as_str());
        match candidate.verdict {
            Ok(_) if arguments.yes && removed.get(index) != Some(&true) => {
                terminal.result(format_args!("  {path}  stays: it was changed meanwhile"));
            }
            Ok(_) => {
                gone = (gone.0 + 1, gone.1 + candidate.size);
                let store = match candidate.is_stored {
                    true => "",
                    false => ", which the store does not have",
                };
                terminal.result(format_args!(
                    "  {path}  {DIM}{}, of `{}`{store}{DIM:#}",
                    bytes(candidate.size),
                    candidate.stage
                ));
            }
            Err(kept) => terminal.result(format_args!("  {path}  stays: {}", kept.words())),
        }
    }
    let files = count(gone.0, "output", "outputs");
    match (gone.0, arguments.yes) {
        (0, _) => terminal.result("nothing to remove"),
        (_, true) => terminal.result(format_args!("{verb} {files}, {}", bytes(gone.1))),
        (_, false) => terminal.result(format_args!("{verb} {files}, {}; --yes does it", bytes(gone.1))),
    }
}

fn print_json(arguments: &CleanArguments, candidates: &[Candidate], removed: &[bool], terminal: &mut Terminal) {
    let outputs = candidates.iter().enumerate().map(|(index, candidate)| {
        let kept = candidate.verdict.as_ref().err().map(|kept| match kept {
            Kept::Unclaimed => "unclaimed",
            Kept::NotStored => "notStored",
            Kept::NoFile => "noFile",
            Kept::NoFolder => "noFolder",
        });
        json!({
            "path": candidate.path, "stage": candidate.stage, "bytes": candidate.size, "kept": kept,
            "stored": candidate.is_stored, "removed": removed.get(index).copied().unwrap_or(false),
        })
    });
    let outputs: Vec<_> = outputs.collect();
    terminal.result(json!({
        "version": 1, "dryRun": !arguments.yes, "orphans": arguments.orphans, "outputs": outputs,
    }));
}
