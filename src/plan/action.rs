//! When is a stage up to date? What is in an action digest, and what is not.
//!
//! | in it | not in it |
//! | --- | --- |
//! | the format's version (the hash's domain) | times, users, hosts, absolute paths |
//! | a built-in's name, revision and, where it matters, purpose | the stage's name, the pipeline's name |
//! | a program's argv or text, its environment, OS and architecture | `PATH`, secrets |
//! | parameters with defaults filled in | comments, order and layout of the YAML |
//! | each input's name and digest (and path and executable bit, for programs), and which of them `stdin:` is | threads, where it ran, the sandbox |
//! | names and paths of outputs, and which of them `stdout:` is | the commit, whether the tree was dirty, tolerances |
//! | what it `requires:` of consent, and which outputs it declassifies | the consent of its inputs |
//! | of what is personal the keyed digest, which outputs are personal, and the secret's id | the plain digest of what is personal |
//! | with `pin: true`, the programs of the machine that it uses, byte for byte | without it, those programs |
//!
//! The *definition* is the same without the digests of inputs and the values of variables: what a commit alone says.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use camino::Utf8Path;

use super::{Command, InputSource, ParamValue, Plan, Stage, Streams};
use crate::canonical::{CanonicalHasher, Domain};
use crate::consent::secret::SecretId;
use crate::digest::Digest;
use crate::receipt::statement::{CommandRecord, ParamRecord, StageParameters};

/// What an action needs to know besides the stage: what its inputs and variables hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What each of [`Stage::inputs`] holds, in their order.
    pub inputs: Vec<ResolvedInput>,
    /// The value of each of [`Stage::env`], in their order; `None` if it is not set.
    pub env: Vec<Option<String>>,
    /// Of a stage that is pinned, the programs of the machine that it uses, sorted by name: the BLAKE3 of each; `None` if it is
    /// not there. Of any other, none.
    pub tools: Vec<(String, Option<Digest>)>,
    /// Of a stage that reads or writes what is personal, what the secret is called that its digests are keyed by.
    pub personal: Option<SecretId>,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedInput {
    /// A file's BLAKE3, or the listing's of several files; keyed, if it is personal.
    pub digest: Digest,
    /// Whether it is one file that may be executed (of several files, the listing says so).
    pub executable: bool,
}

/// What actions are hashed in.
static ACTION: LazyLock<Domain> = LazyLock::new(|| Domain::new("madmall action v1"));

