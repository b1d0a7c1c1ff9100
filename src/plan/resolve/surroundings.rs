//! What a stage's program is given of the machine: what the stage and its definition say of it, together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::stage::Drafting;
use crate::diagnostic::{Diagnostic, Source};
use crate::plan::{SandboxMode, variables};
use crate::spec::{self, Flag, Text};

/// The surroundings of one stage; see the fields of [`crate::plan::Stage`].
#[derive(Default)]
pub(super) struct Surroundings {
    pub(super) env: Vec<String>,
    pub(super) secrets: Vec<String>,
    pub(super) tools: Vec<String>,
    pub(super) pin: bool,
    pub(super) sandbox: SandboxMode,
    pub(super) network: bool,
}

impl Drafting<'_, '_> {
    /// The surroundings of the stage.
    pub(super) fn surroundings(&mut self) -> Surroundings {
        let (env, secrets) = self.variables();
        let sandbox = self.said().into_iter().find_map(|(_, said)| said.sandbox);
        Surroundings {
            env,
            secrets,
            tools: self.tools(),
            pin: self.flag(
                |said| said.pin,
                "a built-in stage cannot be pinned: its revision says what it gives",
            ),
            sandbox: sandbox.unwrap_or_default(),
            network: self.flag(|said| said.network, "a built-in stage uses no network"),
        }
    }

    /// What the stage says, then what its definition does.
    fn said(&self) -> Vec<(Arc<Source>, spec::Surroundings)> {
        let own = (Arc::clone(&self.spec.source), self.written.surroundings.clone());
        let defined = self.defined;
        let under = defined.map(|defined| (Arc::clone(&defined.source), defined.surroundings.clone()));
        std::iter::once(own).chain(under).collect()
    }

    /// A flag of the stage, or of its definition; a built-in stage has none.
    fn flag(&mut self, of: fn(&spec::Surroundings) -> Option<Flag>, of_builtin: &str) -> bool {
        let said = self
            .said()
            .into_iter()
            .find_map(|(source, said)| Some((source, of(&said)?)));
        if let Some((source, flag)) = said.as_ref().filter(|_| self.is_builtin()) {
            let fault = Diagnostic::error(of_builtin).at(source, flag.span, "");
            self.faults.push(fault.help("remove it"));
        }
        said.is_some_and(|(_, flag)| flag.is_set)
    }

    /// `tools:` of the stage and of its definition, sorted.
    fn tools(&mut self) -> Vec<String> {
        let is_builtin = self.is_builtin();
        let mut tools = BTreeSet::new();
        for (source, said) in self.said() {
            for name in said.tools {
                if is_builtin {
                    let fault = Diagnostic::error("a built-in stage uses no programs").at(&source, name.span, "");
                    self.faults.push(fault.help("remove it"));
                }
                tools.insert(name.text);
            }
        }
        tools.into_iter().collect()
    }

    /// `env:` and `secrets:` of the stage and of its definition, each sorted.
    fn variables(&mut self) -> (Vec<String>, Vec<String>) {
        let mut env = BTreeSet::new();
        let mut secrets = BTreeSet::new();
        let is_builtin = self.is_builtin();
        for (source, said) in self.said() {
            let own = said.env.into_iter().map(|name| (name, false));
            for (name, is_secret) in own.chain(said.secrets.into_iter().map(|name| (name, true))) {
                let (here, there) = match is_secret {
                    true => (&mut secrets, &env),
                    false => (&mut env, &secrets),
                };
                if let Some((message, help)) = fault_in(&name, is_builtin, there) {
                    let fault = Diagnostic::error(message).at(&source, name.span, "");
                    self.faults.push(fault.help(help));
                }
                here.insert(name.text);
            }
        }
        (env.into_iter().collect(), secrets.into_iter().collect())
    }
}

/// What is wrong with a variable, and what to do; `others` are those of the other kind.
fn fault_in(name: &Text, is_builtin: bool, others: &BTreeSet<String>) -> Option<(&'static str, &'static str)> {
    if is_builtin {
        Some(("a built-in stage reads no variables", "remove it"))
    } else if variables::is_given(&name.text) {
        Some(("every program has this variable from madmall", "remove it"))
    } else if variables::is_own(&name.text) {
        let help = "remove it: such variables hold or name your signing key and your consent secret";
        Some(("no program is given madmall's own variables (`MADMALL_…`)", help))
    } else if others.contains(&name.text) {
        let help = "remove it from `env` if its value is secret";
        Some(("a variable is either in `env` or in `secrets`", help))
    } else {
        None
    }
}
