//! All that is below a folder, found by all cores: the names first, folder by folder, then what each of them is.

use std::collections::HashSet;
use std::fs::FileType;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::{Workspace, kind_of, unreadable};
use crate::stamp::Found;
use crate::tree::{EntryKind, Tree as _, TreeError};

/// So many files at least are asked for by one core, what they are.
const TOGETHER: usize = 128;

/// Something below a folder that is no folder.
#[derive(Debug)]
pub(crate) struct Below {
    /// Its path in the workspace.
    pub(crate) path: Utf8PathBuf,
    /// What it is; of a link, what it leads to.
    pub(crate) kind: EntryKind,
    /// What the file system says of it; nothing if it is a link.
    pub(crate) found: Option<Found>,
}

/// How much is seen on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Not what the folders of git and of madmall hold: it is no stage's business, and may be much.
    OfStages,
    /// All.
    All,
}

impl Scope {
    /// Whether the walk from `top` leaves out what is called `name` in `folder`.
    fn leaves_out(self, top: &Utf8Path, folder: &Utf8Path, name: &str) -> bool {
        let is_root = top.as_str().is_empty() && folder == top;
        self == Self::OfStages && (name == ".git" || (is_root && (name == ".madmall" || name == "runs")))
    }
}

impl Workspace {
    /// The paths that [`crate::tree::Tree::files_below`] gives, in the same order, and whether each is a link: no file is asked what it is.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if a folder cannot be read or a name is not UTF-8.
    pub(crate) fn paths_below(&self, folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, bool)>, TreeError> {
        self.names_below(folder, Scope::OfStages, &|_| {}, |_| true)
    }

    /// The paths of those of them that are links: no file is asked what it is, and of no other a path is made.
    ///
    /// # Errors
    ///
    /// Like [`Self::paths_below`].
    pub(crate) fn links_below(&self, folder: &Utf8Path) -> Result<HashSet<Utf8PathBuf>, TreeError> {
        let links = self.names_below(folder, Scope::OfStages, &|_| {}, FileType::is_symlink)?;
        Ok(links.into_iter().map(|(path, _)| path).collect())
    }

    /// All below `folder` that is no folder, in the order of [`crate::tree::Tree::files_below`], with what was found of each; tells of
    /// each folder before its names are listed, and of each link.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if something cannot be read, or a name is not UTF-8.
    pub(crate) fn walk(
        &self,
        folder: &Utf8Path,
        scope: Scope,
        on_folder: &dyn Fn(&Utf8Path),
        on_link: &dyn Fn(&Utf8Path),
    ) -> Result<Vec<Below>, TreeError> {
        let paths = self.names_below(folder, scope, on_folder, |_| true)?;
        let links = paths.iter().filter(|(_, is_link)| *is_link);
        links.for_each(|(link, _)| on_link(link));
        let ask = |(path, is_link): (Utf8PathBuf, bool)| match is_link {
            true => {
                let kind = self.kind(&path)?.unwrap_or(EntryKind::BadLink);
                Ok(Below {
                    path,
                    kind,
                    found: None,
                })
            }
            false => match self.found_at(&path) {
                Ok(found) => {
                    let kind = kind_of(&found);
                    Ok(Below {
                        path,
                        kind,
                        found: Some(found),
                    })
                }
                Err(error) => Err(unreadable(&path, error)),
            },
        };
        paths.into_par_iter().with_min_len(TOGETHER).map(ask).collect()
    }

    /// The paths of all below `folder` that is no folder and `is_wanted`, sorted by their bytes, and whether each is a link.
    fn names_below(
        &self,
        folder: &Utf8Path,
        scope: Scope,
        on_folder: &dyn Fn(&Utf8Path),
        is_wanted: fn(&FileType) -> bool,
    ) -> Result<Vec<(Utf8PathBuf, bool)>, TreeError> {
        let mut files = Vec::new();
        // Folders that are equally deep: so there is no limit to how deep they may be but the system's.
        let mut level = vec![folder.to_owned()];
        while !level.is_empty() {
            level.iter().for_each(|folder| on_folder(folder));
            let listed: Vec<Listed> = level
                .par_iter()
                .map(|below| self.names_in(folder, below, scope, is_wanted))
                .collect();
            level.clear();
            for names in listed {
                for (path, kind) in names? {
                    match kind.is_dir() {
                        true => level.push(path),
                        false => files.push((path, kind.is_symlink())),
                    }
                }
            }
        }
        files.par_sort_unstable_by(|(a, _), (b, _)| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
        Ok(files)
    }

    /// What is in `folder`, on a walk from `top`: the folders, and what `is_wanted`.
    fn names_in(&self, top: &Utf8Path, folder: &Utf8Path, scope: Scope, is_wanted: fn(&FileType) -> bool) -> Listed {
        let failed = |error: io::Error| unreadable(folder, error);
        let mut names = Vec::new();
        for entry in self.absolute(folder).read_dir().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if !kind.is_dir() && !is_wanted(&kind) {
                continue;
            }
            let name = entry.file_name().into_string().map_err(|name| TreeError::NotUtf8 {
                folder: top.to_owned(),
                lossy: name.to_string_lossy().into_owned(),
            })?;
            if !scope.leaves_out(top, folder, &name) {
                names.push((folder.join(name), kind));
            }
        }
        Ok(names)
    }
}

