//! Whom a verifier believes: a policy that lies outside the repository, or the key that the caller names.
//!
//! What a policy looks like is in [`super::policy`]. A key counts only within its limits ([`KeyLimits`]).

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::key::{KeyId, ParseKeyError, PublicKey};
use super::policy::Policy;
use crate::canonical::CanonicalHasher;
use crate::digest::{Digest, Sha256};
use crate::json::JsonError;
use crate::log::LogId;

mod trusted_key;

pub use trusted_key::{KeyEnd, KeyLimits, TrustedKey};

/// The name of the user's own key in the user's own policy.
pub const OWN_KEY: &str = "own key";
const MAX_TRUST_FILE: u64 = 1 << 20;

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
    pub(super) fn content(path: &Utf8Path, error: Self) -> Self {
        Self::Content {
            path: path.to_owned(),
            source: Box::new(error),
        }
    }
}

/// A log that counts, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedLog {
    /// Which.
    pub log: LogId,
    /// Who signs its checkpoints.
    pub keyid: KeyId,
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
    /// The logs that count; `None` for all that are signed by one of the keys.
    pub logs: Option<Vec<TrustedLog>>,
    /// What a result is worth that rests on withdrawn events.
    pub on_withdrawn: OnWithdrawn,
    /// Where they came from.
    pub root: TrustRoot,
}

/// What a result is worth that rests on events whose consent was withdrawn since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnWithdrawn {
    /// As much as any: it is said.
    #[default]
    Warn,
    /// Nothing, and as little if it cannot be told.
    Fail,
}

impl Trust {
    /// Who may sign the checkpoints of a log: every key that is trusted, unless the policy says which logs count and whose they
    /// are.
    pub fn signers_of(&self, log: &LogId) -> impl Iterator<Item = &TrustedKey> {
        let may_sign = move |key: &&TrustedKey| {
            let is_listed =
                |logs: &Vec<TrustedLog>| logs.iter().any(|known| known.log == *log && known.keyid == key.keyid);
            self.logs.as_ref().is_none_or(is_listed)
        };
        self.keys.iter().filter(may_sign)
    }

    /// The one key that the caller signs with.
    #[must_use]
    pub fn own_key(key: &PublicKey) -> Self {
        Self::of_key(TrustedKey::unlimited(key, OWN_KEY), TrustRoot::OwnKey)
    }

    fn of_key(key: TrustedKey, root: TrustRoot) -> Self {
        Self {
            keys: vec![key],
            logs: None,
            on_withdrawn: OnWithdrawn::Warn,
            root,
        }
    }

    /// What a policy says.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if it cannot be used.
    pub fn of_policy(policy: &Policy, root: TrustRoot) -> Result<Self, TrustError> {
        let keys = policy.trusted_keys()?;
        let logs = policy.trusted_logs(&keys)?;
        Ok(Self {
            keys,
            logs,
            on_withdrawn: policy.withdrawn.unwrap_or_default(),
            root,
        })
    }

    /// The policy in the user's configuration folder, or `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if it is there and cannot be used.
    pub fn own_policy(config_dir: &Utf8Path) -> Result<Option<Self>, TrustError> {
        let policy = super::keystore::read_policy(config_dir)?;
        policy
            .map(|policy| Self::of_policy(&policy, TrustRoot::OwnPolicy))
            .transpose()
    }

    /// The bytes of a file that says whom to trust, if it is there.
    pub(super) fn read_if_there(path: &Utf8Path) -> Result<Option<Vec<u8>>, TrustError> {
        match read_bounded(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TrustError::Read {
                path: path.to_owned(),
                source,
            }),
        }
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
            return Ok(Self::of_key(one_key(argument)?, root));
        }
        let path = Utf8Path::new(argument);
        let bytes = read_bounded(path).map_err(|source| TrustError::Read {
            path: path.to_owned(),
            source,
        })?;
        let trust = if bytes.trim_ascii_start().starts_with(b"{") {
            Policy::parse(&bytes).and_then(|policy| Self::of_policy(&policy, root))
        } else {
            match std::str::from_utf8(&bytes) {
                Ok(text) => one_key(text).map(|key| Self::of_key(key, root)),
                Err(_) => Err(ParseKeyError::UnknownForm.into()),
            }
        };
        trust.map_err(|error| TrustError::content(path, error))
    }

    /// The digest of whom is believed for what; where that was said, and what keys are called, is not in it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = CanonicalHasher::new("madmall trust v1");
        hasher.list(&self.keys, |h, key| {
            h.bytes(key.key.as_bytes());
            key.limits.hash(h);
        });
        hasher.option(self.logs.as_ref(), |h, logs| {
            h.list(logs, |h, TrustedLog { log, keyid }| {
                h.str(&log.to_string()).str(&keyid.to_string());
            });
        });
        hasher.finish()
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

fn one_key(text: &str) -> Result<TrustedKey, TrustError> {
    Ok(TrustedKey::unlimited(&PublicKey::parse(text)?, "the key given"))
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
    use jiff::Timestamp;

    use super::*;
    use crate::log::checkpoint::Head;
    use crate::receipt::key::SigningKey;

    fn key() -> PublicKey {
        SigningKey::from_seed(&[1; 32]).public()
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_policy_of_ones_own_key_is_described_as_that() {
        let policy = Policy::own(&key());
        let trust = Trust::of_policy(&policy, TrustRoot::OwnPolicy).expect("keys");
        assert_eq!(trust.describe(), "your own key only");
        assert_eq!(trust.logs, None);
    }

    #[test]
    fn what_trust_names_may_be_a_key_or_a_file_with_one_or_a_policy() {
        let key = key();
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
        let texts = [key.to_hex() + "\n", key.to_pem(), Policy::own(&key).to_json()];
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

    #[test]
    fn the_digest_of_trust_changes_with_every_limit() {
        let time = Timestamp::from_second(1_800_000_000).expect("a time");
        let end = |logs: Vec<Head>| Some(KeyEnd { time, logs });
        let head = Head {
            log: LogId::of([1; 8]),
            size: 3,
            root: Sha256::of(b""),
        };
        let bigger = Head {
            size: 4,
            ..head.clone()
        };
        let none = KeyLimits::default;
        let all = [
            none(),
            KeyLimits {
                builders: names(&["a:b"]),
                ..none()
            },
            KeyLimits {
                pipelines: names(&["a:b"]),
                ..none()
            },
            KeyLimits {
                stages: names(&["a:b"]),
                ..none()
            },
            KeyLimits {
                stages: names(&["a", "b"]),
                ..none()
            },
            KeyLimits {
                from: Some(time),
                ..none()
            },
            KeyLimits {
                until: end(vec![]),
                ..none()
            },
            KeyLimits {
                until: end(vec![head.clone()]),
                ..none()
            },
            KeyLimits {
                until: end(vec![bigger]),
                ..none()
            },
        ];
        let limited = |limits| TrustedKey {
            limits,
            ..TrustedKey::unlimited(&key(), "CI")
        };
        let digest = |limits: KeyLimits| Trust::of_key(limited(limits), TrustRoot::OwnPolicy).digest();
        let digests: std::collections::HashSet<_> = all.iter().cloned().map(digest).collect();
        assert_eq!(digests.len(), all.len());
        let mut listed = Trust::own_key(&key());
        let without = listed.digest();
        let (log, keyid) = (head.log, key().keyid());
        listed.logs = Some(vec![TrustedLog { log, keyid }]);
        assert_ne!(listed.digest(), without);
        let other = SigningKey::from_seed(&[2; 32]).public();
        assert_ne!(Trust::own_key(&other).digest(), without);
    }
}
