//! Proofs: that a log has a receipt (inclusion), and that it extends what it was (consistency).
//!
//! ```text
//! c2sp.org/tlog-proof@v1            old <size that was seen>
//! index <index of the entry>        <hashes of RFC 6962, section 2.1.2, base64, one a line>
//! <hashes of RFC 6962, 2.1.1>
//!                                   <empty line>
//! <empty line>                      <the checkpoint, as its file has it>
//! <the checkpoint>
//! ```
//!
//! The first is C2SP tlog-proof, the second the body of `add-checkpoint` in C2SP tlog-witness: that is what a witness takes. Each
//! proof has one spelling. It is checked by the algorithms of RFC 9162, sections 2.1.3.2 and 2.1.4.2, which share nothing with
//! those that make it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checkpoint::{Head, MAX_CHECKPOINT, SignedCheckpoint};
use super::name::entry;
use super::tree::{Levels, empty_root, leaf_hash, node_hash};
use crate::digest::Sha256;
use crate::receipt::statement::ReceiptId;

const INCLUSION: &str = "c2sp.org/tlog-proof@v1";
/// No tree has a longer proof (C2SP tlog-witness).
const MAX_HASHES: usize = 63;
/// The longest proof that is read.
pub const MAX_PROOF: u64 = MAX_CHECKPOINT + 4096;

/// That a receipt is an entry of the log which a checkpoint is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// Which entry.
    pub index: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Sha256>,
    /// What it is an entry of.
    pub checkpoint: SignedCheckpoint,
}

/// That the log which a checkpoint is about begins with what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// How many entries it had.
    pub old: u64,
    /// In the order of RFC 6962.
    pub hashes: Vec<Sha256>,
    /// What it is now.
    pub checkpoint: SignedCheckpoint,
}

/// A file with a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Of a receipt.
    Inclusion(Inclusion),
    /// Of a history.
    Consistency(Consistency),
}

/// Why bytes are no proof.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("is no proof as madmall writes it: {0}")]
pub struct ProofError(&'static str);

impl Inclusion {
    /// The proof for entry `index` of the log with these hashes, which `checkpoint` is about. None if it has no such entry.
    #[must_use]
    pub fn of(levels: &Levels, index: u64, checkpoint: SignedCheckpoint) -> Option<Self> {
        let size = usize::try_from(checkpoint.checkpoint.head.size).ok()?;
        let hashes = path(levels, usize::try_from(index).ok()?, size)?;
        Some(Self {
            index,
            hashes,
            checkpoint,
        })
    }

    /// Whether it proves that the receipt `id` is that entry.
    #[must_use]
    pub fn holds_for(&self, id: &ReceiptId) -> bool {
        let head = &self.checkpoint.checkpoint.head;
        root_from_path(leaf_hash(&entry(id)), self.index, head.size, &self.hashes) == Some(head.root)
    }
}

impl Consistency {
    /// The proof that the log with these hashes, which `checkpoint` is about, begins with its first `old` entries. None if it has
    /// fewer.
    #[must_use]
    pub fn of(levels: &Levels, old: u64, checkpoint: SignedCheckpoint) -> Option<Self> {
        let size = usize::try_from(checkpoint.checkpoint.head.size).ok()?;
        let hashes = consistency(levels, usize::try_from(old).ok()?, size)?;
        Some(Self {
            old,
            hashes,
            checkpoint,
        })
    }

    /// Whether it proves that the log begins with what it was at `old`.
    #[must_use]
    pub fn holds_from(&self, old: &Head) -> bool {
        let head = &self.checkpoint.checkpoint.head;
        old.log == head.log
            && old.size == self.old
            && are_consistent((old.size, old.root), (head.size, head.root), &self.hashes)
    }
}

impl Proof {
    /// Reads a proof of either kind. Nothing is checked but its spelling.
    ///
    /// # Errors
    ///
    /// [`ProofError`] for any bytes that [`Proof::to_bytes`] would not have written.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ProofError("it is not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(ProofError("it has no checkpoint"))?;
        let checkpoint =
            SignedCheckpoint::parse(checkpoint.as_bytes()).map_err(|_| ProofError("its checkpoint is none"))?;
        let (first, rest) = head.split_once('\n').unwrap_or((head, ""));
        let number = |line: &str, name: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let proof = if first == INCLUSION {
            let (second, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            Self::Inclusion(Inclusion {
                index: number(second, "index").ok_or(ProofError("its index is not in its one spelling"))?,
                hashes: parse_hashes(rest)?,
                checkpoint,
            })
        } else {
            Self::Consistency(Consistency {
                old: number(first, "old").ok_or(ProofError("its first line is that of no proof"))?,
                hashes: parse_hashes(rest)?,
                checkpoint,
            })
        };
        match proof.to_bytes() == bytes {
            true => Ok(proof),
            false => Err(ProofError("its numbers are not in their one spelling")),
        }
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (first, hashes, checkpoint) = match self {
            Self::Inclusion(proof) => {
                let first = format!("{INCLUSION}\nindex {}\n", proof.index);
                (first, &proof.hashes, &proof.checkpoint)
            }
            Self::Consistency(proof) => (format!("old {}\n", proof.old), &proof.hashes, &proof.checkpoint),
        };
        let hashes: String = hashes
            .iter()
            .map(|hash| STANDARD.encode(hash.as_bytes()) + "\n")
            .collect();
        [first.as_bytes(), hashes.as_bytes(), b"\n", &checkpoint.to_bytes()].concat()
    }

    /// What the log is when the proof was made.
    #[must_use]
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        match self {
            Self::Inclusion(proof) => &proof.checkpoint,
            Self::Consistency(proof) => &proof.checkpoint,
        }
    }
}

