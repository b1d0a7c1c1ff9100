//! Outputs that may be removed from their places: those whose bytes a believed receipt claims.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::exec::inputs::FileHashes;
use crate::plan::Plan;
use crate::status::Orphan;
use crate::store::Store;
use crate::store::believed::Believed;
use crate::store::stat_cache::Stamp;
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
}

impl Kept {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unclaimed => "no receipt claims its bytes",
            Self::NotStored => "the store does not have its bytes",
            Self::NoFile => "it is no regular file of its own",
        }
    }
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
    pub verdict: Result<Stamp, Kept>,
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
            verdict: Err(Kept::NoFile),
            is_stored: false,
        };
        if !found.is_file() || !is_itself(workspace, &output.path) {
            return Some(candidate);
        }
        let Ok(hashed) = hashes.file(&output.path) else {
            return Some(candidate);
        };
        let digest = hashed.digests.blake3;
        candidate.is_stored = believed.is_claimed(digest) && store.cas().is_whole(digest);
        candidate.verdict = match (believed.is_claimed(digest), candidate.is_stored) {
            (false, _) => Err(Kept::Unclaimed),
            (true, false) => Err(Kept::NotStored),
            (true, true) => Ok(hashed.stamp),
        };
        Some(candidate)
    });
    candidates.collect()
}

/// What stages left behind that no pipeline has any more. One whose bytes a receipt claims may go, whether the store has
/// them or not: nothing would put it back.
#[must_use]
pub fn orphans(orphans: &[Orphan], workspace: &Workspace) -> Vec<Candidate> {
    let candidate = |orphan: &Orphan| Candidate {
        path: orphan.path.clone(),
        stage: orphan.stage.clone(),
        size: orphan.size,
        is_stored: orphan.is_stored,
        verdict: match (orphan.is_claimed, Stamp::of(&workspace.absolute(&orphan.path))) {
            (false, _) => Err(Kept::Unclaimed),
            (true, Ok(_)) if !is_regular(workspace, &orphan.path) => Err(Kept::NoFile),
            (true, Ok(stamp)) => Ok(stamp),
            (true, Err(_)) => Err(Kept::NoFile),
        },
    };
    orphans.iter().map(candidate).collect()
}

/// Removes a file that may go, unless it is another than was looked at. Gives whether it is gone.
///
/// # Errors
///
/// Whatever removing gives.
pub fn remove(candidate: &Candidate, workspace: &Workspace) -> io::Result<bool> {
    let Ok(stamp) = candidate.verdict else {
        return Ok(false);
    };
    let path = workspace.absolute(&candidate.path);
    let is_same = Stamp::of(&path).is_ok_and(|now| now == stamp) && is_regular(workspace, &candidate.path);
    if is_same {
        fs::remove_file(path)?;
    }
    Ok(is_same)
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
