//! `matrix:` and `foreach:`: from a stage as written to one for each combination of the values of its axes.
//!
//! In the order written, the first axis slowest. What is made is a stage like any other, with the values in its paths and
//! the spans of what was written, so that all that follows knows of axes only where it looks for a value or a producer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use camino::Utf8Path;

use super::axes;
use super::families::{Families, Family};
use super::program::Advice;
use super::template::{Dialect, Kind, Piece, Reference, pieces};
use crate::diagnostic::{Diagnostic, Source, Span, nearest};
use crate::plan::stage_name::{MAX_STAGE_NAME, made_name};
use crate::receipt::payload::PAYLOAD_LIMITS;
use crate::spec::{AxisKind, Body, Chosen, Node, NodeKind, PipelineSpec, Stage, Text};
use crate::tree::Tree;

/// How many stages a pipeline may have once its axes are multiplied out: the receipt of a run names them all, and must stay
/// within [`PAYLOAD_LIMITS`].
const MOST_STAGES: usize = 25_000;
/// How large the stages that axes make may be together, roughly, in bytes.
const MOST_BYTES: usize = 256 << 20;
/// What a stage, and each thing in it, takes beside its texts, roughly.
const OVERHEAD: usize = 256;

/// A pipeline with its axes multiplied out.
pub(super) struct Expanded {
    pub(super) spec: PipelineSpec,
    pub(super) families: Families,
}

/// Makes the stages that the axes of `spec` stand for.
pub(super) fn stages(tree: &dyn Tree, spec: PipelineSpec, faults: &mut Vec<Diagnostic>) -> Expanded {
    let mut families = Families::default();
    let mut maker = Maker {
        tree,
        source: Arc::clone(&spec.source),
        bytes: 0,
        receipt: 0,
        made: Vec::with_capacity(spec.stages.len()),
        unfilled: HashSet::new(),
        faults,
    };
    for written in spec.stages {
        maker.expand(written, &mut families);
    }
    let stages = maker.made;
    families.unfilled = maker.unfilled;
    Expanded {
        spec: PipelineSpec { stages, ..spec },
        families,
    }
}

struct Maker<'a> {
    tree: &'a dyn Tree,
    source: Arc<Source>,
    bytes: usize,
    /// How long what the receipt of a run says of the stages will be, roughly.
    receipt: usize,
    made: Vec<Stage>,
    unfilled: HashSet<Span>,
    faults: &'a mut Vec<Diagnostic>,
}

