//! Runs that found nothing to do, remembered: a run that looks at the same and sees the same finds nothing to do.
//!
//! A file for each way of asking (pipeline, stages, values), sealed with a keyed BLAKE3 whose key derives from the signing key. One
//! that does not open is dropped. See `docs/decisions/0031-a-run-with-nothing-to-do-is-remembered.md`.

use std::collections::BTreeMap;
use std::fs;

use camino::Utf8Path;
use rayon::prelude::*;

use super::StoreError;
use super::looks::{Rigour, Seen};
use super::plans::Seens;
use super::sealed::{self, SealedFile, file_of};
use crate::consent::secret::SecretId;
use crate::digest::Digest;
use crate::receipt::statement::ReceiptId;
use crate::shared_path::SharedPath;
use crate::workspace::Workspace;

const HEADER: &[u8] = b"madmall settled v4\n";
/// With fewer looks than this, threads cost more than they spare.
const FEW: usize = 4000;

/// How a run was asked for, by whom, of which program: what decides besides files and variables.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The pipeline file.
    pub pipeline: &'a Utf8Path,
    /// The stages, as they were named.
    pub stages: &'a [String],
    /// What else was said that changes what the stages are, in its own order.
    pub values: &'a [String],
    /// Of the policy.
    pub trust: Digest,
    /// The consent secret that there is: by it what is personal is known, and told from what is not.
    pub secret: Option<SecretId>,
}

impl Asked<'_> {
    /// The digest of all of it, and of the program that runs.
    fn digest(&self) -> Option<Digest> {
        let mut hasher = sealed::by_this_program("madmall settled under v2")?;
        hasher.str(self.pipeline.as_str()).digest(self.trust);
        hasher.option(self.secret, |h, id| {
            h.bytes(id.as_bytes());
        });
        for list in [self.stages, self.values] {
            hasher.list(list, |h, text| {
                h.str(text);
            });
        }
        Some(hasher.finish())
    }
}

/// A run that found nothing to do.
#[derive(Debug)]
pub struct Settled {
    /// The pipeline's name.
    pub name: String,
    /// The variables whose values are part of actions, hashed; `None` for one that is not set.
    pub variables: BTreeMap<String, Option<Digest>>,
    /// What was looked at that no stage makes, in the order in which it is looked at again. Before all else, for that is what is edited.
    pub sources: Seens,
    /// What else was looked at.
    pub made: Seens,
    /// The selected stages, and the receipts that say that they are up to date.
    pub stages: Vec<(String, ReceiptId)>,
}

/// How what was looked at is looked at again.
#[derive(Clone, Copy, Debug)]
pub struct Again<'a> {
    /// Where.
    pub workspace: &'a Workspace,
    /// The variables there are.
    pub environment: &'a BTreeMap<String, String>,
    /// How hard.
    pub rigour: Rigour,
}

impl Again<'_> {
    fn has(self, variables: &BTreeMap<String, Option<Digest>>) -> bool {
        variables
            .iter()
            .all(|(name, value)| *value == self.environment.get(name).map(|value| Digest::of(value.as_bytes())))
    }

    fn sees(self, looks: &[(SharedPath, Seen)]) -> bool {
        let same = |(path, seen): &(SharedPath, Seen)| seen.is_still_at(self.workspace, path, self.rigour);
        match looks.len() < FEW && self.rigour == Rigour::Stamps {
            true => looks.iter().all(same),
            false => looks.par_iter().with_min_len(64).all(same),
        }
    }
}

impl Settled {
    /// The run that was remembered in `folder` for what is asked, if a look at the same shows the same; `None` if there is none that
    /// opens. No more of it is read than it takes to see that something differs.
    #[must_use]
    pub fn load(folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32], again: Again<'_>) -> Option<Self> {
        let digest = asked.digest()?;
        sealed::open(&file_of(folder, digest), HEADER, seal_key, |body| {
            let ((asked, name, variables, sources), rest): ((Digest, String, _, Seens), _) =
                postcard::take_from_bytes(body).ok()?;
            if asked != digest || !again.has(&variables) || !again.sees(&sources) {
                return None;
            }
            let (made, stages): (Seens, _) = postcard::from_bytes(rest).ok()?;
            again.sees(&made).then_some(Self {
                name,
                variables,
                sources,
                made,
                stages,
            })
        })
    }

    /// Remembers it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn save(&self, folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32]) -> Result<(), StoreError> {
        let Some(digest) = asked.digest() else { return Ok(()) };
        let Self {
            name,
            variables,
            sources,
            made,
            stages,
        } = self;
        // One after the other, as they are read.
        let all = (digest, name, variables, sources, made, stages);
        SealedFile::of(file_of(folder, digest), HEADER, seal_key, &all).write()
    }

    /// Forgets the run that was remembered in `folder` for what is asked, if it can: it says nothing any more, and need not be read.
    pub fn forget(folder: &Utf8Path, asked: &Asked<'_>) {
        if let Some(digest) = asked.digest() {
            let _ = fs::remove_file(file_of(folder, digest));
        }
    }
}
