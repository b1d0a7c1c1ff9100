//! A log, checked from its files alone.
//!
//! What counts is the largest checkpoint that a trusted key signed. From the entries (or, if they were changed, from the
//! hashes of level 0) the whole tree is made again; if its root is the one that was signed, every other file has to be what
//! that tree gives. So whichever file was changed is the one that is named.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::checkpoint::{Absent, Checkpoint, MAX_CHECKPOINT, Signed, SignedCheckpoint};
use super::name::{BUNDLED_LENGTH, FileName, LogId, entry, parse_bundle, parse_tile, tile};
use super::tree::{Levels, TILE_HEIGHT, TILE_WIDTH, leaf_hash};
use crate::digest::Sha256;
use crate::receipt::key::PublicKey;
use crate::receipt::statement::ReceiptId;
use crate::tree::{EntryType, Site, TreeError};

/// The longest log that is read.
pub const MAX_ENTRIES: u64 = 1 << 22;
/// The most files and folders that a log's folder may have.
const MAX_FILES: usize = 1 << 22;
/// No name of a log's file has more parts.
const MAX_DEPTH: usize = 12;

/// Something wrong with a file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Relative to the log's folder.
    pub file: Utf8PathBuf,
    /// What is wrong, after the file's name.
    pub message: String,
}

/// What a log's files say.
#[derive(Debug)]
pub struct Reading {
    /// The largest checkpoint that a trusted key signed, and the place of that key among the trusted ones.
    pub head: Option<(Checkpoint, usize)>,
    /// The receipts that it is about, each with its index, as far as their entries are whole.
    pub entries: Vec<(u64, ReceiptId)>,
    /// The files of checkpoints, if all of them are by keys that are not trusted.
    pub foreign: Vec<Utf8PathBuf>,
    /// Everything that is wrong.
    pub faults: Vec<Fault>,
    levels: Option<Levels>,
}

impl Reading {
    /// The root of the log when it had `size` entries; none if it has fewer, or its files do not give the root that the head
    /// has signed.
    #[must_use]
    pub fn root_at(&self, size: u64) -> Option<Sha256> {
        self.levels.as_ref()?.root_at(usize::try_from(size).ok()?)
    }

    /// The hashes that the head's root was made of; none if its files do not give that root.
    #[must_use]
    pub fn levels(&self) -> Option<&Levels> {
        self.levels.as_ref()
    }
}

/// Reads the log `id` in `folder` of `site`. Nothing is written, and no link is followed.
///
/// # Errors
///
/// [`TreeError`] if the folder cannot be listed, or a file in it not be read.
pub fn read(site: &dyn Site, folder: &Utf8Path, id: &LogId, trusted: &[PublicKey]) -> Result<Reading, TreeError> {
    read_by(site, folder, id, &Signers::Trusted(trusted))
}

/// The same without a look at any signature: what the files say together, whoever wrote them. [`Reading::head`] names no key.
pub(super) fn read_unsigned(site: &dyn Site, folder: &Utf8Path, id: &LogId) -> Result<Reading, TreeError> {
    read_by(site, folder, id, &Signers::Anybody)
}

/// The most names that the folder of logs may hold.
const MAX_LOGS: usize = 10_000;

/// The logs whose folders lie in `folder`, sorted.
///
/// # Errors
///
/// [`TreeError`] if it cannot be listed.
pub fn list(site: &dyn Site, folder: &Utf8Path) -> Result<Vec<LogId>, TreeError> {
    let entries = site.entries(folder, 1, MAX_LOGS)?.into_iter();
    let folders = entries.filter(|entry| entry.kind == EntryType::Folder);
    let mut logs: Vec<LogId> = folders
        .filter_map(|entry| LogId::parse(entry.path.file_name()?))
        .collect();
    logs.sort();
    Ok(logs)
}

/// Whose checkpoints count.
enum Signers<'a> {
    Trusted(&'a [PublicKey]),
    Anybody,
}

