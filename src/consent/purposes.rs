//! Purposes in their order, and what a consent covers.
//!
//! The consent of an artifact is a word: `none`, which covers nothing, or the purpose that it covers, with all that stand before
//! that in the order. An artifact that holds nothing of a person has no consent, and asks for none.

use serde::{Deserialize, Serialize};

/// The consent of what nobody but `ingest` may read: raw events, and rejected ones.
pub const NONE: &str = "none";

/// The purposes that there are, the narrowest first: consent to one covers all before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purposes(Vec<String>);

impl Default for Purposes {
    /// `care`, then `research`.
    fn default() -> Self {
        Self(super::Scope::ALL.map(|scope| scope.as_str().to_owned()).to_vec())
    }
}

impl Purposes {
    /// Whether consent of the width `consent` allows use for `purpose`. A word that is none of the order covers nothing, and is
    /// covered by nothing.
    #[must_use]
    pub fn covers(&self, consent: &str, purpose: &str) -> bool {
        match (self.rank(consent), self.rank(purpose)) {
            (Some(consent), Some(purpose)) => consent >= purpose,
            _ => false,
        }
    }

    /// The narrowest of these consents, or `None` if there are none. What is no word of the order is as narrow as [`NONE`].
    pub fn narrowest<'a>(&self, consents: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let narrowest = consents.into_iter().min_by_key(|consent| self.rank(consent))?;
        Some(if self.rank(narrowest).is_some() {
            narrowest
        } else {
            NONE
        })
    }

    /// Whether `word` can be a consent of this order.
    #[must_use]
    pub fn is_consent(&self, word: &str) -> bool {
        word == NONE || self.rank(word).is_some()
    }

    fn rank(&self, word: &str) -> Option<usize> {
        self.0.iter().position(|purpose| purpose == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_consent_covers_what_is_narrower() {
        let purposes = Purposes::default();
        for (consent, purpose, covers) in [
            ("care", "care", true),
            ("care", "research", false),
            ("research", "care", true),
            ("research", "research", true),
            ("none", "care", false),
            ("none", "none", false),
            ("gossip", "care", false),
            ("research", "gossip", false),
        ] {
            assert_eq!(purposes.covers(consent, purpose), covers, "{consent} for {purpose}");
        }
    }

    #[test]
    fn of_several_consents_the_narrowest_counts_and_what_is_not_known_is_none() {
        let purposes = Purposes::default();
        assert_eq!(purposes.narrowest([]), None);
        assert_eq!(purposes.narrowest(["research", "care", "research"]), Some("care"));
        assert_eq!(purposes.narrowest(["research", "none", "care"]), Some("none"));
        assert_eq!(purposes.narrowest(["research", "gossip"]), Some("none"));
    }
}
