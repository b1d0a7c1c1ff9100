//! The graph as lines of text: layer by layer, each stage with what it reads from.

use unicode_width::UnicodeWidthStr as _;

use super::{Graph, Mark, Node};

/// No column of names is wider than this.
const WIDEST_NAME: usize = 40;

/// One stage in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLine {
    /// The layer's number, from 1, where it is the first of its layer.
    pub layer: Option<usize>,
    /// How it stands.
    pub mark: Mark,
    /// Its name.
    pub name: String,
    /// What it reads from, as much as fits.
    pub reads: String,
}

/// The lines of the graph, laid out for so many columns.
#[must_use]
pub fn lines(graph: &Graph, columns: usize) -> (Vec<TextLine>, usize) {
    let widest = graph.nodes.iter().map(|node| node.name.width()).max().unwrap_or(0);
    let name_width = widest.min(WIDEST_NAME);
    let mut lines = Vec::with_capacity(graph.nodes.len());
    for (number, layer) in graph.layers().into_iter().enumerate() {
        for (place, index) in layer.into_iter().enumerate() {
            let node = &graph.nodes[index];
            // Layer, mark, the name and the spaces between, then the arrow.
            let taken = 9 + name_width.max(node.name.width()) + 4;
            lines.push(TextLine {
                layer: (place == 0).then_some(number + 1),
                mark: node.mark,
                name: node.name.clone(),
                reads: reads_text(graph, node, columns.saturating_sub(taken)),
            });
        }
    }
    (lines, name_width)
}

/// The names of what is read: all, or as many as fit and how many more.
fn reads_text(graph: &Graph, node: &Node, room: usize) -> String {
    let names: Vec<&str> = node.reads.iter().map(|read| graph.nodes[*read].name.as_str()).collect();
    let mut text = String::new();
    for (index, name) in names.iter().enumerate() {
        let left = names.len() - index;
        let comma = if index == 0 { "" } else { ", " };
        let more = |left: usize| match (left, index) {
            (0, _) => String::new(),
            (left, 0) => format!("{left} stages"),
            (left, _) => format!(" and {left} more"),
        };
        // What must still be said after this name, if it is the last that fits.
        let after = if left > 1 {
            format!(" and {} more", left - 1).width()
        } else {
            0
        };
        if text.width() + comma.len() + name.width() + after > room {
            if index == 0 && left == 1 {
                return (*name).to_owned();
            }
            text.push_str(&more(left));
            return text;
        }
        text.push_str(comma);
        text.push_str(name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::example;

    #[test]
    fn what_is_read_is_named_as_far_as_it_fits() {
        let names: Vec<String> = (0..100).map(|n| format!("stage-{n}")).collect();
        let mut edges: Vec<(&str, &[usize])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
        let all: Vec<usize> = (0..100).collect();
        edges.push(("gather", &all));
        edges.push(("end", &[100]));
        let graph = example(&edges);
        let (found, name_width) = lines(&graph, 80);
        assert_eq!(name_width, 8);
        let gather = &found[100];
        assert_eq!(gather.layer, Some(2));
        assert_eq!(gather.reads, "stage-0, stage-1, stage-2, stage-3, stage-4 and 95 more");
        assert_eq!(found[101].reads, "gather");
        assert_eq!(found[1].layer, None);
        let (narrow, _) = lines(&graph, 20);
        assert_eq!(narrow[100].reads, "100 stages");
        assert_eq!(narrow[101].reads, "gather");
    }
}
