//! The one encoding of a structure into bytes to be hashed.
//!
//! Every value is written with its length, every list with its count, every choice with its tag, and all of it in a
//! domain of its own (BLAKE3's `derive_key` mode), so that two different structures cannot give the same bytes.
//!
//! ```text
//! str, bytes   u64 length, little endian; then the bytes
//! u64          8 bytes, little endian
//! digest       32 bytes
//! list         u64 count; then each item
//! option       one byte 0, or one byte 1 and the value
//! tag          one byte
//! ```

use blake3::hazmat::{ContextKey, HasherExt as _, hash_derive_key_context};

use crate::digest::Digest;

/// So many bytes at most are hashed together: most structures have fewer, in many small values, and each call of the hasher costs more
/// than to hash so few; of a long list, so many are hashed with the widest vectors that there are.
const TOGETHER: usize = 64 * 1024;
/// Room for so many is there from the beginning.
const MOSTLY: usize = 1024;

/// What is hashed, and in which version: nothing of one domain gives the digest of anything of another.
pub struct Domain(ContextKey);

impl Domain {
    /// The domain `context` (`"madmall action v1"`).
    #[must_use]
    pub fn new(context: &'static str) -> Self {
        Self(hash_derive_key_context(context))
    }
}

/// Hashes a structure, value by value.
pub struct CanonicalHasher {
    hasher: blake3::Hasher,
    /// What was added and not yet hashed.
    waiting: Vec<u8>,
}

impl CanonicalHasher {
    /// Starts in the domain `context`.
    #[must_use]
    pub fn new(context: &'static str) -> Self {
        Self::within(&Domain::new(context))
    }

    /// Starts in a domain that is used again and again.
    #[must_use]
    pub fn within(domain: &Domain) -> Self {
        Self {
            hasher: blake3::Hasher::new_from_context_key(&domain.0),
            waiting: Vec::with_capacity(MOSTLY),
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.waiting.len() + bytes.len() > TOGETHER {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
        match bytes.len() < TOGETHER {
            true => self.waiting.extend_from_slice(bytes),
            false => drop(self.hasher.update(bytes)),
        }
    }

    /// Adds bytes, with their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64);
        self.add(bytes);
        self
    }

    /// Adds a text, with its length in bytes.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.add(&value.to_le_bytes());
        self
    }

    /// Adds one byte that says which variant of an enum follows.
    pub fn tag(&mut self, tag: u8) -> &mut Self {
        self.add(&[tag]);
        self
    }

    /// Adds a digest.
    pub fn digest(&mut self, digest: Digest) -> &mut Self {
        self.add(digest.as_bytes());
        self
    }

    /// Adds a list: its count, then what `add` adds for each item, in the order given.
    pub fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
        mut add: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        let items = items.into_iter();
        self.u64(items.len() as u64);
        for item in items {
            add(self, item);
        }
        self
    }

    /// Adds a value that may be absent.
    pub fn option<T>(&mut self, value: Option<T>, add: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => {
                self.tag(0);
            }
            Some(value) => {
                self.tag(1);
                add(self, value);
            }
        }
        self
    }

    /// The digest of everything added.
    #[must_use]
    pub fn finish(&mut self) -> Digest {
        self.hasher.update(&self.waiting);
        self.waiting.clear();
        Digest::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(items: &[&str]) -> Digest {
        let mut hasher = CanonicalHasher::new("madmall test v1");
        hasher.list(items, |h, item| {
            h.str(item);
        });
        hasher.finish()
    }

    #[test]
    fn lists_that_join_to_the_same_text_hash_apart() {
        assert_ne!(hash(&["ab", "c"]), hash(&["a", "bc"]));
        assert_ne!(hash(&[""]), hash(&[]));
    }

    /// However the bytes fall into the buffer, they are hashed as they were added.
    #[test]
    fn values_of_any_length_are_hashed_in_their_order() {
        let text: Vec<u8> = (0..5 * TOGETHER).map(|place| (place % 251).to_le_bytes()[0]).collect();
        let lengths = [
            0,
            1,
            7,
            TOGETHER - 9,
            TOGETHER - 8,
            TOGETHER,
            TOGETHER + 1,
            3 * TOGETHER,
        ];
        for first in lengths {
            for second in lengths {
                let mut hasher = CanonicalHasher::new("madmall test v1");
                hasher.bytes(&text[..first]).tag(7).bytes(&text[..second]);
                let mut whole = (first as u64).to_le_bytes().to_vec();
                whole.extend(&text[..first]);
                whole.push(7);
                whole.extend((second as u64).to_le_bytes());
                whole.extend(&text[..second]);
                let expected = blake3::derive_key("madmall test v1", &whole);
                assert_eq!(hasher.finish(), Digest::from_bytes(expected), "{first}, {second}");
                assert_eq!(
                    hasher.finish(),
                    Digest::from_bytes(expected),
                    "it can be asked for again"
                );
            }
        }
    }

    #[test]
    fn domains_hash_apart() {
        assert_ne!(
            CanonicalHasher::new("madmall a v1").str("x").finish(),
            CanonicalHasher::new("madmall b v1").str("x").finish()
        );
    }
}
