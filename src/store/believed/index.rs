//! The claims of receipts as they are kept: spelled one after the other, and found without reading them all.
//!
//! ```text
//! room for header and seal │ contents │ tables │ ends │ records
//!
//! contents   the policy, the files with how many claims each has, how many entries each table has
//! table      entries in their order, 12 bytes each: the first 8 of a digest, then the claim's number, big endian
//! ends       for each claim where its record ends, 8 bytes, little endian
//! record     a claim
//! ```
//!
//! Claims are numbered in the order of their files' names, and so by time. What a run asks for is a few claims of thousands; so one is
//! read when it is asked for, and what is added to an index of a long history leaves the rest of it as it is spelled. See
//! `docs/decisions/0076-of-a-long-history-only-what-is-asked-for-is-read.md`.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Claim;
use super::table::{self, ENTRY, Entry, Table};
use crate::digest::Digest;
use crate::receipt::run_file::RunFileName;
use crate::store::sealed;

/// The first line of the file: another wherever anything below, or a [`Claim`], is spelled otherwise.
pub(super) const HEADER: &[u8] = b"madmall believed v11\n";
/// What stands before an index in its file: that line, and the seal.
pub(super) const ROOM: usize = HEADER.len() + sealed::SEAL;
/// How long it is to say where a record ends.
pub(super) const END: usize = 8;

/// What stands before all claims.
#[derive(Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) context: Digest,
    /// The files, sorted by name, each with how many claims it has.
    pub(super) files: Vec<(String, u32)>,
    /// How many entries each table has.
    pub(super) entries: Vec<usize>,
}

/// The claims of one run's file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OfFile {
    pub(super) name: String,
    run: Arc<str>,
    /// Their numbers.
    pub(super) numbers: Range<usize>,
}

/// All claims.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// As they are kept.
    pub(super) bytes: Vec<u8>,
    pub(super) context: Digest,
    files: Vec<OfFile>,
    /// Where the tables are in `bytes`.
    pub(super) tables: [Range<usize>; Table::ALL.len()],
    /// Where it is said in `bytes` where records end.
    pub(super) ends: Range<usize>,
}

impl Index {
    /// Reads the index that stands in `bytes` after the room for header and seal; `None` if it is none, or was made under another
    /// policy.
    pub(super) fn read(bytes: Vec<u8>, context: Digest) -> Option<Self> {
        let (contents, rest): (Contents, _) = postcard::take_from_bytes(bytes.get(ROOM..)?).ok()?;
        if contents.context != context {
            return None;
        }
        Self::of(bytes.len() - rest.len(), contents, bytes).filter(Self::is_whole)
    }

    /// The index that stands in `bytes`: its tables from `at` on.
    fn of(mut at: usize, contents: Contents, bytes: Vec<u8>) -> Option<Self> {
        let mut next = |count: usize, size: usize| {
            let part = at..at.checked_add(count.checked_mul(size)?)?;
            at = part.end;
            (at <= bytes.len()).then_some(part)
        };
        let tables: Vec<_> = contents
            .entries
            .iter()
            .map(|count| next(*count, ENTRY))
            .collect::<Option<_>>()?;
        let mut count = 0_usize;
        let mut files = Vec::with_capacity(contents.files.len());
        for (name, of_file) in contents.files {
            let first = count;
            count = count.checked_add(usize::try_from(of_file).ok()?)?;
            files.push(OfFile::new(name, first..count));
        }
        let ends = next(count, END)?;
        Some(Self {
            context: contents.context,
            files,
            tables: tables.try_into().ok()?,
            ends,
            bytes,
        })
    }

    /// Whether the records are what is left, one after the other.
    fn is_whole(&self) -> bool {
        let mut end = 0;
        let follows = |number| std::mem::replace(&mut end, self.end(number)) <= self.end(number);
        (0..self.len()).all(follows) && end == self.bytes.len() - self.ends.end
    }

    /// What it has of the file `name`, if it knows that.
    pub(super) fn file(&self, name: &str) -> Option<&OfFile> {
        let known = self.files.binary_search_by(|file| file.name.as_str().cmp(name));
        known.ok().map(|known| &self.files[known])
    }

    /// The names of its files, sorted.
    pub(super) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// All claims, oldest first.
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = Claim> {
        (0..self.len()).filter_map(|number| self.claim(number))
    }

    /// Whether `table` says anything.
    pub(super) fn knows(&self, table: Table) -> bool {
        !self.table(table).is_empty()
    }

    /// The claims, oldest first, that `table` has for `digest`; and for any other that begins as it does.
    pub(super) fn about<'i>(
        &'i self,
        table: Table,
        digest: &[u8; 32],
    ) -> impl DoubleEndedIterator<Item = Claim> + use<'i> {
        let entries = table::find(self.table(table), digest).iter();
        entries.filter_map(|entry| self.claim(table::number(entry) as usize))
    }

    pub(super) fn table(&self, table: Table) -> &[Entry] {
        self.bytes[self.tables[table as usize].clone()].as_chunks().0
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len() / END
    }

    /// Where the record of this claim ends, counted from the first.
    pub(super) fn end(&self, number: usize) -> usize {
        let ends = self.bytes[self.ends.clone()].as_chunks().0;
        usize::try_from(u64::from_le_bytes(ends[number])).unwrap_or(usize::MAX)
    }

    pub(super) fn records(&self) -> &[u8] {
        &self.bytes[self.ends.end..]
    }

    /// Where among the records those of the claims `numbers` are.
    pub(super) fn range(&self, numbers: &Range<usize>) -> Range<usize> {
        let before = |number: usize| number.checked_sub(1).map_or(0, |last| self.end(last));
        before(numbers.start)..before(numbers.end)
    }

    /// The claim of this number; what this program has sealed has it.
    fn claim(&self, number: usize) -> Option<Claim> {
        if number >= self.len() {
            return None;
        }
        let file = self.files.partition_point(|file| file.numbers.end <= number);
        let record = &self.records()[self.range(&(number..number + 1))];
        let claim: Claim = postcard::from_bytes(record).ok()?;
        let run = Arc::clone(&self.files.get(file)?.run);
        Some(Claim { run, ..claim })
    }
}

impl OfFile {
    fn new(name: String, numbers: Range<usize>) -> Self {
        let run = RunFileName::parse(&name).map_or(&*name, |parsed| parsed.run).into();
        Self { name, run, numbers }
    }
}
