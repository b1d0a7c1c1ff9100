//! How a score is spelled: canonical JSON (RFC 8785), a line each.

use super::Detail;
use super::features::Given;
use super::score::Score;
use crate::model::Model;
use crate::preparation::{Input, Preparation};

/// What is the same in every line.
pub(super) struct Spelled {
    /// From after the log odds to before the probability.
    middle: Vec<u8>,
    explained: Option<Explained>,
}

/// What an explained line has besides.
struct Explained {
    bias: f64,
    columns: Vec<(Vec<u8>, usize)>,
    inputs: Vec<(Vec<u8>, usize)>,
}

impl Spelled {
    pub(super) fn new(model: &Model, preparation: &Preparation, detail: Detail) -> Self {
        let mut middle = b",\"positive\":".to_vec();
        text(&mut middle, &model.labels.positive);
        middle.extend_from_slice(b",\"probability\":");
        Self {
            middle,
            explained: match detail {
                Detail::Score | Detail::Measured => None,
                Detail::Explained => Some(Explained::of(model, preparation)),
            },
        }
    }

    /// Appends a line. `contributions` are in the order of the model's columns.
    pub(super) fn write(&self, out: &mut Vec<u8>, id: &str, score: Score, contributions: &[f64], given: &Given<'_>) {
        out.push(b'{');
        if let Some(explained) = &self.explained {
            explained.before_id(out, contributions);
            out.push(b',');
        }
        out.extend_from_slice(b"\"event_id\":");
        text(out, id);
        out.extend_from_slice(b",\"log_odds\":");
        number(out, score.log_odds);
        if let Some(explained) = &self.explained {
            explained.missing(out, given);
        }
        out.extend_from_slice(&self.middle);
        number(out, score.probability);
        out.extend_from_slice(b"}\n");
    }
}

impl Explained {
    fn of(model: &Model, preparation: &Preparation) -> Self {
        Self {
            bias: model.bias,
            columns: in_order(model.feature_keys.iter().map(String::as_str)),
            inputs: in_order(preparation.inputs().iter().map(Input::name)),
        }
    }

    fn before_id(&self, out: &mut Vec<u8>, contributions: &[f64]) {
        out.extend_from_slice(b"\"bias\":");
        number(out, self.bias);
        out.extend_from_slice(b",\"contributions\":{");
        for (nth, (key, place)) in self.columns.iter().enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            out.push(b':');
            number(out, contributions[*place]);
        }
        out.push(b'}');
    }

    fn missing(&self, out: &mut Vec<u8>, given: &Given<'_>) {
        out.extend_from_slice(b",\"missing\":[");
        let mut is_first = true;
        for (key, place) in &self.inputs {
            if given.lacks(*place) {
                if !is_first {
                    out.push(b',');
                }
                is_first = false;
                out.extend_from_slice(key);
            }
        }
        out.push(b']');
    }
}

/// Names in the order in which RFC 8785 has keys (by UTF-16 code units): each as JSON, and its place before.
fn in_order<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(Vec<u8>, usize)> {
    let mut named: Vec<(&str, usize)> = names.zip(0..).collect();
    named.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    let spelled = |(name, place): (&str, usize)| {
        let mut json = Vec::new();
        text(&mut json, name);
        (json, place)
    };
    named.into_iter().map(spelled).collect()
}

/// Appends a number that is finite, as RFC 8785 and ECMAScript spell it: the shortest that reads back as the same double.
fn number(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(value).as_bytes());
}

/// Appends a text as a JSON string; `serde_json` escapes what RFC 8785 does, and as it does.
fn text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text always has a JSON form, and memory takes it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Labels;
    use crate::preparation::Value;

    #[test]
    fn lines_are_canonical_json_whatever_the_keys_are() {
        // The order of UTF-16 is not that of UTF-8 for the last two.
        let keys = ["a\"\\\n\u{7f}", "b</script>", "é", "\u{ff5e}", "\u{1f600}"];
        let model = Model {
            labels: Labels {
                negative: "no".to_owned(),
                positive: "yes \"\u{2028}".to_owned(),
            },
            feature_keys: keys.map(str::to_owned).to_vec(),
            weights: vec![1e-7, 1e21, -0.0, 5e-324, 1.0 / 3.0],
            bias: -0.25,
            standardisation: None,
            preparation: None,
        };
        let preparation = model.preparation().expect("few keys");
        let mut given = Given::new(&preparation);
        given.set(0, Value::Number(2.0));
        given.set(4, Value::Number(-0.0));
        let score = Score {
            log_odds: 1e-7,
            probability: 0.5,
        };
        for detail in [Detail::Score, Detail::Explained] {
            let mut line = Vec::new();
            let spelled = Spelled::new(&model, &preparation, detail);
            spelled.write(&mut line, "id \"\\ü", score, &model.weights, &given);
            assert_eq!(line.pop(), Some(b'\n'));
            let value: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            let canonical = serde_json_canonicalizer::to_vec(&value).expect("it has a canonical form");
            assert_eq!(String::from_utf8_lossy(&line), String::from_utf8_lossy(&canonical));
            assert_eq!(value["event_id"], "id \"\\ü");
            if detail == Detail::Explained {
                let missing: Vec<_> = value["missing"].as_array().into_iter().flatten().collect();
                assert_eq!(missing, [keys[1], keys[2], keys[3]]);
                assert_eq!(value["contributions"][keys[3]], 5e-324);
            }
        }
    }
}
