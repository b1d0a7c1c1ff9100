//! The stages that come with madmall. The runner treats them as it treats programs, except that they run in its own
//! process, are identified by name and revision, and read their inputs where they lie.

pub mod featurize;
pub mod ingest;
pub(crate) mod partitions;
pub mod read_ahead;
pub mod room;
pub(crate) mod side_by_side;
pub mod train;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use self::read_ahead::ReadAhead;
use crate::consent::population::Population;
use crate::consent::purposes::Purposes;
use crate::consent::secret::ConsentSecret;
use crate::digest::Digest;
use crate::plan::ParamValue;

/// A stage that comes with madmall.
pub struct Builtin {
    /// Its name; `uses: madmall/<name>`.
    pub name: &'static str,
    /// Must grow when its output bytes for any input change. Golden tests guard it.
    pub revision: u32,
    /// Its definition, in the format of the files in `stages/`: inputs, outputs, parameters with types and defaults.
    pub definition: &'static str,
    /// Whether its output depends on the pipeline's purpose, which it then must have.
    pub needs_purpose: bool,
    /// Runs it.
    pub run: fn(&mut StageContext<'_>) -> Result<(), StageError>,
}

/// All that a built-in stage can see and do. It writes to the paths of its outputs, which do not exist yet and whose
/// folders do; what it leaves there when it fails is thrown away.
pub struct StageContext<'a> {
    /// The pipeline's purpose.
    pub purpose: Option<&'a str>,
    /// The purposes that the project has.
    pub purposes: &'a Purposes,
    /// For each declared input, the files to read, in order: one for a file, any number for a folder or a glob.
    pub inputs: BTreeMap<&'a str, Vec<InputFile>>,
    /// For each declared output, the file to write. An optional output that the pipeline does not name is absent.
    pub outputs: BTreeMap<&'a str, Utf8PathBuf>,
    /// Outputs that are an input file, byte for byte, and that the stage therefore does not write: it says so here, and the
    /// runner takes the bytes of that file.
    pub passed_on: BTreeMap<String, PassedOn>,
    /// Of an ingest: the consent that outputs carry, by their names, as words of [`crate::consent::purposes`]. Those of any other
    /// stage carry that of its inputs.
    pub consents: BTreeMap<String, String>,
    /// The secret that the tokens of events are keyed by, if there is one.
    pub secret: Option<&'a ConsentSecret>,
    /// Which events the stage has let in, if it is an ingest and there is a secret. The file lies in the scratch folder.
    pub population: Option<Population>,
    /// Of an ingest: what the stage that reads its events wants of their lines. Of a featurize: what was read for it.
    pub read_ahead: Option<&'a ReadAhead>,
    /// A folder for files that are of no use once the stage has ended, on the disk that its outputs are on.
    pub scratch: Utf8PathBuf,
    /// Every parameter of the definition.
    pub params: &'a BTreeMap<String, ParamValue>,
    /// How many threads to use at most. No output byte may depend on it.
    pub threads: usize,
    /// The stage's log: what a program would write to its standard error.
    pub log: &'a mut dyn Write,
    /// Told now and then how far the stage is.
    pub progress: &'a dyn Fn(Progress),
    /// Set when the user interrupts; a long loop asks [`StageContext::check_cancelled`].
    pub cancelled: &'a AtomicBool,
}

/// A file of an input.
#[derive(Clone, Debug)]
pub struct InputFile {
    /// Where to read it.
    pub absolute: Utf8PathBuf,
    /// How to name it in messages: its path in the workspace.
    pub name: Utf8PathBuf,
    /// The BLAKE3 of its bytes, by what the stage's action says; none if it is not part of an action. A stage that reads other
    /// bytes gives [`StageError::InputChanged`].
    pub digest: Option<Digest>,
}

