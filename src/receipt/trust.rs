//! Whom a verifier believes: a policy that lies outside the repository, or the key that the caller names.
//!
//! ```json
//! {"version":1,"keys":[{"keyid":"<64 hex>","public":"<64 hex>","name":"own key"}]}
//! ```
//!
//! A field that this version does not know is refused, so that a limit a later version knows is never ignored.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::key::{KeyId, ParseKeyError, PublicKey};
use crate::digest::Sha256;
use crate::json::{self, JsonError, Limits};

/// The name of the user's own key in the user's own policy.
pub const OWN_KEY: &str = "own key";
const MAX_TRUST_FILE: u64 = 1 << 20;

/// A policy as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// 1.
    pub version: u32,
    /// The keys that are believed.
    pub keys: Vec<PolicyKey>,
}

/// A key that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyKey {
    /// What it is called; must be that of `public`.
    pub keyid: String,
    /// 64 hexadecimal digits.
    pub public: String,
    /// Whose it is, for people.
    pub name: String,
}

/// Why a text names nobody to believe.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in the file.
    #[error("`{path}` names nobody to trust")]
    Content {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: Box<TrustError>,
    },
    /// No JSON.
    #[error("the policy is not JSON: {0}")]
    Json(JsonError),
    /// JSON of another shape.
    #[error("the policy cannot be used: {0}")]
    Shape(String),
    /// No key.
    #[error(transparent)]
    Key(#[from] ParseKeyError),
}

impl TrustError {
    fn content(path: &Utf8Path, error: Self) -> Self {
        Self::Content {
            path: path.to_owned(),
            source: Box::new(error),
        }
    }
}

impl Policy {
    /// That of a user who believes only what they signed.
    #[must_use]
    pub fn own(key: &PublicKey) -> Self {
        Self {
            version: 1,
            keys: vec![PolicyKey {
                keyid: key.keyid().to_string(),
                public: key.to_hex(),
                name: OWN_KEY.to_owned(),
            }],
        }
    }

    /// Reads a policy, strictly.
    ///
    /// # Errors
    ///
    /// [`TrustError`] for an unknown version or field, a key twice, a keyid that is not its key's.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let limits = Limits {
            bytes: 1 << 20,
            depth: 8,
        };
        let value = json::parse_strict(bytes, limits).map_err(TrustError::Json)?;
        let policy: Self = serde_json::from_value(value).map_err(|error| TrustError::Shape(error.to_string()))?;
        if policy.version != 1 {
            let version = policy.version;
            return Err(TrustError::Shape(format!("version {version} is not known, only 1")));
        }
        policy.trusted_keys()?;
        Ok(policy)
    }

    /// The text of its file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and a number have a spelling") + "\n"
    }

    fn trusted_keys(&self) -> Result<Vec<TrustedKey>, TrustError> {
        let mut keys: Vec<TrustedKey> = Vec::new();
        for entry in &self.keys {
            let bytes = Sha256::from_hex(&entry.public).map_err(|_| ParseKeyError::UnknownForm)?;
            let key = PublicKey::from_bytes(bytes.as_bytes())?;
            if key.keyid().to_string() != entry.keyid {
                let name = &entry.name;
                return Err(TrustError::Shape(format!(
                    "the keyid of `{name}` is not that of its public key"
                )));
            }
            if keys.iter().any(|known| known.key == key) {
                let name = &entry.name;
                return Err(TrustError::Shape(format!("the key of `{name}` stands twice")));
            }
            let (keyid, name) = (key.keyid(), entry.name.clone());
            keys.push(TrustedKey { key, keyid, name });
        }
        Ok(keys)
    }
}

/// A key that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// What it is called.
    pub keyid: KeyId,
    /// Whose it is, for people.
    pub name: String,
}

/// Where trust came from. The verdict names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustRoot {
    /// `--trust`: an unknown key is then a failure.
    Given {
        /// As the caller named it.
        argument: String,
    },
    /// The policy in the user's configuration folder.
    OwnPolicy,
    /// The key that the caller signs with (`MADMALL_SIGNING_KEY`).
    OwnKey,
}

/// Whom a verifier believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The keys; not many.
    pub keys: Vec<TrustedKey>,
    /// Where they came from.
    pub root: TrustRoot,
}

impl Trust {
    /// The one key that the caller signs with.
    #[must_use]
    pub fn own_key(key: &PublicKey) -> Self {
        Self {
            keys: vec![TrustedKey {
                key: *key,
                keyid: key.keyid(),
                name: OWN_KEY.to_owned(),
            }],
            root: TrustRoot::OwnKey,
        }
    }

