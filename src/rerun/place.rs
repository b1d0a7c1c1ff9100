//! The first place in which two files differ, in the words of their format.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};

use camino::Utf8Path;

/// Where `now` first differs from `before`, in words; `name` is what the file is called.
pub(super) fn first_difference(before: &Utf8Path, now: &Utf8Path, _name: &Utf8Path) -> String {
    match first_byte(before, now) {
        Ok(Some(place)) => place.to_string(),
        Ok(None) => "no byte: it changed back meanwhile".to_owned(),
        Err(error) => format!("a place that cannot be named: {error}"),
    }
}

/// The first byte that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BytePlace {
    /// At this offset.
    At(u64),
    /// The old one ends at this offset, the new one goes on.
    Longer(u64),
    /// The new one ends at this offset, the old one goes on.
    Shorter(u64),
}

impl std::fmt::Display for BytePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At(offset) => write!(f, "byte {offset}"),
            Self::Longer(offset) => write!(f, "byte {offset}, where it ended before"),
            Self::Shorter(offset) => write!(f, "byte {offset}, where it ends now"),
        }
    }
}

fn first_byte(before: &Utf8Path, now: &Utf8Path) -> io::Result<Option<BytePlace>> {
    const BUFFER: usize = 256 * 1024;
    let mut before = BufReader::with_capacity(BUFFER, File::open(before)?);
    let mut now = BufReader::with_capacity(BUFFER, File::open(now)?);
    let mut offset = 0;
    loop {
        let (one, other) = (before.fill_buf()?, now.fill_buf()?);
        match (one.is_empty(), other.is_empty()) {
            (true, true) => return Ok(None),
            (true, false) => return Ok(Some(BytePlace::Longer(offset))),
            (false, true) => return Ok(Some(BytePlace::Shorter(offset))),
            (false, false) => {}
        }
        let length = one.len().min(other.len());
        if let Some(index) = one[..length].iter().zip(&other[..length]).position(|(a, b)| a != b) {
            return Ok(Some(BytePlace::At(offset + index as u64)));
        }
        before.consume(length);
        now.consume(length);
        offset += length as u64;
    }
}
