//! Events scored by a model.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::space::{Ran, Space};

/// The real records: 9,172 events.
fn thyroid() -> Vec<u8> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/raw/thyroid.ndjson");
    std::fs::read(path).expect("it is in the repository")
}

fn model() -> Value {
    json!({
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": ["FTI", "TSH", "age", "male", "none has it"], "weights": [0.02, -0.3, 0.007, 0.1, 5],
        "bias": -1.25, "standardisation": {"means": [100, 5, 50, 0, 0], "scales": [30, 20, 19, 1, 1]},
    })
}

fn event(id: &str, features: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"2026-01-05","source":"self","consent":{{"scope":"research","revocable":true}},"payload":{{"type":"lab_marker","features":{features}}}}}"#
    )
}

fn space(events: impl AsRef<[u8]>) -> Space {
    let space = Space::empty();
    space.write("model.json", model().to_string());
    space.write("events.ndjson", events);
    space
}

fn predict(space: &Space, arguments: &[&str]) -> Ran {
    space.madmall(["predict", "--model", "model.json"].iter().chain(arguments))
}

/// The same with the events from a pipe.
fn piped(space: &Space, events: &[u8], arguments: &[&str]) -> Ran {
    let mut child = space
        .command(["predict", "--model", "model.json"].iter().chain(arguments))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let events = events.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&events));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("all was read");
    Ran::of(&output)
}

fn lines(ran: &Ran) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn scores_are_those_of_the_formula_and_the_same_for_any_threads_and_any_way_in() {
    let events = thyroid();
    let space = space(&events);
    let first = predict(&space, &["--in", "events.ndjson", "-j1"]).success();
    assert_eq!(first.err, "");
    for jobs in ["-j2", "-j3", "-j7"] {
        assert!(predict(&space, &["--in", "events.ndjson", jobs]).success().out == first.out);
        assert!(piped(&space, &events, &[jobs]).success().out == first.out);
    }
    let middle = events.len() / 2
        + events[events.len() / 2..]
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("one")
        + 1;
    space.write("a", &events[..middle]);
    space.write("b", &events[middle..]);
    let ran = predict(&space, &["--in", "a", "--in", "b", "--out", "made/scores"]).success();
    assert_eq!(
        (ran.out.as_str(), ran.err.as_str()),
        ("", "9,172 events: 9,172 scored\n")
    );
    assert!(space.read("made/scores") == first.out);

    let model = model();
    let numbers = |name: &Value| -> Vec<f64> {
        name.as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .collect()
    };
    let (weights, means, scales) = (
        numbers(&model["weights"]),
        numbers(&model["standardisation"]["means"]),
        numbers(&model["standardisation"]["scales"]),
    );
    let text = String::from_utf8(events).expect("UTF-8");
    for (line, score) in text.lines().zip(lines(&first)) {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let features = &event["payload"]["features"];
        let value = |key: &Value| match &features[key.as_str().expect("a key")] {
            Value::Bool(value) => f64::from(u8::from(*value)),
            other => other.as_f64().unwrap_or(0.0),
        };
        let row = model["feature_keys"].as_array().expect("keys").iter().map(value);
        let z: f64 = row
            .enumerate()
            .map(|(n, x)| weights[n] * ((x - means[n]) / scales[n]))
            .sum::<f64>()
            - 1.25;
        assert_eq!(
            (&score["event_id"], &score["positive"]),
            (&event["event_id"], &json!("yes"))
        );
        assert!((score["log_odds"].as_f64().expect("a number") - z).abs() < 1e-12);
        let probability = score["probability"].as_f64().expect("a number");
        assert!((probability - 1.0 / (1.0 + (-z).exp())).abs() < 1e-14);
    }
}

#[test]
fn contributions_and_the_bias_add_up_to_the_log_odds_bit_for_bit() {
    let space = space(thyroid());
    let plain = lines(&predict(&space, &["--in", "events.ndjson"]).success());
    let explained = lines(&predict(&space, &["--in", "events.ndjson", "--explain"]).success());
    assert_eq!(plain.len(), explained.len());
    let keys = ["FTI", "TSH", "age", "male", "none has it"];
    let mut missing = 0;
    for (plain, explained) in plain.iter().zip(&explained) {
        let contribution = |key: &str| explained["contributions"][key].as_f64().expect("one for each");
        let sum =
            keys.iter().fold(0.0, |sum, key| sum + contribution(key)) + explained["bias"].as_f64().expect("it has one");
        assert_eq!(
            explained["contributions"].as_object().map(serde_json::Map::len),
            Some(keys.len())
        );
        assert_eq!(Some(sum), explained["log_odds"].as_f64());
        assert_eq!(plain["log_odds"], explained["log_odds"]);
        let names = explained["missing"].as_array().expect("a list");
        assert_eq!(names.last(), Some(&json!("none has it")));
        missing += names.len();
    }
    assert!(missing > plain.len() && missing < keys.len() * plain.len());
}

