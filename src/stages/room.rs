//! How much is held in memory of what grows with the number of lines, and where the rest goes.

use std::fs::File;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::stages::StageError;

/// So many bytes of each kind are held.
const HELD: usize = 64 << 20;

/// Memory, and a folder for what does not fit.
#[derive(Clone, Debug)]
pub struct Room {
    folder: Utf8PathBuf,
    /// So many bytes of each kind may be held.
    pub(crate) held: usize,
}

impl Room {
    /// What does not fit goes to files in `folder`. They have no names, so that nothing is left of them however the process ends.
    #[must_use]
    pub fn in_folder(folder: &Utf8Path) -> Self {
        Self::with(folder, HELD)
    }

    /// The same, with room for `held` bytes of each kind in memory.
    #[must_use]
    pub fn with(folder: &Utf8Path, held: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            held,
        }
    }

    /// The same with one of so many parts of the memory.
    pub(crate) fn part(&self, parts: usize) -> Self {
        Self::with(&self.folder, self.held / parts)
    }

    /// A new file for what does not fit.
    pub(crate) fn file(&self) -> Result<File, StageError> {
        tempfile::tempfile_in(&self.folder).map_err(|source| self.failed("write", source))
    }

    /// What does not fit could not be written, or read again.
    pub(crate) fn failed(&self, verb: &'static str, source: io::Error) -> StageError {
        StageError::Io {
            verb,
            path: self.folder.clone(),
            source,
        }
    }
}
