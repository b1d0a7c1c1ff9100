//! Parameters: from what is written to typed values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::expand::axis_value;
use super::template::{Dialect, Kind, Piece, Reference, pieces};
use crate::diagnostic::{Diagnostic, Source, Span, nearest, quoted};
use crate::plan::ParamValue;
use crate::spec::{Chosen, Node, NodeKind, ParamSpec, ParamType, Scalar, Text, scalar};

/// The value of `node` where nothing says what type it has.
pub(super) fn untyped(node: &Node) -> ParamValue {
    match &node.kind {
        NodeKind::List(items) => ParamValue::List(items.iter().map(untyped).collect()),
        NodeKind::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key.text.clone(), untyped(value)));
            ParamValue::Map(entries.collect())
        }
        NodeKind::Broken => ParamValue::Null,
        NodeKind::Scalar { .. } => match scalar(node) {
            Some(Scalar::Boolean(value)) => ParamValue::Boolean(value),
            Some(Scalar::Number(number)) => ParamValue::Number(number),
            Some(Scalar::String(text)) => ParamValue::String(text.to_owned()),
            Some(Scalar::Null) | None => ParamValue::Null,
        },
    }
}

/// The value of `node`, which stands in `source`, as `param` wants it.
pub(super) fn typed(source: &Arc<Source>, node: &Node, param: &ParamSpec) -> Result<ParamValue, Box<Diagnostic>> {
    let fault = |message: String, help: String| {
        let label = format!("the value of `{}`", param.name.text);
        Box::new(Diagnostic::error(message).at(source, head(node), label).help(help))
    };
    let is_null = scalar(node) == Some(Scalar::Null);
    if node.kind == NodeKind::Broken || (is_null && param.optional) {
        return Ok(ParamValue::Null);
    }
    let name = &param.name.text;
    let Some(value) = as_type(node, param.kind) else {
        let message = format!("parameter `{name}` must be {}", param.kind.described());
        let help = match (param.kind, scalar(node)) {
            (_, Some(Scalar::Null)) => "give it a value, or leave it out".to_owned(),
            (ParamType::Number | ParamType::Integer | ParamType::Boolean, Some(Scalar::String(_))) => {
                format!("write {}, without quotes", param.kind.described())
            }
            _ => format!("write {}", param.kind.described()),
        };
        return Err(fault(message, help));
    };
    if let ParamValue::Number(number) = &value {
        let number = number.to_f64();
        if let Some(minimum) = param.minimum.filter(|minimum| number < *minimum) {
            let help = format!("write {minimum} or more");
            return Err(fault(format!("parameter `{name}` is too small"), help));
        }
        if let Some(maximum) = param.maximum.filter(|maximum| number > *maximum) {
            let help = format!("write {maximum} or less");
            return Err(fault(format!("parameter `{name}` is too large"), help));
        }
    }
    if let Some(choices) = &param.choices {
        let known: Vec<ParamValue> = choices
            .iter()
            .filter_map(|choice| as_type(choice, param.kind))
            .collect();
        if !known.contains(&value) {
            let texts: Vec<String> = known.iter().filter_map(text).collect();
            let given = text(&value).unwrap_or_default();
            let help = match nearest(&given, texts.iter().map(String::as_str)) {
                Some(choice) => format!("did you mean `{choice}`?"),
                None => format!("write one of `{}`", texts.join("`, `")),
            };
            return Err(fault(format!("parameter `{name}` cannot be {}", quoted(&given)), help));
        }
    }
    Ok(value)
}

