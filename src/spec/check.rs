//! From YAML to the two kinds of file: which fields there are, and what shape each has. Every fault is reported.
//!
//! The field lists here are the ones that `schemas/` has; a test keeps them equal.

use std::sync::Arc;

use super::consent::ConsentRules;
use super::model::{
    Body, Definition, ParamSpec, ParamType, Personal, PipelineSpec, Port, Settings, Stage, Streams, WrittenLimits,
};
use super::parse::{Node, NodeKind, Text};
use super::scalar::{Scalar, scalar};
use super::shape::{Checker, Fields, start};
use super::surroundings::Surroundings;
use crate::diagnostic::{Diagnostic, Source, Span};

/// The fields of a pipeline file.
pub const PIPELINE_FIELDS: &[&str] = &["version", "name", "purpose", "include", "params", "personal", "stages"];
/// The fields of a file that a pipeline includes.
pub const INCLUDED_FIELDS: &[&str] = &["version", "name", "purpose", "include", "stages"];
/// The fields of a stage in a pipeline file.
pub const STAGE_FIELDS: &[&str] = &[
    "uses",
    "argv",
    "run",
    "stdin",
    "stdout",
    "inputs",
    "outputs",
    "params",
    "env",
    "secrets",
    "tools",
    "pin",
    "sandbox",
    "network",
    "requires",
    "declassify",
    "matrix",
    "foreach",
    "timeout",
    "retries",
    "mutex",
    "resources",
];
/// The fields of a stage definition file.
pub const DEFINITION_FIELDS: &[&str] = &[
    "version",
    "name",
    "description",
    "builtin",
    "argv",
    "run",
    "stdin",
    "stdout",
    "inputs",
    "outputs",
    "params",
    "env",
    "secrets",
    "tools",
    "pin",
    "sandbox",
    "network",
    "timeout",
    "retries",
    "mutex",
    "resources",
];
/// The fields of an input in a stage definition.
pub const PORT_FIELDS: &[&str] = &["description", "optional"];
/// The fields of an output in a stage definition.
pub const OUTPUT_PORT_FIELDS: &[&str] = &["description", "optional", "folder"];
/// The fields of a parameter in a stage definition.
pub const PARAM_FIELDS: &[&str] = &[
    "type",
    "default",
    "enum",
    "minimum",
    "maximum",
    "description",
    "optional",
];
/// The fields of the settings file, `madmall.yaml`. It marks the workspace; settings come with what they set.
pub const SETTINGS_FIELDS: &[&str] = &["version", "purposes", "sandbox"];
/// The fields of `sandbox:` in the settings file.
pub const SANDBOX_FIELDS: &[&str] = &["read"];

/// Takes a tree as a pipeline file. What has a fault is left out.
#[must_use]
pub fn pipeline(source: &Arc<Source>, root: &Node) -> (PipelineSpec, Vec<Diagnostic>) {
    let mut checker = Checker::new(source);
    let mut spec = PipelineSpec {
        source: Arc::clone(source),
        name: None,
        purpose: None,
        params: Vec::new(),
        personal: Vec::new(),
        stages: Vec::new(),
    };
    if let Some(fields) = checker.fields(root, "a pipeline file", PIPELINE_FIELDS) {
        let top = start(root);
        checker.version(&fields, top);
        spec.name = checker.own_name(&fields, top, "a pipeline");
        if let Some(node) = fields.get("purpose") {
            spec.purpose = checker.purpose(node, "`purpose`");
        }
        if let Some(node) = fields.get("params") {
            spec.params = checker.named(node, "`params`", "parameter");
        }
        if let Some(node) = fields.get("personal") {
            spec.personal = checker.personal_params(node, &spec.params);
        }
        match fields.get("stages") {
            Some(node) => spec.stages = checker.stages(node),
            None if fields.key("include").is_some() => {}
            None => checker.missing(&fields, top, "stages", "a pipeline", "stages: { … }"),
        }
        checker.include(&fields);
    }
    (spec, checker.faults)
}

/// The files that the pipeline or included file `root` includes, as far as they are written as they should be.
#[must_use]
pub fn includes(root: &Node) -> Vec<Text> {
    let NodeKind::Map(entries) = &root.kind else {
        return Vec::new();
    };
    let include = entries.iter().find(|(key, _)| key.text == "include");
    match include.map(|(_, node)| &node.kind) {
        Some(NodeKind::List(items)) => {
            let is_text = |item: &&Node| matches!(scalar(item), Some(Scalar::String(_)));
            items.iter().filter(is_text).filter_map(Node::as_text).collect()
        }
        _ => Vec::new(),
    }
}