impl Maker<'_> {
    fn fault(&mut self, span: Span, message: String, help: impl Into<String>) {
        self.faults
            .push(Diagnostic::error(message).at(&self.source, span, "").help(help));
    }

    fn expand(&mut self, written: Stage, families: &mut Families) {
        let first = self.made.len();
        let name = written.name.text.clone();
        let extent = extent(&written);
        let mut axes = Vec::new();
        match self.values(&written, families) {
            None => self.made.push(emptied(written)),
            Some(values) => {
                axes = self.multiply(&written, values);
            }
        }
        let stages = first..self.made.len();
        if stages.len() > 1 {
            families.extents.push(self.source.locate(extent));
        }
        families.by_name.entry(name).or_insert(Family { stages, axes });
    }

    /// The values of each axis of `written`; `None` if a fault in them has been reported.
    fn values(&mut self, written: &Stage, families: &mut Families) -> Option<Vec<Vec<Chosen>>> {
        let mut all = Vec::with_capacity(written.axes.len());
        for axis in &written.axes {
            let found = axis.values.as_ref().and_then(|values| {
                let (values, pattern) = axes::values(self.tree, &self.source, axis, values, self.faults)?;
                families.patterns.extend(pattern);
                Some(values)
            });
            all.push(found);
        }
        all.into_iter().collect()
    }

    /// Makes a stage for each combination of `values`; gives the axes with the places of their values.
    fn multiply(&mut self, written: &Stage, mut values: Vec<Vec<Chosen>>) -> Vec<(String, HashMap<String, usize>)> {
        let first: Vec<Chosen> = values.iter().filter_map(|axis| axis.first().cloned()).collect();
        let inputs = self.templates(written.inputs.iter().map(|(_, text)| text), &first);
        let outputs = self.templates(written.outputs.iter().map(|(_, text)| text), &first);
        let parts = written
            .lists
            .iter()
            .map(|(_, parts)| self.templates(parts.iter(), &first));
        let lists: Vec<_> = parts.collect();
        let fits = self.outputs_differ(written, &outputs) && self.has_room(written, &values);
        if !fits {
            // One of them shows whatever else is wrong.
            values.iter_mut().for_each(|axis| axis.truncate(1));
        }
        let count = values.iter().map(Vec::len).product();
        for number in 0..count {
            let chosen = combination(&values, number);
            let fill_text = |text: &Text, template: &Option<Vec<PathPiece>>| match template {
                None => text.clone(),
                Some(template) => Text {
                    text: fill(template, &chosen),
                    span: text.span,
                },
            };
            let fill = |(name, text): &(Text, Text), template: &Option<Vec<PathPiece>>| {
                (name.clone(), fill_text(text, template))
            };
            let fill_list = |(name, parts): &(String, Vec<Text>), templates: &Vec<Option<Vec<PathPiece>>>| {
                let parts = parts.iter().zip(templates);
                (
                    name.clone(),
                    parts.map(|(part, template)| fill_text(part, template)).collect(),
                )
            };
            let mut made = Stage {
                inputs: written
                    .inputs
                    .iter()
                    .zip(&inputs)
                    .map(|(port, template)| fill(port, template))
                    .collect(),
                outputs: written
                    .outputs
                    .iter()
                    .zip(&outputs)
                    .map(|(port, template)| fill(port, template))
                    .collect(),
                lists: written
                    .lists
                    .iter()
                    .zip(&lists)
                    .map(|(list, templates)| fill_list(list, templates))
                    .collect(),
                axes: Vec::new(),
                ..written.clone()
            };
            if !chosen.is_empty() {
                let pairs = chosen.iter().map(|chosen| (chosen.axis.as_str(), chosen.text.as_str()));
                made.name.text = made_name(&written.name.text, pairs);
            }
            made.chosen = chosen;
            self.made.push(made);
        }
        let places = values.iter().filter_map(|axis| {
            let places = axis
                .iter()
                .enumerate()
                .map(|(place, value)| (value.text.clone(), place));
            Some((axis.first()?.axis.clone(), places.collect()))
        });
        places.collect()
    }

    fn templates<'t>(
        &mut self,
        texts: impl Iterator<Item = &'t Text>,
        chosen: &[Chosen],
    ) -> Vec<Option<Vec<PathPiece>>> {
        texts.map(|text| self.template(text, chosen)).collect()
    }

    /// A path with values of axes in it, taken apart; `None` for one without, which stays as it is written.
    fn template(&mut self, text: &Text, chosen: &[Chosen]) -> Option<Vec<PathPiece>> {
        if !text.text.contains("${") {
            return None;
        }
        let (pieces, wrong) = pieces(&text.text, Dialect::Plain);
        let has_axis = |piece: &Piece| matches!(piece, Piece::Reference(reference) if reference.kind.is_axis());
        if !wrong.is_empty() || !pieces.iter().any(has_axis) {
            return None;
        }
        let mut template = Vec::with_capacity(pieces.len());
        for piece in pieces {
            template.push(match piece {
                Piece::Literal(literal) => PathPiece::Literal(literal),
                // That nothing else can stand in a path is said by whoever reads it.
                Piece::Reference(reference) if !reference.kind.is_axis() => {
                    PathPiece::Literal(text.text[reference.start..reference.end].to_owned())
                }
                Piece::Reference(reference) => match find_axis(chosen, &reference) {
                    Ok(axis) => PathPiece::Axis {
                        axis,
                        is_stem: reference.kind == Kind::Stem,
                    },
                    Err(advice) => {
                        self.faults.push(advice.at(&self.source, text, &reference));
                        self.unfilled.insert(text.span);
                        PathPiece::Literal("unknown".to_owned())
                    }
                },
            });
        }
        Some(template)
    }

    /// Whether each output's path has every axis in it; else all combinations would write one file.
    fn outputs_differ(&mut self, written: &Stage, templates: &[Option<Vec<PathPiece>>]) -> bool {
        let mut differ = true;
        for ((name, text), template) in written.outputs.iter().zip(templates) {
            if self.unfilled.contains(&text.span) {
                differ = false;
                continue;
            }
            for (at, axis) in written.axes.iter().enumerate() {
                let uses = |piece: &PathPiece| matches!(piece, PathPiece::Axis { axis, .. } if *axis == at);
                if template.iter().flatten().any(uses) {
                    continue;
                }
                differ = false;
                let axis_name = &axis.name.text;
                let message = format!(
                    "output `{}` is the same file for every value of `{axis_name}`",
                    name.text
                );
                let reference = match axis.kind {
                    AxisKind::Matrix => format!("`${{matrix.{axis_name}}}`"),
                    AxisKind::Foreach => format!("`${{foreach.{axis_name}.stem}}`"),
                };
                let fault = Diagnostic::error(message).at(&self.source, text.span, "").at(
                    &self.source,
                    axis.name.span,
                    "a stage is made for each value of this",
                );
                self.faults.push(fault.help(format!(
                    "put {reference} into the path, so that each has a file of its own"
                )));
            }
        }
        differ
    }

    /// Whether the stages are not too many, too large, or too long in name.
    fn has_room(&mut self, written: &Stage, values: &[Vec<Chosen>]) -> bool {
        let Some(axis) = written.axes.first() else {
            return true;
        };
        let span = axis.name.span;
        let count = values
            .iter()
            .try_fold(1_usize, |count, axis| count.checked_mul(axis.len()));
        let total = count.map_or(usize::MAX, |count| count.saturating_add(self.made.len()));
        if total > MOST_STAGES {
            let message = format!("the pipeline has more than {MOST_STAGES} stages");
            self.fault(
                span,
                message,
                "give the axes fewer values, or let one stage do the work of several",
            );
            return false;
        }
        let longest = |axis: &Vec<Chosen>| axis.iter().map(|value| value.text.len()).max().unwrap_or(0);
        let name: usize = values.iter().map(longest).sum::<usize>()
            + written.axes.iter().map(|axis| axis.name.text.len() + 2).sum::<usize>();
        let name = written.name.text.len() + name + 2;
        if name > MAX_STAGE_NAME {
            let message = format!("the names of the stages that are made are longer than {MAX_STAGE_NAME} bytes");
            self.fault(span, message, "give the axes shorter values, or have fewer axes");
            return false;
        }
        let paths: usize = written
            .outputs
            .iter()
            .map(|(port, path)| OVERHEAD + port.text.len() + path.text.len() + name)
            .sum();
        self.receipt = self
            .receipt
            .saturating_add((OVERHEAD + name + paths).saturating_mul(count.unwrap_or(usize::MAX)));
        if self.receipt > PAYLOAD_LIMITS.bytes {
            let message = "the receipt of a run would be too long, with the names of all stages and outputs".to_owned();
            self.fault(span, message, "give the axes fewer or shorter values");
            return false;
        }
        self.bytes = self
            .bytes
            .saturating_add(size(written).saturating_mul(count.unwrap_or(usize::MAX)));
        if self.bytes > MOST_BYTES {
            let message = "the stages that are made are too large together".to_owned();
            self.fault(
                span,
                message,
                "give the axes fewer values, or put long texts into a script that is an input",
            );
            return false;
        }
        true
    }
}

