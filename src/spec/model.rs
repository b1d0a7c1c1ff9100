//! The two kinds of file as they are written; every value keeps its place.

use std::sync::Arc;

use super::parse::{Node, Text};
use super::surroundings::Surroundings;
use crate::diagnostic::{Source, Span};
use crate::plan::{Limits, Number};

/// A pipeline file.
#[derive(Clone, Debug)]
pub struct PipelineSpec {
    /// The file, with those that it includes.
    pub source: Arc<Source>,
    /// `name:`; `None` if its fault has been reported.
    pub name: Option<Text>,
    /// `purpose:`.
    pub purpose: Option<Text>,
    /// `params:`, in the order written.
    pub params: Vec<(Text, Node)>,
    /// `personal:`, the parameters whose values no receipt shows.
    pub personal: Vec<Text>,
    /// `stages:`, in the order written.
    pub stages: Vec<Stage>,
}

/// A stage of a pipeline file.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its key in `stages:`.
    pub name: Text,
    /// Fields that were probably meant by unknown ones, which have been reported: what is missing for that is no fault of its own.
    pub meant: Vec<&'static str>,
    /// What it runs; `None` if its fault has been reported.
    pub body: Option<Body>,
    /// `inputs:`, name and where from. The text of one that is a list is empty.
    pub inputs: Vec<(Text, Text)>,
    /// The inputs that are written as lists: name and parts.
    pub lists: Vec<(String, Vec<Text>)>,
    /// The names of the inputs that may be absent.
    pub optional: Vec<Text>,
    /// `outputs:`, name and path; that of a folder ends in `/`.
    pub outputs: Vec<(Text, Text)>,
    /// How far numbers in an output may be off when it is made again, by its name.
    pub tolerances: Vec<(Text, Number)>,
    /// The names of the outputs that are kept only until they were read.
    pub temporary: Vec<Text>,
    /// The names of the inputs and outputs that no receipt names by plain digests.
    pub personal: Personal,
    /// `params:`.
    pub params: Vec<(Text, Node)>,
    /// `env:`, `secrets:`, `tools:` and the like.
    pub surroundings: Surroundings,
    /// `stdin:` and `stdout:`.
    pub streams: Streams,
    /// `timeout:`, `retries:`, `mutex:` and `resources:`.
    pub limits: WrittenLimits,
    /// `matrix:` and `foreach:`.
    pub axes: Vec<Axis>,
    /// `requires:` and `declassify:`.
    pub consent: super::consent::ConsentRules,
    /// The values of its axes, if it is one of the stages that a written one makes.
    pub chosen: Vec<Chosen>,
    /// The included files that it was reached through, as they are numbered among those of the pipeline; the last has it.
    pub included: Vec<usize>,
}

/// What is said to be personal, by name.
#[derive(Clone, Debug, Default)]
pub struct Personal {
    /// Inputs.
    pub inputs: Vec<Text>,
    /// Outputs.
    pub outputs: Vec<Text>,
}

/// `true` or `false`, with its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Which.
    pub is_set: bool,
    /// Where it stands.
    pub span: Span,
}

/// What a program's standard streams are connected with, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Streams {
    /// `stdin:`, an input.
    pub stdin: Option<Text>,
    /// `stdout:`, an output.
    pub stdout: Option<Text>,
}

/// What holds a stage back, as written.
#[derive(Clone, Debug, Default)]
pub struct WrittenLimits {
    /// What is said.
    pub limits: Limits,
    /// The first field that only a program can have.
    pub of_programs: Option<Text>,
}

/// Something that varies: a stage is made for each of its values.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it is referred to by.
    pub name: Text,
    /// Where it is written.
    pub kind: AxisKind,
    /// Its values; `None` if their fault has been reported.
    pub values: Option<AxisValues>,
}

/// Where an axis is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisKind {
    /// `matrix:`; `${matrix.name}`.
    Matrix,
    /// `foreach:`; `${foreach.name}` and `${foreach.name.stem}`.
    Foreach,
}

