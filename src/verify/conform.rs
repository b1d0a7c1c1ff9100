//! Is there, for each stage of a plan, a trusted receipt with that definition and those inputs? Asked of a commit
//! (`--at`) or of the working tree.

use std::collections::{BTreeSet, HashMap};

use camino::Utf8Path;

use super::evidence::Evidence;
use super::modes;
use crate::commitment::{PersonalKey, Same};
use crate::digest::{Digest, Digests};
use crate::listing::{ArtifactDigests, ListedFile, listing_digests};
use crate::plan::action::definition_digest;
use crate::plan::{InputSource, Plan, Stage, StageId};
use crate::receipt::digest_set::DigestSet;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Resource, Role, Statement};

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

/// The digests of a file in the tree that is compared, and whether it may be executed; or why there are none.
pub(super) type Files<'a> = &'a dyn Fn(&Utf8Path) -> Result<(Digests, bool), Misfit>;

/// How a plan compares with the receipts.
pub(super) struct Conformity {
    /// For each stage, the receipts that are of it.
    pub(super) accepted: Vec<Vec<usize>>,
    /// For each stage that has none by its own fault (not that of a stage before it): its name and why.
    pub(super) faults: Vec<(StageId, String)>,
    /// The stages of which that cannot be told, and why.
    pub(super) unknown: Vec<(StageId, String)>,
}

/// What a plan is compared with.
#[derive(Clone, Copy)]
pub(super) struct Ledger<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) definitions: &'a Definitions,
    /// What the digests of what is personal are keyed by, if it is known.
    pub(super) key: Option<&'a PersonalKey>,
    /// Whether the tree tells which files may be executed where a stage reads them.
    pub(super) tells_modes: bool,
}

/// Why no receipt is of a stage.
pub(super) enum Misfit {
    /// There is none.
    Fault(String),
    /// Nobody can tell without the secret, or without what cannot be read.
    Unknown(String),
}

impl Misfit {
    /// The same, said of the stage's input `name`.
    fn of_input(self, name: &str) -> Self {
        let said = |reason: String| format!("its input `{name}`: {reason}");
        match self {
            Self::Fault(reason) => Self::Fault(said(reason)),
            Self::Unknown(reason) => Self::Unknown(said(reason)),
        }
    }
}

/// What an input may be.
pub(super) enum Expected {
    /// A source with these plain digests, and whether it is one file that may be executed.
    Source(ArtifactDigests, bool),
    /// What a stage made: for each receipt accepted for it a digest set, and whether it is one file that may be executed.
    Made(Vec<(DigestSet, bool)>),
}

/// Compares the stages of `plan` (those that `selected` takes) with the receipts, in the order of the plan.
pub(super) fn compare(
    plan: &Plan,
    files: Files<'_>,
    ledger: Ledger<'_>,
    selected: &dyn Fn(StageId) -> bool,
) -> Conformity {
    let mut accepted: Vec<Vec<usize>> = Vec::with_capacity(plan.stages.len());
    let (mut faults, mut unknown) = (Vec::new(), Vec::new());
    for (index, stage) in plan.stages.iter().enumerate() {
        let id = StageId::new(index);
        let waits = |before: &StageId| accepted.get(before.index()).is_none_or(Vec::is_empty);
        if !selected(id) || stage.reads_from().iter().any(waits) {
            accepted.push(Vec::new());
            continue;
        }
        let receipts = receipts_of(plan, stage, files, ledger, &accepted);
        accepted.push(receipts.unwrap_or_else(|misfit| {
            match misfit {
                Misfit::Fault(reason) => faults.push((id, reason)),
                Misfit::Unknown(reason) => unknown.push((id, reason)),
            }
            Vec::new()
        }));
    }
    Conformity {
        accepted,
        faults,
        unknown,
    }
}

