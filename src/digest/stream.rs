//! How files and streams are hashed: in constant memory, and what is long by more than one core.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc};
use std::thread;

use camino::Utf8Path;
use sha2::Digest as _;

use super::{Digest, Digests, Sha256};

/// Read and write in steps of this many bytes: large enough for BLAKE3's widest kernels, small enough for the L2 cache.
const CHUNK: usize = 256 * 1024;
/// How much is read first: most files are small, and a large buffer costs more than they do.
pub(super) const FIRST: usize = 8 * 1024;
/// What is longer is hashed by two threads.
const SHORT: u64 = 4 << 20;
/// How many chunks may be between the two: the one that reads need not wait for the other.
const BUFFERS: usize = 8;

thread_local! {
    /// Where this thread reads short files to: to have a place for each of a hundred thousand takes as long as to read it.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Computes both digests of what is fed to it.
#[derive(Clone, Default)]
pub struct DigestsHasher {
    blake3: blake3::Hasher,
    sha256: sha2::Sha256,
    bytes: u64,
}

impl DigestsHasher {
    /// Starts with no bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `bytes` to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.blake3.update(bytes);
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The digests of everything fed so far, and how many bytes that was.
    #[must_use]
    pub fn finish(self) -> (Digests, u64) {
        let digests = Digests {
            blake3: Digest(*self.blake3.finalize().as_bytes()),
            sha256: Sha256(self.sha256.finalize().into()),
        };
        (digests, self.bytes)
    }
}

/// Hashes all that `reader` gives, in constant memory. Returns the digests and the number of bytes.
///
/// # Errors
///
/// Whatever reading gives.
pub fn hash_reader(mut reader: impl Read) -> io::Result<(Digests, u64)> {
    copy_hashed(&mut reader, &mut io::sink())
}

/// Hashes the file at `path` as it lies on disk; nothing is normalised. Returns the digests and the number of bytes.
///
/// # Errors
///
/// Whatever opening and reading gives.
pub fn hash_file(path: &Utf8Path) -> io::Result<(Digests, u64)> {
    hash_reader(File::open(path)?)
}

/// Hashes the rest of a file, which was `size` bytes when it was looked at. Returns the digests and the number of bytes that it has now.
///
/// # Errors
///
/// Whatever reading gives.
pub fn hash_sized(mut file: impl Read, size: u64) -> io::Result<(Digests, u64)> {
    let Some(size) = usize::try_from(size).ok().filter(|size| *size <= CHUNK) else {
        return hash_reader(file);
    };
    BUFFER.with_borrow_mut(|buffer| {
        // Room for one more: of a file less than what is asked for comes only at its end, and nobody need ask whether that was the end.
        if buffer.len() <= size {
            buffer.resize(size + 1, 0);
        }
        let bytes = &mut buffer[..=size];
        let mut filled = read_some(&mut file, bytes)?;
        while filled < size {
            match read_some(&mut file, &mut bytes[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        match filled <= size {
            true => Ok((Digests::of(&bytes[..filled]), filled as u64)),
            false => hash_reader((&*bytes).chain(file)),
        }
    })
}

/// Copies `reader` to `writer` and hashes what passes, so that the digest is that of the bytes that were written.
///
/// # Errors
///
/// Whatever reading or writing gives, or starting a thread for what is long.
pub fn copy_hashed(reader: &mut dyn Read, writer: &mut dyn Write) -> io::Result<(Digests, u64)> {
    let mut hasher = DigestsHasher::new();
    let mut buffer = vec![0; FIRST];
    while hasher.bytes < SHORT {
        let read = read_some(reader, &mut buffer)?;
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        writer.write_all(&buffer[..read])?;
        if read == buffer.len() {
            buffer.resize(CHUNK, 0);
        }
    }
    copy_hashed_by_two(hasher, reader, writer)
}

/// The rest of what is long: SHA-256, which takes longest and has no parallel form, has a thread of its own, so that all else
/// costs no time.
fn copy_hashed_by_two(
    hasher: DigestsHasher,
    reader: &mut dyn Read,
    writer: &mut dyn Write,
) -> io::Result<(Digests, u64)> {
    let DigestsHasher {
        mut blake3,
        mut sha256,
        mut bytes,
    } = hasher;
    let (filled, to_hash) = mpsc::channel::<(Arc<Vec<u8>>, usize)>();
    let (emptied, to_fill) = mpsc::channel();
    for _ in 0..BUFFERS {
        // It cannot fail: the other end is here.
        let _ = emptied.send(Arc::new(vec![0; CHUNK]));
    }
    thread::scope(|scope| {
        let other = thread::Builder::new().spawn_scoped(scope, move || {
            for (buffer, length) in to_hash {
                sha256.update(&buffer[..length]);
                // Nobody wants it any more if reading failed.
                let _ = emptied.send(buffer);
            }
            sha256.finalize()
        })?;
        for mut buffer in to_fill {
            // The other thread gives a buffer back when it is done, and this one drops its own share below.
            let room = Arc::get_mut(&mut buffer).expect("no other share is left");
            let read = read_some(reader, room)?;
            if read == 0 {
                break;
            }
            if filled.send((Arc::clone(&buffer), read)).is_err() {
                break;
            }
            blake3.update(&buffer[..read]);
            writer.write_all(&buffer[..read])?;
            bytes += read as u64;
        }
        drop(filled);
        let sha256 = other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let digests = Digests {
            blake3: Digest(*blake3.finalize().as_bytes()),
            sha256: Sha256(sha256.into()),
        };
        Ok((digests, bytes))
    })
}

/// As many bytes as come at once; none at the end.
fn read_some(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_a_stream_equals_hashing_its_bytes() {
        let short = usize::try_from(SHORT).expect("small");
        for length in [
            0,
            1,
            CHUNK,
            3 * CHUNK + 17,
            short,
            short + 1,
            short + CHUNK * (BUFFERS + 3) + 17,
        ] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut copy = Vec::new();
            let (digests, size) = copy_hashed(&mut &bytes[..], &mut copy).expect("memory can be read");
            assert_eq!(digests, Digests::of(&bytes), "{length}");
            assert_eq!(size, length as u64);
            assert!(copy == bytes, "{length}");
            assert_eq!(hash_reader(&bytes[..]).expect("memory can be read"), (digests, size));
        }
    }

    #[test]
    fn a_file_is_hashed_to_its_end_however_long_it_was() {
        for length in [0, 1, 100, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut file = tempfile::tempfile().expect("a temporary file");
            file.write_all(&bytes).expect("written");
            for before in [0, 1, 99, 100, 101, length, length + 1, CHUNK, CHUNK + 1] {
                io::Seek::rewind(&mut file).expect("to its beginning");
                let hashed = hash_sized(&file, before as u64).expect("read");
                assert_eq!(
                    hashed,
                    (Digests::of(&bytes), length as u64),
                    "{length}, {before} before"
                );
            }
            // On some file systems less comes before the end too.
            let slow = hash_sized(Slow(&bytes), length as u64).expect("read");
            assert_eq!(slow, (Digests::of(&bytes), length as u64), "{length}");
        }
    }

    /// Gives so many bytes, then fails.
    struct Failing(usize);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0 {
                0 => Err(io::Error::other("the disk is gone")),
                _ => {
                    let read = buffer.len().min(self.0);
                    self.0 -= read;
                    Ok(read)
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_read_to_its_end_has_no_digest() {
        let short = usize::try_from(SHORT).expect("small");
        for length in [0, CHUNK, short + 1, 3 * short] {
            let error = hash_reader(Failing(length)).expect_err("it fails");
            assert_eq!(error.to_string(), "the disk is gone");
        }
    }

    #[test]
    fn what_cannot_be_written_has_no_digest() {
        for length in [1, 3 * usize::try_from(SHORT).expect("small")] {
            let mut full = &mut [0_u8; 0][..];
            assert!(copy_hashed(&mut &vec![0; length][..], &mut full).is_err());
        }
        let mut almost = vec![0; usize::try_from(SHORT).expect("small") + 5 * CHUNK];
        let longer = vec![0; almost.len() + 1];
        assert!(copy_hashed(&mut &longer[..], &mut &mut almost[..]).is_err());
    }

    /// Gives a few bytes at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(70_001);
            (&mut self.0).take(length as u64).read(buffer)
        }
    }
}
