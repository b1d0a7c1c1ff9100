//! What an input or an output holds: one file, several, or what a receipt says of one that is gone; as it goes into an action, and as it
//! stands in a receipt.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use crate::commitment::{Commitment, PersonalKey};
use crate::listing::{ArtifactDigests, Line, ListingDigests, ListingError, digests_of_lines};
use crate::plan::action::ResolvedInput;
use crate::receipt::statement::{MAX_MEMBERS, ReceiptId, Resource, Role};
use crate::shared_path::SharedPath;
use crate::store::believed::ClaimedOutput;
use crate::store::stat_cache::Hashed;

/// A file of an input, hashed.
#[derive(Clone, Debug)]
pub struct FileState {
    /// Its path in the workspace.
    pub path: SharedPath,
    /// What it holds.
    pub hashed: Hashed,
}

/// What an input holds.
#[derive(Clone, Debug)]
pub struct InputState {
    /// The path of the file or folder, or the pattern.
    pub path: Utf8PathBuf,
    /// What is there.
    pub content: Content,
    /// The receipt of the stage that made it.
    pub receipt: Option<ReceiptId>,
    /// What may be done with it, as a word of [`crate::consent::purposes`]; none if it holds nothing of a person.
    pub consent: Option<String>,
    /// Its keyed digests, if it is personal: nothing that is signed or shown names it by others.
    pub commitment: Option<Commitment>,
}

/// What is at an input's path.
#[derive(Clone, Debug)]
pub enum Content {
    /// One file, known by its own digests.
    File(FileState),
    /// The files of a folder or a pattern, in order, known by the digests of their listing.
    Several {
        /// The files.
        files: Arc<Vec<FileState>>,
        /// Of the listing.
        listing: ListingDigests,
    },
    /// A temporary output that is not here: what its receipt says that it was.
    Gone {
        /// Of its bytes, or of its files.
        digests: ArtifactDigests,
        /// Whether it might be executed.
        executable: bool,
    },
}

impl InputState {
    /// The folder `path` with these files, which are all of it.
    ///
    /// # Errors
    ///
    /// [`ListingError`] if a name cannot be listed.
    pub fn of_folder(path: &Utf8Path, files: Vec<FileState>) -> Result<Self, ListingError> {
        Ok(Self {
            path: path.to_owned(),
            content: Content::Several {
                listing: digests_of_lines(files.iter().map(FileState::line).collect())?,
                files: files.into(),
            },
            receipt: None,
            consent: None,
            commitment: None,
        })
    }

    /// Its digests; of what is personal, the keyed ones.
    #[must_use]
    pub fn digests(&self) -> ArtifactDigests {
        match (&self.commitment, &self.content) {
            (Some(commitment), _) => ArtifactDigests::Keyed(*commitment),
            (None, Content::File(file)) => ArtifactDigests::File(file.hashed.digests),
            (None, Content::Several { listing, .. }) => ArtifactDigests::Folder(*listing),
            (None, Content::Gone { digests, .. }) => *digests,
        }
    }

    /// The same, known by digests that are keyed by `key`.
    #[must_use]
    pub fn keyed_by(self, key: &PersonalKey) -> Self {
        let commitment = match self.digests().keyed(key) {
            ArtifactDigests::Keyed(commitment) => Some(commitment),
            ArtifactDigests::File(_) | ArtifactDigests::Folder(_) => None,
        };
        Self { commitment, ..self }
    }

    /// The temporary output that a receipt claims, and that is not here.
    #[must_use]
    pub fn gone(claimed: &ClaimedOutput) -> Self {
        Self {
            path: claimed.path.clone().into(),
            content: Content::Gone {
                digests: claimed.digests,
                executable: claimed.executable,
            },
            receipt: None,
            consent: None,
            commitment: None,
        }
    }

    /// Whether it is not here.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self.content, Content::Gone { .. })
    }

    /// Whether it is what a receipt claims: its bytes, and whether it may be executed, for the next stage sees both.
    #[must_use]
    pub fn is(&self, claimed: &ClaimedOutput) -> bool {
        self.digests() == claimed.digests && self.resolved().executable == claimed.executable
    }

    /// How many bytes it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files().iter().map(|file| file.hashed.stamp.size()).sum()
    }

    /// Its files, in order.
    #[must_use]
    pub fn files(&self) -> &[FileState] {
        match &self.content {
            Content::File(file) => std::slice::from_ref(file),
            Content::Several { files, .. } => files,
            Content::Gone { .. } => &[],
        }
    }

    /// As it goes into the action.
    #[must_use]
    pub fn resolved(&self) -> ResolvedInput {
        let executable = match &self.content {
            Content::File(file) => file.hashed.stamp.is_executable(),
            Content::Several { .. } => false,
            Content::Gone { executable, .. } => *executable,
        };
        ResolvedInput {
            digest: self.digests().blake3(),
            executable,
        }
    }

    /// As it stands in a receipt, under the name `input`; `key` is what its digests are keyed by, if it is personal.
    #[must_use]
    pub fn resources(&self, input: &str, key: Option<&PersonalKey>) -> Vec<Resource> {
        let role = Role::Input {
            consent: self.consent.clone(),
            input: input.to_owned(),
            receipt: self.receipt.map(|id| id.to_string()),
        };
        let key = key.filter(|_| self.commitment.is_some());
        match &self.content {
            // No stage runs without its inputs.
            Content::Gone { .. } => Vec::new(),
            Content::File(_) => vec![Resource::artifact(self.path.as_str(), &self.digests(), role)],
            Content::Several { files, .. } => {
                // What a stage made is known by that stage's receipt.
                let is_listed = files.len() <= MAX_MEMBERS && self.receipt.is_none();
                let listed = if is_listed { &files[..] } else { &[] };
                let members = listed.iter().map(|file| {
                    let executable = file.hashed.stamp.is_executable();
                    let role = Role::Member {
                        executable,
                        input: input.to_owned(),
                    };
                    let plain = ArtifactDigests::File(file.hashed.digests);
                    let digests = plain.keyed_by(key);
                    Resource::artifact(file.path.as_str(), &digests, role)
                });
                members
                    .chain([Resource::artifact(self.path.as_str(), &self.digests(), role)])
                    .collect()
            }
        }
    }
}

impl From<FileState> for InputState {
    /// A file that no stage made.
    fn from(file: FileState) -> Self {
        Self {
            path: file.path.as_path().to_owned(),
            content: Content::File(file),
            receipt: None,
            consent: None,
            commitment: None,
        }
    }
}

impl FileState {
    /// As a line of a listing.
    fn line(&self) -> Line<'_> {
        Line {
            path: &self.path,
            executable: self.hashed.stamp.is_executable(),
            digests: &self.hashed.digests,
        }
    }
}
