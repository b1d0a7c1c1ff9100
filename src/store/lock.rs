//! One run at a time in a workspace. The lock belongs to a process: when it dies, however it dies, the lock is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::time::Duration;

use camino::Utf8Path;

use super::{StoreError, atomic};

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(50);

/// The lock of a workspace, held until it is dropped.
#[derive(Debug)]
pub struct WorkspaceLock {
    _file: File,
}

impl WorkspaceLock {
    /// Takes the lock, waiting for whoever has it. `waiting` is asked again and again meanwhile, with what the holder
    /// wrote of itself; when it answers `false`, the wait ends without the lock (`None`).
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if the lock's file cannot be opened or locked.
    pub fn take(
        path: &Utf8Path,
        holder: &str,
        waiting: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Self>, StoreError> {
        let failed = |source| StoreError::Write {
            path: path.to_owned(),
            source,
        };
        atomic::create_folder(atomic::folder_of(path))?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    if !waiting(&read_holder(&file)) {
                        return Ok(None);
                    }
                    // Not a blocking lock: that could not be interrupted.
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0).map_err(failed)?;
        file.rewind().map_err(failed)?;
        file.write_all(holder.as_bytes()).map_err(failed)?;
        Ok(Some(Self { _file: file }))
    }
}

/// What whoever has the lock at `path` now wrote of itself; `None` if nobody has it.
#[must_use]
pub fn holder(path: &Utf8Path) -> Option<String> {
    // To open a pipe would be to wait for whoever writes to it: the folder may be somebody else's.
    if !path.symlink_metadata().is_ok_and(|found| found.is_file()) {
        return None;
    }
    let file = File::open(path).ok()?;
    // If it is to be had, it is let go at once: whoever comes meanwhile tries again.
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| read_holder(&file))
}

/// What the holder wrote of itself; it only matters for the message.
fn read_holder(mut file: &File) -> String {
    let mut text = String::new();
    let _ = file.rewind();
    let _ = file.take(1024).read_to_string(&mut text);
    text.trim().to_owned()
}
