//! The stage as the runner calls it: files in, files out.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::sync::atomic::AtomicBool;

use camino::Utf8PathBuf;
use serde_json::Value;

use super::check::NonRevocable;
use super::*;
use crate::plan::ParamValue;

mod compressed;
mod inputs;
mod memory;
mod withdrawn;

/// A folder with inputs, and what the stage is asked to do with them.
struct Space {
    folder: tempfile::TempDir,
    events: Vec<&'static str>,
    revocations: Option<&'static str>,
    outputs: Vec<&'static str>,
    params: BTreeMap<String, ParamValue>,
    purpose: Option<&'static str>,
    secret: Option<crate::consent::secret::ConsentSecret>,
}

struct Ended {
    result: Result<(), StageError>,
    passed_on: Vec<String>,
    log: String,
    progress: u64,
}

impl Space {
    fn new(events: &str) -> Self {
        let space = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
            events: vec!["in.ndjson"],
            revocations: None,
            outputs: vec!["events", "report"],
            params: BTreeMap::new(),
            purpose: Some("research"),
            secret: None,
        };
        space.write("in.ndjson", events.as_bytes());
        let schema = include_bytes!("../../../schemas/byte_event.schema.json");
        space.write("schema.json", schema);
        space
    }

    fn quarantine(mut self) -> Self {
        self.outputs.push("rejects");
        self.set("on_reject", "quarantine")
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.params
            .insert(name.to_owned(), ParamValue::String(value.to_owned()));
        self
    }

    fn revoking(mut self, revocations: &str) -> Self {
        self.write("revocations.ndjson", revocations.as_bytes());
        self.revocations = Some("revocations.ndjson");
        self
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8PathBuf::from_path_buf(self.folder.path().join(name)).expect("a UTF-8 path")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = File::create(self.path(name)).expect("the folder can be written to");
        file.write_all(bytes).expect("the folder can be written to");
    }

    fn input(&self, name: &str) -> InputFile {
        InputFile {
            absolute: self.path(name),
            name: Utf8PathBuf::from(format!("data/{name}")),
            digest: None,
        }
    }

    fn run(&self) -> Ended {
        self.run_with(&AtomicBool::new(false))
    }

    fn run_with(&self, cancelled: &AtomicBool) -> Ended {
        self.run_on(cancelled, &[])
    }

    /// Runs it with the digests that its action would have of its files.
    fn run_on(&self, cancelled: &AtomicBool, digests: &[Digest]) -> Ended {
        let mut digests = digests.iter().copied();
        let mut input = |name: &&str| InputFile {
            digest: digests.next(),
            ..self.input(name)
        };
        let mut inputs: BTreeMap<&str, Vec<InputFile>> = BTreeMap::new();
        inputs.insert("events", self.events.iter().map(&mut input).collect());
        inputs.insert("schema", vec![input(&"schema.json")]);
        if let Some(name) = self.revocations {
            inputs.insert("revocations", vec![input(&name)]);
        }
        let (mut log, progress) = (Vec::new(), Cell::new(0));
        let mut context = StageContext {
            purpose: self.purpose,
            inputs,
            outputs: self.outputs.iter().map(|name| (*name, self.path(name))).collect(),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: self.secret.as_ref(),
            population: None,
            read_ahead: None,
            purposes: &crate::consent::purposes::Purposes::default(),
            scratch: self.path("."),
            params: &self.params,
            threads: 1,
            log: &mut log,
            progress: &|told| progress.set(told.done),
            cancelled,
        };
        let result = (BUILTIN.run)(&mut context);
        let passed_on: Vec<String> = context.passed_on.keys().cloned().collect();
        if passed_on == ["events"] {
            // As the runner does.
            let taken = fs::copy(self.path(self.events[0]), self.path("events"));
            taken.expect("the input is there and the output is not");
        }
        Ended {
            result,
            passed_on,
            log: String::from_utf8(log).expect("a log of text"),
            progress: progress.get(),
        }
    }

    /// Runs it, and gives what it wrote to the output `events`.
    fn accepted(&self) -> String {
        self.run().result.expect("the stage succeeds");
        self.output("events")
    }

    fn output(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("the output was written")
    }

    fn report(&self) -> Value {
        serde_json::from_str(&self.output("report")).expect("a report in JSON")
    }

    /// Runs it, sees that it wrote nothing, and gives its refusal.
    fn refusal(&self) -> Refusal {
        let refusal = match self.run().result {
            Err(StageError::Refused(refusal)) => refusal,
            other => panic!("not a refusal: {other:?}"),
        };
        for name in &self.outputs {
            assert!(!self.path(name).exists(), "`{name}` was written");
        }
        refusal
    }
}

