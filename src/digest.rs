//! The 32-byte digests that identify content, and how they are spelled.

mod parts;
mod stream;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

pub use self::parts::{blake3_of, copy_blake3};
pub use self::stream::{DigestsHasher, copy_hashed, hash_file, hash_reader, hash_sized};

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

/// How caches hold the fields of entries of which they have thousands (`#[serde(with = "…")]`): by all their bytes at once. A derived form is a
/// list, of which each byte is written and read by itself.
pub(crate) mod whole {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    use super::{Digest, Digests, Sha256, fmt};

    /// What has just so many bytes.
    pub(crate) trait Whole<const N: usize>: Sized {
        fn to_bytes(&self) -> [u8; N];
        fn of_bytes(bytes: [u8; N]) -> Self;
    }

    impl Whole<32> for Digest {
        fn to_bytes(&self) -> [u8; 32] {
            self.0
        }

        fn of_bytes(bytes: [u8; 32]) -> Self {
            Self(bytes)
        }
    }

    impl Whole<32> for Sha256 {
        fn to_bytes(&self) -> [u8; 32] {
            self.0
        }

        fn of_bytes(bytes: [u8; 32]) -> Self {
            Self(bytes)
        }
    }

    impl Whole<64> for Digests {
        fn to_bytes(&self) -> [u8; 64] {
            let mut bytes = [0; 64];
            let (blake3, sha256) = bytes.split_at_mut(32);
            blake3.copy_from_slice(&self.blake3.0);
            sha256.copy_from_slice(&self.sha256.0);
            bytes
        }

        fn of_bytes(bytes: [u8; 64]) -> Self {
            let ([blake3, sha256], _) = bytes.as_chunks::<32>() else {
                unreachable!("64 bytes are twice 32")
            };
            Self {
                blake3: Digest(*blake3),
                sha256: Sha256(*sha256),
            }
        }
    }

    struct Bytes<const N: usize>;

    impl<const N: usize> Visitor<'_> for Bytes<N> {
        type Value = [u8; N];

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(formatter, "{N} bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
            bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &self))
        }
    }

    pub(crate) fn serialize<const N: usize, T: Whole<N>, S: Serializer>(
        whole: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&whole.to_bytes())
    }

    pub(crate) fn deserialize<'de, const N: usize, T: Whole<N>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        deserializer.deserialize_bytes(Bytes::<N>).map(T::of_bytes)
    }
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
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 0xf);
    }
    let spelled = &digits[..bytes.len().min(32) * 2];
    std::str::from_utf8(spelled).expect("digits are ASCII")
}

/// The hexadecimal digit that is worth `nibble`. Computed, not looked up: so many are spelled at once.
const fn digit(nibble: u8) -> u8 {
    let letters = if nibble > 9 { b'a' - b'0' - 10 } else { 0 };
    nibble + b'0' + letters
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
}
