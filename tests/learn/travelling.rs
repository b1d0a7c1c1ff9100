//! What is done to features travels with them: into the features file, the model, and whoever scores an event.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray as _;
use arrow_array::types::Float64Type;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::Schema;
use madmall::model::Model;
use madmall::preparation::{Input, Preparation, Value as Held};
use serde_json::{Value, json};

use crate::bench::{Bench, event, json_of, ndjson, params, read_repository, refusal, small_events, small_params};

const METADATA: &str = "madmall.preparation";

/// The features file with `text` as what it says of its preparation.
fn with_preparation(features: &[u8], text: Option<&str>) -> Vec<u8> {
    let reader = FileReader::try_new(Cursor::new(features), None).expect("an Arrow file");
    let mut metadata = reader.schema().metadata().clone();
    match text {
        Some(text) => drop(metadata.insert(METADATA.to_owned(), text.to_owned())),
        None => drop(metadata.remove(METADATA)),
    }
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()).with_metadata(metadata));
    let mut writer = FileWriter::try_new(Vec::new(), &schema).expect("a writer");
    for batch in reader {
        let batch = batch.expect("a batch");
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).expect("the same columns");
        writer.write(&batch).expect("written");
    }
    writer.into_inner().expect("finished")
}

fn text_of(features: &[u8]) -> String {
    let reader = FileReader::try_new(Cursor::new(features), None).expect("an Arrow file");
    reader.schema().metadata()[METADATA].clone()
}

/// The preparation that a features file names.
pub(crate) fn preparation_of(features: &[u8]) -> Preparation {
    Preparation::parse(text_of(features).as_bytes()).expect("a preparation")
}

/// What an event holds at an input.
fn held<'a>(event: &'a Value, input: &Input) -> Held<'a> {
    let value = match input {
        Input::Feature(key) => &event["payload"]["features"][key],
        Input::SourceKind => &event["source"]["kind"],
        Input::SourceRegion => &event["source"]["region"],
    };
    match value {
        Value::Bool(value) => Held::Number(f64::from(u8::from(*value))),
        Value::Number(number) => Held::Number(number.as_f64().expect("a double")),
        Value::String(text) => Held::Text(text),
        _ => Held::Missing,
    }
}

/// Each event's row by its id: bits.
pub(crate) type Rows = HashMap<String, Vec<u64>>;

/// What `preparation` makes of the events by itself.
fn scored(events: &[u8], preparation: &Preparation) -> Rows {
    let mut row = Vec::new();
    let mut rows = Rows::new();
    for line in events.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event: Value = serde_json::from_slice(line).expect("an event");
        let values: Vec<_> = preparation.inputs().iter().map(|input| held(&event, input)).collect();
        preparation.row(&values, &mut row).expect("a row");
        let id = event["event_id"].as_str().expect("an id").to_owned();
        rows.insert(id, row.iter().map(|value| value.to_bits()).collect());
    }
    rows
}

/// What the features file holds.
pub(crate) fn written(features: &[u8]) -> Rows {
    let reader = FileReader::try_new(Cursor::new(features), None).expect("an Arrow file");
    let mut rows = Rows::new();
    for batch in reader {
        let batch = batch.expect("a batch");
        let schema = batch.schema();
        let is_feature = |index: &usize| schema.field(*index).name().starts_with("features.");
        let columns: Vec<usize> = (0..batch.num_columns()).filter(is_feature).collect();
        for row in 0..batch.num_rows() {
            let value = |column: &usize| batch.column(*column).as_primitive::<Float64Type>().value(row).to_bits();
            let id = batch.column(0).as_string::<i32>().value(row).to_owned();
            rows.insert(id, columns.iter().map(value).collect());
        }
    }
    rows
}

#[test]
fn a_model_says_how_its_features_come_about_and_an_event_becomes_the_same_row() {
    let bench = Bench::new();
    let events = small_events();
    let features = bench.featurize(&[&events], &small_params()).expect("good events")["features"].clone();
    let outputs = bench.train(&features, &params(json!({})), 2).expect("trains");
    let model = Model::parse(&outputs["model"]).expect("a model");
    let preparation = model.preparation.expect("the features file has one");
    assert_eq!(preparation.to_json().expect("JSON"), text_of(&features));
    assert_eq!(preparation.columns(), model.feature_keys);
    let age = preparation
        .numbers()
        .iter()
        .find(|number| number.key == "age")
        .expect("a feature");
    assert!(age.range.is_some_and(|range| !range.contains(65_511.0)));
    let rows = written(&features);
    assert_eq!(rows.len(), 300);
    assert_eq!(scored(&events, &preparation), rows);
}