fn event(id: &str, scope: &str) -> String {
    format!(
        "{{\"event_id\":\"{id}\",\"timestamp\":\"2026-01-05\",\"source\":\"self\",\
         \"consent\":{{\"scope\":\"{scope}\",\"revocable\":true}},\"payload\":{{\"type\":\"lab_marker\"}}}}\n"
    )
}

fn three() -> String {
    [
        event("evt-000001", "research"),
        event("evt-000002", "care"),
        event("evt-000003", "research"),
    ]
    .concat()
}

#[test]
fn when_all_are_accepted_the_output_is_the_inputs_own_bytes() {
    let lines = [
        event("evt-000001", "research"),
        event("evt-000002", "research").replace('\n', "  \t\r\n"),
        event("evt-000003", "research").trim_end().to_owned(),
    ]
    .concat();
    assert_eq!(Space::new(&lines).accepted(), lines);
}

#[test]
fn an_event_that_the_purpose_needs_more_consent_for_is_left_out_and_counted() {
    let mut space = Space::new(&three());
    let expected = [event("evt-000001", "research"), event("evt-000003", "research")].concat();
    assert_eq!(space.accepted(), expected);
    assert_eq!(space.report()["counts"]["excluded"]["purpose"], 1);
    assert_eq!(space.report()["accepted_by"]["scope"]["research"], 2);
    assert_eq!(space.report()["accepted_by"]["source_kind"]["self"], 2);
    space.purpose = Some("care");
    assert_eq!(space.accepted(), three());
}

#[test]
fn the_same_event_twice_is_counted_once_and_with_other_bytes_is_a_fault_of_both() {
    let once = event("evt-000001", "research");
    let space = Space::new(&[once.clone(), once.replace('\n', "\r\n"), once.clone()].concat());
    assert_eq!(space.accepted(), once);
    assert_eq!(space.report()["counts"]["duplicates"], 2);

    let refusal = Space::new(&[once.clone(), event("evt-000001", "care")].concat()).refusal();
    assert_eq!(refusal.summary, "2 of 2 events are invalid");
    assert_eq!(
        refusal.details[..2],
        [
            "data/in.ndjson:1: /event_id: another line has the same id and other bytes (data/in.ndjson:2) [duplicate]",
            "data/in.ndjson:2: /event_id: another line has the same id and other bytes (data/in.ndjson:1) [duplicate]",
        ]
    );
}

#[test]
fn of_two_events_with_one_id_neither_is_let_in_whatever_their_order() {
    let (one, other, good) = (
        event("evt-000001", "research"),
        event("evt-000001", "care"),
        event("evt-000002", "research"),
    );
    for lines in [[&one, &good, &other], [&other, &one, &good], [&good, &one, &other]] {
        let space = Space::new(&lines.map(String::as_str).concat()).quarantine();
        assert_eq!(space.accepted(), good);
        assert_eq!(space.output("rejects").lines().count(), 2);
        assert_eq!(space.report()["counts"]["invalid"], 2);
    }
}

#[test]
fn quarantine_sets_invalid_lines_aside_as_they_came_and_lists_them() {
    let bad = "{\"event_id\": 1e2 }\r\n";
    let endless = "x".repeat(3 * lines::MAX_LINE);
    let space = Space::new(&[&event("evt-000001", "research"), bad, "\n", &endless].concat()).quarantine();
    assert_eq!(space.accepted(), event("evt-000001", "research"));
    assert_eq!(space.output("rejects"), [bad, &endless].concat());
    let report = space.report();
    assert_eq!(report["counts"]["invalid"], 2);
    assert_eq!(report["counts"]["blank"], 1);
    let last = report["faults"]
        .as_array()
        .and_then(|faults| faults.last())
        .expect("a fault");
    assert_eq!((last["line"].as_u64(), last["rule"].as_str()), (Some(4), Some("line")));
    assert!(!space.output("report").contains("in.ndjson"), "a report names no file");
}

#[test]
fn quarantine_without_a_place_for_rejects_is_refused() {
    let refusal = Space::new(&three()).set("on_reject", "quarantine").refusal();
    assert!(
        refusal.summary.contains("needs the output `rejects`"),
        "{}",
        refusal.summary
    );
}

#[test]
fn several_files_are_one_input_and_lines_stay_apart() {
    let mut space = Space::new(event("evt-000001", "research").trim_end());
    space.write("more.ndjson", event("evt-000002", "research").as_bytes());
    space.events.push("more.ndjson");
    assert_eq!(
        space.accepted(),
        [event("evt-000001", "research"), event("evt-000002", "research")].concat()
    );

    let mut space = Space::new(&three());
    space.write("more.ndjson", format!("\n{}", event("evt-000001", "care")).as_bytes());
    space.events.push("more.ndjson");
    let refusal = space.refusal();
    assert!(
        refusal.details[0].starts_with("data/in.ndjson:1: "),
        "{:?}",
        refusal.details
    );
    assert!(
        refusal.details[1].starts_with("data/more.ndjson:2: "),
        "{:?}",
        refusal.details
    );
}

