//! A stage as its receipt tells it: all that is needed to run it again, without any pipeline file.
//!
//! What a recipe is made of is spelled out in the receipt; that it is whole is shown by its digests: the action and the
//! definition that it gives must be those that the receipt names. Where they are not (another revision of a built-in,
//! another operating system, a receipt that contradicts itself), the stage cannot be run as it was.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::{Digest, hash_file};
use crate::exec::process::{candidates, is_executable};
use crate::listing::ArtifactDigests;
use crate::plan::action::{Resolved, ResolvedInput, action_digest, definition_digest};
use crate::plan::snapshot::Snapshot;
use crate::plan::stale::Stale;
use crate::plan::{
    Command, DefinitionFile, Input, InputSource, Limits, Number, Output, ParamValue, Plan, SandboxMode, Stage, Streams,
    is_pattern, variables,
};
use crate::receipt::digests::{artifact_digests, file_digests, secret_of};
use crate::receipt::sandbox::{NETWORK_ALLOWED, OFF};
use crate::receipt::statement::{CommandRecord, ParamRecord, Resource, Role, StageParameters, Statement};
use crate::shared_path::SharedPath;
use crate::stages::builtin;

/// So many files whose executable bit no receipt tells are tried both ways.
const MOST_UNKNOWN_MODES: usize = 10;

/// What has to be at a path before the stage can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Needed {
    /// Relative to the workspace.
    pub(super) path: Utf8PathBuf,
    /// What it holds.
    pub(super) digests: ArtifactDigests,
    /// Whether it may be executed, where the receipt tells.
    pub(super) executable: Option<bool>,
    /// The receipt of the stage that made it; none for a source.
    pub(super) made_by: Option<String>,
}

/// A folder or pattern of so many files that the receipt does not list them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unlisted {
    /// The input's name in the stage.
    pub(super) input: String,
    /// The folder or the pattern.
    pub(super) path: Utf8PathBuf,
    /// Of its files.
    pub(super) digests: ArtifactDigests,
    /// The receipt of the stage that made it; none for a source.
    pub(super) made_by: Option<String>,
}

/// A stage that can be run again.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    /// A plan of that one stage; what other stages made is a file to it.
    pub(super) plan: Plan,
    /// What its inputs and variables held.
    pub(super) resolved: Resolved,
    /// The files that it read, each path once, sorted.
    pub(super) needed: Vec<Needed>,
    /// What it read beside them.
    pub(super) unlisted: Vec<Unlisted>,
    /// The action that the receipt names.
    pub(super) action: Digest,
    /// The definition that the receipt names.
    pub(super) definition: Digest,
}

