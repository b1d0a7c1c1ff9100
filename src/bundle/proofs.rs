//! Proofs that a log has a receipt, for tools that know logs and not madmall (C2SP tlog-proof).

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::PROOFS;
use crate::log::checkpoint::{MAX_CHECKPOINT, SignedCheckpoint};
use crate::log::name::FileName;
use crate::log::proof::{Inclusion, Proof};
use crate::log::{LOGS, LogId, read};
use crate::receipt::key::PublicKey;
use crate::receipt::statement::ReceiptId;
use crate::tree::{Tree as _, TreeError};
use crate::workspace::Workspace;

const SUFFIX: &str = ".tlog-proof";

/// What the proof for a receipt is called in the archive.
pub(super) fn path_of(id: &ReceiptId) -> String {
    format!("{PROOFS}/{}{SUFFIX}", id.to_hex())
}

/// Whether a proof is to have the name `name`, without its folder.
pub(super) fn is_name(name: &str) -> bool {
    receipt_of(name).is_some()
}

fn receipt_of(name: &str) -> Option<ReceiptId> {
    ReceiptId::from_hex(name.strip_suffix(SUFFIX)?).ok()
}

/// The bytes of a proof for each of `ids` that one of `logs` has; of several logs, from the longest. What is wrong with a log is for
/// `verify` to say: from such a one nothing is proven.
pub(super) fn of(
    workspace: &Workspace,
    logs: &[LogId],
    ids: &BTreeSet<ReceiptId>,
    keys: &[PublicKey],
) -> Result<BTreeMap<ReceiptId, Vec<u8>>, TreeError> {
    let mut proofs: BTreeMap<ReceiptId, (u64, Vec<u8>)> = BTreeMap::new();
    for log in logs {
        let reading = read(workspace, &folder_of(log), log, keys)?;
        let (Some((checkpoint, _)), Some(levels)) = (&reading.head, reading.levels()) else {
            continue;
        };
        let size = checkpoint.head.size;
        let bytes = workspace.read(&checkpoint_of(log, size), MAX_CHECKPOINT)?;
        let (Ok(signed), true) = (SignedCheckpoint::parse(&bytes), reading.faults.is_empty()) else {
            continue;
        };
        for (index, id) in reading.entries.iter().filter(|(_, id)| ids.contains(id)) {
            let is_longest = proofs.get(id).is_none_or(|(known, _)| *known < size);
            if let (true, Some(proof)) = (is_longest, Inclusion::of(levels, *index, signed.clone())) {
                proofs.insert(*id, (size, Proof::Inclusion(proof).to_bytes()));
            }
        }
    }
    Ok(proofs.into_iter().map(|(id, (_, bytes))| (id, bytes)).collect())
}

/// The checkpoint that the proof `bytes` rests on: its path in a workspace and its bytes. None if it is no proof of the receipt that
/// `path` names.
pub(super) fn checkpoint_in(path: &Utf8Path, bytes: &[u8]) -> Option<(Utf8PathBuf, Vec<u8>)> {
    let id = receipt_of(path.file_name()?)?;
    match Proof::parse(bytes) {
        Ok(Proof::Inclusion(proof)) if proof.holds_for(&id) => {
            let head = &proof.checkpoint.checkpoint.head;
            Some((checkpoint_of(&head.log, head.size), proof.checkpoint.to_bytes()))
        }
        _ => None,
    }
}

fn folder_of(log: &LogId) -> Utf8PathBuf {
    Utf8Path::new("runs").join(LOGS).join(log.to_string())
}

fn checkpoint_of(log: &LogId, size: u64) -> Utf8PathBuf {
    folder_of(log).join(FileName::Checkpoint { size }.path())
}
