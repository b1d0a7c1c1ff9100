//! A set of tokens as one hash, by which it can be shown that a token is in it, or that it is not.
//!
//! A sparse Merkle map over the 256 bits of a token (the first bit is the highest of the first byte): a tree in which a token's bits
//! lead to its place. `docs/formats/population.md` has the bytes and test vectors.
//!
//! ```text
//! no token         nothing, and no hash
//! one token        SHA-256(00 ‖ token), at whatever depth it is the only one
//! more             SHA-256(01 ‖ left ‖ right), or SHA-256(02 ‖ left) or SHA-256(03 ‖ right) if the other side has none
//! the root         SHA-256(04 ‖ "madmall population v1" ‖ 00 ‖ number of tokens, 8 bytes, big-endian ‖ what is at the top)
//! ```
//!
//! What is hashed in each place tells what it is, so that from one root a token's bits lead to one end: itself, another token, or
//! nothing. Nobody can show of one token both that it is in and that it is not.

mod proof;
mod subtrees;

use rayon::prelude::*;
use sha2::Digest as _;

pub use self::proof::{End, Membership, Path, ProofError};
pub(super) use self::subtrees::SUBTREE_BYTES;
use crate::consent::token::Token;
use crate::digest::Sha256;

/// What a set of tokens is known by.
pub type Root = Sha256;

pub(super) type Hash = [u8; 32];

/// How deep the tree can be: a token has so many bits.
pub(super) const MAX_DEPTH: usize = 256;
/// Tokens that begin with the same byte have a subtree together, which can be made by itself.
const SUBTREES: usize = 256;
/// How deep these subtrees begin.
const SPLIT: usize = 8;

/// A set of tokens: how many, and the upper part of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    size: u64,
    /// As in a heap: the top is at 1, and below what is at `n` is what is at `2n` and `2n + 1`, down to the subtrees.
    upper: Box<[Option<Subtree>]>,
}

/// What is at a place of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subtree {
    /// One token, the same at every depth at which it is the only one.
    Leaf(Token),
    /// More than one.
    Node(Hash),
}

/// A token that does not come after the one before.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("tokens are not in order, or one stands twice")]
pub struct OutOfOrder;

impl Map {
    /// The set of `tokens`, which must be in order, each once.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`] if they are not.
    pub fn of(tokens: &[Token]) -> Result<Self, OutOfOrder> {
        let mut builder = MapBuilder::default();
        builder.extend(tokens, |token| *token)?;
        Ok(builder.finish())
    }

    /// The same with what is above the subtrees.
    fn joined(mut self) -> Self {
        for place in (1..SUBTREES).rev() {
            self.upper[place] = Subtree::join(self.upper[2 * place], self.upper[2 * place + 1]);
        }
        self
    }

    /// How many tokens are in it.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What it is known by.
    #[must_use]
    pub fn root(&self) -> Root {
        root_of(self.size, self.upper[1].as_ref().map(Subtree::hash))
    }
}

impl Default for Map {
    /// The empty set.
    fn default() -> Self {
        let upper = vec![None; 2 * SUBTREES].into_boxed_slice();
        Self { size: 0, upper }
    }
}

/// Makes a [`Map`] of tokens that come one by one, in order. Needs no more memory for more tokens.
#[derive(Debug, Default)]
pub struct MapBuilder {
    map: Map,
    last: Option<Token>,
    growing: Growing,
}

impl MapBuilder {
    /// Adds a token that comes after the one before.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`] if it does not.
    pub fn push(&mut self, token: Token) -> Result<(), OutOfOrder> {
        if self.last.is_some_and(|last| token <= last) {
            return Err(OutOfOrder);
        }
        if self.last.is_some_and(|last| first_byte(&last) != first_byte(&token)) {
            self.close();
        }
        self.growing.push(token);
        self.last = Some(token);
        self.map.size += 1;
        Ok(())
    }

    /// Adds tokens that come after those before: those of `records`. All cores take part.
    ///
    /// # Errors
    ///
    /// [`OutOfOrder`] if they do not.
    pub fn extend<R: Sync>(&mut self, records: &[R], token: impl Fn(&R) -> Token + Sync) -> Result<(), OutOfOrder> {
        let byte = |record: &R| first_byte(&token(record));
        let groups: Vec<&[R]> = records.chunk_by(|a, b| byte(a) == byte(b)).collect();
        // The first may go on with a subtree that is not done, and that of the last may not be done.
        let [first, whole @ .., last] = &groups[..] else {
            return records.iter().try_for_each(|record| self.push(token(record)));
        };
        if !records.is_sorted_by(|a, b| token(a) < token(b)) {
            return Err(OutOfOrder);
        }
        first.iter().try_for_each(|record| self.push(token(record)))?;
        let made: Vec<(usize, Option<Subtree>)> = whole
            .par_iter()
            .map(|group| {
                let mut subtree = Growing::default();
                group.iter().for_each(|record| subtree.push(token(record)));
                (byte(&group[0]), subtree.finish(SPLIT))
            })
            .collect();
        self.close();
        for (group, (place, subtree)) in whole.iter().zip(made) {
            self.map.upper[SUBTREES + place] = subtree;
            self.map.size += group.len() as u64;
        }
        self.last = None;
        last.iter().try_for_each(|record| self.push(token(record)))
    }

