//! What is said of an event that a schema does not allow.

use serde_json::json;

use super::*;

fn faults(schema: &Value, value: &Value) -> Vec<String> {
    let schema = EventSchema::compile(schema.to_string().as_bytes()).expect("a valid schema");
    let faults = schema.check(value).expect_err("the value must be refused");
    let text = |fault: Fault| format!("{}: {} [{}]", fault.pointer, fault.message, fault.rule);
    faults.into_iter().map(text).collect()
}

#[test]
fn the_schemas_that_come_with_it_compile() {
    assert_ne!(EventSchema::byte_event().digest(), EventSchema::revocation().digest());
}

#[test]
fn a_format_that_is_not_known_is_named_and_no_setting_for_it() {
    let error = EventSchema::compile(br#"{"format": "idn-email"}"#)
        .err()
        .expect("not known");
    assert_eq!(error.to_string(), "it is no valid schema: Unknown format: 'idn-email'");
}

#[test]
fn each_rule_is_told_without_the_value() {
    for (schema, value, message) in [
        (json!({"minimum": 3}), json!(2), ": is less than 3 [minimum]"),
        (json!({"maximum": 3}), json!(4), ": is greater than 3 [maximum]"),
        (
            json!({"exclusiveMinimum": 3}),
            json!(3),
            ": is not greater than 3 [exclusiveMinimum]",
        ),
        (
            json!({"exclusiveMaximum": 3}),
            json!(3),
            ": is not less than 3 [exclusiveMaximum]",
        ),
        (
            json!({"maxLength": 1}),
            json!("ab"),
            ": is longer than 1 character [maxLength]",
        ),
        (
            json!({"pattern": "^a"}),
            json!("b"),
            ": does not match the pattern `^a` [pattern]",
        ),
        (
            json!({"const": "a"}),
            json!("b"),
            ": is not the one allowed value [const]",
        ),
        (json!({"minItems": 1}), json!([]), ": has fewer than 1 item [minItems]"),
        (
            json!({"uniqueItems": true}),
            json!([7, 7]),
            ": has an item twice [uniqueItems]",
        ),
        (
            json!({"not": {"type": "string"}}),
            json!("x"),
            ": does not satisfy the schema [not]",
        ),
        (
            json!({"multipleOf": 2}),
            json!(77),
            ": does not satisfy the schema [multipleOf]",
        ),
        (
            json!({"items": {"type": "null"}}),
            json!([null, 5]),
            "/1: is not of type \"null\" [type]",
        ),
        (
            json!({"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9]}),
            json!(0),
            ": is not one of the 9 allowed values [enum]",
        ),
        (
            json!({"anyOf": [{"minLength": 3}, {"maxLength": 1}]}),
            json!("ab"),
            ": satisfies none of 2 alternatives [anyOf]",
        ),
        (json!({"required": ["a/b"]}), json!({}), "/a~1b: is missing [required]"),
        (
            json!({"properties": {"x": {"required": ["y"]}}}),
            json!({"x": {}}),
            "/x/y: is missing [required]",
        ),
    ] {
        assert_eq!(faults(&schema, &value), [message], "{schema}");
    }
}

#[test]
fn every_fault_of_a_value_is_told() {
    let schema = json!({"properties": {"a": {}, "b": {}}, "additionalProperties": false, "required": ["a", "b"]});
    let expected = [
        "/x: is no known field [additionalProperties]",
        "/y: is no known field [additionalProperties]",
        "/a: is missing [required]",
        "/b: is missing [required]",
    ];
    let mut found = faults(&schema, &json!({"x": 1, "y": 2}));
    found.sort_by_key(|fault| expected.iter().position(|known| known == fault));
    assert_eq!(found, expected);
}
