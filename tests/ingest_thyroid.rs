//! The stage `ingest` over the real records of this repository.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use camino::{Utf8Path, Utf8PathBuf};
use madmall::digest::Digest;
use madmall::stages::ingest::schema::EventSchema;
use madmall::stages::{InputFile, StageContext, StageError, builtin};
use serde_json::Value;

fn repository(path: &str) -> Utf8PathBuf {
    Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn raw() -> String {
    fs::read_to_string(repository("data/raw/thyroid.ndjson")).expect("the real records are in the repository")
}

struct Space {
    folder: tempfile::TempDir,
}

impl Space {
    fn with(raw: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut file = File::create(folder.path().join("raw.ndjson")).expect("the folder can be written to");
        file.write_all(raw.as_bytes()).expect("the folder can be written to");
        Self { folder }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).expect("a UTF-8 path")
    }

    fn run(&self, purpose: &str) -> Result<(), StageError> {
        let file = |absolute: Utf8PathBuf, name: &str| {
            vec![InputFile {
                absolute,
                name: Utf8PathBuf::from(name),
                digest: None,
            }]
        };
        let mut context = StageContext {
            purpose: Some(purpose),
            inputs: BTreeMap::from([
                ("events", file(self.path("raw.ndjson"), "data/raw/thyroid.ndjson")),
                (
                    "schema",
                    file(
                        repository("schemas/byte_event.schema.json"),
                        "schemas/byte_event.schema.json",
                    ),
                ),
                (
                    "revocations",
                    file(repository("data/revocations.ndjson"), "data/revocations.ndjson"),
                ),
            ]),
            outputs: BTreeMap::from([("events", self.path("events")), ("report", self.path("report"))]),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: None,
            population: None,
            read_ahead: None,
            purposes: &madmall::consent::purposes::Purposes::default(),
            scratch: self.path("."),
            params: &BTreeMap::new(),
            threads: 1,
            log: &mut Vec::new(),
            progress: &|_| {},
            cancelled: &AtomicBool::new(false),
        };
        (builtin("ingest").expect("it comes with madmall").run)(&mut context)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the output was written")
    }
}

#[test]
fn the_real_records_are_what_their_readme_says() {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut ids = Vec::new();
    for line in raw().lines() {
        let event: Value = serde_json::from_str(line).expect("an event");
        let features = event["payload"]["features"].as_object().expect("features");
        ids.push(event["event_id"].as_str().expect("an id").to_owned());
        *counts
            .entry(format!("label {}", event["payload"]["label"]))
            .or_default() += 1;
        *counts
            .entry(format!("scope {}", event["consent"]["scope"]))
            .or_default() += 1;
        for key in ["sex", "male", "TSH", "T3", "TT4", "T4U", "FTI", "TBG", "age"] {
            *counts.entry(format!("has {key}")).or_default() += u32::from(features.contains_key(key));
        }
        *counts.entry("age over 120".to_owned()).or_default() +=
            u32::from(features["age"].as_f64().expect("a number") > 120.0);
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 9172);
    let expected = [
        ("age over 120", 4),
        ("has FTI", 8370),
        ("has T3", 6568),
        ("has T4U", 8363),
        ("has TBG", 349),
        ("has TSH", 8330),
        ("has TT4", 8730),
        ("has age", 9172),
        ("has male", 8865),
        ("has sex", 8865),
        ("label \"hyperthyroid\"", 241),
        ("label \"negative\"", 6771),
        ("label null", 2160),
        ("scope \"care\"", 1366),
        ("scope \"research\"", 7806),
    ];
    assert_eq!(counts, expected.map(|(key, count)| (key.to_owned(), count)).into());
}

/// A change here changes what every pipeline gets: it needs a new `revision` of the stage.
#[test]
fn what_comes_of_the_real_records_is_golden() {
    let space = Space::with(&raw());
    space.run("research").expect("the real records are valid");
    let report: Value = serde_json::from_str(&space.read("report")).expect("a report in JSON");
    assert_eq!(report["counts"]["accepted"], 7772);
    assert_eq!(report["counts"]["excluded"]["purpose"], 1362);
    assert_eq!(report["counts"]["excluded"]["revoked"], 38);
    assert_eq!(report["revocations"]["unknown"], 0);
    let revision = builtin("ingest").map(|stage| stage.revision);
    let digests = [space.read("events"), space.read("report")].map(|text| Digest::of(text.as_bytes()).to_string());
    assert_eq!(
        (revision, digests.each_ref().map(String::as_str)),
        (
            Some(3),
            [
                "blake3:3c8190a45270eb0c34ba9ebae11f3864c86ed67c6cb05c862f112df45dfd9296",
                "blake3:f233aebc22258276a2d6725d763206c3439f4135921ff8c5f05b7bd217b90c77"
            ]
        )
    );

    let schema = fs::read(repository("schemas/ingest_report.schema.json")).expect("the schema is in the repository");
    let schema = EventSchema::compile(&schema).expect("a valid schema");
    assert_eq!(schema.check(&report), Ok(()));
}

#[test]
fn a_fault_in_line_5000_is_told_by_line_pointer_and_rule_and_nothing_is_written() {
    let raw: String = raw()
        .split_inclusive('\n')
        .enumerate()
        .map(|(nth, line)| match nth + 1 {
            5000 => line
                .replace("\"label\":\"negative\"", "\"label\":5")
                .replace("\"label\":null", "\"label\":5"),
            _ => line.to_owned(),
        })
        .collect();
    let space = Space::with(&raw);
    let refusal = match space.run("research") {
        Err(StageError::Refused(refusal)) => refusal,
        other => panic!("not a refusal: {other:?}"),
    };
    assert_eq!(refusal.summary, "1 of 9,172 events is invalid");
    assert_eq!(
        refusal.details[0],
        "data/raw/thyroid.ndjson:5000: /payload/label: is not of type \"null\" or \"string\" [type]"
    );
    assert!(!space.path("events").exists() && !space.path("report").exists());
}

#[test]
fn the_same_events_are_let_in_whatever_the_order_of_lines() {
    let set = |raw: &str| {
        let space = Space::with(raw);
        space.run("research").expect("the real records are valid");
        let mut lines: Vec<String> = space.read("events").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        (lines, space.read("report"))
    };
    let raw = raw();
    let backwards: String = raw.split_inclusive('\n').rev().collect();
    assert_eq!(set(&raw), set(&backwards));
}
