//! The file that holds the receipts of one run.
//!
//! `runs/<run id>.intoto.jsonl` has the envelopes of the stages that ran, one a line, each line ended by `\n`; the run's
//! own is the last, and names those of all its stages. The file never changes once it is written.
//!
//! `runs/<run id>.<8 digits of a keyid>.intoto.jsonl` has the same payloads, signed once more by somebody who got the same
//! results: a countersignature. A receipt's id is that of its payload, so it is the same whoever signed it.
//!
//! `runs/<id>.erasure.intoto.jsonl` has one line that says that something was erased (`docs/formats/erasure.md`).

use std::collections::HashSet;

use super::envelope::{Envelope, EnvelopeError};
use super::key::PublicKey;
use super::payload::StatementError;
use super::statement::{ReceiptId, Statement};

/// How the name of a run's file ends.
pub const RUN_FILE_SUFFIX: &str = ".intoto.jsonl";
/// The largest run file that is read: room for a run of some 60,000 stages.
pub const MAX_RUN_FILE: u64 = 1 << 28;
/// The most lines that a run file has; its own receipt could not name more.
pub const MAX_LINES: usize = 1 << 18;

/// What the name of a file of receipts says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunFileName<'a> {
    /// The run.
    pub run: &'a str,
    /// Of a countersignature: the first digits of the keyid.
    pub countersigner: Option<&'a str>,
    /// Whether it says that something was erased; it is then of no run.
    pub is_erasure: bool,
}

/// What stands in such a name after the id.
const ERASURE: &str = "erasure";

impl<'a> RunFileName<'a> {
    /// Takes a file's name apart; `None` if it does not end as those of receipts do.
    #[must_use]
    pub fn parse(name: &'a str) -> Option<Self> {
        let stem = name.strip_suffix(RUN_FILE_SUFFIX)?;
        let is_digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        Some(match stem.rsplit_once('.') {
            Some((run, digits)) if digits.len() == 8 && digits.bytes().all(is_digit) => Self {
                run,
                countersigner: Some(digits),
                is_erasure: false,
            },
            Some((id, ERASURE)) => Self {
                run: id,
                countersigner: None,
                is_erasure: true,
            },
            _ => Self {
                run: stem,
                countersigner: None,
                is_erasure: false,
            },
        })
    }

    /// The name.
    #[must_use]
    pub fn to_name(self) -> String {
        match self.countersigner {
            Some(digits) => format!("{}.{digits}{RUN_FILE_SUFFIX}", self.run),
            None if self.is_erasure => format!("{}.{ERASURE}{RUN_FILE_SUFFIX}", self.run),
            None => format!("{}{RUN_FILE_SUFFIX}", self.run),
        }
    }
}

/// One receipt of a run's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// As it stands in the file.
    pub envelope: Envelope,
    /// The SHA-256 of its payload.
    pub id: ReceiptId,
    /// What it says.
    pub statement: Statement,
}

impl Receipt {
    /// Reads one line, without its line break. The signature is not looked at.
    ///
    /// # Errors
    ///
    /// [`LineError`] if it is no envelope or its payload no statement, each in its one spelling.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let envelope = Envelope::parse(line)?;
        let id = envelope.receipt_id();
        Self::of(envelope, id)
    }

    /// The same if `is_wanted` says so of its id; of others, what they say is not read.
    ///
    /// # Errors
    ///
    /// As [`Receipt::parse`].
    pub fn parse_wanted(line: &[u8], is_wanted: impl FnOnce(&ReceiptId) -> bool) -> Result<Option<Self>, LineError> {
        let envelope = Envelope::parse(line)?;
        let id = envelope.receipt_id();
        is_wanted(&id).then(|| Self::of(envelope, id)).transpose()
    }

    fn of(envelope: Envelope, id: ReceiptId) -> Result<Self, LineError> {
        let statement = envelope.statement()?;
        Ok(Self {
            envelope,
            id,
            statement,
        })
    }
}

/// Why a line is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The statement in it.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// The receipts of one run, as its file holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFile {
    /// Those of the stages that ran, in the order of the file; then the run's own.
    receipts: Vec<Receipt>,
}

/// Why bytes are not the file of a run.
#[derive(Debug, thiserror::Error)]
pub enum RunFileError {
    /// The lines are not lines.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// A line is no receipt.
    #[error("line {line}: {source}")]
    Line {
        /// From 1.
        line: usize,
        /// Why.
        source: LineError,
    },
    /// The receipts do not go together.
    #[error("{0}")]
    Structure(String),
}

/// Why bytes are not lines that each end with a line break.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LinesError {
    /// Nothing at all.
    #[error("the file is empty")]
    Empty,
    /// The end was cut off.
    #[error("the last line has no line break: the end is missing")]
    Cut,
    /// A line with nothing in it.
    #[error("line {0} is empty")]
    EmptyLine(usize),
    /// More lines than any run has receipts.
    #[error("it has more than {MAX_LINES} lines")]
    TooMany,
}

/// The lines of a run's file, without their line breaks.
///
/// # Errors
///
/// [`LinesError`] if there is none, one is empty, the last does not end, or there are more than [`MAX_LINES`].
pub fn split_lines(bytes: &[u8]) -> Result<Vec<&[u8]>, LinesError> {
    let Some((last, rest)) = bytes.split_last() else {
        return Err(LinesError::Empty);
    };
    if *last != b'\n' {
        return Err(LinesError::Cut);
    }
    // Counted first: a list of them is longer than the file if they are all empty.
    if memchr::memchr_iter(b'\n', rest).nth(MAX_LINES - 1).is_some() {
        return Err(LinesError::TooMany);
    }
    let lines: Vec<&[u8]> = lines_of(rest).collect();
    match lines.iter().position(|line| line.is_empty()) {
        Some(index) => Err(LinesError::EmptyLine(index + 1)),
        None => Ok(lines),
    }
}

