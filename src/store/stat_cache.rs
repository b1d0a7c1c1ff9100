//! What files were when they were last hashed, so that an unchanged file is not read again.
//!
//! An entry vouches for a file while device, inode, size, mtime and ctime are as they were. It is never made for a file
//! that was changed in the clock tick in which it was hashed: a second change in that tick would leave no trace. A cache
//! that cannot be read, or whose checksum is wrong, is thrown away. `verify` never uses it.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use camino::Utf8Path;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{MAX_CACHE, StoreError, atomic, read_bounded};
use crate::digest::{Digest, Digests, blake3_of, hash_reader};

const HEADER: &[u8] = b"madmall stat-cache v1\n";

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

impl Stamp {
    /// What the file system says of the file at `path`, links followed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is no regular file.
    pub fn of(path: &Utf8Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        if !found.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self::from_metadata(&found))
    }

    /// What the file system says of the folder at `path`, links followed: another stamp means that a name in it was made,
    /// renamed or removed.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `NotADirectory` if it is no folder.
    pub fn of_folder(path: &Utf8Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        match found.is_dir() {
            true => Ok(Self::from_metadata(&found)),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// What the file system says of the file or folder at `path`, links followed; `None` if nothing is there.
    ///
    /// # Errors
    ///
    /// Whatever the system gives; an error of kind `InvalidInput` if it is neither.
    pub fn of_entry(path: &Utf8Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(found) if found.is_file() || found.is_dir() => Ok(Some(Self::from_metadata(&found))),
            Ok(_) => Err(io::ErrorKind::InvalidInput.into()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether both are of the same file or folder, whatever is in it.
    #[must_use]
    pub fn is_same_entry(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    #[cfg(unix)]
    pub(super) fn from_metadata(found: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        // What is beyond the year 2262 is from the future, of which nothing vouches for anything.
        let nanos = |secs: i64, nanos: i64| secs.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            mtime: nanos(found.mtime(), found.mtime_nsec()),
            ctime: nanos(found.ctime(), found.ctime_nsec()),
            executable: found.mode() & 0o100 != 0,
        }
    }

    #[cfg(not(unix))]
    pub(super) fn from_metadata(found: &Metadata) -> Self {
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

    /// Whether a change made now would leave the stamp as it is.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let tick = |stamp: i64| if stamp % 1_000_000_000 == 0 { COARSE_TICK } else { TICK };
        [self.mtime, self.ctime].into_iter().any(|stamp| {
            let tick = i64::try_from(tick(stamp).as_nanos()).unwrap_or(i64::MAX);
            // A stamp from the future says nothing about now, so it is never old.
            stamp.saturating_add(tick) >= now
        })
    }
}

/// A file, hashed, with its stamp from before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Of its bytes.
    pub digests: Digests,
    /// What the file system said before.
    pub stamp: Stamp,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Entry {
    stamp: Stamp,
    digests: Digests,
}

/// Digests of files by their stamps.
#[derive(Default)]
pub struct StatCache {
    /// By path, as it is spelled: to compare paths name by name costs more than all else.
    entries: HashMap<Box<str>, Entry>,
    changed: bool,
}

impl StatCache {
    /// Reads the cache at `path`. One that is absent, damaged or of another version is an empty one.
    #[must_use]
    pub fn load(path: &Utf8Path) -> Self {
        let entries = read_bounded(path, MAX_CACHE).and_then(|bytes| {
            let rest = bytes.strip_prefix(HEADER)?;
            let (checksum, body) = rest.split_at_checked(32)?;
            let entries: Vec<(String, Entry)> =
                (Digest::of(body).as_bytes() == checksum).then(|| postcard::from_bytes(body).ok())??;
            Some(entries.into_iter().map(|(path, entry)| (path.into(), entry)).collect())
        });
        Self {
            entries: entries.unwrap_or_default(),
            changed: false,
        }
    }

    /// Writes the cache to `path`, if it has changed since it was read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn save(&mut self, path: &Utf8Path) -> Result<(), StoreError> {
        if !self.changed {
            return Ok(());
        }
        let mut entries: Vec<(&str, &Entry)> = self.entries.iter().map(|(path, entry)| (&**path, entry)).collect();
        entries.par_sort_unstable_by_key(|(path, _)| *path);
        let body = postcard::to_stdvec(&entries).expect("plain data has an encoding");
        let bytes = [HEADER, Digest::of(&body).as_bytes(), &body].concat();
        atomic::write_cache(path, &bytes)?;
        self.changed = false;
        Ok(())
    }

    /// What `path` (the key) hashes to, if the cache vouches for it: its stamp is as it was.
    #[must_use]
    pub fn get(&self, path: &Utf8Path, stamp: &Stamp) -> Option<Digests> {
        let entry = self.entries.get(path.as_str())?;
        (entry.stamp == *stamp).then_some(entry.digests)
    }

    /// Remembers what a file hashed to, unless it was changed in the tick in which it was hashed. `hashed_at` is the
    /// time just before its bytes were read.
    pub fn put(&mut self, path: &Utf8Path, hashed: &Hashed, hashed_at: SystemTime) {
        self.changed = true;
        if hashed.stamp.is_fresh(hashed_at) {
            self.entries.remove(path.as_str());
        } else {
            let entry = Entry {
                stamp: hashed.stamp,
                digests: hashed.digests,
            };
            self.entries.insert(path.as_str().into(), entry);
        }
    }

    /// Forgets every path that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&Utf8Path) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|path, _| keep(Utf8Path::new(path)));
        self.changed |= self.entries.len() != before;
    }
}

/// Hashes the file at `absolute`. If it changes while it is read, that is an error.
///
/// # Errors
///
/// Whatever reading gives; an error of kind `ResourceBusy` if the file changed meanwhile.
pub fn hash_stamped(absolute: &Utf8Path) -> io::Result<Hashed> {
    hash_as_stamped(absolute, Stamp::of(absolute)?)
}

/// The same of a file that had this stamp just now: the file that is read must have it before and after. What has come to lie at
/// `absolute` since then is another file, and has another stamp.
///
/// # Errors
///
/// Like [`hash_stamped`].
pub fn hash_as_stamped(absolute: &Utf8Path, stamp: Stamp) -> io::Result<Hashed> {
    let file = File::open(absolute)?;
    let (digests, size) = hash_reader(&file)?;
    if size != stamp.size || Stamp::from_metadata(&file.metadata()?) != stamp {
        return Err(changed());
    }
    Ok(Hashed { digests, stamp })
}

/// The same of a file that most likely hashes to `expected`. Only its BLAKE3 is computed if it does: bytes with the same
/// BLAKE3 are the same bytes, and their SHA-256 is known.
///
/// # Errors
///
/// Like [`hash_stamped`].
pub fn hash_as_expected(absolute: &Utf8Path, stamp: Stamp, expected: Digests) -> io::Result<Hashed> {
    let mut file = File::open(absolute)?;
    let (found, read) = blake3_of(&mut file)?;
    if found != expected.blake3 {
        return hash_as_stamped(absolute, stamp);
    }
    if read != stamp.size || Stamp::from_metadata(&file.metadata()?) != stamp {
        return Err(changed());
    }
    Ok(Hashed {
        digests: expected,
        stamp,
    })
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read")
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

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        (folder, root)
    }

    #[test]
    fn a_file_changed_in_the_tick_in_which_it_was_hashed_is_not_vouched_for() {
        let (_guard, root) = folder();
        let file = root.join("f");
        atomic::write(&file, b"1").expect("written");
        let hashed = hash_stamped(&file).expect("hashed");
        let mut cache = StatCache::default();

        cache.put(Utf8Path::new("f"), &hashed, SystemTime::now());
        assert_eq!(cache.get(Utf8Path::new("f"), &hashed.stamp), None);
        cache.put(Utf8Path::new("f"), &hashed, SystemTime::now() + COARSE_TICK * 2);
        assert_eq!(cache.get(Utf8Path::new("f"), &hashed.stamp), Some(hashed.digests));
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
            assert!(stamp.is_fresh(SystemTime::now() + COARSE_TICK * 2), "{years} years");
        }
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let (_guard, root) = folder();
        let (file, saved) = (root.join("f"), root.join("cache"));
        atomic::write(&file, b"1").expect("written");
        let hashed = hash_stamped(&file).expect("hashed");
        let mut cache = StatCache::default();
        cache.put(Utf8Path::new("f"), &hashed, SystemTime::now() + COARSE_TICK * 2);
        cache.save(&saved).expect("saved");
        assert!(StatCache::load(&saved).get(Utf8Path::new("f"), &hashed.stamp).is_some());

        let mut bytes = fs::read(&saved).expect("read");
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            atomic::write(&saved, &bytes).expect("written");
            assert!(StatCache::load(&saved).entries.is_empty(), "byte {place}");
            bytes[place] ^= 1;
        }
    }
}
