//! What made a model, as receipts have it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::commitment::{PersonalKey, Same};
use crate::consent::purposes::Purposes;
use crate::digest::Digests;
use crate::history::artifact;
use crate::history::runs;
use crate::json::{Limits, parse_strict};
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{CommandRecord, ParamRecord, ReceiptId, Resource, Role, Statement};
use crate::store::run_files::read_each;
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// How large a report or metrics file may be.
const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    depth: 16,
};

/// How many receipts a model may stand on, one behind the other.
const MOST_STAGES: usize = 100;

/// What made a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The model's digests, as the receipt has them: keyed, if it is personal.
    pub claimed: ArtifactDigests,
    /// The id of the receipt that claims the model's bytes (`sha256:…`).
    pub receipt: String,
    /// The run it is from.
    pub run: String,
    /// When the stage was done (RFC 3339).
    pub finished: String,
    /// The pipeline.
    pub pipeline: String,
    /// What the pipeline is for.
    pub purpose: Option<String>,
    /// What consent to that covers as well, the narrowest first.
    pub covered: Vec<String>,
    /// The commit, and whether all files used were as in it.
    pub commit: Option<(String, bool)>,
    /// Who signed, in words.
    pub signer: String,
    /// The stage's parameters, in words.
    pub parameters: BTreeMap<String, String>,
    /// Receipts that it stands on, from the one that read the sources: stage and id.
    pub chain: Vec<(String, String)>,
    /// The sources: path, and what other tools can check of it.
    pub sources: Vec<(String, String)>,
    /// The metrics that were made beside it.
    pub metrics: Option<Value>,
    /// The report of `ingest`.
    pub ingest: Option<Value>,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

/// What was found of what made a model.
#[derive(Debug, Default)]
pub struct Found {
    /// What did, if a receipt says so.
    pub origin: Option<Origin>,
    /// Whether there are receipts that name what they made by a consent secret that is not here: one of them may be about it.
    pub may_be_keyed: bool,
}

/// Looks for the newest receipt of a stage that claims `digests`, in plain or by `key`, one whose signature `signer` trusts before any other; `signer`
/// gives words, and whether it does. Receipts are not verified any further.
///
/// # Errors
///
/// [`StoreError`] if the folder of receipts cannot be read.
pub fn find(
    workspace: &Workspace,
    digests: Digests,
    key: Option<&PersonalKey>,
    signer: &dyn Fn(&Receipt) -> (String, bool),
) -> Result<Found, StoreError> {
    let ids = runs::run_ids(workspace)?;
    // What cannot be read claims nothing; `verify` says what is wrong with it.
    let receipts: Vec<Receipt> = read_each(ids.into_iter().rev().collect(), |id| {
        let mut receipts = runs::read(workspace, id).unwrap_or_default();
        receipts.retain(|receipt| receipt.statement.stage().is_some());
        receipts
    })
    .flatten()
    .collect();
    let model = ArtifactDigests::File(digests);
    let mut may_be_keyed = false;
    let mut found: Vec<(&Receipt, ArtifactDigests, (String, bool))> = Vec::new();
    for receipt in receipts.iter().filter(|receipt| receipt.statement.is_stage_success()) {
        for claimed in receipt.statement.subject.iter().filter_map(artifact_digests) {
            match model.compare(&claimed, key) {
                Same::Yes => found.push((receipt, claimed, signer(receipt))),
                Same::No => {}
                Same::Unknown => may_be_keyed = true,
            }
        }
    }
    // Stable: newest first among those that are trusted, then the others.
    found.sort_by_key(|(_, _, (_, is_trusted))| !is_trusted);
    let origin = found.into_iter().next().map(|(receipt, claimed, (signer, _))| {
        let mut origin = of(receipt, claimed, signer);
        Follow {
            workspace,
            store: Store::of(workspace.root()),
            receipts: &receipts,
        }
        .into_origin(receipt, &mut origin);
        origin
    });
    Ok(Found { origin, may_be_keyed })
}

