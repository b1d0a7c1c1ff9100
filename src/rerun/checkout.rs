//! The temporary folder in which stages are run again, and what is brought into it.
//!
//! ```text
//! madmall-rerun-XXXXXX/      outside the workspace, removed at the end whatever happens
//!   outputs/<BLAKE3>         what came out the same, for the stages after it
//!   stage-<n>…/              the checkout of one stage: its inputs at their paths, and nothing else
//!   home/                    HOME and TMPDIR of the process that runs it
//! ```
//!
//! Files come, in this order, from the commit, from what was just made again, from the workspace, from its store. Each is
//! checked against both digests of the receipt while it is copied.

use std::fs::File;
use std::io;
use std::path::Path;

use camino::{Utf8Path, Utf8PathBuf};

use super::RerunError;
use super::recipe::{Needed, Recipe, Unlisted};
use crate::commitment::Same;
use crate::digest::{Digests, copy_hashed};
use crate::exec::interrupt::Interrupts;
use crate::git::CommitTree;
use crate::listing::{ArtifactDigests, ListedFile, listing_digests};
use crate::plan::find_files;
use crate::shared_path::SharedPath;
use crate::store::trees::read_file;
use crate::store::{Store, atomic};
use crate::tree::{EntryKind, Tree};
use crate::workspace::Workspace;

/// The largest file that is taken out of a commit: libgit2 reads it whole.
const LARGEST_BLOB: u64 = 4 << 30;

/// The temporary folder. It is removed when this is dropped.
pub(super) struct Bench {
    folder: Utf8PathBuf,
}

