//! What is wrong with a line, and how it is said: line, JSON pointer, rule. Never a value, for values are personal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::lines::Place;
use crate::stages::InputFile;

/// How many faults are listed; the rest is counted.
pub const MAX_LISTED: usize = 1000;

/// How many faults of one line are listed, so that one line cannot hide the others.
pub const MAX_LISTED_OF_LINE: usize = 20;

/// The longest name of a field or pointer that a message repeats, in characters.
const MAX_NAME: usize = 120;

/// One thing that is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the event: a JSON pointer (RFC 6901), printable; empty for the whole line.
    pub pointer: String,
    /// What is wrong, without any value of the event.
    pub message: String,
    /// Which rule says so: a keyword of the schema, or `json`, `line`, `event_id`, `consent`, `subject`, `duplicate`.
    pub rule: String,
    /// Another line that the message is about.
    pub other: Option<Place>,
}

impl Fault {
    /// A fault of the rule `rule` at `pointer`, which may hold anything.
    #[must_use]
    pub fn new(pointer: &str, message: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            pointer: printable(pointer),
            message: message.into(),
            rule: rule.into(),
            other: None,
        }
    }
}

/// A fault and the line it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which of the lines that are not blank, from 0.
    pub index: u64,
    /// Where that line is.
    pub place: Place,
    /// What is wrong.
    pub fault: Fault,
}

impl Listed {
    /// `data/raw/x.ndjson:5000: /payload/label: is not of type "string" or "null" [type]`.
    #[must_use]
    pub fn render(&self, files: &[InputFile]) -> String {
        let mut text = at(files, self.place);
        if !self.fault.pointer.is_empty() {
            let _ = write!(text, ": {}", self.fault.pointer);
        }
        let _ = write!(text, ": {}", self.fault.message);
        if let Some(other) = self.fault.other {
            let _ = write!(text, " ({})", at(files, other));
        }
        let _ = write!(text, " [{}]", self.fault.rule);
        text
    }
}

/// `data/raw/x.ndjson:5000`.
#[must_use]
pub fn at(files: &[InputFile], place: Place) -> String {
    let name = files.get(place.file as usize).map_or("?", |file| file.name.as_str());
    format!("{}:{}", printable(name), place.line)
}

/// Faults, counted by rule. Of each line the first [`MAX_LISTED_OF_LINE`] are kept, and of these the first
/// [`MAX_LISTED`] in the order of lines, whatever the order they come in.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    listed: BTreeMap<(u64, usize), Listed>,
    by_rule: BTreeMap<String, u64>,
    lines: u64,
}

/// What is wrong with one line: the first [`MAX_LISTED_OF_LINE`] faults, and how many there are of each rule.
#[derive(Clone, Debug, Default)]
pub struct LineFaults {
    first: Vec<Fault>,
    by_rule: BTreeMap<String, u64>,
}

impl LineFaults {
    /// Keeps how many there are, and not what they say.
    pub fn forget_words(&mut self) {
        self.first = Vec::new();
    }
}

impl FromIterator<Fault> for LineFaults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        let mut of_line = Self::default();
        for fault in faults {
            match of_line.by_rule.get_mut(&fault.rule) {
                Some(count) => *count += 1,
                None => {
                    of_line.by_rule.insert(fault.rule.clone(), 1);
                }
            }
            if of_line.first.len() < MAX_LISTED_OF_LINE {
                of_line.first.push(fault);
            }
        }
        of_line
    }
}

impl Faults {
    /// Adds what is wrong with one line.
    pub fn add(&mut self, index: u64, place: Place, faults: impl IntoIterator<Item = Fault>) {
        self.add_line(index, place, faults.into_iter().collect());
    }

    /// Adds what is wrong with one line.
    pub fn add_line(&mut self, index: u64, place: Place, faults: LineFaults) {
        self.lines += 1;
        for (rule, count) in faults.by_rule {
            *self.by_rule.entry(rule).or_default() += count;
        }
        for (nth, fault) in faults.first.into_iter().enumerate() {
            self.listed.insert((index, nth), Listed { index, place, fault });
            if self.listed.len() > MAX_LISTED {
                self.listed.pop_last();
            }
        }
    }

    /// The first of them, in the order of lines.
    pub fn listed(&self) -> impl Iterator<Item = &Listed> {
        self.listed.values()
    }

    /// How many times faults of a line were added.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// How many there are of each rule.
    #[must_use]
    pub fn by_rule(&self) -> &BTreeMap<String, u64> {
        &self.by_rule
    }

    /// How many there are that are not listed.
    #[must_use]
    pub fn unlisted(&self) -> u64 {
        self.by_rule.values().sum::<u64>() - self.listed.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// A line for each, then how many are not listed.
    #[must_use]
    pub fn render(&self, files: &[InputFile]) -> Vec<String> {
        let mut lines: Vec<String> = self.listed().map(|listed| listed.render(files)).collect();
        if self.unlisted() > 0 {
            lines.push(format!("and {} more", grouped(self.unlisted())));
        }
        lines
    }
}

/// `text` as a terminal can show it: what does not print is escaped, what is long is cut.
#[must_use]
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for (nth, char) in text.chars().enumerate() {
        if nth == MAX_NAME {
            shown.push('…');
            break;
        }
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            _ => shown.extend(char.escape_debug()),
        }
    }
    shown
}

/// `9172` as `9,172`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u64) -> Place {
        Place { file: 0, line }
    }

    #[test]
    fn the_first_lines_are_listed_whatever_the_order_they_come_in() {
        let mut faults = Faults::default();
        for line in (1..=1500).rev() {
            faults.add(line - 1, place(line), [Fault::new("", "is wrong", "json")]);
        }
        let lines: Vec<u64> = faults.listed().map(|listed| listed.place.line).collect();
        assert_eq!(lines, (1..=1000).collect::<Vec<_>>());
        assert_eq!(faults.by_rule()["json"], 1500);
        assert_eq!(faults.render(&[]).last().map(String::as_str), Some("and 500 more"));
    }

    #[test]
    fn a_line_with_many_faults_does_not_hide_the_next() {
        let mut faults = Faults::default();
        faults.add(0, place(1), (0..5000).map(|_| Fault::new("", "is wrong", "type")));
        faults.add(1, place(2), [Fault::new("", "is wrong", "type")]);
        let lines: Vec<u64> = faults.listed().map(|listed| listed.place.line).collect();
        assert_eq!(lines, [[1; 20].as_slice(), &[2]].concat());
        assert_eq!(faults.unlisted(), 4980);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(printable("/a\u{1b}[2J\u{202e}b"), "/a\\u{1b}[2J\\u{202e}b");
        assert_eq!(printable("/größe \"x\""), "/größe \"x\"");
        assert_eq!(printable(&"x".repeat(5000)).chars().count(), MAX_NAME + 1);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (9172, "9,172"),
            (1234567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
