//! `madmall key rotate`, `key revoke`: a key goes, and what it signed until now stays.

use camino::{Utf8Path, Utf8PathBuf};

use super::{failed, folder_of, keyring_of, private_key, refused};
use crate::cli::opened::find_workspace;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, environment, shown, warn};
use crate::cli::waiting::put_aside;
use crate::exec::pending::recover;
use crate::exec::runs_folder;
use crate::exit_code::ExitCode;
use crate::log::checkpoint::{Head, MAX_CHECKPOINT, Signed, SignedCheckpoint};
use crate::log::{self, LOGS};
use crate::receipt::amend::{Heads, end_of};
use crate::receipt::key::{KeyId, PublicKey, SigningKey};
use crate::receipt::policy::{PolicyEnd, PolicyHead, rfc3339};
use crate::store::Store;
use crate::store::lock::WorkspaceLock;
use crate::workspace::Workspace;

/// Arguments of `key rotate`.
#[derive(clap::Args)]
pub(super) struct RotateArguments {
    /// Take this private key (PKCS#8 PEM or OpenSSH, not encrypted), in the place of a new one
    #[arg(long, value_name = "FILE")]
    import: Option<Utf8PathBuf>,
    /// End the old key at this checkpoint by it, in the place of where its logs here are (may be given more than once)
    #[arg(long, value_name = "CHECKPOINT")]
    at: Vec<Utf8PathBuf>,
}

/// Arguments of `key revoke`.
#[derive(clap::Args)]
pub(super) struct RevokeArguments {
    /// Which key: its name in your policy, or a keyid (eight digits are enough)
    #[arg(value_name = "KEYID|NAME")]
    which: String,
    /// End it at this checkpoint by it, in the place of where its logs here are (may be given more than once)
    #[arg(long, value_name = "CHECKPOINT")]
    at: Vec<Utf8PathBuf>,
}

/// Puts another key in the place of the signing key, which ends.
pub(super) fn rotate(
    arguments: &RotateArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let folder = folder_of(surroundings)?;
    let imported = arguments.import.as_ref();
    let imported = imported.map(|path| private_key(path, surroundings)).transpose()?;
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    // No run may sign while the key that it signs with ends.
    let lock = lock(&workspace, terminal)?;
    let keyring = keyring_of(&folder)?;
    let Some(old) = keyring.key().map_err(failed)? else {
        return Err(refused("there is no signing key yet", "`madmall key` makes one"));
    };
    let new = match imported {
        Some(key) => key,
        None => SigningKey::generate()
            .map_err(|error| Failure::new(ExitCode::Environment, format!("cannot make a key: {error}"), None))?,
    };
    if new.public() == old.public() {
        return Err(refused("that is your signing key already", "name another file"));
    }
    let heads = match arguments.at.is_empty() {
        true => {
            if lock.is_some() {
                append_all(&workspace, &old, terminal)?;
            }
            found_heads(&old.public(), surroundings, terminal)?
        }
        false => given_heads(&arguments.at, &old.public(), surroundings)?,
    };
    let mut policy = keyring.policy().map_err(failed)?;
    let end = PolicyEnd {
        time: rfc3339(end_of((surroundings.clock)())),
        logs: heads.iter().map(PolicyHead::from).collect(),
    };
    let replaced = policy.replace_own(&old.public(), &new.public(), end);
    replaced.map_err(failed)?;
    keyring.set_key(&new, Some(&old), &policy).map_err(failed)?;
    let keyid = new.public().keyid().short();
    terminal.say(format_args!(
        "you sign with {keyid} now; the private half of {} lies in {}",
        old.public().keyid().short(),
        keyring.retired(&old)
    ));
    let name = policy.entry(old.public().keyid()).map_or("", |entry| &entry.name);
    tell_end(name, old.public().keyid(), &heads, terminal);
    if policy.logs.is_some() {
        warn(
            terminal,
            "your policy lists the logs that count: add the one that the next run begins with the new key",
        );
    }
    Ok(ExitCode::Success)
}

/// Ends a key of the policy, or adds logs to the end that it has.
pub(super) fn revoke(
    arguments: &RevokeArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let folder = folder_of(surroundings)?;
    let keyring = keyring_of(&folder)?;
    let mut policy = keyring.policy().map_err(failed)?;
    let place = policy.find(&arguments.which).map_err(failed)?;
    let entry = policy.keys[place].clone();
    let public = PublicKey::parse(&entry.public).map_err(|error| Failure::of(ExitCode::Refused, &error))?;
    let own = keyring.key().map_err(failed)?;
    if own.is_some_and(|own| own.public() == public) {
        return Err(refused(
            format!("`{}` is the key that you sign with", entry.name),
            "`madmall key rotate` puts another in its place and ends this one; if it was stolen, give `--at CHECKPOINT`",
        ));
    }
    let (heads, source) = match arguments.at.is_empty() {
        true => (found_heads(&public, surroundings, terminal)?, Heads::Found),
        false => (given_heads(&arguments.at, &public, surroundings)?, Heads::Given),
    };
    let time = end_of((surroundings.clock)());
    let added = policy.end(place, time, &heads, source).map_err(failed)?;
    if let (Some(end), true) = (&entry.until, added.is_empty()) {
        let name = shown(&entry.name);
        let time = &end.time;
        terminal.say(format_args!(
            "`{name}` has ended ({time}), and there is no log to add: nothing was changed"
        ));
        return Ok(ExitCode::Success);
    }
    keyring.set_policy(&policy).map_err(failed)?;
    tell_end(&entry.name, public.keyid(), &added, terminal);
    Ok(ExitCode::Success)
}