/// The system that programs run on, as part of their action: operating system and architecture.
#[must_use]
pub fn system() -> String {
    format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The digest of everything that can change what `stage` writes, on this system.
#[must_use]
pub fn action_digest(plan: &Plan, stage: &Stage, resolved: &Resolved) -> Digest {
    action_digest_on(&system(), plan, stage, resolved)
}

/// The same on another system, spelled as [`system`] does; a built-in stage has one action on all of them.
#[must_use]
pub fn action_digest_on(system: &str, plan: &Plan, stage: &Stage, resolved: &Resolved) -> Digest {
    let mut hasher = CanonicalHasher::within(&ACTION);
    add_stage(&mut hasher, plan, stage);
    let sees_modes = !is_builtin(stage);
    hasher.list(&resolved.inputs, |h, input| {
        h.digest(input.digest);
        if sees_modes {
            h.tag(u8::from(input.executable));
        }
    });
    hasher.list(&resolved.env, |h, value| {
        h.option(value.as_ref(), |h, value| {
            h.str(value);
        });
    });
    if sees_modes {
        hasher.str(system);
    }
    if stage.pin {
        hasher.list(&resolved.tools, |h, (name, digest)| {
            h.str(name).option(digest.as_ref(), |h, digest| {
                h.digest(*digest);
            });
        });
    }
    if let Some(secret) = &resolved.personal {
        extension(&mut hasher, 7);
        hasher.str(&secret.to_hex());
    }
    hasher.finish()
}

/// The digest of `stage` as the pipeline files alone define it.
#[must_use]
pub fn definition_digest(plan: &Plan, stage: &Stage) -> Digest {
    let mut hasher = CanonicalHasher::new("madmall definition v1");
    add_stage(&mut hasher, plan, stage);
    hasher.finish()
}

/// The path by which `stage` sees its input: that of the file, the folder or the pattern.
#[must_use]
pub fn input_path<'a>(plan: &'a Plan, source: &'a InputSource) -> &'a Utf8Path {
    match source {
        InputSource::File { path } | InputSource::Folder { path, .. } => path,
        InputSource::Glob { pattern, .. } => Utf8Path::new(pattern),
        InputSource::Output { stage, output } => &plan.stages[stage.index()].outputs[*output].path,
    }
}

/// `stage` as a receipt spells it.
#[must_use]
pub fn parameters(stage: &Stage, resolved: &Resolved) -> StageParameters {
    let command = match &stage.command {
        Command::Builtin { name, revision, .. } => CommandRecord::Builtin {
            name: name.clone(),
            revision: *revision,
        },
        Command::Argv(argv) => CommandRecord::Argv(argv.clone()),
        Command::Shell(text) => CommandRecord::Shell(text.clone()),
    };
    StageParameters {
        command,
        declassify: stage.declassify.clone(),
        environment: stage.env.iter().cloned().zip(resolved.env.iter().cloned()).collect(),
        name: stage.name.clone(),
        outputs: stage
            .outputs
            .iter()
            .map(|output| (output.name.clone(), output.spelling().into_owned()))
            .collect(),
        params: stage
            .params
            .iter()
            .map(|(name, value)| (name.clone(), ParamRecord::from(value)))
            .collect(),
        personal: stage.personal.clone(),
        pin: stage.pin,
        requires: stage.requires.clone(),
        secrets: stage.secrets.clone(),
        stdin: stage.streams.stdin.clone(),
        stdout: stage.streams.stdout.clone(),
    }
}

fn is_builtin(stage: &Stage) -> bool {
    matches!(stage.command, Command::Builtin { .. })
}

fn add_stage(hasher: &mut CanonicalHasher, plan: &Plan, stage: &Stage) {
    match &stage.command {
        Command::Builtin {
            name,
            revision,
            purpose,
        } => {
            hasher.tag(0).str(name).u64(u64::from(*revision));
            hasher.option(purpose.as_ref(), |h, purpose| {
                h.str(purpose);
            });
        }
        Command::Argv(argv) => {
            hasher.tag(1).list(argv, |h, argument| {
                h.str(argument);
            });
        }
        Command::Shell(text) => {
            hasher.tag(2).str(text);
        }
    }
    add_params(hasher, &stage.params);
    // A program sees the paths of its inputs; a built-in sees only their bytes.
    let sees_paths = !is_builtin(stage);
    hasher.list(&stage.inputs, |h, input| {
        h.str(&input.name);
        if sees_paths {
            h.str(input_path(plan, &input.source).as_str());
        }
    });
    hasher.list(&stage.outputs, |h, output| {
        // That of a folder ends in `/`, as no file's does.
        h.str(&output.name).str(&output.spelling());
    });
    hasher.list(&stage.env, |h, name| {
        h.str(name);
    });
    if stage.streams != Streams::default() {
        extension(hasher, 1);
        for name in [&stage.streams.stdin, &stage.streams.stdout] {
            hasher.option(name.as_ref(), |h, name| {
                h.str(name);
            });
        }
    }
    if stage.pin {
        extension(hasher, 2);
        hasher.list(stage.called_tools().keys(), |h, name| {
            h.str(name);
        });
    }
    // What covers what decides which events are let in.
    if matches!(&stage.command, Command::Builtin { purpose: Some(_), .. }) && !plan.purposes.are_usual() {
        extension(hasher, 5);
        hasher.list(plan.purposes.words(), |h, word| {
            h.str(word);
        });
    }
    if let Some(purpose) = &stage.requires {
        extension(hasher, 3);
        hasher.str(purpose);
    }
    if !stage.declassify.is_empty() {
        extension(hasher, 4);
        hasher.list(&stage.declassify, |h, name| {
            h.str(name);
        });
    }
    if !stage.personal.is_empty() {
        extension(hasher, 8);
        hasher.list(&stage.personal, |h, name| {
            h.str(name);
        });
    }
    if stage.is_personal() {
        extension(hasher, 6);
        let inputs = stage.inputs.iter().filter(|input| input.is_personal);
        hasher.list(inputs.map(|input| &input.name).collect::<Vec<_>>(), |h, name| {
            h.str(name);
        });
        let outputs = stage.outputs.iter().filter(|output| output.is_personal);
        hasher.list(outputs.map(|output| &output.name).collect::<Vec<_>>(), |h, name| {
            h.str(name);
        });
    }
}

/// Begins what is hashed only of stages that use it, so that all others keep their digests. What follows a stage in an
/// action is a list, and no list has so many items: nothing else gives these bytes.
fn extension(hasher: &mut CanonicalHasher, which: u8) {
    hasher.u64(u64::MAX).tag(which);
}

fn add_params(hasher: &mut CanonicalHasher, params: &BTreeMap<String, ParamValue>) {
    hasher.list(params, |h, (name, value)| {
        h.str(name);
        add_value(h, value);
    });
}

fn add_value(hasher: &mut CanonicalHasher, value: &ParamValue) {
    match value {
        ParamValue::Null => {
            hasher.tag(0);
        }
        ParamValue::Boolean(value) => {
            hasher.tag(1).tag(u8::from(*value));
        }
        ParamValue::Number(number) => {
            hasher.tag(2).str(number.as_str());
        }
        ParamValue::String(text) => {
            hasher.tag(3).str(text);
        }
        ParamValue::List(items) => {
            hasher.tag(4).list(items, add_value);
        }
        ParamValue::Map(map) => {
            hasher.tag(5);
            add_params(hasher, map);
        }
    }
}