fn read_by(site: &dyn Site, folder: &Utf8Path, id: &LogId, signers: &Signers<'_>) -> Result<Reading, TreeError> {
    let mut reader = Reader {
        site,
        folder,
        files: BTreeSet::new(),
        faults: Vec::new(),
    };
    reader.list()?;
    let checkpoints = reader.checkpoints(id, signers)?;
    let (checkpoints, foreign) = reader.of_one_key(checkpoints);
    let mut reading = Reading {
        head: None,
        entries: Vec::new(),
        foreign,
        faults: Vec::new(),
        levels: None,
    };
    let largest = checkpoints
        .iter()
        .rev()
        .find_map(|(_, (checkpoint, signer))| Some((checkpoint, (*signer)?)));
    if let Some((largest, signer)) = largest {
        if let Some((levels, entries)) = reader.tree(largest)? {
            reader.compare_checkpoints(&checkpoints, &levels);
            reader.compare_tiles(&levels)?;
            reading.entries = entries;
            reading.levels = Some(levels);
        }
        reading.head = Some((largest.clone(), signer));
    }
    reading.faults = reader.faults;
    Ok(reading)
}

/// By size: a checkpoint and which trusted key signed it.
type Checkpoints = BTreeMap<u64, (Checkpoint, Option<usize>)>;

/// A tree, and the receipts in it with their indexes, as far as they are whole.
type Tree = (Levels, Vec<(u64, ReceiptId)>);

