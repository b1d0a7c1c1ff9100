//! The replaced package's commands by the real binary: same options, same JSON, same codes.

use serde_json::{Value, json};

use crate::space::{Ran, Space};

/// A valid event with the number `n`; its label is `flare` for an even one, else `stable`.
fn event(n: usize) -> String {
    let label = if n.is_multiple_of(2) { "flare" } else { "stable" };
    let event = json!({
        "event_id": format!("evt-{n:06}"), "timestamp": "2026-01-05T07:12:33Z", "source": {"kind": "self"},
        "consent": {"scope": "care", "revocable": true},
        "payload": {"type": "lab_marker", "label": label, "features": {"x": n, "y": n.is_multiple_of(3), "note": "text"}},
    });
    event.to_string()
}

fn events(count: usize) -> String {
    (0..count).map(|n| event(n) + "\n").collect()
}

/// What stands on standard output must be one JSON object, indented by 2, and nothing else.
fn object(ran: &Ran) -> Value {
    let value: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert!(ran.out.starts_with("{\n  \""), "indented by 2:\n{}", ran.out);
    value
}

#[test]
fn ingest_writes_what_is_valid_to_its_default_place() {
    let space = Space::empty();
    space.write("raw.ndjson", format!("\n{}", events(4)));
    let ran = space.madmall(["ingest", "--in", "raw.ndjson"]).success();
    assert_eq!(
        object(&ran),
        json!({"status": "OK", "written": 4, "path": "ml/data/events.ndjson"})
    );
    assert_eq!(space.read("ml/data/events.ndjson"), events(4));
}

#[test]
fn ingest_refuses_a_batch_with_a_fault_and_leaves_what_was_there() {
    let space = Space::empty();
    space.write("out.ndjson", "as it was\n");
    let bad = event(1).replace("\"care\"", "\"everything\"");
    space.write("raw.ndjson", format!("{}\n{bad}\nno json\n", event(0)));
    let ran = space
        .madmall(["ingest", "--in", "raw.ndjson", "--out", "out.ndjson"])
        .code(2);
    let report = object(&ran);
    assert_eq!(report["status"], "FAIL_CLOSED");
    assert_eq!(report["why"], "One or more events failed schema validation");
    assert_eq!(report["errors"][0]["index"], 1);
    assert_eq!(report["errors"][0]["errors"][0]["field"], "consent.scope");
    assert!(report["errors"][0]["errors"][0]["message"].is_string());
    assert_eq!(report["errors"][1]["index"], 2);
    assert_eq!(space.read("out.ndjson"), "as it was\n");
}

#[test]
fn a_missing_file_is_a_refusal_and_a_missing_option_a_usage_error() {
    let space = Space::empty();
    let ran = space.madmall(["ingest", "--in", "none.ndjson"]).code(2);
    assert_eq!(object(&ran)["status"], "FAIL_CLOSED");
    let ran = space.madmall(["train", "--events", "none.ndjson"]).code(2);
    let report = object(&ran);
    assert_eq!(
        (&report["status"], &report["why"]),
        (&json!("FAIL_CLOSED"), &json!("Events file not found"))
    );
    assert_eq!(report["path"], "none.ndjson");
    let ran = space.madmall(["ingest"]).code(2).says("--in");
    assert_eq!(ran.out, "");
}

#[test]
fn train_writes_a_model_and_a_receipt_and_prints_it() {
    let space = Space::empty();
    space.write("ml/data/events.ndjson", events(40));
    let ran = space.madmall(["train"]).success();
    let receipt = object(&ran);
    assert_eq!(receipt["status"], "OK");
    assert_eq!(receipt["labels"], json!(["flare", "stable"]));
    assert_eq!(receipt["feature_keys"], json!(["x", "y"]));
    assert_eq!(receipt["events"]["path"], "ml/data/events.ndjson");
    let digest = madmall::digest::Sha256::of(events(40).as_bytes()).to_hex();
    assert_eq!(receipt["events"]["sha256"], digest.as_str());
    let written: Value = serde_json::from_str(&space.read("ml/receipts/latest-train-receipt.json")).expect("JSON");
    assert_eq!(written, receipt);

    let run_id = receipt["run_id"].as_str().expect("a text");
    assert!(run_id.starts_with("train-"), "{run_id}");
    let path = receipt["model_path"].as_str().expect("a text");
    let model: Value = serde_json::from_str(&space.read(path)).expect("JSON");
    assert_eq!(model["kind"], "logreg");
    assert_eq!(model["run_id"], run_id);
    assert_eq!(model["labels"], json!({"negative": "flare", "positive": "stable"}));
    assert_eq!(model["weights"].as_array().map(Vec::len), Some(2));
    assert!(model["bias"].is_f64());

    // Two trainings in one second are two.
    let again = object(&space.madmall(["train"]).success());
    assert_ne!(again["run_id"], receipt["run_id"]);
    assert!(space.exists(path));
}

#[test]
fn train_says_what_it_lacks() {
    let space = Space::empty();
    for (lines, why) in [
        (
            events(1).replace("\"label\":\"flare\",", ""),
            "No labeled events found. Add payload.label for training.",
        ),
        (events(1), "Binary training requires exactly 2 labels; got ['flare']"),
        (
            events(2)
                .replace(r#""features":{"note":"text","x":0,"y":true}"#, r#""features":{}"#)
                .replace(r#""features":{"note":"text","x":1,"y":false}"#, r#""features":{}"#),
            "No numeric features found. Add numeric payload.features.* fields.",
        ),
    ] {
        space.write("events.ndjson", lines);
        let ran = space
            .madmall([
                "train",
                "--events",
                "events.ndjson",
                "--models",
                "m",
                "--receipt",
                "r.json",
            ])
            .code(2);
        let report = object(&ran);
        assert_eq!(
            (&report["status"], &report["why"]),
            (&json!("FAIL_CLOSED"), &json!(why))
        );
        assert!(!space.exists("m") && !space.exists("r.json"), "{why}");
    }
}
