//! A proof in a file: that an event is among those that an ingest let in, or that it is not.
//!
//! ```json
//! {
//!   "format": "madmall consent proof v1",
//!   "membership": "absent",
//!   "receipt": "sha256:<64 digits>",
//!   "root": "<64 digits>",
//!   "size": 7734,
//!   "key": "<64 digits>",
//!   "token": "<64 digits>",
//!   "other": "<64 digits>",
//!   "siblings": ["<64 digits>", null, "<64 digits>"]
//! }
//! ```
//!
//! It has one spelling, and names neither the event nor a person. `schemas/consent_proof.schema.json` is its schema,
//! `docs/formats/population.md` says how its path is checked.

use serde::{Deserialize, Serialize};

use super::map::{End, Membership, Path, ProofError, Root};
use super::token::{Token, TokenKey};
use crate::json::{self, JsonError, Limits};
use crate::receipt::statement::ReceiptId;

/// The longest proof that is read; one that is written of a million events has 3,000 bytes.
pub const MAX_PROOF: usize = 32 << 10;
/// What its first field says.
const FORMAT: &str = "madmall consent proof v1";
/// What every proof begins with.
const BEGIN: &[u8] = b"{\n  \"format\": \"madmall consent proof ";

const LIMITS: Limits = Limits {
    bytes: MAX_PROOF,
    depth: 2,
};

/// A proof about one event.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The receipt of the ingest.
    pub receipt: ReceiptId,
    /// What its set of events is known by.
    pub root: Root,
    /// How many events are in it.
    pub size: u64,
    /// The event's key, as the prover says.
    pub key: TokenKey,
    /// What stands for the event.
    pub token: Token,
    /// What the path is said to show.
    pub membership: Membership,
    /// The way to the token's place.
    pub path: Path,
}

/// Why bytes are no proof, or show nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadProofError {
    /// No JSON, or too much of it.
    #[error("it is not JSON: {0}")]
    Json(#[from] JsonError),
    /// Other fields, or other values.
    #[error("it is no proof: {0}")]
    Shape(String),
    /// The same in another spelling.
    #[error("it is not spelled as a proof is: byte {0} should be otherwise")]
    Spelling(usize),
}

/// As it is written. The order of the fields is that of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: String,
    membership: Word,
    receipt: String,
    root: String,
    size: u64,
    key: String,
    token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other: Option<String>,
    siblings: Vec<Option<String>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Included,
    Absent,
}

impl Proof {
    /// Whether bytes are meant to be a proof: they begin as one does.
    #[must_use]
    pub fn is_meant(bytes: &[u8]) -> bool {
        bytes.starts_with(BEGIN)
    }

    /// Reads a proof. That it holds is for [`Proof::check`] to say.
    ///
    /// # Errors
    ///
    /// [`ReadProofError`] for anything but the one spelling.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReadProofError> {
        let value = json::parse_strict(bytes, LIMITS)?;
        let written: Written =
            serde_json::from_value(value).map_err(|error| ReadProofError::Shape(error.to_string()))?;
        let proof = written.read()?;
        let spelled = proof.to_bytes();
        match spelled == bytes {
            true => Ok(proof),
            false => {
                let same = spelled.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                Err(ReadProofError::Spelling(same))
            }
        }
    }

    /// The bytes that [`Proof::parse`] reads.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let hash = |hash: &Option<[u8; 32]>| hash.map(|hash| Root::from_bytes(hash).to_hex());
        let written = Written {
            format: FORMAT.to_owned(),
            membership: match self.membership {
                Membership::Included => Word::Included,
                Membership::Absent => Word::Absent,
            },
            receipt: self.receipt.to_string(),
            root: self.root.to_hex(),
            size: self.size,
            key: self.key.to_hex(),
            token: self.token.to_hex(),
            other: match self.path.end {
                End::Other(other) => Some(other.to_hex()),
                End::Itself | End::Nothing => None,
            },
            siblings: self.path.siblings.iter().map(hash).collect(),
        };
        let mut bytes = serde_json::to_vec_pretty(&written).expect("texts, numbers and lists have a spelling");
        bytes.push(b'\n');
        bytes
    }

    /// Checks that the path shows what it is said to show.
    ///
    /// # Errors
    ///
    /// [`ProofError`] if it does not.
    pub fn check(&self) -> Result<(), ProofError> {
        match self.path.check(&self.token, self.size, &self.root)? == self.membership {
            true => Ok(()),
            false => Err(ProofError::Shape),
        }
    }
}

