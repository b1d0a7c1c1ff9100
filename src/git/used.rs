//! What a stage used, compared with the commit that is checked out: what a receipt says under `made`.

use std::collections::HashSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::commit_tree::{CommitTree, Found};
use super::{GitError, Repository};
use crate::digest::Digests;
use crate::listing::ListingDigests;
use crate::plan::{Plan, find_files};
use crate::receipt::statement::{self, MAX_MEMBERS, Made};

/// Of so many folders and patterns the names of files are kept.
const MOST_KEPT: usize = 64;

/// A file that a stage used: what is compared with the commit.
#[derive(Clone, Debug)]
pub struct UsedFile<'a> {
    /// Relative to the workspace.
    pub path: &'a Utf8Path,
    /// Of the bytes that were used.
    pub digests: Digests,
    /// How many bytes those were.
    pub size: u64,
    /// Whether it could be executed, if that is part of what was used.
    pub executable: Option<bool>,
}

/// What a stage used, as a receipt names it.
#[derive(Clone, Debug)]
pub enum Used<'a> {
    /// A file.
    File(UsedFile<'a>),
    /// A folder whose files the receipt does not list: the commit must have just these.
    Folder {
        /// Relative to the workspace.
        path: &'a Utf8Path,
        /// Of its files.
        listing: ListingDigests,
    },
    /// A pattern whose files the receipt does not list: the commit must have each of them.
    Pattern {
        /// As it is written.
        pattern: &'a Utf8Path,
        /// What it found.
        files: Vec<UsedFile<'a>>,
    },
    /// The names of the files of a folder, or of what a pattern found: the commit must have no others.
    Names {
        /// The folder or the pattern.
        path: &'a Utf8Path,
        /// Of the files that were there.
        names: HashSet<&'a str>,
        /// What its stages write is never an input of this kind.
        plan: &'a Plan,
    },
}

impl Used<'_> {
    /// As it stands in a receipt.
    fn name(&self) -> &Utf8Path {
        match self {
            Self::File(file) => file.path,
            Self::Folder { path, .. } | Self::Names { path, .. } => path,
            Self::Pattern { pattern, .. } => pattern,
        }
    }
}

/// What a receipt says under `made`, of what is in `repository` now: the commit that is checked out, and which of `files` it has
/// with other bytes or not at all.
///
/// # Errors
///
/// [`GitError::Object`] if the commit cannot be read.
pub fn made(repository: Option<&Repository>, files: &[Used<'_>]) -> Result<Made, GitError> {
    let Some(repository) = repository else {
        return Ok(Made::without_commit(statement::Repository::None));
    };
    let Some(head) = repository.head()? else {
        return Ok(Made::without_commit(statement::Repository::Unborn));
    };
    let tree = repository.tree(head)?;
    let tells_modes = tree.tells_modes();
    let has = |file: &UsedFile<'_>| tree.has(file, tells_modes);
    let mut differs: Vec<String> = files
        .iter()
        .filter(|used| match used {
            Used::File(file) => !has(file),
            Used::Folder { path, listing } => tree.listing(path).ok().flatten() != Some(*listing),
            Used::Pattern { files, .. } => {
                tree.hash_ahead(files.iter().map(|file| file.path));
                !files.iter().all(has)
            }
            Used::Names { path, names, plan } => tree.has_others(path, names, plan),
        })
        .map(|used| used.name().to_string())
        .collect();
    differs.sort_unstable();
    differs.dedup();
    Ok(Made {
        commit: Some(head.to_string()),
        differs,
        repository: statement::Repository::Git,
    })
}

impl CommitTree<'_> {
    /// Whether the commit has `file` with those bytes, and with that executable bit if it `tells_modes`; the size is compared
    /// first. What cannot be read differs.
    fn has(&self, file: &UsedFile<'_>, tells_modes: bool) -> bool {
        let Ok(Found::File { blob, executable }) = self.find(file.path) else {
            return false;
        };
        let is_as_executable = !tells_modes || file.executable.is_none_or(|used| used == executable);
        is_as_executable
            && self.blob_size(blob).is_some_and(|size| size == file.size)
            && self.blob_digests(file.path, blob).is_ok_and(|d| d == file.digests)
    }

    /// Whether the commit has a file there, besides those of these names, that no stage writes. What holds more than files was no
    /// input, and so it was another.
    fn has_others(&self, path: &Utf8Path, names: &HashSet<&str>, plan: &Plan) -> bool {
        let outputs = || plan.stages.iter().flat_map(|stage| &stage.outputs);
        let is_written = |file: &Utf8Path| outputs().any(|output| file.starts_with(&output.path));
        let is_other = |file: &Utf8Path| !names.contains(file.as_str()) && !is_written(file);
        self.names_at(path)
            .is_none_or(|found| found.iter().any(|file| is_other(file)))
    }

    /// The files that the folder or pattern `path` finds. Few are kept: each combination of a matrix asks for the same, and a pattern may
    /// find one in a folder of a hundred thousand.
    fn names_at(&self, path: &Utf8Path) -> Option<Vec<Utf8PathBuf>> {
        let key = (self.root, path.to_owned());
        let known = self.names.lock().ok().and_then(|known| known.get(&key).cloned());
        if known.is_some() {
            return known;
        }
        let found: Vec<Utf8PathBuf> = find_files(self, path)?.into_iter().map(|(file, _)| file).collect();
        if found.len() <= MAX_MEMBERS
            && let Ok(mut known) = self.names.lock()
        {
            if known.len() >= MOST_KEPT {
                known.clear();
            }
            known.insert(key, found.clone());
        }
        Some(found)
    }
}
