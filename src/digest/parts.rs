//! The BLAKE3 of a long file, of which each core reads, hashes and writes parts: a part is a subtree of the tree of chunks that BLAKE3 is
//! (section 2.1 of its paper), and the subtrees are joined when all are there. Nobody waits for what another reads or writes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use super::Digest;
use super::stream::FIRST;

/// How long a part is, but for the last: chunks to a power of two, enough for BLAKE3's widest kernels, and what the L2 cache holds.
const PART: usize = 256 << 10;
/// What is shorter is hashed by one thread: to ask others takes as long.
const LONG: u64 = 4 * PART as u64;

/// Copies all of `source` to `copy`, which is empty, and takes the BLAKE3 of what passes. `told` hears how many bytes have passed.
/// Returns the digest and the number of bytes.
///
/// # Errors
///
/// Whatever reading or writing gives.
pub fn copy_blake3(source: &File, copy: &File, told: impl Fn(u64)) -> io::Result<(Digest, u64)> {
    pass(source, Some(copy), &told)
}

/// The BLAKE3 of all of `file`, and the number of its bytes.
///
/// # Errors
///
/// Whatever reading gives.
pub fn blake3_of(file: &File) -> io::Result<(Digest, u64)> {
    pass(file, None, &|_| {})
}

fn pass(source: &File, copy: Option<&File>, told: &dyn Fn(u64)) -> io::Result<(Digest, u64)> {
    let length = source.metadata()?.len();
    if length >= LONG {
        let passing = Passing {
            source,
            copy,
            length,
            next: AtomicU64::new(0),
            found: Mutex::default(),
        };
        if let Some(digest) = passing.by_all_cores(told)? {
            return Ok((digest, length));
        }
        if let Some(copy) = copy {
            copy.set_len(0)?;
        }
    }
    by_one_core(source, copy, told)
}

/// What is short, or grows or shrinks while it is read: all that comes up to its end.
fn by_one_core(source: &File, copy: Option<&File>, told: &dyn Fn(u64)) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; FIRST];
    loop {
        let offset = hasher.count();
        let read = match source.read_at(&mut buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok((Digest(*hasher.finalize().as_bytes()), offset));
        }
        hasher.update(&buffer[..read]);
        if let Some(copy) = copy {
            copy.write_all_at(&buffer[..read], offset)?;
        }
        told(hasher.count());
        buffer.resize(PART, 0);
    }
}

/// A long file on its way.
struct Passing<'f> {
    source: &'f File,
    copy: Option<&'f File>,
    /// How long it was.
    length: u64,
    /// The next part that nobody has begun.
    next: AtomicU64,
    found: Mutex<Found>,
}

/// What has passed.
#[derive(Default)]
struct Found {
    /// The parts, by their places.
    parts: Vec<(u64, ChainingValue)>,
    bytes: u64,
    /// What went wrong first.
    failed: Option<io::Error>,
}

impl Passing<'_> {
    /// The digest; none if the file has not as many bytes as it had.
    fn by_all_cores(self, told: &dyn Fn(u64)) -> io::Result<Option<Digest>> {
        rayon::in_place_scope(|scope| {
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| self.work(&|_| {}));
            }
            self.work(told);
        });
        let Found {
            mut parts,
            bytes,
            failed,
        } = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        match failed {
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Some(error) => return Err(error),
            None => {}
        }
        told(bytes);
        if self.source.read_at(&mut [0], self.length)? != 0 {
            return Ok(None);
        }
        parts.sort_unstable_by_key(|(place, _)| *place);
        let parts: Vec<ChainingValue> = parts.into_iter().map(|(_, part)| part).collect();
        let (left, right) = parts.split_at(left_of(parts.len()));
        let root = merge_subtrees_root(&joined(left), &joined(right), Mode::Hash);
        Ok(Some(Digest(*root.as_bytes())))
    }

    /// Takes parts as long as there are any.
    fn work(&self, told: &dyn Fn(u64)) {
        let mut buffer = vec![0; PART];
        loop {
            let place = self.next.fetch_add(1, Ordering::Relaxed);
            let offset = place * PART as u64;
            if offset >= self.length {
                return;
            }
            let length = usize::try_from(self.length - offset).map_or(PART, |rest| rest.min(PART));
            let part = self.part(&mut buffer[..length], offset);
            let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
            match part {
                Ok(part) => found.parts.push((place, part)),
                Err(error) => {
                    found.failed.get_or_insert(error);
                    // Nobody need begin another.
                    self.next.store(self.length.div_ceil(PART as u64), Ordering::Relaxed);
                    return;
                }
            }
            found.bytes += length as u64;
            let bytes = found.bytes;
            drop(found);
            told(bytes);
        }
    }

    fn part(&self, buffer: &mut [u8], offset: u64) -> io::Result<ChainingValue> {
        self.source.read_exact_at(buffer, offset)?;
        if let Some(copy) = self.copy {
            copy.write_all_at(buffer, offset)?;
        }
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(offset).update(buffer);
        Ok(hasher.finalize_non_root())
    }
}

