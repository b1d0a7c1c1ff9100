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

use crate::digest::Digest;

/// Hashes a structure, value by value.
pub struct CanonicalHasher {
    hasher: blake3::Hasher,
}

impl CanonicalHasher {
    /// Starts in the domain `context`, which names what is hashed and its version (`"madmall action v1"`).
    #[must_use]
    pub fn new(context: &'static str) -> Self {
        Self {
            hasher: blake3::Hasher::new_derive_key(context),
        }
    }

    /// Adds bytes, with their length.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u64(bytes.len() as u64);
        self.hasher.update(bytes);
        self
    }

    /// Adds a text, with its length in bytes.
    pub fn str(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.hasher.update(&value.to_le_bytes());
        self
    }

    /// Adds one byte that says which variant of an enum follows.
    pub fn tag(&mut self, tag: u8) -> &mut Self {
        self.hasher.update(&[tag]);
        self
    }

    /// Adds a digest.
    pub fn digest(&mut self, digest: Digest) -> &mut Self {
        self.hasher.update(digest.as_bytes());
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
    pub fn finish(&self) -> Digest {
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

    #[test]
    fn domains_hash_apart() {
        assert_ne!(
            CanonicalHasher::new("madmall a v1").str("x").finish(),
            CanonicalHasher::new("madmall b v1").str("x").finish()
        );
    }
}
