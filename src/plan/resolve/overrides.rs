//! Parameters that are given from outside of the pipeline: `--params FILE` and `--set key=value`.
//!
//! They take the place of what the pipeline's `params:` say, before anything refers to it. So they are part of a stage only by
//! what it makes of them, and the pipeline says which there are.

use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Faults, Source, Span, nearest, quoted};
use crate::spec::{Node, NodeKind, PipelineSpec, Text, is_name, parse};

/// Values for a pipeline's parameters. A later one takes the place of an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    values: Vec<Override>,
    said: Vec<String>,
}

#[derive(Clone, Debug)]
struct Override {
    source: Arc<Source>,
    key: Text,
    value: Node,
}

impl Overrides {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All that was said, in its order: what stands in the files, and the texts of `--set`.
    #[must_use]
    pub fn said(&self) -> &[String] {
        &self.said
    }

    /// Adds the parameters of the file `name`, a YAML map whose text is `text`.
    ///
    /// # Errors
    ///
    /// [`Faults`]: everything that is wrong with it.
    pub fn add_file(&mut self, name: &str, text: &str) -> Result<(), Faults> {
        let source = Source::new(name, text);
        let (root, mut faults) = parse(&source);
        let entries = match root.map(|root| (root.span, root.kind)) {
            Some((_, NodeKind::Map(entries))) => entries,
            Some((span, kind)) if kind != NodeKind::Broken => {
                let fault = Diagnostic::error("a file of parameters is a map").at(&source, span, "");
                faults.push(fault.help("write `name: value` lines"));
                Vec::new()
            }
            _ => Vec::new(),
        };
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        self.said.push(format!("--params {text}"));
        self.values.extend(entries.into_iter().map(|(key, value)| Override {
            source: Arc::clone(&source),
            key,
            value,
        }));
        Ok(())
    }

    /// Adds what `--set text` says: `key=value`. The value means what it would mean in the pipeline's `params:`; one that
    /// begins with a quote, `[` or `{` is YAML, any other is one scalar to its end.
    ///
    /// # Errors
    ///
    /// [`Faults`] if it is not of that form.
    pub fn add_set(&mut self, text: &str) -> Result<(), Faults> {
        let refuse = |source: &Arc<Source>, message: String, help: &str| {
            let fault = Diagnostic::error(message).at(source, Span::new(0, source.text().len()), "");
            Err(Faults(vec![fault.help(help)]))
        };
        let source = Source::new("--set", text);
        let Some((key, value)) = text.split_once('=') else {
            return refuse(&source, "`--set` lacks a value".to_owned(), "write `--set name=value`");
        };
        if !is_name(key) {
            let help = "a name begins with a letter `a` to `z` and goes on with `a` to `z`, `0` to `9`, `_` and `-`";
            return refuse(&source, format!("{} cannot name a parameter", quoted(key)), help);
        }
        let span = Span::new(key.len() + 1, text.len());
        let value = match value.starts_with(['"', '\'', '[', '{']) {
            false => Node {
                span,
                kind: NodeKind::Scalar {
                    text: value.trim().to_owned(),
                    plain: true,
                },
            },
            true => {
                let (node, faults) = parse(&Source::new(format!("--set {key}"), value));
                match node {
                    Some(node) if faults.is_empty() => node,
                    _ => return Err(Faults(faults)),
                }
            }
        };
        self.said.push(format!("--set {text}"));
        self.values.push(Override {
            key: Text {
                text: key.to_owned(),
                span: Span::new(0, key.len()),
            },
            // The value of one that is misspelt may be what nobody should see.
            source: Source::new("--set", format!("{key}=…")),
            value,
        });
        Ok(())
    }

    /// Puts the values in the place of those that `spec` has.
    pub(super) fn apply(&self, spec: &mut PipelineSpec, faults: &mut Vec<Diagnostic>) {
        for Override { source, key, value } in &self.values {
            if let Some((_, node)) = spec.params.iter_mut().find(|(name, _)| name.text == key.text) {
                // Whatever is said of it points at the pipeline, where its place is.
                *node = moved(value, node.span);
                continue;
            }
            let known = spec.params.iter().map(|(name, _)| name.text.as_str());
            let help = match nearest(&key.text, known.clone()) {
                Some(known) => format!("did you mean `{known}`?"),
                None if spec.params.is_empty() => "the pipeline has no `params:`; name it there first".to_owned(),
                None => format!("its parameters are `{}`", known.collect::<Vec<_>>().join("`, `")),
            };
            let message = format!("the pipeline has no parameter {}", quoted(&key.text));
            faults.push(Diagnostic::error(message).at(source, key.span, "").help(help));
        }
    }
}

/// `node` as if all of it stood at `span`.
fn moved(node: &Node, span: Span) -> Node {
    let kind = match &node.kind {
        NodeKind::List(items) => NodeKind::List(items.iter().map(|item| moved(item, span)).collect()),
        NodeKind::Map(entries) => {
            let key = |key: &Text| Text {
                text: key.text.clone(),
                span,
            };
            NodeKind::Map(
                entries
                    .iter()
                    .map(|(name, value)| (key(name), moved(value, span)))
                    .collect(),
            )
        }
        kind => kind.clone(),
    };
    Node { span, kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ParamValue;
    use crate::plan::resolve::values::untyped;

    fn value(text: &str) -> ParamValue {
        let mut overrides = Overrides::default();
        overrides.add_set(text).expect("it is well formed");
        untyped(&overrides.values[0].value)
    }

    #[test]
    fn a_value_means_what_it_means_in_the_file() {
        let text = |text: &str| ParamValue::String(text.to_owned());
        assert_eq!(value("a=no"), text("no"));
        assert_eq!(value("a=true"), ParamValue::Boolean(true));
        assert_eq!(value("a="), ParamValue::Null);
        assert_eq!(value("a='1'"), text("1"));
        assert_eq!(value("a=x: y # z"), text("x: y # z"));
        assert_eq!(value("a=b=c"), text("b=c"));
        assert_eq!(value("a=[x, 'y']"), ParamValue::List(vec![text("x"), text("y")]));
    }

    #[test]
    fn what_is_no_parameter_is_refused() {
        for text in ["", "a", "=1", "A=1", "a=[1", "a='x", "a={a: 1, a: 2}", "a=[*x]"] {
            assert!(Overrides::default().add_set(text).is_err(), "{text}");
        }
        for text in ["", "[1]", "1", "a: 1\na: 2\n", "a: &x 1\n", "- a"] {
            assert!(Overrides::default().add_file("f", text).is_err(), "{text}");
        }
    }
}
