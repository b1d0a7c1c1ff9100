//! Which ingests name the events that they let in.

use super::evidence;
use super::logs::Logs;
use super::membership::population_of;
use super::{VerifyError, authority};
use crate::receipt::statement::{PopulationRecord, ReceiptId};
use crate::receipt::trust::Trust;
use crate::tree::Site;

/// A trusted receipt of an ingest that names the events it let in.
#[derive(Clone, Debug)]
pub struct Ingest {
    /// Its id.
    pub receipt: ReceiptId,
    /// The stage.
    pub stage: String,
    /// The run in which it ran.
    pub run: String,
    /// What it names.
    pub population: PopulationRecord,
}

/// The ingests of the run `run`, which may have run in earlier ones; without it, those of the newest run in which one has run.
///
/// # Errors
///
/// [`VerifyError`] if the folder of receipts cannot be read.
pub fn ingests(site: &dyn Site, trust: &Trust, run: Option<&str>) -> Result<Vec<Ingest>, VerifyError> {
    let (mut evidence, _) = evidence::gather(site, &trust.keys)?;
    let (logs, _) = Logs::gather(site, Some(trust))?;
    authority::apply(&mut evidence, &trust.keys, &logs);
    evidence.index();
    let as_ingest = |index: usize| {
        let receipt = &evidence.receipts[index];
        let named = receipt.signer.and(population_of(&receipt.statement))?;
        Some(Ingest {
            receipt: receipt.id,
            stage: receipt.statement.stage()?.0.name.clone(),
            run: receipt.statement.metadata().invocation_id.clone(),
            population: named.clone(),
        })
    };
    if let Some(run) = run {
        let own = evidence.runs.get(run).map(|index| &evidence.receipts[*index]);
        let stages = own.into_iter().flat_map(|own| own.statement.receipts());
        let found = stages.filter_map(|(_, id)| as_ingest(evidence.named(id)?));
        return Ok(found.collect());
    }
    let all: Vec<usize> = (0..evidence.receipts.len())
        .filter(|index| as_ingest(*index).is_some())
        .collect();
    let Some(newest) = all.iter().copied().max_by_key(|index| evidence.age(*index)) else {
        return Ok(Vec::new());
    };
    let run = &evidence.receipts[newest].statement.metadata().invocation_id;
    let mut found: Vec<Ingest> = all
        .into_iter()
        .filter_map(as_ingest)
        .filter(|ingest| ingest.run == *run)
        .collect();
    found.sort_by(|a, b| a.stage.cmp(&b.stage));
    found.dedup_by(|a, b| a.receipt == b.receipt);
    Ok(found)
}
