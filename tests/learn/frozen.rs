//! The bytes that features, model and metrics have had since revision 1, in any build, on any machine.
//!
//! If a digest here changes, the stage's bytes have changed: that takes a new `revision` of the stage, and a new line
//! here, in the same commit.

use madmall::digest::Digest;
use madmall::stages::builtin;
use serde_json::{Value, json};

use crate::bench::{Bench, params, read_repository, small_events, small_params};

#[test]
fn output_bytes_are_those_of_the_revision() {
    let bench = Bench::new();
    let features = bench
        .featurize(&[&small_events()], &small_params())
        .expect("good events");
    let mut found = serde_json::Map::new();
    let revision = |name: &str| builtin(name).map(|stage| stage.revision);
    found.insert(
        "revisions".to_owned(),
        json!({"featurize": revision("featurize"), "train": revision("train")}),
    );
    for (name, bytes) in &features {
        found.insert(name.clone(), Digest::of(bytes).to_string().into());
    }
    for (case, wanted) in [
        ("default", json!({})),
        ("unpenalised", json!({"l2": 0, "holdout": 0})),
        (
            "balanced and standardised",
            json!({"l2": 0.1, "class_weight": "balanced", "standardize": true}),
        ),
        ("gd", json!({"solver": "gd", "standardize": true})),
    ] {
        let outputs = bench.train(&features["features"], &params(wanted), 2).expect("trains");
        for (name, bytes) in &outputs {
            found.insert(format!("{name}, {case}"), Digest::of(bytes).to_string().into());
        }
    }
    let frozen: Value = serde_json::from_slice(&read_repository("tests/golden/learn-digests.json")).expect("JSON");
    let found = serde_json::to_string_pretty(&Value::Object(found)).expect("JSON");
    assert_eq!(found, serde_json::to_string_pretty(&frozen).expect("JSON"));
}
