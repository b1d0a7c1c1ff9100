//! `madmall consent`: what people agreed to, and what becomes of it.

mod affected;
mod status;

use super::opened::Surroundings;
use super::terminal::{Failure, Terminal};
use crate::exit_code::ExitCode;

/// Arguments of `consent`.
#[derive(clap::Args)]
pub(super) struct ConsentArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Count events by consent: covered, revoked, used; as the inputs of each ingest lie now
    Status(status::StatusArguments),
    /// Name every run, receipt, artifact and model that was made with something withdrawn, and what to do
    Affected(affected::AffectedArguments),
}

/// Runs the subcommand.
pub(super) fn consent(
    arguments: &ConsentArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    match &arguments.command {
        Command::Status(arguments) => status::status(arguments, surroundings, terminal),
        Command::Affected(arguments) => affected::affected(arguments, surroundings, terminal),
    }
}
