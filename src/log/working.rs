//! The copy of the log that is appended to, `.madmall/log/`.
//!
//! ```text
//! head      which log, whose, where this folder is, the size, the hashes at the right edge, the append that is going on
//! runs      for each run file that was looked at, in order: its name and how many entries it gave; read only when the folder
//!           of runs is not as the last append left it
//! tile/     the full tiles, for a working tree that does not have them (another branch is checked out)
//! ```
//!
//! It is not rewound when branches are switched. What does not open, or lies elsewhere than it says, is given up: a new log is
//! begun, which names where the old one was.

use std::fs::{self, File};
use std::io::{self, Seek as _, SeekFrom, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::LogError;
use super::checkpoint::{Absent, Head};
use super::edge::Edge;
use super::files::Files;
use super::name::LogId;
use super::place::Place;
use crate::receipt::key::PublicKey;
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;
use crate::store::{StoreError, atomic, read_file};

const HEADER: &[u8] = b"madmall log v2\n";

/// No head is longer: it has an id of some 40 bytes for each receipt of the append that is going on.
const MAX_HEAD: u64 = 1 << 28;

/// A run file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LoggedRun {
    /// The file's name.
    pub(super) file: String,
    /// Its receipts that are in the log.
    pub(super) ids: Vec<ReceiptId>,
}

/// What `head` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// Which log.
    pub(super) log: LogId,
    /// The public key of who signs its checkpoints: a log has one key.
    key: [u8; 32],
    /// Where the working copy is.
    place: Place,
    /// The tree.
    pub(super) edge: Edge,
    /// The log that the first checkpoint names.
    pub(super) continues: Option<Head>,
    /// How many bytes of `runs` count.
    runs_length: u64,
    /// What the last checkpoint says of entries whose run files were not there.
    pub(super) absent: Vec<Absent>,
    /// The folder of runs as the last append left it, if every file in it was looked at.
    pub(super) seen: Option<Stamp>,
    /// The append that is going on: these come next, in this order.
    pub(super) next: Vec<LoggedRun>,
}

/// The working copy.
#[derive(Debug)]
pub(super) struct Working {
    folder: Utf8PathBuf,
    pub(super) state: State,
}

/// What is found when the working copy is opened.
#[derive(Debug)]
pub(super) enum Found {
    /// It is here and this is it.
    Here(Box<Working>),
    /// There is none.
    Nothing,
    /// It cannot be gone on with; why, and where it was, if that can be told.
    Unusable(&'static str, Option<Head>),
}

impl Working {
    /// Reads the head; what it costs does not depend on how long the log is.
    pub(super) fn open(folder: &Utf8Path) -> Result<Found, LogError> {
        let failed = |source| StoreError::Read {
            path: folder.to_owned(),
            source,
        };
        let head = folder.join("head");
        let bytes = match read_file(&head, MAX_HEAD) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(source) => return Err(StoreError::Read { path: head, source }.into()),
            Ok(bytes) => bytes,
        };
        let Some(state) = decode(&bytes) else {
            return Ok(Found::Unusable("its working copy was damaged", None));
        };
        let head = Some(state.head());
        let place = Place::of(&fs::metadata(folder).map_err(failed)?);
        if place != state.place {
            return Ok(Found::Unusable("its working copy was copied or restored", head));
        }
        let folder = folder.to_owned();
        Ok(Found::Here(Box::new(Self { folder, state })))
    }

    /// Begins a new log. What was kept of another is removed.
    pub(super) fn begin(
        folder: &Utf8Path,
        log: LogId,
        key: &PublicKey,
        continues: Option<Head>,
    ) -> Result<Self, LogError> {
        atomic::remove_folder(&folder.to_owned())?;
        atomic::create_folder(folder)?;
        let found = fs::metadata(folder).map_err(|source| StoreError::Read {
            path: folder.to_owned(),
            source,
        })?;
        let state = State {
            log,
            key: *key.as_bytes(),
            place: Place::of(&found),
            edge: Edge::default(),
            continues,
            runs_length: 0,
            absent: Vec::new(),
            seen: None,
            next: Vec::new(),
        };
        let folder = folder.to_owned();
        Ok(Self { folder, state })
    }

    /// Where the copy of a full tile or bundle is kept.
    pub(super) fn kept(&self) -> &Utf8Path {
        &self.folder
    }

    /// Whether it was begun with this key.
    pub(super) fn is_of(&self, key: &PublicKey) -> bool {
        self.state.key == *key.as_bytes()
    }

    /// Run files that were looked at, in order, and how many entries each gave; none if that was damaged.
    pub(super) fn runs(&self, files: &Files) -> Result<Option<Vec<(String, u64)>>, LogError> {
        let path = self.folder.join("runs");
        let text = match self.state.runs_length {
            0 => Vec::new(),
            _ if !files.is_there(&path) => return Ok(None),
            _ => files.read(&path)?,
        };
        Ok(parse_runs(&text, &self.state))
    }

    /// Makes the state durable, with the append that is going on.
    pub(super) fn save(&self, files: &Files) -> Result<(), LogError> {
        files.touch();
        let body = postcard::to_stdvec(&self.state).expect("plain data has an encoding");
        let sum = blake3::hash(&body);
        atomic::write(&self.folder.join("head"), &[HEADER, sum.as_bytes(), &body].concat())?;
        Ok(())
    }

    /// Remembers that the append is done, after its checkpoint is durable.
    pub(super) fn finish(&mut self, edge: Edge, files: &Files) -> Result<(), LogError> {
        files.touch();
        let path = self.folder.join("runs");
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        let done = std::mem::take(&mut self.state.next);
        let lines: String = done
            .iter()
            .map(|run| format!("{} {}\n", run.file, run.ids.len()))
            .collect();
        let mut file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        // What an append that was cut short left behind it does not count.
        file.set_len(self.state.runs_length).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.write_all(lines.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        self.state.runs_length += lines.len() as u64;
        self.state.edge = edge;
        self.save(files)
    }
}

impl State {
    /// Where the log is.
    pub(super) fn head(&self) -> Head {
        Head {
            log: self.log.clone(),
            size: self.edge.size(),
            root: self.edge.root(),
        }
    }
}

fn decode(bytes: &[u8]) -> Option<State> {
    let (sum, body) = bytes.strip_prefix(HEADER)?.split_at_checked(32)?;
    let state: State = (blake3::hash(body).as_bytes() == sum).then(|| postcard::from_bytes(body).ok())??;
    state.edge.is_sound().then_some(state)
}

/// None if the file does not have what the state says.
fn parse_runs(text: &[u8], state: &State) -> Option<Vec<(String, u64)>> {
    let counted = text.get(..usize::try_from(state.runs_length).ok()?)?;
    let text = std::str::from_utf8(counted).ok()?;
    let line = |line: &str| {
        let (file, count) = line.rsplit_once(' ')?;
        Some((file.to_owned(), count.parse().ok()?))
    };
    let runs: Option<Vec<(String, u64)>> = text.lines().map(line).collect();
    let is_whole = |runs: &Vec<(String, u64)>| {
        let entries = runs.iter().try_fold(0_u64, |sum, (_, count)| sum.checked_add(*count));
        entries == Some(state.edge.size())
    };
    runs.filter(is_whole)
}
