//! Appending: the receipts of the runs that the log does not have yet.
//!
//! In this order, each step durable before the next: which runs come next (in the working copy), the tiles, the checkpoint,
//! that it is done (in the working copy). A crash in between is repaired by the next append: it begins with the same runs in the
//! same order, so that tiles and checkpoints which are there already are prefixes of what is written then.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::checkpoint::{Absent, Checkpoint, Head};
use super::edge::Edge;
use super::name::{FileName, LogId};
use super::tree::{TILE_HEIGHT, TILE_WIDTH};
use super::working::{Found, LoggedRun, Working};
use super::{LOGS, LogError};
use crate::receipt::envelope::Envelope;
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::{MAX_RUN_FILE, split_lines};
use crate::receipt::statement::ReceiptId;
use crate::store::believed::run_files;
use crate::store::durable::Unsynced;
use crate::store::{Store, StoreError, atomic};

/// Whether a log may be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// If there is none that can be gone on with.
    IfNeeded,
    /// It may not: a run that does nothing writes nothing.
    Never,
}

/// A log that was begun although there was something before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which.
    pub log: LogId,
    /// Why none could be gone on with.
    pub why: &'static str,
}

/// What an append did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// How many receipts are new in the log.
    pub receipts: u64,
    /// If a new log was begun although there was something before it.
    pub begun: Option<Begun>,
}

/// Appends the receipts by `key` of every run in the folder `runs` that the log of this clone does not have. The workspace's
/// lock must be held.
///
/// # Errors
///
/// [`LogError`] if something cannot be read or written; the next append then does what is missing.
pub fn catch_up(store: &Store, runs: &Utf8Path, key: &SigningKey, begin: Begin) -> Result<Appended, LogError> {
    let folder = store.log_folder();
    let files = run_files(runs)?;
    let (mut working, mut begun) = match Working::open(&folder)? {
        Found::Here(working) if !was_rolled_back(&working, runs) => (working, None),
        _ if begin == Begin::Never => return Ok(Appended::default()),
        Found::Here(working) => new_log(
            &folder,
            "its working copy is older than the log",
            Some(working.state.head()),
        )?,
        Found::Unusable(why, head) => new_log(&folder, why, head)?,
        Found::Nothing => {
            let (working, begun) = new_log(&folder, "its working copy is gone", None)?;
            (working, begun.filter(|_| runs.join(LOGS).exists()))
        }
    };
    let before = working.state.edge.size();
    let appended = match append(&mut working, runs, &files, key) {
        Err(LogError::Changed { .. }) if begin == Begin::IfNeeded => {
            let head = Some(working.state.head());
            (working, begun) = new_log(&folder, "its files are not as they were written", head)?;
            append(&mut working, runs, &files, key)?;
            working.state.edge.size()
        }
        other => {
            other?;
            working.state.edge.size() - before
        }
    };
    Ok(Appended {
        receipts: appended,
        begun,
    })
}

fn new_log(folder: &Utf8Path, why: &'static str, old: Option<Head>) -> Result<(Working, Option<Begun>), LogError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(LogError::Random)?;
    let log = LogId::of(random);
    // A log without an entry has no checkpoint that could be named.
    let old = old.filter(|head| head.size > 0);
    let working = Working::begin(folder, log.clone(), old)?;
    Ok((working, Some(Begun { log, why })))
}

/// Whether the log's own files go further than the working copy and what it was about to append: then it was put back from an
/// older copy, and to append would fork the log.
fn was_rolled_back(working: &Working, runs: &Utf8Path) -> bool {
    let size = working.state.edge.size();
    let next: usize = working.state.next.iter().map(|run| run.ids.len()).sum();
    let reach = size + next as u64;
    let index = reach >> TILE_HEIGHT;
    let folder = log_folder(runs, &working.state.log);
    let full = FileName::Entries {
        index,
        width: TILE_WIDTH,
    };
    let full = folder.join(full.path());
    let widths = Utf8PathBuf::from(format!("{full}.p"));
    let is_beyond = |name: &str| name.parse().is_ok_and(|width: u64| width > reach % TILE_WIDTH as u64);
    let entries = widths.read_dir_utf8().into_iter().flatten().flatten();
    full.exists()
        || entries
            .map(|entry| entry.file_name().to_owned())
            .any(|name| is_beyond(&name))
}

fn log_folder(runs: &Utf8Path, log: &LogId) -> Utf8PathBuf {
    runs.join(LOGS).join(log.to_string())
}

