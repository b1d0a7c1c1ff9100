//! The cases of the JSON Schema test suite, draft 2020-12, for the keywords of the subset. They are not in this repository:
//! `MADMALL_SCHEMA_SUITE` names the folder of the cases (`tests/draft2020-12` of the suite); without it the test is skipped.

use std::path::Path;

use madmall::stages::ingest::event::read_json;
use madmall::stages::ingest::schema::EventSchema;
use serde_json::Value;

/// Files of cases about what the subset has, and about what looks like it.
const FILES: [&str; 24] = [
    "additionalProperties",
    "allOf",
    "anyOf",
    "boolean_schema",
    "const",
    "defs",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "infinite-loop-detection",
    "items",
    "maximum",
    "maxItems",
    "maxLength",
    "minimum",
    "minItems",
    "minLength",
    "not",
    "oneOf",
    "pattern",
    "properties",
    "ref",
    "required",
    "type",
];

#[derive(Debug, Default)]
struct Counts {
    /// Schemas in the subset.
    compiled: u32,
    /// Values that the suite calls valid, held against one of those.
    valid: u32,
    /// How many of them are taken in one pass.
    taken: u32,
    /// All values.
    values: u32,
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "where the cases lie is no matter of the program"
)]
fn the_official_cases_come_out_as_they_should() {
    let Ok(folder) = std::env::var("MADMALL_SCHEMA_SUITE") else {
        eprintln!("skipped: MADMALL_SCHEMA_SUITE names no folder");
        return;
    };
    let mut counts = Counts::default();
    for file in FILES {
        let path = Path::new(&folder).join(format!("{file}.json"));
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let groups: Vec<Value> = serde_json::from_slice(&bytes).expect("the suite is JSON");
        for group in groups {
            try_group(file, &group, &mut counts);
        }
    }
    eprintln!("{counts:?}");
    assert!(counts.compiled > 50 && counts.values > 500, "{counts:?}");
    // What is valid and not taken costs time; most is taken.
    assert!(counts.taken * 10 > counts.valid * 9, "{counts:?}");
}

fn try_group(file: &str, group: &Value, counts: &mut Counts) {
    let about = format!("{file}: {}", group["description"]);
    let schema = EventSchema::compile(group["schema"].to_string().as_bytes());
    let schema = schema.unwrap_or_else(|error| panic!("{about}: {error}"));
    let recogniser = schema.recogniser();
    counts.compiled += u32::from(recogniser.is_some());
    for test in group["tests"].as_array().expect("a group has tests") {
        let about = format!("{about}: {}", test["description"]);
        let (text, valid) = (test["data"].to_string(), test["valid"] == Value::Bool(true));
        let value = read_json(text.as_bytes()).unwrap_or_else(|fault| panic!("{about}: {fault:?}"));
        assert_eq!(schema.check(&value).is_ok(), valid, "{about}: {text}");
        counts.values += 1;
        if let Some(recogniser) = recogniser {
            let (taken, _) = super::compare(&schema, recogniser, &mut recogniser.memory(), text.as_bytes());
            counts.valid += u32::from(valid);
            counts.taken += u32::from(taken);
        }
    }
}
