//! Where the logs that can be seen are: what receipts name, so that each log is tied to all the others.

use camino::Utf8Path;

use super::checkpoint::{Head, MAX_CHECKPOINT, SignedCheckpoint};
use super::name::{FileName, LogId};
use super::working::{Found, Working};
use super::{LOGS, LogError};
use crate::receipt::statement::{LogHead, MAX_LOG_HEADS};
use crate::store::{Store, StoreError};

/// So many of the largest checkpoints of a log are tried, if the largest is none.
const TRIED: usize = 8;

/// The head of this clone's own log, from its working copy, and of each other log its largest checkpoint in the folder `runs`.
/// Whether those are true is for `verify` to say. Of more than [`MAX_LOG_HEADS`] logs the own and those that come after it by
/// name, as in a circle, so that each is named by others.
///
/// # Errors
///
/// [`LogError`] if something cannot be read.
pub fn heads(store: &Store, runs: &Utf8Path) -> Result<Vec<LogHead>, LogError> {
    let own = match Working::open(&store.log_folder())? {
        Found::Here(working) => Some(working.state.head()),
        Found::Unusable(..) | Found::Nothing => None,
    };
    let mut logs = list(&runs.join(LOGS))?;
    logs.retain(|log| own.as_ref().is_none_or(|own| own.log != *log));
    if let Some(own) = &own {
        let after = logs.partition_point(|log| *log < own.log);
        logs.rotate_left(after);
    }
    logs.truncate(MAX_LOG_HEADS - 1);
    let mut heads: Vec<LogHead> = own.iter().filter(|own| own.size > 0).map(Head::to_named).collect();
    for log in logs {
        let folder = runs.join(LOGS).join(log.to_string());
        heads.extend(largest(&folder, &log)?.as_ref().map(Head::to_named));
    }
    heads.sort();
    Ok(heads)
}

/// The names of the folders of logs, sorted.
fn list(folder: &Utf8Path) -> Result<Vec<LogId>, LogError> {
    let mut logs = Vec::new();
    for (name, is_folder) in names(folder)? {
        logs.extend(LogId::parse(&name).filter(|_| is_folder));
    }
    logs.sort();
    Ok(logs)
}

/// What the largest checkpoint in a log's folder says.
fn largest(folder: &Utf8Path, log: &LogId) -> Result<Option<Head>, LogError> {
    let mut sizes = Vec::new();
    for (name, _) in names(folder)? {
        if let Some(FileName::Checkpoint { size }) = FileName::parse(Utf8Path::new(&name)) {
            sizes.push(size);
        }
    }
    sizes.sort_unstable();
    let heads = sizes.into_iter().rev().take(TRIED).map(|size| {
        let path = folder.join(FileName::Checkpoint { size }.path());
        let found = path.symlink_metadata().ok()?;
        if !found.is_file() || found.len() > MAX_CHECKPOINT {
            return None;
        }
        let head = SignedCheckpoint::parse(&std::fs::read(&path).ok()?)
            .ok()?
            .checkpoint
            .head;
        (head.log == *log && head.size == size && size > 0).then_some(head)
    });
    Ok(heads.flatten().next())
}

/// The names in a folder, and whether each is that of a folder; none if there is no such folder.
fn names(folder: &Utf8Path) -> Result<Vec<(String, bool)>, LogError> {
    let failed = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match folder.read_dir_utf8() {
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is not UTF-8 is none of ours.
        let Ok(entry) = entry else { continue };
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        names.push((entry.file_name().to_owned(), is_folder));
    }
    Ok(names)
}
