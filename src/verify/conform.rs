//! Is there, for each stage of a plan, a trusted receipt with that definition and those inputs? Asked of a commit
//! (`--at`) or of the working tree.

use std::collections::{BTreeMap, HashMap};

use camino::Utf8Path;

use super::evidence::Evidence;
use crate::digest::{Digest, Digests};
use crate::listing::{ListedFile, listing_digests};
use crate::plan::action::definition_digest;
use crate::plan::{InputSource, Plan, Stage, StageId};
use crate::receipt::statement::{Role, file_digest_set, tree_digest_set};
use crate::tree::{EntryKind, Tree};

/// The receipts of stages that did what they should, trusted ones only, by their definition.
pub(super) struct Definitions(HashMap<Digest, Vec<usize>>);

impl Definitions {
    pub(super) fn of(evidence: &Evidence) -> Self {
        let mut by_definition: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (index, receipt) in evidence.receipts.iter().enumerate() {
            if receipt.signer.is_none() || !receipt.statement.is_stage_success() {
                continue;
            }
            let definition = receipt
                .statement
                .stage()
                .map(|(_, internal)| internal.definition.parse());
            if let Some(Ok(definition)) = definition {
                by_definition.entry(definition).or_default().push(index);
            }
        }
        Self(by_definition)
    }
}

/// A tree of files, and how to hash one of them.
#[derive(Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) tree: &'a dyn Tree,
    pub(super) hash: &'a dyn Fn(&Utf8Path) -> Result<Digests, String>,
}

/// How a plan compares with the receipts.
pub(super) struct Conformity {
    /// For each stage, the receipts that are of it.
    pub(super) accepted: Vec<Vec<usize>>,
    /// For each stage that has none by its own fault (not that of a stage before it): its name and why.
    pub(super) faults: Vec<(StageId, String)>,
}

/// A digest set, as receipts carry it.
type DigestSet = BTreeMap<String, String>;

/// Compares the stages of `plan` (those that `selected` takes) with the receipts, in the order of the plan.
pub(super) fn compare(
    plan: &Plan,
    files: Files<'_>,
    evidence: &Evidence,
    definitions: &Definitions,
    selected: &dyn Fn(StageId) -> bool,
) -> Conformity {
    let mut accepted: Vec<Vec<usize>> = Vec::with_capacity(plan.stages.len());
    let mut faults = Vec::new();
    for (index, stage) in plan.stages.iter().enumerate() {
        let id = StageId::new(index);
        let waits = |before: &StageId| accepted.get(before.index()).is_none_or(Vec::is_empty);
        if !selected(id) || stage.reads_from().iter().any(waits) {
            accepted.push(Vec::new());
            continue;
        }
        match receipts_of(plan, stage, files, evidence, definitions, &accepted) {
            Ok(receipts) => accepted.push(receipts),
            Err(reason) => {
                accepted.push(Vec::new());
                faults.push((id, reason));
            }
        }
    }
    Conformity { accepted, faults }
}

fn receipts_of(
    plan: &Plan,
    stage: &Stage,
    files: Files<'_>,
    evidence: &Evidence,
    definitions: &Definitions,
    accepted: &[Vec<usize>],
) -> Result<Vec<usize>, String> {
    let definition = definition_digest(plan, stage);
    let mut candidates = definitions.0.get(&definition).cloned().unwrap_or_default();
    if candidates.is_empty() {
        return Err("no trusted receipt has the definition that it has there".to_owned());
    }
    for input in &stage.inputs {
        let expected = expected_digests(plan, &input.source, files, evidence, accepted)
            .map_err(|error| format!("its input `{}`: {error}", input.name))?;
        candidates.retain(|candidate| {
            let dependencies = evidence.receipts[*candidate].statement.dependencies();
            dependencies.iter().any(|dependency| {
                let is_it = matches!(dependency.role(), Role::Input { input: name, .. } if *name == input.name);
                is_it && expected.contains(&dependency.digest)
            })
        });
        if candidates.is_empty() {
            return Err(format!(
                "no trusted receipt of it has its input `{}` ({}) with the bytes it has there",
                input.name,
                crate::plan::action::input_path(plan, &input.source)
            ));
        }
    }
    Ok(candidates)
}

/// What the digests of an input may be: one set for a source, one for each receipt accepted for the stage before.
fn expected_digests(
    plan: &Plan,
    source: &InputSource,
    files: Files<'_>,
    evidence: &Evidence,
    accepted: &[Vec<usize>],
) -> Result<Vec<DigestSet>, String> {
    match source {
        InputSource::File { path } => Ok(vec![file_digest_set(&(files.hash)(path)?)]),
        InputSource::Folder { files: paths, .. } | InputSource::Glob { files: paths, .. } => {
            let listed = paths
                .iter()
                .map(|path| listed(path, files))
                .collect::<Result<Vec<_>, _>>()?;
            let listing = listing_digests(&listed).map_err(|error| error.to_string())?;
            Ok(vec![tree_digest_set(listing.blake3, listing.dir_hash)])
        }
        InputSource::Output { stage, output } => {
            let path = plan.stages[stage.index()].outputs[*output].path.as_str();
            let subject = |index: &usize| evidence.receipts[*index].statement.subject_named(path);
            let receipts = accepted[stage.index()].iter();
            Ok(receipts.filter_map(subject).map(|s| s.digest.clone()).collect())
        }
    }
}

fn listed(path: &Utf8Path, files: Files<'_>) -> Result<ListedFile, String> {
    let kind = files.tree.kind(path).map_err(|error| error.to_string())?;
    Ok(ListedFile {
        path: path.to_owned(),
        executable: kind == Some(EntryKind::File { executable: true }),
        digests: (files.hash)(path)?,
    })
}
