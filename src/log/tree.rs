//! The Merkle tree of RFC 6962, section 2.1, kept in tiles of 256 hashes.

use crate::digest::Sha256;

/// How many hashes a full tile has (C2SP tlog-tiles: height 8).
pub const TILE_WIDTH: usize = 256;
/// How many bits of an index a tile takes.
pub const TILE_HEIGHT: u32 = 8;

/// The hash of a leaf: SHA-256 of `0x00` and the entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Sha256 {
    let mut bytes = Vec::with_capacity(entry.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(entry);
    Sha256::of(&bytes)
}

/// The hash of a node: SHA-256 of `0x01`, the left hash and the right hash.
#[must_use]
pub fn node_hash(left: &Sha256, right: &Sha256) -> Sha256 {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left.as_bytes());
    bytes[33..].copy_from_slice(right.as_bytes());
    Sha256::of(&bytes)
}

/// The root of a tree without leaves.
#[must_use]
pub fn empty_root() -> Sha256 {
    Sha256::of(b"")
}

/// The root over whole hashes of one level: that of a full tile, whose width is a power of two.
#[must_use]
pub fn tile_root(hashes: &[Sha256]) -> Sha256 {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        level = level.chunks(2).map(pair).collect();
    }
    level.first().copied().unwrap_or_else(empty_root)
}

fn pair(hashes: &[Sha256]) -> Sha256 {
    match hashes {
        [left, right] => node_hash(left, right),
        // RFC 6962 splits at the largest power of two: a hash without a neighbour goes up as it is.
        [one, ..] => *one,
        [] => empty_root(),
    }
}

/// The root of a tree, from the hashes at its right edge: at each tile level, from the lowest, those of the last tile that
/// are whole and are in no full tile.
#[must_use]
pub fn edge_root(levels: &[&[Sha256]]) -> Sha256 {
    // The whole subtrees of a level are those of the binary digits of its width; right of them is all that is below.
    let mut below: Option<Sha256> = None;
    for hashes in levels {
        let mut rest = *hashes;
        let mut peaks = Vec::new();
        while !rest.is_empty() {
            let largest = 1 << rest.len().ilog2();
            let (peak, after) = rest.split_at(largest);
            peaks.push(tile_root(peak));
            rest = after;
        }
        for peak in peaks.iter().rev() {
            below = Some(below.map_or(*peak, |right| node_hash(peak, &right)));
        }
    }
    below.unwrap_or_else(empty_root)
}

/// Every hash of a tree that is over a whole power of two of leaves: the leaves, then their pairs, then the pairs of those.
/// All others (roots, parts of proofs) are made of a few of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels(Vec<Vec<Sha256>>);

impl Levels {
    /// Those of the tree with these leaves.
    #[must_use]
    pub fn of(leaves: Vec<Sha256>) -> Self {
        let mut levels = vec![leaves];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let above = last.chunks_exact(2).map(pair).collect();
            levels.push(above);
        }
        Self(levels)
    }

    /// How many leaves there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The leaves, in order.
    #[must_use]
    pub fn leaves(&self) -> &[Sha256] {
        self.0.first().map_or(&[], Vec::as_slice)
    }

    /// The hashes of a tile level that a tile begins with; fewer than [`TILE_WIDTH`] if the tree ends there.
    #[must_use]
    pub fn tile(&self, level: usize, index: usize) -> &[Sha256] {
        let level = level.saturating_mul(TILE_HEIGHT as usize);
        let hashes = self.0.get(level).map_or(&[][..], Vec::as_slice);
        let start = index.saturating_mul(TILE_WIDTH).min(hashes.len());
        let end = start.saturating_add(TILE_WIDTH).min(hashes.len());
        &hashes[start..end]
    }

    /// The root of the tree when it had `size` leaves; none if it has fewer.
    #[must_use]
    pub fn root_at(&self, size: usize) -> Option<Sha256> {
        match size {
            0 => Some(empty_root()),
            _ => self.subtree(0, size),
        }
    }

    /// The hash over the leaves from `start` up to `end`: `MTH(D[start:end])` in RFC 6962, where `start` is a multiple of a
    /// power of two that is at least their number. None if there are no such leaves.
    pub(super) fn subtree(&self, start: usize, end: usize) -> Option<Sha256> {
        if start >= end || end > self.size() {
            return None;
        }
        // From the right, the whole subtrees of the binary digits of the width.
        let mut below: Option<Sha256> = None;
        let mut place = end;
        while place > start {
            let level = (place - start).trailing_zeros();
            let peak = self.0.get(level as usize)?.get((place >> level) - 1)?;
            below = Some(below.map_or(*peak, |right| node_hash(peak, &right)));
            place -= 1 << level;
        }
        below
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962, section 2.1, word for word.
    fn naive(leaves: &[Sha256]) -> Sha256 {
        match leaves {
            [] => empty_root(),
            [one] => *one,
            many => {
                let split = many.len().next_power_of_two() / 2;
                node_hash(&naive(&many[..split]), &naive(&many[split..]))
            }
        }
    }

    fn leaves(count: usize) -> Vec<Sha256> {
        (0..count).map(|n| leaf_hash(n.to_string().as_bytes())).collect()
    }

    #[test]
    fn the_roots_are_those_of_the_reference_implementation() {
        // certificate-transparency, `merkle_tree_test.cc`: the trees over the first 1, 2, … of these entries.
        let entries: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ];
        let leaves: Vec<Sha256> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for (size, root) in roots {
            assert_eq!(
                Levels::of(leaves.clone()).root_at(size).expect("in it").to_hex(),
                root,
                "{size}"
            );
        }
    }

    #[test]
    fn a_tree_around_the_width_of_a_tile_has_the_root_of_the_definition_at_every_size() {
        for count in [1, 255, 256, 257, 600] {
            let leaves = leaves(count);
            let levels = Levels::of(leaves.clone());
            for size in 0..=count {
                assert_eq!(levels.root_at(size), Some(naive(&leaves[..size])), "{size} of {count}");
            }
            assert_eq!(levels.root_at(count + 1), None);
        }
    }

    #[test]
    fn a_tree_of_three_levels_has_the_root_of_the_definition() {
        let leaves = leaves(65_800);
        let levels = Levels::of(leaves.clone());
        for size in [65_535, 65_536, 65_537, 65_800] {
            assert_eq!(levels.root_at(size), Some(naive(&leaves[..size])), "{size}");
        }
    }

    proptest! {
        #[test]
        fn a_second_implementation_gives_the_same_roots(count in 1_usize..700) {
            let leaves = leaves(count);
            let mut stored: Vec<tlog_tiles::tlog::Hash> = Vec::new();
            for number in 0..count {
                let reader = Reader(&stored);
                let new = tlog_tiles::tlog::stored_hashes(number as u64, number.to_string().as_bytes(), &reader);
                stored.extend(new.expect("hashed"));
            }
            let theirs = tlog_tiles::tlog::tree_hash(count as u64, &Reader(&stored)).expect("hashed");
            let ours = Levels::of(leaves).root_at(count).expect("in it");
            prop_assert_eq!(&theirs.0, ours.as_bytes());
        }
    }

    struct Reader<'a>(&'a [tlog_tiles::tlog::Hash]);

    impl tlog_tiles::tlog::HashReader for Reader<'_> {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::tlog::Hash>, tlog_tiles::tlog::Error> {
            let hash = |index: &u64| self.0[usize::try_from(*index).expect("small")];
            Ok(indexes.iter().map(hash).collect())
        }
    }
}
