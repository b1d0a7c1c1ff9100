//! What a log, its entries and its files are called.

use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::tree::TILE_WIDTH;
use crate::digest::{Sha256, hex};
use crate::receipt::statement::ReceiptId;

/// What every entry begins with.
const ENTRY_PREFIX: &str = "madmall-receipt/v1 ";
/// How many bytes an entry has.
pub const ENTRY_LENGTH: usize = ENTRY_PREFIX.len() + "sha256:".len() + 64 + 1;
/// How many bytes an entry has in a bundle: two for its length come first.
pub const BUNDLED_LENGTH: usize = ENTRY_LENGTH + 2;

/// The entry of a receipt.
///
/// ```text
/// madmall-receipt/v1 sha256:<64 hex>\n
/// ```
#[must_use]
pub fn entry(id: &ReceiptId) -> Vec<u8> {
    format!("{ENTRY_PREFIX}{id}\n").into_bytes()
}

/// The receipt of an entry; none if the bytes are not spelled as [`entry`] spells them.
#[must_use]
pub fn parse_entry(bytes: &[u8]) -> Option<ReceiptId> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.strip_prefix(ENTRY_PREFIX)?.strip_suffix('\n')?.parse().ok()
}

/// The bytes of an entry bundle: each entry with its length, 16 bits, big-endian.
#[must_use]
pub fn bundle(ids: &[ReceiptId]) -> Vec<u8> {
    let length = u16::try_from(ENTRY_LENGTH).expect("an entry is short").to_be_bytes();
    ids.iter()
        .fold(Vec::with_capacity(ids.len() * BUNDLED_LENGTH), |mut bytes, id| {
            bytes.extend(length);
            bytes.extend(entry(id));
            bytes
        })
}

/// The receipts of an entry bundle; none if it is not spelled as [`bundle`] spells it.
#[must_use]
pub fn parse_bundle(bytes: &[u8]) -> Option<Vec<ReceiptId>> {
    let chunks = bytes.chunks(BUNDLED_LENGTH);
    chunks
        .map(|chunk| {
            let (length, entry) = chunk.split_at_checked(2)?;
            let is_whole = usize::from(u16::from_be_bytes(length.try_into().ok()?)) == entry.len();
            parse_entry(entry).filter(|_| is_whole)
        })
        .collect()
}

/// The bytes of a tile: its hashes, one after the other.
#[must_use]
pub fn tile(hashes: &[Sha256]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The hashes of a tile; none if its length is no multiple of theirs.
#[must_use]
pub fn parse_tile(bytes: &[u8]) -> Option<Vec<Sha256>> {
    let hashes = bytes
        .chunks(32)
        .map(|hash| Some(Sha256::from_bytes(hash.try_into().ok()?)));
    hashes.collect()
}

/// A log's name: 16 random hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId(String);

impl LogId {
    /// The name that these random bytes spell.
    #[must_use]
    pub fn of(random: [u8; 8]) -> Self {
        Self(hex(&random))
    }

    /// Reads 16 lower-case hexadecimal digits; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.to_owned()))
    }

    /// Reads an origin as [`LogId::origin`] spells it; none for anything else.
    #[must_use]
    pub fn of_origin(origin: &str) -> Option<Self> {
        Self::parse(origin.strip_prefix("madmall/")?)
    }

    /// The name by which signatures and other logs know it, `madmall/<log id>`.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("madmall/{self}")
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file of a log's folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// `checkpoint-<size>`.
    Checkpoint {
        /// How many entries it is about.
        size: u64,
    },
    /// `tile/<level>/<index>` or, not full, `tile/<level>/<index>.p/<width>`.
    Tile {
        /// 0 for leaves.
        level: u8,
        /// Which of its level, from 0.
        index: u64,
        /// How many hashes, 1 to 256.
        width: usize,
    },
    /// `tile/entries/<index>` or, not full, `tile/entries/<index>.p/<width>`.
    Entries {
        /// Which, from 0.
        index: u64,
        /// How many entries, 1 to 256.
        width: usize,
    },
}

/// No tree has more tile levels (C2SP tlog-tiles).
const MAX_LEVEL: u8 = 7;

impl FileName {
    /// Relative to the log's folder.
    #[must_use]
    pub fn path(&self) -> Utf8PathBuf {
        match *self {
            Self::Checkpoint { size } => format!("checkpoint-{size}").into(),
            Self::Tile { level, index, width } => numbered(&format!("tile/{level}"), index, width),
            Self::Entries { index, width } => numbered("tile/entries", index, width),
        }
    }

