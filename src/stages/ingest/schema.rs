//! The JSON Schema that events must satisfy: compiled once, asked for each event, and its answers in our words.
//!
//! The `jsonschema` crate decides. Its messages repeat the value they are about; ours never do, because values of
//! events are personal. Names of fields and what the schema itself says are repeated.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::fault::{Fault, printable};
use crate::digest::Digest;
use crate::json::{JsonError, Limits, parse_strict};
use crate::recognise::Recogniser;

/// The dialect that is spoken, and no other.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// How large a schema may be.
const LIMITS: Limits = Limits {
    bytes: 1 << 20,
    depth: 64,
};

/// How many allowed values a message lists.
const MAX_VALUES: usize = 8;

/// How a schema becomes a recogniser.
type Compile = fn(&Value, &dyn Fn(&Value) -> Option<Validator>) -> Option<Recogniser>;

/// A compiled schema.
pub struct EventSchema {
    validator: Validator,
    /// Knows most valid events without the validator, if the schema is simple enough.
    recogniser: Option<Recogniser>,
    digest: Digest,
}

/// Why a schema was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is no strict JSON.
    #[error("it is not JSON: {0}")]
    Json(JsonError),
    /// It is in another dialect.
    #[error("`$schema` is not `{DIALECT}`: only draft 2020-12 is read")]
    Dialect,
    /// It refers to what is not in it.
    #[error("it refers to what is not in it ({0}): put what it refers to under `$defs`")]
    Reference(String),
    /// It is no schema.
    #[error("it is no valid schema: {0}")]
    Invalid(String),
}

impl EventSchema {
    /// Compiles the schema that `bytes` hold. `format` is asserted; nothing is fetched from anywhere.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] if it is no JSON, no schema of draft 2020-12, uses a format or a pattern that is not known, or
    /// refers to anything outside itself.
    pub fn compile(bytes: &[u8]) -> Result<Self, SchemaError> {
        Self::compile_as(bytes, Recogniser::compile)
    }

    /// The same; its recogniser tells features and labels too.
    ///
    /// # Errors
    ///
    /// As [`EventSchema::compile`].
    pub fn compile_with_features(bytes: &[u8]) -> Result<Self, SchemaError> {
        Self::compile_as(bytes, Recogniser::compile_with_features)
    }

    fn compile_as(bytes: &[u8], recogniser: Compile) -> Result<Self, SchemaError> {
        let schema = parse_strict(bytes, LIMITS).map_err(SchemaError::Json)?;
        if let Some(dialect) = schema.get("$schema")
            && dialect.as_str().map(|dialect| dialect.trim_end_matches('#')) != Some(DIALECT)
        {
            return Err(SchemaError::Dialect);
        }
        let validator = validator_of(&schema).map_err(|error| match error.kind() {
            ValidationErrorKind::Referencing(_) => SchemaError::Reference(printable(&error.to_string())),
            _ => SchemaError::Invalid(printable(&error.to_string())),
        })?;
        Ok(Self {
            validator,
            recogniser: recogniser(&schema, &|keyword| validator_of(keyword).ok()),
            digest: Digest::of(bytes),
        })
    }

    /// The schema of byte events that comes with madmall (`schemas/byte_event.schema.json`).
    #[must_use]
    pub fn byte_event() -> Self {
        Self::compile(include_bytes!("../../../schemas/byte_event.schema.json"))
            .expect("a test compiles the schema that is embedded here")
    }

    /// The schema of revocations that comes with madmall (`schemas/revocation.schema.json`).
    #[must_use]
    pub fn revocation() -> Self {
        Self::compile(include_bytes!("../../../schemas/revocation.schema.json"))
            .expect("a test compiles the schema that is embedded here")
    }

    /// The digest of the schema's own bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What recognises valid events in one pass, if the schema is simple enough.
    #[must_use]
    pub fn recogniser(&self) -> Option<&Recogniser> {
        self.recogniser.as_ref()
    }

    /// Everything in `value` that the schema does not allow.
    ///
    /// # Errors
    ///
    /// The faults, at least one, in the order in which the schema finds them.
    pub fn check(&self, value: &Value) -> Result<(), Vec<Fault>> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut faults = Vec::new();
        for error in self.validator.iter_errors(value) {
            explain(&error, &mut faults);
        }
        if faults.is_empty() {
            faults.push(Fault::new("", "does not satisfy the schema", "schema"));
        }
        Err(faults)
    }
}

fn validator_of(schema: &Value) -> Result<Validator, ValidationError<'static>> {
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        // Linear in the text, whatever the pattern: no line can make it run for ever.
        .with_pattern_options(PatternOptions::regex())
        .offline()
        .build(schema)
}

fn explain(error: &ValidationError<'_>, faults: &mut Vec<Fault>) {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            explain_alternatives(error, context, faults);
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            faults.push(fault_of_field(error, name, "is missing"));
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let unknown = unexpected
                .iter()
                .map(|name| fault_of_field(error, name, "is no known field"));
            faults.extend(unknown);
        }
        kind => faults.push(fault_of(error, message_of(kind))),
    }
}

