//! `madmall evaluate --events`.

use serde_json::{Value, json};

use crate::space::{Ran, Space};

/// The model stands on every kind of preparation, and is standardised.
const STAGES: &str = "stages:
  featurize:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params:
      groups: [source.kind, source.region]
      range: {age: [0, 80]}
      impute: {median: all, mean: [age], indicator: [tsh]}
      scale: {minmax: [age]}
      one_hot: [source.kind]
      interactions: [[age, tsh]]
    outputs: {features: out/features.arrow}
  plain:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {groups: [source.region]}
    outputs: {features: out/plain.arrow}
  train:
    uses: madmall/train
    inputs: {features: featurize.features}
    params: {standardize: true}
    outputs: {model: out/model.json, metrics: out/metrics.json}
  train-plain:
    uses: madmall/train
    inputs: {features: plain.features}
    outputs: {model: out/plain.json}";
const EVENTS: &str = include_str!("../golden/small-events.ndjson");

fn trained() -> Space {
    let space = Space::with(STAGES);
    space.write("events.ndjson", EVENTS);
    space.run(&[]).success();
    space
}

fn evaluate(space: &Space, arguments: &[&str]) -> Ran {
    let model = ["evaluate", "--model", "out/model.json"];
    space.madmall(model.iter().chain(arguments))
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("one JSON object")
}

const GROUPS: [&str; 5] = ["--group", "source.region", "--group", "source.kind", "--json"];

