//! Ed25519 keys: the one that signs, those that are believed, and what they are called.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, KeypairBytes,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use super::ssh;
use crate::digest::{Sha256, hex};

/// What a key is called: the SHA-256 of `{"keytype":"ed25519","keyval":{"public":HEX},"scheme":"ed25519"}`, in 64
/// hexadecimal digits (as securesystemslib computes it). A hint: nothing is decided by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyId(Sha256);

impl From<Sha256> for KeyId {
    fn from(digest: Sha256) -> Self {
        Self(digest)
    }
}

impl KeyId {
    /// The first eight digits, for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.0.to_hex()[..8].to_owned()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a key that can be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseKeyError {
    /// No known form.
    #[error(
        "not a public key: expected a PEM `PUBLIC KEY`, an SSH line `ssh-ed25519 …`, or 64 lower-case hexadecimal digits"
    )]
    UnknownForm,
    /// A form that is known, with something wrong in it.
    #[error("not an Ed25519 key: the {0} cannot be read")]
    Malformed(&'static str),
    /// A point of small order: signatures by it prove nothing.
    #[error("a weak key: anybody can sign for it")]
    Weak,
    /// A secret where a public key was asked for.
    #[error("this is a private key: give the public one, and keep this to yourself")]
    Private,
    /// A public key where a secret was asked for.
    #[error("this is a public key, and cannot sign: name the private one (SSH keeps it beside this, without `.pub`)")]
    Public,
    /// Nobody is asked for a passphrase, so that a run can go on by itself.
    #[error(
        "this key is encrypted, and madmall asks for no passphrase: make one for it alone with `ssh-keygen -t ed25519 -N ''`"
    )]
    Encrypted,
    /// A key that makes signatures of another kind.
    #[error("this is {0}, and madmall signs with Ed25519 keys only: make one with `ssh-keygen -t ed25519 -N ''`")]
    OtherKind(&'static str),
    /// Whom to trust is said by the policy.
    #[error(
        "this is an SSH certificate: name the plain key; whose it is and what it may sign is for the policy to say"
    )]
    Certificate,
}

/// RFC 8709: what the bytes of a public key in SSH form begin with.
const SSH_HEAD: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";

/// A key that signatures are checked with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicKey(ed25519_dalek::VerifyingKey);

impl PublicKey {
    /// Takes the 32 bytes of RFC 8032.
    ///
    /// # Errors
    ///
    /// [`ParseKeyError`] if they are no point of the curve, or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ParseKeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| ParseKeyError::Malformed("point"))?;
        if key.is_weak() {
            return Err(ParseKeyError::Weak);
        }
        Ok(Self(key))
    }

    /// Reads any of the forms in which people keep public keys: PEM (SPKI), an SSH line, 64 hexadecimal digits. White
    /// space around it does not matter.
    ///
    /// # Errors
    ///
    /// [`ParseKeyError`].
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let text = text.trim();
        if text.starts_with("-----BEGIN PUBLIC KEY-----") {
            let key = ed25519_dalek::VerifyingKey::from_public_key_pem(text);
            let key = key.map_err(|_| ParseKeyError::Malformed("PEM"))?;
            return Self::from_bytes(key.as_bytes());
        }
        if text.starts_with("-----BEGIN") && text.contains("PRIVATE KEY-----") {
            return Err(ParseKeyError::Private);
        }
        if let Some(rest) = text.strip_prefix("ssh-ed25519 ") {
            return Self::parse_ssh(rest);
        }
        if let Some(error) = ssh::other_public_key(text) {
            return Err(error);
        }
        let bytes = Sha256::from_hex(text).map_err(|_| ParseKeyError::UnknownForm)?;
        Self::from_bytes(bytes.as_bytes())
    }

    /// RFC 8709: the base64 of two strings with their lengths, `ssh-ed25519` and the 32 bytes; then a comment.
    fn parse_ssh(rest: &str) -> Result<Self, ParseKeyError> {
        let malformed = ParseKeyError::Malformed("SSH line");
        if rest.contains(['\n', '\r']) {
            return Err(malformed);
        }
        let blob = rest.split(' ').next().and_then(|text| STANDARD.decode(text).ok());
        let bytes: Option<[u8; 32]> = blob.as_deref().and_then(|b| b.strip_prefix(SSH_HEAD)?.try_into().ok());
        Self::from_bytes(&bytes.ok_or(malformed)?)
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex(self.0.as_bytes())
    }

    /// PEM of the SubjectPublicKeyInfo, as `openssl pkey -pubin` reads it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .expect("an Ed25519 key has a DER encoding of fixed size")
    }

    /// A line as OpenSSH has it in `*.pub`, without a line break.
    #[must_use]
    pub fn to_ssh(&self) -> String {
        let blob = [SSH_HEAD, self.as_bytes()].concat();
        format!("ssh-ed25519 {} madmall-{}", STANDARD.encode(blob), self.keyid().short())
    }

    /// What it is called.
    #[must_use]
    pub fn keyid(&self) -> KeyId {
        let public = self.to_hex();
        let text = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
        KeyId(Sha256::of(text.as_bytes()))
    }

    /// Whether `signature` is this key's, of `message`, by the strict rules (no small-order points, one spelling).
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(message, &signature).is_ok()
    }
}

/// The key that signs. Wiped from memory when dropped, never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().keyid().short())
    }
}

