//! Events to features.

use std::io::Cursor;

use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::FileReader;
use serde_json::{Value, json};

use crate::bench::{Bench, Params, event, json_of, ndjson, params, refusal, small_events, small_params};

fn batches(bytes: &[u8]) -> Vec<RecordBatch> {
    let reader = FileReader::try_new(Cursor::new(bytes), None).expect("an Arrow file");
    reader.map(|batch| batch.expect("a batch")).collect()
}

fn column_names(bytes: &[u8]) -> Vec<String> {
    let reader = FileReader::try_new(Cursor::new(bytes), None).expect("an Arrow file");
    reader
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect()
}

fn two_events() -> Vec<Value> {
    vec![
        event(
            "evt-000001",
            &json!("a"),
            &json!({"b": true, "a": 1.5, "t": "x", "n": null}),
        ),
        event("evt-000002", &json!(null), &json!({"a": -2, "event_id": 7})),
    ]
}

#[test]
fn features_do_not_depend_on_threads() {
    let bench = Bench::new();
    let events = small_events();
    let run = |threads| bench.run("featurize", "events", &[&events], &small_params(), threads);
    let one = run(1).expect("good events");
    for threads in [2, 3, 7] {
        assert_eq!(run(threads).expect("good events"), one, "{threads} threads");
    }
}

#[test]
fn features_are_columns_of_their_own_whatever_they_are_called() {
    let bench = Bench::new();
    let outputs = bench
        .featurize(
            &[&ndjson(&two_events())],
            &params(json!({"groups": ["source.region", "source.kind"]})),
        )
        .expect("good events");
    let names = [
        "event_id",
        "label",
        "source.kind",
        "source.region",
        "features.a",
        "features.b",
        "features.event_id",
    ];
    assert_eq!(column_names(&outputs["features"]), names);
    let batches = batches(&outputs["features"]);
    assert_eq!(batches.len(), 1);
    let column = |index: usize| batches[0].column(index);
    // In the order of the BLAKE3 of their ids.
    let mut ids = ["evt-000001", "evt-000002"];
    ids.sort_by_key(|id| *blake3::hash(id.as_bytes()).as_bytes());
    assert_eq!(column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ids);
    let first = usize::from(ids[0] != "evt-000001");
    assert_eq!(column(1).as_string::<i32>().value(first), "a");
    assert!(column(1).is_null(1 - first) && column(3).is_null(0));
    let numbers = |index: usize| column(index).as_primitive::<Float64Type>().clone();
    assert_eq!((numbers(4).value(first), numbers(4).value(1 - first)), (1.5, -2.0));
    assert_eq!((numbers(5).value(first), numbers(5).value(1 - first)), (1.0, 0.0));
    assert_eq!((numbers(6).value(first), numbers(6).value(1 - first)), (0.0, 7.0));
}

#[test]
fn the_report_counts_what_was_taken_and_what_was_not() {
    let bench = Bench::new();
    let mut events = two_events();
    events.push(event("evt-000003", &json!("a"), &json!({"a": 300, "x": 1, "b": null})));
    let wanted = params(json!({"range": {"a": [-5, 120]}, "exclude": ["x"]}));
    let outputs = bench.featurize(&[&ndjson(&events)], &wanted).expect("good events");
    let expected = json!({
        "format": "madmall-features-report/v2",
        "rows": 3,
        "labels": {"a": 2},
        "unlabelled": 1,
        "features": [
            {"key": "a", "present": 2, "missing": 1, "out_of_range": 1, "impute": 0, "indicator": false, "scaling": null},
            {"key": "b", "present": 1, "missing": 2, "out_of_range": 0, "impute": 0, "indicator": false, "scaling": null},
            {"key": "event_id", "present": 1, "missing": 2, "out_of_range": 0, "impute": 0, "indicator": false, "scaling": null},
        ],
        "categories": [],
        "interactions": [],
        "ignored": [
            {"key": "n", "reason": "null", "rows": 1},
            {"key": "t", "reason": "text", "rows": 1},
            {"key": "x", "reason": "excluded", "rows": 1},
        ],
    });
    assert_eq!(json_of(&outputs["report"]), expected);
    assert_eq!(
        column_names(&outputs["features"])[2..],
        ["features.a", "features.b", "features.event_id"]
    );
}

