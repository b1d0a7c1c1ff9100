//! The replaced package's commands by the real binary: its options, its JSON, its codes.

use serde_json::{Value, json};

use crate::space::{Ran, Space, files_below};

/// An event of the contract; the tests change it.
const EVENT: &str = r#"{"event_id":"evt-000001","timestamp":"2026-01-05T07:12:33Z","source":{"kind":"self"},"consent":{"scope":"care","revocable":true},"payload":{"type":"lab_marker","label":"a","features":{"x":1.5}}}"#;

/// Two events with two labels, a blank line between them.
fn two() -> String {
    let second = EVENT
        .replace("000001", "000002")
        .replace(r#""label":"a""#, r#""label":"b""#)
        .replace("1.5", "-2");
    format!("{EVENT}\n\n{second}\n")
}

/// A folder with `in.ndjson`, which holds two good events. It is no workspace.
fn space() -> Space {
    let space = Space::empty();
    space.write("in.ndjson", two());
    space
}

/// What stands on standard output must be one JSON object, indented by 2, and nothing else.
#[track_caller]
fn object(ran: &Ran) -> Value {
    let value: Value = serde_json::from_str(&ran.out).expect("one JSON object and nothing else");
    assert!(value.is_object());
    // The keys keep the order in which they were printed only in the text, so that sorted lines are compared.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect();
        lines.sort();
        lines
    };
    let pretty = serde_json::to_string_pretty(&value).expect("JSON");
    assert_eq!(sorted(&ran.out), sorted(&pretty), "indented by 2");
    value
}

/// The command must refuse, with these words, and leave nothing but `in.ndjson` and what `before` had.
#[track_caller]
fn refuses(space: &Space, arguments: &[&str]) -> Value {
    let before = space.snapshot();
    let ran = space.madmall(arguments).code(2);
    let value = object(&ran);
    assert_eq!(value["status"], "FAIL_CLOSED");
    assert!(value["why"].is_string());
    space.is_as(&before);
    value
}

#[test]
fn ingest_writes_the_events_as_they_came_and_says_where() {
    let space = space();
    let ran = space.madmall(["ingest", "--in", "in.ndjson"]).success();
    assert_eq!(
        ran.out,
        "{\n  \"status\": \"OK\",\n  \"written\": 2,\n  \"path\": \"ml/data/events.ndjson\"\n}\n"
    );
    assert_eq!(ran.err, "");
    assert_eq!(space.read("ml/data/events.ndjson"), two().replace("\n\n", "\n"));
    assert_eq!(
        files_below(&space.path("ml")),
        ["data/events.ndjson"],
        "nothing beside it"
    );

    let ran = space
        .madmall(["ingest", "--in", "in.ndjson", "--out", "else where/e.ndjson"])
        .success();
    assert_eq!(object(&ran)["path"], "else where/e.ndjson");
    assert_eq!(space.read("else where/e.ndjson"), space.read("ml/data/events.ndjson"));
    // It needs no key and no workspace, and makes none.
    assert!(!space.exists("../config") && !space.exists("../home") && !space.exists(".madmall"));
}

