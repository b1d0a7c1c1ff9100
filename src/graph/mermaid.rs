//! The graph in Mermaid's language (a `flowchart`), which GitHub and GitLab draw in Markdown.

use std::fmt::Write as _;

use super::{Graph, Mark};

/// The whole text.
#[must_use]
pub fn draw(graph: &Graph) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, node) in graph.nodes.iter().enumerate() {
        let name = escape(&node.name);
        let state = match node.mark {
            Mark::UpToDate => String::new(),
            mark => format!("<br/>{}", mark.words()),
        };
        let _ = writeln!(text, "    s{index}[\"{name}{state}\"]:::{}", node.mark.class());
    }
    for (index, node) in graph.nodes.iter().enumerate() {
        for read in &node.reads {
            let _ = writeln!(text, "    s{read} --> s{index}");
        }
    }
    // Colours that can be read on light and on dark.
    text.push_str(
        "    classDef fresh stroke:#808080\n    classDef restore stroke:#2da44e,stroke-dasharray:4 3\n    \
         classDef perhaps stroke:#bf8700,stroke-dasharray:4 3\n    classDef stale stroke:#bf8700,stroke-width:3px\n    \
         classDef refused stroke:#cf222e,stroke-width:3px\n    classDef blocked stroke:#cf222e,stroke-dasharray:4 3\n",
    );
    text
}

/// A text inside quotes: what would mean something there is written as an entity.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            c if c.is_alphanumeric() || " -_.,/=@+:()".contains(c) => escaped.push(c),
            c if c.is_control() => escaped.push(' '),
            c => {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::example;

    #[test]
    fn names_cannot_end_their_quotes() {
        let text = draw(&example(&[("a", &[]), ("b\"]; x --> y\n<i>#", &[0])]));
        assert!(text.starts_with("flowchart LR\n    s0[\"a\"]:::fresh\n"), "{text}");
        assert!(
            text.contains("    s1[\"b#34;#93;#59; x --#62; y #60;i#62;#35;<br/>would be put back\"]:::restore\n"),
            "{text}"
        );
        assert!(text.contains("    s0 --> s1\n"));
    }
}