impl Bench {
    /// Makes one in the folder `parent`, which must lie outside of the workspace.
    pub(super) fn make(parent: &Utf8Path, workspace: &Workspace) -> Result<Self, RerunError> {
        let unusable = |source| RerunError::Temporary {
            path: parent.to_owned(),
            source,
        };
        let parent = parent.canonicalize_utf8().map_err(unusable)?;
        if parent.starts_with(workspace.root()) {
            return Err(RerunError::Inside { path: parent });
        }
        let made = tempfile::Builder::new()
            .prefix("madmall-rerun-")
            .tempdir_in(&parent)
            .map_err(unusable)?;
        let folder = Utf8PathBuf::from_path_buf(made.keep())
            .map_err(|_| unusable(io::Error::new(io::ErrorKind::InvalidData, "its path is not UTF-8")))?;
        let bench = Self { folder };
        for folder in [bench.outputs(), bench.home()] {
            atomic::create_folder(&folder)?;
        }
        Ok(bench)
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Utf8Path {
        &self.folder
    }

    /// `HOME` and `TMPDIR` of the process that runs a stage.
    pub(super) fn home(&self) -> Utf8PathBuf {
        self.folder.join("home")
    }

    /// What came out the same.
    fn outputs(&self) -> Utf8PathBuf {
        self.folder.join("outputs")
    }

    /// Where an output that came out the same is kept.
    pub(super) fn output(&self, digests: &ArtifactDigests) -> Utf8PathBuf {
        self.outputs().join(digests.blake3().to_hex())
    }

    /// Where the listing of an output folder that came out the same is kept.
    pub(super) fn listing(&self, folder: &ArtifactDigests) -> Utf8PathBuf {
        self.outputs().join(format!("{}.tree", folder.blake3().to_hex()))
    }

    /// The root for stage number `number`: its path has another length than that of `workspace`.
    pub(super) fn root(&self, number: usize, workspace: &Workspace) -> Utf8PathBuf {
        let root = self.folder.join(format!("stage-{number}"));
        match root.as_str().len() == workspace.root().as_str().len() {
            true => Utf8PathBuf::from(format!("{root}-again")),
            false => root,
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // Best effort: what a stage has made unremovable stays, in a folder that nobody relies on.
        let _ = atomic::remove_folder(&self.folder);
    }
}

/// Where bytes can come from.
pub(super) struct Sources<'a, 'r> {
    /// The commit; none if the workspace and the store must do.
    pub(super) commit: Option<&'a CommitTree<'r>>,
    /// What was just made again.
    pub(super) bench: &'a Bench,
    /// The workspace.
    pub(super) workspace: &'a Workspace,
    /// Its store, by whose key what is personal is compared.
    pub(super) store: &'a Store,
}

/// Why a file could not be brought in.
pub(super) enum BringError {
    /// Nobody has it; the text says so.
    Missing(String),
    /// The checkout cannot be written.
    Failed(RerunError),
}

impl Sources<'_, '_> {
    /// Whether the file may be executed where the receipt does not tell: as the commit has it, else the workspace.
    pub(super) fn is_executable(&self, path: &Utf8Path) -> bool {
        let kind = self.commit.and_then(|commit| commit.kind(path).ok().flatten());
        let kind = kind.or_else(|| self.workspace.kind(path).ok().flatten());
        kind == Some(EntryKind::File { executable: true })
    }

    /// Finds the files of the inputs that the receipt of `recipe` does not list. The text says which could not be.
    pub(super) fn list(&self, recipe: &mut Recipe) -> Result<(), String> {
        for unlisted in recipe.unlisted.clone() {
            let files = self.files_of(&unlisted).ok_or_else(|| {
                let what = match unlisted.made_by {
                    Some(_) => "is a folder that a stage made",
                    None => "is of so many files that its receipt does not list them",
                };
                format!(
                    "its input `{}` {what}, and they are not here as they were",
                    unlisted.path
                )
            })?;
            let paths: Vec<SharedPath> = files.iter().map(|file| file.path.as_path().into()).collect();
            recipe.list(&unlisted.input, &paths);
            recipe.needed.extend(files.into_iter().map(|file| Needed {
                path: file.path,
                digests: ArtifactDigests::File(file.digests),
                executable: Some(file.executable),
                made_by: unlisted.made_by.clone(),
            }));
        }
        Ok(())
    }

    /// The files of an input that its receipt does not list.
    pub(super) fn files_of(&self, unlisted: &Unlisted) -> Option<Vec<ListedFile>> {
        if unlisted.made_by.is_some() {
            return self.files_of_folder(&unlisted.path, &unlisted.digests);
        }
        let in_commit = self.commit.and_then(|commit| {
            let hash = |path: &Utf8Path| commit.file_digests(path).ok().flatten();
            self.listed(commit, &unlisted.path, &unlisted.digests, &hash)
        });
        in_commit.or_else(|| self.files_in_workspace(&unlisted.path, &unlisted.digests))
    }

    /// The files of a folder that a stage made: as it was just made again, as it is in place, or by the listing in the store.
    pub(super) fn files_of_folder(&self, path: &Utf8Path, claimed: &ArtifactDigests) -> Option<Vec<ListedFile>> {
        let again = read_file(&self.bench.listing(claimed)).ok();
        again
            .filter(|(_, found)| self.is(ArtifactDigests::Folder(*found), claimed))
            .map(|(files, _)| files)
            .or_else(|| self.files_in_workspace(path, claimed))
            .or_else(|| self.store.files_of(claimed))
    }

    /// Whether plain digests are what a receipt claims. Of what is personal nobody can tell without the secret: then they are not.
    pub(super) fn is(&self, found: ArtifactDigests, claimed: &ArtifactDigests) -> bool {
        found.compare(claimed, self.store.key()) == Same::Yes
    }

    fn files_in_workspace(&self, path: &Utf8Path, claimed: &ArtifactDigests) -> Option<Vec<ListedFile>> {
        let hash = |path: &Utf8Path| {
            let hashed = crate::digest::hash_file(&self.workspace.absolute(path));
            hashed.ok().map(|(digests, _)| digests)
        };
        self.listed(self.workspace, path, claimed, &hash)
    }

    /// The files that `tree` has for the input, if they are those that are `claimed`.
    fn listed(
        &self,
        tree: &dyn Tree,
        path: &Utf8Path,
        claimed: &ArtifactDigests,
        hash: &dyn Fn(&Utf8Path) -> Option<Digests>,
    ) -> Option<Vec<ListedFile>> {
        let files = listed(tree, path, hash)?;
        let found = listing_digests(&files).ok()?;
        self.is(ArtifactDigests::Folder(found), claimed).then_some(files)
    }

    /// Writes all that `recipe` needs below `root`. Files are made in an order that is not the usual one, so that a
    /// program that relies on the order in which a folder lists them gives itself away (where the file system keeps it).
    pub(super) fn bring(&self, recipe: &Recipe, root: &Utf8Path, interrupts: &Interrupts) -> Result<(), BringError> {
        let failed = |error: crate::store::StoreError| BringError::Failed(error.into());
        atomic::create_folder(root).map_err(failed)?;
        for file in recipe.needed.iter().rev() {
            super::check_interrupt(interrupts).map_err(BringError::Failed)?;
            let to = root.join(&file.path);
            atomic::create_folder(atomic::folder_of(&to)).map_err(failed)?;
            self.bring_file(file, &to)?;
        }
        Ok(())
    }

    fn bring_file(&self, file: &Needed, to: &Utf8Path) -> Result<(), BringError> {
        if let Some(commit) = self.commit
            && let Ok(Some(found)) = commit.file_digests(&file.path)
            && self.is(ArtifactDigests::File(found), &file.digests)
            && let Ok(bytes) = commit.read(&file.path, LARGEST_BLOB)
        {
            return self
                .write(to, file, &mut &bytes[..])
                .map_err(BringError::Failed)
                .and_then(|is_it| match is_it {
                    true => Ok(()),
                    false => Err(BringError::Missing(missing(file))),
                });
        }
        let Some(from) = self.find(&file.path, &file.digests) else {
            return Err(BringError::Missing(missing(file)));
        };
        let mut from = File::open(&from).map_err(|_| BringError::Missing(missing(file)))?;
        match self.write(to, file, &mut from).map_err(BringError::Failed)? {
            true => Ok(()),
            // It changed since it was found.
            false => Err(BringError::Missing(missing(file))),
        }
    }

    /// Copies what `from` gives to the new file `to`; whether it is what `file` says.
    fn write(&self, to: &Utf8Path, file: &Needed, from: &mut dyn io::Read) -> Result<bool, RerunError> {
        let failed = |source| RerunError::Write {
            path: to.to_owned(),
            source,
        };
        let mut copy = File::create_new(to).map_err(failed)?;
        let (found, _) = copy_hashed(from, &mut copy).map_err(failed)?;
        atomic::set_published_mode(&copy, file.executable == Some(true)).map_err(failed)?;
        Ok(self.is(ArtifactDigests::File(found), &file.digests))
    }

    /// Where on disk the bytes of `path` with these digests lie: among what was made again, in the workspace, or in its
    /// store. Nothing there is changed.
    pub(super) fn find(&self, path: &Utf8Path, digests: &ArtifactDigests) -> Option<Utf8PathBuf> {
        let is_it = |path: &Utf8PathBuf| {
            let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
            let hashed = is_file.then(|| crate::digest::hash_file(path).ok()).flatten();
            hashed.is_some_and(|(found, _)| self.is(ArtifactDigests::File(found), digests))
        };
        let in_workspace = || {
            let kind = self.workspace.kind(path).ok().flatten();
            let is_file = matches!(kind, Some(EntryKind::File { .. }));
            let real = self.workspace.absolute(path).canonicalize_utf8().ok();
            real.filter(|real| is_file && is_it(real))
        };
        let stored = || self.store.cas().path(digests.blake3());
        Some(self.bench.output(digests))
            .filter(is_it)
            .or_else(in_workspace)
            .or_else(|| Some(stored()).filter(is_it))
    }
}

fn missing(file: &Needed) -> String {
    // Its name, and enough digits for a person to tell two apart.
    let public = file.digests.public();
    let end = public.find(':').map_or(0, |colon| colon + 1) + 12;
    let short = public.get(..end).unwrap_or(&public);
    format!(
        "`{}` ({short}…) is neither in the commit nor in the workspace nor in its store",
        file.path
    )
}

/// The files that `tree` has for the input.
fn listed(tree: &dyn Tree, path: &Utf8Path, hash: &dyn Fn(&Utf8Path) -> Option<Digests>) -> Option<Vec<ListedFile>> {
    let mut files = Vec::new();
    for (path, executable) in find_files(tree, path)? {
        let digests = hash(&path)?;
        files.push(ListedFile {
            path,
            executable,
            digests,
        });
    }
    Some(files)
}

/// The folder for temporary files, as the environment names it.
#[must_use]
pub fn temporary_folder(named: Option<&str>) -> Utf8PathBuf {
    match named {
        Some(folder) if Path::new(folder).is_absolute() => Utf8PathBuf::from(folder),
        _ => Utf8PathBuf::from("/tmp"),
    }
}
