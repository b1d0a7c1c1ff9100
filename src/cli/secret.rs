//! The consent secret of whoever calls.

use camino::Utf8Path;

use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment};
use crate::commitment::PersonalKey;
use crate::consent::secret::{self, ConsentSecret, SecretOrigin, SecretSources};
use crate::exit_code::ExitCode;
use crate::store::Store;
use crate::workspace::Workspace;

impl Surroundings {
    /// The consent secret; made if there is none, and said so.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 7 if none can be had or kept: without it nothing could be shown of the events that are used.
    pub(super) fn secret(&self, terminal: &mut Terminal) -> Result<ConsentSecret, Failure> {
        let folder = self.config_dir();
        let loaded = secret::load_or_make(self.secret_sources(folder.as_deref()))
            .map_err(|error| Failure::of(ExitCode::Environment, &error))?;
        if let SecretOrigin::Made { path } = &loaded.origin {
            terminal.say(format_args!(
                "made your consent secret in {path}: whoever has it can tell which events were used; keep a copy of it"
            ));
        }
        Ok(loaded.secret)
    }

    /// The consent secret, if there is one already.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 7 if there is one that cannot be read.
    pub(super) fn secret_if_any(&self) -> Result<Option<ConsentSecret>, Failure> {
        let folder = self.config_dir();
        let loaded = secret::load(self.secret_sources(folder.as_deref()))
            .map_err(|error| Failure::of(ExitCode::Environment, &error))?;
        Ok(loaded.map(|loaded| loaded.secret))
    }

    /// The store of `workspace`, with what is personal if there is a secret that it is named by.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 7 if a part of it is a link.
    pub(super) fn store(&self, workspace: &Workspace) -> Result<Store, Failure> {
        // One that cannot be read is as good as none: what is keyed by it is then not known.
        let secret = self.secret_if_any().ok().flatten();
        let store = Store::of(workspace.root()).keyed_by(secret.as_ref().map(PersonalKey::of));
        store.refuse_links().map_err(|error| environment(&error))?;
        Ok(store)
    }

    fn secret_sources<'a>(&'a self, config_dir: Option<&'a Utf8Path>) -> SecretSources<'a> {
        SecretSources {
            secret: self.variable("MADMALL_CONSENT_SECRET"),
            config_dir,
        }
    }
}
