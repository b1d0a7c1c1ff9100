//! Where it is: in the store, in the places of outputs, in raw files, and where nobody but a person can reach it.
//!
//! Everything is searched by content. What was made of it is found by the receipts as well, for a program may have left the id out.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::EraseError;
use super::lineage::{Lineage, Made};
use super::needles::Needles;
use crate::digest::hash_file;
use crate::git::Repository;
use crate::store::Store;
use crate::tree::Tree as _;
use crate::workspace::Workspace;

/// Where to look.
pub struct Scope<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// Its store.
    pub store: &'a Store,
    /// Its repository, if it has one.
    pub repository: Option<&'a Repository>,
    /// The places of outputs: what is there can be made again.
    pub outputs: &'a BTreeSet<Utf8PathBuf>,
    /// The files that ingests read as events.
    pub raw: &'a BTreeSet<Utf8PathBuf>,
    /// The files of revocations, which are dealt with by themselves.
    pub revocations: &'a BTreeSet<Utf8PathBuf>,
}

/// Where it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Objects of the store, absolute.
    pub objects: Vec<Utf8PathBuf>,
    /// Other files of the store: logs of stages, what was displaced, caches. Absolute.
    pub store_files: Vec<Utf8PathBuf>,
    /// Files in the places of outputs, relative to the workspace. Of a folder only those that hold it: others in it may be the user's.
    pub outputs: Vec<Utf8PathBuf>,
    /// Files in the places of outputs and in the store of which it is not known whether they were made of it, relative to the workspace.
    pub doubtful: Vec<Utf8PathBuf>,
    /// Raw files, relative to the workspace.
    pub raw: Vec<Utf8PathBuf>,
    /// Receipts, which never change, and any other file of the workspace.
    pub elsewhere: Vec<Utf8PathBuf>,
    /// How many objects of git's history hold it.
    pub in_git: u64,
}

impl Found {
    /// Whether the store and the places of outputs hold nothing of it.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.objects.is_empty() && self.store_files.is_empty() && self.outputs.is_empty()
    }
}

/// Searches everything.
///
/// # Errors
///
/// [`EraseError`] if something cannot be read: what is not known to be without it is not without it.
pub fn find(scope: &Scope<'_>, needles: &Needles, lineage: &Lineage) -> Result<Found, EraseError> {
    let mut found = Found::default();
    search_store(scope, needles, lineage, &mut found)?;
    search_workspace(scope, needles, lineage, &mut found)?;
    if let Some(repository) = scope.repository {
        found.in_git = repository.blobs_holding(&|bytes| needles.are_in(bytes))?;
    }
    Ok(found)
}

fn search_store(scope: &Scope<'_>, needles: &Needles, lineage: &Lineage, found: &mut Found) -> Result<(), EraseError> {
    let root = scope.store.root();
    let cas = scope.store.cas();
    // Hashes, tokens and receipts that wait for the next run: nothing of these is of a person, and to lose them is to lose evidence.
    let kept = ["log", "pending", "populations"].map(|name| root.join(name));
    let files = files_below(root, &|path| kept.iter().any(|kept| path == kept))?;
    let [made, doubtful] = [&lineage.made, &lineage.doubt.made].map(|made| {
        let objects: BTreeSet<Utf8PathBuf> = made.bytes.iter().map(|digest| cas.path(*digest)).collect();
        (made, objects)
    });
    let displaced = root.join("displaced");
    let is_of = |(made, objects): &(&Made, BTreeSet<Utf8PathBuf>), path: &Utf8Path| -> io::Result<bool> {
        // What lay in the place of an output was moved there as it was.
        Ok(objects.contains(path) || path.starts_with(&displaced) && made.has_bytes_of(path, scope.store)?)
    };
    let held = holding(&files, &|path| Ok(is_of(&made, path)? || holds(path, root, needles)?))?;
    let mut in_doubt = holding(&files, &|path| is_of(&doubtful, path))?;
    in_doubt.retain(|path| held.binary_search(path).is_err());
    let workspace = scope.workspace.root();
    found.doubtful = in_doubt
        .iter()
        .map(|path| relative(workspace, path).to_owned())
        .collect();
    let objects = root.join("cas");
    (found.objects, found.store_files) = held.into_iter().partition(|path| path.starts_with(&objects));
    Ok(())
}

