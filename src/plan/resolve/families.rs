//! Which stages each written one has made: what a reader of them gets, and how many faults are told of them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use camino::Utf8Path;

use super::glob::Glob;
use super::outputs::{OutputAt, Outputs};
use crate::diagnostic::{Diagnostic, Source, Span, quoted};
use crate::plan::stage_name::family;
use crate::spec::{PipelineSpec, Stage, Text};

/// So many faults of one kind are told of one place in a stage that axes multiply.
const MOST_ALIKE: usize = 3;

/// Which stages each written one has made.
#[derive(Default)]
pub(super) struct Families {
    pub(super) by_name: HashMap<String, Family>,
    /// The patterns of `foreach:`.
    pub(super) patterns: Vec<(Glob, Text)>,
    /// Where stages of which there are several are written.
    pub(super) extents: Vec<(Arc<Source>, Span)>,
    /// The paths in which an axis stands that the stage does not have. That has been said; what they would be is not known.
    pub(super) unfilled: HashSet<Span>,
}

/// The stages that a written one has made.
pub(super) struct Family {
    /// Their places, in the order of their values.
    pub(super) stages: Range<usize>,
    /// The axes: name, and each value's place.
    pub(super) axes: Vec<(String, HashMap<String, usize>)>,
}

/// Which of a family a stage reads.
pub(super) enum Own {
    /// There is only one, without axes.
    Single,
    /// The one with the same values.
    At(usize),
    /// All: the reader does not have all the axes.
    All,
    /// It has all the axes, but not a value that the reader has: axis and value.
    Missing(String, String),
}

impl Family {
    pub(super) fn own(&self, reader: &Stage) -> Own {
        if self.axes.is_empty() {
            return Own::Single;
        }
        let mut at = 0;
        let mut missing = None;
        for (axis, values) in &self.axes {
            let Some(chosen) = reader.chosen.iter().find(|chosen| chosen.axis == *axis) else {
                return Own::All;
            };
            match values.get(&chosen.text) {
                Some(place) => at = at * values.len() + place,
                None => missing = Some(Own::Missing(axis.clone(), chosen.text.clone())),
            }
        }
        missing.unwrap_or(Own::At(self.stages.start + at))
    }
}

impl Families {
    /// The stages that the written one of this name has made.
    pub(super) fn get(&self, name: &str) -> Option<&Family> {
        self.by_name.get(name)
    }

    /// Refuses outputs that a pattern of `foreach:` finds: the next run would make a stage for each of them.
    pub(super) fn refuse_outputs(&self, spec: &PipelineSpec, outputs: &Outputs, faults: &mut Vec<Diagnostic>) {
        for (glob, pattern) in &self.patterns {
            let mut found: Vec<_> = outputs.iter().filter(|(path, _)| glob.finds(path)).collect();
            found.extend(found_in_folder(glob, spec, outputs));
            found.sort_unstable_by_key(|(_, at)| *at);
            let Some((path, (stage, output))) = found.first() else {
                continue;
            };
            let stage = &spec.stages[*stage];
            let message = format!("the pattern {} finds the output `{path}` too", quoted(&pattern.text));
            let label = format!("written by stage `{}`", family(&stage.name.text));
            faults.push(
                Diagnostic::error(message)
                    .at(
                        &spec.source,
                        pattern.span,
                        "a stage is made for each file that this finds",
                    )
                    .at(&spec.source, stage.outputs[*output].1.span, label)
                    .help("write outputs where the pattern does not look"),
            );
        }
    }

    /// Leaves few of the faults that are alike in one place of a stage of which there are many.
    pub(super) fn thin_out(&self, mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
        if self.extents.is_empty() {
            return faults;
        }
        let mut seen: HashSet<(*const Source, Span, String)> = HashSet::new();
        let mut alike: HashMap<(*const Source, Span, String), usize> = HashMap::new();
        faults.retain(|fault| {
            let Some(label) = fault.labels.first() else {
                return true;
            };
            let is_inside = |(source, extent): &(Arc<Source>, Span)| {
                let is_there = extent.start <= label.span.start && label.span.end <= extent.end;
                is_there && Arc::ptr_eq(source, &label.source)
            };
            if !self.extents.iter().any(is_inside) {
                return true;
            }
            let file = Arc::as_ptr(&label.source);
            let nameless = without(&fault.message, '[', ']');
            let count = alike
                .entry((file, label.span, without(&fault.message, '`', '`')))
                .or_default();
            *count += 1;
            seen.insert((file, label.span, nameless)) && *count <= MOST_ALIKE
        });
        faults
    }
}

/// An output folder in which the pattern has found a file.
fn found_in_folder<'a>(glob: &Glob, spec: &PipelineSpec, outputs: &'a Outputs) -> Option<(&'a Utf8Path, OutputAt)> {
    let chosen = spec.stages.iter().flat_map(|stage| &stage.chosen);
    let mut files = chosen.map(|chosen| Utf8Path::new(&chosen.text));
    let at = files.find_map(|file| outputs.folder_above(file).filter(|_| glob.finds(file)))?;
    Some((outputs.path(at)?, at))
}

/// `text` without whatever stands between `open` and `close`.
fn without(text: &str, open: char, close: char) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut is_inside = false;
    for c in text.chars() {
        if is_inside {
            is_inside = c != close;
        } else if c == open {
            is_inside = true;
        } else {
            kept.push(c);
        }
    }
    kept
}
