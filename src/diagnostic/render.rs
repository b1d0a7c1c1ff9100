//! How messages are drawn.

use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::{Diagnostic, Label, Position, Severity, Source};

/// A line that is longer than this, in bytes, is named but not shown.
const LONGEST_SHOWN_LINE: usize = 2000;
/// Two labels further apart than this many lines are not drawn in one excerpt.
const WIDEST_EXCERPT: usize = 100_000;
/// More messages than this are counted, not drawn.
const MOST_DRAWN: usize = 100;

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
        for line in draw(diagnostic, &renderer).lines() {
            // Without an excerpt the renderer draws the bar that would stand beside it all the same.
            if diagnostic.labels.is_empty() && anstream::adapter::strip_str(line).to_string().trim() == "|" {
                continue;
            }
            // The renderer pads the line under an excerpt.
            text.push_str(line.trim_end());
            text.push('\n');
        }
    }
    if let Some(more) = diagnostics.len().checked_sub(MOST_DRAWN).filter(|more| *more > 0) {
        text.push_str(&format!("\n... and {more} more\n"));
    }
    text
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
    if let (true, Some(file)) = (diagnostic.labels.is_empty(), &diagnostic.file)
        // A message that names the file need not be followed by its name.
        && !diagnostic.message.contains(&format!("`{file}`"))
    {
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
            let shown = clean_line(&source.text()[range.clone()]);
            for (label, (_, span)) in labels.iter().zip(&spans).filter(|(_, (at, _))| *at == line) {
                let place = |offset: usize| begin + clean_line(&source.text()[range.start..offset]).len();
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

pub(super) fn clean(text: &str) -> String {
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
    use crate::diagnostic::Span;

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
}
