//! The shapes that YAML can have, and the messages for those that are wrong.

use std::sync::Arc;

use super::model::is_name;
use super::parse::{Node, NodeKind, Text};
use super::scalar::{Scalar, scalar};
use crate::diagnostic::{Diagnostic, Source, Span, nearest, quoted};

/// A message about a field should point at its beginning, not at everything in it.
pub(super) fn start(node: &Node) -> Span {
    match &node.kind {
        NodeKind::Map(entries) => entries
            .first()
            .map_or(Span::empty(node.span.start), |(key, _)| key.span),
        _ => node.span,
    }
}

/// The fields of a map.
pub(super) struct Fields<'n> {
    entries: &'n [(Text, Node)],
    /// Known fields that unknown ones were probably meant to be.
    pub(super) meant: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, value)| value)
    }

    pub(super) fn key(&self, name: &str) -> Option<&'n Text> {
        self.entries.iter().map(|(key, _)| key).find(|key| key.text == name)
    }
}

/// Looks at one file and collects what is wrong with it.
pub(super) struct Checker<'a> {
    pub(super) source: &'a Arc<Source>,
    pub(super) faults: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(source: &'a Arc<Source>) -> Self {
        Self {
            source,
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, span: Span, message: impl Into<String>, label: &str, help: impl Into<String>) {
        self.faults
            .push(Diagnostic::error(message).at(self.source, span, label).help(help));
    }

    pub(super) fn missing(&mut self, fields: &Fields<'_>, at: Span, field: &str, of: &str, example: &str) {
        if fields.meant.contains(&field) {
            return;
        }
        let message = format!("`{field}` is missing");
        self.fault(at, message, "", format!("{of} needs `{field}`: write `{example}`"));
    }

    pub(super) fn wrong_shape(&mut self, node: &Node, what: &str, wanted: &str, help: &str) {
        if node.kind != NodeKind::Broken {
            let found = found(node);
            self.fault(
                start(node),
                format!("{what} must be {wanted}, and this is {found}"),
                "",
                help,
            );
        }
    }

    pub(super) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Text, Node)]> {
        match &node.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => {
                self.wrong_shape(node, what, "a map", "write it as `name: value` lines, or remove it");
                None
            }
        }
    }

    pub(super) fn items<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [Node]> {
        match &node.kind {
            NodeKind::List(items) => Some(items),
            _ => {
                self.wrong_shape(node, what, "a list", "write `[one, two]`");
                None
            }
        }
    }

    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&'static str]) -> Option<Fields<'n>> {
        let entries = self.entries(node, what)?;
        let mut meant = Vec::new();
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.text.as_str())) {
            let help = match nearest(&key.text, known.iter().copied()) {
                Some(name) => {
                    meant.push(name);
                    format!("did you mean `{name}`?")
                }
                None => format!("{what} has the fields `{}`", known.join("`, `")),
            };
            self.fault(key.span, format!("unknown field {}", quoted(&key.text)), "", help);
        }
        Some(Fields { entries, meant })
    }

    pub(super) fn not_empty(&mut self, node: &Node, what: &str) {
        if matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
            self.fault(
                node.span,
                format!("{what} is empty"),
                "",
                "a stage must write something: name at least one",
            );
        }
    }

    /// A scalar that is a text: neither nothing nor, without quotes, a number or a boolean.
    pub(super) fn text(&mut self, node: &Node, what: &str) -> Option<Text> {
        match scalar(node) {
            Some(Scalar::String(_)) => node.as_text(),
            Some(Scalar::Null) => {
                self.fault(node.span, format!("{what} is empty"), "", "write a value, or remove it");
                None
            }
            meaning => {
                let help = match meaning {
                    Some(_) => "put it in quotes if it is meant as a text",
                    None => "write one text, without `[`, `{`, `- ` and `: `",
                };
                self.wrong_shape(node, what, "a text", help);
                None
            }
        }
    }

    pub(super) fn name(&mut self, text: &Text, what: &str) -> bool {
        if is_name(&text.text) {
            return true;
        }
        let message = format!("{} cannot name {what}", quoted(&text.text));
        let help = "a name begins with a letter `a` to `z` and goes on with `a` to `z`, `0` to `9`, `_` and `-`";
        self.fault(text.span, message, "", help);
        false
    }

    pub(super) fn choice(&mut self, node: &Node, what: &str, choices: &[&str]) -> Option<Text> {
        let text = self.text(node, what)?;
        if choices.contains(&text.text.as_str()) {
            return Some(text);
        }
        let help = match nearest(&text.text, choices.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write one of `{}`", choices.join("`, `")),
        };
        self.fault(text.span, format!("{what} cannot be {}", quoted(&text.text)), "", help);
        None
    }

    pub(super) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match scalar(node) {
            Some(Scalar::Boolean(value)) => Some(value),
            _ => {
                self.wrong_shape(
                    node,
                    what,
                    "`true` or `false`",
                    "write `true` or `false`, without quotes",
                );
                None
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, what: &str) -> Option<f64> {
        match scalar(node) {
            Some(Scalar::Number(number)) => Some(number.to_f64()),
            _ => {
                self.wrong_shape(node, what, "a number", "write a finite number, without quotes");
                None
            }
        }
    }

    /// A map from names to anything.
    pub(super) fn named(&mut self, node: &Node, what: &str, of: &str) -> Vec<(Text, Node)> {
        let Some(entries) = self.entries(node, what) else {
            return Vec::new();
        };
        for (key, _) in entries {
            self.name(key, &format!("{} {of}", article(of)));
        }
        entries.to_vec()
    }
}

fn article(noun: &str) -> &'static str {
    match noun.starts_with(['a', 'e', 'i', 'o', 'u']) {
        true => "an",
        false => "a",
    }
}

fn found(node: &Node) -> &'static str {
    match scalar(node) {
        Some(Scalar::Null) => "nothing",
        Some(Scalar::Boolean(_)) => "a boolean",
        Some(Scalar::Number(_)) => "a number",
        Some(Scalar::String(_)) => "a text",
        None if matches!(node.kind, NodeKind::List(_)) => "a list",
        None => "a map",
    }
}
