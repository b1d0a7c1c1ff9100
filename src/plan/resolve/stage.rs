//! One stage: its ports and parameters against its definition, and what it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::inputs::Found;
use super::library::{Defined, DefinedCommand, unknown};
use super::outputs::Outputs;
use super::program::{self, Scope};
use super::surroundings::Surroundings;
use super::values::{self, Params, PipelineParams};
use crate::diagnostic::{Diagnostic, Source, Span};
use crate::plan::{Command, Limits, ParamValue, Streams};
use crate::spec::{Body, NodeKind, PipelineSpec, Port, Stage, Text};
use crate::stages::Builtin;

/// A stage without its inputs and outputs.
pub(super) struct Draft {
    pub(super) uses: Option<String>,
    pub(super) definition_file: Option<usize>,
    pub(super) command: Command,
    pub(super) params: Params,
    pub(super) surroundings: Surroundings,
    pub(super) streams: Streams,
    pub(super) limits: Limits,
    /// The pipeline's parameters that it refers to.
    pub(super) refers_to: BTreeSet<String>,
}

/// All that is known of the stage `at`.
pub(super) struct Drafting<'a, 'p> {
    pub(super) spec: &'a PipelineSpec,
    pub(super) written: &'a Stage,
    pub(super) defined: Option<&'a Defined<'a>>,
    pub(super) outputs: &'a Outputs,
    pub(super) found: &'a [Option<Found>],
    pub(super) at: usize,
    pub(super) pipeline: &'a mut PipelineParams<'p>,
    pub(super) faults: &'a mut Vec<Diagnostic>,
}

impl Drafting<'_, '_> {
    /// `None` if something is wrong; it has been reported.
    pub(super) fn draft(&mut self) -> Option<Draft> {
        self.pipeline.take_touched();
        let params = match (&self.written.body, self.defined) {
            (Some(Body::Uses(uses)), Some(defined)) => {
                let name = uses.text.as_str();
                if defined.is_sound {
                    self.check_ports(name, ("input", "inputs"), &defined.inputs, &self.written.inputs);
                    self.check_ports(name, ("output", "outputs"), &defined.outputs, &self.written.outputs);
                    self.check_optional(name, &defined.inputs);
                    self.check_folders(name, &defined.outputs);
                }
                self.defined_params(name, defined)
            }
            (Some(Body::Uses(_)) | None, _) => {
                self.check_params();
                return None;
            }
            _ => self.own_params(),
        };
        let surroundings = self.surroundings();
        let streams = self.streams();
        let command = self.command(&params)?;
        let params: Option<Params> = params.into_iter().map(|(name, value)| Some((name, value?))).collect();
        Some(Draft {
            uses: match &self.written.body {
                Some(Body::Uses(uses)) => Some(uses.text.clone()),
                _ => None,
            },
            definition_file: self.defined.and_then(|defined| defined.file),
            command,
            params: params?,
            surroundings,
            streams,
            limits: self.limits(),
            refers_to: self.pipeline.take_touched(),
        })
    }

    fn fault(&mut self, span: Span, message: String, help: String) {
        let fault = Diagnostic::error(message).at(&self.spec.source, span, "");
        self.faults.push(fault.help(help));
    }

    fn check_ports(&mut self, uses: &str, (of, field): (&str, &str), declared: &[Port], given: &[(Text, Text)]) {
        for (name, _) in given {
            if !declared.iter().any(|port| port.name.text == name.text) {
                let known = declared.iter().map(|port| port.name.text.as_str());
                self.faults.push(unknown(&self.spec.source, name, of, uses, known));
            }
        }
        if self.written.meant.contains(&field) {
            return;
        }
        for port in declared.iter().filter(|port| !port.optional) {
            let name = &port.name.text;
            if !given.iter().any(|(given, _)| given.text == *name) {
                let message = format!("stage `{}` lacks the {of} `{name}`", self.written.name.text);
                let help = format!("`{uses}` needs it: add `{name}: …` to `{field}:`");
                self.fault(self.written.name.span, message, help);
            }
        }
    }

