//! From a pipeline file to a [`Plan`]: names become ids, defaults values, templates text; or all that is wrong with it.
//!
//! A pure function of a tree of files: no environment, no clock, no absolute path. `verify --at` calls it with the tree
//! of a commit.

mod axes;
mod consent;
mod expand;
mod families;
mod files;
mod glob;
mod graph;
mod include;
mod inputs;
mod library;
mod near;
mod outputs;
mod overrides;
mod paths;
mod personal;
mod program;
mod purposes;
mod shell;
mod stage;
mod surroundings;
mod template;
mod values;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use self::expand::Expanded;
use self::families::Families;
pub use self::glob::{find_files, is_pattern, stands_for};
use self::inputs::Found;
use self::library::{Defined, DefinedCommand, Library};
use self::outputs::{OutputAt, Outputs};
pub use self::overrides::Overrides;
pub(crate) use self::paths::{folded, private_folder};
pub use self::purposes::{SETTINGS_FILE, purposes_of};
use self::stage::Draft;
use self::values::PipelineParams;
use super::{DefinitionFile, Input, InputSource, Output, Plan, Stage, StageId, gathered_name};
use crate::consent::purposes::Purposes;
use crate::diagnostic::{Diagnostic, Faults, Severity, Source, nearest, quoted};
use crate::spec::{Body, PipelineSpec, parse};
use crate::stages::{BUILTINS, Builtin};
use crate::tree::Tree;

/// How long the commands of all stages may be together, in bytes: axes multiply them.
const MOST_COMMANDS: usize = 256 << 20;

/// A plan, and what is worth a look all the same.
#[derive(Debug)]
pub struct Resolution {
    /// The plan.
    pub plan: Plan,
    /// Nothing in it stops a run.
    pub warnings: Vec<Diagnostic>,
}

/// Resolves the pipeline file at `pipeline_file`, relative to the root of `tree`, with the stages that come with madmall.
///
/// # Errors
///
/// [`Faults`]: everything that is wrong with the pipeline and the stage definitions it uses, in the order of the file.
pub fn resolve(tree: &dyn Tree, pipeline_file: &Utf8Path) -> Result<Resolution, Faults> {
    resolve_with(tree, pipeline_file, BUILTINS)
}

/// Like [`resolve`], with `overrides` in the place of what the pipeline's `params:` say.
///
/// # Errors
///
/// Like [`resolve`].
pub fn resolve_set(tree: &dyn Tree, pipeline_file: &Utf8Path, overrides: &Overrides) -> Result<Resolution, Faults> {
    resolve_all(tree, pipeline_file, BUILTINS, overrides)
}

/// Like [`resolve`], with `builtins` as the stages that come with madmall.
///
/// # Errors
///
/// Like [`resolve`].
pub fn resolve_with(tree: &dyn Tree, pipeline_file: &Utf8Path, builtins: &[Builtin]) -> Result<Resolution, Faults> {
    resolve_all(tree, pipeline_file, builtins, &Overrides::default())
}

fn resolve_all(
    tree: &dyn Tree,
    pipeline_file: &Utf8Path,
    builtins: &[Builtin],
    overrides: &Overrides,
) -> Result<Resolution, Faults> {
    let (source, definition_file) = read_pipeline(tree, pipeline_file)?;
    let (root, mut faults) = parse(&source);
    let Some(root) = root else {
        return Err(Faults(faults));
    };
    let include::Included { mut spec, files } =
        include::read(tree, &definition_file.path, (&source, &root), &mut faults);
    overrides.apply(&mut spec, &mut faults);
    let purposes = purposes::read(tree, &mut faults);
    purposes::check(&spec, &purposes, &mut faults);
    let Expanded { spec, families } = expand::stages(tree, spec, &mut faults);
    let mut library = Library::new(tree, builtins, definition_file);
    library.files.extend(files);
    let plan = build(tree, &spec, &families, &mut library, &mut faults).map(|plan| Plan { purposes, ..plan });
    let faults = sorted(&source, &families, faults);
    let (errors, warnings): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault| fault.severity == Severity::Error);
    match plan.filter(|_| errors.is_empty()) {
        Some(plan) => Ok(Resolution { plan, warnings }),
        // What else could be better is said when nothing is wrong any more.
        None => Err(Faults(errors)),
    }
}

/// A pipeline to begin with, for who has none.
const FIRST: &str = "{version: 1, name: first, stages: {hello: {run: 'echo hello > ${outputs.text}', \
                     outputs: {text: out/hello.txt}}}}";

