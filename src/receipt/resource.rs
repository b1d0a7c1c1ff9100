//! What a statement is about and what it rests on: in-toto ResourceDescriptors, each with its role and its digests.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::digest_set::DigestSet;
use crate::commitment::Commitment;
use crate::digest::{Digests, Sha256};
use crate::listing::ArtifactDigests;

/// An input of more files than this (a folder, a pattern) stands in a receipt by the digests of its listing alone; of one
/// with fewer each file is a [`Role::Member`]. It keeps a receipt within [`super::payload::PAYLOAD_LIMITS`].
pub const MAX_MEMBERS: usize = 1000;

/// The id of a receipt: the SHA-256 of its payload bytes.
pub type ReceiptId = Sha256;

/// An in-toto ResourceDescriptor. Clones are one until one of them is changed: the receipts of runs name the same again and again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(from = "Descriptor")]
pub struct Resource(Arc<Descriptor>);

/// The fields of a [`Resource`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// What we know of it beside its digest.
    pub annotations: Annotations,
    /// What it holds.
    pub digest: DigestSet,
    /// A path or a pattern in the workspace, the name of a tool, a receipt's id or its stage, or `commit`.
    pub name: String,
}

impl From<Descriptor> for Resource {
    fn from(descriptor: Descriptor) -> Self {
        Self(Arc::new(descriptor))
    }
}

#[cfg(test)]
impl Resource {
    /// Whether the two are kept once.
    pub(crate) fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Resource {
    type Target = Descriptor;

    fn deref(&self) -> &Descriptor {
        &self.0
    }
}

impl DerefMut for Resource {
    fn deref_mut(&mut self) -> &mut Descriptor {
        Arc::make_mut(&mut self.0)
    }
}

impl Serialize for Resource {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Resource {
    /// The file `path` (relative to the workspace) in the given role.
    #[must_use]
    pub fn file(path: impl Into<String>, digests: &Digests, role: Role) -> Self {
        Self::from(Descriptor {
            annotations: Annotations::of(role),
            digest: DigestSet::File(*digests),
            name: path.into(),
        })
    }

    /// The file, or the folder or pattern `path` (relative to the workspace), whose files are [`Role::Member`]s beside it unless there
    /// are more than [`MAX_MEMBERS`].
    #[must_use]
    pub fn artifact(path: impl Into<String>, digests: &ArtifactDigests, role: Role) -> Self {
        let mut annotations = Annotations::of(role);
        let digest = match digests {
            ArtifactDigests::File(digests) => DigestSet::File(*digests),
            ArtifactDigests::Folder(listing) => DigestSet::Several(*listing),
            ArtifactDigests::Keyed(Commitment {
                shape,
                blake3,
                sha256,
                key,
            }) => {
                annotations.madmall_secret = Some(key.to_hex());
                DigestSet::Keyed {
                    shape: *shape,
                    blake3: *blake3,
                    sha256: *sha256,
                }
            }
        };
        Self::from(Descriptor {
            annotations,
            digest,
            name: path.into(),
        })
    }

    /// The receipt `id` of the stage named `stage`, as it stands in the receipt of a run.
    #[must_use]
    pub fn receipt_of_stage(id: ReceiptId, stage: impl Into<String>) -> Self {
        Self::from(Descriptor {
            annotations: Annotations::of(Role::Receipt { stage: None }),
            digest: DigestSet::Receipt(id),
            name: stage.into(),
        })
    }

    /// The receipt `id` of the stage named `stage`, called by its id: where one stage may have several.
    #[must_use]
    pub fn receipt(id: ReceiptId, stage: impl Into<String>) -> Self {
        let stage = Some(stage.into());
        Self::from(Descriptor {
            annotations: Annotations::of(Role::Receipt { stage }),
            digest: DigestSet::Receipt(id),
            name: id.to_string(),
        })
    }

    /// If it is a receipt: the name of its stage, and its id.
    #[must_use]
    pub fn as_receipt(&self) -> Option<(&str, ReceiptId)> {
        match (self.role(), &self.digest) {
            (Role::Receipt { stage }, DigestSet::Receipt(id)) => Some((stage.as_ref().unwrap_or(&self.name), *id)),
            _ => None,
        }
    }

