//! The execution root: the folder that a program stage runs in, with its declared inputs and nothing else.
//!
//! ```text
//! scratch/<run>/<stage number>         the working folder: inputs at their paths, folders for outputs
//! scratch/<run>/<stage number>.home    HOME and TMPDIR
//! ```

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use camino::{Utf8Path, Utf8PathBuf};

use super::folders;
use crate::digest::Digest;
use crate::held::Held;
use crate::plan::Output;
use crate::store::{StoreError, atomic, read_sized};

/// An input file up to this size is copied in; a larger one is linked to.
const COPY_LIMIT: u64 = 1024 * 1024;

/// What the roots of finished stages may take together.
const ROOM: u64 = 256 << 20;

/// What the folders of a root take on most file systems.
const FOLDERS: u64 = 4 * 4096;

/// A file or folder that a stage declared as an input.
#[derive(Clone, Debug)]
pub struct RootEntry {
    /// Its path in the workspace, and so in the root.
    pub path: Utf8PathBuf,
    /// Where it lies.
    pub absolute: Utf8PathBuf,
    /// What it is.
    pub kind: RootEntryKind,
}

impl RootEntry {
    /// Whether it is copied in, not linked to.
    fn is_copied(&self) -> bool {
        matches!(self.kind, RootEntryKind::File { size, .. } if size <= COPY_LIMIT)
    }
}

/// What an input is.
#[derive(Clone, Copy, Debug)]
pub enum RootEntryKind {
    /// A folder: always one link.
    Folder,
    /// A file.
    File {
        /// In bytes.
        size: u64,
        /// What the action says that it holds.
        digest: Digest,
        /// Whether its owner may execute it.
        executable: bool,
    },
}

/// Why an execution root could not be made, or what a stage left in it is not acceptable.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The store's folder could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An input could not be brought in.
    #[error("cannot bring input `{path}` into the execution root")]
    Bring {
        /// Its path in the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An input is not what it was when the action was made.
    #[error("input `{path}` changed while the stage was being prepared")]
    InputChanged {
        /// Its path in the workspace.
        path: Utf8PathBuf,
    },
    /// What the stage left could not be read.
    #[error("cannot read what the stage left at `{path}`")]
    Read {
        /// Its path in the root.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What a stage left that its declaration does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A declared output is not there.
    OutputMissing(Utf8PathBuf),
    /// A declared output is a link, a folder or something else that is not a file.
    OutputNotAFile(Utf8PathBuf, String),
    /// A declared output that is a folder is a file, a link or something else.
    OutputNotAFolder(Utf8PathBuf, String),
    /// A declared output folder has no file in it.
    FolderEmpty(Utf8PathBuf),
    /// A file of an output folder is none that an output folder can hold; why.
    BadMember(String, String),
    /// A file that was not declared.
    Undeclared(Utf8PathBuf),
    /// The stage changed its own copy of an input.
    InputModified(Utf8PathBuf),
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::OutputMissing(path) => write!(f, "it did not write its output `{path}`"),
            Self::OutputNotAFile(path, found) => write!(f, "its output `{path}` is {found}, not a file"),
            Self::OutputNotAFolder(path, found) => write!(f, "its output `{path}/` is {found}, not a folder"),
            Self::FolderEmpty(path) => write!(f, "it wrote no file into its output folder `{path}/`"),
            Self::BadMember(path, why) => write!(f, "it wrote `{path}`, which {why}"),
            Self::Undeclared(path) if path.components().any(|part| part.as_str() == "__pycache__") => write!(
                f,
                "it wrote `{path}`, which it does not declare; `python3 -B` writes no such file"
            ),
            Self::Undeclared(path) => write!(
                f,
                "it wrote `{path}`, which it does not declare; name it under `outputs:`, or write it to $TMPDIR"
            ),
            Self::InputModified(path) => write!(f, "it modified its input `{path}`"),
        }
    }
}

/// How much the roots of stages that are done with may still take until the end of the run.
///
/// To remove each at once costs more than to run a small program: ext4 does not give out an inode that was freed within the last
/// seconds, and looks at every such inode again each time that a file or folder is made.
#[derive(Debug)]
pub struct Room(AtomicU64);

impl Default for Room {
    fn default() -> Self {
        Self(AtomicU64::new(ROOM))
    }
}

impl Room {
    /// Whether there is room for `size` bytes, which are then taken.
    fn take(&self, size: u64) -> bool {
        let size = size + FOLDERS;
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(size));
        taken.is_ok()
    }
}

/// An execution root on disk. Removed by [`ExecutionRoot::remove`], or with all of `scratch/` by the next run.
#[derive(Debug)]
pub struct ExecutionRoot {
    folder: Utf8PathBuf,
    /// The same, held open since before the program began: what it left is opened from there.
    held: Held,
    entries: Vec<RootEntry>,
}

