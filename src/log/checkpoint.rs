//! The signed size and root of a log: a C2SP checkpoint in a C2SP signed note.
//!
//! ```text
//! madmall/<log id>
//! <size>
//! <root hash, base64>
//! continues <origin> <size> <root hash, base64>
//! absent <first> <count>
//!
//! — madmall/<log id> <base64 of key hint and Ed25519 signature>
//! ```
//!
//! The fourth and fifth line are extension lines and mostly absent. One text only spells a checkpoint, and one signature
//! stands under it, so no byte of it can change unseen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::name::LogId;
use crate::digest::Sha256;
use crate::receipt::key::{PublicKey, SigningKey};
use crate::receipt::statement::LogHead;

/// The largest checkpoint that is read.
pub const MAX_CHECKPOINT: u64 = 1 << 20;
/// C2SP signed-note: the type of an Ed25519 signature.
const ED25519: u8 = 1;

/// Where a log was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Head {
    /// Which log.
    pub log: LogId,
    /// How many entries it had.
    pub size: u64,
    /// The root over them.
    pub root: Sha256,
}

impl Head {
    /// The head that a receipt names; none if it is not spelled as [`Head::to_named`] spells it.
    #[must_use]
    pub fn named(head: &LogHead) -> Option<Self> {
        Some(Self {
            log: LogId::of_origin(&head.origin)?,
            size: head.size,
            root: Sha256::from_hex(&head.root).ok()?,
        })
    }

    /// As a receipt names it.
    #[must_use]
    pub fn to_named(&self) -> LogHead {
        LogHead {
            origin: self.log.origin(),
            root: self.root.to_hex(),
            size: self.size,
        }
    }
}

/// Entries whose receipts were not in the working tree when a checkpoint was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Absent {
    /// The first entry's index.
    pub first: u64,
    /// How many; at least one.
    pub count: u64,
}

impl Absent {
    /// Whether entry `index` is one of them.
    #[must_use]
    pub fn has(&self, index: u64) -> bool {
        index >= self.first && index - self.first < self.count
    }
}

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Where the log is.
    pub head: Head,
    /// The log that the same clone had before, and where it was.
    pub continues: Option<Head>,
    /// What was not in the working tree, in order.
    pub absent: Vec<Absent>,
}

/// Why bytes are no checkpoint as madmall writes it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("is no checkpoint as madmall writes it: {0}")]
pub struct CheckpointError(&'static str);

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Head { log, size, root } = &self.head;
        let mut text = format!("{}\n{size}\n{}\n", log.origin(), base64_of(root));
        if let Some(Head { log, size, root }) = &self.continues {
            text.push_str(&format!("continues {} {size} {}\n", log.origin(), base64_of(root)));
        }
        for Absent { first, count } in &self.absent {
            text.push_str(&format!("absent {first} {count}\n"));
        }
        text
    }

    /// Signs it. The same key gives the same bytes each time.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> SignedCheckpoint {
        let signature = key.sign(self.text().as_bytes());
        let hint = key_hint(&self.head.log.origin(), &key.public());
        SignedCheckpoint {
            checkpoint: self,
            hint,
            signature,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let head = parse_head([lines.next()?, lines.next()?, lines.next()?])?;
        let mut continues = None;
        let mut absent = Vec::new();
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                // A second one, or one after other lines, is not spelled so: whoever reads this compares the spelling.
                ["continues", origin, size, root] => continues = Some(parse_head([origin, size, root])?),
                ["absent", first, count] => absent.push(Absent {
                    first: first.parse().ok()?,
                    count: count.parse().ok()?,
                }),
                _ => return None,
            }
        }
        Some(Self {
            head,
            continues,
            absent,
        })
    }
}

fn parse_head([origin, size, root]: [&str; 3]) -> Option<Head> {
    let log = LogId::of_origin(origin)?;
    let root: [u8; 32] = STANDARD.decode(root).ok()?.try_into().ok()?;
    Some(Head {
        log,
        size: size.parse().ok()?,
        root: Sha256::from_bytes(root),
    })
}

fn base64_of(root: &Sha256) -> String {
    STANDARD.encode(root.as_bytes())
}

/// C2SP signed-note: the first four bytes of SHA-256 of the key's name, a line break, the type and the public key.
fn key_hint(name: &str, key: &PublicKey) -> [u8; 4] {
    let bytes = [name.as_bytes(), b"\n", &[ED25519], key.as_bytes()].concat();
    let hash = Sha256::of(&bytes);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

/// Whether a key signed a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It did, and the signature names it.
    Yes,
    /// The signature names the key, but is not by it or not of this text.
    Wrongly,
    /// The signature is by the key, but names another.
    InAnothersName,
    /// The signature names another key, and may be by that.
    No,
}

/// A checkpoint and its one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What is signed.
    pub checkpoint: Checkpoint,
    hint: [u8; 4],
    signature: [u8; 64],
}

