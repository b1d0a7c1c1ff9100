//! Reading a bundle: hostile input, in one pass, in bounded memory, and nothing is written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};

use camino::{Utf8Path, Utf8PathBuf};
use zstd::stream::read::Decoder;

use super::header::{self, BLOCK};
use super::manifest::{Kind, LeftOut, Manifest, Member};
use super::{END, MANIFEST, WORKSPACE, proofs};
use crate::digest::{Digests, DigestsHasher};
use crate::receipt::key::PublicKey;

/// What a zstd frame begins with (RFC 8878, section 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The largest window that a frame may ask for, as a power of two: what `zstd -19` makes. It bounds the memory to unpack.
const WINDOW_LOG: u32 = 23;
/// So many bytes are unpacked before the ratio counts: small archives of little in them are no bombs.
const FREE: u64 = 1 << 20;
/// Unpacked in steps of this many bytes.
const CHUNK: usize = 256 * 1024;

/// What is taken of somebody else's archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes it may unpack to.
    pub unpacked: u64,
    /// How many times its own size it may unpack to, beyond the first MiB; with none, only `unpacked` counts.
    pub ratio: Option<u64>,
    /// How many members it may have.
    pub members: usize,
    /// How many bytes `bundle.json` may have.
    pub list: u64,
    /// How many bytes the receipts, logs, keys, proofs and definitions may have, all together. They are kept in memory.
    pub text: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked: 16 << 30,
            ratio: Some(200),
            members: 1 << 17,
            list: 32 << 20,
            text: 256 << 20,
        }
    }
}

/// Why an archive is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file could not be read. This alone says nothing about the bundle.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    /// No zstd frame, or a damaged one.
    #[error("it cannot be unpacked: {0}")]
    Compression(String),
    /// It ends too early.
    #[error("it is cut off")]
    CutOff,
    /// Something follows its end.
    #[error("something follows its end")]
    Trailing,
    /// It unpacks to too much.
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It unpacks to too much for its size.
    #[error("it unpacks to more than {0} times its size, as archives do that are made to do harm")]
    Ratio(u64),
    /// It has too many members.
    #[error("it has more than {0} members")]
    TooMany(usize),
    /// Too much of it would have to be kept in memory.
    #[error("its receipts, logs and definitions have more than {0} bytes")]
    TooMuchText(u64),
    /// The list of what it holds.
    #[error("its list, `bundle.json`, is wrong: {0}")]
    Manifest(String),
    /// The archive is not what the list says.
    #[error("its member `{member}` {difference}")]
    Header {
        /// What should be there.
        member: String,
        /// What is the matter.
        difference: String,
    },
    /// A public key has the name of another. Nobody is trusted for lying there, but people look.
    #[error("its member `{0}` is not the public key of that name")]
    Key(String),
    /// A proof is none.
    #[error("its member `{0}` does not prove that a log in the bundle has the receipt of that name")]
    Proof(String),
    /// A member is not what the list says.
    #[error("its member `{0}` has other bytes than its list says")]
    Content(String),
}

impl BundleError {
    /// What may be done about it.
    #[must_use]
    pub const fn help(&self) -> Option<&'static str> {
        match self {
            Self::TooLarge(_) | Self::Ratio(_) => Some(
                "if it was said to be so large, say with `--max-size` how much may be unpacked (only hashed, never written)",
            ),
            Self::CutOff => Some("it may not have been copied whole: copy it again and compare its size"),
            _ => None,
        }
    }
}

/// A bundle that was read: all of its names and digests, and the bytes of receipts, logs and definitions.
#[derive(Debug)]
pub struct Bundle {
    run: String,
    left_out: Vec<LeftOut>,
    /// What lies in the workspace, by its path there.
    pub(super) files: BTreeMap<String, Held>,
}

