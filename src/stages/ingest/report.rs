//! What `ingest` did, in numbers (`schemas/ingest_report.schema.json`).
//!
//! Fields stand in the byte order of their names. No name of a file is in it, because the same bytes under another name
//! must give the same report; files are counted from 1 in the order in which they were read.

use std::collections::BTreeMap;

use serde::Serialize;

use super::check::Checked;
use super::event::SourceKind;
use super::fault::{Listed, grouped};
use super::revocations::{Named, Revocations};
use super::verdicts::Verdict;
use crate::consent::purposes::Purposes;
use crate::digest::Digest;

/// What was done with how many lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Lines let in.
    pub accepted: u64,
    /// Lines with nothing in them.
    pub blank: u64,
    /// Lines that repeat an earlier event, byte for byte.
    pub duplicates: u64,
    /// Lines that are not blank.
    pub events: u64,
    /// Valid lines that were left out.
    pub excluded: Excluded,
    /// Lines that are invalid.
    pub invalid: u64,
    /// All lines.
    pub lines: u64,
}

/// Why valid lines were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// Their consent does not cover the purpose.
    pub purpose: u64,
    /// Their consent was withdrawn.
    pub revoked: u64,
}

impl Counts {
    /// Counts what the first reading found.
    #[must_use]
    pub fn of(checked: &Checked) -> Self {
        let mut counts = Self {
            blank: checked.blank,
            events: checked.verdicts.len(),
            lines: checked.lines,
            ..Self::default()
        };
        for (verdict, lines) in checked.verdicts.counts() {
            *match verdict {
                Verdict::Accepted(_) | Verdict::Kept(_) => &mut counts.accepted,
                Verdict::NotCovered(_) => &mut counts.excluded.purpose,
                Verdict::Revoked(..) => &mut counts.excluded.revoked,
                Verdict::Duplicate => &mut counts.duplicates,
                Verdict::Fault => &mut counts.invalid,
            } += lines;
        }
        counts
    }

    /// `9,172 events: 7,772 accepted, 1,362 not covered by the purpose, 38 revoked`; what is zero is left out.
    #[must_use]
    pub fn summary(&self) -> String {
        let parts = [
            (self.excluded.purpose, "not covered by the purpose"),
            (self.excluded.revoked, "revoked"),
            (self.duplicates, "duplicates"),
            (self.invalid, "invalid"),
        ];
        let mut text = format!("{} events: {} accepted", grouped(self.events), grouped(self.accepted));
        for (number, what) in parts.into_iter().filter(|(number, _)| *number > 0) {
            text.push_str(&format!(", {} {what}", grouped(number)));
        }
        text
    }
}

#[derive(Serialize)]
struct Report<'a> {
    accepted_by: AcceptedBy<'a>,
    counts: Counts,
    faults: Vec<FaultRecord<'a>>,
    faults_by_rule: &'a BTreeMap<String, u64>,
    faults_unlisted: u64,
    kind: &'static str,
    purpose: &'a str,
    revocations: RevocationCounts,
    schema: String,
    version: u32,
}

#[derive(Serialize)]
struct AcceptedBy<'a> {
    scope: BTreeMap<&'a str, u64>,
    source_kind: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct FaultRecord<'a> {
    file: u32,
    line: u64,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_file: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    other_line: Option<u64>,
    pointer: &'a str,
    rule: &'a str,
}

/// What revocations did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RevocationCounts {
    /// Events that were left out because they are named themselves.
    pub by_event: u64,
    /// Events that were left out because the person that they came from is named.
    pub by_subject: u64,
    /// Events that are revoked and were let in, for their consents say that they cannot be.
    pub kept: u64,
    /// Revocations that name an event that is here.
    pub matched: u64,
    /// Events that were left out although their consents say that they cannot be revoked.
    pub non_revocable: u64,
    /// Revocations.
    pub total: u64,
    /// Revocations that name no event that is here.
    pub unknown: u64,
}

impl RevocationCounts {
    /// Counts what the first reading found.
    #[must_use]
    pub fn of(checked: &Checked, revocations: &Revocations) -> Self {
        let (total, unknown) = (revocations.total(), revocations.unknown().len() as u64);
        let mut counts = Self {
            matched: total - unknown,
            total,
            unknown,
            ..Self::default()
        };
        for (verdict, lines) in checked.verdicts.counts() {
            match verdict {
                Verdict::Kept(_) => counts.kept += lines,
                Verdict::Revoked(consent, named) => {
                    *match named {
                        Named::Event => &mut counts.by_event,
                        Named::Subject => &mut counts.by_subject,
                    } += lines;
                    counts.non_revocable += if consent.is_revocable { 0 } else { lines };
                }
                _ => {}
            }
        }
        counts
    }
}

impl<'a> From<&'a Listed> for FaultRecord<'a> {
    fn from(listed: &'a Listed) -> Self {
        Self {
            file: listed.place.file + 1,
            line: listed.place.line,
            message: &listed.fault.message,
            other_file: listed.fault.other.map(|other| other.file + 1),
            other_line: listed.fault.other.map(|other| other.line),
            pointer: &listed.fault.pointer,
            rule: &listed.fault.rule,
        }
    }
}

/// The bytes of the report, for `purpose` of `purposes`.
#[must_use]
pub fn report(
    checked: &Checked,
    (purpose, purposes): (&str, &Purposes),
    revocations: &Revocations,
    schema: Digest,
) -> Vec<u8> {
    let report = Report {
        accepted_by: accepted_by(checked, purposes),
        counts: Counts::of(checked),
        faults: checked.faults.listed().map(FaultRecord::from).collect(),
        faults_by_rule: checked.faults.by_rule(),
        faults_unlisted: checked.faults.unlisted(),
        kind: "ingest_report",
        purpose,
        revocations: RevocationCounts::of(checked, revocations),
        schema: schema.to_string(),
        version: 1,
    };
    let mut bytes = serde_json::to_vec_pretty(&report).expect("texts and whole numbers always have a JSON form");
    bytes.push(b'\n');
    bytes
}

fn accepted_by<'a>(checked: &Checked, purposes: &'a Purposes) -> AcceptedBy<'a> {
    let mut by = AcceptedBy {
        scope: purposes.words().map(|word| (word, 0)).collect(),
        source_kind: SourceKind::ALL.iter().map(|kind| (kind.as_str(), 0)).collect(),
    };
    for (verdict, lines) in checked.verdicts.counts().filter(|(_, lines)| *lines > 0) {
        if let Verdict::Accepted(facts) | Verdict::Kept(facts) = verdict {
            *by.scope.entry(purposes.word(facts.consent.scope)).or_default() += lines;
            *by.source_kind.entry(facts.source.as_str()).or_default() += lines;
        }
    }
    by
}