fn append(working: &mut Working, runs: &Utf8Path, files: &[String], key: &SigningKey) -> Result<(), LogError> {
    let mut next = std::mem::take(&mut working.state.next);
    let known = working.runs.iter().map(|(file, _)| file.as_str());
    let known: HashSet<&str> = known.chain(next.iter().map(|run| run.file.as_str())).collect();
    let mut new = Vec::new();
    for file in files.iter().filter(|file| !known.contains(file.as_str())) {
        if let Some(ids) = own_receipts(&runs.join(file), key)? {
            let file = file.clone();
            new.push(LoggedRun { file, ids });
        }
    }
    if next.is_empty() && new.is_empty() {
        return Ok(());
    }
    next.extend(new);
    let absent = absent(&working.runs, &next, files);
    working.state.next = next;
    let mut edge = working.state.edge.clone();
    if working.state.next.iter().all(|run| run.ids.is_empty()) {
        // Only runs by others: they are not looked at again.
        return working.finish(edge);
    }
    working.save()?;
    let folder = log_folder(runs, &working.state.log);
    let unsynced = Unsynced::default();
    let ids = working.state.next.iter().flat_map(|run| &run.ids);
    for (name, bytes) in ids.flat_map(|id| edge.push(*id)).collect::<Vec<_>>() {
        write_once(&working.kept().join(name.path()), &bytes, &unsynced)?;
    }
    restore(working.kept(), &edge, &folder, &unsynced)?;
    for (name, bytes) in edge.partial() {
        write_once(&folder.join(name.path()), &bytes, &unsynced)?;
    }
    unsynced.commit()?;
    let is_first = working.state.edge.size() == 0;
    let head = Head {
        log: working.state.log.clone(),
        size: edge.size(),
        root: edge.root(),
    };
    let name = FileName::Checkpoint { size: head.size };
    let checkpoint = Checkpoint {
        head,
        continues: working.state.continues.clone().filter(|_| is_first),
        absent,
    };
    publish(&folder.join(name.path()), checkpoint, key)?;
    working.finish(edge)
}

/// A checkpoint that is there already is of an append that was cut short after it, and has the same root.
fn publish(path: &Utf8Path, checkpoint: Checkpoint, key: &SigningKey) -> Result<(), LogError> {
    if path.symlink_metadata().is_err() {
        return Ok(atomic::write(path, &checkpoint.sign(key).to_bytes())?);
    }
    let bytes = read(path)?;
    let published = super::checkpoint::SignedCheckpoint::parse(&bytes);
    match published.is_ok_and(|published| published.checkpoint.head == checkpoint.head) {
        true => Ok(()),
        false => Err(LogError::Changed { path: path.to_owned() }),
    }
}

/// Puts every full tile in place that this working tree does not have.
fn restore(kept: &Utf8Path, edge: &Edge, folder: &Utf8Path, unsynced: &Unsynced) -> Result<(), LogError> {
    let mut level = 0;
    let mut full = edge.size() >> TILE_HEIGHT;
    while full > 0 {
        for index in 0..full {
            let width = TILE_WIDTH;
            let tile = FileName::Tile { level, index, width };
            let entries = (level == 0).then_some(FileName::Entries { index, width });
            for name in [tile].into_iter().chain(entries) {
                let to = folder.join(name.path());
                if to.symlink_metadata().is_err() {
                    write_once(&to, &read(&kept.join(name.path()))?, unsynced)?;
                }
            }
        }
        level += 1;
        full >>= TILE_HEIGHT;
    }
    Ok(())
}

/// Writes a file that never changes: one that is there already must have the same bytes. Durable after `unsynced` is.
fn write_once(path: &Utf8Path, bytes: &[u8], unsynced: &Unsynced) -> Result<(), LogError> {
    match path.symlink_metadata() {
        Ok(found) if !found.is_file() || read(path)? != bytes => Err(LogError::Changed { path: path.to_owned() }),
        // Whoever wrote it may have died before it was durable.
        Ok(_) => {
            unsynced.add(path.to_owned());
            Ok(())
        }
        Err(_) => {
            let folders = path.ancestors().skip(1).take_while(|folder| !folder.exists());
            let new: Vec<Utf8PathBuf> = folders.map(Utf8Path::to_owned).collect();
            atomic::write_unsynced(path, bytes, unsynced)?;
            // A folder's name, too, may be lost after a crash although what is in it is safe.
            new.into_iter().for_each(|folder| unsynced.add(folder));
            Ok(())
        }
    }
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, LogError> {
    let bytes = fs::read(path).map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

/// The entries whose run files are not in the folder of runs now: another branch is checked out, or they were removed.
fn absent(logged: &[(String, u64)], next: &[LoggedRun], files: &[String]) -> Vec<Absent> {
    let here: BTreeSet<&str> = files.iter().map(String::as_str).collect();
    let next = next.iter().map(|run| (run.file.as_str(), run.ids.len() as u64));
    let all = logged.iter().map(|(file, count)| (file.as_str(), *count)).chain(next);
    let mut absent: Vec<Absent> = Vec::new();
    let mut first = 0;
    for (file, count) in all {
        if count > 0 && !here.contains(file) {
            match absent.last_mut().filter(|last| last.first + last.count == first) {
                Some(last) => last.count += count,
                None => absent.push(Absent { first, count }),
            }
        }
        first += count;
    }
    absent
}

/// The ids of the receipts in a run's file that `key` signed, in order; none if a line is no receipt (`verify` says what is
/// wrong with it, and it is looked at again by the next append).
fn own_receipts(path: &Utf8Path, key: &SigningKey) -> Result<Option<Vec<ReceiptId>>, LogError> {
    let failed = |source: io::Error| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let found = path.symlink_metadata().map_err(failed)?;
    if !found.is_file() || found.len() > MAX_RUN_FILE {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(MAX_RUN_FILE).read_to_end(&mut bytes).map_err(failed)?;
    let Ok(lines) = split_lines(&bytes) else {
        return Ok(None);
    };
    let public = key.public();
    let keyid = public.keyid();
    let mut ids = Vec::new();
    for line in lines {
        let Ok(envelope) = Envelope::parse(line) else {
            return Ok(None);
        };
        if envelope.keyid() != keyid {
            continue;
        }
        if envelope.verify_signature(&public).is_err() {
            return Ok(None);
        }
        ids.push(envelope.receipt_id());
    }
    Ok(Some(ids))
}
