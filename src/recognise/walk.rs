//! One line held against a program.

use std::ops::Range;

use super::keys::unescaped_key;
use super::program::{Bound, Node, NodeId, NumberRule, ObjectRule, Property, SLOTS, Slot, StringRule};
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
        self.memory.keys[place.depth].begin(id.0);
        self.at = scan::skip_space(self.line, self.at + 1);
        let mut seen = 0;
        if self.line.get(self.at) != Some(&b'}') {
            match rule.additional {
                Some(node) if rule.properties.is_empty() => self.others(node, (place, inside))?,
                _ => seen = self.members(id, rule, (place, inside))?,
            }
        }
        self.at += 1;
        (seen & rule.required == rule.required).then_some(())
    }

    /// The members of an object, from the first key's quote up to the closing brace. Gives which of those that are named stand there.
    fn members(&mut self, id: NodeId, rule: &ObjectRule, (place, inside): (Place, Place)) -> Option<u64> {
        let mut seen = 0;
        // Members that are named have their number in the rule; before the first there is the number after the last.
        let mut previous = rule.properties.len();
        loop {
            let start = (self.line.get(self.at)? == &b'"').then_some(self.at + 1)?;
            let (node, slot, after) = match self.named(id, rule, (previous, place.depth), start) {
                Some((number, after)) => {
                    if seen & (1 << number) != 0 {
                        return None;
                    }
                    seen |= 1 << number;
                    previous = number;
                    (rule.properties[number].node, rule.properties[number].slot, after)
                }
                None => {
                    let (_, after) = self.memory.keys[place.depth].next(self.line, start)?;
                    (rule.additional?, None, after)
                }
            };
            self.at = scan::skip_space(self.line, after);
            self.value(node, Place { slot, ..inside })?;
            if self.ends_or_goes_on(b'}')? {
                return Some(seen);
            }
        }
    }

    /// The same where the schema names none: most of what stands in a line, and most of that is numbers.
    fn others(&mut self, id: NodeId, (place, inside): (Place, Place)) -> Option<()> {
        let are_features = place.slot == Some(Slot::Features);
        let line = self.line;
        let number_rule = self.program.nodes[id.0].number;
        let mut at = self.at;
        loop {
            let start = (line.get(at)? == &b'"').then_some(at + 1)?;
            let (key, after) = self.memory.keys[place.depth].next(line, start)?;
            at = scan::skip_space(line, after);
            if let b'-' | b'0'..=b'9' = line.get(at)? {
                let (number, end) = scan::number(line, at)?;
                if !is_allowed(number_rule?, number) {
                    return None;
                }
                if are_features {
                    self.memory.features.push((key, Feature::Number(number.value)));
                }
                at = end;
            } else {
                self.at = at;
                match are_features {
                    true => self.feature(id, key)?,
                    false => self.value(id, inside)?,
                }
                at = self.at;
            }
            if let Some(b",\"") = line.get(at..at + 2) {
                at += 1;
                continue;
            }
            self.at = at;
            if self.ends_or_goes_on(b'}')? {
                return Some(());
            }
            at = self.at;
        }
    }

    /// The member whose key begins at `start`, if the schema names it; and where the colon after it ends.
    #[inline]
    fn named(
        &mut self,
        id: NodeId,
        rule: &ObjectRule,
        (previous, depth): (usize, usize),
        start: usize,
    ) -> Option<(usize, usize)> {
        let expected = usize::from(self.memory.after[id.0][previous]);
        let stands = |number: usize| Some((number, rule.properties.get(number)?.name.stands(self.line, start)?));
        // Perhaps the one that was expected is not there, and the one that follows it is.
        let next = || stands(usize::from(*self.memory.after[id.0].get(expected)?));
        stands(expected)
            .or_else(next)
            .or_else(|| self.found(id, rule, (previous, depth), start))
    }

    /// The same where another is expected.
    #[inline(never)]
    fn found(
        &mut self,
        id: NodeId,
        rule: &ObjectRule,
        (previous, depth): (usize, usize),
        start: usize,
    ) -> Option<(usize, usize)> {
        let stands = |property: &Property| property.name.stands(self.line, start).is_some();
        let found = rule.properties.iter().position(stands);
        // What is spelled like none of them, and like one that they do not name, is that one.
        if found.is_none() && self.memory.keys[depth].expected(self.line, start).is_some() {
            return None;
        }
        let (name, after) = unescaped_key(self.line, start)?;
        let is_it = |property: &Property| property.name.as_str().as_bytes() == name;
        let number = found.or_else(|| rule.properties.iter().position(is_it))?;
        self.memory.after[id.0][previous] = u8::try_from(number).ok()?;
        Some((number, after))
    }

    /// A member of the features that is no number, at its value.
    #[inline]
    fn feature(&mut self, id: NodeId, key: u32) -> Option<()> {
        let program = self.program;
        let node = &program.nodes[id.0];
        let feature = match self.line.get(self.at)? {
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
