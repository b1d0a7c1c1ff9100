//! How things stand: which stages are up to date, what lies in the places of their outputs, what nobody makes any more.
//!
//! Only looks. What would run is decided by [`crate::exec::forecast`], as for a run.

pub mod ingests;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::exec::Session;
use crate::exec::forecast::Forecast;
use crate::exec::inputs::FileHashes;
use crate::listing::ArtifactDigests;
use crate::plan::{Output, Plan, Stage, StageId};
use crate::store::believed::{Believed, Claim};
use crate::tree::{EntryKind, Tree, TreeError};

/// The folder in which pipelines are looked for.
pub const PIPELINES: &str = "pipelines";

/// What lies in an output's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// What the stage's receipt says.
    InPlace,
    /// What an older receipt says.
    Earlier,
    /// Nothing.
    Missing,
    /// Nothing: it is temporary, and was read.
    Gone,
    /// Bytes that a receipt of this stage claims, and none that is believed.
    Foreign,
    /// Bytes that no believed receipt claims.
    Edited,
}

/// An output and what lies in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputStatus {
    /// Relative to the workspace.
    pub path: Utf8PathBuf,
    /// What is there.
    pub state: OutputState,
}

/// How a stage stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageStatus {
    /// Which.
    pub stage: StageId,
    /// What a run would do with it.
    pub forecast: Forecast,
    /// Its outputs. Those of a stage that never ran are not missing: they are not listed unless something lies there.
    pub outputs: Vec<OutputStatus>,
}

/// How the stages of a session's pipeline stand, from what a run would do with each.
#[must_use]
pub fn stages(session: &Session<'_>, forecasts: Vec<(StageId, Forecast)>) -> Vec<StageStatus> {
    let pipeline = session.plan.pipeline.as_str();
    let has_run = |stage: &Stage| {
        let mut claims = session.believed.of_stage(pipeline, &stage.name);
        claims.any(|claim| claim.succeeded)
    };
    let status = |(id, forecast): (StageId, Forecast)| {
        let stage = &session.plan.stages[id.index()];
        let claim = forecast
            .receipt()
            .and_then(|receipt| session.believed.by_receipt(receipt));
        let outputs = stage.outputs.iter().filter_map(|output| {
            let state = output_state(session, claim.as_ref(), stage, output);
            let is_expected = claim.is_some() || has_run(stage);
            (state != OutputState::Missing || is_expected).then(|| OutputStatus {
                path: output.path.clone(),
                state,
            })
        });
        StageStatus {
            stage: id,
            outputs: outputs.collect(),
            forecast,
        }
    };
    forecasts.into_iter().map(status).collect()
}

fn output_state(session: &Session<'_>, claim: Option<&Claim>, stage: &Stage, output: &Output) -> OutputState {
    if session.workspace.absolute(&output.path).symlink_metadata().is_err() {
        return match claim.is_some() && output.is_temporary {
            true => OutputState::Gone,
            false => OutputState::Missing,
        };
    }
    let Ok(found) = session.hashes.output_of(output) else {
        return OutputState::Edited;
    };
    let is_what_it_claims = |claim: &Claim| {
        let claimed = claim.outputs.iter().find(|claimed| claimed.name == output.name);
        claimed.is_some_and(|claimed| found.is(claimed))
    };
    let by_anyone = || session.believed.of_stage_by_anyone(&session.plan.pipeline, &stage.name);
    if claim.is_some_and(is_what_it_claims) {
        OutputState::InPlace
    } else if session.believed.is_claimed(found.digests().blake3()) {
        OutputState::Earlier
    } else if by_anyone().any(|claim| is_what_it_claims(&claim)) {
        OutputState::Foreign
    } else {
        OutputState::Edited
    }
}