    /// The policy in the user's configuration folder, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if it is there and cannot be used.
    pub fn own_policy(config_dir: &Utf8Path) -> Result<Option<Self>, TrustError> {
        let path = config_dir.join(super::keystore::POLICY_FILE);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TrustError::Read { path, source }),
        };
        let keys = Policy::parse(&bytes).and_then(|policy| policy.trusted_keys());
        let keys = keys.map_err(|error| TrustError::content(&path, error))?;
        let root = TrustRoot::OwnPolicy;
        Ok(Some(Self { keys, root }))
    }

    /// What `--trust` names: 64 hexadecimal digits, or a file with a public key (PEM, SSH line, hexadecimal) or a policy.
    ///
    /// # Errors
    ///
    /// [`TrustError`].
    pub fn given(argument: &str) -> Result<Self, TrustError> {
        let root = TrustRoot::Given {
            argument: argument.to_owned(),
        };
        if Sha256::from_hex(argument).is_ok() {
            let keys = one_key(argument)?;
            return Ok(Self { keys, root });
        }
        let path = Utf8Path::new(argument);
        let bytes = read_bounded(path).map_err(|source| TrustError::Read {
            path: path.to_owned(),
            source,
        })?;
        let keys = if bytes.trim_ascii_start().starts_with(b"{") {
            Policy::parse(&bytes).and_then(|policy| policy.trusted_keys())
        } else {
            match std::str::from_utf8(&bytes) {
                Ok(text) => one_key(text),
                Err(_) => Err(ParseKeyError::UnknownForm.into()),
            }
        };
        let keys = keys.map_err(|error| TrustError::content(path, error))?;
        Ok(Self { keys, root })
    }

    /// Whom the verdict rests on, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let own_only = self.keys.len() == 1 && self.keys[0].name == OWN_KEY;
        match &self.root {
            TrustRoot::OwnKey => "your own key only".to_owned(),
            TrustRoot::OwnPolicy if own_only => "your own key only".to_owned(),
            TrustRoot::OwnPolicy => format!("your own policy ({} keys)", self.keys.len()),
            TrustRoot::Given { argument } => format!("`--trust {argument}`"),
        }
    }
}

fn one_key(text: &str) -> Result<Vec<TrustedKey>, TrustError> {
    let key = PublicKey::parse(text)?;
    let keyid = key.keyid();
    let name = "the key given".to_owned();
    Ok(vec![TrustedKey { key, keyid, name }])
}

fn read_bounded(path: &Utf8Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_TRUST_FILE)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::key::SigningKey;

    fn policy() -> Policy {
        Policy::own(&SigningKey::from_seed(&[1; 32]).public())
    }

    #[test]
    fn a_policy_reads_back_and_is_described_as_ones_own_key() {
        let read = Policy::parse(policy().to_json().as_bytes()).expect("its own spelling");
        assert_eq!(read, policy());
        let keys = read.trusted_keys().expect("keys");
        let root = TrustRoot::OwnPolicy;
        assert_eq!(Trust { keys, root }.describe(), "your own key only");
    }

    #[test]
    fn a_policy_that_says_more_than_this_version_knows_is_refused() {
        let text = policy().to_json();
        for (from, to) in [
            ("\"version\": 1", "\"version\": 2"),
            ("\"version\": 1", "\"version\": 1, \"logs\": []"),
            ("\"name\"", "\"from\": \"2026-01-01\", \"name\""),
            ("\"version\": 1", "\"version\": 1, \"version\": 1"),
            ("\"keyid\": \"", "\"keyid\": \"0"),
        ] {
            let text = text.replace(from, to);
            assert!(Policy::parse(text.as_bytes()).is_err(), "{text}");
        }
        let mut twice = policy();
        twice.keys.push(twice.keys[0].clone());
        assert!(Policy::parse(twice.to_json().as_bytes()).is_err());
    }

    #[test]
    fn what_trust_names_may_be_a_key_or_a_file_with_one_or_a_policy() {
        let key = SigningKey::from_seed(&[1; 32]).public();
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
        let texts = [key.to_hex() + "\n", key.to_pem(), policy().to_json()];
        for (index, text) in texts.iter().enumerate() {
            let path = folder.join(index.to_string());
            io::Write::write_all(&mut std::fs::File::create(&path).expect("a file"), text.as_bytes()).expect("written");
            let trust = Trust::given(path.as_str()).expect("trust");
            assert_eq!(trust.keys[0].key, key);
        }
        assert_eq!(Trust::given(&key.to_hex()).expect("trust").keys[0].key, key);
        assert!(matches!(Trust::given("absent"), Err(TrustError::Read { .. })));
        assert_eq!(Trust::own_policy(folder).expect("no error"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_policy_or_refused_without_panic(bytes: Vec<u8>) {
            let _ = Policy::parse(&bytes);
        }
    }
}
