//! Changes of a policy: who is added, who is replaced, who ends. Pure; [`super::keyring`] writes what comes out.
//!
//! A change never lets more receipts of a known key count than before, with one exception: to a key that has an end, logs may be
//! added that the end does not name yet, for an end is declared in one project and must be known in all. An end that is there
//! is never moved.

use jiff::{SignedDuration, Timestamp};

use super::key::{KeyId, PublicKey};
use super::policy::{Policy, PolicyEnd, PolicyHead, PolicyKey, rfc3339};
use super::trust::OWN_KEY;
use crate::log::checkpoint::Head;

/// Why a policy is not changed like that.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AmendError {
    /// The key is there.
    #[error("the policy has this key already: it is `{name}`")]
    Known {
        /// What it is called there.
        name: String,
    },
    /// The name is there.
    #[error("the policy has another key of the name `{name}`")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nothing fits.
    #[error("the policy has no key `{text}`: `madmall key list` shows them")]
    Unknown {
        /// What was asked for.
        text: String,
    },
    /// More than one fits.
    #[error("`{text}` fits more than one key of the policy: give more digits, or the name")]
    Ambiguous {
        /// What was asked for.
        text: String,
    },
    /// The key is over.
    #[error("the policy has ended this key (`{name}`): it cannot sign again")]
    Ended {
        /// What it is called there.
        name: String,
    },
    /// The end names that log otherwise.
    #[error("the end of `{name}` has the log `{origin}` at {size} already, and an end that is there is never moved")]
    Pinned {
        /// The key.
        name: String,
        /// The log.
        origin: String,
        /// Where it ended.
        size: u64,
    },
}

/// Where the heads come from that an end is to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heads {
    /// The user gave them: one that cannot be added is refused.
    Given,
    /// They are those of the logs here: of a log that the end names already, nothing is said.
    Found,
}

/// The moment after all that was finished until `now`, as policies count: in whole seconds.
#[must_use]
pub fn end_of(now: Timestamp) -> Timestamp {
    let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
    second.checked_add(SignedDuration::from_secs(1)).unwrap_or(second)
}

impl Policy {
    /// The place of the key that `text` means: a name, a keyid, or at least its first eight digits.
    ///
    /// # Errors
    ///
    /// [`AmendError::Unknown`], [`AmendError::Ambiguous`].
    pub fn find(&self, text: &str) -> Result<usize, AmendError> {
        if let Some(place) = self.keys.iter().position(|key| key.name == text) {
            return Ok(place);
        }
        let is_meant = |key: &PolicyKey| text.len() >= 8 && key.keyid.starts_with(text);
        let mut places = (0..)
            .zip(&self.keys)
            .filter(|(_, key)| is_meant(key))
            .map(|(place, _)| place);
        let text = text.to_owned();
        match (places.next(), places.next()) {
            (Some(place), None) => Ok(place),
            (Some(_), Some(_)) => Err(AmendError::Ambiguous { text }),
            (None, _) => Err(AmendError::Unknown { text }),
        }
    }

    /// What it says of a key.
    #[must_use]
    pub fn entry(&self, keyid: KeyId) -> Option<&PolicyKey> {
        let keyid = keyid.to_string();
        self.keys.iter().find(|key| key.keyid == keyid)
    }

    /// Adds a key.
    ///
    /// # Errors
    ///
    /// [`AmendError::Known`], [`AmendError::NameTaken`].
    pub fn add(&mut self, key: PolicyKey) -> Result<(), AmendError> {
        if let Some(known) = self.keys.iter().find(|known| known.keyid == key.keyid) {
            let name = known.name.clone();
            return Err(AmendError::Known { name });
        }
        if self.keys.iter().any(|known| known.name == key.name) {
            let name = key.name;
            return Err(AmendError::NameTaken { name });
        }
        self.keys.push(key);
        Ok(())
    }

    /// Sees to it that the user's own key is in it, without limits if it is new.
    ///
    /// # Errors
    ///
    /// [`AmendError::Ended`] if it is in it and over.
    pub fn add_own(&mut self, key: &PublicKey) -> Result<(), AmendError> {
        let Some(known) = self.entry(key.keyid()) else {
            let name = self.free_name(OWN_KEY, key);
            return self.add(PolicyKey::unlimited(key, &name));
        };
        match known.until {
            None => Ok(()),
            Some(_) => Err(AmendError::Ended {
                name: known.name.clone(),
            }),
        }
    }