/// Takes a tree as a file that is included by a pipeline of that purpose. Its stages; what has a fault is left out.
#[must_use]
pub fn included(source: &Arc<Source>, root: &Node, purpose: Option<&Text>) -> (Vec<Stage>, Vec<Diagnostic>) {
    let mut checker = Checker::new(source);
    let mut stages = Vec::new();
    if let Some(fields) = checker.fields(root, "an included file", INCLUDED_FIELDS) {
        let top = start(root);
        checker.version(&fields, top);
        if let Some(node) = fields.get("name")
            && let Some(text) = checker.text(node, "`name`")
        {
            checker.name(&text, "a pipeline");
        }
        if let Some(node) = fields.get("purpose")
            && let Some(own) = checker.purpose(node, "`purpose`")
        {
            checker.same_purpose(&own, purpose);
        }
        match fields.get("stages") {
            Some(node) => stages = checker.stages(node),
            None if fields.key("include").is_some() => {}
            None => checker.missing(&fields, top, "stages", "an included file", "stages: { … }"),
        }
        checker.include(&fields);
    }
    (stages, checker.faults)
}

/// Takes a tree as a stage definition file. What has a fault is left out.
#[must_use]
pub fn definition(source: &Arc<Source>, root: &Node) -> (Definition, Vec<Diagnostic>) {
    let mut checker = Checker::new(source);
    let mut definition = Definition {
        source: Arc::clone(source),
        body: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        params: Vec::new(),
        surroundings: Surroundings::default(),
        streams: Streams::default(),
        limits: WrittenLimits::default(),
    };
    if let Some(fields) = checker.fields(root, "a stage definition", DEFINITION_FIELDS) {
        let top = start(root);
        checker.version(&fields, top);
        checker.own_name(&fields, top, "a stage definition");
        if let Some(node) = fields.get("description") {
            checker.text(node, "`description`");
        }
        definition.body = checker.body(&fields, top, "builtin");
        definition.inputs = fields
            .get("inputs")
            .map_or_else(Vec::new, |node| checker.ports(node, "input", PORT_FIELDS));
        match fields.get("outputs") {
            Some(node) => {
                definition.outputs = checker.ports(node, "output", OUTPUT_PORT_FIELDS);
                checker.not_empty(node, "`outputs`");
            }
            None => checker.missing(&fields, top, "outputs", "a stage definition", "outputs: { name: {} }"),
        }
        definition.params = fields
            .get("params")
            .map_or_else(Vec::new, |node| checker.param_specs(node));
        definition.surroundings = checker.surroundings(&fields);
        definition.streams = checker.streams(&fields);
        definition.limits = checker.limits(&fields);
    }
    (definition, checker.faults)
}

/// Takes a tree as the settings file. A setting that nothing reads would be a promise that nothing keeps, so each field
/// that is not known is a fault.
#[must_use]
pub fn settings(source: &Arc<Source>, root: &Node) -> (Settings, Vec<Diagnostic>) {
    let mut checker = Checker::new(source);
    let mut settings = Settings::default();
    if let Some(fields) = checker.fields(root, "the settings file", SETTINGS_FIELDS) {
        checker.version(&fields, start(root));
        if let Some(node) = fields.get("purposes") {
            settings.purposes = checker.purposes(node);
        }
        let sandbox = fields.get("sandbox");
        if let Some(fields) = sandbox.and_then(|node| checker.fields(node, "`sandbox`", SANDBOX_FIELDS))
            && let Some(node) = fields.get("read")
        {
            for item in checker.items(node, "`read`").unwrap_or_default() {
                settings.readable.extend(checker.text(item, "a path"));
            }
        }
    }
    (settings, checker.faults)
}