    fn close(&mut self) {
        if let Some(last) = &self.last {
            self.map.upper[SUBTREES + first_byte(last)] = std::mem::take(&mut self.growing).finish(SPLIT);
        }
    }

    /// The set of all that were added.
    #[must_use]
    pub fn finish(mut self) -> Map {
        self.close();
        self.map.joined()
    }
}

/// A subtree of tokens that come in order.
///
/// Held are only those of its parts that lie left of the last token: where the path to it goes right, what is on the left.
#[derive(Debug, Default)]
struct Growing {
    last: Option<Last>,
    /// The depth at which the path goes right, and what is on the left there; the deepest last.
    left: Vec<(usize, Hash)>,
}

/// The last token, and the subtree that it is in, which may still move.
#[derive(Clone, Copy, Debug)]
struct Last {
    token: Token,
    subtree: Subtree,
    /// Where the subtree is; one token alone is nowhere yet.
    depth: usize,
}

impl Growing {
    /// Adds a token that comes after those before.
    fn push(&mut self, token: Token) {
        if let Some(mut last) = self.last {
            let fork = common_bits(&last.token, &token);
            self.close(&mut last, |depth| depth > fork);
            self.left.push((fork, last.lift(fork + 1)));
        }
        self.last = Some(Last {
            token,
            subtree: Subtree::Leaf(token),
            depth: MAX_DEPTH,
        });
    }

    /// Joins the last subtree with what lies left of it, at every depth that `is_done`.
    fn close(&mut self, last: &mut Last, is_done: impl Fn(usize) -> bool) {
        while let Some((depth, left)) = self.left.pop_if(|(depth, _)| is_done(*depth)) {
            let right = last.lift(depth + 1);
            last.subtree = Subtree::Node(both(&left, &right));
            last.depth = depth;
        }
    }

    /// What is at `depth`, at which all of the tokens are together.
    fn finish(mut self, depth: usize) -> Option<Subtree> {
        let mut last = self.last?;
        self.close(&mut last, |_| true);
        match last.subtree {
            Subtree::Leaf(_) => Some(last.subtree),
            Subtree::Node(_) => Some(Subtree::Node(last.lift(depth))),
        }
    }
}

impl Last {
    /// The hash of the subtree at `depth`, which is not below it.
    fn lift(&self, depth: usize) -> Hash {
        match self.subtree {
            Subtree::Leaf(token) => leaf(&token),
            Subtree::Node(hash) => (depth..self.depth)
                .rev()
                .fold(hash, |hash, depth| one_side(bit(&self.token, depth), &hash)),
        }
    }
}

impl Subtree {
    pub(super) fn hash(&self) -> Hash {
        match self {
            Self::Leaf(token) => leaf(token),
            Self::Node(hash) => *hash,
        }
    }

    /// What is above `left` and `right`.
    fn join(left: Option<Self>, right: Option<Self>) -> Option<Self> {
        match (left, right) {
            (None, None) => None,
            (Some(Self::Leaf(token)), None) | (None, Some(Self::Leaf(token))) => Some(Self::Leaf(token)),
            (Some(Self::Node(hash)), None) => Some(Self::Node(one_side(false, &hash))),
            (None, Some(Self::Node(hash))) => Some(Self::Node(one_side(true, &hash))),
            (Some(left), Some(right)) => Some(Self::Node(both(&left.hash(), &right.hash()))),
        }
    }
}

fn first_byte(token: &Token) -> usize {
    usize::from(token.as_bytes()[0])
}

/// Whether the token's bit at `depth` is set: its place is then on the right.
pub(super) fn bit(token: &Token, depth: usize) -> bool {
    token.as_bytes()[depth / 8] >> (7 - depth % 8) & 1 == 1
}

/// How many bits two tokens that are not the same have in common.
pub(super) fn common_bits(a: &Token, b: &Token) -> usize {
    let pairs = a.as_bytes().iter().zip(b.as_bytes());
    let same = pairs.clone().take_while(|(a, b)| a == b).count();
    let next = pairs.skip(same).map(|(a, b)| (a ^ b).leading_zeros() as usize).next();
    same * 8 + next.unwrap_or_default()
}

pub(super) fn leaf(token: &Token) -> Hash {
    tagged(0, token.as_bytes())
}

pub(super) fn both(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha2::Sha256::digest(bytes).into()
}

/// What is above a subtree that has nothing beside it.
pub(super) fn one_side(is_right: bool, hash: &Hash) -> Hash {
    tagged(if is_right { 3 } else { 2 }, hash)
}

fn tagged(tag: u8, rest: &Hash) -> Hash {
    let mut bytes = [tag; 33];
    bytes[1..].copy_from_slice(rest);
    sha2::Sha256::digest(bytes).into()
}

pub(super) fn root_of(size: u64, top: Option<Hash>) -> Root {
    let mut hasher = sha2::Sha256::new_with_prefix(b"\x04madmall population v1\0");
    hasher.update(size.to_be_bytes());
    if let Some(top) = top {
        hasher.update(top);
    }
    Root::from_bytes(hasher.finalize().into())
}

#[cfg(test)]
mod tests;
