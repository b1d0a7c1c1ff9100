//! A run that goes on, for other commands: those that remove something wait for it, and those that find work say that it may be done.

use camino::Utf8Path;

use super::terminal::{Failure, HELP, Terminal, environment, shown};
use crate::exit_code::ExitCode;
use crate::store::Store;
use crate::store::lock::{WorkspaceLock, holder};
use crate::workspace::Workspace;

/// Takes the lock; says once for whom it waits. An interrupt ends the process while it waits: nothing was begun.
pub(super) fn take_lock(
    workspace: &Workspace,
    command: &str,
    terminal: &mut Terminal,
) -> Result<WorkspaceLock, Failure> {
    let store = Store::of(workspace.root());
    let holder = format!("process {}, madmall {command}", std::process::id());
    let mut told = false;
    let mut waiting = |holder: &str| {
        if !std::mem::replace(&mut told, true) {
            let who = in_brackets(holder);
            terminal.say(format_args!("a run has this workspace{who}; waiting for it"));
        }
        true
    };
    let lock = WorkspaceLock::take(&store, &holder, &mut waiting).map_err(|error| environment(&error))?;
    lock.ok_or_else(|| Failure::new(ExitCode::Environment, "the lock was not taken", None))
}

/// Says so if outputs may be in place of which no receipt says anything yet, and that the user may `ask` again when one does.
pub(super) fn tell_unpublished(workspace: &Workspace, ask: &str, terminal: &mut Terminal) {
    let store = Store::of(workspace.root());
    let help = if let Some(holder) = holder(&store.lock_file()) {
        let who = in_brackets(&holder);
        format!("a run has this workspace{who}, and publishes its receipts when it ends: {ask} again then")
    } else if store.has_pending() {
        "a run in this workspace died before its receipts were published: `madmall run` publishes what it had finished"
            .to_owned()
    } else {
        return;
    };
    terminal.say(format_args!("{HELP}help{HELP:#}: {help}"));
}

/// What is said of a file of pending receipts that was put aside.
pub(super) fn put_aside(path: &Utf8Path) -> String {
    format!(
        "`{}` has receipts that were not published as those of an earlier run: they are damaged, or not of that run; remove it if you do \
         not know what it is",
        shown(path.as_str())
    )
}

/// Who has the lock, to be put behind other words. It takes the lock before it can say who it is: for that moment nobody can be named.
pub(super) fn in_brackets(holder: &str) -> String {
    match holder {
        "" => String::new(),
        holder => format!(" ({})", shown(holder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_said_yet_who_it_is_is_not_named() {
        assert_eq!(in_brackets(""), "");
        assert_eq!(in_brackets("process 7, madmall gc"), " (process 7, madmall gc)");
    }
}
