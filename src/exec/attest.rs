//! What happened, as statements to sign.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::state::{Content, FileState, InputState};
use super::tools::UsedTool;
use crate::commitment::PersonalKey;
use crate::consent::population::Population;
use crate::consent::purposes::Purposes;
use crate::digest::Digest;
use crate::git::{Used, UsedFile};
use crate::plan::action::{Resolved, definition_digest, parameters, system};
use crate::plan::{Command, DefinitionFile, InputSource, Plan, Stage};
use crate::receipt::statement::{
    BuildDefinition, Builder, ExternalParameters, Internal, InternalParameters, LOCAL_BUILDER, LogHead, MAX_MEMBERS,
    Made, Metadata, Outcome, PopulationRecord, Predicate, RUN_BUILD_TYPE, ReceiptId, Resource, Role, RunDetails,
    STAGE_BUILD_TYPE, StageInternal, StageParameters, Statement,
};

/// A stage that has ended, well or not.
pub struct StageRecord<'a> {
    /// The plan that it is of.
    pub plan: &'a Plan,
    /// The stage.
    pub stage: &'a Stage,
    /// Its action.
    pub action: Digest,
    /// What the action was made of.
    pub resolved: &'a Resolved,
    /// Its inputs, in the order of [`Stage::inputs`].
    pub inputs: &'a [InputState],
    /// What the digests of those are keyed by that are personal.
    pub key: Option<&'a PersonalKey>,
    /// The programs that were run.
    pub tools: &'a [UsedTool],
    /// What the sandbox enforced, sorted.
    pub sandbox: &'a [String],
    /// Which events it let in, if it is an ingest.
    pub population: Option<&'a Population>,
    /// How it ended.
    pub outcome: Outcome,
    /// Its outputs, or its log.
    pub subject: Vec<Resource>,
    /// The commit.
    pub made: Made,
    /// Where the logs were when the run began.
    pub logs: Vec<LogHead>,
    /// The run and when.
    pub times: Times<'a>,
}

/// Which run, and when.
#[derive(Clone, Copy)]
pub struct Times<'a> {
    /// The run id.
    pub run: &'a str,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// The statement about a stage.
#[must_use]
pub fn stage_statement(record: StageRecord<'_>) -> Statement {
    let StageRecord { plan, stage, .. } = record;
    let mut dependencies = vec![];
    dependencies.extend(record.made.commit.as_ref().map(Resource::commit));
    for file in definition_files(plan, stage) {
        dependencies.push(definition(file));
    }
    for (input, state) in stage.inputs.iter().zip(record.inputs) {
        dependencies.extend(state.resources(&input.name, record.key));
    }
    for tool in record.tools {
        let version = tool.version.clone();
        dependencies.push(Resource::file(&tool.name, &tool.digests, Role::Tool { version }));
    }
    let is_program = !matches!(stage.command, Command::Builtin { .. });
    let parts = Parts {
        build_type: STAGE_BUILD_TYPE,
        pipeline: &plan.pipeline,
        pipeline_file: plan.pipeline_file.as_str(),
        purpose: plan.purpose.as_deref(),
        purposes: declared(&plan.purposes),
        stage: Some(parameters(stage, record.resolved)),
        internal: Some(StageInternal {
            action: record.action.to_string(),
            definition: definition_digest(plan, stage).to_string(),
            population: record.population.map(|population| PopulationRecord {
                root: population.root.to_hex(),
                secret: population.secret.to_hex(),
                size: population.size,
            }),
            sandbox: record.sandbox.to_vec(),
            system: is_program.then(system),
        }),
        outcome: record.outcome,
        made: record.made,
        logs: record.logs,
        dependencies,
        subject: record.subject,
        times: (
            record.times.run.to_owned(),
            rfc3339(record.times.started),
            // A clock may be set back while a stage runs.
            rfc3339(record.times.finished.max(record.times.started)),
        ),
    };
    parts.into_statement()
}

/// A run that has ended: what its receipts say together. `stages` are the receipts of all its stages, cached ones too,
/// each with the stage's name; with what they made if they ran in it, or all with it if none did.
pub struct RunRecord<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The pipeline file.
    pub pipeline_file: &'a str,
    /// The pipeline's purpose.
    pub purpose: Option<&'a str>,
    /// The purposes that the project has, if they are not the usual ones.
    pub purposes: Option<Vec<String>>,
    /// The files that define it.
    pub definitions: Vec<Resource>,
    /// The stages that have a receipt, in parts.
    pub stages: Vec<StagesOfRun>,
    /// How it ended.
    pub outcome: Outcome,
    /// The commit.
    pub made: Made,
    /// Where the logs were when the run began.
    pub logs: Vec<LogHead>,
    /// Run id, began, ended (RFC 3339).
    pub times: (String, String, String),
}

/// What the receipt of a run says of some of its stages.
#[derive(Default)]
pub struct StagesOfRun {
    receipts: Vec<Resource>,
    subject: Vec<Resource>,
}

impl StagesOfRun {
    /// There is room for `count` stages.
    #[must_use]
    pub fn with_capacity(count: usize) -> Self {
        Self {
            receipts: Vec::with_capacity(count),
            subject: Vec::new(),
        }
    }

    /// Adds the stage with this name, by its receipt `id`; `subject` is what the run has to say of what that is about.
    pub fn add(&mut self, name: &str, id: ReceiptId, subject: impl IntoIterator<Item = Resource>) {
        self.receipts.push(Resource::receipt_of_stage(id, name));
        self.subject.extend(subject.into_iter().map(|mut resource| {
            if let Role::Output { stage, .. } = &mut resource.annotations.madmall {
                *stage = Some(name.to_owned());
            }
            resource
        }));
    }
}

