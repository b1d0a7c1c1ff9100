//! Pipelines that were resolved, remembered: where what resolving looked at is as it was, the plan is as it was.
//!
//! A file for each pipeline and each set of values that it was given, sealed. See
//! `docs/decisions/0038-a-resolved-pipeline-is-remembered.md`.

use camino::Utf8Path;
use rayon::prelude::*;

use super::looks::Seen;
use super::sealed::{self, SEAL, SealedFile, file_of};
use crate::digest::Digest;
use crate::plan::Plan;
use crate::shared_path::SharedPath;
use crate::workspace::Workspace;

const HEADER: &[u8] = b"madmall plan v2\n";

/// What tells one file of a plan from all others.
pub type Seal = [u8; SEAL];

/// What was looked at, sorted by path.
pub type Seens = Vec<(SharedPath, Seen)>;

/// How a pipeline was resolved.
pub enum Resolved {
    /// By an earlier run, which remembered it under this seal.
    Before(Seal),
    /// By this run, and it can be remembered by what was looked at for that.
    ToKeep(Seens),
    /// By this run, and it cannot.
    Anew,
}

/// What was resolved.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The pipeline file.
    pub pipeline: &'a Utf8Path,
    /// The parameters that were given, as they were said.
    pub values: &'a [String],
}

impl Asked<'_> {
    pub(super) fn digest(self) -> Option<Digest> {
        let mut hasher = sealed::by_this_program("madmall plan under v1")?;
        hasher.str(self.pipeline.as_str());
        hasher.list(self.values, |h, text| {
            h.str(text);
        });
        Some(hasher.finish())
    }
}

/// The plan that is remembered in `folder`, if resolving it anew in `workspace` would give the same; what was
/// looked at to know that; and its seal.
#[must_use]
pub fn load(
    folder: &Utf8Path,
    asked: Asked<'_>,
    seal_key: &[u8; 32],
    workspace: &Workspace,
) -> Option<(Plan, Seens, Seal)> {
    let digest = asked.digest()?;
    let look = |(path, seen): (SharedPath, Seen)| {
        let now = seen.resolves_alike_at(workspace, &path)?;
        Some((path, now))
    };
    let bytes = sealed::open_whole(&file_of(folder, digest), HEADER, seal_key)?;
    let (seal, body) = bytes.strip_prefix(HEADER)?.split_first_chunk()?;
    let ((kept_for, seen), plan): ((Digest, Seens), _) = postcard::take_from_bytes(body).ok()?;
    if kept_for != digest {
        return None;
    }
    let (plan, looks) = rayon::join(
        || postcard::from_bytes(plan).ok(),
        || {
            seen.into_par_iter()
                .with_min_len(64)
                .map(look)
                .collect::<Option<Seens>>()
        },
    );
    Some((plan?, looks?, *seal))
}

/// The plan as it is remembered in `folder`, with what was looked at when it was resolved; `None` if it cannot be.
#[must_use]
pub fn sealed(
    folder: &Utf8Path,
    asked: Asked<'_>,
    seal_key: &[u8; 32],
    plan: &Plan,
    looks: &Seens,
) -> Option<SealedFile> {
    let digest = asked.digest()?;
    let file = file_of(folder, digest);
    Some(SealedFile::of(file, HEADER, seal_key, &(digest, looks, plan)))
}
