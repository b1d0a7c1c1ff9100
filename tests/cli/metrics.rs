//! `madmall metrics`.

use serde_json::{Value, json};

use crate::space::Space;

const STAGES: &str = "stages:
  fit:
    run: 'cp ${inputs.i} ${outputs.metrics}; cp ${inputs.i} ${outputs.model}'
    inputs: {i: in}
    outputs: {metrics: out/metrics.json, model: out/model.json}
  card: {run: 'cp ${inputs.m} ${outputs.o}', inputs: {m: fit.metrics}, outputs: {o: out/card}}";

fn runs(inputs: &[&str]) -> Space {
    let space = Space::with(STAGES);
    for input in inputs {
        space.write("in", input);
        space.run(&[]).success();
    }
    space
}

fn table(space: &Space, arguments: &[&str]) -> Value {
    let ran = space.madmall(["metrics", "--json"].iter().chain(arguments)).success();
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn each_run_is_a_row_and_the_newest_is_last() {
    let space = runs(&[r#"{"auc": 0.5, "by": {"x": 1}}"#, r#"{"auc": 0.75, "loss": 2}"#]);
    let found = table(&space, &[]);
    assert_eq!(found["columns"], json!(["auc", "loss"]));
    assert_eq!(found["rows"][0]["values"], json!([0.5, null]));
    assert_eq!(found["rows"][1]["values"], json!([0.75, 2]));
    let text = space.madmall(["metrics"]).success().out;
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["run", "commit", "auc", "loss"]);
    assert_eq!(lines[1][1..], ["-", "0.5", "-"]);
    assert_eq!(lines[2][1..], ["-", "0.75", "2"]);
    assert_eq!(table(&space, &["-n", "1"])["rows"].as_array().expect("a list").len(), 1);
}

#[test]
fn numbers_are_selected_by_name_from_any_json_output() {
    let space = runs(&[r#"{"train": {"auc": 0.5}, "holdout": {"auc": 0.25}}"#]);
    let columns = |arguments: &[&str]| table(&space, arguments)["columns"].clone();
    // Nothing stands higher.
    assert_eq!(columns(&[]), json!(["holdout.auc", "train.auc"]));
    assert_eq!(columns(&["--select", "train.auc"]), json!(["train.auc"]));
    assert_eq!(columns(&["--select", "auc"]), json!(["holdout.auc", "train.auc"]));
    assert_eq!(
        columns(&["--select", "fit.model.train.auc,holdout.auc"]),
        json!(["train.auc", "holdout.auc"])
    );
    space
        .madmall(["metrics", "--select", "hodlout.auc"])
        .code(2)
        .says("no run has a number called `hodlout.auc`")
        .says("there is a number `holdout.auc`");
}

#[test]
fn csv_has_every_digit() {
    let space = runs(&[r#"{"auc": 0.12345678901234, "a,b": 1}"#]);
    let csv = space.madmall(["metrics", "--csv"]).success().out;
    let (head, row) = csv.split_once('\n').expect("two lines");
    assert_eq!(head, "run,pipeline,finishedOn,commit,uncommitted,succeeded,\"a,b\",auc");
    assert!(row.ends_with(",false,true,1,0.12345678901234\n"), "{row}");
}

#[test]
fn only_runs_of_a_pipeline_are_shown_if_one_is_named() {
    let space = runs(&[r#"{"auc": 1}"#]);
    assert_eq!(table(&space, &["pipeline.yaml"])["rows"][0]["pipeline"], "test");
    assert_eq!(table(&space, &["test"])["rows"][0]["pipeline"], "test");
    space
        .madmall(["metrics", "other.yaml"])
        .code(6)
        .says("there is no run of `other.yaml` here");
    Space::with(STAGES)
        .madmall(["metrics"])
        .code(6)
        .says("there are no runs here yet");
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let space = runs(&[r#"{"auc": 1, "auc": 2}"#, &"[".repeat(200_000), "", r#"{"auc": 3}"#]);
    space.write("runs/2020-01-01T000000Z-test-000000.intoto.jsonl", "{}\n");
    let found = table(&space, &[]);
    assert_eq!(found["rows"].as_array().expect("a list").len(), 1);
    assert_eq!(found["notes"].as_array().expect("a list").len(), 4);
    assert_eq!(found["runsWithout"], 3);
    space
        .madmall(["metrics"])
        .success()
        .says("duplicate key \"auc\"")
        .says("nested too deep");
    let none = runs(&["no numbers"]);
    none.madmall(["metrics"]).code(6);
}
