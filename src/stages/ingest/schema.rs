//! The JSON Schema that events must satisfy: compiled once, asked for each event, and its answers in our words.
//!
//! The `jsonschema` crate decides. Its messages repeat the value they are about; ours never do, because values of
//! events are personal. Names of fields and what the schema itself says are repeated.

mod graph;
mod visits;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use self::visits::{MOST, Unfit, Visits};
use super::event::MAX_DEPTH;
use super::fault::{Fault, printable};
use super::subject::SubjectPointer;
use crate::consent::purposes::Purposes;
use crate::digest::Digest;
use crate::json::{JsonError, Limits, parse_strict};
use crate::recognise::{Opaque, Recogniser};

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
type Compile = fn(&Value, &Opaque<'_>, Option<&[&str]>) -> Option<Recogniser>;

/// A compiled schema.
pub struct EventSchema {
    validator: Validator,
    /// Knows most valid events without the validator, if the schema is simple enough.
    recogniser: Option<Recogniser>,
    /// Which events it would be asked too much about, if there can be any.
    visits: Option<Visits>,
    /// Where an event must name the person that it came from.
    subject: Option<SubjectPointer>,
    purposes: Purposes,
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
    /// It is endless.
    #[error(
        "a part of it refers to itself, and about the same value: refer to it from `properties` or `items`, or not at all"
    )]
    Circle,
    /// It takes too long.
    #[error(
        "its parts refer to each other so often that more than {MOST} of them are asked about one value: refer to a part once"
    )]
    TooMany,
    /// It is no schema.
    #[error("it is no valid schema: {0}")]
    Invalid(String),
}

impl EventSchema {
    /// Compiles the schema that `bytes` hold. `format` is asserted; nothing is fetched from anywhere.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] if it is no JSON, no schema of draft 2020-12, uses a format or a pattern that is not known, refers to anything
    /// outside itself, or to itself in circles or so often that an event would take for ever.
    pub fn compile(bytes: &[u8]) -> Result<Self, SchemaError> {
        Self::compile_as(bytes, Recogniser::compile, None)
    }

    /// The same; every event must name a person at `subject`, if that is given.
    ///
    /// # Errors
    ///
    /// As [`EventSchema::compile`].
    pub fn compile_with_subject(bytes: &[u8], subject: Option<SubjectPointer>) -> Result<Self, SchemaError> {
        Self::compile_as(bytes, Recogniser::compile, subject)
    }

    /// The same; its recogniser tells features and labels too.
    ///
    /// # Errors
    ///
    /// As [`EventSchema::compile`].
    pub fn compile_with_features(bytes: &[u8], subject: Option<SubjectPointer>) -> Result<Self, SchemaError> {
        Self::compile_as(bytes, Recogniser::compile_with_features, subject)
    }

    fn compile_as(bytes: &[u8], recogniser: Compile, subject: Option<SubjectPointer>) -> Result<Self, SchemaError> {
        let schema = parse_strict(bytes, LIMITS).map_err(SchemaError::Json)?;
        if let Some(dialect) = schema.get("$schema")
            && dialect.as_str().map(|dialect| dialect.trim_end_matches('#')) != Some(DIALECT)
        {
            return Err(SchemaError::Dialect);
        }
        // Before it is compiled, which may take as long as asking it.
        let visits = Visits::of(&schema, MAX_DEPTH).map_err(|error| match error {
            Unfit::Unknown(reference) => SchemaError::Reference(printable(&reference)),
            Unfit::Circle => SchemaError::Circle,
            Unfit::TooMany => SchemaError::TooMany,
        })?;
        let validator = validator_of(&schema).map_err(|error| match error.kind() {
            ValidationErrorKind::Referencing(_) => SchemaError::Reference(printable(&error.to_string())),
            _ => SchemaError::Invalid(printable(told(&error.to_string()))),
        })?;
        let members = subject.as_ref().map(SubjectPointer::members);
        let opaque = |keyword: &Value| validator_of(keyword).ok();
        Ok(Self {
            validator,
            visits,
            recogniser: recogniser(&schema, &opaque, members.as_deref()),
            subject,
            purposes: Purposes::default(),
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

    /// Where an event must name the person that it came from.
    #[must_use]
    pub fn subject(&self) -> Option<&SubjectPointer> {
        self.subject.as_ref()
    }

    /// The same for events whose consents are to `purposes`.
    #[must_use]
    pub fn of_purposes(self, purposes: Purposes) -> Self {
        Self { purposes, ..self }
    }

    /// What events may consent to.
    #[must_use]
    pub fn purposes(&self) -> &Purposes {
        &self.purposes
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
        if self.visits.as_ref().is_some_and(|visits| !visits.allows(value)) {
            let message =
                format!("is nested so deep that more than {MOST} parts of the schema would be asked about one value");
            return Err(vec![Fault::new("", message, "schema")]);
        }
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

/// What the crate says is wrong with a schema, without its advice for whoever calls it.
fn told(message: &str) -> &str {
    message.split(". Adjust configuration").next().unwrap_or(message)
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
mod tests;
