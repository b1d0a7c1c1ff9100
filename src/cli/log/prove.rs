//! `madmall log prove`: a proof in a file, which holds without this repository.

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::opened::find_workspace;
use crate::cli::out;
use crate::cli::show;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, environment, shown, warn};
use crate::cli::verify::trusted;
use crate::exit_code::ExitCode;
use crate::log::checkpoint::{Head, MAX_CHECKPOINT, SignedCheckpoint};
use crate::log::name::FileName;
use crate::log::proof::{Consistency, Inclusion, Proof};
use crate::log::read::{Reading, list, read};
use crate::log::{LOGS, LogId};
use crate::receipt::key::PublicKey;
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::Trust;
use crate::store::atomic;
use crate::tree::Tree as _;
use crate::workspace::Workspace;

/// Arguments of `log prove`.
#[derive(clap::Args)]
pub(super) struct ProveArguments {
    /// Prove that the log has this receipt (sha256:… or at least eight digits), or that of this run
    #[arg(
        value_name = "RECEIPT|RUN",
        required_unless_present = "since",
        conflicts_with = "since"
    )]
    receipt: Option<String>,
    /// Prove that the log extends what it was: a checkpoint that was kept, or a number of entries
    #[arg(long, value_name = "CHECKPOINT|SIZE")]
    since: Option<String>,
    /// Of this log, if several have it
    #[arg(long, value_name = "ID", value_parser = parse_log)]
    log: Option<LogId>,
    /// Write it to this file (`.tlog-proof`), instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<Utf8PathBuf>,
    /// Whose checkpoints count, instead of your own policy: a file (PEM, SSH public key, policy) or 64 hexadecimal digits
    #[arg(long, value_name = "KEY")]
    trust: Option<String>,
}

fn parse_log(text: &str) -> Result<LogId, String> {
    let log = LogId::of_origin(text).or_else(|| LogId::parse(text));
    log.ok_or_else(|| "a log is named by 16 hexadecimal digits, as its folder in `runs/log` is".to_owned())
}

/// Writes the proof.
pub(super) fn prove(
    arguments: &ProveArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let out = arguments.output.as_deref();
    let out = out
        .map(|out| out::writable(out, surroundings, out::NOT_NAMED))
        .transpose()?;
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let trust = trusted(arguments.trust.as_deref(), surroundings)?;
    let logs = Logs::read(&workspace, trust.as_ref(), arguments.log.as_ref())?;
    let (proof, said) = match (&arguments.receipt, &arguments.since) {
        (Some(receipt), _) => {
            let id = match receipt.parse() {
                Ok(id) => id,
                Err(_) => show::find(receipt, surroundings)?.id,
            };
            logs.prove_receipt(&id, terminal)?
        }
        (None, Some(since)) => logs.prove_history(since, surroundings, terminal)?,
        (None, None) => return Err(Failure::new(ExitCode::Refused, "nothing to prove is named", None)),
    };
    let bytes = proof.to_bytes();
    match (&out, &arguments.output) {
        (Some(path), Some(file)) => {
            atomic::write(path, &bytes).map_err(|error| environment(&error))?;
            terminal.say(shown(&format!("{said}: `{file}`")));
        }
        _ => terminal.bytes(&bytes),
    }
    Ok(ExitCode::Success)
}

/// The logs that have a head by somebody who is trusted.
struct Logs<'a> {
    workspace: &'a Workspace,
    readings: Vec<(LogId, Reading)>,
}

impl<'a> Logs<'a> {
    fn read(workspace: &'a Workspace, trust: Option<&Trust>, only: Option<&LogId>) -> Result<Self, Failure> {
        let mut readings = Vec::new();
        for log in list(workspace, &folder_of_logs()).map_err(|error| environment(&error))? {
            if only.is_some_and(|only| *only != log) {
                continue;
            }
            let signers = trust.into_iter().flat_map(|trust| trust.signers_of(&log));
            let keys: Vec<PublicKey> = signers.map(|key| key.key).collect();
            let reading = read(workspace, &place(&log), &log, &keys).map_err(|error| environment(&error))?;
            if reading.head.is_some() {
                readings.push((log, reading));
            }
        }
        match readings.is_empty() {
            true => Err(inconclusive("no log by a key that is trusted is here")),
            false => Ok(Self { workspace, readings }),
        }
    }

