//! What stands for an event, or for a person, where neither may be named.
//!
//! ```text
//! k     = HMAC-SHA256(secret, "madmall token key v1" ‖ id)       the key of one event
//! token = HMAC-SHA256(k,      "madmall token v1"     ‖ id)
//! ```
//!
//! and for a person the same, with `madmall subject key v1` and `madmall subject v1`. The id is the UTF-8 of the text that the event's
//! JSON stands for. Whoever is given `k` can tell this one event's token from its id, and no other; without the secret nobody can tell
//! whose a token is.

use std::fmt;

use hmac::{Hmac, Mac as _};
use zeroize::Zeroizing;

use super::secret::{ConsentSecret, SecretId};
use crate::digest::{Sha256, hex};

type HmacSha256 = Hmac<sha2::Sha256>;

const TOKEN_KEY: &[u8] = b"madmall token key v1";
const TOKEN: &[u8] = b"madmall token v1";
const SUBJECT_KEY: &[u8] = b"madmall subject key v1";
const SUBJECT: &[u8] = b"madmall subject v1";

/// What stands for an event. Says nothing of it to whoever has neither the secret nor the event's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token([u8; 32]);

/// What stands for a person that events came from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectToken([u8; 32]);

/// The key of one event, by which its token can be made from its id. Wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenKey(Zeroizing<[u8; 32]>);

/// A text that is not 64 lower-case hexadecimal digits. It is not shown.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("is not 64 lower-case hexadecimal digits")]
pub struct ParseTokenError;

macro_rules! token_type {
    ($name:ident) => {
        impl $name {
            /// Takes the 32 bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Its one spelling: 64 lower-case hexadecimal digits.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }

            /// Reads that spelling.
            ///
            /// # Errors
            ///
            /// [`ParseTokenError`] for any other text.
            pub fn from_hex(text: &str) -> Result<Self, ParseTokenError> {
                let bytes = Sha256::from_hex(text).map_err(|_| ParseTokenError)?;
                Ok(Self(*bytes.as_bytes()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.to_hex())
            }
        }
    };
}

token_type!(Token);
token_type!(SubjectToken);

impl Token {
    /// That of the event `id`, by its key.
    #[must_use]
    pub fn of(key: &TokenKey, id: &str) -> Self {
        Self(mac(&keyed(&key.0), TOKEN, id))
    }
}

impl TokenKey {
    /// Its one spelling: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(&*self.0)
    }

    /// Reads that spelling.
    ///
    /// # Errors
    ///
    /// [`ParseTokenError`] for any other text.
    pub fn from_hex(text: &str) -> Result<Self, ParseTokenError> {
        let bytes = Sha256::from_hex(text).map_err(|_| ParseTokenError)?;
        Ok(Self(Zeroizing::new(*bytes.as_bytes())))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// Makes tokens by one secret, whose part of the work is done once.
#[derive(Clone)]
pub struct Tokens {
    keyed: HmacSha256,
    secret: SecretId,
}

impl Tokens {
    /// By `secret`.
    #[must_use]
    pub fn by(secret: &ConsentSecret) -> Self {
        Self {
            keyed: keyed(secret.as_bytes()),
            secret: secret.id(),
        }
    }

    /// What the secret is called.
    #[must_use]
    pub const fn secret(&self) -> SecretId {
        self.secret
    }

    /// The key of the event `id`.
    #[must_use]
    pub fn key(&self, id: &str) -> TokenKey {
        TokenKey(Zeroizing::new(mac(&self.keyed, TOKEN_KEY, id)))
    }

    /// The token of the event `id`.
    #[must_use]
    pub fn token(&self, id: &str) -> Token {
        Token::of(&self.key(id), id)
    }

    /// The token of the person `subject`.
    #[must_use]
    pub fn subject(&self, subject: &str) -> SubjectToken {
        let key = Zeroizing::new(mac(&self.keyed, SUBJECT_KEY, subject));
        SubjectToken(mac(&keyed(&key), SUBJECT, subject))
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(…)")
    }
}

fn keyed(key: &[u8; 32]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac(keyed: &HmacSha256, label: &[u8], text: &str) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(label);
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's `hmac`, see `tests/reference/population_reference.py`.
    #[test]
    fn tokens_are_those_of_another_implementation() {
        let tokens = Tokens::by(&ConsentSecret::from_bytes([7; 32]));
        let key = tokens.key("evt-0001");
        assert_eq!(
            key.to_hex(),
            "199e0f5b0134f2cf4a48fc459bc66c4ad9291d8e300a530e5103c6d267109db0"
        );
        assert_eq!(
            Token::of(&key, "evt-0001").to_hex(),
            "2658afacecedf6237b8218ca511741afe090e27428917dae170d633bc6bffdc8"
        );
        assert_eq!(tokens.token("evt-0001"), Token::of(&key, "evt-0001"));
        assert_eq!(
            tokens.subject("evt-0001").to_hex(),
            "a48bf229870ca40ef2e47c0bb6ba001cfd34a3755cb4aa146f690ccb339d0661"
        );
        assert_ne!(tokens.token("évt"), Token::of(&key, "évt"));
        assert!(!format!("{key:?} {tokens:?}").contains(&key.to_hex()[..8]));
    }

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        // Test case 2; the label stands for the beginning of the data.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let found = mac(&keyed(&key), b"what do ya want ", "for nothing?");
        assert_eq!(
            hex(&found),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn a_token_has_one_spelling() {
        let token = Token::from_bytes([0xab; 32]);
        assert_eq!(Token::from_hex(&token.to_hex()), Ok(token));
        for wrong in [
            "",
            "ab",
            &token.to_hex().to_uppercase(),
            &format!("{}0", token.to_hex()),
        ] {
            assert_eq!(Token::from_hex(wrong), Err(ParseTokenError));
            assert!(TokenKey::from_hex(wrong).is_err());
        }
    }
}
