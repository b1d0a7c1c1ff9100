//! What featurize does to values: what stands for missing ones, scales, categories, products.

use serde_json::{Value, json};

use crate::bench::{Bench, event, json_of, ndjson, params, refusal};
use crate::travelling::{preparation_of, written};

/// Four events: `x` is 1, 2, 6 and missing, `c` is `b`, `a`, `b` and null.
fn four_events() -> Vec<u8> {
    let rows = [
        json!({"x": 1, "c": "b"}),
        json!({"x": 2, "c": "a"}),
        json!({"x": 6, "c": "b"}),
        json!({"x": null, "c": null}),
    ];
    let row = |(n, features)| event(&format!("evt-{n:06}"), &json!("l"), features);
    ndjson(&(0..4).zip(&rows).map(row).collect::<Vec<_>>())
}

/// What the columns hold for the events in the order of their ids.
fn columns(events: &[u8], wanted: Value) -> Vec<(String, Vec<f64>)> {
    let outputs = Bench::new().featurize(&[events], &params(wanted)).expect("good events");
    let preparation = preparation_of(&outputs["features"]);
    let mut rows: Vec<_> = written(&outputs["features"]).into_iter().collect();
    rows.sort();
    let column = |(place, name): (usize, &String)| {
        let values = rows.iter().map(|(_, row)| f64::from_bits(row[place]));
        (name.clone(), values.collect())
    };
    preparation.columns().iter().enumerate().map(column).collect()
}

fn named(columns: &[(&str, [f64; 4])]) -> Vec<(String, Vec<f64>)> {
    columns
        .iter()
        .map(|(name, values)| ((*name).to_owned(), values.to_vec()))
        .collect()
}

#[test]
fn what_is_missing_is_put_in_place_before_anything_is_scaled() {
    for (wanted, expected) in [
        (json!({}), named(&[("x", [1.0, 2.0, 6.0, 0.0])])),
        (
            json!({"impute": {"mean": "all"}}),
            named(&[("x", [1.0, 2.0, 6.0, 3.0])]),
        ),
        (
            json!({"impute": {"median": ["x"]}}),
            named(&[("x", [1.0, 2.0, 6.0, 2.0])]),
        ),
        (
            json!({"impute": {"median": ["x"]}, "range": {"x": [0, 5]}}),
            named(&[("x", [1.0, 2.0, 1.5, 1.5])]),
        ),
        (
            json!({"impute": {"indicator": "all"}}),
            named(&[("x", [1.0, 2.0, 6.0, 0.0]), ("x=missing", [0.0, 0.0, 0.0, 1.0])]),
        ),
        // What is missing is 0, and 0 is the least.
        (
            json!({"scale": {"minmax": "all"}}),
            named(&[("x", [1.0 / 6.0, 1.0 / 3.0, 1.0, 0.0])]),
        ),
        // With the median the mean is 2.75, the variance 3.6875.
        (
            json!({"impute": {"median": "all"}, "scale": {"standard": "all"}}),
            named(&[("x", [-1.75, -0.75, 3.25, -0.75].map(|x| x / 3.6875_f64.sqrt()))]),
        ),
    ] {
        assert_eq!(columns(&four_events(), wanted.clone()), expected, "{wanted}");
    }
}

#[test]
fn categories_are_columns_of_their_levels_and_columns_are_multiplied() {
    let found = columns(
        &four_events(),
        json!({"one_hot": ["c"], "impute": {"mean": "all"}, "interactions": [["c=b", "x"]]}),
    );
    let expected = [
        ("c=a", [0.0, 1.0, 0.0, 0.0]),
        ("c=b", [1.0, 0.0, 1.0, 0.0]),
        ("c=b:x", [1.0, 0.0, 6.0, 0.0]),
        ("x", [1.0, 2.0, 6.0, 3.0]),
    ];
    assert_eq!(found, named(&expected));
    let found = columns(&four_events(), json!({"one_hot": ["c"], "exclude": ["c=a", "x"]}));
    assert_eq!(found, named(&[("c=b", [1.0, 0.0, 1.0, 0.0])]));
}

#[test]
fn the_report_says_what_became_of_the_values() {
    let wanted = json!({
        "one_hot": ["c"],
        "exclude": ["c=a"],
        "impute": {"mean": "all"},
        "scale": {"minmax": "all"},
        "interactions": [["c=b", "x"]],
    });
    let outputs = Bench::new()
        .featurize(&[&four_events()], &params(wanted))
        .expect("good events");
    let expected = json!({
        "format": "madmall-features-report/v2",
        "rows": 4,
        "labels": {"l": 4},
        "unlabelled": 0,
        "features": [{
            "key": "x",
            "present": 3,
            "missing": 1,
            "out_of_range": 0,
            "impute": 3,
            "indicator": false,
            "scaling": {"center": 1, "scale": 5},
        }],
        "categories": [{
            "of": {"feature": "c"},
            "missing": 1,
            "levels": [{"level": "a", "rows": 1, "column": false}, {"level": "b", "rows": 2, "column": true}],
        }],
        "interactions": [["c=b", "x"]],
        "ignored": [],
    });
    assert_eq!(json_of(&outputs["report"]), expected);
}

