//! The plan: a pipeline resolved. Names have become ids, templates text, defaults values.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::Limits;
use super::plain::{Plain, plain};
use crate::consent::purposes::Purposes;
use crate::digest::Digests;
use crate::shared_path::SharedPath;

/// A pipeline, resolved against a tree of files. Stages stand in an order in which each comes after what it reads;
/// among those that could come next, the one written first in the file comes first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The pipeline's `name:`.
    pub pipeline: String,
    /// The pipeline's `purpose:`.
    pub purpose: Option<String>,
    /// The purposes that there are, in their order.
    pub purposes: Purposes,
    /// The pipeline file, relative to the workspace.
    pub pipeline_file: Utf8PathBuf,
    /// The files that say what the stages are: the pipeline file first, then those that it includes, then each stage
    /// definition once.
    pub definition_files: Vec<DefinitionFile>,
    /// The stages, in an order that can be run. [`StageId`] is an index into this.
    pub stages: Vec<Stage>,
    /// The values of personal parameters, as they may stand in a command: see [`Plan::mask`].
    pub personal: BTreeSet<String>,
}

/// A file that says what stages are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionFile {
    /// Relative to the workspace.
    pub path: Utf8PathBuf,
    /// Of the bytes that were parsed.
    pub digests: Digests,
    /// How many bytes those were.
    pub size: u64,
}

/// A stage of one plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(u32);

impl StageId {
    /// The stage at `index` of [`Plan::stages`].
    ///
    /// # Panics
    ///
    /// Past four thousand million stages, which no file that is read can hold.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("a bounded file cannot hold so many stages"))
    }

    /// The place in [`Plan::stages`].
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// One stage, resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name in the pipeline. No part of its identity.
    pub name: String,
    /// What `uses:` says: a built-in (`madmall/ingest`) or a stage file.
    pub uses: Option<String>,
    /// Which of [`Plan::definition_files`] define it, besides the pipeline file (which is always the first).
    pub definition_file: Option<usize>,
    /// Which of them it was reached through, if it stands in a file that the pipeline includes; that file is the last.
    pub included: Vec<usize>,
    /// What runs.
    pub command: Command,
    /// Parameters with defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
    /// Sorted by name.
    pub inputs: Vec<Input>,
    /// Sorted by name.
    pub outputs: Vec<Output>,
    /// Names of variables that are passed through and whose values are part of the action; sorted.
    pub env: Vec<String>,
    /// Names of variables that are passed through and never hashed or recorded; sorted.
    pub secrets: Vec<String>,
    /// Programs of the machine that the stage's own uses, by the names that they have in `PATH`; sorted. The receipt says which
    /// they were.
    pub tools: Vec<String>,
    /// Whether those programs, and the stage's own, are part of the action, byte for byte.
    pub pin: bool,
    /// How far the program is confined. No part of the stage's identity.
    pub sandbox: SandboxMode,
    /// Whether the program may use the network. No part of the stage's identity.
    pub network: bool,
    /// What the program's standard streams are connected with.
    pub streams: Streams,
    /// What holds it back. No part of its identity.
    pub limits: Limits,
    /// The purpose that the consent of its inputs has to cover, if it is not the pipeline's.
    pub requires: Option<String>,
    /// The outputs that by the word of the pipeline hold nothing of a person any more, by name, sorted.
    pub declassify: Vec<String>,
    /// The pipeline's personal parameters that it refers to, by name, sorted. Their values are not in what it is shown by.
    pub personal: Vec<String>,
    /// What really runs, if `command` and `params` are masked: see [`Plan::mask`].
    pub actual: Option<Actual>,
}

/// The command and parameters of a stage with the values of personal parameters in them. Only what runs it looks at this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actual {
    /// What runs.
    pub command: Command,
    /// Parameters with defaults filled in.
    pub params: BTreeMap<String, ParamValue>,
}

