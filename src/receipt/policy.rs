//! The policy file: whose receipts count, and for what.
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
//! fields mean is in `docs/formats/policy.md`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use super::key::{KeyId, ParseKeyError, PublicKey};
use super::trust::{KeyEnd, KeyLimits, OWN_KEY, OnWithdrawn, TrustError, TrustedKey, TrustedLog};
use crate::digest::Sha256;
use crate::json::{self, Limits};
use crate::log::LogId;
use crate::log::checkpoint::Head;
use crate::spec::is_name;

/// How much of a policy is read.
pub const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    depth: 8,
};
/// How many items a list of a policy may have.
const MAX_ITEMS: usize = 1000;
/// How many bytes a text of a policy may have.
const MAX_TEXT: usize = 1000;

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

    /// The keys, with their limits.
    pub(super) fn trusted_keys(&self) -> Result<Vec<TrustedKey>, TrustError> {
        is_bounded("`keys`", self.keys.len())?;
        let mut seen = (BTreeSet::new(), BTreeSet::new());
        let mut keys = Vec::new();
        for entry in &self.keys {
            let name = &entry.name;
            check_text("the name of a key", name)?;
            let key = entry.trusted().map_err(|error| match error {
                TrustError::Shape(message) => TrustError::Shape(format!("the key `{name}`: {message}")),
                other => other,
            })?;
            if !seen.0.insert(key.keyid) {
                return Err(TrustError::Shape(format!("the key of `{name}` stands twice")));
            }
            if !seen.1.insert(name) {
                return Err(TrustError::Shape(format!("two keys have the name `{name}`")));
            }
            keys.push(key);
        }
        Ok(keys)
    }

    /// The logs that count, each by one of `keys`.
    pub(super) fn trusted_logs(&self, keys: &[TrustedKey]) -> Result<Option<Vec<TrustedLog>>, TrustError> {
        let Some(entries) = &self.logs else { return Ok(None) };
        is_filled("`logs`", entries.len())?;
        let mut logs: Vec<TrustedLog> = Vec::new();
        for PolicyLog { origin, keyid } in entries {
            let log = log_of(origin)?;
            let keyid = Sha256::from_hex(keyid).map(KeyId::from).ok();
            let Some(keyid) = keyid.filter(|keyid| keys.iter().any(|key| key.keyid == *keyid)) else {
                let message = format!("the log `{origin}` is by a key that is not one of `keys`");
                return Err(TrustError::Shape(message));
            };
            if logs.iter().any(|known| known.log == log) {
                return Err(TrustError::Shape(format!("the log `{origin}` stands twice")));
            }
            logs.push(TrustedLog { log, keyid });
        }
        Ok(Some(logs))
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

    /// What it says. An error does not name the key.
    fn trusted(&self) -> Result<TrustedKey, TrustError> {
        let wrong = |message: &str| TrustError::Shape(message.to_owned());
        let bytes = Sha256::from_hex(&self.public).map_err(|_| ParseKeyError::UnknownForm)?;
        let key = PublicKey::from_bytes(bytes.as_bytes())?;
        if key.keyid().to_string() != self.keyid {
            return Err(wrong("its keyid is not that of its public key"));
        }
        check_list("`builders`", self.builders.as_deref(), is_builder)?;
        check_list("`pipelines`", self.pipelines.as_deref(), is_name)?;
        check_list("`stages`", self.stages.as_deref(), is_name)?;
        let from = self.from.as_deref().map(|text| time_of("`from`", text)).transpose()?;
        let until = self.until.as_ref().map(PolicyEnd::parsed).transpose()?;
        if let (Some(from), Some(until)) = (from, &until)
            && from >= until.time
        {
            return Err(wrong("`from` is not before `until`"));
        }
        Ok(TrustedKey {
            keyid: key.keyid(),
            key,
            name: self.name.clone(),
            limits: KeyLimits {
                builders: self.builders.clone(),
                pipelines: self.pipelines.clone(),
                stages: self.stages.clone(),
                from,
                until,
            },
        })
    }
}

