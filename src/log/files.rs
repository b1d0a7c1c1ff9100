//! The files of a log, as an append writes them.

use std::cell::Cell;

use camino::{Utf8Path, Utf8PathBuf};

use super::LogError;
use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::edge::Edge;
use super::name::FileName;
use super::tree::{TILE_HEIGHT, TILE_WIDTH};
use crate::receipt::key::SigningKey;
use crate::store::durable::Unsynced;
use crate::store::{StoreError, atomic, read_file};

/// No file of a log is longer: of the working copy, the names of run files are the longest, at most some 250 bytes for each.
const MAX_FILE: u64 = 1 << 30;

/// What an append does with files, and how often.
#[derive(Default)]
pub(super) struct Files {
    unsynced: Unsynced,
    touched: Cell<u64>,
}

impl Files {
    /// Notes that a file was read, written or looked for, or that its name was met in a list.
    pub(super) fn touch(&self) {
        self.touched.set(self.touched.get() + 1);
    }

    /// How often [`Files::touch`] was called.
    pub(super) fn touched(&self) -> u64 {
        self.touched.get()
    }

    pub(super) fn is_there(&self, path: &Utf8Path) -> bool {
        self.touch();
        path.symlink_metadata().is_ok()
    }

    pub(super) fn read(&self, path: &Utf8Path) -> Result<Vec<u8>, LogError> {
        self.touch();
        let bytes = read_file(path, MAX_FILE).map_err(|source| StoreError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(bytes)
    }

    /// Writes a file that never changes: one that is there already must have the same bytes. Durable after [`Files::commit`].
    pub(super) fn write_once(&self, path: &Utf8Path, bytes: &[u8]) -> Result<(), LogError> {
        self.touch();
        match path.symlink_metadata() {
            Ok(found) if !found.is_file() || self.read(path)? != bytes => {
                Err(LogError::Changed { path: path.to_owned() })
            }
            // Whoever wrote it may have died before it was durable.
            Ok(_) => {
                self.unsynced.add(path.to_owned());
                Ok(())
            }
            Err(_) => {
                let folders = path.ancestors().skip(1).take_while(|folder| !folder.exists());
                let new: Vec<Utf8PathBuf> = folders.map(Utf8Path::to_owned).collect();
                atomic::write_unsynced(path, bytes, &self.unsynced)?;
                // A folder's name, too, may be lost after a crash although what is in it is safe.
                new.into_iter().for_each(|folder| self.unsynced.add(folder));
                Ok(())
            }
        }
    }

    /// Puts every full tile in place that this working tree does not have, of those that a log which grows from `since`
    /// entries to those of `edge` makes full.
    pub(super) fn restore(&self, kept: &Utf8Path, edge: &Edge, folder: &Utf8Path, since: u64) -> Result<(), LogError> {
        let mut level = 0;
        let mut first = since >> TILE_HEIGHT;
        let mut full = edge.size() >> TILE_HEIGHT;
        while full > 0 {
            for index in first..full {
                let width = TILE_WIDTH;
                let tile = FileName::Tile { level, index, width };
                let entries = (level == 0).then_some(FileName::Entries { index, width });
                for name in [tile].into_iter().chain(entries) {
                    let to = folder.join(name.path());
                    if !self.is_there(&to) {
                        self.write_once(&to, &self.read(&kept.join(name.path()))?)?;
                    }
                }
            }
            level += 1;
            first >>= TILE_HEIGHT;
            full >>= TILE_HEIGHT;
        }
        Ok(())
    }

    /// Makes what was written so far durable.
    pub(super) fn commit(&self) -> Result<(), LogError> {
        Ok(self.unsynced.commit()?)
    }

    /// Writes a checkpoint, durably. One that is there already is of an append that was cut short after it, and has the same
    /// root and signer.
    pub(super) fn publish(&self, path: &Utf8Path, checkpoint: Checkpoint, key: &SigningKey) -> Result<(), LogError> {
        if !self.is_there(path) {
            return Ok(atomic::write(path, &checkpoint.sign(key).to_bytes())?);
        }
        let published = SignedCheckpoint::parse(&self.read(path)?);
        let is_same = |published: SignedCheckpoint| {
            published.checkpoint.head == checkpoint.head
                && published.signed_by(&key.public()) == super::checkpoint::Signed::Yes
        };
        match published.is_ok_and(is_same) {
            true => Ok(()),
            false => Err(LogError::Changed { path: path.to_owned() }),
        }
    }
}
