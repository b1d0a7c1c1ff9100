//! A run of the past with the receipts of all its stages, also of those that had not to run.

use std::collections::{BTreeMap, HashMap};

use super::named::find_each;
use super::runs::{self, RunError};
use crate::receipt::run_file::Receipt;
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
    let own = runs::read_own(workspace, id)?;
    // What had not to run was mostly made not long before; another clone's clock may say otherwise.
    let place = ids.iter().position(|other| other == id).unwrap_or(ids.len());
    let others = ids[..place].iter().rev().chain(ids.iter().skip(place + 1));
    let files = std::iter::once(id).chain(others.map(String::as_str));
    let wanted = own.statement.receipts().map(|(_, receipt)| receipt).collect();
    let mut found = HashMap::new();
    find_each(workspace, files.map(str::to_owned).collect(), &wanted, |receipt| {
        found.insert(receipt.id, receipt);
    });
    // Two stages may rest on one receipt.
    let named = own.statement.receipts();
    let stages = named.map(|(stage, receipt)| (stage.to_owned(), found.get(&receipt).cloned()));
    Ok(PastRun {
        stages: stages.collect(),
        own,
    })
}
