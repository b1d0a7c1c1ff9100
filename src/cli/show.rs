//! `madmall show`: what a receipt says, for people; or its payload, byte for byte.

use camino::Utf8Path;

use super::opened::find_workspace;
use super::runs;
use super::surroundings::Surroundings;
use super::terminal::{BOLD, Failure, Terminal, environment, shown};
use crate::erase::tombstone;
use crate::exec::runs_folder;
use crate::exit_code::ExitCode;
use crate::history::runs::read_own;
use crate::receipt::erasure::ErasedKind;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{CommandRecord, Resource, Role, Statement};
use crate::verify::What;

/// Arguments of `show`.
#[derive(clap::Args)]
pub(super) struct ShowArguments {
    /// A receipt (sha256:… or at least eight digits), or a run: its id, a beginning of it, its file, `latest` or `latest~1`
    #[arg(value_name = "RECEIPT|RUN")]
    what: String,
    /// Print the signed payload exactly, without a line break after it: its SHA-256 is the receipt's id
    #[arg(long)]
    json: bool,
}

/// Shows a receipt.
pub(super) fn show(
    arguments: &ShowArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let receipt = find(&arguments.what, surroundings)?;
    if arguments.json {
        terminal.bytes(receipt.envelope.payload());
        return Ok(ExitCode::Success);
    }
    let trust = runs::trust(surroundings)?;
    let (signer, _) = runs::signer(&receipt, trust.as_ref());
    let id = receipt.id;
    terminal.result(format_args!("{BOLD}{id}{BOLD:#}"));
    for (title, text) in lines(&receipt.statement, signer) {
        terminal.result(format_args!("{title:<10} {}", shown(&text)));
    }
    Ok(ExitCode::Success)
}

/// The receipt, or that of the run, which `text` names.
pub(super) fn find(text: &str, surroundings: &Surroundings) -> Result<Receipt, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let folder = surroundings
        .folder
        .canonicalize_utf8()
        .unwrap_or_else(|_| surroundings.folder.clone());
    let what = runs::receipts_named(text, &workspace, &folder)?;
    let is_meant = |receipt: &Receipt| match &what {
        What::Receipt(digits) => receipt.id.to_hex().starts_with(digits.as_str()),
        What::Run(run) => receipt.statement.stage().is_none() && receipt.statement.metadata().invocation_id == *run,
        What::File(_) | What::Called { .. } | What::Everything => false,
    };
    let mut found: Vec<Receipt> = Vec::new();
    let mut unreadable = None;
    let read = match &what {
        What::Receipt(digits) => runs::begin_with(digits, &workspace)?,
        What::Run(run) => {
            let own = read_own(&workspace, run);
            let own = own.map_err(|error| unreadable = Some(runs::unreadable(run, &error)));
            own.into_iter().collect()
        }
        What::File(_) | What::Called { .. } | What::Everything => Vec::new(),
    };
    for receipt in read.into_iter().filter(is_meant) {
        // A countersignature has the same payload.
        if found.iter().all(|old| old.id != receipt.id) {
            found.push(receipt);
        }
    }
    let tombstones = tombstone::all(&runs_folder(&workspace)).map_err(|error| environment(&error))?;
    found.extend(tombstones.into_iter().map(|(_, receipt)| receipt).filter(is_meant));
    match &found[..] {
        [receipt] => Ok(receipt.clone()),
        [] => {
            let message = format!("no receipt that can be read is called `{}`", text);
            let help = "`madmall log` lists runs";
            let unknown = || Failure::new(ExitCode::Inconclusive, message, Some(help));
            Err(unreadable.unwrap_or_else(unknown))
        }
        many => {
            let message = format!("`{}` may mean {} receipts: give more digits", text, many.len());
            Err(Failure::new(ExitCode::Refused, message, None))
        }
    }
}

/// What a statement says, line by line.
fn lines(statement: &Statement, signer: String) -> Vec<(&'static str, String)> {
    let (external, internal, metadata) = (statement.external(), statement.internal(), statement.metadata());
    let mut lines = vec![(
        "pipeline",
        format!("{} ({})", external.pipeline, external.pipeline_file),
    )];
    lines.extend(external.purpose.clone().map(|purpose| ("purpose", purpose)));
    if let Some((stage, _)) = statement.stage() {
        lines.push(("stage", stage.name.clone()));
        let command = match &stage.command {
            CommandRecord::Builtin { name, revision } => format!("built-in `{name}`, revision {revision}"),
            CommandRecord::Argv(words) => words.join(" "),
            CommandRecord::Shell(text) => text.clone(),
        };
        lines.push(("command", command));
        for (name, value) in &stage.params {
            let value = serde_json::to_string(value).unwrap_or_default();
            lines.push(("parameter", format!("{name} = {value}")));
        }
    }
    if let Some((erasure, erased)) = statement.erasure() {
        let what = match erasure.of {
            ErasedKind::Event => "an event",
            ErasedKind::Subject => "all of a person",
        };
        lines.push(("erased", format!("{what}, token {}", erasure.token)));
        let (files, objects) = (erased.files, erased.objects);
        lines.push((
            "removed",
            format!("{files} files of the workspace, {objects} of the store"),
        ));
        lines.extend(erased.left.iter().map(|place| ("left", place.clone())));
    }
    lines.push(("outcome", runs::outcome(&internal.outcome)));
    lines.push(("run", metadata.invocation_id.clone()));
    lines.push(("time", format!("{} to {}", metadata.started_on, metadata.finished_on)));
    let made = &internal.made;
    lines.push(("commit", made.commit.clone().unwrap_or_else(|| "none".to_owned())));
    lines.extend(
        made.differs
            .iter()
            .map(|path| ("differs", format!("{path}: not as in the commit"))),
    );
    for dependency in statement.dependencies() {
        if let Some((stage, id)) = dependency.as_receipt() {
            lines.push(("receipt", format!("{stage}  {id}")));
            continue;
        }
        let title = match dependency.role() {
            Role::Input { .. } => "input",
            Role::Tool { .. } => "tool",
            Role::Definition {} => "definition",
            _ => continue,
        };
        lines.push((title, with_digest(dependency)));
    }
    lines.extend(
        statement
            .subject
            .iter()
            .map(|subject| ("subject", with_digest(subject))),
    );
    lines.push(("signed by", signer));
    lines
}

fn with_digest(resource: &Resource) -> String {
    match resource.consent() {
        Some(consent) => format!("{}  consent: {consent}", digest_of(resource)),
        None => digest_of(resource),
    }
}

fn digest_of(resource: &Resource) -> String {
    format!("{}  {}", resource.name, resource.digest.public().unwrap_or_default())
}
