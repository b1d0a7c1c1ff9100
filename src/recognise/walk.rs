//! One line held against a program.

use std::ops::Range;

use super::keys::unescaped;
use super::program::{Bound, Node, NodeId, NumberRule, ObjectRule, Property, SLOTS, Shape, Slot, StringRule};
use super::scan::{self, EXACT, Number, Text};
use super::{Feature, Memory, Recogniser, TextPlace};

/// How deep arrays and objects may be nested; what is deeper is left to the complete reader, which has a bound of its own.
const MAX_DEPTH: usize = 32;

/// What stands in the member that a slot is for.
#[derive(Clone, Debug, Default)]
pub(super) enum Held {
    #[default]
    Absent,
    Null,
    Text(Range<usize>),
    Boolean(bool),
    Other,
}

pub(super) struct Walk<'a> {
    program: &'a Recogniser,
    line: &'a [u8],
    at: usize,
    memory: &'a mut Memory,
    pub(super) held: [Held; SLOTS],
}

/// What the objects on the way down to here are.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    slot: Option<Slot>,
}

impl<'a> Walk<'a> {
    /// Walks the whole of `line`, which is UTF-8.
    pub(super) fn through(program: &'a Recogniser, line: &'a [u8], memory: &'a mut Memory) -> Option<[Held; SLOTS]> {
        let at = scan::skip_space(line, 0);
        let mut walk = Self {
            program,
            line,
            at,
            memory,
            held: Default::default(),
        };
        walk.memory.features.clear();
        walk.value(program.root, Place { depth: 0, slot: None })?;
        (scan::skip_space(line, walk.at) == line.len()).then_some(walk.held)
    }

    fn value(&mut self, id: NodeId, place: Place) -> Option<()> {
        let program = self.program;
        let node = &program.nodes[id.0];
        let start = self.at;
        let byte = *self.line.get(start)?;
        match byte {
            b'"' => drop(self.text(node.string.as_ref()?, place)?),
            b'-' | b'0'..=b'9' => drop(self.number(node.number?)?),
            b'{' => self.object(id, node.object.as_ref()?, place)?,
            b'[' => self.array(node, place)?,
            b't' => self.word(b"true", node.booleans[1])?,
            b'f' => self.word(b"false", node.booleans[0])?,
            b'n' => self.word(b"null", node.null)?,
            _ => return None,
        }
        if let Some(slot) = place.slot {
            self.held[slot as usize] = match byte {
                b'"' => Held::Text(start + 1..self.at - 1),
                b'n' => Held::Null,
                b't' | b'f' => Held::Boolean(byte == b't'),
                _ => Held::Other,
            };
        }
        Some(())
    }

    /// The same where nobody wants to know what stands there.
    #[inline]
    fn plain_value(&mut self, id: NodeId, place: Place) -> Option<()> {
        match self.line.get(self.at)? {
            b'-' | b'0'..=b'9' => self.number(self.program.nodes[id.0].number?).map(|_| ()),
            _ => self.value(id, place),
        }
    }

    fn word(&mut self, word: &[u8], is_allowed: bool) -> Option<()> {
        let end = self.at + word.len();
        let stands = self.line.get(self.at..end) == Some(word);
        self.at = end;
        (is_allowed && stands).then_some(())
    }

    #[inline]
    fn text(&mut self, rule: &StringRule, place: Place) -> Option<Text> {
        let text = scan::text(self.line, self.at + 1)?;
        self.at = text.end + 1;
        let is_wanted = place.slot.is_some();
        if text.is_escaped && (is_wanted || rule.words.is_some() || !rule.checks.is_empty()) {
            return None;
        }
        let inside = &self.line[text.start..text.end];
        if rule
            .words
            .as_ref()
            .is_some_and(|words| !words.iter().any(|word| **word == *inside))
        {
            return None;
        }
        (self.has_length(rule, text) && passes(rule, inside)).then_some(text)
    }

    fn has_length(&self, rule: &StringRule, text: Text) -> bool {
        if rule.shortest == 0 && rule.longest == u64::MAX {
            return true;
        }
        (rule.shortest..=rule.longest).contains(&text.code_points(self.line))
    }

    #[inline]
    fn number(&mut self, rule: NumberRule) -> Option<f64> {
        let (number, end) = scan::number(self.line, self.at)?;
        self.at = end;
        is_allowed(rule, number).then_some(number.value)
    }

