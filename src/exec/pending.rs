//! The receipts of a run while it goes on, so that a run that is killed loses nothing that was finished.
//!
//! Each stage's envelope is appended to `.madmall/pending/<run id>.jsonl` before its outputs are put in place. When the run
//! ends, they go with the run's own receipt to `runs/<run id>.intoto.jsonl` in one rename, after everything that they name
//! was made durable. What a killed run left is published by the next one, with a run's receipt that says `interrupted`.
//! A torn last line is dropped, and so is a receipt whose outputs are not whole in the store, with those that rest on it:
//! after a loss of power the line may have reached the disk and the bytes not. Receipts of another run, and files that no run can
//! have left, are not published, and put aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Seek as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::attest::{RunRecord, StagesOfRun, run_statement};
use crate::receipt::check::is_run_id;
use crate::receipt::digests::artifact_digests;
use crate::receipt::envelope::{Envelope, Signed, sign};
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::{MAX_RUN_FILE, RUN_FILE_SUFFIX};
use crate::receipt::statement::{Made, Outcome, ReceiptId, Repository, Resource, Role, Statement};
use crate::store::{ASIDE, Store, StoreError, atomic, believed, read_file};

/// How the names of files of pending receipts end.
const SUFFIX: &str = ".jsonl";

/// The receipts of the run that is going on.
#[derive(Debug)]
pub struct Pending {
    path: Utf8PathBuf,
    file: Option<File>,
    lines: Vec<String>,
    ids: Vec<ReceiptId>,
    /// How long the file is when all that was added is whole.
    length: u64,
}

impl Pending {
    /// Those of the run `run`; no file is made before there is a receipt.
    #[must_use]
    pub fn of(store: &Store, run: &str) -> Self {
        Self {
            path: store.pending_folder().join(format!("{run}{SUFFIX}")),
            file: None,
            lines: Vec::new(),
            ids: Vec::new(),
            length: 0,
        }
    }

    /// Adds a receipt; when this returns, it survives the end of the process; once the file is synced, a loss of power.
    /// Gives the place of its line, from 0.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn append(&mut self, receipt: Signed) -> Result<usize, StoreError> {
        let failed = |source| StoreError::Write {
            path: self.path.clone(),
            source,
        };
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let folder = atomic::folder_of(&self.path);
                atomic::create_folder(folder)?;
                let file = File::create_new(&self.path).map_err(failed)?;
                atomic::sync_folder(folder)?;
                self.file.insert(file)
            }
        };
        let Signed { id, line, .. } = receipt;
        if let Err(source) = file.write_all(line.as_bytes()) {
            // A part of the line (the disk may be full) would spoil the one that comes after it.
            let _ = file.set_len(self.length);
            let _ = file.seek(io::SeekFrom::Start(self.length));
            return Err(failed(source));
        }
        self.length += line.len() as u64;
        self.lines.push(line);
        self.ids.push(id);
        Ok(self.lines.len() - 1)
    }

    /// Where they are, until they are published.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// Publishes the receipts, with that of the run as the last, under `runs`. Gives the file, and the receipts in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if that fails; the next run then publishes them as those of an interrupted run.
    pub fn publish(
        mut self,
        runs: &Utf8Path,
        run: &str,
        own: &Signed,
    ) -> Result<(Utf8PathBuf, Vec<ReceiptId>), StoreError> {
        let path = runs.join(format!("{run}{RUN_FILE_SUFFIX}"));
        let lines = self.lines.iter().chain([&own.line]).map(String::as_bytes);
        publish(runs, &path, lines)?;
        if self.file.is_some() {
            remove(&self.path)?;
        }
        self.ids.push(own.id);
        Ok((path, self.ids))
    }
}

/// What became of what runs that died have left pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The runs whose receipts are published now.
    pub runs: Vec<String>,
    /// Files with something that cannot be published, where they are kept now.
    pub aside: Vec<Utf8PathBuf>,
}

