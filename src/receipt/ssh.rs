//! Keys of SSH: private ones in OpenSSH's form (`openssh-key-v1`), and which public ones cannot be used.

use super::key::{ParseKeyError, PublicKey, SigningKey};
use ssh_key::{Algorithm, PrivateKey, private::KeypairData};

/// What a private key in OpenSSH's form begins with.
pub(super) const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const MALFORMED: ParseKeyError = ParseKeyError::Malformed("OpenSSH private key");

/// Reads a private key that is not encrypted.
pub(super) fn private_key(text: &str) -> Result<SigningKey, ParseKeyError> {
    let key = PrivateKey::from_openssh(text).map_err(|error| match error {
        // Of kinds that were not built in the crate knows only that.
        ssh_key::Error::AlgorithmUnknown => ParseKeyError::OtherKind("a key of another kind (ECDSA, perhaps)"),
        _ => MALFORMED,
    })?;
    let KeypairData::Ed25519(pair) = key.key_data() else {
        return Err(match key.algorithm() {
            Algorithm::Ed25519 => ParseKeyError::Encrypted,
            Algorithm::Rsa { .. } => ParseKeyError::OtherKind("an RSA key"),
            Algorithm::Dsa => ParseKeyError::OtherKind("a DSA key"),
            Algorithm::SkEd25519 => ParseKeyError::OtherKind("a key that lies in a security token"),
            _ => ParseKeyError::OtherKind("a key of another kind"),
        });
    };
    let signing = SigningKey::from_seed(pair.private.as_ref());
    // The crate compares the two public halves that are written down; that the private one gives them is for us to see.
    let is_pair = PublicKey::from_bytes(pair.public.as_ref())? == signing.public();
    is_pair.then_some(signing).ok_or(MALFORMED)
}

/// Why a line of OpenSSH cannot be used, if it is one of those that cannot.
pub(super) fn other_public_key(text: &str) -> Option<ParseKeyError> {
    let kind = text.split_ascii_whitespace().next()?;
    let other = ParseKeyError::OtherKind;
    Some(match kind {
        _ if kind.contains("-cert-v0") => ParseKeyError::Certificate,
        "ssh-rsa" => other("an RSA key"),
        "ssh-dss" => other("a DSA key"),
        _ if kind.starts_with("ecdsa-sha2-") => other("an ECDSA key"),
        _ if kind.starts_with("sk-") => other("a key that lies in a security token"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! file {
        ($name:literal) => {
            include_str!(concat!("../../tests/golden/ssh/", $name))
        };
    }

    #[test]
    fn an_openssh_key_signs_and_its_public_half_is_that_of_its_pub_file() {
        let key = SigningKey::parse(file!("ed25519")).expect("a key");
        let public = PublicKey::parse(file!("ed25519.pub")).expect("its public half");
        assert_eq!(key.public(), public);
        assert!(public.verifies(b"message", &key.sign(b"message")));
        assert_eq!(
            public.to_ssh().split(' ').nth(1),
            file!("ed25519.pub").split(' ').nth(1)
        );
        let crlf = file!("ed25519").replace('\n', "\r\n");
        assert!(SigningKey::parse(&crlf).is_ok_and(|read| read.public() == public));
    }

    #[test]
    fn what_cannot_sign_here_is_said_to_be_what_it_is() {
        let refusal = |text: &str| SigningKey::parse(text).expect_err("no key to sign with");
        assert_eq!(refusal(file!("encrypted")), ParseKeyError::Encrypted);
        assert_eq!(refusal(file!("rsa")), ParseKeyError::OtherKind("an RSA key"));
        assert!(refusal(file!("ecdsa")).to_string().contains("ECDSA"));
        assert_eq!(refusal(file!("certificate.pub")), ParseKeyError::Certificate);
        assert_eq!(refusal(file!("ed25519.pub")), ParseKeyError::Public);
        assert_eq!(refusal(file!("rsa.pub")), ParseKeyError::OtherKind("an RSA key"));
        assert_eq!(
            PublicKey::parse(file!("certificate.pub")),
            Err(ParseKeyError::Certificate)
        );
        assert_eq!(
            PublicKey::parse(file!("rsa.pub")),
            Err(ParseKeyError::OtherKind("an RSA key"))
        );
        assert_eq!(PublicKey::parse(file!("ed25519")), Err(ParseKeyError::Private));
        let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----";
        assert_eq!(refusal(pkcs8), ParseKeyError::Encrypted);
    }

    /// The bytes of a private key in its PEM armour, with one of them changed.
    fn changed(at: usize, flip: u8) -> String {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let body: String = file!("ed25519").lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = STANDARD.decode(body).expect("base64");
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let text = STANDARD.encode(bytes);
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(70)
            .filter_map(|line| std::str::from_utf8(line).ok())
            .collect();
        format!("{BEGIN}\n{}\n-----END OPENSSH PRIVATE KEY-----\n", lines.join("\n"))
    }

    proptest::proptest! {
        #[test]
        fn a_changed_key_is_refused_or_the_same_key_without_panic(at: usize, flip in 1_u8.., text: String) {
            let public = PublicKey::parse(file!("ed25519.pub")).expect("a key");
            if let Ok(read) = SigningKey::parse(&changed(at, flip)) {
                // Only the comment and the check number may be otherwise.
                proptest::prop_assert_eq!(read.public(), public);
            }
            let _ = SigningKey::parse(&format!("{BEGIN}\n{text}\n-----END OPENSSH PRIVATE KEY-----"));
        }
    }
}
