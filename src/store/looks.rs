//! What a run looked at in order to decide: the same looks again, with the same answers, give the same decision.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::stat_cache::{Stamp, hash_stamped};
use crate::digest::Digest;
use crate::tree::{EntryKind, Tree, TreeError};
use crate::workspace::walk::Below;
use crate::workspace::{Workspace, kind_of};

/// What was found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seen {
    /// Nothing.
    Absent,
    /// A file or a folder; what is in it was not looked at.
    Entry(Stamp),
    /// The same, and the path is its real one: no link leads to it. Whether it is a folder.
    Plain(Stamp, bool),
    /// A file that was read.
    File(Stamp, Digest),
    /// A folder whose names were listed.
    Folder(Stamp),
}

impl Seen {
    /// How much of it was looked at.
    fn depth(&self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Entry(_) | Self::Plain(..) => 1,
            Self::File(..) | Self::Folder(_) => 2,
        }
    }

    /// Whether both can be true of one path at the same time.
    fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(one, is_folder), Self::Plain(two, other)) => one.is_same_entry(two) && is_folder == other,
            (Self::Entry(one) | Self::Plain(one, _), other) | (other, Self::Entry(one) | Self::Plain(one, _)) => {
                other.stamp().is_some_and(|two| one.is_same_entry(two))
            }
            (one, other) => one == other,
        }
    }

    fn stamp(&self) -> Option<&Stamp> {
        match self {
            Self::Absent => None,
            Self::Entry(stamp) | Self::Plain(stamp, _) | Self::File(stamp, _) | Self::Folder(stamp) => Some(stamp),
        }
    }

    /// Whether a look at `path` shows the same.
    #[must_use]
    pub fn is_still_at(&self, path: &Utf8Path, rigour: Rigour) -> bool {
        match self {
            Self::Absent => matches!(Stamp::of_entry(path), Ok(None)),
            Self::Entry(stamp) => {
                Stamp::of_entry(path).is_ok_and(|now| now.is_some_and(|now| now.is_same_entry(stamp)))
            }
            Self::Plain(stamp, is_folder) => {
                plain_at(path).is_some_and(|(now, is_now)| is_now == *is_folder && now.is_same_entry(stamp))
            }
            Self::Folder(stamp) => Stamp::of_folder(path).is_ok_and(|now| now == *stamp),
            Self::File(stamp, digest) => match rigour {
                Rigour::Stamps => Stamp::of(path).is_ok_and(|now| now == *stamp),
                Rigour::EveryByte => has_bytes(path, stamp, digest).unwrap_or(false),
            },
        }
    }

    /// What is at `path` now, if a pipeline that is resolved with it comes out the same: of what was not read, another file in the
    /// same place does as well. (That its folders are the same is a look of its own.)
    #[must_use]
    pub fn resolves_alike_at(&self, path: &Utf8Path) -> Option<Self> {
        match self {
            Self::Plain(stamp, false) => {
                let (now, is_folder) = plain_at(path)?;
                let is_alike = !is_folder && now.is_executable() == stamp.is_executable();
                is_alike.then_some(Self::Plain(now, false))
            }
            other => other.is_still_at(path, Rigour::Stamps).then_some(*other),
        }
    }
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rigour {
    /// Stamps vouch for files.
    Stamps,
    /// Every file is hashed again.
    EveryByte,
}

/// The file or folder at `path`, and whether it is a folder; `None` if it is neither, as a link is.
fn plain_at(path: &Utf8Path) -> Option<(Stamp, bool)> {
    let found = path.symlink_metadata().ok()?;
    (found.is_file() || found.is_dir()).then(|| (Stamp::from_metadata(&found), found.is_dir()))
}

/// A file up to this size is read at once.
const SMALL: u64 = 1 << 20;

/// Whether the file at `path` has these bytes, and may be executed as it might.
fn has_bytes(path: &Utf8Path, stamp: &Stamp, digest: &Digest) -> io::Result<bool> {
    let now = Stamp::of(path)?;
    if now.size() != stamp.size() || now.is_executable() != stamp.is_executable() {
        return Ok(false);
    }
    if now.size() > SMALL {
        return Ok(hash_stamped(path)?.digests.blake3 == *digest);
    }
    let mut bytes = vec![0; usize::try_from(now.size()).unwrap_or(0)];
    File::open(path)?.read_exact(&mut bytes)?;
    Ok(Digest::of(&bytes) == *digest)
}

/// A look: what was seen, and when.
type Look = (Seen, SystemTime);

/// Collects looks, from whatever thread.
#[derive(Debug, Default)]
pub struct Looks {
    /// By path; `None` once something was seen that cannot be vouched for.
    seen: Mutex<Option<HashMap<Box<str>, Look>>>,
}

