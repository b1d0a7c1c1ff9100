//! The second reading: the lines go where the first reading has decided, with the bytes they came with.

use std::fs::File;
use std::io::{self, Write};

use super::check::Checked;
use super::lines::Pieces;
use super::source::{Source, unreadable};
use super::verdicts::Verdict;
use crate::digest::Digest;
use crate::stages::{InputFile, StageError};

/// Where lines are written.
pub struct Sink<'a> {
    writer: &'a mut dyn Write,
    ends: bool,
}

impl<'a> Sink<'a> {
    /// Writes to `writer`, which should be buffered.
    pub fn new(writer: &'a mut dyn Write) -> Self {
        Self { writer, ends: true }
    }

    /// Writes a piece of a line. A line that came without an end is given one only if another follows.
    fn put(&mut self, piece: &[u8], begins: bool) -> io::Result<()> {
        if begins && !self.ends {
            self.writer.write_all(b"\n")?;
        }
        self.ends = piece.ends_with(b"\n");
        self.writer.write_all(piece)
    }
}

/// A file of which it may be known what was written.
pub struct Hashed {
    file: File,
    hasher: Option<blake3::Hasher>,
}

impl Hashed {
    /// Writes to `file`, and hashes it if that `is_wanted`.
    pub fn new(file: File, is_wanted: bool) -> Self {
        let hasher = is_wanted.then(blake3::Hasher::new);
        Self { file, hasher }
    }

    /// The BLAKE3 of what was written so far, if that was wanted.
    pub fn digest(&self) -> Option<Digest> {
        self.hasher.as_ref().map(|hasher| hasher.finalize().into())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes[..written]);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Why the second reading failed.
#[derive(Debug)]
pub enum WriteError {
    /// A file could not be read, or is no longer what was checked.
    Stage(StageError),
    /// The accepted lines could not be written.
    Accepted(io::Error),
    /// The rejected lines could not be written.
    Rejected(io::Error),
}

/// So many pieces are read between two ticks.
const PIECES_A_TICK: u32 = 4096;

/// Reads `files` again and writes the accepted lines, and those with faults if there is a place for them. `tick` is told how many bytes of
/// the files were read, now and then.
///
/// If every line is accepted, what is written is what was read: [`Checked::passed_on`] says so beforehand.
///
/// # Errors
///
/// [`WriteError`]; [`StageError::InputChanged`] in it if a file has changed since it was checked, and whatever `tick` gives.
pub fn write(
    files: &[InputFile],
    checked: &Checked,
    mut accepted: Sink<'_>,
    mut rejected: Option<Sink<'_>>,
    tick: &mut dyn FnMut(u64) -> Result<(), StageError>,
) -> Result<(), WriteError> {
    let mut verdicts = checked.verdicts.reader().map_err(WriteError::Stage)?;
    let mut verdict = None;
    let (mut before, mut read) = (0, 0_u32);
    for ((file, hash), number) in files.iter().zip(&checked.hashes).zip(0..) {
        let cannot = |source| WriteError::Stage(unreadable(file, source));
        let mut pieces = Pieces::new(Source::open(file).map_err(cannot)?, number);
        loop {
            if read.is_multiple_of(PIECES_A_TICK) {
                tick(before + pieces.source().used()).map_err(WriteError::Stage)?;
            }
            read = read.wrapping_add(1);
            let Some(piece) = pieces.next_piece().map_err(cannot)? else {
                break;
            };
            if piece.is_blank() {
                continue;
            }
            if piece.first {
                verdict = verdicts.next_verdict().map_err(WriteError::Stage)?;
            }
            match (verdict, &mut rejected) {
                (Some(Verdict::Accepted(_) | Verdict::Kept(_)), _) => {
                    accepted.put(piece.bytes, piece.first).map_err(WriteError::Accepted)?;
                }
                (Some(Verdict::Fault), Some(rejected)) => {
                    rejected.put(piece.bytes, piece.first).map_err(WriteError::Rejected)?;
                }
                _ => {}
            }
        }
        before += pieces.source().used();
        if pieces.source().hash() != *hash {
            return Err(WriteError::Stage(StageError::InputChanged {
                path: file.name.clone(),
            }));
        }
    }
    tick(before).map_err(WriteError::Stage)?;
    accepted.writer.flush().map_err(WriteError::Accepted)?;
    match rejected {
        None => Ok(()),
        Some(rejected) => rejected.writer.flush().map_err(WriteError::Rejected),
    }
}
