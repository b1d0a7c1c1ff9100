//! A workspace in which a pipeline is resolved, and what is looked at there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

use super::looks::{Looks, Seen, plain_at};
use crate::digest::Digest;
use crate::stamp::{Found, Kind};
use crate::tree::{EntryKind, Tree, TreeError};
use crate::workspace::walk::{Below, Scope};
use crate::workspace::{Workspace, kind_of};

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
    /// Which walk was through a folder.
    through: HashMap<Utf8PathBuf, usize>,
    /// Of which walk which file is asked for next.
    next: (usize, usize),
}

impl Listed {
    fn add(&mut self, folder: &Utf8Path, files: Vec<Utf8PathBuf>) {
        self.next = (self.walks.len(), 0);
        self.through.insert(folder.to_owned(), self.walks.len());
        self.walks.push(files);
    }

    fn has(&mut self, path: &Utf8Path) -> bool {
        let (walk, next) = self.next;
        let expected = self.walks.get(walk).and_then(|files| files.get(next));
        if expected.is_some_and(|expected| expected.as_str() == path.as_str()) {
            self.next = (walk, next + 1);
            return true;
        }
        let place_in = |walk: usize| {
            let place = self.walks[walk].binary_search_by(|file| file.as_str().cmp(path.as_str()));
            Some((walk, place.ok()?))
        };
        let mut walks = path.ancestors().filter_map(|folder| self.through.get(folder).copied());
        match walks.find_map(place_in) {
            Some((walk, place)) => {
                self.next = (walk, place + 1);
                true
            }
            None => false,
        }
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
    fn plain(&self, path: &Utf8Path) -> Option<Option<Found>> {
        // Elsewhere a file has more spellings than one, and only the system knows which is the real one.
        if !cfg!(target_os = "linux") || !self.is_plain(path.parent()?) {
            return None;
        }
        let at = SystemTime::now();
        match self.workspace.found_at(path) {
            Ok(found) if matches!(found.kind, Kind::File | Kind::Folder) => {
                let seen = Seen::Plain(found.stamp, found.kind == Kind::Folder);
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

    /// Notes the files of a walk through `folder` that began at the time `at`, but for links, if none is on the way to them: what was
    /// asked of them tells all.
    fn note_plain<'f>(&self, folder: &Utf8Path, found: &'f [Below], at: SystemTime) {
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
                let found = below.found.filter(|found| found.kind == Kind::File)?;
                Some((below.path.as_path(), Seen::Plain(found.stamp, false)))
            };
            let files = siblings.iter().filter_map(file);
            listed.extend(files.clone().map(|(path, _)| path.to_owned()));
            self.looks.note_all(files, at);
        }
        self.listed.borrow_mut().add(folder, listed);
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
            match plain_at(self.workspace, folder) {
                Some((stamp, true)) => self.looks.note(folder, Seen::Plain(stamp, true), at),
                _ => self.looks.give_up(),
            }
        }
        is_plain
    }

    /// Notes that something, or nothing, stands at `path`.
    fn note_entry(&self, path: &Utf8Path) {
        match self.workspace.stamp_of_entry(path) {
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
        let stamp = self.workspace.stamp_of(path);
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
        let found = self
            .workspace
            .walk(folder, Scope::OfStages, &note, &|link| self.note_entry(link));
        let is_plain = |below: &Below| matches!(below.kind, EntryKind::File { .. });
        if !found.as_ref().is_ok_and(|found| found.iter().all(is_plain)) {
            self.looks.give_up();
        }
        let found = found?;
        self.note_plain(folder, &found, at);
        Ok(found.into_iter().map(|below| (below.path, below.kind)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_walks_have_found_are_found_again_in_any_order() {
        let mut listed = Listed::default();
        let walks = [
            ("", vec!["a", "b/c", "z"]),
            ("b", vec!["b/c", "b/d/e"]),
            ("b/d", vec!["b/d/e"]),
            ("empty", vec![]),
        ];
        for (folder, files) in &walks {
            listed.add((*folder).into(), files.iter().map(Utf8PathBuf::from).collect());
        }
        let all = ["z", "b/d/e", "a", "b/c", "z", "b/c", "b/d/e"];
        assert!(all.iter().all(|path| listed.has((*path).into())));
        for absent in ["", "b", "b/d", "b/d/f", "c", "empty", "empty/a", "A", "b/c/d"] {
            // Whatever is expected next.
            assert!(listed.has("a".into()));
            assert!(!listed.has(absent.into()), "{absent}");
        }
    }
}
