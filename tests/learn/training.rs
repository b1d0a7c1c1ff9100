//! Features to a model.

use serde_json::{Value, json};

use crate::bench::{
    Bench, Outputs, Params, event, json_of, ndjson, params, read_repository, refusal, small_events, small_params,
};
use madmall::model::Model;

fn small_features(bench: &Bench) -> Vec<u8> {
    bench
        .featurize(&[&small_events()], &small_params())
        .expect("good events")
        .remove("features")
        .expect("written")
}

fn train(wanted: Value) -> Outputs {
    let bench = Bench::new();
    let features = small_features(&bench);
    bench.train(&features, &params(wanted), 2).expect("trains")
}

/// Events with one feature `x` and one label each.
fn labelled(rows: &[(f64, &str)]) -> Vec<u8> {
    let events: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(index, (x, label))| event(&format!("evt-{index:06}"), &json!(label), &json!({"x": x})))
        .collect();
    ndjson(&events)
}

fn unpenalised() -> Params {
    params(json!({"l2": 0, "holdout": 0}))
}

#[test]
fn model_and_metrics_do_not_depend_on_threads() {
    let bench = Bench::new();
    // Several blocks of rows, so that threads have something to share.
    let events: Vec<_> = (0..20_000u32)
        .map(|n| {
            let features = json!({"a": f64::from(n % 97) * 0.37, "b": f64::from(n % 89).sqrt(), "c": n % 3 == 0});
            event(
                &format!("evt-{n:06}"),
                &json!(if n * n % 101 < 40 { "x" } else { "y" }),
                &features,
            )
        })
        .collect();
    let features = bench
        .featurize(&[&ndjson(&events)], &Params::new())
        .expect("good events");
    for wanted in [
        json!({}),
        json!({"l2": 0, "class_weight": "balanced", "standardize": true}),
    ] {
        let one = bench
            .train(&features["features"], &params(wanted.clone()), 1)
            .expect("trains");
        for threads in [2, 3, 7] {
            let found = bench
                .train(&features["features"], &params(wanted.clone()), threads)
                .expect("trains");
            assert_eq!(found, one, "{threads} threads");
        }
    }
}

#[test]
fn the_model_file_is_what_its_schema_says_and_reads_back() {
    for wanted in [
        json!({}),
        json!({"standardize": true, "holdout": 0}),
        json!({"solver": "gd"}),
        json!({"folds": 4, "l2": 0}),
        json!({"l2": 20, "l1_ratio": 0.7}),
    ] {
        let outputs = train(wanted);
        for (name, schema) in [
            ("model", "schemas/model.schema.json"),
            ("metrics", "schemas/metrics.schema.json"),
        ] {
            let schema: Value = serde_json::from_slice(&read_repository(schema)).expect("a schema");
            let validator = jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12");
            let errors: Vec<_> = validator
                .iter_errors(&json_of(&outputs[name]))
                .map(|error| error.to_string())
                .collect();
            assert_eq!(errors, Vec::<String>::new(), "{name}");
        }
        let model = Model::parse(&outputs["model"]).expect("its own reader takes it");
        assert_eq!(model.to_bytes().expect("finite"), outputs["model"]);
        assert_eq!(model.feature_keys, ["age", "ft4", "on_medication", "steps", "tsh"]);
        assert_eq!(
            (model.labels.negative.as_str(), model.labels.positive.as_str()),
            ("flare", "stable")
        );
    }
}

#[test]
fn rows_are_split_by_their_ids_and_all_are_counted() {
    let metrics = json_of(&train(json!({"holdout": 0.3}))["metrics"]);
    let rows = &metrics["rows"];
    let count = |name: &str| rows[name].as_u64().expect("a count");
    assert_eq!(count("total"), 300);
    assert_eq!(count("train") + count("holdout") + count("unlabelled"), 300);
    assert!((50..110).contains(&count("holdout")), "{rows}");
    assert_eq!(metrics["holdout"]["n"], rows["holdout"]);
    assert_eq!(metrics["convergence"]["converged"], json!(true));
    assert!(metrics["convergence"]["gradient_norm"].as_f64().expect("a number") <= 1e-10);
    assert_eq!(
        json_of(&train(json!({"holdout": 0}))["metrics"])["holdout"],
        Value::Null
    );
}

