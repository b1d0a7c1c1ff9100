//! The tokens that a root stands for, on disk.
//!
//! ```text
//! .madmall/populations/<root, 64 hexadecimal digits>
//!   `madmall population v1`, a line end, `t` or `s`, a line end      24 bytes
//!   the tokens in order, 32 bytes each; with `s` each with the token of its person, 64 bytes
//!   256 subtrees, of the tokens that begin with 0, 1, … 255          33 bytes each: 0 nothing, 1 a token, 2 a hash
//!   the number of tokens, big-endian                                 8 bytes
//!   the BLAKE3 of all before                                         32 bytes
//! ```
//!
//! Whatever is read is checked: the subtrees by the root that the file is named for, the tokens that begin with one byte by their
//! subtree. So a token is looked up, or its path made, by reading a 256th of them.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::map::{Map, MapBuilder, Path, Root, SUBTREE_BYTES};
use super::secret::SecretId;
use super::token::{SubjectToken, Token};
use crate::store::Store;

const VERSION: &[u8] = b"madmall population v1\n";
const HEADER: usize = VERSION.len() + 2;
const TRAILER: usize = SUBTREE_BYTES + 8 + 32;

/// Which events a stage let in, in a file that is not yet where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Population {
    /// What the set of their tokens is known by.
    pub root: Root,
    /// How many they are.
    pub size: u64,
    /// What the tokens are keyed by.
    pub secret: SecretId,
    /// The file.
    pub file: Utf8PathBuf,
}

/// Whether the tokens of persons stand beside those of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// They do not.
    Tokens,
    /// They do.
    WithSubjects,
}

impl Form {
    const fn code(self) -> u8 {
        match self {
            Self::Tokens => b't',
            Self::WithSubjects => b's',
        }
    }

    const fn record(self) -> usize {
        match self {
            Self::Tokens => 32,
            Self::WithSubjects => 64,
        }
    }
}

/// Why tokens cannot be read. Exit code 7.
#[derive(Debug, thiserror::Error)]
pub enum PopulationError {
    /// The file.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not what its name says.
    #[error("`{path}` is damaged: {what}")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// In which way.
        what: &'static str,
    },
}

/// So many bytes are hashed at once: BLAKE3 is several times as quick with many as with few.
const PIECE: usize = 1 << 18;

/// Writes a file of tokens that come in order.
pub struct PopulationWriter {
    file: BufWriter<File>,
    hasher: blake3::Hasher,
    form: Form,
    map: MapBuilder,
}

impl PopulationWriter {
    /// Begins the file `path`.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub fn create(path: &Utf8Path, form: Form) -> io::Result<Self> {
        let mut writer = Self {
            file: BufWriter::with_capacity(PIECE, File::create(path)?),
            hasher: blake3::Hasher::new(),
            form,
            map: MapBuilder::default(),
        };
        writer.put(VERSION)?;
        writer.put(&[form.code(), b'\n'])?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }

    /// Adds tokens that come in order and after those before: what `of` finds in each of `records`, a token, and that of its person if
    /// the form has such. All cores take part.
    ///
    /// # Errors
    ///
    /// Whatever writing gives; [`io::ErrorKind::InvalidInput`] if a token is out of order, or the form another.
    pub fn extend<R: Sync>(
        &mut self,
        records: &[R],
        of: impl Fn(&R) -> (Token, Option<SubjectToken>) + Sync,
    ) -> io::Result<()> {
        let wrong = |what: &'static str| io::Error::new(io::ErrorKind::InvalidInput, what);
        let Self {
            file,
            hasher,
            form,
            map,
        } = self;
        let put_all = || {
            let mut piece = Vec::with_capacity(PIECE + 64);
            for record in records {
                let (token, subject) = of(record);
                piece.extend_from_slice(token.as_bytes());
                match (*form, subject) {
                    (Form::Tokens, None) => {}
                    (Form::WithSubjects, Some(subject)) => piece.extend_from_slice(subject.as_bytes()),
                    _ => return Err(wrong("a token stands without its person's, or with it")),
                }
                if piece.len() >= PIECE {
                    hasher.update(&piece);
                    file.write_all(&piece)?;
                    piece.clear();
                }
            }
            hasher.update(&piece);
            file.write_all(&piece)
        };
        let (added, put) = rayon::join(|| map.extend(records, |record| of(record).0), put_all);
        added.map_err(|_| wrong("a token is out of order"))?;
        put
    }

    /// Ends the file. It is durable when it was synced.
    ///
    /// # Errors
    ///
    /// Whatever writing gives.
    pub fn finish(mut self) -> io::Result<(Root, u64)> {
        let map = std::mem::take(&mut self.map).finish();
        self.put(&map.subtrees_to_bytes())?;
        self.put(&map.size().to_be_bytes())?;
        self.file.write_all(self.hasher.finalize().as_bytes())?;
        self.file.flush()?;
        Ok((map.root(), map.size()))
    }
}