/// Publishes what runs that died have left pending. What is not what the run of its name can have left is signed by nobody, and put aside.
/// The workspace's lock must be held.
///
/// # Errors
///
/// [`StoreError`] if something cannot be read or written.
pub fn recover(store: &Store, runs: &Utf8Path, key: &SigningKey) -> Result<Recovered, StoreError> {
    let folder = store.pending_folder();
    let failed = |source| StoreError::Read {
        path: folder.clone(),
        source,
    };
    let mut recovered = Recovered::default();
    let entries = match folder.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(recovered),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.into_path();
        let Some(run) = path.file_name().and_then(|name| name.strip_suffix(SUFFIX)) else {
            continue;
        };
        let bytes = match read_file(&path, MAX_RUN_FILE) {
            Ok(bytes) if is_run_id(run) => bytes,
            Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(failed(error)),
            _ => {
                recovered.aside.push(put_aside(&path)?);
                continue;
            }
        };
        let published = runs.join(format!("{run}{RUN_FILE_SUFFIX}"));
        if published.exists() {
            remove(&path)?;
            continue;
        }
        let left = left_by(&bytes, run, store, key);
        let is_whole = left.is_whole;
        if let Some(bytes) = interrupted_run(left, run, key) {
            // A run that was published, and lost again with the power, may be another under the same name now.
            believed::forget_run(&store.believed_file(), run)?;
            atomic::remove_folder(&store.known_folder())?;
            publish(runs, &published, [&*bytes])?;
            recovered.runs.push(run.to_owned());
            if is_whole {
                remove(&path)?;
                continue;
            }
        } else if !bytes.contains(&b'\n') {
            remove(&path)?;
            continue;
        }
        // Whole lines that cannot be published are no reason to throw them away.
        recovered.aside.push(put_aside(&path)?);
    }
    Ok(recovered)
}

/// Renames what lies at `path` to a name that nothing has, under which nobody looks for receipts.
fn put_aside(path: &Utf8Path) -> Result<Utf8PathBuf, StoreError> {
    let stem = path.as_str().strip_suffix(SUFFIX).unwrap_or(path.as_str());
    let mut aside = Utf8PathBuf::from(format!("{stem}{ASIDE}"));
    let mut number = 1_u64;
    while aside.symlink_metadata().is_ok() {
        number += 1;
        aside = format!("{stem}{ASIDE}-{number}").into();
    }
    atomic::rename(path, &aside)?;
    Ok(aside)
}

fn publish<'b>(runs: &Utf8Path, path: &Utf8Path, lines: impl IntoIterator<Item = &'b [u8]>) -> Result<(), StoreError> {
    let attributes = runs.join(".gitattributes");
    if !attributes.exists() {
        // git must hand receipts on byte for byte, whatever the user's settings for line ends are.
        atomic::write(&attributes, b"* -text\n")?;
    }
    if path.exists() {
        // What lies under runs/ never changes.
        let source = io::Error::new(io::ErrorKind::AlreadyExists, "there is a run of this id already");
        return Err(StoreError::Write {
            path: path.to_owned(),
            source,
        });
    }
    atomic::write_parts(path, lines)
}

fn remove(path: &Utf8Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|source| StoreError::Write {
        path: path.to_owned(),
        source,
    })
}

/// What a run has left pending.
struct Left {
    /// Its receipts, each once.
    statements: Vec<(ReceiptId, Statement)>,
    /// Their lines.
    lines: Vec<u8>,
    /// Whether there were no receipts of another run among them.
    is_whole: bool,
}

/// What of `bytes` the run called `run` can have left: receipts of its stages by `key`, whose outputs are there.
fn left_by(bytes: &[u8], run: &str, store: &Store, key: &SigningKey) -> Left {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let whole = &bytes[..end];
    let mut left = Left {
        statements: Vec::new(),
        lines: Vec::new(),
        is_whole: true,
    };
    let mut seen = BTreeSet::new();
    let mut dropped = BTreeSet::new();
    for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A line that a crash has torn takes none of the others with it.
        let Ok(envelope) = Envelope::parse(line) else { continue };
        // Whoever can write here is not therefore somebody whose receipts this key vouches for.
        if envelope.verify_signature(&key.public()).is_err() {
            continue;
        }
        let Ok(statement) = Statement::parse(envelope.payload()) else {
            continue;
        };
        // A receipt that was copied from elsewhere would be signed for a second time, as one of a run that it is not of.
        let is_of_another = statement.predicate.run_details.metadata.invocation_id != run;
        if is_of_another || statement.stage().is_none() {
            left.is_whole = false;
            continue;
        }
        let id = envelope.receipt_id();
        if !seen.insert(id.to_string()) {
            continue;
        }
        if !is_founded(&statement, &dropped, store) {
            dropped.insert(id.to_string());
            continue;
        }
        left.statements.push((id, statement));
        left.lines.extend_from_slice(envelope.to_line().as_bytes());
        left.lines.push(b'\n');
    }
    left
}