/// A piece of a path.
enum PathPiece {
    Literal(String),
    /// The value of the axis of this place.
    Axis {
        axis: usize,
        is_stem: bool,
    },
}

fn fill(template: &[PathPiece], chosen: &[Chosen]) -> String {
    let mut text = String::new();
    for piece in template {
        match piece {
            PathPiece::Literal(literal) => text.push_str(literal),
            PathPiece::Axis { axis, is_stem: false } => text.push_str(&chosen[*axis].text),
            PathPiece::Axis { axis, is_stem: true } => text.push_str(stem(&chosen[*axis].text)),
        }
    }
    text
}

/// The combination of that number: the first axis is the slowest.
fn combination(values: &[Vec<Chosen>], number: usize) -> Vec<Chosen> {
    let mut rest = number;
    let mut chosen = Vec::with_capacity(values.len());
    for axis in values.iter().rev() {
        chosen.push(axis[rest % axis.len()].clone());
        rest /= axis.len();
    }
    chosen.reverse();
    chosen
}

/// What is left of a stage whose axes have a fault: its name.
fn emptied(written: Stage) -> Stage {
    Stage {
        body: None,
        inputs: Vec::new(),
        lists: Vec::new(),
        outputs: Vec::new(),
        params: Vec::new(),
        axes: Vec::new(),
        ..written
    }
}

