//! A key that is believed, and within which limits: [`TrustedKey::refuses`] says which of them a statement is beyond, and
//! [`TrustedKey::end`] which history a key that has ended is believed for.

use jiff::Timestamp;

use crate::canonical::CanonicalHasher;
use crate::log::checkpoint::Head;
use crate::plan::stage_name::family;
use crate::receipt::key::{KeyId, PublicKey};
use crate::receipt::policy::rfc3339;
use crate::receipt::statement::Statement;

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

impl KeyLimits {
    pub(super) fn hash(&self, hasher: &mut CanonicalHasher) {
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

    /// Why a log that this key says is at `head` proves nothing, for people; `None` if it does.
    ///
    /// Of a key that has ended, only what its logs were then counts: a longer log came after it, and of a shorter one this alone does
    /// not tell whether it is the same history.
    #[must_use]
    pub fn refuses_head(&self, head: &Head) -> Option<String> {
        let end = self.end()?;
        let trusted = format!("the policy trusts `{}` until {}", self.name, rfc3339(end.time));
        let Head { log, size, .. } = head;
        Some(match end.logs.iter().find(|then| then.log == *log) {
            Some(then) if then == head => return None,
            Some(then) if then.size < *size => format!(
                "{trusted}, when the log {log} had {} entries; this checkpoint of {size} came after it",
                then.size
            ),
            Some(then) => format!(
                "{trusted}, when the log {log} had {} entries; only its checkpoint of then counts, not one of {size}",
                then.size
            ),
            None => format!("{trusted}, and the log {log} was none of its logs then"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::key::SigningKey;

    /// A receipt of stage `train`, and that of its run, from the frozen files: pipeline `baseline`.
    fn statements() -> (Statement, Statement) {
        let lines = include_bytes!("../../../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");
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
            ..TrustedKey::unlimited(&SigningKey::from_seed(&[1; 32]).public(), "CI")
        }
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
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