/// What the end of a key means.
fn tell_end(name: &str, keyid: KeyId, heads: &[Head], terminal: &mut Terminal) {
    let name = shown(name);
    let keyid = keyid.short();
    if heads.is_empty() {
        terminal.say(format_args!(
            "`{name}` ({keyid}) has ended: no log by it is here, so nothing that it signed is believed"
        ));
    } else {
        terminal.say(format_args!(
            "`{name}` ({keyid}) has ended: of what it signed, this is still believed"
        ));
    }
    for Head { log, size, .. } in heads {
        terminal.say(format_args!("  the first {size} receipts of runs/{LOGS}/{log}"));
    }
    terminal.say(format_args!(
        "to keep what it signed in other projects, type `madmall key revoke {keyid}` there, too"
    ));
}

/// Takes the workspace's lock, if there is a store: without one, nothing has run here.
fn lock(workspace: &Workspace, terminal: &mut Terminal) -> Result<Option<WorkspaceLock>, Failure> {
    let store = Store::of(workspace.root());
    if store.root().symlink_metadata().is_err() {
        return Ok(None);
    }
    let mut told = false;
    let mut waiting = |holder: &str| {
        if !std::mem::replace(&mut told, true) {
            terminal.say(format_args!("waiting for another run ({})", shown(holder)));
        }
        true
    };
    let holder = format!("process {}, key rotate", std::process::id());
    WorkspaceLock::take(&store, &holder, &mut waiting).map_err(|error| environment(&error))
}

/// Sees to it that every receipt by `key` that is here is in a log, also those that a run which died has left: what is in none
/// is not believed after the key's end, and nobody else can append it.
fn append_all(workspace: &Workspace, key: &SigningKey, terminal: &mut Terminal) -> Result<(), Failure> {
    let store = Store::of(workspace.root());
    let runs = runs_folder(workspace);
    let recovered = recover(&store, &runs, key).map_err(|error| environment(&error))?;
    for path in recovered.aside {
        warn(
            terminal,
            put_aside(path.strip_prefix(workspace.root()).unwrap_or(&path)),
        );
    }
    log::catch_up(&store, &runs, key, &log::News::Something).map_err(|error| environment(&error))?;
    Ok(())
}

/// Where the logs by `key` in the workspace here are. One that does not hold is left out, and named.
pub(super) fn found_heads(
    key: &PublicKey,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<Vec<Head>, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let found = log::signed_by(&workspace, Utf8Path::new("runs"), key).map_err(|error| environment(&error))?;
    let mut heads = Vec::new();
    for (log, head) in found {
        match head {
            Some(head) => heads.push(head),
            None => warn(
                terminal,
                format_args!(
                    "runs/{LOGS}/{log} does not hold (`madmall verify` says why), and is left out: its receipts are not believed"
                ),
            ),
        }
    }
    Ok(heads)
}

/// What checkpoints by `key` say that the user kept.
pub(super) fn given_heads(
    files: &[Utf8PathBuf],
    key: &PublicKey,
    surroundings: &Surroundings,
) -> Result<Vec<Head>, Failure> {
    let mut heads: Vec<Head> = Vec::new();
    for file in files {
        let head = given_head(&surroundings.folder.join(file), key).map_err(|why| {
            let message = format!("`{file}` {why}");
            refused(
                message,
                "name a file `checkpoint-<size>` of a log by this key (they lie in `runs/log`)",
            )
        })?;
        if heads.iter().any(|known| known.log == head.log) {
            return Err(refused(
                format!("`{file}` is of a log that another checkpoint is of"),
                "name one checkpoint of each log: the last that you know to be good",
            ));
        }
        heads.push(head);
    }
    Ok(heads)
}

fn given_head(path: &Utf8Path, key: &PublicKey) -> Result<Head, String> {
    use std::io::Read as _;
    let found = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?;
    if !found.is_file() || found.len() > MAX_CHECKPOINT {
        return Err("is no checkpoint".to_owned());
    }
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(MAX_CHECKPOINT).read_to_end(&mut bytes));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    let signed = SignedCheckpoint::parse(&bytes).map_err(|error| error.to_string())?;
    let head = &signed.checkpoint.head;
    match signed.signed_by(key) {
        Signed::Yes if head.size > 0 => Ok(head.clone()),
        Signed::Yes => Err("is of an empty log".to_owned()),
        Signed::Wrongly | Signed::InAnothersName => Err("has a signature that does not fit".to_owned()),
        Signed::No => Err(format!("is not signed by the key {}", key.keyid().short())),
    }
}
