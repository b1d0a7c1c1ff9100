//! The policy file as it is written: whose receipts count, and for what.
//!
//! ```json
//! {"version": 1,
//!  "keys": [
//!    {"keyid": "<64 hex>", "public": "<64 hex>", "name": "own key"},
//!    {"keyid": "<64 hex>", "public": "<64 hex>", "name": "CI",
//!     "builders": ["urn:madmall:builder:local"], "pipelines": ["baseline"], "stages": ["ingest", "train"],
//!     "from": "2026-01-01T00:00:00Z",
//!     "until": {"time": "2026-11-24T15:00:00Z", "logs": [{"origin": "madmall/<16 hex>", "root": "<64 hex>", "size": 12}]}}],
//!  "logs": [{"origin": "madmall/<16 hex>", "keyid": "<64 hex>"}],
//!  "withdrawn": "fail"}
//! ```
//!
//! Only `version`, `keys` and the first three fields of a key must be there. A field that this version does not know is
//! refused, so that a limit a later version knows is never ignored; so is `null`, which could be taken for no limit. What the
//! fields mean is in `docs/formats/policy.md`; their values are read in `trusted.rs`.

mod trusted;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::key::PublicKey;
use super::trust::{OWN_KEY, OnWithdrawn, TrustError};
use crate::json::{self, Limits};
use crate::log::checkpoint::Head;

/// How much of a policy is read.
pub const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    depth: 8,
};

/// A policy as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// 1.
    pub version: u32,
    /// The keys that are believed.
    pub keys: Vec<PolicyKey>,
    /// If it is there, only these logs count.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub logs: Option<Vec<PolicyLog>>,
    /// What a result is worth that rests on withdrawn events; a warning if it is not there.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub withdrawn: Option<OnWithdrawn>,
}

/// A key that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyKey {
    /// What it is called; must be that of `public`.
    pub keyid: String,
    /// 64 hexadecimal digits.
    pub public: String,
    /// Whose it is, for people; no two keys have the same.
    pub name: String,
    /// As which builders it may sign.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub builders: Option<Vec<String>>,
    /// For which pipelines.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub pipelines: Option<Vec<String>>,
    /// For which stages.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub stages: Option<Vec<String>>,
    /// From when on.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its end.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub until: Option<PolicyEnd>,
}

/// The end of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyEnd {
    /// When.
    pub time: String,
    /// Where its logs were.
    pub logs: Vec<PolicyHead>,
}

/// Where a log was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyHead {
    /// `madmall/<log id>`.
    pub origin: String,
    /// The root over its entries, 64 hexadecimal digits.
    pub root: String,
    /// How many entries it had.
    pub size: u64,
}

/// A log that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyLog {
    /// `madmall/<log id>`.
    pub origin: String,
    /// The key, one of `keys`, that signs its checkpoints.
    pub keyid: String,
}

/// A field that may be absent but not `null`.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Policy {
    /// That of a user who believes only what they signed.
    #[must_use]
    pub fn own(key: &PublicKey) -> Self {
        Self {
            version: 1,
            keys: vec![PolicyKey::unlimited(key, OWN_KEY)],
            logs: None,
            withdrawn: None,
        }
    }

    /// Reads a policy, strictly.
    ///
    /// # Errors
    ///
    /// [`TrustError`] for an unknown version or field, a key or a name twice, a keyid that is not its key's, a time that is not
    /// in its one spelling, a beginning that is not before its end, an empty list, an origin that is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TrustError> {
        let value = json::parse_strict(bytes, LIMITS).map_err(TrustError::Json)?;
        let policy: Self = serde_json::from_value(value).map_err(|error| TrustError::Shape(error.to_string()))?;
        if policy.version != 1 {
            let version = policy.version;
            return Err(TrustError::Shape(format!("version {version} is not known, only 1")));
        }
        policy.trusted_logs(&policy.trusted_keys()?)?;
        Ok(policy)
    }

    /// The text of its file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("texts and numbers have a spelling") + "\n"
    }
}

impl PolicyKey {
    /// A key without limits.
    #[must_use]
    pub fn unlimited(key: &PublicKey, name: &str) -> Self {
        Self {
            keyid: key.keyid().to_string(),
            public: key.to_hex(),
            name: name.to_owned(),
            builders: None,
            pipelines: None,
            stages: None,
            from: None,
            until: None,
        }
    }
}

