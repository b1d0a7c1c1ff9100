//! Why a stage must run: what is different now from when it last ran.
//!
//! Derived by comparing the stage, as it is hashed into its action, with the receipt of its last run; so the reason and
//! the decision cannot disagree: if two actions differ, one of these differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use camino::Utf8PathBuf;

use super::action::{Resolved, action_digest, input_path, parameters, system};
use super::{Command, Plan, Stage};
use crate::digest::Digest;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{CommandRecord, Outcome, ParamRecord, Resource, Role, StageParameters, Statement};

/// One reason why a stage must run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// No believed receipt of this stage.
    NeverRun,
    /// There are receipts of this stage, but by keys that the user's own policy does not trust for that.
    OnlyOthersRan,
    /// The user said `--force`.
    Forced,
    /// It failed the last time.
    FailedBefore,
    /// Another program, other arguments or text, or another built-in.
    CommandChanged {
        /// In one line.
        was: String,
        /// In one line.
        is: String,
    },
    /// The built-in gives other bytes than it did.
    RevisionChanged {
        /// At the last run.
        was: u32,
        /// Of this madmall.
        is: u32,
    },
    /// The pipeline's purpose.
    PurposeChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A parameter; absent where it did not or does not exist.
    ParamChanged {
        /// The parameter.
        name: String,
        /// At the last run.
        was: Option<String>,
        /// Now.
        is: Option<String>,
    },
    /// An input has other bytes.
    InputChanged {
        /// Its name in the stage.
        input: String,
        /// Its path.
        path: Utf8PathBuf,
        /// At the last run.
        was: Digest,
        /// Now.
        is: Digest,
    },
    /// An input has another path, and the program sees paths.
    InputMoved {
        /// Its name in the stage.
        input: String,
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A file that the program sees may be executed now, or no longer.
    ModeChanged,
    /// An input that the stage did not have.
    InputAdded {
        /// Its name in the stage.
        input: String,
    },
    /// An input that the stage no longer has.
    InputRemoved {
        /// Its name in the stage.
        input: String,
    },
    /// Names or paths of outputs.
    OutputsChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A variable that is let in.
    VariableChanged {
        /// Its name.
        name: String,
    },
    /// The programs of the machine that it uses are part of its action now, or no longer.
    PinChanged {
        /// Whether they are now.
        is: bool,
    },
    /// What it requires of consent, or which of its outputs it declassifies.
    ConsentRulesChanged,
    /// What is said to be personal, or comes of it.
    PersonalChanged,
    /// The secret that the digests of what is personal are keyed by.
    SecretChanged,
    /// A program of the machine, which is part of the action; absent where it was or is not.
    ToolChanged {
        /// Its name.
        name: String,
        /// At the last run.
        was: Option<Digest>,
        /// Now.
        is: Option<Digest>,
    },
    /// Operating system or architecture.
    SystemChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// An output is neither in place nor in the store.
    OutputMissing {
        /// Its path.
        path: Utf8PathBuf,
    },
    /// A temporary output is not here, and a stage that runs reads it.
    Needed {
        /// Its path.
        path: Utf8PathBuf,
        /// The stage that reads it.
        by: String,
    },
    /// A stage that this one reads from must run first (in a forecast).
    AfterStage {
        /// Its name.
        stage: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRun => write!(f, "never run"),
            Self::OnlyOthersRan => write!(f, "run only by others, whose keys are not trusted for this"),
            Self::Forced => write!(f, "forced"),
            Self::FailedBefore => write!(f, "failed the last time"),
            Self::CommandChanged { was, is } => write!(f, "command changed: {was} → {is}"),
            Self::RevisionChanged { was, is } => write!(f, "revision of the built-in changed: {was} → {is}"),
            Self::PurposeChanged { was, is } => write!(f, "purpose changed: {was} → {is}"),
            Self::ParamChanged { name, was, is } => {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
                write!(f, "param `{name}` changed: {} → {}", text(was), text(is))
            }
            Self::InputChanged { input, path, was, is } => {
                write!(f, "input `{input}` changed: {path} {} → {}", short(*was), short(*is))
            }
            Self::InputMoved { input, was, is } => write!(f, "input `{input}` moved: {was} → {is}"),
            Self::ModeChanged => write!(f, "the executable bit of an input changed"),
            Self::InputAdded { input } => write!(f, "input `{input}` is new"),
            Self::InputRemoved { input } => write!(f, "input `{input}` is gone"),
            Self::OutputsChanged { was, is } => write!(f, "outputs changed: {was} → {is}"),
            Self::VariableChanged { name } => write!(f, "variable `{name}` changed"),
            Self::PinChanged { is: true } => write!(f, "its tools are pinned now"),
            Self::PinChanged { is: false } => write!(f, "its tools are no longer pinned"),
            Self::ConsentRulesChanged => write!(f, "`requires` or `declassify` changed"),
            Self::PersonalChanged => write!(f, "what is personal changed"),
            Self::SecretChanged => write!(
                f,
                "the consent secret is another one, by which what is personal is known"
            ),
            Self::ToolChanged { name, was, is } => {
                let text = |digest: &Option<Digest>| digest.map_or_else(|| "(none)".to_owned(), short);
                write!(f, "tool `{name}` changed: {} → {}", text(was), text(is))
            }
            Self::SystemChanged { was, is } => write!(f, "system changed: {was} → {is}"),
            Self::Needed { path, by } => write!(f, "its temporary output `{path}` is needed by `{by}`"),
            Self::OutputMissing { path } => write!(f, "output `{path}` is neither in place nor in the store"),
            Self::AfterStage { stage } => write!(f, "`{stage}` runs first"),
        }
    }
}

