//! All that the metrics say of a fit, on three data sets, agrees with statsmodels, scikit-learn and numpy. Their numbers are in
//! `tests/golden/statistics-*.json` and can be made again with `tests/reference/statistics.py`.

use serde_json::{Value, json};

use crate::bench::{Bench, json_of, params, read_repository};

/// How far a number may be from the reference: absolutely for small ones, relatively for large ones.
const TOLERANCE: f64 = 1e-8;

/// Every number of `reference` must be in `found`, under the same name; counts how many there are.
fn assert_agrees(what: &str, found: &Value, reference: &Value) -> usize {
    match reference {
        Value::Object(members) => {
            let members = members.iter().filter(|(name, _)| *name != "made_by");
            members
                .map(|(name, value)| assert_agrees(&format!("{what}.{name}"), &found[name], value))
                .sum()
        }
        Value::Array(items) => {
            let all = found.as_array().unwrap_or_else(|| panic!("{what} is no list"));
            assert_eq!(all.len(), items.len(), "{what}");
            let pairs = all.iter().zip(items).enumerate();
            pairs
                .map(|(place, (found, item))| assert_agrees(&format!("{what}[{place}]"), found, item))
                .sum()
        }
        Value::Number(number) => {
            let number = number.as_f64().expect("a double");
            let found = found.as_f64().unwrap_or_else(|| panic!("{what} is {found}"));
            let difference = (found - number).abs();
            assert!(
                difference <= TOLERANCE * number.abs().max(1.0),
                "{what}: {found} is not {number}"
            );
            1
        }
        other => {
            assert_eq!(found, other, "{what}");
            0
        }
    }
}

/// Trains on `events`, with the range and without the columns that the data set needs, and compares.
fn compare(name: &str, events: &[u8], range: &Value, no_optimum: &[&str], weights: Option<&str>) {
    let bench = Bench::new();
    let reference = json_of(&read_repository(&format!("tests/golden/statistics-{name}.json")));
    for (kind, mut wanted) in [
        ("unpenalised", json!({"l2": 0})),
        ("penalised", json!({"l2": 1})),
        ("elastic_net", json!({"l2": 10, "l1_ratio": 0.9, "standardize": true})),
        ("weighted", json!({"l2": 0, "weights": "weight"})),
        ("weighted_penalised", json!({"l2": 1, "weights": "weight"})),
    ] {
        if reference[kind].is_null() {
            continue;
        }
        let exclude = if kind == "unpenalised" { no_optimum } else { &[] };
        let weights = weights.filter(|_| !wanted["weights"].is_null());
        let prepared = params(json!({"range": range, "exclude": exclude, "weights": weights}));
        let features = bench.featurize(&[events], &prepared).expect("good events");
        wanted["holdout"] = json!(0);
        wanted["suppress_below"] = json!(0);
        let outputs = bench.train(&features["features"], &params(wanted), 2).expect("trains");
        let mut metrics = json_of(&outputs["metrics"]);
        // The reference has the intercept as the last coefficient, and DeLong's error beside the area.
        let intercept = metrics["intercept"].clone();
        let coefficients = metrics["coefficients"].as_array_mut().expect("a list");
        coefficients.push(intercept);
        metrics["train"]["auc_standard_error"] = metrics["train"]["auc_interval"]["standard_error"].clone();
        let numbers = assert_agrees(&format!("{name} {kind}"), &metrics, &reference[kind]);
        assert!(numbers > 15, "{numbers} numbers were compared");
    }
}

#[test]
fn thyroid_records() {
    let no_optimum = [
        "TT4_measured",
        "goitre",
        "hypopituitary",
        "lithium",
        "psych",
        "thyroid_surgery",
    ];
    let events = read_repository("data/raw/thyroid.ndjson");
    compare("thyroid", &events, &json!({"age": [0, 120]}), &no_optimum, None);
}

#[test]
fn breast_cancer() {
    let events = read_repository("tests/golden/statistics-breast_cancer.ndjson");
    compare("breast_cancer", &events, &json!({}), &[], Some("mean_area"));
}

#[test]
fn wine() {
    let events = read_repository("tests/golden/statistics-wine.ndjson");
    compare("wine", &events, &json!({}), &[], Some("magnesium"));
}
