//! What a receipt says: an in-toto Statement v1 with SLSA Provenance v1 as its predicate.
//!
//! Statement: <https://in-toto.io/Statement/v1>; provenance: <https://slsa.dev/provenance/v1>. No field of ours stands
//! at their level, because strict readers reject it: ours are in `externalParameters`, `internalParameters.madmall` and
//! `annotations`. Only strings, integers and booleans occur. Fields are declared in the byte order of their names; the
//! bytes that are signed are made by RFC 8785, in [`super::payload`]. What must hold between the fields is in
//! [`super::check`]; what they mean is explained, with an example, in `docs/receipt.md`.

mod questions;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::erasure::{Erased, Erasure};
use super::resource::is_false;
pub use super::resource::{Annotations, MAX_MEMBERS, ReceiptId, Resource, Role, dependency_order};
use crate::plan::ParamValue;

/// `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of every statement.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// `buildType` of the receipt of a stage.
pub const STAGE_BUILD_TYPE: &str = "urn:madmall:stage:v1";
/// `buildType` of the receipt of a run.
pub const RUN_BUILD_TYPE: &str = "urn:madmall:run:v2";
/// `buildType` of the receipt of a run as first released: it names the outputs of all its stages.
pub const RUN_V1_BUILD_TYPE: &str = "urn:madmall:run:v1";
/// `buildType` of what says that something was erased.
pub const ERASURE_BUILD_TYPE: &str = "urn:madmall:erasure:v1";
/// `builder.id` of what ran on the machine where madmall was typed.
pub const LOCAL_BUILDER: &str = "urn:madmall:builder:local";

/// An in-toto Statement v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub statement_type: String,
    /// The provenance.
    pub predicate: Predicate,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// A stage: its outputs, or its log if it failed. A run: those of the stages that ran in it, or of all if none had to;
    /// of the first version always of all. Sorted by name.
    pub subject: Vec<Resource>,
}

/// SLSA Provenance v1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Predicate {
    /// What was run, from what.
    pub build_definition: BuildDefinition,
    /// By whom and when.
    pub run_details: RunDetails,
}

/// What was run, from what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`STAGE_BUILD_TYPE`], [`RUN_BUILD_TYPE`] or another of them.
    pub build_type: String,
    /// What the user asked for.
    pub external_parameters: ExternalParameters,
    /// What madmall adds.
    pub internal_parameters: InternalParameters,
    /// Everything read: the commit, definition files, inputs, receipts, tools. Sorted by [`dependency_order`], without
    /// two that are equal in it.
    pub resolved_dependencies: Vec<Resource>,
}

/// What the user asked for. `command`, `outputs` and `params` are those of a stage; a run has only the first three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalParameters {
    /// Who or what was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline file, relative to the workspace.
    pub pipeline_file: String,
    /// The pipeline's purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// The purposes that the project has, the narrowest first, if they are not `care`, `research`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purposes: Option<Vec<String>>,
    /// The stage's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageParameters>,
}

/// What the user asked of one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageParameters {
    /// What runs.
    pub command: CommandRecord,
    /// Outputs that by the word of the pipeline hold nothing of a person any more, by name, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declassify: Vec<String>,
    /// Variables that were let in, with their values (`null` if not set).
    pub environment: BTreeMap<String, Option<String>>,
    /// The stage's name in the pipeline.
    pub name: String,
    /// Output name to path.
    pub outputs: BTreeMap<String, String>,
    /// Parameters, defaults filled in; numbers as text in shortest form.
    pub params: BTreeMap<String, ParamRecord>,
    /// The pipeline's personal parameters that it refers to, by name, sorted: keyed digests stand in the place of their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub personal: Vec<String>,
    /// Whether the programs of the machine that it used are part of its action.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pin: bool,
    /// The purpose that the consent of its inputs has to cover, if it is not the pipeline's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<String>,
    /// Names of variables that were let in and are recorded nowhere.
    pub secrets: Vec<String>,
    /// The input that was the program's standard input, if one was; only with `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// The output that the program's standard output was, if one was; only with `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout: Option<String>,
}

/// What ran. Exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum CommandRecord {
    /// A built-in stage.
    Builtin {
        /// Its name.
        name: String,
        /// Its revision.
        revision: u32,
    },
    /// A program and its arguments.
    Argv(Vec<String>),
    /// Text for `sh -eu`.
    Shell(String),
}

/// A parameter as JSON without floats; `{"number": "0.2"}` keeps numbers apart from texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum ParamRecord {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// Shortest form.
    Number(String),
    /// A text.
    String(String),
    /// A list.
    List(Vec<ParamRecord>),
    /// A map.
    Map(BTreeMap<String, ParamRecord>),
}

/// What madmall adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InternalParameters {
    /// The one field.
    pub madmall: Internal,
}

