//! What is different between two runs, by their receipts: one table of what each used and gave.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use serde_json::Number;

use super::artifact;
use super::numbers;
use super::past::PastRun;
use crate::plan::command_text::{command_lines, param_text};
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{CommandRecord, Outcome, Resource, Role};
use crate::store::Store;
use crate::workspace::Workspace;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The run itself.
    Run,
    /// What stages run, and the variables that are let in.
    Commands,
    /// Parameters of stages.
    Parameters,
    /// What stages read.
    Inputs,
    /// Programs.
    Tools,
    /// Numbers in JSON outputs.
    Metrics,
    /// What stages wrote.
    Outputs,
}

impl Section {
    /// All, in the order of the table.
    pub const ALL: [Self; 7] = [
        Self::Run,
        Self::Commands,
        Self::Parameters,
        Self::Inputs,
        Self::Tools,
        Self::Metrics,
        Self::Outputs,
    ];

    /// Its title.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Commands => "commands",
            Self::Parameters => "parameters",
            Self::Inputs => "inputs",
            Self::Tools => "tools",
            Self::Metrics => "metrics",
            Self::Outputs => "outputs",
        }
    }
}

/// One thing in both runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub section: Section,
    /// Whose it is; none in [`Section::Run`].
    pub stage: Option<String>,
    /// Of numbers: the output that they stand in.
    pub file: Option<String>,
    /// Its name.
    pub name: String,
    /// In the first run. Digests are whole, `blake3:…`.
    pub was: Option<String>,
    /// In the second.
    pub is: Option<String>,
    /// Of numbers: what was added.
    pub change: Option<String>,
}

impl Row {
    /// Whether the two runs differ in it.
    #[must_use]
    pub fn differs(&self) -> bool {
        self.was != self.is
    }
}

/// Two runs compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// By section; what is the same is there too.
    pub rows: Vec<Row>,
    /// What could not be compared, in words.
    pub notes: Vec<String>,
}

/// Section, stage, name: sorted as the table is.
type Key = (Section, Option<String>, String);
/// What one run has.
type Facts = BTreeMap<Key, String>;

/// Compares two runs. Numbers are read where the bytes of an output are in the store or in place.
#[must_use]
pub fn compare(first: &PastRun, second: &PastRun, workspace: &Workspace, store: &Store) -> Comparison {
    let mut notes = Vec::new();
    let pipeline = |run: &PastRun| run.own.statement.external().pipeline.clone();
    if pipeline(first) != pipeline(second) {
        notes.push("the two are runs of different pipelines".to_owned());
    }
    let (was, is) = (facts(first, &mut notes), facts(second, &mut notes));
    let keys: BTreeSet<&Key> = was.keys().chain(is.keys()).collect();
    let rows = keys.into_iter().map(|key| Row {
        section: key.0,
        stage: key.1.clone(),
        file: None,
        name: key.2.clone(),
        was: was.get(key).cloned(),
        is: is.get(key).cloned(),
        change: None,
    });
    let mut rows: Vec<Row> = rows.collect();
    let mut read = |run: &PastRun| metrics(run, workspace, store, &mut notes);
    rows.extend(metric_rows(&read(first), &read(second)));
    rows.sort_by(|a, b| (a.section, &a.stage).cmp(&(b.section, &b.stage)));
    notes.dedup();
    Comparison { rows, notes }
}

fn facts(run: &PastRun, notes: &mut Vec<String>) -> Facts {
    let mut facts = Facts::new();
    let statement = &run.own.statement;
    let (external, internal) = (statement.external(), statement.internal());
    let mut say = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            facts.insert((Section::Run, None, name.to_owned()), value);
        }
    };
    say("pipeline", Some(external.pipeline.clone()));
    say("purpose", external.purpose.clone());
    say("outcome", Some(outcome(&internal.outcome)));
    let plus = if internal.made.differs.is_empty() {
        ""
    } else {
        ", with edits"
    };
    say(
        "commit",
        internal.made.commit.as_ref().map(|commit| format!("{commit}{plus}")),
    );
    say(
        "madmall",
        statement.predicate.run_details.builder.version.get("madmall").cloned(),
    );
    for (stage, receipt) in &run.stages {
        match receipt {
            Some(receipt) => stage_facts(stage, receipt, &mut facts),
            None => notes.push(format!("the receipt of stage `{stage}` of {} is not here", run.id())),
        }
    }
    facts
}

