//! `madmall log`: the runs whose receipts are here, newest first; and what the log of receipts proves.

use camino::Utf8Path;
use serde_json::json;

use crate::cli::numbers::some;
use crate::cli::opened::find_workspace;
use crate::cli::runs;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{DIM, Failure, Terminal, shown, warn};
use crate::exit_code::ExitCode;

mod check;
mod compare;
mod prove;

/// Arguments of `log`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct LogArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only the newest N runs
    #[arg(short = 'n', long, value_name = "N", value_parser = some, allow_negative_numbers = true)]
    limit: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What else can be asked of the log.
#[derive(clap::Subcommand)]
enum Action {
    /// Write a proof that the log has a receipt, or that it extends what was seen of it
    Prove(prove::ProveArguments),
    /// Check a proof, from its file alone
    Check(check::CheckArguments),
    /// Compare two copies of logs: whether one goes on where the other ends, or they are forked
    Compare(compare::CompareArguments),
}

/// Lists the runs, or does what else was asked.
pub(in crate::cli) fn log(
    arguments: &LogArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    match &arguments.action {
        None => list(arguments, surroundings, terminal),
        Some(Action::Prove(arguments)) => prove::prove(arguments, surroundings, terminal),
        Some(Action::Check(arguments)) => check::check(arguments, surroundings, terminal),
        Some(Action::Compare(arguments)) => compare::compare(arguments, surroundings, terminal),
    }
}

fn list(arguments: &LogArguments, surroundings: &Surroundings, terminal: &mut Terminal) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let trust = runs::trust(surroundings)?;
    let mut listed = Vec::new();
    let mut code = ExitCode::Success;
    for (file, read) in runs::read_all(&workspace, arguments.limit)? {
        let (own, stages) = match read {
            Ok(read) => read,
            Err(why) => {
                let text = format!("`{file}`: {why}; `madmall verify` says more");
                warn(terminal, shown(&text));
                code = ExitCode::Inconclusive;
                continue;
            }
        };
        let statement = &own.statement;
        let (metadata, internal, external) = (statement.metadata(), statement.internal(), statement.external());
        let (signer, is_trusted) = runs::signer(&own, trust.as_ref());
        if arguments.json {
            listed.push(json!({
                "run": metadata.invocation_id, "receipt": own.id.to_string(), "startedOn": metadata.started_on,
                "finishedOn": metadata.finished_on, "pipeline": external.pipeline, "pipelineFile": external.pipeline_file,
                "outcome": internal.outcome, "commit": internal.made.commit, "uncommitted": !internal.made.differs.is_empty(),
                "stages": stages, "keyid": own.envelope.keyid().to_string(), "signer": signer, "trusted": is_trusted,
            }));
            continue;
        }
        let line = format!(
            "{}  {:<13}  {}  {}, signed by {signer}",
            metadata.finished_on,
            runs::commit(&internal.made),
            external.pipeline,
            runs::outcome(&internal.outcome),
        );
        terminal.result(shown(&line));
        let stages = match stages {
            1 => "1 stage ran".to_owned(),
            count => format!("{count} stages ran"),
        };
        let run = shown(&metadata.invocation_id);
        terminal.result(format_args!("{DIM}  {run}: {stages}{DIM:#}"));
        listed.push(json!(null));
    }
    if arguments.json {
        terminal.result(json!({ "version": 1, "runs": listed }));
    } else if listed.is_empty() && code == ExitCode::Success {
        terminal.say("there are no receipts here yet: `madmall run PIPELINE` makes some");
    }
    Ok(code)
}
