//! Files that only their owner may read, in a folder of which the same holds: keys and secrets.

use std::fs::File;
use std::io::{self, Write as _};

use camino::Utf8Path;

/// Makes `folder` and those above it, for its owner alone.
///
/// # Errors
///
/// Whatever the system gives.
#[cfg(unix)]
pub(crate) fn make_folder(folder: &Utf8Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes `folder` and those above it.
///
/// # Errors
///
/// Whatever the system gives.
#[cfg(not(unix))]
pub(crate) fn make_folder(folder: &Utf8Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)
}

/// Writes a file that others cannot read and that appears whole, unless one of that name is there already. Returns
/// whether it was written.
///
/// # Errors
///
/// Whatever the system gives.
pub(crate) fn publish_new(folder: &Utf8Path, name: &str, bytes: &[u8]) -> io::Result<bool> {
    let path = folder.join(name);
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    // A temporary file is made with mode 0600 and O_EXCL.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(&path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error.error),
    }
    // After a crash the name may be lost although the bytes are safe.
    File::open(folder)?.sync_all()?;
    Ok(true)
}

/// The permission bits of `file`, if others than its owner may do anything with it.
///
/// # Errors
///
/// Whatever the system gives.
#[cfg(unix)]
pub(crate) fn exposed(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    Ok((mode & 0o077 != 0).then_some(mode))
}

/// Nothing is known of it here.
///
/// # Errors
///
/// None.
#[cfg(not(unix))]
pub(crate) fn exposed(_file: &File) -> io::Result<Option<u32>> {
    Ok(None)
}
