//! What must hold between the fields of a statement, so that a reader can rely on it: nothing here looks at files.
//!
//! A statement is checked both before it is signed and after it was read.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::consent;
use super::digest_set::DigestSet;
use super::digests::{self, artifact_digests};
use super::erasure;
use super::names::{check_outputs as check_output_names, check_path, clip, is_plain_name, is_version};
use super::sandbox;
use super::statement::{
    BuildDefinition, CommandRecord, ERASURE_BUILD_TYPE, LOCAL_BUILDER, LogHead, MAX_LOG_HEADS, Outcome, PREDICATE_TYPE,
    ParamRecord, RUN_BUILD_TYPE, RUN_V1_BUILD_TYPE, Repository, Resource, Role, RunDetails, STAGE_BUILD_TYPE,
    STATEMENT_TYPE, StageInternal, StageParameters, Statement, dependency_order,
};
use crate::digest::{Digest, Sha256};
use crate::log::checkpoint::Head;
use crate::plan::Number;
use crate::plan::stage_name::is_stage_name;

/// The largest integer that every reader of JSON takes as it is (RFC 8259, section 6).
const MAX_INTEGER: u64 = (1 << 53) - 1;

/// What a statement can be about.
const BUILD_TYPES: [&str; 4] = [STAGE_BUILD_TYPE, RUN_BUILD_TYPE, RUN_V1_BUILD_TYPE, ERASURE_BUILD_TYPE];

/// What is wrong, in words.
type Checked<T = ()> = Result<T, String>;

/// Checks everything that can be known from the statement alone. The text says the first thing that is wrong.
pub(super) fn check(statement: &Statement) -> Checked {
    require(
        statement.statement_type == STATEMENT_TYPE,
        "`_type` is not that of an in-toto Statement v1",
    )?;
    require(
        statement.predicate_type == PREDICATE_TYPE,
        "`predicateType` is not that of SLSA Provenance v1",
    )?;
    require(!statement.subject.is_empty(), "`subject` is empty")?;
    let sorted = |pair: &[Resource]| pair[0].name < pair[1].name;
    require(
        statement.subject.windows(2).all(sorted),
        "`subject` is not sorted by name, or names a file twice",
    )?;
    for subject in &statement.subject {
        check_path(&subject.name)?;
        digests::check_subject(subject)?;
    }
    check_output_names(&statement.subject)?;
    consent::check_words(statement)?;
    let definition = &statement.predicate.build_definition;
    let build_type = definition.build_type.as_str();
    if !BUILD_TYPES.contains(&build_type) {
        return Err(format!("`buildType` `{}` is not known", clip(build_type)));
    }
    check_path(&definition.external_parameters.pipeline_file)?;
    check_dependencies(definition)?;
    check_made(definition)?;
    check_details(&statement.predicate.run_details)?;
    let says = (
        definition.external_parameters.erasure.is_some(),
        statement.internal().erased.is_some(),
    );
    let is_erasure = build_type == ERASURE_BUILD_TYPE;
    require(
        says == (is_erasure, is_erasure),
        "`erasure` and `erased` stand in what says that something was erased, and in nothing else",
    )?;
    check_logs(&statement.internal().logs)?;
    match (build_type, statement.stage()) {
        (STAGE_BUILD_TYPE, Some((stage, internal))) => check_stage(statement, stage, internal),
        (RUN_BUILD_TYPE | RUN_V1_BUILD_TYPE, None) => check_run(statement),
        (ERASURE_BUILD_TYPE, None) => erasure::check(statement),
        _ => Err("`buildType` and `stage` do not go together".to_owned()),
    }
}

