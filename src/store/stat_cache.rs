//! What files were when they were last hashed, so that an unchanged file is not read again.
//!
//! An entry vouches for a file while device, inode, size, mtime and ctime are as they were. It is never made for a file
//! that was changed in the clock tick in which it was hashed: a second change in that tick would leave no trace. A cache
//! that cannot be read, or whose checksum is wrong, is thrown away. `verify` never uses it.

use std::fs::File;
use std::io;

use camino::Utf8Path;
use foldhash::fast::RandomState;
use indexmap::IndexMap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{MAX_CACHE, read_bounded};
use crate::digest::{Digest, Digests, blake3_of, hash_sized, whole};
use crate::shared_path::SharedPath;
use crate::stamp::{Found, Moment, Stamp};
use crate::workspace::Workspace;

const HEADER: &[u8] = b"madmall stat-cache v3\n";

/// No file up to this size is long.
pub(super) const SHORT: u64 = 1 << 20;

/// So many entries are spelled by one core.
const TOGETHER: usize = 4096;

/// A file, hashed, with its stamp from before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashed {
    /// Of its bytes.
    pub digests: Digests,
    /// What the file system said before.
    pub stamp: Stamp,
}

/// What is remembered of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(with = "whole")]
    stamp: Stamp,
    #[serde(with = "whole")]
    digests: Digests,
}

impl Entry {
    /// What the file hashes to, if its stamp is as it was.
    #[must_use]
    pub fn vouched(&self, stamp: &Stamp) -> Option<Digests> {
        (self.stamp == *stamp).then_some(self.digests)
    }

    /// What a long file most likely hashes to: what it did when it had another stamp and the same size. A short one is hashed as soon as
    /// it is held against that.
    #[must_use]
    pub fn likely(&self, stamp: &Stamp) -> Option<Digests> {
        (stamp.size() > SHORT && self.stamp.size() == stamp.size()).then_some(self.digests)
    }
}

/// Digests of files by their stamps.
#[derive(Default)]
pub struct StatCache {
    /// By path, as it is spelled: to compare paths name by name costs more than all else. In the order in which they came, mostly that of
    /// the paths.
    entries: IndexMap<SharedPath, Entry, RandomState>,
    changed: bool,
}

impl StatCache {
    /// Reads the cache at `path`. One that is absent, damaged or of another version is an empty one.
    #[must_use]
    pub fn load(path: &Utf8Path) -> Self {
        let entries = read_bounded(path, MAX_CACHE).and_then(|bytes| {
            let rest = bytes.strip_prefix(HEADER)?;
            let (checksum, body) = rest.split_at_checked(32)?;
            let entries: Vec<(SharedPath, Entry)> =
                (Digest::of(body).as_bytes() == checksum).then(|| postcard::from_bytes(body).ok())??;
            Some(entries.into_iter().collect())
        });
        Self {
            entries: entries.unwrap_or_default(),
            changed: false,
        }
    }

    /// The cache as its file holds it, part by part, if it has changed since it was read.
    #[must_use]
    pub fn sealed(&self) -> Option<Vec<Vec<u8>>> {
        self.changed.then(|| {
            let entries: Vec<(&str, &Entry)> = self
                .entries
                .iter()
                .map(|(path, entry)| (path.as_str(), entry))
                .collect();
            seal(&entries)
        })
    }

    /// What is remembered of `path`.
    #[must_use]
    pub fn entry(&self, path: &Utf8Path) -> Option<Entry> {
        self.entries.get(path.as_str()).copied()
    }

    /// What `path` (the key) hashes to, if the cache vouches for it: its stamp is as it was.
    #[must_use]
    pub fn get(&self, path: &Utf8Path, stamp: &Stamp) -> Option<Digests> {
        self.entries.get(path.as_str())?.vouched(stamp)
    }

    /// Makes room for so many files in all.
    pub fn make_room_for(&mut self, files: usize) {
        self.entries.reserve(files.saturating_sub(self.entries.len()));
    }

    /// Remembers what a file hashed to, unless it was changed in the tick in which it was hashed. `hashed_at` is the
    /// time just before its bytes were read.
    pub fn put(&mut self, path: impl Into<SharedPath> + AsRef<Utf8Path>, hashed: &Hashed, hashed_at: Moment) {
        self.changed = true;
        if hashed.stamp.is_fresh(hashed_at) {
            self.entries.swap_remove(path.as_ref().as_str());
        } else {
            let entry = Entry {
                stamp: hashed.stamp,
                digests: hashed.digests,
            };
            self.entries.insert(path.into(), entry);
        }
    }