impl Written {
    fn read(self) -> Result<Proof, ReadProofError> {
        fn hex<T, E>(what: &str, read: Result<T, E>) -> Result<T, ReadProofError> {
            read.map_err(|_| ReadProofError::Shape(format!("`{what}` is not 64 lower-case hexadecimal digits")))
        }
        if self.format != FORMAT {
            return Err(ReadProofError::Shape(format!("`format` is not `{FORMAT}`")));
        }
        let other = self
            .other
            .map(|other| hex("other", Token::from_hex(&other)))
            .transpose()?;
        let (membership, end) = match (self.membership, other) {
            (Word::Included, None) => (Membership::Included, End::Itself),
            (Word::Absent, Some(other)) => (Membership::Absent, End::Other(other)),
            (Word::Absent, None) => (Membership::Absent, End::Nothing),
            (Word::Included, Some(_)) => {
                let message = "`other` stands with what is included".to_owned();
                return Err(ReadProofError::Shape(message));
            }
        };
        let siblings = self.siblings.into_iter().map(|sibling| {
            let hash = sibling
                .map(|digits| hex("siblings", Root::from_hex(&digits)))
                .transpose()?;
            Ok(hash.map(|hash| *hash.as_bytes()))
        });
        let receipt = self.receipt.parse().map_err(|_| {
            ReadProofError::Shape("`receipt` is not `sha256:` and 64 lower-case hexadecimal digits".to_owned())
        })?;
        Ok(Proof {
            receipt,
            root: hex("root", Root::from_hex(&self.root))?,
            size: self.size,
            key: hex("key", TokenKey::from_hex(&self.key))?,
            token: hex("token", Token::from_hex(&self.token))?,
            membership,
            path: Path {
                siblings: siblings.collect::<Result<_, ReadProofError>>()?,
                end,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::consent::map::Map;
    use crate::consent::secret::ConsentSecret;
    use crate::consent::token::Tokens;

    fn proof(id: &str, count: u32) -> Proof {
        let tokens = Tokens::by(&ConsentSecret::from_bytes([9; 32]));
        let mut all: Vec<Token> = (0..count).map(|number| tokens.token(&number.to_string())).collect();
        all.sort_unstable();
        let map = Map::of(&all).expect("each once");
        let token = tokens.token(id);
        let alike = all.iter().filter(|other| other.as_bytes()[0] == token.as_bytes()[0]);
        let path = map.path(&token, alike.copied());
        Proof {
            receipt: ReceiptId::of(b"a receipt"),
            root: map.root(),
            size: map.size(),
            key: tokens.key(id),
            token,
            membership: path
                .check(&token, map.size(), &map.root())
                .expect("it shows one or the other"),
            path,
        }
    }

    #[test]
    fn a_proof_is_read_as_it_was_written_and_is_short() {
        for (id, count) in [("3", 0), ("3", 1), ("3", 5000), ("other", 1), ("other", 5000)] {
            let proof = proof(id, count);
            let bytes = proof.to_bytes();
            assert!(Proof::is_meant(&bytes) && bytes.len() < 4096, "{}", bytes.len());
            let read = Proof::parse(&bytes).expect("a proof");
            assert_eq!(read.to_bytes(), bytes);
            read.check().expect("it holds");
        }
    }

    #[test]
    fn no_flipped_byte_is_taken_of_the_event_that_is_asked_about() {
        for id in ["3", "other"] {
            let proof = proof(id, 300);
            let bytes = proof.to_bytes();
            let text = std::str::from_utf8(&bytes).expect("text");
            // The receipt is looked up.
            let begin = text.find(&proof.receipt.to_hex()).expect("there");
            let receipt = begin..begin + 64;
            for place in 0..bytes.len() {
                for bit in [1, 4, 0x20] {
                    let mut other = bytes.clone();
                    other[place] ^= bit;
                    let is_taken = Proof::parse(&other)
                        .is_ok_and(|read| read.check().is_ok() && Token::of(&read.key, id) == read.token);
                    let is_elsewhere = receipt.contains(&place);
                    assert!(!is_taken || is_elsewhere, "byte {place}");
                }
            }
        }
    }
}