impl Recipe {
    /// The recipe of the stage that `statement` is about. The text says why there is none.
    pub(super) fn of(statement: &Statement) -> Result<Self, String> {
        let (parameters, internal) = statement.stage().ok_or("it is the receipt of a run, not of a stage")?;
        if let Some(name) = parameters.personal.first() {
            return Err(format!(
                "its parameter `{name}` is personal, so that no receipt has its value"
            ));
        }
        let named = parameters.environment.keys().chain(&parameters.secrets);
        let is_refused = |name: &&String| variables::is_own(name) || variables::is_given(name);
        if let Some(name) = named.into_iter().find(is_refused) {
            return Err(format!("it takes the variable `{name}`, which no pipeline may name"));
        }
        let external = statement.external();
        let parse = |text: &str| text.parse::<Digest>().map_err(|error| error.to_string());
        let mut recipe = Self {
            plan: Plan {
                pipeline: external.pipeline.clone(),
                purpose: external.purpose.clone(),
                purposes: statement.purposes().unwrap_or_default(),
                pipeline_file: external.pipeline_file.clone().into(),
                definition_files: definition_files(statement),
                stages: Vec::new(),
                personal: BTreeSet::new(),
            },
            resolved: Resolved {
                inputs: Vec::new(),
                env: parameters.environment.values().cloned().collect(),
                tools: match parameters.pin {
                    true => tools(statement)
                        .map(|(name, digest)| (name.to_owned(), Some(digest)))
                        .collect(),
                    false => Vec::new(),
                },
                personal: secret_of(statement),
            },
            needed: Vec::new(),
            unlisted: Vec::new(),
            action: parse(&internal.action)?,
            definition: parse(&internal.definition)?,
        };
        let inputs = recipe.inputs(statement)?;
        let mut stage = stage(parameters, &external.purpose, inputs)?;
        for output in &mut stage.outputs {
            let is_it =
                |made: &&Resource| matches!(made.role(), Role::Output { output: name, .. } if *name == output.name);
            output.is_personal = statement.subject.iter().find(is_it).is_some_and(Resource::is_keyed);
        }
        // Its own program is among them, which makes no difference.
        stage.tools = tools(statement).map(|(name, _)| name.to_owned()).collect();
        let says = |word| internal.sandbox.iter().any(|said| said == word);
        // It is given no less than it had; what this machine can enforce may be more.
        if says(OFF) {
            stage.sandbox = SandboxMode::Off;
        }
        stage.network = says(NETWORK_ALLOWED);
        // A receipt names the pipeline file, those that it was included through, and the file that defines the stage.
        stage.included = (1..recipe.plan.definition_files.len()).collect();
        recipe.plan.stages.push(stage);
        recipe.needed.sort_by(|a, b| a.path.cmp(&b.path));
        recipe
            .needed
            .dedup_by(|a, b| a.path == b.path && a.digests == b.digests);
        if let Some(pair) = recipe.needed.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(format!("its receipt has `{}` with two contents", pair[0].path));
        }
        Ok(recipe)
    }

    /// The stage.
    pub(super) fn stage(&self) -> &Stage {
        &self.plan.stages[0]
    }

    /// Its inputs; what they read is added to `needed` and `unlisted`, what they held to `resolved`.
    fn inputs(&mut self, statement: &Statement) -> Result<Vec<Input>, String> {
        let mut inputs: Vec<(&str, &Resource, Option<&String>)> = Vec::new();
        for dependency in statement.dependencies() {
            if let Role::Input { input, receipt, .. } = dependency.role() {
                inputs.push((input, dependency, receipt.as_ref()));
            }
        }
        inputs.sort_by_key(|(name, ..)| *name);
        let mut all = Vec::new();
        for (name, resource, receipt) in inputs {
            let path = Utf8PathBuf::from(&resource.name);
            let digests =
                artifact_digests(resource).ok_or_else(|| format!("input `{name}` has digests of no known kind"))?;
            self.resolved.inputs.push(ResolvedInput {
                digest: digests.blake3(),
                executable: false,
            });
            let source = if !digests.is_folder() {
                self.needed.push(Needed {
                    path: path.clone(),
                    digests,
                    executable: None,
                    made_by: receipt.cloned(),
                });
                InputSource::File { path }
            } else {
                self.several(name, path, (digests, receipt), statement)
            };
            all.push(Input {
                name: name.to_owned(),
                source,
                is_personal: resource.is_keyed(),
            });
        }
        Ok(all)
    }

    fn several(
        &mut self,
        name: &str,
        path: Utf8PathBuf,
        (digests, receipt): (ArtifactDigests, Option<&String>),
        statement: &Statement,
    ) -> InputSource {
        let mut files = Vec::new();
        for dependency in statement.dependencies() {
            if let Role::Member { executable, input } = dependency.role()
                && input == name
                && let Some(digests) = artifact_digests(dependency)
            {
                files.push(SharedPath::from(dependency.name.as_str()));
                self.needed.push(Needed {
                    path: dependency.name.clone().into(),
                    digests,
                    executable: Some(*executable),
                    made_by: None,
                });
            }
        }
        files.sort_unstable();
        if files.is_empty() {
            self.unlisted.push(Unlisted {
                input: name.to_owned(),
                path: path.clone(),
                digests,
                made_by: receipt.cloned(),
            });
        }
        source_of(path, files)
    }

    /// Says which files an input that the receipt does not list has.
    pub(super) fn list(&mut self, input: &str, files: &[SharedPath]) {
        for own in self.plan.stages[0].inputs.iter_mut().filter(|own| own.name == input) {
            own.source = source_of(source_path(&own.source).to_owned(), files.to_vec());
        }
    }

    /// Finds the executable bits of its files with which the action is the one that the receipt names: as `known` has
    /// them, else (no receipt tells those of single files) whatever fits. The text says what is not as it was.
    pub(super) fn fit(&mut self, known: &dyn Fn(&Utf8Path) -> bool, statement: &Statement) -> Result<(), String> {
        let found = definition_digest(&self.plan, self.stage());
        if found != self.definition {
            let what = self.differences(statement);
            return Err(what.unwrap_or_else(|| "its definition is not the one that its receipt spells out".to_owned()));
        }
        let single: Vec<(usize, Utf8PathBuf)> = (0..)
            .zip(&self.stage().inputs)
            .filter_map(|(index, input)| match &input.source {
                InputSource::File { path } => Some((index, path.clone())),
                _ => None,
            })
            .collect();
        let guess: Vec<bool> = single.iter().map(|(_, path)| known(path)).collect();
        // The guess first, then every other way.
        for other in 0..1_usize << single.len().min(MOST_UNKNOWN_MODES) {
            for (bit, (index, _)) in single.iter().enumerate() {
                let is_flipped = bit < MOST_UNKNOWN_MODES && other >> bit & 1 == 1;
                self.resolved.inputs[*index].executable = guess[bit] != is_flipped;
            }
            if action_digest(&self.plan, self.stage(), &self.resolved) == self.action {
                let modes: BTreeMap<&Utf8Path, bool> = single
                    .iter()
                    .map(|(index, path)| (path.as_path(), self.resolved.inputs[*index].executable))
                    .collect();
                for needed in &mut self.needed {
                    let mode = modes.get(needed.path.as_path()).copied();
                    needed.executable = needed.executable.or(mode);
                }
                return Ok(());
            }
        }
        let what = self.differences(statement);
        Err(what.unwrap_or_else(|| "its action is not the one that its receipt spells out".to_owned()))
    }

    /// Whether the programs that are part of the action are here, as `PATH` in `environment` leads to them. The text says which is
    /// another.
    pub(super) fn check_tools(&self, environment: &BTreeMap<String, String>) -> Result<(), String> {
        let path = environment.get("PATH").map_or("", String::as_str);
        let called = self.stage().called_tools();
        for (name, was) in &self.resolved.tools {
            let called = called.get(name.as_str()).copied().unwrap_or(name);
            let found = candidates(called, Utf8Path::new("/"), path).find(|path| is_executable(path));
            let is = found.and_then(|path| Some(hash_file(&path).ok()?.0.blake3));
            if is != *was {
                let (name, was) = (name.clone(), *was);
                return Err(Stale::ToolChanged { name, was, is }.to_string());
            }
        }
        Ok(())
    }

    /// What in the action is not as the receipt has it, in words; nothing if the receipt spells out the same.
    fn differences(&self, statement: &Statement) -> Option<String> {
        let then = Snapshot::of(statement)?;
        let now = Snapshot::now(&self.plan, self.stage(), &self.resolved);
        let reasons = now.differences(&then);
        let told: Vec<String> = reasons
            .iter()
            .filter(|reason| !matches!(reason, Stale::ModeChanged | Stale::FailedBefore))
            .map(ToString::to_string)
            .collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}