/// What the stages of a run wrote, each with the stage that the run has for it.
fn outputs(run: &PastRun) -> impl Iterator<Item = (&str, &Resource)> {
    run.stages.iter().flat_map(|(stage, receipt)| {
        let made = receipt.iter().flat_map(|receipt| &receipt.statement.subject);
        let made = made.filter(|made| matches!(made.role(), Role::Output { .. }));
        made.map(|made| (stage.as_str(), made))
    })
}

fn stage_facts(stage: &str, receipt: &Receipt, facts: &mut Facts) {
    let mut say = |section, name: String, value: String| {
        facts.insert((section, Some(stage.to_owned()), name), value);
    };
    if let Some((parameters, _)) = receipt.statement.stage() {
        let command = match &parameters.command {
            CommandRecord::Builtin { name, revision } => format!("madmall/{name}, revision {revision}"),
            _ => command_lines(parameters).join(" ↵ "),
        };
        say(Section::Commands, "command".to_owned(), command);
        for (name, value) in &parameters.environment {
            let value = value.clone().unwrap_or_else(|| "(not set)".to_owned());
            say(Section::Commands, format!("variable {name}"), value);
        }
        for (name, value) in &parameters.params {
            say(Section::Parameters, name.clone(), param_text(value));
        }
    }
    let read = receipt.statement.dependencies().iter();
    for dependency in read.chain(&receipt.statement.subject) {
        let Some(digest) = dependency.digest.identity() else {
            continue;
        };
        match dependency.role() {
            Role::Input { input, .. } => say(Section::Inputs, format!("{input}: {}", dependency.name), digest),
            Role::Member { input, .. } => say(Section::Inputs, format!("{input}/ {}", dependency.name), digest),
            Role::Output { .. } => say(Section::Outputs, dependency.name.clone(), digest),
            Role::Tool { version } => {
                let version = version
                    .as_ref()
                    .map(|version| format!(" ({version})"))
                    .unwrap_or_default();
                say(Section::Tools, dependency.name.clone(), format!("{digest}{version}"));
            }
            _ => {}
        }
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded => "succeeded".to_owned(),
        Outcome::Interrupted => "interrupted".to_owned(),
        _ => "failed".to_owned(),
    }
}

/// Stage, file and name of a number.
type MetricKey = (Option<String>, String, String);
/// Each number, and its place in the file.
type Metrics = BTreeMap<MetricKey, (usize, Number)>;

fn metrics(run: &PastRun, workspace: &Workspace, store: &Store, notes: &mut Vec<String>) -> Metrics {
    let mut found = Metrics::new();
    for (stage, subject) in outputs(run) {
        let path = Utf8Path::new(&subject.name);
        // A folder holds no numbers of its own.
        let (Some("json"), Some(digest)) = (path.extension(), artifact::digest(subject)) else {
            continue;
        };
        let limit = numbers::LIMITS.bytes as u64;
        let read = digest
            .and_then(|digest| artifact::bytes(workspace, store, digest, path, limit))
            .map_err(|error| error.to_string())
            .and_then(|bytes| numbers::read(&bytes).map_err(|error| format!("is not read: {error}")));
        match read {
            Ok(numbers) => {
                if numbers.left_out > 0 {
                    let more = numbers.left_out;
                    notes.push(format!(
                        "`{path}` of {}: {more} more numbers are not compared",
                        run.id()
                    ));
                }
                for (place, number) in numbers.named.into_iter().enumerate() {
                    let key = (Some(stage.to_owned()), path.to_string(), number.name);
                    found.insert(key, (place, number.value));
                }
            }
            Err(why) => notes.push(format!("`{path}` of {}: {why}", run.id())),
        }
    }
    found
}

/// By stage and file; in a file the items of lists come last, for there may be many, else in its order.
fn metric_rows(was: &Metrics, is: &Metrics) -> Vec<Row> {
    let mut keys: Vec<&MetricKey> = was.keys().chain(is.keys()).collect();
    let place = |key: &MetricKey| is.get(key).or_else(|| was.get(key)).map(|(place, _)| *place);
    keys.sort_by_key(|key| (&key.0, &key.1, numbers::is_in_list(&key.2), place(key), &key.2));
    keys.dedup();
    let row = |key: &MetricKey| {
        let value = |metrics: &'_ Metrics| metrics.get(key).map(|(_, number)| number.clone());
        let (was, is) = (value(was), value(is));
        Row {
            section: Section::Metrics,
            stage: key.0.clone(),
            file: Some(key.1.clone()),
            name: key.2.clone(),
            change: was
                .as_ref()
                .zip(is.as_ref())
                .and_then(|(was, is)| numbers::change(was, is)),
            was: was.map(|number| number.to_string()),
            is: is.map(|number| number.to_string()),
        }
    };
    keys.into_iter().map(row).collect()
}
