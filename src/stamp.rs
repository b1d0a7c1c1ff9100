//! What the file system says of files and folders, by which it is seen that one is no longer what it was.

use std::fs::{self, Metadata};
use std::io;
use std::ops::Add;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use serde::{Deserialize, Serialize};

use crate::digest::whole::Whole;

/// File systems stamp files by a coarse clock; no tick in use is longer than this where they stamp nanoseconds.
const TICK: Duration = Duration::from_millis(20);
/// Where a stamp has no fraction of a second, the file system may count in steps of up to two seconds.
const COARSE_TICK: Duration = Duration::from_secs(2);

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Nanoseconds since 1970.
    mtime: i64,
    /// Nanoseconds since 1970.
    ctime: i64,
    executable: bool,
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A link, of which it was not asked where it leads.
    Link,
    /// Something else.
    Other,
}

/// What the file system says of what stands at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its stamp.
    pub(crate) stamp: Stamp,
}

impl Found {
    /// The stamp of what has to be a regular file.
    ///
    /// # Errors
    ///
    /// Of kind `InvalidInput` if it is none.
    pub(crate) fn file(self) -> io::Result<Stamp> {
        match self.kind {
            Kind::File => Ok(self.stamp),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// The stamp of what has to be a folder.
    ///
    /// # Errors
    ///
    /// Of kind `NotADirectory` if it is none.
    pub(crate) fn folder(self) -> io::Result<Stamp> {
        match self.kind {
            Kind::Folder => Ok(self.stamp),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// What an open file is.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_open(file: &fs::File) -> io::Result<Self> {
        Ok(Self::from_stat(&rustix::fs::fstat(file)?))
    }

    /// What an open file is.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of_open(file: &fs::File) -> io::Result<Self> {
        Ok(Self::from(&file.metadata()?))
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn from_stat(found: &rustix::fs::Stat) -> Self {
        let kind = rustix::fs::FileType::from_raw_mode(found.st_mode).into();
        let nanos = |nanos| i64::try_from(nanos).unwrap_or(0);
        let stamp = Stamp {
            device: found.st_dev,
            inode: found.st_ino,
            size: u64::try_from(found.st_size).unwrap_or(0),
            mtime: Stamp::nanos(found.st_mtime, nanos(found.st_mtime_nsec)),
            ctime: Stamp::nanos(found.st_ctime, nanos(found.st_ctime_nsec)),
            executable: found.st_mode & 0o100 != 0,
        };
        Self { kind, stamp }
    }
}

impl From<fs::FileType> for Kind {
    fn from(kind: fs::FileType) -> Self {
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Folder,
            kind if kind.is_symlink() => Self::Link,
            _ => Self::Other,
        }
    }
}

#[cfg(target_os = "linux")]
impl From<rustix::fs::FileType> for Kind {
    fn from(kind: rustix::fs::FileType) -> Self {
        use rustix::fs::FileType;
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Folder,
            FileType::Symlink => Self::Link,
            _ => Self::Other,
        }
    }
}

impl From<&Metadata> for Found {
    fn from(found: &Metadata) -> Self {
        let kind = found.file_type().into();
        let stamp = Stamp::from_metadata(found);
        Self { kind, stamp }
    }
}

impl Stamp {
    /// What the file system says of the file at `path`, links followed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is no regular file.
    pub fn of(path: &Utf8Path) -> io::Result<Self> {
        Found::from(&fs::metadata(path)?).file()
    }

    /// What the file system says of the folder at `path`, links followed: another stamp means that a name in it was made,
    /// renamed or removed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `NotADirectory` if it is no folder.
    pub fn of_folder(path: &Utf8Path) -> io::Result<Self> {
        Found::from(&fs::metadata(path)?).folder()
    }

    /// Whether both are of the same file or folder, whatever is in it.
    #[must_use]
    pub fn is_same_entry(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// What is beyond the year 2262 is from the future, of which nothing vouches for anything.
    #[cfg(unix)]
    fn nanos(secs: i64, nanos: i64) -> i64 {
        secs.saturating_mul(1_000_000_000).saturating_add(nanos)
    }

    #[cfg(unix)]
    pub(crate) fn from_metadata(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            mtime: Self::nanos(found.mtime(), found.mtime_nsec()),
            ctime: Self::nanos(found.ctime(), found.ctime_nsec()),
            executable: found.mode() & 0o100 != 0,
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn from_metadata(found: &Metadata) -> Self {
        let nanos = |time: io::Result<SystemTime>| {
            time.ok()
                .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
                .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        };
        Self {
            device: 0,
            inode: 0,
            size: found.len(),
            mtime: nanos(found.modified()),
            ctime: nanos(found.created()),
            executable: false,
        }
    }

    /// Whether the file's owner may execute it.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.executable
    }

    /// The file's size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether a change made `now` would leave the stamp as it is.
    pub(crate) fn is_fresh(&self, now: Moment) -> bool {
        // A stamp from the future says nothing about now, so it is never old.
        let is_within = |stamp: i64, tick| Moment(stamp) + tick >= now;
        [self.mtime, self.ctime]
            .into_iter()
            .any(|stamp| is_within(stamp, TICK) || (is_within(stamp, COARSE_TICK) && stamp % 1_000_000_000 == 0))
    }
}

/// When something was looked at, by the clock that stamps files: nanoseconds since 1970, as stamps have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(i64);

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// How long before `later` it was; `None` if it was after it, as it is when the clock is put back.
    #[must_use]
    pub fn until(self, later: Self) -> Option<Duration> {
        let nanos = later.0.checked_sub(self.0)?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }
}

impl From<SystemTime> for Moment {
    /// A clock before 1970 is one of 1970, of which no stamp is old; one beyond the year 2262 is of that year.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(nanos(since))
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// As caches hold it: number after number would take longer than all else that is spelled of a file.
impl Whole<41> for Stamp {
    fn to_bytes(&self) -> [u8; 41] {
        let mut bytes = [0; 41];
        let numbers = [
            self.device,
            self.inode,
            self.size,
            self.mtime.cast_unsigned(),
            self.ctime.cast_unsigned(),
        ];
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (place, number) in places.iter_mut().zip(numbers) {
            *place = number.to_le_bytes();
        }
        bytes[40] = u8::from(self.executable);
        bytes
    }

