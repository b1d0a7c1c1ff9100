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
use crate::receipt::trust::{Trust, TrustedKey};
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
    #[arg(short, long, alias = "out", value_name = "FILE")]
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
    known: Vec<Known>,
    /// Of logs by keys that have ended: what of them does not count, and why.
    ended: Vec<String>,
}

/// A log, as far as it counts.
struct Known {
    reading: Reading,
    head: Head,
}

impl Known {
    /// The log as far as those who may sign it are believed: of a key that has ended, as it was then. Also why what comes after that does
    /// not count.
    fn of(reading: Reading, signers: &[&TrustedKey]) -> (Option<Self>, Option<String>) {
        let Some((checkpoint, signer)) = &reading.head else {
            return (None, None);
        };
        let head = checkpoint.head.clone();
        let Some(why) = signers[*signer].refuses_head(&head) else {
            return (Some(Self { reading, head }), None);
        };
        let mut then = signers[*signer].end().into_iter().flat_map(|end| &end.logs);
        let then = then.find(|then| then.log == head.log && reading.root_at(then.size) == Some(then.root));
        (then.cloned().map(|head| Self { reading, head }), Some(why))
    }
}

impl<'a> Logs<'a> {
    fn read(workspace: &'a Workspace, trust: Option<&Trust>, only: Option<&LogId>) -> Result<Self, Failure> {
        let (mut known, mut ended) = (Vec::new(), Vec::new());
        for log in list(workspace, &folder_of_logs()).map_err(|error| environment(&error))? {
            if only.is_some_and(|only| *only != log) {
                continue;
            }
            let signers: Vec<&TrustedKey> = trust.into_iter().flat_map(|trust| trust.signers_of(&log)).collect();
            let keys: Vec<PublicKey> = signers.iter().map(|key| key.key).collect();
            let reading = read(workspace, &place(&log), &log, &keys).map_err(|error| environment(&error))?;
            let (counts, why) = Known::of(reading, &signers);
            known.extend(counts);
            ended.extend(why);
        }
        match known.is_empty() {
            true => Err(inconclusive(&because(
                "no log by a key that is trusted is here",
                &ended,
            ))),
            false => Ok(Self {
                workspace,
                known,
                ended,
            }),
        }
    }

    fn prove_receipt(&self, id: &ReceiptId, terminal: &mut Terminal) -> Result<(Proof, String), Failure> {
        let index_in = |Known { reading, head }: &Known| {
            let mut entries = reading.entries.iter().filter(|(index, _)| *index < head.size);
            entries.find(|(_, entry)| entry == id).map(|(index, _)| *index)
        };
        let found = self.known.iter().filter_map(|known| Some((known, index_in(known)?)));
        // Of several, the longest goes on.
        let Some((known, index)) = found.max_by_key(|(known, _)| known.head.size) else {
            let message = format!("{id} is in no log by a key that is trusted");
            return Err(inconclusive(&because(&message, &self.ended)));
        };
        let signed = self.checkpoint(known, terminal)?;
        let Head { log, size, .. } = &known.head;
        let levels = known.reading.levels();
        let proof = levels.and_then(|levels| Inclusion::of(levels, index, signed));
        let proof = proof.ok_or_else(|| damaged(log))?;
        let said = format!("{id} is entry {index} of {size} in {}", log.origin());
        Ok((Proof::Inclusion(proof), said))
    }

    fn prove_history(
        &self,
        since: &str,
        surroundings: &Surroundings,
        terminal: &mut Terminal,
    ) -> Result<(Proof, String), Failure> {
        let (known, old) = match since.parse() {
            Ok(size) => {
                let [known] = &self.known[..] else {
                    let message = "several logs are here: name one with `--log`, or give a checkpoint";
                    return Err(Failure::new(ExitCode::Refused, message, None));
                };
                (known, size)
            }
            Err(_) => self.extends(&read_checkpoint(&surroundings.folder.join(since), since)?)?,
        };
        let Head { log, size, .. } = &known.head;
        if old > *size {
            let message = format!("the log {log} has {size} entries here, fewer than {old}");
            return Err(match self.ended.is_empty() {
                true => Failure::new(ExitCode::VerificationFailed, message, None),
                false => inconclusive(&because(&message, &self.ended)),
            });
        }
        let signed = self.checkpoint(known, terminal)?;
        let levels = known.reading.levels();
        let proof = levels.and_then(|levels| Consistency::of(levels, old, signed));
        let proof = proof.ok_or_else(|| damaged(log))?;
        let said = format!("{} goes on from {old} to {size} entries", log.origin());
        Ok((Proof::Consistency(proof), said))
    }

    /// The log that a checkpoint is of, if it has that root at that size.
    fn extends(&self, old: &Head) -> Result<(&Known, u64), Failure> {
        let log = &old.log;
        let Some(known) = self.known.iter().find(|known| known.head.log == *log) else {
            let message = format!("the log {log} is not here, or by nobody who is trusted");
            return Err(inconclusive(&because(&message, &self.ended)));
        };
        match known.reading.root_at(old.size) {
            Some(root) if root != old.root => {
                let message = format!(
                    "the log {log} has another root at {} entries than that checkpoint: the history was forked",
                    old.size
                );
                let help = "`madmall log compare` shows where";
                Err(Failure::new(ExitCode::VerificationFailed, message, Some(help)))
            }
            _ => Ok((known, old.size)),
        }
    }

    /// The checkpoint of the log as far as it counts, as its file has it.
    fn checkpoint(&self, known: &Known, terminal: &mut Terminal) -> Result<SignedCheckpoint, Failure> {
        let Head { log, size, .. } = &known.head;
        if !known.reading.faults.is_empty() {
            let text = format!("there is something wrong with the log {log}; `madmall verify` says what");
            warn(terminal, text);
        }
        let path = place(log).join(FileName::Checkpoint { size: *size }.path());
        let bytes = self
            .workspace
            .read(&path, MAX_CHECKPOINT)
            .map_err(|error| environment(&error))?;
        let signed = SignedCheckpoint::parse(&bytes).ok();
        let signed = signed.filter(|signed| signed.checkpoint.head == known.head);
        signed.ok_or_else(|| damaged(log))
    }
}

/// What is the matter, and what of logs does not count.
fn because(message: &str, ended: &[String]) -> String {
    let reasons = ended.iter().map(|why| format!("; {why}"));
    message.to_owned() + &reasons.collect::<String>()
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
