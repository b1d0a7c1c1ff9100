//! What is personal, along the DAG: what is said to be, and everything made from it until a stage declassifies it.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

use super::library::Defined;
use super::values::untyped;
use crate::diagnostic::Diagnostic;
use crate::plan::{Command, InputSource, Stage};
use crate::shared_path::SharedPath;
use crate::spec::{PipelineSpec, Scalar, scalar};
use crate::stages::ingest::{BUILTIN as INGEST, REJECTS};

/// Marks what is personal among the inputs and outputs of `stages`, which stand in an order that can be run.
pub(super) fn spread(stages: &mut [Stage]) {
    let said = said_of_sources(stages);
    for at in 0..stages.len() {
        let (before, rest) = stages.split_at_mut(at);
        let stage = &mut rest[0];
        for input in &mut stage.inputs {
            input.is_personal |= match &input.source {
                InputSource::Output { stage, output } => before[stage.index()].outputs[*output].is_personal,
                // One stage says it for all that read the file.
                source => source.files().any(|file| said.contains(file.as_str())),
            };
        }
        let is_ingest = matches!(&stage.command, Command::Builtin { name, .. } if name == INGEST.name);
        let reads_personal = stage.inputs.iter().any(|input| input.is_personal) || !stage.personal.is_empty();
        for output in &mut stage.outputs {
            let is_declassified = stage.declassify.binary_search(&output.name).is_ok();
            output.is_personal |= reads_personal && !is_declassified;
            // The lines that were refused are events of persons, whatever is wrong with them.
            output.is_personal |= is_ingest && output.name == REJECTS;
        }
    }
}

/// The texts of the personal parameters' values, as they may stand in a command. `None` if one cannot be masked there; it has been
/// reported. Nor can one that stands in the files that everybody can read: where a mask stands in place of their text, it would be told.
pub(super) fn values(
    spec: &PipelineSpec,
    defined: &[Option<Rc<Defined<'_>>>],
    faults: &mut Vec<Diagnostic>,
) -> Option<BTreeSet<String>> {
    let files = || {
        let definitions = defined.iter().flatten().map(|defined| defined.source.text());
        definitions.chain([spec.source.text()])
    };
    let mut values = BTreeSet::new();
    let before = faults.len();
    for name in &spec.personal {
        let Some((_, node)) = spec.params.iter().find(|(own, _)| own.text == name.text) else {
            continue;
        };
        let written = node.as_text().map(|text| text.text);
        let shortest = super::values::text(&untyped(node));
        let is_null = matches!(scalar(node), Some(Scalar::Null));
        // Nothing is done to these where they are put into a command, so that they can be found there.
        let is_plain = |c: char| c.is_alphanumeric() || "._@:/+ -".contains(c);
        match (written, shortest) {
            _ if is_null => {}
            (Some(written), Some(shortest)) if written.chars().all(is_plain) => {
                let stands_there = |value: &String| !value.is_empty() && files().any(|text| text.contains(value));
                // One that is written out in the pipeline has been told of.
                if before == 0 && [&written, &shortest].into_iter().any(stands_there) {
                    let message = format!(
                        "the value of the personal parameter `{}` stands in the pipeline's own text as well",
                        name.text
                    );
                    let fault = Diagnostic::error(message).at(&spec.source, name.span, "");
                    faults.push(fault.help("what is kept out of receipts must be nowhere in the pipeline, or it could be told by where it is missing; give it in a file that is an input with `personal: true`"));
                }
                values.extend([written, shortest]);
            }
            _ => {
                let message = format!(
                    "the value of the personal parameter `{}` cannot be kept out of receipts",
                    name.text
                );
                let fault = Diagnostic::error(message).at(&spec.source, name.span, "");
                faults.push(fault.help("it has to be a text or a number of letters, digits and `._@:/+ -`; put anything else into a file that is an input with `personal: true`"));
            }
        }
    }
    values.remove("");
    (faults.len() == before).then_some(values)
}

/// The files of sources that any stage says are personal.
fn said_of_sources(stages: &[Stage]) -> HashSet<SharedPath> {
    let inputs = stages.iter().flat_map(|stage| &stage.inputs);
    let said = inputs.filter(|input| input.is_personal);
    said.flat_map(|input| input.source.files())
        .map(SharedPath::from)
        .collect()
}
