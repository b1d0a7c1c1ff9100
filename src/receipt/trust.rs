//! Whom a verifier believes: a policy that lies outside the repository, or the key that the caller names.
//!
//! What a policy looks like is in [`super::policy`]. A key counts only within its limits: [`TrustedKey::refuses`] says which of
//! them a statement is beyond, and [`TrustedKey::end`] which history a key that has ended is believed for.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::key::{KeyId, ParseKeyError, PublicKey};
use super::policy::{Policy, rfc3339};
use super::statement::Statement;
use crate::canonical::CanonicalHasher;
use crate::digest::{Digest, Sha256};
use crate::json::JsonError;
use crate::log::LogId;
use crate::log::checkpoint::Head;
use crate::plan::stage_name::family;

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

/// A key that is believed, within limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// What it is called.
    pub keyid: KeyId,
    /// Whose it is, for people.
    pub name: String,
    /// What it may sign.
    pub limits: KeyLimits,
}

/// What a key may sign. Each limit that is absent lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    /// As which builders (`builder.id`).
    pub builders: Option<Vec<String>>,
    /// For which pipelines, by name.
    pub pipelines: Option<Vec<String>>,
    /// For which stages, by name. The receipt of a run needs none.
    pub stages: Option<Vec<String>>,
    /// What was finished before is not believed.
    pub from: Option<Timestamp>,
    /// Its end.
    pub until: Option<KeyEnd>,
}

/// The end of a key. A receipt's own clock proves nothing, so an end is a place in logs, too: what is in none of them does not
/// count, whatever time it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEnd {
    /// What was finished then or later is not believed.
    pub time: Timestamp,
    /// Where the logs by this key were. Only receipts in one of them, before its size, are believed; with none, no receipt is.
    pub logs: Vec<Head>,
}

/// A log that counts, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedLog {
    /// Which.
    pub log: LogId,
    /// Who signs its checkpoints.
    pub keyid: KeyId,
}

impl KeyLimits {
    fn hash(&self, hasher: &mut CanonicalHasher) {
        for list in [&self.builders, &self.pipelines, &self.stages] {
            hasher.option(list.as_ref(), |h, list| {
                h.list(list, |h, name| {
                    h.str(name);
                });
            });
        }
        hasher.option(self.from, |h, from| {
            h.str(&rfc3339(from));
        });
        hasher.option(self.until.as_ref(), |h, end| {
            h.str(&rfc3339(end.time))
                .list(&end.logs, |h, Head { log, size, root }| {
                    h.str(&log.to_string()).u64(*size).bytes(root.as_bytes());
                });
        });
    }
}

impl TrustedKey {
    /// A key without limits.
    #[must_use]
    pub fn unlimited(key: &PublicKey, name: &str) -> Self {
        Self {
            key: *key,
            keyid: key.keyid(),
            name: name.to_owned(),
            limits: KeyLimits::default(),
        }
    }

    /// Which limit a statement that this key signed is beyond, for people; `None` if it is within all of them.
    ///
    /// The clock is the statement's own. For a key that has an end ([`TrustedKey::end`]) that is not enough: the receipt must
    /// also be in a log that was pinned.
    #[must_use]
    pub fn refuses(&self, statement: &Statement) -> Option<String> {
        let limits = &self.limits;
        let external = statement.external();
        let builder = &statement.predicate.run_details.builder.id;
        // Who may sign for a stage may sign for whatever its `matrix:` or `foreach:` makes of it.
        let stage = external.stage.as_ref().map(|stage| family(&stage.name));
        let beyond = [
            ("as builder", limits.builders.as_deref(), Some(builder.as_str())),
            ("for pipeline", limits.pipelines.as_deref(), Some(&*external.pipeline)),
            ("for stage", limits.stages.as_deref(), stage),
        ];
        let beyond = beyond.into_iter().find_map(|(what, allowed, found)| {
            let (allowed, found) = (allowed?, found?);
            let is_allowed = allowed.iter().any(|name| name == found);
            let allowed: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
            let allowed = allowed.join(", ");
            (!is_allowed).then(|| {
                format!(
                    "the policy lets `{}` sign {what} {allowed} only, not `{found}`",
                    self.name
                )
            })
        });
        beyond.or_else(|| self.refuses_time(&statement.metadata().finished_on))
    }

    fn refuses_time(&self, finished_on: &str) -> Option<String> {
        let name = &self.name;
        let Ok(finished) = finished_on.parse::<Timestamp>() else {
            return Some(format!("`{finished_on}` is no time"));
        };
        if let Some(from) = self.limits.from.filter(|from| finished < *from) {
            let from = rfc3339(from);
            return Some(format!(
                "the policy trusts `{name}` from {from} on, and this was finished at {finished_on}"
            ));
        }
        let end = self.limits.until.as_ref().filter(|end| finished >= end.time)?;
        let time = rfc3339(end.time);
        Some(format!(
            "the policy trusts `{name}` until {time}, and this was finished at {finished_on}"
        ))
    }

