//! YAML, read into a tree in which every value knows where it stands. The only user of the YAML crate.
//!
//! The crate's event reader is used rather than its `serde` side, because that is where spans, quoting, anchors and tags
//! are all seen, so that every mistake can be reported and not only the first. What is refused here: aliases, anchors,
//! tags, merge keys, keys that are no scalars, duplicate keys, several documents, directives, and more than the budgets
//! allow. Scalars keep the text they were written with: whether `no` or `010` means anything is decided by who asks.

use std::collections::HashMap;
use std::sync::Arc;

use serde_yaml::granit_parser::{
    ErrorKind, Event, Options, Parser, ScalarStyle, ScanError, Span as YamlSpan, StrInput,
};

use crate::diagnostic::{Diagnostic, Source, Span, quoted};

/// The longest file that is read, in bytes; a pipeline of 10,000 stages has a tenth of that.
pub const MAX_BYTES: u64 = 16 << 20;
/// How deep lists and maps may be nested.
const MAX_DEPTH: usize = 32;
/// How many values a file may hold.
const MAX_NODES: usize = 2_000_000;
/// After so many faults the file is not read further.
const MAX_FAULTS: usize = 1000;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// From its first to its last character; for a block, roughly.
    pub span: Span,
    /// What it is.
    pub kind: NodeKind,
}

/// What a [`Node`] is.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A text.
    Scalar {
        /// As written, with escapes and folding undone.
        text: String,
        /// Whether it stands without quotes, so that it may mean a number, a boolean or nothing.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// A map, in the order written, each key once.
    Map(Vec<(Text, Node)>),
    /// Something whose fault has been reported already.
    Broken,
}

/// A scalar's text and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// As written, with escapes and folding undone.
    pub text: String,
    /// From its first to its last character, quotes included.
    pub span: Span,
}

impl Text {
    /// Where the bytes `start..end` of the text stand in the source, or the whole if that cannot be told.
    #[must_use]
    pub fn locate(&self, source: &Source, start: usize, end: usize) -> Span {
        let Some(written) = source.text().get(self.span.start..self.span.end) else {
            return self.span;
        };
        for quote in [0, 1] {
            let inner = written.get(quote..written.len().saturating_sub(quote));
            if inner == Some(self.text.as_str()) {
                let begin = self.span.start + quote;
                return Span::new(begin + start, begin + end);
            }
        }
        // A block, or a text with escapes: the same piece, the same number of times from the beginning.
        let Some(piece) = self.text.get(start..end).filter(|piece| !piece.is_empty()) else {
            return self.span;
        };
        let before = self.text[..start].matches(piece).count();
        match written.match_indices(piece).nth(before) {
            Some((at, _)) => Span::new(self.span.start + at, self.span.start + at + piece.len()),
            None => self.span,
        }
    }
}

impl Node {
    /// The same, `by` bytes further on.
    #[must_use]
    pub fn moved(self, by: usize) -> Self {
        let further = |span: Span| Span::new(span.start + by, span.end + by);
        Self {
            span: further(self.span),
            kind: match self.kind {
                NodeKind::List(items) => NodeKind::List(items.into_iter().map(|item| item.moved(by)).collect()),
                NodeKind::Map(entries) => {
                    let entries = entries.into_iter().map(|(key, value)| {
                        let span = further(key.span);
                        (Text { span, ..key }, value.moved(by))
                    });
                    NodeKind::Map(entries.collect())
                }
                other => other,
            },
        }
    }
}

/// Reads one YAML document. Gives what could be read, and everything that was wrong; `None` if nothing could be read.
#[must_use]
pub fn parse(source: &Arc<Source>) -> (Option<Node>, Vec<Diagnostic>) {
    let mut options = Options::default();
    options.emit_comments = false;
    options.emit_anchor_events = true;
    options.emit_unresolved_aliases = true;
    options.disallow_directives = true;
    options.flow_nesting_limit = 2 * MAX_DEPTH;
    options.block_nesting_limit = 2 * MAX_DEPTH;
    let mut reader = Reader {
        source,
        events: Parser::new_from_str_with_options(source.text(), options),
        nodes: 0,
        tag: None,
        faults: Vec::new(),
    };
    let node = reader.document().unwrap_or(None);
    (node, reader.faults)
}

struct Reader<'s> {
    source: &'s Arc<Source>,
    events: Parser<'s, StrInput<'s>>,
    nodes: usize,
    /// Where the tag of the last event stands.
    tag: Option<Span>,
    faults: Vec<Diagnostic>,
}

/// The fault is reported; nothing more can be read.
struct End;