fn read_pipeline(tree: &dyn Tree, path: &Utf8Path) -> Result<(Arc<Source>, DefinitionFile), Faults> {
    let one = |fault: Diagnostic| Faults(vec![fault]);
    let normal = paths::normalise(path.as_str()).map_err(|fault| {
        one(Diagnostic::error(fault.message())
            .in_file(path.as_str())
            .help(fault.help()))
    })?;
    match files::read_text(tree, &normal).map_err(|fault| one(*fault))? {
        Some((source, digests)) => {
            let size = source.text().len() as u64;
            Ok((
                source,
                DefinitionFile {
                    path: normal,
                    digests,
                    size,
                },
            ))
        }
        None => {
            let folder = Utf8Path::new("pipelines");
            let others = match tree.kind(folder) {
                Ok(Some(_)) => tree.files_below(folder).unwrap_or_default(),
                _ => Vec::new(),
            };
            let others: Vec<&str> = others.iter().map(|below| below.path.as_str()).collect();
            let help = match (nearest(normal.as_str(), others.iter().copied()), &others[..]) {
                (Some(known), _) => format!("did you mean `{known}`?"),
                (None, []) => format!("write it there, such as `{FIRST}`"),
                (None, [first, ..]) => format!("there is `{first}`"),
            };
            let message = format!("there is no pipeline file {}", quoted(normal.as_str()));
            Err(one(Diagnostic::error(message).in_file(normal.as_str()).help(help)))
        }
    }
}

/// Builds the plan; `None` if that is not possible. Whatever is wrong is added to `faults`.
fn build(
    tree: &dyn Tree,
    spec: &PipelineSpec,
    families: &Families,
    library: &mut Library<'_>,
    faults: &mut Vec<Diagnostic>,
) -> Option<Plan> {
    let defined: Vec<Option<Rc<Defined<'_>>>> = spec
        .stages
        .iter()
        .map(|stage| match &stage.body {
            Some(Body::Uses(uses)) => library.load(&spec.source, uses, faults),
            _ => None,
        })
        .collect();
    let outputs = outputs::collect(tree, spec, &library::definition_paths(&library.files), faults);
    families.refuse_outputs(spec, &outputs, faults);
    let (inputs, links) = inputs::resolve(tree, spec, families, &outputs, faults);
    outputs::refuse_in_inputs(spec, &outputs, &inputs, faults);
    let builtins: Vec<Option<&str>> = defined.iter().map(|defined| builtin_name(defined.as_deref())).collect();
    consent::check(spec, &builtins, &inputs, &links, faults);

    let mut pipeline = PipelineParams::new(&spec.source, &spec.params, faults);
    let mut drafts = Vec::with_capacity(spec.stages.len());
    let mut size = 0;
    for (at, written) in spec.stages.iter().enumerate() {
        let mut drafting = stage::Drafting {
            spec,
            written,
            defined: defined[at].as_deref(),
            outputs: &outputs,
            found: &inputs[at],
            at,
            pipeline: &mut pipeline,
            faults,
        };
        let draft = drafting.draft();
        size += draft.as_ref().map_or(0, |draft| draft.command.size());
        drafts.push(draft);
        if size > MOST_COMMANDS {
            let message = format!(
                "the commands of all stages together are longer than {} MiB",
                MOST_COMMANDS >> 20
            );
            let fault = Diagnostic::error(message).at(&spec.source, written.name.span, "up to this stage");
            faults.push(fault.help("put long texts into a script that is an input, or let fewer stages gather"));
            return None;
        }
    }
    warn_of_unused(spec, &pipeline, faults);
    let unread = unread(spec, &inputs);
    warn_of_unread(spec, &unread, faults);
    let order = find_order(spec, &inputs, faults)?;
    let drafts: Vec<Draft> = drafts.into_iter().collect::<Option<_>>()?;
    let mut assembly = Assembly {
        spec,
        outputs: &outputs,
        inputs,
        unread,
        ids: vec![StageId::new(0); order.len()],
        sorted_outputs: Vec::new(),
    };
    assembly.number(&order);
    let mut drafts: Vec<Option<Draft>> = drafts.into_iter().map(Some).collect();
    let stages: Option<Vec<Stage>> = order
        .iter()
        .map(|at| assembly.stage(*at, drafts[*at].take()?))
        .collect();
    let mut stages = stages?;
    personal::spread(&mut stages);
    Some(Plan {
        pipeline: spec.name.as_ref()?.text.clone(),
        purpose: spec.purpose.as_ref().map(|purpose| purpose.text.clone()),
        purposes: Purposes::default(),
        pipeline_file: library.files.first()?.path.clone(),
        definition_files: library.files.clone(),
        stages,
        personal: personal::values(spec, &defined, faults)?,
    })
}

fn builtin_name<'b>(defined: Option<&Defined<'b>>) -> Option<&'b str> {
    match defined?.command.as_ref()? {
        DefinedCommand::Builtin(builtin) => Some(builtin.name),
        _ => None,
    }
}

