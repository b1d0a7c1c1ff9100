//! `madmall graph`: the stages and what they read from each other.

use clap::ValueEnum;
use serde_json::json;

use super::every::look;
use super::opened::open_set;
use super::surroundings::Surroundings;
use super::table::{count, cut, pad};
use super::terminal::{BOLD, Columns, DIM, ERROR, Failure, GOOD, Terminal, WARNING, shown};
use super::{PipelineArgument, SetArguments};
use crate::exit_code::ExitCode;
use crate::graph::{Graph, Mark, dot, mermaid, svg, text};

/// Arguments of `graph`.
#[derive(clap::Args)]
pub(super) struct GraphArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    set: SetArguments,
    /// How to draw it
    #[arg(long, value_enum, default_value_t = FormatArgument::Text, conflicts_with = "json")]
    format: FormatArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArgument {
    /// Layer by layer, for reading here
    Text,
    /// For Markdown on GitHub and GitLab
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture for a browser
    Svg,
}

/// Draws the graph.
pub(super) fn graph(
    arguments: &GraphArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let opened = open_set(surroundings, &arguments.pipeline.pipeline, &arguments.set, terminal)?;
    let graph = look(surroundings, &opened.workspace, &opened.plan, |_, forecasts| {
        Graph::of(&opened.plan, &forecasts)
    })?;
    if arguments.json {
        terminal.result(to_json(&graph));
        return Ok(ExitCode::Success);
    }
    match arguments.format {
        FormatArgument::Text => print(&graph, terminal),
        FormatArgument::Mermaid => terminal.bytes(mermaid::draw(&graph).as_bytes()),
        FormatArgument::Dot => terminal.bytes(dot::draw(&graph).as_bytes()),
        FormatArgument::Svg => terminal.bytes(svg::draw(&graph).as_bytes()),
    }
    Ok(ExitCode::Success)
}

fn print(graph: &Graph, terminal: &mut Terminal) {
    let Columns { layout, most } = terminal.columns();
    let (lines, name_width) = text::lines(graph, layout);
    let (stages, layers) = (graph.nodes.len(), graph.layers().len());
    terminal.result(format_args!(
        "{BOLD}{}{BOLD:#}: {} in {}",
        graph.title,
        count(stages, "stage", "stages"),
        count(layers, "layer", "layers")
    ));
    let digits = layers.to_string().len();
    for line in lines {
        let layer = line.layer.map_or(String::new(), |layer| layer.to_string());
        let style = style_of(line.mark);
        let symbol = line.mark.symbol();
        let name = shown(&line.name);
        let mut text = format!("{layer:>digits$}  {symbol} {}", pad(&name, name_width));
        if !line.reads.is_empty() {
            text.push_str(&format!("  ← {}", shown(&line.reads)));
        }
        terminal.result(format_args!("{style}{}{style:#}", cut(text.trim_end(), most)));
    }
    let counts = graph.counts().into_iter().filter(|(_, count)| *count > 0);
    let legend: Vec<_> = counts
        .map(|(mark, count)| format!("{} {count} {}", mark.symbol(), mark.words()))
        .collect();
    terminal.result(cut(&legend.join("   "), most));
}

fn style_of(mark: Mark) -> anstyle::Style {
    match mark {
        Mark::UpToDate => DIM,
        Mark::Restore => GOOD,
        Mark::Perhaps => WARNING,
        Mark::Run => BOLD,
        Mark::Refused | Mark::Blocked => ERROR,
    }
}

fn to_json(graph: &Graph) -> serde_json::Value {
    let layers = graph.layer_of_each();
    let stages = graph.nodes.iter().zip(layers).map(|(node, layer)| {
        let reads: Vec<&str> = node.reads.iter().map(|read| graph.nodes[*read].name.as_str()).collect();
        json!({ "stage": node.name, "layer": layer + 1, "state": node.state, "why": node.why, "readsFrom": reads })
    });
    json!({ "version": 1, "pipeline": graph.title, "stages": stages.collect::<Vec<_>>() })
}
