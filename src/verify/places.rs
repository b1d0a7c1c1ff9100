//! The files in place: each is opened only if it is a regular file inside the site, and hashed once.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use crate::digest::Digests;
use crate::listing::{ListedFile, ListingDigests, listing_digests};
use crate::store::trees::MAX_FILES;
use crate::tree::{Entry, EntryKind, EntryType, Site, TreeError};

/// What stands at a path.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Absent,
    /// No file that may be opened; why.
    Refused(String),
    /// Could not be read; why.
    Unreadable(String),
    File {
        digests: Digests,
        executable: bool,
    },
    /// A folder that a receipt claims, with all that is in it.
    Folder {
        files: Vec<ListedFile>,
        listing: ListingDigests,
    },
}

/// The most names that a folder is listed for: files, and the folders in it.
const MOST_ENTRIES: usize = 4 * MAX_FILES;

/// What stands at paths. To find one in order, names would be compared with names, of a hundred thousand files for longer than it takes to
/// hash them.
pub(super) type Places = HashMap<Utf8PathBuf, Place>;

/// Looks at each of `paths` once, in parallel.
pub(super) fn look(site: &dyn Site, paths: Vec<Utf8PathBuf>) -> Places {
    paths
        .into_par_iter()
        .map(|path| {
            let place = look_at(site, &path);
            (path, place)
        })
        .collect()
}

/// Looks at each of `paths`, which receipts claim to be folders: a folder is looked at with all that is in it.
pub(super) fn look_into(site: &dyn Site, paths: Vec<Utf8PathBuf>) -> Places {
    let look = |path: Utf8PathBuf| {
        let place = match site.kind(&path) {
            Ok(Some(EntryKind::Folder)) => folder(site, &path),
            _ => look_at(site, &path),
        };
        (path, place)
    };
    paths.into_iter().map(look).collect()
}

fn folder(site: &dyn Site, path: &Utf8Path) -> Place {
    let unreadable = |error: TreeError| match error {
        TreeError::Read { source, .. } => Place::Unreadable(source.to_string()),
        error => Place::Unreadable(error.to_string()),
    };
    match site.real_path(path) {
        Ok(real) if real.as_deref() == Some(path) => {}
        Ok(_) => return Place::Refused("is a symbolic link, not a folder".to_owned()),
        Err(error) => return unreadable(error),
    }
    let entries = match site.entries(path, usize::MAX, MOST_ENTRIES) {
        Ok(entries) if entries.len() < MOST_ENTRIES => entries,
        Ok(_) => return Place::Refused("holds more files than an output folder can".to_owned()),
        Err(error) => return unreadable(error),
    };
    let is_bad = |entry: &&Entry| entry.kind == EntryType::Other || !entry.is_utf8;
    if let Some(bad) = entries.iter().find(is_bad) {
        let name = bad.path.as_str().escape_debug();
        return Place::Refused(match bad.kind {
            EntryType::Other => format!("holds `{name}`, which is no regular file"),
            EntryType::File | EntryType::Folder => format!("holds `{name}`, whose name is not UTF-8"),
        });
    }
    let files = entries.into_par_iter().filter(|entry| entry.kind == EntryType::File);
    let files = files.map(|Entry { path, .. }| {
        Ok(ListedFile {
            executable: site.kind(&path)? == Some(EntryKind::File { executable: true }),
            digests: site.digests(&path)?,
            path,
        })
    });
    let mut files = match files.collect::<Result<Vec<_>, TreeError>>() {
        Ok(files) => files,
        Err(error) => return unreadable(error),
    };
    files.sort_unstable_by(|one, other| one.path.as_str().cmp(other.path.as_str()));
    match listing_digests(&files) {
        Ok(listing) => Place::Folder { files, listing },
        Err(error) => Place::Refused(format!("cannot be listed: {error}")),
    }
}

/// Looks at one path.
pub(super) fn look_at(site: &dyn Site, path: &Utf8Path) -> Place {
    match site.kind(path) {
        Ok(None) => Place::Absent,
        Ok(Some(EntryKind::File { executable })) => match site.digests(path) {
            Ok(digests) => Place::File { digests, executable },
            Err(TreeError::Read { source, .. }) => Place::Unreadable(source.to_string()),
            Err(error) => Place::Unreadable(error.to_string()),
        },
        Ok(Some(EntryKind::Folder)) => Place::Refused("is a folder, not a file".to_owned()),
        Ok(Some(EntryKind::BadLink)) => {
            Place::Refused("is a symbolic link that leads out of the workspace, or nowhere".to_owned())
        }
        Ok(Some(EntryKind::Other)) => Place::Refused("is no regular file".to_owned()),
        Err(error) => Place::Unreadable(error.to_string()),
    }
}
