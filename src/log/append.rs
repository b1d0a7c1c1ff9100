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
use super::files::Files;
use super::name::{FileName, LogId};
use super::tree::{TILE_HEIGHT, TILE_WIDTH};
use super::watch::{Published, mark};
use super::working::{Found, LoggedRun, Working};
use super::{LOGS, LogError};
use crate::receipt::envelope::Envelope;
use crate::receipt::key::{PublicKey, SigningKey};
use crate::receipt::run_file::{MAX_RUN_FILE, split_lines};
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;
use crate::store::run_files::run_files;
use crate::store::{Store, StoreError};

/// What there is to append.
#[derive(Debug)]
pub enum News {
    /// The run published nothing. What one that died published is appended, but no log is begun: a run that does nothing
    /// writes nothing.
    Nothing,
    /// Something: the folder of runs is looked through.
    Something,
    /// One file. Nothing else is looked at if the folder was, before that, as the last append left it.
    Run(Published),
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
    /// How many files were read, written, looked for or met in a list in order to do it.
    pub files: u64,
}

/// Appends the receipts by `key` of every run in the folder `runs` that the log of this clone does not have. The workspace's
/// lock must be held.
///
/// # Errors
///
/// [`LogError`] if something cannot be read or written; the next append then does what is missing.
pub fn catch_up(store: &Store, runs: &Utf8Path, key: &SigningKey, news: &News) -> Result<Appended, LogError> {
    let folder = store.log_folder();
    let files = Files::default();
    files.touch();
    let (mut working, mut begun) = match (usable(Working::open(&folder)?, runs, &key.public(), &files), news) {
        (Ok(working), News::Nothing) if is_settled(&working, runs) => return Ok(Appended::default()),
        (Ok(working), _) => (working, None),
        (Err(_), News::Nothing) => return Ok(Appended::default()),
        (Err(old), _) => new_log(&folder, key, old)?,
    };
    let mut before = working.state.edge.size();
    match (append(&mut working, runs, news, key, &files), news) {
        (Err(LogError::Changed { .. }), News::Nothing) => return Ok(Appended::default()),
        (Err(LogError::Changed { .. }), _) => {
            let why = "its files are not as they were written";
            let head = Some(working.state.head());
            (working, begun) = new_log(&folder, key, GivenUp { why, head })?;
            before = 0;
            append(&mut working, runs, &News::Something, key, &files)?;
        }
        (other, _) => other?,
    }
    Ok(Appended {
        receipts: working.state.edge.size() - before,
        begun: begun.filter(|begun| begun.why != FIRST || has_other_logs(runs, &begun.log)),
        files: files.touched(),
    })
}

/// Why the log before is not gone on with, and where it was.
struct GivenUp {
    why: &'static str,
    head: Option<Head>,
}

/// Why a log is begun where there is no working copy; that is worth telling only where there are logs already.
const FIRST: &str = "there is no working copy (`.madmall/log`) of it here";

fn usable(found: Found, runs: &Utf8Path, key: &PublicKey, files: &Files) -> Result<Box<Working>, GivenUp> {
    let (why, head) = match found {
        Found::Here(working) if !working.is_of(key) => (
            "it is signed by another key, and a log has one key",
            Some(working.state.head()),
        ),
        Found::Here(working) if was_rolled_back(&working, runs, files) => {
            ("its working copy is older than the log", Some(working.state.head()))
        }
        Found::Here(working) => return Ok(working),
        Found::Unusable(why, head) => (why, head),
        Found::Nothing => (FIRST, None),
    };
    Err(GivenUp { why, head })
}

/// Whether nothing waits to be appended, and the folder of runs is as the last append left it.
fn is_settled(working: &Working, runs: &Utf8Path) -> bool {
    working.state.next.is_empty() && working.state.seen.is_some() && working.state.seen == Stamp::of_folder(runs).ok()
}

fn has_other_logs(runs: &Utf8Path, own: &LogId) -> bool {
    let names = runs.join(LOGS).read_dir_utf8().into_iter().flatten().flatten();
    let mut logs = names.filter_map(|entry| LogId::parse(entry.file_name()));
    logs.any(|log| log != *own)
}

fn new_log(folder: &Utf8Path, key: &SigningKey, old: GivenUp) -> Result<(Box<Working>, Option<Begun>), LogError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(LogError::Random)?;
    let log = LogId::of(random);
    // A log without an entry has no checkpoint that could be named.
    let head = old.head.filter(|head| head.size > 0);
    let working = Working::begin(folder, log.clone(), &key.public(), head)?;
    let why = old.why;
    Ok((Box::new(working), Some(Begun { log, why })))
}

/// Whether the log's own files go further than the working copy and what it was about to append: then it was put back from an
/// older copy, and to append would fork the log.
fn was_rolled_back(working: &Working, runs: &Utf8Path, files: &Files) -> bool {
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
    if files.is_there(&full) {
        return true;
    }
    let entries = Utf8PathBuf::from(format!("{full}.p")).read_dir_utf8();
    entries.into_iter().flatten().flatten().any(|entry| {
        files.touch();
        let width: Result<u64, _> = entry.file_name().parse();
        width.is_ok_and(|width| width > reach % TILE_WIDTH as u64)
    })
}