    /// Puts `new` in the place of `old`, the user's own key until now: it gets the name and the limits of `old`, which ends.
    ///
    /// # Errors
    ///
    /// [`AmendError::Ended`] if `new` is in it and over.
    pub fn replace_own(&mut self, old: &PublicKey, new: &PublicKey, end: PolicyEnd) -> Result<(), AmendError> {
        let keyid = old.keyid().to_string();
        let Some(place) = self.keys.iter().position(|key| key.keyid == keyid) else {
            return self.add_own(new);
        };
        let name = self.keys[place].name.clone();
        if self.entry(new.keyid()).is_some() {
            self.add_own(new)?;
        } else {
            self.keys[place].name = self.free_name(&format!("{name} {}", old.keyid().short()), old);
            let limits = self.keys[place].clone();
            self.keys.push(PolicyKey {
                builders: limits.builders,
                pipelines: limits.pipelines,
                stages: limits.stages,
                ..PolicyKey::unlimited(new, &name)
            });
        }
        // An end that somebody gave it by hand is there, and stays.
        self.keys[place].until.get_or_insert(end);
        Ok(())
    }

    /// Ends the key at `place`; to one that has ended, adds the logs that its end does not name. Returns those that are new.
    ///
    /// # Errors
    ///
    /// [`AmendError::Pinned`] if a given head is of a log that the end names otherwise.
    pub fn end(&mut self, place: usize, time: Timestamp, logs: &[Head], heads: Heads) -> Result<Vec<Head>, AmendError> {
        let key = &mut self.keys[place];
        // A key that ends before it begins ends as soon as it has begun.
        let from = key.from.as_deref().and_then(|from| from.parse().ok()).map(end_of);
        let end = key.until.get_or_insert_with(|| PolicyEnd {
            time: rfc3339(from.map_or(time, |from| from.max(time))),
            logs: Vec::new(),
        });
        let mut added = Vec::new();
        for head in logs {
            let new = PolicyHead::from(head);
            match end.logs.iter().find(|known| known.origin == new.origin) {
                None => {
                    end.logs.push(new);
                    added.push(head.clone());
                }
                Some(known) if *known != new && heads == Heads::Given => {
                    let (name, origin, size) = (key.name.clone(), new.origin, known.size);
                    return Err(AmendError::Pinned { name, origin, size });
                }
                Some(_) => {}
            }
        }
        Ok(added)
    }

