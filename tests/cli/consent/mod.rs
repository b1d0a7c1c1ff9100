//! Withdrawn consents: what they leave, and who is affected.

mod affected;
mod verified;

use crate::baseline::baseline;
use crate::space::Space;

const PIPELINE: &str = "pipelines/baseline.yaml";
const RAW: &str = "data/raw/thyroid.ndjson";
const REVOCATIONS: &str = "data/revocations.ndjson";

/// What stands on the events.
const MADE: [&str; 5] = [
    "data/events.ndjson",
    "data/features.arrow",
    "models/baseline.model.json",
    "models/baseline.metrics.json",
    "reports/features.json",
];

fn id_of(line: &str) -> String {
    let event: serde_json::Value = serde_json::from_str(line).expect("JSON");
    event["event_id"].as_str().expect("a text").to_owned()
}

/// Adds revocations of these events.
fn revoke<'a>(space: &Space, ids: impl IntoIterator<Item = &'a str>) {
    let mut text = space.read(REVOCATIONS);
    for id in ids {
        text.push_str(&format!(
            "{{\"event_id\":\"{id}\",\"time\":\"2026-02-01T00:00:00Z\",\"reason\":\"withdrawn\"}}\n"
        ));
    }
    space.write(REVOCATIONS, text);
}

#[test]
fn what_is_revoked_leaves_the_model_that_was_never_trained_on_it() {
    let space = baseline();
    space.madmall(["run", PIPELINE]).success();
    let used: Vec<String> = space.read("data/events.ndjson").lines().map(id_of).collect();
    let raw = space.read(RAW);
    for count in [1, 100, 1000] {
        // From all parts of the file; the first is one that the model is trained on.
        let revoked: Vec<&str> = (0..count).map(|n| used[(n * 7 + 3) % used.len()].as_str()).collect();
        let before = space.bytes(MADE[2]);
        revoke(&space, revoked.iter().copied());
        space.madmall(["run", PIPELINE]).success().says("3 ran");
        assert!(space.bytes(MADE[2]) != before, "{count}");

        let fresh = baseline();
        let is_left = |line: &&str| !revoked.contains(&id_of(line).as_str());
        let left: Vec<&str> = raw.lines().filter(is_left).collect();
        assert_eq!(left.len() + count, raw.lines().count());
        fresh.write(RAW, left.join("\n") + "\n");
        fresh.madmall(["run", PIPELINE]).success();
        for path in MADE {
            assert!(space.bytes(path) == fresh.bytes(path), "{path} without {count}");
        }
        let report: serde_json::Value = serde_json::from_str(&space.read("reports/ingest.json")).expect("JSON");
        assert_eq!(report["revocations"]["unknown"], 0);
        assert_eq!(report["revocations"]["by_event"], 38 + count);
    }
}

/// The numbers of the first ingest, as `consent status --json` says them.
fn status(space: &Space, code: i32) -> serde_json::Value {
    let ran = space.madmall(["consent", "status", "--json"]).code(code);
    let report: serde_json::Value = serde_json::from_str(&ran.out).expect("one JSON object");
    report["ingests"][0].clone()
}

#[test]
fn the_numbers_of_consent_status_are_those_of_ingest() {
    let space = baseline();
    let before = space.snapshot();
    let raw = space.read(RAW);
    let bound: Vec<String> = raw
        .lines()
        .filter(|line| line.contains(r#""revocable":false"#))
        .map(id_of)
        .collect();
    revoke(&space, [bound[0].as_str(), "nobody-1", "nobody-2"]);
    let said = space.madmall(["consent", "status"]).success();
    assert!(
        said.out.contains("2 revocations name no event that is here"),
        "{}",
        said.out
    );
    assert!(
        !said.out.contains("nobody") && !said.out.contains("thyroid-"),
        "{}",
        said.out
    );
    let found = status(&space, 0);
    space.write(REVOCATIONS, &before[REVOCATIONS]);
    space.is_as(&before);

    revoke(&space, [bound[0].as_str(), "nobody-1", "nobody-2"]);
    space.madmall(["run", PIPELINE]).success();
    let report: serde_json::Value = serde_json::from_str(&space.read("reports/ingest.json")).expect("JSON");
    for (field, of) in [
        ("all", "total"),
        ("unknown", "unknown"),
        ("nonRevocable", "non_revocable"),
        ("byEvent", "by_event"),
    ] {
        assert_eq!(found["revocations"][field], report["revocations"][of], "{field}");
    }
    assert_eq!(found["revocations"]["nonRevocable"], 1);
    assert_eq!(found["revocations"]["unknown"], 2);
    assert_eq!(found["events"]["used"], report["counts"]["accepted"]);
    // Counted by other means.
    let count = |wanted: [&str; 2]| {
        raw.lines()
            .filter(|line| wanted.iter().all(|text| line.contains(text)))
            .count()
    };
    for scope in ["care", "research"] {
        let of = &found["byScope"][scope];
        let scope = format!(r#""scope":"{scope}""#);
        assert_eq!(of["revocable"], count([&scope, r#""revocable":true"#]));
        assert_eq!(of["nonRevocable"], count([&scope, r#""revocable":false"#]));
    }
    assert_eq!(found["byScope"]["care"]["used"], 0);
    assert_eq!(found["byScope"]["research"]["used"], report["counts"]["accepted"]);
}

#[test]
fn consent_status_refuses_as_ingest_would_and_says_what_is_not_there() {
    let space = baseline();
    let raw = space.read(RAW);
    space.write(RAW, raw.replacen(r#""label":"negative""#, r#""label":7"#, 1));
    let said = space.madmall(["consent", "status", PIPELINE]).code(2);
    let said = said.says("1 of 9,172 events is invalid").says("/payload/label");
    assert!(said.out.contains("1 invalid"), "{}", said.out);
    assert_eq!(status(&space, 2)["events"]["invalid"], 1);

    space.write(RAW, &raw);
    revoke(&space, ["a\",\"subject\":\"b"]);
    space
        .madmall(["consent", "status"])
        .code(2)
        .says("39 revocations are invalid")
        .says(":39:");

    let pipeline = "version: 1\nname: made\npurpose: care\nstages:\n  make: { run: cp data/raw/thyroid.ndjson raw.ndjson, \
        inputs: { i: data/none }, outputs: { raw: raw.ndjson } }\n  ingest: { uses: madmall/ingest, \
        inputs: { events: make.raw, schema: schemas/byte_event.schema.json }, outputs: { events: out.ndjson } }\n";
    space.write("data/none", "");
    space.write("made.yaml", pipeline);
    space
        .madmall(["consent", "status", "made.yaml"])
        .code(6)
        .says("`raw.ndjson` is not there: stage `make` makes it");
    space.write("raw.ndjson", raw);
    space.madmall(["consent", "status", "made.yaml"]).success();
}
