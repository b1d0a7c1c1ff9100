//! The graph as a picture of its own: no script, no font and no file from elsewhere; readable on light and on dark.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::layout::{Heights, Layout, lay_out};
use super::{Graph, Mark, Node};
use crate::markup::escape;

/// In drawing units: the height of a box, with the gap below it.
const ROW: f64 = 40.0;
const BOX_HEIGHT: f64 = 28.0;
const PASSING: f64 = 12.0;
/// Between two layers; more where many lines run.
const GAP: f64 = 56.0;
const MARGIN: f64 = 16.0;
/// The width of a letter of a monospaced font of 13 units.
const LETTER: f64 = 7.9;
/// A longer name is cut; the whole is in the box's title.
const LONGEST_NAME: usize = 40;

const STYLE: &str = "\
svg{background:#fff;--ink:#1f2328;--line:#8c959f;--box:#f6f8fa;--warm:#9a6700;--warmbox:#fff8c5;--good:#1a7f37;\
--bad:#cf222e;--badbox:#ffebe9}
@media(prefers-color-scheme:dark){svg{background:#0d1117;--ink:#e6edf3;--line:#6e7681;--box:#161b22;--warm:#d29922;\
--warmbox:#341a00;--good:#3fb950;--bad:#f85149;--badbox:#3c1114}}
text{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--ink)}
rect{fill:var(--box);stroke:var(--line);stroke-width:1.2}
.stale rect{fill:var(--warmbox);stroke:var(--warm);stroke-width:2.5}
.perhaps rect{fill:var(--warmbox);stroke:var(--warm);stroke-dasharray:5 3}
.restore rect{stroke:var(--good);stroke-dasharray:5 3}
.refused rect{fill:var(--badbox);stroke:var(--bad);stroke-width:2.5}
.blocked rect{stroke:var(--bad);stroke-dasharray:5 3}
.edge{fill:none;stroke:var(--line);stroke-width:1.3}
.edge.stale,.edge.perhaps{stroke:var(--warm)}
.edge.refused,.edge.blocked{stroke:var(--bad)}
.head{fill:var(--line)}
";

/// The whole picture.
#[must_use]
pub fn draw(graph: &Graph) -> String {
    let layout = lay_out(
        graph,
        Heights {
            node: ROW,
            passing: PASSING,
        },
    );
    let columns = columns(graph, &layout);
    let legend = legend_width(graph);
    let width = columns.last().map_or(0.0, |(x, width)| x + width).max(legend + MARGIN) + MARGIN;
    let height = layout.height + 2.0 * MARGIN + 34.0;
    let title = format!("pipeline {}: {} stages", graph.title, graph.nodes.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{0}\">\n<title>{0}</title>\n<style>\n{STYLE}</style>\n\
         <defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker></defs>\n",
        escape(&title)
    );
    for chain in &layout.chains {
        let mark_of = |end: Option<&usize>| end.map_or(Mark::UpToDate, |index| graph.nodes[*index].mark);
        // What is up to date changes nothing in what reads it.
        let class = match mark_of(chain.first()) {
            Mark::UpToDate | Mark::Restore => Mark::UpToDate.class(),
            Mark::Perhaps | Mark::Run | Mark::Refused | Mark::Blocked => mark_of(chain.last()).class(),
        };
        let path = path(chain, &layout, &columns);
        let _ = writeln!(
            svg,
            "<path class=\"edge {class}\" marker-end=\"url(#head)\" d=\"{path}\"/>"
        );
    }
    for (node, place) in graph.nodes.iter().zip(&layout.places) {
        let (x, width) = columns[place.layer];
        draw_box(node, x, MARGIN + place.y, width, &mut svg);
    }
    draw_legend(graph, layout.height + 2.0 * MARGIN + 18.0, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// For each layer where its boxes begin, and how wide they are.
fn columns(graph: &Graph, layout: &Layout) -> Vec<(f64, f64)> {
    let layers = layout
        .places
        .iter()
        .map(|place| place.layer)
        .max()
        .map_or(0, |last| last + 1);
    let mut widths = vec![0.0_f64; layers];
    let mut lines = vec![0_u32; layers];
    for (node, place) in graph.nodes.iter().zip(&layout.places) {
        widths[place.layer] = widths[place.layer].max(text_width(&label(node)) + 20.0);
    }
    for pair in layout.chains.iter().flat_map(|chain| chain.windows(2)) {
        lines[layout.places[pair[0]].layer] += 1;
    }
    let mut x = MARGIN;
    let mut columns = Vec::with_capacity(layers);
    for (width, lines) in widths.into_iter().zip(lines) {
        columns.push((x, width));
        // Many lines between two layers are told apart only if they are not steep.
        x += width + GAP + f64::from(lines.min(120));
    }
    columns
}

fn label(node: &Node) -> String {
    let mut name = String::new();
    let mut taken = 0;
    for c in node.name.chars() {
        taken += c.width().unwrap_or(0);
        if taken > LONGEST_NAME {
            name.push('…');
            break;
        }
        name.push(c);
    }
    format!("{} {name}", node.mark.symbol())
}

fn text_width(text: &str) -> f64 {
    f64::from(u32::try_from(text.width()).unwrap_or(u32::MAX)) * LETTER
}

/// From box to box, level where it passes a layer.
fn path(chain: &[usize], layout: &Layout, columns: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for pair in chain.windows(2) {
        let [from, to] = [layout.places[pair[0]], layout.places[pair[1]]];
        let (from_x, from_width) = columns[from.layer];
        let start = from_x + from_width;
        let end = columns[to.layer].0;
        let (y1, y2) = (MARGIN + from.y, MARGIN + to.y);
        if path.is_empty() {
            let _ = write!(path, "M{start:.0} {y1:.1}");
        } else {
            let _ = write!(path, "H{start:.0}");
        }
        let middle = (start + end) / 2.0;
        let _ = write!(path, "C{middle:.0} {y1:.1} {middle:.0} {y2:.1} {end:.0} {y2:.1}");
    }
    path
}

fn draw_box(node: &Node, x: f64, y: f64, width: f64, svg: &mut String) {
    let mut title = format!("{}: {}", node.name, node.mark.words());
    for why in &node.why {
        let _ = write!(title, "\n{why}");
    }
    let (class, title, label) = (node.mark.class(), escape(&title), escape(&label(node)));
    let (top, text_x, text_y) = (y - BOX_HEIGHT / 2.0, x + 10.0, y + 4.5);
    let _ = writeln!(
        svg,
        "<g class=\"{class}\"><title>{title}</title><rect x=\"{x:.0}\" y=\"{top:.1}\" width=\"{width:.0}\" \
         height=\"{BOX_HEIGHT:.0}\" rx=\"6\"/><text x=\"{text_x:.0}\" y=\"{text_y:.1}\">{label}</text></g>"
    );
}

/// The marks that occur, each with its meaning and how often.
fn legend(graph: &Graph) -> Vec<(Mark, String)> {
    let counts = graph.counts().into_iter().filter(|(_, count)| *count > 0);
    counts
        .map(|(mark, count)| (mark, format!("{} {count} {}", mark.symbol(), mark.words())))
        .collect()
}

fn legend_width(graph: &Graph) -> f64 {
    legend(graph).iter().map(|(_, text)| text_width(text) + 24.0).sum()
}

fn draw_legend(graph: &Graph, y: f64, svg: &mut String) {
    let mut x = MARGIN;
    for (_, text) in legend(graph) {
        let _ = writeln!(svg, "<text x=\"{x:.0}\" y=\"{y:.1}\">{}</text>", escape(&text));
        x += text_width(&text) + 24.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::example;

    #[test]
    fn names_are_texts_and_never_elements() {
        let svg = draw(&example(&[("<script>alert('1')&\u{1}", &[]), ("b", &[0])]));
        assert!(!svg.contains("<script"), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(&#39;1&#39;)&amp;\u{fffd}"), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<rect").count(), 2);
        assert_eq!(svg.matches("marker-end").count(), 1);
    }

    #[test]
    fn a_long_name_is_cut_and_whole_in_the_title() {
        let name = "x".repeat(100);
        let svg = draw(&example(&[(&name, &[])]));
        assert!(svg.contains(&format!("<title>{name}: up to date")));
        assert!(svg.contains(&format!("○ {}…</text>", "x".repeat(40))));
    }

    #[test]
    fn nothing_at_all_is_drawn_as_nothing() {
        assert!(draw(&example(&[])).contains("</svg>"));
    }
}
