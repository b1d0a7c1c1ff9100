//! Texts that messages point into, and places in them.

use std::ops::Range;
use std::sync::Arc;

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
    /// If it is several texts, where each begins.
    parts: Vec<(usize, Arc<Source>)>,
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
            parts: Vec::new(),
        })
    }

    /// Several texts as one, and where in it each begins. What is said about it is shown in the text that is meant.
    #[must_use]
    pub fn joined(sources: &[Arc<Self>]) -> (Arc<Self>, Vec<usize>) {
        let mut text = String::new();
        let mut parts = Vec::with_capacity(sources.len());
        for source in sources {
            parts.push((text.len(), Arc::clone(source)));
            text.push_str(&source.text);
            // So that the end of one text is not the beginning of the next.
            text.push('\n');
        }
        let offsets = parts.iter().map(|(offset, _)| *offset).collect();
        let name = sources.first().map_or("", |source| source.name()).to_owned();
        let joined = Self {
            name,
            text,
            lines: vec![0],
            parts,
        };
        (Arc::new(joined), offsets)
    }

    /// The text that `span` lies in, and where in it, if this is several texts.
    #[must_use]
    pub fn locate(self: &Arc<Self>, span: Span) -> (Arc<Self>, Span) {
        let after = self.parts.partition_point(|(offset, _)| *offset <= span.start);
        match after.checked_sub(1).and_then(|place| self.parts.get(place)) {
            None => (Arc::clone(self), span),
            Some((offset, part)) => {
                let within = Span::new(span.start - offset, span.end.saturating_sub(*offset));
                (Arc::clone(part), within)
            }
        }
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
    pub(super) fn line_range(&self, line: usize) -> Range<usize> {
        let start = self.lines[line];
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        start..start + self.text[start..end].trim_end_matches(['\r', '\n']).len()
    }

    /// `span` in bounds, on character boundaries, and cut at the end of the line it begins in.
    pub(super) fn clip(&self, span: Span) -> (usize, Range<usize>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_several_texts_is_one_in_the_text_that_has_it() {
        let texts = ["one", "", "three"].map(|text| Source::new(text, text));
        let (joined, offsets) = Source::joined(&texts);
        for (text, offset) in texts.iter().zip(offsets) {
            for place in 0..=text.text().len() {
                let (found, span) = joined.locate(Span::new(offset + place, offset + text.text().len()));
                assert!(Arc::ptr_eq(&found, text));
                assert_eq!(span, Span::new(place, text.text().len()));
            }
        }
        let alone = &texts[0];
        let (found, span) = alone.locate(Span::new(1, 2));
        assert!(Arc::ptr_eq(&found, alone) && span == Span::new(1, 2));
    }
}