impl From<&Head> for PolicyHead {
    fn from(head: &Head) -> Self {
        Self {
            origin: head.log.origin(),
            root: head.root.to_hex(),
            size: head.size,
        }
    }
}

/// A time as policies have it, and receipts: UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::key::SigningKey;
    use crate::receipt::trust::KeyLimits;

    pub(super) const FROM: &str = "2026-01-01T00:00:00Z";
    pub(super) const UNTIL: &str = "2026-11-24T15:00:00Z";

    pub(super) fn public(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    /// With every field there is.
    pub(super) fn full() -> Policy {
        let mut policy = Policy::own(&public(1));
        let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        let head = PolicyHead {
            origin: "madmall/0101010101010101".to_owned(),
            root: "ab".repeat(32),
            size: 12,
        };
        policy.keys.push(PolicyKey {
            builders: texts(&["urn:madmall:builder:local"]),
            pipelines: texts(&["baseline"]),
            stages: texts(&["ingest", "train"]),
            from: Some(FROM.to_owned()),
            until: Some(PolicyEnd {
                time: UNTIL.to_owned(),
                logs: vec![head],
            }),
            ..PolicyKey::unlimited(&public(2), "CI")
        });
        policy.logs = Some(vec![PolicyLog {
            origin: "madmall/0202020202020202".to_owned(),
            keyid: public(1).keyid().to_string(),
        }]);
        policy.withdrawn = Some(OnWithdrawn::Fail);
        policy
    }

    #[test]
    fn a_policy_reads_back_with_all_that_it_says() {
        for policy in [Policy::own(&public(1)), full()] {
            assert_eq!(
                Policy::parse(policy.to_json().as_bytes()).expect("its own spelling"),
                policy
            );
        }
        let keys = full().trusted_keys().expect("keys");
        assert_eq!(keys[0].limits, KeyLimits::default());
        let end = keys[1].end().expect("an end");
        assert_eq!(
            (end.logs[0].log.to_string().as_str(), end.logs[0].size),
            ("0101010101010101", 12)
        );
        assert_eq!(end.logs.iter().map(PolicyHead::from).collect::<Vec<_>>(), {
            let until = full().keys.remove(1).until;
            until.expect("an end").logs
        });
        let logs = full().trusted_logs(&keys).expect("logs").expect("logs");
        assert_eq!(logs[0].keyid, public(1).keyid());
    }

    #[test]
    fn a_policy_of_the_first_version_goes_on_to_work() {
        let (keyid, public) = (public(1).keyid(), public(1).to_hex());
        let text = format!(r#"{{"version":1,"keys":[{{"keyid":"{keyid}","public":"{public}","name":"own key"}}]}}"#);
        assert_eq!(Policy::parse(text.as_bytes()).expect("a policy").keys.len(), 1);
    }

    /// The text of `full`, with one place changed.
    #[track_caller]
    pub(super) fn refused(from: &str, to: &str, why: &str) {
        let text = full().to_json();
        assert!(text.contains(from), "`{from}` is in\n{text}");
        let error = Policy::parse(text.replacen(from, to, 1).as_bytes()).expect_err(to);
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn what_this_version_does_not_know_is_refused() {
        refused("\"version\": 1", "\"version\": 2", "version 2");
        refused("\"version\": 1", "\"version\": 1, \"witnesses\": []", "witnesses");
        refused("\"version\": 1", "\"version\": 1, \"version\": 1", "duplicate key");
        refused("\"name\": \"CI\"", "\"name\": \"CI\", \"hosts\": []", "hosts");
        refused("\"time\"", "\"reason\": \"x\", \"time\"", "reason");
        refused("\"size\": 12", "\"size\": 12, \"index\": 1", "index");
        refused("\"size\": 12", "\"size\": 12.0", "12.0");
        refused("\"size\": 12", "\"size\": 0", "is 0");
    }

    #[test]
    fn null_is_not_taken_for_no_limit() {
        let (from, until) = (format!("\"{FROM}\""), "\"until\": {");
        refused(&from, "null", "null");
        refused(until, "\"until\": null, \"x\": {", "null");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_policy_or_refused_without_panic(bytes: Vec<u8>, from: String, root: String) {
            let _ = Policy::parse(&bytes);
            let mut policy = full();
            policy.keys[1].from = Some(from);
            policy.keys[1].until.iter_mut().for_each(|end| end.logs[0].root.clone_from(&root));
            let _ = Policy::parse(policy.to_json().as_bytes());
        }
    }
}