    /// An input that the definition needs cannot be one that may be absent.
    fn check_optional(&mut self, uses: &str, declared: &[Port]) {
        for name in &self.written.optional {
            if declared
                .iter()
                .any(|port| port.name.text == name.text && !port.optional)
            {
                let message = format!("`{uses}` needs the input `{}`, so it cannot be optional", name.text);
                self.fault(name.span, message, "remove `optional`".to_owned());
            }
        }
    }

    /// Looks at the parameters of a stage of which it could not be found out what it is.
    fn check_params(&mut self) {
        for (_, node) in &self.written.params {
            self.pipeline.substitute(node, &self.written.chosen, self.faults);
        }
    }

    fn own_params(&mut self) -> BTreeMap<String, Option<ParamValue>> {
        let mut params = BTreeMap::new();
        for (name, node) in &self.written.params {
            let node = self.pipeline.substitute(node, &self.written.chosen, self.faults);
            let value = (node.kind != NodeKind::Broken).then(|| values::untyped(&node));
            params.insert(name.text.clone(), value);
        }
        params
    }

    fn defined_params(&mut self, uses: &str, defined: &Defined<'_>) -> BTreeMap<String, Option<ParamValue>> {
        let mut params = BTreeMap::new();
        for (name, node) in &self.written.params {
            let node = self.pipeline.substitute(node, &self.written.chosen, self.faults);
            let Some(param) = defined.params.iter().find(|param| param.name() == name.text) else {
                if !defined.is_sound {
                    continue;
                }
                let known = defined.params.iter().map(|param| param.name());
                self.faults
                    .push(unknown(&self.spec.source, name, "parameter", uses, known));
                continue;
            };
            let mut value = (node.kind != NodeKind::Broken).then_some(ParamValue::Null);
            for spec in param.specs.iter().filter(|_| node.kind != NodeKind::Broken) {
                match values::typed(&self.spec.source, &node, spec) {
                    Ok(typed) => value = Some(typed),
                    Err(fault) => {
                        self.faults.push(*fault);
                        value = None;
                        break;
                    }
                }
            }
            params.insert(name.text.clone(), value);
        }
        for param in &defined.params {
            let name = param.name();
            if params.contains_key(name) {
                continue;
            }
            let is_meant = self.written.meant.contains(&"params");
            if param.default.is_none() && defined.is_sound && !is_meant {
                let message = format!("stage `{}` lacks the parameter `{name}`", self.written.name.text);
                let kind = param.specs[0].kind.described();
                let help = format!("`{uses}` needs it: add `{name}: …`, {kind}, to `params:`");
                self.fault(self.written.name.span, message, help);
            }
            params.insert(name.to_owned(), param.default.clone());
        }
        params
    }

    /// What holds the stage back: as it says, else as its definition does.
    fn limits(&mut self) -> Limits {
        let own = (&self.spec.source, &self.written.limits);
        let under = self.defined.map(|defined| (&defined.source, &defined.limits));
        let is_builtin = |defined: &Defined<'_>| matches!(defined.command, Some(DefinedCommand::Builtin(_)));
        if self.defined.is_some_and(is_builtin) {
            for (source, limits) in std::iter::once(own).chain(under) {
                if let Some(key) = &limits.of_programs {
                    let message = format!("a built-in stage has no `{}`", key.text);
                    let help = "remove it: a built-in stage ends by itself, and fails in the same way each time";
                    self.faults
                        .push(Diagnostic::error(message).at(source, key.span, "").help(help));
                }
            }
        }
        let limits = own.1.limits.clone();
        match under {
            Some((_, under)) => limits.over(&under.limits),
            None => limits,
        }
    }

    pub(super) fn is_builtin(&self) -> bool {
        let command = self.defined.and_then(|defined| defined.command.as_ref());
        matches!(command, Some(DefinedCommand::Builtin(_)))
    }