impl Looks {
    /// Nothing was looked at yet.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            seen: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Notes what was seen at `path` (relative to the workspace, or absolute) at the time `at`, before it was used.
    pub fn note(&self, path: &Utf8Path, seen: Seen, at: SystemTime) {
        self.note_all([(path, seen)], at);
    }

    /// Notes all that was seen, each at its path, at the time `at`.
    fn note_all<'p>(&self, all: impl IntoIterator<Item = (&'p Utf8Path, Seen)>, at: SystemTime) {
        let mut guard = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(looks) = guard.as_mut() else { return };
        let all = all.into_iter();
        let (least, most) = all.size_hint();
        looks.reserve(most.unwrap_or(least));
        for (path, seen) in all {
            match looks.get_mut(path.as_str()) {
                None => drop(looks.insert(path.as_str().into(), (seen, at))),
                Some((before, when)) if before.agrees_with(&seen) => {
                    // The later look at the same bytes is the one that vouches: by then a change would have left a trace.
                    if seen.depth() >= before.depth() {
                        (*before, *when) = (seen, at);
                    }
                }
                // It changed meanwhile.
                Some(_) => {
                    *guard = None;
                    return;
                }
            }
        }
    }

    /// Notes that the names in `folder` are about to be listed, if there is such a folder.
    pub fn note_folder(&self, workspace: &Workspace, folder: &Utf8Path) {
        let at = SystemTime::now();
        match Stamp::of_folder(&workspace.absolute(folder)) {
            Ok(stamp) => self.note(folder, Seen::Folder(stamp), at),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.note(folder, Seen::Absent, at),
            Err(_) => self.give_up(),
        }
    }

    /// Something was seen that cannot be vouched for: these looks decide nothing.
    pub fn give_up(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes looks that hold now: what others have seen, as if it had been seen here at the time `at`. With none, it is given up.
    pub fn adopt(&self, looks: Option<&[(Utf8PathBuf, Seen)]>, at: SystemTime) {
        match looks {
            Some(looks) => self.note_all(looks.iter().map(|(path, seen)| (path.as_path(), *seen)), at),
            None => self.give_up(),
        }
    }

    /// All looks, sorted by path; `None` if one of them cannot be vouched for.
    #[must_use]
    pub fn into_settled(self) -> Option<Vec<(Utf8PathBuf, Seen)>> {
        let looks = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        let is_fresh = |(seen, at): &Look| match seen {
            Seen::File(stamp, _) | Seen::Folder(stamp) => stamp.is_fresh(*at),
            Seen::Absent | Seen::Entry(_) | Seen::Plain(..) => false,
        };
        if looks.values().any(is_fresh) {
            return None;
        }
        let mut looks: Vec<(Box<str>, Seen)> = looks.into_iter().map(|(path, (seen, _))| (path, seen)).collect();
        looks.par_sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let owned = |(path, seen): (Box<str>, Seen)| (String::from(path).into(), seen);
        Some(looks.into_iter().map(owned).collect())
    }
}

/// A workspace, and what is looked at in it.
pub struct Watched<'a> {
    workspace: &'a Workspace,
    looks: &'a Looks,
    /// Folders, and whether each is where its path says, with no link on the way.
    folders: RefCell<HashMap<Utf8PathBuf, bool>>,
    /// Files that walks have found where their paths say, noted already.
    listed: RefCell<Listed>,
}

/// Files that walks have found. Mostly they are asked for one after the other, as they were found.
#[derive(Debug, Default)]
struct Listed {
    /// For each walk, sorted by their bytes.
    walks: Vec<Vec<Utf8PathBuf>>,
    /// Of the last, which is asked for next.
    next: usize,
}

impl Listed {
    fn add(&mut self, files: Vec<Utf8PathBuf>) {
        self.walks.push(files);
        self.next = 0;
    }

    fn has(&mut self, path: &Utf8Path) -> bool {
        let expected = self.walks.last().and_then(|files| files.get(self.next));
        if expected.is_some_and(|expected| expected.as_str() == path.as_str()) {
            self.next += 1;
            return true;
        }
        let is_in = |files: &Vec<Utf8PathBuf>| files.binary_search_by(|file| file.as_str().cmp(path.as_str())).is_ok();
        self.walks.iter().any(is_in)
    }
}

impl<'a> Watched<'a> {
    /// The workspace for as long as a pipeline is resolved; what is seen is noted in `looks`.
    #[must_use]
    pub fn new(workspace: &'a Workspace, looks: &'a Looks) -> Self {
        Self {
            workspace,
            looks,
            folders: RefCell::default(),
            listed: RefCell::default(),
        }
    }