#[test]
fn ingest_lists_every_invalid_event_and_leaves_the_output_before_as_it_was() {
    let space = space();
    space.madmall(["ingest", "--in", "in.ndjson"]).success();
    let bad = EVENT
        .replace("self", "hacker")
        .replace(r#""revocable":true"#, r#""revocable":1"#);
    space.write("bad.ndjson", format!("\n\n{bad}\n{EVENT}\n{{\"x\":01}}\n"));
    let value = refuses(&space, &["ingest", "--in", "bad.ndjson"]);
    assert_eq!(value["why"], "One or more events failed schema validation");
    let errors = value["errors"].as_array().expect("a list");
    // The index counts the lines that are not blank from 0, as it always did; the line is ours.
    let places: Vec<_> = errors
        .iter()
        .map(|e| (e["index"].as_u64(), e["line"].as_u64()))
        .collect();
    assert_eq!(places, [(Some(0), Some(3)), (Some(2), Some(5))]);
    let fields: Vec<&str> = errors[0]["errors"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|error| {
            assert!(error["message"].is_string());
            error["field"].as_str().expect("a text")
        })
        .collect();
    assert!(
        fields.contains(&"source.kind") && fields.contains(&"consent.revocable"),
        "{fields:?}"
    );
    assert_eq!(errors[1]["errors"][0]["field"], "");
}

#[test]
fn ingest_refuses_what_it_cannot_read_or_write_without_a_trace() {
    let space = space();
    let value = refuses(&space, &["ingest", "--in", "nothing.ndjson"]);
    assert_eq!(
        value,
        json!({"status": "FAIL_CLOSED", "why": "Input file not found", "path": "nothing.ndjson"})
    );
    space.write("empty", "\n");
    let value = refuses(&space, &["ingest", "--in", "empty"]);
    assert_eq!(value["why"], "No events found in the input file");
    let value = refuses(&space, &["ingest", "--in", "."]);
    assert_eq!(value["why"], "Cannot read the input file: it is not a regular file");
    let value = refuses(&space, &["ingest", "--in", "in.ndjson", "--out", "empty/events"]);
    assert_eq!(value["why"], "Cannot write the events: `empty` is not a folder");
    refuses(&space, &["ingest", "--in", "in.ndjson", "--out", "."]);
}

#[test]
fn ingest_onto_its_own_input_is_whole() {
    let space = space();
    space
        .madmall(["ingest", "--in", "in.ndjson", "--out", "in.ndjson"])
        .success();
    assert_eq!(space.read("in.ndjson"), two().replace("\n\n", "\n"));
}

#[test]
fn an_event_that_stands_twice_is_written_once_and_said_beside_the_json() {
    let space = space();
    space.write("in.ndjson", format!("{EVENT}\n{EVENT}\n"));
    let ran = space.madmall(["ingest", "--in", "in.ndjson"]).success();
    assert_eq!(object(&ran)["written"], 1);
    assert!(ran.err.contains("written once"), "{}", ran.err);
}

#[test]
fn train_follows_ingest_by_their_defaults_alone() {
    let space = space();
    space.madmall(["ingest", "--in", "in.ndjson"]).success();
    let ran = space.madmall(["train"]).success();
    assert_eq!(ran.err, "");
    assert_eq!(space.read("ml/receipts/latest-train-receipt.json"), ran.out);
    let receipt = object(&ran);
    let keys: Vec<&str> = receipt.as_object().expect("a map").keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "events",
            "feature_keys",
            "labels",
            "model_path",
            "run_id",
            "status",
            "trained_at"
        ]
    );
    assert_eq!(receipt["status"], "OK");
    assert_eq!(receipt["labels"], json!(["a", "b"]));
    assert_eq!(receipt["feature_keys"], json!(["x"]));
    let sha256 = madmall::digest::Sha256::of(&space.bytes("ml/data/events.ndjson")).to_hex();
    assert_eq!(
        receipt["events"],
        json!({"path": "ml/data/events.ndjson", "sha256": sha256})
    );
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let (run_id, trained_at) = (text(&receipt["run_id"]), text(&receipt["trained_at"]));
    assert!(run_id.starts_with("train-"), "{run_id}");
    assert!(trained_at.len() == 20 && trained_at.ends_with('Z'), "{trained_at}");
    assert_eq!(receipt["model_path"], format!("ml/models/{run_id}.model.json"));

    let model: Value = serde_json::from_str(&space.read(&text(&receipt["model_path"]))).expect("JSON");
    let keys: Vec<&str> = model.as_object().expect("a map").keys().map(String::as_str).collect();
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
    assert_eq!(model["kind"], "logreg");
    assert_eq!(model["labels"], json!({"negative": "a", "positive": "b"}));
    assert_eq!(model["run_id"], run_id);
    // `a` has the larger x, and `b` is the positive label.
    assert!(model["weights"][0].as_f64().expect("a number") < 0.0);
    assert!(model["bias"].is_f64());
}

#[test]
fn two_trainings_in_one_second_keep_both_models() {
    let space = space();
    for _ in 0..2 {
        space
            .madmall(["train", "--events", "in.ndjson", "--models", "m", "--receipt", "r.json"])
            .success();
    }
    assert_eq!(files_below(&space.path("m")).len(), 2);
    assert!(space.exists("r.json") && !space.exists("ml"));
}

