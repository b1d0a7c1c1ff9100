//! What one stage's receipt says, as far as the action cache needs it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::plan::written_input;
use crate::receipt::digests::{artifact_digests, file_digests};
use crate::receipt::envelope::Signed;
use crate::receipt::key::KeyId;
use crate::receipt::statement::{Outcome, ReceiptId, Resource, Role, Statement};
use crate::receipt::trust::TrustedKey;
use crate::stages::ingest::EVENTS;

/// What one stage's receipt says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The receipt.
    pub id: ReceiptId,
    /// The run that it belongs to, as the name of its file says; that is where it is kept.
    #[serde(skip)]
    pub run: Arc<str>,
    /// Where it stands in the run's file, from 0.
    pub line: u32,
    /// Whether it is believed: a key signed it that is trusted for it.
    pub believed: bool,
    /// Who signed it (a hint, if it is not believed).
    pub keyid: KeyId,
    /// The pipeline.
    pub pipeline: String,
    /// The stage's name then.
    pub stage: String,
    /// The action.
    pub action: Digest,
    /// Whether it succeeded. A failure makes no stage up to date.
    pub succeeded: bool,
    /// What came out, sorted by name.
    pub outputs: Vec<ClaimedOutput>,
    /// The programs of the machine that it used: name and BLAKE3, sorted by name.
    pub tools: Vec<(String, Digest)>,
    /// Of an ingest: what it has read as events, which nobody else may read.
    pub raw: Vec<Raw>,
}

/// What an ingest has read as events: a file, or all files of a folder or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raw {
    /// Its path, or the pattern.
    pub path: String,
    /// Of its bytes, or of the listing.
    pub digest: Digest,
    /// Whether a stage had made it. What that stage made it of may be the same bytes, and others may read that.
    pub is_made: bool,
    /// Whether it is several files that the receipt does not list.
    pub is_unlisted: bool,
}

impl Claim {
    /// What the receipt of a stage says that stands at `line` of its run's file; not yet believed.
    pub(super) fn of(id: ReceiptId, keyid: KeyId, statement: &Statement, line: u32) -> Option<Self> {
        let build = &statement.predicate.build_definition;
        let internal = &build.internal_parameters.madmall;
        let declassify = &build.external_parameters.stage.as_ref()?.declassify;
        let outputs = statement.subject.iter();
        let mut outputs: Vec<_> = outputs.filter_map(|made| claimed_output(made, declassify)).collect();
        outputs.sort_by(|a, b| a.name.cmp(&b.name));
        let tools = build.resolved_dependencies.iter().filter_map(claimed_tool);
        Some(Self {
            id,
            run: statement.predicate.run_details.metadata.invocation_id.as_str().into(),
            line,
            believed: false,
            keyid,
            pipeline: build.external_parameters.pipeline.clone(),
            stage: build.external_parameters.stage.as_ref()?.name.clone(),
            action: internal.stage.as_ref()?.action.parse().ok()?,
            succeeded: internal.outcome == Outcome::Succeeded,
            outputs,
            tools: tools.collect(),
            raw: raw_events(statement),
        })
    }

    /// Which stage it is about: its pipeline and its name.
    pub(super) fn stage(&self) -> (&str, &str) {
        (&self.pipeline, &self.stage)
    }

    /// Where it stands among all, the oldest first.
    pub(super) fn place(&self) -> (&str, u32) {
        (&self.run, self.line)
    }

    /// Whether anything that came out is a folder.
    pub(super) fn makes_folder(&self) -> bool {
        self.outputs.iter().any(|made| made.digests.is_folder())
    }

    /// The outputs that have these bytes.
    pub(super) fn outputs_of(&self, digest: Digest) -> impl Iterator<Item = &ClaimedOutput> {
        let outputs = self.outputs.iter();
        outputs.filter(move |output| output.digests.blake3() == digest)
    }

