//! Folders: made, synced, moved away and removed, with all that is in them.

use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use crate::store::StoreError;

/// Makes `folder` and those above it.
///
/// # Errors
///
/// [`StoreError::Write`] if it cannot be made.
pub fn create_folder(folder: &Utf8Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(|source| StoreError::Write {
        path: folder.to_owned(),
        source,
    })
}

/// Does what needs the folder of `path`. It is made, and the same tried again, only if it turns out not to be there.
///
/// # Errors
///
/// What `act` gives, or making the folder.
pub fn in_folder_of<T>(path: &Utf8Path, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match act() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(folder_of(path))?;
            act()
        }
        other => other,
    }
}

/// Syncs a folder: after a crash a rename in it may otherwise be lost although the file's bytes are safe.
///
/// # Errors
///
/// [`StoreError::Write`] if it cannot be opened or synced.
pub fn sync_folder(folder: &Utf8Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Write {
        path: folder.to_owned(),
        source,
    };
    File::open(folder).map_err(failed)?.sync_all().map_err(failed)
}

/// The folder that `path` lies in.
#[must_use]
pub fn folder_of(path: &Utf8Path) -> &Utf8Path {
    match path.parent() {
        Some(parent) if !parent.as_str().is_empty() => parent,
        _ => Utf8Path::new("."),
    }
}

/// Moves `from`, a file or a folder with all in it, to `to`, where nothing lies and whose folder is there.
///
/// By one rename where the file system lets it. On an overlay (the root of a container) no folder can be renamed that lies in a layer below,
/// but the files in it can, so they are moved one by one.
///
/// # Errors
///
/// Whatever the system gives.
pub fn move_away(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices && fs::symlink_metadata(from)?.is_dir() => {
            move_one_by_one(from, to)
        }
        other => other,
    }
}

/// Moves the folder `from` by what is in it. What cannot be moved stays, and so do the folders that it lies in.
fn move_one_by_one(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    let mut folders = Vec::new();
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let below = entry.path().strip_prefix(from).unwrap_or(entry.path());
        let place = to.as_std_path().join(below);
        if entry.file_type().is_dir() {
            fs::create_dir(&place)?;
            let_owner_change(entry.path())?;
            folders.push(entry.into_path());
        } else {
            fs::rename(entry.path(), place)?;
        }
    }
    // Each after those in it.
    folders.iter().rev().try_for_each(fs::remove_dir)
}

/// Removes a folder that holds many folders, and all in it, by all cores.
///
/// # Errors
///
/// Like [`remove_folder`].
pub fn remove_folders_of(folder: &Utf8Path) -> Result<(), StoreError> {
    let entries: Vec<Utf8PathBuf> = match folder.read_dir_utf8() {
        Ok(entries) => entries.flatten().map(camino::Utf8DirEntry::into_path).collect(),
        // What is no folder, or has names that are no UTF-8, is left to what follows.
        Err(_) => Vec::new(),
    };
    entries
        .par_iter()
        .filter(|entry| entry.symlink_metadata().is_ok_and(|found| found.is_dir()))
        .try_for_each(remove_folder)?;
    remove_folder(&folder.to_owned())
}

/// So often it is tried to remove a folder in which somebody makes files.
const MOST_TRIES: usize = 1000;

/// Removes a folder and all in it, if it is there. Files made read-only by a stage are no obstacle.
///
/// # Errors
///
/// [`StoreError::Write`] if something in it cannot be removed.
pub fn remove_folder(folder: &Utf8PathBuf) -> Result<(), StoreError> {
    let mut tries = 0;
    loop {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && tries == 0 => make_writable(folder),
            // A program of a run that was killed may go on for a while, and make files meanwhile. When its folder is gone it
            // cannot any more.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < MOST_TRIES => {}
            other => break other,
        }
        tries += 1;
    }
    .or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(StoreError::Write {
            path: folder.clone(),
            source: error,
        }),
    })
}

/// Gives the owner back the right to change the folders below `folder`.
fn make_writable(folder: &Utf8Path) {
    // The walk would follow it.
    if folder.is_symlink() {
        return;
    }
    for entry in walkdir::WalkDir::new(folder).into_iter().flatten() {
        if entry.file_type().is_dir() {
            let _ = let_owner_change(entry.path());
        }
    }
}

/// Gives the owner the right to list and change the folder `folder`.
///
/// # Errors
///
/// Whatever the system gives.
pub fn let_owner_change(folder: &std::path::Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::symlink_metadata(folder)?.permissions().mode();
        if mode & 0o700 != 0o700 {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o777 | 0o700))?;
        }
    }
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}
