//! `requires:` and `declassify:` of a stage: what consent its inputs need, and which outputs carry none on.

use super::model::{Stage, is_name};
use super::parse::{Node, NodeKind, Text};
use super::scalar::{Scalar, scalar};
use super::shape::{Checker, Fields};
use crate::consent::purposes::{MAX_PURPOSES, NONE, Purposes};
use crate::diagnostic::{nearest, quoted};

/// What a stage says of consent, as written.
#[derive(Clone, Debug, Default)]
pub struct ConsentRules {
    /// `requires:`, a purpose.
    pub requires: Option<Text>,
    /// `declassify:`.
    pub declassify: Declassify,
}

/// Which outputs hold nothing of a person any more, by the word of the pipeline.
#[derive(Clone, Debug, Default)]
pub enum Declassify {
    /// None.
    #[default]
    None,
    /// `true`: all of them.
    All,
    /// These, by name.
    Some(Vec<Text>),
}

impl Stage {
    /// The names of the outputs that it declassifies, sorted.
    #[must_use]
    pub fn declassified(&self) -> Vec<String> {
        let mut names: Vec<String> = match &self.consent.declassify {
            Declassify::None => Vec::new(),
            Declassify::All => self.outputs.iter().map(|(name, _)| name.text.clone()).collect(),
            Declassify::Some(names) => names.iter().map(|name| name.text.clone()).collect(),
        };
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Checker<'_> {
    /// The rules of a stage with these `outputs`.
    pub(super) fn consent_rules(&mut self, fields: &Fields<'_>, outputs: &[(Text, Text)]) -> ConsentRules {
        let requires = fields.get("requires");
        ConsentRules {
            requires: requires.and_then(|node| self.purpose(node, "`requires`")),
            declassify: self.declassify(fields, outputs),
        }
    }

    /// The name of a purpose; which there are, the settings say.
    pub(super) fn purpose(&mut self, node: &Node, what: &str) -> Option<Text> {
        let text = self.text(node, what)?;
        if is_name(&text.text) && text.text != NONE {
            return Some(text);
        }
        let help = "write the name of a purpose, such as `care` or `research`";
        self.fault(text.span, format!("{what} cannot be {}", quoted(&text.text)), "", help);
        None
    }

    /// `purposes:` of the settings: the narrowest first.
    pub(super) fn purposes(&mut self, node: &Node) -> Option<Purposes> {
        let items = self.items(node, "`purposes`")?;
        let mut names: Vec<String> = Vec::new();
        for item in items {
            let name = self.purpose(item, "a purpose")?;
            if names.contains(&name.text) {
                let message = format!("`purposes` names `{}` twice", name.text);
                self.fault(name.span, message, "", "remove one of the two");
                return None;
            }
            names.push(name.text);
        }
        let purposes = Purposes::declared(names);
        if purposes.is_none() {
            let help = format!(
                "name 1 to {MAX_PURPOSES} purposes, the narrowest first: `purposes: [care, research, commercial]`"
            );
            self.fault(node.span, "`purposes` names none, or too many", "", help);
        }
        purposes
    }

    /// The `name` of an input or an output, if it is said to be personal.
    pub(super) fn personal(&mut self, fields: &Fields<'_>, name: Text) -> Option<Text> {
        let is_personal = fields.get("personal").and_then(|node| self.boolean(node, "`personal`"));
        is_personal.filter(|is| *is).map(|_| name)
    }

    /// `personal:` of a pipeline: parameters, by name.
    pub(super) fn personal_params(&mut self, node: &Node, params: &[(Text, Node)]) -> Vec<Text> {
        let mut names: Vec<Text> = Vec::new();
        for item in self.items(node, "`personal`").unwrap_or_default() {
            let Some(name) = self.text(item, "the name of a parameter") else {
                continue;
            };
            let known = || params.iter().map(|(name, _)| name.text.as_str());
            let Some((_, value)) = params.iter().find(|(known, _)| known.text == name.text) else {
                let help = match nearest(&name.text, known()) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => format!("add it to `params:`, without a value: `{}: \"\"`", name.text),
                };
                let message = format!("`personal` names {}, which is no parameter", quoted(&name.text));
                self.fault(name.span, message, "", help);
                continue;
            };
            if !matches!(scalar(value), Some(Scalar::String("") | Scalar::Null)) {
                let message = format!(
                    "the parameter `{}` is personal, and everybody can read its value here",
                    name.text
                );
                let help = format!("write `{}: \"\"`, and give it with `--set {}=…`", name.text, name.text);
                self.fault(value.span, message, "", help);
            }
            if !names.iter().any(|other| other.text == name.text) {
                names.push(name);
            }
        }
        names
    }

    /// What is personal is not declassified: one of the two is a mistake.
    pub(super) fn refuse_declassified(&mut self, stage: &Stage) {
        let declassified = stage.declassified();
        for name in &stage.personal.outputs {
            if declassified.binary_search(&name.text).is_ok() {
                let message = format!(
                    "the output `{}` is personal, and `declassify` says that it is not",
                    name.text
                );
                let help = "remove one of the two: what is declassified holds nothing of a person";
                self.fault(name.span, message, "", help);
            }
        }
    }

    fn declassify(&mut self, fields: &Fields<'_>, outputs: &[(Text, Text)]) -> Declassify {
        let Some(node) = fields.get("declassify") else {
            return Declassify::None;
        };
        let NodeKind::List(items) = &node.kind else {
            return match scalar(node) {
                Some(Scalar::Boolean(true)) => Declassify::All,
                Some(Scalar::Boolean(false)) => Declassify::None,
                _ => {
                    let help = "write `true` for all outputs, or name some of them: `declassify: [counts]`";
                    self.wrong_shape(node, "`declassify`", "`true`, `false` or a list", help);
                    Declassify::None
                }
            };
        };
        let mut names = Vec::new();
        for item in items {
            let Some(name) = self.text(item, "the name of an output") else {
                continue;
            };
            let known = || outputs.iter().map(|(name, _)| name.text.as_str());
            if known().any(|known| known == name.text) {
                names.push(name);
                continue;
            }
            let help = match nearest(&name.text, known()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => "name outputs of this stage, or write `declassify: true` for all of them".to_owned(),
            };
            let message = format!("`declassify` names {}, which is no output", quoted(&name.text));
            self.fault(name.span, message, "", help);
        }
        Declassify::Some(names)
    }
}
