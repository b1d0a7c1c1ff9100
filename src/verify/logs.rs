//! Every log under `runs/log`, read from its files alone.

use std::collections::{BTreeMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::VerifyError;
use super::evidence::{RUNS, failed, no_folder};
use super::report::{Code, Finding};
use crate::digest::Sha256;
use crate::log::checkpoint::Head;
use crate::log::read::Reading;
use crate::log::{LOGS, LogId, read};
use crate::receipt::key::{KeyId, PublicKey};
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::Trust;
use crate::tree::{EntryType, Site};

/// The most names that the folder of logs may hold.
const MAX_LOGS: usize = 10_000;

/// What lies under `runs/log`.
pub(super) struct Logs {
    readings: BTreeMap<LogId, Reading>,
    /// Whose key signed the checkpoint that counts.
    signers: BTreeMap<LogId, KeyId>,
    logged: HashSet<ReceiptId>,
    /// Whether they lie in a bundle, which leaves out the receipts of runs that it is not about.
    pub(super) of_excerpt: bool,
}

impl Logs {
    /// Reads them all. What is in the place of a log and is none is a finding; what is wrong in a log stands in its reading.
    pub(super) fn gather(site: &dyn Site, trust: Option<&Trust>) -> Result<(Self, Vec<Finding>), VerifyError> {
        let mut findings = Vec::new();
        let mut readings = BTreeMap::new();
        let mut signers = BTreeMap::new();
        for log in list(site, &mut findings)? {
            let place = place(&log);
            let may_sign = trust.into_iter().flat_map(|trust| trust.signers_of(&log));
            let keys: Vec<PublicKey> = may_sign.map(|key| key.key).collect();
            let reading = read(site, &place, &log, &keys).map_err(|source| failed(&place, source))?;
            let signer = reading.head.as_ref().and_then(|(_, place)| keys.get(*place));
            signers.extend(signer.map(|key| (log.clone(), key.keyid())));
            readings.insert(log, reading);
        }
        let entries = readings.values().flat_map(|reading: &Reading| &reading.entries);
        let logged = entries.map(|(_, id)| *id).collect();
        let logs = Self {
            readings,
            signers,
            logged,
            of_excerpt: site.is_excerpt(),
        };
        Ok((logs, findings))
    }

    /// Whose log it is; nobody's whom the caller trusts, if none.
    pub(super) fn signer(&self, log: &LogId) -> Option<KeyId> {
        self.signers.get(log).copied()
    }

    /// The receipts in a log, each with its index.
    pub(super) fn entries(&self, log: &LogId) -> &[(u64, ReceiptId)] {
        self.readings.get(log).map_or(&[], |reading| &reading.entries)
    }

    /// Whether a log with a checkpoint by a trusted key has the receipt.
    pub(super) fn has(&self, id: &ReceiptId) -> bool {
        self.logged.contains(id)
    }

    /// Each log with what its files say.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&LogId, &Reading)> {
        self.readings.iter()
    }

    /// Whether it has checkpoints, none of them by a key that may sign it.
    pub(super) fn is_foreign(&self, log: &LogId) -> bool {
        self.readings
            .get(log)
            .is_some_and(|reading| !reading.foreign.is_empty())
    }

    /// How what is here compares with where a log was.
    pub(super) fn compare(&self, head: &Head) -> Extends {
        let Some(reading) = self.readings.get(&head.log) else {
            return Extends::Gone;
        };
        let Some((checkpoint, _)) = &reading.head else {
            return Extends::Unsigned;
        };
        match reading.root_at(head.size) {
            Some(root) if root == head.root => Extends::Yes,
            Some(root) => Extends::Forked { root },
            None if checkpoint.head.size < head.size => Extends::Shorter {
                size: checkpoint.head.size,
            },
            None => Extends::Damaged,
        }
    }
}

/// Whether the log that is here extends what was seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extends {
    /// It does.
    Yes,
    /// There is no such log.
    Gone,
    /// None of its checkpoints is by a trusted key.
    Unsigned,
    /// It ends before.
    Shorter { size: u64 },
    /// It has other entries.
    Forked { root: Sha256 },
    /// Its files do not give the root that is signed; that is a finding of its own.
    Damaged,
}

/// Where a log lies.
pub(super) fn place(log: &LogId) -> Utf8PathBuf {
    Utf8Path::new(RUNS).join(LOGS).join(log.to_string())
}

/// The names of logs, sorted. Other names are none of ours.
fn list(site: &dyn Site, findings: &mut Vec<Finding>) -> Result<Vec<LogId>, VerifyError> {
    let folder = &Utf8Path::new(RUNS).join(LOGS);
    let mut logs = Vec::new();
    // What is wrong with `runs` itself is said where receipts are listed.
    if no_folder(site, RUNS.into())?.is_some() {
        return Ok(logs);
    }
    if no_folder(site, folder)?.is_some() {
        findings.push(misplaced(folder.to_owned()));
        return Ok(logs);
    }
    let entries = site.entries(folder, 1, MAX_LOGS);
    for entry in entries.map_err(|source| failed(folder, source))? {
        let Some(log) = entry.path.file_name().and_then(LogId::parse) else {
            continue;
        };
        match entry.kind {
            EntryType::Folder => logs.push(log),
            EntryType::File | EntryType::Other => findings.push(misplaced(entry.path)),
        }
    }
    logs.sort();
    Ok(logs)
}

fn misplaced(path: Utf8PathBuf) -> Finding {
    Finding::new(Code::Log, "is in the place of a log, but is no folder").file(path)
}
