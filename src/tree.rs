//! A tree of files: the working folder, or a commit. What a pipeline is resolved against.

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Digests;
use crate::shared_path::SharedPath;

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link that leads out of the tree, or nowhere.
    BadLink,
    /// A socket, a device, a pipe, a submodule.
    Other,
}

/// Something below a folder that is no folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below {
    /// Its path, relative to the root of the tree.
    pub path: SharedPath,
    /// What it is; of a link, what it leads to. `None` of a regular file of which no more was asked.
    pub kind: Option<EntryKind>,
    /// Whether `path` is known to be its real path.
    pub is_real: bool,
}

impl Below {
    /// What stands at `path`; its real path was not asked for.
    #[must_use]
    pub fn asked(path: impl Into<SharedPath>, kind: EntryKind) -> Self {
        Self {
            path: path.into(),
            kind: Some(kind),
            is_real: false,
        }
    }

    /// Whether it is a file, or a link to one.
    #[must_use]
    pub fn is_file(&self) -> bool {
        matches!(self.kind, None | Some(EntryKind::File { .. }))
    }
}

/// Why a tree could not be read.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The file or folder could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Relative to the tree's root.
        path: Utf8PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file is larger than the reader wanted to take.
    #[error("`{path}` is larger than {limit} bytes")]
    TooLarge {
        /// Relative to the tree's root.
        path: Utf8PathBuf,
        /// What the reader would have taken.
        limit: u64,
    },
    /// A name that is no UTF-8.
    #[error("a name in `{folder}` is not UTF-8: `{lossy}`")]
    NotUtf8 {
        /// The folder, relative to the tree's root.
        folder: Utf8PathBuf,
        /// The name, with what is not UTF-8 replaced.
        lossy: String,
    },
}

/// A tree of files, read only. Paths are relative to its root, in normal form (no `.` or `..`, `/` between names).
///
/// The working folder ([`crate::workspace::Workspace`], or watched: [`crate::store::watched::Watched`]), a commit
/// ([`crate::git::CommitTree`]), a bundle, and what a rerun is built from.
pub trait Tree {
    /// What stands at `path`, or `None`. A link that stays inside the tree counts as what it leads to.
    ///
    /// # Errors
    ///
    /// [`TreeError::Read`] if that cannot be found out.
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError>;

    /// The path, in normal form, of what `path` leads to when every link on the way, and its own, is followed; `None` if
    /// nothing is there or it lies outside of the tree. Two paths with the same real path are one file.
    ///
    /// # Errors
    ///
    /// [`TreeError::Read`] if that cannot be found out.
    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError>;

    /// The whole file at `path`, if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if it cannot be read or is larger.
    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError>;

    /// Every file below `folder` (at any depth, never through a link to a folder), sorted by the bytes of its path,
    /// with its kind. Folders themselves are not listed.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if a folder cannot be read or a name is not UTF-8.
    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError>;

    /// The names of all that is in `folder`, sorted, for advice to whoever may have meant one of them; none where nobody can be advised. What is
    /// no UTF-8 is left out.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if the folder cannot be read.
    fn names_in(&self, _folder: &Utf8Path) -> Result<Vec<String>, TreeError> {
        Ok(Vec::new())
    }
}

/// What is verified: a folder on disk, or a bundle. Everything that is read in order to verify is read through this, so that what
/// holds for one holds for the other. Nothing is ever written.
///
/// Two implementations: [`crate::workspace::Workspace`] and [`crate::bundle::Bundle`].
pub trait Site: Tree + Sync {
    /// Both digests of the file at `path`, from all of its bytes; no cache is asked.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if it cannot be read.
    fn digests(&self, path: &Utf8Path) -> Result<Digests, TreeError>;

    /// What lies below `folder`, at most `depth` folders deep and at most `most` entries, whatever it is and in no certain
    /// order; no link is followed. Empty if there is no such folder.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if it cannot be listed.
    fn entries(&self, folder: &Utf8Path, depth: usize, most: usize) -> Result<Vec<Entry>, TreeError>;

    /// The folder on disk, in which a git repository may be looked for; none of a bundle.
    fn folder(&self) -> Option<&Utf8Path>;

    /// Whether it holds a part of a project only: a receipt that a log lists may then be elsewhere, and what is here is here
    /// because a receipt speaks of it.
    fn is_excerpt(&self) -> bool {
        self.excerpt_of().is_some()
    }

    /// Of such a part, the run that it was made for.
    fn excerpt_of(&self) -> Option<&str> {
        None
    }

    /// The same as a tree.
    fn as_tree(&self) -> &dyn Tree;
}

/// One name in a folder of a [`Site`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Relative to the site; what is not UTF-8 in it is replaced.
    pub path: Utf8PathBuf,
    /// What it is itself, links not followed.
    pub kind: EntryType,
    /// Whether its path is spelled as it is here.
    pub is_utf8: bool,
}

/// What an [`Entry`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryType {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, a socket, a device, a pipe.
    Other,
}
