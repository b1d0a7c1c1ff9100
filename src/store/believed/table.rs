//! By what claims are found: tables of digests and of the numbers of the claims that are about them.

use super::Claim;
use crate::canonical::CanonicalHasher;
use crate::listing::ArtifactDigests;

/// What an entry takes: the first eight bytes of a digest, then the number of a claim, big endian. So entries that follow each other as
/// bytes do so by digest, and those of one digest by number.
pub(super) const ENTRY: usize = 12;
const KEY: usize = 8;

/// An entry of a table.
pub(super) type Entry = [u8; ENTRY];

/// What a table tells of a digest.
#[derive(Clone, Copy, Debug)]
pub(super) enum Table {
    /// The claims about this action.
    Action,
    /// Those of this stage (see [`stage_key`]).
    Stage,
    /// That of this receipt.
    Receipt,
    /// The believed successes that these bytes came out of.
    Output,
    /// The same, if the digest is keyed.
    Personal,
    /// The believed claims that give these bytes their consent.
    Carrier,
    /// The believed claims about files in this folder that no receipt lists (see [`folder_key`]).
    Folder,
}

impl Table {
    /// All of them, in the order in which they are kept.
    pub(super) const ALL: [Self; 7] = [
        Self::Action,
        Self::Stage,
        Self::Receipt,
        Self::Output,
        Self::Personal,
        Self::Carrier,
        Self::Folder,
    ];
}

/// What the stage of this name is called in [`Table::Stage`].
pub(super) fn stage_key(pipeline: &str, stage: &str) -> [u8; 32] {
    let mut hasher = CanonicalHasher::new("madmall stage in an index v1");
    *hasher.str(pipeline).str(stage).finish().as_bytes()
}

/// What the folder at `path` is called in [`Table::Folder`].
pub(super) fn folder_key(path: &str) -> [u8; 32] {
    let mut hasher = CanonicalHasher::new("madmall folder in an index v1");
    *hasher.str(path).finish().as_bytes()
}

/// Tells `add` of each digest by which the claim is found.
pub(super) fn digests_of(claim: &Claim, mut add: impl FnMut(Table, &[u8; 32])) {
    add(Table::Action, claim.action.as_bytes());
    add(Table::Stage, &stage_key(&claim.pipeline, &claim.stage));
    add(Table::Receipt, claim.id.as_bytes());
    if !claim.believed {
        return;
    }
    for output in claim.outputs.iter().filter(|_| claim.succeeded) {
        let digest = output.digests.blake3();
        add(Table::Output, digest.as_bytes());
        if matches!(output.digests, ArtifactDigests::Keyed(_)) {
            add(Table::Personal, digest.as_bytes());
        }
    }
    for (digest, _) in claim.carriers() {
        add(Table::Carrier, digest.as_bytes());
    }
    for folder in claim.folders() {
        add(Table::Folder, &folder_key(folder));
    }
}

/// That the claim `number` is about `digest`.
pub(super) fn entry(digest: &[u8; 32], number: u32) -> Entry {
    let mut entry = [0; ENTRY];
    entry[..KEY].copy_from_slice(&digest[..KEY]);
    entry[KEY..].copy_from_slice(&number.to_be_bytes());
    entry
}

/// The number of the claim.
pub(super) fn number(entry: &Entry) -> u32 {
    let mut number = [0; ENTRY - KEY];
    number.copy_from_slice(&entry[KEY..]);
    u32::from_be_bytes(number)
}

/// The same of the claim that has another number now.
pub(super) fn renumbered(entry: &Entry, number: u32) -> Entry {
    let mut entry = *entry;
    entry[KEY..].copy_from_slice(&number.to_be_bytes());
    entry
}

/// What the table of `entries` says of what begins as `digest` does.
pub(super) fn find<'t>(entries: &'t [Entry], digest: &[u8; 32]) -> &'t [Entry] {
    let key = &digest[..KEY];
    let from = &entries[entries.partition_point(|entry: &Entry| &entry[..KEY] < key)..];
    &from[..from.partition_point(|entry| &entry[..KEY] == key)]
}

/// Appends to `bytes` the entries of `old`, which are in their order, and the `new` ones.
pub(super) fn merge(bytes: &mut Vec<u8>, old: &[Entry], mut new: Vec<Entry>) {
    new.sort_unstable();
    new.dedup();
    let mut rest = old;
    for entry in &new {
        let (before, after) = rest.split_at(rest.partition_point(|old| old < entry));
        bytes.extend_from_slice(before.as_flattened());
        bytes.extend_from_slice(entry);
        rest = after;
    }
    bytes.extend_from_slice(rest.as_flattened());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(byte: u8, last: u8) -> [u8; 32] {
        let mut digest = [byte; 32];
        digest[31] = last;
        digest
    }

    #[test]
    fn what_begins_alike_is_found_by_number() {
        let mut table = Vec::new();
        let new = [(7, 300), (3, 2), (7, 1), (7, 1), (9, 0), (7, 70_000)];
        let old: Vec<Entry> = [(1, 5), (7, 4)]
            .map(|(byte, number)| entry(&digest(byte, 0), number))
            .to_vec();
        let new = new.map(|(byte, number)| entry(&digest(byte, 1), number)).to_vec();
        merge(&mut table, &old, new);
        let found = |byte| {
            find(table.as_chunks().0, &digest(byte, 2))
                .iter()
                .map(number)
                .collect::<Vec<_>>()
        };
        assert_eq!(found(7), [1, 4, 300, 70_000]);
        assert_eq!((found(1), found(3), found(9)), (vec![5], vec![2], vec![0]));
        assert_eq!((found(0), found(8), found(255)), (vec![], vec![], vec![]));
    }

    proptest! {
        #[test]
        fn merging_in_any_steps_gives_the_same_bytes(steps in prop::collection::vec(prop::collection::vec((0..4_u8, 0..50_u32), 0..20), 0..5)) {
            let mut stepwise = Vec::new();
            // A number comes once: in the steps after the first, others.
            let numbered = (0_u32..).zip(&steps).flat_map(|(step, entries)| {
                entries.iter().map(move |(byte, number)| entry(&digest(*byte, 0), number + 100 * step))
            });
            let all: Vec<Entry> = numbered.collect();
            let mut rest = &all[..];
            for step in &steps {
                let (new, after) = rest.split_at(step.len());
                let mut merged = Vec::new();
                merge(&mut merged, stepwise.as_chunks().0, new.to_vec());
                (stepwise, rest) = (merged, after);
            }
            let mut at_once = Vec::new();
            merge(&mut at_once, &[], all);
            prop_assert_eq!(stepwise, at_once);
        }
    }
}
