//! One run at a time in a workspace. The lock belongs to a process: when it dies, however it dies, the lock is free.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::time::Duration;

use camino::Utf8Path;

use super::{Store, StoreError};

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(50);

/// The lock of a workspace, held until it is dropped.
#[derive(Debug)]
pub struct WorkspaceLock {
    _file: File,
}

impl WorkspaceLock {
    /// Takes the lock of a workspace with this `store`, which is made if it is not there, waiting for whoever has it. `waiting` is asked
    /// again and again meanwhile, with what the holder wrote of itself; when it answers `false`, the wait ends without the lock (`None`).
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if the lock's file cannot be opened or locked; else like [`Store::create`].
    pub fn take(
        store: &Store,
        holder: &str,
        waiting: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Option<Self>, StoreError> {
        store.create()?;
        let path = store.lock_file();
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        let mut file = open(&path).map_err(failed)?;
        let mut was_read = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    if !waiting(&read_holder(&file)) {
                        return Ok(None);
                    }
                    was_read = true;
                    // Not a blocking lock: that could not be interrupted.
                    std::thread::sleep(POLL);
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        file.set_len(0).map_err(failed)?;
        if was_read {
            file.rewind().map_err(failed)?;
        }
        file.write_all(holder.as_bytes()).map_err(failed)?;
        Ok(Some(Self { _file: file }))
    }
}

/// Opens the lock's file, or makes it. It is emptied later: what lies there has to be a file, and no other name may lead to it.
fn open(path: &Utf8Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    }
    let file = options.open(path)?;
    let found = file.metadata()?;
    #[cfg(unix)]
    let is_shared = std::os::unix::fs::MetadataExt::nlink(&found) > 1;
    #[cfg(not(unix))]
    let is_shared = false;
    match found.is_file() && !is_shared {
        true => Ok(file),
        false => Err(io::Error::other(
            "it is no regular file, or has another name, too: remove it, and it is made again",
        )),
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_of_its_own_is_not_opened_as_a_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let lock = base.join("lock");
        let file = base.join("file");
        File::create_new(&file).expect("made");
        for target in ["file", "nowhere"] {
            std::os::unix::fs::symlink(target, &lock).expect("linked");
            assert!(open(&lock).is_err(), "{target}");
            std::fs::remove_file(&lock).expect("removed");
        }
        assert!(!base.join("nowhere").exists());
        std::fs::hard_link(&file, &lock).expect("linked");
        assert!(open(&lock).is_err());
        std::fs::remove_file(&file).expect("removed");
        open(&lock).expect("it has one name now");
        std::fs::remove_file(&lock).expect("removed");
        open(&lock).expect("it is made");
    }
}
