//! A file that is written for a while, in a folder of the user's: what is left of it when its writer is killed.
//!
//! On Linux it has no name until it is whole (`O_TMPFILE`, open(2)): the system itself removes what a killed writer leaves. Where a
//! file system cannot do that it has a temporary name, and a lock for as long as its writer lives; the next writer removes those
//! of which the lock is free.

use std::fs::File;
use std::io;

use camino::Utf8Path;
use tempfile::NamedTempFile;

use super::atomic::Existing;

/// What the temporary names begin with. Not what those of small files do, which nobody locks; but a beginning of it, so that
/// whatever removes those removes these.
const PREFIX: &str = ".madmall-tmp-out-";

/// A file that is not yet what it is to become.
pub(super) enum Unfinished {
    /// Without a name.
    #[cfg(target_os = "linux")]
    Nameless(File),
    /// With a temporary one.
    Named(NamedTempFile),
}

impl Unfinished {
    /// Makes one in `folder`. Where it has a name, and may be left, what killed writers have left there is removed.
    pub(super) fn begin(folder: &Utf8Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless(folder) {
            hold(&file);
            return Ok(Self::Nameless(file));
        }
        Self::remove_left(folder);
        Self::named(folder)
    }

    fn named(folder: &Utf8Path) -> io::Result<Self> {
        let named = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
        hold(named.as_file());
        Ok(Self::Named(named))
    }

    pub(super) fn as_file(&self) -> &File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Named(named) => named.as_file(),
        }
    }

    pub(super) fn as_file_mut(&mut self) -> &mut File {
        match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => file,
            Self::Named(named) => named.as_file_mut(),
        }
    }

    /// Gives it the name `path`, in the folder that it was made in. It stays open.
    pub(super) fn publish(self, path: &Utf8Path, existing: Existing) -> io::Result<File> {
        let named = match self {
            #[cfg(target_os = "linux")]
            Self::Nameless(file) => match (link(&file, path.as_std_path()), existing) {
                // No call replaces a file by one without a name: it gets a temporary one first.
                (Err(error), Existing::Replace) if error.kind() == io::ErrorKind::AlreadyExists => {
                    let folder = super::atomic::folder_of(path);
                    let named = tempfile::Builder::new()
                        .prefix(PREFIX)
                        .make_in(folder, |name| link(&file, name))?;
                    return match named.persist(path) {
                        Ok(()) => Ok(file),
                        Err(error) => Err(error.error),
                    };
                }
                (linked, _) => return linked.map(|()| file),
            },
            Self::Named(named) => named,
        };
        let published = match existing {
            Existing::Replace => named.persist(path),
            Existing::Keep => named.persist_noclobber(path),
        };
        published.map_err(|error| error.error)
    }

    /// Removes what writers have left in `folder` who live no more.
    pub(super) fn remove_left(folder: &Utf8Path) {
        let Ok(entries) = folder.read_dir_utf8() else { return };
        for entry in entries.flatten().filter(|entry| entry.file_name().starts_with(PREFIX)) {
            let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
            // Best effort: what stays is in nobody's way.
            if is_file && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Locks a file that nobody else knows of. Where there are no locks there is none to be found free, and nothing is removed.
fn hold(file: &File) {
    let _ = file.lock();
}

/// A file in `folder` without a name; nothing where that cannot be had, or could not be given a name later.
#[cfg(target_os = "linux")]
fn nameless(folder: &Utf8Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(folder.as_std_path(), flags, Mode::RUSR | Mode::WUSR).ok()?);
    place_in_proc(&file).exists().then_some(file)
}

/// Where the system shows a file that is open.
#[cfg(target_os = "linux")]
fn place_in_proc(file: &File) -> camino::Utf8PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Gives a file without a name the name `path`, if nothing is called so.
#[cfg(target_os = "linux")]
fn link(file: &File, path: &std::path::Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    let from = place_in_proc(file);
    Ok(rustix::fs::linkat(
        CWD,
        from.as_std_path(),
        CWD,
        path,
        AtFlags::SYMLINK_FOLLOW,
    )?)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(folder: &Utf8Path) -> Vec<String> {
        let entries = folder.read_dir_utf8().expect("listed").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_with_a_temporary_name_is_published_or_stays_the_only_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let path = folder.join("file");
        let named = |text: &str| {
            let mut file = Unfinished::named(folder).expect("made");
            file.as_file_mut().write_all(text.as_bytes()).expect("written");
            file
        };
        named("one").publish(&path, Existing::Keep).expect("published");
        let kept = named("two").publish(&path, Existing::Keep).expect_err("it is there");
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "one");
        named("three").publish(&path, Existing::Replace).expect("published");
        assert_eq!(std::fs::read_to_string(&path).expect("read"), "three");
        assert_eq!(names(folder), ["file"]);
    }

    #[test]
    fn what_nobody_writes_any_more_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let left = format!("{PREFIX}abc");
        let others = [".madmall-tmp-abc", "own notes"];
        for name in others.iter().chain([&left.as_str()]) {
            File::create(folder.join(name)).expect("made");
        }
        let written = Unfinished::named(folder).expect("made");
        let Unfinished::Named(named) = &written else {
            panic!("it has a name");
        };
        let alive = named.path().file_name().expect("a name").to_string_lossy().into_owned();
        Unfinished::remove_left(folder);
        let mut expected = [others[0], others[1], alive.as_str()];
        expected.sort_unstable();
        assert_eq!(names(folder), expected);
        drop(written);
        assert_eq!(names(folder), others);
    }
}
