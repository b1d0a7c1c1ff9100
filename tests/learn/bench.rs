//! A fresh folder in which a built-in stage runs, and events to run it on.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use madmall::plan::{Number, ParamValue};
use madmall::stages::{InputFile, StageContext, StageError, builtin};
use serde_json::{Value, json};

/// A folder that is removed when the test ends.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

/// Parameters by name.
pub(crate) type Params = BTreeMap<String, ParamValue>;

/// What a stage wrote: bytes by the output's name.
pub(crate) type Outputs = BTreeMap<String, Vec<u8>>;

impl Bench {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    pub(crate) fn path(&self, name: &str) -> Utf8PathBuf {
        let folder = Utf8Path::from_path(self.folder.path()).expect("the temporary folder has a UTF-8 name");
        folder.join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> Utf8PathBuf {
        let path = self.path(name);
        let mut file = File::create(&path).expect("a file can be made");
        file.write_all(bytes).expect("a file can be written");
        path
    }

    /// Runs the stage `name`, whose one input is `input`, made of `files`.
    pub(crate) fn run(
        &self,
        name: &str,
        input: &str,
        files: &[&[u8]],
        params: &Params,
        threads: usize,
    ) -> Result<Outputs, StageError> {
        let files = files.iter().enumerate().map(|(index, bytes)| InputFile {
            absolute: self.write(&format!("{name}-{input}-{index}"), bytes),
            name: Utf8PathBuf::from(format!("data/{input}-{index}")),
            digest: None,
        });
        let names: &[&str] = match name {
            "featurize" => &["features", "report"],
            _ => &["model", "metrics"],
        };
        let outputs: BTreeMap<&str, Utf8PathBuf> = names.iter().map(|output| (*output, self.path(output))).collect();
        let mut log = Vec::new();
        let mut context = StageContext {
            purpose: None,
            inputs: BTreeMap::from([(input, files.collect())]),
            outputs: outputs.clone(),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: None,
            population: None,
            read_ahead: None,
            purposes: &madmall::consent::purposes::Purposes::default(),
            scratch: self.path("."),
            params,
            threads,
            log: &mut log,
            progress: &|_| {},
            cancelled: &AtomicBool::new(false),
        };
        let stage = builtin(name).expect("the stage comes with madmall");
        (stage.run)(&mut context)?;
        let read = |(name, path): (&str, Utf8PathBuf)| {
            let bytes = std::fs::read(path).expect("the stage has written it");
            (name.to_owned(), bytes)
        };
        Ok(outputs.into_iter().map(read).collect())
    }

    pub(crate) fn featurize(&self, files: &[&[u8]], params: &Params) -> Result<Outputs, StageError> {
        self.run("featurize", "events", files, params, 2)
    }

    pub(crate) fn train(&self, features: &[u8], params: &Params, threads: usize) -> Result<Outputs, StageError> {
        self.run("train", "features", &[features], params, threads)
    }

    /// Featurizes `events` without parameters and trains on them.
    pub(crate) fn learn(&self, events: &[u8], params: &Params) -> Result<Outputs, StageError> {
        let features = self.featurize(&[events], &Params::new())?;
        self.train(&features["features"], params, 2)
    }
}

/// Parameters from JSON.
pub(crate) fn params(value: Value) -> Params {
    match to_param(value) {
        ParamValue::Map(params) => params,
        other => panic!("{other:?} is no map of parameters"),
    }
}

fn to_param(value: Value) -> ParamValue {
    match value {
        Value::Null => ParamValue::Null,
        Value::Bool(value) => ParamValue::Boolean(value),
        Value::Number(number) => ParamValue::Number(Number::parse(&number.to_string()).expect("a finite number")),
        Value::String(text) => ParamValue::String(text),
        Value::Array(items) => ParamValue::List(items.into_iter().map(to_param).collect()),
        Value::Object(members) => {
            ParamValue::Map(members.into_iter().map(|(key, value)| (key, to_param(value))).collect())
        }
    }
}

/// An event as `ingest` lets it pass.
pub(crate) fn event(id: &str, label: &Value, features: &Value) -> Value {
    json!({
        "event_id": id,
        "timestamp": "2026-01-05T07:12:33Z",
        "source": {"kind": "self"},
        "consent": {"scope": "research", "revocable": true},
        "payload": {"type": "lab_marker", "label": label, "features": features},
    })
}

/// One line for each event.
pub(crate) fn ndjson(events: &[Value]) -> Vec<u8> {
    events
        .iter()
        .map(|event| event.to_string() + "\n")
        .collect::<String>()
        .into_bytes()
}

/// The summary and the details of a refusal.
pub(crate) fn refusal<T>(result: Result<T, StageError>) -> String {
    match result {
        Err(StageError::Refused(refusal)) => {
            let help = refusal.help.unwrap_or_default();
            format!("{}\n{}\n{help}", refusal.summary, refusal.details.join("\n"))
        }
        Err(other) => panic!("not a refusal: {other:?}"),
        Ok(_) => panic!("not refused"),
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The bytes of a file of the repository.
pub(crate) fn read_repository(path: &str) -> Vec<u8> {
    std::fs::read(repository(path)).unwrap_or_else(|error| panic!("cannot read `{path}`: {error}"))
}

/// The committed set of 300 made-up events.
pub(crate) fn small_events() -> Vec<u8> {
    read_repository("tests/golden/small-events.ndjson")
}

/// The parameters that the frozen digests are for.
pub(crate) fn small_params() -> Params {
    params(json!({"groups": ["source.kind", "source.region"], "range": {"age": [0, 120]}}))
}

pub(crate) fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("the stage writes JSON")
}
