//! Does the history that is here extend what the caller saw of it before (`--pin`)?

use std::collections::HashSet;

use camino::Utf8Path;

use super::evidence::Evidence;
use super::logs::{Extends, Logs, place};
use super::report::{Code, Finding, State};
use crate::log::checkpoint::{CheckpointError, Head, SignedCheckpoint};
use crate::receipt::statement::ReceiptId;

/// Where the caller saw a log before: a checkpoint that was kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    name: String,
    head: Head,
}

impl Pin {
    /// Reads a checkpoint that was kept; `name` is what the caller calls it. Who signed it does not matter: that it was kept is
    /// the caller's own word.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the bytes are no checkpoint in its one spelling.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, CheckpointError> {
        let head = SignedCheckpoint::parse(bytes)?.checkpoint.head;
        let name = name.to_owned();
        Ok(Self { name, head })
    }
}

/// What comparing with the pins gave.
pub(super) struct Pinned {
    pub(super) findings: Vec<Finding>,
    pub(super) state: State,
    pub(super) not_checked: Vec<String>,
}

/// Compares with every pin. What was seen of one log says nothing of another.
pub(super) fn check(pins: &[Pin], logs: &Logs, evidence: &Evidence, basis: &[usize]) -> Pinned {
    let findings: Vec<Finding> = pins.iter().filter_map(|pin| compare(pin, logs)).collect();
    let mut not_checked = Vec::new();
    if pins.is_empty() {
        not_checked.push("pin: the history was compared with nothing that was seen of it before (`--pin`)".to_owned());
    }
    let mut pinned: HashSet<ReceiptId> = HashSet::new();
    for (_, reading) in logs
        .iter()
        .filter(|(log, _)| pins.iter().any(|pin| pin.head.log == **log))
    {
        pinned.extend(reading.entries.iter().map(|(_, id)| *id));
    }
    let others = basis
        .iter()
        .filter(|index| !pinned.contains(&evidence.receipts[**index].id));
    let others = others.count();
    if !pins.is_empty() && others > 0 {
        not_checked.push(format!(
            "pin: {others} receipts that the answer rests on are in no log that is pinned"
        ));
    }
    let state = match (findings.is_empty(), pins.is_empty() || others > 0 || basis.is_empty()) {
        (false, _) => State::Failed,
        (true, true) => State::NotChecked,
        (true, false) => State::Held,
    };
    Pinned {
        findings,
        state,
        not_checked,
    }
}

fn compare(pin: &Pin, logs: &Logs) -> Option<Finding> {
    let Pin { name, head } = pin;
    let size = head.size;
    let (message, found) = match logs.compare(head) {
        Extends::Yes => return None,
        Extends::Gone => (
            "the log that was seen before is not here".to_owned(),
            "no log".to_owned(),
        ),
        Extends::Unsigned => {
            let message = "no checkpoint of the log that was seen before is by a trusted key".to_owned();
            (message, "no trusted checkpoint".to_owned())
        }
        Extends::Shorter { size: found } => {
            let message =
                format!("the log had {size} entries when it was seen before, and has {found} now: its end was cut off");
            (message, format!("{found} entries"))
        }
        Extends::Forked { root } => {
            let message = format!(
                "the first {size} entries of the log are not those that were seen before: the history was forked"
            );
            (message, format!("root {root}"))
        }
        Extends::Damaged => {
            let message = "the files of the log that was seen before do not give its root".to_owned();
            (message, "another root".to_owned())
        }
    };
    let finding = Finding::new(Code::Pin, format!("{message} (`{name}`)")).file(pinned_place(head));
    let expected = format!("{size} entries, root {}", head.root);
    Some(
        finding
            .differs(expected, found)
            .help("ask who keeps the history what became of it, and keep the checkpoint"),
    )
}

fn pinned_place(head: &Head) -> impl AsRef<Utf8Path> {
    place(&head.log)
}