impl ExecutionRoot {
    /// Makes the root `folder`: brings in `entries` and makes the folders of `outputs`; an output folder is empty.
    ///
    /// # Errors
    ///
    /// [`RootError`] if something cannot be written, or an input is no longer what the action says.
    pub fn prepare(folder: Utf8PathBuf, entries: Vec<RootEntry>, outputs: &[Output]) -> Result<Self, RootError> {
        atomic::create_folder(&folder)?;
        let held = Held::open(&folder).map_err(|source| StoreError::Read {
            path: folder.clone(),
            source,
        })?;
        let root = Self { folder, held, entries };
        atomic::create_folder(&root.home())?;
        let mut made = root.folder.clone();
        for entry in &root.entries {
            let to = root.folder.join(&entry.path);
            make_folder(atomic::folder_of(&to).to_owned(), &mut made)?;
            bring(entry, &to)?;
        }
        for output in outputs {
            let path = root.folder.join(&output.path);
            let folder = match output.is_folder {
                true => path,
                false => atomic::folder_of(&path).to_owned(),
            };
            make_folder(folder, &mut made)?;
        }
        Ok(root)
    }

    /// The stage's working folder.
    #[must_use]
    pub fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// The same, to open what the stage left.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// The stage's `HOME`, and its `TMPDIR`.
    #[must_use]
    pub fn home(&self) -> Utf8PathBuf {
        let name = self.folder.file_name().unwrap_or_default();
        self.folder.with_file_name(format!("{name}.home"))
    }

    /// The inputs that are not in the root but linked to: where they lie.
    pub fn linked(&self) -> impl Iterator<Item = &Utf8Path> {
        let linked = self.entries.iter().filter(|entry| !entry.is_copied());
        linked.map(|entry| entry.absolute.as_path())
    }

