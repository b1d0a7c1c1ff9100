//! Single lines, read again.

use std::io::{self, BufRead as _, BufReader, Read as _};

use super::blocks::MAX_LINE_WITH_END;
use super::event::{Event, EventTokens, IdKey, Reader};
use super::lines::content_of;
use super::repeats::Sighting;
use super::source::{Source, unreadable};
use crate::stages::{InputFile, StageError};

/// How much is read at once: little more than a line, for the next may be far away.
const BUFFER: usize = 16 * 1024;

/// A line that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its id.
    pub id: IdKey,
    /// The short hash of that.
    pub short: u64,
    /// Which of the lines that are not blank, from 0.
    pub index: u64,
    /// Which of all lines of all files, from 0.
    pub line: u64,
    /// The BLAKE3 of its bytes, without its end.
    pub content: [u8; 32],
    /// What stands for it, if that was asked for.
    pub tokens: Option<EventTokens>,
}

/// Reads single lines again.
pub struct Again<'a> {
    files: &'a [InputFile],
    file_of: &'a dyn Fn(u64) -> u32,
    reader: Reader<'a>,
}

/// A file that is read from line to line.
struct Open {
    file: u32,
    source: BufReader<Source>,
    /// Where in what is in it the next byte is.
    at: u64,
}

impl<'a> Again<'a> {
    /// Reads lines of `files` by `reader`. `file_of` tells in which of them one of all lines stands.
    pub fn new(files: &'a [InputFile], file_of: &'a dyn Fn(u64) -> u32, reader: Reader<'a>) -> Self {
        Self { files, file_of, reader }
    }

    /// Reads these lines, each file from its beginning on.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if a file cannot be read again; [`StageError::InputChanged`] if a line is not as it was.
    pub fn read_all(&mut self, mut lines: Vec<Sighting>) -> Result<Vec<Seen>, StageError> {
        lines.sort_unstable_by_key(|line| line.index);
        let mut open: Option<Open> = None;
        let mut line = Vec::new();
        let mut seen = Vec::with_capacity(lines.len());
        for sighting in lines {
            let number = (self.file_of)(sighting.line);
            let file = &self.files[number as usize];
            let cannot = |source| unreadable(file, source);
            let current = match &mut open {
                Some(current) if current.file == number => current,
                place => place.insert(Open {
                    file: number,
                    source: BufReader::with_capacity(BUFFER, Source::open(file).map_err(cannot)?),
                    at: 0,
                }),
            };
            current.read(sighting.offset, &mut line).map_err(cannot)?;
            let content = content_of(&line);
            let told = |event: &Event<'_>| {
                (event.short() == sighting.id).then(|| Seen {
                    id: event.key(),
                    short: sighting.id,
                    index: sighting.index,
                    line: sighting.line,
                    content: *blake3::hash(content).as_bytes(),
                    tokens: event.tokens(),
                })
            };
            match self.reader.read(content, told) {
                Ok(Some(again)) => seen.push(again),
                _ => {
                    return Err(StageError::InputChanged {
                        path: file.name.clone(),
                    });
                }
            }
        }
        Ok(seen)
    }
}

impl Open {
    /// Reads the line that begins at `offset`, which is not before the last one's end, with its own end.
    fn read(&mut self, offset: u64, line: &mut Vec<u8>) -> io::Result<()> {
        let buffered = self.source.buffer().len();
        match usize::try_from(offset.saturating_sub(self.at)) {
            Ok(ahead) if ahead <= buffered => self.source.consume(ahead),
            _ => {
                self.source.consume(buffered);
                self.source.get_mut().skip_to(offset)?;
            }
        }
        line.clear();
        let limit = MAX_LINE_WITH_END as u64 + 1;
        (&mut self.source).take(limit).read_until(b'\n', line)?;
        self.at = offset + line.len() as u64;
        Ok(())
    }
}