impl<'s> Reader<'s> {
    fn document(&mut self) -> Result<Option<Node>, End> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    self.fault(
                        Diagnostic::error("a second document begins here").at(self.source, span, ""),
                        "a file holds one document: remove the `---`, or move what follows into a file of its own",
                    );
                    return Ok(root);
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next()?;
                    root = Some(self.node(event, span, 0)?);
                }
                _ => return Ok(root),
            }
        }
        if root.is_none() {
            self.fault(
                Diagnostic::error(format!("{} is empty", quoted(self.source.name()))).at(
                    self.source,
                    Span::empty(0),
                    "",
                ),
                "write `version: 1`, `name:` and what else it needs; `docs/pipeline.md` has examples",
            );
        }
        Ok(root)
    }

    fn next(&mut self) -> Result<(Event<'s>, Span), End> {
        if self.faults.len() >= MAX_FAULTS {
            return Err(End);
        }
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                self.tag = span.tag_span().map(|tag| self.span(tag));
                let span = self.span(span);
                Ok((event, span))
            }
            Some(Err(error)) => {
                self.syntax(&error);
                Err(End)
            }
            None => Err(End),
        }
    }

    fn node(&mut self, event: Event<'s>, span: Span, depth: usize) -> Result<Node, End> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            self.fault(
                Diagnostic::error(format!("more than {MAX_NODES} values in one file")).at(self.source, span, ""),
                "split the pipeline into several",
            );
            return Err(End);
        }
        let node = match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let plain = style == ScalarStyle::Plain;
                // The reader spells a value that is not there `~`.
                let absent = plain && span.start == span.end;
                let text = if absent { String::new() } else { text.into_owned() };
                Node {
                    span,
                    kind: NodeKind::Scalar { text, plain },
                }
            }
            Event::SequenceStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.enter(depth, span)?;
                self.list(span, depth)?
            }
            Event::MappingStart(_, _, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.enter(depth, span)?;
                self.map(span, depth)?
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.fault(
                    Diagnostic::error("aliases are refused").at(self.source, span, "an alias"),
                    "write the value out, or make it a parameter and say `${params.name}`",
                );
                Node {
                    span,
                    kind: NodeKind::Broken,
                }
            }
            _ => {
                self.fault(
                    Diagnostic::error("a value is missing").at(self.source, span, ""),
                    "write the value",
                );
                return Err(End);
            }
        };
        Ok(node)
    }

    fn list(&mut self, start: Span, depth: usize) -> Result<Node, End> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::SequenceEnd => {
                    return Ok(Node {
                        span: Span::new(start.start, span.end.max(start.end)),
                        kind: NodeKind::List(items),
                    });
                }
                Event::Anchor(..) => self.refuse_anchor(span),
                event => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, start: Span, depth: usize) -> Result<Node, End> {
        let mut entries: Vec<(Text, Node)> = Vec::new();
        let mut seen: HashMap<String, Span> = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::MappingEnd => {
                    return Ok(Node {
                        span: Span::new(start.start, span.end.max(start.end)),
                        kind: NodeKind::Map(entries),
                    });
                }
                Event::Anchor(..) => self.refuse_anchor(span),
                event => {
                    let key = self.node(event, span, depth + 1)?;
                    let value = self.value(depth)?;
                    if let Some(key) = self.key(key, &mut seen) {
                        entries.push((key, value));
                    }
                }
            }
        }
    }

    /// The value after a key; the key's own anchor may come first.
    fn value(&mut self, depth: usize) -> Result<Node, End> {
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::Anchor(..) => self.refuse_anchor(span),
                event => return self.node(event, span, depth + 1),
            }
        }
    }

    fn key(&mut self, key: Node, seen: &mut HashMap<String, Span>) -> Option<Text> {
        let span = key.span;
        let NodeKind::Scalar { text, plain } = key.kind else {
            if key.kind != NodeKind::Broken {
                self.fault(
                    Diagnostic::error("a key must be a plain text").at(self.source, span, "not a text"),
                    "use a name as the key",
                );
            }
            return None;
        };
        if plain && text == "<<" {
            self.fault(
                Diagnostic::error("merge keys are refused").at(self.source, span, "a merge key"),
                "write the fields out where they belong",
            );
            return None;
        }
        if let Some(first) = seen.get(&text) {
            self.fault(
                Diagnostic::error(format!("duplicate key {}", quoted(&text)))
                    .at(self.source, span, "here again")
                    .at(self.source, *first, "first here"),
                "remove one of the two, or give it a name of its own",
            );
            return None;
        }
        seen.insert(text.clone(), span);
        Some(Text { text, span })
    }

    fn enter(&mut self, depth: usize, span: Span) -> Result<(), End> {
        if depth < MAX_DEPTH {
            return Ok(());
        }
        self.too_deep(span);
        Err(End)
    }

    fn too_deep(&mut self, span: Span) {
        self.fault(
            Diagnostic::error(format!("nested deeper than {MAX_DEPTH} levels")).at(self.source, span, ""),
            "make it flatter",
        );
    }

    fn refuse_tag(&mut self, is_tagged: bool, span: Span) {
        if is_tagged {
            let span = self.tag.unwrap_or(span);
            self.fault(
                Diagnostic::error("tags are refused").at(self.source, span, "a tag"),
                "remove the `!…` before the value; put a text that looks like a number in quotes",
            );
        }
    }

    fn refuse_anchor(&mut self, span: Span) {
        self.fault(
            Diagnostic::error("anchors are refused").at(self.source, span, "an anchor"),
            "remove it; a value that is used twice can be a parameter: `${params.name}`",
        );
    }

    fn syntax(&mut self, error: &ScanError) {
        let at = error.marker().byte_offset().unwrap_or(self.source.text().len());
        let info = error.info();
        let message = match error.kind() {
            ErrorKind::RecursionLimitExceeded => {
                self.too_deep(Span::empty(at));
                return;
            }
            _ => info.lines().next().unwrap_or_default(),
        };
        let help = if message.contains("tab") {
            "indent with spaces; YAML takes no tabs there"
        } else if message.contains("mapping values are not allowed") {
            "put the value in quotes if it holds `: `, or check the indentation"
        } else if message.contains("unclosed bracket") || message.contains("bracket") {
            "every `[` needs its `]`, every `{` its `}`"
        } else if message.contains("quote") {
            "close the quote; inside `'…'` a quote is written `''`, inside `\"…\"` it is `\\\"`"
        } else if message.contains("directive") {
            "remove the line that begins with `%`"
        } else {
            "check indentation, quotes, brackets and colons here and in the line above"
        };
        self.fault(
            Diagnostic::error(format!("not YAML: {message}")).at(self.source, Span::empty(at), ""),
            help,
        );
    }

    fn fault(&mut self, fault: Diagnostic, help: &str) {
        self.faults.push(fault.help(help));
    }

    fn span(&self, span: YamlSpan) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        let length = self.source.text().len();
        let start = range.start.min(length);
        Span::new(start, range.end.clamp(start, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        let (_, faults) = parse(&Source::new("p.yaml", text));
        faults.into_iter().map(|fault| fault.message).collect()
    }

    fn root(text: &str) -> Node {
        let (node, faults) = parse(&Source::new("p.yaml", text));
        assert!(faults.is_empty(), "{faults:?}");
        node.expect("there is a document")
    }

    #[test]
    fn scalars_keep_their_text() {
        let NodeKind::Map(entries) = root("a: no\nb: 010\nc: '1'\nd:\n").kind else {
            panic!("not a map");
        };
        let kinds: Vec<_> = entries
            .iter()
            .map(|(_, node)| match &node.kind {
                NodeKind::Scalar { text, plain } => (text.as_str(), *plain),
                _ => panic!("not a scalar"),
            })
            .collect();
        assert_eq!(kinds, [("no", true), ("010", true), ("1", false), ("", true)]);
    }

    #[test]
    fn every_refused_thing_is_reported_at_once() {
        assert_eq!(
            messages("a: &x 1\nb: *x\nc: !!str 1\n<<: {}\na: 2\n? [k]\n: v\n"),
            [
                "anchors are refused",
                "aliases are refused",
                "tags are refused",
                "merge keys are refused",
                "duplicate key `a`",
                "a key must be a plain text"
            ]
        );
    }

    #[test]
    fn depth_is_bounded_in_both_styles() {
        let flow = "[".repeat(10_000);
        let block = "- ".repeat(10_000);
        for text in [flow.as_str(), block.as_str()] {
            assert_eq!(messages(text).len(), 1, "{}", &text[..4]);
        }
        assert!(messages(&format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))).is_empty());
    }

    #[test]
    fn pieces_of_a_text_are_found_in_every_style() {
        for text in [
            "a: x ${p.q} y\n",
            "a: 'x ${p.q} y'\n",
            "a: |\n  x ${p.q}\n  y\n",
            "a: \"\\tx ${p.q}\"\n",
        ] {
            let source = Source::new("p.yaml", text);
            let NodeKind::Map(entries) = root(text).kind else {
                panic!("not a map");
            };
            let NodeKind::Scalar { text: value, .. } = &entries[0].1.kind else {
                panic!("not a scalar");
            };
            let start = value.find("${").expect("it is there");
            let value = Text {
                text: value.clone(),
                span: entries[0].1.span,
            };
            let span = value.locate(&source, start, start + 6);
            assert_eq!(&source.text()[span.start..span.end], "${p.q}", "{text:?}");
        }
    }
}
