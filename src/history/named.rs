//! Receipts by their ids, in whichever file under `runs/` they lie: that of a stage that had not to run is in the file of the run that made it.

use std::collections::HashSet;

use super::runs;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::ReceiptId;
use crate::store::run_files::read_each;
use crate::workspace::Workspace;

/// Gives each of the receipts `wanted` to `take`, once, from the files of `runs`, which are read in that order and no further than needed.
/// Gives those that are in none. Files that cannot be read are passed over: `verify` says what is wrong with them.
pub fn find_each(
    workspace: &Workspace,
    runs: Vec<String>,
    wanted: &HashSet<ReceiptId>,
    mut take: impl FnMut(Receipt),
) -> HashSet<ReceiptId> {
    let mut missing = wanted.clone();
    let mut files = read_each(runs, |id| {
        runs::read_wanted(workspace, id, |id| wanted.contains(id)).unwrap_or_default()
    });
    while !missing.is_empty() {
        let Some(receipts) = files.next() else { break };
        for receipt in receipts {
            // Of one that was countersigned there are two.
            if missing.remove(&receipt.id) {
                take(receipt);
            }
        }
    }
    missing
}
