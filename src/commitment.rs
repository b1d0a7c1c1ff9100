//! Keyed digests of what is personal: a small file of a known form (an answer, an id, a row) could be guessed from its plain digest.
//!
//! ```text
//! k_b           HMAC-SHA-256(consent secret, "madmall personal blake3 v1")
//! k_s           HMAC-SHA-256(consent secret, "madmall personal sha256 v1")
//! blake3Keyed   BLAKE3 keyed by k_b (its keyed mode) of the 32 bytes of the plain BLAKE3
//! hmacSha256    HMAC-SHA-256 by k_s of the 32 bytes of the plain SHA-256       (a file)
//! hmacDirHash   HMAC-SHA-256 by k_s of the 32 bytes of the plain `dirHash`     (several files)
//! a parameter   HMAC-SHA-256 by HMAC-SHA-256(consent secret, "madmall personal value v1") of its text
//! ```
//!
//! They are made of the plain digests, so that bytes are hashed once, and whoever keeps those can compare without the bytes. HMAC is
//! RFC 2104; BLAKE3's keyed mode is section 2.3 of its paper. Who lacks the consent secret can compare neither with anything.

use std::fmt;

use camino::Utf8Path;
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::consent::secret::{ConsentSecret, SecretId};
use crate::digest::{Digest, Digests, Sha256, hash_file, hex};
use crate::listing::{ArtifactDigests, ListingDigests};

/// The name of the keyed BLAKE3 in a digest set.
pub const BLAKE3_KEYED: &str = "blake3Keyed";
/// The name of the keyed SHA-256 of a file.
pub const HMAC_SHA256: &str = "hmacSha256";
/// The name of the keyed `dirHash` of several files.
pub const HMAC_DIR_HASH: &str = "hmacDirHash";

/// The keyed digests of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Commitment {
    /// What is committed to.
    pub shape: Shape,
    /// `blake3Keyed`: what identity and the store use.
    pub blake3: Digest,
    /// `hmacSha256` of a file, `hmacDirHash` of several.
    pub sha256: Sha256,
    /// What the secret is called that they are keyed by.
    pub key: SecretId,
}

impl Commitment {
    /// Its second digest with its name.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{}:{}", self.shape.digest_name(), self.sha256.to_hex())
    }
}

/// What a commitment is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Shape {
    /// The bytes of a file.
    File,
    /// The files of a folder or a pattern.
    Several,
}

impl Shape {
    /// The name of the second digest of it in a receipt.
    #[must_use]
    pub const fn digest_name(self) -> &'static str {
        match self {
            Self::File => HMAC_SHA256,
            Self::Several => HMAC_DIR_HASH,
        }
    }
}

/// What keyed digests are made by. Wiped from memory when dropped, and never shown.
#[derive(Clone)]
pub struct PersonalKey {
    id: SecretId,
    blake3: Zeroizing<[u8; 32]>,
    sha256: Zeroizing<[u8; 32]>,
    values: Zeroizing<[u8; 32]>,
}

impl PersonalKey {
    /// The key that comes of `secret`.
    #[must_use]
    pub fn of(secret: &ConsentSecret) -> Self {
        Self {
            id: secret.id(),
            blake3: Zeroizing::new(secret.derive(b"madmall personal blake3 v1")),
            sha256: Zeroizing::new(secret.derive(b"madmall personal sha256 v1")),
            values: Zeroizing::new(secret.derive(b"madmall personal value v1")),
        }
    }

    /// What the secret is called that it comes of.
    #[must_use]
    pub const fn id(&self) -> SecretId {
        self.id
    }

    /// The name that an object has in receipts and in the store, by its plain BLAKE3.
    #[must_use]
    pub fn name(&self, plain: Digest) -> Digest {
        Digest::from(blake3::keyed_hash(&self.blake3, plain.as_bytes()))
    }

    /// The keyed digests of a file.
    #[must_use]
    pub fn file(&self, plain: &Digests) -> Commitment {
        self.commit(Shape::File, plain.blake3, plain.sha256)
    }

    /// The keyed digests of several files.
    #[must_use]
    pub fn several(&self, plain: &ListingDigests) -> Commitment {
        self.commit(Shape::Several, plain.blake3, plain.dir_hash)
    }

    /// What stands in the place of a value that is personal.
    #[must_use]
    pub fn value(&self, text: &str) -> String {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&*self.values).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        format!("{HMAC_SHA256}:{}", hex(&mac.finalize().into_bytes()))
    }

    fn commit(&self, shape: Shape, blake3: Digest, sha256: Sha256) -> Commitment {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&*self.sha256).expect("HMAC takes keys of any length");
        mac.update(sha256.as_bytes());
        Commitment {
            shape,
            blake3: self.name(blake3),
            sha256: Sha256::from_bytes(mac.finalize().into_bytes().into()),
            key: self.id,
        }
    }
}

