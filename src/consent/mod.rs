//! What a person agreed to, what a pipeline is for, and whether the one covers the other.
//!
//! | consent | covers the purpose `care` | covers the purpose `research` |
//! | --- | --- | --- |
//! | `care` | yes | no |
//! | `research` | yes | yes |

pub mod map;
pub mod population;
pub mod purposes;
pub mod secret;
pub mod token;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// What the person an event came from agreed to: `consent.scope` of the event. Wider scopes are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Use in care.
    Care,
    /// Use in research, and in care.
    Research,
}

/// What a pipeline is for: its `purpose:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Care.
    Care,
    /// Research.
    Research,
}

/// A word that is no scope, or no purpose. Says which words are.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("is not one of `care`, `research`")]
pub struct UnknownWord;

impl Scope {
    /// Every scope, the narrowest first.
    pub const ALL: [Self; 2] = [Self::Care, Self::Research];

    /// Whether consent of this scope allows use for `purpose`.
    #[must_use]
    pub const fn covers(self, purpose: Purpose) -> bool {
        match (self, purpose) {
            (Self::Research, _) | (Self::Care, Purpose::Care) => true,
            (Self::Care, Purpose::Research) => false,
        }
    }

    /// The word for it in an event.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Care => "care",
            Self::Research => "research",
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "care" => Ok(Self::Care),
            "research" => Ok(Self::Research),
            _ => Err(UnknownWord),
        }
    }
}

impl Purpose {
    /// The word for it in a pipeline.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Care => "care",
            Self::Research => "research",
        }
    }
}

impl FromStr for Purpose {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        match word {
            "care" => Ok(Self::Care),
            "research" => Ok(Self::Research),
            _ => Err(UnknownWord),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn research_needs_consent_to_research_and_care_takes_either() {
        assert!(Scope::Research.covers(Purpose::Research));
        assert!(Scope::Research.covers(Purpose::Care));
        assert!(Scope::Care.covers(Purpose::Care));
        assert!(!Scope::Care.covers(Purpose::Research));
        assert!(Scope::Care < Scope::Research);
    }

    #[test]
    fn words_have_one_spelling() {
        for scope in Scope::ALL {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for word in ["", "Care", "research ", "none", "care,research"] {
            assert_eq!(word.parse::<Scope>(), Err(UnknownWord), "{word:?}");
            assert_eq!(word.parse::<Purpose>(), Err(UnknownWord), "{word:?}");
        }
    }
}