    fn of_bytes(bytes: [u8; 41]) -> Self {
        let (places, _) = bytes.as_chunks::<8>();
        let number = |at: usize| u64::from_le_bytes(places[at]);
        Self {
            device: number(0),
            inode: number(1),
            size: number(2),
            mtime: number(3).cast_signed(),
            ctime: number(4).cast_signed(),
            executable: bytes[40] != 0,
        }
    }
}

/// How long until a file that is changed now can be told from one that is changed later.
#[must_use]
pub fn settling_time() -> Duration {
    TICK + Duration::from_millis(5)
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::store::atomic;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        (folder, root)
    }

    #[test]
    fn an_edit_that_puts_size_and_mtime_back_is_noticed() {
        let (_guard, root) = folder();
        let file = root.join("f");
        atomic::write(&file, b"1").expect("written");
        let before = Stamp::of(&file).expect("stamped");
        let modified = fs::metadata(&file).expect("found").modified().expect("a time");
        std::thread::sleep(settling_time());
        let edited = fs::OpenOptions::new().write(true).open(&file).expect("opened");
        io::Write::write_all(&mut &edited, b"2").expect("written");
        edited.set_modified(modified).expect("put back");
        let after = Stamp::of(&file).expect("stamped");
        assert_eq!(before.mtime, after.mtime);
        assert_ne!(before, after);
    }

    #[test]
    fn where_a_stamp_is_a_whole_second_a_change_leaves_no_trace_for_longer() {
        let (_guard, folder) = folder();
        let file = folder.join("f");
        crate::store::atomic::write(&file, b"1").expect("written");
        let opened = fs::File::options().write(true).open(&file).expect("opened");
        let whole = UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        // Nothing else of the stamp is recent by then.
        for (nanos, fresh_after) in [(0, COARSE_TICK), (1, TICK)] {
            let mtime = whole + Duration::from_nanos(nanos);
            opened.set_modified(mtime).expect("own file");
            let stamp = Stamp::of(&file).expect("stamped");
            let moment = Duration::from_millis(1);
            assert!(stamp.is_fresh((mtime + fresh_after).into()), "{nanos}");
            assert!(!stamp.is_fresh((mtime + fresh_after + moment).into()), "{nanos}");
        }
    }

    #[test]
    fn a_stamp_is_kept_whole() {
        let stamp = Stamp {
            device: 1,
            inode: u64::MAX,
            size: 3,
            mtime: i64::MIN,
            ctime: 5,
            executable: true,
        };
        for stamp in [
            stamp,
            Stamp {
                executable: false,
                ..stamp
            },
        ] {
            assert_eq!(Stamp::of_bytes(stamp.to_bytes()), stamp);
        }
    }

    #[test]
    fn a_moment_is_before_another_or_it_is_not() {
        let (second, now) = (Duration::from_secs(1), Moment::now());
        assert_eq!(now.until(now + second), Some(second));
        assert_eq!((now + second).until(now), None);
        // What no stamp can say is as late as one can, or before 1970 as early.
        let far = Moment::from(UNIX_EPOCH + Duration::from_secs(u64::MAX >> 1));
        assert_eq!((far, Moment::from(UNIX_EPOCH - second)), (Moment(i64::MAX), Moment(0)));
    }

    #[test]
    fn a_file_from_the_far_future_is_not_vouched_for() {
        let (_guard, root) = folder();
        let file = root.join("f");
        atomic::write(&file, b"1").expect("written");
        // Some file systems count no further than to 2038, and keep what they can.
        for years in [20, 300, 400] {
            let later = SystemTime::now() + Duration::from_secs(years * 365 * 86_400);
            let opened = fs::OpenOptions::new().write(true).open(&file).expect("opened");
            opened.set_modified(later).expect("set");
            let stamp = Stamp::of(&file).expect("stamped");
            assert!(stamp.is_fresh(Moment::now() + COARSE_TICK * 2), "{years} years");
        }
    }
}
