//! What stands at paths of the workspace.
//!
//! The workspace's folder is opened once, and paths are looked up from there: the way to it, which may be long, is not walked again
//! for each of a hundred thousand files. (Where that is not done, paths are looked up whole.)

use std::fs::File;
use std::io;

use camino::Utf8Path;

use super::Workspace;
use crate::stamp::{Found, Kind, Stamp};

/// What is looked at where there is a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    /// What it leads to.
    Followed,
    /// The link.
    Kept,
}

impl Workspace {
    /// What the file system says of the file at `path`, links followed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is no regular file.
    pub fn stamp_of(&self, path: &Utf8Path) -> io::Result<Stamp> {
        self.look(path, Links::Followed)?.file()
    }

    /// What the file system says of the folder at `path`, links followed: another stamp means that a name in it was made,
    /// renamed or removed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `NotADirectory` if it is no folder.
    pub fn stamp_of_folder(&self, path: &Utf8Path) -> io::Result<Stamp> {
        self.look(path, Links::Followed)?.folder()
    }

    /// What the file system says of the file or folder at `path`, links followed; `None` if nothing is there.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is neither.
    pub fn stamp_of_entry(&self, path: &Utf8Path) -> io::Result<Option<Stamp>> {
        match self.look(path, Links::Followed) {
            Ok(found) if matches!(found.kind, Kind::File | Kind::Folder) => Ok(Some(found.stamp)),
            Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What stands at `path`; of a link, that it is one.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub(crate) fn found_at(&self, path: &Utf8Path) -> io::Result<Found> {
        self.look(path, Links::Kept)
    }

    /// What stands at `path` if no link is on the way to it and it is none itself, so that `path` is its real path. `None` says no more than
    /// that it was not found out so.
    #[cfg(target_os = "linux")]
    pub(crate) fn plainly_at(&self, path: &Utf8Path) -> Option<Found> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
        // The system takes more spellings than the real path has.
        if path.as_str().split('/').any(|name| matches!(name, "" | "." | "..")) {
            return None;
        }
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let found = openat2(self.folder.as_ref()?, path.as_std_path(), flags, Mode::empty(), resolve);
        Some(Found::from_stat(&fstat(found.ok()?).ok()?))
    }

    /// The same: elsewhere it is never found out so.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn plainly_at(&self, _: &Utf8Path) -> Option<Found> {
        None
    }

    /// Opens the file at `path` for reading, links followed. A pipe is not waited for: whoever opens it asks what it is.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(&self, path: &Utf8Path) -> io::Result<File> {
        use std::os::fd::AsFd as _;

        use rustix::fs::{CWD, Mode, OFlags, openat};
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let open = |folder, path| rustix::io::retry_on_intr(|| openat(folder, path, flags, Mode::empty()));
        let opened = match &self.folder {
            Some(folder) => open(folder.as_fd(), below(path)),
            None => open(CWD, self.absolute(path).as_std_path()),
        };
        Ok(File::from(opened?))
    }

    /// Opens the file at `path` for reading, links followed. A pipe is not waited for.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is no regular file.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(&self, path: &Utf8Path) -> io::Result<File> {
        let absolute = self.absolute(path);
        Found::from(&absolute.metadata()?).file()?;
        File::open(absolute)
    }

    #[cfg(target_os = "linux")]
    fn look(&self, path: &Utf8Path, links: Links) -> io::Result<Found> {
        use rustix::fs::{AtFlags, statat};
        let Some(folder) = &self.folder else {
            return self.look_whole(path, links);
        };
        let flags = match links {
            Links::Followed => AtFlags::empty(),
            Links::Kept => AtFlags::SYMLINK_NOFOLLOW,
        };
        Ok(Found::from_stat(&statat(folder, below(path), flags)?))
    }

    #[cfg(not(target_os = "linux"))]
    fn look(&self, path: &Utf8Path, links: Links) -> io::Result<Found> {
        self.look_whole(path, links)
    }

    fn look_whole(&self, path: &Utf8Path, links: Links) -> io::Result<Found> {
        let absolute = self.absolute(path);
        let found = match links {
            Links::Followed => absolute.metadata(),
            Links::Kept => absolute.symlink_metadata(),
        };
        Ok(Found::from(&found?))
    }
}