#[test]
fn train_refuses_with_the_words_that_callers_know() {
    let space = space();
    let value = refuses(&space, &["train"]);
    assert_eq!(
        value,
        json!({"status": "FAIL_CLOSED", "why": "Events file not found", "path": "ml/data/events.ndjson"})
    );
    for (events, why) in [
        (
            two()
                .replace(r#""label":"a""#, r#""label":null"#)
                .replace(r#""label":"b""#, r#""label":null"#),
            "No labeled events found. Add payload.label for training.",
        ),
        (
            format!("{EVENT}\n"),
            "Binary training requires exactly 2 labels; got ['a']",
        ),
        (
            two()
                .replace(r#"{"x":1.5}"#, "{}")
                .replace(r#"{"x":-2}"#, r#"{"x":"text"}"#),
            "No numeric features found. Add numeric payload.features.* fields.",
        ),
        (
            two().replace(r#""consent":{"scope":"care","revocable":true},"#, ""),
            "One or more events failed schema validation",
        ),
    ] {
        space.write("events", events);
        assert_eq!(refuses(&space, &["train", "--events", "events"])["why"], why);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn events_that_are_refused_are_not_unpacked_into_memory() {
    use std::io::Write as _;

    let space = space();
    // One line of 2 GB, in a file of 2 MB.
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    member.write_all(&vec![0; 1 << 20]).expect("written");
    space.write("bomb.gz", member.finish().expect("packed").repeat(2000));
    let train = format!(
        "ulimit -v 1500000; exec '{}' train --events bomb.gz --models m --receipt r.json",
        env!("CARGO_BIN_EXE_madmall")
    );
    let plain = space.command([""; 0]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &train]).current_dir(space.root()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(&command.output().expect("it runs")).code(2);
    assert_eq!(object(&ran)["why"], "One or more events failed schema validation");
}

#[test]
fn train_that_cannot_write_ends_and_leaves_nothing() {
    let space = space();
    space.write("a file", "");
    for option in ["--models", "--receipt"] {
        // With `--receipt` the model was written first, and is taken away again; its empty folder may stay.
        let value = refuses(&space, &["train", "--events", "in.ndjson", option, "a file/below"]);
        let why = value["why"].as_str().expect("a text");
        assert!(
            why.starts_with("Cannot write the ") && why.ends_with("`a file` is not a folder"),
            "{why}"
        );
    }
    refuses(&space, &["train", "--events", "in.ndjson", "--models", "a file"]);
}

#[test]
fn wrong_options_end_with_2_and_print_no_json() {
    let space = space();
    let before = space.snapshot();
    for arguments in [
        &["ingest"][..],
        &["ingest", "--in"],
        &["ingest", "in.ndjson"],
        &["ingest", "--in", "in.ndjson", "--output", "x"],
        &["train", "--event", "in.ndjson", "--nothing"],
    ] {
        let ran = space.madmall(arguments).code(2);
        assert_eq!(ran.out, "");
        assert!(
            ran.err.starts_with("error: ") && ran.err.contains("--help"),
            "{}",
            ran.err
        );
    }
    space.is_as(&before);
}

#[test]
fn compressed_events_are_taken_as_what_is_in_them() {
    let space = space();
    let events = two().replace("\n\n", "\n");
    space.write("in.zst", zstd::encode_all(two().as_bytes(), 1).expect("a frame"));
    let mut weights = Vec::new();
    for (raw, models) in [("in.ndjson", "plain"), ("in.zst", "packed")] {
        space.madmall(["ingest", "--in", raw, "--out", "out.ndjson"]).success();
        assert_eq!(space.read("out.ndjson"), events);
        space
            .madmall([
                "train",
                "--events",
                raw,
                "--models",
                models,
                "--receipt",
                "receipt.json",
            ])
            .success();
        let model = files_below(&space.path(models)).pop().expect("a model");
        let model: Value = serde_json::from_str(&space.read(&format!("{models}/{model}"))).expect("JSON");
        weights.push(model["weights"].clone());
    }
    assert!(weights[0].is_array() || weights[0].is_object(), "{weights:?}");
    assert_eq!(weights[0], weights[1]);
    space.write("in.zst", &zstd::encode_all(two().as_bytes(), 1).expect("a frame")[..40]);
    let value = refuses(&space, &["ingest", "--in", "in.zst", "--out", "none.ndjson"]);
    assert!(value["why"].to_string().contains("ends too soon"), "{value}");
}
