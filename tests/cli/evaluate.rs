//! `madmall evaluate`.

use serde_json::{Value, json};

use crate::space::{Ran, Space};

const STAGES: &str = "stages:
  all:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {groups: [source.kind, source.region]}
    outputs: {features: out/all.arrow}
  fewer:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {exclude: [tsh]}
    outputs: {features: out/fewer.arrow}
  narrow:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {range: {age: [0, 50]}}
    outputs: {features: out/narrow.arrow}
  train:
    uses: madmall/train
    inputs: {features: all.features}
    params: {holdout: 0.3}
    outputs: {model: out/model.json, metrics: out/metrics.json}
  small:
    uses: madmall/train
    inputs: {features: fewer.features}
    outputs: {model: out/small.json}";

/// A model of the 300 made-up events, and two tables of them, of which one lacks a feature of the model.
fn trained() -> Space {
    let space = Space::with(STAGES);
    space.write("events.ndjson", include_str!("../golden/small-events.ndjson"));
    space.run(&[]).success();
    space
}

fn evaluate(space: &Space, model: &str, features: &str, more: &[&str]) -> Ran {
    let named = ["evaluate", "--model", model, "--features", features];
    space.madmall(named.iter().chain(more))
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("one JSON object")
}

#[test]
fn a_model_is_measured_on_the_rows_of_a_file() {
    let space = trained();
    let before = space.snapshot();
    let found = json_of(&evaluate(&space, "out/model.json", "out/all.arrow", &["--json"]).success());
    space.is_as(&before);
    let digest = |path: &str| madmall::digest::Digest::of(&std::fs::read(space.path(path)).expect("read")).to_string();
    assert_eq!(found["model"], digest("out/model.json"));
    assert_eq!(found["features"], digest("out/all.arrow"));
    let schema = serde_json::from_str(include_str!("../../schemas/evaluation.schema.json")).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
    let errors: Vec<String> = validator.iter_errors(&found).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let metrics: Value = serde_json::from_str(&space.read("out/metrics.json")).expect("JSON");
    let both = |part: &str| metrics["rows"][part].as_u64().expect("a count");
    assert_eq!(found["rows"]["measured"], json!(both("train") + both("holdout")));
    assert_eq!(found["evaluation"]["n"], found["rows"]["measured"]);
    assert_eq!(found["absent_features"], json!([]));
    // Nobody was fitted to these rows: no degrees of freedom were spent.
    assert_eq!(found["evaluation"]["hosmer_lemeshow"]["degrees_of_freedom"], 10);
    // Σ log loss of all rows is that of both parts.
    let sum = |evaluation: &Value| {
        let number = |name: &str| evaluation[name].as_f64().expect("a number");
        number("log_loss") * number("n")
    };
    let difference = sum(&found["evaluation"]) - sum(&metrics["train"]) - sum(&metrics["holdout"]);
    assert!(difference.abs() < 1e-9, "{difference}");
}

#[test]
fn the_table_and_the_file_say_the_same() {
    let space = trained();
    let ran = evaluate(&space, "out/model.json", "out/all.arrow", &["--out", "reports/e.json"]).success();
    let file: Value = serde_json::from_str(&space.read("reports/e.json")).expect("JSON");
    let auc = file["evaluation"]["auc"].as_f64().expect("a number");
    let first = file["evaluation"]["thresholds"][0]["threshold"]
        .as_f64()
        .expect("a number");
    let ran = ran
        .says(&format!("AUC                {auc:.4}  (95 %: "))
        .says("threshold  sensitivity  specificity")
        .says("source.region")
        .says("count below 5");
    assert!(
        ran.out
            .lines()
            .any(|line| line.trim_start().starts_with(&format!("{first:.2} "))),
        "{}",
        ran.out
    );
    let printed = evaluate(&space, "out/model.json", "out/all.arrow", &["--json"]).success();
    assert_eq!(printed.out.trim_end(), space.read("reports/e.json"));
}

#[test]
fn few_rows_are_not_shown_unless_asked_for() {
    let space = trained();
    let hidden = json_of(
        &evaluate(
            &space,
            "out/model.json",
            "out/all.arrow",
            &["--json", "--suppress-below", "40"],
        )
        .success(),
    );
    assert_eq!(hidden["evaluation"]["confusion"], Value::Null);
    assert_eq!(hidden["groups"][0]["groups"], json!([]));
    let shown = json_of(
        &evaluate(
            &space,
            "out/model.json",
            "out/all.arrow",
            &["--json", "--suppress-below", "0"],
        )
        .success(),
    );
    assert_eq!(shown["evaluation"]["thresholds"].as_array().map(Vec::len), Some(19));
    assert_eq!(shown["groups"][0]["others"], Value::Null);
}