type Listed = Result<Vec<(Utf8PathBuf, FileType)>, TreeError>;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::stamp::Kind;

    fn workspace(files: &[&str]) -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = root.canonicalize_utf8().expect("it is there");
        for file in files {
            crate::store::atomic::write(&root.join(file), file.as_bytes()).expect("written");
        }
        (folder, Workspace::at(root))
    }

    #[test]
    fn what_is_below_a_folder_is_sorted_by_its_bytes_and_without_what_is_no_stages_business() {
        let deep = format!("data/{}x", "d/".repeat(300));
        let files = [
            ".madmall/a",
            "a.txt",
            "data/.git/a",
            "data/Z",
            "data/a b",
            "data/a/1",
            "data/a.b",
            "data/runs/a",
            &deep,
            "runs/a",
        ];
        let (_folder, workspace) = workspace(&files);
        let folders = RefCell::new(Vec::new());
        let on_folder = |folder: &Utf8Path| folders.borrow_mut().push(folder.to_owned());
        let found = workspace
            .walk(Utf8Path::new(""), Scope::OfStages, &on_folder, &|_| {})
            .expect("readable");
        let paths: Vec<&str> = found.iter().map(|below| below.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "a.txt",
                "data/Z",
                "data/a b",
                "data/a.b",
                "data/a/1",
                &deep,
                "data/runs/a"
            ]
        );
        assert!(
            found
                .iter()
                .all(|below| below.found.is_some_and(|found| found.kind == Kind::File))
        );
        assert_eq!(folders.borrow()[..2], ["", "data"]);
        assert_eq!(folders.borrow().len(), 4 + 300);

        let data = workspace.paths_below(Utf8Path::new("data")).expect("readable");
        assert!(
            data.iter()
                .map(|(path, _)| path.as_str())
                .eq(paths[1..].iter().copied())
        );
        let all = workspace
            .walk(Utf8Path::new(""), Scope::All, &|_| {}, &|_| {})
            .expect("readable");
        assert_eq!(all.len(), files.len());
        workspace
            .paths_below(Utf8Path::new("absent"))
            .expect_err("it is not there");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_told_and_what_they_lead_to_is_asked_for() {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::symlink;

        let (_folder, workspace) = workspace(&["data/file", "other/file"]);
        for (to, at) in [
            ("file", "to-file"),
            ("../other", "to-folder"),
            ("absent", "to-nothing"),
            ("/", "out"),
        ] {
            symlink(to, workspace.root().join("data").join(at)).expect("linked");
        }
        let links = RefCell::new(Vec::new());
        let on_link = |link: &Utf8Path| links.borrow_mut().push(link.to_string());
        let found = workspace
            .walk(Utf8Path::new("data"), Scope::OfStages, &|_| {}, &on_link)
            .expect("readable");
        let linked = ["data/out", "data/to-file", "data/to-folder", "data/to-nothing"];
        assert_eq!(*links.borrow(), linked);
        let below = workspace.links_below(Utf8Path::new("")).expect("readable");
        assert_eq!(below, linked.map(Utf8PathBuf::from).into());
        let kinds: Vec<EntryKind> = found.iter().map(|below| below.kind).collect();
        let file = EntryKind::File { executable: false };
        let bad = EntryKind::BadLink;
        assert_eq!(kinds, [file, bad, file, EntryKind::Folder, bad]);
        assert_eq!(found.iter().filter(|below| below.found.is_some()).count(), 1);

        let name = std::ffi::OsStr::from_bytes(b"\xff");
        symlink("file", workspace.root().as_std_path().join("data").join(name)).expect("linked");
        let error = workspace
            .paths_below(Utf8Path::new("data"))
            .expect_err("a name is no text");
        assert!(matches!(error, TreeError::NotUtf8 { folder, .. } if folder == "data"));
    }
}