fn check_stage(statement: &Statement, stage: &StageParameters, internal: &StageInternal) -> Checked {
    for (what, text) in [("action", &internal.action), ("definition", &internal.definition)] {
        text.parse::<Digest>().map_err(|error| format!("`{what}`: {error}"))?;
    }
    require(
        is_stage_name(&stage.name),
        "the stage's name is not one that a stage can have",
    )?;
    let is_program = !matches!(stage.command, CommandRecord::Builtin { .. });
    require(
        is_program == internal.system.is_some(),
        "`system` stands with a built-in stage, or is missing with a program",
    )?;
    let ascending = |list: &[String]| list.windows(2).all(|pair| pair[0] < pair[1]);
    require(
        is_program || !stage.pin,
        "`pin` stands with a built-in stage, which has a revision",
    )?;
    require(ascending(&internal.sandbox), "`sandbox` is not sorted")?;
    if let Some(fault) = sandbox::fault_in(&internal.sandbox, is_program) {
        return Err(fault.to_owned());
    }
    require(ascending(&stage.secrets), "`secrets` is not sorted")?;
    for value in stage.params.values() {
        check_param(value)?;
    }
    check_streams(statement, stage)?;
    consent::check(statement, stage)?;
    digests::check_personal(statement, stage)?;
    check_population(statement, internal)?;
    for dependency in statement.dependencies() {
        let misplaced = matches!(dependency.role(), Role::Receipt { .. });
        require(!misplaced, "the receipt of a stage has a dependency of role `receipt`")?;
    }
    match statement.internal().outcome {
        Outcome::Succeeded => check_outputs(statement, stage),
        Outcome::Exited(_) | Outcome::Signalled(_) | Outcome::Refused | Outcome::BrokeDeclaration => {
            let is_own_log = |subject: &Resource| {
                *subject.role()
                    == Role::Log {
                        stage: stage.name.clone(),
                    }
            };
            require(
                statement.subject.iter().all(is_own_log),
                "a failed stage has a subject that is not its log",
            )
        }
        Outcome::Failed | Outcome::Interrupted => Err("the outcome is that of a run, not of a stage".to_owned()),
    }
}

/// Only what let events in has a population.
fn check_population(statement: &Statement, internal: &StageInternal) -> Checked {
    let Some(population) = &internal.population else {
        return Ok(());
    };
    require(
        statement.is_ingest() && statement.is_stage_success(),
        "`population` stands with a stage that let no events in",
    )?;
    for (what, text) in [("root", &population.root), ("secret", &population.secret)] {
        Sha256::from_hex(text).map_err(|error| format!("`{what}` of `population`: {error}"))?;
    }
    require(population.size <= MAX_INTEGER, "`size` of `population` is too large")
}

/// A program without a shell may have an input, a file, as standard input, and an output as standard output.
fn check_streams(statement: &Statement, stage: &StageParameters) -> Checked {
    require(
        stage.stdin.is_none() && stage.stdout.is_none() || matches!(stage.command, CommandRecord::Argv(_)),
        "`stdin` or `stdout` stands with a command that is not `argv`",
    )?;
    if let Some(name) = &stage.stdin {
        let is_it = |d: &Resource| {
            let is_file = artifact_digests(d).is_some_and(|digests| !digests.is_folder());
            matches!(d.role(), Role::Input { input, .. } if input == name) && is_file
        };
        require(
            statement.dependencies().iter().any(is_it),
            "`stdin` is not an input that is a file",
        )?;
    }
    require(
        stage
            .stdout
            .as_ref()
            .is_none_or(|name| stage.outputs.get(name).is_some_and(|path| !path.ends_with('/'))),
        "`stdout` is not an output that is a file",
    )
}

/// The subjects of a stage that did what it should are its outputs, all and only those.
fn check_outputs(statement: &Statement, stage: &StageParameters) -> Checked {
    let mut claimed = BTreeMap::new();
    for subject in &statement.subject {
        let Role::Output {
            output, stage: None, ..
        } = subject.role()
        else {
            return Err(format!(
                "subject `{}` is not an output of the stage",
                clip(&subject.name)
            ));
        };
        let is_folder = digests::check_artifact(subject)?.is_folder();
        let path = match is_folder {
            true if stage.outputs.get(output) == Some(&subject.name) => {
                digests::check_file(subject)?;
                subject.name.clone()
            }
            // As the stage spells the path of a folder.
            true => format!("{}/", subject.name),
            false => subject.name.clone(),
        };
        claimed.insert(output.clone(), path);
    }
    require(
        claimed == stage.outputs && claimed.len() == statement.subject.len(),
        "the subjects are not the stage's `outputs`",
    )
}

