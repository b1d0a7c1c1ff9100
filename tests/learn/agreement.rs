//! Coefficients and prepared features of the real records agree with statsmodels and scikit-learn, whose numbers are in
//! `tests/golden/` and can be made again with `tests/reference/logreg_reference.py` and `preparation_reference.py`.

use madmall::model::Model;
use serde_json::{Value, json};

use crate::bench::{Bench, json_of, params, read_repository, refusal};
use crate::travelling::{preparation_of, written};

/// The columns that leave no optimum without a penalty on these records: one is constant, the others separate.
const NO_OPTIMUM: [&str; 6] = [
    "TT4_measured",
    "goitre",
    "hypopituitary",
    "lithium",
    "psych",
    "thyroid_surgery",
];

/// How far a number may be from the reference: absolutely for small ones, relatively for large ones.
const TOLERANCE: f64 = 1e-8;

fn features(bench: &Bench, exclude: &[&str]) -> Vec<u8> {
    let events = read_repository("data/raw/thyroid.ndjson");
    let wanted = params(json!({"range": {"age": [0, 120]}, "exclude": exclude}));
    bench
        .featurize(&[&events], &wanted)
        .expect("good events")
        .remove("features")
        .expect("written")
}

fn assert_close(what: &str, found: f64, reference: &Value) {
    let reference = reference.as_f64().expect("a number");
    let difference = (found - reference).abs();
    assert!(
        difference <= TOLERANCE * reference.abs().max(1.0),
        "{what}: {found} is not {reference}"
    );
}

#[test]
fn coefficients_agree_with_scikit_learn_with_a_penalty() {
    let bench = Bench::new();
    let outputs = bench
        .train(&features(&bench, &[]), &params(json!({"l2": 1, "holdout": 0})), 2)
        .expect("trains");
    let model = Model::parse(&outputs["model"]).expect("a model");
    let reference = json_of(&read_repository("tests/golden/logreg-thyroid-l2.json"));
    assert_eq!(json!(model.feature_keys), reference["feature_keys"]);
    assert_eq!(json!(model.labels), reference["labels"]);
    for (index, key) in model.feature_keys.iter().enumerate() {
        assert_close(key, model.weights[index], &reference["weights"][index]);
    }
    assert_close("bias", model.bias, &reference["bias"]);
    let metrics = json_of(&outputs["metrics"]);
    assert_eq!(metrics["rows"]["train"], reference["rows"]);
    for name in ["auc", "log_loss", "brier"] {
        assert_close(
            name,
            metrics["train"][name].as_f64().expect("a number"),
            &reference[name],
        );
    }
}

#[test]
fn coefficients_and_their_errors_agree_with_statsmodels_without_a_penalty() {
    let bench = Bench::new();
    let outputs = bench
        .train(
            &features(&bench, &NO_OPTIMUM),
            &params(json!({"l2": 0, "holdout": 0})),
            2,
        )
        .expect("trains");
    let metrics = json_of(&outputs["metrics"]);
    let reference = json_of(&read_repository("tests/golden/logreg-thyroid-unregularised.json"));
    assert_eq!(metrics["rows"]["train"], reference["rows"]);
    let coefficients = metrics["coefficients"].as_array().expect("a list");
    assert_eq!(coefficients.len(), 22);
    for (index, coefficient) in coefficients.iter().chain([&metrics["intercept"]]).enumerate() {
        let reference = &reference["coefficients"][index];
        assert_eq!(coefficient["feature"], reference["feature"]);
        for name in ["estimate", "standard_error", "z", "p_value"] {
            let what = format!("{name} of {}", reference["feature"]);
            assert_close(&what, coefficient[name].as_f64().expect("a number"), &reference[name]);
        }
    }
}

#[test]
fn without_a_penalty_exactly_the_six_columns_are_named() {
    let bench = Bench::new();
    let text = refusal(bench.train(&features(&bench, &[]), &params(json!({"l2": 0, "holdout": 0})), 2));
    let summary = text.lines().next().expect("a summary");
    let named: Vec<&str> = summary.split('`').skip(3).step_by(2).collect();
    assert_eq!(named, NO_OPTIMUM, "{text}");
}

#[test]
fn prepared_features_agree_with_scikit_learn() {
    let reference = json_of(&read_repository("tests/golden/preparation-thyroid.json"));
    let events = read_repository("data/raw/thyroid.ndjson");
    let outputs = Bench::new()
        .featurize(&[&events], &params(reference["params"].clone()))
        .expect("good events");
    let preparation = preparation_of(&outputs["features"]);
    assert_eq!(json!(preparation.columns()), reference["columns"]);
    let rows = written(&outputs["features"]);
    let expected = reference["rows"].as_object().expect("rows by id");
    assert_eq!(expected.len(), 25);
    for (id, expected) in expected {
        for (index, column) in preparation.columns().iter().enumerate() {
            let (found, expected) = (f64::from_bits(rows[id][index]), expected[index].as_f64());
            let difference = (found - expected.expect("a number")).abs();
            assert!(difference <= 1e-13 * found.abs().max(1.0), "{column} of {id}: {found}");
        }
    }
}
