//! Group commit: what was written is made durable together, not file by file.
//!
//! A sync for each of a thousand small files costs many times what making them costs. So files are written and renamed
//! first and noted here; one commit then makes all of them durable before the receipts that name them are published.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::{StoreError, atomic};

/// Up to this many files are synced one by one; for more, the whole file system is, which then costs less.
const FEW: usize = 16;
/// How long finished work may wait to be durable while a run goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// Files that were written and are not known to be on disk.
#[derive(Debug)]
pub struct Unsynced {
    files: Mutex<Vec<Utf8PathBuf>>,
    committed: Mutex<Instant>,
}

impl Default for Unsynced {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            committed: Mutex::new(Instant::now()),
        }
    }
}

impl Unsynced {
    /// Notes that `file` was written, or renamed to that name.
    pub fn add(&self, file: Utf8PathBuf) {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).push(file);
    }

    /// Whether finished work has waited long enough.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.committed.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= PATIENCE
    }

    /// Makes every file noted so far durable, with its name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if one cannot be synced; all of them are then still noted.
    pub fn commit(&self) -> Result<(), StoreError> {
        let files = std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner));
        let synced = match files.len() {
            0 => Ok(()),
            1..=FEW => sync_each(&files),
            _ => sync_file_systems(&files),
        };
        match &synced {
            Ok(()) => *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
            Err(_) => self.files.lock().unwrap_or_else(PoisonError::into_inner).extend(files),
        }
        synced
    }
}

fn sync_each(files: &[Utf8PathBuf]) -> Result<(), StoreError> {
    for file in files {
        let failed = |source| StoreError::Write {
            path: file.clone(),
            source,
        };
        match File::open(file) {
            Ok(opened) => opened.sync_all().map_err(failed)?,
            // It was moved or replaced meanwhile; then its new name is noted.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let folders: BTreeSet<&Utf8Path> = files.iter().map(|file| atomic::folder_of(file)).collect();
    folders
        .into_iter()
        .filter(|folder| folder.exists())
        .try_for_each(atomic::sync_folder)
}

/// Syncs the file systems that the folders of `files` lie on.
#[cfg(target_os = "linux")]
fn sync_file_systems(files: &[Utf8PathBuf]) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let folders: BTreeSet<&Utf8Path> = files.iter().map(|file| atomic::folder_of(file)).collect();
    let mut devices = BTreeSet::new();
    for folder in folders {
        let failed = |source| StoreError::Write {
            path: folder.to_owned(),
            source,
        };
        let opened = match File::open(folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        if devices.insert(opened.metadata().map_err(failed)?.dev()) {
            rustix::fs::syncfs(&opened).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn sync_file_systems(files: &[Utf8PathBuf]) -> Result<(), StoreError> {
    sync_each(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_files_are_committed_and_what_is_gone_is_no_obstacle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        for count in [0, 3, 40] {
            let unsynced = Unsynced::default();
            for number in 0..count {
                let file = root.join(format!("{count}/{number}"));
                atomic::write(&file, b"x").expect("written");
                unsynced.add(file);
            }
            unsynced.add(root.join("gone/file"));
            unsynced.commit().expect("committed");
            assert!(unsynced.files.lock().expect("not poisoned").is_empty());
        }
    }
}
