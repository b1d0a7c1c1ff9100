//! Whether bytes hold an id: in a file as it lies, or in what a gzip or zstd file unpacks to.

use std::io::{self, Read};

use camino::Utf8Path;
use memchr::memmem::Finder;

use crate::stages::ingest::lines::open_regular;
use crate::stages::ingest::source::Source;

/// How many bytes are looked at at once.
const CHUNK: usize = 1 << 20;

/// The byte sequences by which something is found.
pub struct Needles {
    finders: Vec<Finder<'static>>,
    longest: usize,
}

impl Needles {
    /// These, each once; an empty one would be found everywhere, and is none.
    pub fn of(texts: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let mut texts: Vec<Vec<u8>> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        texts.sort_unstable();
        texts.dedup();
        Self {
            longest: texts.iter().map(Vec::len).max().unwrap_or(0),
            finders: texts.iter().map(|text| Finder::new(text).into_owned()).collect(),
        }
    }

    /// Whether `bytes` hold any of them.
    #[must_use]
    pub fn are_in(&self, bytes: &[u8]) -> bool {
        self.finders.iter().any(|finder| finder.find(bytes).is_some())
    }

    /// Whether the file at `path` holds any of them: in its bytes, or in what they unpack to if it is compressed. Of a file that begins
    /// as a compressed one and cannot be unpacked nobody can tell, so that it counts as one that does.
    ///
    /// # Errors
    ///
    /// Whatever opening and reading gives; [`io::ErrorKind::InvalidInput`] if it is no regular file.
    pub fn are_in_file(&self, path: &Utf8Path) -> io::Result<bool> {
        if self.are_in_stream(open_regular(path)?)? {
            return Ok(true);
        }
        let source = Source::of(open_regular(path)?)?;
        if !source.is_compressed() {
            return Ok(false);
        }
        match self.are_in_stream(source) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(true),
            other => other,
        }
    }

    /// The same of what `reader` gives.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn are_in_stream(&self, mut reader: impl Read) -> io::Result<bool> {
        let mut window = vec![0; CHUNK + self.longest];
        let mut held = 0;
        loop {
            let read = fill(&mut reader, &mut window[held..])?;
            let end = held + read;
            if self.are_in(&window[..end]) {
                return Ok(true);
            }
            if read == 0 {
                return Ok(false);
            }
            // One may begin in this piece and end in the next.
            let kept = end.min(self.longest.saturating_sub(1));
            window.copy_within(end - kept..end, 0);
            held = kept;
        }
    }
}

/// Reads until `room` is full or there is no more. Gives how many bytes were read.
fn fill(reader: &mut impl Read, room: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match reader.read(&mut room[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// How an id may be spelled where a program has written it: as it is, and as JSON writes it with and without escapes that need not
/// be.
#[must_use]
pub fn spellings(id: &str) -> Vec<Vec<u8>> {
    let mut all = vec![id.as_bytes().to_vec()];
    if let Ok(quoted) = serde_json::to_string(id) {
        all.push(quoted.as_bytes()[1..quoted.len() - 1].to_vec());
    }
    // `/` is escaped by some, and what is not ASCII by others.
    all.push(id.replace('/', "\\/").into_bytes());
    if !id.is_ascii() {
        for format in [escaped::<false>, escaped::<true>] {
            all.push(format(id).into_bytes());
        }
    }
    all
}

fn escaped<const UPPER: bool>(id: &str) -> String {
    let mut text = String::new();
    for c in id.chars() {
        if c.is_ascii() {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            text.push_str(&match UPPER {
                true => format!("\\u{unit:04X}"),
                false => format!("\\u{unit:04x}"),
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let count = room.len().min(7).min(self.0.len());
            room[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn what_lies_across_two_pieces_is_found() {
        let needles = Needles::of([b"evt-000001".to_vec(), b"x".repeat(40)]);
        for place in [
            0,
            1,
            CHUNK - 10,
            CHUNK - 5,
            CHUNK,
            CHUNK + 35,
            CHUNK + 45,
            2 * CHUNK + 3,
        ] {
            let mut bytes = vec![b'.'; 3 * CHUNK];
            assert!(!needles.are_in_stream(Slowly(&bytes)).expect("read"));
            bytes[place..place + 10].copy_from_slice(b"evt-000001");
            assert!(needles.are_in_stream(&bytes[..]).expect("read"), "{place}");
        }
        assert!(needles.are_in_stream(Slowly(b"...evt-000001")).expect("read"));
        assert!(!needles.are_in_stream(Slowly(b"...evt-00000")).expect("read"));
    }

    #[test]
    fn an_id_has_the_spellings_that_programs_give_it() {
        let all = spellings("a\"/\u{e4}\u{1f600}");
        for wanted in [
            "a\"/ä😀",
            "a\\\"/ä😀",
            "a\"\\/ä😀",
            "a\"/\\u00e4\\ud83d\\ude00",
            "a\"/\\u00E4\\uD83D\\uDE00",
        ] {
            assert!(all.contains(&wanted.as_bytes().to_vec()), "{wanted}");
        }
        assert_eq!(Needles::of(spellings("plain")).finders.len(), 1);
    }

    #[test]
    fn nothing_is_found_by_nothing() {
        assert!(!Needles::of([Vec::new()]).are_in(b"anything"));
    }
}
