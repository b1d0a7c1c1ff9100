//! Group commit: what was written is made durable together, not file by file.
//!
//! A sync for each of a thousand small files costs many times what making them costs. So files are written and renamed
//! first and noted here; one commit then makes all of them durable before the receipts that name them are published. While a run goes on
//! that is begun now and then beside it, so that little is left to wait for at its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};

use super::{StoreError, atomic};

/// Up to this many files are synced one by one; for more, the whole file system is, which then costs less.
const FEW: usize = 16;
/// How long finished work may wait to be durable while a run goes on.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many bytes of it may wait: so many take the disk a while.
const MUCH: u64 = 64 << 20;

/// Files that were written and are not known to be on disk.
#[derive(Debug, Default)]
pub struct Unsynced {
    noted: Arc<Noted>,
    /// What makes some of them durable beside the run.
    beside: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Noted {
    files: Mutex<Vec<Utf8PathBuf>>,
    bytes: AtomicU64,
    committed: Mutex<Instant>,
}

impl Default for Noted {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            bytes: AtomicU64::new(0),
            committed: Mutex::new(Instant::now()),
        }
    }
}

impl Unsynced {
    /// Notes that `file` was written, or renamed to that name.
    pub fn add(&self, file: Utf8PathBuf) {
        locked(&self.noted.files).push(file);
    }

    /// The same of a file of so many bytes.
    pub fn add_sized(&self, file: Utf8PathBuf, bytes: u64) {
        self.noted.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.add(file);
    }

    /// Whether finished work has waited long enough.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.noted.bytes.load(Ordering::Relaxed) >= MUCH || locked(&self.noted.committed).elapsed() >= PATIENCE
    }

    /// Begins to make every file noted so far durable, and after them `last`, which says something of them, if none of that is going on
    /// already. If it fails they are noted still, and the next [`Self::commit`] says why.
    pub fn begin_commit(&self, last: &Utf8Path) {
        let mut beside = locked(&self.beside);
        if let Some(thread) = beside.take_if(|thread| thread.is_finished()) {
            join(thread);
        }
        if beside.is_some() {
            return;
        }
        let (noted, last) = (Arc::clone(&self.noted), last.to_owned());
        let commit = move || {
            // What is noted is not lost, and the one who waits for it is told then.
            if noted.commit().is_err() || sync_each(std::slice::from_ref(&last)).is_err() {
                locked(&noted.files).push(last);
            }
        };
        // Without a thread it is done at the end.
        *beside = std::thread::Builder::new().spawn(commit).ok();
    }

    /// Makes every file noted so far durable, with its name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if one cannot be synced; all of them are then still noted.
    pub fn commit(&self) -> Result<(), StoreError> {
        if let Some(thread) = locked(&self.beside).take() {
            join(thread);
        }
        self.noted.commit()
    }
}

impl Noted {
    fn commit(&self) -> Result<(), StoreError> {
        let files = std::mem::take(&mut *locked(&self.files));
        self.bytes.store(0, Ordering::Relaxed);
        let synced = match files.len() {
            0 => Ok(()),
            1..=FEW => sync_each(&files),
            _ => sync_file_systems(&files),
        };
        // After a failure too: it is not tried again for each stage.
        *locked(&self.committed) = Instant::now();
        if synced.is_err() {
            locked(&self.files).extend(files);
        }
        synced
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a thread that syncs; if it has panicked, nobody knows what is on disk.
fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
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
            assert!(locked(&unsynced.noted.files).is_empty());
        }
    }

    #[test]
    fn what_was_begun_beside_is_done_or_told_when_it_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let unsynced = Unsynced::default();
        let (file, last) = (root.join("file"), root.join("last"));
        for path in [&file, &last] {
            atomic::write(path, b"x").expect("written");
        }
        assert!(!unsynced.is_due());
        unsynced.add_sized(file.clone(), MUCH);
        assert!(unsynced.is_due());
        unsynced.begin_commit(&last);
        unsynced.commit().expect("committed");
        assert!(!unsynced.is_due() && locked(&unsynced.noted.files).is_empty());
        // A name below a file cannot be opened, and that is not that it is gone.
        unsynced.add(file.join("below"));
        unsynced.begin_commit(&last);
        let error = unsynced.commit().expect_err("it cannot be synced");
        assert!(matches!(error, StoreError::Write { path, .. } if path == file.join("below")));
        assert!(!locked(&unsynced.noted.files).is_empty());
        // The same of what comes last.
        let unsynced = Unsynced::default();
        unsynced.begin_commit(&file.join("below"));
        assert!(unsynced.commit().is_err());
    }
}