    /// Everything in the root that breaks the declaration, after the stage has ended.
    ///
    /// # Errors
    ///
    /// [`RootError::Read`] if the root cannot be walked.
    pub fn breaches(&self, outputs: &[Output]) -> Result<Vec<Breach>, RootError> {
        let folder = self.folder.as_path();
        let mut breaches = Vec::new();
        for Output { path, is_folder, .. } in outputs {
            let absolute = folder.join(path);
            match fs::symlink_metadata(&absolute) {
                Ok(found) if found.is_dir() && *is_folder => {
                    let members = folders::faults(folder, path).map_err(|source| RootError::Read {
                        path: path.clone(),
                        source,
                    })?;
                    breaches.extend(members);
                }
                Ok(found) if found.is_file() && !is_folder => {}
                Ok(found) => {
                    let found = kind_name(&found, &absolute);
                    breaches.push(match is_folder {
                        true => Breach::OutputNotAFolder(path.clone(), found),
                        false => Breach::OutputNotAFile(path.clone(), found),
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    breaches.push(Breach::OutputMissing(path.clone()));
                }
                Err(source) => {
                    let path = path.clone();
                    return Err(RootError::Read { path, source });
                }
            }
        }
        let is_output_folder = |path: &Utf8Path| outputs.iter().any(|output| output.is_folder && output.path == path);
        let is_output = |path: &Utf8Path| outputs.iter().any(|output| output.path == path);
        let inputs: BTreeSet<&Utf8Path> = self.entries.iter().map(|entry| entry.path.as_path()).collect();
        let mut walk = walkdir::WalkDir::new(folder)
            .min_depth(1)
            .sort_by_file_name()
            .into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.map_err(|error| RootError::Read {
                path: folder.to_owned(),
                source: error.into(),
            })?;
            let path = entry
                .path()
                .strip_prefix(folder)
                .expect("the walk began there")
                .to_string_lossy();
            let path = Utf8Path::new(&*path);
            if entry.file_type().is_dir() && is_output_folder(path) {
                // What is in it is its own.
                walk.skip_current_dir();
                continue;
            }
            if !entry.file_type().is_dir() && !inputs.contains(path) && !is_output(path) {
                breaches.push(Breach::Undeclared(path.to_owned()));
            }
        }
        for entry in &self.entries {
            match self.is_modified(entry) {
                Ok(false) => {}
                Ok(true) => breaches.push(Breach::InputModified(entry.path.clone())),
                Err(source) => {
                    let path = entry.path.clone();
                    return Err(RootError::Read { path, source });
                }
            }
        }
        Ok(breaches)
    }

    /// Removes the root and all that the stage left.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if something cannot be removed.
    pub fn remove(self) -> Result<(), StoreError> {
        atomic::remove_folder(&self.home())?;
        atomic::remove_folder(&self.folder)
    }

    /// The same, when the stage has ended well and its `outputs` were taken; what is next to nothing stays until the end of the
    /// run, as long as there is `room` for it.
    ///
    /// # Errors
    ///
    /// Like [`ExecutionRoot::remove`].
    pub fn leave(self, outputs: &[Output], room: &Room) -> Result<(), StoreError> {
        match self.size_if_plain(outputs) {
            Some(size) if room.take(size) => Ok(()),
            _ => self.remove(),
        }
    }

    /// How many bytes there are in the root, if there are only copies of inputs and outputs in it, and nothing in the other folder.
    fn size_if_plain(&self, outputs: &[Output]) -> Option<u64> {
        if !fs::read_dir(self.home()).is_ok_and(|mut entries| entries.next().is_none()) {
            return None;
        }
        let copied = self.entries.iter().filter(|entry| entry.is_copied());
        let copied = copied.filter_map(|entry| match entry.kind {
            RootEntryKind::File { size, .. } => Some(size),
            RootEntryKind::Folder => None,
        });
        if outputs.iter().any(|output| output.is_folder) {
            return None;
        }
        // An output that the store has already was not moved there.
        let left = outputs.iter().filter_map(|output| {
            let found = fs::symlink_metadata(self.folder.join(&output.path)).ok()?;
            Some(found.len())
        });
        Some(copied.chain(left).sum())
    }

    /// What cannot be read by what a program can do to it was modified; any other error is the machine's.
    fn is_modified(&self, entry: &RootEntry) -> io::Result<bool> {
        let is_same = match entry.kind {
            // Never more of it than it was, whatever it has become.
            RootEntryKind::File { size, digest, .. } if size <= COPY_LIMIT => self
                .held
                .file(&entry.path)
                .and_then(|(file, _)| read_sized(file, size))
                .map(|bytes| Digest::of(&bytes) == digest),
            _ => fs::read_link(self.folder.join(&entry.path)).map(|target| target == entry.absolute),
        };
        match is_same {
            Ok(is_same) => Ok(!is_same),
            Err(error) if is_by_program(error.kind()) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Whether a program can have caused that a file it was given cannot be read: it removed it, closed it, or put something else in its place.
fn is_by_program(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    )
}

/// Makes `folder`, unless it is the one that was `made` last: paths come in order, so that it mostly is.
fn make_folder(folder: Utf8PathBuf, made: &mut Utf8PathBuf) -> Result<(), StoreError> {
    if folder != *made {
        atomic::create_folder(&folder)?;
        *made = folder;
    }
    Ok(())
}

/// Brings an input to its place `to`, whose folder is there.
fn bring(entry: &RootEntry, to: &Utf8Path) -> Result<(), RootError> {
    let failed = |source| RootError::Bring {
        path: entry.path.clone(),
        source,
    };
    match entry.kind {
        RootEntryKind::File {
            size,
            digest,
            executable,
        } if size <= COPY_LIMIT => {
            let from = File::open(&entry.absolute).map_err(failed)?;
            let bytes = read_sized(from, size).map_err(failed)?;
            if bytes.len() as u64 != size || Digest::of(&bytes) != digest {
                return Err(RootError::InputChanged {
                    path: entry.path.clone(),
                });
            }
            let mut file = File::create_new(to).map_err(failed)?;
            file.write_all(&bytes).map_err(failed)?;
            match executable {
                true => atomic::set_published_mode(&file, executable).map_err(failed),
                // As it is made.
                false => Ok(()),
            }
        }
        _ => link(&entry.absolute, to).map_err(failed),
    }
}

#[cfg(unix)]
fn link(target: &Utf8Path, at: &Utf8Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

#[cfg(not(unix))]
fn link(target: &Utf8Path, at: &Utf8Path) -> io::Result<()> {
    fs::copy(target, at).map(drop)
}

fn kind_name(found: &fs::Metadata, path: &Utf8Path) -> String {
    if found.is_symlink() {
        let target = fs::read_link(path).unwrap_or_default();
        format!("a link (to `{}`)", target.display())
    } else if found.is_dir() {
        "a folder".to_owned()
    } else if found.is_file() {
        "a file".to_owned()
    } else {
        "a special file".to_owned()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_a_program_did_to_an_input_is_told_from_what_the_machine_did() {
        use rustix::io::Errno;
        let is_program = |errno: Errno| is_by_program(io::Error::from(errno).kind());
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::INVAL, Errno::ISDIR, Errno::NOTDIR] {
            assert!(is_program(errno), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::IO, Errno::NOMEM, Errno::STALE] {
            assert!(!is_program(errno), "{errno}");
        }
    }
}
