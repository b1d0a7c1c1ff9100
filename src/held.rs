//! A folder that is held open, and what lies below it: no link is followed on the way, so that whoever may change what is in the folder
//! leads nobody out of it. (By `openat2` of Linux, or one name after the other where that is not to be had.)

use std::fs::{self, File};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

/// A folder that is held open.
#[derive(Debug)]
pub(crate) struct Held {
    #[cfg(unix)]
    folder: File,
    /// Where it was when it was opened.
    path: Utf8PathBuf,
}

impl Held {
    /// The folder at `path`, links followed: nobody else may change anything there yet.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub(crate) fn open(path: &Utf8Path) -> io::Result<Self> {
        Ok(Self {
            #[cfg(unix)]
            folder: File::open(path)?,
            path: path.to_owned(),
        })
    }

    /// Opens the regular file at `path` below the folder, to be read. Gives what it is, too.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is something else, or a link is on the way.
    pub(crate) fn file(&self, path: &Utf8Path) -> io::Result<(File, fs::Metadata)> {
        regular(self.opened(path)?)
    }

    /// The folder at `path` below the folder.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if a link is on the way.
    pub(crate) fn folder(&self, path: &Utf8Path) -> io::Result<Self> {
        let path_of_all = self.path.join(path);
        Ok(Self {
            #[cfg(unix)]
            folder: self.beneath(path, rustix::fs::OFlags::DIRECTORY)?,
            path: path_of_all,
        })
    }

    /// Moves what lies at `path` below the folder to `to`, on the same file system; a link is moved as it is.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub(crate) fn move_out(&self, path: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
        let name = path.file_name().unwrap_or_default();
        match path.parent().filter(|parent| !parent.as_str().is_empty()) {
            Some(parent) => self.folder(parent)?.move_name(name, to),
            None => self.move_name(name, to),
        }
    }

    #[cfg(unix)]
    fn move_name(&self, name: &str, to: &Utf8Path) -> io::Result<()> {
        Ok(rustix::fs::renameat(
            &self.folder,
            name,
            rustix::fs::CWD,
            to.as_std_path(),
        )?)
    }

    #[cfg(not(unix))]
    fn move_name(&self, name: &str, to: &Utf8Path) -> io::Result<()> {
        fs::rename(self.path.join(name), to)
    }

    /// A pipe is not waited for.
    #[cfg(unix)]
    fn opened(&self, path: &Utf8Path) -> io::Result<File> {
        self.beneath(path, rustix::fs::OFlags::NONBLOCK)
    }

    #[cfg(not(unix))]
    fn opened(&self, path: &Utf8Path) -> io::Result<File> {
        let path = self.path.join(path);
        match fs::symlink_metadata(&path)?.is_file() {
            true => File::open(path),
            false => Err(no_regular_file()),
        }
    }

    #[cfg(unix)]
    fn beneath(&self, path: &Utf8Path, flags: rustix::fs::OFlags) -> io::Result<File> {
        use rustix::io::{Errno, retry_on_intr};
        let opened = retry_on_intr(|| open_beneath(&self.folder, path, flags));
        opened.map_err(|errno| match errno {
            Errno::LOOP | Errno::XDEV => io::Error::new(io::ErrorKind::InvalidInput, "a link is on the way to it"),
            other => other.into(),
        })
    }
}

/// Opens what is at `path` below `folder`.
#[cfg(target_os = "linux")]
fn open_beneath(folder: &File, path: &Utf8Path, flags: rustix::fs::OFlags) -> rustix::io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    use rustix::io::Errno;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(
        folder,
        path.as_std_path(),
        flags | OFlags::CLOEXEC,
        Mode::empty(),
        resolve,
    ) {
        // Kernels before 5.6, and containers that allow no more than they know.
        Err(Errno::NOSYS | Errno::PERM) => open_by_steps(folder, path, flags),
        opened => Ok(File::from(opened?)),
    }
}

/// Opens what is at `path` below `folder`.
#[cfg(all(unix, not(target_os = "linux")))]
fn open_beneath(folder: &File, path: &Utf8Path, flags: rustix::fs::OFlags) -> rustix::io::Result<File> {
    open_by_steps(folder, path, flags)
}