fn parse_hashes(text: &str) -> Result<Vec<Sha256>, ProofError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let lines = text.split('\n').take(MAX_HASHES + 1);
    let hash = |line| Some(Sha256::from_bytes(STANDARD.decode(line).ok()?.try_into().ok()?));
    let hashes: Option<Vec<Sha256>> = lines.map(hash).collect();
    match hashes.ok_or(ProofError("one of its hashes is none"))? {
        hashes if hashes.len() > MAX_HASHES => Err(ProofError("it has more hashes than any proof")),
        hashes => Ok(hashes),
    }
}

/// RFC 6962: a tree of `width` leaves, more than one, is split after the largest power of two that is less.
fn split(width: usize) -> usize {
    width.next_power_of_two() / 2
}

/// RFC 6962, section 2.1.1: `PATH(index, D[size])`.
fn path(levels: &Levels, index: usize, size: usize) -> Option<Vec<Sha256>> {
    if index >= size {
        return None;
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(levels.subtree(middle, end)?);
            end = middle;
        } else {
            path.push(levels.subtree(start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// RFC 6962, section 2.1.2: `PROOF(old, D[size])`.
fn consistency(levels: &Levels, old: usize, size: usize) -> Option<Vec<Sha256>> {
    if old > size || size > levels.size() {
        return None;
    }
    if old == 0 {
        // Whatever a log is, it extends the empty one (C2SP tlog-witness).
        return Some(Vec::new());
    }
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while old < end {
        let middle = start + split(end - start);
        if old <= middle {
            proof.push(levels.subtree(middle, end)?);
            end = middle;
        } else {
            proof.push(levels.subtree(start, middle)?);
            start = middle;
        }
    }
    // Whoever saw the old tree has its root, but no other part of it.
    if start > 0 {
        proof.push(levels.subtree(start, end)?);
    }
    proof.reverse();
    Some(proof)
}

/// RFC 9162, section 2.1.3.2: the root that the path leads to; none if it is not as long as a path of that entry is.
fn root_from_path(leaf: Sha256, index: u64, size: u64, path: &[Sha256]) -> Option<Sha256> {
    if index >= size {
        return None;
    }
    let (mut number, mut last) = (index, size - 1);
    let mut root = leaf;
    for hash in path {
        if last == 0 {
            return None;
        }
        if number & 1 == 1 || number == last {
            root = node_hash(hash, &root);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            root = node_hash(&root, hash);
        }
        number >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// RFC 9162, section 2.1.4.2.
fn are_consistent((old, old_root): (u64, Sha256), (new, new_root): (u64, Sha256), proof: &[Sha256]) -> bool {
    if old == 0 {
        return proof.is_empty() && old_root == empty_root();
    }
    if old >= new {
        return old == new && proof.is_empty() && old_root == new_root;
    }
    let (mut number, mut last) = (old - 1, new - 1);
    // A whole old tree is its own first hash.
    let (first, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return false,
    };
    while number & 1 == 1 {
        number >>= 1;
        last >>= 1;
    }
    let (mut before, mut now) = (first, first);
    for hash in rest {
        if last == 0 {
            return false;
        }
        if number & 1 == 1 || number == last {
            before = node_hash(hash, &before);
            now = node_hash(hash, &now);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            now = node_hash(&now, hash);
        }
        number >>= 1;
        last >>= 1;
    }
    last == 0 && before == old_root && now == new_root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tlog_tiles::tlog;

    use super::super::checkpoint::Checkpoint;
    use super::super::name::LogId;
    use super::*;
    use crate::receipt::key::SigningKey;

    fn ids(count: u64) -> Vec<ReceiptId> {
        (0..count).map(|n| Sha256::of(&n.to_le_bytes())).collect()
    }

    fn levels(ids: &[ReceiptId]) -> Levels {
        Levels::of(ids.iter().map(|id| leaf_hash(&entry(id))).collect())
    }

    fn checkpoint(levels: &Levels, size: u64) -> SignedCheckpoint {
        let root = levels.root_at(usize::try_from(size).expect("small")).expect("in it");
        let log = LogId::of([1; 8]);
        let checkpoint = Checkpoint {
            head: Head { log, size, root },
            continues: None,
            absent: Vec::new(),
        };
        checkpoint.sign(&SigningKey::from_seed(&[1; 32]))
    }

    struct Stored(Vec<tlog::Hash>);

    impl tlog::HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
            let hash = |index: &u64| self.0[usize::try_from(*index).expect("small")];
            Ok(indexes.iter().map(hash).collect())
        }
    }

    /// The same log, as the second implementation stores it.
    fn stored(ids: &[ReceiptId]) -> Stored {
        let mut stored = Stored(Vec::new());
        for (number, id) in (0..).zip(ids) {
            let new = tlog::stored_hashes(number, &entry(id), &stored).expect("hashed");
            stored.0.extend(new);
        }
        stored
    }

    fn theirs(hashes: &[Sha256]) -> Vec<tlog::Hash> {
        hashes.iter().map(|hash| tlog::Hash(*hash.as_bytes())).collect()
    }

    #[test]
    fn every_proof_of_small_logs_is_that_of_a_second_implementation_and_each_accepts_the_other_s() {
        let ids = ids(40);
        let (levels, stored) = (levels(&ids), stored(&ids));
        for size in 1..=40 {
            let signed = checkpoint(&levels, size);
            let root = tlog::Hash(*signed.checkpoint.head.root.as_bytes());
            for (index, id) in (0..size).zip(&ids) {
                let proof = Inclusion::of(&levels, index, signed.clone()).expect("a proof");
                let other = tlog::prove_record(size, index, &stored).expect("a proof");
                assert_eq!(theirs(&proof.hashes), other, "{index} of {size}");
                assert!(proof.holds_for(id));
                let leaf = tlog::Hash(*leaf_hash(&entry(id)).as_bytes());
                tlog::check_record(&other, size, root, index, leaf).expect("it holds");
            }
            assert_eq!(Inclusion::of(&levels, size, signed.clone()), None);
            for old in 1..=size {
                let proof = Consistency::of(&levels, old, signed.clone()).expect("a proof");
                let other = tlog::prove_tree(size, old, &stored).expect("a proof");
                assert_eq!(theirs(&proof.hashes), other, "{old} of {size}");
                let head = checkpoint(&levels, old).checkpoint.head;
                assert!(proof.holds_from(&head), "{old} of {size}");
                let old_root = tlog::Hash(*head.root.as_bytes());
                tlog::check_tree(&other, size, root, old, old_root).expect("it holds");
            }
            let empty = Consistency::of(&levels, 0, signed.clone()).expect("a proof");
            assert_eq!(empty.hashes, []);
            assert_eq!(Consistency::of(&levels, size + 1, signed), None);
        }
    }

    #[test]
    fn a_proof_holds_for_nothing_but_what_it_proves() {
        let ids = ids(21);
        let levels = levels(&ids);
        let signed = checkpoint(&levels, 21);
        let proof = Inclusion::of(&levels, 5, signed.clone()).expect("a proof");
        for (index, id) in ids.iter().enumerate() {
            assert_eq!(proof.holds_for(id), index == 5, "{index}");
        }
        let heads: Vec<Head> = (1..=21).map(|size| checkpoint(&levels, size).checkpoint.head).collect();
        let history = Consistency::of(&levels, 13, signed).expect("a proof");
        for head in &heads {
            assert_eq!(history.holds_from(head), head.size == 13, "{}", head.size);
        }
        let forked = Head {
            root: heads[11].root,
            ..heads[12].clone()
        };
        assert!(!history.holds_from(&forked));
        let other_log = Head {
            log: LogId::of([2; 8]),
            ..heads[12].clone()
        };
        assert!(!history.holds_from(&other_log));
        for place in 0..proof.hashes.len() {
            let mut changed = proof.clone();
            changed.hashes[place] = Sha256::of(b"x");
            assert!(!changed.holds_for(&ids[5]), "hash {place}");
            changed.hashes.remove(place);
            assert!(!changed.holds_for(&ids[5]), "without hash {place}");
        }
        for place in 0..history.hashes.len() {
            let mut changed = history.clone();
            changed.hashes[place] = Sha256::of(b"x");
            assert!(!changed.holds_from(&heads[12]), "hash {place}");
            changed.hashes.remove(place);
            assert!(!changed.holds_from(&heads[12]), "without hash {place}");
        }
        let mut longer = proof.clone();
        longer.hashes.push(Sha256::of(b"x"));
        assert!(!longer.holds_for(&ids[5]));
        for index in [4, 6, 20, 21, u64::MAX] {
            let moved = Inclusion { index, ..proof.clone() };
            assert!(!moved.holds_for(&ids[5]), "{index}");
        }
    }

    #[test]
    fn a_proof_is_spelled_as_the_specification_shows_it() {
        let ids = ids(3);
        let levels = levels(&ids);
        let signed = checkpoint(&levels, 3);
        let text = |proof: Proof| String::from_utf8(proof.to_bytes()).expect("UTF-8");
        let hash = |index: usize| STANDARD.encode(leaf_hash(&entry(&ids[index])).as_bytes());
        let note = String::from_utf8(signed.to_bytes()).expect("UTF-8");
        let inclusion = Proof::Inclusion(Inclusion::of(&levels, 2, signed.clone()).expect("a proof"));
        let pair = STANDARD.encode(levels.root_at(2).expect("in it").as_bytes());
        assert_eq!(
            text(inclusion),
            format!("c2sp.org/tlog-proof@v1\nindex 2\n{pair}\n\n{note}")
        );
        let history = Proof::Consistency(Consistency::of(&levels, 2, signed.clone()).expect("a proof"));
        assert_eq!(text(history), format!("old 2\n{}\n\n{note}", hash(2)));
        let empty = Proof::Consistency(Consistency::of(&levels, 3, signed).expect("a proof"));
        assert_eq!(text(empty.clone()), format!("old 3\n\n{note}"));
        for wrong in [
            format!("c2sp.org/tlog-proof@v1\nextra eA==\nindex 2\n{pair}\n\n{note}"),
            format!("c2sp.org/tlog-proof@v1\nindex 02\n{pair}\n\n{note}"),
            format!("c2sp.org/tlog-proof@v1\nindex +2\n{pair}\n\n{note}"),
            format!("c2sp.org/tlog-proof@v1\n{pair}\n\n{note}"),
            format!("c2sp.org/tlog-proof@v2\nindex 2\n{pair}\n\n{note}"),
            format!("old 2\n{pair}=\n\n{note}"),
            format!("old 2\n{pair} \n\n{note}"),
            format!("old 2\n{}\n{note}", format!("{pair}\n").repeat(64)),
            format!("old 2\r\n{pair}\r\n\r\n{note}"),
            format!("old 2\n{pair}\n\n\n{note}"),
            format!("old 2\n\n{note}x"),
            "old 2\n\n".to_owned(),
            String::new(),
        ] {
            assert!(Proof::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn proofs_read_back_and_any_bytes_are_read_or_refused(bytes: Vec<u8>, size in 1_u64..300, at: prop::sample::Index, flip in 1_u8..) {
            if let Ok(proof) = Proof::parse(&bytes) {
                prop_assert_eq!(proof.to_bytes(), bytes);
            }
            let ids = ids(size);
            let levels = levels(&ids);
            let signed = checkpoint(&levels, size);
            let index = at.index(ids.len());
            let proof = Inclusion::of(&levels, index as u64, signed.clone()).expect("a proof");
            let history = Consistency::of(&levels, index as u64, signed).expect("a proof");
            for proof in [Proof::Inclusion(proof), Proof::Consistency(history)] {
                let mut bytes = proof.to_bytes();
                prop_assert_eq!(Proof::parse(&bytes), Ok(proof.clone()));
                let place = at.index(bytes.len());
                bytes[place] ^= flip;
                if let Ok(read) = Proof::parse(&bytes) {
                    prop_assert!(read != proof);
                    prop_assert_eq!(read.to_bytes(), bytes);
                }
            }
        }
    }
}
