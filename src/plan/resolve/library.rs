//! Stage definitions: read once each, and laid over the built-in that they name.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::files::read_text;
use super::near::near;
use super::{paths, values};
use crate::diagnostic::{Diagnostic, Source, nearest, quoted};
use crate::plan::{DefinitionFile, ParamValue};
use crate::spec::{
    self, Body, Definition, Node, NodeKind, ParamSpec, Port, Surroundings, Text, WrittenLimits, check, parse,
};
use crate::stages::Builtin;
use crate::tree::Tree;

/// What a stage that `uses:` something is.
pub(super) struct Defined<'b> {
    pub(super) source: Arc<Source>,
    /// `None` if its fault has been reported.
    pub(super) command: Option<DefinedCommand<'b>>,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    pub(super) params: Vec<DefinedParam>,
    pub(super) surroundings: Surroundings,
    pub(super) streams: spec::Streams,
    pub(super) limits: WrittenLimits,
    /// Whether nothing is wrong with it, so that what it lacks is really not there.
    pub(super) is_sound: bool,
    /// Which of the plan's definition files it is.
    pub(super) file: Option<usize>,
}

/// What a defined stage runs.
pub(super) enum DefinedCommand<'b> {
    Builtin(&'b Builtin),
    Argv(Vec<Text>),
    Run(Text),
}

/// A parameter of a defined stage.
pub(super) struct DefinedParam {
    /// What every value must be: first as the definition says, then as the built-in under it does.
    pub(super) specs: Vec<ParamSpec>,
    /// `None` if a pipeline must give one.
    pub(super) default: Option<ParamValue>,
}

impl DefinedParam {
    pub(super) fn name(&self) -> &str {
        &self.specs[0].name.text
    }
}

/// The definitions that a pipeline uses.
pub(super) struct Library<'a> {
    tree: &'a dyn Tree,
    builtins: &'a [Builtin],
    /// By what `uses:` says; `None` for one whose fault has been reported.
    loaded: HashMap<String, Option<Rc<Defined<'a>>>>,
    /// The pipeline file first.
    pub(super) files: Vec<DefinitionFile>,
}

impl<'a> Library<'a> {
    pub(super) fn new(tree: &'a dyn Tree, builtins: &'a [Builtin], pipeline: DefinitionFile) -> Self {
        Self {
            tree,
            builtins,
            loaded: HashMap::new(),
            files: vec![pipeline],
        }
    }

    /// The definition that `uses`, in the pipeline `source`, names.
    pub(super) fn load(
        &mut self,
        source: &Arc<Source>,
        uses: &Text,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Rc<Defined<'a>>> {
        if let Some(loaded) = self.loaded.get(&uses.text) {
            return loaded.clone();
        }
        let result = match uses.text.strip_prefix("madmall/") {
            Some(name) => self.load_builtin(source, uses, name, faults),
            None => self.load_file(source, uses, faults),
        };
        let loaded = match result {
            Ok(defined) => defined.map(Rc::new),
            Err(fault) => {
                faults.push(*fault);
                None
            }
        };
        self.loaded.insert(uses.text.clone(), loaded.clone());
        loaded
    }

