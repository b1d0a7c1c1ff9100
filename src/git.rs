//! The commit, and the files it has. Read only; nothing is fetched, and libgit2's check of who owns a repository
//! (`safe.directory`) stays on.
//!
//! Bytes in a commit are compared with bytes on disk as they lie: no filter is applied and no line end converted. Where
//! `core.autocrlf` or a `text` attribute rewrites files on checkout, every such file counts as differing; `* -text` in
//! `.gitattributes` keeps them as they are.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use git2::{ErrorCode, ObjectType, Oid, RepositoryOpenFlags};

use crate::digest::Digests;
use crate::listing::{ListedFile, ListingDigests, listing_digests};
use crate::receipt::statement::{self, Made};
use crate::tree::{EntryKind, Tree, TreeError};

mod history;

pub use history::{BlobId, FolderId, Origin};

/// A symbolic link that leads through more than this many others leads nowhere.
const MAX_LINKS: usize = 40;
/// Folders nested deeper than this are refused: hostile.
const MAX_DEPTH: usize = 256;
/// A link's target is a path.
const MAX_LINK_TARGET: u64 = 4096;
/// So many folders of a commit are kept in memory: each is asked for once a file of it.
const KEPT_FOLDERS: usize = 256;

/// Why a repository, or something in it, could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It belongs to somebody else.
    #[error(
        "the git repository in `{path}` belongs to another user: if you trust it, type `git config --global --add safe.directory {path}`"
    )]
    Owner {
        /// The folder of the repository.
        path: Utf8PathBuf,
    },
    /// It is there and cannot be opened.
    #[error("the git repository of `{path}` cannot be read: {}", source.message())]
    Open {
        /// The workspace.
        path: Utf8PathBuf,
        /// Why.
        source: git2::Error,
    },
    /// No such commit.
    #[error("`{revision}` names no commit here: {}", source.message())]
    Revision {
        /// As it was asked for.
        revision: String,
        /// Why.
        source: git2::Error,
    },
    /// An object could not be read.
    #[error("cannot read {what} from the git repository: {}", source.message())]
    Object {
        /// What.
        what: String,
        /// Why.
        source: git2::Error,
    },
}

/// The id of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CommitId(Oid);

impl std::fmt::Display for CommitId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

/// The git repository that a workspace lies in.
pub struct Repository {
    inner: git2::Repository,
    /// Where the workspace lies in the working tree; empty if it is the whole.
    prefix: Utf8PathBuf,
    /// Of blobs that were read whole, so that each is read once however many commits have it.
    digests: Mutex<HashMap<Oid, Digests>>,
}

/// Opens the repository that the folder `workspace` (absolute, links resolved) lies in; `None` if it lies in none.
///
/// # Errors
///
/// [`GitError::Owner`], [`GitError::Open`] if there is one that cannot be read.
pub fn open(workspace: &Utf8Path) -> Result<Option<Repository>, GitError> {
    let flags = RepositoryOpenFlags::empty();
    let no_ceiling: [&std::ffi::OsStr; 0] = [];
    let path = workspace.to_owned();
    let inner = match git2::Repository::open_ext(workspace, flags, no_ceiling) {
        Ok(inner) => inner,
        Err(error) if error.code() == ErrorCode::NotFound => return Ok(None),
        Err(error) if error.code() == ErrorCode::Owner => {
            // `safe.directory` wants the folder of the repository, which may lie above the workspace.
            let root = workspace.ancestors().find(|folder| folder.join(".git").exists());
            let path = root.unwrap_or(workspace).to_owned();
            return Err(GitError::Owner { path });
        }
        Err(source) => return Err(GitError::Open { path, source }),
    };
    let prefix = inner
        .workdir()
        .and_then(Utf8Path::from_path)
        .and_then(|root| root.canonicalize_utf8().ok())
        .and_then(|root| workspace.strip_prefix(root).map(Utf8Path::to_owned).ok());
    Ok(prefix.map(|prefix| Repository {
        inner,
        prefix,
        digests: Mutex::default(),
    }))
}

/// The folders in which git keeps the repository that the folder `workspace` lies in, wherever they are (of a linked
/// working tree there are two); none if there is none or it cannot be read.
#[must_use]
pub fn folders(workspace: &Utf8Path) -> Vec<Utf8PathBuf> {
    let no_ceiling: [&std::ffi::OsStr; 0] = [];
    let opened = git2::Repository::open_ext(workspace, RepositoryOpenFlags::empty(), no_ceiling);
    let folders = opened.map(|found| [found.path().to_owned(), found.commondir().to_owned()]);
    let folders = folders.into_iter().flatten();
    folders
        .filter_map(|folder| Utf8PathBuf::from_path_buf(folder).ok())
        .collect()
}

