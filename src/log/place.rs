//! Which folder on which file system: so that a copy of a folder is not taken for the folder.

use std::fs::Metadata;

use serde::{Deserialize, Serialize};

/// What a file system says of a folder that a copy of it does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    device: u64,
    inode: u64,
    /// Nanoseconds since 1970, where they are known: an inode's number is given again after the folder was removed.
    born: Option<u64>,
}

impl Place {
    /// That of the folder with this status.
    #[must_use]
    pub(super) fn of(found: &Metadata) -> Self {
        let (device, inode) = numbers(found);
        let born = found.created().ok();
        let born = born.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        Self {
            device,
            inode,
            born: born.and_then(|time| u64::try_from(time.as_nanos()).ok()),
        }
    }
}

#[cfg(unix)]
fn numbers(found: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (found.dev(), found.ino())
}

#[cfg(not(unix))]
fn numbers(_found: &Metadata) -> (u64, u64) {
    (0, 0)
}