impl fmt::Debug for PersonalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PersonalKey({}…)", &self.id.to_hex()[..8])
    }
}

/// Whether what has the plain BLAKE3 `found` may be called `name`: by that, or by `key` if it is personal.
#[must_use]
pub fn is_named(found: Digest, name: Digest, key: Option<&PersonalKey>) -> bool {
    found == name || key.is_some_and(|key| key.name(found) == name)
}

/// Whether bytes are what was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// They are.
    Yes,
    /// They are not.
    No,
    /// The claim is keyed by a secret that is not here.
    Unknown,
}

impl ArtifactDigests {
    /// These plain digests in the form that `claimed` has; `None` if that is keyed by something else than `key`.
    #[must_use]
    pub fn as_claimed(&self, claimed: &Self, key: Option<&PersonalKey>) -> Option<Self> {
        let Self::Keyed(commitment) = claimed else {
            return Some(*self);
        };
        let key = key.filter(|key| key.id == commitment.key)?;
        Some(self.keyed(key))
    }

    /// Keyed, if they are not yet.
    #[must_use]
    pub fn keyed(&self, key: &PersonalKey) -> Self {
        match self {
            Self::File(digests) => Self::Keyed(key.file(digests)),
            Self::Folder(listing) => Self::Keyed(key.several(listing)),
            Self::Keyed(_) => *self,
        }
    }

    /// Keyed, if there is a key.
    #[must_use]
    pub fn keyed_by(&self, key: Option<&PersonalKey>) -> Self {
        key.map_or(*self, |key| self.keyed(key))
    }

    /// The plain BLAKE3 that the file at `path` has to have, if these are its digests. What that is of a keyed one, only the file itself
    /// tells: it is hashed, and none is given if it is another. Of a plain one it is known without a look at the file.
    #[must_use]
    pub fn plain_name(&self, path: &Utf8Path, key: Option<&PersonalKey>) -> Option<Digest> {
        let Self::Keyed(_) = self else {
            return Some(self.blake3());
        };
        let (found, _) = hash_file(path).ok()?;
        (Self::File(found).compare(self, key) == Same::Yes).then_some(found.blake3)
    }

    /// Whether these plain digests are what `claimed` says.
    #[must_use]
    pub fn compare(&self, claimed: &Self, key: Option<&PersonalKey>) -> Same {
        match self.as_claimed(claimed, key) {
            None => Same::Unknown,
            Some(found) if found == *claimed => Same::Yes,
            Some(_) => Same::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::{ListedFile, listing_digests};

    fn key(byte: u8) -> PersonalKey {
        PersonalKey::of(&ConsentSecret::from_bytes([byte; 32]))
    }

    #[test]
    fn keyed_digests_are_those_that_other_tools_give() {
        // By Python's `hmac` and `hashlib`, with the `blake3` package; the secret is 32 bytes 7, the file `yes\n`:
        //   ks = hmac.digest(s, b"madmall personal sha256 v1", "sha256"); hmac.digest(ks, sha256(file), "sha256")
        let made = key(7).file(&Digests::of(b"yes\n"));
        assert_eq!(
            made.sha256.to_hex(),
            "88625b1dc277eca6f65475e9657bf4bcf65eb8c6379e6a0cbdde00a4cffb4764"
        );
        assert_eq!(
            made.blake3.to_hex(),
            "ad941e725c47cc7b00b8fa6e464e60591c20d3d6162dd936d49e3fa8fc102481"
        );
    }

    #[test]
    fn another_secret_gives_other_digests_and_cannot_compare() {
        let plain = ArtifactDigests::File(Digests::of(b"yes\n"));
        let claimed = plain.keyed(&key(7));
        assert_eq!(plain.compare(&claimed, Some(&key(7))), Same::Yes);
        assert_eq!(plain.compare(&claimed, Some(&key(8))), Same::Unknown);
        assert_eq!(plain.compare(&claimed, None), Same::Unknown);
        let other = ArtifactDigests::File(Digests::of(b"no\n"));
        assert_eq!(other.compare(&claimed, Some(&key(7))), Same::No);
        assert_ne!(claimed, plain.keyed(&key(8)));
        assert_eq!(plain.compare(&plain, None), Same::Yes);
        assert_eq!(claimed.keyed(&key(8)), claimed);
    }

    #[test]
    fn a_file_is_not_several_even_of_equal_digests() {
        let file = ListedFile {
            path: "a".into(),
            executable: false,
            digests: Digests::of(b"x"),
        };
        let listing = listing_digests(&[file]).expect("a listing");
        let as_file = Digests {
            blake3: listing.blake3,
            sha256: listing.dir_hash,
        };
        assert_ne!(key(1).several(&listing), key(1).file(&as_file));
    }
}
