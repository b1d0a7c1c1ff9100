//! What `ingest` would do with its inputs as they lie, in numbers; nothing is written.

use std::collections::BTreeMap;

use super::check::Checked;
use super::report::{Counts, RevocationCounts};
use super::verdicts::Verdict;
use super::{Gather, Options, judge, refuse_emptiness, refuse_faults};
use crate::consent::purposes::Purposes;
use crate::stages::{Refusal, StageContext, StageError};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// What the events are to be used for.
    pub purpose: String,
    /// What becomes of how many lines.
    pub counts: Counts,
    /// What revocations do.
    pub revocations: RevocationCounts,
    /// The valid events, by the scopes of their consents; what stands twice is counted once.
    pub by_scope: BTreeMap<String, Consents>,
    /// Why `ingest` would let nothing in, if it would not.
    pub refusal: Option<Refusal>,
}

/// Valid events of one scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consents {
    /// All of them.
    pub events: u64,
    /// Those whose consents can be withdrawn.
    pub revocable: u64,
    /// Those whose consents were, and that are left out for it.
    pub revoked: u64,
    /// Those that are let in for the purpose.
    pub used: u64,
}

impl Survey {
    /// Reads the inputs of `context`, as the stage does.
    ///
    /// # Errors
    ///
    /// As the stage, but for invalid events and for there being none to let in: both are in the survey.
    pub fn of(context: &mut StageContext<'_>) -> Result<Self, StageError> {
        let options = Options::read(context)?;
        let judged = judge(context, &options, Gather::Nothing)?;
        let checked = &judged.checked;
        let files = context.inputs.get("events").map_or(&[][..], Vec::as_slice);
        let refused = refuse_faults(&options, files, checked).and_then(|()| refuse_emptiness(&options, checked));
        Ok(Self {
            purpose: context.purpose.unwrap_or_default().to_owned(),
            counts: Counts::of(checked),
            revocations: RevocationCounts::of(checked, &judged.revocations),
            by_scope: by_scope(checked, context.purposes),
            refusal: match refused {
                Ok(()) => None,
                Err(StageError::Refused(refusal)) => Some(refusal),
                Err(other) => return Err(other),
            },
        })
    }
}

fn by_scope(checked: &Checked, purposes: &Purposes) -> BTreeMap<String, Consents> {
    let words = purposes.words().map(|word| (word.to_owned(), Consents::default()));
    let mut by_scope: BTreeMap<String, Consents> = words.collect();
    for (verdict, lines) in checked.verdicts.counts().filter(|(_, lines)| *lines > 0) {
        let (consent, is_used) = match verdict {
            Verdict::Accepted(facts) | Verdict::Kept(facts) => (facts.consent, true),
            Verdict::NotCovered(consent) | Verdict::Revoked(consent, _) => (consent, false),
            Verdict::Duplicate | Verdict::Fault => continue,
        };
        let of_scope = by_scope.entry(purposes.word(consent.scope).to_owned()).or_default();
        let is_revoked = matches!(verdict, Verdict::Revoked(..));
        let of = |applies| if applies { lines } else { 0 };
        of_scope.events += lines;
        of_scope.revocable += of(consent.is_revocable);
        of_scope.revoked += of(is_revoked);
        of_scope.used += of(is_used);
    }
    by_scope
}
