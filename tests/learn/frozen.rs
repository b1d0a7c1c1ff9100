//! The bytes that features, model and metrics have in any build, on any machine. (The third set of events that guards them is
//! the one that the baseline is trained on: `tests/golden/baseline.sha256`.)
//!
//! If a digest here changes, the stage's bytes have changed: that takes a new `revision` of the stage, and a new line
//! here, in the same commit.

use madmall::digest::Digest;
use madmall::stages::builtin;
use serde_json::{Value, json};

use crate::bench::{Bench, Params, params, read_repository, small_events, small_params};

/// More rows than are solved without a part of them solved first.
const MANY: u32 = 66_000;

fn many_events() -> Vec<u8> {
    let mut events = Vec::new();
    for n in 0..MANY {
        // Whole numbers and eighths, so that no library function has a say in the events.
        let (a, b, c) = (n * 31 % 997, n * 17 % 89, n % 3 == 0);
        let label = if (n * 7919) % 1013 < 200 + a / 2 { "x" } else { "y" };
        let features = format!("{{\"a\":{}.{},\"b\":{b},\"c\":{c}}}", a / 8, a % 8 * 125);
        let line = format!(
            "{{\"event_id\":\"evt-{n:06}\",\"timestamp\":\"2026-01-05T07:12:33Z\",\"source\":{{\"kind\":\"self\"}},\"consent\":{{\"scope\":\"care\",\"revocable\":true}},\"payload\":{{\"type\":\"lab_marker\",\"label\":\"{label}\",\"features\":{features}}}}}\n"
        );
        events.extend_from_slice(line.as_bytes());
    }
    events
}

/// Every kind of preparation.
fn everything_prepared() -> Value {
    json!({
        "range": {"age": [0, 120]},
        "impute": {"median": "all", "mean": ["age"], "indicator": ["tsh"]},
        "scale": {"standard": "all", "minmax": ["age"], "none": ["on_medication"]},
        "one_hot": ["source.kind"],
        "interactions": [["age", "tsh"]],
    })
}

fn digests(cases: &[(&str, Value)], events: &[u8], featurize: &Params, found: &mut serde_json::Map<String, Value>) {
    let bench = Bench::new();
    let features = bench.featurize(&[events], featurize).expect("good events");
    let prefix = cases
        .first()
        .map_or("", |(case, _)| case.split(':').next().unwrap_or_default());
    for (name, bytes) in &features {
        found.insert(format!("{name}, {prefix}"), Digest::of(bytes).to_string().into());
    }
    for (case, wanted) in cases {
        let outputs = bench
            .train(&features["features"], &params(wanted.clone()), 2)
            .expect("trains");
        for (name, bytes) in &outputs {
            found.insert(format!("{name}, {case}"), Digest::of(bytes).to_string().into());
        }
    }
}

#[test]
fn output_bytes_are_those_of_the_revision() {
    let mut found = serde_json::Map::new();
    let revision = |name: &str| builtin(name).map(|stage| stage.revision);
    found.insert(
        "revisions".to_owned(),
        json!({"featurize": revision("featurize"), "train": revision("train")}),
    );
    let small = [
        ("small: default", json!({})),
        ("small: unpenalised", json!({"l2": 0, "holdout": 0})),
        (
            "small: balanced and standardised",
            json!({"l2": 0.1, "class_weight": "balanced", "standardize": true}),
        ),
        ("small: gd", json!({"solver": "gd", "standardize": true})),
    ];
    digests(&small, &small_events(), &small_params(), &mut found);
    let prepared = [("prepared: default", json!({}))];
    digests(&prepared, &small_events(), &params(everything_prepared()), &mut found);
    let many = [("many: unpenalised", json!({"l2": 0, "holdout": 0}))];
    digests(&many, &many_events(), &Params::new(), &mut found);
    let frozen: Value = serde_json::from_slice(&read_repository("tests/golden/learn-digests.json")).expect("JSON");
    let found = serde_json::to_string_pretty(&Value::Object(found)).expect("JSON");
    assert_eq!(found, serde_json::to_string_pretty(&frozen).expect("JSON"));
}

/// The same test once more, by a processor of 2008: without AVX and without fused multiply-add.
#[test]
#[expect(clippy::print_stderr, reason = "a test that cannot be made says so")]
fn output_bytes_are_the_same_on_a_processor_without_wide_vectors() {
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = std::process::Command::new("qemu-x86_64");
    command.args(["-cpu", "Nehalem"]).arg(this);
    command.args(["--exact", "frozen::output_bytes_are_those_of_the_revision"]);
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => eprintln!("skipped: there is no qemu-x86_64"),
        Err(error) => panic!("qemu-x86_64 cannot be run: {error}"),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
        }
    }
}
