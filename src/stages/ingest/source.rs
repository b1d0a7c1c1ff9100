//! A file of lines, and what is in it if it is compressed.
//!
//! Whether a file is compressed is told by its first bytes and never by its name: an action names a built-in stage's inputs by their
//! digests alone, so that what becomes of them has to be a function of their bytes. No line of JSON begins as gzip or zstd do.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek as _, SeekFrom};

use flate2::bufread::MultiGzDecoder;

use super::fault::{grouped, printable};
use super::lines::open;
use crate::stages::{InputFile, Refusal, StageError};

/// What a gzip member begins with (RFC 1952, section 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// What a zstd frame begins with (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The largest window that a zstd frame may ask for, as a power of two: what `zstd -d` takes unless told otherwise, 128 MiB.
const WINDOW_LOG: u32 = 27;
/// So many times longer than the file may be what is in it.
const MAX_RATIO: u64 = 1000;
/// So many bytes are unpacked before that counts.
const FREE: u64 = 64 << 20;
/// How many bytes of a compressed file are asked of the system at once.
const BUFFER: usize = 256 * 1024;

/// Opens a file, and gives what is in it.
pub struct Source {
    kind: Kind,
    /// How many bytes of what is in the file were given.
    given: u64,
}

enum Kind {
    Plain(Box<Raw>),
    Gzip(Box<MultiGzDecoder<BufReader<Raw>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Raw>>>),
}

/// The bytes of a file, hashed as they are read.
struct Raw {
    /// What was read of it to see what it is, and is to be read again.
    first: Cursor<Vec<u8>>,
    file: File,
    hasher: blake3::Hasher,
    failed: bool,
}

impl Source {
    /// Opens `file`, which must be a regular one, for it is read more than once.
    ///
    /// # Errors
    ///
    /// Whatever opening and reading gives; [`io::ErrorKind::InvalidInput`] if it is no regular file.
    pub fn open(file: &InputFile) -> io::Result<Self> {
        Self::of(open(file)?)
    }

