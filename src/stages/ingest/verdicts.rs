//! What became of each line that is not blank: a byte a line, beyond the room in memory on disk.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};

use super::event::{Consent, Facts, SourceKind};
use super::revocations::Named;
use crate::consent::Scope;
use crate::consent::purposes::MAX_PURPOSES;
use crate::stages::StageError;
use crate::stages::room::Room;

/// What becomes of a line that is not blank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is let in.
    Accepted(Facts),
    /// It is let in although somebody withdrew its consent, which says that it cannot be withdrawn.
    Kept(Facts),
    /// It is valid; its consent does not cover the purpose.
    NotCovered(Consent),
    /// It is valid, and revoked by its own id or by that of the person it came from.
    Revoked(Consent, Named),
    /// The same event stood in an earlier line, with the same bytes.
    Duplicate,
    /// It is invalid.
    Fault,
}

impl Verdict {
    /// Whether the line is let in.
    #[must_use]
    pub fn is_accepted(self) -> bool {
        matches!(self, Self::Accepted(_) | Self::Kept(_))
    }

    /// Every verdict; its place is the byte that stands for it.
    fn all() -> impl Iterator<Item = Self> {
        let not_covered = consents().map(Self::NotCovered);
        let revoked = consents().flat_map(|consent| Named::ALL.map(|named| Self::Revoked(consent, named)));
        let accepted = facts().map(Self::Accepted);
        let kept = facts().map(Self::Kept);
        let others = [Self::Duplicate, Self::Fault].into_iter();
        others.chain(not_covered).chain(revoked).chain(accepted).chain(kept)
    }

    fn code(self) -> u8 {
        match self {
            Self::Duplicate => 0,
            Self::Fault => 1,
            Self::NotCovered(consent) => 2 + code_of(consent),
            Self::Revoked(consent, named) => 2 + CONSENTS + 2 * code_of(consent) + named as u8,
            Self::Accepted(facts) => 2 + 3 * CONSENTS + code_of_facts(facts),
            Self::Kept(facts) => 2 + (3 + SOURCES) * CONSENTS + code_of_facts(facts),
        }
    }
}

/// How many kinds of source there are.
const SOURCES: u8 = 6;
/// How many consents there may be: of each scope, revocable or not.
#[expect(clippy::cast_possible_truncation, reason = "there are no more purposes than that")]
const CONSENTS: u8 = 2 * MAX_PURPOSES as u8;

fn consents() -> impl Iterator<Item = Consent> {
    let of_scope = |scope| [false, true].map(|is_revocable| Consent { scope, is_revocable });
    Scope::every().flat_map(of_scope)
}

fn facts() -> impl Iterator<Item = Facts> {
    consents().flat_map(|consent| SourceKind::ALL.map(|source| Facts { consent, source }))
}

fn code_of(consent: Consent) -> u8 {
    2 * consent.scope.place() + u8::from(consent.is_revocable)
}

fn code_of_facts(facts: Facts) -> u8 {
    SOURCES * code_of(facts.consent) + facts.source as u8
}

/// The verdicts of all lines that are not blank, in order.
#[derive(Debug)]
pub struct Verdicts {
    room: Room,
    all: Vec<Verdict>,
    /// How many there are of each.
    counts: Vec<u64>,
    disk: Option<File>,
    on_disk: u64,
    held: Vec<u8>,
}

