//! The inputs and outputs of a stage, as a pipeline writes them.

use super::model::Stage;
use super::parse::{Node, NodeKind, Text};
use super::scalar::{Scalar, scalar};
use super::shape::Checker;
use crate::diagnostic::quoted;
use crate::plan::Number;

/// How many parts an input may have that is written as a list.
pub const MOST_PARTS: usize = 256;
/// The fields of an input in a pipeline file, where it is more than a text.
pub const INPUT_FIELDS: &[&str] = &["path", "optional", "personal"];
/// The fields of an output in a pipeline file, where it is more than a path.
pub const OUTPUT_FIELDS: &[&str] = &["path", "tolerance", "temp", "personal"];

impl Checker<'_> {
    /// Each input is a text, a list of texts, or a map with a path and whether it may be absent.
    pub(super) fn inputs(&mut self, node: &Node, stage: &mut Stage) {
        for (name, node) in self.named(node, "`inputs`", "input") {
            let what = format!("input `{}`", name.text);
            if !matches!(node.kind, NodeKind::Map(_)) {
                self.input(&node, &what, name, stage);
                continue;
            }
            let Some(fields) = self.fields(&node, &what, INPUT_FIELDS) else {
                continue;
            };
            match fields.get("path") {
                Some(node) => self.input(node, "`path`", name.clone(), stage),
                None => self.missing(&fields, name.span, "path", &what, "path: data/in.csv"),
            }
            let optional = fields.get("optional").and_then(|node| self.boolean(node, "`optional`"));
            if optional == Some(true) && matches!(fields.get("path").map(|node| &node.kind), Some(NodeKind::List(_))) {
                let help = "each part of a list must be there; write a pattern such as `{a.csv,b.csv}` if none need be";
                self.fault(name.span, format!("{what} is a list, and cannot be optional"), "", help);
            }
            stage
                .optional
                .extend(optional.filter(|optional| *optional).map(|_| name.clone()));
            stage.personal.inputs.extend(self.personal(&fields, name));
        }
    }

    /// Where an input comes from: a text, or a list of them.
    fn input(&mut self, node: &Node, what: &str, name: Text, stage: &mut Stage) {
        let NodeKind::List(items) = &node.kind else {
            stage.inputs.extend(self.text(node, what).map(|text| (name, text)));
            return;
        };
        if let Some(parts) = self.parts(node, items, what) {
            let (text, span) = (String::new(), node.span);
            stage.lists.push((name.text.clone(), parts));
            stage.inputs.push((name, Text { text, span }));
        }
    }

    /// The parts of the input `what`, which is written as a list.
    fn parts(&mut self, node: &Node, items: &[Node], what: &str) -> Option<Vec<Text>> {
        if items.is_empty() {
            self.fault(
                node.span,
                format!("{what} is an empty list"),
                "",
                "name at least one file, or remove it",
            );
            return None;
        }
        if items.len() > MOST_PARTS {
            let message = format!("{what} is a list of {} parts", items.len());
            let help =
                format!("at most {MOST_PARTS} are taken: put the files into a folder, or find them by a pattern");
            self.fault(node.span, message, "", help);
            return None;
        }
        let mut parts: Vec<Text> = Vec::with_capacity(items.len());
        for item in items {
            let Some(part) = self.text(item, &format!("a part of {what}")) else {
                continue;
            };
            if parts.iter().any(|other| other.text == part.text) {
                let message = format!("{} stands in the list twice", quoted(&part.text));
                self.fault(part.span, message, "", "name each part once");
                continue;
            }
            parts.push(part);
        }
        (parts.len() == items.len()).then_some(parts)
    }

    /// Each output is a path, or a map with a path, how far a number in it may be off, and whether it is kept.
    pub(super) fn outputs(&mut self, node: &Node, stage: &mut Stage) {
        for (name, node) in self.named(node, "`outputs`", "output") {
            let what = format!("output `{}`", name.text);
            if !matches!(node.kind, NodeKind::Map(_)) {
                stage.outputs.extend(self.text(&node, &what).map(|path| (name, path)));
                continue;
            }
            let Some(fields) = self.fields(&node, &what, OUTPUT_FIELDS) else {
                continue;
            };
            match fields.get("path") {
                Some(node) => {
                    let path = self.text(node, "`path`");
                    stage.outputs.extend(path.map(|path| (name.clone(), path)));
                }
                None => self.missing(&fields, name.span, "path", &what, "path: data/out.csv"),
            }
            let temp = fields.get("temp").and_then(|node| self.boolean(node, "`temp`"));
            stage.temporary.extend(temp.filter(|temp| *temp).map(|_| name.clone()));
            stage.personal.outputs.extend(self.personal(&fields, name.clone()));
            let is_folder = fields
                .get("path")
                .and_then(Node::as_text)
                .is_some_and(|path| path.text.ends_with('/'));
            if let Some(node) = fields.get("tolerance").filter(|_| is_folder) {
                let help = "remove it: of a folder every bit counts";
                self.fault(node.span, "`tolerance` goes with a file alone", "", help);
            } else if let Some(node) = fields.get("tolerance") {
                stage
                    .tolerances
                    .extend(self.tolerance(node).map(|tolerance| (name, tolerance)));
            }
        }
    }

    fn tolerance(&mut self, node: &Node) -> Option<Number> {
        match scalar(node) {
            Some(Scalar::Number(number)) if number.to_f64() > 0.0 => Some(number),
            Some(Scalar::Number(_)) => {
                let help = "write how far a number may be off, such as `1e-9`; without `tolerance` every bit counts";
                self.fault(node.span, "`tolerance` must be greater than 0", "", help);
                None
            }
            _ => {
                self.wrong_shape(
                    node,
                    "`tolerance`",
                    "a number",
                    "write a number such as `1e-9`, without quotes",
                );
                None
            }
        }
    }
}
