//! Schemas, and whether they are in the subset that is compiled.

/// Each with at least one value among random ones that satisfies it, and one that does not.
pub(crate) const ALL: &[(&str, bool)] = &[
    ("true", true),
    (r#"{"type": "object"}"#, true),
    (r#"{"type": ["string", "null"]}"#, true),
    (r#"{"type": "integer"}"#, true),
    (r#"{"type": ["integer", "number"], "minimum": 1}"#, true),
    (r#"{"type": "number", "exclusiveMinimum": 0, "maximum": 10}"#, true),
    (r#"{"minimum": 3, "exclusiveMaximum": 36.6}"#, true),
    (r#"{"maximum": 9007199254740992}"#, false),
    (r#"{"type": "string", "minLength": 2, "maxLength": 5}"#, true),
    (r#"{"minLength": 1}"#, true),
    (r#"{"enum": ["care", "a", null, true]}"#, true),
    (r#"{"enum": ["care", 1]}"#, false),
    (r#"{"const": "abc"}"#, true),
    (r#"{"const": null}"#, true),
    (r#"{"type": "string", "pattern": "^[a-c]+$"}"#, true),
    (r#"{"pattern": "^[a-c]+$"}"#, true),
    (r#"{"type": "string", "format": "date"}"#, true),
    (
        r#"{"type": "string", "anyOf": [{"format": "date"}, {"maxLength": 1}]}"#,
        true,
    ),
    (r#"{"type": "string", "not": {"const": "care"}}"#, true),
    (r#"{"not": {"type": "null"}}"#, false),
    (r#"{"anyOf": [{"type": "string"}, {"type": "null"}]}"#, true),
    (
        r#"{"anyOf": [{"type": "string", "minLength": 3}, {"type": "array", "minItems": 1}]}"#,
        true,
    ),
    (r#"{"anyOf": [{"minLength": 3}, {"type": "array"}]}"#, false),
    (
        r#"{"type": "array", "items": {"type": ["number", "string"]}, "minItems": 1, "maxItems": 2}"#,
        true,
    ),
    (r#"{"items": false}"#, true),
    (r#"{"prefixItems": [true]}"#, false),
    (r#"{"properties": {"a": {"type": "number"}, "größe": false}}"#, true),
    (
        r#"{"type": "object", "properties": {"a": true, "b": true, "x": true}, "additionalProperties": false}"#,
        true,
    ),
    (r#"{"required": ["a"]}"#, true),
    (
        r#"{"type": "object", "required": ["a", "b"], "properties": {"a": {}}}"#,
        true,
    ),
    (
        r#"{"type": "object", "required": ["q"], "additionalProperties": false}"#,
        false,
    ),
    (
        r#"{"type": "object", "additionalProperties": {"type": ["number", "object"]}}"#,
        true,
    ),
    (
        r#"{"type": "object", "additionalProperties": {"additionalProperties": {"type": "string"}}}"#,
        true,
    ),
    (r#"{"patternProperties": {"^a": true}}"#, false),
    (r#"{"properties": {"a\":\"b": {"type": "integer"}}}"#, false),
    (
        r##"{"$ref": "#/$defs/t", "$defs": {"t": {"type": ["string", "object"]}}}"##,
        true,
    ),
    (
        r##"{"$ref": "#/$defs/t", "type": ["string", "number"], "$defs": {"t": {"enum": ["a", "ab", null]}}}"##,
        true,
    ),
    (r##"{"type": ["array", "number"], "items": {"$ref": "#"}}"##, true),
    (
        r##"{"$id": "urn:x", "title": "t", "type": ["object", "null"], "additionalProperties": {"anyOf": [{"$ref": "#"}, {"type": "string"}]}}"##,
        false,
    ),
    (
        r#"{"type": "object", "properties": {"event_id": {"type": ["string", "number"]}, "source": true, "consent": {"properties": {"scope": {}}}}}"#,
        true,
    ),
];