fn check_run(statement: &Statement) -> Checked {
    require(
        statement.external().stage.is_none() && statement.internal().stage.is_none(),
        "`stage` stands in the receipt of a run",
    )?;
    require(
        matches!(
            statement.internal().outcome,
            Outcome::Succeeded | Outcome::Failed | Outcome::Interrupted
        ),
        "the outcome is that of a stage, not of a run",
    )?;
    let mut stages = Vec::new();
    for dependency in statement.dependencies() {
        match (dependency.as_receipt(), dependency.role()) {
            (Some((stage, _)), _) => {
                require(is_stage_name(stage), "a run names a stage as none can be called")?;
                stages.push(stage);
            }
            (None, Role::Commit {} | Role::Definition {}) => {}
            _ => return Err(format!("a run does not depend on `{}`", clip(&dependency.name))),
        }
    }
    require(!stages.is_empty(), "a run names no receipt")?;
    stages.sort_unstable();
    require(
        stages.windows(2).all(|pair| pair[0] < pair[1]),
        "a run names two receipts for one stage",
    )?;
    for subject in &statement.subject {
        let stage = match subject.role() {
            Role::Output { stage: Some(stage), .. } | Role::Log { stage } => stage,
            _ => return Err(format!("subject `{}` is of no stage", clip(&subject.name))),
        };
        require(
            stages.binary_search(&stage.as_str()).is_ok(),
            "a subject is of a stage whose receipt is not named",
        )?;
    }
    Ok(())
}

fn check_dependencies(definition: &BuildDefinition) -> Checked {
    let dependencies = &definition.resolved_dependencies;
    let ascending = |pair: &[Resource]| dependency_order(&pair[0], &pair[1]) == Ordering::Less;
    require(
        dependencies.windows(2).all(ascending),
        "`resolvedDependencies` is not in order",
    )?;
    // What is said to come from a pipeline can be compared with that of a commit.
    let pipeline_file = &definition.external_parameters.pipeline_file;
    let is_it = |d: &Resource| matches!(d.role(), Role::Definition {}) && d.name == *pipeline_file;
    require(
        dependencies.iter().any(is_it),
        "`pipelineFile` is not among the definitions it depends on",
    )?;
    let mut inputs: BTreeMap<&str, &Resource> = BTreeMap::new();
    let mut members: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for dependency in dependencies {
        let may_be_keyed = matches!(dependency.role(), Role::Input { .. } | Role::Member { .. });
        require(
            may_be_keyed || !dependency.is_keyed(),
            "digests are keyed of what is no artifact",
        )?;
        match dependency.role() {
            Role::Commit {} => check_commit(dependency)?,
            Role::Definition {} => {
                check_path(&dependency.name)?;
                digests::check_file(dependency)?;
            }
            Role::Input { input, receipt, .. } => {
                check_path(&dependency.name)?;
                if let Some(receipt) = receipt {
                    receipt.parse::<Sha256>().map_err(|error| error.to_string())?;
                }
                let first = inputs.insert(input, dependency).is_none();
                require(first, "an input stands twice")?;
            }
            Role::Member { input, .. } => {
                check_path(&dependency.name)?;
                members.entry(input).or_default().push(dependency);
            }
            Role::Receipt { stage } => check_receipt(dependency, stage.as_deref(), &definition.build_type)?,
            Role::Tool { version } => {
                require(
                    is_plain_name(&dependency.name),
                    "the name of a tool is not a plain name",
                )?;
                require(
                    version.as_deref().is_none_or(is_version),
                    "the version of a tool is not one short line",
                )?;
                digests::check_file(dependency)?;
            }
            Role::Log { .. } | Role::Output { .. } | Role::Revocations {} => {
                return Err(format!("`{}` is no dependency by its role", clip(&dependency.name)));
            }
        }
    }
    for (input, dependency) in inputs {
        let members = members.remove(input);
        let is_made = matches!(dependency.role(), Role::Input { receipt: Some(_), .. });
        digests::check_input(dependency, members.as_deref())?;
        require(
            !is_made || members.is_none(),
            "the files of a folder that a stage made are listed with a stage that reads it",
        )?;
    }
    require(members.is_empty(), "a member is of an input that is not there")
}

fn check_commit(dependency: &Resource) -> Checked {
    let DigestSet::Commit(id) = &dependency.digest else {
        return Err("the digest set of the commit is not `gitCommit` alone".to_owned());
    };
    require(
        is_commit_id(id) && dependency.name == "commit",
        "the commit is not named `commit` with a digest `gitCommit`",
    )
}

