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

use crate::bench::{Bench, params, refusal, small_events, small_params};

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

fn preparation_of(features: &[u8]) -> String {
    let reader = FileReader::try_new(Cursor::new(features), None).expect("an Arrow file");
    reader.schema().metadata()[METADATA].clone()
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
type Rows = HashMap<String, Vec<u64>>;

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
fn written(features: &[u8]) -> Rows {
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
    assert_eq!(preparation.to_json().expect("JSON"), preparation_of(&features));
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
    let text = preparation_of(&features);
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
