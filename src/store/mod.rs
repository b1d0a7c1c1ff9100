//! The store, `.madmall/`: bytes by digest, what receipts say by action, what files were when they were last hashed.
//!
//! ```text
//! .madmall/
//!   .gitignore        `*`: nothing in here is committed
//!   cas/ab/cdef…      artifacts, named by their BLAKE3 (keyed, if they are personal), read-only
//!   populations/      tokens of the events that ingests let in, named by the root that a receipt has
//!   trees/ab/cdef…    what output folders hold, named by the BLAKE3 of the listing
//!   believed          what the receipts under runs/ say, checked once (an index; may be dropped)
//!   stat-cache        digests of files by what the file system says of them (may be dropped)
//!   settled/          what runs looked at that found nothing to do (may be dropped)
//!   plans/            pipelines as they were resolved, and what that looked at (may be dropped)
//!   pending/          receipts of a run that is going on, or was killed
//!   log/              the copy of the append-only history that is appended to
//!   output/<run>/     logs of stages
//!   displaced/<run>/  bytes found in an output's place that no believed receipt claims
//!   scratch/          execution roots; empty between runs
//!   lock              held by the one run that is going on
//! ```

use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use crate::commitment::{PersonalKey, is_named};
use crate::digest::Digest;
use crate::listing::{ArtifactDigests, ListedFile, ListingDigests};

use root::Root;

pub mod atomic;
pub mod believed;
pub mod cas;
pub(crate) mod copy;
pub mod durable;
mod ended;
pub mod known;
pub mod lock;
pub mod looks;
pub mod plans;
pub(crate) mod private;
mod root;
pub mod run_files;
pub mod sealed;
pub mod settled;
pub mod stage_logs;
pub mod stat_cache;
pub mod trees;
mod unfinished;
pub mod usage;
pub mod watched;

/// Why the store could not be read or written. Exit code 7.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file or folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A part of the store is a link.
    #[error(
        "`{path}` is a symbolic link, and no part of the store may be one: remove it (what is missing is made again), or put what it \
         leads to in its place"
    )]
    Link {
        /// The link.
        path: Utf8PathBuf,
    },
    /// An object's bytes are not what its name says.
    #[error("the stored object {name} is damaged: its bytes hash to {found}")]
    Damaged {
        /// The digest it is stored under.
        name: crate::digest::Digest,
        /// The digest of its bytes.
        found: crate::digest::Digest,
    },
}

/// What stands in the name of a file of pending receipts that was put aside, because it cannot be published as it is.
pub(crate) const ASIDE: &str = ".damaged";

/// No cache that is worth reading is longer.
const MAX_CACHE: u64 = 1 << 30;

/// The bytes of the file at `path`, if it is one (a pipe would be waited for without an end) and no longer than `limit`.
fn read_bounded(path: &Utf8Path, limit: u64) -> Option<Vec<u8>> {
    read_file(path, limit).ok()
}

/// The bytes of the file at `path`. An error of kind `InvalidData` says that it is none (links are not followed, and a pipe or a device would be
/// read without an end), or longer than `limit`.
pub(crate) fn read_file(path: &Utf8Path, limit: u64) -> io::Result<Vec<u8>> {
    let found = fs::symlink_metadata(path)?;
    let invalid = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    if !found.is_file() {
        return invalid("it is no regular file");
    }
    if found.len() > limit {
        return invalid("it is longer than anything that belongs there");
    }
    read_sized(File::open(path)?, found.len())
}

/// Reads a `file` that should be `size` bytes long, and one byte more if it is longer. With room for that its end is seen without asking
/// for more, which reading to the end of a file of any length does eight times for a small one.
pub(crate) fn read_sized(file: File, size: u64) -> io::Result<Vec<u8>> {
    /// What reading to the end wants to have left.
    const SPARE: usize = 64;
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + SPARE);
    file.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where the store of a workspace lies.
#[derive(Clone, Debug)]
pub struct Store {
    root: Utf8PathBuf,
    /// What objects are named by that are personal; without it those cannot be used.
    key: Option<PersonalKey>,
}

impl Store {
    /// The store of the workspace at `workspace`; nothing is made or read yet.
    #[must_use]
    pub fn of(workspace: &Utf8Path) -> Self {
        Self {
            root: workspace.join(".madmall"),
            key: None,
        }
    }

    /// The same; objects that are personal are named by keyed digests, by `key`.
    #[must_use]
    pub fn keyed_by(self, key: Option<PersonalKey>) -> Self {
        Self { key, ..self }
    }

    /// What objects are named by that are personal, if it is known.
    #[must_use]
    pub fn key(&self) -> Option<&PersonalKey> {
        self.key.as_ref()
    }

    /// Makes the folder and its `.gitignore`, if they are not there.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if that fails; else like [`Store::refuse_links`].
    pub fn create(&self) -> Result<(), StoreError> {
        match root::look(&self.root)? {
            Root::Folder { is_ignored: true } => Ok(()),
            Root::NoFolder => {
                let source = io::Error::new(
                    io::ErrorKind::NotADirectory,
                    "something that is no folder has this name; move it away, and the folder is made",
                );
                let path = self.root.clone();
                Err(StoreError::Write { path, source })
            }
            Root::Missing | Root::Folder { is_ignored: false } => atomic::write(&self.root.join(root::IGNORE), b"*\n"),
        }
    }

    /// Fails if `.madmall` is a link, or something directly in it: what is done in the store would be done somewhere else.
    ///
    /// # Errors
    ///
    /// [`StoreError::Link`] that names it; [`StoreError::Read`] if the folder cannot be listed.
    pub fn refuse_links(&self) -> Result<(), StoreError> {
        root::look(&self.root).map(drop)
    }

