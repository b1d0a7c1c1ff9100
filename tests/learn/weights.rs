//! Rows that do not weigh alike.

use std::collections::BTreeMap;
use std::io::Cursor;

use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use madmall::model::Model;
use serde_json::{Value, json};

use crate::bench::{Bench, Outputs, Params, event, json_of, ndjson, params, refusal, small_events};

/// Rows with a weight each, and the same with each row as often as it weighs.
fn rows() -> (Vec<Value>, Vec<Value>) {
    let (mut weighted, mut repeated) = (Vec::new(), Vec::new());
    for n in 0..600_u32 {
        let (x, y) = (f64::from(n * 7919 % 613) / 100.0, f64::from(n * 31 % 17));
        let label = json!(if n * n % 1013 < 300 + n * 7919 % 613 {
            "yes"
        } else {
            "no"
        });
        let weight = 1 + n % 5;
        let features = json!({"x": x, "y": y, "w": weight});
        weighted.push(event(&format!("row-{n:04}"), &label, &features));
        for copy in 0..weight {
            repeated.push(event(&format!("row-{n:04}-{copy}"), &label, &features));
        }
    }
    (weighted, repeated)
}

/// `w` is what rows weigh.
fn featurized(bench: &Bench, events: &[Value]) -> Vec<u8> {
    let wanted = params(json!({"weights": "w"}));
    let outputs = bench.featurize(&[&ndjson(events)], &wanted).expect("good events");
    assert_eq!(json_of(&outputs["report"])["weights"], "w");
    outputs["features"].clone()
}

/// The same table with its rows in another order.
fn shuffled(features: &[u8]) -> Vec<u8> {
    let mut reader = FileReader::try_new(Cursor::new(features), None).expect("an Arrow file");
    let mut writer = FileWriter::try_new(Vec::new(), &reader.schema()).expect("a writer");
    let batch = reader.next().expect("one").expect("a batch");
    assert!(reader.next().is_none(), "few rows");
    for start in (0..batch.num_rows()).step_by(7).rev() {
        let piece = batch.slice(start, 7.min(batch.num_rows() - start));
        writer.write(&piece).expect("written");
    }
    writer.finish().expect("written");
    writer.into_inner().expect("written")
}

fn train(bench: &Bench, features: &[u8], wanted: &Value) -> Outputs {
    bench.train(features, &params(wanted.clone()), 2).expect("trains")
}

/// Numbers of two metrics, by name, as far as both have them.
fn numbers(of: &Value, name: &str, found: &mut BTreeMap<String, f64>) {
    match of {
        Value::Object(members) => {
            for (key, value) in members {
                numbers(value, &format!("{name}.{key}"), found);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                numbers(item, &format!("{name}[{place}]"), found);
            }
        }
        Value::Number(number) => drop(found.insert(name.to_owned(), number.as_f64().expect("a double"))),
        _ => {}
    }
}

#[test]
fn a_row_of_weight_three_counts_like_three_rows() {
    let bench = Bench::new();
    let (weighted, repeated) = rows();
    let weighted = featurized(&bench, &weighted);
    let repeated = bench.featurize(&[&ndjson(&repeated)], &params(json!({"exclude": ["w"]})));
    let repeated = repeated.expect("good events").remove("features").expect("written");
    for kind in [
        json!({"l2": 0}),
        json!({"l2": 3, "class_weight": "balanced"}),
        json!({"l2": 2, "standardize": true}),
        json!({"l2": 20, "l1_ratio": 0.5, "standardize": true}),
    ] {
        let mut wanted = kind.clone();
        wanted["holdout"] = json!(0);
        let expected = json_of(&train(&bench, &repeated, &wanted)["metrics"]);
        wanted["weights"] = json!("weight");
        let found = json_of(&train(&bench, &weighted, &wanted)["metrics"]);
        let (mut ours, mut theirs) = (BTreeMap::new(), BTreeMap::new());
        for part in ["likelihood", "intercept", "coefficients"] {
            numbers(&found[part], part, &mut ours);
            numbers(&expected[part], part, &mut theirs);
        }
        for figure in ["auc", "average_precision", "log_loss", "brier"] {
            ours.insert(figure.to_owned(), found["train"][figure].as_f64().expect("a number"));
            theirs.insert(figure.to_owned(), expected["train"][figure].as_f64().expect("a number"));
        }
        assert_eq!(ours.remove("likelihood.weight"), Some(1800.0));
        assert_eq!(ours.len(), theirs.len(), "{kind}");
        for (name, number) in theirs {
            let difference = (ours[&name] - number).abs() / number.abs().max(1.0);
            assert!(difference < 1e-9, "{kind} {name}: {} is not {number}", ours[&name]);
        }
        // Rows are counted as rows.
        assert_eq!(
            (&found["rows"]["train"], &found["train"]["n"]),
            (&json!(600), &json!(600))
        );
        assert_eq!(found["settings"]["weights"], "weight");
        let train = &found["train"];
        assert!(train["auc_interval"].is_null() && train["hosmer_lemeshow"].is_null());
        let counts = &train["confusion"];
        let sum: u64 = counts
            .as_object()
            .expect("counts")
            .values()
            .filter_map(Value::as_u64)
            .sum();
        assert_eq!(sum, 600);
    }
}

