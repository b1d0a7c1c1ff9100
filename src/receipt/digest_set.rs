//! A resource's digests, as an in-toto `DigestSet`: a map from the name of an algorithm to its digest in hexadecimal digits.
//!
//! | of | plain | keyed (what is personal) |
//! | --- | --- | --- |
//! | a file | `blake3`, `sha256` | `blake3Keyed`, `hmacSha256` |
//! | several files | `blake3`, `dirHash` | `blake3Keyed`, `hmacDirHash` |
//! | a receipt | `sha256` | |
//! | a commit | `gitCommit` | |
//!
//! Any other is held as it was read, so that [`super::check`] can say of what it is the wrong one.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::commitment::{BLAKE3_KEYED, HMAC_DIR_HASH, HMAC_SHA256, Shape};
use crate::digest::{Digest, Digests, HexDigits, Sha256};
use crate::listing::ListingDigests;

const BLAKE3: &str = "blake3";
const DIR_HASH: &str = "dirHash";
const GIT_COMMIT: &str = "gitCommit";
const SHA256: &str = "sha256";

/// A resource's digests.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DigestSet {
    /// Of a file.
    File(Digests),
    /// Of several files.
    Several(ListingDigests),
    /// Of what is personal. What the secret is called that they are keyed by stands beside them, in the annotations.
    Keyed {
        /// Of what.
        shape: Shape,
        /// `blake3Keyed`.
        blake3: Digest,
        /// `hmacSha256` or `hmacDirHash`.
        sha256: Sha256,
    },
    /// Of a receipt: its id.
    Receipt(Sha256),
    /// Of a commit: its id, whatever it is spelled like.
    Commit(String),
    /// None of these.
    Other(BTreeMap<String, String>),
}

impl DigestSet {
    /// What other tools can check, with the name of its algorithm: `sha256:…`, `dirHash:…`, `gitCommit:…`, or the keyed form of it.
    #[must_use]
    pub fn public(&self) -> Option<String> {
        self.entries()
            .pop()
            .map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
    }

    /// What identity uses, with the name of its algorithm: `blake3:…` or its keyed form; of what has none, what [`Self::public`] gives.
    #[must_use]
    pub fn identity(&self) -> Option<String> {
        let first = self.entries().into_iter().next();
        first.map(|(algorithm, hex)| format!("{algorithm}:{hex}"))
    }

    /// Whether there is one by this name.
    #[must_use]
    pub fn names(&self, algorithm: &str) -> bool {
        self.entries().iter().any(|(name, _)| *name == algorithm)
    }

    /// A byte that is as good as any where digests are parted.
    #[must_use]
    pub fn first_byte(&self) -> u8 {
        let digest = self.digests().into_iter().flatten().next();
        digest.map_or(0, |(_, bytes)| bytes[0])
    }

    /// Each digest with its algorithm, sorted by the names of these.
    fn entries(&self) -> Vec<(&str, String)> {
        match self {
            Self::Commit(id) => vec![(GIT_COMMIT, id.clone())],
            Self::Other(map) => map.iter().map(|(name, hex)| (name.as_str(), hex.clone())).collect(),
            typed => {
                let digests = typed.digests();
                let hex = |(name, bytes): (&'static str, &[u8; 32])| (name, HexDigits::of(bytes).as_str().to_owned());
                digests.into_iter().flatten().map(hex).collect()
            }
        }
    }

    /// The one or two digests of 32 bytes, sorted by the names of their algorithms; none if they are others.
    fn digests(&self) -> [Option<(&'static str, &[u8; 32])>; 2] {
        match self {
            Self::File(Digests { blake3, sha256 }) => pair((BLAKE3, blake3), (SHA256, sha256)),
            Self::Several(ListingDigests { blake3, dir_hash }) => pair((BLAKE3, blake3), (DIR_HASH, dir_hash)),
            Self::Keyed { shape, blake3, sha256 } => pair((BLAKE3_KEYED, blake3), (shape.digest_name(), sha256)),
            Self::Receipt(id) => [Some((SHA256, id.as_bytes())), None],
            Self::Commit(_) | Self::Other(_) => [None, None],
        }
    }
}

fn pair<'a>(
    (first, blake3): (&'static str, &'a Digest),
    (second, sha256): (&'static str, &'a Sha256),
) -> [Option<(&'static str, &'a [u8; 32])>; 2] {
    [Some((first, blake3.as_bytes())), Some((second, sha256.as_bytes()))]
}

impl<'de> Deserialize<'de> for DigestSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

/// A text of the input, which is there already if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads a set.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = DigestSet;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from algorithms to digests")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DigestSet, A::Error> {
        let mut entries = Vec::with_capacity(2);
        while let Some((Text(name), Text(hex))) = map.next_entry()? {
            entries.push((name, hex));
        }
        if let Some(known) = typed(entries.iter().map(|(name, hex)| (name.as_ref(), hex.as_ref()))) {
            return Ok(known);
        }
        let owned = entries
            .into_iter()
            .map(|(name, hex)| (name.into_owned(), hex.into_owned()));
        Ok(owned.collect::<BTreeMap<String, String>>().into())
    }
}

