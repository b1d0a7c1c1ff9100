//! `madmall consent`: what people agreed to, and what becomes of it.

mod affected;
mod destroy;
mod prove;
mod report;
mod status;

pub(super) use self::prove::parse_id;
use super::surroundings::Surroundings;
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
    /// Destroy the consent secret: no proof can be made or judged by it ever again
    DestroySecret(destroy::DestroyArguments),
    /// Say what one run's records show of consent, and which record answers which question, as text or HTML
    Report(report::ReportArguments),
    /// Write a proof that an event was used, or was not, which names neither it nor its person
    Prove(prove::ProveArguments),
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
        Command::DestroySecret(arguments) => destroy::destroy(arguments, surroundings, terminal),
        Command::Report(arguments) => report::report(arguments, surroundings, terminal),
        Command::Prove(arguments) => prove::prove(arguments, surroundings, terminal),
    }
}