    fn array(&mut self, node: &Node, place: Place) -> Option<()> {
        let rule = node.array?;
        let inside = place.deeper()?;
        let mut items = 0;
        self.at = scan::skip_space(self.line, self.at + 1);
        if self.line.get(self.at) != Some(&b']') {
            loop {
                self.value(rule.items, inside)?;
                items += 1;
                if self.ends_or_goes_on(b']')? {
                    break;
                }
            }
        }
        self.at += 1;
        (rule.fewest..=rule.most).contains(&items).then_some(())
    }

    /// After a value: whether the array or object ends here, at `closing`; if it goes on, at what comes after the comma.
    #[inline]
    fn ends_or_goes_on(&mut self, closing: u8) -> Option<bool> {
        if let Some([b',', next]) = self.line.get(self.at..self.at + 2)
            && *next > b' '
        {
            self.at += 1;
            return Some(false);
        }
        self.at = scan::skip_space(self.line, self.at);
        match self.line.get(self.at)? {
            b',' => {
                self.at = scan::skip_space(self.line, self.at + 1);
                Some(false)
            }
            byte if *byte == closing => Some(true),
            _ => None,
        }
    }

    fn object(&mut self, id: NodeId, rule: &ObjectRule, place: Place) -> Option<()> {
        let inside = place.deeper()?;
        let are_features = place.slot == Some(Slot::Features);
        self.memory.keys[place.depth].begin();
        let mut seen = 0;
        // Members that are named have their number in the rule; before the first there is the number after the last.
        let mut previous = rule.properties.len();
        self.at = scan::skip_space(self.line, self.at + 1);
        if self.line.get(self.at) != Some(&b'}') {
            loop {
                let start = (self.line.get(self.at)? == &b'"').then_some(self.at + 1)?;
                let (node, slot) = match self.named(id, rule, previous, start) {
                    Some((number, end)) => {
                        if seen & (1 << number) != 0 {
                            return None;
                        }
                        seen |= 1 << number;
                        previous = number;
                        self.at = end;
                        (rule.properties[number].node, rule.properties[number].slot)
                    }
                    None => {
                        let node = rule.additional?;
                        let (number, end) = self.memory.keys[place.depth].next(self.line, start)?;
                        self.at = end;
                        self.colon()?;
                        if are_features {
                            self.feature(node, number)?;
                        } else {
                            self.plain_value(node, inside)?;
                        }
                        if self.ends_or_goes_on(b'}')? {
                            break;
                        }
                        continue;
                    }
                };
                self.colon()?;
                self.value(node, Place { slot, ..inside })?;
                if self.ends_or_goes_on(b'}')? {
                    break;
                }
            }
        }
        self.at += 1;
        (seen & rule.required == rule.required).then_some(())
    }

    /// After a key, at its closing quote: goes to the value.
    #[inline]
    fn colon(&mut self) -> Option<()> {
        if let Some([b':', next]) = self.line.get(self.at + 1..self.at + 3)
            && *next > b' '
        {
            self.at += 2;
            return Some(());
        }
        let at = scan::skip_space(self.line, self.at + 1);
        if self.line.get(at) != Some(&b':') {
            return None;
        }
        self.at = scan::skip_space(self.line, at + 1);
        Some(())
    }

    /// The member whose key begins at `start`, if the schema names it; and where its closing quote is.
    #[inline]
    fn named(&mut self, id: NodeId, rule: &ObjectRule, previous: usize, start: usize) -> Option<(usize, usize)> {
        if rule.properties.is_empty() {
            return None;
        }
        let expected = usize::from(self.memory.after[id.0][previous]);
        if let Some(property) = rule.properties.get(expected)
            && let Some(end) = property.name.stands(self.line, start)
        {
            return Some((expected, end));
        }
        let (name, end) = unescaped(self.line, start)?;
        let is_it = |property: &Property| property.name.as_str().as_bytes() == name;
        let number = rule.properties.iter().position(is_it)?;
        self.memory.after[id.0][previous] = u8::try_from(number).ok()?;
        Some((number, end))
    }

