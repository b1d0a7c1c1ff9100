//! What files were when they were last hashed, so that an unchanged file is not read again.
//!
//! An entry vouches for a file while device, inode, size, mtime and ctime are as they were. It is never made for a file
//! that was changed in the clock tick in which it was hashed: a second change in that tick would leave no trace. A cache
//! that cannot be read, or whose checksum is wrong, is thrown away. `verify` never uses it.

use std::collections::HashMap;
use std::io;
use std::time::SystemTime;

use camino::Utf8Path;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{MAX_CACHE, StoreError, atomic, read_bounded};
use crate::digest::{Digest, Digests, blake3_of, hash_reader};
use crate::stamp::Stamp;
use crate::workspace::Workspace;

const HEADER: &[u8] = b"madmall stat-cache v1\n";

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

/// Hashes the file at `path` in `workspace`. If it changes while it is read, that is an error.
///
/// # Errors
///
/// Whatever reading gives; an error of kind `ResourceBusy` if the file changed meanwhile.
pub fn hash_stamped(workspace: &Workspace, path: &Utf8Path) -> io::Result<Hashed> {
    hash_as_stamped(workspace, path, workspace.stamp_of(path)?)
}

/// The same of a file that had this stamp just now: the file that is read must have it before and after. What has come to lie at
/// `path` since then is another file, and has another stamp.
///
/// # Errors
///
/// Like [`hash_stamped`].
pub fn hash_as_stamped(workspace: &Workspace, path: &Utf8Path, stamp: Stamp) -> io::Result<Hashed> {
    let file = workspace.open(path)?;
    let (digests, size) = hash_reader(&file)?;
    if size != stamp.size() || Stamp::from_metadata(&file.metadata()?) != stamp {
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
    let mut file = workspace.open(path)?;
    let (found, read) = blake3_of(&mut file)?;
    if found != expected.blake3 {
        return hash_as_stamped(workspace, path, stamp);
    }
    if read != stamp.size() || Stamp::from_metadata(&file.metadata()?) != stamp {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use camino::Utf8PathBuf;

    use super::*;

    /// By then whatever is stamped now is old, however coarse the clock of the file system is.
    const LATER: Duration = Duration::from_secs(5);

    fn folder() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        (folder, Workspace::at(root))
    }

    #[test]
    fn a_file_changed_in_the_tick_in_which_it_was_hashed_is_not_vouched_for() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let hashed = hash_stamped(&workspace, file).expect("hashed");
        let mut cache = StatCache::default();

        cache.put(file, &hashed, SystemTime::now());
        assert_eq!(cache.get(file, &hashed.stamp), None);
        cache.put(file, &hashed, SystemTime::now() + LATER);
        assert_eq!(cache.get(file, &hashed.stamp), Some(hashed.digests));
    }

    #[test]
    fn a_damaged_cache_is_an_empty_one() {
        let (_guard, workspace) = folder();
        let file = Utf8Path::new("f");
        let saved = workspace.absolute(Utf8Path::new("cache"));
        atomic::write(&workspace.absolute(file), b"1").expect("written");
        let hashed = hash_stamped(&workspace, file).expect("hashed");
        let mut cache = StatCache::default();
        cache.put(file, &hashed, SystemTime::now() + LATER);
        cache.save(&saved).expect("saved");
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
