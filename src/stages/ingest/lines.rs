//! Lines of files that are read one after the other, in constant memory whatever their length.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read};

use camino::Utf8Path;

use crate::stages::InputFile;

/// The longest line that is taken for an event, in bytes, without its end.
pub const MAX_LINE: usize = 1 << 20;

/// How many bytes are asked of the system at once.
const BUFFER: usize = 256 * 1024;

/// A line, or a part of one that is longer than [`MAX_LINE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// As they lie in the file, with the line's end if this is its last piece.
    pub bytes: &'a [u8],
    /// Whether the line begins here.
    pub first: bool,
    /// Whether the line ends here.
    pub last: bool,
    /// Where it is.
    pub place: Place,
}

/// Which line: the file's place in the list of files, from 0, and the line in that file, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file's place in the list, from 0.
    pub file: u32,
    /// The line in it, from 1.
    pub line: u64,
}

impl<'a> Piece<'a> {
    /// The line without its end (LF, or CR LF), if it is whole.
    #[must_use]
    pub fn content(&self) -> Option<&'a [u8]> {
        (self.first && self.last).then(|| content_of(self.bytes))
    }

    /// Whether the line holds nothing but spaces and tabs: it is skipped and counted, and no event.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.content().is_some_and(is_blank)
    }
}

/// A whole line without its end (LF, or CR LF).
#[must_use]
pub fn content_of(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line's content is nothing but spaces and tabs.
#[must_use]
pub fn is_blank(content: &[u8]) -> bool {
    content.iter().all(|byte| matches!(byte, b' ' | b'\t'))
}

/// Reads one source piece by piece.
pub struct Pieces<R> {
    source: BufReader<R>,
    buffer: Vec<u8>,
    place: Place,
    inside: bool,
}

impl<R: Read> Pieces<R> {
    /// Reads `source`, the file at `file` of the list.
    pub fn new(source: R, file: u32) -> Self {
        Self {
            source: BufReader::with_capacity(BUFFER, source),
            buffer: Vec::new(),
            place: Place { file, line: 0 },
            inside: false,
        }
    }

    /// The next piece, or `None` at the end.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn next_piece(&mut self) -> io::Result<Option<Piece<'_>>> {
        self.buffer.clear();
        // Two more, for the line's end: `\r\n` after exactly `MAX_LINE` bytes is no longer line.
        let limit = MAX_LINE as u64 + 2;
        let read = (&mut self.source).take(limit).read_until(b'\n', &mut self.buffer)?;
        if read == 0 {
            return Ok(None);
        }
        let first = !self.inside;
        self.place.line += u64::from(first);
        let ends = self.buffer.ends_with(b"\n") || self.source.fill_buf()?.is_empty();
        self.inside = !ends;
        Ok(Some(Piece {
            bytes: &self.buffer,
            first,
            last: ends,
            place: self.place,
        }))
    }

    /// What is read.
    #[must_use]
    pub fn source(&self) -> &R {
        self.source.get_ref()
    }
}

/// Opens `file`, which must be a regular one, for it is read twice.
///
/// # Errors
///
/// Whatever opening gives; [`io::ErrorKind::InvalidInput`] if it is no regular file.
pub fn open(file: &InputFile) -> io::Result<File> {
    open_regular(&file.absolute)
}

/// Opens the file at `path`, links followed, if it is a regular one.
///
/// # Errors
///
/// Whatever opening gives; [`io::ErrorKind::InvalidInput`] if it is no regular file.
pub fn open_regular(path: &Utf8Path) -> io::Result<File> {
    let check = |found: std::fs::Metadata| match found.is_file() {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    };
    // Looked at before it is opened, for to open a device may do something; and again afterwards, for it may be another by then.
    check(std::fs::metadata(path)?)?;
    let file = options().open(path)?;
    check(file.metadata()?)?;
    Ok(file)
}

/// To read, without waiting for somebody who writes into a pipe.
#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    options.read(true).custom_flags(flags);
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    let mut options = File::options();
    options.read(true);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8]) -> Vec<(Vec<u8>, bool, bool, u64)> {
        let mut reader = Pieces::new(bytes, 0);
        let mut found = Vec::new();
        while let Some(piece) = reader.next_piece().expect("memory can be read") {
            found.push((piece.bytes.to_vec(), piece.first, piece.last, piece.place.line));
        }
        found
    }

    #[test]
    fn lines_come_with_their_ends_and_numbers() {
        let found = pieces(b"a\r\n\nb");
        assert_eq!(
            found,
            [
                (b"a\r\n".to_vec(), true, true, 1),
                (b"\n".to_vec(), true, true, 2),
                (b"b".to_vec(), true, true, 3),
            ]
        );
        assert!(pieces(b"").is_empty());
    }

    #[test]
    fn a_line_of_any_length_comes_in_bounded_pieces_that_join_to_it() {
        let long = [vec![b'x'; 3 * MAX_LINE], b"\nshort\n".to_vec()].concat();
        let found = pieces(&long);
        assert!(found.iter().all(|(bytes, ..)| bytes.len() <= MAX_LINE + 2));
        assert_eq!(
            found.iter().flat_map(|(bytes, ..)| bytes.clone()).collect::<Vec<_>>(),
            long
        );
        let lines: Vec<u64> = found.iter().map(|(.., line)| *line).collect();
        assert_eq!(lines, [1, 1, 1, 2]);
        assert_eq!(found.last().map(|(bytes, ..)| bytes.as_slice()), Some(&b"short\n"[..]));
    }

    #[test]
    fn the_longest_line_is_whole_with_either_end_or_none() {
        for end in ["", "\n", "\r\n"] {
            let line = [vec![b'x'; MAX_LINE], end.as_bytes().to_vec()].concat();
            let mut reader = Pieces::new(&line[..], 0);
            let piece = reader.next_piece().expect("memory can be read").expect("one line");
            assert_eq!(piece.content().map(<[u8]>::len), Some(MAX_LINE), "{end:?}");
            assert_eq!(reader.next_piece().expect("memory can be read"), None);
        }
    }

    #[test]
    fn only_spaces_and_tabs_are_blank() {
        for (line, blank) in [
            ("\n", true),
            (" \t\r\n", true),
            ("\u{a0}\n", false),
            ("\u{c}\n", false),
            ("\r\r\n", false),
            ("0\n", false),
        ] {
            let mut reader = Pieces::new(line.as_bytes(), 0);
            let piece = reader.next_piece().expect("memory can be read").expect("one line");
            assert_eq!(piece.is_blank(), blank, "{line:?}");
        }
    }
}
