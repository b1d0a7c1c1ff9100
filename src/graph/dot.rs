//! The graph in Graphviz's language.

use std::fmt::Write as _;

use super::{Graph, Mark};

/// The whole text.
#[must_use]
pub fn draw(graph: &Graph) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&graph.title));
    text.push_str("    rankdir=LR;\n    node [shape=box, style=rounded, fontname=\"monospace\"];\n");
    for (index, node) in graph.nodes.iter().enumerate() {
        let style = match node.mark {
            Mark::UpToDate => "",
            Mark::Restore => ", color=\"#2da44e\", style=\"rounded,dashed\"",
            Mark::Perhaps => ", color=\"#bf8700\", style=\"rounded,dashed\"",
            Mark::Run => ", color=\"#bf8700\", penwidth=3",
            Mark::Refused => ", color=\"#cf222e\", penwidth=3",
            Mark::Blocked => ", color=\"#cf222e\", style=\"rounded,dashed\"",
        };
        let mut tooltip = node.mark.words().to_owned();
        if !node.why.is_empty() {
            let _ = write!(tooltip, ": {}", node.why.join("; "));
        }
        let (name, tooltip) = (quoted(&node.name), quoted(&tooltip));
        let _ = writeln!(text, "    s{index} [label={name}, tooltip={tooltip}{style}];");
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            let _ = writeln!(text, "    s{read} -> s{index};");
        }
    }
    text.push_str("}\n");
    text
}

/// A text in quotes. A backslash begins an escape in labels, so it is written twice.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::example;

    #[test]
    fn names_cannot_end_their_quotes() {
        let text = draw(&example(&[("a", &[]), ("b\"; \\", &[0])]));
        assert!(text.starts_with("digraph \"p\" {\n"));
        assert!(
            text.contains("s1 [label=\"b\\\"; \\\\\", tooltip=\"would be put back: a reason\""),
            "{text}"
        );
        assert!(text.contains("    s0 -> s1;\n"));
    }
}