impl Checker<'_> {
    fn version(&mut self, fields: &Fields<'_>, top: Span) {
        match fields.get("version") {
            None => self.missing(fields, top, "version", "every file", "version: 1"),
            Some(node) => {
                let is_one = matches!(scalar(node), Some(Scalar::Number(number)) if number.as_str() == "1");
                if !is_one && node.kind != NodeKind::Broken {
                    self.fault(start(node), "unknown version", "", "this madmall knows `version: 1`");
                }
            }
        }
    }

    /// `include:` is a list of texts.
    fn include(&mut self, fields: &Fields<'_>) {
        let Some(node) = fields.get("include") else { return };
        let items = self.items(node, "`include`").unwrap_or_default();
        if items.is_empty() && matches!(node.kind, NodeKind::List(_)) {
            let help = "name a file: `include: [parts/common.yaml]`, or remove the field";
            self.fault(node.span, "`include` is empty", "", help);
        }
        for item in items {
            self.text(item, "a file to include");
        }
    }

    /// What is included cannot be for something else than what includes it.
    fn same_purpose(&mut self, own: &Text, purpose: Option<&Text>) {
        if purpose.is_some_and(|purpose| purpose.text == own.text) {
            return;
        }
        let message = match purpose {
            Some(purpose) => format!("the pipeline that includes this is for `{}`", purpose.text),
            None => "the pipeline that includes this has no purpose".to_owned(),
        };
        let help = "remove `purpose` here, or write the same in both files";
        self.fault(own.span, message, "", help);
    }

    fn own_name(&mut self, fields: &Fields<'_>, top: Span, what: &str) -> Option<Text> {
        let Some(node) = fields.get("name") else {
            self.missing(fields, top, "name", what, "name: baseline");
            return None;
        };
        let text = self.text(node, "`name`")?;
        self.name(&text, what).then_some(text)
    }

    fn stages(&mut self, node: &Node) -> Vec<Stage> {
        let stages = self.named(node, "`stages`", "stage");
        if matches!(&node.kind, NodeKind::Map(entries) if entries.is_empty()) {
            self.fault(
                node.span,
                "`stages` is empty",
                "",
                "write at least one stage; `docs/pipeline.md` has examples",
            );
        }
        stages.into_iter().map(|(name, node)| self.stage(name, &node)).collect()
    }

    fn stage(&mut self, name: Text, node: &Node) -> Stage {
        let mut stage = Stage {
            meant: Vec::new(),
            body: None,
            inputs: Vec::new(),
            lists: Vec::new(),
            outputs: Vec::new(),
            tolerances: Vec::new(),
            temporary: Vec::new(),
            optional: Vec::new(),
            personal: Personal::default(),
            params: Vec::new(),
            surroundings: Surroundings::default(),
            streams: Streams::default(),
            limits: WrittenLimits::default(),
            consent: ConsentRules::default(),
            axes: Vec::new(),
            chosen: Vec::new(),
            included: Vec::new(),
            name,
        };
        let what = format!("stage `{}`", stage.name.text);
        let Some(fields) = self.fields(node, &what, STAGE_FIELDS) else {
            return stage;
        };
        stage.axes = self.axes(&fields);
        stage.limits = self.limits(&fields);
        stage.body = self.body(&fields, stage.name.span, "uses");
        if let Some(node) = fields.get("inputs") {
            self.inputs(node, &mut stage);
        }
        match fields.get("outputs") {
            Some(node) => {
                self.outputs(node, &mut stage);
                self.not_empty(node, "`outputs`");
            }
            None => self.missing(&fields, stage.name.span, "outputs", &what, "outputs: { name: path }"),
        }
        if let Some(node) = fields.get("params") {
            stage.params = self.named(node, "`params`", "parameter");
        }
        stage.surroundings = self.surroundings(&fields);
        stage.streams = self.streams(&fields);
        stage.consent = self.consent_rules(&fields, &stage.outputs);
        self.refuse_declassified(&stage);
        stage.meant = fields.meant;
        stage
    }

    /// Exactly one of `argv`, `run` and `other` (`uses` or `builtin`).
    fn body(&mut self, fields: &Fields<'_>, at: Span, other: &'static str) -> Option<Body> {
        let given: Vec<&Text> = [other, "argv", "run"]
            .iter()
            .filter_map(|name| fields.key(name))
            .collect();
        let [key] = given[..] else {
            let names = format!("`{other}`, `argv` and `run`");
            match given[..] {
                [first, second, ..] => self.faults.push(
                    Diagnostic::error(format!("both `{}` and `{}`", first.text, second.text))
                        .at(self.source, second.span, "this")
                        .at(self.source, first.span, "and this")
                        .help(format!("write exactly one of {names}")),
                ),
                _ if [other, "argv", "run"].iter().any(|name| fields.meant.contains(name)) => {}
                _ => self.fault(at, "nothing to run", "", format!("write exactly one of {names}")),
            }
            return None;
        };
        let node = fields.get(&key.text)?;
        match key.text.as_str() {
            "argv" => self.argv(node).map(Body::Argv),
            "run" => self.text(node, "`run`").map(Body::Run),
            "uses" => self.text(node, "`uses`").map(Body::Uses),
            _ => self.text(node, "`builtin`").map(Body::Builtin),
        }
    }

    fn argv(&mut self, node: &Node) -> Option<Vec<Text>> {
        let items = self.items(node, "`argv`")?;
        if items.is_empty() {
            let help = "name a program and its arguments: `argv: [program, argument]`";
            self.fault(node.span, "`argv` is empty", "", help);
            return None;
        }
        let mut argv = Vec::new();
        for item in items {
            match scalar(item) {
                // An argument is a text whatever it looks like: `[head, -n, 5]`.
                Some(Scalar::Null) | None => self.wrong_shape(
                    item,
                    "an argument",
                    "a text",
                    "write one text for each argument; an empty one is `\"\"`",
                ),
                Some(_) => argv.extend(item.as_text()),
            }
        }
        (argv.len() == items.len()).then_some(argv)
    }

    /// `stdin:` and `stdout:`, which go with `argv:` alone.
    fn streams(&mut self, fields: &Fields<'_>) -> Streams {
        let mut named = |field: &str| {
            let (key, node) = (fields.key(field)?, fields.get(field)?);
            let text = self.text(node, &format!("`{field}`"))?;
            if fields.key("argv").is_none() {
                let help = match (fields.key("run").is_some(), field) {
                    (true, "stdin") => "write `< ${inputs.name}` in the text of `run`",
                    (true, _) => "write `> ${outputs.name}` in the text of `run`",
                    (false, _) => "remove it: what the stage `uses` says what is read and written",
                };
                self.fault(key.span, format!("`{field}` goes with `argv` alone"), "", help);
                return None;
            }
            Some(text)
        };
        let stdin = named("stdin");
        let stdout = named("stdout");
        Streams { stdin, stdout }
    }

    fn ports(&mut self, node: &Node, of: &str, known: &'static [&'static str]) -> Vec<Port> {
        let mut ports = Vec::new();
        for (name, node) in self.named(node, &format!("`{of}s`"), of) {
            let what = format!("{of} `{}`", name.text);
            let Some(fields) = self.fields(&node, &what, known) else {
                continue;
            };
            if let Some(node) = fields.get("description") {
                self.text(node, "`description`");
            }
            let optional = fields.get("optional").and_then(|node| self.boolean(node, "`optional`"));
            let folder = fields.get("folder").and_then(|node| self.boolean(node, "`folder`"));
            ports.push(Port {
                name,
                optional: optional.unwrap_or(false),
                is_folder: folder.unwrap_or(false),
            });
        }
        ports
    }

    fn param_specs(&mut self, node: &Node) -> Vec<ParamSpec> {
        let params = self.named(node, "`params`", "parameter");
        params
            .into_iter()
            .filter_map(|(name, node)| self.param_spec(name, &node))
            .collect()
    }

    fn param_spec(&mut self, name: Text, node: &Node) -> Option<ParamSpec> {
        let what = format!("parameter `{}`", name.text);
        let fields = self.fields(node, &what, PARAM_FIELDS)?;
        if let Some(node) = fields.get("description") {
            self.text(node, "`description`");
        }
        let types = ParamType::ALL.map(|(name, _)| name);
        let kind = match fields.get("type") {
            Some(node) => self.choice(node, "`type`", &types),
            None => {
                self.missing(&fields, name.span, "type", &what, "type: number");
                None
            }
        };
        let choices = fields.get("enum").and_then(|node| {
            let items = self.items(node, "`enum`")?;
            if items.is_empty() {
                self.fault(
                    node.span,
                    "`enum` is empty",
                    "",
                    "write the values it may have, or remove it",
                );
            }
            Some(items.to_vec())
        });
        let minimum = fields.get("minimum").and_then(|node| self.number(node, "`minimum`"));
        let maximum = fields.get("maximum").and_then(|node| self.number(node, "`maximum`"));
        let optional = fields.get("optional").and_then(|node| self.boolean(node, "`optional`"));
        let kind = kind?.text;
        let (_, kind) = ParamType::ALL.into_iter().find(|(name, _)| *name == kind)?;
        Some(ParamSpec {
            name,
            kind,
            default: fields.get("default").cloned(),
            choices,
            minimum,
            maximum,
            optional: optional.unwrap_or(false),
        })
    }
}
