//! A project with one `ingest`, whose events are written by the test.

use base64::Engine as _;
use madmall::consent::map::{Map, Root};
use madmall::consent::secret::{ConsentSecret, read_file};
use madmall::consent::token::{Token, Tokens};
use serde_json::Value;

use crate::space::Space;

const SCHEMA: &str = include_str!("../../schemas/byte_event.schema.json");

/// An event of the byte schema.
pub(crate) fn event(id: &str, scope: &str, age: u32) -> String {
    format!(
        r#"{{"event_id":"{id}","timestamp":"2026-01-05T07:12:33Z","source":{{"kind":"pharmacy","region":"north"}},"consent":{{"scope":"{scope}","revocable":true}},"payload":{{"type":"lab_marker","label":"stable","features":{{"tsh":1.5,"age":{age}}}}}}}"#
    )
}

/// The id of an event by its number.
pub(crate) fn id(number: u32) -> String {
    format!("evt-{number:06}")
}

/// A project whose events have these numbers.
pub(crate) fn project(numbers: impl IntoIterator<Item = u32>) -> Space {
    let space = Space::empty();
    space.write("madmall.yaml", "");
    space.write("schema.json", SCHEMA);
    write_events(&space, numbers);
    space.write("revocations.ndjson", "");
    space.pipeline(
        "purpose: research\nstages:\n  ingest:\n    uses: madmall/ingest\n    inputs: {events: in.ndjson, schema: schema.json, \
         revocations: revocations.ndjson}\n    params: {on_reject: quarantine}\n    outputs: {events: events.ndjson, rejects: \
         rejects.ndjson}",
    );
    space
}

pub(crate) fn write_events(space: &Space, numbers: impl IntoIterator<Item = u32>) {
    let lines: Vec<String> = numbers
        .into_iter()
        .map(|number| event(&id(number), "research", 30) + "\n")
        .collect();
    space.write("in.ndjson", lines.concat());
}

/// The secret of whoever runs the project.
pub(crate) fn secret(space: &Space) -> ConsentSecret {
    read_file(&space.base().join("config/consent-secret")).expect("a secret")
}

/// The root of the set of these events.
pub(crate) fn root(space: &Space, ids: impl IntoIterator<Item = String>) -> Root {
    let tokens = Tokens::by(&secret(space));
    let mut all: Vec<Token> = ids.into_iter().map(|id| tokens.token(&id)).collect();
    all.sort_unstable();
    Map::of(&all).expect("each once").root()
}

/// The statement of the ingest of the newest run in which it ran, with the receipt's id.
pub(crate) fn ingest(space: &Space) -> (String, Value) {
    for file in space.receipt_files().iter().rev() {
        for line in space.read(&format!("runs/{file}")).lines() {
            let envelope: Value = serde_json::from_str(line).expect("an envelope");
            let payload = envelope["payload"].as_str().expect("base64");
            let payload = base64::engine::general_purpose::STANDARD
                .decode(payload)
                .expect("base64");
            let statement: Value = serde_json::from_slice(&payload).expect("a statement");
            if statement["predicate"]["buildDefinition"]["buildType"] == "urn:madmall:stage:v1" {
                return (Root::of(&payload).to_hex(), statement);
            }
        }
    }
    panic!("no ingest has run");
}

/// What a statement says of the events that were let in.
pub(crate) fn population(statement: &Value) -> &Value {
    &statement["predicate"]["buildDefinition"]["internalParameters"]["madmall"]["stage"]["population"]
}
