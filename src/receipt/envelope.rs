//! The signed envelope around a statement (DSSE).
//!
//! An envelope has one spelling, on one line, with its fields in the order of their names:
//!
//! ```text
//! {"payload":"<standard base64>","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":"<64 hex>","sig":"<88 base64>"}]}
//! ```
//!
//! It is read as that template and nothing else, so no byte of it can change unseen. What is signed is DSSE's
//! pre-authentication encoding, `DSSEv1 28 application/vnd.in-toto+json <length> <payload>`, of the decoded payload.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::key::{KeyId, PublicKey, SigningKey};
use super::payload::StatementError;
use super::statement::{ReceiptId, Statement};
use crate::digest::Sha256;

/// `payloadType` of every envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

const BEFORE_PAYLOAD: &str = r#"{"payload":""#;
const BEFORE_KEYID: &str = r#"","payloadType":"application/vnd.in-toto+json","signatures":[{"keyid":""#;
const BEFORE_SIG: &str = r#"","sig":""#;
const AFTER_SIG: &str = r#""}]}"#;

/// A payload and its one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    payload: Vec<u8>,
    keyid: KeyId,
    signature: [u8; 64],
}

/// Why a line is no envelope in its one spelling.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EnvelopeError {
    /// It departs from the template.
    #[error("not an envelope as madmall writes it: at column {column}, expected {expected}")]
    Template {
        /// Column in bytes, from 1.
        column: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// The signature is not by that key, or not of those bytes.
    #[error("the signature does not fit the payload and the key {keyid}")]
    Signature {
        /// Of the key that was asked.
        keyid: KeyId,
    },
    /// The signature is by that key, but the envelope names another.
    #[error("the envelope names the key {named}, but the signature is by {keyid}")]
    KeyId {
        /// As the envelope says.
        named: KeyId,
        /// Of the key that verifies.
        keyid: KeyId,
    },
}

/// A payload up to this size is signed before it is hashed and spelled, and not beside that.
const LONG: usize = 64 * 1024;

/// A statement that was signed, as it is kept.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The receipt.
    pub id: ReceiptId,
    /// Who signed it.
    pub keyid: KeyId,
    /// The envelope's one spelling, with a line break.
    pub line: String,
}

/// Signs `statement`.
///
/// # Errors
///
/// [`StatementError`] if its fields do not go together: nothing is signed that could not be read back.
pub fn sign(statement: &Statement, key: &SigningKey) -> Result<Signed, StatementError> {
    let payload = statement.to_payload()?;
    let keyid = key.public().keyid();
    let signature = || key.sign_parts(&[&before_payload(&payload), &payload]);
    let unsigned = || (Sha256::of(&payload), before_signature(&payload, keyid));
    let (signature, (id, mut line)) = match payload.len() < LONG {
        true => (signature(), unsigned()),
        false => rayon::join(signature, unsigned),
    };
    add_signature(&mut line, &signature);
    line.push('\n');
    Ok(Signed { id, keyid, line })
}

/// All of an envelope's line that stands before the signature; there is room for that, and for a line break.
fn before_signature(payload: &[u8], keyid: KeyId) -> String {
    let fixed = BEFORE_PAYLOAD.len() + BEFORE_KEYID.len() + BEFORE_SIG.len() + AFTER_SIG.len();
    let mut line = String::with_capacity(fixed + payload.len().div_ceil(3) * 4 + 64 + 88 + 1);
    line.push_str(BEFORE_PAYLOAD);
    STANDARD.encode_string(payload, &mut line);
    line.push_str(BEFORE_KEYID);
    line.push_str(&keyid.to_string());
    line.push_str(BEFORE_SIG);
    line
}

fn add_signature(line: &mut String, signature: &[u8; 64]) {
    STANDARD.encode_string(signature, line);
    line.push_str(AFTER_SIG);
}