#[test]
fn what_cannot_be_prepared_is_refused_by_name() {
    let four = four_events();
    let with = |key: &str, values: [Value; 2]| {
        let row =
            |(n, value): (usize, &Value)| event(&format!("evt-{n:06}"), &json!("l"), &json!({"x": n, key: value}));
        ndjson(&values.iter().enumerate().map(row).collect::<Vec<_>>())
    };
    let many: Vec<Value> = (0..1100)
        .map(|n| event(&format!("evt-{n:06}"), &json!("l"), &json!({"c": n.to_string()})))
        .collect();
    let large = with("y", [json!(1e200), json!(2)]);
    for (events, wanted, says) in [
        (
            &four,
            json!({"scale": {"standard": "all"}, "range": {"x": [6, 6]}, "impute": {"mean": "all"}}),
            "`x` has one value in all events",
        ),
        (
            &four,
            json!({"impute": {"mean": "all"}, "range": {"x": [7, 9]}}),
            "`x` has no value to take the mean of",
        ),
        (
            &four,
            json!({"impute": {"median": "all"}, "range": {"x": [7, 9]}}),
            "`x` has no value to take the median of",
        ),
        (
            &four,
            json!({"one_hot": ["source.region"]}),
            "`source.region` has no value",
        ),
        (
            &four,
            json!({"one_hot": ["c"], "exclude": ["c=a", "c=b"]}),
            "`c` has no value that makes a column",
        ),
        (
            &ndjson(&many),
            json!({"one_hot": ["c"]}),
            "`c` has more than 1024 different values",
        ),
        (
            &with("c", [json!("a".repeat(1025)), json!("b")]),
            json!({"one_hot": ["c"]}),
            "`c` has a value longer than 1024 bytes",
        ),
        (
            &four,
            json!({"one_hot": ["c"], "interactions": [["c", "x"]]}),
            "`c`, which is a category and no column\n\nname one of its columns: `c=a`",
        ),
        (
            &four,
            json!({"interactions": [["x", "y"]]}),
            "names `y`, which is no column",
        ),
        (
            &four,
            json!({"interactions": [["x", "x"], ["x", "x"]]}),
            "the interaction of `x` and `x` stands twice",
        ),
        (
            &with("x=missing", [json!(1), json!(2)]),
            json!({"impute": {"indicator": "all"}, "range": {"x": [1, 1]}}),
            "two columns would be called `x=missing`",
        ),
        (
            &large,
            json!({"interactions": [["y", "y"]]}),
            "column `y:y` holds a value that is too large",
        ),
        (
            &with("y", [json!(1.7e308), json!(1.7e308)]),
            json!({"scale": {"minmax": ["x"], "standard": ["y"]}}),
            "`y` has one value in all events",
        ),
        (
            &with("y", [json!(1.7e308), json!(1.6e308)]),
            json!({"scale": {"standard": ["y"]}}),
            "`y` cannot be scaled: its values are too large to be added up",
        ),
        (
            &with("y", [json!(1e-200), json!(2e-200)]),
            json!({"scale": {"standard": ["y"]}}),
            "`y` cannot be scaled: its values lie too close to each other",
        ),
        (
            &with("y", [json!(1.7e308), json!(1.6e308)]),
            json!({"impute": {"mean": ["y"]}}),
            "`y` has no mean: its values are too large to be added up",
        ),
    ] {
        let message = refusal(Bench::new().featurize(&[events], &params(wanted)));
        assert!(message.contains(says), "{message}");
    }
}

/// Events whose only feature is a category, each with another value.
fn one_of_each(values: impl Iterator<Item = String>) -> Vec<Value> {
    let row = |(n, value)| event(&format!("evt-{n:06}"), &json!("l"), &json!({ "c": value }));
    values.enumerate().map(row).collect()
}

/// The same events in several orders, each in one file and in several.
fn shuffled(events: &[Value]) -> Vec<Vec<Vec<u8>>> {
    let mut orders = vec![events.to_vec(), events.iter().rev().cloned().collect()];
    // A step that has no divisor in common with their number comes by all of them.
    let stepped = (0..events.len()).map(|n| events[n * 389 % events.len()].clone());
    orders.push(stepped.collect());
    let split =
        |order: &Vec<Value>| [1, 2, 7].map(|files| order.chunks(order.len().div_ceil(files)).map(ndjson).collect());
    orders.iter().flat_map(split).collect()
}

#[test]
fn how_many_values_a_category_may_have_does_not_depend_on_the_order_of_lines() {
    let outcome = |files: &[Vec<u8>], exclude: &[String]| {
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        Bench::new().featurize(&files, &params(json!({"one_hot": ["c"], "exclude": exclude})))
    };
    let level = |n: usize| format!("level-{n:04}");
    let exclude: Vec<String> = (0..10).map(|n| format!("c={}", level(n * 101))).collect();
    let just = one_of_each((0..1034).map(level));
    let mut first = None;
    for files in shuffled(&just) {
        let written = outcome(&files, &exclude).expect("as many as there may be");
        assert_eq!(first.get_or_insert_with(|| written.clone()), &written);
    }
    let one_more = one_of_each((0..1035).map(level));
    for files in shuffled(&one_more) {
        let said = refusal(outcome(&files, &exclude));
        assert!(said.contains("`c` has more than 1024 different values"), "{said}");
    }
    // Of two faults the same is said.
    let long = one_of_each((0..2000).map(|n| if n == 1100 { "x".repeat(70_000) } else { level(n) }));
    let mut first = None;
    for files in shuffled(&long) {
        let said = refusal(outcome(&files, &exclude));
        assert!(said.contains("`c` has a value longer than"), "{said}");
        assert_eq!(first.get_or_insert_with(|| said.clone()), &said);
    }
}