impl From<BTreeMap<String, String>> for DigestSet {
    fn from(map: BTreeMap<String, String>) -> Self {
        let known = typed(map.iter().map(|(name, hex)| (name.as_str(), hex.as_str())));
        known.unwrap_or(Self::Other(map))
    }
}

/// The set with these entries, sorted by their names, as one of those that there are, if each digest is in its one spelling.
fn typed<'a>(mut entries: impl Iterator<Item = (&'a str, &'a str)>) -> Option<DigestSet> {
    let first = entries.next()?;
    let second = entries.next();
    if entries.next().is_some() {
        return None;
    }
    let keyed = |shape, blake3: &str, sha256: &str| {
        Some(DigestSet::Keyed {
            shape,
            blake3: Digest::from_hex(blake3).ok()?,
            sha256: Sha256::from_hex(sha256).ok()?,
        })
    };
    match (first, second) {
        ((GIT_COMMIT, id), None) => Some(DigestSet::Commit(id.to_owned())),
        ((SHA256, id), None) => Sha256::from_hex(id).ok().map(DigestSet::Receipt),
        ((BLAKE3, blake3), Some((SHA256, sha256))) => Some(DigestSet::File(Digests {
            blake3: Digest::from_hex(blake3).ok()?,
            sha256: Sha256::from_hex(sha256).ok()?,
        })),
        ((BLAKE3, blake3), Some((DIR_HASH, dir_hash))) => Some(DigestSet::Several(ListingDigests {
            blake3: Digest::from_hex(blake3).ok()?,
            dir_hash: Sha256::from_hex(dir_hash).ok()?,
        })),
        ((BLAKE3_KEYED, blake3), Some((HMAC_SHA256, sha256))) => keyed(Shape::File, blake3, sha256),
        ((BLAKE3_KEYED, blake3), Some((HMAC_DIR_HASH, sha256))) => keyed(Shape::Several, blake3, sha256),
        _ => None,
    }
}

impl Serialize for DigestSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Commit(id) => serializer.collect_map([(GIT_COMMIT, id)]),
            Self::Other(map) => serializer.collect_map(map),
            typed => {
                let mut map = serializer.serialize_map(None)?;
                for (name, bytes) in typed.digests().into_iter().flatten() {
                    map.serialize_entry(name, HexDigits::of(bytes).as_str())?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> DigestSet {
        serde_json::from_str(json).expect("a map of texts")
    }

    #[test]
    fn each_set_is_spelled_as_it_was_read() {
        let (a, b) = ("a".repeat(64), "0".repeat(64));
        let mut sets = Vec::new();
        for (names, is_known) in [
            (&["blake3", "sha256"][..], true),
            (&["blake3", "dirHash"], true),
            (&["blake3Keyed", "hmacSha256"], true),
            (&["blake3Keyed", "hmacDirHash"], true),
            (&["sha256"], true),
            (&["gitCommit"], true),
            (&["blake3"], false),
            (&["blake3", "hmacSha256"], false),
            (&["blake3Keyed", "sha256"], false),
            (&["blake3", "dirHash", "sha256"], false),
            (&["gitCommit", "sha256"], false),
            (&[], false),
        ] {
            let entries = names.iter().zip([&a, &b, &a]);
            let entries: Vec<String> = entries.map(|(name, hex)| format!("\"{name}\":\"{hex}\"")).collect();
            let json = format!("{{{}}}", entries.join(","));
            let set = read(&json);
            assert_eq!(serde_json::to_string(&set).expect("spelled"), json);
            assert_eq!(!matches!(set, DigestSet::Other(_)), is_known, "{json}");
            let public = names.iter().zip([&a, &b, &a]).next_back();
            assert_eq!(set.public(), public.map(|(name, hex)| format!("{name}:{hex}")));
            assert_eq!(set.identity(), names.first().map(|name| format!("{name}:{a}")));
            assert!(!sets.contains(&set), "{json}");
            sets.push(set);
        }
    }

    #[test]
    fn a_digest_in_another_spelling_is_none_and_a_map_may_be_in_any() {
        let good = "a".repeat(64);
        let hex = |digit: &str| digit.repeat(64);
        let (one, other) = (hex("1"), hex("2"));
        let swapped = read(&format!(r#"{{"sha256":"{one}","blake3":"{other}"}}"#));
        assert_eq!(swapped, read(&format!(r#"{{"blake3":"{other}","sha256":"{one}"}}"#)));
        let escaped = read(&format!(r#"{{"sh\u0061256":"\u0031{}"}}"#, &one[1..]));
        assert_eq!(escaped, read(&format!(r#"{{"sha256":"{one}"}}"#)));
        for bad in [
            "A".repeat(64),
            "a".repeat(63),
            "a".repeat(65),
            "g".repeat(64),
            String::new(),
        ] {
            for json in [
                format!(r#"{{"blake3":"{bad}","sha256":"{good}"}}"#),
                format!(r#"{{"blake3":"{good}","sha256":"{bad}"}}"#),
                format!(r#"{{"blake3Keyed":"{good}","hmacDirHash":"{bad}"}}"#),
                format!(r#"{{"sha256":"{bad}"}}"#),
            ] {
                let set = read(&json);
                assert!(matches!(set, DigestSet::Other(_)), "{json}");
                assert_eq!(serde_json::to_string(&set).expect("spelled"), json);
            }
        }
    }
}
