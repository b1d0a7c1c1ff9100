//! The numbers in a JSON file that somebody's program wrote, each by a name.

use serde_json::{Number, Value};

use crate::json::{self, JsonError, Limits};

/// What is read of a file of metrics. Longer ones are data, not metrics.
pub const LIMITS: Limits = Limits {
    bytes: 8 << 20,
    depth: 32,
};
/// So many numbers of one file are taken.
pub const MOST: usize = 5000;

/// A number and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The keys that lead to it, with a dot between: `holdout.auc`, `coefficients.0.estimate`.
    pub name: String,
    /// How many keys those are.
    pub depth: usize,
    /// The number as JSON has it.
    pub value: Number,
}

/// The numbers of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// At most [`MOST`].
    pub named: Vec<Named>,
    /// How many more there were.
    pub left_out: usize,
}

/// Reads the numbers of a JSON file.
///
/// # Errors
///
/// [`JsonError`] if it is no JSON, has a key twice, or is longer or deeper than [`LIMITS`].
pub fn read(bytes: &[u8]) -> Result<Numbers, JsonError> {
    let value = json::parse_strict(bytes, LIMITS)?;
    let mut numbers = Numbers::default();
    collect(&value, &mut Vec::new(), &mut numbers);
    Ok(numbers)
}

/// Goes no deeper than the reader did.
fn collect(value: &Value, keys: &mut Vec<String>, numbers: &mut Numbers) {
    match value {
        Value::Number(_) if numbers.named.len() == MOST => numbers.left_out += 1,
        Value::Number(number) => numbers.named.push(Named {
            name: keys.join("."),
            depth: keys.len(),
            value: number.clone(),
        }),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                keys.push(index.to_string());
                collect(item, keys, numbers);
                keys.pop();
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                keys.push(spelled(key));
                collect(member, keys, numbers);
                keys.pop();
            }
        }
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// A key as a part of a name; in quotes where it could be taken for several, or for none.
fn spelled(key: &str) -> String {
    let is_plain = !key.is_empty() && !key.contains(|c: char| c == '.' || c == '"' || c.is_control());
    match is_plain {
        true => key.to_owned(),
        false => Value::from(key).to_string(),
    }
}

/// Whether the number of that name is, or lies in, an item of a list.
#[must_use]
pub fn is_in_list(name: &str) -> bool {
    let is_index = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_digit());
    name.split('.').any(is_index)
}

/// A number with at most `digits` significant digits, for people.
#[must_use]
pub fn short(value: &Number, digits: usize) -> String {
    match value.as_f64() {
        Some(double) if value.is_f64() => significant(double, digits),
        _ => value.to_string(),
    }
}

/// What must be added to `was` to get `is`, with its sign; `None` if that is nothing or no number.
#[must_use]
pub fn change(was: &Number, is: &Number) -> Option<String> {
    let difference = is.as_f64()? - was.as_f64()?;
    let text = significant(difference, 4);
    match difference {
        d if d == 0.0 || !d.is_finite() => None,
        d if d > 0.0 => Some(format!("+{text}")),
        _ => Some(text),
    }
}

fn significant(value: f64, digits: usize) -> String {
    let scientific = format!("{value:.*e}", digits.saturating_sub(1));
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    if (-5..15).contains(&exponent) {
        let most = i32::try_from(digits).unwrap_or(i32::MAX);
        let decimals = usize::try_from(most - 1 - exponent).unwrap_or(0);
        trimmed(&format!("{value:.decimals$}"))
    } else {
        format!("{}e{exponent}", trimmed(mantissa))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let numbers = read(text.as_bytes()).expect("JSON").named;
        numbers.into_iter().map(|n| format!("{}={}", n.name, n.value)).collect()
    }

    #[test]
    fn every_number_has_a_name_of_its_own() {
        let text = r#"{"auc":0.5,"n":[1,{"x":2}],"a.b":3,"a":{"b":4},"":5,"s":"6","t":true}"#;
        let mut found = names(text);
        found.sort();
        assert_eq!(found, ["\"\"=5", "\"a.b\"=3", "a.b=4", "auc=0.5", "n.0=1", "n.1.x=2"]);
        assert_eq!(names("7"), ["=7"]);
    }

    #[test]
    fn what_is_hostile_is_refused_or_cut() {
        for text in [
            "{\"a\":1,\"a\":2}".to_owned(),
            "[".repeat(100_000),
            "NaN".to_owned(),
            " ".repeat(LIMITS.bytes + 1),
            String::new(),
        ] {
            assert!(read(text.as_bytes()).is_err());
        }
        assert!(read(b"\xff").is_err());
        let many = format!("[{}0]", "0,".repeat(MOST + 9));
        let numbers = read(many.as_bytes()).expect("JSON");
        assert_eq!((numbers.named.len(), numbers.left_out), (MOST, 10));
    }

    #[test]
    fn numbers_are_shortened_without_becoming_others() {
        let short = |text: &str| super::short(&serde_json::from_str(text).expect("a number"), 6);
        for (text, said) in [
            ("0.9431234567", "0.943123"),
            ("0.5", "0.5"),
            ("123456789", "123456789"),
            ("1234567.5", "1234568"),
            ("1e-12", "1e-12"),
            ("1.5e300", "1.5e300"),
            ("-0.25", "-0.25"),
            ("0.0", "0"),
            ("100.0", "100"),
        ] {
            assert_eq!(short(text), said, "{text}");
        }
        let number = |text: &str| serde_json::from_str::<Number>(text).expect("a number");
        assert_eq!(change(&number("0.5"), &number("0.75")).as_deref(), Some("+0.25"));
        assert_eq!(change(&number("3"), &number("1")).as_deref(), Some("-2"));
        assert_eq!(change(&number("3"), &number("3.0")), None);
    }
}