fn receipts_of(
    plan: &Plan,
    stage: &Stage,
    files: Files<'_>,
    Ledger {
        evidence,
        definitions,
        key,
        tells_modes,
    }: Ledger<'_>,
    accepted: &[Vec<usize>],
) -> Result<Vec<usize>, Misfit> {
    let definition = definition_digest(plan, stage);
    let mut candidates = definitions.0.get(&definition).cloned().unwrap_or_default();
    if candidates.is_empty() {
        let reason = "no trusted receipt says that it succeeded with the definition that it has there".to_owned();
        return Err(Misfit::Fault(reason));
    }
    let mut inputs = Vec::with_capacity(stage.inputs.len());
    for input in &stage.inputs {
        let expected =
            expected(plan, &input.source, files, evidence, accepted).map_err(|misfit| misfit.of_input(&input.name))?;
        let compare = |candidate: usize| {
            input_named(&evidence.receipts[candidate].statement, &input.name)
                .map_or(Same::No, |found| expected.is(found, key))
        };
        let mut is_secret = false;
        candidates.retain(|candidate| {
            let same = compare(*candidate);
            is_secret |= same == Same::Unknown;
            same == Same::Yes
        });
        if candidates.is_empty() {
            let path = crate::plan::action::input_path(plan, &input.source);
            return Err(match is_secret {
                true => Misfit::Unknown(format!(
                    "its input `{}` ({path}) is personal, and keyed by a consent secret that is not here (`--secret FILE`)",
                    input.name
                )),
                false => Misfit::Fault(format!(
                    "no trusted receipt of it has its input `{}` ({path}) with the bytes it has there",
                    input.name
                )),
            });
        }
        inputs.push(expected);
    }
    candidates.retain(|candidate| {
        !tells_modes || modes::fit(plan, stage, &inputs, (&evidence.receipts[*candidate].statement, key))
    });
    match candidates.is_empty() {
        true => Err(Misfit::Fault(
            "no trusted receipt of it has the executable bits that its inputs have there".to_owned(),
        )),
        false => Ok(candidates),
    }
}

/// The input `name` as a receipt has it.
pub(super) fn input_named<'a>(statement: &'a Statement, name: &str) -> Option<&'a Resource> {
    let is_it = |dependency: &&Resource| matches!(dependency.role(), Role::Input { input, .. } if input == name);
    statement.dependencies().iter().find(is_it)
}

impl Expected {
    /// Whether an input that a receipt names is it.
    fn is(&self, found: &Resource, key: Option<&PersonalKey>) -> Same {
        let is_same = match (self, artifact_digests(found)) {
            (Self::Source(source, _), Some(claimed)) => return source.compare(&claimed, key),
            (Self::Source(..), None) => false,
            (Self::Made(made), _) => made.iter().any(|(digest, _)| *digest == found.digest),
        };
        if is_same { Same::Yes } else { Same::No }
    }

    /// What its executable bit may be, if it is what a receipt names as `found`.
    pub(super) fn modes(&self, found: &Resource) -> BTreeSet<bool> {
        match self {
            Self::Source(_, executable) => BTreeSet::from([*executable]),
            Self::Made(made) => {
                let same = made.iter().filter(|(digest, _)| *digest == found.digest);
                same.map(|(_, executable)| *executable).collect()
            }
        }
    }
}

/// What an input may be.
fn expected(
    plan: &Plan,
    source: &InputSource,
    files: Files<'_>,
    evidence: &Evidence,
    accepted: &[Vec<usize>],
) -> Result<Expected, Misfit> {
    match source {
        InputSource::File { path } => {
            let (digests, executable) = files(path)?;
            Ok(Expected::Source(ArtifactDigests::File(digests), executable))
        }
        InputSource::Folder { files: paths, .. } | InputSource::Glob { files: paths, .. } => {
            let listed = paths
                .iter()
                .map(|path| listed(path, files))
                .collect::<Result<Vec<_>, _>>()?;
            let listing = listing_digests(&listed).map_err(|error| Misfit::Fault(error.to_string()))?;
            Ok(Expected::Source(ArtifactDigests::Folder(listing), false))
        }
        InputSource::Output { stage, output } => {
            let path = plan.stages[stage.index()].outputs[*output].path.as_str();
            let subject = |index: &usize| evidence.receipts[*index].statement.subject_named(path);
            let receipts = accepted[stage.index()].iter();
            let is_executable = |subject: &Resource| matches!(subject.role(), Role::Output { executable: true, .. });
            let made = receipts.filter_map(subject);
            let made = made.map(|subject| (subject.digest.clone(), is_executable(subject)));
            Ok(Expected::Made(made.collect()))
        }
    }
}

fn listed(path: &Utf8Path, files: Files<'_>) -> Result<ListedFile, Misfit> {
    let (digests, executable) = files(path)?;
    Ok(ListedFile {
        path: path.to_owned(),
        executable,
        digests,
    })
}