/// The value of `node` if it has the type `kind`. A string is taken as written, whatever it looks like.
pub(super) fn as_type(node: &Node, kind: ParamType) -> Option<ParamValue> {
    match (kind, &node.kind, scalar(node)) {
        (ParamType::String, NodeKind::Scalar { text, .. }, Some(meaning)) if meaning != Scalar::Null => {
            Some(ParamValue::String(text.clone()))
        }
        (ParamType::Integer, _, Some(Scalar::Number(number))) => {
            number.to_integer().is_some().then_some(ParamValue::Number(number))
        }
        (ParamType::Number, _, Some(Scalar::Number(number))) => Some(ParamValue::Number(number)),
        (ParamType::Boolean, _, Some(Scalar::Boolean(value))) => Some(ParamValue::Boolean(value)),
        (ParamType::List, NodeKind::List(_), _) | (ParamType::Map, NodeKind::Map(_), _) => Some(untyped(node)),
        _ => None,
    }
}

/// The text of a value in an argument or in the shell, if it has one.
pub(super) fn text(value: &ParamValue) -> Option<String> {
    match value {
        ParamValue::String(text) => Some(text.clone()),
        ParamValue::Number(number) => Some(number.to_string()),
        ParamValue::Boolean(value) => Some(value.to_string()),
        ParamValue::Null | ParamValue::List(_) | ParamValue::Map(_) => None,
    }
}

/// Where a message about a value points: a list or a map is not underlined as a whole.
pub(super) fn head(node: &Node) -> Span {
    match &node.kind {
        NodeKind::Map(entries) => entries.first().map_or(node.span, |(key, _)| key.span),
        _ => node.span,
    }
}

/// The parameters of a pipeline.
pub(super) struct PipelineParams<'a> {
    source: &'a Arc<Source>,
    params: HashMap<&'a str, Node>,
    /// The ones that something refers to.
    used: BTreeSet<String>,
    /// The same, since it was last asked.
    touched: BTreeSet<String>,
}

impl<'a> PipelineParams<'a> {
    /// Takes the pipeline's `params:`, in which no reference is allowed.
    pub(super) fn new(source: &'a Arc<Source>, written: &'a [(Text, Node)], faults: &mut Vec<Diagnostic>) -> Self {
        let mut params = HashMap::new();
        for (name, node) in written {
            let mut refuse =
                |text: &Text, reference: &Reference| {
                    let span = text.locate(source, reference.start, reference.end);
                    let itself = reference.name == name.text && reference.kind == Kind::Params;
                    let message = match itself {
                        true => format!("parameter `{}` refers to itself", name.text),
                        false => "a pipeline's parameters refer to nothing".to_owned(),
                    };
                    faults.push(Diagnostic::error(message).at(source, span, "").help(
                        "write the value out; stages refer to it as `${params.name}`, and a literal `${` is `$${`",
                    ));
                    None
                };
            let mut broken = Vec::new();
            let node = map_scalars(source, node, &mut refuse, &mut broken);
            faults.extend(broken);
            params.insert(name.text.as_str(), node);
        }
        Self {
            source,
            params,
            used: BTreeSet::new(),
            touched: BTreeSet::new(),
        }
    }

    /// The value of `${params.name}`; it counts as used.
    pub(super) fn get(&mut self, name: &str) -> Option<&Node> {
        let node = self.params.get(name)?;
        self.used.insert(name.to_owned());
        self.touched.insert(name.to_owned());
        Some(node)
    }

