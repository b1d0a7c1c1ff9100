//! `madmall bundle`: the receipts of a run, and what it takes to verify them, in one file for somebody else.

use std::collections::BTreeSet;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use camino::{Utf8Path, Utf8PathBuf};

use super::opened::find_workspace;
use super::out;
use super::runs;
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment, shown, warn};
use crate::bundle::{self, GatherError, Limits, Place, Planned, Wanted, WriteError};
use crate::exit_code::ExitCode;
use crate::git;
use crate::history::runs::read_own;
use crate::receipt::key::PublicKey;
use crate::receipt::run_file::Receipt;
use crate::store::atomic::{self, Existing};
use crate::store::{Store, StoreError};
use crate::verify::What;
use crate::workspace::Workspace;

/// Arguments of `bundle`.
#[derive(clap::Args)]
pub(super) struct BundleArguments {
    /// A run: its id, a beginning of it, its file, `latest` or `latest~1`; or a receipt of it (sha256:… or at least eight digits)
    #[arg(value_name = "RUN|RECEIPT")]
    what: String,
    /// Where to write it; `-` is standard output. Without it, `<run>.tar.zst` here
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
    /// Put all outputs of the run in
    #[arg(long)]
    artifacts: bool,
    /// Put this output in, which the run, or one that it rests on, made (may be given several times)
    #[arg(long, value_name = "PATH")]
    artifact: Vec<String>,
    /// Put the raw inputs in
    #[arg(long)]
    inputs: bool,
    /// Replace a file that is there already
    #[arg(long)]
    force: bool,
}

/// Makes a bundle.
pub(super) fn bundle(
    arguments: &BundleArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let folder = surroundings.folder.canonicalize_utf8();
    let folder = folder.unwrap_or_else(|_| surroundings.folder.clone());
    let run = find_run(&arguments.what, &workspace, &folder)?;
    let output = match arguments.output.as_deref() {
        Some(path) if path == "-" => None,
        Some(path) => Some(path.to_owned()),
        None => Some(Utf8PathBuf::from(format!("{run}.tar.zst"))),
    };
    if let Some(output) = &output {
        out::writable(
            output,
            surroundings,
            "name another file, or `-`, which is standard output",
        )?;
    }
    refuse_early(output.as_deref(), &folder, arguments.force)?;
    let repository = git::open(workspace.root()).ok().flatten();
    let place = Place {
        workspace: &workspace,
        store: &Store::of(workspace.root()),
        repository: repository.as_ref(),
        keys: &known_keys(surroundings)?,
    };
    let wanted = Wanted {
        artifacts: arguments.artifacts,
        named: named(&arguments.artifact, &workspace, &folder)?,
        inputs: arguments.inputs,
    };
    let planned = bundle::gather(&run, &wanted, &place).map_err(|error| not_gathered(&error))?;
    let unpacked = match &output {
        Some(path) => write_file(&planned, &folder.join(path), arguments.force)?,
        None => write_out(&planned)?,
    };
    for left in &planned.manifest.left_out {
        warn(terminal, shown(&format!("left out `{}`: {}", left.name, left.why)));
    }
    tell(&planned, output.as_deref(), &folder, unpacked, terminal);
    if !arguments.artifacts && !has_artifact(&planned) {
        terminal.say("it has receipts only; with `--artifacts` their outputs can be compared as well");
    }
    Ok(ExitCode::Success)
}

/// The id of the run that is meant.
fn find_run(what: &str, workspace: &Workspace, folder: &Utf8Path) -> Result<String, Failure> {
    let run_of = |receipt: &Receipt| receipt.statement.metadata().invocation_id.clone();
    let found: BTreeSet<String> = match runs::receipts_named(what, workspace, folder)? {
        What::Run(id) => {
            let own = read_own(workspace, &id).map_err(|error| runs::unreadable(&id, &error))?;
            BTreeSet::from([run_of(&own)])
        }
        What::Receipt(digits) => runs::begin_with(&digits, workspace)?.iter().map(run_of).collect(),
        What::File(_) | What::Called { .. } | What::Everything => BTreeSet::new(),
    };
    match found.len() {
        0 => {
            let message = format!("no receipt that can be read is called `{what}`");
            let help = Some("`madmall log` lists runs");
            Err(Failure::new(ExitCode::Inconclusive, message, help))
        }
        1 => Ok(found.into_iter().collect()),
        _ => {
            let message = format!("`{what}` may mean receipts of several runs: give more digits");
            Err(Failure::new(ExitCode::Refused, message, None))
        }
    }
}

