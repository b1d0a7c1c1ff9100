//! What lies directly in the store's folder: folders and files, and no link.
//!
//! Whoever made the workspace may have put it there: a repository can have any of these names as a link, and what is written, emptied or
//! removed in the store would then be written, emptied or removed where the link leads.

use std::io;

use camino::Utf8Path;

use super::StoreError;

/// What is found in the place of the store's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// Nothing.
    Missing,
    /// Something that is no folder.
    NoFolder,
    /// A folder without links.
    Folder {
        /// Whether git is told to pass it over.
        is_ignored: bool,
    },
}

/// The file that tells git to pass the folder over.
pub(super) const IGNORE: &str = ".gitignore";

/// Looks at the store's folder `root` and what lies directly in it.
///
/// # Errors
///
/// [`StoreError::Link`] if it is a link, or one lies in it; [`StoreError::Read`] if it cannot be listed.
pub(super) fn look(root: &Utf8Path) -> Result<Root, StoreError> {
    let mut is_ignored = false;
    let listed = each_entry(root, |name, is_link| {
        is_ignored |= name == IGNORE.as_bytes();
        match is_link {
            true => Err(root.join(String::from_utf8_lossy(name).as_ref())),
            false => Ok(()),
        }
    });
    match listed {
        Ok(Ok(())) => Ok(Root::Folder { is_ignored }),
        Ok(Err(path)) => Err(StoreError::Link { path }),
        Err(source) => match root.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Root::Missing),
            Ok(found) if found.is_symlink() => Err(StoreError::Link { path: root.to_owned() }),
            Ok(found) if !found.is_dir() => Ok(Root::NoFolder),
            _ => Err(StoreError::Read {
                path: root.to_owned(),
                source,
            }),
        },
    }
}

/// Fails if `folder` is a link: what it leads to is not the store's to list, to write to or to remove.
///
/// # Errors
///
/// [`StoreError::Link`].
pub(super) fn refuse_link(folder: &Utf8Path) -> Result<(), StoreError> {
    match folder.is_symlink() {
        true => Err(StoreError::Link {
            path: folder.to_owned(),
        }),
        false => Ok(()),
    }
}

/// Gives each name in `folder`, which is no link, to `take` with whether it is a link, until that fails. The folder is opened once, so that
/// what is listed is what was looked at; a run with nothing to do pays for it with four calls of the system.
#[cfg(target_os = "linux")]
fn each_entry<E>(folder: &Utf8Path, mut take: impl FnMut(&[u8], bool) -> Result<(), E>) -> io::Result<Result<(), E>> {
    use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, statat};

    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| openat(CWD, folder.as_std_path(), flags, Mode::empty()))?;
    let mut buffer = Vec::with_capacity(8 * 1024);
    let mut names = RawDir::new(&opened, buffer.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name();
        let kind = match entry.file_type() {
            // Not all file systems say it.
            FileType::Unknown => FileType::from_raw_mode(statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        if let Err(error) = take(name.to_bytes(), kind == FileType::Symlink) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Gives each name in `folder`, which is no link, to `take` with whether it is a link, until that fails.
#[cfg(not(target_os = "linux"))]
fn each_entry<E>(folder: &Utf8Path, mut take: impl FnMut(&[u8], bool) -> Result<(), E>) -> io::Result<Result<(), E>> {
    if folder.symlink_metadata()?.is_symlink() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    for entry in folder.as_std_path().read_dir()? {
        let entry = entry?;
        let is_link = entry.file_type()?.is_symlink();
        if let Err(error) = take(entry.file_name().as_encoded_bytes(), is_link) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::atomic;

    #[test]
    fn a_link_is_found_wherever_it_is_and_wherever_it_leads() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let base = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = base.join("store");
        let link_at = |path: &Utf8Path| matches!(look(&root), Err(StoreError::Link { path: found }) if found == path);
        assert_eq!(look(&root).expect("looked at"), Root::Missing);
        symlink("nowhere", &root).expect("linked");
        assert!(link_at(&root));
        std::fs::remove_file(&root).expect("removed");
        atomic::create_folder(&base.join("other")).expect("made");
        symlink("other", &root).expect("linked");
        assert!(link_at(&root));
        std::fs::remove_file(&root).expect("removed");
        atomic::write(&root, b"").expect("written");
        assert_eq!(look(&root).expect("looked at"), Root::NoFolder);
        std::fs::remove_file(&root).expect("removed");

        // More names than are listed at once.
        for number in 0..100 {
            atomic::write(&root.join(format!("{number:0>200}")), b"").expect("written");
        }
        let is_ignored = |is_ignored| look(&root).expect("looked at") == Root::Folder { is_ignored };
        assert!(is_ignored(false));
        atomic::write(&root.join(IGNORE), b"").expect("written");
        assert!(is_ignored(true));
        for (name, to) in [("lock", "nowhere"), ("cas", "../other"), ("mine", ".gitignore")] {
            symlink(to, root.join(name)).expect("linked");
            assert!(link_at(&root.join(name)), "{name}");
            std::fs::remove_file(root.join(name)).expect("removed");
        }
        assert!(is_ignored(true));
    }
}
