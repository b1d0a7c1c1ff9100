//! The files of a workspace as a commit has them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{ObjectType, Oid};
use rayon::prelude::*;

use super::{CommitId, GitError, Names, Repository, object};
use crate::digest::Digests;
use crate::listing::{ListedFile, ListingDigests, listing_digests};
use crate::tree::{Below, EntryKind, Tree, TreeError};

/// A symbolic link that leads through more than this many others leads nowhere.
const MAX_LINKS: usize = 40;
/// Folders nested deeper than this are refused: hostile.
const MAX_DEPTH: usize = 256;
/// A link's target is a path.
const MAX_LINK_TARGET: u64 = 4096;
/// So many folders of a commit are kept in memory: each is asked for once a file of it.
const KEPT_FOLDERS: usize = 256;
/// Of so many files at least, each core that hashes some opens the repository for itself.
const MANY: usize = 256;
/// What is longer is hashed when it is asked for: a file of a commit is held whole, and so each core holds one at a time.
const SHORT: usize = 1 << 20;

/// The files of a workspace as a commit has them.
pub struct CommitTree<'a> {
    repository: &'a git2::Repository,
    /// The folder of the workspace; `None` if the commit does not have it.
    pub(super) root: Option<Oid>,
    /// Folders that were read: libgit2 keeps only small ones, and would read a large one again for each of its files.
    folders: RefCell<HashMap<Oid, Rc<git2::Tree<'a>>>>,
    /// Whether something of it could not be read.
    is_torn: Cell<bool>,
    digests: &'a Mutex<HashMap<Oid, Digests>>,
    pub(super) names: &'a Mutex<Names>,
}

impl Repository {
    /// The files of the workspace as `commit` has them.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if the commit or its tree cannot be read.
    pub fn tree(&self, commit: CommitId) -> Result<CommitTree<'_>, GitError> {
        let found = self.inner.find_commit(commit.0).and_then(|commit| commit.tree());
        let root = found.map_err(|source| object(&format!("commit {commit}"), source))?;
        let mut tree = Some(root.id());
        for name in self.prefix.components() {
            let folder = tree.and_then(|id| self.inner.find_tree(id).ok());
            let entry = folder.as_ref().and_then(|folder| folder.get_name(name.as_str()));
            tree = entry.filter(|e| e.kind() == Some(ObjectType::Tree)).map(|e| e.id());
        }
        Ok(CommitTree {
            repository: &self.inner,
            root: tree,
            folders: RefCell::default(),
            is_torn: Cell::default(),
            digests: &self.digests,
            names: &self.names,
        })
    }
}

/// What a path of a commit leads to, links followed.
pub(super) enum Found {
    Absent,
    BadLink,
    Other,
    Folder(Oid),
    File { blob: Oid, executable: bool },
}

impl Found {
    fn kind(&self) -> Option<EntryKind> {
        match *self {
            Self::Absent => None,
            Self::BadLink => Some(EntryKind::BadLink),
            Self::Other => Some(EntryKind::Other),
            Self::Folder(_) => Some(EntryKind::Folder),
            Self::File { executable, .. } => Some(EntryKind::File { executable }),
        }
    }
}

impl<'a> CommitTree<'a> {
    /// Whether files that are checked out can be executed as the commit says: git is told so where the file system cannot tell (`core.fileMode`).
    #[must_use]
    pub fn tells_modes(&self) -> bool {
        let config = self.repository.config();
        config.is_ok_and(|config| config.get_bool("core.filemode").unwrap_or(true))
    }

    /// Whether something of it could not be read since it was asked last: a partial clone has not fetched it, say. Then what is wrong with the
    /// commit's files may be that alone.
    #[must_use]
    pub fn was_torn(&self) -> bool {
        self.is_torn.take()
    }

    /// The digests of the listing of `folder`, or `None` if the commit has no folder there, or one that holds more than
    /// files.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if it cannot be read.
    pub fn listing(&self, folder: &Utf8Path) -> Result<Option<ListingDigests>, TreeError> {
        let (mut files, mut has_others) = (Vec::new(), false);
        self.each_below(folder, &mut |path, found| match found {
            Found::File { blob, executable } => files.push((path, blob, executable)),
            _ => has_others = true,
        })?;
        if has_others || files.is_empty() {
            return Ok(None);
        }
        self.hash_together(files.iter().map(|(_, blob, _)| *blob));
        let listed = files.into_iter().map(|(path, blob, executable)| {
            let digests = self.blob_digests(&path, blob)?;
            Ok(ListedFile {
                path,
                executable,
                digests,
            })
        });
        let listed: Vec<ListedFile> = listed.collect::<Result<_, TreeError>>()?;
        Ok(listing_digests(&listed).ok())
    }

