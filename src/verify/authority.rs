//! May the key that signed a receipt sign it? What its entry in the policy does not allow counts as if a stranger had signed.

use std::collections::{HashMap, HashSet};

use super::evidence::{Evidence, Known};
use super::logs::{Extends, Logs};
use crate::receipt::statement::ReceiptId;
use crate::receipt::trust::{KeyEnd, TrustedKey};

/// Takes the trust from every receipt whose key may not sign it, and notes the limit that it is beyond.
pub(super) fn apply(evidence: &mut Evidence, trusted: &[TrustedKey], logs: &Logs) {
    let mut before_end: HashMap<usize, HashSet<ReceiptId>> = HashMap::new();
    for receipt in &mut evidence.receipts {
        let Some(signer) = receipt.signer else { continue };
        let key = &trusted[signer];
        let limit = key.refuses(&receipt.statement).or_else(|| {
            let end = key.end()?;
            let seen = before_end.entry(signer).or_insert_with(|| seen_before(end, logs));
            (!seen.contains(&receipt.id)).then(|| beyond_end(key, end, logs, receipt))
        });
        if limit.is_some() {
            receipt.signer = None;
            receipt.limit = limit;
        }
    }
}

/// The receipts that were in the pinned logs when the key ended.
fn seen_before(end: &KeyEnd, logs: &Logs) -> HashSet<ReceiptId> {
    let mut seen = HashSet::new();
    for head in end.logs.iter().filter(|head| logs.compare(head) == Extends::Yes) {
        let entries = logs.entries(&head.log).iter();
        seen.extend(entries.filter(|(index, _)| *index < head.size).map(|(_, id)| *id));
    }
    seen
}

fn beyond_end(key: &TrustedKey, end: &KeyEnd, logs: &Logs, receipt: &Known) -> String {
    let name = &key.name;
    let lost = end.logs.iter().find(|head| logs.compare(head) != Extends::Yes);
    match (lost, logs.has(&receipt.id)) {
        // It cannot be told then: perhaps it was in that log.
        (Some(head), false) => format!(
            "the key of `{name}` has ended, and the log {} is not here as it was then",
            head.log
        ),
        _ => format!("the key of `{name}` has ended, and this was in none of its logs then"),
    }
}
