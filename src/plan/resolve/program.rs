//! What a program stage runs: `argv:` and `run:` with their values put in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::expand::axis_text;
use super::template::{Dialect, Kind, Piece, Reference, pieces};
use super::values::{self, PipelineParams};
use super::{inputs::Found, outputs::Outputs, shell};
use crate::diagnostic::{Diagnostic, Source, nearest};
use crate::plan::{Command, ParamValue};
use crate::spec::{Chosen, Text};

/// What the references of one stage refer to.
pub(super) struct Scope<'a, 'p> {
    /// The stage's own parameters; `None` for one whose fault has been reported.
    pub(super) params: &'a BTreeMap<String, Option<ParamValue>>,
    /// What else `${params.x}` may mean: nothing in a stage that is defined in a file of its own.
    pub(super) pipeline: Option<&'a mut PipelineParams<'p>>,
    /// The inputs; `None` for one that is optional and not given, or whose fault has been reported.
    pub(super) inputs: BTreeMap<&'a str, Option<&'a Found>>,
    /// The outputs, likewise.
    pub(super) outputs: BTreeMap<&'a str, Option<String>>,
    /// Fields that are not given under their names, which has been reported.
    pub(super) meant: &'a [&'static str],
    /// The values of its axes; `None` in a stage that is defined in a file of its own.
    pub(super) chosen: Option<&'a Vec<Chosen>>,
    /// Where outputs of other stages lie.
    pub(super) places: &'a Outputs,
    /// The own parameters that are referred to.
    pub(super) used: BTreeSet<String>,
}

/// What is put in for a reference.
enum Value {
    One(String),
    Several(Vec<String>),
    /// An optional input, output or parameter that is not given.
    Absent,
}

/// `argv:` of the file `source` with its values. Faults are added to `faults`.
pub(super) fn argv(
    source: &Arc<Source>,
    written: &[Text],
    scope: &mut Scope<'_, '_>,
    faults: &mut Vec<Diagnostic>,
) -> Command {
    let mut argv = Vec::with_capacity(written.len());
    for text in written {
        let pieces = take_apart(source, text, Dialect::Plain, faults);
        if let [Piece::Reference(reference)] = &pieces[..] {
            match scope.value(reference) {
                Ok(Value::One(value)) => argv.push(value),
                Ok(Value::Several(values)) => argv.extend(values),
                Ok(Value::Absent) => {}
                Err(advice) => faults.push(advice.at(source, text, reference)),
            }
            continue;
        }
        let mut argument = String::new();
        for piece in &pieces {
            match piece {
                Piece::Literal(literal) => argument.push_str(literal),
                Piece::Reference(reference) => match scope.value(reference) {
                    Ok(Value::One(value)) => argument.push_str(&value),
                    Ok(Value::Several(_) | Value::Absent) => faults.push(whole(reference).at(source, text, reference)),
                    Err(advice) => faults.push(advice.at(source, text, reference)),
                },
            }
        }
        argv.push(argument);
    }
    if let (Some(program), Some(text)) = (argv.first(), written.first())
        && program.is_empty()
    {
        let fault = Diagnostic::error("the program has no name").at(source, text.span, "");
        faults.push(fault.help("name the program first: `argv: [program, argument]`"));
    }
    Command::Argv(argv)
}

/// `run:` of the file `source` with its values, each quoted for the shell. Faults are added to `faults`.
pub(super) fn run(
    source: &Arc<Source>,
    written: &Text,
    scope: &mut Scope<'_, '_>,
    faults: &mut Vec<Diagnostic>,
) -> Command {
    let mut text = String::new();
    for piece in take_apart(source, written, Dialect::Shell, faults) {
        let reference = match piece {
            Piece::Literal(literal) => {
                text.push_str(&literal);
                continue;
            }
            Piece::Reference(reference) => reference,
        };
        if let Some(inside) = reference.inside {
            let name = &written.text[reference.start..reference.end];
            let advice = Advice {
                message: format!("`{name}` {}", inside.message()),
                help: inside.help().to_owned(),
            };
            faults.push(advice.at(source, written, &reference));
            continue;
        }
        let values = match scope.value(&reference) {
            Ok(Value::One(value)) => vec![value],
            Ok(Value::Several(values)) => values,
            Ok(Value::Absent) => Vec::new(),
            Err(advice) => {
                faults.push(advice.at(source, written, &reference));
                continue;
            }
        };
        let words: Vec<String> = values.iter().map(|value| shell::quote(value)).collect();
        text.push_str(&words.join(" "));
    }
    if text.trim().is_empty() {
        let fault = Diagnostic::error("there is no command in `run`").at(source, written.span, "");
        faults.push(fault.help("write a command"));
    }
    if text.contains('\0') {
        let fault = Diagnostic::error("`run` has a NUL character in it").at(source, written.span, "");
        faults.push(fault.help("no program can be given one: remove it"));
    }
    Command::Shell(text)
}

/// What is wrong with a reference, and what to do.
pub(super) struct Advice {
    pub(super) message: String,
    pub(super) help: String,
}

impl Advice {
    pub(super) fn at(self, source: &Arc<Source>, text: &Text, reference: &Reference) -> Diagnostic {
        let span = text.locate(source, reference.start, reference.end);
        Diagnostic::error(self.message).at(source, span, "").help(self.help)
    }
}

