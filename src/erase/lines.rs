//! The lines of raw events that are of what is to be erased, and a file without them.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};

use camino::Utf8Path;
use serde_json::Value;

use super::Wanted;
use crate::receipt::erasure::ErasedKind;
use crate::stages::ingest::event::read_json;
use crate::stages::ingest::lines::{Pieces, open_regular};
use crate::stages::ingest::source::Source;
use crate::store::{StoreError, atomic};

/// What a file of raw events holds of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// How many lines are of it.
    pub count: u64,
    /// The ids of their events.
    pub ids: BTreeSet<String>,
    /// How the ids, the person's among them, are spelled in them, and the lines themselves.
    pub spelled: BTreeSet<Vec<u8>>,
    /// Whether lines could be taken out: the file is not compressed.
    pub is_plain: bool,
}

/// Finds the lines of the file at `path` that are of `wanted`.
///
/// # Errors
///
/// Whatever reading gives.
pub fn find(path: &Utf8Path, wanted: &Wanted) -> io::Result<Lines> {
    let mut found = Lines::default();
    add(path, wanted, &mut found).map(|()| found)
}

/// Adds them to `found`: of a file that cannot be read to its end, those before that.
///
/// # Errors
///
/// Whatever reading gives.
pub fn add(path: &Utf8Path, wanted: &Wanted, found: &mut Lines) -> io::Result<()> {
    let source = Source::of(open_regular(path)?)?;
    found.is_plain = !source.is_compressed();
    let mut pieces = Pieces::new(source, 0);
    while let Some(piece) = pieces.next_piece()? {
        let line = piece.content().unwrap_or_default();
        if let Some(event) = wanted.event_in(line) {
            found.count += 1;
            found.spelled.insert(line.to_vec());
            found
                .ids
                .extend(event.get("event_id").and_then(Value::as_str).map(str::to_owned));
        }
    }
    Ok(())
}

/// Writes the file at `path` again without the lines that are of `wanted`, every other with the bytes it has. Whole or not at all.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read or written; it is then as it was.
pub fn take_out(path: &Utf8Path, wanted: &Wanted) -> Result<u64, StoreError> {
    let unreadable = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let unwritable = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let file = open_regular(path).map_err(unreadable)?;
    let permissions = file.metadata().map_err(unreadable)?.permissions();
    let source = Source::of(file).map_err(unreadable)?;
    let mut count = 0;
    atomic::write_with(path, atomic::Existing::Replace, |out: &mut File| {
        let mut out = BufWriter::with_capacity(1 << 18, out);
        let mut pieces = Pieces::new(source, 0);
        while let Some(piece) = pieces.next_piece().map_err(unreadable)? {
            match wanted.event_in(piece.content().unwrap_or_default()) {
                Some(_) => count += 1,
                None => out.write_all(piece.bytes).map_err(unwritable)?,
            }
        }
        out.flush().map_err(unwritable)
    })?;
    std::fs::set_permissions(path, permissions).map_err(unwritable)?;
    Ok(count)
}

impl Wanted {
    /// The event that stands in `line`, if it is of what is wanted.
    fn event_in(&self, line: &[u8]) -> Option<Value> {
        // Most lines have neither the id nor anything that could be another spelling of it.
        if !self.quick.are_in(line) && memchr::memchr(b'\\', line).is_none() {
            return None;
        }
        let event = read_json(line).ok()?;
        let pointer = match self.of {
            ErasedKind::Event => "/event_id",
            ErasedKind::Subject => self.subject.as_deref()?,
        };
        let is_it = event.pointer(pointer).and_then(Value::as_str) == Some(self.id.as_str());
        is_it.then_some(event)
    }
}
