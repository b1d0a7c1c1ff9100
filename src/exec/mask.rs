//! Keeps secrets out of logs.

use std::io::{self, Write};

const MASK: &[u8] = b"***";

/// Writes what it is given, with every occurrence of a secret replaced by `***`, also where one is cut in two by the
/// pieces in which it arrives.
pub struct MaskedWriter<'a, W> {
    inner: W,
    secrets: Vec<&'a [u8]>,
    /// What could be the beginning of a secret.
    held: Vec<u8>,
    /// So many of those bytes belong to secrets for which the mask has been written.
    covered: usize,
}

impl<'a, W: Write> MaskedWriter<'a, W> {
    /// Masks `secrets` in what is written to `inner`. An empty text is no secret. Line breaks at the end of one are not part of it: they are
    /// of the file that it was read from, and a program prints it without them.
    #[must_use]
    pub fn new(inner: W, secrets: &'a [String]) -> Self {
        let texts = secrets.iter().map(|secret| secret.trim_end_matches(['\r', '\n']));
        let mut secrets: Vec<&[u8]> = texts.map(str::as_bytes).filter(|s| !s.is_empty()).collect();
        // Of two secrets that begin alike the longer is masked, else its end would be seen.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self {
            inner,
            secrets,
            held: Vec::new(),
            covered: 0,
        }
    }

    /// Writes `bytes`, but for a tail that the next piece may make a secret.
    ///
    /// # Errors
    ///
    /// Whatever writing gives.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        let longest = self.secrets.first().map_or(0, |secret| secret.len());
        self.drain(longest.saturating_sub(1), None)
    }

    /// Writes what is still held.
    ///
    /// # Errors
    ///
    /// Whatever writing gives.
    pub fn finish(mut self) -> io::Result<()> {
        self.drain(0, None)?;
        self.inner.flush()
    }

    /// Writes what is still held, where more would have come: a tail that it may have made a secret is masked.
    ///
    /// # Errors
    ///
    /// Whatever writing gives.
    pub fn cut_off(mut self) -> io::Result<()> {
        let is_begun = |rest: &[u8]| self.secrets.iter().any(|secret| secret.starts_with(rest));
        let tail = (0..self.held.len()).find(|place| is_begun(&self.held[*place..]));
        self.drain(0, tail)?;
        self.inner.flush()
    }

    /// Writes until at most `keep` bytes are held; a secret that begins before those is masked whole, and secrets that overlap are masked
    /// as one. From `begun` on, everything is one.
    fn drain(&mut self, keep: usize, begun: Option<usize>) -> io::Result<()> {
        let end = self.held.len().saturating_sub(keep);
        let mut covered = self.covered;
        for place in 0..end {
            let rest = &self.held[place..];
            let length = match begun == Some(place) {
                true => Some(rest.len()),
                false => self.secrets.iter().find(|s| rest.starts_with(s)).map(|s| s.len()),
            };
            let Some(length) = length else { continue };
            if place >= covered {
                self.inner.write_all(&self.held[covered..place])?;
                self.inner.write_all(MASK)?;
            }
            covered = covered.max(place + length);
        }
        if covered < end {
            self.inner.write_all(&self.held[covered..end])?;
        }
        self.held.drain(..end);
        self.covered = covered.saturating_sub(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written of `text`, in pieces of any size; where it is cut off, or comes to its end.
    fn check(secrets: &[&str], text: &str, is_cut_off: bool, expected: &str) {
        let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        for size in 1..=text.len() {
            let mut out = Vec::new();
            let mut writer = MaskedWriter::new(&mut out, &secrets);
            for piece in text.as_bytes().chunks(size) {
                writer.write(piece).expect("memory takes all");
            }
            match is_cut_off {
                true => writer.cut_off(),
                false => writer.finish(),
            }
            .expect("memory takes all");
            assert_eq!(String::from_utf8_lossy(&out), expected, "{text}: pieces of {size}");
        }
    }

    #[test]
    fn a_secret_is_masked_however_it_is_cut() {
        let secrets = ["tok", "token-1", ""];
        check(&secrets, "a token-1 b tok token-1", false, "a *** b *** ***");
        check(&secrets, "toktok token-", false, "****** ***en-");
        check(&secrets, "toktok token-", true, "****** ***");
    }

    #[test]
    fn of_secrets_that_overlap_nothing_is_seen() {
        let secrets = ["abcd", "cdef", "fgfg"];
        check(&secrets, "xabcdefy", false, "x***y");
        check(&secrets, "xabcdefgfgfgy", false, "x***y");
        check(&secrets, "abcdabcd", false, "******");
        check(&secrets, "abcde", false, "***e");
        check(&secrets, "abcde", true, "***");
        check(&secrets, "abcdef", true, "***");
        check(&["aa"], "baaab", false, "b***b");
    }

    #[test]
    fn line_breaks_at_the_end_of_a_secret_are_not_part_of_it() {
        check(
            &["token\n", "\r\n", "pass\r\n"],
            "a token b\r\npass\n",
            false,
            "a *** b\r\n***\n",
        );
        check(&["one\ntwo\n"], "one\ntwo", false, "***");
    }
}
