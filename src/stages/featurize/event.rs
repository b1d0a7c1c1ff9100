//! What featurize takes from an event. `ingest` has validated it; what is used here is checked again all the same.

use serde_json::{Map, Value};

use crate::preparation::{self, Input};
use crate::stages::ingest::fault::printable;

/// The longest event id, label, group or feature key, in bytes.
pub(super) const MAX_TEXT: usize = 1024;

/// A group column: where it is in the event, and what the column is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// `source.kind`, or `source` itself where it is just a text.
    SourceKind,
    /// `source.region`.
    SourceRegion,
}

impl Group {
    /// Every group column, in the order in which they stand in the file.
    pub(crate) const ALL: [Self; 2] = [Self::SourceKind, Self::SourceRegion];

    /// The group that an input is, unless that is a feature.
    pub(crate) const fn of(input: &Input) -> Option<Self> {
        match input {
            Input::Feature(_) => None,
            Input::SourceKind => Some(Self::SourceKind),
            Input::SourceRegion => Some(Self::SourceRegion),
        }
    }

    /// The group as an input.
    pub(crate) const fn input(self) -> Input {
        match self {
            Self::SourceKind => Input::SourceKind,
            Self::SourceRegion => Input::SourceRegion,
        }
    }

    /// The column's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::SourceKind => "source.kind",
            Self::SourceRegion => "source.region",
        }
    }
}

/// The value of a feature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Feature {
    /// A number; `true` is 1 and `false` 0.
    Number(f64),
    /// `null`: missing.
    Null,
    /// A text.
    Text(String),
}

/// The parts of an event that features, labels and groups are made from.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    /// `event_id`.
    pub(crate) id: String,
    /// `payload.label`.
    pub(crate) label: Option<String>,
    /// A value for each of [`Group::ALL`].
    pub(crate) groups: [Option<String>; 2],
    /// `payload.features`, sorted by the bytes of the key.
    pub(crate) features: Vec<(String, Feature)>,
}

/// What is wrong in an event, and where.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{}{message}", if .pointer.is_empty() { String::new() } else { format!("{pointer}: ") })]
pub(crate) struct EventFault {
    /// A JSON pointer.
    pub(crate) pointer: String,
    /// What is wrong there.
    pub(crate) message: String,
}

impl EventFault {
    fn new(pointer: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: pointer.to_owned(),
            message: message.into(),
        }
    }
}

impl Feature {
    /// As a preparation takes it.
    pub(crate) fn value(&self) -> preparation::Value<'_> {
        match self {
            Self::Number(number) => preparation::Value::Number(*number),
            Self::Null => preparation::Value::Missing,
            Self::Text(text) => preparation::Value::Text(text),
        }
    }
}

impl Event {
    /// Takes an event apart.
    pub(crate) fn from_value(value: Value) -> Result<Self, EventFault> {
        let Value::Object(mut event) = value else {
            return Err(EventFault::new("", "an event is an object"));
        };
        let id = text(event.remove("event_id"), "/event_id")?
            .filter(|id| !id.is_empty())
            .ok_or_else(|| EventFault::new("/event_id", "every event has an id"))?;
        let groups = groups(event.remove("source"))?;
        let Some(Value::Object(mut payload)) = event.remove("payload") else {
            return Err(EventFault::new("/payload", "every event has a payload, an object"));
        };
        let label = text(payload.remove("label"), "/payload/label")?;
        if label.as_deref().is_some_and(|label| !is_label(label)) {
            let message = "a label is not blank and has no white space at its ends";
            return Err(EventFault::new("/payload/label", message));
        }
        Ok(Self {
            id,
            label,
            groups,
            features: features(payload.remove("features"))?,
        })
    }
}

/// Whether a text can be a label. Else ` a` and `a` would be two labels that look like one.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty() && text.trim().len() == text.len()
}

/// A text that may be absent, but not overlong.
fn text(value: Option<Value>, pointer: &str) -> Result<Option<String>, EventFault> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > MAX_TEXT => {
            Err(EventFault::new(pointer, format!("longer than {MAX_TEXT} bytes")))
        }
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(EventFault::new(pointer, "not a text")),
    }
}