/// What madmall adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Internal {
    /// What was done to erase it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Erased>,
    /// Where the logs of receipts were when the run began, sorted by origin; at most [`MAX_LOG_HEADS`].
    pub logs: Vec<LogHead>,
    /// The commit and how the files used compare with it.
    pub made: Made,
    /// How it ended.
    pub outcome: Outcome,
    /// The stage's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageInternal>,
}

/// A receipt names the heads of at most this many logs.
pub const MAX_LOG_HEADS: usize = 256;

/// Where a log of receipts was. A log that is shorter later, or has another root at that size, was cut or forked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// `madmall/<log id>`.
    pub origin: String,
    /// The root over its entries (RFC 6962), 64 hexadecimal digits.
    pub root: String,
    /// How many entries it had; at least one.
    pub size: u64,
}

/// What madmall adds for a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageInternal {
    /// The action digest, `blake3:…`: everything that can change the outputs.
    pub action: String,
    /// The definition digest, `blake3:…`: the resolved stage without the digests of its inputs.
    pub definition: String,
    /// Of an ingest: which events it let in. Receipts of madmall 0.1 as first released say nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<PopulationRecord>,
    /// What the sandbox enforced, as words of [`super::sandbox`], sorted; empty if nothing.
    pub sandbox: Vec<String>,
    /// The operating system and architecture, for program stages (part of their action).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// Which events an ingest let in: the set of their tokens, see `docs/formats/population.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PopulationRecord {
    /// The root of the map of their tokens, 64 hexadecimal digits.
    pub root: String,
    /// What the secret is called that the tokens are keyed by, 64 hexadecimal digits.
    pub secret: String,
    /// How many they are.
    pub size: u64,
}

/// How a stage or a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Outcome {
    /// As it should.
    Succeeded,
    /// A stage: it ended with this exit code.
    Exited(i32),
    /// A stage: it was ended by this signal.
    Signalled(i32),
    /// A stage: it refused its input (fail closed).
    Refused,
    /// A stage: it ended well but broke its declaration (an output missing, an input changed).
    BrokeDeclaration,
    /// A run: at least one stage failed.
    Failed,
    /// A run: it was interrupted before its end.
    Interrupted,
}

/// The commit that a result was made at. Ties it by content: the files used that the commit has otherwise, or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Made {
    /// The commit's id in hexadecimal, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Of the sources and definition files named as dependencies, those that the commit has with other bytes or does
    /// not have; sorted. An input whose files are not listed is named by its own path or pattern. Empty without a commit.
    pub differs: Vec<String>,
    /// Whether there is a repository.
    pub repository: Repository,
}

impl Made {
    /// What is said where no commit is: `repository` is anything but [`Repository::Git`].
    #[must_use]
    pub fn without_commit(repository: Repository) -> Self {
        Self {
            commit: None,
            differs: Vec::new(),
            repository,
        }
    }
}

/// Whether there is a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Repository {
    /// A git repository with a commit.
    Git,
    /// A git repository without any commit yet.
    Unborn,
    /// None.
    None,
    /// One that could not be read.
    Unreadable,
}

/// By whom and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDetails {
    /// Who ran it.
    pub builder: Builder,
    /// Which run, and when.
    pub metadata: Metadata,
}

/// Who ran it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Builder {
    /// [`LOCAL_BUILDER`].
    pub id: String,
    /// `{"madmall": "0.1.0"}`.
    pub version: BTreeMap<String, String>,
}

/// Which run, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// RFC 3339, UTC, whole seconds.
    pub finished_on: String,
    /// The run id.
    pub invocation_id: String,
    /// RFC 3339, UTC, whole seconds.
    pub started_on: String,
}

impl Statement {
    /// A statement with the types of this version, its dependencies and subjects put in order.
    #[must_use]
    pub fn new(mut subject: Vec<Resource>, mut predicate: Predicate) -> Self {
        subject.sort_by(|a, b| a.name.cmp(&b.name));
        let dependencies = &mut predicate.build_definition.resolved_dependencies;
        dependencies.sort_by(dependency_order);
        dependencies.dedup();
        Self {
            statement_type: STATEMENT_TYPE.to_owned(),
            predicate,
            predicate_type: PREDICATE_TYPE.to_owned(),
            subject,
        }
    }
}

impl From<&ParamValue> for ParamRecord {
    fn from(value: &ParamValue) -> Self {
        match value {
            ParamValue::Null => Self::Null,
            ParamValue::Boolean(value) => Self::Boolean(*value),
            ParamValue::Number(number) => Self::Number(number.to_string()),
            ParamValue::String(text) => Self::String(text.clone()),
            ParamValue::List(items) => Self::List(items.iter().map(Self::from).collect()),
            ParamValue::Map(map) => Self::Map(map.iter().map(|(k, v)| (k.clone(), v.into())).collect()),
        }
    }
}
