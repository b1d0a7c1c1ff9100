//! Runs that found nothing to do, remembered: a run that looks at the same and sees the same finds nothing to do.
//!
//! A file for each way of asking (pipeline, stages, values), sealed with a keyed BLAKE3 whose key derives from the signing key. One
//! that does not open is dropped. See `docs/decisions/0031-a-run-with-nothing-to-do-is-remembered.md`.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::looks::{Rigour, Seen};
use super::{StoreError, sealed};
use crate::digest::Digest;
use crate::receipt::statement::ReceiptId;
use crate::workspace::Workspace;

const HEADER: &[u8] = b"madmall settled v2\n";
/// How many ways of asking are remembered.
const MOST: usize = 64;
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
}

impl Asked<'_> {
    /// The digest of all of it, and of the program that runs.
    fn digest(&self) -> Option<Digest> {
        let mut hasher = sealed::by_this_program("madmall settled under v1")?;
        hasher.str(self.pipeline.as_str()).digest(self.trust);
        for list in [self.stages, self.values] {
            hasher.list(list, |h, text| {
                h.str(text);
            });
        }
        Some(hasher.finish())
    }
}

/// A run that found nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    /// The pipeline's name.
    pub name: String,
    /// What was looked at, in the order in which it is looked at again.
    pub looks: Vec<(Utf8PathBuf, Seen)>,
    /// The variables whose values are part of actions, hashed; `None` for one that is not set.
    pub variables: BTreeMap<String, Option<Digest>>,
    /// The selected stages, and the receipts that say that they are up to date.
    pub stages: Vec<(String, ReceiptId)>,
}

impl Settled {
    /// The run that was remembered in `folder` for what is asked; `None` if there is none that opens.
    #[must_use]
    pub fn load(folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32]) -> Option<Self> {
        let digest = asked.digest()?;
        let (asked, settled): (Digest, Self) = sealed::open(&file_of(folder, digest), HEADER, seal_key)?;
        (asked == digest).then_some(settled)
    }

    /// Remembers it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn save(&self, folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32]) -> Result<(), StoreError> {
        let Some(digest) = asked.digest() else { return Ok(()) };
        let file = file_of(folder, digest);
        sealed::make_room(folder, &file, MOST)?;
        sealed::keep(&file, HEADER, seal_key, &(digest, self))
    }

    /// Forgets the run that was remembered in `folder` for what is asked, if it can: it says nothing any more, and need not be read.
    pub fn forget(folder: &Utf8Path, asked: &Asked<'_>) {
        if let Some(digest) = asked.digest() {
            let _ = fs::remove_file(file_of(folder, digest));
        }
    }

    /// Whether a look at the same, in `workspace` and with these variables, shows the same.
    #[must_use]
    pub fn holds(&self, workspace: &Workspace, environment: &BTreeMap<String, String>, rigour: Rigour) -> bool {
        let same_value = |(name, value): (&String, &Option<Digest>)| {
            *value == environment.get(name).map(|value| Digest::of(value.as_bytes()))
        };
        let same = |(path, seen): &(Utf8PathBuf, Seen)| seen.is_still_at(workspace, path, rigour);
        self.variables.iter().all(same_value)
            && match self.looks.len() < FEW && rigour == Rigour::Stamps {
                true => self.looks.iter().all(same),
                false => self.looks.par_iter().with_min_len(64).all(same),
            }
    }
}

fn file_of(folder: &Utf8Path, asked: Digest) -> Utf8PathBuf {
    folder.join(&asked.to_hex()[..32])
}
