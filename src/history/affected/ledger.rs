//! All receipts of stages, with what each has read and made.

use std::collections::{BTreeSet, HashMap};

use camino::{Utf8Path, Utf8PathBuf};

use super::Places;
use crate::consent::map::Root;
use crate::consent::secret::SecretId;
use crate::consent::spread::Step;
use crate::history::runs::{self, run_ids};
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{CommandRecord, ReceiptId, Resource, Role, StageInternal, StageParameters};
use crate::stages::ingest::EVENTS;
use crate::stages::ingest::used::Told;
use crate::store::StoreError;
use crate::store::run_files::read_each;

/// The receipt of a stage.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: ReceiptId,
    pub(super) run: String,
    pub(super) pipeline: String,
    pub(super) pipeline_file: Utf8PathBuf,
    pub(super) stage: String,
    /// How it was told to look at events, if it is an ingest; or why that cannot be read.
    pub(super) ingest: Option<Result<Told, String>>,
    /// The set of the events that it let in, and what their tokens are keyed by, if its receipt names it.
    pub(super) population: Option<(Root, SecretId)>,
    /// Its outputs; none of a stage that failed.
    pub(super) made: Vec<Made>,
}

/// What a stage has made.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) output: String,
    pub(super) path: Utf8PathBuf,
    pub(super) digests: ArtifactDigests,
    /// Whether it is a model, by what made it.
    pub(super) is_model: bool,
}

/// A run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: String,
    pub(super) pipeline: String,
    pub(super) finished_on: String,
    /// The receipts of its stages, of those that had not to run too.
    pub(super) receipts: BTreeSet<ReceiptId>,
}

/// All that is under `runs/`.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) nodes: Vec<Node>,
    /// What each of them has read and made.
    pub(super) steps: Vec<Step>,
    pub(super) by_id: HashMap<ReceiptId, usize>,
    /// Oldest first.
    pub(super) runs: Vec<Run>,
    /// Runs whose files cannot be read, and why.
    pub(super) unread: Vec<(String, String)>,
}

impl Ledger {
    /// Reads the files of all runs, a few at a time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the folder of receipts is there and cannot be read.
    pub(super) fn read(places: &Places<'_>) -> Result<Self, StoreError> {
        let workspace = places.workspace;
        let mut ledger = Self::default();
        let read = read_each(run_ids(workspace)?, |id| (id.to_owned(), runs::read(workspace, id)));
        for (id, receipts) in read {
            match receipts {
                Ok(receipts) => ledger.add(&id, receipts, places),
                Err(error) => ledger.unread.push((id, error.to_string())),
            }
        }
        Ok(ledger)
    }

    fn add(&mut self, id: &str, receipts: Vec<Receipt>, places: &Places<'_>) {
        let mut of_run = BTreeSet::new();
        for receipt in receipts {
            match receipt.statement.stage() {
                Some((stage, internal)) => {
                    of_run.insert(receipt.id);
                    let claim = places.believed.by_receipt(receipt.id);
                    let is_believed = claim.is_some_and(|claim| claim.believed);
                    let files_of = |_: &Utf8Path, folder: &ArtifactDigests| places.store.files_of(folder);
                    self.by_id.insert(receipt.id, self.nodes.len());
                    self.nodes.push(Node::of(&receipt, (stage, internal)));
                    self.steps
                        .push(Step::of(receipt.id, &receipt.statement, is_believed, &files_of));
                }
                None => {
                    of_run.extend(receipt.statement.receipts().map(|(_, id)| id));
                    self.runs.push(Run {
                        id: id.to_owned(),
                        pipeline: receipt.statement.external().pipeline.clone(),
                        finished_on: receipt.statement.metadata().finished_on.clone(),
                        receipts: std::mem::take(&mut of_run),
                    });
                }
            }
        }
    }
}

impl Node {
    fn of(receipt: &Receipt, (stage, internal): (&StageParameters, &StageInternal)) -> Self {
        let statement = &receipt.statement;
        let external = statement.external();
        let succeeded = statement.is_stage_success();
        Self {
            id: receipt.id,
            run: statement.metadata().invocation_id.clone(),
            pipeline: external.pipeline.clone(),
            pipeline_file: external.pipeline_file.clone().into(),
            stage: stage.name.clone(),
            ingest: statement.is_ingest().then(|| Told::of(stage)),
            population: population(internal),
            made: match succeeded {
                true => statement
                    .subject
                    .iter()
                    .filter_map(|made| Made::of(made, stage))
                    .collect(),
                false => Vec::new(),
            },
        }
    }

    /// The events that it let in, if it is an ingest that did.
    pub(super) fn events(&self) -> Option<&Made> {
        self.made.iter().find(|made| made.output == EVENTS)
    }
}

fn population(stage: &StageInternal) -> Option<(Root, SecretId)> {
    let record = stage.population.as_ref()?;
    Some((
        Root::from_hex(&record.root).ok()?,
        SecretId::from_hex(&record.secret).ok()?,
    ))
}

impl Made {
    fn of(made: &Resource, stage: &StageParameters) -> Option<Self> {
        let Role::Output { output, .. } = made.role() else {
            return None;
        };
        let is_train = matches!(&stage.command, CommandRecord::Builtin { name, .. } if name == "train");
        Some(Self {
            output: output.clone(),
            path: made.name.clone().into(),
            digests: artifact_digests(made)?,
            is_model: is_train && output == "model",
        })
    }
}