/// The file of a run that was killed: what it has left, and a receipt that says so. `None` if it had finished nothing.
fn interrupted_run(left: Left, run: &str, key: &SigningKey) -> Option<Vec<u8>> {
    let Left {
        statements, mut lines, ..
    } = left;
    let (_, first) = statements.first()?;
    let parameters = first.predicate.build_definition.external_parameters.clone();
    let started = statements
        .iter()
        .map(|(_, s)| &s.predicate.run_details.metadata.started_on)
        .min()?
        .clone();
    let finished = statements
        .iter()
        .map(|(_, s)| &s.predicate.run_details.metadata.finished_on)
        .max()?
        .clone();
    let definitions: BTreeMap<String, Resource> = statements
        .iter()
        .flat_map(|(_, s)| &s.predicate.build_definition.resolved_dependencies)
        .filter(|resource| matches!(resource.annotations.madmall, Role::Definition {}))
        .map(|resource| (resource.name.clone(), resource.clone()))
        .collect();
    let made = merged_made(&statements, &definitions);
    let logs = first.internal().logs.clone();
    let mut stages = StagesOfRun::default();
    for (id, statement) in statements {
        if let Some(stage) = &statement.predicate.build_definition.external_parameters.stage {
            stages.add(&stage.name, id, statement.subject);
        }
    }
    let statement = run_statement(RunRecord {
        pipeline: &parameters.pipeline,
        pipeline_file: &parameters.pipeline_file,
        purpose: parameters.purpose.as_deref(),
        purposes: parameters.purposes.clone(),
        definitions: definitions.into_values().collect(),
        stages: vec![stages],
        outcome: Outcome::Interrupted,
        made,
        logs,
        times: (run.to_owned(), started, finished),
    });
    lines.extend_from_slice(sign(&statement, key).ok()?.line.as_bytes());
    Some(lines)
}

/// Whether what a receipt claims is there: its outputs whole in the store, and no receipt that it rests on was dropped.
fn is_founded(statement: &Statement, dropped: &BTreeSet<String>, store: &Store) -> bool {
    let is_stored = |subject: &Resource| match subject.role() {
        Role::Output { .. } => artifact_digests(subject).is_some_and(|digests| store.holds_whole(&digests)),
        // A log is of use, but nothing rests on it.
        _ => true,
    };
    let rests_on_dropped = |dependency: &Resource| match dependency.role() {
        Role::Input { receipt: Some(id), .. } => dropped.contains(id),
        _ => false,
    };
    statement.subject.iter().all(is_stored) && !statement.dependencies().iter().any(rests_on_dropped)
}

/// What the stages say of the commit, for the files that define the run: a file that no stage found in that commit counts
/// as differing (another one may have been checked out while the run went on).
fn merged_made(statements: &[(ReceiptId, Statement)], definitions: &BTreeMap<String, Resource>) -> Made {
    let Some((_, first)) = statements.first() else {
        return Made::without_commit(Repository::None);
    };
    let mut made = first.internal().made.clone();
    if made.commit.is_none() {
        return made;
    }
    let is_found = |definition: &Resource| {
        statements.iter().any(|(_, statement)| {
            let other = &statement.internal().made;
            other.commit == made.commit
                && statement.dependencies().contains(definition)
                && !other.differs.contains(&definition.name)
        })
    };
    let differs = definitions.values().filter(|definition| !is_found(definition));
    made.differs = differs.map(|definition| definition.name.clone()).collect();
    made
}
