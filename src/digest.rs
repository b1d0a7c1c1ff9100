//! The 32-byte digests that identify content, and how files and streams are hashed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::{Arc, mpsc};
use std::thread;

use camino::Utf8Path;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// Read and write in steps of this many bytes: large enough for BLAKE3's widest kernels, small enough for the L2 cache.
const CHUNK: usize = 256 * 1024;
/// How much is read first: most files are small, and a large buffer costs more than they do.
const FIRST: usize = 8 * 1024;
/// What is longer is hashed by two threads.
const SHORT: u64 = 4 << 20;
/// What is hashed at once where reading and hashing go on side by side: so much that asking another thread costs nothing beside it.
const LONG_CHUNK: usize = 1 << 20;
/// How many chunks may be between the two: the one that reads need not wait for the other.
const BUFFERS: usize = 8;

/// A BLAKE3 digest: of bytes (unkeyed), or of a structure in a domain of its own (see [`crate::canonical`]).
///
/// Its one spelling is `blake3:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

/// A SHA-256 digest, the one that tools other than madmall can check.
///
/// Its one spelling is `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sha256([u8; 32]);

/// Both digests of the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Digests {
    /// What identity and the store use.
    pub blake3: Digest,
    /// What receipts carry beside it.
    pub sha256: Sha256,
}

/// A text that is not a digest in its one spelling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not `{prefix}` and 64 lower-case hexadecimal digits")]
pub struct ParseDigestError {
    text: String,
    prefix: &'static str,
}

macro_rules! digest_type {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// Takes the 32 bytes that a hash function gave.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The 64 hexadecimal digits, without the algorithm's name.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads 64 lower-case hexadecimal digits.
            ///
            /// # Errors
            ///
            /// [`ParseDigestError`] for any other text.
            pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
                unhex(text).map(Self).ok_or_else(|| ParseDigestError {
                    text: text.chars().take(80).collect(),
                    prefix: "",
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, ParseDigestError> {
                text.strip_prefix($prefix)
                    .and_then(unhex)
                    .map(Self)
                    .ok_or_else(|| ParseDigestError {
                        text: text.chars().take(80).collect(),
                        prefix: $prefix,
                    })
            }
        }
    };
}

digest_type!(Digest, "blake3:");
digest_type!(Sha256, "sha256:");

impl Digest {
    /// The unkeyed BLAKE3 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl Sha256 {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl Digests {
    /// Both digests of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            blake3: Digest::of(bytes),
            sha256: Sha256::of(bytes),
        }
    }
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

/// Copies `reader` to `writer` and takes the BLAKE3 of what passes. What is long is hashed while what was hashed before is written, and what
/// comes next is read. `told` hears how many bytes have passed. Returns the digest and the number of bytes.
///
/// # Errors
///
/// Whatever reading or writing gives.
pub fn copy_blake3(
    reader: &mut (impl Read + Send),
    writer: &mut (impl Write + Send),
    told: impl Fn(u64),
) -> io::Result<(Digest, u64)> {
    let mut hasher = blake3::Hasher::new();
    let (mut now, mut next) = (vec![0; FIRST], Vec::new());
    let mut filled = read_full(reader, &mut now)?;
    while filled == now.len() && hasher.count() < LONG_CHUNK as u64 {
        hasher.update(&now);
        writer.write_all(&now)?;
        now.resize(CHUNK, 0);
        filled = read_full(reader, &mut now)?;
        told(hasher.count());
    }
    while filled == now.len() {
        next.resize(LONG_CHUNK, 0);
        let (_, others) = rayon::join(
            || hasher.update(&now),
            || {
                writer.write_all(&now)?;
                read_full(reader, &mut next)
            },
        );
        filled = others?;
        std::mem::swap(&mut now, &mut next);
        told(hasher.count());
    }
    hasher.update(&now[..filled]);
    writer.write_all(&now[..filled])?;
    told(hasher.count());
    Ok((Digest(*hasher.finalize().as_bytes()), hasher.count()))
}

/// The BLAKE3 of all that `reader` gives; what is long is hashed while what comes next is read. Returns the digest and the number
/// of bytes.
///
/// # Errors
///
/// Whatever reading gives.
pub fn blake3_of(reader: &mut (impl Read + Send)) -> io::Result<(Digest, u64)> {
    copy_blake3(reader, &mut io::sink(), |_| {})
}

/// Fills `buffer`, as far as there is something left.
fn read_full(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_some(reader, &mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
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

/// Lower-case hexadecimal digits of `bytes`.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for chunk in bytes.chunks(32) {
        let mut digits = [0; 64];
        text.push_str(spell_hex(chunk, &mut digits));
    }
    text
}

/// The 64 hexadecimal digits of a digest, without a place of their own in memory.
#[derive(Clone, Copy)]
pub struct HexDigits([u8; 64]);

impl HexDigits {
    /// Those of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8; 32]) -> Self {
        let mut digits = [0; 64];
        spell_hex(bytes, &mut digits);
        Self(digits)
    }

    /// As a text.
    ///
    /// # Panics
    ///
    /// Never: digits are ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

/// Spells at most 32 bytes in `digits`, and gives what was spelled.
fn spell_hex<'a>(bytes: &[u8], digits: &'a mut [u8; 64]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
    let spelled = &digits[..bytes.len().min(32) * 2];
    std::str::from_utf8(spelled).expect("digits are ASCII")
}

/// What each byte is worth as a hexadecimal digit; more than any is worth, if it is none.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        nibbles[b"0123456789abcdef"[digit as usize] as usize] = digit;
        digit += 1;
    }
    nibbles
};

fn unhex(text: &str) -> Option<[u8; 32]> {
    let text: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    let mut worst = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let (high, low) = (NIBBLES[usize::from(pair[0])], NIBBLES[usize::from(pair[1])]);
        worst |= high | low;
        *byte = high << 4 | low;
    }
    (worst < 16).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_published_vectors() {
        // BLAKE3 of nothing (its test vectors), SHA-256 of "abc" (FIPS 180-4).
        assert_eq!(
            Digest::of(b"").to_string(),
            "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(
            Sha256::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let digest = Digest::of(b"x");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert!(digest.to_hex().parse::<Digest>().is_err());
        assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
        assert!(digest.to_string().parse::<Sha256>().is_err());
    }

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

    #[test]
    fn what_is_copied_has_the_digest_of_its_own_bytes() {
        /// Gives a few bytes at a time.
        struct Slow<'a>(&'a [u8]);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let length = buffer.len().min(70_001);
                (&mut self.0).take(length as u64).read(buffer)
            }
        }
        let more = [FIRST, FIRST + CHUNK, FIRST + 4 * CHUNK, FIRST + 4 * CHUNK + LONG_CHUNK];
        let near = more.into_iter().flat_map(|length| [length - 1, length, length + 1]);
        for length in near.chain([0, 5 * LONG_CHUNK]) {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut copy = Vec::new();
            let told = std::cell::Cell::new(0);
            let digest = copy_blake3(&mut Slow(&bytes), &mut copy, |done| told.set(done)).expect("copied");
            assert_eq!(digest, (Digest::of(&bytes), length as u64));
            assert!(copy == bytes, "{length}");
            assert_eq!(told.get(), length as u64);
            assert_eq!(blake3_of(&mut Slow(&bytes)).expect("read"), digest);
        }
        let mut full: &mut [u8] = &mut [0; 10];
        assert!(copy_blake3(&mut Slow(&[1; CHUNK]), &mut full, |_| {}).is_err());
    }
}