fn warn_of_unused(spec: &PipelineSpec, pipeline: &PipelineParams<'_>, faults: &mut Vec<Diagnostic>) {
    for (name, _) in spec.params.iter().filter(|(name, _)| !pipeline.is_used(&name.text)) {
        faults.push(
            Diagnostic::warning(format!("nothing uses the parameter `{}`", name.text))
                .at(&spec.source, name.span, "")
                .help(format!("remove it, or refer to it as `${{params.{}}}`", name.text)),
        );
    }
}

/// The outputs that are written as temporary and that no stage reads.
fn unread(spec: &PipelineSpec, inputs: &[Vec<Option<Found>>]) -> HashSet<OutputAt> {
    let mut read: HashSet<OutputAt> = HashSet::new();
    for found in inputs.iter().flatten().flatten() {
        match found {
            Found::Output(at) => drop(read.insert(*at)),
            Found::Gather { stages, output } => read.extend(stages.clone().map(|stage| (stage, *output))),
            Found::File { .. } | Found::Folder { .. } | Found::Glob { .. } | Found::Absent => {}
        }
    }
    let mut unread = HashSet::new();
    for (at, stage) in spec.stages.iter().enumerate() {
        for name in &stage.temporary {
            let index = stage.outputs.iter().position(|(own, _)| own.text == name.text);
            unread.extend(index.map(|index| (at, index)).filter(|at| !read.contains(at)));
        }
    }
    unread
}

/// Who makes something temporary that nobody reads either means something else, or makes it for nothing.
fn warn_of_unread(spec: &PipelineSpec, unread: &HashSet<OutputAt>, faults: &mut Vec<Diagnostic>) {
    for (at, stage) in spec.stages.iter().enumerate() {
        for name in &stage.temporary {
            let index = stage.outputs.iter().position(|(own, _)| own.text == name.text);
            if index.is_some_and(|index| unread.contains(&(at, index))) {
                let message = format!("no stage reads the temporary output `{}`, so it stays", name.text);
                let fault = Diagnostic::warning(message).at(&spec.source, name.span, "");
                faults.push(fault.help("remove `temp: true`, or let a stage read it"));
            }
        }
    }
}

/// The order in which the stages can run, as places in the file.
fn find_order(spec: &PipelineSpec, inputs: &[Vec<Option<Found>>], faults: &mut Vec<Diagnostic>) -> Option<Vec<usize>> {
    let mut edges = Vec::new();
    for (reader, found) in inputs.iter().enumerate() {
        for found in found {
            let makers = found.as_ref().map_or(0..0, Found::makers);
            edges.extend(makers.map(|maker| (maker, reader)));
        }
    }
    let cycles = match graph::order(spec.stages.len(), &edges) {
        Ok(order) => return Some(order),
        Err(cycles) => cycles,
    };
    for cycle in cycles {
        let name = |at: usize| spec.stages[at].name.text.as_str();
        let mut path: Vec<&str> = cycle.iter().map(|at| name(*at)).collect();
        path.push(name(cycle[0]));
        // A long cycle is drawn by its ends.
        if path.len() > 12 {
            path.splice(6..path.len() - 5, ["…"]);
        }
        let mut fault = Diagnostic::error(format!("the stages form a cycle: {}", path.join(" → ")));
        for (index, maker) in cycle.iter().enumerate().take(6) {
            let reader = cycle[(index + 1) % cycle.len()];
            let reads = |found: &Option<Found>| found.as_ref().is_some_and(|found| found.makers().contains(maker));
            if let Some(input) = inputs[reader].iter().position(reads) {
                let label = format!("`{}` reads what `{}` writes", name(reader), name(*maker));
                fault = fault.at(&spec.source, spec.stages[reader].inputs[input].1.span, label);
            }
        }
        faults
            .push(fault.help("one of these inputs must come from somewhere else: a file, or a stage before the cycle"));
    }
    None
}

/// Puts what was found into the plan's own form.
struct Assembly<'a> {
    spec: &'a PipelineSpec,
    outputs: &'a Outputs,
    inputs: Vec<Vec<Option<Found>>>,
    /// The temporary outputs that no stage reads: they stay, like any other.
    unread: HashSet<OutputAt>,
    /// For each stage as written its place in the plan.
    ids: Vec<StageId>,
    /// For each stage as written, for each output as written its place among the sorted ones.
    sorted_outputs: Vec<Vec<usize>>,
}