impl Envelope {
    /// Reads one line, without its line break. How long it may be is for those to say who read it from somewhere; a statement
    /// that is too long is refused when the payload is read.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`] for any bytes that [`Envelope::to_line`] would not have written.
    pub fn parse(line: &[u8]) -> Result<Self, EnvelopeError> {
        let mut rest = Template { line, at: 0 };
        rest.literal(BEFORE_PAYLOAD, "`{\"payload\":\"`")?;
        let payload = rest.base64("the payload in standard base64, padded")?;
        rest.literal(BEFORE_KEYID, "`payloadType` in-toto and one signature")?;
        let keyid = rest.text("a keyid of 64 hexadecimal digits", |text| {
            Sha256::from_hex(text).ok().map(KeyId::from)
        })?;
        rest.literal(BEFORE_SIG, "`\",\"sig\":\"`")?;
        let signature_at = rest.at;
        let signature = rest.base64("a signature in standard base64")?;
        let signature = signature.try_into().map_err(|_| EnvelopeError::Template {
            column: signature_at + 1,
            expected: "a signature of 64 bytes",
        })?;
        rest.literal(AFTER_SIG, "`\"}]}`")?;
        if rest.at != line.len() {
            return Err(rest.expected("the end of the line"));
        }
        Ok(Self {
            payload,
            keyid,
            signature,
        })
    }

    /// The one spelling, without a line break.
    #[must_use]
    pub fn to_line(&self) -> String {
        let mut line = before_signature(&self.payload, self.keyid);
        add_signature(&mut line, &self.signature);
        line
    }

    /// Checks the signature over the decoded payload, and that the envelope names the key that verifies.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Signature`], [`EnvelopeError::KeyId`].
    pub fn verify_signature(&self, key: &PublicKey) -> Result<(), EnvelopeError> {
        let keyid = key.keyid();
        if !key.verifies(&pre_authentication_encoding(&self.payload), &self.signature) {
            return Err(EnvelopeError::Signature { keyid });
        }
        if self.keyid != keyid {
            let named = self.keyid;
            return Err(EnvelopeError::KeyId { named, keyid });
        }
        Ok(())
    }

    /// The SHA-256 of the payload: the receipt's id, whoever signed it.
    #[must_use]
    pub fn receipt_id(&self) -> ReceiptId {
        Sha256::of(&self.payload)
    }

    /// The bytes that are signed, decoded.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The key that the envelope names: a hint.
    #[must_use]
    pub const fn keyid(&self) -> KeyId {
        self.keyid
    }

    /// Reads the payload.
    ///
    /// # Errors
    ///
    /// [`StatementError`] if it is no statement in its one spelling.
    pub fn statement(&self) -> Result<Statement, StatementError> {
        Statement::parse(&self.payload)
    }
}

/// DSSE v1's PAE of a payload of our type.
fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    [&before_payload(payload), payload].concat()
}

/// What stands in it before the payload.
fn before_payload(payload: &[u8]) -> Vec<u8> {
    format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len()).into_bytes()
}

/// A line that is read piece by piece.
struct Template<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Template<'a> {
    fn expected(&self, expected: &'static str) -> EnvelopeError {
        let column = self.at + 1;
        EnvelopeError::Template { column, expected }
    }

    fn literal(&mut self, literal: &str, expected: &'static str) -> Result<(), EnvelopeError> {
        if !self.line[self.at..].starts_with(literal.as_bytes()) {
            return Err(self.expected(expected));
        }
        self.at += literal.len();
        Ok(())
    }

    /// Everything up to the next quotation mark, as `read` takes it.
    fn text<T>(&mut self, expected: &'static str, read: impl FnOnce(&'a str) -> Option<T>) -> Result<T, EnvelopeError> {
        let rest = &self.line[self.at..];
        let end = memchr::memchr(b'"', rest);
        let value = end
            .and_then(|end| std::str::from_utf8(&rest[..end]).ok())
            .and_then(read)
            .ok_or_else(|| self.expected(expected))?;
        self.at += end.unwrap_or_default();
        Ok(value)
    }

    /// The engine refuses missing padding and loose bits at the end, so that one text only gives these bytes.
    fn base64(&mut self, expected: &'static str) -> Result<Vec<u8>, EnvelopeError> {
        self.text(expected, |text| STANDARD.decode(text).ok())
    }
}
