//! Erasing an event, or all events of a person, from every place that the project controls.
//!
//! In this order, so that an end at any moment leaves nothing that is claimed and not so:
//!
//! 1. the revocation, with the token in the place of the id: from now on nothing lets it in ([`revoke`]);
//! 2. the store and the places of outputs: what holds it by content, and what was made of it by the receipts ([`find`], [`lineage`]); last of
//!    all the files by which its events' ids are known ([`sources`]), so that what goes on later knows them too;
//! 3. a second search, which has to find nothing;
//! 4. raw files, where that is asked for ([`lines`]);
//! 5. the tombstone, signed and logged ([`tombstone`]). It is the only claim that all of this was done.
//!
//! Begun again after a crash, each step finds what is left for it. `docs/consent.md` says what a person sees of it,
//! `docs/formats/erasure.md` what the tombstone is.

pub mod find;
pub mod lineage;
pub mod lines;
pub mod needles;
pub mod revoke;
pub mod sites;
pub mod sources;
pub mod tombstone;
mod unnamed;
pub mod work;

use std::collections::BTreeSet;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use self::find::Found;
use self::needles::{Needles, spellings};
use crate::git::GitError;
use crate::log::LogError;
use crate::receipt::erasure::ErasedKind;
use crate::receipt::payload::StatementError;
use crate::store::{Store, StoreError, atomic};
use crate::workspace::Workspace;

/// What is to be erased.
pub struct Wanted {
    /// An event, or a person.
    pub of: ErasedKind,
    /// Its id, or the person's.
    pub id: String,
    /// Where events have the id of their person: a JSON pointer (RFC 6901).
    pub subject: Option<String>,
    /// How the id is found quickly.
    quick: Needles,
}

impl Wanted {
    /// The event, or the person, called `id`. `subject` is the JSON pointer to where events have their person's.
    #[must_use]
    pub fn new(of: ErasedKind, id: &str, subject: Option<String>) -> Self {
        Self {
            of,
            id: id.to_owned(),
            subject,
            quick: Needles::of(spellings(id)),
        }
    }
}

/// Why something could not be erased. Code 7, unless it says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A file could not be searched.
    #[error("cannot search `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A name that cannot be told.
    #[error("the name of `{path}` is not UTF-8: rename it, so that it can be searched")]
    Name {
        /// As well as it can be shown.
        path: Utf8PathBuf,
    },
    /// A file could not be removed or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Something holds it again after all of it was removed.
    #[error("`{path}` holds it again: somebody writes there; stop that, and type the same once more")]
    Again {
        /// The first such file.
        path: Utf8PathBuf,
    },
    /// What was done could not be signed.
    #[error("it is erased, but what says so cannot be signed: type the same once more")]
    Statement(#[source] StatementError),
    /// What was done could not be logged.
    #[error("it is erased, and what says so is written, but cannot be appended to the log")]
    Log(#[source] LogError),
}

/// Removes what was found in the store and in the places of outputs, which `places` are; a folder among these goes when it is empty. Those
/// among `last`, absolute, go last. Gives how many files were removed of each.
///
/// # Errors
///
/// [`StoreError::Write`] if something cannot be removed; what was removed before that is gone.
pub fn remove(
    found: &Found,
    places: &BTreeSet<Utf8PathBuf>,
    last: &BTreeSet<Utf8PathBuf>,
    store: &Store,
    workspace: &Workspace,
) -> Result<(u64, u64), StoreError> {
    let outputs = found.outputs.iter().map(|path| workspace.absolute(path));
    let all = found.objects.iter().chain(&found.store_files).cloned().chain(outputs);
    let (last, first): (Vec<_>, Vec<_>) = all.partition(|path| last.contains(path));
    for path in first.iter().chain(&last) {
        remove_file(path)?;
    }
    for path in &found.outputs {
        let is_of_output = |folder: &&Utf8Path| folder.ancestors().any(|place| places.contains(place));
        for folder in path.ancestors().skip(1).take_while(is_of_output) {
            // One that holds anything else stays.
            if fs::remove_dir(workspace.absolute(folder)).is_err() {
                break;
            }
        }
    }
    // What is remembered of runs with nothing to do names outputs that are gone now.
    atomic::remove_folder(&store.settled_folder())?;
    // And of pipelines, the values of their parameters.
    atomic::remove_folder(&store.plans_folder())?;
    // And of stages, what their files held.
    atomic::remove_folder(&store.known_folder())?;
    let count = |files: &[Utf8PathBuf]| files.len() as u64;
    Ok((count(&found.objects), count(&found.outputs)))
}

/// Removes a file, if it is there, and syncs the folder: an erasure is not undone by a crash.
fn remove_file(path: &Utf8Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => atomic::sync_folder(atomic::folder_of(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Write {
            path: path.to_owned(),
            source,
        }),
    }
}
