//! Which files of an input changed, and which commit changed each.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Digest;
use crate::exec::inputs::FileHashes;
use crate::git::{CommitId, Origin, Repository};
use crate::plan::InputSource;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Role, Statement};

/// So many files of one input are looked up in the history.
pub const MOST_FILES: usize = 20;

/// The files of an input, each with the digest of its bytes.
pub type Files = BTreeMap<Utf8PathBuf, Digest>;

/// What happened to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It has other bytes.
    Changed,
    /// It was not there.
    Added,
    /// It is there no longer.
    Removed,
}

/// A file that changed, and since when it is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Relative to the workspace.
    pub path: Utf8PathBuf,
    /// What happened to it.
    pub what: What,
    /// The commit that changed it; none if there is no repository, no commit, or the file was removed.
    pub origin: Option<Origin>,
}

/// The files of the source `input` as a receipt has them; `None` if it does not list them, or a stage made it.
#[must_use]
pub fn files_of_receipt(statement: &Statement, input: &str) -> Option<Files> {
    let mut files = Files::new();
    let mut whole = None;
    for dependency in statement.dependencies() {
        let digests = artifact_digests(dependency);
        let digest = digests.map(|digests| digests.blake3());
        let path = Utf8PathBuf::from(&dependency.name);
        match dependency.role() {
            Role::Member { input: of, .. } if of == input => {
                files.insert(path, digest?);
            }
            Role::Input { input: of, receipt, .. } if of == input => {
                let is_file = digests.is_some_and(|digests| !digests.is_folder());
                whole = Some((path, digest?, receipt.is_none(), is_file));
            }
            _ => {}
        }
    }
    match whole {
        Some((path, digest, true, true)) => Some(Files::from([(path, digest)])),
        Some((_, _, true, false)) if !files.is_empty() => Some(files),
        _ => None,
    }
}

/// The files of a source as they are now; `None` if a stage makes it, or one cannot be read.
#[must_use]
pub fn files_now(source: &InputSource, hashes: &FileHashes<'_>) -> Option<Files> {
    if matches!(source, InputSource::Output { .. }) {
        return None;
    }
    let hashed = |path: &Utf8Path| Some((path.to_owned(), hashes.file(path).ok()?.digests.blake3));
    source.files().map(hashed).collect()
}

/// What is different in `is` from `was`. `commit` is what the history is asked from; the second value is how many more files
/// changed than are looked up.
#[must_use]
pub fn changed_files(was: &Files, is: &Files, history: Option<(&Repository, CommitId)>) -> (Vec<ChangedFile>, usize) {
    let paths: BTreeSet<&Utf8PathBuf> = was.keys().chain(is.keys()).collect();
    let mut changed = paths.into_iter().filter(|path| was.get(*path) != is.get(*path));
    let looked_up: Vec<ChangedFile> = changed
        .by_ref()
        .take(MOST_FILES)
        .map(|path| {
            let what = match (was.contains_key(path), is.contains_key(path)) {
                (true, false) => What::Removed,
                (false, _) => What::Added,
                (true, true) => What::Changed,
            };
            let origin = history.zip(is.get(path)).and_then(|((repository, commit), digest)| {
                // What the history cannot say is not said.
                repository.origin(commit, path, *digest).ok()
            });
            ChangedFile {
                path: path.clone(),
                what,
                origin,
            }
        })
        .collect();
    (looked_up, changed.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_added_removed_or_changed() {
        let files = |list: &[(&str, &[u8])]| -> Files {
            list.iter()
                .map(|(path, bytes)| (Utf8PathBuf::from(path), Digest::of(bytes)))
                .collect()
        };
        let was = files(&[("a", b"1"), ("b", b"1"), ("c", b"1")]);
        let is = files(&[("b", b"1"), ("c", b"2"), ("d", b"1")]);
        let (changed, more) = changed_files(&was, &is, None);
        let found: Vec<_> = changed.iter().map(|file| (file.path.as_str(), file.what)).collect();
        assert_eq!(found, [("a", What::Removed), ("c", What::Changed), ("d", What::Added)]);
        assert_eq!(more, 0);
        let many: Files = (0..50).map(|n| (format!("{n}").into(), Digest::of(b""))).collect();
        let (changed, more) = changed_files(&Files::new(), &many, None);
        assert_eq!((changed.len(), more), (MOST_FILES, 50 - MOST_FILES));
    }
}
