//! The workspace: the folder that all paths are relative to, as it is on disk now.

pub(crate) mod find;
mod list;
pub(crate) mod walk;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use self::walk::{Named, Scope};
use crate::digest::{self, Digests};
use crate::shared_path::SharedPath;
use crate::stamp::{Found, Kind};
use crate::tree::{Below, Entry, EntryKind, EntryType, Site, Tree, TreeError};

/// So many files at least are asked for by one core, what they are.
const TOGETHER: usize = 128;

/// A working folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: Utf8PathBuf,
    /// The folder, opened, if it could be.
    #[cfg(target_os = "linux")]
    folder: Option<std::sync::Arc<rustix::fd::OwnedFd>>,
}

impl Workspace {
    /// The workspace whose root is the folder `root` (absolute, links resolved).
    #[must_use]
    pub fn at(root: Utf8PathBuf) -> Self {
        Self {
            #[cfg(target_os = "linux")]
            folder: find::open_folder(&root),
            root,
        }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Utf8Path {
        &self.root
    }

    /// Where `path` (relative to the workspace) lies on disk.
    #[must_use]
    pub fn absolute(&self, path: &Utf8Path) -> Utf8PathBuf {
        self.root.join(path)
    }
}

impl Tree for Workspace {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        if let Some(found) = self.plainly_at(path) {
            return Ok(Some(kind_of(&found)));
        }
        let absolute = self.absolute(path);
        let found = match std::fs::metadata(&absolute) {
            Ok(found) => Found::from(&found),
            Err(error) if is_absence(&error) => {
                let is_link = std::fs::symlink_metadata(&absolute).is_ok();
                return Ok(is_link.then_some(EntryKind::BadLink));
            }
            Err(error) => return Err(unreadable(path, error)),
        };
        // The path, or a folder on the way to it, may be a link: what it leads to must lie in the workspace.
        let real = absolute.canonicalize_utf8().map_err(|error| unreadable(path, error))?;
        if !real.starts_with(&self.root) {
            return Ok(Some(EntryKind::BadLink));
        }
        Ok(Some(kind_of(&found)))
    }

    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError> {
        if self.plainly_at(path).is_some() {
            return Ok(Some(path.to_owned()));
        }
        match self.absolute(path).canonicalize_utf8() {
            Ok(real) => Ok(real.strip_prefix(&self.root).map(Utf8Path::to_owned).ok()),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        use std::io::Read as _;
        let file = std::fs::File::open(self.absolute(path)).map_err(|error| unreadable(path, error))?;
        // A file can be far longer than what it takes on disk: its length is asked for before its bytes.
        if file.metadata().is_ok_and(|found| found.len() > limit) {
            return Err(TreeError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        let mut bytes = Vec::new();
        file.take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(path, error))?;
        if bytes.len() as u64 > limit {
            return Err(TreeError::TooLarge {
                path: path.to_owned(),
                limit,
            });
        }
        Ok(bytes)
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError> {
        let names = self.names_below(folder, Scope::OfStages, &|_| {})?;
        let ask = |(path, named): (SharedPath, Named)| {
            // One look tells both, what it is and that no link leads there.
            if let Some(found) = self.plainly_at(&path) {
                let (kind, is_real) = (Some(kind_of(&found)), found.kind == Kind::File);
                return Ok(Below { path, kind, is_real });
            }
            let kind = match named {
                Named::Link => self.kind(&path)?.unwrap_or(EntryKind::BadLink),
                Named::File | Named::Other => {
                    let found = self.found_at(&path).map_err(|error| unreadable(&path, error))?;
                    kind_of(&found)
                }
            };
            Ok(Below::asked(path, kind))
        };
        names.into_par_iter().with_min_len(TOGETHER).map(ask).collect()
    }

    fn names_in(&self, folder: &Utf8Path) -> Result<Vec<String>, TreeError> {
        let mut names = Vec::new();
        let failed = |error| unreadable(folder, error);
        self.each_name(folder, failed, |name, _| {
            names.extend(std::str::from_utf8(name).map(str::to_owned));
            Ok(())
        })?;
        names.sort_unstable();
        Ok(names)
    }
}

impl Site for Workspace {
    fn digests(&self, path: &Utf8Path) -> Result<Digests, TreeError> {
        let hash = || {
            let file = self.open(path)?;
            let size = Found::of_open(&file)?.file()?.size();
            digest::hash_sized(&file, size)
        };
        hash()
            .map(|(digests, _)| digests)
            .map_err(|error| unreadable(path, error))
    }

    fn entries(&self, folder: &Utf8Path, depth: usize, most: usize) -> Result<Vec<Entry>, TreeError> {
        let top = self.absolute(folder);
        match top.symlink_metadata() {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(Vec::new()),
            Err(error) if is_absence(&error) => return Ok(Vec::new()),
            Err(error) => return Err(unreadable(folder, error)),
        }
        let walk = walkdir::WalkDir::new(&top).min_depth(1).max_depth(depth);
        let mut entries = Vec::new();
        for entry in walk.into_iter().take(most) {
            let entry = entry.map_err(|error| unreadable(folder, error.into()))?;
            let path = entry.path().strip_prefix(&self.root).unwrap_or(entry.path());
            let lossy = || Utf8PathBuf::from(path.to_string_lossy().into_owned());
            let kind = entry.file_type();
            entries.push(Entry {
                path: Utf8Path::from_path(path).map_or_else(lossy, Utf8Path::to_owned),
                kind: match (kind.is_file(), kind.is_dir()) {
                    (true, _) => EntryType::File,
                    (_, true) => EntryType::Folder,
                    _ => EntryType::Other,
                },
                is_utf8: path.to_str().is_some(),
            });
        }
        Ok(entries)
    }

    fn folder(&self) -> Option<&Utf8Path> {
        Some(&self.root)
    }

    fn as_tree(&self) -> &dyn Tree {
        self
    }
}

/// What is said of something that is no link.
pub(crate) fn kind_of(found: &Found) -> EntryKind {
    match found.kind {
        Kind::File => EntryKind::File {
            executable: found.stamp.is_executable(),
        },
        Kind::Folder => EntryKind::Folder,
        Kind::Link | Kind::Other => EntryKind::Other,
    }
}

fn is_absence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) || error.raw_os_error() == Some(40)
}

fn unreadable(path: &Utf8Path, error: std::io::Error) -> TreeError {
    TreeError::Read {
        path: path.to_owned(),
        source: Box::new(error),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn the_names_below_a_folder_are_those_of_its_files_and_links_are_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("it exists");
        let workspace = Workspace::at(Utf8PathBuf::from_path_buf(root).expect("UTF-8"));
        for folder in ["a/b", "a/.git", ".madmall", "runs"] {
            std::fs::create_dir_all(workspace.root().join(folder)).expect("made");
        }
        for file in ["a/b/c", "a/b.d", "a/.git/e", "a/runs", ".madmall/f", "runs/g", "h"] {
            std::fs::File::create_new(workspace.root().join(file)).expect("made");
        }
        std::os::unix::fs::symlink("../h", workspace.root().join("a/link")).expect("made");
        for folder in ["", "a", "a/b"] {
            let files = workspace.files_below(Utf8Path::new(folder)).expect("listed");
            let names = workspace.names_below(Utf8Path::new(folder), Scope::OfStages, &|_| {});
            let names = names.expect("listed");
            let named = |below: &Below| match below.path.as_str() == "a/link" {
                true => Named::Link,
                false => Named::File,
            };
            let expected: Vec<_> = files.iter().map(|below| (below.path.clone(), named(below))).collect();
            assert!(expected.len() > usize::from(folder != "a/b"), "{folder}: {expected:?}");
            assert_eq!(names, expected, "{folder}");
        }
        let gone = workspace.files_below(Utf8Path::new("gone"));
        assert!(gone.is_err());
    }
}