/// The pipeline files of a workspace: every YAML file under `pipelines/`, and the files that believed receipts name as
/// those of their pipelines, if they are still there. In the order of their paths.
///
/// # Errors
///
/// [`TreeError`] if the folder cannot be read.
pub fn pipeline_files(tree: &dyn Tree, believed: &Believed) -> Result<Vec<Utf8PathBuf>, TreeError> {
    let mut files = BTreeSet::new();
    if tree.kind(PIPELINES.into())? == Some(EntryKind::Folder) {
        for below in tree.files_below(PIPELINES.into())? {
            let is_file = below.is_file();
            let path = below.path;
            let is_yaml = matches!(path.extension(), Some("yaml" | "yml"));
            let is_hidden = path.iter().any(|name| name.starts_with('.'));
            if is_yaml && !is_hidden && is_file {
                files.insert(Utf8PathBuf::from(path));
            }
        }
    }
    // A receipt names the file; of each pipeline the newest is asked.
    let mut newest: BTreeMap<String, Claim> = BTreeMap::new();
    for claim in believed.all().filter(|claim| claim.believed) {
        newest.insert(claim.pipeline.clone(), claim);
    }
    for claim in newest.into_values() {
        let Some(statement) = believed.statement(&claim) else {
            continue;
        };
        let file = Utf8PathBuf::from(&statement.external().pipeline_file);
        if matches!(tree.kind(&file), Ok(Some(EntryKind::File { .. }))) {
            files.insert(file);
        }
    }
    Ok(files.into_iter().collect())
}

/// A file in the place of an output that no stage of any pipeline makes or reads any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// Relative to the workspace.
    pub path: Utf8PathBuf,
    /// Whose output it was, by the newest believed receipt.
    pub pipeline: String,
    /// Which stage's.
    pub stage: String,
    /// Whether a believed receipt claims the bytes that are there.
    pub is_claimed: bool,
    /// Whether the store has them, by name.
    pub is_stored: bool,
    /// How many bytes there are.
    pub size: u64,
    /// Whether it is a folder.
    pub is_folder: bool,
}

/// The files that believed receipts claim as outputs, that are still there, and that none of `plans` names. They must be
/// all plans of the workspace.
#[must_use]
pub fn orphans(
    plans: &[&Plan],
    believed: &Believed,
    hashes: &FileHashes<'_>,
    tree: &dyn Tree,
    stored: &dyn Fn(&ArtifactDigests) -> bool,
) -> Vec<Orphan> {
    let named = named_paths(plans);
    let folders = output_folders(plans);
    let mut claimed: BTreeMap<String, (Rc<Claim>, ArtifactDigests)> = BTreeMap::new();
    for claim in believed.all().filter(|claim| claim.believed && claim.succeeded) {
        let claim = Rc::new(claim);
        for output in &claim.outputs {
            claimed.insert(output.path.clone(), (Rc::clone(&claim), output.digests));
        }
    }
    let mut orphans = Vec::new();
    for (path, (claim, digests)) in &claimed {
        let path = Utf8Path::new(path);
        // What lies in a folder that a stage makes is that stage's; a folder in which something is named is in use.
        let is_in_use = path.ancestors().any(|above| folders.contains(above))
            || named.range(path..).next().is_some_and(|next| next.starts_with(path));
        // One that is reached through a link is another file, which may be named.
        let is_itself = || tree.real_path(path).ok().flatten().as_deref() == Some(path);
        if named.contains(path) || is_in_use || !is_itself() {
            continue;
        }
        if let Ok(found) = hashes.output(path, digests) {
            orphans.push(Orphan {
                path: path.to_owned(),
                pipeline: claim.pipeline.clone(),
                stage: claim.stage.clone(),
                is_claimed: believed.is_claimed(found.digests().blake3()),
                is_stored: stored(&found.digests()),
                size: found.size(),
                is_folder: digests.is_folder(),
            });
        }
    }
    orphans
}

/// The folders that stages write.
fn output_folders<'a>(plans: &[&'a Plan]) -> BTreeSet<&'a Utf8Path> {
    let stages = plans.iter().flat_map(|plan| &plan.stages);
    let outputs = stages.flat_map(|stage| &stage.outputs);
    outputs
        .filter(|output| output.is_folder)
        .map(|output| output.path.as_path())
        .collect()
}

/// Every path that a plan writes, reads or is defined by.
fn named_paths<'a>(plans: &[&'a Plan]) -> BTreeSet<&'a Utf8Path> {
    let mut named = BTreeSet::new();
    for plan in plans {
        named.extend(plan.definition_files.iter().map(|file| file.path.as_path()));
        for stage in &plan.stages {
            named.extend(stage.outputs.iter().map(|output| output.path.as_path()));
            for input in &stage.inputs {
                named.extend(input.source.files());
            }
        }
    }
    named
}
