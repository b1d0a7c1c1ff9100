//! Files of the store that only spare work and are believed: sealed with a keyed BLAKE3 whose key derives from the signing key.
//!
//! A file that is absent, damaged, of another version or sealed by another key is none. It is never repaired.

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::{MAX_CACHE, StoreError, atomic, read_bounded};
use crate::canonical::CanonicalHasher;
use crate::digest::Digest;
use crate::stamp::Stamp;

const PLAIN: &str = "plain data has an encoding";
/// How long a seal is.
pub(super) const SEAL: usize = 32;
/// How many files a folder has at most.
const MOST: usize = 64;

/// What `read` makes of the bytes of the file at `path`, if it opens.
pub(super) fn open<T>(
    path: &Utf8Path,
    header: &[u8],
    seal_key: &[u8; 32],
    read: impl FnOnce(&[u8]) -> Option<T>,
) -> Option<T> {
    let bytes = open_whole(path, header, seal_key)?;
    read(&bytes[header.len() + SEAL..])
}

/// The bytes of the file at `path`, if it opens: `header`, [`SEAL`] bytes more, and what was sealed.
pub(super) fn open_whole(path: &Utf8Path, header: &[u8], seal_key: &[u8; 32]) -> Option<Vec<u8>> {
    let bytes = read_bounded(path, MAX_CACHE)?;
    let (seal, body) = bytes.strip_prefix(header)?.split_at_checked(SEAL)?;
    let seal: [u8; 32] = seal.try_into().ok()?;
    // Comparing two `blake3::Hash` takes the same time wherever they differ.
    if blake3::keyed_hash(seal_key, body) != blake3::Hash::from_bytes(seal) {
        return None;
    }
    Some(bytes)
}

/// A file that is ready to be written: one of a folder that has one for each thing that was asked.
pub struct SealedFile {
    path: Utf8PathBuf,
    bytes: Vec<u8>,
    seal: [u8; SEAL],
}

impl SealedFile {
    /// The file at `path`, holding `value`.
    pub(super) fn of(path: Utf8PathBuf, header: &[u8], seal_key: &[u8; 32], value: &impl Serialize) -> Self {
        let room = vec![0; header.len() + SEAL];
        let mut bytes = postcard::to_extend(value, room).expect(PLAIN);
        let seal = seal(&mut bytes, &[], header, seal_key);
        Self { path, bytes, seal }
    }

    /// Its seal.
    #[must_use]
    pub fn seal(&self) -> [u8; SEAL] {
        self.seal
    }

    /// Writes it. Is there no room for one more, all others are dropped: there is no clock to say which is the oldest.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn write(&self) -> Result<(), StoreError> {
        let folder = atomic::folder_of(&self.path);
        let others = folder.read_dir_utf8().map_or(0, Iterator::count);
        if others >= MOST && !self.path.exists() {
            atomic::remove_folder(&folder.to_owned())?;
        }
        atomic::write_cache(&self.path, [&*self.bytes])
    }
}

/// Where in `folder` the file is for what was `asked`.
pub(super) fn file_of(folder: &Utf8Path, asked: Digest) -> Utf8PathBuf {
    folder.join(&asked.to_hex()[..32])
}

/// Seals what stands in `first` after room for `header` and [`SEAL`] bytes more, and in the `rest`: what a file has then, [`open`] reads. Gives
/// the seal.
pub(super) fn seal(first: &mut [u8], rest: &[&[u8]], header: &[u8], seal_key: &[u8; 32]) -> [u8; SEAL] {
    let (room, body) = first.split_at_mut(header.len() + SEAL);
    let mut hasher = blake3::Hasher::new_keyed(seal_key);
    hasher.update(body);
    for part in rest {
        hasher.update(part);
    }
    let (own, place) = room.split_at_mut(header.len());
    own.copy_from_slice(header);
    let seal = *hasher.finalize().as_bytes();
    place.copy_from_slice(&seal);
    seal
}

/// How these files hold `value`.
pub(super) fn spelled(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect(PLAIN)
}

/// Begins the digest of what a file is about: of the program that runs, which may do otherwise than another.
pub(super) fn by_this_program(domain: &'static str) -> Option<CanonicalHasher> {
    let program = std::env::current_exe().ok()?;
    let program = Stamp::of(Utf8Path::from_path(&program)?).ok()?;
    let mut hasher = CanonicalHasher::new(domain);
    hasher.str(env!("CARGO_PKG_VERSION"));
    hasher.bytes(&postcard::to_stdvec(&program).ok()?);
    Some(hasher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_room_for_one_more_all_others_are_dropped() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8").join("kept");
        let file = |number: usize| SealedFile::of(folder.join(number.to_string()), b"header\n", &[7; 32], &number);
        let write = |number: usize| {
            file(number).write().expect("written");
            folder.read_dir_utf8().expect("it is there").count()
        };
        for number in 0..MOST {
            assert_eq!(write(number), number + 1);
        }
        assert_eq!(write(3), MOST, "it was there before");
        assert_eq!(write(MOST), 1);
        let read = |bytes: &[u8]| postcard::from_bytes::<usize>(bytes).ok();
        assert_eq!(
            open(&folder.join(MOST.to_string()), b"header\n", &[7; 32], read),
            Some(MOST)
        );
        assert_eq!(open(&folder.join(MOST.to_string()), b"header\n", &[8; 32], read), None);
    }
}