#[test]
fn null_texts_and_absent_features_are_missing_and_count_as_nought() {
    let events = [
        event("evt-01", r#"{"TSH":null,"age":"old","male":false}"#),
        event("evt-02", "{}"),
        event("evt-03", r#"{"\u0054SH":5,"other":[]}"#).replace("[]", "1"),
    ];
    let space = space(events.join("\n"));
    let scores = lines(&predict(&space, &["--in", "events.ndjson", "--explain"]).success());
    assert_eq!(scores[0]["missing"], json!(["FTI", "TSH", "age", "none has it"]));
    assert_eq!(scores[0]["log_odds"], scores[1]["log_odds"]);
    assert_eq!(scores[1]["missing"].as_array().map(Vec::len), Some(5));
    assert_eq!(scores[2]["contributions"]["TSH"], json!(0));
    // What is missing is nought before it is standardised.
    assert_eq!(scores[1]["contributions"]["FTI"], json!(0.02 * (-100.0 / 30.0)));
}

#[test]
fn an_event_is_prepared_as_the_model_says() {
    let numeric = |key: &str, range: Value, scaling: Value| {
        let indicator = !range.is_null();
        json!({"key": key, "range": range, "impute": 50, "indicator": indicator, "scaling": scaling})
    };
    let preparation = json!({
        "format": "madmall-preparation/v1",
        "numbers": [numeric("age", json!([0, 120]), json!({"center": 50, "scale": 20})), numeric("hr", json!(null), json!(null))],
        "categories": [
            {"of": {"feature": "dev"}, "levels": ["2", "w1"]},
            {"of": "source.kind", "levels": ["pharmacy", "self"]},
        ],
        "interactions": [["age", "dev=w1"]],
    });
    let model = json!({
        "format": "madmall-model/v2", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": ["age", "age:dev=w1", "age=missing", "dev=2", "dev=w1", "hr", "source.kind=pharmacy", "source.kind=self"],
        "weights": [1, 10, 100, 1000, 10_000, 0.5, 0.25, 0.125],
        "bias": 0, "standardisation": null, "preparation": preparation,
    });
    let space = space(
        [
            event("evt-01", r#"{"age":70,"dev":"w1","hr":50}"#),
            event("evt-02", r#"{"age":70,"dev":"w1","hr":50}"#),
            event("evt-03", r#"{"age":121,"dev":2.0,"hr":0}"#),
            event("evt-04", r#"{"age":"70","dev":"2","hr":null}"#).replace("self", "mail_kit"),
            event("evt-05", r#"{"age":true,"dev":"w2"}"#),
        ]
        .join("\n"),
    );
    space.write("model.json", model.to_string());
    let scores = lines(&predict(&space, &["--in", "events.ndjson", "--explain"]).success());
    let expected = [
        (1.0 + 10.0 + 10_000.0 + 25.0 + 0.125, json!([])),
        (1.0 + 10.0 + 10_000.0 + 25.0 + 0.125, json!([])),
        (100.0 + 1000.0 + 0.125, json!(["age"])),
        (100.0 + 1000.0 + 25.0, json!(["age", "hr", "source.kind"])),
        ((1.0 - 50.0) / 20.0 + 25.0 + 0.125, json!(["dev", "hr"])),
    ];
    for (score, (log_odds, missing)) in scores.iter().zip(&expected) {
        assert_eq!(score["log_odds"].as_f64(), Some(*log_odds), "{score}");
        assert_eq!(&score["missing"], missing, "{score}");
    }
    assert_eq!(scores.len(), expected.len());
    assert_eq!(scores[0]["contributions"]["age:dev=w1"], json!(10));
}

#[test]
fn after_a_line_that_is_no_event_nothing_is_scored_and_every_fault_is_told() {
    let mut events: Vec<String> = (0..20_000)
        .map(|n| event(&format!("evt-{n:06}"), r#"{"age":40}"#))
        .collect();
    events[12_000] = events[12_000].replace("research", "all");
    events[19_000] = "{".to_owned();
    let space = space(events.join("\n"));
    for jobs in ["-j1", "-j3"] {
        let ran = predict(&space, &["--in", "events.ndjson", jobs])
            .code(2)
            .says("2 of 20,000 events are invalid")
            .says("events.ndjson:12001: /consent/scope: ")
            .says("events.ndjson:19001: ")
            .says("12,000 events before the first of these were scored")
            .says_not("evt-012000");
        assert_eq!(lines(&ran).len(), 12_000);
        let ran = piped(&space, events.join("\n").as_bytes(), &[jobs])
            .code(2)
            .says("standard input:12001: ");
        assert_eq!(lines(&ran).len(), 12_000);
        let ran = predict(&space, &["--in", "events.ndjson", "--on-reject", "skip", jobs])
            .success()
            .says("19,998 scored, 2 invalid");
        assert_eq!(lines(&ran).len(), 19_998);
    }
    space.write("scores", "as it was");
    predict(&space, &["--in", "events.ndjson", "-o", "scores"])
        .code(2)
        .says("nothing was written to `scores`");
    assert_eq!(space.read("scores"), "as it was");
    space.write("events.ndjson", "x\n".repeat(5000));
    let ran = predict(&space, &["--in", "events.ndjson"])
        .code(2)
        .says("5,000 of 5,000")
        .says("and 4,000 more");
    assert_eq!(ran.out, "");
}

#[test]
fn what_the_consent_does_not_cover_and_what_is_revoked_is_not_scored() {
    let care = event("evt-02", "{}").replace(r#""scope":"research""#, r#""scope":"care""#);
    let space = space([event("evt-01", "{}"), care, event("evt-03", "{}")].join("\n"));
    space.write("revoked", r#"{"event_id":"evt-03","time":"2026-02-01T00:00:00Z"}"#);
    let ids = |ran: &Ran| -> Vec<Value> { lines(ran).into_iter().map(|line| line["event_id"].clone()).collect() };
    let ran = predict(&space, &["--in", "events.ndjson"]).success();
    assert_eq!(
        (ids(&ran), ran.err.as_str()),
        (vec![json!("evt-01"), json!("evt-02"), json!("evt-03")], "")
    );
    let ran = predict(
        &space,
        &[
            "--in",
            "events.ndjson",
            "--purpose",
            "research",
            "--revocations",
            "revoked",
        ],
    )
    .success()
    .says("3 events: 1 scored, 1 not covered by the purpose, 1 revoked");
    assert_eq!(ids(&ran), ["evt-01"]);
    space.write("revoked", "{}");
    let ran = predict(&space, &["--in", "events.ndjson", "--revocations", "revoked"])
        .code(2)
        .says("revoked:1: must have one of `event_id`, `subject`, `event_token`, `subject_token`, and only one");
    assert_eq!(ran.out, "");
}

#[test]
fn a_person_who_has_withdrawn_is_not_scored() {
    let events = [("evt-01", "p1"), ("evt-02", "p2"), ("evt-03", "p1")];
    let of = |(id, person): (&str, &str)| {
        event(id, "{}").replace(r#""source":"self""#, &format!(r#""source":"self","person":"{person}""#))
    };
    let space = space(events.map(of).join("\n"));
    space.write("schema.json", "{}");
    space.write("revoked", r#"{"subject":"p1","time":"2026-02-01T00:00:00Z"}"#);
    let arguments = [
        "--in",
        "events.ndjson",
        "--schema",
        "schema.json",
        "--revocations",
        "revoked",
    ];
    let ran = predict(&space, &arguments)
        .code(2)
        .says("1 of 1 revocations name a person")
        .says("`subject`");
    assert_eq!(ran.out, "");
    let ran = predict(&space, &[&arguments[..], &["--subject", "/person"]].concat()).success();
    assert_eq!(lines(&ran).len(), 1);
    let ran = ran.says("3 events: 1 scored, 2 revoked");
    assert!(ran.out.contains("evt-02"), "{}", ran.out);
    predict(&space, &[&arguments[..], &["--subject", "person"]].concat())
        .code(2)
        .says("is no JSON pointer");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let space = space(thyroid());
    let mut child = space
        .command(["predict", "--model", "model.json", "--explain"])
        .stdin(File::open(space.path("events.ndjson")).expect("it is there"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut out = child.stdout.take().expect("a pipe");
    out.read_exact(&mut [0; 10]).expect("it says something");
    drop(out);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(Ran::of(&output).success().err, "");
}

#[test]
fn lines_much_longer_than_their_events_come_out_whole_and_in_order() {
    let keys: Vec<String> = (0..3000).map(|n| format!("k{n:04}-{}", "ä".repeat(40))).collect();
    let space = space("");
    let model = json!({
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": keys, "weights": vec![0.5; keys.len()], "bias": 0, "standardisation": null,
    });
    space.write("model.json", model.to_string());
    let events: Vec<String> = (0..100).map(|n| event(&format!("evt-{n:06}"), r#"{"a":1}"#)).collect();
    space.write("events.ndjson", events.join("\n"));
    let one = predict(&space, &["--in", "events.ndjson", "--explain", "-j1"]).success();
    assert!(one.out.len() > 40 << 20);
    assert!(
        predict(&space, &["--in", "events.ndjson", "--explain", "-j3"])
            .success()
            .out
            == one.out
    );
    let ids: Vec<Value> = lines(&one).into_iter().map(|line| line["event_id"].clone()).collect();
    let expected: Vec<String> = (0..100).map(|n| format!("evt-{n:06}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn what_is_no_model_is_refused_before_anything_is_read() {
    let space = space(event("evt-01", "{}"));
    for (from, to, says) in [
        ("logreg", "forest", "forest"),
        (r#""bias":-1.25"#, r#""bias":1e999"#, "number out of range"),
        (r#""bias":-1.25"#, r#""bias":1,"\u0062ias":2"#, "duplicate key"),
        (r#""weights":[0.02,"#, r#""weights":["#, "5 feature keys but 4 weights"),
        (
            r#""scales":[30,"#,
            r#""scales":[0,"#,
            "the scale of `FTI` is not positive",
        ),
        (r#""FTI""#, "\"z\\u001b[31m\"", "not sorted"),
    ] {
        let text = model().to_string();
        assert!(text.contains(from), "{from}");
        space.write("model.json", text.replace(from, to));
        let ran = predict(&space, &["--in", "events.ndjson"])
            .code(2)
            .says("`model.json` is no model: ")
            .says(says)
            .says_not("\u{1b}");
        assert_eq!(ran.out, "");
    }
}

#[test]
fn a_sum_beyond_a_double_is_a_fault_of_its_line() {
    let space = space([event("evt-01", r#"{"a":1}"#), event("evt-02", r#"{"a":1e10}"#)].join("\n"));
    let model = json!({
        "format": "madmall-model/v1", "kind": "logreg", "labels": {"negative": "no", "positive": "yes"},
        "feature_keys": ["a"], "weights": [1e300], "bias": 0, "standardisation": null,
    });
    space.write("model.json", model.to_string());
    let ran = predict(&space, &["--in", "events.ndjson"])
        .code(2)
        .says("events.ndjson:2: /payload/features: the weighted sum of its features is beyond a double [score]");
    assert_eq!(
        lines(&ran),
        [json!({"event_id": "evt-01", "log_odds": 1e300, "positive": "yes", "probability": 1})]
    );
}

#[test]
fn a_schema_of_ones_own_is_held_to_whether_it_is_simple_or_not() {
    let space = space(
        [
            event("evt-01", r#"{"TSH":1,"age":40}"#),
            // Keys that were seen in a line before are read another way.
            event("evt-02", r#"{"TSH":2,"age":50}"#),
            event("evt-03", r#"{"age":-1}"#),
        ]
        .join("\n"),
    );
    let embedded: Value = serde_json::from_str(include_str!("../../schemas/byte_event.schema.json")).expect("JSON");
    let expected = lines(&predict(&space, &["--in", "events.ndjson"]).success());
    // A schema that names a feature must not hide it from the model.
    for keyword in [
        json!({"age": {"minimum": 0}}),
        json!({"age": {"type": "number", "minimum": 0, "not": {"const": 7}}}),
    ] {
        let mut schema = embedded.clone();
        schema["properties"]["payload"]["properties"]["features"]["properties"] = keyword;
        space.write("schema.json", schema.to_string());
        let ran = predict(&space, &["--in", "events.ndjson", "--schema", "schema.json"])
            .code(2)
            .says("events.ndjson:3: /payload/features/age: ");
        assert_eq!(lines(&ran), expected[..2]);
    }
}
