//! `madmall consent destroy-secret`: ends every proof by the secret for ever.

use super::super::surroundings::Surroundings;
use super::super::terminal::{Failure, Terminal};
use crate::consent::secret;
use crate::consent::secret::Destroyed;
use crate::exit_code::ExitCode;

/// Arguments of `consent destroy-secret`.
#[derive(clap::Args)]
pub(super) struct DestroyArguments {
    /// Do it; without this, it is only said what that means
    #[arg(long)]
    yes: bool,
}

/// Destroys the secret.
pub(super) fn destroy(
    arguments: &DestroyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    if surroundings.variable("MADMALL_CONSENT_SECRET").is_some() {
        let message = "the consent secret is given by MADMALL_CONSENT_SECRET, and is not kept here";
        let help = "destroy it where it is kept; unset the variable to destroy the one in the configuration folder";
        return Err(Failure::new(ExitCode::Refused, message, Some(help)));
    }
    let Some(folder) = surroundings.config_dir() else {
        return Err(Failure::of(ExitCode::Environment, &secret::SecretError::NoFolder));
    };
    let path = folder.join(secret::SECRET_FILE);
    if !arguments.yes {
        terminal.result(format_args!("would destroy {path}"));
        terminal.result(
            "After that nobody can tell whose a token is, here or in any receipt: no proof of an event can be made or",
        );
        terminal.result("judged, no event that was erased is known if it returns, and what is affected by a withdrawal is not known of");
        terminal
            .result("earlier runs. Receipts, signatures and logs hold as before. The next run makes another secret.");
        terminal.result("nothing was destroyed yet; --yes does it");
        return Ok(ExitCode::Success);
    }
    match secret::destroy(&folder).map_err(|error| Failure::of(ExitCode::Environment, &error))? {
        Destroyed::Secret(id) => terminal.result(format_args!("destroyed the consent secret {}…", &id.to_hex()[..16])),
        Destroyed::Remains => terminal.result(format_args!("removed {path}: the secret in it was destroyed before")),
        Destroyed::Nothing => terminal.result(format_args!("there is no consent secret in {path}")),
    }
    terminal.say("copies in backups, snapshots and other machines are for you to find");
    Ok(ExitCode::Success)
}
