//! `madmall log check`: whether a proof holds, from its file, the receipt's id or the old checkpoint, and the key.

use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{ERROR, Failure, GOOD, Terminal, WARNING, shown};
use crate::cli::verify::trusted;
use crate::exit_code::ExitCode;
use crate::log::checkpoint::{Head, MAX_CHECKPOINT, Signed, SignedCheckpoint};
use crate::log::proof::{MAX_PROOF, Proof};
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::{Trust, TrustRoot, TrustedKey};

/// Arguments of `log check`.
#[derive(clap::Args)]
pub(super) struct CheckArguments {
    /// The file with the proof
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
    /// The receipt that the log is to have: sha256:…, the SHA-256 of its payload
    #[arg(long, value_name = "ID", conflicts_with = "old")]
    receipt: Option<ReceiptId>,
    /// The checkpoint that the log is to extend
    #[arg(long, value_name = "CHECKPOINT")]
    old: Option<Utf8PathBuf>,
    /// Believe this key, instead of your own policy: a file (PEM, SSH public key, policy) or 64 hexadecimal digits
    #[arg(long, value_name = "KEY")]
    trust: Option<String>,
}

/// What was found: how to end, and why.
type Verdict = (ExitCode, String);

/// Checks the proof.
pub(super) fn check(
    arguments: &CheckArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let trust = trusted(arguments.trust.as_deref(), surroundings)?;
    let folder = &surroundings.folder;
    let bytes = read_file(&folder.join(&arguments.file), arguments.file.as_str(), MAX_PROOF)?;
    let old = match &arguments.old {
        Some(file) => Some(read_file(&folder.join(file), file.as_str(), MAX_CHECKPOINT)?),
        None => None,
    };
    let (code, text) = match judge(&bytes, arguments.receipt.as_ref(), old.as_deref(), trust.as_ref()) {
        Ok(text) => (ExitCode::Success, text),
        Err(verdict) => verdict,
    };
    let text = shown(&text);
    match code {
        ExitCode::Success => terminal.result(format_args!("{GOOD}holds{GOOD:#}: {text}")),
        ExitCode::VerificationFailed => terminal.result(format_args!("{ERROR}does not hold{ERROR:#}: {text}")),
        _ => terminal.result(format_args!("{WARNING}not checked{WARNING:#}: {text}")),
    }
    Ok(code)
}

fn judge(
    bytes: &[u8],
    receipt: Option<&ReceiptId>,
    old: Option<&[u8]>,
    trust: Option<&Trust>,
) -> Result<String, Verdict> {
    let failed = |text: String| (ExitCode::VerificationFailed, text);
    let unchecked = |text: &str| (ExitCode::Inconclusive, text.to_owned());
    let proof = Proof::parse(bytes).map_err(|error| failed(format!("the file {error}")))?;
    let signer = signer(proof.checkpoint(), trust)?;
    let head = &proof.checkpoint().checkpoint.head;
    let of = format!(
        "{} with {} entries, signed by {}",
        head.log.origin(),
        head.size,
        signer.name
    );
    match &proof {
        Proof::Inclusion(proof) => {
            let id =
                receipt.ok_or_else(|| unchecked("it proves that a log has a receipt; say which with `--receipt`"))?;
            match proof.holds_for(id) {
                true => counts(signer, head, trust).map(|()| format!("{id} is entry {} of {of}", proof.index)),
                false => Err(failed(format!("{id} is not entry {} of {of}", proof.index))),
            }
        }
        Proof::Consistency(proof) => {
            let missing = || unchecked("it proves that a log extends what it was; give that checkpoint with `--old`");
            let old = SignedCheckpoint::parse(old.ok_or_else(missing)?);
            let old = old.map_err(|error| failed(format!("the old checkpoint {error}")))?;
            // A log has one key: that of another would be another log.
            if old.signed_by(&signer.key) != Signed::Yes {
                let text = format!(
                    "the old checkpoint is not signed by {}, who signed the new one",
                    signer.name
                );
                return Err(failed(text));
            }
            let size = old.checkpoint.head.size;
            match proof.holds_from(&old.checkpoint.head) {
                true => counts(signer, head, trust).map(|()| format!("its {size} entries are the first of {of}")),
                false => Err(failed(format!("its {size} entries are not the first of {of}"))),
            }
        }
    }
}

/// Who of those that are trusted signed a checkpoint.
fn signer<'a>(checkpoint: &SignedCheckpoint, trust: Option<&'a Trust>) -> Result<&'a TrustedKey, Verdict> {
    let nobody = || {
        (
            ExitCode::Inconclusive,
            "nobody is trusted: name a key with `--trust`".to_owned(),
        )
    };
    let trust = trust.ok_or_else(nobody)?;
    let log = &checkpoint.checkpoint.head.log;
    let mut is_changed = false;
    for key in trust.signers_of(log) {
        match checkpoint.signed_by(&key.key) {
            Signed::Yes => return Ok(key),
            Signed::Wrongly | Signed::InAnothersName => is_changed = true,
            Signed::No => {}
        }
    }
    if is_changed {
        let text = "its checkpoint names a trusted key, but the signature does not fit: it was changed";
        return Err((ExitCode::VerificationFailed, text.to_owned()));
    }
    let text = format!("the checkpoint of {} is by a key that is not trusted", log.origin());
    Err((untrusted(Some(trust)), text))
}

/// Whether what `signer` says of a log counts: the key may have ended.
fn counts(signer: &TrustedKey, head: &Head, trust: Option<&Trust>) -> Result<(), Verdict> {
    match signer.refuses_head(head) {
        Some(why) => Err((untrusted(trust), why)),
        None => Ok(()),
    }
}

/// How to end where all fits, and it is by nobody who is believed.
fn untrusted(trust: Option<&Trust>) -> ExitCode {
    match trust.map(|trust| &trust.root) {
        Some(TrustRoot::Given { .. }) => ExitCode::VerificationFailed,
        _ => ExitCode::Inconclusive,
    }
}

/// A file that somebody gave, of at most `limit` bytes.
pub(super) fn read_file(path: &Utf8Path, named: &str, limit: u64) -> Result<Vec<u8>, Failure> {
    let refused = |why: &str| {
        Failure::new(
            ExitCode::Refused,
            format!("cannot read `{}`: {why}", shown(named)),
            None,
        )
    };
    // A pipe or a device would be waited for, or never end.
    let found = path.metadata().map_err(|error| refused(&error.to_string()))?;
    if !found.is_file() {
        return Err(refused("it is no file"));
    }
    let file = std::fs::File::open(path).map_err(|error| refused(&error.to_string()))?;
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| refused(&error.to_string()))?;
    match bytes.len() as u64 > limit {
        true => Err(refused(&format!("it is longer than {limit} bytes"))),
        false => Ok(bytes),
    }
}