#[test]
fn the_order_of_lines_and_their_files_does_not_matter() {
    let bench = Bench::new();
    let events = small_events();
    let mut lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').collect();
    let expected = bench.featurize(&[&events], &small_params()).expect("good events");
    lines.reverse();
    lines.rotate_left(77);
    let (first, second) = (lines[..120].concat(), lines[120..].concat());
    let blank = b"\n\r\n".as_slice();
    let found = bench
        .featurize(&[&first, blank, &second], &small_params())
        .expect("good events");
    assert_eq!(found, expected);
}

#[test]
fn large_files_are_written_in_batches() {
    let bench = Bench::new();
    let events: Vec<_> = (0..8200)
        .map(|n| event(&format!("evt-{n:06}"), &json!("a"), &json!({"a": n})))
        .collect();
    let outputs = bench
        .featurize(&[&ndjson(&events)], &Params::new())
        .expect("good events");
    let rows: Vec<usize> = batches(&outputs["features"])
        .iter()
        .map(RecordBatch::num_rows)
        .collect();
    assert_eq!(rows, [8192, 8]);
}

#[test]
fn no_events_make_a_file_without_rows() {
    let outputs = Bench::new()
        .featurize(&[b""], &params(json!({"exclude": ["x"]})))
        .expect("nothing is wrong");
    assert_eq!(column_names(&outputs["features"]), ["event_id", "label"]);
    assert!(batches(&outputs["features"]).is_empty());
}

#[test]
fn an_id_that_stands_twice_is_refused_with_both_places() {
    let mut events = two_events();
    events.push(events[0].clone());
    let text = refusal(Bench::new().featurize(&[&ndjson(&events[..2]), &ndjson(&events[2..])], &Params::new()));
    assert!(
        text.contains("data/events-1:1: has the id of data/events-0:1"),
        "{text}"
    );
}

#[test]
fn lines_that_are_no_events_are_refused_with_their_places() {
    let mut lines = ndjson(&two_events());
    lines.extend_from_slice(
        b"\n{\"event_id\":\"evt-3\",\"event_id\":\"evt-4\"}\n{\"event_id\":\"evt-5\",\"payload\":{\"label\":7}}\n",
    );
    let text = refusal(Bench::new().featurize(&[&lines], &Params::new()));
    assert!(text.contains("2 lines are no events"), "{text}");
    assert!(text.contains("data/events-0:4: duplicate key \"event_id\""), "{text}");
    assert!(text.contains("data/events-0:5: /payload/label: not a text"), "{text}");
    for bad in [
        b"\xff\n".as_slice(),
        b"[1]\n",
        b"\xef\xbb\xbf{}\n",
        b"{\"event_id\":1e400}\n",
    ] {
        refusal(Bench::new().featurize(&[bad], &Params::new()));
    }
    let long = vec![b'['; (1 << 20) + 1];
    let text = refusal(Bench::new().featurize(&[&long], &Params::new()));
    assert!(text.contains("data/events-0:1: longer than 1048576 bytes"), "{text}");
}

#[test]
fn a_parameter_that_names_no_feature_is_refused() {
    for (wanted, says) in [
        (json!({"exclude": ["agee"]}), "parameter `exclude` names `agee`"),
        (json!({"range": {"agee": [0, 1]}}), "parameter `range` names `agee`"),
        (json!({"one_hot": ["agee"]}), "parameter `one_hot` names `agee`"),
        (json!({"impute": {"mean": ["agee"]}}), "parameter `impute` names `agee`"),
        (
            json!({"scale": {"minmax": ["t"]}}),
            "parameter `scale` names `t`, which is never a number",
        ),
        (
            json!({"one_hot": ["t"], "exclude": ["t=y"]}),
            "parameter `exclude` names `t=y`",
        ),
    ] {
        let text = refusal(Bench::new().featurize(&[&ndjson(&two_events())], &params(wanted)));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn too_many_keys_are_refused() {
    let events: Vec<_> = (0..5000)
        .map(|n| event(&format!("evt-{n}"), &json!("a"), &json!({format!("k{n}"): 1})))
        .collect();
    let text = refusal(Bench::new().featurize(&[&ndjson(&events)], &Params::new()));
    assert!(text.contains("more than 4096 different feature keys"), "{text}");
}