#[test]
fn an_event_is_held_out_or_not_whatever_the_others_are() {
    let bench = Bench::new();
    let events = small_events();
    let lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').collect();
    let held_out = |events: &[u8]| {
        let features = bench.featurize(&[events], &Params::new()).expect("good events");
        let metrics = json_of(&bench.train(&features["features"], &Params::new(), 1).expect("trains")["metrics"]);
        metrics["rows"]["holdout"].as_u64().expect("a count")
    };
    let halves = held_out(&lines[..150].concat()) + held_out(&lines[150..].concat());
    assert_eq!(halves, held_out(&events));
}

#[test]
fn metrics_are_given_by_group() {
    for wanted in [json!({}), json!({"suppress_below": 0})] {
        let metrics = json_of(&train(wanted)["metrics"]);
        let columns = metrics["groups"].as_array().expect("a list");
        assert_eq!(columns[0]["column"], "source.kind");
        assert_eq!(columns[1]["column"], "source.region");
        for column in columns {
            for part in ["train", "holdout"] {
                let groups = column["groups"].as_array().expect("a list");
                let rows = groups
                    .iter()
                    .chain([&column["others"]])
                    .filter_map(|group| group[part]["n"].as_u64());
                assert_eq!(rows.sum::<u64>(), metrics["rows"][part].as_u64().expect("a count"));
            }
        }
    }
    let everything = json_of(&train(json!({"suppress_below": 0}))["metrics"]);
    let regions = &everything["groups"][1];
    assert_eq!(
        (&regions["groups"][0]["value"], &regions["others"]),
        (&Value::Null, &Value::Null)
    );
    let thresholds = |group: &Value| group["train"]["thresholds"].as_array().map_or(0, Vec::len);
    assert_eq!(thresholds(&regions["groups"][0]), 19);
}

#[test]
fn no_count_below_the_limit_is_in_the_metrics() {
    for least in [2u64, 5] {
        let metrics = json_of(&train(json!({"suppress_below": least}))["metrics"]);
        let parts = metrics["groups"].as_array().expect("a list").iter().flat_map(|column| {
            let groups = column["groups"].as_array().expect("a list");
            groups
                .iter()
                .chain([&column["others"]])
                .filter(|group| !group.is_null())
        });
        let mut counts = 0;
        for evaluation in parts
            .chain([&metrics])
            .flat_map(|parts| [&parts["train"], &parts["holdout"]])
        {
            let count = |value: &Value| value.as_u64().expect("a count");
            let (n, positives) = (count(&evaluation["n"]), count(&evaluation["positives"]));
            assert!(positives >= least && n - positives >= least, "{evaluation}");
            for threshold in evaluation["thresholds"].as_array().expect("a list") {
                for name in ["true_positive", "false_positive", "true_negative", "false_negative"] {
                    assert!(count(&threshold[name]) >= least, "{least}: {threshold}");
                    counts += 1;
                }
            }
        }
        assert!(counts > 0, "{least}: no threshold at all");
    }
}

#[test]
fn an_elastic_net_has_weights_that_are_zero_and_no_standard_errors() {
    let outputs = train(json!({"l2": 20, "l1_ratio": 0.9, "standardize": true}));
    let model = Model::parse(&outputs["model"]).expect("a model");
    let zeros = model.weights.iter().filter(|weight| weight.to_bits() == 0).count();
    assert!((1..5).contains(&zeros), "{:?}", model.weights);
    let metrics = json_of(&outputs["metrics"]);
    assert_eq!(metrics["settings"]["l1_ratio"], json!(0.9));
    assert!(metrics["convergence"]["gradient_norm"].as_f64().expect("a number") <= 1e-10);
    for name in ["standard_error", "z", "p_value", "interval", "odds_ratio_interval"] {
        assert_eq!(metrics["coefficients"][0][name], Value::Null, "{name}");
    }
    for threads in [1, 3] {
        let bench = Bench::new();
        let features = bench
            .featurize(&[&small_events()], &small_params())
            .expect("good events");
        let again = bench.train(
            &features["features"],
            &params(json!({"l2": 20, "l1_ratio": 0.9, "standardize": true})),
            threads,
        );
        assert_eq!(again.expect("trains"), outputs);
    }
}