/// What lies between line breaks.
fn lines_of(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).chain([bytes.len()]);
    ends.map(move |end| &bytes[std::mem::replace(&mut from, end + 1)..end])
}

/// Each line that ends with a line break, without it, with its number, from 1.
pub fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let end = memchr::memrchr(b'\n', bytes);
    let lines = end.into_iter().flat_map(|end| lines_of(&bytes[..end]));
    (1..).zip(lines)
}

impl RunFile {
    /// Reads the file of one run. Signatures are not looked at.
    ///
    /// # Errors
    ///
    /// [`RunFileError`] for the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, RunFileError> {
        let lines = split_lines(bytes)?;
        let receipts = lines
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let line_number = index + 1;
                Receipt::parse(line).map_err(|source| RunFileError::Line {
                    line: line_number,
                    source,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let statements: Vec<_> = receipts.iter().map(|r| (r.id, &r.statement)).collect();
        check_run_file(&statements).map_err(RunFileError::Structure)?;
        Ok(Self { receipts })
    }

    /// Puts the receipts of a run together: those of its stages in order, then its own.
    ///
    /// # Errors
    ///
    /// [`RunFileError`] if they do not go together, so that nothing is written that could not be read back.
    pub fn new(envelopes: &[Envelope]) -> Result<Self, RunFileError> {
        let lines: Vec<String> = envelopes.iter().map(Envelope::to_line).collect();
        Self::parse((lines.join("\n") + "\n").as_bytes())
    }

    /// The bytes of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for receipt in &self.receipts {
            bytes.extend_from_slice(receipt.envelope.to_line().as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }

    /// The run's id.
    #[must_use]
    pub fn run_id(&self) -> &str {
        &self.receipts[0].statement.metadata().invocation_id
    }

    /// All receipts, the run's own last.
    #[must_use]
    pub fn receipts(&self) -> &[Receipt] {
        &self.receipts
    }

    /// The same, without the file.
    #[must_use]
    pub fn into_receipts(self) -> Vec<Receipt> {
        self.receipts
    }

    /// Checks every signature with the one key that is believed.
    ///
    /// # Errors
    ///
    /// [`RunFileError::Line`] for the first that is not by it.
    pub fn verify_signatures(&self, key: &PublicKey) -> Result<(), RunFileError> {
        for (index, receipt) in self.receipts.iter().enumerate() {
            let verified = receipt.envelope.verify_signature(key);
            verified.map_err(|error| RunFileError::Line {
                line: index + 1,
                source: error.into(),
            })?;
        }
        Ok(())
    }
}

/// What must hold between the receipts of one file: all are of one run, the last is the run's own, no other is, and it
/// names each of them. The text says what does not.
///
/// # Errors
///
/// A sentence for the reader.
pub fn check_run_file(receipts: &[(ReceiptId, &Statement)]) -> Result<(), String> {
    let Some(((_, run), stages)) = receipts.split_last() else {
        return Err("the file is empty".to_owned());
    };
    if !run.is_run() {
        return Err("the last receipt is not that of the run: lines are missing or out of order".to_owned());
    }
    let run_id = &run.metadata().invocation_id;
    let named: HashSet<ReceiptId> = run.receipts().map(|(_, id)| id).collect();
    let mut seen = HashSet::new();
    for (index, (id, statement)) in stages.iter().enumerate() {
        let line = index + 1;
        if statement.is_run() {
            return Err(format!("line {line} is the receipt of a run, but not the last line"));
        }
        if statement.stage().is_none() {
            return Err(format!(
                "line {line} says that something was erased, in the file of a run"
            ));
        }
        if statement.metadata().invocation_id != *run_id {
            return Err(format!("line {line} is of another run"));
        }
        if !seen.insert(*id) {
            return Err(format!("line {line} stands there twice"));
        }
        if !named.contains(id) {
            return Err(format!("line {line} is a receipt that the run's own does not name"));
        }
    }
    Ok(())
}

/// The receipts of a run, from the frozen files.
#[cfg(test)]
pub(crate) fn frozen() -> Vec<Receipt> {
    RunFile::parse(FROZEN).expect("it is frozen").into_receipts()
}

/// The bytes of that run's file.
#[cfg(test)]
pub(crate) const FROZEN: &[u8] =
    include_bytes!("../../tests/golden/receipt-v1/2026-11-23T091500Z-baseline-3f9a2c.intoto.jsonl");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_file_says_of_what_run_it_is_and_who_countersigned() {
        let parse = |name| RunFileName::parse(name).map(|name| (name.run, name.countersigner));
        assert_eq!(parse("r.intoto.jsonl"), Some(("r", None)));
        assert_eq!(parse("r.0123abcd.intoto.jsonl"), Some(("r", Some("0123abcd"))));
        for name in ["r.0123ABCD", "r.0123abc", "r.0123abcd0", ".0123abcd.", "r.x"] {
            let name = format!("{name}{RUN_FILE_SUFFIX}");
            let parsed = RunFileName::parse(&name).expect("the suffix is right");
            assert_eq!(parsed.countersigner, None, "{name}");
            assert_eq!(parsed.to_name(), name);
        }
        let erasure = RunFileName::parse("r.erasure.intoto.jsonl").expect("a name");
        assert_eq!((erasure.run, erasure.is_erasure), ("r", true));
        assert_eq!(erasure.to_name(), "r.erasure.intoto.jsonl");
        assert_eq!(parse("r.jsonl"), None);
        let name = RunFileName::parse("r.0123abcd.intoto.jsonl").expect("a name");
        assert_eq!(name.to_name(), "r.0123abcd.intoto.jsonl");
    }
}