impl Assembly<'_> {
    fn number(&mut self, order: &[usize]) {
        for (id, at) in order.iter().enumerate() {
            self.ids[*at] = StageId::new(id);
        }
        let places = self.spec.stages.iter().map(|stage| {
            let names: BTreeMap<&str, usize> = stage
                .outputs
                .iter()
                .enumerate()
                .map(|(at, (name, _))| (name.text.as_str(), at))
                .collect();
            let mut places = vec![0; stage.outputs.len()];
            for (place, at) in names.into_values().enumerate() {
                places[at] = place;
            }
            places
        });
        self.sorted_outputs = places.collect();
    }

    /// `None` if a fault in it has been reported.
    fn stage(&mut self, at: usize, draft: Draft) -> Option<Stage> {
        let written = &self.spec.stages[at];
        let mut inputs = Vec::with_capacity(written.inputs.len());
        for ((name, _), found) in written.inputs.iter().zip(std::mem::take(&mut self.inputs[at])) {
            let name = &name.text;
            let is_personal = written.personal.inputs.iter().any(|own| own.text == *name);
            let input = |name: String, source| Input {
                name,
                source,
                is_personal,
            };
            inputs.extend(match found? {
                Found::File { path } => [input(name.clone(), InputSource::File { path })].into(),
                Found::Folder { path, files } => [input(name.clone(), InputSource::Folder { path, files })].into(),
                Found::Glob { pattern, files, .. } => {
                    [input(name.clone(), InputSource::Glob { pattern, files })].into()
                }
                Found::Output(at) => [input(name.clone(), self.output(at))].into(),
                // The stage is as if it were not written, until it is there.
                Found::Absent => Vec::new(),
                // Each is an input of its own, so that a receipt names for each the receipt that made it.
                Found::Gather { stages, output } => stages
                    .map(|stage| {
                        Some(input(
                            gathered_name(name, self.outputs.path((stage, output))?),
                            self.output((stage, output)),
                        ))
                    })
                    .collect::<Option<Vec<_>>>()?,
            });
        }
        inputs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let mut outputs = Vec::with_capacity(written.outputs.len());
        for (index, (name, _)) in written.outputs.iter().enumerate() {
            let path: &Utf8PathBuf = self.outputs.path((at, index))?;
            let mut tolerances = written.tolerances.iter();
            let tolerance = tolerances.find(|(own, _)| own.text == name.text);
            outputs.push(Output {
                name: name.text.clone(),
                path: path.clone(),
                is_folder: self.outputs.is_folder((at, index)),
                tolerance: tolerance.map(|(_, tolerance)| tolerance.clone()),
                is_temporary: written.temporary.iter().any(|own| own.text == name.text)
                    && !self.unread.contains(&(at, index)),
                is_personal: written.personal.outputs.iter().any(|own| own.text == name.text),
            });
        }
        outputs.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Some(Stage {
            name: written.name.text.clone(),
            uses: draft.uses,
            definition_file: draft.definition_file,
            included: written.included.clone(),
            command: draft.command,
            params: draft.params,
            inputs,
            outputs,
            env: draft.surroundings.env,
            secrets: draft.surroundings.secrets,
            tools: draft.surroundings.tools,
            pin: draft.surroundings.pin,
            sandbox: draft.surroundings.sandbox,
            limits: draft.limits,
            network: draft.surroundings.network,
            streams: draft.streams,
            requires: written.consent.requires.as_ref().map(|purpose| purpose.text.clone()),
            declassify: written.declassified(),
            personal: self.personal_params(&draft.refers_to),
            actual: None,
        })
    }

    /// Those of the parameters that are personal, sorted.
    fn personal_params(&self, referred: &BTreeSet<String>) -> Vec<String> {
        let said = |name: &&String| self.spec.personal.iter().any(|own| own.text == **name);
        referred.iter().filter(said).cloned().collect()
    }

    fn output(&self, (stage, output): OutputAt) -> InputSource {
        InputSource::Output {
            stage: self.ids[stage],
            output: self.sorted_outputs[stage][output],
        }
    }
}

/// In the order of the pipeline file, faults of other files after them, by name; each once, for a definition that
/// several stages use is filled in for each of them.
fn sorted(pipeline: &Arc<Source>, families: &Families, mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    faults.sort_by_cached_key(|fault| {
        let label = fault.labels.first();
        let is_elsewhere = !label.is_some_and(|label| Arc::ptr_eq(&label.source, pipeline));
        let name = label
            .filter(|_| is_elsewhere)
            .map(|label| label.source.name().to_owned());
        (is_elsewhere, name, label.map(|label| label.span.start))
    });
    let mut seen = HashSet::new();
    faults.retain(|fault| {
        let place = fault
            .labels
            .first()
            .map(|label| (label.source.name().to_owned(), label.span));
        seen.insert((place, fault.message.clone()))
    });
    families.thin_out(faults)
}