    /// Gives what is in `file`, which may be a pipe, if it is read only once.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn of(mut file: File) -> io::Result<Self> {
        let mut first = Vec::with_capacity(ZSTD.len());
        (&mut file).take(ZSTD.len() as u64).read_to_end(&mut first)?;
        let (is_gzip, is_zstd) = (first.starts_with(&GZIP), first.starts_with(&ZSTD));
        let raw = Raw {
            first: Cursor::new(first),
            file,
            hasher: blake3::Hasher::new(),
            failed: false,
        };
        let kind = if is_gzip {
            Kind::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, raw))))
        } else if is_zstd {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(BufReader::with_capacity(BUFFER, raw))?;
            decoder.window_log_max(WINDOW_LOG)?;
            Kind::Zstd(Box::new(decoder))
        } else {
            Kind::Plain(Box::new(raw))
        };
        Ok(Self { kind, given: 0 })
    }

    /// Whether what is in the file is other than its bytes.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        !matches!(self.kind, Kind::Plain(_))
    }

    /// How many bytes of the file were used.
    #[must_use]
    pub fn used(&self) -> u64 {
        let raw = self.raw();
        let ahead = match &self.kind {
            Kind::Plain(_) => 0,
            Kind::Gzip(decoder) => decoder.get_ref().buffer().len(),
            Kind::Zstd(decoder) => decoder.get_ref().buffer().len(),
        };
        raw.hasher.count() - ahead as u64
    }

    /// The BLAKE3 of the bytes of the file that were read: of all of them, at the end.
    #[must_use]
    pub fn hash(&self) -> blake3::Hash {
        self.raw().hasher.finalize()
    }

    fn raw(&self) -> &Raw {
        match &self.kind {
            Kind::Plain(raw) => raw,
            Kind::Gzip(decoder) => decoder.get_ref().get_ref(),
            Kind::Zstd(decoder) => decoder.get_ref().get_ref(),
        }
    }

    /// Goes on with the byte at `to` of what is in the file, which is not before the next. What was passed over in a file that is
    /// not compressed is in no hash.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn skip_to(&mut self, to: u64) -> io::Result<()> {
        let ahead = to.saturating_sub(self.given);
        match &mut self.kind {
            Kind::Plain(raw) => {
                raw.first = Cursor::default();
                raw.file.seek(SeekFrom::Start(to))?;
                self.given = to;
            }
            Kind::Gzip(_) | Kind::Zstd(_) => drop(io::copy(&mut self.take(ahead), &mut io::sink())?),
        }
        Ok(())
    }

    /// Adds up to `wanted` bytes to `bytes`, fewer only at the end. Gives how many.
    ///
    /// # Errors
    ///
    /// Whatever reading gives; what [`unreadable`] takes for a refusal if the file cannot be decompressed.
    pub fn read_more(&mut self, bytes: &mut Vec<u8>, wanted: usize) -> io::Result<usize> {
        let before = bytes.len();
        bytes.reserve_exact(wanted);
        match &mut self.kind {
            // Into room that nobody has to fill with zeroes first.
            Kind::Plain(raw) => {
                let wanted = wanted as u64;
                let read = (&mut raw.first).take(wanted).read_to_end(bytes)? as u64;
                (&mut raw.file).take(wanted - read).read_to_end(bytes)?;
                raw.hasher.update(&bytes[before..]);
                self.given += (bytes.len() - before) as u64;
                Ok(bytes.len() - before)
            }
            Kind::Gzip(_) | Kind::Zstd(_) => self.take(wanted as u64).read_to_end(bytes),
        }
    }

    /// What is wrong with the file if `error` came from it.
    fn damaged(&self, error: &io::Error) -> io::Error {
        let (format, why) = match &self.kind {
            Kind::Gzip(_) => ("gzip", error.to_string()),
            _ => ("zstd", error.to_string()),
        };
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too soon".to_owned(),
            _ => printable(&why),
        };
        io::Error::new(
            io::ErrorKind::InvalidData,
            Damaged(format!(
                "is no whole {format} file: {why}, at byte {} of it (after {} bytes of what is in it)",
                grouped(self.used()),
                grouped(self.given)
            )),
        )
    }
}

/// What is wrong with a compressed file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Damaged(String);

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.kind {
            Kind::Plain(raw) => raw.read(buffer),
            Kind::Gzip(decoder) => decoder.read(buffer),
            Kind::Zstd(decoder) => decoder.read(buffer),
        };
        match read {
            Ok(read) => {
                self.given += read as u64;
                if self.is_compressed() && self.given > FREE + MAX_RATIO * self.raw().hasher.count() {
                    let why = format!("what is in it is more than {} times as long", grouped(MAX_RATIO));
                    return Err(self.damaged(&io::Error::other(why)));
                }
                Ok(read)
            }
            Err(error) if self.raw().failed || !self.is_compressed() => Err(error),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.damaged(&error)),
        }
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.first.read(buffer) {
            Ok(0) => self.file.read(buffer),
            read => read,
        };
        match read {
            Ok(read) => {
                self.hasher.update(&buffer[..read]);
                Ok(read)
            }
            Err(error) => {
                self.failed = error.kind() != io::ErrorKind::Interrupted;
                Err(error)
            }
        }
    }
}

/// Why `file` could not be read: a refusal if what is wrong is its bytes.
#[must_use]
pub fn unreadable(file: &InputFile, source: io::Error) -> StageError {
    match source.get_ref().and_then(|error| error.downcast_ref::<Damaged>()) {
        Some(damaged) => StageError::Refused(Refusal {
            summary: format!("`{}` {damaged}", file.name),
            ..Refusal::default()
        }),
        None => StageError::Io {
            verb: "read",
            path: file.name.clone(),
            source,
        },
    }
}
