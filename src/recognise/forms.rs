//! Lines that are made like one before them.
//!
//! Events come from few programs, each of which writes the same keys in the same order. What stands between two values of a line that
//! was taken (braces, keys, white space) is remembered as it is. Where a line has the very same bytes there, it has the same members, so
//! that nothing is left to ask but whether each value is allowed.
//!
//! What is remembered is a trie: a step is what stands before a value, and the rule for that value. No two lines differ in what a path
//! through it says but in their values, and for each path there was a line that was taken.

use super::found::{Found, Goal};
use super::literal::Literal;
use super::program::{Node, NodeId, Slot};
use super::values::scalar;

/// How long the lines are together, at most, that are remembered.
const MAX_BYTES: usize = 1 << 16;

/// The most steps that may stand in each other's place.
const MAX_CHOICES: usize = 8;

/// How many lines in a row may be like none before them, until none are tried any more; each that is like one before gives one back.
const PATIENCE: u32 = 64;

#[derive(Debug)]
pub(super) struct Forms {
    /// The first is where lines begin.
    steps: Vec<Step>,
    /// How long the lines are together that are remembered.
    bytes: usize,
    patience: u32,
}

#[derive(Debug)]
struct Step {
    /// What stands before the value, from the value before it; or up to the end of the line.
    before: Literal,
    then: Then,
    /// What may stand here in its place: always a later one.
    other: Option<usize>,
}

#[derive(Debug)]
enum Then {
    Value {
        node: NodeId,
        goal: Goal,
        /// Always a later one.
        next: usize,
    },
    /// The line ends here. Objects and arrays stand where the reader wanted to know what does.
    End(Box<[Slot]>),
}

/// A line as it was walked through.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// Whether there is room for the line: of one that is too long nothing is noted.
    is_kept: bool,
    values: Vec<Value>,
    nested: Vec<Slot>,
}

#[derive(Debug)]
struct Value {
    start: usize,
    end: usize,
    node: NodeId,
    goal: Goal,
}

impl Default for Forms {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            bytes: 0,
            patience: PATIENCE,
        }
    }
}

impl Trace {
    /// Another line begins.
    pub(super) fn begin(&mut self, is_kept: bool) {
        self.is_kept = is_kept;
        self.values.clear();
        self.nested.clear();
    }

    pub(super) fn value(&mut self, (start, end): (usize, usize), node: NodeId, goal: Goal) {
        if self.is_kept {
            self.values.push(Value { start, end, node, goal });
        }
    }

    pub(super) fn nested(&mut self, slot: Slot) {
        if self.is_kept {
            self.nested.push(slot);
        }
    }
}

impl Forms {
    /// Reads `line`, which is UTF-8, if it is like one before it.
    #[inline]
    pub(super) fn read(&mut self, nodes: &[Node], line: &[u8], found: &mut Found) -> Option<()> {
        if self.patience == 0 {
            return None;
        }
        self.patience -= 1;
        found.clear();
        self.follow(nodes, line, found)?;
        self.patience = (self.patience + 2).min(PATIENCE);
        Some(())
    }

    fn follow(&self, nodes: &[Node], line: &[u8], found: &mut Found) -> Option<()> {
        let mut at: u32 = 0;
        let mut step = self.steps.first()?;
        loop {
            if let Some(start) = step.before.stands(line, at as usize) {
                match &step.then {
                    Then::Value { node, goal, next } => {
                        if let Some(end) = scalar(nodes.get(node.0)?, line, start, found.at(*goal)) {
                            at = u32::try_from(end).ok()?;
                            step = self.steps.get(*next)?;
                            continue;
                        }
                    }
                    Then::End(nested) if start == line.len() => {
                        nested.iter().for_each(|slot| found.note_nested(*slot));
                        return Some(());
                    }
                    Then::End(_) => {}
                }
            }
            step = self.steps.get(step.other?)?;
        }
    }

