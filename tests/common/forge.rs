//! Receipts as a forger writes them: any bytes, signed by any key, whether the library would sign them or not.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::Signer as _;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use madmall::digest::Sha256;
use serde_json::Value;

/// The payload type of every receipt.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A key that signs whatever it is given.
#[derive(Clone)]
pub(crate) struct Forger(ed25519_dalek::SigningKey);

impl Forger {
    pub(crate) fn from_pem(pem: &str) -> Self {
        Self(ed25519_dalek::SigningKey::from_pkcs8_pem(pem).expect("a key"))
    }

    pub(crate) fn from_seed(seed: u8) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&[seed; 32]))
    }

    pub(crate) fn public_hex(&self) -> String {
        Sha256::from_bytes(self.0.verifying_key().to_bytes()).to_hex()
    }

    pub(crate) fn public_pem(&self) -> String {
        let pem = self.0.verifying_key().to_public_key_pem(Default::default());
        pem.expect("a key has a spelling")
    }

    pub(crate) fn keyid(&self) -> String {
        keyid(&self.public_hex())
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }

    /// One line of a run's file, without its line break: DSSE, in the spelling that is read.
    pub(crate) fn line(&self, payload: &[u8]) -> String {
        self.line_as(payload, PAYLOAD_TYPE)
    }

    /// The same, with the signature made for another payload type.
    pub(crate) fn line_as(&self, payload: &[u8], signed_type: &str) -> String {
        let mut message = format!("DSSEv1 {} {signed_type} {} ", signed_type.len(), payload.len()).into_bytes();
        message.extend_from_slice(payload);
        envelope(payload, &self.keyid(), &self.sign(&message))
    }

    /// The file of a checkpoint: C2SP signed note under the log's origin.
    pub(crate) fn checkpoint(&self, text: &str) -> String {
        let origin = text.lines().next().expect("an origin");
        let key = self.0.verifying_key().to_bytes();
        let hint = Sha256::of(&[origin.as_bytes(), b"\n\x01", &key].concat());
        let signature = [&hint.as_bytes()[..4], &self.sign(text.as_bytes())].concat();
        format!("{text}\n— {origin} {}\n", STANDARD.encode(signature))
    }
}

/// What a public key is called.
pub(crate) fn keyid(public: &str) -> String {
    let text = format!(r#"{{"keytype":"ed25519","keyval":{{"public":"{public}"}},"scheme":"ed25519"}}"#);
    Sha256::of(text.as_bytes()).to_hex()
}

pub(crate) fn envelope(payload: &[u8], keyid: &str, signature: &[u8]) -> String {
    let (payload, signature) = (STANDARD.encode(payload), STANDARD.encode(signature));
    format!(
        r#"{{"payload":"{payload}","payloadType":"{PAYLOAD_TYPE}","signatures":[{{"keyid":"{keyid}","sig":"{signature}"}}]}}"#
    )
}

/// The payload of a line, as bytes.
pub(crate) fn payload(line: &str) -> Vec<u8> {
    let envelope: Value = serde_json::from_str(line).expect("an envelope");
    let payload = envelope["payload"].as_str().expect("a payload");
    STANDARD.decode(payload).expect("base64")
}

/// The payload of a line, as JSON.
pub(crate) fn statement(line: &str) -> Value {
    serde_json::from_slice(&payload(line)).expect("JSON")
}

/// The signature of a line.
pub(crate) fn signature(line: &str) -> Vec<u8> {
    let envelope: Value = serde_json::from_str(line).expect("an envelope");
    let signature = envelope["signatures"][0]["sig"].as_str().expect("a signature");
    STANDARD.decode(signature).expect("base64")
}

/// RFC 8785.
pub(crate) fn canonical(value: &Value) -> Vec<u8> {
    serde_json_canonicalizer::to_vec(value).expect("JSON has a spelling")
}

/// The id of the receipt with this payload.
pub(crate) fn id(payload: &[u8]) -> String {
    Sha256::of(payload).to_hex()
}