impl SignedCheckpoint {
    /// Reads the file of a checkpoint. The signature is not looked at.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] for any bytes that [`SignedCheckpoint::to_bytes`] would not have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError("it is not UTF-8"))?;
        let (body, signature) = text.split_once("\n\n").ok_or(CheckpointError("it has no signature"))?;
        let checkpoint =
            Checkpoint::parse(&format!("{body}\n")).ok_or(CheckpointError("its text is not in its one spelling"))?;
        let line = parse_signature_line(signature, &checkpoint.head.log.origin());
        let (hint, signature) = line.ok_or(CheckpointError("its signature is not in its one spelling"))?;
        let signed = Self {
            checkpoint,
            hint,
            signature,
        };
        match signed.to_bytes() == bytes {
            true => Ok(signed),
            false => Err(CheckpointError("its numbers are not in their one spelling")),
        }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let origin = self.checkpoint.head.log.origin();
        let signature = STANDARD.encode([&self.hint[..], &self.signature[..]].concat());
        format!("{}\n— {origin} {signature}\n", self.checkpoint.text()).into_bytes()
    }

    /// Whether `key` signed it.
    #[must_use]
    pub fn signed_by(&self, key: &PublicKey) -> Signed {
        let is_named = key_hint(&self.checkpoint.head.log.origin(), key) == self.hint;
        let is_by_it = key.verifies(self.checkpoint.text().as_bytes(), &self.signature);
        match (is_named, is_by_it) {
            (true, true) => Signed::Yes,
            (true, false) => Signed::Wrongly,
            (false, true) => Signed::InAnothersName,
            (false, false) => Signed::No,
        }
    }
}

fn parse_signature_line(line: &str, name: &str) -> Option<([u8; 4], [u8; 64])> {
    let encoded = line.strip_prefix("— ")?.strip_prefix(name)?.strip_prefix(' ')?;
    let bytes = STANDARD.decode(encoded.strip_suffix('\n')?).ok()?;
    let (hint, signature) = bytes.split_at_checked(4)?;
    Some((hint.try_into().ok()?, signature.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed(&[1; 32])
    }

    fn checkpoint(size: u64) -> Checkpoint {
        let head = |random, size| Head {
            log: LogId::of([random; 8]),
            size,
            root: Sha256::of(&[random]),
        };
        Checkpoint {
            head: head(1, size),
            continues: size.is_multiple_of(2).then(|| head(2, 7)),
            absent: vec![Absent { first: 2, count: 3 }],
        }
    }

    #[test]
    fn the_note_of_the_specification_has_the_hint_and_signature_that_it_shows() {
        // Go's `note` and the crate `signed_note` show this note and its key.
        let secret = STANDARD
            .decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")
            .expect("base64");
        let key = SigningKey::from_seed(secret[1..].try_into().expect("32 bytes"));
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let bytes = [
            &key_hint("PeterNeumann", &key.public())[..],
            &key.sign(text.as_bytes())[..],
        ]
        .concat();
        assert_eq!(
            STANDARD.encode(bytes),
            "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
        );
    }

    #[test]
    fn a_second_implementation_opens_our_checkpoints() {
        for size in [1, 2] {
            let signed = checkpoint(size).sign(&key());
            let origin = signed.checkpoint.head.log.origin();
            let note = signed_note::Note::from_bytes(&signed.to_bytes()).expect("a note");
            let public = ed25519_dalek::VerifyingKey::from_bytes(key().public().as_bytes()).expect("a key");
            let theirs = signed_note::new_ed25519_verifier_key(&origin, &public);
            let verifier = signed_note::StandardVerifier::new(&theirs).expect("a verifier");
            let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
            let (verified, unverified) = note.verify(&known).expect("verified");
            assert_eq!((verified.len(), unverified.len()), (1, 0));
            let read = tlog_tiles::Checkpoint::from_bytes(note.text()).expect("a checkpoint");
            assert_eq!((read.origin(), read.size()), (origin.as_str(), size));
            assert_eq!(&read.hash().0, signed.checkpoint.head.root.as_bytes());
        }
    }

    #[test]
    fn a_signature_says_whose_it_is() {
        let signed = checkpoint(1).sign(&key());
        let other = SigningKey::from_seed(&[2; 32]).public();
        assert_eq!(signed.signed_by(&key().public()), Signed::Yes);
        assert_eq!(signed.signed_by(&other), Signed::No);
        let mut changed = signed.clone();
        changed.hint[0] ^= 1;
        assert_eq!(changed.signed_by(&key().public()), Signed::InAnothersName);
        let mut changed = signed;
        changed.checkpoint.head.size = 2;
        assert_eq!(changed.signed_by(&key().public()), Signed::Wrongly);
    }

    proptest! {
        #[test]
        fn a_checkpoint_has_one_spelling(bytes: Vec<u8>, size: u64, at: prop::sample::Index, flip in 1_u8..) {
            if let Ok(read) = SignedCheckpoint::parse(&bytes) {
                prop_assert_eq!(read.to_bytes(), bytes);
            }
            let signed = checkpoint(size).sign(&key());
            let mut bytes = signed.to_bytes();
            prop_assert_eq!(SignedCheckpoint::parse(&bytes), Ok(signed.clone()));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(read) = SignedCheckpoint::parse(&bytes) {
                let found = read.signed_by(&key().public());
                // One character of the base64 holds bits of the hint and of the signature: it can spoil both at once, and
                // then nothing is left that names the key.
                let both_spoilt = read.hint != signed.hint && read.signature != signed.signature;
                prop_assert!(found != Signed::Yes && (found != Signed::No || both_spoilt));
                prop_assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
