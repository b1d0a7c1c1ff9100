//! One line held against a program.

use super::Recogniser;
use super::found::Goal;
use super::keys::unescaped_key;
use super::memory::Memory;
use super::program::{ArrayRule, Node, NodeId, ObjectRule, Property, Slot};
use super::scan;
use super::values::scalar;

/// How deep arrays and objects may be nested; what is deeper is left to the complete reader, which has a bound of its own.
pub(super) const MAX_DEPTH: usize = 32;

/// Walks through a line. What the reader wants of it is noted in the memory, and where its values are.
pub(super) struct Walk<'a> {
    program: &'a Recogniser,
    line: &'a [u8],
    at: usize,
    memory: &'a mut Memory,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct Place {
    depth: usize,
    goal: Goal,
}

/// The members of an object.
#[derive(Clone, Copy)]
struct Members<'a> {
    id: NodeId,
    rule: &'a ObjectRule,
    depth: usize,
    are_features: bool,
}

impl<'a> Walk<'a> {
    /// Walks the whole of `line`, which is UTF-8.
    pub(super) fn through(program: &'a Recogniser, line: &'a [u8], memory: &'a mut Memory) -> Option<()> {
        memory.found.clear();
        memory.trace.begin(memory.forms.has_room(line));
        let at = scan::skip_space(line, 0);
        let mut walk = Self {
            program,
            line,
            at,
            memory,
        };
        let top = Place {
            depth: 0,
            goal: Goal::Nowhere,
        };
        walk.value(program.root, top)?;
        (scan::skip_space(line, walk.at) == line.len()).then_some(())
    }

    fn value(&mut self, id: NodeId, place: Place) -> Option<()> {
        let program = self.program;
        let node = &program.nodes[id.0];
        match *self.line.get(self.at)? {
            b'{' => self.object(id, node.object.as_ref()?, place),
            b'[' => self.array(node.array?, place),
            _ => self.scalar(id, node, place.goal),
        }
    }

    fn scalar(&mut self, id: NodeId, node: &Node, goal: Goal) -> Option<()> {
        let end = scalar(node, self.line, self.at, self.memory.found.at(goal))?;
        self.memory.trace.value((self.at, end), id, goal);
        self.at = end;
        Some(())
    }

    /// An object or an array begins. Gives how deep what is in it stands.
    fn nested(&mut self, place: Place) -> Option<usize> {
        match place.goal {
            Goal::Nowhere => {}
            Goal::Slot(slot) => {
                self.memory.found.note_nested(slot);
                self.memory.trace.nested(slot);
            }
            Goal::Feature(_) => return None,
        }
        self.at = scan::skip_space(self.line, self.at + 1);
        (place.depth + 1 < MAX_DEPTH).then_some(place.depth + 1)
    }

    fn array(&mut self, rule: ArrayRule, place: Place) -> Option<()> {
        let inside = Place {
            depth: self.nested(place)?,
            goal: Goal::Nowhere,
        };
        let mut items = 0;
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
    fn ends_or_goes_on(&mut self, closing: u8) -> Option<bool> {
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
        let inside = self.nested(place)?;
        self.memory.keys[place.depth].begin(id.0);
        let members = Members {
            id,
            rule,
            depth: inside,
            are_features: place.goal == Goal::Slot(Slot::Features),
        };
        let mut seen = 0;
        if self.line.get(self.at) != Some(&b'}') {
            seen = self.members(members)?;
        }
        self.at += 1;
        (seen & rule.required == rule.required).then_some(())
    }

    /// The members of an object, from the first key's quote up to the closing brace. Gives which of those that are named stand there.
    fn members(&mut self, members: Members<'_>) -> Option<u64> {
        let Members {
            rule,
            depth,
            are_features,
            ..
        } = members;
        let mut seen = 0;
        // Members that are named have their number in the rule; before the first there is the number after the last.
        let mut previous = rule.properties.len();
        loop {
            let (node, goal) = match self.named(members, previous)? {
                Some(number) => {
                    if seen & (1 << number) != 0 {
                        return None;
                    }
                    seen |= 1 << number;
                    previous = number;
                    let Property { node, slot, .. } = rule.properties[number];
                    (node, slot.map_or(Goal::Nowhere, Goal::Slot))
                }
                None => {
                    let (key, end) = self.memory.keys[depth - 1].next(self.line, self.at)?;
                    self.at = end;
                    let goal = if are_features {
                        Goal::Feature(key)
                    } else {
                        Goal::Nowhere
                    };
                    (rule.additional?, goal)
                }
            };
            self.at = scan::skip_space(self.line, self.at);
            self.value(node, Place { depth, goal })?;
            if self.ends_or_goes_on(b'}')? {
                return Some(seen);
            }
        }
    }

    /// Which member stands here, if the schema names it: then its value is next.
    fn named(&mut self, members: Members<'_>, previous: usize) -> Option<Option<usize>> {
        let Members { id, rule, depth, .. } = members;
        if rule.properties.is_empty() {
            return Some(None);
        }
        let (line, at) = (self.line, self.at);
        let after = &mut self.memory.after[id.0];
        let stands = |number: usize| Some((number, rule.properties.get(number)?.name.stands(line, at)?));
        let expected = usize::from(after[previous]);
        // Perhaps the one that was expected is not there, and the one that follows it is.
        let next = || stands(usize::from(*after.get(expected)?));
        if let Some((number, end)) = stands(expected).or_else(next) {
            self.at = end;
            return Some(Some(number));
        }
        let found = (0..rule.properties.len()).find(|number| stands(*number).is_some());
        // What is spelled like none of them, and like one that they do not name, is that one.
        if found.is_none() && self.memory.keys[depth - 1].expected(line, at).is_some() {
            return Some(None);
        }
        let (name, end) = unescaped_key(line, at)?;
        let is_it = |property: &Property| property.is_called(name);
        let Some(number) = found.or_else(|| rule.properties.iter().position(is_it)) else {
            return Some(None);
        };
        after[previous] = u8::try_from(number).ok()?;
        self.at = end;
        Some(Some(number))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_feature_that_is_nested_is_not_taken_whatever_the_schema_allows() {
        let schema = json!({"properties": {"payload": {"properties": {"features": {"type": "object"}}}}});
        let recogniser = Recogniser::compile_with_features(&schema, &|_| None, None).expect("it is in the subset");
        let mut memory = recogniser.memory();
        for (value, is_taken) in [
            ("1", true),
            ("[]", false),
            ("{}", false),
            ("null", true),
            ("[1]", false),
        ] {
            let line = format!(r#"{{"event_id":"e","payload":{{"features":{{"x":{value}}}}}}}"#);
            let taken = recogniser.recognise(line.as_bytes(), &mut memory);
            assert_eq!(taken.is_some(), is_taken, "{line}");
        }
    }
}
