//! Output folders: what a stage may leave in one, how it is taken into the store, and how it is put in place.
//!
//! A folder is taken and placed as a whole. It is built in scratch and renamed into place, so that a kill leaves the old
//! one, none, or the new one whole.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::ExecError;
use super::event::Note;
use super::inputs::InputError;
use super::root::{Breach, ExecutionRoot};
use super::stage::{Attempt, Said};
use super::state::{FileState, InputState};
use super::trial::MadeFile;
use crate::commitment::PersonalKey;
use crate::listing::{ArtifactDigests, ListedFile, listing_digests};
use crate::plan::folded;
use crate::store::stat_cache::Hashed;
use crate::store::trees::MAX_FILES;
use crate::store::{StoreError, atomic};

/// So many files of one folder are each said to be wrong.
const MOST_FAULTS: usize = 10;
/// The longest path, as for every other path of a pipeline.
const LONGEST: usize = 4000;

/// Everything in the output folder `output` of the execution root `root` that an output folder cannot hold; or that it has no
/// file at all.
pub(super) fn faults(root: &Utf8Path, output: &Utf8Path) -> io::Result<Vec<Breach>> {
    let mut faults = Vec::new();
    let mut names: HashMap<String, Utf8PathBuf> = HashMap::new();
    let mut files = 0_usize;
    for entry in walkdir::WalkDir::new(root.join(output))
        .min_depth(1)
        .sort_by_file_name()
    {
        let entry = entry?;
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let why = match Utf8Path::from_path(path) {
            None => Some("has a name that is not UTF-8: rename it".to_owned()),
            Some(path) => fault_of(path, &entry, &mut names),
        };
        files += usize::from(!entry.file_type().is_dir());
        if files > MAX_FILES {
            let why = format!("is one file more than the {MAX_FILES} that an output folder can hold");
            faults.push(Breach::BadMember(path.to_string_lossy().into_owned(), why));
            return Ok(faults);
        }
        if let Some(why) = why {
            let shown = path.to_string_lossy().escape_debug().to_string();
            faults.push(Breach::BadMember(shown, why));
            if faults.len() >= MOST_FAULTS {
                return Ok(faults);
            }
        }
    }
    if files == 0 {
        faults.push(Breach::FolderEmpty(output.to_owned()));
    }
    Ok(faults)
}

/// Why an output folder cannot hold `path`.
fn fault_of(path: &Utf8Path, entry: &walkdir::DirEntry, names: &mut HashMap<String, Utf8PathBuf>) -> Option<String> {
    let name = path.file_name().unwrap_or_default();
    if name.contains(char::is_control) {
        return Some("has a control character in its name: rename it".to_owned());
    }
    if path.as_str().len() > LONGEST {
        return Some(format!("has a path of more than {LONGEST} bytes: use a shorter one"));
    }
    if folded(name) == ".git" {
        return Some("has a name that is git's own: an output folder holds no repository".to_owned());
    }
    let kind = entry.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let leads_out = match fs::canonicalize(entry.path()) {
            Ok(real) => !entry
                .path()
                .ancestors()
                .nth(entry.depth())
                .and_then(|top| fs::canonicalize(top).ok())
                .is_some_and(|top| real.starts_with(top)),
            Err(_) => true,
        };
        let where_to = if leads_out {
            ", out of the folder or nowhere"
        } else {
            ""
        };
        let target = target.to_string_lossy().escape_debug().to_string();
        return Some(format!(
            "is a link (to `{target}`{where_to}): an output folder holds regular files, so copy the file"
        ));
    }
    if !kind.is_file() && !kind.is_dir() {
        return Some("is a special file: an output folder holds regular files".to_owned());
    }
    // Above it the same was asked of each folder.
    let other = names.insert(folded(path.as_str()), path.to_owned());
    other.map(|other| format!("is one file with `{other}` on some file systems: rename one of the two"))
}