    /// Reads a path relative to the log's folder; none if [`FileName::path`] gives no such path.
    #[must_use]
    pub fn parse(path: &Utf8Path) -> Option<Self> {
        let name = match path.as_str().strip_prefix("checkpoint-") {
            Some(size) => Self::Checkpoint {
                size: size.parse().ok()?,
            },
            None => {
                let (kind, rest) = path.as_str().strip_prefix("tile/")?.split_once('/')?;
                let (index, width) = parse_numbered(rest)?;
                match kind {
                    "entries" => Self::Entries { index, width },
                    level => {
                        let level = level.parse().ok().filter(|level| *level <= MAX_LEVEL)?;
                        Self::Tile { level, index, width }
                    }
                }
            }
        };
        // One spelling: no leading zeros, no plus, no group too many.
        (name.path() == path).then_some(name)
    }
}

/// C2SP tlog-tiles: the index in groups of three digits, all but the last with an `x` before them.
fn numbered(folder: &str, index: u64, width: usize) -> Utf8PathBuf {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    groups.reverse();
    let path = format!("{folder}/{}", groups.join("/"));
    match width {
        TILE_WIDTH => path.into(),
        width => format!("{path}.p/{width}").into(),
    }
}

fn parse_numbered(text: &str) -> Option<(u64, usize)> {
    let (index, width) = match text.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|w| (1..TILE_WIDTH).contains(w))?),
        None => (text, TILE_WIDTH),
    };
    let mut number = 0_u64;
    for group in index.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let digits: u64 = digits.parse().ok().filter(|digits| *digits < 1000)?;
        number = number.checked_mul(1000)?.checked_add(digits)?;
    }
    Some((number, width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        let path = |index, width| FileName::Entries { index, width }.path().into_string();
        assert_eq!(path(1_234_067, 256), "tile/entries/x001/x234/067");
        assert_eq!(path(0, 5), "tile/entries/000.p/5");
        let tile = FileName::Tile {
            level: 1,
            index: 273,
            width: 112,
        };
        assert_eq!(tile.path(), "tile/1/273.p/112");
        assert_eq!(FileName::Checkpoint { size: 7 }.path(), "checkpoint-7");
        for wrong in [
            "checkpoint-07",
            "checkpoint-+7",
            "tile/0/0",
            "tile/0/x000/001",
            "tile/8/000",
            "tile/0/000.p/256",
        ] {
            assert_eq!(FileName::parse(wrong.into()), None, "{wrong}");
        }
    }

    #[test]
    fn an_entry_has_one_spelling() {
        let id = Sha256::of(b"receipt");
        let bytes = entry(&id);
        assert_eq!(bytes.len(), ENTRY_LENGTH);
        assert_eq!(parse_entry(&bytes), Some(id));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            assert_ne!(parse_entry(&changed), Some(id), "{at}");
        }
    }

    proptest! {
        #[test]
        fn names_read_back_and_any_text_is_read_or_refused(level in 0_u8..8, index: u64, width in 1_usize..=256, text: String) {
            for name in [FileName::Tile { level, index, width }, FileName::Entries { index, width }] {
                prop_assert_eq!(FileName::parse(&name.path()), Some(name));
            }
            let _ = FileName::parse(text.as_str().into());
            let _ = FileName::parse(format!("tile/0/{text}").as_str().into());
        }

        #[test]
        fn the_paths_are_those_of_a_second_implementation(level in 0_u8..8, index in 0_u64..10_000_000, width in 1_u32..=256) {
            let theirs = tlog_tiles::Tile::new(8, level, index, width, false).path();
            let name = FileName::Tile { level, index, width: width as usize };
            // Theirs is Go's form, with the height.
            prop_assert_eq!(theirs.replacen("tile/8/", "tile/", 1), name.path().into_string());
        }

        #[test]
        fn a_bundle_reads_back_and_no_other_bytes_do(ids: Vec<[u8; 32]>, bytes: Vec<u8>) {
            let ids: Vec<Sha256> = ids.into_iter().map(Sha256::from_bytes).collect();
            prop_assert_eq!(parse_bundle(&bundle(&ids)), Some(ids));
            if let Some(ids) = parse_bundle(&bytes) {
                prop_assert_eq!(bundle(&ids), bytes);
            }
        }
    }
}