fn search_workspace(
    scope: &Scope<'_>,
    needles: &Needles,
    lineage: &Lineage,
    found: &mut Found,
) -> Result<(), EraseError> {
    let root = scope.workspace.root();
    // git's own files are packed; its objects are looked at one by one.
    let is_private = |path: &Utf8Path| path == root.join(".madmall") || path.file_name() == Some(".git");
    let files = files_below(root, &is_private)?;
    let is_of = |made: &Made, path: &Utf8Path| -> io::Result<bool> {
        if !relative(root, path)
            .ancestors()
            .any(|place| made.places.contains(place))
        {
            return Ok(false);
        }
        made.has_bytes_of(path, scope.store)
    };
    let is_it = |path: &Utf8Path| Ok(is_of(&lineage.made, path)? || holds(path, root, needles)?);
    let held = holding(&files, &is_it)?;
    let is_in_folder = |path: &Utf8Path| {
        let mut folders = relative(root, path).ancestors();
        folders.any(|folder| {
            [&lineage.made, &lineage.doubt.made]
                .iter()
                .any(|made| made.folders.contains(folder))
        })
    };
    let mut doubtful = holding(&files, &|path| {
        Ok(is_in_folder(path) || is_of(&lineage.doubt.made, path)?)
    })?;
    doubtful.retain(|path| held.binary_search(path).is_err());
    let doubtful = doubtful.iter().map(|path| relative(root, path).to_owned());
    found.doubtful.extend(doubtful);
    for path in held {
        let path = relative(root, &path).to_owned();
        let is_output = path.ancestors().any(|place| scope.outputs.contains(place));
        if is_output {
            found.outputs.push(path);
        } else if scope.raw.contains(&path) {
            found.raw.push(path);
        } else if !scope.revocations.contains(&path) {
            found.elsewhere.push(path);
        }
    }
    Ok(())
}

impl Made {
    /// Whether the file at `path` has bytes that were made.
    fn has_bytes_of(&self, path: &Utf8Path, store: &Store) -> io::Result<bool> {
        if self.bytes.is_empty() {
            return Ok(false);
        }
        let now = hash_file(path)?.0.blake3;
        // What is personal is known by its keyed digest.
        let keyed = store.key().map(|key| key.name(now));
        Ok([Some(now), keyed]
            .iter()
            .flatten()
            .any(|name| self.bytes.contains(name)))
    }
}

/// The name of a file below `root`.
fn relative<'p>(root: &Utf8Path, path: &'p Utf8Path) -> &'p Utf8Path {
    path.strip_prefix(root).unwrap_or(path)
}

/// Whether the file's name or its bytes hold it.
fn holds(path: &Utf8Path, root: &Utf8Path, needles: &Needles) -> io::Result<bool> {
    Ok(needles.are_in(relative(root, path).as_str().as_bytes()) || needles.are_in_file(path)?)
}

/// Those of `files` of which `holds` says so, in their order.
fn holding(
    files: &[Utf8PathBuf],
    holds: &(dyn Fn(&Utf8Path) -> io::Result<bool> + Sync),
) -> Result<Vec<Utf8PathBuf>, EraseError> {
    let look = |path: &Utf8PathBuf| match holds(path) {
        Ok(holds) => Ok(holds.then(|| path.clone())),
        Err(source) => Err(EraseError::Read {
            path: path.clone(),
            source,
        }),
    };
    let looked = files.par_iter().map(look).collect::<Result<Vec<_>, _>>()?;
    Ok(looked.into_iter().flatten().collect())
}

/// Every regular file below `root`, sorted; links are not followed. What is private is left out.
fn files_below(root: &Utf8Path, is_private: &dyn Fn(&Utf8Path) -> bool) -> Result<Vec<Utf8PathBuf>, EraseError> {
    let mut files = Vec::new();
    let mut walk = walkdir::WalkDir::new(root).min_depth(1).sort_by_file_name().into_iter();
    while let Some(entry) = walk.next() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.io_error().is_some_and(|e| e.kind() == io::ErrorKind::NotFound) => continue,
            Err(error) => {
                let path = error.path().and_then(Utf8Path::from_path).unwrap_or(root).to_owned();
                let source = error.into();
                return Err(EraseError::Read { path, source });
            }
        };
        let Some(path) = Utf8Path::from_path(entry.path()) else {
            let path = Utf8PathBuf::from(entry.path().to_string_lossy().into_owned());
            return Err(EraseError::Name { path });
        };
        if is_private(path) {
            if entry.file_type().is_dir() {
                walk.skip_current_dir();
            }
            continue;
        }
        if entry.file_type().is_file() {
            files.push(path.to_owned());
        }
    }
    Ok(files)
}

/// The raw files that ingests read and that lie outside the workspace, reached by links.
#[must_use]
pub fn outside(workspace: &Workspace, raw: &BTreeSet<Utf8PathBuf>) -> BTreeMap<Utf8PathBuf, Utf8PathBuf> {
    let real = raw.iter().filter_map(|path| {
        let real = workspace.real_path(path).ok()??;
        (real != *path).then(|| (path.clone(), real))
    });
    real.collect()
}
