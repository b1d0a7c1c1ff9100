//! Strict, bounded reading of JSON that somebody else wrote.
//!
//! `serde_json` keeps the last of two equal keys without a word; here that is an error. Depth and size are bounded.
//! What `serde_json` already refuses stays refused: `NaN`, `Infinity`, numbers that overflow a double, lone surrogates,
//! raw control characters, invalid UTF-8, a byte order mark, anything after the value.

use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How much a reader takes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest text, in bytes.
    pub bytes: usize,
    /// How deep arrays and objects may be nested; a scalar has depth 0. At most 120 (`serde_json` itself ends at 128).
    pub depth: usize,
}

/// Why a text was not taken, and where.
#[derive(Debug, thiserror::Error, Clone, PartialEq, Eq)]
#[error("{message} at column {column}{}", if *.line > 1 { format!(" of line {line}") } else { String::new() })]
pub struct JsonError {
    /// What is wrong, in lower case and without a position.
    pub message: String,
    /// Line in the text, from 1.
    pub line: usize,
    /// Column in bytes, from 1 (0 if the text ended before anything stood in the line).
    pub column: usize,
}

/// Reads one JSON value that is the whole of `bytes` (white space around it is allowed).
///
/// # Errors
///
/// [`JsonError`] if it is no JSON, has a key twice in one object (escaped spellings count as what they spell), or
/// exceeds the limits.
pub fn parse_strict(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if bytes.len() > limits.bytes {
        return Err(JsonError {
            message: format!("longer than {} bytes", limits.bytes),
            line: 1,
            column: limits.bytes,
        });
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let seed = StrictValue { depth: limits.depth };
    let value = seed.deserialize(&mut deserializer).map_err(|error| located(&error))?;
    deserializer.end().map_err(|error| located(&error))?;
    Ok(value)
}

/// `serde_json` appends the position to its message; here the two are apart.
fn located(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    let message = match text.rfind(" at line ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    };
    JsonError {
        message,
        line: error.line(),
        column: error.column(),
    }
}

#[derive(Clone, Copy)]
struct StrictValue {
    depth: usize,
}

impl StrictValue {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for StrictValue {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(seed)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let seed = self.deeper()?;
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if members.contains_key(&key) {
                let key = Value::String(key);
                return Err(de::Error::custom(format_args!("duplicate key {key}")));
            }
            let value = map.next_value_seed(seed)?;
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { bytes: 1000, depth: 3 };

    fn refusal(text: &str) -> String {
        parse_strict(text.as_bytes(), LIMITS)
            .expect_err("must be refused")
            .message
    }

    #[test]
    fn a_key_twice_is_refused_in_any_spelling() {
        assert_eq!(refusal(r#"{"a":1,"a":2}"#), r#"duplicate key "a""#);
        assert_eq!(refusal(r#"{"x":1.5,"\u0078":2.5}"#), r#"duplicate key "x""#);
        assert_eq!(refusal(r#"[{"a":{"b":1,"b":1}}]"#), r#"duplicate key "b""#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "NaN",
            "-Infinity",
            "1e400",
            "01",
            "[1,]",
            "\u{feff}1",
            "1 2",
            r#""\ud800""#,
            "\"\u{1}\"",
            "",
            "{",
            "\"\\x\"",
        ] {
            assert!(parse_strict(text.as_bytes(), LIMITS).is_err(), "{text:?}");
        }
        assert!(parse_strict(b"\"\xff\"", LIMITS).is_err());
    }

    #[test]
    fn depth_and_size_are_bounded() {
        assert!(parse_strict(b"[[[1]]]", LIMITS).is_ok());
        assert_eq!(refusal("[[[[1]]]]"), "nested too deep");
        assert!(parse_strict(&[b' '; 1001], LIMITS).is_err());
        let bomb = "[".repeat(900);
        assert_eq!(refusal(&bomb), "nested too deep");
    }
}
