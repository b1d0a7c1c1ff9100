//! The workspace: the folder that all paths are relative to, as it is on disk now.

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::{self, Digests};
use crate::tree::{Entry, EntryKind, EntryType, Site, Tree, TreeError};

/// A working folder.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: Utf8PathBuf,
}

impl Workspace {
    /// The workspace whose root is the folder `root` (absolute, links resolved).
    #[must_use]
    pub fn at(root: Utf8PathBuf) -> Self {
        Self { root }
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

    /// [`Tree::files_below`], which tells of each folder before its names are listed, and of each link.
    pub(crate) fn walk(
        &self,
        folder: &Utf8Path,
        on_folder: &dyn Fn(&Utf8Path),
        on_link: &dyn Fn(&Utf8Path),
    ) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        self.walk_but(folder, &is_private_in(folder), on_folder, on_link)
    }

    /// Everything in `folder`, also what no stage sees; tells of each folder before its names are listed, and of each link.
    pub(crate) fn walk_all(
        &self,
        folder: &Utf8Path,
        on_folder: &dyn Fn(&Utf8Path),
        on_link: &dyn Fn(&Utf8Path),
    ) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        self.walk_but(folder, &|_| false, on_folder, on_link)
    }

    fn walk_but(
        &self,
        folder: &Utf8Path,
        is_private: &dyn Fn(&walkdir::DirEntry) -> bool,
        on_folder: &dyn Fn(&Utf8Path),
        on_link: &dyn Fn(&Utf8Path),
    ) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        let mut files = Vec::new();
        self.visit(folder, is_private, on_folder, &mut |entry, path| {
            if entry.file_type().is_symlink() {
                on_link(&path);
            }
            let kind = match entry.file_type().is_symlink() {
                true => self.kind(&path)?.unwrap_or(EntryKind::BadLink),
                false => {
                    let found = entry.metadata().map_err(|error| TreeError::Read {
                        path: path.clone(),
                        source: Box::new(error),
                    })?;
                    kind_of(&found)
                }
            };
            files.push((path, kind));
            Ok(())
        })?;
        files.sort_by(|(a, _), (b, _)| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
        Ok(files)
    }

    /// The paths that [`Tree::files_below`] gives, in the same order, and whether each is a link: no file is asked what it is.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if a folder cannot be read or a name is not UTF-8.
    pub(crate) fn paths_below(&self, folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, bool)>, TreeError> {
        let mut paths = Vec::new();
        self.visit(folder, &is_private_in(folder), &|_| {}, &mut |entry, path| {
            paths.push((path, entry.file_type().is_symlink()));
            Ok(())
        })?;
        paths.sort_by(|(a, _), (b, _)| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
        Ok(paths)
    }

    /// Shows `on_file` everything below `folder` that is no folder.
    fn visit(
        &self,
        folder: &Utf8Path,
        is_private: &dyn Fn(&walkdir::DirEntry) -> bool,
        on_folder: &dyn Fn(&Utf8Path),
        on_file: &mut dyn FnMut(&walkdir::DirEntry, Utf8PathBuf) -> Result<(), TreeError>,
    ) -> Result<(), TreeError> {
        on_folder(folder);
        let walk = walkdir::WalkDir::new(self.absolute(folder)).min_depth(1).into_iter();
        for entry in walk.filter_entry(|entry| !is_private(entry)) {
            let entry = entry.map_err(|error| TreeError::Read {
                path: folder.to_owned(),
                source: Box::new(error),
            })?;
            let path = Utf8Path::from_path(entry.path()).ok_or_else(|| TreeError::NotUtf8 {
                folder: folder.to_owned(),
                lossy: entry.file_name().to_string_lossy().into_owned(),
            })?;
            let path = path.strip_prefix(&self.root);
            let path = path.expect("the walk began at a folder below the root").to_owned();
            match entry.file_type().is_dir() {
                true => on_folder(&path),
                false => on_file(&entry, path)?,
            }
        }
        Ok(())
    }
}

/// Whether a walk from `folder` leaves an entry out: what the folders of git and of madmall hold is no stage's business, and may be much.
fn is_private_in(folder: &Utf8Path) -> impl Fn(&walkdir::DirEntry) -> bool {
    let is_root = folder.as_str().is_empty();
    move |entry| {
        let name = entry.file_name();
        name == ".git" || (is_root && entry.depth() == 1 && (name == ".madmall" || name == "runs"))
    }
}

impl Tree for Workspace {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        let absolute = self.absolute(path);
        let found = match std::fs::metadata(&absolute) {
            Ok(found) => found,
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

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        self.walk(folder, &|_| {}, &|_| {})
    }
}

impl Site for Workspace {
    fn digests(&self, path: &Utf8Path) -> Result<Digests, TreeError> {
        let hashed = digest::hash_file(&self.absolute(path));
        hashed
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
pub(crate) fn kind_of(found: &std::fs::Metadata) -> EntryKind {
    if found.is_file() {
        EntryKind::File {
            executable: is_executable(found),
        }
    } else if found.is_dir() {
        EntryKind::Folder
    } else {
        EntryKind::Other
    }
}

#[cfg(unix)]
fn is_executable(found: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_found: &std::fs::Metadata) -> bool {
    false
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
    fn the_paths_below_a_folder_are_those_of_its_files_and_links_are_told() {
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
            let paths = workspace.paths_below(Utf8Path::new(folder)).expect("listed");
            let expected: Vec<_> = files
                .into_iter()
                .map(|(path, _)| (path.clone(), path == "a/link"))
                .collect();
            assert!(expected.len() > usize::from(folder != "a/b"), "{folder}: {expected:?}");
            assert_eq!(paths, expected, "{folder}");
        }
        assert!(workspace.paths_below(Utf8Path::new("gone")).is_err());
    }
}