fn source_of(path: Utf8PathBuf, files: Vec<SharedPath>) -> InputSource {
    match is_pattern(path.as_str()) {
        true => InputSource::Glob {
            pattern: path.into_string(),
            files,
        },
        false => InputSource::Folder { path, files },
    }
}

/// The path or pattern of a source.
pub(super) fn source_path(source: &InputSource) -> &Utf8Path {
    match source {
        InputSource::File { path } | InputSource::Folder { path, .. } => path,
        InputSource::Glob { pattern, .. } => Utf8Path::new(pattern),
        InputSource::Output { .. } => Utf8Path::new(""),
    }
}

/// The files that define the stage: the pipeline's first.
fn definition_files(statement: &Statement) -> Vec<DefinitionFile> {
    let pipeline = statement.external().pipeline_file.as_str();
    let mut files: Vec<DefinitionFile> = statement
        .dependencies()
        .iter()
        .filter(|dependency| matches!(dependency.role(), Role::Definition {}))
        .filter_map(|dependency| {
            Some(DefinitionFile {
                path: dependency.name.clone().into(),
                digests: file_digests(dependency)?,
                // No receipt tells it, and nothing here asks for it.
                size: 0,
            })
        })
        .collect();
    files.sort_by_key(|file| file.path != pipeline);
    files
}

