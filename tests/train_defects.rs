//! The replaced package's `train`, as its callers know it, and each of its defects as a case that comes out right.

use std::fs::{self, File};
use std::io::Write as _;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use madmall::compat::CompatOutcome;
use madmall::compat::train::{TrainArgs, train};
use madmall::digest::Sha256;
use madmall::exit_code::ExitCode;
use serde_json::{Value, json};

struct Space {
    folder: tempfile::TempDir,
}

impl Space {
    fn with(events: &[u8]) -> Self {
        let space = Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        space.write("events.ndjson", events);
        space
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = File::create(self.path(name)).expect("the folder can be written to");
        file.write_all(bytes).expect("the folder can be written to");
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path())
            .expect("a UTF-8 path")
            .join(name)
    }

    fn args(&self) -> TrainArgs {
        TrainArgs {
            events: self.path("events.ndjson"),
            models: self.path("ml/models"),
            receipt: self.path("ml/receipts/latest.json"),
        }
    }

    fn run(&self) -> (CompatOutcome, Value) {
        let outcome = train(&self.args(), now(), 2);
        let json = serde_json::from_str(&outcome.json).expect("one JSON object");
        (outcome, json)
    }

    fn models(&self) -> Vec<Utf8PathBuf> {
        let entries = fs::read_dir(self.path("ml/models")).into_iter().flatten();
        let path = |entry: std::io::Result<fs::DirEntry>| {
            Utf8PathBuf::from_path_buf(entry.expect("an entry").path()).expect("a UTF-8 path")
        };
        entries.map(path).collect()
    }

    /// The message of a refusal that has written nothing.
    fn refusal(&self) -> Value {
        let (outcome, json) = self.run();
        assert_eq!(outcome.code, ExitCode::Refused, "{}", outcome.json);
        assert_eq!(json["status"], "FAIL_CLOSED");
        assert!(self.models().is_empty() && !self.args().receipt.exists());
        json
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_767_597_153).expect("a time")
}

fn event(id: u32, label: &Value, features: &Value) -> Value {
    json!({
        "event_id": format!("evt-{id:06}"),
        "timestamp": "2026-01-05T07:12:33Z",
        "source": {"kind": "self"},
        "consent": {"scope": "care", "revocable": true},
        "payload": {"type": "lab_marker", "label": label, "features": features},
    })
}

fn lines(events: &[Value]) -> Vec<u8> {
    events
        .iter()
        .map(|event| event.to_string() + "\n")
        .collect::<String>()
        .into_bytes()
}

fn good() -> Vec<Value> {
    (0..40)
        .map(|n| {
            let label = if n % 3 == 0 { json!("flare") } else { json!("stable") };
            event(
                n,
                &label,
                &json!({"x": f64::from(n % 7) / 7.0, "b": n % 2 == 0, "a": n % 5, "t": "text"}),
            )
        })
        .collect()
}

#[test]
fn model_and_receipt_have_the_shapes_that_callers_know() {
    let space = Space::with(&lines(&good()));
    let (outcome, receipt) = space.run();
    assert_eq!(outcome.code, ExitCode::Success, "{}", outcome.json);
    let run_id = receipt["run_id"].as_str().expect("a text");
    let expected = json!({
        "status": "OK",
        "run_id": run_id,
        "trained_at": "2026-01-05T07:12:33Z",
        "events": {"path": space.args().events.as_str(), "sha256": Sha256::of(&lines(&good())).to_hex()},
        "labels": ["flare", "stable"],
        "feature_keys": ["a", "b", "x"],
        "model_path": space.args().models.join(format!("{run_id}.model.json")).as_str(),
    });
    assert_eq!(receipt, expected);
    assert_eq!(
        fs::read_to_string(space.args().receipt).expect("written"),
        outcome.json + "\n"
    );
    let (seconds, random) = run_id["train-".len()..].split_once('-').expect("two parts");
    assert_eq!((seconds, random.len()), ("1767597153", 6));
    let model = fs::read(receipt["model_path"].as_str().expect("a text")).expect("written");
    let model: Value = serde_json::from_slice(&model).expect("JSON");
    let keys: Vec<&String> = model.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        [
            "bias",
            "feature_keys",
            "kind",
            "labels",
            "run_id",
            "trained_at",
            "weights"
        ]
    );
    assert_eq!(model["labels"], json!({"negative": "flare", "positive": "stable"}));
    assert_eq!((&model["kind"], &model["run_id"]), (&json!("logreg"), &json!(run_id)));
}

