//! All pipelines of a workspace at once, for the commands that look at more than one.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::bounds::bounds;
use super::opened::{Opened, find_workspace};
use super::plan::with_session;
use super::runs;
use super::surroundings::Surroundings;
use super::terminal::{Failure, environment};
use super::typed::typed;
use crate::exec::forecast::{Forecast, forecast};
use crate::exec::sandbox::Bounds;
use crate::exec::{CacheMode, Session};
use crate::plan::{Plan, StageId, resolve};
use crate::receipt::key::SigningKey;
use crate::status::pipeline_files;
use crate::store::Store;
use crate::store::believed::Believed;
use crate::workspace::Workspace;

/// A pipeline file of the workspace, and what it says; or how many mistakes are in it, and the first.
pub(super) struct Found {
    /// Relative to the workspace.
    pub(super) file: Utf8PathBuf,
    /// What it says.
    pub(super) plan: Result<Plan, Mistakes>,
}

/// Why a pipeline cannot be resolved.
pub(super) struct Mistakes {
    /// How many.
    pub(super) count: usize,
    /// The first.
    pub(super) first: String,
}

/// Everything that is known before a pipeline is looked at.
pub(super) struct Everything {
    /// Where the user is.
    folder: Utf8PathBuf,
    pub(super) workspace: Workspace,
    pub(super) store: Store,
    pub(super) believed: Believed,
    /// Every pipeline file, in the order of their paths.
    pub(super) pipelines: Vec<Found>,
}

impl Everything {
    /// A file of the workspace as a word of a command that can be typed where the user is.
    pub(super) fn typed(&self, file: &Utf8Path) -> String {
        typed(file, &self.workspace, &self.folder)
    }
}

/// Finds the workspace around `path` (a pipeline file, or the working folder), its receipts and its pipelines. `named` is
/// a pipeline that is looked at wherever it lies.
///
/// # Errors
///
/// [`Failure`] if the receipts or the folder of pipelines cannot be read.
pub(super) fn everything(surroundings: &Surroundings, named: Option<&Utf8Path>) -> Result<Everything, Failure> {
    let (workspace, file) = find_workspace(&surroundings.folder, named.unwrap_or(Utf8Path::new(".")))?;
    bounds(surroundings, &workspace, &workspace)?;
    let store = surroundings.store(&workspace)?;
    let believed = believed(&workspace, &store, surroundings)?;
    let mut files = pipeline_files(&workspace, &believed).map_err(|error| environment(&error))?;
    let asked = named.map(|_| file.clone());
    if named.is_some() && !files.contains(&file) {
        files.push(file);
        files.sort();
    }
    let pipelines = files.into_iter().map(|file| {
        let plan = resolve(&workspace, &file).map(|resolution| resolution.plan);
        let plan = plan.map_err(|faults| Mistakes {
            count: faults.0.len(),
            first: faults.0.first().map(|fault| fault.message.clone()).unwrap_or_default(),
        });
        Found { file, plan }
    });
    let mut pipelines: Vec<Found> = pipelines.collect();
    // What others include and is no pipeline by itself is shown with them.
    let plans = pipelines.iter().filter_map(|found| found.plan.as_ref().ok());
    let parts = plans.flat_map(|plan| plan.definition_files.iter().skip(1));
    let parts: BTreeSet<Utf8PathBuf> = parts.map(|part| part.path.clone()).collect();
    pipelines.retain(|found| {
        let is_asked = asked.as_ref() == Some(&found.file);
        found.plan.is_ok() || is_asked || !parts.contains(&found.file)
    });
    Ok(Everything {
        folder: surroundings.folder.clone(),
        workspace,
        store,
        believed,
        pipelines,
    })
}

/// What the receipts say that this user believes; nothing is believed without a signing key.
pub(super) fn believed(workspace: &Workspace, store: &Store, surroundings: &Surroundings) -> Result<Believed, Failure> {
    let key = match surroundings.key_if_any()? {
        Some(key) => key,
        None => SigningKey::generate().map_err(|error| Failure::of(crate::exit_code::ExitCode::Environment, &error))?,
    };
    let trust = runs::trust_of(&key, surroundings)?;
    let opened = Believed::open(
        (&store.believed_file(), None),
        workspace,
        &trust,
        &key.derive_seal_key(),
    );
    opened.map_err(|error| environment(&error))
}

/// Looks at what a run of the whole pipeline would do.
pub(super) fn look<T>(
    surroundings: &Surroundings,
    workspace: &Workspace,
    plan: &Plan,
    then: impl FnOnce(&Session<'_>, Vec<(StageId, Forecast)>) -> T,
) -> Result<T, Failure> {
    let opened = Opened {
        workspace: workspace.clone(),
        plan: plan.clone(),
        // Nothing is run.
        bounds: Bounds::default(),
    };
    with_session(surroundings, &opened, CacheMode::Use, |session| {
        let all: Vec<_> = (0..plan.stages.len()).map(StageId::new).collect();
        let forecasts = forecast(session, &all).map_err(|error| environment(&error))?;
        Ok(then(session, forecasts))
    })
}
