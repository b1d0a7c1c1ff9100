//! What the process was given: its folder, its variables, the clock, and whose key signs.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::terminal::{Failure, Terminal};
use crate::exit_code::ExitCode;
use crate::receipt::key::SigningKey;
use crate::receipt::keystore::{self, KeyOrigin, KeySources};

/// The process's surroundings, as values.
pub(super) struct Surroundings {
    /// The variables whose names are UTF-8. A value that is not stands there as far as it can be spelled, so that it is another than none.
    pub(super) environment: BTreeMap<String, String>,
    /// Those whose values are not UTF-8: nothing takes one for what it is not.
    unreadable: BTreeSet<String>,
    /// The working folder.
    pub(super) folder: Utf8PathBuf,
    /// What time it is.
    pub(super) clock: fn() -> Timestamp,
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the working folder cannot be found out or is not UTF-8.
    pub(super) fn of_process() -> Result<Self, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where the process's surroundings become values"
        )]
        let folder = std::env::current_dir();
        let folder = folder.map_err(|error| {
            Failure::new(
                ExitCode::Environment,
                format!("cannot find the working folder: {error}"),
                None,
            )
        })?;
        let folder = Utf8PathBuf::from_path_buf(folder).map_err(|folder| {
            let message = format!("the path of the working folder is not UTF-8: {}", folder.display());
            Failure::new(
                ExitCode::Environment,
                message,
                Some("move the project to a folder whose path is UTF-8"),
            )
        })?;
        let mut unreadable = BTreeSet::new();
        let mut environment = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            let value = value.into_string().unwrap_or_else(|value| {
                unreadable.insert(name.clone());
                value.to_string_lossy().into_owned()
            });
            environment.insert(name, value);
        }
        if let Some(own) = unreadable.iter().find(|name| name.starts_with("MADMALL_")) {
            let message = format!("the value of {own} is not UTF-8");
            return Err(Failure::new(
                ExitCode::Refused,
                message,
                Some("set it to a text in UTF-8, or unset it"),
            ));
        }
        let surroundings = Self {
            environment,
            unreadable,
            folder,
            clock: Timestamp::now,
        };
        match surroundings.variable("MADMALL_CONFIG_DIR") {
            // Each folder would get a key of its own, some of them in repositories.
            Some(config) if !Utf8Path::new(config).is_absolute() => Err(Failure::new(
                ExitCode::Refused,
                format!("MADMALL_CONFIG_DIR is `{config}`, and must be an absolute path"),
                None,
            )),
            _ => Ok(surroundings),
        }
    }

    /// The variable `name`; one that is set to nothing, or to what is not UTF-8, counts as not set.
    #[must_use]
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty() && !self.unreadable.contains(name))
    }

    /// Whether there is a variable whose value is not UTF-8.
    pub(super) fn has_unreadable(&self) -> bool {
        !self.unreadable.is_empty()
    }

    /// Whether each variable that the stage called so takes has a value that can be given on and recorded.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 2 that names the first that has not.
    pub(super) fn check_variables<'n>(
        &self,
        stage: &str,
        mut names: impl Iterator<Item = &'n String>,
    ) -> Result<(), Failure> {
        let Some(name) = names.find(|name| self.unreadable.contains(*name)) else {
            return Ok(());
        };
        let message = format!("stage `{stage}` takes the variable `{name}`, whose value is not UTF-8");
        let help = "set it to a text in UTF-8, or unset it";
        Err(Failure::new(ExitCode::Refused, message, Some(help)))
    }

    /// The user's configuration folder.
    #[must_use]
    pub(super) fn config_dir(&self) -> Option<Utf8PathBuf> {
        keystore::config_dir(
            self.variable("MADMALL_CONFIG_DIR"),
            self.variable("XDG_CONFIG_HOME"),
            self.variable("HOME"),
        )
    }

    /// The signing key; made if there is none, and said so.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 7 if no key can be had or kept: nothing runs without one.
    pub(super) fn key(&self, terminal: &mut Terminal) -> Result<SigningKey, Failure> {
        let folder = self.config_dir();
        let sources = KeySources {
            signing_key: self.variable("MADMALL_SIGNING_KEY"),
            config_dir: folder.as_deref(),
        };
        let loaded = keystore::load_or_make(sources).map_err(|error| Failure::of(ExitCode::Environment, &error))?;
        if let KeyOrigin::Made { path } = &loaded.origin {
            let keyid = loaded.key.public().keyid().short();
            terminal.say(format_args!(
                "made your signing key {keyid} in {path}, and a policy that trusts it beside it"
            ));
        }
        Ok(loaded.key)
    }

    /// The signing key, if there is one already.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 7 if there is one that cannot be read.
    pub(super) fn key_if_any(&self) -> Result<Option<SigningKey>, Failure> {
        let folder = self.config_dir();
        let sources = KeySources {
            signing_key: self.variable("MADMALL_SIGNING_KEY"),
            config_dir: folder.as_deref(),
        };
        let loaded = keystore::load(sources).map_err(|error| Failure::of(ExitCode::Environment, &error))?;
        Ok(loaded.map(|loaded| loaded.key))
    }
}

/// Random bits for a run's id.
pub(super) fn random() -> Result<u16, Failure> {
    let mut nonce = [0; 2];
    getrandom::fill(&mut nonce)
        .map_err(|error| Failure::new(ExitCode::Environment, format!("cannot get random bytes: {error}"), None))?;
    Ok(u16::from_le_bytes(nonce))
}