fn blake3_of(dependency: &Resource) -> Option<Digest> {
    artifact_digests(dependency).map(|digests| digests.blake3())
}

fn personal_output(subject: &Resource) -> Option<String> {
    match subject.role() {
        Role::Output { output, .. } if subject.is_keyed() => Some(output.clone()),
        _ => None,
    }
}

/// A digest's first 12 digits: enough for a person to tell two apart.
fn short(digest: Digest) -> String {
    digest.to_hex()[..12].to_owned()
}

/// A stage at one moment, as far as its action goes: now, or at a run that a receipt tells of.
#[derive(Clone, Debug)]
pub struct Snapshot {
    parameters: StageParameters,
    /// The purpose, where it is part of the action.
    purpose: Option<String>,
    /// Input name to path and digest.
    inputs: BTreeMap<String, (String, Option<Digest>)>,
    system: Option<String>,
    /// The programs of the machine; of now only if they are part of the action.
    tools: BTreeMap<String, Option<Digest>>,
    action: String,
    /// What the secret is called that digests are keyed by, and the personal outputs (of a failure, none).
    personal: (Option<String>, Vec<String>),
    succeeded: bool,
}

impl Snapshot {
    /// The stage as it is now.
    #[must_use]
    pub fn now(plan: &Plan, stage: &Stage, resolved: &Resolved) -> Self {
        let inputs = stage.inputs.iter().zip(&resolved.inputs).map(|(input, now)| {
            (
                input.name.clone(),
                (input_path(plan, &input.source).to_string(), Some(now.digest)),
            )
        });
        let (purpose, system) = match &stage.command {
            Command::Builtin { purpose, .. } => (purpose.clone(), None),
            _ => (None, Some(system())),
        };
        Self {
            parameters: parameters(stage, resolved),
            purpose,
            inputs: inputs.collect(),
            system,
            tools: resolved.tools.iter().cloned().collect(),
            action: action_digest(plan, stage, resolved).to_string(),
            personal: (
                resolved.personal.map(|secret| secret.to_hex()),
                stage
                    .outputs
                    .iter()
                    .filter(|output| output.is_personal)
                    .map(|output| output.name.clone())
                    .collect(),
            ),
            succeeded: true,
        }
    }

    /// The stage as a receipt has it; `None` for a receipt of a run.
    #[must_use]
    pub fn of(statement: &Statement) -> Option<Self> {
        let build = &statement.predicate.build_definition;
        let internal = &build.internal_parameters.madmall;
        let parameters = build.external_parameters.stage.clone()?;
        let inputs = build.resolved_dependencies.iter().filter_map(|dependency| {
            let Role::Input { input, .. } = &dependency.annotations.madmall else {
                return None;
            };
            Some((input.clone(), (dependency.name.clone(), blake3_of(dependency))))
        });
        let tools = build.resolved_dependencies.iter().filter_map(|dependency| {
            let is_tool = matches!(dependency.role(), Role::Tool { .. });
            is_tool.then(|| (dependency.name.clone(), blake3_of(dependency)))
        });
        let resources = statement.subject.iter().chain(&build.resolved_dependencies);
        let mut secrets = resources.filter_map(|resource| resource.annotations.madmall_secret.clone());
        let mut outputs: Vec<String> = statement.subject.iter().filter_map(personal_output).collect();
        outputs.sort_unstable();
        Some(Self {
            personal: (secrets.next(), outputs),
            tools: tools.collect(),
            purpose: build.external_parameters.purpose.clone(),
            inputs: inputs.collect(),
            system: internal.stage.as_ref()?.system.clone(),
            action: internal.stage.as_ref()?.action.clone(),
            succeeded: internal.outcome == Outcome::Succeeded,
            parameters,
        })
    }