    /// The commit with the id `hex`.
    #[must_use]
    pub fn commit(hex: impl Into<String>) -> Self {
        Self::from(Descriptor {
            annotations: Annotations::of(Role::Commit {}),
            digest: DigestSet::Commit(hex.into()),
            name: "commit".to_owned(),
        })
    }

    /// The consent that it carries.
    #[must_use]
    pub fn consent(&self) -> Option<&str> {
        match self.role() {
            Role::Input { consent, .. } | Role::Output { consent, .. } => consent.as_deref(),
            _ => None,
        }
    }

    /// Whether its digests are keyed, for it is personal.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.annotations.madmall_secret.is_some()
    }

    /// What it is to the stage or the run.
    #[must_use]
    pub fn role(&self) -> &Role {
        &self.annotations.madmall
    }
}

/// The order of [`super::statement::BuildDefinition::resolved_dependencies`]: by kind of role, then name, then what the role says.
#[must_use]
pub fn dependency_order(a: &Resource, b: &Resource) -> std::cmp::Ordering {
    (a.role().rank(), a.name.as_str())
        .cmp(&(b.role().rank(), b.name.as_str()))
        .then_with(|| a.role().cmp(b.role()))
}

/// What we know of a resource beside its digest.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annotations {
    /// What it is to the stage or the run.
    pub madmall: Role,
    /// If its digests are keyed, what the secret is called that they are keyed by: 64 hexadecimal digits.
    #[serde(default, rename = "madmallSecret", skip_serializing_if = "Option::is_none")]
    pub madmall_secret: Option<String>,
}

impl Annotations {
    /// Those of a resource whose digests are plain.
    #[must_use]
    pub fn of(role: Role) -> Self {
        Self {
            madmall: role,
            madmall_secret: None,
        }
    }
}

/// What a resource is to the stage or the run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Role {
    /// The commit.
    Commit {},
    /// A file that says what the stage is: pipeline or stage definition.
    Definition {},
    /// An input of the stage.
    Input {
        /// What may be done with it, as a word of [`crate::consent::purposes`]; none if it holds nothing of a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consent: Option<String>,
        /// Its name in the stage.
        input: String,
        /// The id (`sha256:…`) of the receipt of the stage that made it; none for a source.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        receipt: Option<String>,
    },
    /// The log of a stage that failed.
    Log {
        /// The stage's name.
        stage: String,
    },
    /// A file of an input that is a folder or a pattern. Together they give that input's digests: all are listed, or none.
    Member {
        /// Whether its owner may execute it.
        executable: bool,
        /// The input's name in the stage.
        input: String,
    },
    /// An output of the stage (of a run: of the stage named).
    Output {
        /// What may be done with it, as a word of [`crate::consent::purposes`]; none if it holds nothing of a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        consent: Option<String>,
        /// Whether its owner may execute it; not written if not.
        #[serde(default, skip_serializing_if = "is_false")]
        executable: bool,
        /// Its name in the stage.
        output: String,
        /// In a run's receipt: the stage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
    },
    /// A receipt that this one stands on (of a run: that of one of its stages).
    Receipt {
        /// The stage's name, if it is called by its id and not by that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<String>,
    },
    /// The file of revocations, which has what was erased by its token.
    Revocations {},
    /// A program that was run.
    Tool {
        /// What it says of its version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
}

impl Role {
    /// The place of its kind in [`dependency_order`].
    fn rank(&self) -> u8 {
        match self {
            Self::Commit {} => 0,
            Self::Definition {} => 1,
            Self::Input { .. } => 2,
            Self::Member { .. } => 3,
            Self::Output { .. } => 4,
            Self::Log { .. } => 5,
            Self::Receipt { .. } => 6,
            Self::Tool { .. } => 7,
            Self::Revocations {} => 8,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
pub(super) fn is_false(value: &bool) -> bool {
    !*value
}
