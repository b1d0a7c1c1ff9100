//! Whole or absent: how every file that others rely on is written.
//!
//! A temporary file in the same folder, its bytes synced, renamed into place, the folder synced. A crash at any moment
//! leaves the old file or the new one, never a part.

mod folders;

use std::fs::{self, File};
use std::io::{self, Write as _};

use camino::Utf8Path;

pub use folders::{
    create_folder, folder_of, in_folder_of, let_owner_change, move_away, remove_folder, remove_folders_of, sync_folder,
};

use super::StoreError;
use super::durable::Unsynced;
use super::unfinished::Unfinished;

/// Writes `bytes` to `path`, whole or not at all. Folders on the way are made.
///
/// # Errors
///
/// [`StoreError::Write`] if any step fails; `path` is then as it was.
pub fn write(path: &Utf8Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_parts(path, [bytes])
}

/// The same of bytes that lie in several places.
///
/// # Errors
///
/// Like [`write()`].
pub fn write_parts<'b>(path: &Utf8Path, parts: impl IntoIterator<Item = &'b [u8]>) -> Result<(), StoreError> {
    let folder = folder_of(path);
    put(path, parts, |file| file.sync_all())?;
    sync_folder(folder)
}

/// Writes bytes that lie in several places to `path`, whole or not at all as long as the power stays on: for what has a checksum or a
/// seal of its own, and can be made again.
///
/// # Errors
///
/// [`StoreError::Write`] if any step fails; `path` is then as it was.
pub fn write_cache<'b>(path: &Utf8Path, parts: impl IntoIterator<Item = &'b [u8]>) -> Result<(), StoreError> {
    put(path, parts, |_| Ok(()))
}

/// Writes `bytes` to `path`, whole or not at all as long as the power stays on. It is durable after `unsynced` is.
///
/// # Errors
///
/// [`StoreError::Write`] if any step fails; `path` is then as it was.
pub fn write_unsynced(path: &Utf8Path, bytes: &[u8], unsynced: &Unsynced) -> Result<(), StoreError> {
    put(path, [bytes], |_| Ok(()))?;
    unsynced.add(path.to_owned());
    Ok(())
}

/// Writes `bytes` to `path`, whole or not at all as long as the power stays on, with the mode of any file that a program makes. Gives the file
/// that is there then.
///
/// # Errors
///
/// [`StoreError::Write`] if any step fails; `path` is then as it was.
pub fn write_plain(path: &Utf8Path, bytes: &[u8], executable: bool) -> Result<File, StoreError> {
    let failed = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let temporary = || {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .make_in(folder_of(path), |temporary| File::create_new(temporary))
    };
    let mut file = in_folder_of(path, temporary).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if executable {
        set_published_mode(file.as_file(), executable).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error))
}

/// The same of what is too large to be held in memory: `fill` writes it. Nothing is left beside it when this process is killed.
///
/// # Errors
///
/// What `fill` gives; [`StoreError::Write`] if any other step fails. `path` is then as it was.
pub fn write_long(
    path: &Utf8Path,
    executable: bool,
    fill: impl FnOnce(&mut File) -> Result<(), StoreError>,
) -> Result<File, StoreError> {
    let failed = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = in_folder_of(path, || Unfinished::begin(folder_of(path))).map_err(failed)?;
    fill(file.as_file_mut())?;
    set_published_mode(file.as_file(), executable).map_err(failed)?;
    file.publish(path, Existing::Replace).map_err(failed)
}

fn put<'b>(
    path: &Utf8Path,
    parts: impl IntoIterator<Item = &'b [u8]>,
    sync: impl FnOnce(&File) -> io::Result<()>,
) -> Result<(), StoreError> {
    let folder = folder_of(path);
    create_folder(folder)?;
    let failed = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = tempfile::Builder::new()
        .prefix(TEMPORARY)
        .tempfile_in(folder)
        .map_err(failed)?;
    for part in parts {
        file.write_all(part).map_err(failed)?;
    }
    // A temporary file is private to its owner; what is published follows the umask, as any file does.
    set_published_mode(file.as_file(), false).map_err(failed)?;
    sync(file.as_file()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Whether a file that is there already may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It is, as soon as the new one is whole.
    Replace,
    /// It stays, and the new one is not written.
    Keep,
}

/// Writes to `path` what `fill` writes, whole or not at all: for what is too large to be held in memory. Nothing is left beside it
/// when this process is killed, or it is removed by the next that writes there.
///
/// # Errors
///
/// What `fill` gives; [`StoreError::Write`] if any other step fails. `path` is then as it was.
pub fn write_with<T, E: From<StoreError>>(
    path: &Utf8Path,
    existing: Existing,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let folder = folder_of(path);
    create_folder(folder)?;
    let failed = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    Unfinished::remove_left(folder);
    let mut file = Unfinished::begin(folder).map_err(failed)?;
    let filled = fill(file.as_file_mut())?;
    set_published_mode(file.as_file(), false).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.publish(path, existing).map_err(failed)?;
    sync_folder(folder)?;
    Ok(filled)
}

/// What lies at `path` that a file written there would take the place of, other than a file: in words; nothing if a file may be written there.
/// Links are not followed.
#[must_use]
pub fn in_the_way(path: &Utf8Path) -> Option<&'static str> {
    // What cannot be looked at cannot be written either: writing says why.
    let kind = path.symlink_metadata().ok()?.file_type();
    if kind.is_file() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if kind.is_char_device() || kind.is_block_device() {
            return Some("a device");
        }
        if kind.is_fifo() {
            return Some("a FIFO");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
    }
    Some(match (kind.is_symlink(), kind.is_dir()) {
        (true, _) => LINK,
        (_, true) => FOLDER,
        _ => "no file",
    })
}

