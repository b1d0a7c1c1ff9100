//! What a reader keeps from one line to the next.

use super::forms::{Forms, Trace};
use super::found::Found;
use super::keys::Keys;
use super::program::Node;
use super::walk::MAX_DEPTH;

/// The depth at which features stand.
const FEATURES_DEPTH: usize = 2;

/// What a reader keeps from one line to the next: how lines were made, and which keys came after which.
pub struct Memory {
    /// For each node and each of its properties, which property came after it; last, which came first.
    pub(super) after: Vec<Vec<u8>>,
    /// For each depth.
    pub(super) keys: Vec<Keys>,
    pub(super) forms: Forms,
    /// What is wanted of this line.
    pub(super) found: Found,
    /// Where the values of this line are.
    pub(super) trace: Trace,
}

impl Memory {
    pub(super) fn new(nodes: &[Node]) -> Self {
        let places = |node: &Node| vec![0; node.object.as_ref().map_or(0, |object| object.properties.len() + 1)];
        Self {
            after: nodes.iter().map(places).collect(),
            keys: (0..MAX_DEPTH).map(|_| Keys::default()).collect(),
            forms: Forms::default(),
            found: Found::default(),
            trace: Trace::default(),
        }
    }

    /// The key of a feature.
    #[must_use]
    pub fn key(&self, number: u32) -> &str {
        self.keys[FEATURES_DEPTH].name(number)
    }
}