fn of(receipt: &Receipt, claimed: ArtifactDigests, signer: String) -> Origin {
    let statement = &receipt.statement;
    let (external, metadata, made) = (statement.external(), statement.metadata(), &statement.internal().made);
    let params = statement.stage().map(|(stage, _)| &stage.params);
    Origin {
        claimed,
        receipt: receipt.id.to_string(),
        run: metadata.invocation_id.clone(),
        finished: metadata.finished_on.clone(),
        pipeline: external.pipeline.clone(),
        purpose: external.purpose.clone(),
        covered: covered(statement),
        commit: made.commit.clone().map(|commit| (commit, made.differs.is_empty())),
        signer,
        parameters: params
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), in_words(value)?)))
            .collect(),
        chain: Vec::new(),
        sources: Vec::new(),
        metrics: None,
        ingest: None,
        notes: Vec::new(),
    }
}

fn covered(statement: &Statement) -> Vec<String> {
    let purpose = statement.external().purpose.as_deref();
    let purposes = statement
        .purposes()
        .filter(|purposes| purpose.is_some_and(|purpose| purposes.has(purpose)));
    let words = purposes.iter().flat_map(Purposes::words);
    words
        .take_while(|word| Some(*word) != purpose)
        .map(str::to_owned)
        .collect()
}

/// What is not given is not said.
fn in_words(value: &ParamRecord) -> Option<String> {
    match value {
        ParamRecord::Null => None,
        ParamRecord::Boolean(value) => Some(value.to_string()),
        ParamRecord::Number(text) | ParamRecord::String(text) => Some(text.clone()),
        other => serde_json::to_string(other).ok(),
    }
}

/// Follows receipts to those that they stand on.
struct Follow<'a> {
    workspace: &'a Workspace,
    store: Store,
    receipts: &'a [Receipt],
}

impl Follow<'_> {
    fn into_origin(self, made_by: &Receipt, origin: &mut Origin) {
        origin.metrics = self.output(&made_by.statement, "metrics", &mut origin.notes);
        let mut next = vec![made_by];
        let mut seen: Vec<ReceiptId> = Vec::new();
        while let Some(receipt) = next.pop() {
            if seen.contains(&receipt.id) || seen.len() == MOST_STAGES {
                continue;
            }
            seen.push(receipt.id);
            let Some((stage, _)) = receipt.statement.stage() else {
                continue;
            };
            if receipt.id != made_by.id {
                origin.chain.push((stage.name.clone(), receipt.id.to_string()));
            }
            if matches!(&stage.command, CommandRecord::Builtin { name, .. } if name == "ingest") {
                origin.ingest = self.output(&receipt.statement, "report", &mut origin.notes);
            }
            for dependency in receipt.statement.dependencies() {
                match dependency.role() {
                    Role::Input { receipt: Some(id), .. } => {
                        match self.receipts.iter().find(|other| other.id.to_string() == *id) {
                            Some(other) => next.push(other),
                            None => origin
                                .notes
                                .push(format!("the receipt {id}, which it stands on, is not here")),
                        }
                    }
                    Role::Input { receipt: None, .. } => {
                        let digest = dependency.digest.public();
                        origin
                            .sources
                            .push((dependency.name.clone(), digest.unwrap_or_default()));
                    }
                    _ => {}
                }
            }
        }
        origin.chain.reverse();
        origin.sources.sort();
        origin.sources.dedup();
    }

    /// The JSON of an output that was made by a stage, if it can be had.
    fn output(&self, statement: &Statement, name: &str, notes: &mut Vec<String>) -> Option<Value> {
        output(self.workspace, &self.store, statement, name, notes)
    }
}

/// The JSON of the output `name` that a stage made, if it can be had; else a note says why.
pub(super) fn output(
    workspace: &Workspace,
    store: &Store,
    statement: &Statement,
    name: &str,
    notes: &mut Vec<String>,
) -> Option<Value> {
    let is_it = |subject: &&Resource| matches!(subject.role(), Role::Output { output, .. } if output == name);
    let subject = statement.subject.iter().find(is_it)?;
    let path = subject.name.as_str().into();
    let bytes = artifact::digest(subject)?
        .and_then(|digest| artifact::bytes(workspace, store, digest, path, LIMITS.bytes as u64));
    let read = bytes.map_err(|error| error.to_string());
    let read = read.and_then(|bytes| parse_strict(&bytes, LIMITS).map_err(|error| error.to_string()));
    read.map_err(|why| notes.push(format!("`{}` is not shown: {why}", subject.name)))
        .ok()
}
