//! `madmall key`, `key list`, `key export`: what is there.

use camino::Utf8PathBuf;
use serde_json::json;

use super::{failed, refused};
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{BOLD, Failure, Terminal, environment, shown};
use crate::exit_code::ExitCode;
use crate::receipt::key::PublicKey;
use crate::receipt::keystore::{KEY_FILE, POLICY_FILE, read_policy};
use crate::receipt::policy::{Policy, PolicyKey};
use crate::store::atomic;

/// Arguments of `key list`.
#[derive(clap::Args)]
pub(super) struct ListArguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `key export`.
#[derive(clap::Args)]
pub(super) struct ExportArguments {
    /// Which key: a name of your policy, or a keyid (eight digits are enough); without it, your own
    #[arg(value_name = "KEYID|NAME")]
    which: Option<String>,
    /// As PEM, for openssl and `verify --trust` (the default)
    #[arg(long, group = "form")]
    pem: bool,
    /// As a line of OpenSSH
    #[arg(long, group = "form")]
    ssh: bool,
    /// As 64 hexadecimal digits
    #[arg(long, group = "form")]
    hex: bool,
    /// Write it to a new file
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

/// Shows the public half of the user's own key, which is made if there is none.
pub(super) fn own(is_pem: bool, surroundings: &Surroundings, terminal: &mut Terminal) -> Result<ExitCode, Failure> {
    let public = surroundings.key(terminal)?.public();
    if is_pem {
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

/// The policy in the configuration folder, if there is one.
fn policy_of(surroundings: &Surroundings) -> Result<Option<Policy>, Failure> {
    let Some(folder) = surroundings.config_dir() else {
        return Ok(None);
    };
    read_policy(&folder).map_err(failed)
}

/// Lists keys. Nothing is made.
pub(super) fn list(
    arguments: &ListArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let own = surroundings.key_if_any()?.map(|key| key.public());
    let policy = policy_of(surroundings)?;
    let keys = policy.as_ref().map_or(&[][..], |policy| &policy.keys);
    let signs = |key: &PolicyKey| own.as_ref().is_some_and(|own| own.keyid().to_string() == key.keyid);
    // A key of the environment is believed alone, whatever the policy says.
    let is_alone = surroundings.variable("MADMALL_SIGNING_KEY").is_some();
    let place = match (is_alone, surroundings.config_dir()) {
        (true, _) => "MADMALL_SIGNING_KEY".to_owned(),
        (false, folder) => folder.unwrap_or_default().join(KEY_FILE).into_string(),
    };
    if arguments.json {
        let listed: Vec<_> = keys
            .iter()
            .map(|key| json!({ "key": key, "signs": signs(key), "ended": key.until.is_some() }))
            .collect();
        let signing = own.map(|own| json!({ "keyid": own.keyid().to_string(), "public": own.to_hex(), "from": place }));
        let file = surroundings.config_dir().map(|folder| folder.join(POLICY_FILE));
        let logs = policy.as_ref().and_then(|policy| policy.logs.as_ref());
        terminal.result(json!({
            "version": 1, "signing": signing, "policy": file, "believedAlone": is_alone, "keys": listed, "logs": logs,
        }));
        return Ok(ExitCode::Success);
    }
    match &own {
        None => terminal.say("there is no signing key yet: `madmall key` makes one"),
        Some(own) if is_alone || !keys.iter().any(signs) => {
            let why = match is_alone {
                true => "believed alone, whatever your policy says",
                false => "not in your policy: you do not believe what you sign",
            };
            print_own(own, &place, why, terminal);
        }
        Some(_) => {}
    }
    for key in keys {
        terminal.result(format_args!("{BOLD}{}{BOLD:#}", shown(&key.name)));
        terminal.result(format_args!("  keyid   {}", key.keyid));
        if signs(key) {
            terminal.result(format_args!("  signs   ({place})"));
        }
        for (what, text) in limits(key) {
            terminal.result(format_args!("  {what:<7} {}", shown(&text)));
        }
    }
    Ok(ExitCode::Success)
}

fn print_own(own: &PublicKey, place: &str, why: &str, terminal: &mut Terminal) {
    terminal.result(format_args!("{BOLD}your signing key{BOLD:#}"));
    terminal.result(format_args!("  keyid   {}", own.keyid()));
    terminal.result(format_args!("  signs   ({place}), {why}"));
}

/// What a key may sign, in words.
fn limits(key: &PolicyKey) -> Vec<(&'static str, String)> {
    let mut limits = Vec::new();
    for (what, list) in [("as", &key.builders), ("for", &key.pipelines), ("stages", &key.stages)] {
        limits.extend(list.as_ref().map(|list| (what, list.join(", "))));
    }
    limits.extend(key.from.as_ref().map(|from| ("from", from.clone())));
    if let Some(end) = &key.until {
        limits.push(("ended", end.time.clone()));
        match end.logs.is_empty() {
            true => limits.push(("", "nothing that it signed is believed".to_owned())),
            false => limits.extend(end.logs.iter().map(|head| {
                let text = format!("believed: the first {} receipts of the log {}", head.size, head.origin);
                ("", text)
            })),
        }
    }
    limits
}

/// Prints a public key, or writes it to a new file.
pub(super) fn export(
    arguments: &ExportArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let public = match &arguments.which {
        None => surroundings.key_if_any()?.map(|key| key.public()),
        Some(which) => {
            let policy = policy_of(surroundings)?;
            let found = policy.map(|policy| policy.find(which).map(|place| policy.keys[place].public.clone()));
            let hex = found.transpose().map_err(failed)?;
            hex.and_then(|hex| PublicKey::parse(&hex).ok())
        }
    };
    let Some(public) = public else {
        return Err(refused("there is no signing key yet", "`madmall key` makes one"));
    };
    let text = match (arguments.ssh, arguments.hex) {
        (true, _) => public.to_ssh(),
        (_, true) => public.to_hex(),
        _ => public.to_pem().trim_end().to_owned(),
    };
    let Some(output) = &arguments.output else {
        terminal.result(text);
        return Ok(ExitCode::Success);
    };
    let path = surroundings.folder.join(output);
    if path.symlink_metadata().is_ok() {
        return Err(refused(
            format!("`{output}` is there already"),
            "a key is written to a new file only",
        ));
    }
    atomic::write(&path, format!("{text}\n").as_bytes()).map_err(|error| environment(&error))?;
    terminal.say(format_args!(
        "wrote the public key {} to {output}",
        public.keyid().short()
    ));
    Ok(ExitCode::Success)
}