    /// Whether `line` could be remembered.
    pub(super) fn has_room(&self, line: &[u8]) -> bool {
        self.patience > 0 && self.bytes + line.len() <= MAX_BYTES
    }

    /// Remembers `line`, which was taken and walked through as `trace` tells.
    pub(super) fn learn(&mut self, line: &[u8], trace: &Trace) {
        if !trace.is_kept {
            return;
        }
        self.bytes += line.len();
        let mut at = 0;
        let mut here = 0;
        for value in &trace.values {
            let before = &line[at..value.start];
            let is_same = |then: &Then| matches!(then, Then::Value { node, goal, .. } if (*node, *goal) == (value.node, value.goal));
            let make = |next| Then::Value {
                node: value.node,
                goal: value.goal,
                next,
            };
            let Some(next) = self.step(here, before, is_same, make) else {
                return;
            };
            (at, here) = (value.end, next);
        }
        let nested = &trace.nested;
        let is_same = |then: &Then| matches!(then, Then::End(known) if **known == **nested);
        self.step(here, &line[at..], is_same, |_| Then::End(nested.as_slice().into()));
    }

    /// Finds the step at `here`, or what may stand in its place, or makes it; gives where the next one is, or is to be.
    fn step(
        &mut self,
        here: usize,
        before: &[u8],
        is_same: impl Fn(&Then) -> bool,
        make: impl FnOnce(usize) -> Then,
    ) -> Option<usize> {
        let end = self.steps.len();
        let mut last = None;
        let mut choice = Some(here).filter(|here| *here < end);
        let mut choices = 0;
        while let Some(index) = choice {
            let step = &self.steps[index];
            if step.before.bytes() == before && is_same(&step.then) {
                return match step.then {
                    Then::Value { next, .. } => Some(next),
                    Then::End(_) => None,
                };
            }
            (last, choice, choices) = (Some(index), step.other, choices + 1);
        }
        if choices == MAX_CHOICES {
            return None;
        }
        if let Some(last) = last {
            self.steps[last].other = Some(end);
        }
        self.steps.push(Step {
            before: Literal::new(before),
            then: make(end + 1),
            other: None,
        });
        Some(end + 1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::walk::Walk;
    use super::super::{Feature, Member, Memory, Recogniser};
    use super::*;

    fn recogniser() -> Recogniser {
        Recogniser::of_features()
    }

    /// Whether `line` is read without being walked through.
    fn is_like_one_before(recogniser: &Recogniser, memory: &mut Memory, line: &str) -> bool {
        let Memory { forms, found, .. } = memory;
        forms.read(&recogniser.nodes, line.as_bytes(), found).is_some()
    }

    const LINE: &str =
        r#"{"event_id": "e1", "source": {"kind": "self"}, "payload": {"label": "a", "features": {"x": 1, "y": "z"}}}"#;

    #[test]
    fn a_line_with_other_values_is_like_one_before_and_one_with_other_bytes_around_them_is_not() {
        let recogniser = recogniser();
        let mut memory = recogniser.memory();
        assert!(!is_like_one_before(&recogniser, &mut memory, LINE));
        assert!(recogniser.recognise(LINE.as_bytes(), &mut memory).is_some());
        for (from, to, is_like) in [
            ("", "", true),
            ("e1", "another", true),
            ("1,", "-12.5e3,", true),
            ("1,", "null,", true),
            ("1,", "\"t\",", true),
            (r#""z""#, "false", true),
            (r#""z""#, r#""\u00e4""#, true),
            (r#""self""#, "null", true),
            // What is not allowed, though the form is known.
            (r#""self""#, "1", false),
            ("1,", "{},", false),
            ("1,", "01,", false),
            ("1,", "1e400,", false),
            ("e1", r"\u0065", false),
            (r#""e1""#, "null", false),
            // Other forms.
            ("1,", "1 ,", false),
            (r#""x""#, r#""w""#, false),
            (r#""x": 1, "#, "", false),
            ("}}}", "}}} ", false),
            ("}}}", "}}", false),
        ] {
            let line = LINE.replacen(from, to, 1);
            assert_eq!(is_like_one_before(&recogniser, &mut memory, &line), is_like, "{line}");
        }
    }

    #[test]
    fn what_is_told_of_a_line_is_the_same_whether_it_is_like_one_before() {
        let recogniser = recogniser();
        let (mut fresh, mut memory) = (recogniser.memory(), recogniser.memory());
        let line = LINE
            .replace("self", "event")
            .replace(r#""a""#, "null")
            .replace('1', "7.25");
        assert!(recogniser.recognise(LINE.as_bytes(), &mut memory).is_some());
        assert!(is_like_one_before(&recogniser, &mut memory, &line));
        let again = recogniser.recognise(line.as_bytes(), &mut memory);
        let walked = recogniser.recognise(line.as_bytes(), &mut fresh);
        assert_eq!(again, walked);
        let told = again.expect("it is valid");
        assert_eq!((told.source, told.source_kind), (Member::Other, Member::Text("event")));
        assert_eq!(
            (told.label, told.features[0]),
            (Member::Null, (0, Feature::Number(7.25)))
        );
    }

    #[test]
    fn lines_of_several_forms_are_read_in_any_order() {
        let recogniser = recogniser();
        let mut memory = recogniser.memory();
        let line = |features: &str| format!(r#"{{"event_id":"e","payload":{{"features":{{{features}}}}}}}"#);
        let forms = [
            r#""x":1,"y":2"#,
            r#""y":1"#,
            r#""x":1"#,
            "",
            r#""y":1,"x":2"#,
            r#""x":1,"z":3"#,
        ]
        .map(line);
        for line in &forms {
            assert!(!is_like_one_before(&recogniser, &mut memory, line), "{line}");
            assert!(recogniser.recognise(line.as_bytes(), &mut memory).is_some());
        }
        let steps = memory.forms.steps.len();
        for line in forms.iter().rev() {
            assert!(is_like_one_before(&recogniser, &mut memory, line), "{line}");
            Walk::through(&recogniser, line.as_bytes(), &mut memory).expect("it is valid");
            memory.forms.learn(line.as_bytes(), &memory.trace);
        }
        assert_eq!(memory.forms.steps.len(), steps, "nothing is learnt twice");
    }

    #[test]
    fn where_no_line_is_like_another_none_are_remembered_any_more() {
        let recogniser = recogniser();
        let mut memory = recogniser.memory();
        for number in 0..2 * u64::from(PATIENCE) {
            let line = json!({"event_id": "e", "payload": {"features": {format!("key {number}"): 1}}}).to_string();
            assert!(recogniser.recognise(line.as_bytes(), &mut memory).is_some());
        }
        // One of those that differ in one place only may stand there for each choice.
        assert!(
            memory.forms.steps.len() <= 2 * MAX_CHOICES + 1,
            "{}",
            memory.forms.steps.len()
        );
        assert_eq!(memory.forms.patience, 0);
        assert!(recogniser.recognise(LINE.as_bytes(), &mut memory).is_some());
        assert!(!is_like_one_before(&recogniser, &mut memory, LINE));
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let recogniser = recogniser();
        let mut memory = recogniser.memory();
        let line = |length: usize| format!(r#"{{"event_id":"e","payload":{{}}{}}}"#, " ".repeat(length));
        // There is room for one of them.
        let lines = [line(MAX_BYTES / 2), line(MAX_BYTES / 2 - 1)];
        for line in &lines {
            assert!(recogniser.recognise(line.as_bytes(), &mut memory).is_some());
        }
        assert!(is_like_one_before(&recogniser, &mut memory, &lines[0]));
        assert!(!is_like_one_before(&recogniser, &mut memory, &lines[1]));
        // Of one for which there is no room it is not even noted where its values are.
        assert!(memory.trace.values.is_empty());
    }
}
