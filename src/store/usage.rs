//! What the store holds, and how much of the disk that is.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::atomic::TEMPORARY;
use super::root::refuse_link;
use super::{Store, StoreError};
use crate::consent::map::Root;
use crate::digest::Digest;

/// An object of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject {
    /// Its file.
    pub path: Utf8PathBuf,
    /// Its name. Its bytes are not looked at.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

/// How many files there are, and how many bytes they have together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Files.
    pub files: u64,
    /// Bytes, as the files' lengths say.
    pub bytes: u64,
}

impl Amount {
    /// One more file.
    pub fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// How much the parts of the store hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Artifacts.
    pub objects: Amount,
    /// Logs of stages.
    pub logs: Amount,
    /// Bytes that were found in outputs' places, and kept.
    pub displaced: Amount,
    /// Tokens of the events that ingests let in.
    pub populations: Amount,
}

/// Measures the store. A store that is not there holds nothing.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder of it cannot be listed.
pub fn measure(store: &Store) -> Result<Usage, StoreError> {
    let mut usage = Usage::default();
    for object in objects(store)?.into_iter().chain(trees(store)?) {
        usage.objects.add(object.size);
    }
    usage.logs = amount_below(&store.root().join("output"))?;
    usage.displaced = amount_below(&store.root().join("displaced"))?;
    usage.populations = amount_below(&store.populations_folder())?;
    Ok(usage)
}

/// The objects of the store, in the order of their names. What else lies there is none; `fsck` says so.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder cannot be listed.
pub fn objects(store: &Store) -> Result<Vec<StoredObject>, StoreError> {
    named_by_digest(&store.root().join("cas"))
}

/// The listings of output folders, likewise.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder cannot be listed.
pub fn trees(store: &Store) -> Result<Vec<StoredObject>, StoreError> {
    named_by_digest(&store.root().join("trees"))
}

/// The tokens of events that ingests let in: of each set its root, its file and how many bytes that has.
///
/// # Errors
///
/// [`StoreError::Read`] if the folder cannot be listed.
pub fn populations(store: &Store) -> Result<Vec<(Root, Utf8PathBuf, u64)>, StoreError> {
    let files = files_below(&store.populations_folder())?;
    let named = files.into_iter().filter_map(|(path, size)| {
        let root = Root::from_hex(path.file_name()?).ok()?;
        Some((root, path, size))
    });
    Ok(named.collect())
}

/// What runs that were killed were writing: files that never got their names.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder cannot be listed.
pub fn leavings(store: &Store) -> Result<Vec<(Utf8PathBuf, u64)>, StoreError> {
    let mut all = Vec::new();
    for folder in ["cas", "trees", "settled", "plans"] {
        all.extend(files_below(&store.root().join(folder))?);
    }
    all.retain(|(path, _)| path.file_name().is_some_and(|name| name.starts_with(TEMPORARY)));
    Ok(all)
}

fn named_by_digest(root: &Utf8Path) -> Result<Vec<StoredObject>, StoreError> {
    let mut objects = Vec::new();
    for (path, size) in files_below(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path);
        if let Some(digest) = digest_of_name(name) {
            objects.push(StoredObject { path, digest, size });
        }
    }
    Ok(objects)
}

/// How much lies below `folder`.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder cannot be listed; [`StoreError::Link`] if `folder` is a link.
pub fn amount_below(folder: &Utf8Path) -> Result<Amount, StoreError> {
    let mut amount = Amount::default();
    for (_, size) in files_below(folder)? {
        amount.add(size);
    }
    Ok(amount)
}

/// The names of the folders in `folder`, in order; none if there is no such folder.
///
/// # Errors
///
/// [`StoreError::Read`] if it cannot be listed; [`StoreError::Link`] if it is a link.
pub fn folders_in(folder: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    refuse_link(folder)?;
    let entries = match folder.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Every regular file below `folder` with its length; no link is followed, and none if there is no such folder.
fn files_below(folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, u64)>, StoreError> {
    refuse_link(folder)?;
    let found = folder.symlink_metadata();
    if !found.is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let failed = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let gone = |error: &walkdir::Error| {
            error
                .io_error()
                .is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let entry = match entry {
            Ok(entry) => entry,
            // A run goes on meanwhile.
            Err(error) if gone(&error) => continue,
            Err(error) => return Err(failed(error.into())),
        };
        if !entry.file_type().is_file() {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => {
                let lossy = || entry.path().to_string_lossy().into_owned().into();
                let path = Utf8Path::from_path(entry.path()).map_or_else(lossy, Utf8Path::to_owned);
                files.push((path, metadata.len()));
            }
            Err(error) if gone(&error) => {}
            Err(error) => return Err(failed(error.into())),
        }
    }
    Ok(files)
}

/// `ab/cdef…` is the object whose digest is spelled `abcdef…`.
pub(crate) fn digest_of_name(name: &Utf8Path) -> Option<Digest> {
    let (first, rest) = name.as_str().split_once('/')?;
    let digest = Digest::from_hex(&format!("{first}{rest}")).ok()?;
    (first.len() == 2).then_some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;

    #[test]
    fn objects_are_what_is_named_by_a_digest_and_all_else_is_none() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let store = Store::of(root);
        assert_eq!(measure(&store).expect("nothing is there"), Usage::default());
        let digest = Digest::of(b"bytes");
        atomic::write(&store.cas().path(digest), b"bytes").expect("written");
        atomic::write(&store.root().join("cas/ab/stray"), b"x").expect("written");
        atomic::write(&store.output_folder("r").join("a.log"), b"log").expect("written");
        let found: Vec<_> = objects(&store)
            .expect("listed")
            .iter()
            .map(|o| (o.digest, o.size))
            .collect();
        assert_eq!(found, [(digest, 5)]);
        let usage = measure(&store).expect("measured");
        assert_eq!(usage.logs, Amount { files: 1, bytes: 3 });
        assert_eq!(folders_in(&store.root().join("output")).expect("listed"), ["r"]);
    }

    #[cfg(unix)]
    #[test]
    fn where_a_link_leads_is_not_listed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        atomic::write(&root.join("elsewhere/r/a.log"), b"log").expect("written");
        let link = root.join("output");
        std::os::unix::fs::symlink("elsewhere", &link).expect("linked");
        assert!(matches!(folders_in(&link), Err(StoreError::Link { path }) if path == link));
        assert!(matches!(amount_below(&link), Err(StoreError::Link { path }) if path == link));
    }
}
