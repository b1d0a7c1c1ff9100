//! Purposes in their order, and what a consent covers.
//!
//! The consent of an artifact is a word: `none`, which covers nothing, or the purpose that it covers, with all that stand before
//! that in the order. An artifact that holds nothing of a person has no consent, and asks for none.

use serde::{Deserialize, Serialize};

use super::{Purpose, Scope};

/// The consent of what nobody but `ingest` may read: raw events, and rejected ones.
pub const NONE: &str = "none";

/// A project has at most so many purposes: what becomes of an event is kept in a byte.
pub const MAX_PURPOSES: usize = 8;

/// The purposes that there are, the narrowest first: consent to one covers all before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purposes(Vec<String>);

impl Default for Purposes {
    /// `care`, then `research`.
    fn default() -> Self {
        Self(["care", "research"].map(str::to_owned).to_vec())
    }
}

impl Purposes {
    /// These, the narrowest first; `None` if there are none or too many, one stands twice, or one is [`NONE`].
    #[must_use]
    pub fn declared(words: Vec<String>) -> Option<Self> {
        let is_once = |(at, word): (usize, &String)| word != NONE && !words[..at].contains(word);
        let is_sound = (1..=MAX_PURPOSES).contains(&words.len()) && words.iter().enumerate().all(is_once);
        is_sound.then_some(Self(words))
    }

    /// Their words, the narrowest first.
    pub fn words(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The scope that `word` means in an event.
    #[must_use]
    pub fn scope(&self, word: &str) -> Option<Scope> {
        u8::try_from(self.rank(word)?).ok().map(Scope)
    }

    /// The purpose that `word` means in a pipeline.
    #[must_use]
    pub fn purpose(&self, word: &str) -> Option<Purpose> {
        u8::try_from(self.rank(word)?).ok().map(Purpose)
    }

    /// Every scope, the narrowest first.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        (0..).take(self.0.len()).map(Scope)
    }

    /// The word for a scope of this order.
    #[must_use]
    pub fn word(&self, scope: Scope) -> &str {
        self.0.get(usize::from(scope.0)).map_or(NONE, String::as_str)
    }

    /// `is not one of …`, of a word that is none of them.
    #[must_use]
    pub fn is_not_one(&self) -> String {
        format!("is not one of `{}`", self.0.join("`, `"))
    }

    /// Whether `word` is one of them.
    #[must_use]
    pub fn has(&self, word: &str) -> bool {
        self.rank(word).is_some()
    }

    /// Whether they are those that every project has unless it says otherwise.
    #[must_use]
    pub fn are_usual(&self) -> bool {
        *self == Self::default()
    }

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
    fn words_are_places_in_the_order() {
        let purposes = Purposes::declared(["care", "research", "commercial"].map(str::to_owned).to_vec());
        let purposes = purposes.expect("an order");
        let words: Vec<&str> = purposes.scopes().map(|scope| purposes.word(scope)).collect();
        assert_eq!(words, ["care", "research", "commercial"]);
        let (commercial, research) = (purposes.scope("commercial"), purposes.purpose("research"));
        assert!(commercial.expect("a scope").covers(research.expect("a purpose")));
        for word in ["", "Care", "research ", "none", "care,research"] {
            assert_eq!(purposes.scope(word), None, "{word:?}");
        }
        for wrong in [
            &[][..],
            &["care", "care"],
            &["none"],
            &["a", "b", "c", "d", "e", "f", "g", "h", "i"],
        ] {
            assert_eq!(
                Purposes::declared(wrong.iter().map(ToString::to_string).collect()),
                None
            );
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
