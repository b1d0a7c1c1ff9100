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

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

/// A line that is longer than this, in bytes, is named but not shown.
const LONGEST_SHOWN_LINE: usize = 2000;
/// Two labels further apart than this many lines are not drawn in one excerpt.
const WIDEST_EXCERPT: usize = 100_000;
/// More messages than this are counted, not drawn.
const MOST_DRAWN: usize = 100;
/// A name of somebody else's choice is cut after this many characters.
const LONGEST_NAME: usize = 80;

/// A range of bytes in a [`Source`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last one.
    pub end: usize,
}

impl Span {
    /// The bytes from `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The place before `start`, with nothing in it.
    #[must_use]
    pub const fn empty(start: usize) -> Self {
        Self { start, end: start }
    }
}

/// A text that messages point into, with its name.
#[derive(Debug)]
pub struct Source {
    name: String,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    /// The text `text`, called `name`: a path relative to the workspace.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        let text = text.into();
        let bytes = text.as_bytes();
        // Line feed, carriage return and line feed, and a lone carriage return each end a line, as in YAML.
        let ends = bytes
            .iter()
            .enumerate()
            .filter(|&(at, byte)| *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')));
        let lines = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Arc::new(Self {
            name: name.into(),
            text,
            lines,
        })
    }

    /// What the text is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Line and column of the byte at `offset`.
    #[must_use]
    pub fn position(&self, offset: usize) -> Position {
        let offset = self.floor(offset);
        let line = self.line_of(offset);
        Position {
            line: line + 1,
            column: self.text[self.lines[line]..offset].chars().count() + 1,
        }
    }

    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    /// The bytes of a line, without what ends it.
    fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.lines[line];
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\r', '\n']).len()
    }

    /// `span` in bounds, on character boundaries, and cut at the end of the line it begins in.
    fn clip(&self, span: Span) -> (usize, Range<usize>) {
        let start = self.floor(span.start);
        let line = self.line_of(start);
        let bounds = self.line_range(line);
        let start = start.min(bounds.end);
        let end = self.floor(span.end).clamp(start, bounds.end);
        let end = start + self.text[start..end].trim_end().len();
        (line, start..end)
    }
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

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
        self.labels.push(Label {
            source: Arc::clone(source),
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

/// Draws messages one after another, with an empty line between them. Styled text has ANSI escape sequences of its own,
/// never any of the text it shows.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], styled: bool) -> String {
    let renderer = match styled {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(MOST_DRAWN) {
        if !text.is_empty() {
            text.push('\n');
        }
        // The renderer pads the line under an excerpt.
        for line in draw(diagnostic, &renderer).lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    if let Some(more) = diagnostics.len().checked_sub(MOST_DRAWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n... and {more} more\n"));
    }
    text
}

/// A name of somebody else's choice, in backticks and cut to a length that a line can hold.
#[must_use]
pub fn quoted(name: &str) -> String {
    match name.char_indices().nth(LONGEST_NAME) {
        Some((end, _)) => format!("`{}…`", &name[..end]),
        None => format!("`{name}`"),
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

fn draw(diagnostic: &Diagnostic, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(clean(&diagnostic.message)));
    let (excerpts, far) = excerpts(&diagnostic.labels);
    for excerpt in &excerpts {
        group = match &excerpt.text {
            None => group.element(
                Origin::path(clean(excerpt.source.name()))
                    .line(excerpt.position.line)
                    .char_column(excerpt.position.column),
            ),
            Some(text) => group.element(
                Snippet::source(text.as_str())
                    .path(clean(excerpt.source.name()))
                    .line_start(excerpt.first_line)
                    .annotations(excerpt.annotations.iter().cloned()),
            ),
        };
    }
    if let (true, Some(file)) = (diagnostic.labels.is_empty(), &diagnostic.file) {
        group = group.element(Origin::path(clean(file)));
    }
    for note in far.iter().chain(&diagnostic.notes) {
        group = group.element(Level::NOTE.message(clean(note)));
    }
    let mut groups = vec![group];
    for help in &diagnostic.helps {
        groups.push(Group::with_title(Level::HELP.secondary_title(clean(help))));
    }
    renderer.render(&groups)
}

/// Lines of one source with what points at them.
struct Excerpt<'a> {
    source: &'a Source,
    position: Position,
    first_line: usize,
    /// `None` if a line is too long to be shown.
    text: Option<String>,
    annotations: Vec<Annotation<'a>>,
}

/// One excerpt for each source, and a note for each label that is too far away.
fn excerpts(labels: &[Label]) -> (Vec<Excerpt<'_>>, Vec<String>) {
    let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
    let mut notes = Vec::new();
    let mut rest: Vec<&Label> = labels.iter().collect();
    while let Some(&first) = rest.first() {
        let (line, _) = first.source.clip(first.span);
        let (here, elsewhere): (Vec<&Label>, Vec<&Label>) = rest
            .into_iter()
            .partition(|label| Arc::ptr_eq(&label.source, &first.source));
        let (near, far): (Vec<&Label>, Vec<&Label>) = here
            .into_iter()
            .partition(|label| label.source.clip(label.span).0.abs_diff(line) <= WIDEST_EXCERPT);
        for label in far {
            let Position { line, column } = label.source.position(label.span.start);
            notes.push(format!("{}:{line}:{column}: {}", label.source.name(), label.text));
        }
        excerpts.push(excerpt(&near, excerpts.is_empty()));
        rest = elsewhere;
    }
    (excerpts, notes)
}

fn excerpt<'a>(labels: &[&'a Label], has_primary: bool) -> Excerpt<'a> {
    let source: &Source = &labels[0].source;
    let spans: Vec<(usize, Range<usize>)> = labels.iter().map(|label| source.clip(label.span)).collect();
    let touched: Vec<usize> = spans.iter().map(|(line, _)| *line).collect();
    let first = *touched.iter().min().expect("there is at least one label");
    let last = *touched.iter().max().expect("there is at least one label");
    let mut text = String::new();
    let mut annotations: Vec<Annotation<'a>> = Vec::new();
    let mut too_long = false;
    for line in first..=last {
        let range = source.line_range(line);
        // The renderer shows one line between two that are pointed at; all others are folded, so they can be empty.
        if touched.iter().any(|touched| touched.abs_diff(line) <= 1) {
            too_long |= range.len() > LONGEST_SHOWN_LINE;
            let begin = text.len();
            let shown = clean_line(&source.text[range.clone()]);
            for (label, (_, span)) in labels.iter().zip(&spans).filter(|(_, (at, _))| *at == line) {
                let place = |offset: usize| begin + clean_line(&source.text[range.start..offset]).len();
                let kind = match has_primary && std::ptr::eq(*label, labels[0]) {
                    true => AnnotationKind::Primary,
                    false => AnnotationKind::Context,
                };
                let annotation = kind.span(place(span.start)..place(span.end));
                annotations.push(match label.text.is_empty() {
                    true => annotation,
                    false => annotation.label(clean(&label.text)),
                });
            }
            text.push_str(&shown);
        }
        text.push('\n');
    }
    Excerpt {
        source,
        position: source.position(spans[0].1.start),
        first_line: first + 1,
        text: (!too_long).then_some(text),
        annotations,
    }
}

