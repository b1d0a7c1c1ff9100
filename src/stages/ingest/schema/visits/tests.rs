//! Which schemas, and which events, are too much.

use serde_json::{Map, json};

use super::*;
use crate::stages::ingest::schema::EventSchema;

const DEPTH: usize = 64;

/// A schema of parts `a0` to `a<levels>`, each made by `part` of a reference to the one before it.
fn chain(levels: usize, first: Value, part: impl Fn(Value) -> Value) -> Value {
    let mut parts = Map::from_iter([("a0".to_owned(), first)]);
    for level in 1..=levels {
        let before = json!({"$ref": format!("#/$defs/a{}", level - 1)});
        parts.insert(format!("a{level}"), part(before));
    }
    json!({"$ref": format!("#/$defs/a{levels}"), "$defs": parts})
}

/// What is nested so deep as the first field of this name in itself.
fn nested(name: &str, depth: usize) -> Value {
    (0..depth).fold(json!({}), |inner, _| json!({name: inner}))
}

fn unfit(schema: &Value) -> Option<Unfit> {
    let found = Visits::of(schema, DEPTH).err();
    let compiled = EventSchema::compile(schema.to_string().as_bytes());
    assert_eq!(compiled.is_err(), found.is_some(), "{schema}");
    found
}

#[test]
fn what_parts_ask_about_one_value_is_bounded() {
    let twice = |part: Value| json!({"allOf": [part, part]});
    // Each part, and each reference as one of its own: 4 · 2^levels − 2.
    assert_eq!(unfit(&chain(14, json!({}), twice)), None);
    assert_eq!(unfit(&chain(15, json!({}), twice)), Some(Unfit::TooMany));
    let others: [fn(Value) -> Value; 8] = [
        |part| json!({"anyOf": [part, part]}),
        |part| json!({"oneOf": [part, {"not": part}]}),
        |part| json!({"if": part, "then": part, "else": part}),
        |part| json!({"dependentSchemas": {"a": part, "b": part}}),
        |part| json!({"$ref": part["$ref"], "allOf": [part]}),
        |part| json!({"allOf": [part], "unevaluatedProperties": false}),
        // Not about the same value, and yet so often in the end.
        |part| json!({"properties": {"x": {"allOf": [part, part]}}}),
        |part| json!({"additionalProperties": part, "patternProperties": {"x": part}}),
    ];
    for part in others {
        assert_eq!(
            unfit(&chain(39, json!({}), part)),
            Some(Unfit::TooMany),
            "{}",
            part(json!({}))
        );
    }
    let in_a_list = |part: Value| json!({"prefixItems": [part], "contains": part});
    assert_eq!(unfit(&chain(39, json!({}), in_a_list)), Some(Unfit::TooMany));
}

#[test]
fn parts_are_found_by_whatever_they_are_referred_to() {
    let refers = |references: [&str; 3]| {
        let twice = |reference: &str| json!({"allOf": [{"$ref": reference}, {"$ref": reference}]});
        let mut parts = chain(30, json!({}), |part| json!({"allOf": [part, part]}));
        let defs = parts["$defs"].as_object_mut().expect("an object");
        defs["a30"]["$anchor"] = json!("last");
        defs.insert(
            "of an id".to_owned(),
            json!({"$id": "https://example.com/other/part", "$defs": {"a": {"$anchor": "in"}}}),
        );
        defs.insert("a b~/".to_owned(), twice("#last"));
        json!({"$id": "https://example.com/other/whole", "allOf": references.map(twice), "$defs": parts["$defs"]})
    };
    let harmless = ["part", "/other/part#in", "https://example.com/other/part#/$defs/a"];
    assert_eq!(unfit(&refers(harmless)), None);
    for reference in ["#last", "#/$defs/a30", "#/%24defs/a30", "#/$defs/a%20b~0~1"] {
        assert_eq!(
            unfit(&refers([harmless[0], harmless[2], reference])),
            Some(Unfit::TooMany),
            "{reference}"
        );
    }
    assert!(matches!(
        unfit(&refers(["#none", harmless[0], harmless[2]])),
        Some(Unfit::Unknown(_))
    ));
    assert_eq!(
        unfit(&json!({"$ref": "https://json-schema.org/draft/2020-12/schema"})),
        None
    );
    assert_eq!(unfit(&json!({"$ref": "#"})), Some(Unfit::Circle));
    let circle = json!({"$ref": "#a", "$defs": {"a": {"$anchor": "a", "anyOf": [{"type": "null"}, {"$ref": "#a"}]}}});
    assert_eq!(unfit(&circle), Some(Unfit::Circle));
}

#[test]
fn a_schema_that_refers_to_itself_once_for_each_value_is_asked_about_any_event() {
    let dynamic = json!({
        "$id": "https://example.com/strict", "$dynamicAnchor": "node", "$ref": "tree",
        "$defs": {"tree": {"$id": "tree", "$dynamicAnchor": "node", "properties": {"x": {"$dynamicRef": "#node"}}}},
    });
    for schema in [
        json!({"properties": {"x": {"$ref": "#"}, "y": {"$ref": "#"}}}),
        json!({"properties": {"x": {"$ref": "#"}}, "additionalProperties": {"$ref": "#"}}),
        json!({"additionalProperties": {"$ref": "#"}, "unevaluatedItems": false}),
        json!({"items": {"$ref": "#"}, "properties": {"x": {"$ref": "#/$defs/y"}}, "$defs": {"y": {"items": {"$ref": "#"}}}}),
        chain(3000, json!({}), |part| part),
        dynamic,
    ] {
        assert!(matches!(Visits::of(&schema, DEPTH), Ok(None)), "{schema}");
        let schema = EventSchema::compile(schema.to_string().as_bytes()).expect("a valid schema");
        assert!(schema.check(&nested("x", DEPTH)).is_ok());
    }
}

#[test]
fn where_it_refers_to_itself_twice_only_events_that_are_nested_so_are_too_much() {
    // The alternatives of a language of expressions.
    let schema = json!({
        "oneOf": [
            {"properties": {"x": {"$ref": "#"}, "op": {"const": "not"}}, "required": ["x", "op"]},
            {"properties": {"x": {"$ref": "#"}, "y": {"$ref": "#"}, "op": {"const": "and"}}, "required": ["y", "op"]},
            {"properties": {"x": false, "more": {"additionalProperties": true}}},
        ],
    });
    let visits = Visits::of(&schema, DEPTH)
        .expect("it is taken")
        .expect("some events are too much");
    assert!((5..20).contains(&visits.harmless), "{}", visits.harmless);
    let schema = EventSchema::compile(schema.to_string().as_bytes()).expect("a valid schema");
    assert!(schema.check(&json!({"more": nested("x", 60)})).is_ok());
    assert!(
        schema
            .check(&json!({"op": "not", "x": {"op": "and", "x": {}, "y": {}}}))
            .is_ok()
    );
    let faults = schema.check(&nested("x", DEPTH)).expect_err("too much");
    assert_eq!(faults.len(), 1);
    assert_eq!(
        faults[0].message,
        "is nested so deep that more than 100000 parts of the schema would be asked about one value"
    );
}
