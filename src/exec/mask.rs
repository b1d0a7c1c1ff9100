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
}

impl<'a, W: Write> MaskedWriter<'a, W> {
    /// Masks `secrets` in what is written to `inner`. An empty text is no secret.
    #[must_use]
    pub fn new(inner: W, secrets: &'a [String]) -> Self {
        let mut secrets: Vec<&[u8]> = secrets.iter().map(String::as_bytes).filter(|s| !s.is_empty()).collect();
        // Of two secrets that begin alike the longer is masked, else its end would be seen.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self {
            inner,
            secrets,
            held: Vec::new(),
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
        self.drain(longest.saturating_sub(1))
    }

    /// Writes what is still held.
    ///
    /// # Errors
    ///
    /// Whatever writing gives.
    pub fn finish(mut self) -> io::Result<()> {
        self.drain(0)?;
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
        if let Some(tail) = tail {
            self.held.truncate(tail);
        }
        self.drain(0)?;
        if tail.is_some() {
            self.inner.write_all(MASK)?;
        }
        self.inner.flush()
    }

    /// Writes until at most `keep` bytes are held; a secret that begins before those is masked whole.
    fn drain(&mut self, keep: usize) -> io::Result<()> {
        let mut place = 0;
        let mut clean_from = 0;
        while place + keep < self.held.len() {
            let rest = &self.held[place..];
            if let Some(secret) = self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                self.inner.write_all(&self.held[clean_from..place])?;
                self.inner.write_all(MASK)?;
                place += secret.len();
                clean_from = place;
            } else {
                place += 1;
            }
        }
        self.inner.write_all(&self.held[clean_from..place])?;
        self.held.drain(..place);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_masked_however_it_is_cut() {
        let secrets = ["tok".to_owned(), "token-1".to_owned(), String::new()];
        let text = b"a token-1 b tok token-1";
        for size in 1..=text.len() {
            let mut out = Vec::new();
            let mut writer = MaskedWriter::new(&mut out, &secrets);
            for piece in text.chunks(size) {
                writer.write(piece).expect("memory takes all");
            }
            writer.finish().expect("memory takes all");
            assert_eq!(String::from_utf8_lossy(&out), "a *** b *** ***", "pieces of {size}");
        }
    }
}