/// A file of tokens that is kept.
#[derive(Debug)]
pub struct KeptPopulation {
    path: Utf8PathBuf,
    file: File,
    form: Form,
    map: Map,
}

impl KeptPopulation {
    /// Where the tokens of `root` are kept in `store`.
    #[must_use]
    pub fn place(store: &Store, root: Root) -> Utf8PathBuf {
        store.populations_folder().join(root.to_hex())
    }

    /// Opens the tokens of `root`, if `store` has them.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if it has, and they cannot be read or are others.
    pub fn open(store: &Store, root: Root) -> Result<Option<Self>, PopulationError> {
        let path = Self::place(store, root);
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            _ => Self::open_file(&path, root).map(Some),
        }
    }

    /// Opens the file `path`, which must hold the tokens of `root`.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if it cannot be read or holds others.
    pub fn open_file(path: &Utf8Path, root: Root) -> Result<Self, PopulationError> {
        let failed = |source| PopulationError::Read {
            path: path.to_owned(),
            source,
        };
        let damaged = |what| PopulationError::Damaged {
            path: path.to_owned(),
            what,
        };
        if !path.symlink_metadata().map_err(failed)?.is_file() {
            return Err(damaged("it is no file"));
        }
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let records = length
            .checked_sub((HEADER + TRAILER) as u64)
            .ok_or_else(|| damaged("it is too short"))?;
        let mut header = [0; HEADER];
        file.read_exact(&mut header).map_err(failed)?;
        let form = [Form::Tokens, Form::WithSubjects]
            .into_iter()
            .find(|form| header.strip_prefix(VERSION) == Some(&[form.code(), b'\n']));
        let form = form.ok_or_else(|| damaged("it does not begin as such a file does"))?;
        let mut trailer = vec![0; TRAILER];
        file.seek(SeekFrom::Start(HEADER as u64 + records)).map_err(failed)?;
        file.read_exact(&mut trailer).map_err(failed)?;
        let (subtrees, rest) = trailer.split_at(SUBTREE_BYTES);
        let size = rest.first_chunk().map(|size| u64::from_be_bytes(*size));
        let size = size.filter(|size| size.checked_mul(form.record() as u64) == Some(records));
        let size = size.ok_or_else(|| damaged("it has not as many tokens as it says"))?;
        let map = Map::of_subtrees(size, subtrees).filter(|map| map.root() == root);
        Ok(Self {
            map: map.ok_or_else(|| damaged("its tokens are not those that its name says"))?,
            path: path.to_owned(),
            file,
            form,
        })
    }

    /// How many tokens there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.map.size()
    }

    /// Whether the tokens of persons stand beside those of events.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Whether `token` is among them.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if that cannot be read, or is damaged.
    pub fn contains(&self, token: &Token) -> Result<bool, PopulationError> {
        Ok(self.alike(token)?.binary_search(token).is_ok())
    }

    /// The path that shows whether `token` is among them.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if that cannot be read, or is damaged.
    pub fn path(&self, token: &Token) -> Result<Path, PopulationError> {
        Ok(self.map.path(token, self.alike(token)?))
    }

    /// Gives each token to `take`, in order, with that of its person. Nothing may be done with them before all of them were given:
    /// only then it is known that the file is whole.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if the file cannot be read, or is damaged.
    pub fn each(&self, mut take: impl FnMut(Token, Option<SubjectToken>)) -> Result<(), PopulationError> {
        let failed = |source| self.failed(source);
        (&self.file).seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut reader = BufReader::with_capacity(1 << 18, &self.file);
        let mut hasher = blake3::Hasher::new();
        let mut header = [0; HEADER];
        reader.read_exact(&mut header).map_err(failed)?;
        hasher.update(&header);
        let mut map = MapBuilder::default();
        let mut record = vec![0; self.form.record()];
        for _ in 0..self.size() {
            reader.read_exact(&mut record).map_err(failed)?;
            hasher.update(&record);
            let (token, subject) = record.split_at(32);
            let token = Token::from_bytes(bytes_of(token));
            map.push(token)
                .map_err(|_| self.damaged("its tokens are not in order"))?;
            take(
                token,
                (!subject.is_empty()).then(|| SubjectToken::from_bytes(bytes_of(subject))),
            );
        }
        let mut trailer = vec![0; TRAILER];
        reader.read_exact(&mut trailer).map_err(failed)?;
        hasher.update(&trailer[..TRAILER - 32]);
        let is_whole = map.finish() == self.map && trailer[TRAILER - 32..] == *hasher.finalize().as_bytes();
        match is_whole {
            true => Ok(()),
            false => Err(self.damaged("its bytes are not those that were written")),
        }
    }

    /// The token of the person that the event with `token` came from, if it is among them and persons are known. Reads all of them.
    ///
    /// # Errors
    ///
    /// [`PopulationError`] if they cannot be read, or are damaged.
    pub fn subject_of(&self, token: &Token) -> Result<Option<SubjectToken>, PopulationError> {
        let mut found = None;
        self.each(|other, subject| {
            if other == *token {
                found = subject;
            }
        })?;
        Ok(found)
    }

    /// The tokens that begin with the same byte as `token`.
    fn alike(&self, token: &Token) -> Result<Vec<Token>, PopulationError> {
        let byte = token.as_bytes()[0];
        let begin = self.first_from(u16::from(byte))?;
        let count = self.first_from(u16::from(byte) + 1)?.saturating_sub(begin);
        self.seek(begin)?;
        let mut reader = BufReader::with_capacity(1 << 16, &self.file);
        let mut tokens = Vec::new();
        let mut record = vec![0; self.form.record()];
        for _ in 0..count {
            reader.read_exact(&mut record).map_err(|source| self.failed(source))?;
            tokens.push(Token::from_bytes(bytes_of(&record[..32])));
        }
        match self.map.has_subtree(byte, &tokens) {
            true => Ok(tokens),
            false => Err(self.damaged("its tokens are not those that its name says")),
        }
    }

    /// The place of the first token that does not begin with a byte below `byte`.
    fn first_from(&self, byte: u16) -> Result<u64, PopulationError> {
        let (mut low, mut high) = (0, self.size());
        while low < high {
            let middle = low + (high - low) / 2;
            self.seek(middle)?;
            let mut first = [0];
            (&self.file)
                .read_exact(&mut first)
                .map_err(|source| self.failed(source))?;
            match u16::from(first[0]) < byte {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    fn seek(&self, place: u64) -> Result<(), PopulationError> {
        let offset = HEADER as u64 + place * self.form.record() as u64;
        let sought = (&self.file).seek(SeekFrom::Start(offset));
        sought.map(drop).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> PopulationError {
        PopulationError::Read {
            path: self.path.clone(),
            source,
        }
    }

    fn damaged(&self, what: &'static str) -> PopulationError {
        PopulationError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

/// The first 32 bytes of a slice that has as many.
fn bytes_of(slice: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(&slice[..32]);
    bytes
}

#[cfg(test)]
mod tests;
