//! Writing a bundle: the same members give the same bytes.

use std::fs::File;
use std::io::{self, Read, Write};

use camino::Utf8PathBuf;

use super::manifest::{Manifest, Member};
use super::read::Limits;
use super::{END, MANIFEST, header};
use crate::digest;

/// How hard to compress. Part of the format only in that the same bundle made twice is the same bytes.
const LEVEL: i32 = 3;

/// A bundle that can be written.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What is in it.
    pub manifest: Manifest,
    /// Where the bytes of each member come from.
    pub sources: Vec<Source>,
}

/// Where the bytes of a member come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// They are here.
    Bytes(Vec<u8>),
    /// A file of just these bytes.
    File(Utf8PathBuf),
}

/// Why a bundle was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What it would hold does not go together.
    #[error("no bundle can hold that: {0}")]
    Manifest(String),
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has other bytes than a moment before.
    #[error("`{path}` was changed while the bundle was written")]
    Changed {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The bundle could not be written.
    #[error("cannot write the bundle")]
    Write(#[from] io::Error),
}

/// Writes `planned` to `out`, in constant memory. Every member is hashed as it passes, and must be what the manifest says. Returns
/// how many bytes the archive has before it is compressed.
///
/// # Errors
///
/// [`WriteError`]; what was written until then is no bundle.
pub fn write(planned: &Planned, out: impl Write) -> Result<u64, WriteError> {
    let list = planned.manifest.to_bytes().map_err(WriteError::Manifest)?;
    check_limits(&planned.manifest, list.len()).map_err(WriteError::Manifest)?;
    let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut archive = Archive {
        out: &mut encoder,
        written: 0,
    };
    archive.put(&header::spell(MANIFEST, list.len() as u64, false))?;
    archive.put(&list)?;
    archive.pad(list.len() as u64)?;
    for (member, source) in planned.manifest.members.iter().zip(&planned.sources) {
        archive.member(member, source)?;
    }
    archive.put(&END)?;
    let written = archive.written;
    encoder.finish()?.flush()?;
    Ok(written)
}

/// A bundle that nobody could open is not written.
fn check_limits(manifest: &Manifest, list: usize) -> Result<(), String> {
    let limits = Limits::default();
    if manifest.members.len() > limits.members {
        return Err(format!("it would have more than {} members", limits.members));
    }
    if list as u64 > limits.list {
        return Err(format!("its list would be longer than {} bytes", limits.list));
    }
    let texts = manifest.members.iter().filter(|member| member.kind.is_text());
    if texts.map(|member| member.size).sum::<u64>() > limits.text {
        return Err(format!(
            "receipts, logs and definitions have more than {} bytes",
            limits.text
        ));
    }
    Ok(())
}

struct Archive<'a, W> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Archive<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.written += bytes.len() as u64;
        Ok(self.out.write_all(bytes)?)
    }

    fn pad(&mut self, size: u64) -> Result<(), WriteError> {
        self.put(&END[..header::padding(size)])
    }

    fn member(&mut self, member: &Member, source: &Source) -> Result<(), WriteError> {
        self.put(&header::spell(member.path.as_str(), member.size, member.executable))?;
        let path = || match source {
            Source::Bytes(_) => member.path.clone(),
            Source::File(path) => path.clone(),
        };
        let copied = match source {
            Source::Bytes(bytes) => self.copy(&bytes[..], member.size),
            Source::File(path) => {
                let file = File::open(path).map_err(|source| WriteError::Read {
                    path: path.clone(),
                    source,
                })?;
                self.copy(file, member.size)
            }
        };
        match copied {
            Ok(digests) if digests == member.digests() => self.pad(member.size),
            Ok(_) => Err(WriteError::Changed { path: path() }),
            Err(Copied::Read(source)) => Err(WriteError::Read { path: path(), source }),
            Err(Copied::Write(source)) => Err(WriteError::Write(source)),
        }
    }

    /// Copies and hashes; a byte too many is read, so that a longer file has other digests.
    fn copy(&mut self, reader: impl Read, size: u64) -> Result<digest::Digests, Copied> {
        let mut reader = reader.take(size + 1);
        let mut writer = Kept {
            out: &mut *self.out,
            left: size,
            failed: None,
        };
        let copied = digest::copy_hashed(&mut reader, &mut writer);
        match (writer.failed.take(), copied) {
            (Some(error), _) => Err(Copied::Write(error)),
            (None, Err(error)) => Err(Copied::Read(error)),
            (None, Ok((digests, _))) => {
                self.written += size;
                Ok(digests)
            }
        }
    }
}

/// Which side failed.
enum Copied {
    Read(io::Error),
    Write(io::Error),
}

/// Writes no more than a member has, and keeps its errors apart from those of reading.
struct Kept<'a, W> {
    out: &'a mut W,
    left: u64,
    failed: Option<io::Error>,
}

impl<W: Write> Write for Kept<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        if let Err(error) = self.out.write_all(&bytes[..most]) {
            self.failed = Some(error);
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.left -= most as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
