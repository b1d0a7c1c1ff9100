//! The ingests of a pipeline, and what each would do with its inputs as they lie now.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};

use crate::consent::secret::ConsentSecret;
use crate::consent::token::Tokens;
use crate::plan::{Command, Input, InputSource, Plan, Stage, written_input};
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::survey::Survey;
use crate::stages::{InputFile, StageContext, StageError, ingest};
use crate::tree::{Below, Tree as _, TreeError};
use crate::workspace::Workspace;

/// Why it is not known what an ingest would do.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// It reads what another stage makes, and that is not there.
    #[error("its input `{path}` is not there: stage `{stage}` makes it")]
    Absent {
        /// Relative to the workspace.
        path: Utf8PathBuf,
        /// The stage that makes it.
        stage: String,
    },
    /// A folder that it reads cannot be listed.
    #[error("cannot list its input `{path}`")]
    List {
        /// Relative to the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: TreeError,
    },
    /// The ingest itself says so.
    #[error(transparent)]
    Stage(#[from] StageError),
}

/// The stages of `plan` that are ingests, in its order.
pub fn ingests(plan: &Plan) -> impl Iterator<Item = &Stage> {
    let is_ingest =
        |stage: &&Stage| matches!(&stage.command, Command::Builtin { name, .. } if name == ingest::BUILTIN.name);
    plan.stages.iter().filter(is_ingest)
}

/// What the ingest `stage` of `plan` would do with the consent `secret` that is at hand, on up to `threads` threads. Writes nothing but files without names in the folder `scratch`.
///
/// # Errors
///
/// [`IngestError`] if that cannot be told.
pub fn survey(
    workspace: &Workspace,
    plan: &Plan,
    stage: &Stage,
    threads: usize,
    scratch: Utf8PathBuf,
    secret: Option<&ConsentSecret>,
) -> Result<Survey, IngestError> {
    let purpose = match &stage.command {
        Command::Builtin { purpose, .. } => purpose.as_deref(),
        Command::Argv(_) | Command::Shell(_) => None,
    };
    let mut inputs: BTreeMap<&str, Vec<InputFile>> = BTreeMap::new();
    for input in &stage.inputs {
        let files = inputs.entry(written_input(&input.name)).or_default();
        files.extend(files_of(workspace, plan, input)?);
    }
    let outputs = stage.outputs.iter();
    let mut context = StageContext {
        purpose,
        purposes: &plan.purposes,
        inputs,
        outputs: outputs
            .map(|output| (output.name.as_str(), workspace.absolute(&output.path)))
            .collect(),
        passed_on: BTreeMap::new(),
        consents: BTreeMap::new(),
        secret,
        population: None,
        read_ahead: None,
        scratch,
        params: &stage.params,
        threads,
        log: &mut io::sink(),
        progress: &|_| {},
        cancelled: &AtomicBool::new(false),
    };
    Ok(Survey::of(&mut context)?)
}

/// What is withdrawn by what the ingest `stage` of `plan` reads as revocations, as they lie now; with what stands for it by `tokens`.
///
/// # Errors
///
/// [`IngestError`] if that cannot be told, as when one line is invalid.
pub fn revocations(
    workspace: &Workspace,
    plan: &Plan,
    stage: &Stage,
    tokens: Option<&Tokens>,
) -> Result<Revocations, IngestError> {
    let mut files = Vec::new();
    for input in stage
        .inputs
        .iter()
        .filter(|input| written_input(&input.name) == ingest::REVOCATIONS)
    {
        files.extend(files_of(workspace, plan, input)?);
    }
    // What they are about is not looked at: only whether a person can be.
    let anything = EventSchema::compile_with_subject(b"{}", ingest::subject(&stage.params)?);
    let anything = anything.expect("everything satisfies the schema without any keyword");
    Ok(Revocations::read_with_tokens(&files, &anything, tokens)?)
}

/// The files of an input as they lie now, in the order in which the stage reads them.
///
/// # Errors
///
/// [`IngestError`] if another stage makes it and it is not there, or a folder cannot be listed.
pub fn files_of(workspace: &Workspace, plan: &Plan, input: &Input) -> Result<Vec<InputFile>, IngestError> {
    let paths = match &input.source {
        source @ (InputSource::File { .. } | InputSource::Folder { .. } | InputSource::Glob { .. }) => {
            source.files().map(Utf8Path::to_owned).collect()
        }
        InputSource::Output { stage, output } => {
            let maker = &plan.stages[stage.index()];
            let made = &maker.outputs[*output];
            if workspace.absolute(&made.path).symlink_metadata().is_err() {
                return Err(IngestError::Absent {
                    path: made.path.clone(),
                    stage: maker.name.clone(),
                });
            }
            match made.is_folder {
                true => files_below(workspace, &made.path)?,
                false => vec![made.path.clone()],
            }
        }
    };
    let file = |path: Utf8PathBuf| InputFile {
        absolute: workspace.absolute(&path),
        name: path,
        digest: None,
    };
    Ok(paths.into_iter().map(file).collect())
}

fn files_below(workspace: &Workspace, folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, IngestError> {
    let found = workspace.files_below(folder).map_err(|source| IngestError::List {
        path: folder.to_owned(),
        source,
    })?;
    let mut files: Vec<Utf8PathBuf> = found
        .into_iter()
        .filter(Below::is_file)
        .map(|below| below.path.into())
        .collect();
    files.sort();
    Ok(files)
}