fn stage(parameters: &StageParameters, purpose: &Option<String>, inputs: Vec<Input>) -> Result<Stage, String> {
    let command = match &parameters.command {
        CommandRecord::Builtin { name, .. } => {
            let known = builtin(name).ok_or_else(|| format!("this madmall has no built-in stage `{name}`"))?;
            Command::Builtin {
                name: name.clone(),
                // What runs is what this madmall has; that it is another shows in the action.
                revision: known.revision,
                purpose: purpose.clone().filter(|_| known.needs_purpose),
            }
        }
        CommandRecord::Argv(argv) if argv.is_empty() => return Err("its receipt names no program".to_owned()),
        CommandRecord::Argv(argv) => Command::Argv(argv.clone()),
        CommandRecord::Shell(text) => Command::Shell(text.clone()),
    };
    let params = parameters.params.iter().map(|(name, value)| {
        let value = param(value).ok_or_else(|| format!("its parameter `{name}` is not in its one spelling"))?;
        Ok((name.clone(), value))
    });
    let outputs = parameters.outputs.iter().map(|(name, path)| Output {
        name: name.clone(),
        path: path.trim_end_matches('/').into(),
        is_folder: path.ends_with('/'),
        // No receipt tells it: it is no part of what was run.
        tolerance: None,
        is_temporary: false,
        is_personal: false,
    });
    Ok(Stage {
        name: parameters.name.clone(),
        uses: None,
        definition_file: None,
        included: Vec::new(),
        command,
        params: params.collect::<Result<_, String>>()?,
        inputs,
        outputs: outputs.collect(),
        env: parameters.environment.keys().cloned().collect(),
        secrets: parameters.secrets.clone(),
        tools: Vec::new(),
        pin: parameters.pin,
        sandbox: SandboxMode::Auto,
        // No receipt tells them: they are no part of what was run.
        limits: Limits::default(),
        network: false,
        streams: Streams {
            stdin: parameters.stdin.clone(),
            stdout: parameters.stdout.clone(),
        },
        requires: parameters.requires.clone(),
        declassify: parameters.declassify.clone(),
        personal: Vec::new(),
        actual: None,
    })
}

/// The programs of the machine that a receipt names, sorted by name.
fn tools(statement: &Statement) -> impl Iterator<Item = (&str, Digest)> {
    let dependencies = statement.dependencies().iter();
    let tools = dependencies.filter(|dependency| matches!(dependency.role(), Role::Tool { .. }));
    tools.filter_map(|tool| Some((tool.name.as_str(), file_digests(tool)?.blake3)))
}

fn param(record: &ParamRecord) -> Option<ParamValue> {
    Some(match record {
        ParamRecord::Null => ParamValue::Null,
        ParamRecord::Boolean(value) => ParamValue::Boolean(*value),
        ParamRecord::Number(text) => ParamValue::Number(Number::parse(text)?),
        ParamRecord::String(text) => ParamValue::String(text.clone()),
        ParamRecord::List(items) => ParamValue::List(items.iter().map(param).collect::<Option<_>>()?),
        ParamRecord::Map(map) => {
            let members = map.iter().map(|(name, value)| Some((name.clone(), param(value)?)));
            ParamValue::Map(members.collect::<Option<_>>()?)
        }
    })
}
