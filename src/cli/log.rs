//! `madmall log`: the runs whose receipts are here, newest first.

use camino::Utf8Path;
use serde_json::json;

use super::opened::{Surroundings, find_workspace, warn};
use super::runs;
use super::terminal::{DIM, Failure, Terminal, shown};
use crate::exit_code::ExitCode;

/// Arguments of `log`.
#[derive(clap::Args)]
pub(super) struct LogArguments {
    /// Only the newest N runs
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Lists the runs.
pub(super) fn log(
    arguments: &LogArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let trust = runs::trust(surroundings)?;
    let mut listed = Vec::new();
    let mut code = ExitCode::Success;
    for (file, read) in runs::read_all(&workspace)?.take(arguments.limit.unwrap_or(usize::MAX)) {
        let receipts = match read {
            Ok(receipts) => receipts,
            Err(why) => {
                let text = format!("`{file}`: {why}; `madmall verify` says more");
                warn(terminal, shown(&text));
                code = ExitCode::Inconclusive;
                continue;
            }
        };
        let Some((own, stages)) = receipts.split_last() else {
            continue;
        };
        let statement = &own.statement;
        let (metadata, internal, external) = (statement.metadata(), statement.internal(), statement.external());
        let (signer, is_trusted) = runs::signer(&own.envelope, trust.as_ref());
        if arguments.json {
            listed.push(json!({
                "run": metadata.invocation_id, "receipt": own.id.to_string(), "startedOn": metadata.started_on,
                "finishedOn": metadata.finished_on, "pipeline": external.pipeline, "pipelineFile": external.pipeline_file,
                "outcome": internal.outcome, "commit": internal.made.commit, "uncommitted": !internal.made.differs.is_empty(),
                "stages": stages.len(), "keyid": own.envelope.keyid().to_string(), "signer": signer, "trusted": is_trusted,
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
        let stages = match stages.len() {
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