impl Stage {
    /// Whether it reads or writes anything personal.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        self.inputs.iter().any(|input| input.is_personal)
            || self.outputs.iter().any(|output| output.is_personal)
            || !self.personal.is_empty()
    }

    /// The stages that this one reads from, each once, in the order of its inputs.
    #[must_use]
    pub fn reads_from(&self) -> Vec<StageId> {
        let mut seen = HashSet::new();
        let makers = self.inputs.iter().filter_map(|input| match input.source {
            InputSource::Output { stage, .. } => Some(stage),
            _ => None,
        });
        makers.filter(|stage| seen.insert(*stage)).collect()
    }

    /// Its text for the shell as a program with its words, if the shell has nothing to do but to start that. Of a stage with `pin: true`,
    /// what starts it is part of what it is: that is the shell. Nor is one started by what it is shown as, if that is not what runs.
    #[must_use]
    pub fn plain(&self) -> Option<Plain<'_>> {
        match &self.command {
            Command::Shell(text) if !self.pin && self.actual.is_none() => plain(text),
            _ => None,
        }
    }

    /// The programs of the machine that it uses, its own among them: by the name that its receipt has, what each is called. A
    /// program that it reads as an input is none of them.
    #[must_use]
    pub fn called_tools(&self) -> BTreeMap<&str, &str> {
        let named = self.tools.iter().map(|name| (name.as_str(), name.as_str()));
        let mut called: BTreeMap<&str, &str> = named.collect();
        let own = match &self.command {
            Command::Builtin { .. } => None,
            Command::Shell(_) => Some(SHELL),
            Command::Argv(argv) => argv.first().map(String::as_str),
        };
        // The shell last: what it starts may be called so, too.
        let own = [self.plain().map(|plain| plain.program), own].into_iter().flatten();
        let own = own.filter(|own| own.starts_with('/') || !own.contains('/'));
        called.extend(own.filter_map(|own| Some((Utf8Path::new(own).file_name()?, own))));
        called
    }
}

/// The program that runs the text of `run:`.
pub const SHELL: &str = "sh";

/// The name of one of the inputs that an input `name` is which gathers outputs: that of the output at `path`.
#[must_use]
pub fn gathered_name(name: &str, path: &Utf8Path) -> String {
    format!("{name}[{path}]")
}

/// The name that the pipeline file gives the input `name`.
#[must_use]
pub fn written_input(name: &str) -> &str {
    name.split_once('[').map_or(name, |(written, _)| written)
}

/// What a stage runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A stage that comes with madmall.
    Builtin {
        /// `ingest`, `featurize` or `train`.
        name: String,
        /// Grows when the output bytes for any input change.
        revision: u32,
        /// The pipeline's purpose, for the built-ins whose output depends on it.
        purpose: Option<String>,
    },
    /// A program and its arguments; no shell.
    Argv(Vec<String>),
    /// A text for `sh -eu`, with values filled in and quoted.
    Shell(String),
}

impl Command {
    /// How long it is, roughly, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Builtin { name, .. } => name.len(),
            Self::Argv(argv) => argv.iter().map(|argument| argument.len() + size_of::<String>()).sum(),
            Self::Shell(text) => text.len(),
        }
    }
}

/// What a program's standard streams are connected with. Standard error always goes to the stage's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The input that is its standard input; nothing if there is none.
    pub stdin: Option<String>,
    /// The output that its standard output is; the stage's log if there is none.
    pub stdout: Option<String>,
}

/// Whether a program stage is confined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SandboxMode {
    /// As far as this machine can.
    #[default]
    Auto,
    /// Not at all; the receipt says so.
    Off,
    /// Fully; where this machine cannot, the stage does not run.
    Required,
}

/// A parameter's value. Numbers are kept as text in shortest form, so that they have one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ParamValue {
    /// `null`: no value.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A finite number in shortest form; see [`Number`].
    Number(Number),
    /// A text.
    String(String),
    /// A list.
    List(Vec<ParamValue>),
    /// A map from text.
    Map(BTreeMap<String, ParamValue>),
}

/// A finite number in its one spelling: the shortest decimal that reads back as the same double (`1`, `0.2`, `1e-12`),
/// never `-0`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Number(String);