impl Repository {
    /// The commit that is checked out; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if it cannot be read.
    pub fn head(&self) -> Result<Option<CommitId>, GitError> {
        let found = self.inner.head().and_then(|head| head.peel_to_commit());
        match found {
            Ok(commit) => Ok(Some(CommitId(commit.id()))),
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch) => Ok(None),
            Err(source) => Err(object("HEAD", source)),
        }
    }

    /// The commit that `revision` names: `HEAD`, a branch, a tag, an id or the beginning of one.
    ///
    /// # Errors
    ///
    /// [`GitError::Revision`] if it names none, or more than one.
    pub fn resolve_commit(&self, revision: &str) -> Result<CommitId, GitError> {
        let bounded = match revision.len() <= 1024 && !revision.contains('\0') {
            true => Ok(revision),
            false => Err(git2::Error::from_str("not a revision")),
        };
        let found = bounded.and_then(|revision| self.inner.revparse_single(revision)?.peel_to_commit());
        let commit = found.map_err(|source| GitError::Revision {
            revision: revision.chars().take(120).collect(),
            source,
        })?;
        Ok(CommitId(commit.id()))
    }

    /// The commit with exactly that id, or `None` if it is not here (a shallow clone, a rebase).
    #[must_use]
    pub fn find_commit(&self, hex: &str) -> Option<CommitId> {
        let oid = Oid::from_str(hex).ok()?;
        self.inner.find_commit(oid).ok().map(|commit| CommitId(commit.id()))
    }

    /// The commits that HEAD and all branches lead to, newest first, at most `most` of them.
    ///
    /// # Errors
    ///
    /// [`GitError::Object`] if the history cannot be read.
    pub fn history(&self, most: usize) -> Result<Vec<CommitId>, GitError> {
        let failed = |source| object("the history", source);
        let mut walk = self.inner.revwalk().map_err(failed)?;
        walk.set_sorting(git2::Sort::TIME).map_err(failed)?;
        // A repository may have no commit, or no branch: then there is only less to walk.
        let _ = walk.push_head();
        for branch in ["refs/heads/*", "refs/remotes/*", "refs/tags/*"] {
            let _ = walk.push_glob(branch);
        }
        // In a shallow clone the walk ends where the history does.
        Ok(walk.map_while(Result::ok).take(most).map(CommitId).collect())
    }

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
            digests: &self.digests,
        })
    }
}

/// A file that a stage used: what is compared with the commit.
#[derive(Clone, Debug)]
pub struct UsedFile<'a> {
    /// Relative to the workspace.
    pub path: &'a Utf8Path,
    /// Of the bytes that were used.
    pub digests: Digests,
    /// How many bytes those were.
    pub size: u64,
}

/// What a stage used, as a receipt names it.
#[derive(Clone, Debug)]
pub enum Used<'a> {
    /// A file.
    File(UsedFile<'a>),
    /// A folder whose files the receipt does not list: the commit must have just these.
    Folder {
        /// Relative to the workspace.
        path: &'a Utf8Path,
        /// Of its files.
        listing: ListingDigests,
    },
    /// A pattern whose files the receipt does not list: the commit must have each of them.
    Pattern {
        /// As it is written.
        pattern: &'a Utf8Path,
        /// What it found.
        files: Vec<UsedFile<'a>>,
    },
}

impl Used<'_> {
    /// As it stands in a receipt.
    fn name(&self) -> &Utf8Path {
        match self {
            Self::File(file) => file.path,
            Self::Folder { path, .. } => path,
            Self::Pattern { pattern, .. } => pattern,
        }
    }
}

/// What a receipt says under `made`, of what is in `repository` now: the commit that is checked out, and which of `files` it has
/// with other bytes or not at all.
///
/// # Errors
///
/// [`GitError::Object`] if the commit cannot be read.
pub fn made(repository: Option<&Repository>, files: &[Used<'_>]) -> Result<Made, GitError> {
    let Some(repository) = repository else {
        return Ok(Made::without_commit(statement::Repository::None));
    };
    let Some(head) = repository.head()? else {
        return Ok(Made::without_commit(statement::Repository::Unborn));
    };
    let tree = repository.tree(head)?;
    let mut differs: Vec<String> = files
        .iter()
        .filter(|used| match used {
            Used::File(file) => !tree.has(file),
            Used::Folder { path, listing } => tree.listing(path).ok().flatten() != Some(*listing),
            Used::Pattern { files, .. } => !files.iter().all(|file| tree.has(file)),
        })
        .map(|used| used.name().to_string())
        .collect();
    differs.sort_unstable();
    differs.dedup();
    Ok(Made {
        commit: Some(head.to_string()),
        differs,
        repository: statement::Repository::Git,
    })
}

/// The files of a workspace as a commit has them.
pub struct CommitTree<'a> {
    repository: &'a git2::Repository,
    /// The folder of the workspace; `None` if the commit does not have it.
    root: Option<Oid>,
    /// Folders that were read: libgit2 keeps only small ones, and would read a large one again for each of its files.
    folders: RefCell<HashMap<Oid, Rc<git2::Tree<'a>>>>,
    digests: &'a Mutex<HashMap<Oid, Digests>>,
}