/// Of so many parts of a tree, two or more, how many are left of its root: the largest power of two that is less.
fn left_of(parts: usize) -> usize {
    parts.next_power_of_two() / 2
}

/// The subtree of these `parts`.
fn joined(parts: &[ChainingValue]) -> ChainingValue {
    match parts {
        [part] => *part,
        _ => {
            let (left, right) = parts.split_at(left_of(parts.len()));
            merge_subtrees_non_root(&joined(left), &joined(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(bytes, 0).expect("written");
        file
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    fn held(file: &File) -> Vec<u8> {
        let length = file.metadata().expect("found").len();
        let mut held = vec![0; usize::try_from(length).expect("small")];
        file.read_exact_at(&mut held, 0).expect("read");
        held
    }

    #[test]
    fn what_is_copied_has_the_digest_of_its_own_bytes() {
        let near = (0..=6).chain([8, 9, 16]).flat_map(|parts| {
            let length = parts * PART;
            [
                length.saturating_sub(1),
                length,
                length + 1,
                length + 1024,
                length + PART / 2,
            ]
        });
        for length in near {
            let bytes = bytes(length);
            let (source, copy) = (file(&bytes), file(b""));
            let told = Cell::new(0);
            let digest = copy_blake3(&source, &copy, |done| told.set(done)).expect("copied");
            assert_eq!(digest, (Digest::of(&bytes), length as u64), "{length}");
            assert!(held(&copy) == bytes, "{length}");
            assert_eq!(told.get(), length as u64);
            assert_eq!(blake3_of(&source).expect("read"), digest);
        }
    }

    fn passing<'f>(source: &'f File, copy: &'f File, length: usize) -> Passing<'f> {
        Passing {
            source,
            copy: Some(copy),
            length: length as u64,
            next: AtomicU64::new(0),
            found: Mutex::default(),
        }
    }

    #[test]
    fn a_file_that_grows_or_shrinks_meanwhile_has_no_digest_by_parts() {
        let length = 5 * PART + 7;
        let (source, copy) = (file(&bytes(length)), file(b""));
        for before in [length - 1, length + 1, length - PART, length + 3 * PART] {
            let found = passing(&source, &copy, before).by_all_cores(&|_| {});
            assert!(found.expect("read").is_none(), "{before}");
        }
        let found = passing(&source, &copy, length).by_all_cores(&|_| {});
        assert_eq!(found.expect("read"), Some(Digest::of(&bytes(length))));
    }

    #[test]
    fn a_file_that_grows_or_shrinks_while_it_is_copied_is_copied_to_its_end() {
        let all = bytes(8 * PART);
        for (before, after) in [
            (5 * PART, 8 * PART),
            (8 * PART, 7 * PART + 1),
            (8 * PART, PART + 1),
            (8 * PART, 0),
        ] {
            let (source, copy) = (file(&all[..before]), file(b""));
            let is_changed = AtomicBool::new(false);
            let change = |_| {
                if !is_changed.swap(true, Ordering::Relaxed) {
                    source.set_len(after as u64).expect("cut off");
                    source.write_all_at(&all[..after], 0).expect("written");
                }
            };
            let found = copy_blake3(&source, &copy, change).expect("copied");
            // Others may have read all of it before it was cut off.
            let is_as_before = after < before && found.1 == before as u64;
            let length = if is_as_before { before } else { after };
            assert_eq!(found, (Digest::of(&all[..length]), length as u64), "{before} {after}");
            assert!(held(&copy) == all[..length], "{before} {after}");
        }
    }

    #[test]
    fn what_cannot_be_read_or_written_has_no_digest() {
        for length in [1, 6 * PART] {
            let source = file(&bytes(length));
            let path = tempfile::NamedTempFile::new().expect("a temporary file");
            let read_only = File::open(path.path()).expect("opened");
            assert!(copy_blake3(&source, &read_only, |_| {}).is_err(), "{length}");
            let write_only = File::options().write(true).open(path.path()).expect("opened");
            write_only.write_all_at(&bytes(length), 0).expect("written");
            assert!(blake3_of(&write_only).is_err(), "{length}");
        }
    }
}
