//! Raw events and rejected ones are for `ingest` alone: no other stage may walk around consent.

use std::collections::HashMap;

use camino::Utf8Path;

use super::inputs::{Found, Links};
use super::outputs::OutputAt;
use crate::diagnostic::{Diagnostic, Span};
use crate::shared_path::SharedPath;
use crate::spec::PipelineSpec;
use crate::stages::ingest::{BUILTIN as INGEST, EVENTS, REJECTS};

/// Refuses every stage that is no ingest and reads what only an ingest may read. `builtins` has the name of the built-in
/// that each stage is, if it is one. A file
/// is the same by whatever link it is read.
pub(super) fn check(
    spec: &PipelineSpec,
    builtins: &[Option<&str>],
    inputs: &[Vec<Option<Found>>],
    links: &Links,
    faults: &mut Vec<Diagnostic>,
) {
    let mut raw_files: HashMap<&Utf8Path, usize> = HashMap::new();
    let mut raw_outputs: HashMap<OutputAt, usize> = HashMap::new();
    let is_ingest = |stage: usize| builtins[stage] == Some(INGEST.name);
    for (at, stage) in spec.stages.iter().enumerate().filter(|(at, _)| is_ingest(*at)) {
        for ((name, _), found) in stage.inputs.iter().zip(&inputs[at]) {
            match found.as_ref().filter(|_| name.text == EVENTS) {
                None | Some(Found::Absent) => {}
                Some(Found::File { path }) => {
                    raw_files.entry(real(links, path)).or_insert(at);
                }
                Some(Found::Folder { files, .. } | Found::Glob { files, .. }) => {
                    for file in files {
                        raw_files.entry(real(links, file)).or_insert(at);
                    }
                }
                // What one ingest has let through may be read by anybody, and by another ingest.
                Some(Found::Output(output)) if is_ingest(output.0) => {}
                Some(Found::Output(output)) => {
                    raw_outputs.entry(*output).or_insert(at);
                }
                Some(Found::Gather { stages, output }) => {
                    for stage in stages.clone().filter(|stage| !is_ingest(*stage)) {
                        raw_outputs.entry((stage, *output)).or_insert(at);
                    }
                }
            }
        }
        if let Some(place) = stage.outputs.iter().position(|(name, _)| name.text == REJECTS) {
            raw_outputs.insert((at, place), at);
        }
    }
    for (at, stage) in spec.stages.iter().enumerate() {
        for ((name, written), found) in stage.inputs.iter().zip(&inputs[at]) {
            // An ingest may read them, but only as events, so that it judges them.
            if is_ingest(at) && name.text == EVENTS {
                continue;
            }
            let raw = match found {
                None | Some(Found::Absent) => None,
                Some(Found::File { path }) => find(&raw_files, links, [path.as_path()]),
                Some(Found::Folder { files, .. } | Found::Glob { files, .. }) => {
                    find(&raw_files, links, files.iter().map(SharedPath::as_path))
                }
                Some(Found::Output(output)) => raw_outputs
                    .get(output)
                    .map(|ingest| (*ingest, written.text.clone(), output.0 == *ingest)),
                Some(Found::Gather { stages, output }) => stages.clone().find_map(|stage| {
                    let ingest = raw_outputs.get(&(stage, *output))?;
                    Some((*ingest, written.text.clone(), stage == *ingest))
                }),
            };
            if let Some((ingest, what, is_rejects)) = raw {
                faults.push(refusal(spec, written.span, &stage.name.text, ingest, &what, is_rejects));
            }
        }
    }
}

fn real<'a>(links: &'a Links, path: &'a Utf8Path) -> &'a Utf8Path {
    links.get(path).map_or(path, |real| real)
}

fn find<'f>(
    raw: &HashMap<&Utf8Path, usize>,
    links: &'f Links,
    files: impl IntoIterator<Item = &'f Utf8Path>,
) -> Option<(usize, String, bool)> {
    if raw.is_empty() {
        return None;
    }
    files.into_iter().find_map(|file| {
        raw.get(real(links, file))
            .map(|ingest| (*ingest, file.to_string(), false))
    })
}

fn refusal(spec: &PipelineSpec, at: Span, stage: &str, ingest: usize, what: &str, is_rejects: bool) -> Diagnostic {
    let ingest = &spec.stages[ingest];
    let name = &ingest.name.text;
    let (message, place, reason) = match is_rejects {
        true => (
            format!("only ingest may read `{what}`: it holds what was rejected"),
            ingest.outputs.iter().find(|(port, _)| port.text == REJECTS),
            "rejected events are written here",
        ),
        false => (
            format!("only ingest may read `{what}`: it holds events before consent was looked at"),
            ingest.inputs.iter().find(|(port, _)| port.text == EVENTS),
            "read as raw events here",
        ),
    };
    let fault = Diagnostic::error(message).at(&spec.source, at, format!("read by stage `{stage}`"));
    let fault = match place {
        Some((_, written)) => fault.at(&spec.source, written.span, reason),
        None => fault,
    };
    fault.help(format!("read `{name}.{EVENTS}` instead: what ingest let through"))
}