    /// The digest of an input.
    #[must_use]
    pub fn input_digest(&self, name: &str) -> Option<Digest> {
        self.inputs.get(name)?.1
    }

    /// What is different in `self` from `last`. Empty if nothing is.
    #[must_use]
    pub fn differences(&self, last: &Self) -> Vec<Stale> {
        let mut reasons = Vec::new();
        self.compare_command(last, &mut reasons);
        self.compare_params(last, &mut reasons);
        match self.compare_personal(last) {
            // All that is keyed has other digests then, whatever it holds.
            Some(reason) => reasons.push(reason),
            None => self.compare_inputs(last, &mut reasons),
        }
        let (was, is) = (&last.parameters.outputs, &self.parameters.outputs);
        if was != is {
            let text = |map: &BTreeMap<String, String>| map.values().cloned().collect::<Vec<_>>().join(", ");
            reasons.push(Stale::OutputsChanged {
                was: text(was),
                is: text(is),
            });
        }
        let (was, is) = (&last.parameters.environment, &self.parameters.environment);
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let changed = names.into_iter().filter(|name| was.get(*name) != is.get(*name));
        reasons.extend(changed.map(|name| Stale::VariableChanged { name: name.clone() }));
        if let (Some(was), Some(is)) = (&last.system, &self.system)
            && was != is
        {
            reasons.push(Stale::SystemChanged {
                was: was.clone(),
                is: is.clone(),
            });
        }
        self.compare_tools(last, &mut reasons);
        let rules = |parameters: &StageParameters| (parameters.requires.clone(), parameters.declassify.clone());
        if rules(&last.parameters) != rules(&self.parameters) {
            reasons.push(Stale::ConsentRulesChanged);
        }
        if reasons.is_empty() && self.action != last.action {
            // The one thing in an action that a receipt does not spell out.
            reasons.push(Stale::ModeChanged);
        }
        if reasons.is_empty() && !last.succeeded {
            reasons.push(Stale::FailedBefore);
        }
        reasons
    }

    fn compare_command(&self, last: &Self, reasons: &mut Vec<Stale>) {
        let streams = |parameters: &StageParameters| (parameters.stdin.clone(), parameters.stdout.clone());
        let has_other_streams = streams(&last.parameters) != streams(&self.parameters);
        match (&last.parameters.command, &self.parameters.command) {
            (
                CommandRecord::Builtin {
                    name: was,
                    revision: then,
                },
                CommandRecord::Builtin {
                    name: is,
                    revision: now,
                },
            ) if was == is => {
                if then != now {
                    reasons.push(Stale::RevisionChanged { was: *then, is: *now });
                }
                if let Some(is) = &self.purpose
                    && last.purpose.as_ref() != Some(is)
                {
                    let was = last.purpose.clone().unwrap_or_else(|| "(none)".to_owned());
                    reasons.push(Stale::PurposeChanged { was, is: is.clone() });
                }
            }
            (was, is) if was != is || has_other_streams => {
                let (was, is) = (command_line(&last.parameters), command_line(&self.parameters));
                reasons.push(Stale::CommandChanged {
                    was: excerpt(&was, &is),
                    is: excerpt(&is, &was),
                });
            }
            _ => {}
        }
    }

    fn compare_tools(&self, last: &Self, reasons: &mut Vec<Stale>) {
        let is = self.parameters.pin;
        if is != last.parameters.pin {
            reasons.push(Stale::PinChanged { is });
        } else if is {
            let names: BTreeSet<&String> = last.tools.keys().chain(self.tools.keys()).collect();
            for name in names {
                let of = |snapshot: &Self| snapshot.tools.get(name).copied().flatten();
                let (was, is) = (of(last), of(self));
                if was != is {
                    let name = name.clone();
                    reasons.push(Stale::ToolChanged { name, was, is });
                }
            }
        }
    }

    fn compare_params(&self, last: &Self, reasons: &mut Vec<Stale>) {
        let (was, is) = (&last.parameters.params, &self.parameters.params);
        let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for name in names.into_iter().filter(|name| was.get(*name) != is.get(*name)) {
            reasons.push(Stale::ParamChanged {
                name: name.clone(),
                was: was.get(name).map(param_text),
                is: is.get(name).map(param_text),
            });
        }
    }

    fn compare_personal(&self, last: &Self) -> Option<Stale> {
        let ((was, outputs_then), (is, outputs_now)) = (&last.personal, &self.personal);
        if was.is_some() != is.is_some() || (last.succeeded && outputs_then != outputs_now) {
            return Some(Stale::PersonalChanged);
        }
        (was != is).then_some(Stale::SecretChanged)
    }