struct Reader<'a> {
    site: &'a dyn Site,
    folder: &'a Utf8Path,
    files: BTreeSet<FileName>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, file: impl Into<Utf8PathBuf>, message: impl Into<String>) {
        self.faults.push(Fault {
            file: file.into(),
            message: message.into(),
        });
    }

    fn list(&mut self) -> Result<(), TreeError> {
        for entry in self.site.entries(self.folder, MAX_DEPTH, MAX_FILES)? {
            let path = entry.path.strip_prefix(self.folder).unwrap_or(&entry.path);
            // A name with a dot before it is what a crashed writer or a file manager left.
            if path.components().any(|name| name.as_str().starts_with('.')) || entry.kind == EntryType::Folder {
                continue;
            }
            if !entry.is_utf8 {
                self.fault(path, "has a name that is not UTF-8");
                continue;
            }
            match (entry.kind, FileName::parse(path)) {
                (EntryType::File, Some(name)) => {
                    self.files.insert(name);
                }
                (EntryType::File, None) => self.fault(path, "is no file of a log"),
                _ => self.fault(path, "is no regular file"),
            }
        }
        Ok(())
    }

    /// At most `limit` bytes; more are a fault.
    fn bytes(&mut self, name: FileName, limit: u64) -> Result<Option<Vec<u8>>, TreeError> {
        match self.site.read(&self.folder.join(name.path()), limit) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(TreeError::TooLarge { .. }) => {
                self.fault(name.path(), format!("is longer than {limit} bytes"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn checkpoints(&mut self, id: &LogId, signers: &Signers<'_>) -> Result<Checkpoints, TreeError> {
        let mut checkpoints = Checkpoints::new();
        for name in self.files.clone() {
            let FileName::Checkpoint { size } = name else { continue };
            let Some(bytes) = self.bytes(name, MAX_CHECKPOINT)? else {
                continue;
            };
            let signed = match SignedCheckpoint::parse(&bytes) {
                Ok(signed) => signed,
                Err(error) => {
                    self.fault(name.path(), error.to_string());
                    continue;
                }
            };
            let head = &signed.checkpoint.head;
            if head.size != size || head.log != *id {
                let message = format!("is the checkpoint of size {} of the log {}", head.size, head.log);
                self.fault(name.path(), message);
                continue;
            }
            let signer = match signers {
                Signers::Trusted(trusted) => signer(&signed, trusted),
                Signers::Anybody => Ok(Some(0)),
            };
            match signer {
                Ok(signer) => {
                    checkpoints.insert(size, (signed.checkpoint, signer));
                }
                Err(message) => self.fault(name.path(), message),
            }
        }
        Ok(checkpoints)
    }

    /// A log has one key, that of its first checkpoint which a trusted key signed; a checkpoint by any other is a fault. Gives
    /// those by that key and, if there is none by a trusted key, the files of all.
    fn of_one_key(&mut self, checkpoints: Checkpoints) -> (Checkpoints, Vec<Utf8PathBuf>) {
        let file = |size: u64| FileName::Checkpoint { size }.path();
        let Some(key) = checkpoints.values().find_map(|(_, signer)| *signer) else {
            return (Checkpoints::new(), checkpoints.into_keys().map(file).collect());
        };
        let (own, others): (Checkpoints, Checkpoints) = checkpoints
            .into_iter()
            .partition(|(_, (_, signer))| *signer == Some(key));
        for size in others.into_keys() {
            let message = "is signed by another key than the log's first checkpoint: a log has one key";
            self.fault(file(size), message);
        }
        (own, Vec::new())
    }

    /// The tree that `largest` is about, if it can be made again; and the receipts in it, as far as they are whole.
    fn tree(&mut self, largest: &Checkpoint) -> Result<Option<Tree>, TreeError> {
        let head = &largest.head;
        if head.size > MAX_ENTRIES {
            let message = format!("is about more than {MAX_ENTRIES} entries, which this version does not read");
            self.fault(FileName::Checkpoint { size: head.size }.path(), message);
            return Ok(None);
        }
        let size = usize::try_from(head.size).expect("below the limit");
        let mut ids: Vec<Option<ReceiptId>> = Vec::new();
        let mut hashes: Vec<Option<Sha256>> = Vec::new();
        for start in (0..size).step_by(TILE_WIDTH) {
            let index = (start / TILE_WIDTH) as u64;
            let width = TILE_WIDTH.min(size - start);
            let wanted = FileName::Entries { index, width };
            let bundle = match self.widest(wanted) {
                Some(name) => self.read_whole(name)?.and_then(|bytes| parse_bundle(&bytes)),
                None => None,
            };
            let wanted = FileName::Tile { level: 0, index, width };
            let tile = match self.widest(wanted) {
                Some(name) => self.read_whole(name)?.and_then(|bytes| parse_tile(&bytes)),
                None => None,
            };
            if bundle.is_none() && tile.is_none() && !self.is_listed(index) {
                // Nothing from here on can be told, whatever the size says.
                self.fault(FileName::Entries { index, width }.path(), "is missing");
                return Ok(None);
            }
            for place in 0..width {
                ids.push(bundle.as_ref().and_then(|ids| ids.get(place).copied()));
                hashes.push(tile.as_ref().and_then(|hashes| hashes.get(place).copied()));
            }
        }
        let leaves: Vec<Option<Sha256>> = ids.iter().map(|id| id.map(|id| leaf_hash(&entry(&id)))).collect();
        let fitting = [leaves.clone(), hashes].into_iter().find_map(|leaves| {
            let levels = Levels::of(leaves.into_iter().collect::<Option<Vec<_>>>()?);
            (levels.root_at(size) == Some(head.root)).then_some(levels)
        });
        let Some(levels) = fitting else {
            let message = "has a root that neither the entries nor the hashes of level 0 give: one of them was changed";
            self.fault(FileName::Checkpoint { size: head.size }.path(), message);
            self.require(size);
            return Ok(None);
        };
        self.require(size);
        let whole = |(index, id): (usize, &Option<ReceiptId>)| {
            let hash = levels.tile(0, index / TILE_WIDTH).get(index % TILE_WIDTH)?;
            (leaves[index] == Some(*hash)).then_some((index as u64, (*id)?))
        };
        let entries = ids.iter().enumerate().filter_map(whole).collect();
        Ok(Some((levels, entries)))
    }

    /// Whether any file has entries or leaves of tile `index`.
    fn is_listed(&self, index: u64) -> bool {
        let entries = FileName::Entries { index, width: 1 }..=FileName::Entries {
            index,
            width: TILE_WIDTH,
        };
        let level = 0;
        let leaves = FileName::Tile { level, index, width: 1 }..=FileName::Tile {
            level,
            index,
            width: TILE_WIDTH,
        };
        self.files.range(entries).next().is_some() || self.files.range(leaves).next().is_some()
    }

    /// The widest file of this tile or bundle that has at least the width asked for.
    fn widest(&self, wanted: FileName) -> Option<FileName> {
        self.files
            .range(wanted..=with_width(wanted, TILE_WIDTH))
            .next_back()
            .copied()
    }

    /// The file's bytes, if it has the length that its name says; that it has not is found when it is compared.
    fn read_whole(&self, name: FileName) -> Result<Option<Vec<u8>>, TreeError> {
        let length = length_of(name);
        match self.site.read(&self.folder.join(name.path()), length as u64) {
            Ok(bytes) => Ok((bytes.len() == length).then_some(bytes)),
            Err(TreeError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every tile and bundle of a log of that size has to be here, as narrow as it was or wider.
    fn require(&mut self, size: usize) {
        let mut level = 0;
        let mut whole = size;
        let mut missing = Vec::new();
        while whole > 0 {
            for start in (0..whole).step_by(TILE_WIDTH) {
                let index = (start / TILE_WIDTH) as u64;
                let width = TILE_WIDTH.min(whole - start);
                missing.push(FileName::Tile { level, index, width });
                if level == 0 {
                    missing.push(FileName::Entries { index, width });
                }
            }
            level += 1;
            whole >>= TILE_HEIGHT;
        }
        missing.retain(|name| self.widest(*name).is_none());
        for name in missing {
            self.fault(name.path(), "is missing");
        }
    }

    fn compare_checkpoints(&mut self, checkpoints: &Checkpoints, levels: &Levels) {
        for (size, (checkpoint, _)) in checkpoints {
            let root = usize::try_from(*size).ok().and_then(|size| levels.root_at(size));
            if root.is_some_and(|root| root != checkpoint.head.root) {
                let message = "has a root that the log does not have at that size: the history was forked";
                self.fault(FileName::Checkpoint { size: *size }.path(), message);
            }
        }
    }

    /// Every tile and bundle has to be what the tree gives. What lies beyond the tree (an append that was cut short) is
    /// only measured.
    fn compare_tiles(&mut self, levels: &Levels) -> Result<(), TreeError> {
        for name in self.files.clone() {
            let (level, index) = match name {
                FileName::Checkpoint { .. } => continue,
                FileName::Tile { level, index, .. } => (level, index),
                FileName::Entries { index, .. } => (0, index),
            };
            let Some(bytes) = self.read_whole(name)? else {
                self.fault(
                    name.path(),
                    format!("has not the length of {} bytes that its name says", length_of(name)),
                );
                continue;
            };
            let known = usize::try_from(index).map_or(&[][..], |index| levels.tile(usize::from(level), index));
            let is_as_known = match name {
                FileName::Entries { .. } => bytes
                    .chunks(BUNDLED_LENGTH)
                    .zip(known)
                    .all(|(chunk, hash)| parse_bundle(chunk).is_some() && leaf_hash(&chunk[2..]) == *hash),
                _ => {
                    let known = tile(known);
                    let both = known.len().min(bytes.len());
                    known[..both] == bytes[..both]
                }
            };
            if !is_as_known {
                self.fault(name.path(), "is not what the signed root gives: it was changed");
            }
        }
        Ok(())
    }
}

fn with_width(name: FileName, width: usize) -> FileName {
    match name {
        FileName::Tile { level, index, .. } => FileName::Tile { level, index, width },
        FileName::Entries { index, .. } => FileName::Entries { index, width },
        FileName::Checkpoint { .. } => name,
    }
}

/// How many bytes a tile or bundle of that name has.
fn length_of(name: FileName) -> usize {
    match name {
        FileName::Tile { width, .. } => width * 32,
        FileName::Entries { width, .. } => width * BUNDLED_LENGTH,
        FileName::Checkpoint { .. } => 0,
    }
}

/// Which trusted key signed a checkpoint; none if it is by somebody else; an error if it only says that one did, or one did
/// and it does not say so.
fn signer(signed: &SignedCheckpoint, trusted: &[PublicKey]) -> Result<Option<usize>, &'static str> {
    let mut wrong = None;
    for (place, key) in trusted.iter().enumerate() {
        match signed.signed_by(key) {
            Signed::Yes => return Ok(Some(place)),
            Signed::Wrongly => wrong = Some("names a trusted key, but the signature does not fit: it was changed"),
            Signed::InAnothersName => wrong = Some("is signed by a trusted key, but names another: it was changed"),
            Signed::No => {}
        }
    }
    wrong.map_or(Ok(None), Err)
}

/// Whether entry `index` was said to be absent.
#[must_use]
pub fn was_absent(absent: &[Absent], index: u64) -> bool {
    absent.iter().any(|absent| absent.has(index))
}
