//! A stage at one moment, now or at a run that a receipt tells of, and what is different between two.

use std::collections::{BTreeMap, BTreeSet};

use super::action::{Resolved, action_digest, input_path, parameters, system};
use super::command_text::{command_line, excerpt, param_text};
use super::stale::Stale;
use super::{Command, Plan, Stage};
use crate::digest::Digest;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{CommandRecord, Outcome, Resource, Role, StageParameters, Statement};

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

fn blake3_of(dependency: &Resource) -> Option<Digest> {
    artifact_digests(dependency).map(|digests| digests.blake3())
}

fn personal_output(subject: &Resource) -> Option<String> {
    match subject.role() {
        Role::Output { output, .. } if subject.is_keyed() => Some(output.clone()),
        _ => None,
    }
}