/// A file of the workspace.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) digests: Digests,
    pub(super) executable: bool,
    /// Of artifacts and inputs only the digests are kept.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Bundle {
    /// Reads the bundle at `path`.
    ///
    /// # Errors
    ///
    /// [`BundleError`] for anything that is not spelled as [`super::write`] spells it, or exceeds the limits.
    pub fn open(path: &Utf8Path, limits: &Limits) -> Result<Self, BundleError> {
        Self::read(File::open(path).map_err(BundleError::Read)?, limits)
    }

    /// Reads a bundle.
    ///
    /// # Errors
    ///
    /// As [`Bundle::open`].
    pub fn read(source: impl Read, limits: &Limits) -> Result<Self, BundleError> {
        let mut stream = Stream::new(source, limits)?;
        let manifest = read_manifest(&mut stream, limits)?;
        check_limits(&manifest, limits, stream.unpacked)?;
        let mut files: BTreeMap<String, Held> = BTreeMap::new();
        let mut proven = Vec::new();
        for member in &manifest.members {
            let bytes = read_member(&mut stream, member)?;
            if member.kind == Kind::Proof {
                let checkpoint = proofs::checkpoint_in(&member.path, bytes.as_deref().unwrap_or_default());
                proven.push((member.path.to_string(), checkpoint));
            }
            if member.kind == Kind::Key && !is_key(&member.path, bytes.as_deref().unwrap_or_default()) {
                return Err(BundleError::Key(member.path.to_string()));
            }
            if let Ok(path) = member.path.strip_prefix(WORKSPACE) {
                let held = Held {
                    digests: member.digests(),
                    executable: member.executable,
                    bytes,
                };
                files.insert(path.to_string(), held);
            }
        }
        stream.end()?;
        for (name, checkpoint) in proven {
            // Nobody looks at a proof but tools that know only it: it has to rest on what is verified here.
            let is_here = |(path, bytes): (Utf8PathBuf, Vec<u8>)| {
                files.get(path.as_str()).and_then(|held| held.bytes.as_ref()) == Some(&bytes)
            };
            if !checkpoint.is_some_and(is_here) {
                return Err(BundleError::Proof(name));
            }
        }
        Ok(Self {
            run: manifest.run,
            left_out: manifest.left_out,
            files,
        })
    }

    /// The run that it says it was made for.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// What it says is not in it.
    #[must_use]
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }
}

/// What a file looks like, from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// It begins as a bundle does.
    Bundle,
    /// It is compressed as a bundle is, and begins otherwise.
    Compressed,
    /// Anything else.
    Other,
}

/// Looks at the first bytes of the file at `path`.
///
/// # Errors
///
/// Whatever opening and reading gives.
pub fn looks(path: &Utf8Path) -> io::Result<Looks> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Ok(Looks::Other);
    }
    let mut block = [0; BLOCK];
    let begins = Stream::new(File::open(path)?, &Limits::default()).and_then(|mut stream| stream.fill(&mut block));
    Ok(match begins.is_ok() && header::name_of(&block) == MANIFEST {
        true => Looks::Bundle,
        false => Looks::Compressed,
    })
}

/// The list is the first member; only its size has to be learned from the archive.
fn read_manifest<R: Read>(stream: &mut Stream<R>, limits: &Limits) -> Result<Manifest, BundleError> {
    let mut block = [0; BLOCK];
    stream.fill(&mut block)?;
    let size = header::size_of(&block).unwrap_or_default();
    compare(&block, &header::spell(MANIFEST, size, false), MANIFEST)?;
    if size > limits.list {
        return Err(BundleError::Manifest(format!(
            "it is longer than {} bytes",
            limits.list
        )));
    }
    let (_, bytes) = stream.content(size, true)?;
    stream.padding(size, MANIFEST)?;
    Manifest::parse(&bytes.unwrap_or_default()).map_err(BundleError::Manifest)
}

/// All that the list says is known before anything else is unpacked.
fn check_limits(manifest: &Manifest, limits: &Limits, unpacked: u64) -> Result<(), BundleError> {
    if manifest.members.len() > limits.members {
        return Err(BundleError::TooMany(limits.members));
    }
    let texts = manifest.members.iter().filter(|member| member.kind.is_text());
    let text = texts.fold(0_u64, |sum, member| sum.saturating_add(member.size));
    if text > limits.text {
        return Err(BundleError::TooMuchText(limits.text));
    }
    let all = manifest
        .members
        .iter()
        .fold(unpacked, |sum, member| sum.saturating_add(member.size));
    if all > limits.unpacked {
        return Err(BundleError::TooLarge(limits.unpacked));
    }
    Ok(())
}

/// The member's bytes, if they are to be kept.
fn read_member<R: Read>(stream: &mut Stream<R>, member: &Member) -> Result<Option<Vec<u8>>, BundleError> {
    let name = member.path.as_str();
    for wanted in header::spell(name, member.size, member.executable).chunks(BLOCK) {
        let mut block = [0; BLOCK];
        stream.fill(&mut block)?;
        compare(&block, wanted, name)?;
    }
    let (digests, bytes) = stream.content(member.size, member.kind.is_text())?;
    stream.padding(member.size, name)?;
    match digests == member.digests() {
        true => Ok(bytes),
        false => Err(BundleError::Content(name.to_owned())),
    }
}

/// Whether it is the key that its name says.
fn is_key(path: &Utf8Path, bytes: &[u8]) -> bool {
    let key = std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| PublicKey::parse(text).ok());
    key.is_some_and(|key| path.file_stem() == Some(&key.keyid().to_string()) && key.to_pem().as_bytes() == bytes)
}