fn fault_of(error: &ValidationError<'_>, message: String) -> Fault {
    Fault::new(error.instance_path().as_str(), message, error.kind().keyword())
}

/// A fault of the field `name` of the object that `error` is about.
fn fault_of_field(error: &ValidationError<'_>, name: &str, message: &str) -> Fault {
    let pointer = format!(
        "{}/{}",
        error.instance_path(),
        name.replace('~', "~0").replace('/', "~1")
    );
    Fault::new(&pointer, message, error.kind().keyword())
}

/// None of several alternatives holds. Those for another type are set aside; if one is left, it is what was meant.
fn explain_alternatives(
    error: &ValidationError<'_>,
    alternatives: &[Vec<ValidationError<'static>>],
    faults: &mut Vec<Fault>,
) {
    let here = error.instance_path().as_str();
    let wrong_type = |fault: &ValidationError<'_>| {
        matches!(fault.kind(), ValidationErrorKind::Type { .. }) && fault.instance_path().as_str() == here
    };
    let meant: Vec<_> = alternatives
        .iter()
        .filter(|errors| !errors.iter().any(wrong_type))
        .collect();
    if let [only] = meant.as_slice() {
        only.iter().for_each(|error| explain(error, faults));
        return;
    }
    let formats: Vec<_> = meant.iter().filter_map(|errors| sole_format(errors)).collect();
    if !formats.is_empty() && formats.len() == meant.len() {
        let message = format!("is no valid {}", formats.join(" or "));
        faults.push(Fault::new(here, message, "format"));
        return;
    }
    let types: Vec<_> = alternatives
        .iter()
        .flatten()
        .filter(|error| wrong_type(error))
        .collect();
    if meant.is_empty() && !types.is_empty() {
        let names: Vec<String> = types.iter().filter_map(|error| type_names(error.kind())).collect();
        let message = format!("is not of type {}", names.join(" or "));
        faults.push(Fault::new(here, message, "type"));
        return;
    }
    let message = format!("satisfies none of {} alternatives", alternatives.len());
    faults.push(fault_of(error, message));
}

fn sole_format(errors: &[ValidationError<'_>]) -> Option<String> {
    match errors {
        [error] => match error.kind() {
            ValidationErrorKind::Format { format } => Some(format!("`{}`", printable(format))),
            _ => None,
        },
        _ => None,
    }
}

fn type_names(kind: &ValidationErrorKind) -> Option<String> {
    let ValidationErrorKind::Type { kind } = kind else {
        return None;
    };
    Some(match kind {
        TypeKind::Single(name) => format!("\"{name}\""),
        TypeKind::Multiple(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
            names.join(" or ")
        }
    })
}

fn message_of(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { .. } => format!("is not of type {}", type_names(kind).unwrap_or_default()),
        Kind::Enum { options } => match options.as_array() {
            Some(options) if options.len() <= MAX_VALUES && options.iter().all(is_short_word) => {
                let words: Vec<String> = options.iter().map(Value::to_string).collect();
                format!("is not one of {}", words.join(", "))
            }
            options => format!("is not one of the {} allowed values", options.map_or(0, Vec::len)),
        },
        Kind::Constant { .. } => "is not the one allowed value".to_owned(),
        Kind::Format { format } => format!("is no valid `{}`", printable(format)),
        Kind::Pattern { pattern } => format!("does not match the pattern `{}`", printable(pattern)),
        Kind::MinLength { limit } => format!("is shorter than {}", counted(*limit, "character")),
        Kind::MaxLength { limit } => format!("is longer than {}", counted(*limit, "character")),
        Kind::MinItems { limit } => format!("has fewer than {}", counted(*limit, "item")),
        Kind::MaxItems { limit } => format!("has more than {}", counted(*limit, "item")),
        Kind::MinProperties { limit } => format!("has fewer than {}", counted(*limit, "field")),
        Kind::MaxProperties { limit } => format!("has more than {}", counted(*limit, "field")),
        Kind::Minimum { limit } => format!("is less than {limit}"),
        Kind::Maximum { limit } => format!("is greater than {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("is not greater than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("is not less than {limit}"),
        Kind::FalseSchema => "is not allowed here".to_owned(),
        Kind::PropertyNames { .. } => "has a field whose name is not allowed".to_owned(),
        Kind::UniqueItems => "has an item twice".to_owned(),
        Kind::OneOfMultipleValid { .. } => "satisfies more than one alternative".to_owned(),
        _ => "does not satisfy the schema".to_owned(),
    }
}

fn is_short_word(value: &Value) -> bool {
    !value.is_array() && !value.is_object() && value.as_str().is_none_or(|word| word.len() <= 40)
}

fn counted(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
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
}
