//! `madmall key`: the signing key, made if there is none, and its public half.

use super::opened::Surroundings;
use super::terminal::{Failure, Terminal};
use crate::exit_code::ExitCode;

/// Arguments of `key`.
#[derive(clap::Args)]
pub(super) struct KeyArguments {
    /// Print only the public key, as PEM, for `verify --trust` elsewhere
    #[arg(long)]
    pem: bool,
}

/// Shows the key.
pub(super) fn key(
    arguments: &KeyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let public = surroundings.key(terminal)?.public();
    if arguments.pem {
        terminal.result(public.to_pem().trim_end());
        return Ok(ExitCode::Success);
    }
    terminal.result(format_args!("keyid   {}", public.keyid()));
    terminal.result(format_args!("public  {}", public.to_hex()));
    if let Some(folder) = surroundings.config_dir() {
        terminal.result(format_args!("folder  {folder}"));
    }
    Ok(ExitCode::Success)
}
