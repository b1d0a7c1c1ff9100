//! What a program stage may use: what its declaration says, and no more.

use camino::{Utf8Path, Utf8PathBuf};

use super::root::ExecutionRoot;
use super::sandbox::{Confinement, Demand, Own, Sandbox, Wanted};
use super::stage::Attempt;
use crate::plan::{InputSource, SandboxMode};
use crate::receipt::sandbox::{NETWORK_ALLOWED, OFF};
use crate::stages::Refusal;

impl Attempt<'_> {
    /// What the stage's program may use, which is one of `executables` or uses them; nothing is opened if it asked not to be confined.
    pub(super) fn confinement(
        &self,
        root: &ExecutionRoot,
        log: &Utf8Path,
        executables: &[&Utf8Path],
    ) -> Option<Confinement<'_>> {
        if self.stage.sandbox == SandboxMode::Off {
            return None;
        }
        let sandbox = self.session.sandbox();
        let mut readable: Vec<_> = root.linked().map(Utf8Path::to_owned).collect();
        self.add_linked_from_folders(sandbox, &mut readable);
        for executable in executables {
            sandbox.add_tool(executable, &mut readable);
        }
        let own = Own {
            writable: &[root.folder().to_owned(), root.home()],
            readable: &readable,
            log,
        };
        let wanted = Wanted {
            network: self.stage.network,
            demand: match self.stage.sandbox {
                SandboxMode::Required => Demand::All,
                SandboxMode::Auto | SandboxMode::Off => Demand::Nothing,
            },
        };
        Some(sandbox.confine(&own, wanted))
    }

    /// A folder is one link; a link within it may lead to another place of the workspace, which is then part of the input.
    fn add_linked_from_folders(&self, sandbox: &Sandbox, to: &mut Vec<Utf8PathBuf>) {
        for (input, state) in self.stage.inputs.iter().zip(&self.inputs) {
            let InputSource::Folder { path, .. } = &input.source else {
                continue;
            };
            let links = self.session.hashes.links_among(path, state.files());
            if links.is_empty() {
                continue;
            }
            let folder = self.session.workspace.absolute(path).canonicalize_utf8();
            for link in links {
                let absolute = self.session.workspace.absolute(link);
                if let Ok(real) = absolute.canonicalize_utf8()
                    && !folder.as_ref().is_ok_and(|folder| real.starts_with(folder))
                    && !sandbox.places().forbid(&real)
                {
                    to.push(real);
                }
            }
        }
    }

    /// What the receipt says of the sandbox.
    pub(super) fn sandbox_words(&self, enforced: &[&str]) -> Vec<String> {
        if self.stage.sandbox == SandboxMode::Off {
            return vec![OFF.to_owned()];
        }
        let allowed = self.stage.network.then_some(NETWORK_ALLOWED);
        let mut words: Vec<String> = enforced.iter().copied().chain(allowed).map(str::to_owned).collect();
        words.sort_unstable();
        words
    }
}

impl super::Session<'_> {
    /// What all programs may use.
    pub(super) fn sandbox(&self) -> &Sandbox {
        self.sandbox
            .get_or_init(|| Sandbox::open(self.bounds, self.workspace.root()))
    }
}

/// A stage that must be confined does not run where it cannot be.
pub(super) fn not_enforced(missing: &[&str]) -> Refusal {
    Refusal {
        summary: format!(
            "`sandbox: required`, and this machine cannot enforce {}",
            missing.join(", ")
        ),
        help: Some(
            "run it where the kernel has Landlock, version 6 or newer (Linux 6.12), or write `sandbox: auto`: the receipt \
             then says what was enforced"
                .to_owned(),
        ),
        ..Refusal::default()
    }
}
