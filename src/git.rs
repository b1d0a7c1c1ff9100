//! The repository that a workspace lies in, and the commits that it has. Read only; nothing is fetched, and libgit2's check of
//! who owns a repository (`safe.directory`) stays on.
//!
//! Bytes in a commit are compared with bytes on disk as they lie: no filter is applied and no line end converted. Where
//! `core.autocrlf` or a `text` attribute rewrites files on checkout, every such file counts as differing; `* -text` in
//! `.gitattributes` keeps them as they are.

use std::collections::HashMap;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{ErrorCode, Oid, RepositoryOpenFlags};

use crate::digest::Digests;

mod commit_tree;
mod history;
mod used;

pub use commit_tree::CommitTree;
pub use history::{BlobId, FolderId, Origin};
pub use used::{Used, UsedFile, made};

/// Why a repository, or something in it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It belongs to somebody else.
    #[error(
        "the git repository in `{path}` belongs to another user: if you trust it, type `git config --global --add safe.directory {path}`"
    )]
    Owner {
        /// The folder of the repository.
        path: Utf8PathBuf,
    },
    /// It is there and cannot be opened.
    #[error("the git repository of `{path}` cannot be read: {}", source.message())]
    Open {
        /// The workspace.
        path: Utf8PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// No such commit.
    #[error("`{revision}` names no commit here: {}", source.message())]
    Revision {
        /// As it was asked for.
        revision: String,
        /// Why.
        source: git2::Error,
    },
    /// An object could not be read.
    #[error("cannot read {what} from the git repository: {}", source.message())]
    Object {
        /// What.
        what: String,
        /// Why.
        source: git2::Error,
    },
}

/// The id of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitId(Oid);

impl std::fmt::Display for CommitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// The git repository that a workspace lies in.
pub struct Repository {
    inner: git2::Repository,
    /// Where the workspace lies in the working tree; empty if it is the whole.
    prefix: Utf8PathBuf,
    /// Of blobs that were read whole, so that each is read once however many commits have it.
    digests: Mutex<HashMap<Oid, Digests>>,
    /// What folders and patterns find in a folder of a commit, as far as it is little.
    names: Mutex<Names>,
}

/// By the folder that a path is below, and the path.
type Names = HashMap<(Option<Oid>, Utf8PathBuf), Vec<Utf8PathBuf>>;

/// Opens the repository that the folder `workspace` (absolute, links resolved) lies in; `None` if it lies in none.
///
/// # Errors
///
/// [`GitError::Owner`], [`GitError::Open`] if there is one that cannot be read.
pub fn open(workspace: &Utf8Path) -> Result<Option<Repository>, GitError> {
    let flags = RepositoryOpenFlags::empty();
    let no_ceiling: [&std::ffi::OsStr; 0] = [];
    let path = workspace.to_owned();
    let inner = match git2::Repository::open_ext(workspace, flags, no_ceiling) {
        Ok(inner) => inner,
        Err(source) if source.code() == ErrorCode::NotFound => {
            // One that leads nowhere, as of a linked working tree whose repository was moved, is not none: what its branches
            // need would be freed.
            return match workspace.join(".git").symlink_metadata() {
                Ok(_) => Err(GitError::Open { path, source }),
                Err(_) => Ok(None),
            };
        }
        Err(error) if error.code() == ErrorCode::Owner => {
            // `safe.directory` wants the folder of the repository, which may lie above the workspace.
            let root = workspace.ancestors().find(|folder| folder.join(".git").exists());
            let path = root.unwrap_or(workspace).to_owned();
            return Err(GitError::Owner { path });
        }
        Err(source) => return Err(GitError::Open { path, source }),
    };
    let prefix = inner
        .workdir()
        .and_then(Utf8Path::from_path)
        .and_then(|root| root.canonicalize_utf8().ok())
        .and_then(|root| workspace.strip_prefix(root).map(Utf8Path::to_owned).ok());
    Ok(prefix.map(|prefix| Repository {
        inner,
        prefix,
        digests: Mutex::default(),
        names: Mutex::default(),
    }))
}

/// The folders in which git keeps the repository that the folder `workspace` lies in, wherever they are (of a linked
/// working tree there are two); none if there is none or it cannot be read.
#[must_use]
pub fn folders(workspace: &Utf8Path) -> Vec<Utf8PathBuf> {
    let no_ceiling: [&std::ffi::OsStr; 0] = [];
    let opened = git2::Repository::open_ext(workspace, RepositoryOpenFlags::empty(), no_ceiling);
    let folders = opened.map(|found| [found.path().to_owned(), found.commondir().to_owned()]);
    let folders = folders.into_iter().flatten();
    folders
        .filter_map(|folder| Utf8PathBuf::from_path_buf(folder).ok())
        .collect()
}

impl Repository {
    /// The commit that is checked out; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if it cannot be read.
    pub fn head(&self) -> Result<Option<CommitId>, GitError> {
        let found = self.inner.head().and_then(|head| head.peel_to_commit());
        match found {
            Ok(commit) => Ok(Some(CommitId(commit.id()))),
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch) => Ok(None),
            Err(source) => Err(object("HEAD", source)),
        }
    }

    /// The commit that `revision` names: `HEAD`, a branch, a tag, an id or the beginning of one.
    ///
    /// # Errors
    ///
    /// [`GitError::Revision`] if it names none, or more than one.
    pub fn resolve_commit(&self, revision: &str) -> Result<CommitId, GitError> {
        let bounded = match revision.len() <= 1024 && !revision.contains('\0') {
            true => Ok(revision),
            false => Err(git2::Error::from_str("not a revision")),
        };
        let found = bounded.and_then(|revision| self.inner.revparse_single(revision)?.peel_to_commit());
        let commit = found.map_err(|source| GitError::Revision {
            revision: revision.chars().take(120).collect(),
            source,
        })?;
        Ok(CommitId(commit.id()))
    }

    /// The commit with exactly that id, or `None` if it is not here (a shallow clone, a rebase).
    #[must_use]
    pub fn find_commit(&self, hex: &str) -> Option<CommitId> {
        let oid = Oid::from_str(hex).ok()?;
        self.inner.find_commit(oid).ok().map(|commit| CommitId(commit.id()))
    }

    /// The commits that HEAD and all branches lead to, newest first, at most `most` of them.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if the history cannot be read.
    pub fn history(&self, most: usize) -> Result<Vec<CommitId>, GitError> {
        let failed = |source| object("the history", source);
        let mut walk = self.inner.revwalk().map_err(failed)?;
        walk.set_sorting(git2::Sort::TIME).map_err(failed)?;
        // A repository may have no commit, or no branch: then there is only less to walk.
        let _ = walk.push_head();
        for branch in ["refs/heads/*", "refs/remotes/*", "refs/tags/*"] {
            let _ = walk.push_glob(branch);
        }
        // In a shallow clone the walk ends where the history does.
        Ok(walk.map_while(Result::ok).take(most).map(CommitId).collect())
    }
}

fn object(what: &str, source: git2::Error) -> GitError {
    let what = what.to_owned();
    GitError::Object { what, source }
}