    /// Forgets every path that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&Utf8Path) -> bool) {
        let before = self.entries.len();
        self.entries.retain(|path, _| keep(path));
        self.changed |= self.entries.len() != before;
    }
}

/// What a file holds that has all `entries`, spelled by all cores.
fn seal(entries: &[(&str, &Entry)]) -> Vec<Vec<u8>> {
    const PLAIN: &str = "plain data has an encoding";
    let spell = |entries: &[(&str, &Entry)]| {
        let spelled = Vec::with_capacity(entries.len() * 160);
        let add = |spelled, entry| postcard::to_extend(entry, spelled).expect(PLAIN);
        entries.iter().fold(spelled, add)
    };
    // A list is how long it is, and one entry after the other.
    let count = postcard::to_stdvec(&entries.len()).expect(PLAIN);
    let mut parts: Vec<Vec<u8>> = entries.par_chunks(TOGETHER).map(spell).collect();
    let mut checksum = blake3::Hasher::new();
    for part in std::iter::once(&count).chain(&parts) {
        checksum.update(part);
    }
    let front = [HEADER, checksum.finalize().as_bytes(), &count].concat();
    parts.insert(0, front);
    parts
}

/// Hashes the file at `path` in `workspace`. If it changes while it is read, that is an error.
///
/// # Errors
///
/// Whatever reading gives; an error of kind `ResourceBusy` if the file changed meanwhile, of kind `InvalidInput` if it is no regular
/// file.
pub fn hash_stamped(workspace: &Workspace, path: &Utf8Path) -> io::Result<Hashed> {
    let file = workspace.open(path)?;
    let stamp = Found::of_open(&file)?.file()?;
    hash_open(&file, stamp)
}

/// The same of a file that had this stamp just now: the file that is read must have it before and after. What has come to lie at
/// `path` since then is another file, and has another stamp.
///
/// # Errors
///
/// Like [`hash_stamped`].
pub fn hash_as_stamped(workspace: &Workspace, path: &Utf8Path, stamp: Stamp) -> io::Result<Hashed> {
    hash_open(&workspace.open(path)?, stamp)
}