fn groups(source: Option<Value>) -> Result<[Option<String>; 2], EventFault> {
    match source {
        None => Ok([None, None]),
        Some(Value::Object(mut source)) => Ok([
            text(source.remove("kind"), "/source/kind")?,
            text(source.remove("region"), "/source/region")?,
        ]),
        Some(kind @ Value::String(_)) => Ok([text(Some(kind), "/source")?, None]),
        Some(_) => Err(EventFault::new("/source", "neither a text nor an object")),
    }
}

fn features(value: Option<Value>) -> Result<Vec<(String, Feature)>, EventFault> {
    let members: Map<String, Value> = match value {
        None => return Ok(Vec::new()),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(EventFault::new("/payload/features", "not an object")),
    };
    let mut features = Vec::with_capacity(members.len());
    for (key, value) in members {
        let fault = |message: &str| EventFault {
            pointer: printable(&format!(
                "/payload/features/{}",
                key.replace('~', "~0").replace('/', "~1")
            )),
            message: message.to_owned(),
        };
        if key.len() > MAX_TEXT {
            return Err(EventFault::new("/payload/features", "a key is longer than 1024 bytes"));
        }
        let feature = match value {
            Value::Null => Feature::Null,
            Value::Bool(value) => Feature::Number(f64::from(u8::from(value))),
            Value::String(text) => Feature::Text(text),
            Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
                // One zero, so that what is equal has equal bytes.
                Some(number) => Feature::Number(number + 0.0),
                None => return Err(fault("not a finite number")),
            },
            Value::Array(_) | Value::Object(_) => return Err(fault("not a number, a text, a boolean or null")),
        };
        features.push((key, feature));
    }
    features.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
    Ok(features)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_taken_apart() {
        let event = Event::from_value(json!({
            "event_id": "evt-000001",
            "source": {"kind": "self", "region": "north"},
            "payload": {"label": "a", "features": {"b": true, "a": 1.5, "t": "x", "n": null, "z": -0.0}},
        }))
        .expect("a good event");
        assert_eq!(event.groups, [Some("self".to_owned()), Some("north".to_owned())]);
        let keys: Vec<_> = event
            .features
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()))
            .collect();
        assert_eq!(
            keys,
            [
                ("a", Feature::Number(1.5)),
                ("b", Feature::Number(1.0)),
                ("n", Feature::Null),
                ("t", Feature::Text("x".to_owned())),
                ("z", Feature::Number(0.0)),
            ]
        );
        assert!(matches!(event.features[4].1, Feature::Number(zero) if zero.is_sign_positive()));
    }

    #[test]
    fn the_short_form_of_a_source_is_its_kind() {
        let event = Event::from_value(json!({"event_id": "e", "source": "self", "payload": {}})).expect("a good event");
        assert_eq!(event.groups, [Some("self".to_owned()), None]);
    }

    #[test]
    fn what_is_no_event_is_refused_with_its_place() {
        let long = "x".repeat(MAX_TEXT + 1);
        for (value, pointer) in [
            (json!([]), ""),
            (json!({"payload": {}}), "/event_id"),
            (json!({"event_id": 1, "payload": {}}), "/event_id"),
            (json!({"event_id": "", "payload": {}}), "/event_id"),
            (json!({"event_id": long, "payload": {}}), "/event_id"),
            (json!({"event_id": "e"}), "/payload"),
            (json!({"event_id": "e", "payload": {"label": 1}}), "/payload/label"),
            (json!({"event_id": "e", "payload": {"label": ""}}), "/payload/label"),
            (json!({"event_id": "e", "payload": {"label": " "}}), "/payload/label"),
            (json!({"event_id": "e", "payload": {"label": " a"}}), "/payload/label"),
            (
                json!({"event_id": "e", "payload": {"features": null}}),
                "/payload/features",
            ),
            (
                json!({"event_id": "e", "payload": {"features": {"a/~": [1]}}}),
                "/payload/features/a~1~0",
            ),
            (json!({"event_id": "e", "source": 1, "payload": {}}), "/source"),
            (
                json!({"event_id": "e", "source": {"region": 1}, "payload": {}}),
                "/source/region",
            ),
        ] {
            let fault = Event::from_value(value.clone()).expect_err("must be refused");
            assert_eq!(fault.pointer, pointer, "{value}");
        }
    }
}