    fn load_builtin(
        &self,
        source: &Arc<Source>,
        uses: &Text,
        name: &str,
        faults: &mut Vec<Diagnostic>,
    ) -> Result<Option<Defined<'a>>, Box<Diagnostic>> {
        let builtin = self.builtin(source, uses, name, "madmall/")?;
        Ok(embedded(builtin, faults).map(|definition| Defined {
            command: Some(DefinedCommand::Builtin(builtin)),
            ..plain(definition, faults)
        }))
    }

    fn load_file(
        &mut self,
        source: &Arc<Source>,
        uses: &Text,
        faults: &mut Vec<Diagnostic>,
    ) -> Result<Option<Defined<'a>>, Box<Diagnostic>> {
        let refuse = |message: &str, help: String| {
            let fault = Diagnostic::error(message).at(source, uses.span, "used here");
            Err(Box::new(fault.help(help)))
        };
        let path = match paths::normalise(&uses.text) {
            Ok(path) => path,
            Err(fault) => return refuse(fault.message(), fault.help().to_owned()),
        };
        if let Some(folder) = paths::private_folder(&path) {
            return refuse(
                &format!("a stage definition cannot lie in `{folder}`"),
                "put it in `stages/`".to_owned(),
            );
        }
        let read = read_text(self.tree, &path).map_err(|fault| {
            // Point to the file if the fault lies in it, else to where it is used.
            match fault.labels.is_empty() {
                true => Box::new(fault.at(source, uses.span, "used here")),
                false => fault,
            }
        })?;
        let Some((file, digests)) = read else {
            let help = self.advice(&uses.text, &path);
            return refuse(&format!("there is no stage definition {}", quoted(&uses.text)), help);
        };
        let index = match self.files.iter().position(|known| known.path == path) {
            Some(index) => index,
            None => {
                let size = file.text().len() as u64;
                self.files.push(DefinitionFile { path, digests, size });
                self.files.len() - 1
            }
        };
        let faults_before = faults.len();
        let (root, wrong) = parse(&file);
        faults.extend(wrong);
        let Some(root) = root else {
            return Ok(None);
        };
        let (definition, wrong) = check::definition(&file, &root);
        faults.extend(wrong);
        let mut defined = self.complete(definition, faults)?;
        defined.file = Some(index);
        defined.is_sound = faults.len() == faults_before;
        Ok(Some(defined))
    }

    fn complete(&self, definition: Definition, faults: &mut Vec<Diagnostic>) -> Result<Defined<'a>, Box<Diagnostic>> {
        let command = match definition.body.clone() {
            Some(Body::Builtin(name)) => {
                let builtin = self.builtin(&definition.source, &name, &name.text, "")?;
                return Ok(match embedded(builtin, faults) {
                    Some(base) => Defined {
                        command: Some(DefinedCommand::Builtin(builtin)),
                        ..overlay(&base, definition, &name, faults)
                    },
                    None => plain(definition, faults),
                });
            }
            Some(Body::Argv(argv)) => Some(DefinedCommand::Argv(argv)),
            Some(Body::Run(text)) => Some(DefinedCommand::Run(text)),
            Some(Body::Uses(_)) | None => None,
        };
        Ok(Defined {
            command,
            ..plain(definition, faults)
        })
    }

    fn builtin(
        &self,
        source: &Arc<Source>,
        at: &Text,
        name: &str,
        prefix: &str,
    ) -> Result<&'a Builtin, Box<Diagnostic>> {
        let builtins = self.builtins;
        if let Some(builtin) = builtins.iter().find(|builtin| builtin.name == name) {
            return Ok(builtin);
        }
        let names = builtins.iter().map(|builtin| builtin.name);
        let help = match nearest(name, names.clone()) {
            Some(known) => format!("did you mean `{prefix}{known}`?"),
            None => {
                let names: Vec<String> = names.map(|name| format!("`{prefix}{name}`")).collect();
                format!("there are {}", names.join(", "))
            }
        };
        let fault = Diagnostic::error(format!("no built-in stage is called {}", quoted(name)));
        Err(Box::new(fault.at(source, at.span, "").help(help)))
    }

    fn advice(&self, written: &str, path: &Utf8Path) -> String {
        if let Some(near) = near(self.tree, path, |_| true) {
            return near.advice();
        }
        let stem = path.file_stem().unwrap_or_default();
        let names = self.builtins.iter().map(|builtin| builtin.name);
        match names
            .clone()
            .find(|name| *name == stem)
            .or_else(|| nearest(stem, names))
        {
            Some(name) => format!("madmall has that stage built in: `uses: madmall/{name}`"),
            None => format!(
                "write the stage definition {}, or give `argv:` or `run:` instead",
                quoted(written)
            ),
        }
    }
}

/// The definition that a built-in carries. A fault in it is ours, and is said in the same way.
fn embedded(builtin: &Builtin, faults: &mut Vec<Diagnostic>) -> Option<Definition> {
    let source = Source::new(format!("madmall/{}", builtin.name), builtin.definition);
    let (root, wrong) = parse(&source);
    faults.extend(wrong);
    let (definition, wrong) = check::definition(&source, &root?);
    faults.extend(wrong);
    Some(definition)
}

/// A definition that stands by itself.
fn plain<'b>(definition: Definition, faults: &mut Vec<Diagnostic>) -> Defined<'b> {
    let Definition { source, params, .. } = definition;
    let params = params.into_iter().map(|spec| {
        let default = default(&source, std::slice::from_ref(&spec), faults);
        DefinedParam {
            specs: vec![spec],
            default,
        }
    });
    Defined {
        params: params.collect(),
        command: None,
        inputs: definition.inputs,
        outputs: definition.outputs,
        surroundings: definition.surroundings,
        streams: definition.streams,
        limits: definition.limits,
        is_sound: true,
        file: None,
        source,
    }
}

/// The built-in's definition `base` with what the file `over` says otherwise.
fn overlay<'b>(base: &Definition, over: Definition, name: &Text, faults: &mut Vec<Diagnostic>) -> Defined<'b> {
    let source = Arc::clone(&over.source);
    let inputs = overlay_ports(&source, name, "input", &base.inputs, over.inputs, faults);
    let outputs = overlay_ports(&source, name, "output", &base.outputs, over.outputs, faults);
    for spec in &over.params {
        let known = base.params.iter().map(|base| base.name.text.as_str());
        match base.params.iter().find(|base| base.name.text == spec.name.text) {
            None => faults.push(unknown(&source, &spec.name, "parameter", &name.text, known)),
            Some(base) if base.kind != spec.kind => faults.push(
                Diagnostic::error(format!(
                    "parameter `{}` has another type in `{}`",
                    spec.name.text, name.text
                ))
                .at(&source, spec.name.span, "")
                .help(format!(
                    "there it is {}; leave `type` as it is there",
                    base.kind.described()
                )),
            ),
            Some(_) => {}
        }
    }
    let params = base.params.iter().map(|base_spec| {
        let over = over
            .params
            .iter()
            .find(|spec| spec.name == base_spec.name || spec.name.text == base_spec.name.text);
        match over.filter(|over| over.kind == base_spec.kind) {
            Some(over) if over.default.is_some() => {
                let specs = vec![over.clone(), base_spec.clone()];
                let default = default(&source, &specs, faults);
                DefinedParam { specs, default }
            }
            other => {
                let default = default(&base.source, std::slice::from_ref(base_spec), faults);
                let specs = other.into_iter().chain([base_spec]).cloned().collect();
                DefinedParam { specs, default }
            }
        }
    });
    Defined {
        params: params.collect(),
        command: None,
        inputs,
        outputs,
        surroundings: over.surroundings,
        streams: over.streams,
        limits: over.limits,
        is_sound: true,
        file: None,
        source,
    }
}