fn log_folder(runs: &Utf8Path, log: &LogId) -> Utf8PathBuf {
    runs.join(LOGS).join(log.to_string())
}

/// What is to be appended, and what the checkpoint will say of the rest.
pub(super) struct Scan {
    /// These come next, in this order; those first that an append which was cut short began with.
    pub(super) next: Vec<LoggedRun>,
    pub(super) absent: Vec<Absent>,
    /// The size since which full tiles may be missing in this working tree.
    pub(super) since: u64,
    /// The folder of runs when it was looked at, if every file in it was.
    pub(super) looked_at: Option<Stamp>,
}

fn append(
    working: &mut Working,
    runs: &Utf8Path,
    news: &News,
    key: &SigningKey,
    files: &Files,
) -> Result<(), LogError> {
    let scan = match one_run(working, runs, news, files) {
        Some(scan) => scan,
        None => whole_folder(working, runs, news, key, files)?,
    };
    if scan.next.is_empty() {
        return Ok(());
    }
    write(working, runs, scan, key, files)
}

/// Only the run that was just published is new, and all else is as the last append left it: the names in the folder of runs by
/// its times, and the files of the log if they have the last checkpoint (another branch has not, or has all the rest too).
fn one_run(working: &Working, runs: &Utf8Path, news: &News, files: &Files) -> Option<Scan> {
    let News::Run(published) = news else { return None };
    let state = &working.state;
    let size = state.edge.size();
    let is_as_left = state.next.is_empty() && state.seen.is_some() && state.seen == published.before;
    let checkpoint = FileName::Checkpoint { size };
    if !is_as_left || !files.is_there(&log_folder(runs, &state.log).join(checkpoint.path())) {
        return None;
    }
    Some(Scan {
        next: vec![published.to_logged()],
        absent: state.absent.clone(),
        since: size,
        looked_at: published.after,
    })
}

/// Looks through the folder of runs.
fn whole_folder(
    working: &Working,
    runs: &Utf8Path,
    news: &News,
    key: &SigningKey,
    files: &Files,
) -> Result<Scan, LogError> {
    let mut looked_at = Stamp::of_folder(runs).ok();
    let here = run_files(runs)?;
    here.iter().for_each(|_| files.touch());
    let Some(logged) = working.runs(files)? else {
        let path = working.kept().to_owned();
        return Err(LogError::Changed { path });
    };
    let mut next = working.state.next.clone();
    let known = logged.iter().map(|(file, _)| file.as_str());
    let known: HashSet<&str> = known.chain(next.iter().map(|run| run.file.as_str())).collect();
    let mut new = Vec::new();
    for file in here.iter().filter(|file| !known.contains(file.as_str())) {
        if let News::Run(published) = news
            && published.file == *file
        {
            new.push(published.to_logged());
            continue;
        }
        match own_receipts(&runs.join(file), key, files)? {
            Some(ids) => new.push(LoggedRun {
                file: file.clone(),
                ids,
            }),
            // It is looked at again by the next append.
            None => looked_at = None,
        }
    }
    next.extend(new);
    Ok(Scan {
        absent: absent(&logged, &next, &here),
        next,
        since: 0,
        looked_at,
    })
}

/// Appends what comes next, and remembers that it is done.
pub(super) fn write(
    working: &mut Working,
    runs: &Utf8Path,
    scan: Scan,
    key: &SigningKey,
    files: &Files,
) -> Result<(), LogError> {
    let Scan {
        next,
        absent,
        since,
        looked_at,
    } = scan;
    let ids: Vec<ReceiptId> = next.iter().flat_map(|run| run.ids.iter().copied()).collect();
    working.state.next = next;
    let mut edge = working.state.edge.clone();
    // Runs by others alone give no entry: they are not looked at again.
    if !ids.is_empty() {
        working.state.seen = None;
        working.save(files)?;
        for (name, bytes) in ids.into_iter().flat_map(|id| edge.push(id)).collect::<Vec<_>>() {
            files.write_once(&working.kept().join(name.path()), &bytes)?;
        }
        publish(working, &edge, runs, (since, &absent), key, files)?;
        working.state.absent = absent;
    }
    working.state.seen = looked_at.and_then(|looked_at| mark(runs, &looked_at));
    working.finish(edge, files)
}

/// Writes the tiles, then the checkpoint.
fn publish(
    working: &Working,
    edge: &Edge,
    runs: &Utf8Path,
    (since, absent): (u64, &[Absent]),
    key: &SigningKey,
    files: &Files,
) -> Result<(), LogError> {
    let folder = log_folder(runs, &working.state.log);
    files.restore(working.kept(), edge, &folder, since)?;
    for (name, bytes) in edge.partial() {
        files.write_once(&folder.join(name.path()), &bytes)?;
    }
    files.commit()?;
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
        absent: absent.to_vec(),
    };
    files.publish(&folder.join(name.path()), checkpoint, key)
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
fn own_receipts(path: &Utf8Path, key: &SigningKey, files: &Files) -> Result<Option<Vec<ReceiptId>>, LogError> {
    files.touch();
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