    /// What was referred to since this was last asked.
    pub(super) fn take_touched(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.touched)
    }

    /// The name that `name` was probably meant to be, as advice.
    pub(super) fn advice(&self, name: &str, own: &[&str]) -> String {
        let known = self.params.keys().copied().chain(own.iter().copied());
        match nearest(name, known) {
            Some(known) => format!("did you mean `${{params.{known}}}`?"),
            None => format!("add `{name}` to the pipeline's `params:`"),
        }
    }

    /// The ones that nothing refers to.
    pub(super) fn is_used(&self, name: &str) -> bool {
        self.used.contains(name)
    }

    /// `node`, a parameter of a stage that stands in the pipeline, with every `${params.x}` and every value of an axis put in.
    pub(super) fn substitute(&mut self, node: &Node, chosen: &[Chosen], faults: &mut Vec<Diagnostic>) -> Node {
        let source = self.source;
        let mut unknown = Vec::new();
        let mut broken = Vec::new();
        let mut value_of = |text: &Text, reference: &Reference| {
            let span = text.locate(source, reference.start, reference.end);
            if reference.kind.is_axis() {
                let found = axis_value(chosen, reference);
                return found
                    .map_err(|fault| unknown.push(fault.at(source, text, reference)))
                    .ok();
            }
            if reference.kind != Kind::Params {
                unknown.push(
                    Diagnostic::error(format!("no {} can stand in a parameter", reference.kind.singular()))
                        .at(source, span, "")
                        .help("only `${params.name}`, `${matrix.name}` and `${foreach.name}` are allowed here; a literal `${` is `$${`"),
                );
                return None;
            }
            let found = self.get(&reference.name).cloned();
            if found.is_none() {
                unknown.push(
                    Diagnostic::error(format!("the pipeline has no parameter `{}`", reference.name))
                        .at(source, span, "")
                        .help(self.advice(&reference.name, &[])),
                );
            }
            found
        };
        let node = map_scalars(source, node, &mut value_of, &mut broken);
        faults.extend(unknown);
        faults.extend(broken);
        node
    }
}

/// `node` with the references in its texts put in. A text that is one reference takes the value as it is.
fn map_scalars(
    source: &Arc<Source>,
    node: &Node,
    value_of: &mut dyn FnMut(&Text, &Reference) -> Option<Node>,
    faults: &mut Vec<Diagnostic>,
) -> Node {
    let kind = match &node.kind {
        NodeKind::List(items) => {
            let items = items.iter().map(|item| map_scalars(source, item, value_of, faults));
            NodeKind::List(items.collect())
        }
        NodeKind::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), map_scalars(source, value, value_of, faults)));
            NodeKind::Map(entries.collect())
        }
        NodeKind::Scalar { text, .. } if text.contains("${") => {
            let text = Text {
                text: text.clone(),
                span: node.span,
            };
            fill(source, &text, value_of, faults)
        }
        other => other.clone(),
    };
    Node { span: node.span, kind }
}

fn fill(
    source: &Arc<Source>,
    written: &Text,
    value_of: &mut dyn FnMut(&Text, &Reference) -> Option<Node>,
    faults: &mut Vec<Diagnostic>,
) -> NodeKind {
    let (pieces, wrong) = pieces(&written.text, Dialect::Plain);
    let mut is_broken = !wrong.is_empty();
    for fault in wrong {
        let span = written.locate(source, fault.start, fault.end);
        faults.push(Diagnostic::error(fault.message).at(source, span, "").help(fault.help));
    }
    if let ([Piece::Reference(reference)], false) = (&pieces[..], is_broken) {
        return value_of(written, reference).map_or(NodeKind::Broken, |node| node.kind);
    }
    let mut filled = String::new();
    for piece in &pieces {
        match piece {
            Piece::Literal(literal) => filled.push_str(literal),
            Piece::Reference(reference) => match value_of(written, reference) {
                None => is_broken = true,
                Some(node) => match text(&untyped(&node)) {
                    Some(value) => filled.push_str(&value),
                    None => {
                        is_broken = true;
                        let span = written.locate(source, reference.start, reference.end);
                        let message = format!("parameter `{}` has no text that could be put in here", reference.name);
                        faults.push(Diagnostic::error(message).at(source, span, "").help(
                            "a list, a map or nothing can only be the whole value: write `${params.name}` alone",
                        ));
                    }
                },
            },
        }
    }
    match is_broken {
        true => NodeKind::Broken,
        false => NodeKind::Scalar {
            text: filled,
            plain: false,
        },
    }
}

/// A stage's parameters with their values.
pub(super) type Params = BTreeMap<String, ParamValue>;
