//! The append-only history of receipts: a Merkle tree (RFC 6962) in tiles (C2SP tlog-tiles), with signed checkpoints.
//!
//! ```text
//! runs/log/<log id>/          committed; no file in it changes once it is written
//!   checkpoint-<size>         the size and the root, signed (C2SP checkpoint in a C2SP signed note)
//!   tile/<L>/<NNN>[.p/<W>]    hashes of level L
//!   tile/entries/<NNN>[.p/<W>]
//! .madmall/log/               the copy that is appended to; see `working.rs`
//! ```
//!
//! A log belongs to one clone, not to a branch. [`catch_up`] appends what is missing, at the end of a run; [`read()`] checks a log
//! from its files alone. The formats are explained in `docs/formats/log.md`.

use camino::Utf8PathBuf;

use crate::store::StoreError;

mod append;
pub mod checkpoint;
pub mod compare;
mod edge;
mod files;
mod heads;
pub mod name;
mod place;
pub mod proof;
pub mod read;
mod signed_by;
pub mod tree;
mod watch;
mod working;

pub use append::{Appended, Begun, News, catch_up};
pub use heads::heads;
pub use name::LogId;
pub use read::read;
pub use signed_by::signed_by;
pub use watch::{Publication, Published};

/// The folder of logs, in the folder of runs.
pub const LOGS: &str = "log";

/// Why the log could not be appended to. Exit code 7.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Something could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No name for a new log.
    #[error("cannot get random bytes for a new log: {0}")]
    Random(getrandom::Error),
    /// A file that never changes has other bytes than it was written with.
    #[error("`{path}` is not as it was written")]
    Changed {
        /// The file.
        path: Utf8PathBuf,
    },
}

#[cfg(test)]
mod tests;
