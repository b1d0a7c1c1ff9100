//! The files in place: each is opened only if it is a regular file inside the site, and hashed once.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use crate::digest::Digests;
use crate::tree::{EntryKind, Site, TreeError};

/// What stands at a path.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Absent,
    /// No file that may be opened; why.
    Refused(&'static str),
    /// Could not be read; why.
    Unreadable(String),
    File {
        digests: Digests,
        executable: bool,
    },
}

/// Looks at each of `paths` once, in parallel.
pub(super) fn look(site: &dyn Site, paths: Vec<Utf8PathBuf>) -> BTreeMap<Utf8PathBuf, Place> {
    paths
        .into_par_iter()
        .map(|path| {
            let place = look_at(site, &path);
            (path, place)
        })
        .collect()
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
        Ok(Some(EntryKind::Folder)) => Place::Refused("is a folder, not a file"),
        Ok(Some(EntryKind::BadLink)) => {
            Place::Refused("is a symbolic link that leads out of the workspace, or nowhere")
        }
        Ok(Some(EntryKind::Other)) => Place::Refused("is no regular file"),
        Err(error) => Place::Unreadable(error.to_string()),
    }
}