impl Number {
    /// The number that `text` spells by YAML 1.2's core schema (decimal integers and floats; no `0x`, `0o`, `.inf`),
    /// or `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
        let starts_well = digits.starts_with(|c: char| c.is_ascii_digit())
            || (digits.starts_with('.') && digits[1..].starts_with(|c: char| c.is_ascii_digit()));
        let shaped = digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
        if !starts_well || !shaped {
            return None;
        }
        text.parse().ok().and_then(Self::from_f64)
    }

    /// The spelling of `value`, or `None` if it is not finite.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        if !value.is_finite() {
            return None;
        }
        if value == 0.0 {
            return Some(Self("0".to_owned()));
        }
        let magnitude = value.abs();
        Some(Self(if (1e-5..1e21).contains(&magnitude) {
            format!("{value}")
        } else {
            format!("{value:e}")
        }))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The double.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        self.0.parse().expect("made from a double's own spelling")
    }

    /// The whole number, if it is one that a double holds exactly.
    #[must_use]
    pub fn to_integer(&self) -> Option<i64> {
        self.0.parse().ok().filter(|n: &i64| n.unsigned_abs() <= 1 << 53)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A named input of a stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name in the stage.
    pub name: String,
    /// Where it comes from.
    pub source: InputSource,
    /// Whether receipts name it by keyed digests alone: it is said to be personal, or made from what is.
    pub is_personal: bool,
}

/// Where an input comes from. Paths are relative to the workspace, in normal form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputSource {
    /// A file that no stage of the pipeline makes.
    File {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A folder that no stage of the pipeline makes; its files, sorted by the bytes of their paths.
    Folder {
        /// The folder.
        path: Utf8PathBuf,
        /// The files in it, at any depth; paths relative to the workspace. Outputs of the pipeline are not among them.
        files: Vec<SharedPath>,
    },
    /// The files that a pattern finds, sorted by the bytes of their paths.
    Glob {
        /// As written.
        pattern: String,
        /// What it finds. Outputs of the pipeline are not among them.
        files: Vec<SharedPath>,
    },
    /// An output of another stage.
    Output {
        /// The stage that makes it.
        stage: StageId,
        /// Which of that stage's [`Stage::outputs`].
        output: usize,
    },
}

impl InputSource {
    /// The files of it that no stage makes, in order.
    pub fn files(&self) -> impl Iterator<Item = &Utf8Path> {
        let (one, several) = match self {
            Self::File { path } => (Some(path.as_path()), &[][..]),
            Self::Folder { files, .. } | Self::Glob { files, .. } => (None, &files[..]),
            Self::Output { .. } => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(SharedPath::as_path))
    }
}

/// A named output of a stage: a file, or a folder with all that the stage makes in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Its name in the stage.
    pub name: String,
    /// Relative to the workspace, in normal form.
    pub path: Utf8PathBuf,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// How far a number in it may be off when it is made again. No part of the stage's identity.
    pub tolerance: Option<Number>,
    /// Whether it is kept only until all that read it in a run are done. No part of the stage's identity.
    pub is_temporary: bool,
    /// Whether receipts name it by keyed digests alone: it is said to be personal, or made from what is.
    pub is_personal: bool,
}

impl Output {
    /// Its path as a pipeline and a receipt spell it: that of a folder ends in `/`.
    #[must_use]
    pub fn spelling(&self) -> Cow<'_, str> {
        match self.is_folder {
            true => Cow::Owned(format!("{}/", self.path)),
            false => Cow::Borrowed(self.path.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        for (text, spelling) in [
            ("1.0", "1"),
            ("010", "10"),
            ("+.5", "0.5"),
            ("-0", "0"),
            ("1e3", "1000"),
            ("1e-12", "1e-12"),
            ("2.50", "2.5"),
        ] {
            assert_eq!(
                Number::parse(text).map(|n| n.to_string()).as_deref(),
                Some(spelling),
                "{text}"
            );
        }
        for text in [
            "", "-", ".", "1e", "0x10", "inf", ".inf", "nan", "1_000", "1e999", "e5", "infinity", "--1",
        ] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }
}
