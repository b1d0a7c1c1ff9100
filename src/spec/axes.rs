//! `matrix:` and `foreach:`: the axes of a stage as written.

use super::model::{Axis, AxisKind, AxisValues};
use super::parse::{Node, NodeKind, Text};
use super::scalar::{Scalar, scalar};
use super::shape::{Checker, Fields};
use crate::diagnostic::quoted;
use crate::plan::is_pattern;

impl Checker<'_> {
    /// The axes of a stage, those of `matrix:` first; each name once.
    pub(super) fn axes(&mut self, fields: &Fields<'_>) -> Vec<Axis> {
        let mut axes: Vec<Axis> = Vec::new();
        for (field, kind) in [("matrix", AxisKind::Matrix), ("foreach", AxisKind::Foreach)] {
            let Some(node) = fields.get(field) else { continue };
            if matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
                let help = "name what varies: `matrix: { seed: [1, 2] }`, or remove the field";
                self.fault(node.span, format!("`{field}` is empty"), "", help);
            }
            for (name, node) in self.named(node, &format!("`{field}`"), "axis") {
                if axes.iter().any(|axis| axis.name.text == name.text) {
                    let message = format!("the axis `{}` stands in `matrix` and in `foreach`", name.text);
                    self.fault(name.span, message, "", "rename one of the two");
                    continue;
                }
                let values = self.axis_values(&name, &node, kind);
                axes.push(Axis { name, kind, values });
            }
        }
        axes
    }

    fn axis_values(&mut self, name: &Text, node: &Node, kind: AxisKind) -> Option<AxisValues> {
        let what = format!("the axis `{}`", name.text);
        if kind == AxisKind::Foreach
            && let Some(Scalar::String(text)) = scalar(node)
        {
            if !is_pattern(text) {
                let help = "write a pattern such as `data/raw/*.csv`, or a list";
                self.fault(node.span, format!("{} is no pattern", quoted(text)), "", help);
                return None;
            }
            return node.as_text().map(AxisValues::Pattern);
        }
        let NodeKind::List(items) = &node.kind else {
            let (wanted, help) = match kind {
                AxisKind::Matrix => ("a list", "write its values: `[1, 2]`"),
                AxisKind::Foreach => (
                    "a list or a pattern",
                    "write its values: `[a, b]`, or a pattern: `data/raw/*.csv`",
                ),
            };
            self.wrong_shape(node, &what, wanted, help);
            return None;
        };
        if items.is_empty() {
            self.fault(node.span, format!("{what} has no values"), "", "name at least one");
            return None;
        }
        let is_scalar = |item: &&Node| !matches!(scalar(item), None | Some(Scalar::Null));
        if let Some(item) = items.iter().find(|item| !is_scalar(item)) {
            let help = "write a text, a number, `true` or `false`; what belongs together can be named by one text";
            self.wrong_shape(item, "a value of an axis", "one value", help);
            return None;
        }
        Some(AxisValues::List(items.clone()))
    }
}