    /// The key's end, if it has one.
    #[must_use]
    pub fn end(&self) -> Option<&KeyEnd> {
        self.limits.until.as_ref()
    }
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
    use super::*;
    use crate::receipt::key::SigningKey;

    fn key() -> PublicKey {
        SigningKey::from_seed(&[1; 32]).public()
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

    /// A receipt of stage `train`, and that of its run, from the frozen files: pipeline `baseline`.
    fn statements() -> (Statement, Statement) {
        let lines = include_bytes!("../../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
        let read = |line: &[u8]| {
            let envelope = crate::receipt::envelope::Envelope::parse(line).expect("an envelope");
            envelope.statement().expect("a statement")
        };
        let statements: Vec<Statement> = lines.trim_ascii_end().split(|b| *b == b'\n').map(read).collect();
        let stage = statements
            .iter()
            .find(|s| s.stage().is_some())
            .expect("a stage's")
            .clone();
        let run = statements
            .into_iter()
            .rfind(|s| s.stage().is_none())
            .expect("the run's");
        (stage, run)
    }

    fn limited(limits: KeyLimits) -> TrustedKey {
        TrustedKey {
            limits,
            ..TrustedKey::unlimited(&key(), "CI")
        }
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
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

    #[test]
    fn without_limits_nothing_is_refused() {
        let (stage, run) = statements();
        let key = limited(KeyLimits::default());
        assert_eq!((key.refuses(&stage), key.refuses(&run), key.end()), (None, None, None));
    }

    #[test]
    fn a_key_signs_only_as_the_builders_that_it_may() {
        let (stage, run) = statements();
        let builders = |list: &[&str]| {
            limited(KeyLimits {
                builders: names(list),
                ..KeyLimits::default()
            })
        };
        let allowed = builders(&["urn:other", "urn:madmall:builder:local"]);
        assert_eq!((allowed.refuses(&stage), allowed.refuses(&run)), (None, None));
        let why = "the policy lets `CI` sign as builder `urn:other` only, not `urn:madmall:builder:local`";
        assert_eq!(builders(&["urn:other"]).refuses(&stage).as_deref(), Some(why));
        assert_eq!(builders(&["urn:other"]).refuses(&run).as_deref(), Some(why));
        assert!(
            builders(&["urn:madmall:builder"]).refuses(&stage).is_some(),
            "no prefixes"
        );
    }

    #[test]
    fn a_key_signs_only_for_the_pipelines_that_it_may() {
        let (stage, run) = statements();
        let pipelines = |list: &[&str]| {
            limited(KeyLimits {
                pipelines: names(list),
                ..KeyLimits::default()
            })
        };
        assert_eq!(pipelines(&["baseline"]).refuses(&stage), None);
        let why = "the policy lets `CI` sign for pipeline `a`, `b` only, not `baseline`";
        assert_eq!(pipelines(&["a", "b"]).refuses(&stage).as_deref(), Some(why));
        assert_eq!(pipelines(&["a", "b"]).refuses(&run).as_deref(), Some(why));
    }

    #[test]
    fn a_key_signs_only_for_the_stages_that_it_may_and_a_run_needs_none() {
        let (stage, run) = statements();
        let name = stage.stage().expect("a stage's").0.name.clone();
        let stages = |list: &[&str]| {
            limited(KeyLimits {
                stages: names(list),
                ..KeyLimits::default()
            })
        };
        assert_eq!(stages(&[&name]).refuses(&stage), None);
        let why = format!("the policy lets `CI` sign for stage `other` only, not `{name}`");
        assert_eq!(stages(&["other"]).refuses(&stage), Some(why));
        assert_eq!(stages(&["other"]).refuses(&run), None);
    }

    #[test]
    fn a_key_signs_from_its_beginning_and_before_its_end() {
        let (stage, _) = statements();
        let finished: Timestamp = stage.metadata().finished_on.parse().expect("a time");
        let second = jiff::SignedDuration::from_secs(1);
        let from = |time| {
            limited(KeyLimits {
                from: Some(time),
                ..KeyLimits::default()
            })
        };
        let until = |time| {
            limited(KeyLimits {
                until: Some(KeyEnd { time, logs: Vec::new() }),
                ..KeyLimits::default()
            })
        };
        assert_eq!(from(finished).refuses(&stage), None);
        let why = from(finished + second).refuses(&stage).expect("too early");
        assert!(why.contains("from ") && why.contains("finished at "), "{why}");
        assert_eq!(until(finished + second).refuses(&stage), None);
        let why = until(finished).refuses(&stage).expect("too late");
        assert!(why.contains("until ") && why.contains("finished at "), "{why}");
        assert_eq!(until(finished).end().map(|end| end.time), Some(finished));
    }
}