/// Events in which everything occurs that can be prepared.
fn varied_events(count: u32) -> Vec<u8> {
    let events: Vec<Value> = (0..count)
        .map(|n| {
            let sex = ["F", "M", "M\u{e4}\n", "F"][n as usize % 4];
            let site = [json!(1), json!("2"), json!(2), json!(true), json!(0.1), json!(null)][n as usize % 6].clone();
            let mut features = json!({
                "age": f64::from(n % 97) * 1.3,
                "TSH": f64::from(n % 89).sqrt(),
                "on_medication": n % 3 == 0,
                "sex": sex,
                "site": site,
            });
            let members = features.as_object_mut().expect("an object");
            match n % 11 {
                0 => drop(members.remove("TSH")),
                1 => drop(members.insert("TSH".to_owned(), json!(null))),
                2 => drop(members.insert("age".to_owned(), json!(65_511 + n))),
                3 => drop(members.remove("sex")),
                4 => drop(members.insert("age".to_owned(), json!("old"))),
                _ => {}
            }
            let label = json!(if n * n % 101 < 40 { "x" } else { "y" });
            let mut event = event(&format!("evt-{n:06}"), &label, &features);
            event["source"]["kind"] = ["self", "pharmacy", "event"][n as usize % 3].into();
            event
        })
        .collect();
    ndjson(&events)
}

/// Everything that can be asked for.
fn everything() -> Value {
    json!({
        "range": {"age": [0, 120]},
        "impute": {"mean": ["age"], "median": "all", "indicator": ["TSH"]},
        "scale": {"standard": "all", "minmax": ["age"], "none": ["on_medication"]},
        "one_hot": ["sex", "site", "source.kind"],
        "exclude": ["sex=F"],
        "interactions": [["age", "TSH"], ["sex=M", "age"], ["age", "age"], ["TSH=missing", "source.kind=self"]],
    })
}

#[test]
fn whatever_is_asked_for_an_event_becomes_the_row_that_was_trained_on() {
    let bench = Bench::new();
    let events = varied_events(1000);
    let features = bench.featurize(&[&events], &params(everything())).expect("good events")["features"].clone();
    let outputs = bench.train(&features, &params(json!({})), 2).expect("trains");
    let model = Model::parse(&outputs["model"]).expect("a model");
    assert_eq!(
        model.feature_keys,
        [
            "TSH",
            "TSH=missing",
            "TSH=missing:source.kind=self",
            "age",
            "age:TSH",
            "age:age",
            "on_medication",
            "sex=M",
            "sex=M:age",
            "sex=M\u{e4}\n",
            "site=0.1",
            "site=1",
            "site=2",
            "source.kind=event",
            "source.kind=pharmacy",
            "source.kind=self",
        ]
    );
    let schema = json_of(&read_repository("schemas/model.schema.json"));
    let schema = jsonschema::draft202012::new(&schema).expect("a schema");
    assert!(schema.is_valid(&json_of(&outputs["model"])));
    let preparation = model.preparation.expect("the features file has one");
    let rows = written(&features);
    assert_eq!(rows.len(), 1000);
    assert_eq!(scored(&events, &preparation), rows);
}

#[test]
fn what_is_fitted_depends_neither_on_threads_nor_on_the_order_of_lines() {
    let bench = Bench::new();
    // Several blocks of rows, so that threads have something to share.
    let events = varied_events(30_000);
    let wanted = params(everything());
    let expected = bench
        .run("featurize", "events", &[&events], &wanted, 1)
        .expect("good events");
    for threads in [2, 3, 7] {
        let found = bench
            .run("featurize", "events", &[&events], &wanted, threads)
            .expect("good events");
        assert_eq!(found, expected, "{threads} threads");
    }
    let mut lines: Vec<&[u8]> = events.split_inclusive(|byte| *byte == b'\n').collect();
    lines.reverse();
    lines.rotate_left(7_777);
    let (first, second) = (lines[..12_000].concat(), lines[12_000..].concat());
    assert_eq!(
        bench.featurize(&[&first, &second], &wanted).expect("good events"),
        expected
    );
}

#[test]
fn features_of_another_program_make_a_model_without_a_preparation() {
    let bench = Bench::new();
    let features = bench
        .featurize(&[&small_events()], &small_params())
        .expect("good events")["features"]
        .clone();
    let bare = with_preparation(&features, None);
    let with = bench.train(&features, &params(json!({})), 2).expect("trains");
    let without = bench.train(&bare, &params(json!({})), 2).expect("trains");
    assert_eq!(with["metrics"], without["metrics"]);
    let [with, without] = [&with, &without].map(|outputs| Model::parse(&outputs["model"]).expect("a model"));
    assert_eq!(without.preparation, None);
    assert_eq!(
        Model {
            preparation: None,
            ..with
        },
        without
    );
}

#[test]
fn a_preparation_that_is_not_that_of_the_columns_is_refused() {
    let bench = Bench::new();
    let features = bench
        .featurize(&[&small_events()], &small_params())
        .expect("good events")["features"]
        .clone();
    let text = text_of(&features);
    for (text, says) in [
        ("{}".to_owned(), "shape of `madmall-preparation/v1`"),
        (text.replace("/v1", "/v2"), "format `madmall-preparation/v2`"),
        (text.replace("[0,120]", "[120,0]"), "upside down"),
        (text.replace("\"age\"", "\"agee\""), "makes other columns than it has"),
    ] {
        let broken = with_preparation(&features, Some(&text));
        let message = refusal(bench.train(&broken, &params(json!({})), 2));
        assert!(message.contains(says), "{message}");
    }
}