/// A receipt is called by its id, or, by a run that has one for each stage, by its `stage`.
fn check_receipt(dependency: &Resource, stage: Option<&str>, build_type: &str) -> Checked {
    let DigestSet::Receipt(id) = dependency.digest else {
        return Err("a receipt has other digests than `sha256`".to_owned());
    };
    let is_by_stage = build_type == RUN_BUILD_TYPE;
    require(
        stage.is_none() == is_by_stage,
        "a receipt is called otherwise than the `buildType` wants it",
    )?;
    require(
        is_by_stage || dependency.name.parse() == Ok(id),
        "a receipt is not named by its digest `sha256`",
    )
}

fn check_made(definition: &BuildDefinition) -> Checked {
    let made = &definition.internal_parameters.madmall.made;
    let is_git = made.repository == Repository::Git;
    require(
        is_git == made.commit.is_some(),
        "`made` has a repository without a commit, or a commit without one",
    )?;
    require(
        is_git || made.differs.is_empty(),
        "`made` compares with a commit that it does not name",
    )?;
    let dependencies = &definition.resolved_dependencies;
    let commit = dependencies.iter().find(|d| matches!(d.role(), Role::Commit {}));
    let id = commit.and_then(|commit| match &commit.digest {
        DigestSet::Commit(id) => Some(id),
        _ => None,
    });
    require(
        id == made.commit.as_ref(),
        "the commit of `made` is not the one among the dependencies",
    )?;
    require(
        made.differs.windows(2).all(|pair| pair[0] < pair[1]),
        "`differs` is not sorted",
    )?;
    for path in &made.differs {
        let is_used = |d: &&Resource| d.name == *path && is_repository_file(d);
        require(
            dependencies.iter().any(|d| is_used(&d)),
            "`differs` names a file that is no dependency",
        )?;
    }
    Ok(())
}

/// Whether `dependency` is what a commit could hold: a definition, a source, or a file of a source that is several.
#[must_use]
pub fn is_repository_file(dependency: &Resource) -> bool {
    matches!(
        dependency.role(),
        Role::Definition {} | Role::Member { .. } | Role::Input { receipt: None, .. }
    )
}

fn check_details(details: &RunDetails) -> Checked {
    require(details.builder.id == LOCAL_BUILDER, "the builder is not known")?;
    require(
        details.builder.version.contains_key("madmall") && details.builder.version.len() == 1,
        "the builder's `version` is not that of `madmall` alone",
    )?;
    require(
        is_run_id(&details.metadata.invocation_id),
        "`invocationId` is not a run id",
    )?;
    for time in [&details.metadata.started_on, &details.metadata.finished_on] {
        let parsed: Option<jiff::Timestamp> = time.parse().ok();
        let respelled = parsed.map(|parsed| parsed.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        require(
            respelled.as_ref() == Some(time),
            "a time is not RFC 3339, UTC, in whole seconds",
        )?;
    }
    let times = &details.metadata;
    require(times.started_on <= times.finished_on, "it ended before it began")
}

fn check_logs(logs: &[LogHead]) -> Checked {
    require(
        logs.len() <= MAX_LOG_HEADS,
        "`logs` names more heads than a receipt may",
    )?;
    require(
        logs.windows(2).all(|pair| pair[0].origin < pair[1].origin),
        "`logs` is not sorted by origin, or names a log twice",
    )?;
    for head in logs {
        let is_spelled = (1..=MAX_INTEGER).contains(&head.size) && Head::named(head).is_some();
        require(is_spelled, "`logs` has a head that is not spelled as heads are")?;
    }
    Ok(())
}

fn check_param(value: &ParamRecord) -> Checked {
    match value {
        ParamRecord::Number(text) => require(
            Number::parse(text).is_some_and(|number| number.as_str() == text),
            "a number is not in shortest form",
        ),
        ParamRecord::List(items) => items.iter().try_for_each(check_param),
        ParamRecord::Map(map) => map.values().try_for_each(check_param),
        ParamRecord::Null | ParamRecord::Boolean(_) | ParamRecord::String(_) => Ok(()),
    }
}

/// Whether `text` can be a run id, and so the name of a file: letters, digits, `-` and `_`, at most 200 of them.
#[must_use]
pub fn is_run_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=200).contains(&text.len()) && text.bytes().all(allowed) && text.as_bytes()[0].is_ascii_alphanumeric()
}

fn is_commit_id(hex: &str) -> bool {
    matches!(hex.len(), 40 | 64) && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn require(holds: bool, otherwise: &str) -> Checked {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}
