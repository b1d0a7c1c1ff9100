//! `env:`, `secrets:`, `sandbox:`, `network:`, `tools:` and `pin:`: what a program is given of the machine, as written.

use std::collections::HashSet;

use super::model::Flag;
use super::parse::{Node, Text};
use super::shape::{Checker, Fields};
use crate::diagnostic::quoted;
use crate::plan::SandboxMode;
use crate::receipt::is_plain_name;

/// What a program is given of the machine.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `env:`.
    pub env: Vec<Text>,
    /// `secrets:`.
    pub secrets: Vec<Text>,
    /// `sandbox:`.
    pub sandbox: Option<SandboxMode>,
    /// `network:`.
    pub network: Option<Flag>,
    /// `tools:`.
    pub tools: Vec<Text>,
    /// `pin:`.
    pub pin: Option<Flag>,
}

impl Surroundings {
    /// All names in it.
    pub fn names(&self) -> impl Iterator<Item = &Text> {
        self.env.iter().chain(&self.secrets).chain(&self.tools)
    }
}

/// What is wrong with a name, and what to do.
type NameFault = fn(&str) -> Option<(String, &'static str)>;

impl Checker<'_> {
    /// The surroundings of a stage or of a definition.
    pub(super) fn surroundings(&mut self, fields: &Fields<'_>) -> Surroundings {
        let sandbox = fields
            .get("sandbox")
            .and_then(|node| self.choice(node, "`sandbox`", &["auto", "off", "required"]));
        let sandbox = sandbox.map(|text| match text.text.as_str() {
            "off" => SandboxMode::Off,
            "required" => SandboxMode::Required,
            _ => SandboxMode::Auto,
        });
        Surroundings {
            env: self.names(fields, "env", "the name of a variable", no_variable),
            secrets: self.names(fields, "secrets", "the name of a variable", no_variable),
            sandbox,
            network: self.flag(fields, "network"),
            tools: self.names(fields, "tools", "the name of a program", no_tool),
            pin: self.flag(fields, "pin"),
        }
    }

    fn flag(&mut self, fields: &Fields<'_>, field: &str) -> Option<Flag> {
        let node = fields.get(field)?;
        let is_set = self.boolean(node, &format!("`{field}`"))?;
        Some(Flag {
            is_set,
            span: node.span,
        })
    }

    /// A list of names, each once.
    fn names(&mut self, fields: &Fields<'_>, field: &str, what: &str, fault_in: NameFault) -> Vec<Text> {
        let Some(node) = fields.get(field) else {
            return Vec::new();
        };
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        for text in self.name_list(node, field, what) {
            if let Some((message, help)) = fault_in(&text.text) {
                self.fault(text.span, message, "", help);
            } else if !seen.insert(text.text.clone()) {
                let message = format!("`{field}` names `{}` twice", text.text);
                self.fault(text.span, message, "", "remove one of the two");
            } else {
                names.push(text);
            }
        }
        names
    }

    fn name_list(&mut self, node: &Node, field: &str, what: &str) -> Vec<Text> {
        let items = self.items(node, &format!("`{field}`")).unwrap_or_default();
        items.iter().filter_map(|item| self.text(item, what)).collect()
    }
}

fn no_variable(name: &str) -> Option<(String, &'static str)> {
    let is_variable = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (!is_variable).then(|| {
        (
            format!("{} cannot name a variable", quoted(name)),
            "name the variable itself, without `$` and without a value",
        )
    })
}

fn no_tool(name: &str) -> Option<(String, &'static str)> {
    (!is_plain_name(name)).then(|| {
        (
            format!("{} cannot name a program", quoted(name)),
            "name it as it is found in PATH, without a folder; a script of the workspace is an input",
        )
    })
}
