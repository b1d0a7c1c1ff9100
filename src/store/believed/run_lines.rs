//! A run's file that receipts are read from again, line by line, no further than to the last that was asked for.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Take};

use camino::Utf8Path;

use crate::receipt::run_file::MAX_RUN_FILE;

/// So much is read at once: some receipts of stages. That of a run, which is longer than all of them, comes last, and is not read for one
/// of theirs.
const CHUNK: usize = 32 * 1024;

/// What was read of a run's file.
pub(super) struct RunLines {
    run: String,
    rest: Take<BufReader<File>>,
    bytes: Vec<u8>,
    /// Where its lines end.
    ends: Vec<usize>,
}

impl RunLines {
    /// Opens the file at `path`, of the run with the id `run`. `None` if there is none that could be one.
    pub(super) fn open(run: &str, path: &Utf8Path) -> Option<Self> {
        let found = fs::symlink_metadata(path).ok()?;
        if !found.is_file() || found.len() > MAX_RUN_FILE {
            return None;
        }
        let file = BufReader::with_capacity(CHUNK, File::open(path).ok()?);
        Some(Self {
            run: run.to_owned(),
            rest: file.take(MAX_RUN_FILE),
            bytes: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Whether it is the file of the run with the id `run`.
    pub(super) fn is_of(&self, run: &str) -> bool {
        self.run == run
    }

    /// The line `number`, from 0, without its line break.
    pub(super) fn line(&mut self, number: usize) -> Option<&[u8]> {
        while self.ends.len() <= number {
            self.rest.read_until(b'\n', &mut self.bytes).ok()?;
            // What has no line break is at the end of the file, and was torn.
            let end = self.bytes.len().checked_sub(1).filter(|end| self.bytes[*end] == b'\n');
            self.ends
                .push(end.filter(|end| self.ends.last().is_none_or(|last| last < end))?);
        }
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] + 1);
        self.bytes.get(start..self.ends[number])
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;
    use crate::store::atomic;

    #[test]
    fn lines_are_read_in_any_order_and_none_that_is_not_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8PathBuf::from_path_buf(folder.path().join("run")).expect("UTF-8");
        assert!(RunLines::open("r", &path).is_none(), "there is no file");
        assert!(
            RunLines::open("r", atomic::folder_of(&path)).is_none(),
            "a folder is none"
        );
        let long = "x".repeat(3 * CHUNK);
        atomic::write(&path, format!("a\n\n{long}\ntorn").as_bytes()).expect("written");
        let mut lines = RunLines::open("r", &path).expect("opened");
        assert!(lines.is_of("r") && !lines.is_of("s"));
        assert_eq!(lines.line(1), Some(&b""[..]));
        assert!(lines.bytes.len() < CHUNK, "nothing is read before it is asked for");
        assert_eq!(lines.line(2), Some(long.as_bytes()));
        assert_eq!(lines.line(0), Some(&b"a"[..]));
        assert_eq!(lines.line(3), None);
        assert_eq!(lines.line(4), None);
        assert_eq!(lines.line(2), Some(long.as_bytes()));
    }
}