#[test]
fn events_are_measured_as_the_table_that_is_made_of_them_bit_for_bit() {
    let space = trained();
    for (model, table, groups) in [
        ("out/model.json", "out/features.arrow", &GROUPS[..]),
        (
            "out/plain.json",
            "out/plain.arrow",
            &["--group", "source.region", "--json"],
        ),
    ] {
        let named = ["evaluate", "--model", model];
        let of_table = ["--features", table, "--json"];
        let of_table = json_of(&space.madmall(named.iter().chain(&of_table)).success());
        let of_events = ["--events", "events.ndjson"];
        let ran = space.madmall(named.iter().chain(&of_events).chain(groups)).success();
        let found = json_of(&ran);
        for part in ["evaluation", "groups", "rows", "labels", "model", "settings"] {
            assert_eq!(found[part].to_string(), of_table[part].to_string(), "{part}");
        }
        assert!(found["rows"]["unlabelled"] == 31 && found["groups"][0]["groups"].as_array().is_some());
        let schema = serde_json::from_str(include_str!("../../schemas/evaluation.schema.json")).expect("a schema");
        let validator = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
        let errors: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
}

#[test]
fn nothing_depends_on_order_files_compression_or_threads() {
    let space = trained();
    let whole = evaluate(
        &space,
        &[
            "--events",
            "events.ndjson",
            GROUPS[0],
            GROUPS[1],
            GROUPS[2],
            GROUPS[3],
            "--json",
        ],
    );
    let mut lines: Vec<&str> = EVENTS.lines().rev().collect();
    lines.rotate_left(77);
    space.write("a.ndjson", lines[..100].join("\n"));
    let packed = zstd::encode_all(lines[100..].join("\n").as_bytes(), 1).expect("a frame");
    space.write("b", packed);
    for jobs in ["1", "2", "7"] {
        let parts = ["--events", "a.ndjson", "--events", "b", "-j", jobs];
        let parts = evaluate(&space, &[&parts[..], &GROUPS].concat()).success();
        for part in ["evaluation", "groups", "rows"] {
            assert_eq!(json_of(&parts)[part], json_of(&whole)[part], "{part} -j {jobs}");
        }
    }
    let ran = evaluate(&space, &["--events", "events.ndjson", "--out", "e.json"]).success();
    ran.says("269 rows").says("31 without a label").says("AUC ");
    assert!(space.read("e.json").contains("\"events\":{\"files\":[\"blake3:"));
}

#[test]
fn consent_is_looked_at_as_predict_looks_at_it() {
    let space = trained();
    let mut lines: Vec<String> = EVENTS.lines().map(str::to_owned).collect();
    for line in &mut lines[..30] {
        *line = line.replace("\"scope\":\"research\"", "\"scope\":\"care\"");
    }
    space.write("some.ndjson", lines.join("\n"));
    space.write(
        "gone.ndjson",
        "{\"event_id\":\"evt-000040\",\"time\":\"2026-02-01T09:30:00Z\",\"reason\":\"withdrawn\"}\n",
    );
    let ran = evaluate(
        &space,
        &[
            "--events",
            "some.ndjson",
            "--purpose",
            "research",
            "--revocations",
            "gone.ndjson",
            "--json",
        ],
    );
    let found = json_of(
        &ran.success()
            .says("300 events: 269 scored, 30 not covered by the purpose, 1 revoked"),
    );
    assert_eq!(
        (
            &found["events"]["not_covered"],
            &found["events"]["revoked"],
            &found["rows"]["total"]
        ),
        (&json!(30), &json!(1), &json!(269))
    );
    // It is the same as to measure the others alone.
    let left: Vec<&str> = lines[30..]
        .iter()
        .map(String::as_str)
        .filter(|line| !line.contains("evt-000040"))
        .collect();
    space.write("left.ndjson", left.join("\n"));
    let left = json_of(&evaluate(&space, &["--events", "left.ndjson", "--json"]).success());
    assert_eq!(left["evaluation"], found["evaluation"]);
    evaluate(&space, &["--events", "some.ndjson", "--purpose", "fun"])
        .code(2)
        .says("`fun`");
}

#[test]
fn a_line_that_is_no_event_is_told_as_predict_tells_it() {
    let space = trained();
    let mut lines: Vec<String> = EVENTS.lines().map(str::to_owned).collect();
    lines[7] = "{\"event_id\":1}".to_owned();
    lines[9] = lines[9].replace("\"consent\"", "\"assent\"");
    space.write("bad.ndjson", lines.join("\n"));
    let predicted = space
        .madmall(["predict", "--model", "out/model.json", "--in", "bad.ndjson"])
        .code(2);
    let before = space.snapshot();
    let ran = evaluate(&space, &["--events", "bad.ndjson", "--json", "--out", "e.json"]).code(2);
    space.is_as(&before);
    assert_eq!(ran.out, "");
    let faults = |ran: &Ran| {
        ran.err
            .lines()
            .filter(|line| !line.starts_with("help"))
            .map(str::to_owned)
            .collect()
    };
    let told: Vec<String> = faults(&ran);
    assert_eq!(told, faults(&predicted));
    ran.says("2 of 300 events are invalid")
        .says("bad.ndjson:8: ")
        .says("nothing was measured; mend these lines");
    let found = json_of(&evaluate(&space, &["--events", "bad.ndjson", "--on-reject", "skip", "--json"]).success());
    assert_eq!(
        (&found["events"]["invalid"], &found["rows"]["total"]),
        (&json!(2), &json!(298))
    );
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let space = trained();
    let bare = |line: &str| {
        let mut event: Value = serde_json::from_str(line).expect("JSON");
        event["payload"]["label"] = Value::Null;
        event.to_string()
    };
    let bare: Vec<String> = EVENTS.lines().map(bare).collect();
    space.write("bare.ndjson", bare.join("\n"));
    let refused = |events: &str| evaluate(&space, &["--events", events]).code(2);
    refused("bare.ndjson")
        .says("cannot evaluate on `bare.ndjson`: none of 300 events has a label (`payload.label`)")
        .says("`madmall predict` scores events without labels");
    space.write(
        "other.ndjson",
        EVENTS.replacen("\"flare\"", "\"b\"", 9).replacen("\"b\"", "\"a\"", 1),
    );
    refused("other.ndjson").says("they have the label `a`; the model knows `flare` and `stable`");
    let first = EVENTS.lines().next().expect("one");
    space.write("twice.ndjson", format!("{EVENTS}\n{first}\n"));
    refused("twice.ndjson")
        .says("an event id stands more than once")
        .says("twice.ndjson:302: has the id of twice.ndjson:1");
    refused("none.ndjson").says("none.ndjson");
    for wrong in [
        &["--features", "out/features.arrow", "--events", "events.ndjson"][..],
        &["--features", "out/features.arrow", "--group", "source.kind"],
        &["--events", "events.ndjson", "--group", "age"],
        &["--events", "events.ndjson", "--absent-as-zero"],
    ] {
        evaluate(&space, wrong).code(2);
    }
    evaluate(&space, &[]).code(2).says("--features <FILE>|--events <FILE>");
    evaluate(&space, &["--features", "out/features.arrow", "--purpose", "care"])
        .code(2)
        .says("`--purpose` goes with `--events` alone");
    evaluate(&space, &["--events", "events.ndjson", "--out", "events.ndjson"])
        .code(2)
        .says("which is an input");
}
