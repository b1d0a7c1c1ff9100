//! The logs under `runs/log`: whether each is one history, and has the receipts that the answer rests on.

use std::collections::HashSet;

use camino::Utf8Path;

use super::evidence::{Evidence, Known};
use super::heads;
use super::logs::{Logs, place};
use super::report::{Code, Finding, State};
use crate::log::name::FileName;
use crate::log::read::was_absent;
use crate::receipt::key::KeyId;
use crate::receipt::statement::ReceiptId;

/// What the logs say.
pub(super) struct History {
    pub(super) findings: Vec<Finding>,
    /// Whether every trusted receipt that the answer rests on is in a log that holds.
    pub(super) state: State,
    pub(super) not_checked: Vec<String>,
}

const RESTORE: &str = "put the file back as it was committed (`git checkout -- runs/`), and ask who changed it";

/// Checks every log.
pub(super) fn check(logs: &Logs, evidence: &Evidence, basis: &[usize]) -> History {
    let mut findings = Vec::new();
    let mut has_log = false;
    let mut not_checked = Vec::new();
    let signed: HashSet<(ReceiptId, KeyId)> = evidence.receipts.iter().map(|known| (known.id, known.keyid)).collect();
    for (log, reading) in logs.iter() {
        let place = place(log);
        for fault in &reading.faults {
            let finding = Finding::new(Code::Log, &fault.message).file(place.join(&fault.file));
            findings.push(finding.help(RESTORE));
        }
        let Some((checkpoint, _)) = &reading.head else {
            findings.extend(reading.foreign.first().map(|file| foreign(&place.join(file))));
            continue;
        };
        has_log = true;
        let name = FileName::Checkpoint {
            size: checkpoint.head.size,
        };
        let file = place.join(name.path());
        let mut elsewhere = 0;
        for (index, id) in &reading.entries {
            if let Some(here) = evidence.by_id.get(id) {
                let signer = logs.signer(log).filter(|signer| !signed.contains(&(*id, *signer)));
                findings.extend(signer.map(|signer| signed_anew(&evidence.receipts[*here], &signer, &file)));
                continue;
            }
            if logs.of_excerpt || was_absent(&checkpoint.absent, *index) {
                elsewhere += 1;
            } else {
                findings.push(missing(&file, *index, id));
            }
        }
        if elsewhere > 0 && logs.of_excerpt {
            not_checked.push(format!(
                "log: {elsewhere} receipts that `{file}` lists are of runs that are not in the bundle"
            ));
        } else if elsewhere > 0 {
            let message = format!(
                "lists {elsewhere} receipts that are not here, and were not when it was signed: another branch has them, \
                 or their files were removed"
            );
            findings.push(Finding::new(Code::WarnElsewhere, message).file(&file));
        }
    }
    findings.extend(heads::check(logs, evidence));
    let unlogged = basis.iter().filter(|index| !logs.has(&evidence.receipts[**index].id));
    let unlogged: Vec<usize> = unlogged.copied().collect();
    let has_failed = findings.iter().any(|finding| finding.code == Code::Log);
    let state = match (has_failed, has_log && !basis.is_empty(), unlogged.first()) {
        (true, ..) => State::Failed,
        (false, false, first) => {
            let why = match has_log {
                true => "log: nothing that was asked for rests on a receipt, so no log was asked",
                false => "log: no log by a trusted key is here",
            };
            // In a bundle there is none if the project had none when it was made.
            let first = first.filter(|_| !logs.of_excerpt);
            findings.extend(first.map(|first| in_no_log(unlogged.len(), &evidence.receipts[*first])));
            not_checked.push(why.to_owned());
            State::NotChecked
        }
        (false, true, None) => State::Held,
        (false, true, Some(first)) => {
            findings.push(in_no_log(unlogged.len(), &evidence.receipts[*first]));
            not_checked.push("log: not every receipt is in a log by a trusted key".to_owned());
            State::NotChecked
        }
    };
    History {
        findings,
        state,
        not_checked,
    }
}

/// So many receipts are in no log; the first of them.
fn in_no_log(count: usize, first: &Known) -> Finding {
    let receipts = match count {
        1 => "1 receipt that the answer rests on is".to_owned(),
        _ => format!("{count} receipts that the answer rests on are"),
    };
    let finding = Finding::new(Code::WarnUnlogged, format!("{receipts} in no log by a trusted key"));
    finding.file(&first.file).line(first.line).help(
        "the next `madmall run` by whoever signed them that writes receipts appends them (with `--record` one with nothing to do writes some); \
         if the log was removed, `git checkout -- runs/` puts it back as it was committed",
    )
}

fn missing(checkpoint: &Utf8Path, index: u64, id: &ReceiptId) -> Finding {
    let message = format!("lists a receipt, entry {index}, that is not here: a run's file was removed or changed");
    let finding = Finding::new(Code::Log, message).file(checkpoint).receipt(id);
    finding.help("put the files of runs back as they were committed (`git checkout -- runs/`)")
}

/// A log has the receipts of one key: another signature was put in its place, so that nothing rests on what it says.
fn signed_anew(receipt: &Known, signer: &KeyId, checkpoint: &Utf8Path) -> Finding {
    let message = format!("is not by the key of the log that lists it (`{checkpoint}`): its signature was taken away");
    let finding = Finding::new(Code::Log, message).file(&receipt.file).line(receipt.line);
    let finding = finding.receipt(&receipt.id).help(RESTORE);
    finding.differs(format!("key {signer}"), format!("key {}", receipt.keyid))
}

fn foreign(file: &Utf8Path) -> Finding {
    let message = "is by a key that is not trusted, as are all checkpoints of that log; nothing asked for rests on it";
    Finding::new(Code::WarnForeign, message).file(file)
}
