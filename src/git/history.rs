//! What the history says: which commit gave a file its bytes, and where branches and tags stand.

use camino::Utf8Path;
use git2::{ObjectType, Oid};

use super::commit_tree::{CommitTree, Found};
use super::{CommitId, GitError, Repository, object};
use crate::diagnostic::nearest;
use crate::digest::Digest;
use crate::tree::TreeError;

/// So many commits are walked back for one file.
const MOST_COMMITS: usize = 20_000;
/// The first line of a commit's message is cut to this.
const LONGEST_SUMMARY: usize = 120;

/// Where the bytes of a file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This commit gave the file these bytes; no later one has changed them.
    Commit {
        /// The commit.
        id: CommitId,
        /// The first line of its message.
        summary: String,
        /// Whether the history that is here ends there (a shallow clone), so that it may be an older one.
        ends: bool,
    },
    /// The commit that was asked about has other bytes there, or no file.
    Uncommitted,
    /// A commit further back than are looked at.
    Older,
}

/// The id of a blob: the same bytes have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlobId(Oid);

/// The id of a folder of a commit: one with the same files has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FolderId(Oid);

impl Repository {
    /// Which commit gave the file at `path` the bytes of `digest` that it has in `start`.
    ///
    /// Goes back along the parents that have the same bytes there.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if `start`, or the file as it has it, cannot be read.
    pub fn origin(&self, start: CommitId, path: &Utf8Path, digest: Digest) -> Result<Origin, GitError> {
        // What cannot be read (a partial clone has not fetched it) is not said to be uncommitted.
        let unread = |error: TreeError| object(&format!("`{path}`"), git2::Error::from_str(&error.to_string()));
        let blob_in = |commit| -> Result<Option<Oid>, GitError> {
            match self.tree(commit)?.find(path).map_err(unread)? {
                Found::File { blob, .. } => Ok(Some(blob)),
                _ => Ok(None),
            }
        };
        let Some(blob) = blob_in(start)? else {
            return Ok(Origin::Uncommitted);
        };
        if self.tree(start)?.blob_digests(path, blob).map_err(unread)?.blake3 != digest {
            return Ok(Origin::Uncommitted);
        }
        let mut current = start;
        for _ in 0..MOST_COMMITS {
            let commit = self
                .inner
                .find_commit(current.0)
                .map_err(|source| object("the history", source))?;
            // A parent that is not here (a shallow clone) ends the walk as a root does.
            let parents = || commit.parent_ids().map(CommitId);
            match parents().find(|parent| matches!(blob_in(*parent), Ok(Some(found)) if found == blob)) {
                Some(parent) => current = parent,
                None => {
                    let is_here = |parent: CommitId| self.inner.find_commit(parent.0).is_ok();
                    let summary = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned();
                    return Ok(Origin::Commit {
                        id: current,
                        summary: summary.chars().take(LONGEST_SUMMARY).collect(),
                        ends: self.is_shallow() && !parents().all(is_here),
                    });
                }
            }
        }
        Ok(Origin::Older)
    }

    /// Where every local branch and every tag stands, each with its name, and HEAD. What is tagged and is no commit is left
    /// out.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if the references cannot be listed.
    pub fn tips(&self) -> Result<Vec<(String, CommitId)>, GitError> {
        let mut tips: Vec<(String, CommitId)> =
            self.head()?.map(|head| ("HEAD".to_owned(), head)).into_iter().collect();
        for pattern in ["refs/heads/*", "refs/tags/*"] {
            let failed = |source| object("the branches and tags", source);
            for reference in self.inner.references_glob(pattern).map_err(failed)? {
                let reference = reference.map_err(failed)?;
                if let Ok(commit) = reference.peel_to_commit() {
                    let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
                    tips.push((name, CommitId(commit.id())));
                }
            }
        }
        Ok(tips)
    }

    /// Whether the history that is here was cut off (a shallow clone).
    #[must_use]
    pub fn is_shallow(&self) -> bool {
        self.inner.is_shallow()
    }

    /// The branch, tag or HEAD that `revision`, which names nothing, was probably meant to be.
    #[must_use]
    pub fn meant(&self, revision: &str) -> Option<String> {
        let tips = self.tips().ok()?;
        let names = tips.iter().map(|(name, _)| {
            let short = ["refs/heads/", "refs/tags/"].map(|kind| name.strip_prefix(kind));
            short.into_iter().flatten().next().unwrap_or(name)
        });
        nearest(revision, names).map(str::to_owned)
    }

    /// How many blobs of the repository, reachable or not, are such that `holds` says so of their bytes.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if an object cannot be read: what cannot be read is not known to be without it.
    pub fn blobs_holding(&self, holds: &dyn Fn(&[u8]) -> bool) -> Result<u64, GitError> {
        let failed = |source| object("all objects", source);
        let objects = self.inner.odb().map_err(failed)?;
        let mut ids = Vec::new();
        objects
            .foreach(|id| {
                ids.push(*id);
                true
            })
            .map_err(failed)?;
        let mut count = 0;
        for id in ids {
            let (_, kind) = objects.read_header(id).map_err(failed)?;
            if kind == ObjectType::Blob && holds(objects.read(id).map_err(failed)?.data()) {
                count += 1;
            }
        }
        Ok(count)
    }
}

impl CommitTree<'_> {
    /// The id of a folder, or `None` if the commit has none there.
    ///
    /// # Errors
    ///
    /// [`TreeError::Read`] if it cannot be read.
    pub fn folder_id(&self, folder: &Utf8Path) -> Result<Option<FolderId>, TreeError> {
        Ok(match self.find(folder)? {
            Found::Folder(id) => Some(FolderId(id)),
            _ => None,
        })
    }

    /// The names of the regular files that lie in a folder itself, in order, each with its blob. Names that are not UTF-8
    /// are left out.
    ///
    /// # Errors
    ///
    /// [`TreeError::Read`] if it cannot be read.
    pub fn files_in(&self, folder: &Utf8Path) -> Result<Vec<(String, BlobId)>, TreeError> {
        let Found::Folder(id) = self.find(folder)? else {
            return Ok(Vec::new());
        };
        let tree = self.folder(folder, id)?;
        let is_file = |entry: &git2::TreeEntry<'_>| matches!(entry.filemode(), 0o100_644 | 0o100_664 | 0o100_755);
        let named = |entry: git2::TreeEntry<'_>| {
            let name = std::str::from_utf8(entry.name_bytes()).ok()?.to_owned();
            Some((name, BlobId(entry.id())))
        };
        Ok(tree.iter().filter(is_file).filter_map(named).collect())
    }
}
