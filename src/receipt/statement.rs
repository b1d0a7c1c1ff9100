//! What a receipt says: an in-toto Statement v1 with SLSA Provenance v1 as its predicate.
//!
//! Statement: <https://in-toto.io/Statement/v1>; provenance: <https://slsa.dev/provenance/v1>. No field of ours stands
//! at their level, because strict readers reject it: ours are in `externalParameters`, `internalParameters.madmall` and
//! `annotations`. Only strings, integers and booleans occur. Fields are declared in the byte order of their names; the
//! bytes that are signed are made by RFC 8785 ([`Statement::to_payload`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Digests, Sha256};
use crate::plan::ParamValue;

/// `_type` of every statement.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of every statement.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// `buildType` of the receipt of a stage.
pub const STAGE_BUILD_TYPE: &str = "urn:madmall:stage:v1";
/// `buildType` of the receipt of a run.
pub const RUN_BUILD_TYPE: &str = "urn:madmall:run:v1";
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
    /// A stage: its outputs, or its log if it failed. A run: the outputs of all stages that are up to date at its end,
    /// then the logs of those that failed. Sorted by name.
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
    /// [`STAGE_BUILD_TYPE`] or [`RUN_BUILD_TYPE`].
    pub build_type: String,
    /// What the user asked for.
    pub external_parameters: ExternalParameters,
    /// What madmall adds.
    pub internal_parameters: InternalParameters,
    /// Everything read: inputs, definition files, tools, receipts, the commit. Sorted by role, then name.
    pub resolved_dependencies: Vec<Resource>,
}

/// What the user asked for. `command`, `outputs` and `params` are those of a stage; a run has only the first three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalParameters {
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline file, relative to the workspace.
    pub pipeline_file: String,
    /// The pipeline's purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
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
    /// Variables that were let in, with their values (`null` if not set).
    pub environment: BTreeMap<String, Option<String>>,
    /// The stage's name in the pipeline.
    pub name: String,
    /// Output name to path.
    pub outputs: BTreeMap<String, String>,
    /// Parameters, defaults filled in; numbers as text in shortest form.
    pub params: BTreeMap<String, ParamRecord>,
    /// Names of variables that were let in and are recorded nowhere.
    pub secrets: Vec<String>,
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
    /// Heads of the logs that could be seen; none are kept yet.
    pub logs: Vec<String>,
    /// The commit and how the files used compare with it.
    pub made: Made,
    /// How it ended.
    pub outcome: Outcome,
    /// The stage's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<StageInternal>,
}

/// What madmall adds for a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StageInternal {
    /// The action digest, `blake3:…`: everything that can change the outputs.
    pub action: String,
    /// The definition digest, `blake3:…`: the resolved stage without the digests of its inputs.
    pub definition: String,
    /// What the sandbox enforced, sorted; empty if nothing.
    pub sandbox: Vec<String>,
    /// The operating system and architecture, for program stages (part of their action).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
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
    /// Of the files named as dependencies, those that the commit has with other bytes or does not have; sorted.
    pub differs: Vec<String>,
    /// Whether there is a repository.
    pub repository: Repository,
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

/// An in-toto ResourceDescriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// What we know of it beside its digest.
    pub annotations: Annotations,
    /// `blake3` and `sha256` of a file; `blake3` and `dirHash` of several; `sha256` of a receipt; `gitCommit`.
    pub digest: BTreeMap<String, String>,
    /// A path in the workspace, or the name of a tool, or a receipt's id.
    pub name: String,
}

/// What we know of a resource beside its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    /// The one field.
    pub madmall: Role,
}

/// What a resource is to the stage or the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Role {
    /// The commit.
    Commit {},
    /// A file that says what the stage is: pipeline or stage definition.
    Definition {},
    /// An input of the stage.
    Input {
        /// Its name in the stage.
        input: String,
        /// The id (`sha256:…`) of the receipt of the stage that made it; none for a source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<String>,
    },
    /// The log of a stage that failed.
    Log {
        /// The stage's name.
        stage: String,
    },
    /// An output of the stage (of a run: of the stage named).
    Output {
        /// Its name in the stage.
        output: String,
        /// In a run's receipt: the stage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
    },
    /// A receipt that this one stands on (of a run: the receipt of the stage named).
    Receipt {
        /// The stage's name.
        stage: String,
    },
    /// A program that was run.
    Tool {},
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

/// The id of a receipt: the SHA-256 of its payload bytes.
pub type ReceiptId = Sha256;

/// A digest set as receipts carry it for a file.
#[must_use]
pub fn file_digest_set(digests: &Digests) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("blake3".to_owned(), digests.blake3.to_hex()),
        ("sha256".to_owned(), digests.sha256.to_hex()),
    ])
}

/// A digest set as receipts carry it for several files: BLAKE3 of the listing, and in-toto's `dirHash`.
#[must_use]
pub fn tree_digest_set(listing: Digest, dir_hash: Sha256) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("blake3".to_owned(), listing.to_hex()),
        ("dirHash".to_owned(), dir_hash.to_hex()),
    ])
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