/// The values of an axis.
#[derive(Clone, Debug)]
pub enum AxisValues {
    /// Scalars, in the order written.
    List(Vec<Node>),
    /// The files that this pattern finds, sorted by the bytes of their paths.
    Pattern(Text),
}

/// One value of an axis.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The axis.
    pub axis: String,
    /// Where the axis is written.
    pub kind: AxisKind,
    /// The value as written.
    pub node: Node,
    /// Its text: numbers in shortest form.
    pub text: String,
}

/// What a stage runs.
#[derive(Clone, Debug)]
pub enum Body {
    /// `uses:` in a pipeline: a stage that is defined elsewhere.
    Uses(Text),
    /// `builtin:` in a definition: a stage that comes with madmall.
    Builtin(Text),
    /// `argv:`: a program and its arguments.
    Argv(Vec<Text>),
    /// `run:`: a text for the shell.
    Run(Text),
}

/// A stage definition.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The file.
    pub source: Arc<Source>,
    /// What runs; `None` if its fault has been reported.
    pub body: Option<Body>,
    /// `inputs:`.
    pub inputs: Vec<Port>,
    /// `outputs:`.
    pub outputs: Vec<Port>,
    /// `params:`.
    pub params: Vec<ParamSpec>,
    /// `env:`, `secrets:`, `tools:` and the like.
    pub surroundings: Surroundings,
    /// `stdin:` and `stdout:`.
    pub streams: Streams,
    /// `timeout:`, `retries:`, `mutex:` and `resources:`.
    pub limits: WrittenLimits,
}

/// An input or an output that a definition declares.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: Text,
    /// Whether a pipeline may leave it out.
    pub optional: bool,
    /// Of an output: whether it is a folder.
    pub is_folder: bool,
}

/// A parameter that a definition declares.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamSpec {
    /// Its name.
    pub name: Text,
    /// What values it takes.
    pub kind: ParamType,
    /// Its value where a pipeline gives none.
    pub default: Option<Node>,
    /// The only values it takes.
    pub choices: Option<Vec<Node>>,
    /// The smallest number it takes.
    pub minimum: Option<f64>,
    /// The largest number it takes.
    pub maximum: Option<f64>,
    /// Whether it may have no value at all.
    pub optional: bool,
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// Any text; what stands without quotes is taken as written.
    String,
    /// A whole number.
    Integer,
    /// A finite number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A list of anything.
    List,
    /// A map of anything.
    Map,
}

impl ParamType {
    /// Every type with the name it has in a file.
    pub const ALL: [(&'static str, Self); 6] = [
        ("string", Self::String),
        ("integer", Self::Integer),
        ("number", Self::Number),
        ("boolean", Self::Boolean),
        ("list", Self::List),
        ("map", Self::Map),
    ];

    /// With its article, for messages.
    #[must_use]
    pub const fn described(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "`true` or `false`",
            Self::List => "a list",
            Self::Map => "a map",
        }
    }
}

/// The settings file.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `purposes:`, if there is any: the purposes that there are, in their order.
    pub purposes: Option<crate::consent::purposes::Purposes>,
    /// `sandbox.read`: paths that every program may read, absolute or beginning with `~/`.
    pub readable: Vec<Text>,
}

/// Whether a file says nothing: it has only comments and blank lines.
#[must_use]
pub fn is_blank(text: &str) -> bool {
    let says_nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    text.lines().all(says_nothing)
}

/// Whether `text` can name a stage, an input, an output or a parameter: `[a-z][a-z0-9_-]*`.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

impl Node {
    /// The scalar's text with its place, if it is a scalar.
    #[must_use]
    pub fn as_text(&self) -> Option<Text> {
        match &self.kind {
            super::NodeKind::Scalar { text, .. } => Some(Text {
                text: text.clone(),
                span: self.span,
            }),
            _ => None,
        }
    }
}

impl PipelineSpec {
    /// Where a message about the whole file points.
    #[must_use]
    pub fn top(&self) -> Span {
        self.name.as_ref().map_or(Span::empty(0), |name| name.span)
    }
}
