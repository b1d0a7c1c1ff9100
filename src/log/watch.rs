//! Whether the folder of runs is as this clone left it, so that an append need not look at every run again.
//!
//! A name that is made, renamed or removed in a folder changes the folder's times. What stands in `docs/decisions/0010` says
//! what this can miss, and what happens then.

use std::fs::File;
use std::time::{Duration, SystemTime};

use camino::Utf8Path;

use super::working::LoggedRun;
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;

/// So much a folder's time is put back, and so much at least differs the time of any change that comes after, however coarse
/// the clock of the file system is.
const PUT_BACK: Duration = Duration::from_secs(10);

/// One run's file on its way into the folder of runs.
#[derive(Debug)]
pub struct Publication {
    before: Option<Stamp>,
}

impl Publication {
    /// Notes what the folder is before the file is in it.
    #[must_use]
    pub fn begin(runs: &Utf8Path) -> Self {
        let before = Stamp::of_folder(runs).ok();
        Self { before }
    }

    /// Notes what the folder is when the file, and nothing else, was put in it; and the receipts in it, all of which the key of the
    /// log has signed just now.
    #[must_use]
    pub fn end(self, runs: &Utf8Path, file: impl Into<String>, ids: Vec<ReceiptId>) -> Published {
        Published {
            file: file.into(),
            ids,
            before: self.before,
            after: Stamp::of_folder(runs).ok(),
        }
    }
}

/// One run's file that was published.
#[derive(Debug)]
pub struct Published {
    /// Its name.
    pub(super) file: String,
    /// Its receipts, in order.
    pub(super) ids: Vec<ReceiptId>,
    /// The folder before.
    pub(super) before: Option<Stamp>,
    /// The folder after.
    pub(super) after: Option<Stamp>,
}

impl Published {
    /// As a log has it.
    pub(super) fn to_logged(&self) -> LoggedRun {
        let (file, ids) = (self.file.clone(), self.ids.clone());
        LoggedRun { file, ids }
    }
}

/// Marks the folder so that whatever changes in it from now on can be told, also a change in this tick of the clock. Gives what
/// it is then; none if it cannot be marked, or is no longer what it was when it was looked at.
pub(super) fn mark(runs: &Utf8Path, looked_at: &Stamp) -> Option<Stamp> {
    let folder = File::open(runs).ok()?;
    if Stamp::of_folder(runs).ok()? != *looked_at {
        return None;
    }
    folder.set_modified(SystemTime::now().checked_sub(PUT_BACK)?).ok()?;
    Stamp::of_folder(runs).ok()
}
