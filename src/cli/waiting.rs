//! The workspace's lock, for commands that remove something: a run that goes on is waited for.

use super::terminal::{Failure, Terminal, environment, shown};
use crate::exit_code::ExitCode;
use crate::store::Store;
use crate::store::lock::WorkspaceLock;
use crate::workspace::Workspace;

/// Takes the lock; says once for whom it waits. An interrupt ends the process while it waits: nothing was begun.
pub(super) fn take_lock(
    workspace: &Workspace,
    command: &str,
    terminal: &mut Terminal,
) -> Result<WorkspaceLock, Failure> {
    let store = Store::of(workspace.root());
    store.create().map_err(|error| environment(&error))?;
    let holder = format!("process {}, madmall {command}", std::process::id());
    let mut told = false;
    let mut waiting = |holder: &str| {
        if !std::mem::replace(&mut told, true) {
            let holder = shown(holder);
            terminal.say(format_args!("a run has this workspace ({holder}); waiting for it"));
        }
        true
    };
    let lock = WorkspaceLock::take(&store.lock_file(), &holder, &mut waiting).map_err(|error| environment(&error))?;
    lock.ok_or_else(|| Failure::new(ExitCode::Environment, "the lock was not taken", None))
}
