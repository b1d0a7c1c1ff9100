//! Values that are not nested, held against what a node says of their type.

use super::found::Noted;
use super::literal::Literal;
use super::numbers::{self, EXACT, Number};
use super::program::{Bound, Node, NumberRule, StringRule};
use super::scan::{self, Text};

/// Notes the value at `at`, if `node` allows it; gives where it ends. `line` is UTF-8.
#[inline(always)]
pub(super) fn scalar(node: &Node, line: &[u8], at: usize, noted: Noted<'_>) -> Option<usize> {
    match *line.get(at)? {
        b'-' | b'0'..=b'9' => {
            let (value, end) = number(node.number.as_ref()?, line, at, noted.wants_numbers())?;
            noted.number(value);
            Some(end)
        }
        b'"' => {
            let text = text(node.string.as_ref()?, line, at, noted.wants_plain_texts())?;
            noted.text(text);
            Some(text.end + 1)
        }
        b't' if node.booleans[1] => {
            let end = word(line, at, b"true")?;
            noted.boolean(true);
            Some(end)
        }
        b'f' if node.booleans[0] => {
            let end = word(line, at, b"false")?;
            noted.boolean(false);
            Some(end)
        }
        b'n' if node.null => {
            let end = word(line, at, b"null")?;
            noted.null();
            Some(end)
        }
        _ => None,
    }
}

#[inline(always)]
fn word<const LENGTH: usize>(line: &[u8], at: usize, word: &[u8; LENGTH]) -> Option<usize> {
    let end = at + LENGTH;
    (line.get(at..end)? == word).then_some(end)
}

/// The text whose opening quote is at `at`.
#[inline(always)]
fn text(rule: &StringRule, line: &[u8], at: usize, is_wanted: bool) -> Option<Text> {
    if rule.needs_no_check() {
        let plain = match &rule.words {
            None => scan::plain_text(line, at + 1),
            Some(words) => one_of(words, line, at),
        };
        if plain.is_some() {
            return plain;
        }
    }
    checked_text(rule, line, at, is_wanted)
}

#[inline(always)]
fn one_of(words: &[Literal], line: &[u8], at: usize) -> Option<Text> {
    for word in words {
        if let Some(end) = word.stands(line, at) {
            return Some(Text::between(at + 1, end - 1));
        }
    }
    None
}

/// The same of a text about which more is said, or in which something is escaped.
#[inline(never)]
fn checked_text(rule: &StringRule, line: &[u8], at: usize, is_wanted: bool) -> Option<Text> {
    let text = scan::text(line, at + 1)?;
    if text.is_escaped && (is_wanted || rule.words.is_some() || !rule.checks.is_empty()) {
        return None;
    }
    let inside = line.get(text.start..text.end)?;
    let is_one = rule
        .words
        .as_ref()
        .is_none_or(|words| words.iter().any(|word| word.bytes() == &line[at..=text.end]));
    (is_one && has_length(rule, line, text) && passes(rule, inside)).then_some(text)
}

fn has_length(rule: &StringRule, line: &[u8], text: Text) -> bool {
    if rule.shortest == 0 && rule.longest == u64::MAX {
        return true;
    }
    (rule.shortest..=rule.longest).contains(&text.code_points(line))
}

fn passes(rule: &StringRule, text: &[u8]) -> bool {
    rule.checks.iter().all(|check| {
        if check.shapes.iter().any(|shape| shape.is_of(text)) {
            return true;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        check.validator.is_valid(&serde_json::Value::String(text))
    })
}

/// The number at `at`, if it is allowed, and where it ends.
#[inline(always)]
fn number(rule: &NumberRule, line: &[u8], at: usize, is_wanted: bool) -> Option<(f64, usize)> {
    match numbers::short_number(line, at) {
        Some((_, end)) if !is_wanted && rule.allows_anything() => Some((0.0, end)),
        Some((short, end)) => {
            let number = short.number();
            is_allowed(rule, number).then_some((number.value, end))
        }
        None => long_number(rule, line, at),
    }
}

#[inline(never)]
fn long_number(rule: &NumberRule, line: &[u8], at: usize) -> Option<(f64, usize)> {
    let (number, end) = numbers::any_number(line, at)?;
    is_allowed(rule, number).then_some((number.value, end))
}

#[inline(always)]
fn is_allowed(rule: &NumberRule, number: Number) -> bool {
    if rule.allows_anything() {
        return true;
    }
    // A whole number that is no double is compared by the complete validator, to its last digit.
    let is_exact = !number.is_plain || number.value.abs() < EXACT;
    let within = |bound: Option<Bound>, inside: fn(f64, f64) -> bool| {
        bound.is_none_or(|bound| inside(number.value, bound.value) || (bound.is_inside && number.value == bound.value))
    };
    (number.is_plain || !rule.is_integer)
        && is_exact
        && within(rule.least, |value, least| value > least)
        && within(rule.greatest, |value, greatest| value < greatest)
}