#[test]
fn the_weights_are_those_of_800_steps() {
    let events = good();
    let space = Space::with(&lines(&events));
    let (_, receipt) = space.run();
    let model = fs::read(receipt["model_path"].as_str().expect("a text")).expect("written");
    let model: Value = serde_json::from_slice(&model).expect("JSON");
    // The same steps, written down naively.
    let rows: Vec<([f64; 3], f64)> = (0..40u32)
        .map(|n| {
            let row = [
                f64::from(n % 5),
                f64::from(u8::from(n % 2 == 0)),
                f64::from(n % 7) / 7.0,
            ];
            (row, f64::from(u8::from(n % 3 != 0)))
        })
        .collect();
    let mut at = [0.0f64; 4];
    for _ in 0..800 {
        let mut slope = [0.0f64; 4];
        for (x, y) in &rows {
            let z = at[0] * x[0] + at[1] * x[1] + at[2] * x[2] + at[3];
            let residual = 1.0 / (1.0 + (-z).exp()) - y;
            for (slope, value) in slope.iter_mut().zip([x[0], x[1], x[2], 1.0]) {
                *slope += residual * value / 40.0;
            }
        }
        for (at, slope) in at.iter_mut().zip(slope) {
            *at -= 0.1 * slope;
        }
    }
    for (index, weight) in at[..3].iter().enumerate() {
        let found = model["weights"][index].as_f64().expect("a number");
        assert!((found - weight).abs() < 1e-12, "{found} {weight}");
    }
    assert!((model["bias"].as_f64().expect("a number") - at[3]).abs() < 1e-12);
}

#[test]
fn two_trainings_in_one_second_keep_both_models() {
    let space = Space::with(&lines(&good()));
    let (_, first) = space.run();
    let (_, second) = space.run();
    assert_ne!(first["run_id"], second["run_id"]);
    assert_eq!(space.models().len(), 2);
    let weights = |receipt: &Value| {
        let model = fs::read(receipt["model_path"].as_str().expect("a text")).expect("written");
        serde_json::from_slice::<Value>(&model).expect("JSON")["weights"].clone()
    };
    assert_eq!(weights(&first), weights(&second));
}

#[test]
fn the_order_of_lines_and_blank_ones_do_not_change_a_bit() {
    let weights = |bytes: &[u8]| {
        let space = Space::with(bytes);
        let (outcome, receipt) = space.run();
        assert_eq!(outcome.code, ExitCode::Success, "{}", outcome.json);
        let model = fs::read(receipt["model_path"].as_str().expect("a text")).expect("written");
        let model: Value = serde_json::from_slice(&model).expect("JSON");
        (model["weights"].to_string(), model["bias"].to_string())
    };
    let mut events = good();
    let expected = weights(&lines(&events));
    events.reverse();
    events.rotate_left(7);
    let mut bytes = lines(&events);
    bytes.extend_from_slice(b"\n  \n");
    // A line that stands twice counts once.
    bytes.extend(lines(&events[..1]));
    assert_eq!(weights(&bytes), expected);
}