impl Attempt<'_> {
    /// Takes the folder that the stage has made at `path` of its `root` into the store, as what will lie at `path`; its listing by keyed
    /// digests if there is a `key`. Its files are known by the listing alone.
    pub(super) fn take_folder(
        &self,
        root: &ExecutionRoot,
        path: &Utf8Path,
        key: Option<&PersonalKey>,
    ) -> Result<ArtifactDigests, ExecError> {
        let session = self.session;
        let made = root.folder().join(path);
        let failed = |source: io::Error| StoreError::Read {
            path: made.clone(),
            source,
        };
        let mut files = Vec::new();
        atomic::let_owner_change(made.as_std_path()).map_err(failed)?;
        for entry in walkdir::WalkDir::new(&made).min_depth(1) {
            let entry = entry.map_err(|error| failed(error.into()))?;
            if entry.file_type().is_dir() {
                // Programs make folders read-only too, and files are moved out of them.
                atomic::let_owner_change(entry.path()).map_err(failed)?;
                continue;
            }
            let file = Utf8Path::from_path(entry.path())
                .ok_or_else(|| failed(io::Error::new(io::ErrorKind::InvalidData, "a name is not UTF-8")))?;
            files.push(file.strip_prefix(&made).unwrap_or(file).to_owned());
        }
        files.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        let cas = session.store.cas();
        let held = root.held().folder(path).map_err(failed)?;
        let listed = files
            .into_par_iter()
            .map(|file| {
                let failed = |source| StoreError::Read {
                    path: made.join(&file),
                    source,
                };
                let read = MadeFile::read(&held, &file).map_err(failed)?;
                let move_to = |to: &Utf8Path| held.move_out(&file, to);
                session
                    .unsynced
                    .add(cas.adopt((&read.file, &read.found), read.digests.blake3, move_to)?);
                Ok(ListedFile {
                    path: path.join(&file),
                    executable: read.executable,
                    digests: read.digests,
                })
            })
            .collect::<Result<Vec<ListedFile>, StoreError>>()?;
        let listing = listing_digests(&listed).map_err(|source| InputError::List {
            path: path.to_owned(),
            source,
        })?;
        let plain = ArtifactDigests::Folder(listing);
        let digests = plain.keyed_by(key);
        session
            .store
            .trees()
            .keep(digests.blake3(), &listed, &session.unsynced)?;
        Ok(digests)
    }

    /// Puts the folder `path` in place from the store. What lies there and could be lost is moved away first.
    pub(super) fn place_folder(&self, path: &Utf8Path, claimed: &ArtifactDigests) -> Result<InputState, ExecError> {
        let session = self.session;
        let name = claimed.blake3();
        let kept = session.store.trees().path(name);
        let files = session.store.files_of(claimed).ok_or_else(|| StoreError::Read {
            path: kept,
            source: io::ErrorKind::NotFound.into(),
        })?;
        let scratch = session.scratch();
        let built = scratch.join(format!("placed-{}", name.to_hex()));
        let states = self.build(path, &files, &built)?;
        self.displace_from_folder(path)?;
        let absolute = session.workspace.absolute(path);
        let failed = |source| StoreError::Write {
            path: absolute.clone(),
            source,
        };
        if absolute.symlink_metadata().is_ok() {
            let old = scratch.join(format!("replaced-{}", name.to_hex()));
            atomic::move_away(&absolute, &old).map_err(failed)?;
            atomic::remove_folder(&old)?;
        }
        atomic::create_folder(atomic::folder_of(&absolute))?;
        fs::rename(&built, &absolute).map_err(failed)?;
        for folder in folders_of(path, &files) {
            session.unsynced.add(session.workspace.absolute(folder));
        }
        for file in &files {
            session.unsynced.add(session.workspace.absolute(&file.path));
            session.note_placed(&file.path, file.digests);
        }
        let state = InputState::of_folder(path, states).map_err(|source| {
            let path = path.to_owned();
            InputError::List { path, source }
        })?;
        match claimed {
            ArtifactDigests::Keyed(_) => Ok(session.hashes.keyed(state.clone()).unwrap_or(state)),
            ArtifactDigests::File(_) | ArtifactDigests::Folder(_) => Ok(state),
        }
    }

    /// Makes the folder `path` anew at `built`.
    fn build(&self, path: &Utf8Path, files: &[ListedFile], built: &Utf8Path) -> Result<Vec<FileState>, ExecError> {
        let cas = self.session.store.cas();
        // A folder that was left there by an attempt that failed is no obstacle.
        atomic::remove_folder(&built.to_owned())?;
        let place = |file: &Utf8Path| Ok::<_, StoreError>(built.join(below(path, file)?));
        for folder in folders_of(path, files) {
            atomic::create_folder(&place(folder)?)?;
        }
        let states = files.par_iter().map(|file| {
            let to = place(&file.path)?;
            let stamp = cas.copy(file.digests.blake3, &to, file.executable)?;
            Ok(FileState {
                path: file.path.as_path().into(),
                hashed: Hashed {
                    digests: file.digests,
                    stamp,
                },
            })
        });
        Ok(states.collect::<Result<_, StoreError>>()?)
    }

    /// Moves what lies in the folder `path`, and is no object of the store, to `.madmall/displaced/`: all else can be had
    /// again.
    fn displace_from_folder(&self, path: &Utf8Path) -> Result<(), ExecError> {
        let session = self.session;
        let absolute = session.workspace.absolute(path);
        if !absolute.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            return self.displace(path);
        }
        let failed = |source| StoreError::Read {
            path: absolute.clone(),
            source,
        };
        let mut all = Vec::new();
        for entry in walkdir::WalkDir::new(&absolute).min_depth(1) {
            let entry = entry.map_err(|error| failed(error.into()))?;
            if !entry.file_type().is_dir() {
                all.push((entry.file_type().is_file(), entry.into_path()));
            }
        }
        let cas = session.store.cas();
        let can_be_lost = |(is_file, file): &(bool, PathBuf)| {
            let known = file.strip_prefix(session.workspace.root()).ok();
            let digest = Utf8Path::from_path(known?).and_then(|file| session.hashes.file(file).ok());
            (*is_file).then_some(())?;
            digest.filter(|hashed| cas.contains(hashed.digests.blake3)).map(drop)
        };
        let count = all.len();
        let foreign: Vec<PathBuf> = all
            .into_par_iter()
            .filter(|file| can_be_lost(file).is_none())
            .map(|(_, file)| file)
            .collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let to = session.store.displaced_folder(&session.run_id).join(path);
        if foreign.len() == count {
            atomic::rename(&absolute, &to)?;
        } else {
            for file in foreign {
                let inside = file.strip_prefix(&absolute).unwrap_or(&file);
                let target = to.as_std_path().join(inside);
                let moved = target
                    .parent()
                    .map_or(Ok(()), fs::create_dir_all)
                    .and_then(|()| fs::rename(&file, &target));
                moved.map_err(|source| StoreError::Write {
                    path: to.clone(),
                    source,
                })?;
            }
        }
        let to = to.strip_prefix(session.workspace.root()).unwrap_or(&to).to_owned();
        (self.say)(Said::Note(Note::Displaced {
            path: path.to_owned(),
            to,
        }));
        Ok(())
    }
}

/// Where in the folder `path` one of its files or folders lies.
fn below<'a>(path: &Utf8Path, file: &'a Utf8Path) -> Result<&'a Utf8Path, StoreError> {
    file.strip_prefix(path).map_err(|_| StoreError::Read {
        path: file.to_owned(),
        source: io::Error::new(
            io::ErrorKind::InvalidData,
            "the listing of a folder names a file outside of it",
        ),
    })
}

/// The folder `path` and those in it that hold `files`, each after the one that it lies in.
fn folders_of<'a>(path: &'a Utf8Path, files: &'a [ListedFile]) -> BTreeSet<&'a Utf8Path> {
    let mut folders = BTreeSet::from([path]);
    for file in files {
        for folder in file
            .path
            .ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(path))
        {
            if !folders.insert(folder) {
                break;
            }
        }
    }
    folders
}