    /// The bytes that carry consent by its word: each with the output that they are, or none if they were read as raw events.
    pub(super) fn carriers(&self) -> impl Iterator<Item = (Digest, Option<usize>)> {
        let outputs = (0..).zip(&self.outputs).filter(|(_, output)| output.consent.is_some());
        let outputs = outputs.map(|(at, output)| (output.digests.blake3(), Some(at)));
        outputs.chain(self.raw.iter().map(|raw| (raw.digest, None)))
    }

    /// The folders of whose files it says something without listing them: those that came out, and those that were read as raw events. Of a
    /// pattern, the one that all it finds lies in.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let made = self.outputs.iter().filter(|output| output.digests.is_folder());
        let made = made.map(|output| output.path.as_str());
        let read = self.raw.iter().filter(|raw| raw.is_unlisted);
        made.chain(read.flat_map(|raw| [raw.path.as_str(), base_of(&raw.path)]))
    }

    /// What a receipt says that was signed just now with the key `own`, wherever it comes to stand; `None` if what it is worth depends on
    /// the logs.
    #[must_use]
    pub fn of_own(receipt: &Signed, statement: &Statement, own: &TrustedKey) -> Option<Self> {
        let claim = own
            .end()
            .is_none()
            .then(|| Self::of(receipt.id, receipt.keyid, statement, 0))??;
        let believed = own.refuses(statement).is_none();
        Some(Self { believed, ..claim })
    }
}

/// An output as a receipt has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedOutput {
    /// Its name in the stage.
    pub name: String,
    /// Its path in the workspace.
    pub path: String,
    /// Of its bytes, or of its files.
    pub digests: ArtifactDigests,
    /// Whether it may be executed; never a folder.
    pub executable: bool,
    /// What may be done with it, as a word of [`crate::consent::purposes`]; none if it holds nothing of a person.
    pub consent: Option<String>,
    /// Whether the stage says of it that it holds nothing of a person.
    pub is_declassified: bool,
}

impl ClaimedOutput {
    pub(super) fn is_personal(&self) -> bool {
        matches!(self.digests, ArtifactDigests::Keyed(_))
    }

    /// Whether it carries consent, or is personal.
    pub(super) fn is_of_persons(&self) -> bool {
        self.consent.is_some() || self.is_personal()
    }
}

/// What an ingest has read as events.
fn raw_events(statement: &Statement) -> Vec<Raw> {
    if !statement.is_ingest() {
        return Vec::new();
    }
    let dependencies = statement.dependencies();
    let is_listed = |input: &str| {
        let mut members = dependencies.iter().map(Resource::role);
        members.any(|role| matches!(role, Role::Member { input: of, .. } if of == input))
    };
    let raw = |read: &Resource| {
        let (input, is_made) = match read.role() {
            Role::Input { input, receipt, .. } => (input, receipt.is_some()),
            Role::Member { input, .. } => (input, false),
            _ => return None,
        };
        let digests = artifact_digests(read).filter(|_| written_input(input) == EVENTS)?;
        Some(Raw {
            path: read.name.clone(),
            digest: digests.blake3(),
            is_made,
            is_unlisted: digests.is_folder() && !is_listed(input),
        })
    };
    dependencies.iter().filter_map(raw).collect()
}

/// The folder that all lies in which the pattern `path` finds; of a folder, itself.
fn base_of(path: &str) -> &str {
    match path.find(['*', '?', '[', '{', '\\']) {
        Some(first) => path[..first].rfind('/').map_or("", |end| &path[..end]),
        None => path,
    }
}

fn claimed_tool(resource: &Resource) -> Option<(String, Digest)> {
    let is_tool = matches!(resource.role(), Role::Tool { .. });
    let digests = is_tool.then(|| file_digests(resource))??;
    Some((resource.name.clone(), digests.blake3))
}

fn claimed_output(resource: &Resource, declassify: &[String]) -> Option<ClaimedOutput> {
    let Role::Output {
        consent,
        output,
        executable,
        ..
    } = &resource.annotations.madmall
    else {
        return None;
    };
    Some(ClaimedOutput {
        consent: consent.clone(),
        name: output.clone(),
        path: resource.name.clone(),
        digests: artifact_digests(resource)?,
        executable: *executable,
        is_declassified: declassify.contains(output),
    })
}