#[test]
fn the_messages_of_refusals_are_those_that_callers_know() {
    let space = Space::with(b"");
    fs::remove_file(space.args().events).expect("it is there");
    let missing =
        json!({"status": "FAIL_CLOSED", "why": "Events file not found", "path": space.args().events.as_str()});
    assert_eq!(space.refusal(), missing);
    let unlabelled = lines(&[event(1, &Value::Null, &json!({"x": 1}))]);
    let one = lines(&[event(1, &json!("a"), &json!({"x": 1}))]);
    let three: Vec<_> = (0..)
        .zip(["c", "a", "b"])
        .map(|(n, label)| event(n, &json!(label), &json!({"x": 1})))
        .collect();
    let no_features = lines(&[
        event(1, &json!("a"), &json!({"x": "1"})),
        event(2, &json!("b"), &json!({})),
    ]);
    for (events, why) in [
        (Vec::new(), "No labeled events found. Add payload.label for training."),
        (unlabelled, "No labeled events found. Add payload.label for training."),
        (one, "Binary training requires exactly 2 labels; got ['a']"),
        (
            lines(&three),
            "Binary training requires exactly 2 labels; got ['a', 'b', 'c']",
        ),
        (
            no_features,
            "No numeric features found. Add numeric payload.features.* fields.",
        ),
    ] {
        assert_eq!(
            Space::with(&events).refusal(),
            json!({"status": "FAIL_CLOSED", "why": why})
        );
    }
}

#[test]
fn events_that_are_not_valid_are_not_trained_on() {
    let changed = |change: fn(&mut Value)| {
        let mut events = good();
        change(&mut events[7]);
        lines(&events)
    };
    let cases: [(Vec<u8>, &str); 7] = [
        (
            changed(|event| *event = json!({"payload": {"label": "a", "features": {"x": 1}}})),
            "",
        ),
        (
            changed(|event| event["consent"] = json!({"scope": "none", "revocable": true})),
            "consent.scope",
        ),
        (changed(|event| event["payload"]["label"] = json!(1)), "payload.label"),
        (
            changed(|event| event["payload"]["label"] = json!("  ")),
            "payload.label",
        ),
        (
            changed(|event| event["payload"]["label"] = json!(" flare")),
            "payload.label",
        ),
        (
            changed(|event| event["payload"]["features"]["x"] = json!([1])),
            "payload.features.x",
        ),
        (changed(|event| event["event_id"] = json!("evt-000001")), "event_id"),
    ];
    for (events, field) in cases {
        let json = Space::with(&events).refusal();
        assert_eq!(json["why"], "One or more events failed schema validation");
        let errors = json["errors"].as_array().expect("a list");
        let found = errors
            .iter()
            .find(|error| error["index"] == 7)
            .expect("the event is named");
        assert_eq!(found["line"], 8);
        let fields: Vec<_> = found["errors"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|error| &error["field"])
            .collect();
        assert!(field.is_empty() || fields.contains(&&json!(field)), "{field}: {json}");
    }
    let mut overflowing = lines(&good());
    let place = overflowing
        .windows(5)
        .position(|window| window == b"\"x\":0")
        .expect("it is there");
    overflowing.splice(place + 4..place + 5, *b"1e400");
    assert_eq!(
        Space::with(&overflowing).refusal()["why"],
        "One or more events failed schema validation"
    );
}

#[test]
fn a_model_that_is_not_finite_is_refused() {
    let events: Vec<_> = (0..10)
        .map(|n| {
            event(
                n,
                &json!(if n % 2 == 0 { "a" } else { "b" }),
                &json!({"x": 1.7e308, "y": f64::from(n) * 1e307}),
            )
        })
        .collect();
    let why = Space::with(&lines(&events)).refusal()["why"].to_string();
    assert!(why.contains("finite"), "{why}");
}

#[test]
fn without_a_receipt_there_is_no_model() {
    let space = Space::with(&lines(&good()));
    space.write("ml", b"in the way of the folders");
    let (outcome, _) = space.run();
    assert_eq!(outcome.code, ExitCode::Refused);
    let receipt_blocked = TrainArgs {
        models: space.path("models"),
        ..space.args()
    };
    let outcome = train(&receipt_blocked, now(), 1);
    assert_eq!(outcome.code, ExitCode::Refused, "{}", outcome.json);
    let left = fs::read_dir(space.path("models")).expect("made").count();
    assert_eq!(left, 0);
}