impl SigningKey {
    /// Makes a new one from the system's random bytes.
    ///
    /// # Errors
    ///
    /// If the system has none to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of RFC 8032's 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads any of the forms in which people keep private keys that are not encrypted: PKCS#8 PEM, and that of OpenSSH. White
    /// space around it does not matter.
    ///
    /// # Errors
    ///
    /// [`ParseKeyError`], which says what to do.
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let text = text.trim();
        if text.starts_with(ssh::BEGIN) {
            return ssh::private_key(text);
        }
        let other = |label: &str| text.starts_with(&format!("-----BEGIN {label}-----"));
        if other("ENCRYPTED PRIVATE KEY") {
            return Err(ParseKeyError::Encrypted);
        }
        if other("RSA PRIVATE KEY") {
            return Err(ParseKeyError::OtherKind("an RSA key"));
        }
        if other("EC PRIVATE KEY") {
            return Err(ParseKeyError::OtherKind("an ECDSA key"));
        }
        if other("PUBLIC KEY") || text.starts_with("ssh-ed25519 ") {
            return Err(ParseKeyError::Public);
        }
        match ssh::other_public_key(text) {
            Some(error) => Err(error),
            None => Self::from_pem(text),
        }
    }

    /// Reads PKCS#8 PEM, as this program and `openssl genpkey -algorithm ed25519` write it.
    ///
    /// # Errors
    ///
    /// [`ParseKeyError::Malformed`] for anything else.
    pub fn from_pem(pem: &str) -> Result<Self, ParseKeyError> {
        ed25519_dalek::SigningKey::from_pkcs8_pem(pem.trim())
            .map(Self)
            .map_err(|_| ParseKeyError::Malformed("PEM `PRIVATE KEY` (PKCS#8, not encrypted)"))
    }

    /// PKCS#8 PEM. Version 1, without the public half: some readers take no other.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut pair = KeypairBytes {
            secret_key: self.0.to_bytes(),
            public_key: None,
        };
        let pem = pair
            .to_pkcs8_pem(LineEnding::LF)
            .expect("an Ed25519 key has a DER encoding of fixed size");
        pair.secret_key.zeroize();
        pem
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature of `message`.
    #[must_use]
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.sign_parts(&[message])
    }

    /// The same of a message that lies in several places, one after the other: what is long is not copied for it.
    #[must_use]
    pub(crate) fn sign_parts(&self, parts: &[&[u8]]) -> [u8; 64] {
        let expanded = ExpandedSecretKey::from(self.0.as_bytes());
        // It is asked for twice (RFC 8032, section 5.1.6), and gives the same both times.
        let message = |hasher: &mut Sha512| {
            parts.iter().for_each(|part| hasher.update(part));
            Ok(())
        };
        let signature = raw_sign_byupdate(&expanded, message, &self.0.verifying_key());
        signature.expect("nothing can fail in giving the message").to_bytes()
    }

    /// The key that seals local caches: who has not this signing key cannot make one that opens.
    #[must_use]
    pub fn derive_seal_key(&self) -> [u8; 32] {
        let seed = Zeroizing::new(self.0.to_bytes());
        blake3::derive_key("madmall state seal v1", &*seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
    const PUBLIC: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn key() -> SigningKey {
        SigningKey::from_seed(Sha256::from_hex(SEED).expect("hexadecimal").as_bytes())
    }

    #[test]
    fn the_public_half_and_signature_are_those_of_rfc_8032() {
        assert_eq!(key().public().to_hex(), PUBLIC);
        let signature = hex(&key().sign(b""));
        assert!(signature.starts_with("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"));
    }

    #[test]
    fn what_lies_in_parts_is_signed_as_what_lies_in_one_place() {
        use ed25519_dalek::Signer as _;
        let message: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let whole = key().0.sign(&message).to_bytes();
        for (first, second) in [(0, 0), (0, 1000), (1, 127), (128, 129), (999, 1000)] {
            let parts = [&message[..first], &message[first..second], &message[second..]];
            assert_eq!(key().sign_parts(&parts), whole);
        }
        assert!(key().public().verifies(&message, &whole));
    }

    #[test]
    fn the_keyid_is_the_digest_of_the_compact_sorted_json() {
        // printf '{"keytype":"ed25519","keyval":{"public":"d75a…511a"},"scheme":"ed25519"}' | sha256sum
        assert_eq!(
            key().public().keyid().to_string(),
            "74c181c7ad8a0855d4b55e44d2ba87aabdddb196832571f15f92fece332e4916"
        );
    }

    #[test]
    fn every_form_of_a_public_key_reads_back() {
        let public = key().public();
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend_from_slice(Sha256::from_hex(PUBLIC).expect("hexadecimal").as_bytes());
        let ssh = format!("ssh-ed25519 {} someone\n", STANDARD.encode(blob));
        for text in [public.to_hex(), public.to_pem(), ssh, public.to_ssh()] {
            assert_eq!(PublicKey::parse(&text), Ok(public), "{text}");
        }
    }

    #[test]
    fn a_private_or_weak_key_is_not_taken_for_a_public_one() {
        assert_eq!(PublicKey::parse(&key().to_pem()), Err(ParseKeyError::Private));
        let zero_order = format!("01{}", "00".repeat(31));
        assert_eq!(PublicKey::parse(&zero_order), Err(ParseKeyError::Weak));
        assert_eq!(PublicKey::parse("AAAA"), Err(ParseKeyError::UnknownForm));
    }

    #[test]
    fn a_signing_key_reads_back_and_never_prints_its_secret() {
        let pem = key().to_pem();
        let read = SigningKey::from_pem(&pem).expect("its own spelling");
        assert_eq!(read.public(), key().public());
        assert_eq!(read.derive_seal_key(), key().derive_seal_key());
        assert!(!format!("{:?}", key()).contains("9d61"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_panic(text: String) {
            let _ = PublicKey::parse(&text);
            let _ = PublicKey::parse(&format!("ssh-ed25519 {text}"));
            let _ = SigningKey::parse(&text);
            let _ = SigningKey::parse(&format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----"));
        }
    }
}
