//! What is still believed of keys that have ended: the receipts that were in the logs which the end names.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::OnceLock;

use camino::{Utf8Path, Utf8PathBuf};

use crate::canonical::CanonicalHasher;
use crate::digest::Digest;
use crate::log::checkpoint::Head;
use crate::log::{LOGS, LogId, read};
use crate::receipt::key::KeyId;
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::{Trust, TrustedKey};
use crate::workspace::Workspace;

/// The keys that have ended. Their logs are read when the first of their receipts is met, once.
pub(super) struct Ended<'a> {
    workspace: &'a Workspace,
    trust: &'a Trust,
    logged: HashMap<KeyId, OnceLock<HashSet<ReceiptId>>>,
}

impl<'a> Ended<'a> {
    pub(super) fn of(workspace: &'a Workspace, trust: &'a Trust) -> Self {
        let ended = trust.keys.iter().filter(|key| key.end().is_some());
        Self {
            workspace,
            trust,
            logged: ended.map(|key| (key.keyid, OnceLock::new())).collect(),
        }
    }

    /// All that decides which receipts are believed, besides themselves: the policy, and which checkpoints are here of the logs
    /// that ends name (with another branch they may come, and go).
    pub(super) fn context(&self) -> Digest {
        let ends = self.trust.keys.iter().filter_map(TrustedKey::end);
        let logs: BTreeSet<&LogId> = ends.flat_map(|end| &end.logs).map(|head| &head.log).collect();
        let mut hasher = CanonicalHasher::new("madmall believed under v1");
        hasher.digest(self.trust.digest());
        hasher.list(&logs, |h, log| {
            let folder = self.workspace.absolute(&folder_of(log)).read_dir_utf8();
            let names = folder
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.file_name().to_owned());
            let names: BTreeSet<String> = names.filter(|name| name.starts_with("checkpoint-")).collect();
            h.list(&names, |h, name| {
                h.str(name);
            });
        });
        hasher.finish()
    }

    /// Whether a receipt by `key`, which has ended, was in one of its logs then.
    pub(super) fn was_logged(&self, key: &TrustedKey, receipt: ReceiptId) -> bool {
        // On one thread alone: one of a pool that waited for others in here could be given work that waits for this.
        let read = || {
            let heads = key.end().into_iter().flat_map(|end| &end.logs);
            heads.flat_map(|head| self.entries(key, head)).collect()
        };
        let logged = self.logged.get(&key.keyid);
        logged.is_some_and(|logged| logged.get_or_init(read).contains(&receipt))
    }

    /// The entries of a log before the place that an end names; none if the log is not here as it was then.
    fn entries(&self, key: &TrustedKey, head: &Head) -> Vec<ReceiptId> {
        let is_listed = self.trust.logs.as_ref().is_none_or(|logs| {
            let is_it = |known: &crate::receipt::trust::TrustedLog| known.log == head.log && known.keyid == key.keyid;
            logs.iter().any(is_it)
        });
        if !is_listed {
            return Vec::new();
        }
        // What cannot be read is not believed; `verify` says why.
        match read(self.workspace, &folder_of(&head.log), &head.log, &[key.key]) {
            Ok(reading) if reading.root_at(head.size) == Some(head.root) => {
                let before = reading.entries.into_iter().filter(|(index, _)| *index < head.size);
                before.map(|(_, id)| id).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn folder_of(log: &LogId) -> Utf8PathBuf {
    Utf8Path::new("runs").join(LOGS).join(log.to_string())
}
