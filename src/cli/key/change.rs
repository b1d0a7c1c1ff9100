//! `madmall key trust`, `key import`: a key comes in.

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;
use jiff::civil::Date;

use super::ended::{found_heads, given_heads};
use super::{failed, folder_of, keyring_of, private_key, refused};
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, shown, warn};
use crate::exit_code::ExitCode;
use crate::receipt::key::PublicKey;
use crate::receipt::policy::{PolicyEnd, PolicyHead, PolicyKey, rfc3339};
use crate::receipt::trust::Trust;

/// Arguments of `key trust`.
#[derive(clap::Args)]
pub(super) struct TrustArguments {
    /// Their public key: a file (PEM, an SSH line, hexadecimal) or 64 hexadecimal digits
    #[arg(value_name = "FILE")]
    file: String,
    /// Whose it is, for you
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Only for this pipeline, by its name (may be given more than once)
    #[arg(long = "pipeline", value_name = "PIPELINE")]
    pipelines: Vec<String>,
    /// Only for this stage, by its name (may be given more than once)
    #[arg(long = "stage", value_name = "STAGE")]
    stages: Vec<String>,
    /// Only as this builder (may be given more than once)
    #[arg(long = "builder", value_name = "URI")]
    builders: Vec<String>,
    /// Only what was finished at that time or later (2026-11-24, or 2026-11-24T15:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Only what was finished before that time, which has passed, and is in one of its logs here (or at --at)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// With --until: a checkpoint by the key, in the place of its logs here (may be given more than once)
    #[arg(long, value_name = "CHECKPOINT", requires = "until")]
    at: Vec<Utf8PathBuf>,
}

/// Arguments of `key import`.
#[derive(clap::Args)]
pub(super) struct ImportArguments {
    /// The private key, not encrypted: PKCS#8 PEM, or an Ed25519 key of OpenSSH
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
}

/// A time, or a day, which begins at midnight UTC; in whole seconds.
fn time(text: &str) -> Result<Timestamp, String> {
    let day = text.parse::<Date>().ok().map(|_| format!("{text}T00:00:00Z"));
    let time = day.as_deref().unwrap_or(text).parse::<Timestamp>().ok();
    let whole = time.filter(|time| time.subsec_nanosecond() == 0);
    whole.ok_or_else(|| "expected a day like 2026-11-24 or a time like 2026-11-24T15:00:00Z".to_owned())
}

/// Adds somebody's key to the user's policy.
pub(super) fn trust(
    arguments: &TrustArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let folder = folder_of(surroundings)?;
    let public = public_key(&arguments.file, &surroundings.folder)?;
    let list = |items: &[String]| (!items.is_empty()).then(|| items.to_vec());
    let mut entry = PolicyKey {
        builders: list(&arguments.builders),
        pipelines: list(&arguments.pipelines),
        stages: list(&arguments.stages),
        from: arguments.from.map(rfc3339),
        ..PolicyKey::unlimited(&public, &arguments.name)
    };
    if let Some(until) = arguments.until {
        // Where its logs will be then cannot be known now, and the time alone would be the signer's word.
        if until > (surroundings.clock)() {
            return Err(refused(
                "a key ends at a place in its logs, and where they will be at that time is not known yet",
                "leave `--until` out, and type `madmall key revoke NAME` when the time has come",
            ));
        }
        let heads = match arguments.at.is_empty() {
            true => found_heads(&public, surroundings, terminal)?,
            false => given_heads(&arguments.at, &public, surroundings)?,
        };
        entry.until = Some(PolicyEnd {
            time: rfc3339(until),
            logs: heads.iter().map(PolicyHead::from).collect(),
        });
    }
    // The first key is made with a policy that trusts it: this one must not be alone in there.
    surroundings.key(terminal)?;
    let keyring = keyring_of(&folder)?;
    let mut policy = keyring.policy().map_err(failed)?;
    policy.add(entry).map_err(failed)?;
    keyring.set_policy(&policy).map_err(failed)?;
    let name = shown(&arguments.name);
    terminal.say(format_args!(
        "you believe what `{name}` ({}) signs",
        public.keyid().short()
    ));
    if policy.logs.is_some() {
        warn(
            terminal,
            "your policy lists the logs that count: until you add one by this key to it, none of its receipts is in any",
        );
    }
    Ok(ExitCode::Success)
}

/// One public key; a policy is not one.
fn public_key(argument: &str, folder: &Utf8Path) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::parse(argument) {
        return Ok(key);
    }
    let trust = Trust::given(folder.join(argument).as_str()).map_err(|error| Failure::of(ExitCode::Refused, &error))?;
    match &trust.keys[..] {
        [key] if trust.logs.is_none() => Ok(key.key),
        _ => Err(refused(
            format!("`{argument}` is not one public key"),
            "give one key: `madmall key export` of its owner prints it",
        )),
    }
}

/// Makes a key that the user has the signing key.
pub(super) fn import(
    arguments: &ImportArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let folder = folder_of(surroundings)?;
    let key = private_key(&arguments.file, surroundings)?;
    let keyring = keyring_of(&folder)?;
    if let Some(old) = keyring.key().map_err(failed)? {
        let keyid = old.public().keyid().short();
        return Err(refused(
            format!("there is a signing key already ({keyid})"),
            "`madmall key rotate --import FILE` puts another in its place, and keeps what the old one signed",
        ));
    }
    let mut policy = keyring.policy().map_err(failed)?;
    policy.add_own(&key.public()).map_err(failed)?;
    keyring.set_key(&key, None, &policy).map_err(failed)?;
    let keyid = key.public().keyid().short();
    terminal.say(format_args!(
        "your signing key is {keyid} now, and your policy trusts it"
    ));
    Ok(ExitCode::Success)
}