/// Outputs as their receipts name them.
fn named(paths: &[String], workspace: &Workspace, folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, Failure> {
    let in_workspace = |text: &String| match What::parse(&format!("./{text}"), workspace, folder) {
        Ok(What::File(path)) => Ok(path),
        _ => {
            let message = format!("`{text}` is no file of the workspace `{}`", workspace.root());
            Err(Failure::new(ExitCode::Refused, message, None))
        }
    };
    paths.iter().map(in_workspace).collect()
}

/// The public keys of the user's own policy and of the user.
fn known_keys(surroundings: &Surroundings) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    keys.extend(surroundings.key_if_any()?.map(|key| key.public()));
    if let Some(trust) = runs::trust(surroundings)? {
        keys.extend(trust.keys.iter().map(|trusted| trusted.key));
    }
    Ok(keys)
}

/// What can be known before anything is read.
fn refuse_early(output: Option<&Utf8Path>, folder: &Utf8Path, force: bool) -> Result<(), Failure> {
    match output {
        None if io::stdout().is_terminal() => {
            let message = "a bundle is no text for a terminal";
            Err(Failure::new(
                ExitCode::Refused,
                message,
                Some("name a file with `-o`, or a pipe"),
            ))
        }
        Some(path) if !force && folder.join(path).symlink_metadata().is_ok() => Err(already(path)),
        _ => Ok(()),
    }
}

fn already(path: &Utf8Path) -> Failure {
    let message = format!("`{path}` is there already");
    Failure::new(ExitCode::Refused, message, Some("`--force` replaces it"))
}

fn not_gathered(error: &GatherError) -> Failure {
    match error {
        GatherError::Store(_) | GatherError::Tree(_) => environment(error),
        GatherError::NoRun(_) => Failure::of(ExitCode::Inconclusive, error),
        GatherError::Missing { .. } => {
            let help = "nothing was written; run the pipeline again, which puts outputs back, or leave it out";
            Failure::new(ExitCode::Inconclusive, error, Some(help))
        }
    }
}

/// Either side of writing to a file.
enum Unwritten {
    Store(StoreError),
    Bundle(WriteError),
}

impl From<StoreError> for Unwritten {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn write_file(planned: &Planned, path: &Utf8Path, force: bool) -> Result<u64, Failure> {
    let existing = if force { Existing::Replace } else { Existing::Keep };
    let written = atomic::write_with(path, existing, |file| {
        bundle::write(planned, BufWriter::new(file)).map_err(Unwritten::Bundle)
    });
    written.map_err(|error| match error {
        Unwritten::Store(StoreError::Write { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
            already(path)
        }
        Unwritten::Store(error) => environment(&error),
        Unwritten::Bundle(error) => not_written(&error),
    })
}

fn write_out(planned: &Planned) -> Result<u64, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let written = bundle::write(planned, &mut out).map_err(|error| not_written(&error))?;
    out.flush().map_err(|error| not_written(&WriteError::Write(error)))?;
    Ok(written)
}

fn not_written(error: &WriteError) -> Failure {
    match error {
        WriteError::Manifest(_) => Failure::of(ExitCode::Refused, error),
        _ => environment(error),
    }
}

/// Says what was written, and what whoever gets it should know.
fn tell(planned: &Planned, output: Option<&Utf8Path>, folder: &Utf8Path, unpacked: u64, terminal: &mut Terminal) {
    let count = planned.manifest.members.len();
    let limits = Limits::default();
    let mut size = None;
    if let Some(path) = output {
        size = folder.join(path).metadata().ok().map(|found| found.len());
        let bytes = size.unwrap_or_default();
        terminal.result(format_args!("wrote {path}: {count} files, {bytes} bytes"));
    }
    let is_dense = size
        .zip(limits.ratio)
        .is_some_and(|(size, ratio)| unpacked > size.saturating_mul(ratio));
    if unpacked > limits.unpacked || is_dense {
        let text = format!("whoever verifies it has to say `--max-size {unpacked}`, for it unpacks to unusually much");
        warn(terminal, text);
    }
}

fn has_artifact(planned: &Planned) -> bool {
    let mut members = planned.manifest.members.iter();
    members.any(|member| member.kind == bundle::manifest::Kind::Artifact)
}