    /// Hashes the files at `paths` by all cores, if there are many of them and as far as they are short, for whoever asks for their digests
    /// then. What cannot be read is told to whoever asks.
    pub fn hash_ahead<'p>(&self, paths: impl IntoIterator<Item = &'p Utf8Path>) {
        self.hash_together(paths.into_iter().filter_map(|path| match self.find(path) {
            Ok(Found::File { blob, .. }) => Some(blob),
            _ => None,
        }));
    }

    fn hash_together(&self, blobs: impl Iterator<Item = Oid>) {
        let is_unknown = |blob: &Oid| self.digests.lock().is_ok_and(|known| !known.contains_key(blob));
        let unknown: Vec<Oid> = blobs.filter(is_unknown).collect();
        if unknown.len() < MANY {
            return;
        }
        let folder = self.repository.path();
        let open = || git2::Repository::open(folder).ok();
        let hash = |repository: &mut Option<git2::Repository>, blob: &Oid| {
            let repository = repository.as_ref()?;
            let (size, _) = repository.odb().ok()?.read_header(*blob).ok()?;
            let found = (size <= SHORT).then(|| repository.find_blob(*blob).ok())??;
            Some((*blob, Digests::of(found.content())))
        };
        let hashed = unknown.par_iter().with_min_len(MANY).map_init(open, hash);
        let hashed: Vec<(Oid, Digests)> = hashed.flatten().collect();
        if let Ok(mut known) = self.digests.lock() {
            known.extend(hashed);
        }
    }

    pub(super) fn folder(&self, path: &Utf8Path, id: Oid) -> Result<Rc<git2::Tree<'a>>, TreeError> {
        let mut folders = self.folders.borrow_mut();
        if let Some(folder) = folders.get(&id) {
            return Ok(Rc::clone(folder));
        }
        let folder = self.repository.find_tree(id);
        let folder = Rc::new(folder.map_err(|error| self.torn(path, error))?);
        if folders.len() >= KEPT_FOLDERS {
            folders.clear();
        }
        folders.insert(id, Rc::clone(&folder));
        Ok(folder)
    }

    /// Both digests of the file at `path`, or `None` if the commit has no file there.
    ///
    /// # Errors
    ///
    /// [`TreeError::Read`] if it cannot be read.
    pub fn file_digests(&self, path: &Utf8Path) -> Result<Option<Digests>, TreeError> {
        match self.find(path)? {
            Found::File { blob, .. } => self.blob_digests(path, blob).map(Some),
            _ => Ok(None),
        }
    }

    pub(super) fn blob_digests(&self, path: &Utf8Path, blob: Oid) -> Result<Digests, TreeError> {
        let known = self.digests.lock().ok().and_then(|map| map.get(&blob).copied());
        if let Some(digests) = known {
            return Ok(digests);
        }
        let found = self.repository.find_blob(blob);
        let digests = Digests::of(found.map_err(|error| self.torn(path, error))?.content());
        if let Ok(mut map) = self.digests.lock() {
            map.insert(blob, digests);
        }
        Ok(digests)
    }

    /// Notes that an object could not be read, and says so.
    fn torn(&self, path: &Utf8Path, error: git2::Error) -> TreeError {
        self.is_torn.set(true);
        unreadable(path, error)
    }

    pub(super) fn blob_size(&self, blob: Oid) -> Option<u64> {
        let header = self.repository.odb().and_then(|odb| odb.read_header(blob));
        header.ok().map(|(size, _)| size as u64)
    }

    pub(super) fn find(&self, path: &Utf8Path) -> Result<Found, TreeError> {
        self.follow(path, &mut Vec::new())
    }

    /// Follows `path` name by name; a link's target takes the place of its name, and must stay below the root. `real` is
    /// given the names that lead there without any link.
    fn follow(&self, path: &Utf8Path, real: &mut Vec<String>) -> Result<Found, TreeError> {
        let Some(root) = self.root else {
            return Ok(Found::Absent);
        };
        let mut folders = vec![root];
        let mut names: Vec<String> = path.as_str().split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(name) = names.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." if folders.len() == 1 => return Ok(Found::BadLink),
                ".." => {
                    folders.pop();
                    real.pop();
                    continue;
                }
                name if name.contains('\0') => return Ok(Found::Absent),
                _ => {}
            }
            let Some(current) = folders.last() else {
                return Ok(Found::BadLink);
            };
            let folder = self.folder(path, *current)?;
            let Some(entry) = folder.get_name(&name) else {
                return Ok(if links > 0 { Found::BadLink } else { Found::Absent });
            };
            match entry.filemode() {
                0o040_000 => {
                    folders.push(entry.id());
                    real.push(name);
                }
                0o120_000 => {
                    links += 1;
                    let Some(target) = self.link_target(path, entry.id())?.filter(|_| links <= MAX_LINKS) else {
                        return Ok(Found::BadLink);
                    };
                    names.extend(target.split('/').rev().map(str::to_owned));
                }
                mode @ (0o100_644 | 0o100_664 | 0o100_755) => {
                    let blob = entry.id();
                    let executable = mode == 0o100_755;
                    real.push(name);
                    let rest_is_empty = names.iter().all(|name| matches!(name.as_str(), "" | "."));
                    return Ok(if rest_is_empty {
                        Found::File { blob, executable }
                    } else if links > 0 {
                        Found::BadLink
                    } else {
                        Found::Absent
                    });
                }
                _ => return Ok(Found::Other),
            }
        }
        Ok(folders.last().map_or(Found::BadLink, |folder| Found::Folder(*folder)))
    }

    /// Where a link leads, or `None` if that is no relative path.
    fn link_target(&self, path: &Utf8Path, blob: Oid) -> Result<Option<String>, TreeError> {
        if self.blob_size(blob).is_some_and(|size| size > MAX_LINK_TARGET) {
            return Ok(None);
        }
        let found = self
            .repository
            .find_blob(blob)
            .map_err(|error| self.torn(path, error))?;
        let target = std::str::from_utf8(found.content()).ok();
        Ok(target
            .filter(|target| !target.is_empty() && !target.starts_with('/'))
            .map(str::to_owned))
    }

    /// Visits all below `folder` that is no folder.
    fn each_below(&self, folder: &Utf8Path, visit: &mut dyn FnMut(Utf8PathBuf, Found)) -> Result<(), TreeError> {
        match self.find(folder)? {
            Found::Folder(id) => self.walk(folder, id, 0, visit),
            _ => Ok(()),
        }
    }

    fn walk(
        &self,
        folder: &Utf8Path,
        id: Oid,
        depth: usize,
        visit: &mut dyn FnMut(Utf8PathBuf, Found),
    ) -> Result<(), TreeError> {
        if depth > MAX_DEPTH {
            return Err(unreadable(folder, git2::Error::from_str("nested too deep")));
        }
        let tree = self.folder(folder, id)?;
        for entry in tree.iter() {
            let name = std::str::from_utf8(entry.name_bytes()).map_err(|_| TreeError::NotUtf8 {
                folder: folder.to_owned(),
                lossy: String::from_utf8_lossy(entry.name_bytes()).into_owned(),
            })?;
            let path = folder.join(name);
            match entry.filemode() {
                0o040_000 => self.walk(&path, entry.id(), depth + 1, visit)?,
                mode @ (0o100_644 | 0o100_664 | 0o100_755) => {
                    let (blob, executable) = (entry.id(), mode == 0o100_755);
                    visit(path, Found::File { blob, executable });
                }
                _ => {
                    let found = self.find(&path)?;
                    visit(path, found);
                }
            }
        }
        Ok(())
    }
}

impl Tree for CommitTree<'_> {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        Ok(self.find(path)?.kind())
    }

    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError> {
        let mut real = Vec::new();
        Ok(match self.follow(path, &mut real)? {
            Found::Folder(_) | Found::File { .. } => Some(real.join("/").into()),
            Found::Absent | Found::BadLink | Found::Other => None,
        })
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        let Found::File { blob, .. } = self.find(path)? else {
            return Err(unreadable(path, git2::Error::from_str("the commit has no file there")));
        };
        // What has no size cannot be read either, which is said then.
        if self.blob_size(blob).is_some_and(|size| size > limit) {
            let path = path.to_owned();
            return Err(TreeError::TooLarge { path, limit });
        }
        let found = self.repository.find_blob(blob);
        Ok(found.map_err(|error| self.torn(path, error))?.content().to_vec())
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError> {
        let mut files = Vec::new();
        self.each_below(folder, &mut |path, found| {
            files.push(Below::asked(path, found.kind().unwrap_or(EntryKind::BadLink)));
        })?;
        files.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        Ok(files)
    }
}

fn unreadable(path: &Utf8Path, error: git2::Error) -> TreeError {
    TreeError::Read {
        path: path.to_owned(),
        source: Box::new(error),
    }
}