/// The statement about a run.
#[must_use]
pub fn run_statement(record: RunRecord<'_>) -> Statement {
    let (run, started, finished) = record.times;
    let finished = finished.max(started.clone());
    let mut dependencies = record.definitions;
    dependencies.extend(record.made.commit.as_ref().map(Resource::commit));
    dependencies.reserve(record.stages.iter().map(|stages| stages.receipts.len()).sum());
    let mut subject = Vec::with_capacity(record.stages.iter().map(|stages| stages.subject.len()).sum());
    for stages in record.stages {
        dependencies.extend(stages.receipts);
        subject.extend(stages.subject);
    }
    let parts = Parts {
        build_type: RUN_BUILD_TYPE,
        pipeline: record.pipeline,
        pipeline_file: record.pipeline_file,
        purpose: record.purpose,
        purposes: record.purposes,
        stage: None,
        internal: None,
        outcome: record.outcome,
        made: record.made,
        logs: record.logs,
        dependencies,
        subject,
        times: (run, started, finished),
    };
    parts.into_statement()
}

/// The files of the repository that `stage` uses: those that define it, and its sources.
#[must_use]
pub fn files_used<'a>(plan: &'a Plan, stage: &Stage, inputs: &'a [InputState]) -> Vec<Used<'a>> {
    let mut all: Vec<_> = definition_files(plan, stage).map(used).collect();
    // A built-in sees of one file nothing but its bytes; a listing always has the bits.
    let sees_modes = !matches!(stage.command, Command::Builtin { .. });
    for (input, state) in stage.inputs.iter().zip(inputs) {
        if state.receipt.is_some() {
            continue;
        }
        let Content::Several { files, listing } = &state.content else {
            all.extend(state.files().iter().map(|file| Used::File(used_file(file, sees_modes))));
            continue;
        };
        let path = &*state.path;
        let is_folder = matches!(input.source, InputSource::Folder { .. });
        if is_folder && files.len() > MAX_MEMBERS {
            let listing = *listing;
            all.push(Used::Folder { path, listing });
            continue;
        }
        let used = files.iter().map(|file| used_file(file, true));
        match files.len() > MAX_MEMBERS {
            true => all.push(Used::Pattern {
                pattern: path,
                files: used.collect(),
            }),
            false => all.extend(used.map(Used::File)),
        }
        let names = files.iter().map(|file| file.path.as_str()).collect();
        all.push(Used::Names { path, names, plan });
    }
    all
}

fn used_file(file: &FileState, sees_modes: bool) -> UsedFile<'_> {
    UsedFile {
        path: &file.path,
        digests: file.hashed.digests,
        size: file.hashed.stamp.size(),
        executable: sees_modes.then(|| file.hashed.stamp.is_executable()),
    }
}

/// A file that says what stages are, as one to compare with the commit.
#[must_use]
pub fn used(file: &DefinitionFile) -> Used<'_> {
    Used::File(UsedFile {
        path: &file.path,
        digests: file.digests,
        size: file.size,
        executable: None,
    })
}

/// A file that says what stages are, as a dependency.
#[must_use]
pub fn definition(file: &DefinitionFile) -> Resource {
    Resource::file(file.path.as_str(), &file.digests, Role::Definition {})
}

/// The files that say what `stage` is: the pipeline's, those that it was included through, and its own if it has one.
pub fn definition_files<'a>(plan: &'a Plan, stage: &Stage) -> impl Iterator<Item = &'a DefinitionFile> {
    let own = stage.definition_file.filter(|index| *index != 0);
    let included = stage.included.iter().copied();
    std::iter::once(0)
        .chain(included)
        .chain(own)
        .map(|index| &plan.definition_files[index])
}

/// A time as receipts have it: UTC, whole seconds.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The purposes of a project as receipts spell them: not at all, if they are the usual ones.
#[must_use]
pub fn declared(purposes: &Purposes) -> Option<Vec<String>> {
    (!purposes.are_usual()).then(|| purposes.words().map(str::to_owned).collect())
}

/// What stage and run statements are both made of.
struct Parts<'a> {
    build_type: &'a str,
    pipeline: &'a str,
    pipeline_file: &'a str,
    purpose: Option<&'a str>,
    purposes: Option<Vec<String>>,
    stage: Option<StageParameters>,
    internal: Option<StageInternal>,
    outcome: Outcome,
    made: Made,
    logs: Vec<LogHead>,
    dependencies: Vec<Resource>,
    subject: Vec<Resource>,
    times: (String, String, String),
}

impl Parts<'_> {
    fn into_statement(self) -> Statement {
        let (invocation_id, started_on, finished_on) = self.times;
        let build_definition = BuildDefinition {
            build_type: self.build_type.to_owned(),
            external_parameters: ExternalParameters {
                erasure: None,
                pipeline: self.pipeline.to_owned(),
                pipeline_file: self.pipeline_file.to_owned(),
                purpose: self.purpose.map(str::to_owned),
                purposes: self.purposes,
                stage: self.stage,
            },
            internal_parameters: InternalParameters {
                madmall: Internal {
                    erased: None,
                    logs: self.logs,
                    made: self.made,
                    outcome: self.outcome,
                    stage: self.internal,
                },
            },
            resolved_dependencies: self.dependencies,
        };
        let version = BTreeMap::from([("madmall".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        let run_details = RunDetails {
            builder: Builder {
                id: LOCAL_BUILDER.to_owned(),
                version,
            },
            metadata: Metadata {
                finished_on,
                invocation_id,
                started_on,
            },
        };
        Statement::new(
            self.subject,
            Predicate {
                build_definition,
                run_details,
            },
        )
    }
}