impl Verdicts {
    /// None yet.
    #[must_use]
    pub fn new(room: Room) -> Self {
        let all: Vec<Verdict> = Verdict::all().collect();
        Self {
            room,
            counts: vec![0; all.len()],
            all,
            disk: None,
            on_disk: 0,
            held: Vec::new(),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.on_disk + self.held.len() as u64
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each verdict, and how many lines have it.
    pub fn counts(&self) -> impl Iterator<Item = (Verdict, u64)> {
        self.all.iter().copied().zip(self.counts.iter().copied())
    }

    /// Adds that of the next line.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what does not fit into memory cannot be written.
    pub fn push(&mut self, verdict: Verdict) -> Result<(), StageError> {
        if self.held.len() >= self.room.held.max(1) {
            self.spill()?;
        }
        let code = verdict.code();
        self.counts[usize::from(code)] += 1;
        self.held.push(code);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), StageError> {
        let disk = match &mut self.disk {
            Some(disk) => disk,
            none => none.insert(self.room.file()?),
        };
        let written = disk.seek(SeekFrom::Start(self.on_disk));
        let written = written.and_then(|_| disk.write_all(&self.held));
        written.map_err(|source| self.room.failed("write", source))?;
        self.on_disk += self.held.len() as u64;
        self.held.clear();
        Ok(())
    }

    /// Replaces that of the line `index`, and gives the one before.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if it is on disk and cannot be read or written.
    ///
    /// # Panics
    ///
    /// If there is no such line.
    pub fn replace(&mut self, index: u64, verdict: Verdict) -> Result<Verdict, StageError> {
        let code = verdict.code();
        let before = match &mut self.disk {
            Some(disk) if index < self.on_disk => {
                swap(disk, index, code).map_err(|source| self.room.failed("write", source))?
            }
            _ => {
                let place = usize::try_from(index - self.on_disk).unwrap_or(usize::MAX);
                std::mem::replace(&mut self.held[place], code)
            }
        };
        self.counts[usize::from(before)] -= 1;
        self.counts[usize::from(code)] += 1;
        Ok(self.all[usize::from(before)])
    }

    /// Reads them from the first on.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if what is on disk cannot be read.
    pub fn reader(&self) -> Result<VerdictReader<'_>, StageError> {
        let mut codes: Box<dyn Read> = Box::new(&*self.held);
        if let Some(mut disk) = self.disk.as_ref() {
            let begin = disk.seek(SeekFrom::Start(0));
            begin.map_err(|source| self.room.failed("read", source))?;
            codes = Box::new(disk.take(self.on_disk).chain(codes));
        }
        Ok(VerdictReader {
            verdicts: self,
            codes: BufReader::with_capacity(1 << 16, codes),
        })
    }
}

/// Puts `code` at `index` and gives what was there.
fn swap(disk: &mut File, index: u64, code: u8) -> io::Result<u8> {
    let mut before = [0];
    disk.seek(SeekFrom::Start(index))?;
    disk.read_exact(&mut before)?;
    disk.seek(SeekFrom::Start(index))?;
    disk.write_all(&[code])?;
    Ok(before[0])
}

/// Verdicts, read one by one.
pub struct VerdictReader<'a> {
    verdicts: &'a Verdicts,
    codes: BufReader<Box<dyn Read + 'a>>,
}

impl VerdictReader<'_> {
    /// That of the next line, if there is one.
    ///
    /// # Errors
    ///
    /// [`StageError::Io`] if it is on disk and cannot be read.
    pub fn next_verdict(&mut self) -> Result<Option<Verdict>, StageError> {
        let mut code = [0];
        loop {
            match self.codes.read(&mut code) {
                Ok(0) => return Ok(None),
                Ok(_) => return Ok(self.verdicts.all.get(usize::from(code[0])).copied()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(self.verdicts.room.failed("read", source)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_is_read_and_replaced_as_what_is_held() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = camino::Utf8Path::from_path(folder.path()).expect("UTF-8");
        let all: Vec<Verdict> = Verdict::all().collect();
        assert_eq!(all.len(), 242, "each has a byte of its own");
        for (code, verdict) in (0..).zip(&all) {
            assert_eq!(verdict.code(), code);
        }
        for held in [0, 1, 7, 1000] {
            let mut verdicts = Verdicts::new(Room::with(folder, held));
            let mut expected: Vec<Verdict> = all.iter().cycle().take(500).copied().collect();
            for verdict in &expected {
                verdicts.push(*verdict).expect("written");
            }
            for index in [0, 499, 50, 13, 13] {
                let before = verdicts.replace(index, Verdict::Fault).expect("written");
                let place = usize::try_from(index).expect("small");
                assert_eq!(before, std::mem::replace(&mut expected[place], Verdict::Fault));
            }
            let mut reader = verdicts.reader().expect("read");
            let mut found = Vec::new();
            while let Some(verdict) = reader.next_verdict().expect("read") {
                found.push(verdict);
            }
            assert_eq!(found, expected, "{held}");
            assert_eq!(verdicts.len(), 500);
            for (verdict, count) in verdicts.counts() {
                let expected = expected.iter().filter(|other| **other == verdict).count();
                assert_eq!(count, expected as u64);
            }
        }
        assert_eq!(
            std::fs::read_dir(folder).expect("listed").count(),
            0,
            "no file has a name"
        );
    }
}
