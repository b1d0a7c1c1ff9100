//! Lines of NDJSON, bounded in length. Blank lines are passed over; the numbers still count them.

use std::io::{self, BufRead, Read as _};

/// The longest line that is taken, in bytes, without its end.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// Reads a stream line by line into one buffer.
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    number: u64,
    bytes: u64,
}

/// A line that is not blank.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// The line without its end.
    pub(crate) bytes: &'a [u8],
    /// Whether it is longer than [`MAX_LINE`]; `bytes` then holds only its beginning.
    pub(crate) too_long: bool,
}

impl<R: BufRead> Lines<R> {
    /// Starts at line 1 of `reader`.
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            number: 0,
            bytes: 0,
        }
    }

    /// How many bytes have been read.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes
    }

    /// The next line that is not blank, or `None` at the end.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.buffer.clear();
            let limit = MAX_LINE as u64 + 1;
            let read = (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.bytes += read as u64;
            let ended = self.buffer.last() == Some(&b'\n');
            if ended {
                self.buffer.pop();
            }
            let too_long = self.buffer.len() > MAX_LINE;
            if too_long {
                self.bytes += skip_line(&mut self.reader)?;
            }
            if self.buffer.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r')) && !too_long {
                continue;
            }
            return Ok(Some(Line {
                number: self.number,
                bytes: &self.buffer,
                too_long,
            }));
        }
    }
}

/// Passes over the rest of a line without keeping it.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(skipped);
        }
        let (used, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), false),
        };
        reader.consume(used);
        skipped += used as u64;
        if ended {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(bytes: &[u8]) -> Vec<(u64, usize, bool)> {
        let mut lines = Lines::new(bytes);
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("memory can be read") {
            found.push((line.number, line.bytes.len(), line.too_long));
        }
        assert_eq!(lines.bytes_read(), bytes.len() as u64);
        found
    }

    #[test]
    fn blank_lines_are_counted_but_not_given() {
        assert_eq!(numbers(b"\n \t\r\n{}\n\n[1]"), [(3, 2, false), (5, 3, false)]);
        assert_eq!(numbers(b""), []);
    }

    #[test]
    fn a_line_past_the_limit_is_said_to_be_so_and_the_next_one_is_whole() {
        let mut bytes = vec![b'a'; MAX_LINE];
        assert_eq!(numbers(&bytes), [(1, MAX_LINE, false)]);
        bytes.extend_from_slice(b"aaa\nb\n");
        let found = numbers(&bytes);
        assert_eq!(found[0].0, 1);
        assert!(found[0].2);
        assert_eq!(found[1], (2, 1, false));
    }
}