#[test]
fn a_fold_is_measured_by_a_model_of_the_others() {
    let metrics = json_of(&train(json!({"folds": 3, "holdout": 0, "standardize": true}))["metrics"]);
    let found = &metrics["cross_validation"];
    let folds = found["folds"].as_array().expect("a list");
    let rows: Vec<u64> = folds.iter().map(|fold| fold["n"].as_u64().expect("a count")).collect();
    assert_eq!(
        rows.iter().sum::<u64>(),
        metrics["rows"]["train"].as_u64().expect("a count")
    );
    assert!(
        rows.iter().max().expect("three") - rows.iter().min().expect("three") <= 2,
        "{rows:?}"
    );
    let number = |value: &Value| value.as_f64().expect("a number");
    let mean = folds.iter().map(|fold| number(&fold["log_loss"])).sum::<f64>() / 3.0;
    assert!((mean - number(&found["mean"]["log_loss"])).abs() < 1e-15);
    // Rows that were not seen are harder than those that were.
    assert!(mean > number(&metrics["train"]["log_loss"]));
    let text = refusal(Bench::new().learn(
        &labelled(&[(0.0, "a"), (1.0, "b"), (0.5, "a"), (0.5, "b")]),
        &params(json!({"folds": 2, "holdout": 0})),
    ));
    assert!(text.contains("a fold has 1 rows of a label, and must have 5"), "{text}");
}

#[test]
fn the_positive_label_can_be_named_and_turns_the_model_round() {
    let (usual, other) = (train(json!({})), train(json!({"positive": "flare"})));
    let (usual, other) = (
        Model::parse(&usual["model"]).expect("a model"),
        Model::parse(&other["model"]).expect("a model"),
    );
    assert_eq!(other.labels.positive, "flare");
    for (a, b) in usual.weights.iter().zip(&other.weights) {
        assert!((a + b).abs() <= 1e-12 * a.abs().max(1.0), "{a} {b}");
    }
}

