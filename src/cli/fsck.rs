//! `madmall fsck`: whether the store is what it should be.

use camino::Utf8Path;
use serde_json::json;

use super::opened::find_workspace;
use super::surroundings::Surroundings;
use super::table::bytes;
use super::terminal::{Failure, Terminal, WARNING, environment, shown};
use super::verify::show_lines;
use crate::exit_code::ExitCode;
use crate::verify::finding_lines;
use crate::verify::report::Severity;

/// Arguments of `fsck`.
#[derive(clap::Args)]
pub(super) struct FsckArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Checks the store.
pub(super) fn fsck(
    arguments: &FsckArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let checked =
        crate::fsck::check(&surroundings.store(&workspace)?, workspace.root()).map_err(|error| environment(&error))?;
    let code = match checked.findings.iter().map(|finding| finding.severity).min() {
        Some(Severity::Failure | Severity::NotReproduced) => ExitCode::VerificationFailed,
        Some(Severity::Inconclusive) => ExitCode::Inconclusive,
        Some(Severity::Warning) | None => ExitCode::Success,
    };
    if arguments.json {
        terminal.result(json!({
            "version": 1, "objects": checked.whole, "bytes": checked.bytes, "findings": checked.findings,
            "exitCode": code.number(),
        }));
        return Ok(code);
    }
    let objects = match checked.whole {
        1 => "1 object is whole".to_owned(),
        count => format!("{count} objects are whole"),
    };
    terminal.result(format_args!("{objects} ({})", bytes(checked.bytes)));
    for finding in &checked.findings {
        show_lines(&finding_lines(finding), terminal);
    }
    if checked.findings.is_empty() && checked.whole == 0 {
        let folder = shown(workspace.root().as_str());
        terminal.say(format_args!(
            "{WARNING}note{WARNING:#}: there is nothing in the store of `{folder}`"
        ));
    }
    Ok(code)
}