    /// What stands at `path`, noted, if it is no link and none is on the way: one look then tells all. `None` if more must be
    /// asked.
    fn plain(&self, path: &Utf8Path) -> Option<Option<Metadata>> {
        // Elsewhere a file has more spellings than one, and only the system knows which is the real one.
        if !cfg!(target_os = "linux") || !self.is_plain(path.parent()?) {
            return None;
        }
        let at = SystemTime::now();
        match self.workspace.absolute(path).symlink_metadata() {
            Ok(found) if found.is_file() || found.is_dir() => {
                let seen = Seen::Plain(Stamp::from_metadata(&found), found.is_dir());
                self.looks.note(path, seen, at);
                Some(Some(found))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.looks.note(path, Seen::Absent, at);
                Some(None)
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// Notes the files of a walk that began at the time `at`, but for links, if none is on the way to them: what was asked of them
    /// tells all.
    fn note_plain<'f>(&self, found: &'f [Below], at: SystemTime) {
        if !cfg!(target_os = "linux") {
            return;
        }
        fn folder_of(below: &Below) -> Option<&str> {
            below.path.parent().map(Utf8Path::as_str)
        }
        let mut listed = Vec::new();
        for siblings in found.chunk_by(|a, b| folder_of(a) == folder_of(b)) {
            if !folder_of(&siblings[0]).is_some_and(|folder| self.is_plain(Utf8Path::new(folder))) {
                continue;
            }
            let file = |below: &'f Below| {
                let found = below.found.as_ref().filter(|found| found.is_file())?;
                Some((below.path.as_path(), Seen::Plain(Stamp::from_metadata(found), false)))
            };
            let files = siblings.iter().filter_map(file);
            listed.extend(files.clone().map(|(path, _)| path.to_owned()));
            self.looks.note_all(files, at);
        }
        self.listed.borrow_mut().add(listed);
    }

    fn is_plain(&self, folder: &Utf8Path) -> bool {
        if let Some(known) = self.folders.borrow().get(folder) {
            return *known;
        }
        let absolute = self.workspace.absolute(folder);
        let is_plain = absolute.is_dir() && absolute.canonicalize_utf8().is_ok_and(|real| real == absolute);
        self.folders.borrow_mut().insert(folder.to_owned(), is_plain);
        // That no link is on the way is as good as the folders on it.
        for folder in folder
            .ancestors()
            .filter(|folder| is_plain && !folder.as_str().is_empty())
        {
            let at = SystemTime::now();
            match plain_at(&self.workspace.absolute(folder)) {
                Some((stamp, true)) => self.looks.note(folder, Seen::Plain(stamp, true), at),
                _ => self.looks.give_up(),
            }
        }
        is_plain
    }

    /// Notes that something, or nothing, stands at `path`.
    fn note_entry(&self, path: &Utf8Path) {
        match Stamp::of_entry(&self.workspace.absolute(path)) {
            Ok(Some(stamp)) => self.looks.note(path, Seen::Entry(stamp), SystemTime::now()),
            Ok(None) => self.looks.note(path, Seen::Absent, SystemTime::now()),
            Err(_) => self.looks.give_up(),
        }
    }
}

impl Tree for Watched<'_> {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        if let Some(plain) = self.plain(path) {
            return Ok(plain.as_ref().map(kind_of));
        }
        self.note_entry(path);
        let kind = self.workspace.kind(path);
        if !matches!(kind, Ok(None | Some(EntryKind::File { .. } | EntryKind::Folder))) {
            self.looks.give_up();
        }
        kind
    }

    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError> {
        if self.listed.borrow_mut().has(path) {
            return Ok(Some(path.to_owned()));
        }
        if let Some(plain) = self.plain(path) {
            return Ok(plain.map(|_| path.to_owned()));
        }
        // The same file or folder, by device and inode, is at the same real path.
        self.note_entry(path);
        self.workspace.real_path(path)
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        let at = SystemTime::now();
        let stamp = Stamp::of(&self.workspace.absolute(path));
        let bytes = self.workspace.read(path, limit);
        match (&bytes, stamp) {
            (Ok(bytes), Ok(stamp)) => self.looks.note(path, Seen::File(stamp, Digest::of(bytes)), at),
            _ => self.looks.give_up(),
        }
        bytes
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        let note = |folder: &Utf8Path| self.looks.note_folder(self.workspace, folder);
        let at = SystemTime::now();
        // Where a link leads is seen by no folder's stamp.
        let found = self.workspace.walk(folder, &note, &|link| self.note_entry(link));
        let is_plain = |below: &Below| matches!(below.kind, EntryKind::File { .. });
        if !found.as_ref().is_ok_and(|found| found.iter().all(is_plain)) {
            self.looks.give_up();
        }
        let found = found?;
        self.note_plain(&found, at);
        Ok(found.into_iter().map(|below| (below.path, below.kind)).collect())
    }
}
