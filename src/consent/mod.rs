//! What a person agreed to, what a pipeline is for, and whether the one covers the other.
//!
//! A project has an order of [`purposes`]: `care`, `research`, unless it declares its own. Consent to one covers all before it.
//!
//! | consent | covers the purpose `care` | covers the purpose `research` |
//! | --- | --- | --- |
//! | `care` | yes | no |
//! | `research` | yes | yes |

pub mod map;
pub mod population;
pub mod proof;
pub mod purposes;
pub mod secret;
pub mod spread;
pub mod token;

/// How far the consent of a person reaches (`consent.scope` of the event): a place in the order of [`purposes::Purposes`], 0 the
/// narrowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(u8);

/// What a pipeline is for, its `purpose:`: a place in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Purpose(u8);

impl Scope {
    /// Whether consent of this scope allows use for `purpose`.
    #[must_use]
    pub const fn covers(self, purpose: Purpose) -> bool {
        self.0 >= purpose.0
    }

    /// Every scope that any order has, the narrowest first.
    pub fn every() -> impl Iterator<Item = Self> {
        (0..).take(purposes::MAX_PURPOSES).map(Self)
    }

    /// Its place in the order.
    #[must_use]
    pub const fn place(self) -> u8 {
        self.0
    }
}