    /// `.madmall` itself.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Bytes by digest.
    #[must_use]
    pub fn cas(&self) -> cas::Cas {
        cas::Cas::at(self.root.join("cas")).keyed_by(self.key.clone())
    }

    /// Whether an object with the plain BLAKE3 `found` may be called `name`.
    #[must_use]
    pub fn is_named(&self, found: Digest, name: Digest) -> bool {
        is_named(found, name, self.key())
    }

    /// What output folders hold.
    #[must_use]
    pub fn trees(&self) -> trees::Trees {
        trees::Trees::at(self.root.join("trees")).keyed_by(self.key.clone())
    }

    /// Whether the store has all that it takes to put an artifact in place. Its bytes are checked when they are used.
    #[must_use]
    pub fn holds(&self, artifact: &ArtifactDigests) -> bool {
        let cas = self.cas();
        match artifact.is_folder() {
            false => cas.contains(artifact.blake3()),
            true => self
                .files_of(artifact)
                .is_some_and(|files| files.par_iter().all(|file| cas.contains(file.digests.blake3))),
        }
    }

    /// The same, and every byte is hashed.
    #[must_use]
    pub fn holds_whole(&self, artifact: &ArtifactDigests) -> bool {
        let cas = self.cas();
        match artifact.is_folder() {
            false => cas.is_whole(artifact.blake3()),
            true => self
                .files_of(artifact)
                .is_some_and(|files| files.par_iter().all(|file| cas.is_whole(file.digests.blake3))),
        }
    }

    /// The files of the folder that receipts know by `listing`, if its listing is here and gives both digests.
    #[must_use]
    pub fn folder(&self, listing: &ListingDigests) -> Option<Vec<ListedFile>> {
        let (files, found) = trees::read_file(&self.trees().path(listing.blake3)).ok()?;
        (found == *listing).then_some(files)
    }

    /// The files of a folder, if its listing is here and gives both digests of `artifact`. None of a file, nor of what is keyed by
    /// something else than this store.
    #[must_use]
    pub fn files_of(&self, artifact: &ArtifactDigests) -> Option<Vec<ListedFile>> {
        match artifact {
            ArtifactDigests::File(_) => None,
            ArtifactDigests::Folder(listing) => self.folder(listing),
            ArtifactDigests::Keyed(commitment) => {
                let key = self.key.as_ref()?;
                let (files, found) = trees::read_file(&self.trees().path(commitment.blake3)).ok()?;
                (key.several(&found) == *commitment).then_some(files)
            }
        }
    }

    /// The tokens of events that ingests let in.
    #[must_use]
    pub fn populations_folder(&self) -> Utf8PathBuf {
        self.root.join("populations")
    }

    /// The index of receipts.
    #[must_use]
    pub fn believed_file(&self) -> Utf8PathBuf {
        self.root.join("believed")
    }

    /// The stat cache's file.
    #[must_use]
    pub fn stat_cache_file(&self) -> Utf8PathBuf {
        self.root.join("stat-cache")
    }

    /// Where it is remembered what runs looked at that found nothing to do.
    #[must_use]
    pub fn settled_folder(&self) -> Utf8PathBuf {
        self.root.join("settled")
    }

    /// Where it is remembered what pipelines are, resolved.
    #[must_use]
    pub fn plans_folder(&self) -> Utf8PathBuf {
        self.root.join("plans")
    }

    /// Where it is remembered what was known of stages when runs ended.
    #[must_use]
    pub fn known_folder(&self) -> Utf8PathBuf {
        self.root.join("known")
    }

    /// Where the receipts of a run wait until it ends.
    #[must_use]
    pub fn pending_folder(&self) -> Utf8PathBuf {
        self.root.join("pending")
    }

    /// Whether a run that goes on, or died, has receipts that are not published. What was put aside there is none.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        let pending = self.pending_folder().read_dir_utf8();
        let is_aside = |entry: camino::Utf8DirEntry| entry.file_name().contains(ASIDE);
        pending.is_ok_and(|mut pending| pending.any(|entry| !entry.is_ok_and(is_aside)))
    }

    /// The copy of the append-only history that is appended to.
    #[must_use]
    pub fn log_folder(&self) -> Utf8PathBuf {
        self.root.join("log")
    }

    /// Where the logs of a run's stages lie.
    #[must_use]
    pub fn output_folder(&self, run: &str) -> Utf8PathBuf {
        self.root.join("output").join(run)
    }

    /// Where a run moves bytes that it must not lose.
    #[must_use]
    pub fn displaced_folder(&self, run: &str) -> Utf8PathBuf {
        self.root.join("displaced").join(run)
    }

    /// Where stages run.
    #[must_use]
    pub fn scratch_folder(&self) -> Utf8PathBuf {
        self.root.join("scratch")
    }

    /// The lock's file.
    #[must_use]
    pub fn lock_file(&self) -> Utf8PathBuf {
        self.root.join("lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_length_than_it_should_have_is_read_as_another() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8Path::from_path(folder.path()).expect("UTF-8").join("file");
        atomic::write(&path, b"1234").expect("written");
        let read = |size| read_sized(File::open(&path).expect("opened"), size).expect("read");
        assert_eq!(read(4), b"1234");
        assert_eq!(
            read(3),
            b"1234",
            "one byte more than it should have says that it has grown"
        );
        assert_eq!(read(0), b"1");
        assert_eq!(read(1000), b"1234");
    }
}
