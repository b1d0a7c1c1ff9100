//! That a token is in a set, or is not, shown by the hashes beside its path.

use super::{
    Growing, Hash, MAX_DEPTH, Map, Root, SPLIT, SUBTREES, Subtree, bit, both, common_bits, first_byte, leaf, one_side,
    root_of,
};
use crate::consent::token::Token;

/// The way from the top of a map to where a token's bits end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// What lies beside the way at each depth, from the top; `None` where nothing does.
    pub siblings: Vec<Option<[u8; 32]>>,
    /// What is at its end.
    pub end: End,
}

/// What is where a token's bits end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The token.
    Itself,
    /// Another one, the only one whose bits begin as the path does.
    Other(Token),
    /// None.
    Nothing,
}

/// What a path shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// The token is in the set.
    Included,
    /// It is not.
    Absent,
}

/// Why a path shows nothing.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofError {
    /// It is too long, or too short, or ends beside nothing: no set has it, or it has another spelling.
    #[error("the path is not one that a set of this size has")]
    Shape,
    /// The other token at its end belongs elsewhere.
    #[error("the token at the end of the path does not lie on it")]
    Other,
    /// The hashes lead elsewhere.
    #[error("the path leads to another root")]
    Root,
}

impl Map {
    /// The path of `token`. `alike` are the tokens of the set that begin with the same byte, in order; if they are others than
    /// those that the map was made of, the path leads to another root.
    #[must_use]
    pub fn path(&self, token: &Token, alike: impl IntoIterator<Item = Token>) -> Path {
        let above = (0..SPLIT).filter_map(|depth| Some((depth, self.beside(token, depth)?)));
        let mut beside: Vec<(usize, Subtree)> = above.collect();
        let is_included = add_beside(token, alike, &mut beside);
        let end = match beside.last() {
            _ if is_included => End::Itself,
            // The path ends where the other one is alone, which may be higher up.
            Some((_, Subtree::Leaf(other))) => {
                let other = *other;
                beside.pop();
                End::Other(other)
            }
            Some((_, Subtree::Node(_))) | None => End::Nothing,
        };
        let length = beside.last().map_or(0, |(depth, _)| depth + 1);
        let mut siblings = vec![None; length];
        for (depth, subtree) in beside {
            siblings[depth] = Some(subtree.hash());
        }
        Path { siblings, end }
    }

    /// What lies beside the way of `token` at `depth`, above the subtrees.
    fn beside(&self, token: &Token, depth: usize) -> Option<Subtree> {
        let way = (SUBTREES + first_byte(token)) >> (SPLIT - depth - 1);
        self.upper[way ^ 1]
    }
}

/// Adds what lies beside the way of `token` among `alike`, each with its depth, from the top. Returns whether the token is there.
fn add_beside(token: &Token, alike: impl IntoIterator<Item = Token>, beside: &mut Vec<(usize, Subtree)>) -> bool {
    let mut is_included = false;
    // In order of the tokens, those that leave the way at one depth follow each other.
    let mut open: Option<(usize, Growing)> = None;
    let first = beside.len();
    let mut close = |open: Option<(usize, Growing)>| {
        let closed = open.and_then(|(depth, growing)| Some((depth, growing.finish(depth + 1)?)));
        beside.extend(closed);
    };
    for other in alike {
        if other == *token {
            is_included = true;
            continue;
        }
        let fork = common_bits(token, &other);
        match &mut open {
            Some((depth, growing)) if *depth == fork => growing.push(other),
            _ => {
                let mut growing = Growing::default();
                growing.push(other);
                close(open.replace((fork, growing)));
            }
        }
    }
    close(open);
    beside[first..].sort_by_key(|(depth, _)| *depth);
    is_included
}

impl Path {
    /// What the path shows of `token`, in the set of `size` tokens that is known by `root`.
    ///
    /// # Errors
    ///
    /// [`ProofError`] if it shows nothing.
    pub fn check(&self, token: &Token, size: u64, root: &Root) -> Result<Membership, ProofError> {
        self.check_shape(size)?;
        let (from, membership): (Option<Hash>, Membership) = match self.end {
            End::Itself => (Some(leaf(token)), Membership::Included),
            End::Nothing => (None, Membership::Absent),
            End::Other(other) if other == *token || common_bits(token, &other) < self.siblings.len() => {
                return Err(ProofError::Other);
            }
            End::Other(other) => (Some(leaf(&other)), Membership::Absent),
        };
        let beside = self.siblings.iter().enumerate().rev();
        let top = beside.fold(from, |below, (depth, beside)| {
            let is_right = bit(token, depth);
            match (below, beside) {
                (None, None) => None,
                (Some(below), None) => Some(one_side(is_right, &below)),
                (None, Some(beside)) => Some(one_side(!is_right, beside)),
                (Some(below), Some(beside)) if is_right => Some(both(beside, &below)),
                (Some(below), Some(beside)) => Some(both(&below, beside)),
            }
        });
        match root_of(size, top) == *root {
            true => Ok(membership),
            false => Err(ProofError::Root),
        }
    }

    /// Whether a set of `size` tokens can have such a path, and no shorter one.
    fn check_shape(&self, size: u64) -> Result<(), ProofError> {
        let beside = self.siblings.iter().flatten().count() as u64;
        let is_possible = match (self.siblings.last(), self.end) {
            (None, End::Nothing) => size == 0,
            (None, End::Itself | End::Other(_)) => size == 1,
            // What is beside nothing is more than one token, as every other sibling is at least one.
            (Some(last), _) => last.is_some() && self.siblings.len() <= MAX_DEPTH && size > beside,
        };
        match is_possible {
            true => Ok(()),
            false => Err(ProofError::Shape),
        }
    }
}