    fn compare_inputs(&self, last: &Self, reasons: &mut Vec<Stale>) {
        let sees_paths = !matches!(self.parameters.command, CommandRecord::Builtin { .. });
        for (name, (path, now)) in &self.inputs {
            let Some((was, then)) = last.inputs.get(name) else {
                reasons.push(Stale::InputAdded { input: name.clone() });
                continue;
            };
            if sees_paths && was != path {
                reasons.push(Stale::InputMoved {
                    input: name.clone(),
                    was: was.clone(),
                    is: path.clone(),
                });
            }
            if let (Some(was), Some(is)) = (then, now)
                && was != is
            {
                let (input, path) = (name.clone(), path.into());
                reasons.push(Stale::InputChanged {
                    input,
                    path,
                    was: *was,
                    is: *is,
                });
            }
        }
        let gone = last.inputs.keys().filter(|name| !self.inputs.contains_key(*name));
        reasons.extend(gone.map(|name| Stale::InputRemoved { input: name.clone() }));
    }
}

/// What a stage runs as a person would type it, a line each. Words are quoted where the shell would take them apart.
#[must_use]
pub fn command_lines(parameters: &StageParameters) -> Vec<String> {
    let mut lines = lines_of(&parameters.command);
    if let Some(last) = lines.last_mut() {
        last.extend(parameters.stdin.iter().map(|name| format!(" < ${{inputs.{name}}}")));
        last.extend(parameters.stdout.iter().map(|name| format!(" > ${{outputs.{name}}}")));
    }
    lines
}

fn lines_of(command: &CommandRecord) -> Vec<String> {
    match command {
        CommandRecord::Builtin { name, .. } => vec![format!("madmall/{name}")],
        CommandRecord::Argv(argv) => {
            let words: Vec<_> = argv.iter().map(|word| word_for_shell(word)).collect();
            words.join(" ").lines().map(str::to_owned).collect()
        }
        CommandRecord::Shell(text) => text.trim().lines().map(str::to_owned).collect(),
    }
}

/// A command as one line.
fn command_line(parameters: &StageParameters) -> String {
    one_line(&command_lines(parameters))
}

fn one_line(lines: &[String]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ↵ ")
}

/// At most 60 characters of `line`, among them the first that `other` has otherwise.
fn excerpt(line: &str, other: &str) -> String {
    const LONGEST: usize = 60;
    const BEFORE: usize = 20;
    let same = line.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    // What is cut before must be cut from both, or they could not be compared.
    let start = if same < LONGEST - BEFORE { 0 } else { same - BEFORE };
    let mut text = String::from(if start > 0 { "…" } else { "" });
    text.extend(line.chars().skip(start).take(LONGEST));
    if line.chars().nth(start + LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn word_for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A parameter as a person would write it.
#[must_use]
pub fn param_text(value: &ParamRecord) -> String {
    match value {
        ParamRecord::Null => "null".to_owned(),
        ParamRecord::Boolean(value) => value.to_string(),
        ParamRecord::Number(text) | ParamRecord::String(text) => text.clone(),
        ParamRecord::List(items) => {
            let items: Vec<_> = items.iter().map(param_text).collect();
            format!("[{}]", items.join(", "))
        }
        ParamRecord::Map(map) => {
            let members: Vec<_> = map.iter().map(|(k, v)| format!("{k}: {}", param_text(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_can_be_typed() {
        let argv = ["python3", "-c", "print('a b')", "", "data/x.csv"].map(str::to_owned);
        let shown = lines_of(&CommandRecord::Argv(argv.to_vec()));
        assert_eq!(shown, [r"python3 -c 'print('\''a b'\'')' '' data/x.csv"]);
        let shell = CommandRecord::Shell("set -x\n\n  sleep 1\nfalse\n".to_owned());
        assert_eq!(lines_of(&shell), ["set -x", "", "  sleep 1", "false"]);
        assert_eq!(one_line(&lines_of(&shell)), "set -x ↵ sleep 1 ↵ false");
    }

    #[test]
    fn a_changed_command_shows_what_changed_however_long_it_is() {
        assert_eq!(excerpt("cp a b", "cat a b"), "cp a b");
        let long = "x".repeat(100);
        let (was, is) = (format!("{long} --rate 1"), format!("{long} --rate 2 {long}"));
        assert_eq!(excerpt(&was, &is), format!("…{} --rate 1", "x".repeat(12)));
        assert_eq!(
            excerpt(&is, &was),
            format!("…{} --rate 2 {}…", "x".repeat(12), "x".repeat(38))
        );
    }
}
