//! Messages about a file that somebody wrote: what is wrong, where, and what to do.
//!
//! ```text
//! error: no stage produces `data/cleen.csv`, and no such file exists
//!   --> pipelines/train.yaml:14:9
//!    |
//! 14 |       - data/cleen.csv
//!    |         ^^^^^^^^^^^^^^ read by stage `train`
//!    |
//! help: stage `clean` produces `data/clean.csv`
//! ```
//!
//! The text that is excerpted may be hostile: control characters and those that turn the direction of writing are
//! replaced, long lines are not shown, and no span can be out of bounds.

mod render;
mod source;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use self::render::clean;
pub use self::render::render;
pub use self::source::{Position, Source, Span};

/// An error and what caused it, in one line.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A text that somebody else may have written, as it can be shown on a terminal: control characters are spelled out, and so are those that
/// change the direction of what is read, which could make a line read as another. Lines stay lines.
#[must_use]
pub fn tame(text: &str) -> String {
    let mut tamed = String::with_capacity(text.len());
    for c in text.chars() {
        let is_bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\t' => tamed.push_str("    "),
            '\n' => tamed.push('\n'),
            c if c.is_control() || is_bidi => tamed.extend(c.escape_default()),
            c => tamed.push(c),
        }
    }
    tamed
}

/// A name of somebody else's choice is cut after this many characters.
const LONGEST_NAME: usize = 80;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing runs.
    Error,
    /// Worth a look.
    Warning,
}

/// A place that a message is about, and what is to be said there.
#[derive(Clone, Debug)]
pub struct Label {
    /// The text it lies in.
    pub source: Arc<Source>,
    /// Where in it.
    pub span: Span,
    /// What to write under it; may be empty.
    pub text: String,
}

/// One message: what is wrong, where, and what to do.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: String,
    /// Where: the first one is the place, the others explain it.
    pub labels: Vec<Label>,
    /// What else is good to know.
    pub notes: Vec<String>,
    /// What to do about it.
    pub helps: Vec<String>,
    /// A file that the message is about, if it points into none.
    pub file: Option<String>,
}

impl Diagnostic {
    /// An error that says `message`.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            file: None,
        }
    }

    /// A warning that says `message`.
    #[must_use]
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(message)
        }
    }

    /// Adds a place; the first one added is where the message points.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Span, text: impl Into<String>) -> Self {
        let (source, span) = source.locate(span);
        self.labels.push(Label {
            source,
            span,
            text: text.into(),
        });
        self
    }

    /// Names the file that the message is about as a whole.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    /// Adds what to do, if there is something.
    #[must_use]
    pub fn help_if(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }

    /// Adds what else is good to know.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// The file and, if it points into one, the place in it.
    #[must_use]
    pub fn place(&self) -> Option<(&str, Option<Position>)> {
        match self.labels.first() {
            Some(label) => {
                let (_, range) = label.source.clip(label.span);
                Some((label.source.name(), Some(label.source.position(range.start))))
            }
            None => self.file.as_deref().map(|file| (file, None)),
        }
    }

    /// The form for `--json`.
    #[must_use]
    pub fn report(&self) -> DiagnosticReport<'_> {
        let place = self.place();
        let position = place.and_then(|(_, position)| position);
        DiagnosticReport {
            severity: self.severity,
            message: &self.message,
            file: place.map(|(file, _)| file),
            line: position.map(|position| position.line),
            column: position.map(|position| position.column),
            notes: &self.notes,
            help: &self.helps,
        }
    }
}

/// A [`Diagnostic`] as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct DiagnosticReport<'a> {
    /// `error` or `warning`.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub message: &'a str,
    /// Relative to the workspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<&'a str>,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What else is good to know.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub notes: &'a [String],
    /// What to do.
    pub help: &'a [String],
}

/// All that is wrong with a pipeline, ready to be drawn; warnings may be among it.
#[derive(Debug)]
pub struct Faults(pub Vec<Diagnostic>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = self.0.iter().filter(|fault| fault.severity == Severity::Error).count();
        match self.0.first() {
            Some(first) if errors == 1 => f.write_str(&clean(&first.message)),
            Some(first) => write!(f, "{} (the first of {errors} faults)", clean(&first.message)),
            None => f.write_str("refused"),
        }
    }
}

impl std::error::Error for Faults {}

/// A name of somebody else's choice, in backticks and cut to a length that a line can hold.
#[must_use]
pub fn quoted(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("`{}…`", &name[..end]),
        None => format!("`{name}`"),
    }
}

/// A path as one word of a command for a shell, as advice shows it.
#[must_use]
pub fn shell_word(path: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    match path.chars().all(is_plain) && !path.is_empty() {
        true => path.to_owned(),
        false => format!("'{}'", path.replace('\'', r"'\''")),
    }
}

/// The known name that `name` was probably meant to be.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = name.chars().count();
    if length > LONGEST_NAME {
        return None;
    }
    let farthest = (length / 3).max(1);
    known
        .into_iter()
        .filter(|known| known.len().abs_diff(name.len()) <= 4 * farthest)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, _)| (1..=farthest).contains(distance))
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["inputs", "outputs", "params"];
        assert_eq!(nearest("input", known), Some("inputs"));
        assert_eq!(nearest("ouptuts", known), Some("outputs"));
        assert_eq!(nearest("matrix", known), None);
    }
}
