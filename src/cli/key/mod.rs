//! `madmall key`: the signing key, made if there is none, and whom the user trusts.

use camino::{Utf8Path, Utf8PathBuf};

use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal};
use crate::exit_code::ExitCode;
use crate::receipt::keyring::{Keyring, KeyringError};

mod change;
mod ended;
mod show;

/// Arguments of `key`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct KeyArguments {
    /// Print only the public key, as PEM, for `verify --trust` elsewhere
    #[arg(long)]
    pem: bool,
    #[command(subcommand)]
    command: Option<KeyCommand>,
}

#[derive(clap::Subcommand)]
enum KeyCommand {
    /// List your own key and every key of your policy, with what it may sign and whether it has ended
    List(show::ListArguments),
    /// Print the public half of a key
    Export(show::ExportArguments),
    /// Believe what somebody else signs: add their public key to your policy
    Trust(change::TrustArguments),
    /// Sign with a key that you have (PKCS#8 PEM or OpenSSH), if you have none here yet
    Import(change::ImportArguments),
    /// Sign with another key from now on; what the old one signed until now is still believed
    Rotate(ended::RotateArguments),
    /// Believe a key no longer, but for what it signed until now
    Revoke(ended::RevokeArguments),
}

/// Shows the key, or does what the subcommand says.
pub(super) fn key(
    arguments: &KeyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    match &arguments.command {
        None => show::own(arguments.pem, surroundings, terminal),
        Some(KeyCommand::List(arguments)) => show::list(arguments, surroundings, terminal),
        Some(KeyCommand::Export(arguments)) => show::export(arguments, surroundings, terminal),
        Some(KeyCommand::Trust(arguments)) => change::trust(arguments, surroundings, terminal),
        Some(KeyCommand::Import(arguments)) => change::import(arguments, surroundings, terminal),
        Some(KeyCommand::Rotate(arguments)) => ended::rotate(arguments, surroundings, terminal),
        Some(KeyCommand::Revoke(arguments)) => ended::revoke(arguments, surroundings, terminal),
    }
}

/// The configuration folder, which these commands are about.
fn folder_of(surroundings: &Surroundings) -> Result<Utf8PathBuf, Failure> {
    if surroundings.variable("MADMALL_SIGNING_KEY").is_some() {
        return Err(Failure::new(
            ExitCode::Refused,
            "MADMALL_SIGNING_KEY is set: it names the key, and that key alone is believed",
            Some("unset it to change the key and the policy in your configuration folder"),
        ));
    }
    let none = || Failure::of(ExitCode::Environment, &crate::receipt::keystore::KeyError::NoFolder);
    surroundings.config_dir().ok_or_else(none)
}

/// The configuration folder while nobody else changes it.
fn keyring_of(folder: &Utf8Path) -> Result<Keyring, Failure> {
    Keyring::open(folder).map_err(failed)
}

/// What cannot be written is the machine's fault; all else is refused.
fn failed(error: impl Into<KeyringError>) -> Failure {
    let error = error.into();
    let code = match error {
        KeyringError::Key(_) => ExitCode::Environment,
        KeyringError::Policy(_) | KeyringError::Amend(_) => ExitCode::Refused,
    };
    Failure::of(code, &error)
}

fn refused(message: impl std::fmt::Display, help: &str) -> Failure {
    Failure::new(ExitCode::Refused, message, Some(help))
}

/// A private key in a file that the user names.
fn private_key(path: &Utf8Path, surroundings: &Surroundings) -> Result<crate::receipt::key::SigningKey, Failure> {
    let read = crate::receipt::keystore::read_key(&surroundings.folder.join(path));
    read.map_err(|error| Failure::of(ExitCode::Refused, &error))
}