fn stem(text: &str) -> &str {
    Utf8Path::new(text).file_stem().unwrap_or(text)
}

/// Which of `chosen` the `reference` means.
fn find_axis(chosen: &[Chosen], reference: &Reference) -> Result<usize, Advice> {
    let name = reference.name.as_str();
    let Some(at) = chosen.iter().position(|chosen| chosen.axis == name) else {
        let help = match nearest(name, chosen.iter().map(|chosen| chosen.axis.as_str())) {
            Some(known) => format!("did you mean `{known}`?"),
            None => format!("add it: `matrix: {{ {name}: [1, 2] }}`"),
        };
        let message = format!("this stage has no axis `{name}`");
        return Err(Advice { message, help });
    };
    let (field, is_same) = match chosen[at].kind {
        AxisKind::Matrix => ("matrix", reference.kind == Kind::Matrix),
        AxisKind::Foreach => ("foreach", reference.kind != Kind::Matrix),
    };
    match is_same {
        true => Ok(at),
        false => Err(Advice {
            message: format!("`{name}` is an axis of `{field}`"),
            help: format!("write `${{{field}.{name}}}`"),
        }),
    }
}

/// The text that is put in for `reference`.
pub(super) fn axis_text(chosen: &[Chosen], reference: &Reference) -> Result<String, Advice> {
    let text = &chosen[find_axis(chosen, reference)?].text;
    Ok(match reference.kind {
        Kind::Stem => stem(text).to_owned(),
        _ => text.clone(),
    })
}

/// The value that is put in for `reference`, with its type.
pub(super) fn axis_value(chosen: &[Chosen], reference: &Reference) -> Result<Node, Advice> {
    let found = &chosen[find_axis(chosen, reference)?];
    Ok(match reference.kind {
        Kind::Stem => Node {
            span: found.node.span,
            kind: NodeKind::Scalar {
                text: stem(&found.text).to_owned(),
                plain: false,
            },
        },
        _ => found.node.clone(),
    })
}

/// All values of a stage's texts and ports.
fn texts(stage: &Stage) -> Vec<&Text> {
    let mut texts = vec![&stage.name];
    match &stage.body {
        Some(Body::Argv(argv)) => texts.extend(argv),
        Some(Body::Uses(text) | Body::Builtin(text) | Body::Run(text)) => texts.push(text),
        None => {}
    }
    texts.extend(
        stage
            .inputs
            .iter()
            .chain(&stage.outputs)
            .flat_map(|(name, text)| [name, text]),
    );
    texts.extend(stage.lists.iter().flat_map(|(_, parts)| parts));
    texts.extend(stage.surroundings.names());
    texts.extend(stage.axes.iter().map(|axis| &axis.name));
    texts
}

/// Where a stage is written, from its name to its last text.
fn extent(stage: &Stage) -> Span {
    let params = stage.params.iter().map(|(_, node)| node.span.end);
    let ends = texts(stage).into_iter().map(|text| text.span.end).chain(params);
    Span::new(stage.name.span.start, ends.max().unwrap_or(stage.name.span.end))
}

/// How large a stage is, roughly.
fn size(stage: &Stage) -> usize {
    fn node_size(node: &Node) -> usize {
        OVERHEAD
            + match &node.kind {
                NodeKind::Scalar { text, .. } => text.len(),
                NodeKind::List(items) => items.iter().map(node_size).sum(),
                NodeKind::Map(entries) => entries
                    .iter()
                    .map(|(key, value)| key.text.len() + node_size(value))
                    .sum(),
                NodeKind::Broken => 0,
            }
    }
    let params: usize = stage.params.iter().map(|(_, node)| node_size(node)).sum();
    texts(stage)
        .iter()
        .map(|text| text.text.len() + OVERHEAD)
        .sum::<usize>()
        + params
}
