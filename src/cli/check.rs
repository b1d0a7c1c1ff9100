//! `madmall check`: read and resolve only.

use serde_json::json;

use super::opened::{find_workspace, open_set, overrides};
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal};
use super::{PipelineArgument, SetArguments};
use crate::exit_code::ExitCode;
use crate::plan::resolve_set;

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    set: SetArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Reads and resolves the pipeline.
pub(super) fn check(
    arguments: &CheckArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let path = &arguments.pipeline.pipeline;
    if arguments.json {
        let (workspace, file) = find_workspace(&surroundings.folder, path)?;
        let overrides = overrides(surroundings, &arguments.set)?;
        let (faults, warnings) = match resolve_set(&workspace, &file, &overrides) {
            Ok(resolution) => (Vec::new(), resolution.warnings),
            Err(faults) => (faults.0, Vec::new()),
        };
        let report =
            |list: &[crate::diagnostic::Diagnostic]| json!(list.iter().map(|d| d.report()).collect::<Vec<_>>());
        terminal.result(json!({ "version": 1, "errors": report(&faults), "warnings": report(&warnings) }));
        return Ok(if faults.is_empty() {
            ExitCode::Success
        } else {
            ExitCode::Refused
        });
    }
    let opened = open_set(surroundings, path, &arguments.set, terminal)?;
    let count = opened.plan.stages.len();
    terminal.result(format_args!(
        "{}: {count} {}, no mistakes",
        opened.plan.pipeline_file,
        if count == 1 { "stage" } else { "stages" }
    ));
    Ok(ExitCode::Success)
}