/// Characters that could move the cursor, turn the direction of writing or hide something.
fn is_treacherous(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if is_treacherous(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Like [`clean`], but a tab stays: the renderer knows its width.
fn clean_line(text: &str) -> String {
    text.chars()
        .map(|c| if c != '\t' && is_treacherous(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, span: Span) -> String {
        let source = Source::new("p.yaml", text);
        render(
            &[Diagnostic::error("bad").at(&source, span, "here").help("do this")],
            false,
        )
    }

    #[test]
    fn a_message_has_place_line_caret_and_help() {
        assert_eq!(
            drawn("a: 1\nbad: 2\n", Span::new(5, 8)),
            "error: bad\n --> p.yaml:2:1\n  |\n2 | bad: 2\n  | ^^^ here\n  |\nhelp: do this\n"
        );
    }

    #[test]
    fn columns_count_characters() {
        let text = "ä: é bad\r\nx";
        let start = text.find("bad").expect("it is there");
        assert!(drawn(text, Span::new(start, start + 3)).contains("p.yaml:1:6"));
    }

    #[test]
    fn text_cannot_reach_the_terminal_as_commands() {
        for hostile in ["\u{1b}[2J", "\u{9b}2J", "\u{202e}evil", "\u{7}", "\r", "\u{2028}"] {
            let text = format!("a: {hostile} b\n");
            let shown = drawn(&text, Span::new(3, text.len()));
            assert!(!shown.contains(hostile), "{hostile:?}");
            let source = Source::new(hostile, "x");
            let shown = render(
                &[Diagnostic::error(hostile).at(&source, Span::empty(0), hostile)],
                false,
            );
            assert!(!shown.contains(hostile), "{hostile:?} in a message");
        }
    }

    #[test]
    fn spans_out_of_bounds_are_drawn_all_the_same() {
        for text in ["", "\n", "a", "a\n", "é", "\t\tx\r\n\r\n"] {
            for start in 0..text.len() + 3 {
                for end in 0..text.len() + 3 {
                    let shown = drawn(text, Span::new(start, end));
                    assert!(shown.contains(" --> p.yaml:"), "{text:?} {start}..{end}: {shown}");
                }
            }
        }
    }

    #[test]
    fn a_huge_line_is_named_but_not_shown() {
        let text = format!("a: {}\n", "x".repeat(1 << 20));
        let shown = drawn(&text, Span::new(3, 9));
        assert!(shown.contains("p.yaml:1:4"), "{shown}");
        assert!(shown.len() < 200, "{} bytes", shown.len());
    }

    #[test]
    fn the_nearest_name_is_near() {
        let known = ["inputs", "outputs", "params"];
        assert_eq!(nearest("input", known), Some("inputs"));
        assert_eq!(nearest("ouptuts", known), Some("outputs"));
        assert_eq!(nearest("matrix", known), None);
    }
}
