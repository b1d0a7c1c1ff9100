//! JSON values: where the first one differs, as a pointer (RFC 6901).

use std::collections::BTreeSet;
use std::io::{self, Read as _};

use camino::Utf8Path;
use serde_json::{Number, Value};

use super::{Found, LARGEST, Tolerance, open};
use crate::json::{Limits, parse_strict};

/// What is read of a document that a stage wrote.
const LIMITS: Limits = Limits {
    bytes: 16 << 20,
    depth: 100,
};

/// Whether values are named beside the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// Numbers, booleans and null are.
    Scalars,
    /// None is.
    Nothing,
}

/// Compares two documents.
pub(super) fn compare(before: &Utf8Path, now: &Utf8Path, tolerance: Option<Tolerance>) -> io::Result<Found> {
    let read = |path: &Utf8Path| -> io::Result<Option<Value>> {
        let mut bytes = Vec::new();
        open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
        Ok(parse(&bytes))
    };
    let (Some(before), Some(now)) = (read(before)?, read(now)?) else {
        return Ok(Found::Unreadable);
    };
    Ok(match first(&before, &now, Naming::Scalars, tolerance) {
        Some(place) if place.is_empty() => Found::At("the root".to_owned()),
        Some(place) => Found::At(place),
        None => Found::Nothing,
    })
}

/// Reads a value; `None` if it is no JSON, or beyond the limits.
pub(super) fn parse(bytes: &[u8]) -> Option<Value> {
    parse_strict(bytes, LIMITS).ok()
}

/// The first place that differs, empty for the root.
pub(super) fn first(before: &Value, now: &Value, naming: Naming, tolerance: Option<Tolerance>) -> Option<String> {
    let mut pointer = String::new();
    let walk = Walk { naming, tolerance };
    walk.values(before, now, &mut pointer).then_some(pointer)
}

struct Walk {
    naming: Naming,
    tolerance: Option<Tolerance>,
}

impl Walk {
    /// Whether they differ; `pointer` then leads to the first place, and is as it was if not.
    fn values(&self, before: &Value, now: &Value, pointer: &mut String) -> bool {
        match (before, now) {
            (Value::Object(before), Value::Object(now)) => {
                let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
                keys.into_iter().any(|key| {
                    let name = key.replace('~', "~0").replace('/', "~1");
                    self.members(&name, before.get(key), now.get(key), pointer)
                })
            }
            (Value::Array(before), Value::Array(now)) => (0..before.len().max(now.len()))
                .any(|index| self.members(&index.to_string(), before.get(index), now.get(index), pointer)),
            (Value::Number(before), Value::Number(now)) if self.are_close(before, now) => false,
            (before, now) => {
                let differs = before != now;
                if differs && self.naming == Naming::Scalars && is_named(before) && is_named(now) {
                    *pointer = format!("{pointer}: {before} → {now}");
                }
                differs
            }
        }
    }

    fn members(&self, name: &str, before: Option<&Value>, now: Option<&Value>, pointer: &mut String) -> bool {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(name);
        let differs = match (before, now) {
            (Some(before), Some(now)) => self.values(before, now, pointer),
            (Some(_), None) => {
                pointer.push_str(", which is not there now");
                true
            }
            _ => {
                pointer.push_str(", which was not there");
                true
            }
        };
        if !differs {
            pointer.truncate(length);
        }
        differs
    }

    fn are_close(&self, before: &Number, now: &Number) -> bool {
        let close = |tolerance: Tolerance| Some(tolerance.allows(before.as_f64()?, now.as_f64()?));
        before == now || self.tolerance.and_then(close).unwrap_or(false)
    }
}

/// A text may be about a person.
fn is_named(value: &Value) -> bool {
    matches!(value, Value::Number(_) | Value::Bool(_) | Value::Null)
}