    /// `base`, or if another key has it, the same with digits of this key.
    fn free_name(&self, base: &str, key: &PublicKey) -> String {
        let is_free = |name: &str| self.keys.iter().all(|known| known.name != name);
        let keyid = key.keyid();
        let names = [
            base.to_owned(),
            format!("{base} {}", keyid.short()),
            format!("{base} {keyid}"),
        ];
        let free = names.iter().find(|name| is_free(name));
        free.unwrap_or(&names[2]).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::log::LogId;
    use crate::receipt::key::SigningKey;

    fn public(seed: u8) -> PublicKey {
        SigningKey::from_seed(&[seed; 32]).public()
    }

    fn head(log: u8, size: u64) -> Head {
        Head {
            log: LogId::of([log; 8]),
            size,
            root: Sha256::of(&[log]),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn an_end_is_after_all_that_was_finished_in_the_same_second() {
        assert_eq!(rfc3339(end_of(at("2026-11-24T15:00:00Z"))), "2026-11-24T15:00:01Z");
        assert_eq!(rfc3339(end_of(at("2026-11-24T15:00:00.999Z"))), "2026-11-24T15:00:01Z");
    }

    #[test]
    fn a_key_is_found_by_name_keyid_or_eight_digits() {
        let mut policy = Policy::own(&public(1));
        policy.add(PolicyKey::unlimited(&public(2), "CI")).expect("new");
        let keyid = public(2).keyid();
        for text in ["CI", &keyid.to_string(), &keyid.short()] {
            assert_eq!(policy.find(text), Ok(1), "{text}");
        }
        for text in ["", "ci", &keyid.to_string()[..7]] {
            assert!(matches!(policy.find(text), Err(AmendError::Unknown { .. })), "{text}");
        }
        policy.keys[0].keyid = keyid.to_string();
        assert!(matches!(policy.find(&keyid.short()), Err(AmendError::Ambiguous { .. })));
    }

    #[test]
    fn neither_a_key_nor_a_name_comes_in_twice() {
        let mut policy = Policy::own(&public(1));
        let again = policy.add(PolicyKey::unlimited(&public(1), "again"));
        assert!(matches!(again, Err(AmendError::Known { .. })));
        let again = policy.add(PolicyKey::unlimited(&public(2), OWN_KEY));
        assert!(matches!(again, Err(AmendError::NameTaken { .. })));
        policy.add_own(&public(2)).expect("it gets a name of its own");
        assert_eq!(policy.keys[1].name, format!("own key {}", public(2).keyid().short()));
        policy.add_own(&public(2)).expect("it is there");
        assert_eq!(policy.keys.len(), 2);
    }

    #[test]
    fn a_new_own_key_takes_name_and_limits_and_the_old_one_ends() {
        let mut policy = Policy::own(&public(1));
        policy.keys[0].pipelines = Some(vec!["baseline".to_owned()]);
        policy.keys[0].from = Some("2026-01-01T00:00:00Z".to_owned());
        let end = PolicyEnd {
            time: "2026-11-24T15:00:00Z".to_owned(),
            logs: vec![PolicyHead::from(&head(1, 3))],
        };
        policy
            .replace_own(&public(1), &public(2), end.clone())
            .expect("replaced");
        let [old, new] = &policy.keys[..] else {
            panic!("two keys")
        };
        assert_eq!((new.name.as_str(), &new.pipelines), (OWN_KEY, &old.pipelines));
        assert_eq!((&new.from, &new.until), (&None, &None));
        assert_eq!(old.name, format!("own key {}", public(1).keyid().short()));
        assert_eq!(old.until.as_ref(), Some(&end));
        let later = PolicyEnd {
            time: "2027-01-01T00:00:00Z".to_owned(),
            ..end.clone()
        };
        policy.keys.push(PolicyKey::unlimited(&public(3), "CI"));
        let back = policy.replace_own(&public(2), &public(1), later.clone());
        assert!(
            matches!(back, Err(AmendError::Ended { .. })),
            "an ended key does not come back"
        );
        policy.replace_own(&public(1), &public(3), later).expect("a known key");
        assert_eq!(policy.keys[0].until.as_ref(), Some(&end), "an end is not moved");
        assert_eq!(policy.keys.len(), 3);
        assert!(Policy::parse(policy.to_json().as_bytes()).is_ok());
    }

    #[test]
    fn an_end_gets_logs_that_it_does_not_name_and_nothing_else() {
        let mut policy = Policy::own(&public(1));
        let (first, later) = (at("2026-11-24T15:00:00Z"), at("2027-11-24T15:00:00Z"));
        let added = policy.end(0, first, &[head(1, 3)], Heads::Found);
        assert_eq!(added, Ok(vec![head(1, 3)]));
        let added = policy.end(0, later, &[head(1, 9), head(2, 5)], Heads::Found);
        assert_eq!(added, Ok(vec![head(2, 5)]));
        let before = policy.clone();
        let moved = policy.end(0, later, &[head(1, 9)], Heads::Given);
        assert!(matches!(moved, Err(AmendError::Pinned { size: 3, .. })));
        assert_eq!(policy.end(0, later, &[head(1, 3)], Heads::Given), Ok(vec![]));
        assert_eq!(policy, before);
        let end = policy.keys[0].until.as_ref().expect("an end");
        assert_eq!((end.time.as_str(), end.logs.len()), ("2026-11-24T15:00:00Z", 2));
    }

    #[test]
    fn a_key_that_has_not_begun_ends_as_soon_as_it_has() {
        let mut policy = Policy::own(&public(1));
        policy.keys[0].from = Some("2030-01-01T00:00:00Z".to_owned());
        let added = policy.end(0, at("2026-11-24T15:00:00Z"), &[], Heads::Found);
        assert_eq!(added, Ok(vec![]));
        assert!(Policy::parse(policy.to_json().as_bytes()).is_ok());
    }
}
