//! `madmall logs`: what stages printed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _};

use camino::Utf8Path;
use serde_json::json;

use super::opened::find_workspace;
use super::runs;
use super::surroundings::Surroundings;
use super::table::{bytes, pad, pad_left, width};
use super::terminal::{BOLD, Failure, Terminal, environment, shown};
use crate::diagnostic::{nearest, tame};
use crate::exit_code::ExitCode;
use crate::history::runs::run_ids;
use crate::plan::stage_name::log_name;
use crate::store::stage_logs::{self, StageLog};
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// Arguments of `logs`.
#[derive(clap::Args)]
pub(super) struct LogsArguments {
    /// Print what this stage printed; of a matrix stage, what each of its combinations did. Without it, the logs that are here are listed
    #[arg(value_name = "STAGE")]
    stage: Option<String>,
    /// In this run: its id, a beginning of it, `latest` or `latest~1`. Without it, the last in which the stage ran
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Print one JSON object that names the logs
    #[arg(long)]
    json: bool,
}

const NOTHING_YET: &str = "no stage has printed anything here yet";

/// As much of a line is shown at once.
const LONGEST_LINE: u64 = 1 << 20;

/// Prints or lists logs.
pub(super) fn logs(
    arguments: &LogsArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let store = surroundings.store(&workspace)?;
    let mut found = newest(&store, arguments.run.as_deref(), &workspace)?;
    if let Some(stage) = &arguments.stage {
        if !found.iter().any(|log| is_of(&log.stage, stage)) {
            return Err(is_missing(stage, &newest(&store, None, &workspace)?));
        }
        found.retain(|log| is_of(&log.stage, stage));
    }
    if arguments.json {
        let named = |log: &StageLog| {
            let path = log.path.strip_prefix(workspace.root()).unwrap_or(&log.path);
            json!({"stage": log.stage, "run": log.run, "path": path, "bytes": log.bytes})
        };
        let logs: Vec<_> = found.iter().map(named).collect();
        terminal.result(json!({"version": 1, "logs": logs}));
    } else if arguments.stage.is_some() {
        for log in &found {
            terminal.say(format_args!("{BOLD}{}{BOLD:#}  {}", shown(&log.stage), shown(&log.run)));
            print(log, terminal).map_err(|source| {
                let path = log.path.clone();
                environment(&StoreError::Read { path, source })
            })?;
        }
    } else {
        list(&found, terminal);
    }
    Ok(ExitCode::Success)
}

/// The newest log of each stage, of one run or of all, by the stages' names.
fn newest(store: &Store, run: Option<&str>, workspace: &Workspace) -> Result<Vec<StageLog>, Failure> {
    let failed = |error: StoreError| environment(&error);
    let mut runs = stage_logs::runs(store).map_err(failed)?;
    if let Some(name) = run {
        // A run that ended in the middle has logs and no receipts, and others' runs have receipts and no logs.
        let mut known = run_ids(workspace).map_err(failed)?;
        known.extend(runs);
        known.sort();
        known.dedup();
        runs = vec![runs::named(&known, name)?.to_owned()];
    }
    let mut newest: BTreeMap<String, StageLog> = BTreeMap::new();
    for run in &runs {
        for log in stage_logs::of_run(store, run).map_err(failed)? {
            let is_older = |known: &StageLog| known.modified > log.modified;
            if !newest.get(&log.stage).is_some_and(is_older) {
                newest.insert(log.stage.clone(), log);
            }
        }
    }
    Ok(newest.into_values().collect())
}

/// Whether the log of `stage` is what is asked for: by its whole name, or by that of a matrix stage without its axes.
fn is_of(stage: &str, asked: &str) -> bool {
    let name = log_name(asked);
    let is_combination = |rest: &str| rest.starts_with('[') && !asked.contains('[');
    stage == asked
        || stage
            .strip_prefix(name.as_str())
            .is_some_and(|rest| rest.is_empty() || is_combination(rest))
}

/// Says that there is no log of `stage` where it was asked for, and what there is of it or of one that may be meant.
fn is_missing(stage: &str, known: &[StageLog]) -> Failure {
    let families = known.iter().filter_map(|log| log.stage.split('[').next());
    let names = known.iter().map(|log| log.stage.as_str()).chain(families);
    let help = match known.iter().find(|log| is_of(&log.stage, stage)) {
        None if known.is_empty() => NOTHING_YET.to_owned(),
        Some(log) => format!("it last ran in `{}`", log.run),
        None => match nearest(stage, names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`madmall logs` lists those that are here: they stay where a stage ran, and `gc` removes old ones"
                .to_owned(),
        },
    };
    let message = format!("there is no log of a stage `{stage}`");
    Failure::new(ExitCode::Refused, shown(&message), Some(&shown(&help)))
}

/// Prints a log: to a terminal as it can be shown there, else byte for byte.
fn print(log: &StageLog, terminal: &mut Terminal) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 16, File::open(&log.path)?);
    let is_watched = io::stdout().is_terminal();
    let mut line = Vec::new();
    loop {
        let printed = if is_watched {
            line.clear();
            reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)?;
            terminal.bytes(tame(&String::from_utf8_lossy(&line)).as_bytes());
            line.len()
        } else {
            let block = reader.fill_buf()?;
            terminal.bytes(block);
            let read = block.len();
            reader.consume(read);
            read
        };
        if printed == 0 {
            return Ok(());
        }
    }
}

fn list(found: &[StageLog], terminal: &mut Terminal) {
    let sizes: Vec<String> = found.iter().map(|log| bytes(log.bytes)).collect();
    let stages = found.iter().map(|log| width(&shown(&log.stage))).max().unwrap_or(0);
    let columns = sizes.iter().map(|size| width(size)).max().unwrap_or(0);
    for (log, size) in found.iter().zip(&sizes) {
        let stage = pad(&shown(&log.stage), stages);
        terminal.result(format_args!(
            "{stage}  {}  {}",
            pad_left(size, columns),
            shown(&log.run)
        ));
    }
    if found.is_empty() {
        terminal.say(NOTHING_YET);
    }
}
