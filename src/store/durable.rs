//! Group commit: what was written is made durable together, not file by file.
//!
//! A sync for each of a thousand small files costs many times what making them costs. So files are written and renamed
//! first and noted here; one commit then makes all of them durable before the receipts that name them are published. While a run goes on
//! that is begun now and then beside it, so that little is left to wait for at its end.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
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
    beside: Mutex<Option<JoinHandle<Result<(), StoreError>>>>,
    /// Why some could not be made so. The system tells of bytes that it could not write once: to sync the file again would succeed, and
    /// they would be lost all the same.
    failed: Mutex<Option<StoreError>>,
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
    /// already.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if what was begun before has failed.
    pub fn begin_commit(&self, last: &Utf8Path) -> Result<(), StoreError> {
        let mut beside = locked(&self.beside);
        if beside.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        self.end(beside.take())?;
        let (noted, last) = (Arc::clone(&self.noted), last.to_owned());
        let commit = move || {
            noted.commit()?;
            sync_each(std::slice::from_ref(&last))
        };
        // Without a thread it is done at the end.
        *beside = std::thread::Builder::new().spawn(commit).ok();
        Ok(())
    }

    /// Makes every file noted so far durable, with its name.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if one cannot be synced, or could not be before: then nothing that names it may be published.
    pub fn commit(&self) -> Result<(), StoreError> {
        let beside = locked(&self.beside).take();
        self.end(beside)?;
        self.noted.commit().map_err(|error| self.fail(error))
    }

    /// Waits for the thread that syncs, if there is one. Once something could not be synced, nothing can be made good again.
    fn end(&self, thread: Option<JoinHandle<Result<(), StoreError>>>) -> Result<(), StoreError> {
        let ended = thread.map_or(Ok(()), |thread| {
            // If it has panicked, nobody knows what is on disk.
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))
        });
        if let Err(error) = ended {
            return Err(self.fail(error));
        }
        locked(&self.failed).as_ref().map_or(Ok(()), |error| Err(again(error)))
    }

    /// Remembers that `error` has happened.
    fn fail(&self, error: StoreError) -> StoreError {
        again(locked(&self.failed).get_or_insert(error))
    }
}

impl Noted {
    fn commit(&self) -> Result<(), StoreError> {
        let files = std::mem::take(&mut *locked(&self.files));
        self.bytes.store(0, Ordering::Relaxed);
        match files.len() {
            0 => Ok(()),
            1..=FEW => sync_each(&files),
            _ => sync_file_systems(&files),
        }?;
        *locked(&self.committed) = Instant::now();
        Ok(())
    }
}

/// The same error once more.
fn again(error: &StoreError) -> StoreError {
    let (path, source) = match error {
        StoreError::Write { path, source } => (path.clone(), io::Error::new(source.kind(), source.to_string())),
        other => (Utf8PathBuf::new(), io::Error::other(other.to_string())),
    };
    StoreError::Write { path, source }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
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
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
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
        unsynced.begin_commit(&last).expect("begun");
        unsynced.commit().expect("committed");
        assert!(!unsynced.is_due() && locked(&unsynced.noted.files).is_empty());
        // A name below a file cannot be opened, and that is not that it is gone.
        let below = file.join("below");
        unsynced.add(below.clone());
        unsynced.begin_commit(&last).expect("begun");
        for _ in 0..2 {
            let error = unsynced
                .commit()
                .expect_err("some of it is not on disk, and never will be");
            assert!(matches!(error, StoreError::Write { path, .. } if path == below));
            assert!(unsynced.begin_commit(&last).is_err());
        }
        // The same of what comes last.
        let unsynced = Unsynced::default();
        unsynced.begin_commit(&below).expect("begun");
        assert!(unsynced.commit().is_err());
    }
}
