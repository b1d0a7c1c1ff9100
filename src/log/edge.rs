//! The right edge of a log: all that an append needs to know of what is there already.

use serde::{Deserialize, Serialize};

use super::name::{FileName, bundle, entry, tile};
use super::tree::{TILE_HEIGHT, TILE_WIDTH, edge_root, leaf_hash, tile_root};
use crate::digest::Sha256;
use crate::receipt::statement::ReceiptId;

/// The size, and what the last tiles that are not full hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edge {
    size: u64,
    /// The last entries.
    ids: Vec<ReceiptId>,
    /// At each tile level the hashes that are in no full tile.
    levels: Vec<Vec<Sha256>>,
}

impl Edge {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn root(&self) -> Sha256 {
        let levels: Vec<&[Sha256]> = self.levels.iter().map(Vec::as_slice).collect();
        edge_root(&levels)
    }

    /// Appends a receipt. Returns the tiles and the bundle that it made full.
    pub(super) fn push(&mut self, id: ReceiptId) -> Vec<(FileName, Vec<u8>)> {
        let mut full = Vec::new();
        self.ids.push(id);
        if self.ids.len() == TILE_WIDTH {
            let index = self.size >> TILE_HEIGHT;
            let width = TILE_WIDTH;
            full.push((FileName::Entries { index, width }, bundle(&self.ids)));
            self.ids.clear();
        }
        let mut carried = Some(leaf_hash(&entry(&id)));
        let mut index = self.size >> TILE_HEIGHT;
        let mut level = 0;
        while let Some(hash) = carried.take() {
            if self.levels.len() == usize::from(level) {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[usize::from(level)];
            hashes.push(hash);
            if hashes.len() == TILE_WIDTH {
                let width = TILE_WIDTH;
                full.push((FileName::Tile { level, index, width }, tile(hashes)));
                carried = Some(tile_root(hashes));
                hashes.clear();
                index >>= TILE_HEIGHT;
                level += 1;
            }
        }
        self.size += 1;
        full
    }

    /// The last tiles and the last bundle, as far as they are not full.
    pub(super) fn partial(&self) -> Vec<(FileName, Vec<u8>)> {
        let mut partial = Vec::new();
        if !self.ids.is_empty() {
            let index = self.size >> TILE_HEIGHT;
            let width = self.ids.len();
            partial.push((FileName::Entries { index, width }, bundle(&self.ids)));
        }
        for (level, hashes) in (0_u8..).zip(&self.levels) {
            if !hashes.is_empty() {
                let index = self.size >> (TILE_HEIGHT * (u32::from(level) + 1));
                let width = hashes.len();
                partial.push((FileName::Tile { level, index, width }, tile(hashes)));
            }
        }
        partial
    }

    /// Whether the parts are as long as the size says, so that nothing is appended to what was damaged.
    pub(super) fn is_sound(&self) -> bool {
        let width = |level: u32| self.size.checked_shr(TILE_HEIGHT * level).unwrap_or(0) % TILE_WIDTH as u64;
        let hashes = |(level, hashes): (u32, &Vec<Sha256>)| hashes.len() as u64 == width(level);
        let above = u32::try_from(self.levels.len())
            .ok()
            .and_then(|levels| self.size.checked_shr(TILE_HEIGHT * levels));
        self.ids.len() as u64 == width(0) && (0..).zip(&self.levels).all(hashes) && above.unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Levels;
    use super::*;

    #[test]
    fn the_edge_has_the_root_and_gives_the_tiles_of_the_whole_tree() {
        let mut edge = Edge::default();
        let mut leaves = Vec::new();
        let mut full = Vec::new();
        for number in 0..66_000_u32 {
            let id = Sha256::of(&number.to_le_bytes());
            leaves.push(leaf_hash(&entry(&id)));
            full.extend(edge.push(id));
            assert!(edge.is_sound());
        }
        let levels = Levels::of(leaves);
        assert_eq!(Some(edge.root()), levels.root_at(66_000));
        assert_eq!(full.len(), 257 + 257 + 1);
        for (name, bytes) in full.into_iter().chain(edge.partial()) {
            if let FileName::Tile { level, index, width } = name {
                let hashes = levels.tile(level.into(), usize::try_from(index).expect("small"));
                assert_eq!((hashes.len(), tile(hashes)), (width, bytes), "{}", name.path());
            }
        }
    }
}
