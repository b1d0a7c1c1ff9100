//! A run of the past with the receipts of all its stages, also of those that had not to run.

use std::collections::{BTreeMap, HashSet};

use super::runs::{self, RunError};
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{ReceiptId, Role};
use crate::store::run_files::read_each;
use crate::workspace::Workspace;

/// A run, as its receipts have it.
#[derive(Clone, Debug)]
pub struct PastRun {
    /// The run's own receipt.
    pub own: Receipt,
    /// By stage: its receipt, or none if that is not here.
    pub stages: BTreeMap<String, Option<Receipt>>,
}

impl PastRun {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.own.statement.metadata().invocation_id
    }
}

/// Reads the run `id`, one of `ids` (all runs, oldest first).
///
/// # Errors
///
/// [`RunError`] if the run's own file cannot be read. Files of other runs that cannot be read are passed over.
pub fn load(workspace: &Workspace, ids: &[String], id: &str) -> Result<PastRun, RunError> {
    let mut receipts = runs::read(workspace, id)?;
    let own = receipts.pop().ok_or(RunError::NotOwn)?;
    if own.statement.metadata().invocation_id != id {
        return Err(RunError::NotOwn);
    }
    let mut wanted: BTreeMap<ReceiptId, String> = BTreeMap::new();
    for dependency in own.statement.dependencies() {
        if let (Role::Receipt { stage }, Ok(receipt)) = (dependency.role(), dependency.name.parse()) {
            wanted.insert(receipt, stage.clone());
        }
    }
    let mut stages: BTreeMap<String, Option<Receipt>> = wanted.values().map(|stage| (stage.clone(), None)).collect();
    let named: HashSet<ReceiptId> = wanted.keys().copied().collect();
    let mut take = |receipts: Vec<Receipt>| {
        for receipt in receipts {
            if let Some(stage) = wanted.remove(&receipt.id) {
                stages.insert(stage, Some(receipt));
            }
        }
        wanted.is_empty()
    };
    // What had not to run was mostly made not long before; another clone's clock may say otherwise.
    let place = ids.iter().position(|other| other == id).unwrap_or(ids.len());
    let others = ids[..place].iter().rev().chain(ids.iter().skip(place + 1)).cloned();
    if !take(receipts) {
        let mut others = read_each(others.collect(), |other| {
            runs::read_wanted(workspace, other, |id| named.contains(id)).unwrap_or_default()
        });
        // Up to the first after which nothing is wanted any more.
        others.any(take);
    }
    Ok(PastRun { own, stages })
}
