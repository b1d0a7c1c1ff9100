//! Had a stage, when its receipt was made, inputs that may be executed as those in the tree that is compared?
//!
//! No receipt says it of an input that is one file, but the action that it names covers it. Whatever else an action is made of, the
//! definition and the receipt say, so that it can be hashed again.

use super::conform::{Expected, input_named};
use crate::commitment::PersonalKey;
use crate::digest::Digest;
use crate::plan::action::{Resolved, ResolvedInput, action_digest_on};
use crate::plan::{Plan, Stage};
use crate::receipt::digests::{artifact_digests, file_digests, secret_of};
use crate::receipt::statement::{Resource, Role, Statement};

/// So many inputs are tried both ways, where a stage before made the same bytes with the bit and without.
const MOST_EITHER: usize = 10;

/// Whether the action that the receipt names is that of `stage` with the executable bits of its `inputs`, all else having been compared;
/// also if that cannot be told.
pub(super) fn fit(
    plan: &Plan,
    stage: &Stage,
    inputs: &[Expected],
    (statement, key): (&Statement, Option<&PersonalKey>),
) -> bool {
    // A built-in stage sees only bytes, and has no system.
    let internal = statement.stage().map(|(_, internal)| internal);
    let Some((internal, system)) = internal.and_then(|internal| Some((internal, internal.system.as_ref()?))) else {
        return true;
    };
    let Some((mut resolved, either)) = resolved(stage, inputs, statement, key) else {
        return true;
    };
    (0..1_usize << either.len()).any(|ways| {
        for (bit, index) in either.iter().enumerate() {
            resolved.inputs[*index].executable = ways >> bit & 1 == 1;
        }
        action_digest_on(system, plan, stage, &resolved).to_string() == internal.action
    })
}

/// What the stage read by its receipt, with the executable bits of `inputs`; and those inputs whose bit may be either. Nothing if it cannot
/// be told.
fn resolved(
    stage: &Stage,
    inputs: &[Expected],
    statement: &Statement,
    key: Option<&PersonalKey>,
) -> Option<(Resolved, Vec<usize>)> {
    let (parameters, _) = statement.stage()?;
    let mut resolved = Resolved {
        inputs: Vec::with_capacity(inputs.len()),
        env: Vec::with_capacity(stage.env.len()),
        tools: Vec::new(),
        personal: None,
    };
    let mut either = Vec::new();
    for (index, (input, expected)) in stage.inputs.iter().zip(inputs).enumerate() {
        let found = input_named(statement, &input.name)?;
        let modes = expected.modes(found);
        if modes.len() > 1 {
            either.push(index);
        }
        resolved.inputs.push(ResolvedInput {
            digest: artifact_digests(found)?.blake3(),
            executable: *modes.first()?,
        });
    }
    for name in &stage.env {
        resolved.env.push(parameters.environment.get(name)?.clone());
    }
    if stage.pin {
        let called = stage.called_tools().into_keys();
        resolved.tools = called.map(|name| (name.to_owned(), tool(statement, name))).collect();
    }
    if stage.is_personal() {
        resolved.personal = Some(secret_of(statement).or_else(|| key.map(PersonalKey::id))?);
    }
    (either.len() <= MOST_EITHER).then_some((resolved, either))
}

/// The BLAKE3 of a program of the machine that a receipt names.
fn tool(statement: &Statement, name: &str) -> Option<Digest> {
    let is_it = |tool: &&Resource| matches!(tool.role(), Role::Tool { .. }) && tool.name == name;
    let tool = statement.dependencies().iter().find(is_it)?;
    Some(file_digests(tool)?.blake3)
}