#[test]
fn standardised_features_give_the_same_probabilities_without_a_penalty() {
    let plain = Model::parse(&train(json!({"l2": 0}))["model"]).expect("a model");
    let standard = Model::parse(&train(json!({"l2": 0, "standardize": true}))["model"]).expect("a model");
    assert!(plain.standardisation.is_none() && standard.standardisation.is_some());
    for row in [[50.0, 4.0, 1.0, 0.0, 1.2], [20.0, 0.0, 0.0, 7.0, 0.0]] {
        let (a, b) = (
            plain.log_odds(&row).expect("five"),
            standard.log_odds(&row).expect("five"),
        );
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
}

#[test]
fn balanced_labels_weigh_alike() {
    let rows: Vec<_> = (0..40)
        .map(|n| (f64::from(n % 2), if n % 4 == 0 { "a" } else { "b" }))
        .collect();
    let outputs = Bench::new()
        .learn(
            &labelled(&rows),
            &params(json!({"l2": 1e9, "holdout": 0, "class_weight": "balanced"})),
        )
        .expect("trains");
    // With the weight pressed to nothing the bias alone speaks: even odds.
    let model = Model::parse(&outputs["model"]).expect("a model");
    assert!(model.bias.abs() < 1e-6, "{}", model.bias);
}

#[test]
fn gradient_descent_takes_its_800_steps() {
    let outputs = Bench::new()
        .learn(
            &labelled(&[(0.0, "a"), (1.0, "b"), (0.5, "a"), (0.5, "b")]),
            &params(json!({"solver": "gd", "holdout": 0})),
        )
        .expect("trains");
    let metrics = json_of(&outputs["metrics"]);
    assert_eq!(metrics["convergence"]["iterations"], 800);
    assert_eq!(metrics["coefficients"][0]["standard_error"], Value::Null);
    assert_eq!(metrics["settings"]["l2"], Value::Null);
    // The same steps, written down naively.
    let (mut weight, mut bias) = (0.0f64, 0.0f64);
    for _ in 0..800 {
        let (mut by_weight, mut by_bias) = (0.0, 0.0);
        for (x, label) in [(0.0, 0.0), (1.0, 1.0), (0.5, 0.0), (0.5, 1.0)] {
            let residual = 1.0 / (1.0 + (-(weight * x + bias)).exp()) - label;
            by_weight += residual * x / 4.0;
            by_bias += residual / 4.0;
        }
        weight -= 0.1 * by_weight;
        bias -= 0.1 * by_bias;
    }
    let model = Model::parse(&outputs["model"]).expect("a model");
    assert!((model.weights[0] - weight).abs() < 1e-12 && (model.bias - bias).abs() < 1e-12);
}

#[test]
fn what_cannot_be_trained_on_is_refused() {
    let plain = params(json!({}));
    let no_features = ndjson(&[
        event("evt-1", &json!("a"), &json!({})),
        event("evt-2", &json!("b"), &json!({"t": "x"})),
    ]);
    let unlabelled = ndjson(&[event("evt-1", &Value::Null, &json!({"x": 1}))]);
    let cases: Vec<(Vec<u8>, Params, &str)> = vec![
        (Vec::new(), plain.clone(), "no labelled rows among 0"),
        (unlabelled, plain.clone(), "no labelled rows among 1"),
        (
            labelled(&[(1.0, "a"), (2.0, "a")]),
            plain.clone(),
            "exactly two labels; there are 1\nlabel `a`: 2 rows",
        ),
        (
            labelled(&[(1.0, "a"), (2.0, "b"), (3.0, "c")]),
            plain.clone(),
            "exactly two labels; there are 3",
        ),
        (no_features, plain.clone(), "no features"),
        (
            labelled(&[(1.0, "a"), (2.0, "b")]),
            params(json!({"positive": "c"})),
            "the labels are `a` and `b`",
        ),
        (
            labelled(&[(1.0, "a"), (2.0, "b")]),
            params(json!({"holdout": 0.999_999})),
            "only one label is left",
        ),
        (
            labelled(&[(1e101, "a"), (2.0, "b")]),
            plain.clone(),
            "feature `x` of row",
        ),
        (
            labelled(&[(1e-200, "a"), (2e-200, "b"), (1.5e-200, "a"), (0.0, "b")]),
            unpenalised(),
            "",
        ),
    ];
    for (events, wanted, says) in cases {
        let text = refusal(Bench::new().learn(&events, &wanted));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn without_a_penalty_the_columns_that_have_no_optimum_are_named() {
    let events: Vec<_> = (0..400u32)
        .map(|n| {
            let flare = n * n % 11 < 4;
            let (a, b) = (f64::from(n % 7), f64::from(n % 13));
            let features = json!({
                "a": a, "b": b, "constant": 3, "twice": 2.0 * a - b + 5.0, "only_flare": flare && n % 5 == 0,
                "fine": f64::from(n % 17),
            });
            event(
                &format!("evt-{n:06}"),
                &json!(if flare { "flare" } else { "stable" }),
                &features,
            )
        })
        .collect();
    let bench = Bench::new();
    let text = refusal(bench.learn(&ndjson(&events), &unpenalised()));
    assert!(
        text.starts_with("without `l2` there is no finite, single optimum; because of:"),
        "{text}"
    );
    assert!(text.contains("`constant` is constant"), "{text}");
    assert!(
        text.contains("`twice` is a combination of `a`, `b`") || text.contains("is a combination of"),
        "{text}"
    );
    assert!(text.contains("`only_flare` separates"), "{text}");
    assert!(!text.contains("`fine`"), "{text}");
    assert!(text.contains("`exclude`") && text.contains("`l2`"), "{text}");
    bench
        .learn(&ndjson(&events), &params(json!({"l2": 0.5, "holdout": 0})))
        .expect("with a penalty there is one");
}

#[test]
fn columns_that_separate_only_together_are_found_and_named() {
    let events: Vec<_> = (0..400u32)
        .map(|n| {
            let (a, b) = (f64::from(n % 19), f64::from(n % 23));
            let features = json!({"a": a, "b": b, "noise": f64::from(n * n % 31)});
            // Where a and b are equal both labels occur, beside that the greater one decides.
            let flare = if n % 19 == n % 23 { n % 2 == 0 } else { a > b };
            event(
                &format!("evt-{n:06}"),
                &json!(if flare { "flare" } else { "stable" }),
                &features,
            )
        })
        .collect();
    let text = refusal(Bench::new().learn(&ndjson(&events), &unpenalised()));
    assert!(text.contains("because of: `a`, `b`\n"), "{text}");
    assert!(text.contains("`a`, `b` separate the labels together"), "{text}");
}