impl InputFile {
    /// Whether the bytes that were read, whose BLAKE3 is `read`, are those that the action is about.
    ///
    /// # Errors
    ///
    /// [`StageError::InputChanged`] if not.
    pub fn check_read(&self, read: Digest) -> Result<(), StageError> {
        match self.digest {
            Some(expected) if expected != read => Err(StageError::InputChanged {
                path: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// An output that is an input file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOn {
    /// The file's path in the workspace.
    pub file: Utf8PathBuf,
    /// The BLAKE3 of its bytes, as the stage has read all of them.
    pub read: Digest,
}

impl StageContext<'_> {
    /// Ends the stage if the user has interrupted.
    ///
    /// # Errors
    ///
    /// [`StageError::Cancelled`] if so.
    pub fn check_cancelled(&self) -> Result<(), StageError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(StageError::Cancelled);
        }
        Ok(())
    }

    /// The one file of the input `name`, or `None` if the pipeline does not name it.
    ///
    /// # Errors
    ///
    /// [`StageError::Refused`] if it has several files.
    pub fn input(&self, name: &str) -> Result<Option<&InputFile>, StageError> {
        match self.inputs.get(name).map(Vec::as_slice) {
            None => Ok(None),
            Some([file]) => Ok(Some(file)),
            Some(files) => Err(StageError::Refused(Refusal {
                summary: format!("input `{name}` must be one file; it is {} files", files.len()),
                ..Refusal::default()
            })),
        }
    }

    /// Where to write the output `name`, or `None` if the pipeline does not name it.
    #[must_use]
    pub fn output(&self, name: &str) -> Option<&Utf8Path> {
        self.outputs.get(name).map(Utf8PathBuf::as_path)
    }
}

/// How far a stage is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What is counted.
    pub unit: Unit,
    /// How many are done.
    pub done: u64,
    /// Of how many, if that is known.
    pub total: Option<u64>,
}

/// What progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes read.
    Bytes,
    /// Bytes read of lines that are events.
    Events {
        /// So many were found in them.
        events: u64,
        /// So many of these are invalid.
        faults: u64,
    },
    /// Bytes read again, to be written.
    Written,
    /// Rows of a table.
    Rows,
    /// Steps of a solver.
    Steps,
}

/// Why a built-in stage did not finish.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The input or the parameters are not acceptable (fail closed): exit code 2.
    #[error("{}", .0.summary)]
    Refused(Refusal),
    /// A file could not be read or written: exit code 7.
    #[error("cannot {verb} `{path}`")]
    Io {
        /// `read` or `write`.
        verb: &'static str,
        /// As named to the user.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An input file is not what it was when the action was made, or when it was read first.
    #[error("`{path}` changed while it was read; run again")]
    InputChanged {
        /// Its path in the workspace.
        path: Utf8PathBuf,
    },
    /// The user interrupted.
    #[error("interrupted")]
    Cancelled,
}

/// A stage's refusal: one line, then what exactly and where, a line each, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// One line.
    pub summary: String,
    /// For ingest: `data/raw/x.ndjson:5000: /payload/label: is not of type "null" or "string" [type]`; never a value.
    pub details: Vec<String>,
    /// How many details there are beside those that are listed.
    pub unlisted: u64,
    /// What to do, if the summary does not say it.
    pub help: Option<String>,
    /// Whether it is only that something is not at hand here, the consent secret: it then says nothing of the input.
    pub is_for_lack: bool,
}

impl Refusal {
    /// A refusal that one line says all about.
    #[must_use]
    pub fn of(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            ..Self::default()
        }
    }
}

/// The built-in stage of that name (`ingest`, without `madmall/`).
#[must_use]
pub fn builtin(name: &str) -> Option<&'static Builtin> {
    BUILTINS.iter().find(|builtin| builtin.name == name)
}

/// Every stage that comes with madmall.
pub const BUILTINS: &[Builtin] = &[ingest::BUILTIN, featurize::BUILTIN, train::BUILTIN];
