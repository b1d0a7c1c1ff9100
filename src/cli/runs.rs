//! What is read of `runs/` in order to be shown. Whether it is true is for `verify` to say.

use camino::{Utf8Path, Utf8PathBuf};

use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment, shown, with_causes};
use crate::exit_code::ExitCode;
use crate::history::runs::{self, NameError, RunError};
use crate::receipt::envelope::EnvelopeError;
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{Made, Outcome, ReceiptId};
use crate::receipt::trust::Trust;
use crate::store::run_files::read_each;
use crate::verify::{VerifyError, What};
use crate::workspace::Workspace;

/// The file of a run, relative to the workspace, the run's own receipt and how many stages ran; or why they cannot be read.
pub(super) type ReadRun = (Utf8PathBuf, Result<(Receipt, usize), String>);

/// Reads the files of all runs, newest first; of those that have a limit, no more than so many.
pub(super) fn read_all(workspace: &Workspace, limit: Option<usize>) -> Result<impl Iterator<Item = ReadRun>, Failure> {
    Ok(read_each(newest(workspace, limit)?, |id| {
        let read = runs::read(workspace, id).and_then(|mut receipts| {
            let own = receipts.pop().ok_or(RunError::NotOwn)?;
            Ok((own, receipts.len()))
        });
        (runs::file_of(id), read.map_err(|error| error.to_string()))
    }))
}

/// The receipts of all runs whose ids begin with `digits`, with their runs, newest first. What cannot be read is called nothing.
pub(super) fn begin_with(digits: &str, workspace: &Workspace) -> Result<Vec<Receipt>, Failure> {
    let is_wanted = |id: &ReceiptId| id.to_hex().starts_with(digits);
    let found = read_each(newest(workspace, None)?, |id| {
        runs::read_wanted(workspace, id, is_wanted).unwrap_or_default()
    });
    Ok(found.flatten().collect())
}

fn newest(workspace: &Workspace, limit: Option<usize>) -> Result<Vec<String>, Failure> {
    let mut ids = runs::run_ids(workspace).map_err(|error| environment(&error))?;
    ids.reverse();
    ids.truncate(limit.unwrap_or(usize::MAX));
    Ok(ids)
}

/// The run that the user named. A name that means none, or several, is refused, as of whatever else is named and is not there: only of
/// what names itself by its digest can it be said that it is missing.
pub(super) fn named<'a>(ids: &'a [String], name: &str) -> Result<&'a str, Failure> {
    runs::find(ids, name).map_err(|error| {
        let help = match &error {
            NameError::NoRuns => "`madmall run PIPELINE` makes some",
            NameError::Unknown(_) | NameError::TooFarBack { .. } => "`madmall log` lists runs",
            NameError::Ambiguous { .. } => "give more of its id; `madmall log` lists runs",
        };
        Failure::new(ExitCode::Refused, shown(&error.to_string()), Some(help))
    })
}

/// The receipt or the run that the user named, from `folder`, where nothing else can be meant: by the same rule.
pub(super) fn receipts_named(text: &str, workspace: &Workspace, folder: &Utf8Path) -> Result<What, Failure> {
    let refused = |error: VerifyError| {
        let help = "`madmall log` lists runs";
        Failure::new(error.exit_code(), shown(&with_causes(&error)), Some(help))
    };
    match What::parse_receipts(text, workspace, folder).map_err(refused)? {
        What::File(_) => {
            let message = format!("`{text}` is no receipt and no run");
            let help = "`madmall verify FILE` says what made a file; `madmall log` lists runs";
            Err(Failure::new(ExitCode::Refused, shown(&message), Some(help)))
        }
        what => Ok(what),
    }
}

/// A run's file that cannot be read: code 6.
pub(super) fn unreadable(id: &str, error: &runs::RunError) -> Failure {
    let message = format!("`{}`: {error}", runs::file_of(id));
    let help = "put the file back as it was committed (`git checkout -- runs/`); `madmall verify` says more";
    Failure::new(ExitCode::Inconclusive, shown(&message), Some(help))
}

/// Whose signature a receipt has, in words, and whether it is that of a key that is trusted for it. Whether a key that has ended
/// is, its logs say, which are not read here.
pub(super) fn signer(receipt: &Receipt, trust: Option<&Trust>) -> (String, bool) {
    let envelope = &receipt.envelope;
    let keyid = envelope.keyid().short();
    for key in trust.map_or(&[][..], |trust| &trust.keys) {
        match envelope.verify_signature(&key.key) {
            Ok(()) => {
                return match key.refuses(&receipt.statement) {
                    None => (format!("{} ({keyid})", key.name), true),
                    Some(limit) => (format!("{} ({keyid}), not trusted for it: {limit}", key.name), false),
                };
            }
            Err(EnvelopeError::Signature { .. }) if key.keyid == envelope.keyid() => {
                return (format!("nobody: the signature of `{}` does not fit", key.name), false);
            }
            Err(_) => {}
        }
    }
    (format!("key {keyid}, not trusted"), false)
}

/// Whom the user believes, if anybody.
pub(super) fn trust(surroundings: &Surroundings) -> Result<Option<Trust>, Failure> {
    super::verify::trusted(None, surroundings)
}

/// Whose receipts a run that `key` signs believes: those that the user's own policy trusts, or if there is none, its own.
pub(super) fn trust_of(key: &SigningKey, surroundings: &Surroundings) -> Result<Trust, Failure> {
    Ok(trust(surroundings)?.unwrap_or_else(|| Trust::own_key(&key.public())))
}

/// Who signs a run, and whose receipts it believes.
pub(super) struct Signer {
    pub(super) key: SigningKey,
    pub(super) trust: Trust,
}

impl Signer {
    /// By the user's key and policy, if there is a key already.
    ///
    /// # Errors
    ///
    /// [`Failure`] if one of them cannot be read.
    pub(super) fn if_any(surroundings: &Surroundings) -> Result<Option<Self>, Failure> {
        let key = surroundings.key_if_any()?;
        key.map(|key| Self::with(key, surroundings)).transpose()
    }

    /// The same; the key is made if there is none, and said so.
    ///
    /// # Errors
    ///
    /// [`Failure`] if one of them cannot be read, or the key cannot be kept.
    pub(super) fn get(surroundings: &Surroundings, terminal: &mut Terminal) -> Result<Self, Failure> {
        Self::with(surroundings.key(terminal)?, surroundings)
    }

    /// Whether what it signs now is believed here.
    pub(super) fn is_believed(&self) -> bool {
        let mut known = self.trust.keys.iter();
        known.any(|known| known.key == self.key.public() && known.end().is_none())
    }

    fn with(key: SigningKey, surroundings: &Surroundings) -> Result<Self, Failure> {
        let trust = trust_of(&key, surroundings)?;
        Ok(Self { key, trust })
    }
}

/// An outcome in words.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Exited(code) => format!("failed: exit code {code}"),
        Outcome::Signalled(signal) => format!("failed: signal {signal}"),
        Outcome::Refused => "refused".to_owned(),
        Outcome::BrokeDeclaration => "broke its declaration".to_owned(),
        Outcome::Failed => "failed".to_owned(),
        Outcome::Interrupted => "interrupted".to_owned(),
    }
}

/// A commit in words: its first digits, and a `+` if files used were not as in it.
pub(super) fn commit(made: &Made) -> String {
    let plus = if made.differs.is_empty() { "" } else { "+" };
    match &made.commit {
        Some(commit) => format!("{}{plus}", &commit[..12.min(commit.len())]),
        None => "-".to_owned(),
    }
}