    /// `stdin:` and `stdout:` of the stage, or of its definition. A port that is not given is connected with nothing.
    fn streams(&mut self) -> Streams {
        let written = self.written;
        let (source, streams) = match self.defined {
            Some(defined) => (Arc::clone(&defined.source), &defined.streams),
            None => (Arc::clone(&self.spec.source), &written.streams),
        };
        let stdin = streams.stdin.as_ref().filter(|name| self.is_file(&source, name));
        let stdout = streams.stdout.as_ref().filter(|name| {
            let declared = self.defined.map_or(&[][..], |defined| &defined.outputs[..]);
            self.is_port(&source, name, "output", declared, &written.outputs) && self.is_file_output(&source, name)
        });
        Streams {
            stdin: stdin.map(|name| name.text.clone()),
            stdout: stdout.map(|name| name.text.clone()),
        }
    }

    /// Whether the output `name` is a file; a folder is a fault.
    fn is_file_output(&mut self, source: &Arc<Source>, name: &Text) -> bool {
        let given = self.written.outputs.iter().find(|(given, _)| given.text == name.text);
        let Some((_, path)) = given.filter(|(_, path)| path.text.ends_with('/')) else {
            return true;
        };
        let message = format!("`stdout` is a file, and the output `{}` is a folder", name.text);
        let fault = Diagnostic::error(message).at(source, name.span, "");
        let fault = fault.at(&self.spec.source, path.span, "its path ends in `/`");
        self.faults.push(fault.help("name an output that is a file"));
        false
    }

    /// Outputs are folders just where the definition says so.
    fn check_folders(&mut self, uses: &str, declared: &[Port]) {
        for (name, path) in &self.written.outputs {
            let Some(port) = declared.iter().find(|port| port.name.text == name.text) else {
                continue;
            };
            let (message, help) = match (port.is_folder, path.text.ends_with('/')) {
                (true, false) => (
                    format!("the output `{}` of `{uses}` is a folder", name.text),
                    format!("write its path with a `/` at the end: `{}/`", path.text),
                ),
                (false, true) => (
                    format!("the output `{}` of `{uses}` is a file", name.text),
                    "remove the `/` at the end; a definition says of a folder `folder: true`".to_owned(),
                ),
                _ => continue,
            };
            self.fault(path.span, message, help);
        }
    }

    /// Whether the stage has an input `name`; one that is no single file is a fault.
    fn is_file(&mut self, source: &Arc<Source>, name: &Text) -> bool {
        let declared = self.defined.map_or(&[][..], |defined| &defined.inputs[..]);
        if !self.is_port(source, name, "input", declared, &self.written.inputs) {
            return false;
        }
        let mut inputs = self.written.inputs.iter().zip(self.found);
        let found = inputs.find(|((input, _), _)| input.text == name.text);
        // One that is optional and not there is as if it were not written.
        if matches!(found, Some((_, Some(Found::Absent)))) {
            return false;
        }
        let several = match found {
            Some((_, Some(Found::Folder { .. } | Found::Glob { .. }))) => Some("a folder or a pattern"),
            Some((_, Some(Found::Gather { .. }))) => Some("the outputs of all that it makes"),
            Some((_, Some(Found::Output(at)))) if self.outputs.is_folder(*at) => Some("a folder that a stage writes"),
            _ => None,
        };
        if let (Some(several), Some(((_, written), _))) = (several, found) {
            let message = format!("`stdin` is a file, and the input `{}` is several", name.text);
            let fault = Diagnostic::error(message).at(source, name.span, "");
            let fault = fault.at(&self.spec.source, written.span, several);
            self.faults.push(fault.help("name an input that is one file"));
            return false;
        }
        true
    }

    /// Whether the stage has a port `name`. One that is neither given nor declared is a fault.
    fn is_port(
        &mut self,
        source: &Arc<Source>,
        name: &Text,
        of: &str,
        declared: &[Port],
        given: &[(Text, Text)],
    ) -> bool {
        if given.iter().any(|(given, _)| given.text == name.text) {
            return true;
        }
        let known: Vec<&str> = match self.defined {
            Some(_) => declared.iter().map(|port| port.name.text.as_str()).collect(),
            None => given.iter().map(|(given, _)| given.text.as_str()).collect(),
        };
        if !known.contains(&name.text.as_str()) {
            let stage = &self.written.name.text;
            let fault = unknown(source, name, of, stage, known.into_iter());
            self.faults.push(fault);
        }
        false
    }

