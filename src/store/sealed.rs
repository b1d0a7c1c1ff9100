//! Files of the store that only spare work and are believed: sealed with a keyed BLAKE3 whose key derives from the signing key.
//!
//! A file that is absent, damaged, of another version or sealed by another key is none. It is never repaired.

use camino::Utf8Path;
use serde::Serialize;

use super::{MAX_CACHE, StoreError, atomic, read_bounded};
use crate::canonical::CanonicalHasher;
use crate::stamp::Stamp;

const PLAIN: &str = "plain data has an encoding";
/// How long a seal is.
pub(super) const SEAL: usize = 32;

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

/// Writes `value` to the file at `path`. Gives its seal.
///
/// # Errors
///
/// [`StoreError::Write`] if it cannot be written.
pub(super) fn keep(
    path: &Utf8Path,
    header: &[u8],
    seal_key: &[u8; 32],
    value: &impl Serialize,
) -> Result<[u8; SEAL], StoreError> {
    let (bytes, seal) = sealed(header, seal_key, value);
    atomic::write_cache(path, [&*bytes]).map(|()| seal)
}

/// What a file has that holds `value`, and its seal.
pub(super) fn sealed(header: &[u8], seal_key: &[u8; 32], value: &impl Serialize) -> (Vec<u8>, [u8; SEAL]) {
    let room = vec![0; header.len() + SEAL];
    let mut bytes = postcard::to_extend(value, room).expect(PLAIN);
    let seal = seal(&mut bytes, &[], header, seal_key);
    (bytes, seal)
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

/// Makes room in `folder` for the file at `path`: one more than `most`, and all are dropped, for there is no clock to say which is the
/// oldest.
///
/// # Errors
///
/// [`StoreError::Write`] if they cannot be removed.
pub(super) fn make_room(folder: &Utf8Path, path: &Utf8Path, most: usize) -> Result<(), StoreError> {
    let others = folder.read_dir_utf8().map_or(0, Iterator::count);
    match others >= most && !path.exists() {
        true => atomic::remove_folder(&folder.to_owned()),
        false => Ok(()),
    }
}