/// What a path of a commit leads to, links followed.
enum Found {
    Absent,
    BadLink,
    Other,
    Folder(Oid),
    File { blob: Oid, executable: bool },
}

impl<'a> CommitTree<'a> {
    /// The digests of the listing of `folder`, or `None` if the commit has no folder there, or one that holds more than
    /// files.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if it cannot be read.
    pub fn listing(&self, folder: &Utf8Path) -> Result<Option<ListingDigests>, TreeError> {
        let mut listed = Vec::new();
        for (path, kind) in self.files_below(folder)? {
            let (EntryKind::File { executable }, Some(digests)) = (kind, self.file_digests(&path)?) else {
                return Ok(None);
            };
            listed.push(ListedFile {
                path,
                executable,
                digests,
            });
        }
        Ok((!listed.is_empty()).then(|| listing_digests(&listed).ok()).flatten())
    }

    fn folder(&self, path: &Utf8Path, id: Oid) -> Result<Rc<git2::Tree<'a>>, TreeError> {
        let mut folders = self.folders.borrow_mut();
        if let Some(folder) = folders.get(&id) {
            return Ok(Rc::clone(folder));
        }
        let folder = self.repository.find_tree(id);
        let folder = Rc::new(folder.map_err(|error| unreadable(path, error))?);
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

    fn blob_digests(&self, path: &Utf8Path, blob: Oid) -> Result<Digests, TreeError> {
        let known = self.digests.lock().ok().and_then(|map| map.get(&blob).copied());
        if let Some(digests) = known {
            return Ok(digests);
        }
        let found = self.repository.find_blob(blob);
        let digests = Digests::of(found.map_err(|error| unreadable(path, error))?.content());
        if let Ok(mut map) = self.digests.lock() {
            map.insert(blob, digests);
        }
        Ok(digests)
    }

    /// Whether the commit has `file` with those bytes; the size is compared first. What cannot be read differs.
    fn has(&self, file: &UsedFile<'_>) -> bool {
        let Ok(Found::File { blob, .. }) = self.find(file.path) else {
            return false;
        };
        self.blob_size(blob).is_some_and(|size| size == file.size)
            && self.blob_digests(file.path, blob).is_ok_and(|d| d == file.digests)
    }

    fn blob_size(&self, blob: Oid) -> Option<u64> {
        let header = self.repository.odb().and_then(|odb| odb.read_header(blob));
        header.ok().map(|(size, _)| size as u64)
    }

    fn find(&self, path: &Utf8Path) -> Result<Found, TreeError> {
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
        if self.blob_size(blob).is_none_or(|size| size > MAX_LINK_TARGET) {
            return Ok(None);
        }
        let found = self
            .repository
            .find_blob(blob)
            .map_err(|error| unreadable(path, error))?;
        let target = std::str::from_utf8(found.content()).ok();
        Ok(target
            .filter(|target| !target.is_empty() && !target.starts_with('/'))
            .map(str::to_owned))
    }

    fn walk(
        &self,
        folder: &Utf8Path,
        id: Oid,
        depth: usize,
        files: &mut Vec<(Utf8PathBuf, EntryKind)>,
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
                0o040_000 => self.walk(&path, entry.id(), depth + 1, files)?,
                mode @ (0o100_644 | 0o100_664 | 0o100_755) => {
                    let executable = mode == 0o100_755;
                    files.push((path, EntryKind::File { executable }));
                }
                _ => {
                    let kind = self.kind(&path)?.unwrap_or(EntryKind::BadLink);
                    files.push((path, kind));
                }
            }
        }
        Ok(())
    }
}

impl Tree for CommitTree<'_> {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        Ok(match self.find(path)? {
            Found::Absent => None,
            Found::BadLink => Some(EntryKind::BadLink),
            Found::Other => Some(EntryKind::Other),
            Found::Folder(_) => Some(EntryKind::Folder),
            Found::File { executable, .. } => Some(EntryKind::File { executable }),
        })
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
        if self.blob_size(blob).is_none_or(|size| size > limit) {
            let path = path.to_owned();
            return Err(TreeError::TooLarge { path, limit });
        }
        let found = self.repository.find_blob(blob);
        Ok(found.map_err(|error| unreadable(path, error))?.content().to_vec())
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<(Utf8PathBuf, EntryKind)>, TreeError> {
        let mut files = Vec::new();
        if let Found::Folder(id) = self.find(folder)? {
            self.walk(folder, id, 0, &mut files)?;
        }
        files.sort_by(|(a, _), (b, _)| a.as_str().as_bytes().cmp(b.as_str().as_bytes()));
        Ok(files)
    }
}

fn unreadable(path: &Utf8Path, error: git2::Error) -> TreeError {
    TreeError::Read {
        path: path.to_owned(),
        source: Box::new(error),
    }
}

fn object(what: &str, source: git2::Error) -> GitError {
    let what = what.to_owned();
    GitError::Object { what, source }
}