/// The same, one name after the other, none of which may be a link.
#[cfg(unix)]
fn open_by_steps(folder: &File, path: &Utf8Path, flags: rustix::fs::OFlags) -> rustix::io::Result<File> {
    use camino::Utf8Component;
    use rustix::fs::{Mode, OFlags, openat};
    use rustix::io::Errno;
    let plain = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut at: Option<File> = None;
    let mut names = path.components().peekable();
    while let Some(name) = names.next() {
        let Utf8Component::Normal(name) = name else {
            return Err(Errno::INVAL);
        };
        let flags = match names.peek() {
            Some(_) => plain | OFlags::DIRECTORY,
            None => plain | flags,
        };
        at = Some(openat(at.as_ref().unwrap_or(folder), name, flags, Mode::empty())?.into());
    }
    at.ok_or(Errno::INVAL)
}

fn regular(file: File) -> io::Result<(File, fs::Metadata)> {
    let found = file.metadata()?;
    match found.is_file() {
        true => Ok((file, found)),
        false => Err(no_regular_file()),
    }
}

fn no_regular_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

/// Opens the regular file at `path`, if it is that itself: no link, wherever it leads. Gives what it is, too.
///
/// # Errors
///
/// Whatever the system gives; an error of kind `InvalidInput` if it is something else.
pub(crate) fn open_plain(path: &Utf8Path) -> io::Result<(File, fs::Metadata)> {
    #[cfg(unix)]
    let file = {
        use rustix::fs::{Mode, OFlags, open};
        use rustix::io::{Errno, retry_on_intr};
        let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        match retry_on_intr(|| open(path.as_std_path(), flags, Mode::empty())) {
            Err(Errno::LOOP) => return Err(no_regular_file()),
            opened => File::from(opened?),
        }
    };
    #[cfg(not(unix))]
    let file = match fs::symlink_metadata(path)?.is_file() {
        true => File::open(path)?,
        false => return Err(no_regular_file()),
    };
    regular(file)
}

/// Whether two files are one.
#[cfg(unix)]
pub(crate) fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Whether two files are one, as far as can be told.
#[cfg(not(unix))]
pub(crate) fn is_same(a: &fs::Metadata, b: &fs::Metadata) -> bool {
    a.is_file() && b.is_file() && a.len() == b.len()
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_below_leads_out() {
        let guard = tempfile::tempdir().expect("a temporary folder");
        let top = Utf8Path::from_path(guard.path()).expect("UTF-8");
        let root = top.join("root");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::create_dir(top.join("secret")).expect("made");
        for path in ["root/a/b/file", "secret/key"] {
            File::create_new(top.join(path)).expect("made");
        }
        symlink(top.join("secret"), root.join("a/out")).expect("linked");
        symlink("b/file", root.join("a/link")).expect("linked");
        symlink("b", root.join("a/folder")).expect("linked");
        let held = Held::open(&root).expect("opened");
        for by_steps in [false, true] {
            let open = |path: &str| match by_steps {
                true => open_by_steps(&held.folder, Utf8Path::new(path), rustix::fs::OFlags::NONBLOCK)
                    .map_err(io::Error::from)
                    .and_then(|file| file.metadata().map(|found| found.is_file()))
                    .unwrap_or(false),
                false => held.file(Utf8Path::new(path)).is_ok(),
            };
            assert!(open("a/b/file"), "{by_steps}");
            for path in [
                "a/link",
                "a/folder/file",
                "a/out/key",
                "../secret/key",
                "/etc/passwd",
                "a/b",
                "a/b/none",
            ] {
                assert!(!open(path), "{path}, {by_steps}");
            }
        }
    }

    #[test]
    fn what_is_moved_out_is_what_has_the_name_and_a_pipe_is_not_waited_for() {
        let guard = tempfile::tempdir().expect("a temporary folder");
        let top = Utf8Path::from_path(guard.path()).expect("UTF-8");
        fs::create_dir_all(top.join("root/a")).expect("made");
        fs::create_dir(top.join("secret")).expect("made");
        let held = Held::open(&top.join("root")).expect("opened");
        for path in ["root/a/file", "secret/key"] {
            File::create_new(top.join(path)).expect("made");
        }
        symlink(top.join("secret"), top.join("root/out")).expect("linked");
        held.move_out(Utf8Path::new("a/file"), &top.join("moved"))
            .expect("moved");
        assert!(top.join("moved").is_file());
        held.move_out(Utf8Path::new("out/key"), &top.join("stolen"))
            .expect_err("a link");
        assert!(top.join("secret/key").is_file());
        let pipe = top.join("root/pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.is_ok_and(|status| status.success()));
        let mut read = String::new();
        let error = held
            .file(Utf8Path::new("pipe"))
            .and_then(|(mut file, _)| file.read_to_string(&mut read))
            .expect_err("a pipe");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