#[test]
fn nothing_to_accept_is_refused_unless_allowed() {
    assert_eq!(Space::new("\n \t\n").refusal().summary, "the input holds no event");
    let refusal = Space::new(&event("evt-000001", "care")).refusal();
    assert_eq!(
        refusal.summary,
        "no event is left: 1 events: 0 accepted, 1 not covered by the purpose"
    );
    assert_eq!(Space::new("").set("on_empty", "allow").accepted(), "");
}

#[test]
fn without_a_known_purpose_nothing_is_let_in() {
    for purpose in [None, Some("marketing"), Some("")] {
        let mut space = Space::new(&three());
        space.purpose = purpose;
        assert!(space.refusal().summary.contains("purpose"));
    }
}

#[test]
fn consent_is_demanded_even_by_a_schema_that_does_not() {
    let lines = [
        "{\"event_id\":\"a\"}",
        "{\"event_id\":\"b\",\"consent\":{\"scope\":\"any\"}}",
        "{\"consent\":{\"scope\":\"care\"}}",
        "[]",
    ];
    let space = Space::new(&lines.join("\n"));
    space.write("schema.json", b"{}");
    let refusal = space.refusal();
    let rules: Vec<&str> = refusal
        .details
        .iter()
        .filter_map(|line| line.rsplit('[').next())
        .collect();
    assert_eq!(
        rules[..5],
        ["consent]", "consent]", "event_id]", "event_id]", "consent]"]
    );
}

/// A schema whose parts each refer to the one before it twice.
fn doubling(levels: usize) -> String {
    let part = |level: usize| {
        let before = format!("{{\"$ref\":\"#/$defs/a{}\"}}", level - 1);
        format!(",\"a{level}\":{{\"allOf\":[{before},{before}]}}")
    };
    let parts: String = (1..=levels).map(part).collect();
    format!("{{\"$ref\":\"#/$defs/a{levels}\",\"$defs\":{{\"a0\":{{}}{parts}}}}}")
}

#[test]
fn a_schema_that_cannot_be_used_is_refused_with_its_reason() {
    for (schema, reason) in [
        ("{", "not JSON"),
        ("{\"type\":\"object\",\"type\":\"object\"}", "duplicate key"),
        (
            "{\"$schema\":\"http://json-schema.org/draft-07/schema#\"}",
            "only draft 2020-12",
        ),
        ("{\"type\":\"objekt\"}", "no valid schema"),
        (
            "{\"$ref\":\"https://example.com/event.json\"}",
            "refers to what is not in it",
        ),
        ("{\"$ref\":\"file:///etc/event.json\"}", "refers to what is not in it"),
        (
            "{\"properties\":{\"x\":{\"$ref\":\"other.json\"}}}",
            "refers to what is not in it",
        ),
        (
            "{\"properties\":{\"x\":{\"$ref\":\"#/$defs/none\"}}}",
            "refers to what is not in it",
        ),
        (&doubling(39), "more than 100000 of them are asked about one value"),
        ("{\"$ref\":\"#\"}", "refers to itself"),
        ("{\"format\":\"moon-phase\"}", "no valid schema"),
        ("{\"pattern\":\"(?=a)b\"}", "no valid schema"),
    ] {
        let space = Space::new(&three());
        space.write("schema.json", schema.as_bytes());
        let summary = space.refusal().summary;
        assert!(summary.contains(reason), "{schema}: {summary}");
    }
}

#[test]
fn an_interruption_ends_it_and_progress_reaches_the_end() {
    let space = Space::new(&three());
    let ended = space.run();
    assert_eq!(ended.progress, three().len() as u64);
    let ended = space.run_with(&AtomicBool::new(true));
    assert!(matches!(ended.result, Err(StageError::Cancelled)));
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut space = Space::new(&three());
    space.events = vec!["missing.ndjson"];
    match space.run().result {
        Err(StageError::Io { verb: "read", path, .. }) => assert_eq!(path, "data/missing.ndjson"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_report_of_the_same_lines_is_the_same_bytes() {
    let run = || {
        let space = Space::new(&three()).quarantine();
        space.run().result.expect("the stage succeeds");
        space.output("report")
    };
    assert_eq!(run(), run());
    let keys: Vec<String> = serde_json::from_str::<serde_json::Map<String, Value>>(&run())
        .expect("an object")
        .into_iter()
        .map(|(key, _)| format!("\n  \"{key}\""))
        .collect();
    let text = run();
    let found: Vec<_> = keys.iter().map(|key| text.find(key.as_str())).collect();
    assert!(found.is_sorted() && found.iter().all(Option::is_some), "{text}");
}
