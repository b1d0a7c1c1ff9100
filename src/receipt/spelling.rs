//! RFC 8785's spelling of a value, most often without its encoder.
//!
//! A compact encoder's output is canonical already if the keys of each object come in order, for it escapes texts as RFC 8785
//! does. Whether they do is seen in one pass over the bytes, which takes a twentieth of the time that sorting takes.

use std::io::{self, Write};
use std::ops::Range;

use serde::Serialize;

/// Spells `value`.
///
/// # Errors
///
/// Whatever the encoder gives.
pub(super) fn spell(value: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let quick = serde_json::to_vec(value)?;
    match is_canonical(&quick, usize::MAX) {
        true => Ok(quick),
        false => serde_json_canonicalizer::to_vec(value),
    }
}

/// Whether `json` is certainly how [`spell`] spells `value`, and no deeper than that. If not, nothing is certain.
pub(super) fn is_spelled(value: &impl Serialize, json: &[u8], depth: usize) -> bool {
    let mut rest = Expected(json);
    let is_same = serde_json::to_writer(&mut rest, value).is_ok() && rest.0.is_empty();
    is_same && is_canonical(json, depth)
}

/// The bytes that have to be written next.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.strip_prefix(bytes) {
            Some(rest) => {
                self.0 = rest;
                Ok(bytes.len())
            }
            None => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An object or a list that is not at its end.
struct Open {
    is_object: bool,
    /// Where its last key stands.
    key: Option<Range<usize>>,
}

/// Whether `json`, as `serde_json` writes it, is certainly spelled as RFC 8785 has it. Not so, whatever it is: numbers that are no whole
/// ones of at most 15 digits, keys with escapes, what has characters from U+E000 on, which UTF-16 sorts otherwise than UTF-8, and what
/// is nested deeper than `depth` (a scalar has depth 0).
fn is_canonical(json: &[u8], depth: usize) -> bool {
    if json.iter().any(|byte| *byte >= 0xee) {
        return false;
    }
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    let mut before = b' ';
    while let Some(byte) = json.get(at) {
        let start = at + 1;
        at = match byte {
            b'"' => end_of_text(json, start),
            b'-' | b'0'..=b'9' => start + json[start..].iter().take_while(|byte| is_of_number(**byte)).count(),
            _ => start,
        };
        match byte {
            b'{' | b'[' if open.len() >= depth => return false,
            b'{' | b'[' => open.push(Open {
                is_object: *byte == b'{',
                key: None,
            }),
            b'}' | b']' => drop(open.pop()),
            b'"' if matches!(before, b'{' | b',') => {
                if let Some(Open { is_object: true, key }) = open.last_mut() {
                    let new = start..at.saturating_sub(1);
                    let ascends = key.clone().is_none_or(|key| json[key] < json[new.clone()]);
                    if !ascends || json[new.clone()].contains(&b'\\') {
                        return false;
                    }
                    *key = Some(new);
                }
            }
            b'-' => return false,
            b'0'..=b'9' if at - start >= 15 || json[start..at].iter().any(|byte| !byte.is_ascii_digit()) => {
                return false;
            }
            _ => {}
        }
        before = *byte;
    }
    true
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')
}

/// Behind the quote that ends the text which begins at `start`.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    json.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[a-c]{0,2}",
            "[ -~\u{0}-\u{1f}\\\\\"]{0,4}",
            "\\PC{0,3}",
            "[\u{d7ff}\u{e000}\u{ffff}\u{10000}a]{1,2}"
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0u64..1000).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |number| number.is_finite().then(|| Value::from(number))),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A value whose members come as they stand, and not sorted as those of [`Value`] do.
    struct AsItStands(Vec<(String, Value)>);

    impl Serialize for AsItStands {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_is_spelled_is_spelled_as_the_encoder_of_rfc_8785_does(
            value in values(),
            members in prop::collection::btree_map("[a-c\"]{1,2}", values(), 0..4),
            turn in 0usize..4,
        ) {
            let canonical = |value: &Value| serde_json_canonicalizer::to_vec(value).expect("spelled");
            prop_assert_eq!(spell(&value).expect("spelled"), canonical(&value));
            let mut members: Vec<_> = members.into_iter().collect();
            let turn = turn % members.len().max(1);
            members.rotate_left(turn);
            let sorted = Value::Object(members.iter().cloned().collect());
            prop_assert_eq!(spell(&AsItStands(members)).expect("spelled"), canonical(&sorted));
        }
    }

    #[test]
    fn what_is_spelled_otherwise_or_deeper_is_not_certain() {
        let value = serde_json::json!({"a": [1, {"b": "x"}], "c": 2});
        let json = spell(&value).expect("spelled");
        assert!(is_spelled(&value, &json, 3));
        assert!(!is_spelled(&value, &json, 2));
        for at in 0..json.len() {
            let mut other = json.clone();
            other[at] ^= 1;
            assert!(!is_spelled(&value, &other, 3), "byte {at}");
            assert!(!is_spelled(&value, &json[..at], 3), "{at} bytes");
            other[at] ^= 1;
            other.insert(at, b' ');
            assert!(!is_spelled(&value, &other, 3), "a space at {at}");
        }
        assert!(!is_spelled(&value, &[&json[..], b"\n"].concat(), 3));
        let unsorted = AsItStands(vec![("b".to_owned(), 1.into()), ("a".to_owned(), 2.into())]);
        assert!(!is_spelled(&unsorted, br#"{"b":1,"a":2}"#, 3));
    }

    #[test]
    fn what_is_certain_is_told_from_what_is_not() {
        for json in [
            "{}",
            "[]",
            "\"\"",
            "null",
            "{\"a\":{\"b\":1,\"c\":[\"z\",\"a\"]},\"b\":\"x\\\"y\"}",
            "[{\"b\":0},{\"a\":999999999999999}]",
            "{\"\":1,\"a\":true,\"ä\":[],\"\u{d7ff}\":2}",
        ] {
            assert!(is_canonical(json.as_bytes(), 64), "{json}");
            serde_json::from_str::<Value>(json).expect("JSON");
        }
        for json in [
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":2}",
            "[{\"x\":{\"b\":1,\"a\":2}}]",
            "1.0",
            "1e3",
            "-1",
            "1000000000000000",
            "{\"a\\\\\":1}",
            "\"\u{e000}\"",
            "[0,{\"a\":[],\"A\":0}]",
        ] {
            assert!(!is_canonical(json.as_bytes(), 64), "{json}");
        }
    }
}
