//! What the pipelines of a workspace read as events, and where they keep revocations.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use crate::plan::{InputSource, ParamValue, Plan, Stage, written_input};
use crate::stages::ingest::EVENTS;
use crate::status::ingests::{IngestError, files_of, ingests};
use crate::store::believed::Believed;
use crate::workspace::Workspace;

/// The input of `ingest` that has withdrawn consents.
const REVOCATIONS: &str = "revocations";
/// The parameter of `ingest` that says where events have the id of their person.
const SUBJECT: &str = "subject";

/// What the ingests of all pipelines read, and what all stages write.
#[derive(Debug, Default)]
pub struct Sites {
    /// Files that are read as events and that no stage writes, relative to the workspace.
    pub raw: BTreeSet<Utf8PathBuf>,
    /// Files that are read as events and that a stage writes, as far as they are there.
    pub made: BTreeSet<Utf8PathBuf>,
    /// The file of revocations of each ingest.
    pub revocations: BTreeSet<Utf8PathBuf>,
    /// Where events have the id of their person, as the ingests say.
    pub pointers: BTreeSet<String>,
    /// The places of outputs, those of earlier runs among them.
    pub outputs: BTreeSet<Utf8PathBuf>,
}

/// Why nothing can be erased here. Code 2.
#[derive(Debug, thiserror::Error)]
pub enum SitesError {
    /// No pipeline has an ingest.
    #[error("no pipeline here has an `ingest`: nothing is known to hold events")]
    NoIngest,
    /// An ingest would let it in again.
    #[error(
        "stage `{stage}` of `{file}` names no file of revocations, so that it would let in again what was erased: add `revocations: data/revocations.ndjson` to its inputs (an empty file will do)"
    )]
    NoRevocations {
        /// The stage.
        stage: String,
        /// The pipeline file.
        file: Utf8PathBuf,
    },
    /// What an ingest reads is not known.
    #[error("it is not known what stage `{stage}` of `{file}` reads")]
    Unknown {
        /// The stage.
        stage: String,
        /// The pipeline file.
        file: Utf8PathBuf,
        /// Why.
        source: Box<IngestError>,
    },
}

impl Sites {
    /// Those of `plans`.
    ///
    /// # Errors
    ///
    /// [`SitesError`] if there is no ingest, or what was erased could come in again.
    pub fn of(workspace: &Workspace, plans: &[&Plan], believed: &Believed) -> Result<Self, SitesError> {
        let mut sites = Self::default();
        for plan in plans {
            for stage in ingests(plan) {
                sites.add(workspace, plan, stage)?;
            }
            let outputs = plan.stages.iter().flat_map(|stage| &stage.outputs);
            sites.outputs.extend(outputs.map(|output| output.path.clone()));
        }
        if sites.revocations.is_empty() {
            return Err(SitesError::NoIngest);
        }
        let claims = believed.all().filter(|claim| claim.believed && claim.succeeded);
        let outputs = claims.flat_map(|claim| claim.outputs);
        sites
            .outputs
            .extend(outputs.map(|output| Utf8PathBuf::from(output.path)));
        let is_read = |path: &Utf8Path| sites.raw.contains(path) || sites.revocations.contains(path);
        sites.outputs.retain(|path| !is_read(path));
        Ok(sites)
    }

    fn add(&mut self, workspace: &Workspace, plan: &Plan, stage: &Stage) -> Result<(), SitesError> {
        let mut has_revocations = false;
        for input in &stage.inputs {
            let files = match (written_input(&input.name), &input.source) {
                (EVENTS, InputSource::Output { .. }) => &mut self.made,
                (EVENTS, _) => &mut self.raw,
                (REVOCATIONS, _) => &mut self.revocations,
                _ => continue,
            };
            let found = match files_of(workspace, plan, input) {
                // What is not there is made again, without it.
                Err(IngestError::Absent { .. }) if written_input(&input.name) == EVENTS => continue,
                found => found.map_err(|source| SitesError::Unknown {
                    stage: stage.name.clone(),
                    file: plan.pipeline_file.clone(),
                    source: Box::new(source),
                })?,
            };
            let mut found = found.into_iter().map(|file| file.name);
            match written_input(&input.name) {
                // Of several the first is as good as any: all are read.
                REVOCATIONS => {
                    let first = found.next();
                    has_revocations |= first.is_some();
                    files.extend(first);
                }
                _ => files.extend(found),
            }
        }
        if let Some(ParamValue::String(pointer)) = stage.params.get(SUBJECT) {
            self.pointers.insert(pointer.clone());
        }
        match has_revocations {
            true => Ok(()),
            false => Err(SitesError::NoRevocations {
                stage: stage.name.clone(),
                file: plan.pipeline_file.clone(),
            }),
        }
    }
}