fn overlay_ports(
    source: &Arc<Source>,
    builtin: &Text,
    of: &str,
    base: &[Port],
    over: Vec<Port>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Port> {
    for port in base.iter().filter(|port| !port.optional) {
        if !over.iter().any(|over| over.name.text == port.name.text) {
            faults.push(
                Diagnostic::error(format!("{of} `{}` of `{}` is missing", port.name.text, builtin.text))
                    .at(source, builtin.span, "")
                    .help(format!("add `{}: {{}}` to `{of}s:`", port.name.text)),
            );
        }
    }
    let mut ports: Vec<Port> = Vec::new();
    for port in over {
        match base.iter().find(|base| base.name.text == port.name.text) {
            None => {
                let known = base.iter().map(|base| base.name.text.as_str());
                faults.push(unknown(source, &port.name, of, &builtin.text, known));
            }
            Some(base) if port.optional && !base.optional => faults.push(
                Diagnostic::error(format!(
                    "{of} `{}` cannot be left out of `{}`",
                    port.name.text, builtin.text
                ))
                .at(source, port.name.span, "")
                .help("remove `optional: true`"),
            ),
            Some(_) if port.is_folder => faults.push(
                Diagnostic::error(format!("{of} `{}` of `{}` is a file", port.name.text, builtin.text))
                    .at(source, port.name.span, "")
                    .help("remove `folder: true`: built-in stages write files"),
            ),
            Some(_) => ports.push(port),
        }
    }
    let absent = base
        .iter()
        .filter(|base| !ports.iter().any(|port| port.name.text == base.name.text));
    let absent: Vec<Port> = absent.cloned().collect();
    ports.extend(absent);
    ports
}

/// The message for a name that a definition does not have.
pub(super) fn unknown<'n>(
    source: &Arc<Source>,
    name: &Text,
    of: &str,
    stage: &str,
    known: impl Iterator<Item = &'n str> + Clone,
) -> Diagnostic {
    let help = match nearest(&name.text, known.clone()) {
        Some(known) => format!("did you mean `{known}`?"),
        None => match known.collect::<Vec<_>>() {
            known if known.is_empty() => format!("it has no {of}s: remove it"),
            known => format!("its {of}s are `{}`", known.join("`, `")),
        },
    };
    Diagnostic::error(format!("`{stage}` has no {of} `{}`", name.text))
        .at(source, name.span, "")
        .help(help)
}

/// The default of a parameter, checked against all that its values must be.
fn default(source: &Arc<Source>, specs: &[ParamSpec], faults: &mut Vec<Diagnostic>) -> Option<ParamValue> {
    let first = &specs[0];
    for spec in specs.iter().take(1) {
        for choice in spec
            .choices
            .iter()
            .flatten()
            .filter(|choice| choice.kind != NodeKind::Broken)
        {
            if values::as_type(choice, spec.kind).is_none() {
                let message = format!(
                    "a choice of parameter `{}` must be {}",
                    spec.name.text,
                    spec.kind.described()
                );
                let help = format!("write {}, or change `type`", spec.kind.described());
                faults.push(
                    Diagnostic::error(message)
                        .at(source, values::head(choice), "")
                        .help(help),
                );
            }
        }
    }
    let Some(node) = &first.default else {
        return first.optional.then_some(ParamValue::Null);
    };
    if let Some(span) = interpolated(node) {
        faults.push(
            Diagnostic::error("a default is a value: `${` is not allowed here")
                .at(source, span, "")
                .help("write the value out; a pipeline can give another one"),
        );
        return Some(ParamValue::Null);
    }
    let mut value = ParamValue::Null;
    for spec in specs {
        match values::typed(source, node, spec) {
            Ok(typed) => value = typed,
            Err(fault) => {
                faults.push(*fault);
                break;
            }
        }
    }
    Some(value)
}

fn interpolated(node: &Node) -> Option<crate::diagnostic::Span> {
    match &node.kind {
        NodeKind::Scalar { text, .. } => text.contains("${").then_some(node.span),
        NodeKind::List(items) => items.iter().find_map(interpolated),
        NodeKind::Map(entries) => entries.iter().find_map(|(_, value)| interpolated(value)),
        NodeKind::Broken => None,
    }
}

/// The paths of all definition files.
pub(super) fn definition_paths(files: &[DefinitionFile]) -> Vec<&Utf8PathBuf> {
    files.iter().map(|file| &file.path).collect()
}