/// The folder of the workspace, to look paths up from; none if it cannot be opened.
#[cfg(target_os = "linux")]
pub(super) fn open_folder(root: &Utf8Path) -> Option<std::sync::Arc<rustix::fd::OwnedFd>> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| open(root.as_std_path(), flags, Mode::empty()));
    opened.ok().map(std::sync::Arc::new)
}

/// The path, from the workspace's folder: an empty one is that folder.
#[cfg(target_os = "linux")]
fn below(path: &Utf8Path) -> &std::path::Path {
    match path.as_str().is_empty() {
        true => std::path::Path::new("."),
        false => path.as_std_path(),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use camino::Utf8PathBuf;

    use super::*;

    #[test]
    fn what_is_found_from_the_folder_is_what_is_found_by_the_whole_path() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = root.canonicalize_utf8().expect("it is there");
        std::fs::create_dir_all(root.join("w/a b/ü")).expect("made");
        for (path, bytes) in [("w/a b/ü/f", "1"), ("w/g", "22"), ("outside", "333")] {
            crate::store::atomic::write(&root.join(path), bytes.as_bytes()).expect("written");
        }
        for (path, mode) in [("w/g", 0o744), ("w/a b/ü/f", 0o645)] {
            std::fs::set_permissions(root.join(path), Permissions::from_mode(mode)).expect("set");
        }
        for (to, link) in [
            ("../g", "w/a b/link"),
            ("a b", "w/folder"),
            ("nowhere", "w/broken"),
            ("loop", "w/loop"),
        ] {
            symlink(to, root.join(link)).expect("made");
        }
        let outside = root.join("outside");
        let paths = [
            "",
            ".",
            "g",
            "a b",
            "a b/ü/f",
            "a b/link",
            "folder/ü/f",
            "folder/",
            "broken",
            "loop",
            "gone",
            "g/f",
            "a b/../g",
            "./g",
            "a b//ü",
            "folder",
            "a b/ü/",
            "../outside",
            outside.as_str(),
            "/dev/null",
            "a\0b",
        ];
        let workspace = Workspace::at(root.join("w"));
        assert!(workspace.folder.is_some());
        for path in paths.map(Utf8Path::new) {
            for links in [Links::Followed, Links::Kept] {
                let (from_folder, whole) = (workspace.look(path, links), workspace.look_whole(path, links));
                match (from_folder, whole) {
                    (Ok(one), Ok(other)) => assert_eq!((one.kind, one.stamp), (other.kind, other.stamp), "{path:?}"),
                    (one, other) => assert_eq!(
                        one.err().map(|error| error.kind()),
                        other.err().map(|error| error.kind()),
                        "{path:?}"
                    ),
                }
            }
            let read = |file: io::Result<File>| file.and_then(io::read_to_string).map_err(|error| error.kind());
            assert_eq!(
                read(workspace.open(path)),
                read(File::open(workspace.absolute(path))),
                "{path:?}"
            );
        }
        for path in paths.map(Utf8Path::new) {
            // Where nothing is a link, and nothing spelled otherwise than it is.
            let absolute = workspace.absolute(path);
            let real = absolute.canonicalize_utf8().ok();
            let is_plain =
                real.is_some_and(|real| real.as_str() == absolute.as_str() && absolute.starts_with(root.join("w")));
            let plain = workspace.plainly_at(path);
            assert_eq!(plain.is_some(), is_plain && !path.as_str().is_empty(), "{path:?}");
            if let Some(plain) = plain {
                let whole = workspace.look_whole(path, Links::Kept).expect("there");
                assert_eq!((plain.kind, plain.stamp), (whole.kind, whole.stamp), "{path:?}");
            }
        }
        let gone = Workspace::at(Utf8PathBuf::from("/nowhere at all"));
        assert_eq!(gone.stamp_of_entry(Utf8Path::new("f")).expect("asked"), None);
    }
}
