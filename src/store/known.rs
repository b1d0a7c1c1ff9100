//! What was known of the stages of a pipeline when a run ended: by which receipt each is up to date, and what the files hold that it was
//! looked at for. A stage whose files hold the same, and whose makers are up to date by the same receipts, is up to date by that
//! receipt, and neither action nor receipts are needed to know it.
//!
//! A file for each resolved pipeline, sealed. See `docs/decisions/0079-what-was-known-of-a-stage-is-remembered.md`.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::plans::{Asked, Seal};
use super::sealed::{self, SealedFile, file_of};
use crate::digest::{Digest, whole};
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;

const HEADER: &[u8] = b"madmall known v1\n";

/// What was known when a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// What decides besides the files of the stages.
    pub under: Under,
    /// By the places of stages in the plan; none of those of which nothing can be known in this way.
    pub stages: Vec<Option<KnownStage>>,
}

/// All that decides which receipt makes a stage up to date, besides what its files hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Under {
    /// The resolved pipeline, by the seal under which it is remembered.
    pub plan: Seal,
    /// The receipts that there are, and who is trusted: [`super::believed::Believed::state`].
    pub receipts: Digest,
    /// What the consent secret is called, if there is one: by it a file is known that another pipeline calls personal.
    pub secret: Option<String>,
    /// The variables that are part of actions, hashed; `None` for one that is not set.
    pub variables: BTreeMap<String, Option<Digest>>,
    /// The programs that stages call, by what they are called; `None` for one that is not there.
    pub tools: BTreeMap<String, Option<Digest>>,
}

/// A stage that was up to date.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownStage {
    /// By this receipt.
    #[serde(with = "whole")]
    pub receipt: ReceiptId,
    /// Its inputs that no stage makes, in its order.
    pub sources: Vec<KnownFile>,
    /// Its outputs, in its order.
    pub outputs: Vec<KnownFile>,
}

/// What a file held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// Its bytes.
    #[serde(with = "whole")]
    pub blake3: Digest,
    /// Whether it might be executed.
    pub executable: bool,
}

/// What a file of it held when it was read, which may be before it was known that nobody else runs.
pub struct KeptKnown {
    file: Utf8PathBuf,
    stamp: Stamp,
    known: Known,
}

impl KeptKnown {
    /// What is remembered in `folder` for what is `asked`; `None` if there is nothing that opens.
    #[must_use]
    pub fn read(folder: &Utf8Path, asked: Asked<'_>, seal_key: &[u8; 32]) -> Option<Self> {
        let file = file_of(folder, asked.digest()?);
        let stamp = Stamp::of(&file).ok()?;
        // The seal of the plan says what it was asked for, and of which program.
        let known = sealed::open(&file, HEADER, seal_key, |body| postcard::from_bytes(body).ok())?;
        Some(Self { file, stamp, known })
    }

    /// What reading it would give now, if that is known: a run that had died may have been published since, with other receipts under the
    /// names that were known.
    #[must_use]
    pub fn if_still(self) -> Option<Known> {
        Stamp::of(&self.file)
            .is_ok_and(|now| now == self.stamp)
            .then_some(self.known)
    }
}

impl Known {
    /// As it is remembered in `folder`; `None` if it cannot be.
    #[must_use]
    pub fn sealed(&self, folder: &Utf8Path, asked: Asked<'_>, seal_key: &[u8; 32]) -> Option<SealedFile> {
        let digest = asked.digest()?;
        Some(SealedFile::of(file_of(folder, digest), HEADER, seal_key, self))
    }
}