    fn prove_receipt(&self, id: &ReceiptId, terminal: &mut Terminal) -> Result<(Proof, String), Failure> {
        let index_in = |reading: &Reading| {
            reading
                .entries
                .iter()
                .find(|(_, entry)| entry == id)
                .map(|(index, _)| *index)
        };
        let found = self
            .readings
            .iter()
            .filter_map(|(log, reading)| Some((log, reading, index_in(reading)?)));
        // Of several, the longest goes on.
        let Some((log, reading, index)) = found.max_by_key(|(_, reading, _)| size_of(reading)) else {
            let message = format!("{id} is in no log by a key that is trusted");
            return Err(inconclusive(&message));
        };
        let signed = self.checkpoint(log, reading, terminal)?;
        let proof = reading.levels().and_then(|levels| Inclusion::of(levels, index, signed));
        let proof = proof.ok_or_else(|| damaged(log))?;
        let said = format!("{id} is entry {index} of {} in {}", size_of(reading), log.origin());
        Ok((Proof::Inclusion(proof), said))
    }

    fn prove_history(
        &self,
        since: &str,
        surroundings: &Surroundings,
        terminal: &mut Terminal,
    ) -> Result<(Proof, String), Failure> {
        let (log, reading, old) = match since.parse() {
            Ok(size) => {
                let [(log, reading)] = &self.readings[..] else {
                    let message = "several logs are here: name one with `--log`, or give a checkpoint";
                    return Err(Failure::new(ExitCode::Refused, message, None));
                };
                (log, reading, size)
            }
            Err(_) => self.extends(&read_checkpoint(&surroundings.folder.join(since), since)?)?,
        };
        if old > size_of(reading) {
            let message = format!("the log {log} has {} entries here, fewer than {old}", size_of(reading));
            return Err(Failure::new(ExitCode::VerificationFailed, message, None));
        }
        let signed = self.checkpoint(log, reading, terminal)?;
        let proof = reading.levels().and_then(|levels| Consistency::of(levels, old, signed));
        let proof = proof.ok_or_else(|| damaged(log))?;
        let said = format!("{} goes on from {old} to {} entries", log.origin(), size_of(reading));
        Ok((Proof::Consistency(proof), said))
    }

    /// The log that a checkpoint is of, if it has that root at that size.
    fn extends(&self, old: &Head) -> Result<(&LogId, &Reading, u64), Failure> {
        let found = self.readings.iter().find(|(log, _)| *log == old.log);
        let Some((log, reading)) = found else {
            let message = format!("the log {} is not here, or by nobody who is trusted", old.log);
            return Err(inconclusive(&message));
        };
        match reading.root_at(old.size) {
            Some(root) if root != old.root => {
                let message = format!(
                    "the log {log} has another root at {} entries than that checkpoint: the history was forked",
                    old.size
                );
                let help = "`madmall log compare` shows where";
                Err(Failure::new(ExitCode::VerificationFailed, message, Some(help)))
            }
            _ => Ok((log, reading, old.size)),
        }
    }

    /// The log's largest checkpoint, as its file has it.
    fn checkpoint(&self, log: &LogId, reading: &Reading, terminal: &mut Terminal) -> Result<SignedCheckpoint, Failure> {
        if !reading.faults.is_empty() {
            let text = format!("there is something wrong with the log {log}; `madmall verify` says what");
            warn(terminal, text);
        }
        let path = place(log).join(FileName::Checkpoint { size: size_of(reading) }.path());
        let bytes = self
            .workspace
            .read(&path, MAX_CHECKPOINT)
            .map_err(|error| environment(&error))?;
        SignedCheckpoint::parse(&bytes).map_err(|_| damaged(log))
    }
}

fn size_of(reading: &Reading) -> u64 {
    reading.head.as_ref().map_or(0, |(checkpoint, _)| checkpoint.head.size)
}

fn folder_of_logs() -> Utf8PathBuf {
    Utf8Path::new("runs").join(LOGS)
}

fn place(log: &LogId) -> Utf8PathBuf {
    folder_of_logs().join(log.to_string())
}

/// What a checkpoint that was kept says.
fn read_checkpoint(path: &Utf8Path, named: &str) -> Result<Head, Failure> {
    let bytes = super::check::read_file(path, named, MAX_CHECKPOINT)?;
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| {
        let message = format!("`{}` {error}", shown(named));
        let help = "`--since` takes a checkpoint's file, or a number of entries";
        Failure::new(ExitCode::Refused, message, Some(help))
    })?;
    Ok(signed.checkpoint.head)
}

fn inconclusive(message: &str) -> Failure {
    let help = "`madmall verify` says what is here and what it is worth";
    Failure::new(ExitCode::Inconclusive, message, Some(help))
}

fn damaged(log: &LogId) -> Failure {
    let message = format!("the files of the log {log} do not give what its checkpoint says");
    Failure::new(
        ExitCode::VerificationFailed,
        message,
        Some("`madmall verify` says which"),
    )
}
