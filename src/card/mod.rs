//! A model's card: what it is, what it came from, how good it is and for whom, as a page for people.
//!
//! Facts come from the model's file, and from the ledger: the receipt that claims these bytes, and what that receipt and those it
//! stands on say was made beside them ([`origin`]). What is not found is said to be so.

pub mod consent;
pub mod content;
mod figures;
pub mod html;
pub mod markdown;
pub mod origin;

use self::origin::Origin;
use crate::commitment::Commitment;
use crate::digest::Digests;
use crate::listing::ArtifactDigests;
use crate::model::Model;
use crate::preparation::Preparation;

/// All that a card is written from.
pub struct Card<'a> {
    /// The file's name, without its folder.
    pub name: &'a str,
    /// Of the file's bytes.
    pub digests: Digests,
    /// What they hold.
    pub model: &'a Model,
    /// How an event becomes what it weighs.
    pub preparation: &'a Preparation,
    /// What made it, if a receipt says so.
    pub origin: Option<Origin>,
    /// Whether there are receipts that nobody can compare it with who lacks another consent secret.
    pub may_be_keyed: bool,
}

impl Card<'_> {
    /// The keyed digests of a model that is personal.
    #[must_use]
    pub fn commitment(&self) -> Option<Commitment> {
        match self.origin.as_ref()?.claimed {
            ArtifactDigests::Keyed(commitment) => Some(commitment),
            ArtifactDigests::File(_) | ArtifactDigests::Folder(_) => None,
        }
    }
}

/// A part of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A section begins.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Points.
    List(Vec<String>),
    /// Columns' names, then rows. The first column is text, all others are set to the right if `numbers`.
    Table {
        /// Columns' names.
        head: Vec<String>,
        /// As many cells in each.
        rows: Vec<Vec<String>>,
        /// Whether cells after the first are numbers.
        numbers: bool,
    },
}