#[test]
fn weights_of_one_change_nothing_but_what_is_said_of_them() {
    let bench = Bench::new();
    let (mut weighted, _) = rows();
    for event in &mut weighted {
        event["payload"]["features"]["w"] = json!(true);
    }
    let plain = bench.featurize(&[&ndjson(&weighted)], &params(json!({"exclude": ["w"]})));
    let plain = plain.expect("good events").remove("features").expect("written");
    let features = featurized(&bench, &weighted);
    for kind in [
        json!({"l2": 0}),
        json!({"standardize": true, "class_weight": "balanced", "folds": 3}),
    ] {
        let expected = train(&bench, &plain, &kind);
        let mut wanted = kind;
        wanted["weights"] = json!("weight");
        let found = train(&bench, &features, &wanted);
        assert_eq!(found["model"], expected["model"]);
        let metrics = [&found, &expected].map(|outputs| json_of(&outputs["metrics"]));
        for part in ["coefficients", "intercept", "rows", "convergence"] {
            assert_eq!(metrics[0][part], metrics[1][part], "{part}");
        }
        for figure in ["log_loss", "brier", "calibration", "thresholds", "confusion"] {
            assert_eq!(metrics[0]["holdout"][figure], metrics[1]["holdout"][figure], "{figure}");
        }
    }
}

#[test]
fn bits_depend_on_neither_threads_nor_the_order_of_rows() {
    let bench = Bench::new();
    let (weighted, _) = rows();
    let features = featurized(&bench, &weighted);
    let mut backwards = weighted.clone();
    backwards.reverse();
    assert_eq!(featurized(&bench, &backwards), features);
    let wanted = params(json!({"weights": "weight", "standardize": true, "folds": 3}));
    let once = bench.train(&features, &wanted, 1).expect("trains");
    for threads in [2, 3, 7] {
        assert_eq!(bench.train(&features, &wanted, threads).expect("trains"), once);
    }
    let shuffled = shuffled(&features);
    assert_eq!(bench.train(&shuffled, &wanted, 2).expect("trains"), once);
    let model = Model::parse(&once["model"]).expect("a model");
    assert_eq!(model.feature_keys, ["x", "y"]);
    assert!(
        model
            .preparation
            .is_some_and(|preparation| preparation.numbers().len() == 2)
    );
}

#[test]
fn an_event_without_a_weight_is_refused_by_its_line() {
    let bench = Bench::new();
    for wrong in [json!(0), json!(-1), json!(null), json!("2"), json!(1e101)] {
        let (mut weighted, _) = rows();
        weighted[4]["payload"]["features"]["w"] = wrong.clone();
        weighted[599]["payload"]["features"]["w"] = wrong.clone();
        let refused = bench.featurize(&[&ndjson(&weighted)], &params(json!({"weights": "w"})));
        let said = refusal(refused);
        assert!(
            said.contains("2 events have no `w` that a row can weigh: a number more than 0")
                && said.contains("data/events-0:5: /payload/features/w\ndata/events-0:600: "),
            "{wrong}: {said}"
        );
    }
    let features: Params = params(json!({"weights": "nobody has it"}));
    let said = refusal(bench.featurize(&[&small_events()], &features));
    assert!(said.contains("parameter `weights` names `nobody has it`"), "{said}");
    let both = params(json!({"weights": "age", "scale": {"standard": ["age"]}}));
    let said = refusal(bench.featurize(&[&small_events()], &both));
    assert!(said.contains("parameters `scale` and `weights` name `age`"), "{said}");
}

#[test]
fn weights_are_taken_only_when_they_are_named_and_there() {
    let bench = Bench::new();
    let (weighted, _) = rows();
    let features = featurized(&bench, &weighted);
    let refused = |features: &[u8], wanted: Value| refusal(bench.train(features, &params(wanted), 1));
    let said = refused(&features, json!({}));
    assert!(
        said.contains("column `weight` must have the type Utf8; what rows weigh is named by `weights`"),
        "{said}"
    );
    let said = refused(&features, json!({"weights": "weight", "solver": "gd"}));
    assert!(said.contains("`solver: gd` takes no `weights`"), "{said}");
    let plain = bench.featurize(&[&ndjson(&weighted)], &Params::new());
    let plain = plain.expect("good events").remove("features").expect("written");
    for column in ["weight", "other", "features.x"] {
        let said = refused(&plain, json!({"weights": column}));
        let expected = format!("it has no column `{column}` for `weights`; `featurize` makes");
        assert!(said.contains(&expected), "{said}");
    }
}