/// A link, in words.
pub const LINK: &str = "a symbolic link";
/// A folder, in words.
pub const FOLDER: &str = "a folder";

/// What the names of temporary files begin with, so that a crash's leavings can be told from anything else.
pub const TEMPORARY: &str = ".madmall-tmp-";

/// Moves `from`, a file or a folder with all in it, to `to` (same file system) and syncs the folder, so that the new name survives a crash.
///
/// # Errors
///
/// [`StoreError::Write`] if it cannot be moved.
pub fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
    let folder = folder_of(to);
    create_folder(folder)?;
    move_away(from, to).map_err(|source| StoreError::Write {
        path: to.to_owned(),
        source,
    })?;
    sync_folder(folder)
}

/// Gives `file` the mode that a program without special wishes would have made it with.
///
/// # Errors
///
/// Whatever the system gives.
pub fn set_published_mode(file: &File, executable: bool) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let wanted = if executable { 0o777 } else { 0o666 };
        file.set_permissions(fs::Permissions::from_mode(wanted & !umask()))?;
    }
    #[cfg(not(unix))]
    let _ = (file, executable);
    Ok(())
}

/// The process's umask. It can only be read by setting it, so that is done once, before any stage has a thread.
#[cfg(unix)]
fn umask() -> u32 {
    use std::sync::LazyLock;
    static UMASK: LazyLock<u32> = LazyLock::new(|| {
        let umask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        rustix::process::umask(umask);
        umask.as_raw_mode()
    });
    *UMASK
}

/// Removes what crashed writers left in `folder`.
pub fn sweep(folder: &Utf8Path) {
    let Ok(entries) = folder.read_dir_utf8() else { return };
    for entry in entries.flatten() {
        if entry.file_name().starts_with(TEMPORARY) {
            // Best effort: a leaving that stays is never read.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_though_somebody_makes_files_in_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        for round in 0..5 {
            let scratch = root.join(round.to_string());
            create_folder(&scratch).expect("made");
            let (begun, is_begun) = std::sync::mpsc::channel();
            let scratch = &scratch;
            std::thread::scope(|scope| {
                // It goes on until its folder is gone.
                scope.spawn(move || {
                    let make = |n: &u32| File::create(scratch.join(n.to_string())).is_ok();
                    let goes_on = |n: &u32| make(n) && (*n != 500 || begun.send(()).is_ok());
                    (0..50_000).take_while(goes_on).count()
                });
                is_begun.recv().expect("it makes files");
                remove_folder(scratch).expect("removed");
            });
        }
    }

    #[test]
    fn a_file_that_is_there_is_kept_or_replaced_and_a_writer_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let path = root.join("file");
        let put = |existing, text: &'static str| {
            write_with(&path, existing, |file| -> Result<(), StoreError> {
                file.write_all(text.as_bytes()).expect("written");
                Ok(())
            })
        };
        let read = || fs::read_to_string(&path).expect("read");
        put(Existing::Keep, "one").expect("written");
        assert!(matches!(put(Existing::Keep, "two"), Err(StoreError::Write { .. })));
        assert_eq!(read(), "one");
        put(Existing::Replace, "three").expect("replaced");
        assert_eq!(read(), "three");
        let failed = write_with(&path, Existing::Replace, |_| -> Result<(), StoreError> {
            let source = io::Error::other("no");
            Err(StoreError::Read {
                path: path.clone(),
                source,
            })
        });
        assert!(failed.is_err());
        assert_eq!(read(), "three");
        assert_eq!(
            root.read_dir_utf8().expect("listed").count(),
            1,
            "no temporary file is left"
        );
    }
}
