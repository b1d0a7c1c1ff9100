//! Whom a policy believes: what is written in it as keys with their limits and as logs, or the first thing that is wrong with it.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{Policy, PolicyEnd, PolicyHead, PolicyKey, PolicyLog, rfc3339};
use crate::digest::Sha256;
use crate::log::LogId;
use crate::log::checkpoint::Head;
use crate::receipt::key::{KeyId, ParseKeyError, PublicKey};
use crate::receipt::trust::{KeyEnd, KeyLimits, TrustError, TrustedKey, TrustedLog};
use crate::spec::is_name;

/// How many items a list of a policy may have.
const MAX_ITEMS: usize = 1000;
/// How many bytes a text of a policy may have.
const MAX_TEXT: usize = 1000;

impl Policy {
    /// The keys, with their limits.
    pub(in crate::receipt) fn trusted_keys(&self) -> Result<Vec<TrustedKey>, TrustError> {
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
    pub(in crate::receipt) fn trusted_logs(&self, keys: &[TrustedKey]) -> Result<Option<Vec<TrustedLog>>, TrustError> {
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
    use super::MAX_ITEMS;
    use crate::receipt::policy::tests::{FROM, UNTIL, full, public, refused};
    use crate::receipt::policy::{LIMITS, Policy, PolicyKey};

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
}