fn whole(reference: &Reference) -> Advice {
    Advice {
        message: format!(
            "{} `{}` is not one value, so it must be a whole argument",
            reference.kind.singular(),
            reference.name
        ),
        help: "make it an element of `argv` by itself: it becomes as many arguments as it has values".to_owned(),
    }
}

fn take_apart(source: &Arc<Source>, text: &Text, dialect: Dialect, faults: &mut Vec<Diagnostic>) -> Vec<Piece> {
    if text.text.contains('\0') && dialect == Dialect::Plain {
        let fault = Diagnostic::error("an argument has a NUL character in it").at(source, text.span, "");
        faults.push(fault.help("no program can be given one: remove it"));
    }
    let (pieces, wrong) = pieces(&text.text, dialect);
    for fault in wrong {
        let span = text.locate(source, fault.start, fault.end);
        faults.push(Diagnostic::error(fault.message).at(source, span, "").help(fault.help));
    }
    pieces
}

impl Scope<'_, '_> {
    fn value(&mut self, reference: &Reference) -> Result<Value, Advice> {
        let name = reference.name.as_str();
        // Nothing is run: any text does.
        let is_meant = |field: &str| self.meant.contains(&field).then(|| Value::One(name.to_owned()));
        match reference.kind {
            Kind::Params => self.param(name),
            Kind::Inputs => match self.inputs.get(name) {
                Some(found) => Ok(found.map_or(Value::Absent, |found| self.words(found))),
                None => is_meant("inputs").ok_or_else(|| unknown(reference, self.inputs.keys().copied())),
            },
            Kind::Outputs => match self.outputs.get(name) {
                Some(Some(path)) => Ok(Value::One(argument(path))),
                Some(None) => Ok(Value::Absent),
                None => is_meant("outputs").ok_or_else(|| unknown(reference, self.outputs.keys().copied())),
            },
            Kind::Matrix | Kind::Foreach | Kind::Stem => self.axis(reference),
        }
    }

    fn axis(&self, reference: &Reference) -> Result<Value, Advice> {
        let Some(chosen) = self.chosen else {
            let name = &reference.name;
            return Err(Advice {
                message: "a stage definition has no axes".to_owned(),
                help: format!("give it a parameter, and its value where the stage is used: `params: {{ {name}: … }}`"),
            });
        };
        let text = axis_text(chosen, reference)?;
        Ok(Value::One(match reference.kind {
            Kind::Foreach => argument(&text),
            _ => text,
        }))
    }

    fn words(&self, found: &Found) -> Value {
        match found {
            Found::File { path } | Found::Folder { path, .. } => Value::One(argument(path.as_str())),
            Found::Glob { files, .. } => Value::Several(files.iter().map(|file| argument(file.as_str())).collect()),
            Found::Output(at) => match self.places.path(*at) {
                Some(path) => Value::One(argument(path.as_str())),
                None => Value::Absent,
            },
            Found::Absent => Value::Absent,
            Found::Gather { stages, output } => {
                let paths = stages.clone().filter_map(|stage| self.places.path((stage, *output)));
                Value::Several(paths.map(|path| argument(path.as_str())).collect())
            }
        }
    }

    fn param(&mut self, name: &str) -> Result<Value, Advice> {
        if let Some(value) = self.params.get(name) {
            self.used.insert(name.to_owned());
            return value.as_ref().map_or(Ok(Value::Absent), |value| words_of(name, value));
        }
        if self.meant.contains(&"params") {
            return Ok(Value::One(name.to_owned()));
        }
        let own: Vec<&str> = self.params.keys().map(String::as_str).collect();
        let message = format!("there is no parameter `{name}`");
        let Some(pipeline) = self.pipeline.as_deref_mut() else {
            let help = match nearest(name, own) {
                Some(known) => format!("did you mean `${{params.{known}}}`?"),
                None => format!("add `{name}` to the `params:` of this stage definition"),
            };
            return Err(Advice { message, help });
        };
        match pipeline.get(name).map(values::untyped) {
            Some(value) => words_of(name, &value),
            None => Err(Advice {
                message,
                help: pipeline.advice(name, &own),
            }),
        }
    }
}

fn unknown<'n>(reference: &Reference, known: impl Iterator<Item = &'n str>) -> Advice {
    let of = reference.kind.singular();
    let name = &reference.name;
    Advice {
        message: format!("this stage has no {of} `{name}`"),
        help: match nearest(name, known) {
            Some(known) => format!("did you mean `${{{of}s.{known}}}`?"),
            None => format!("add `{name}` to the `{of}s:` of the stage"),
        },
    }
}

fn words_of(name: &str, value: &ParamValue) -> Result<Value, Advice> {
    let no_text = || Advice {
        message: format!("parameter `{name}` has no text that a program could be given"),
        help: "refer to a string, a number, a boolean or a list of them".to_owned(),
    };
    match value {
        ParamValue::Null => Ok(Value::Absent),
        ParamValue::List(items) => {
            let words: Option<Vec<String>> = items.iter().map(values::text).collect();
            words.map(Value::Several).ok_or_else(no_text)
        }
        value => values::text(value).map(Value::One).ok_or_else(no_text),
    }
}

/// A path as an argument: never taken for an option.
fn argument(path: &str) -> String {
    match path.starts_with('-') {
        true => format!("./{path}"),
        false => path.to_owned(),
    }
}
