//! Outputs that may be removed from their places: those whose bytes a believed receipt claims.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::digest::Digest;
use crate::exec::inputs::FileHashes;
use crate::exec::state::Content;
use crate::plan::Plan;
use crate::stamp::Stamp;
use crate::status::Orphan;
use crate::store::believed::Believed;
use crate::store::stat_cache::StatCache;
use crate::store::{Store, atomic};
use crate::tree::Tree as _;
use crate::workspace::Workspace;

/// Why a file stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// No believed receipt claims its bytes: they would be lost.
    Unclaimed,
    /// The store does not have its bytes whole: they could not be put back.
    NotStored,
    /// It is no regular file, or reached through a link.
    NoFile,
    /// It is no folder of regular files, or reached through a link.
    NoFolder,
}

impl Kept {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unclaimed => "no receipt that you believe claims its bytes",
            Self::NotStored => "the store does not have its bytes",
            Self::NoFile => "it is no regular file of its own",
            Self::NoFolder => "it is no folder of regular files",
        }
    }
}

/// What tells whether an output is still what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Of a file.
    File(Stamp),
    /// Of all that a folder holds.
    Folder(Digest),
}

/// An output in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Relative to the workspace.
    pub path: Utf8PathBuf,
    /// The stage that makes it, or made it.
    pub stage: String,
    /// How many bytes it has.
    pub size: u64,
    /// What it was when it was looked at; or why it stays.
    pub verdict: Result<Mark, Kept>,
    /// Whether the store has its bytes.
    pub is_stored: bool,
}

/// The outputs of `plan` that are in their places, and whether each can be put back.
#[must_use]
pub fn outputs(
    plan: &Plan,
    believed: &Believed,
    hashes: &FileHashes<'_>,
    workspace: &Workspace,
    store: &Store,
) -> Vec<Candidate> {
    let outputs = plan
        .stages
        .iter()
        .flat_map(|stage| stage.outputs.iter().map(move |output| (stage, output)));
    let candidates = outputs.filter_map(|(stage, output)| {
        let found = workspace.absolute(&output.path).symlink_metadata().ok()?;
        let mut candidate = Candidate {
            path: output.path.clone(),
            stage: stage.name.clone(),
            size: found.len(),
            verdict: Err(if output.is_folder { Kept::NoFolder } else { Kept::NoFile }),
            is_stored: false,
        };
        if output.is_folder == found.is_file() || !is_itself(workspace, &output.path) {
            return Some(candidate);
        }
        let Ok(state) = hashes.output_of(output) else {
            return Some(candidate);
        };
        candidate.size = state.size();
        let digest = state.digests().blake3();
        let mark = match &state.content {
            Content::File(file) => Mark::File(file.hashed.stamp),
            Content::Several { listing, .. } => Mark::Folder(listing.blake3),
            Content::Gone { .. } => return Some(candidate),
        };
        candidate.is_stored = believed.is_claimed(digest) && store.holds_whole(&state.digests());
        candidate.verdict = match (believed.is_claimed(digest), candidate.is_stored) {
            (false, _) => Err(Kept::Unclaimed),
            (true, false) => Err(Kept::NotStored),
            (true, true) => Ok(mark),
        };
        Some(candidate)
    });
    candidates.collect()
}

/// What stages left behind that no pipeline has any more. One whose bytes a receipt claims may go, whether the store has
/// them or not: nothing would put it back.
#[must_use]
pub fn orphans(orphans: &[Orphan], hashes: &FileHashes<'_>, workspace: &Workspace) -> Vec<Candidate> {
    let candidate = |orphan: &Orphan| Candidate {
        path: orphan.path.clone(),
        stage: orphan.stage.clone(),
        size: orphan.size,
        is_stored: orphan.is_stored,
        verdict: match (orphan.is_claimed, Stamp::of(&workspace.absolute(&orphan.path))) {
            (true, _) if orphan.is_folder => folder_mark(&orphan.path, hashes, workspace).ok_or(Kept::NoFolder),
            (false, _) => Err(Kept::Unclaimed),
            (true, Ok(_)) if !is_regular(workspace, &orphan.path) => Err(Kept::NoFile),
            (true, Ok(stamp)) => Ok(Mark::File(stamp)),
            (true, Err(_)) => Err(Kept::NoFile),
        },
    };
    orphans.iter().map(candidate).collect()
}

/// Removes an output that may go, unless it is another than was looked at. Gives whether it is gone. The workspace's lock must be held.
///
/// # Errors
///
/// Whatever removing gives.
pub fn remove(candidate: &Candidate, workspace: &Workspace, store: &Store) -> io::Result<bool> {
    let Ok(mark) = candidate.verdict else {
        return Ok(false);
    };
    let path = workspace.absolute(&candidate.path);
    match mark {
        Mark::File(stamp) => {
            let is_same = Stamp::of(&path).is_ok_and(|now| now == stamp) && is_regular(workspace, &candidate.path);
            if is_same {
                fs::remove_file(path)?;
            }
            Ok(is_same)
        }
        Mark::Folder(digest) => {
            let hashes = FileHashes::new(workspace, StatCache::default());
            let is_same = folder_mark(&candidate.path, &hashes, workspace) == Some(Mark::Folder(digest));
            if is_same {
                // By one rename: half a folder would look like an edited one.
                let away = store.scratch_folder().join("removed");
                atomic::remove_folder(&away).map_err(io::Error::other)?;
                atomic::create_folder(atomic::folder_of(&away)).map_err(io::Error::other)?;
                atomic::move_away(&path, &away)?;
                atomic::remove_folder(&away).map_err(io::Error::other)?;
            }
            Ok(is_same)
        }
    }
}

fn folder_mark(path: &Utf8Path, hashes: &FileHashes<'_>, workspace: &Workspace) -> Option<Mark> {
    let state = hashes.output_folder(path).ok().filter(|_| is_itself(workspace, path))?;
    Some(Mark::Folder(state.digests().blake3()))
}

fn is_regular(workspace: &Workspace, path: &Utf8Path) -> bool {
    workspace
        .absolute(path)
        .symlink_metadata()
        .is_ok_and(|found| found.is_file())
        && is_itself(workspace, path)
}

/// Whether no folder on the way to it is a link.
fn is_itself(workspace: &Workspace, path: &Utf8Path) -> bool {
    workspace.real_path(path).ok().flatten().as_deref() == Some(path)
}
