//! A workspace in which a pipeline is resolved, and what is looked at there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::looks::{Looks, Seen, plain_at};
use crate::digest::Digest;
use crate::shared_path::SharedPath;
use crate::stamp::{Found, Kind, Moment};
use crate::tree::{Below, EntryKind, Tree, TreeError};
use crate::workspace::walk::{Named, Scope};
use crate::workspace::{Workspace, kind_of};

/// So many names at least are gone through by one core.
const TOGETHER: usize = 1024;

/// A workspace, and what is looked at in it.
pub struct Watched<'a> {
    workspace: &'a Workspace,
    looks: &'a Looks,
    /// Folders, and whether each is where its path says, with no link on the way.
    folders: RefCell<HashMap<Utf8PathBuf, bool>>,
}

impl<'a> Watched<'a> {
    /// The workspace for as long as a pipeline is resolved; what is seen is noted in `looks`.
    #[must_use]
    pub fn new(workspace: &'a Workspace, looks: &'a Looks) -> Self {
        Self {
            workspace,
            looks,
            folders: RefCell::default(),
        }
    }

    /// What stands at `path`, noted, if it is no link and none is on the way: one look then tells all. `None` if more must be
    /// asked.
    fn plain(&self, path: &Utf8Path) -> Option<Option<Found>> {
        if !self.is_plain(path.parent()?) {
            return None;
        }
        let at = Moment::now();
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

    /// Whether what lies in `folder` is where its path says: no link is on the way, and a name has one spelling.
    fn is_plain(&self, folder: &Utf8Path) -> bool {
        // Elsewhere a file has more spellings than one, and only the system knows which is the real one.
        if !cfg!(target_os = "linux") {
            return false;
        }
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
            let at = Moment::now();
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
            Ok(Some(stamp)) => self.looks.note(path, Seen::Entry(stamp), Moment::now()),
            Ok(None) => self.looks.note(path, Seen::Absent, Moment::now()),
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
        if let Some(plain) = self.plain(path) {
            return Ok(plain.map(|_| path.to_owned()));
        }
        // The same file or folder, by device and inode, is at the same real path.
        self.note_entry(path);
        self.workspace.real_path(path)
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        let at = Moment::now();
        let stamp = self.workspace.stamp_of(path);
        let bytes = self.workspace.read(path, limit);
        match (&bytes, stamp) {
            (Ok(bytes), Ok(stamp)) => self.looks.note(path, Seen::File(stamp, Digest::of(bytes)), at),
            _ => self.looks.give_up(),
        }
        bytes
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError> {
        // That a name is a file's, and no link's, is vouched for by the folder it is in.
        let note = |folder: &Utf8Path| self.looks.note_folder(self.workspace, folder);
        let found = self.workspace.names_below(folder, Scope::OfStages, &note);
        let names = found.inspect_err(|_| self.looks.give_up())?;
        let links = names.iter().filter(|(_, named)| *named == Named::Link);
        // Where a link leads is seen by no folder's stamp.
        links.for_each(|(link, _)| self.note_entry(link));
        // No link was followed: all is where it seems to be if the folder is.
        let is_plain = self.is_plain(folder);
        let workspace = self.workspace;
        let ask = |(path, named): (SharedPath, Named)| {
            let kind = match named {
                Named::File => None,
                Named::Link => Some(workspace.kind(&path)?.unwrap_or(EntryKind::BadLink)),
                Named::Other => Some(EntryKind::Other),
            };
            let is_real = is_plain && named == Named::File;
            Ok(Below { path, kind, is_real })
        };
        let below: Result<Vec<Below>, TreeError> = names.into_par_iter().with_min_len(TOGETHER).map(ask).collect();
        let below = below.inspect_err(|_| self.looks.give_up())?;
        if !below.par_iter().with_min_len(TOGETHER).all(Below::is_file) {
            self.looks.give_up();
        }
        Ok(below)
    }

    fn names_in(&self, folder: &Utf8Path) -> Result<Vec<String>, TreeError> {
        // Not noted: who is advised is refused, and nothing of that is remembered.
        self.workspace.names_in(folder)
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn workspace() -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = root.canonicalize_utf8().expect("it is there");
        for file in ["w/d/a", "w/d/e/b", "w/other", "out"] {
            crate::store::atomic::write(&root.join(file), b"1").expect("written");
        }
        (folder, Workspace::at(root.join("w")))
    }

    fn below(watched: &Watched<'_>, folder: &str) -> Vec<(String, Option<EntryKind>, bool)> {
        let found = watched.files_below(Utf8Path::new(folder)).expect("readable");
        let below = found.into_iter();
        below
            .map(|below| (below.path.to_string(), below.kind, below.is_real))
            .collect()
    }

    #[test]
    fn of_files_of_a_folder_only_links_are_asked_what_they_are() {
        let (_guard, workspace) = workspace();
        symlink("../other", workspace.root().join("d/link")).expect("linked");
        // By then all stamps are old.
        std::thread::sleep(std::time::Duration::from_millis(50));
        let looks = Looks::begin();
        let found = below(&Watched::new(&workspace, &looks), "d");
        let file = Some(EntryKind::File { executable: false });
        let expected = [("d/a", None, true), ("d/e/b", None, true), ("d/link", file, false)];
        assert_eq!(
            found,
            expected.map(|(path, kind, is_real)| (path.to_owned(), kind, is_real))
        );
        let seen = looks.settle().expect("it can be vouched for");
        let entry = workspace.stamp_of(Utf8Path::new("other")).expect("there");
        let folder = |path: &str| Seen::Folder(workspace.stamp_of_folder(Utf8Path::new(path)).expect("there"));
        let seen = |path: &str| {
            seen.iter()
                .find(|(seen, _)| seen.as_str() == path)
                .map(|(_, seen)| *seen)
        };
        assert_eq!((seen("d"), seen("d/e")), (Some(folder("d")), Some(folder("d/e"))));
        assert_eq!((seen("d/link"), seen("d/a")), (Some(Seen::Entry(entry)), None));
    }

    #[test]
    fn behind_a_link_no_path_is_known_to_be_the_real_one() {
        let (_guard, workspace) = workspace();
        symlink("d", workspace.root().join("to-d")).expect("linked");
        let looks = Looks::begin();
        let watched = Watched::new(&workspace, &looks);
        let expected = [("to-d/a", None, false), ("to-d/e/b", None, false)];
        let expected = expected.map(|(path, kind, is_real)| (path.to_owned(), kind, is_real));
        assert_eq!(below(&watched, "to-d"), expected);
        let real = watched.real_path(Utf8Path::new("to-d/e/b")).expect("readable");
        assert_eq!(real.as_deref(), Some(Utf8Path::new("d/e/b")));
    }

    #[test]
    fn what_is_no_file_is_told_and_not_vouched_for() {
        for (to, kind) in [
            (Some("../../out"), EntryKind::BadLink),
            (Some("nowhere"), EntryKind::BadLink),
            (Some("e"), EntryKind::Folder),
            (None, EntryKind::Other),
        ] {
            let (_guard, workspace) = workspace();
            let place = workspace.root().join("d/x");
            match to {
                Some(to) => symlink(to, &place).expect("linked"),
                None => drop(std::os::unix::net::UnixListener::bind(&place).expect("bound")),
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
            let looks = Looks::begin();
            let found = below(&Watched::new(&workspace, &looks), "d");
            assert_eq!(found.last(), Some(&("d/x".to_owned(), Some(kind), false)), "{to:?}");
            assert!(looks.settle().is_none(), "{to:?}");
        }
    }
}