fn compare(found: &[u8; BLOCK], wanted: &[u8], name: &str) -> Result<(), BundleError> {
    if found == wanted {
        return Ok(());
    }
    let mut block = [0; BLOCK];
    block.copy_from_slice(wanted);
    Err(BundleError::Header {
        member: name.escape_debug().to_string(),
        difference: header::difference(found, &block),
    })
}

/// Counts what was read of the file.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

/// The archive, as it is unpacked.
struct Stream<R: Read> {
    decoder: Decoder<'static, BufReader<Counted<R>>>,
    unpacked: u64,
    limits: Limits,
}

impl<R: Read> Stream<R> {
    fn new(source: R, limits: &Limits) -> Result<Self, BundleError> {
        let counted = Counted {
            inner: source,
            count: 0,
        };
        let mut buffered = BufReader::with_capacity(CHUNK, counted);
        // A frame that is to be skipped, or of another version, would be taken as well.
        let begin = buffered.fill_buf().map_err(BundleError::Read)?;
        if !begin.starts_with(&MAGIC) {
            return Err(match MAGIC.starts_with(begin) {
                true => BundleError::CutOff,
                false => BundleError::Compression("it does not begin as a zstd frame does".to_owned()),
            });
        }
        let decoder = Decoder::with_buffer(buffered).map_err(|error| failed(&error))?;
        let mut decoder = decoder.single_frame();
        decoder.window_log_max(WINDOW_LOG).map_err(|error| failed(&error))?;
        Ok(Self {
            decoder,
            unpacked: 0,
            limits: *limits,
        })
    }

    /// At most as many bytes as `buffer` has; none at the end of the frame.
    fn some(&mut self, buffer: &mut [u8]) -> Result<usize, BundleError> {
        let read = loop {
            match self.decoder.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| failed(&error))?,
            }
        };
        self.unpacked = self.unpacked.saturating_add(read as u64);
        if self.unpacked > self.limits.unpacked {
            return Err(BundleError::TooLarge(self.limits.unpacked));
        }
        let packed = self.decoder.get_ref().get_ref().count;
        match self.limits.ratio {
            Some(ratio) if self.unpacked > packed.saturating_mul(ratio).saturating_add(FREE) => {
                Err(BundleError::Ratio(ratio))
            }
            _ => Ok(read),
        }
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), BundleError> {
        while !buffer.is_empty() {
            match self.some(buffer)? {
                0 => return Err(BundleError::CutOff),
                read => buffer = &mut buffer[read..],
            }
        }
        Ok(())
    }

    /// The digests of the next `size` bytes, and the bytes if they are to be kept.
    fn content(&mut self, size: u64, keep: bool) -> Result<(Digests, Option<Vec<u8>>), BundleError> {
        let mut hasher = DigestsHasher::new();
        // Grows with what is really there, not with what is said to be.
        let mut kept = keep.then(Vec::new);
        let mut buffer = vec![0; CHUNK];
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let part = &mut buffer[..most];
            self.fill(part)?;
            hasher.update(part);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(part);
            }
            left -= most as u64;
        }
        Ok((hasher.finish().0, kept))
    }

    fn padding(&mut self, size: u64, name: &str) -> Result<(), BundleError> {
        let mut block = [0; BLOCK];
        let padding = &mut block[..header::padding(size)];
        self.fill(padding)?;
        match padding.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(BundleError::Header {
                member: name.escape_debug().to_string(),
                difference: "is longer than its header says".to_owned(),
            }),
        }
    }

    /// The end of the archive is that of the frame, and that of the file.
    fn end(mut self) -> Result<(), BundleError> {
        let mut end = END;
        self.fill(&mut end)?;
        if end != END {
            let mut block = [0; BLOCK];
            block.copy_from_slice(&end[..BLOCK]);
            return Err(BundleError::Header {
                member: header::name_of(&block),
                difference: "is not in its list".to_owned(),
            });
        }
        // Reading on is also what makes the decoder compare the frame's checksum.
        if self.some(&mut [0])? > 0 {
            return Err(BundleError::Trailing);
        }
        let mut rest = self.decoder.finish();
        match rest.fill_buf().map_err(BundleError::Read)?.is_empty() {
            true => Ok(()),
            false => Err(BundleError::Trailing),
        }
    }
}

/// An error of the decoder: the file's, or of what is in it.
fn failed(error: &io::Error) -> BundleError {
    match (error.raw_os_error(), error.kind()) {
        (Some(code), _) => BundleError::Read(io::Error::from_raw_os_error(code)),
        (None, io::ErrorKind::UnexpectedEof) => BundleError::CutOff,
        (None, _) => BundleError::Compression(error.to_string()),
    }
}