    /// A member of the features, at its value.
    #[inline]
    fn feature(&mut self, id: NodeId, key: u32) -> Option<()> {
        let program = self.program;
        let node = &program.nodes[id.0];
        let feature = match self.line.get(self.at)? {
            b'-' | b'0'..=b'9' => Feature::Number(self.number(node.number?)?),
            b't' => {
                self.word(b"true", node.booleans[1])?;
                Feature::Number(1.0)
            }
            b'f' => {
                self.word(b"false", node.booleans[0])?;
                Feature::Number(0.0)
            }
            b'n' => {
                self.word(b"null", node.null)?;
                Feature::Null
            }
            b'"' => {
                let text = self.text(node.string.as_ref()?, Place { depth: 0, slot: None })?;
                Feature::Text(TextPlace {
                    start: u32::try_from(text.start).ok()?,
                    end: u32::try_from(text.end).ok()?,
                    is_escaped: text.is_escaped,
                })
            }
            _ => return None,
        };
        self.memory.features.push((key, feature));
        Some(())
    }
}

impl Place {
    fn deeper(self) -> Option<Self> {
        (self.depth + 1 < MAX_DEPTH).then_some(Self {
            depth: self.depth + 1,
            slot: None,
        })
    }
}

/// So many tables of keys are needed.
pub(super) const DEPTHS: usize = MAX_DEPTH;

#[inline]
fn is_allowed(rule: NumberRule, number: Number) -> bool {
    if rule == NumberRule::default() {
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

fn passes(rule: &StringRule, text: &[u8]) -> bool {
    rule.checks.iter().all(|check| {
        if check.shapes.iter().any(|shape| shape.is_of(text)) {
            return true;
        }
        let text = String::from_utf8_lossy(text).into_owned();
        check.validator.is_valid(&serde_json::Value::String(text))
    })
}

impl Shape {
    /// Whether `text` has the shape beyond doubt. (A leap second has not, though it is allowed.)
    fn is_of(self, text: &[u8]) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
        }
    }
}

fn two_digits(text: &[u8], at: usize) -> Option<u8> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    }
}

fn is_date(text: &[u8]) -> bool {
    let read = || {
        Some((
            two_digits(text, 0)?,
            two_digits(text, 2)?,
            two_digits(text, 5)?,
            two_digits(text, 8)?,
        ))
    };
    let Some((century, year, month, day)) = read() else {
        return false;
    };
    let is_leap = if year == 0 { century % 4 == 0 } else { year % 4 == 0 };
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    text.len() == 10 && text[4] == b'-' && text[7] == b'-' && century > 0 && (1..=days).contains(&day)
}

fn is_date_time(text: &[u8]) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else {
        return false;
    };
    let clock = |at| Some((two_digits(time, at)?, two_digits(time, at + 3)?));
    let Some(((hour, minute), (_, second))) = clock(1).zip(clock(4)) else {
        return false;
    };
    let is_time = time[0] == b'T' && time[3] == b':' && time[6] == b':' && hour < 24 && minute < 60 && second < 60;
    let mut zone = &time[9..];
    if let Some(fraction) = zone.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        zone = &fraction[digits..];
    }
    let is_zone = match zone {
        b"Z" => true,
        [b'+' | b'-', rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            matches!((two_digits(rest, 0), two_digits(rest, 3)), (Some(0..24), Some(0..60)))
        }
        _ => false,
    };
    is_date(date) && is_time && is_zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_known_by_their_shape() {
        for (text, date, date_time) in [
            ("2026-01-05", true, false),
            ("2024-02-29", true, false),
            ("2026-02-29", false, false),
            ("1900-02-29", false, false),
            ("2000-02-29", true, false),
            ("2026-13-01", false, false),
            ("2026-00-01", false, false),
            ("2026-01-00", false, false),
            ("2026-01-5", false, false),
            ("2026-01-05T07:12:33Z", false, true),
            ("2026-01-05T07:12:33.125Z", false, true),
            ("2026-01-05T07:12:33+05:30", false, true),
            ("2026-01-05T24:00:00Z", false, false),
            ("2026-01-05T23:59:60Z", false, false),
            ("2026-01-05T07:12:33", false, false),
            ("2026-01-05T07:12:33.Z", false, false),
            ("2026-01-05T07:12Z", false, false),
            ("2026-01-05 07:12:33Z", false, false),
            ("2026-01-05T07:12:33+24:00", false, false),
            ("", false, false),
        ] {
            assert_eq!(Shape::Date.is_of(text.as_bytes()), date, "{text}");
            assert_eq!(Shape::DateTime.is_of(text.as_bytes()), date_time, "{text}");
        }
    }
}