impl PolicyEnd {
    fn parsed(&self) -> Result<KeyEnd, TrustError> {
        let time = time_of("the time of `until`", &self.time)?;
        // None is a meaning of its own: the key ended before it signed anything that counts.
        is_bounded("the logs of `until`", self.logs.len())?;
        let mut logs: Vec<Head> = Vec::new();
        for PolicyHead { origin, root, size } in &self.logs {
            let log = log_of(origin)?;
            let Ok(root) = Sha256::from_hex(root) else {
                let message = format!("the root of `{origin}` is not 64 lower-case hexadecimal digits");
                return Err(TrustError::Shape(message));
            };
            if *size == 0 {
                return Err(TrustError::Shape(format!("the size of `{origin}` is 0")));
            }
            if logs.iter().any(|known| known.log == log) {
                return Err(TrustError::Shape(format!("the log `{origin}` stands twice in `until`")));
            }
            let size = *size;
            logs.push(Head { log, size, root });
        }
        Ok(KeyEnd { time, logs })
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

fn time_of(what: &str, text: &str) -> Result<Timestamp, TrustError> {
    let time: Option<Timestamp> = text.parse().ok();
    time.filter(|time| rfc3339(*time) == text).ok_or_else(|| {
        let message = format!("{what} is not a time like `2026-11-24T15:00:00Z` (UTC, whole seconds)");
        TrustError::Shape(message)
    })
}

fn log_of(origin: &str) -> Result<LogId, TrustError> {
    let log = origin.strip_prefix("madmall/").and_then(LogId::parse);
    log.ok_or_else(|| TrustError::Shape(format!("`{}` is no log's origin", origin.escape_default())))
}

fn is_bounded(what: &str, count: usize) -> Result<(), TrustError> {
    match count <= MAX_ITEMS {
        true => Ok(()),
        false => Err(TrustError::Shape(format!("{what} has more than {MAX_ITEMS} items"))),
    }
}

/// An empty list could be meant as "none" and read as "no limit".
fn is_filled(what: &str, count: usize) -> Result<(), TrustError> {
    match count {
        0 => Err(TrustError::Shape(format!(
            "{what} is empty: leave it out, or name what is allowed"
        ))),
        count => is_bounded(what, count),
    }
}

fn check_list(what: &str, list: Option<&[String]>, is_item: fn(&str) -> bool) -> Result<(), TrustError> {
    let Some(list) = list else { return Ok(()) };
    is_filled(what, list.len())?;
    let mut seen = BTreeSet::new();
    for item in list {
        check_text(what, item)?;
        if !is_item(item) {
            return Err(TrustError::Shape(format!(
                "{what}: `{item}` is no name that could stand there"
            )));
        }
        if !seen.insert(item) {
            return Err(TrustError::Shape(format!("{what}: `{item}` stands twice")));
        }
    }
    Ok(())
}

fn check_text(what: &str, text: &str) -> Result<(), TrustError> {
    let is_plain = !text.trim().is_empty() && text.trim() == text && !text.chars().any(char::is_control);
    match is_plain && text.len() <= MAX_TEXT {
        true => Ok(()),
        false => {
            let message = format!("{what} is empty, has spaces around it or control characters, or is too long");
            Err(TrustError::Shape(message))
        }
    }
}

/// A URI has a scheme and no white space.
fn is_builder(text: &str) -> bool {
    let scheme = text.split_once(':').map(|(scheme, rest)| (scheme.as_bytes(), rest));
    scheme.is_some_and(|(scheme, rest)| {
        let is_start = scheme.first().is_some_and(u8::is_ascii_alphabetic);
        let is_scheme = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        is_start && scheme.iter().all(is_scheme) && !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::key::SigningKey;

    const FROM: &str = "2026-01-01T00:00:00Z";
    const UNTIL: &str = "2026-11-24T15:00:00Z";

    fn public(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    /// With every field there is.
    fn full() -> Policy {
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
    fn refused(from: &str, to: &str, why: &str) {
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

    #[test]
    fn what_stands_twice_is_refused() {
        for what in ["key", "name", "log", "pin"] {
            let mut policy = full();
            match what {
                "key" => policy.keys.push(PolicyKey::unlimited(&public(1), "again")),
                "name" => policy.keys.push(PolicyKey::unlimited(&public(3), "CI")),
                "log" => policy.logs.iter_mut().for_each(|logs| logs.push(logs[0].clone())),
                _ => policy.keys[1]
                    .until
                    .iter_mut()
                    .for_each(|end| end.logs.push(end.logs[0].clone())),
            }
            let error = Policy::parse(policy.to_json().as_bytes()).expect_err(what);
            let said = ["twice", "two keys"]
                .iter()
                .any(|word| error.to_string().contains(word));
            assert!(said, "{error}");
        }
        refused("\"ingest\",", "\"ingest\", \"ingest\",", "`ingest` stands twice");
    }

    #[test]
    fn wrong_keys_times_lists_and_origins_are_refused() {
        let keyid = public(2).keyid().to_string();
        refused(&keyid, &public(3).keyid().to_string(), "the key `CI`: its keyid");
        refused(&public(2).to_hex(), &format!("01{}", "00".repeat(31)), "weak");
        for wrong in [
            "2026-01-01",
            "2026-01-01T00:00:00+01:00",
            "2026-01-01T00:00:00.5Z",
            "2026-02-30T00:00:00Z",
            "x",
        ] {
            refused(FROM, wrong, "`from` is not a time");
            refused(UNTIL, wrong, "`until` is not a time");
        }
        refused(FROM, UNTIL, "`from` is not before `until`");
        refused(FROM, "2027-01-01T00:00:00Z", "`from` is not before `until`");
        refused("\"baseline\"", "", "`pipelines` is empty");
        refused("\"baseline\"", "\"Base line\"", "`Base line` is no name");
        refused("\"urn:madmall:builder:local\"", "\"local\"", "`local` is no name");
        for wrong in [
            "0101010101010101",
            "madmall/01",
            "madmall/010101010101010A",
            "other/0101010101010101",
        ] {
            refused("madmall/0101010101010101", wrong, "is no log's origin");
            refused("madmall/0202020202020202", wrong, "is no log's origin");
        }
        refused(&"ab".repeat(32), "ab", "the root of");
        refused("\"name\": \"CI\"", "\"name\": \" CI\"", "the name of a key");
        refused("\"name\": \"CI\"", "\"name\": \"\\u001b[31m\"", "the name of a key");
        let mut policy = full();
        policy.logs.iter_mut().for_each(Vec::clear);
        let error = Policy::parse(policy.to_json().as_bytes()).expect_err("no logs");
        assert!(error.to_string().contains("`logs` is empty"), "{error}");
        policy.logs = full().logs;
        policy
            .logs
            .iter_mut()
            .for_each(|logs| logs[0].keyid = public(3).keyid().to_string());
        let error = Policy::parse(policy.to_json().as_bytes()).expect_err("a stranger's log");
        assert!(error.to_string().contains("not one of `keys`"), "{error}");
    }

    #[test]
    fn an_end_without_logs_is_an_end_and_lists_are_bounded() {
        let mut policy = full();
        policy.keys[1].until.iter_mut().for_each(|end| end.logs.clear());
        assert!(Policy::parse(policy.to_json().as_bytes()).is_ok());
        policy.keys[1].stages = Some((0..=MAX_ITEMS).map(|n| format!("s{n}")).collect());
        assert!(Policy::parse(policy.to_json().as_bytes()).is_err());
        let long = Policy::own(&public(1)).to_json() + &" ".repeat(LIMITS.bytes);
        assert!(Policy::parse(long.as_bytes()).is_err());
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
