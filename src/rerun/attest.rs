//! A countersignature: the receipts of a run that came out the same, signed once more by whoever ran it again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;

use camino::Utf8PathBuf;

use crate::exec::runs_folder;
use crate::log::{self, LogError, News, Publication};
use crate::receipt::envelope::sign;
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::{MAX_RUN_FILE, RunFile, RunFileName};
use crate::receipt::statement::{Outcome, ReceiptId};
use crate::store::{Store, StoreError, atomic};
use crate::verify::Rested;
use crate::verify::report::{RerunStage, RerunVerdict};
use crate::workspace::Workspace;

/// How many digits of the keyid stand in the name of the file.
const DIGITS: usize = 8;

/// Why a run was not countersigned.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// Not everything that it names came out the same.
    #[error("run `{run}` is not countersigned: {why}")]
    NotReproduced {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// Its own file has been signed by the same key, or it was countersigned before.
    #[error("your key has signed run `{run}` already")]
    Already {
        /// The run.
        run: String,
    },
    /// The file of the run cannot be used.
    #[error("cannot read the receipts of run `{run}`: {why}")]
    Read {
        /// The run.
        run: String,
        /// Why.
        why: String,
    },
    /// The file could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The countersignature is there, but not in the log.
    #[error("the run is countersigned, but that cannot be appended to the log")]
    Log(#[from] LogError),
}

/// Countersigns the receipts of the run `run`, which are among those `verified`, and of which `stages` is what running it again gave, and
/// appends them to the log of this clone. Gives the new file, relative to the workspace. The workspace's lock must be held.
///
/// # Errors
///
/// [`AttestError`]; nothing is written unless every stage of the run came out the same, and its file holds what was verified and nothing else.
pub fn attest(
    workspace: &Workspace,
    run: &str,
    (verified, stages): (&[Rested], &[RerunStage]),
    key: &SigningKey,
) -> Result<Utf8PathBuf, AttestError> {
    let folder = runs_folder(workspace);
    let own = RunFileName {
        run,
        countersigner: None,
        is_erasure: false,
    };
    let unreadable = |why: String| AttestError::Read {
        run: run.to_owned(),
        why,
    };
    let mut bytes = Vec::new();
    let file = File::open(folder.join(own.to_name())).map_err(|error| unreadable(error.to_string()))?;
    file.take(MAX_RUN_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    let file = RunFile::parse(&bytes).map_err(|error| unreadable(error.to_string()))?;
    as_verified(run, &file, verified)?;
    all_the_same(run, &file, stages)?;
    let keyid = key.public().keyid();
    if file.receipts().iter().all(|receipt| receipt.envelope.keyid() == keyid) {
        return Err(AttestError::Already { run: run.to_owned() });
    }
    let mut lines = String::new();
    let mut ids = Vec::new();
    for receipt in file.receipts() {
        let signed = sign(&receipt.statement, key).map_err(|error| unreadable(error.to_string()))?;
        ids.push(signed.id);
        lines.push_str(&signed.line);
    }
    let digits = &keyid.to_string()[..DIGITS];
    let name = RunFileName {
        run,
        countersigner: Some(digits),
        is_erasure: false,
    };
    let path = folder.join(name.to_name());
    // What lies under runs/ never changes.
    if path.symlink_metadata().is_ok() {
        return Err(AttestError::Already { run: run.to_owned() });
    }
    let publication = Publication::begin(&folder);
    atomic::write(&path, lines.as_bytes())?;
    let news = News::Run(publication.end(&folder, name.to_name(), ids));
    log::catch_up(&Store::of(workspace.root()), &folder, key, &news)?;
    Ok(path.strip_prefix(workspace.root()).unwrap_or(&path).to_owned())
}

/// Whether the file holds just what was verified: to run it again takes long, and whoever can write to the folder could have
/// put another in its place meanwhile.
fn as_verified(run: &str, file: &RunFile, verified: &[Rested]) -> Result<(), AttestError> {
    let trusted = verified.iter().filter(|rested| rested.is_asked && rested.is_trusted);
    let trusted: BTreeSet<ReceiptId> = trusted.map(|rested| rested.id).collect();
    match file.receipts().iter().find(|receipt| !trusted.contains(&receipt.id)) {
        None => Ok(()),
        Some(receipt) => Err(AttestError::NotReproduced {
            run: run.to_owned(),
            why: format!(
                "the receipt {} in its file is none of those that were verified: it came there since, or nobody who is trusted signed it",
                receipt.id
            ),
        }),
    }
}

/// Whether the run succeeded and each receipt that it names is of a stage that came out the same.
fn all_the_same(run: &str, file: &RunFile, stages: &[RerunStage]) -> Result<(), AttestError> {
    let not = |why: String| AttestError::NotReproduced {
        run: run.to_owned(),
        why,
    };
    let identical = stages.iter().filter(|stage| stage.verdict == RerunVerdict::Identical);
    let identical: BTreeSet<&str> = identical.map(|stage| stage.receipt.as_str()).collect();
    let same = |id: &ReceiptId| identical.contains(id.to_string().as_str());
    let Some((own, of_stages)) = file.receipts().split_last() else {
        return Err(not("its file is empty".to_owned()));
    };
    if own.statement.internal().outcome != Outcome::Succeeded || own.statement.metadata().invocation_id != run {
        return Err(not("it did not succeed".to_owned()));
    }
    for (stage, id) in own.statement.receipts() {
        if !same(&id) {
            return Err(not(format!("`{stage}` was not seen to come out the same")));
        }
    }
    match of_stages.iter().find(|receipt| !same(&receipt.id)) {
        Some(receipt) => Err(not(format!(
            "the receipt {} was not seen to come out the same",
            receipt.id
        ))),
        None => Ok(()),
    }
}
