//! The logs here that a key signed, and where they are: what an end of that key names.

use camino::Utf8Path;

use super::checkpoint::Head;
use super::name::LogId;
use super::{LOGS, read};
use crate::receipt::key::PublicKey;
use crate::tree::{EntryType, Site, TreeError};

/// The most names that the folder of logs may hold.
const MAX_LOGS: usize = 10_000;

/// The head of each log in the folder `runs` of `site` by its largest checkpoint that `key` signed, sorted by the log's name;
/// none in the place of one whose files are not all that the checkpoint says. Logs without a checkpoint by `key` are left out.
///
/// # Errors
///
/// [`TreeError`] if something cannot be read.
pub fn signed_by(site: &dyn Site, runs: &Utf8Path, key: &PublicKey) -> Result<Vec<(LogId, Option<Head>)>, TreeError> {
    let folder = runs.join(LOGS);
    let entries = site.entries(&folder, 1, MAX_LOGS)?;
    let folders = entries.iter().filter(|entry| entry.kind == EntryType::Folder);
    let mut logs: Vec<LogId> = folders
        .filter_map(|entry| LogId::parse(entry.path.file_name()?))
        .collect();
    logs.sort();
    let mut heads = Vec::new();
    for log in logs {
        let reading = read(site, &folder.join(log.to_string()), &log, &[*key])?;
        if let Some((checkpoint, _)) = &reading.head {
            let head = &checkpoint.head;
            let is_whole = reading.faults.is_empty() && reading.root_at(head.size) == Some(head.root);
            heads.push((log, (is_whole && head.size > 0).then(|| head.clone())));
        }
    }
    Ok(heads)
}