/// The same of a file that is open.
fn hash_open(file: &File, stamp: Stamp) -> io::Result<Hashed> {
    let (digests, size) = hash_sized(file, stamp.size())?;
    if size != stamp.size() || Found::of_open(file)?.stamp != stamp {
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
pub fn hash_as_expected(workspace: &Workspace, path: &Utf8Path, stamp: Stamp, expected: Digests) -> io::Result<Hashed> {
    match blake3_as_stamped(workspace, path, stamp)? == expected.blake3 {
        true => Ok(Hashed {
            digests: expected,
            stamp,
        }),
        false => hash_as_stamped(workspace, path, stamp),
    }
}

/// The BLAKE3 alone of a file that had this stamp just now, like [`hash_as_stamped`].
///
/// # Errors
///
/// Like [`hash_stamped`].
pub(super) fn blake3_as_stamped(workspace: &Workspace, path: &Utf8Path, stamp: Stamp) -> io::Result<Digest> {
    let file = workspace.open(path)?;
    let (blake3, read) = blake3_of(&file)?;
    match read == stamp.size() && Found::of_open(&file)?.stamp == stamp {
        true => Ok(blake3),
        false => Err(changed()),
    }
}

fn changed() -> io::Error {
    io::Error::new(io::ErrorKind::ResourceBusy, "it changed while it was read")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use camino::Utf8PathBuf;

    use super::*;
    use crate::store::atomic;

    /// By then whatever is stamped now is old, however coarse the clock of the file system is.
    const LATER: Duration = Duration::from_secs(5);

    fn folder() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        (folder, Workspace::at(root))
    }

    fn save(cache: &StatCache, to: &Utf8Path) {
        let parts = cache.sealed().expect("it has changed");
        atomic::write_cache(to, parts.iter().map(Vec::as_slice)).expect("saved");
    }

    #[test]
    fn a_file_changed_in_the_tick_in_which_it_was_hashed_is_not_vouched_for() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let hashed = hash_stamped(&workspace, file).expect("hashed");
        let mut cache = StatCache::default();

        cache.put(file, &hashed, Moment::now());
        assert_eq!(cache.get(file, &hashed.stamp), None);
        cache.put(file, &hashed, Moment::now() + LATER);
        assert_eq!(cache.get(file, &hashed.stamp), Some(hashed.digests));
    }

    #[test]
    fn many_entries_are_read_back_as_they_were_written() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        let saved = workspace.absolute(Utf8Path::new("cache"));
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let hashed = hash_stamped(&workspace, file).expect("hashed");
        for many in [0_u32, 1, 127, 128, 4096, 4097, 20_000] {
            let path = |number: u32| Utf8PathBuf::from(format!("{number}"));
            let of = |number: u32| Hashed {
                digests: crate::digest::Digests {
                    blake3: Digest::of(&number.to_le_bytes()),
                    ..hashed.digests
                },
                ..hashed
            };
            let mut cache = StatCache {
                changed: true,
                ..StatCache::default()
            };
            (0..many).for_each(|number| cache.put(path(number).as_path(), &of(number), Moment::now() + LATER));
            save(&cache, &saved);
            let read = StatCache::load(&saved);
            assert_eq!(read.entries.len(), many as usize);
            let is_right = |number| read.get(&path(number), &hashed.stamp) == Some(of(number).digests);
            assert!((0..many).all(is_right), "{many}");
        }
    }

    #[test]
    fn a_file_that_has_another_stamp_after_it_was_read_is_no_file_that_was_read() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let before = workspace.stamp_of(file).expect("stamped");
        assert!(hash_as_stamped(&workspace, file, before).is_ok());
        atomic::write(&workspace.absolute(file), b"2").expect("written");
        let digests = crate::digest::Digests {
            blake3: Digest::of(b"2"),
            sha256: crate::digest::Sha256::of(b"2"),
        };
        for changed in [
            hash_as_stamped(&workspace, file, before),
            hash_as_expected(&workspace, file, before, digests),
        ] {
            assert_eq!(changed.expect_err("changed").kind(), io::ErrorKind::ResourceBusy);
        }
    }

    #[test]
    fn what_a_long_file_of_the_same_size_hashed_to_is_likely() {
        let (_guard, workspace) = folder();
        let (path, other) = (Utf8Path::new("f"), Utf8Path::new("g"));
        for (before, now, is_likely) in [
            (SHORT + 1, SHORT + 1, true),
            (SHORT, SHORT, false),
            (SHORT + 1, SHORT + 2, false),
            (SHORT + 2, SHORT + 1, false),
        ] {
            let write = |size| {
                let bytes = vec![b'x'; usize::try_from(size).expect("small")];
                atomic::write(&workspace.absolute(path), &bytes).expect("written");
                hash_stamped(&workspace, path).expect("hashed")
            };
            let hashed = write(before);
            let mut cache = StatCache::default();
            cache.put(path, &hashed, Moment::now() + LATER);
            let again = write(now).stamp;
            let entry = cache.entry(path).expect("remembered");
            assert_eq!(
                entry.likely(&again),
                is_likely.then_some(hashed.digests),
                "{before} {now}"
            );
            assert_eq!((cache.get(path, &again), cache.entry(other)), (None, None));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_is_not_waited_for_and_neither_it_nor_a_folder_is_hashed() {
        let (_guard, workspace) = folder();
        let pipe = Utf8Path::new("pipe");
        let made = std::process::Command::new("mkfifo")
            .arg(workspace.absolute(pipe))
            .status();
        assert!(made.expect("mkfifo is there").success());
        for path in [pipe, Utf8Path::new("")] {
            let error = hash_stamped(&workspace, path).expect_err("no file");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        let saved = workspace.absolute(Utf8Path::new("cache"));
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let hashed = hash_stamped(&workspace, file).expect("hashed");
        let mut cache = StatCache::default();
        cache.put(file, &hashed, Moment::now() + LATER);
        save(&cache, &saved);
        assert!(StatCache::load(&saved).get(file, &hashed.stamp).is_some());

        let mut bytes = std::fs::read(&saved).expect("read");
        for place in 0..bytes.len() {
            bytes[place] ^= 1;
            atomic::write(&saved, &bytes).expect("written");
            assert!(StatCache::load(&saved).entries.is_empty(), "byte {place}");
            bytes[place] ^= 1;
        }
    }
}