#[test]
fn what_does_not_fit_the_model_is_refused() {
    let space = trained();
    evaluate(&space, "out/model.json", "out/fewer.arrow", &[])
        .code(2)
        .says("no column for 1 of the model's 5 features: `tsh`")
        .says("--absent-as-zero");
    let found = json_of(
        &evaluate(
            &space,
            "out/model.json",
            "out/fewer.arrow",
            &["--json", "--absent-as-zero"],
        )
        .success(),
    );
    assert_eq!(found["absent_features"], json!(["tsh"]));
    evaluate(&space, "out/small.json", "out/all.arrow", &[])
        .success()
        .says("1 column is of no use to the model");
    let other = space.read("out/model.json").replace("\"flare\"", "\"flared\"");
    space.write("out/other.json", other);
    evaluate(&space, "out/other.json", "out/all.arrow", &[])
        .code(2)
        .says("it has the label `flare`; the model knows `flared` and `stable`");
    evaluate(&space, "out/model.json", "out/narrow.arrow", &[])
        .code(2)
        .says("`age` is prepared otherwise than the model's");
    evaluate(&space, "out/metrics.json", "out/all.arrow", &[])
        .code(2)
        .says("`out/metrics.json` is no model");
    evaluate(&space, "out/model.json", "events.ndjson", &[])
        .code(2)
        .says("is no features file")
        .says("events are named by `--events`");
    evaluate(&space, "out/model.json", "out/none.arrow", &[])
        .code(2)
        .says("cannot read `out/none.arrow`");
    evaluate(&space, "out/model.json", "out/all.arrow", &["--confidence", "1"]).code(2);
}

#[test]
fn nothing_is_written_over_what_is_read() {
    let space = trained();
    let before = space.snapshot();
    for out in ["out/model.json", "out/all.arrow"] {
        evaluate(&space, "out/model.json", "out/all.arrow", &["--out", out])
            .code(2)
            .says("which is an input");
    }
    space.is_as(&before);
}

#[test]
fn rows_weigh_what_a_column_says() {
    let stages = "stages:
  featurize:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {groups: [source.kind], weights: age}
    outputs: {features: out/features.arrow, report: out/report.json}
  train:
    uses: madmall/train
    inputs: {features: featurize.features}
    params: {holdout: 0, l2: 0, weights: weight}
    outputs: {model: out/model.json, metrics: out/metrics.json}";
    let space = Space::with(stages);
    let events = include_str!("../golden/small-events.ndjson");
    space.write("events.ndjson", events);
    // Not everybody has an age.
    space.run(&[]).code(2).says("no `age` that a row can weigh");
    let aged = |line: &&str| {
        let event: Value = serde_json::from_str(line).expect("JSON");
        event["payload"]["features"]["age"]
            .as_f64()
            .is_some_and(|age| age > 0.0)
    };
    let some: Vec<&str> = events.lines().filter(aged).collect();
    assert!(some.len() > 200);
    space.write("events.ndjson", some.join("\n"));
    space.run(&[]).success();
    space.madmall(["verify"]).success();
    let metrics: Value = serde_json::from_str(&space.read("out/metrics.json")).expect("JSON");
    let schema = serde_json::from_str(include_str!("../../schemas/metrics.schema.json")).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
    let errors: Vec<String> = validator.iter_errors(&metrics).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let model: Value = serde_json::from_str(&space.read("out/model.json")).expect("JSON");
    assert_eq!(model["feature_keys"].to_string().matches("age").count(), 0);

    let features = "out/features.arrow";
    let ran = evaluate(&space, "out/model.json", features, &["--weights", "weight", "--json"]).success();
    let found = json_of(&ran);
    let schema = serde_json::from_str(include_str!("../../schemas/evaluation.schema.json")).expect("a schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
    assert!(validator.is_valid(&found), "{found:#}");
    for figure in ["auc", "average_precision", "log_loss", "brier", "confusion", "n"] {
        assert_eq!(found["evaluation"][figure], metrics["train"][figure], "{figure}");
    }
    assert_eq!(found["settings"]["weights"], "weight");
    evaluate(&space, "out/model.json", features, &[])
        .code(2)
        .says("what rows weigh is named by `weights`");
    // Nothing that is scored needs a weight.
    let scored = space.madmall(["predict", "--model", "out/model.json", "--in", "events.ndjson"]);
    assert_eq!(scored.success().out.lines().count(), some.len());
}

#[test]
fn a_table_in_which_nothing_is_missing_is_prepared_as_the_model_is() {
    let stages = "stages:
  here:
    uses: madmall/featurize
    inputs: {events: events.ndjson}
    params: {impute: {indicator: [age]}}
    outputs: {features: out/here.arrow}
  there:
    uses: madmall/featurize
    inputs: {events: whole.ndjson}
    params: {impute: {indicator: [age]}}
    outputs: {features: out/there.arrow}
  train:
    uses: madmall/train
    inputs: {features: here.features}
    outputs: {model: out/model.json}";
    let space = Space::with(stages);
    let events = include_str!("../golden/small-events.ndjson");
    let has_age = |line: &&str| {
        let event: Value = serde_json::from_str(line).expect("an event");
        event["payload"]["features"]["age"].is_number()
    };
    let whole: Vec<&str> = events.lines().filter(has_age).collect();
    // One of them lacks it here.
    let mut lacking: Value = serde_json::from_str(whole[0]).expect("an event");
    lacking["event_id"] = "evt-lacking".into();
    lacking["payload"]["features"]["age"] = Value::Null;
    space.write("whole.ndjson", whole.join("\n") + "\n");
    space.write("events.ndjson", format!("{events}{lacking}\n"));
    space.run(&[]).success();
    assert!(space.read("out/model.json").contains("age=missing"));
    evaluate(&space, "out/model.json", "out/there.arrow", &[])
        .code(2)
        .says("it has no column for 1 of the model's")
        .says("--absent-as-zero");
    evaluate(&space, "out/model.json", "out/there.arrow", &["--absent-as-zero"]).success();
}
