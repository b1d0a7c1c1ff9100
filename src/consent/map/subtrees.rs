//! The subtrees of a map as bytes, so that a root can be checked without its tokens, and some tokens without the others.

use super::{Growing, Map, SPLIT, SUBTREES, Subtree, first_byte};
use crate::consent::token::Token;

/// How many bytes they are: of each a kind (0 nothing, 1 one token, 2 more) and a token or a hash.
pub(in crate::consent) const SUBTREE_BYTES: usize = SUBTREES * 33;

impl Map {
    pub(in crate::consent) fn subtrees_to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SUBTREE_BYTES);
        for subtree in &self.upper[SUBTREES..] {
            let (kind, rest) = match subtree {
                None => (0, [0; 32]),
                Some(Subtree::Leaf(token)) => (1, *token.as_bytes()),
                Some(Subtree::Node(hash)) => (2, *hash),
            };
            bytes.push(kind);
            bytes.extend_from_slice(&rest);
        }
        bytes
    }

    /// The map of `size` tokens that has these subtrees, if `bytes` spell some. Only its root tells whether they are right.
    pub(in crate::consent) fn of_subtrees(size: u64, bytes: &[u8]) -> Option<Self> {
        let mut map = Self {
            size,
            ..Self::default()
        };
        let (all, []) = bytes.as_chunks::<33>() else {
            return None;
        };
        if all.len() != SUBTREES {
            return None;
        }
        for (place, [kind, rest @ ..]) in map.upper[SUBTREES..].iter_mut().zip(all) {
            *place = match kind {
                0 if *rest == [0; 32] => None,
                1 => Some(Subtree::Leaf(Token::from_bytes(*rest))),
                2 => Some(Subtree::Node(*rest)),
                _ => return None,
            };
        }
        Some(map.joined())
    }

    /// Whether `tokens` are those of the set that begin with `byte`.
    pub(in crate::consent) fn has_subtree(&self, byte: u8, tokens: &[Token]) -> bool {
        let is_in_order = tokens.is_sorted_by(|a, b| a < b);
        if !is_in_order || tokens.iter().any(|token| first_byte(token) != usize::from(byte)) {
            return false;
        }
        let mut growing = Growing::default();
        tokens.iter().for_each(|token| growing.push(*token));
        growing.finish(SPLIT) == self.upper[SUBTREES + usize::from(byte)]
    }
}