    fn command(&mut self, params: &BTreeMap<String, Option<ParamValue>>) -> Option<Command> {
        match (&self.written.body, self.defined) {
            (Some(Body::Argv(argv)), _) => Some(self.program(&self.spec.source, Program::Argv(argv), params)),
            (Some(Body::Run(text)), _) => Some(self.program(&self.spec.source, Program::Run(text), params)),
            (Some(Body::Uses(uses)), Some(defined)) => match defined.command.as_ref()? {
                DefinedCommand::Builtin(builtin) => self.builtin(builtin, uses),
                DefinedCommand::Argv(argv) => Some(self.program(&defined.source, Program::Argv(argv), params)),
                DefinedCommand::Run(text) => Some(self.program(&defined.source, Program::Run(text), params)),
            },
            _ => None,
        }
    }

    fn builtin(&mut self, builtin: &Builtin, uses: &Text) -> Option<Command> {
        let purpose = match builtin.needs_purpose {
            false => None,
            true => self.spec.purpose.as_ref().map(|purpose| purpose.text.clone()),
        };
        if builtin.needs_purpose && purpose.is_none() {
            let message = format!("the pipeline has no purpose, and `{}` needs one", uses.text);
            let help = "say what the result is for: write `purpose: research` or `purpose: care` below `name:`";
            self.fault(uses.span, message, help.to_owned());
            return None;
        }
        Some(Command::Builtin {
            name: builtin.name.to_owned(),
            revision: builtin.revision,
            purpose,
        })
    }

    fn program(
        &mut self,
        source: &Arc<Source>,
        program: Program<'_>,
        params: &BTreeMap<String, Option<ParamValue>>,
    ) -> Command {
        let mut inputs: BTreeMap<&str, Option<&Found>> = BTreeMap::new();
        let mut outputs: BTreeMap<&str, Option<String>> = BTreeMap::new();
        if let Some(defined) = self.defined {
            inputs.extend(defined.inputs.iter().map(|port| (port.name.text.as_str(), None)));
            outputs.extend(defined.outputs.iter().map(|port| (port.name.text.as_str(), None)));
        }
        for ((name, _), found) in self.written.inputs.iter().zip(self.found) {
            inputs.insert(&name.text, found.as_ref());
        }
        for (index, (name, _)) in self.written.outputs.iter().enumerate() {
            let path = self.outputs.path((self.at, index)).map(ToString::to_string);
            outputs.insert(&name.text, path);
        }
        let mut scope = Scope {
            params,
            pipeline: self.defined.is_none().then_some(&mut *self.pipeline),
            inputs,
            outputs,
            meant: match self.defined {
                Some(_) => &[],
                None => &self.written.meant,
            },
            places: self.outputs,
            // A definition is the same wherever it is used: it is told by parameters what varies.
            chosen: self.defined.is_none().then_some(&self.written.chosen),
            used: BTreeSet::new(),
        };
        let command = match program {
            Program::Argv(argv) => program::argv(source, argv, &mut scope, self.faults),
            Program::Run(text) => program::run(source, text, &mut scope, self.faults),
        };
        let used = scope.used;
        if self.defined.is_none() {
            self.warn_of_unused(&used);
        }
        command
    }

    fn warn_of_unused(&mut self, used: &BTreeSet<String>) {
        for (name, _) in self
            .written
            .params
            .iter()
            .filter(|(name, _)| !used.contains(&name.text))
        {
            self.faults.push(
                Diagnostic::warning(format!(
                    "stage `{}` does not use its parameter `{}`",
                    self.written.name.text, name.text
                ))
                .at(&self.spec.source, name.span, "")
                .help(format!("remove it, or refer to it as `${{params.{}}}`", name.text)),
            );
        }
    }
}

#[derive(Clone, Copy)]
enum Program<'t> {
    Argv(&'t [Text]),
    Run(&'t Text),
}
