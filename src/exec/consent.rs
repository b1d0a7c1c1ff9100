//! Consent along the DAG: what the inputs of a stage carry, whether that is enough for what the stage is for, and what its outputs
//! carry on.
//!
//! An output carries the narrowest consent of the inputs, unless the stage declassifies it; what `ingest` lets through carries what
//! `ingest` found. A source carries what believed receipts say of its bytes, whatever it is called here: a file that one pipeline
//! has made is no other thing when another reads it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::Session;
use super::state::{Content, InputState};
use crate::consent::purposes::NONE;
use crate::digest::Digest;
use crate::plan::{Command, Input, InputSource, Plan, Stage, StageId, written_input};
use crate::stages::Refusal;
use crate::stages::ingest::{BUILTIN as INGEST, EVENTS};
use crate::store::believed::{Believed, Claim, ClaimedOutput};

/// The consent that the outputs of a stage carry, by their names; one that is not here carries none.
pub(super) type Consents = BTreeMap<String, String>;

impl Session<'_> {
    /// The input as it is, with the consent that it carries.
    pub(super) fn with_consent(&self, stage: &Stage, input: &Input, state: InputState) -> InputState {
        // What another stage of this run made has its own already.
        if matches!(input.source, InputSource::Output { .. }) {
            return state;
        }
        let found = self.consent_of(&state);
        let consent = match is_judged(stage, input) {
            // What no ingest has let through is for ingest alone.
            true => Some(found.unwrap_or_else(|| NONE.to_owned())),
            false => found,
        };
        InputState { consent, ..state }
    }

    /// The narrowest consent that believed receipts give these bytes.
    fn consent_of(&self, state: &InputState) -> Option<String> {
        if !self.believed.knows_consent() {
            return None;
        }
        let whole = match &state.content {
            Content::Several { listing, .. } => Some(listing.blake3),
            Content::File(_) | Content::Gone { .. } => None,
        };
        // Of an empty file nothing can be told apart.
        let files = state.files().iter().filter(|file| file.hashed.stamp.size() > 0);
        let files = files.map(|file| (file.hashed.digests.blake3, file.path.as_path()));
        let mut near = Near::default();
        let mut known: Vec<String> = Vec::new();
        for (digest, path) in files.chain(whole.map(|digest| (digest, state.path.as_path()))) {
            let near = near.of(&self.believed, path);
            let names: Vec<Digest> = self.names_of(digest).collect();
            known.extend(self.believed.consents_of(&names, path, near));
        }
        let known = known.iter().map(String::as_str);
        self.plan.purposes.narrowest(known).map(str::to_owned)
    }

    /// Why the stage `id` may not begin with these inputs, which need not be all, if it may not.
    pub(super) fn refusal<'i>(
        &self,
        id: StageId,
        inputs: impl Iterator<Item = (&'i Input, &'i InputState)> + Clone,
    ) -> Option<Refusal> {
        let refusal = self.consent_refusal(id, inputs.clone());
        refusal.or_else(|| self.personal_refusal(inputs))
    }

    fn consent_refusal<'i>(
        &self,
        id: StageId,
        inputs: impl Iterator<Item = (&'i Input, &'i InputState)>,
    ) -> Option<Refusal> {
        let stage = &self.plan.stages[id.index()];
        let purpose = stage.requires.as_deref().or(self.plan.purpose.as_deref());
        let purposes = &self.plan.purposes;
        let mut details = Vec::new();
        for (input, state) in inputs {
            let Some(consent) = state.consent.as_deref().filter(|_| !is_judged(stage, input)) else {
                continue;
            };
            if purpose.is_none_or(|purpose| !purposes.covers(consent, purpose)) {
                details.push(describe(self.plan, &self.believed, (input, state), consent));
            }
        }
        if details.is_empty() {
            return None;
        }
        let (summary, help) = match (&stage.requires, purpose) {
            (_, None) => (
                "it reads what holds events of persons, and the pipeline states no purpose".to_owned(),
                "say what the result is for: write `purpose: …` below `name:`",
            ),
            (Some(purpose), _) => (
                format!("it requires consent to `{purpose}`, which what it reads does not cover"),
                "read what `ingest` let through for that purpose; a stage before may say of aggregates that they hold nothing of a \
                 person (`declassify:`)",
            ),
            (None, Some(purpose)) => (
                format!("it is for `{purpose}`, which the consent of what it reads does not cover"),
                "read what `ingest` let through for that purpose; a stage before may say of aggregates that they hold nothing of a \
                 person (`declassify:`)",
            ),
        };
        Some(Refusal {
            summary,
            details,
            unlisted: 0,
            help: Some(help.to_owned()),
            is_for_lack: false,
        })
    }

    /// The consent of what a stage writes: `said` by itself, if it is an ingest; else that of its inputs.
    pub(super) fn consents<'i>(
        &self,
        stage: &Stage,
        inputs: impl Iterator<Item = &'i InputState>,
        said: &Consents,
    ) -> Consents {
        if is_ingest(stage) {
            return said.clone();
        }
        let narrowest = (self.plan.purposes).narrowest(inputs.filter_map(|state| state.consent.as_deref()));
        let Some(narrowest) = narrowest else {
            return Consents::new();
        };
        let carried = stage.outputs.iter().map(|output| &output.name);
        let carried = carried.filter(|name| stage.declassify.binary_search(name).is_err());
        carried.map(|name| (name.clone(), narrowest.to_owned())).collect()
    }

    /// The consent of an output that a receipt claims: as that says, and no wider than what the stage's inputs carry now allows.
    pub(super) fn narrowed<'i>(
        &self,
        stage: &Stage,
        inputs: impl Iterator<Item = &'i InputState>,
        claimed: &ClaimedOutput,
    ) -> Option<String> {
        let said = claimed.consent.iter();
        let said = said.map(|said| (claimed.name.clone(), said.clone())).collect();
        let now = self.consents(stage, inputs, &said);
        let both = claimed.consent.iter().chain(now.get(&claimed.name)).map(String::as_str);
        self.plan.purposes.narrowest(both).map(str::to_owned)
    }
}

/// What is said of folders without a list of their files, as it was last asked: files that follow each other mostly lie in one.
#[derive(Default)]
pub(super) struct Near(Option<(Utf8PathBuf, Vec<Claim>)>);

impl Near {
    /// What is said of the folders that the file at `path` lies in.
    pub(super) fn of(&mut self, believed: &Believed, path: &Utf8Path) -> &[Claim] {
        let folder = path.parent().unwrap_or(Utf8Path::new(""));
        let last = self.0.take().filter(|(last, _)| last == folder);
        let (_, near) = self
            .0
            .insert(last.unwrap_or_else(|| (folder.to_owned(), believed.near(folder))));
        near
    }
}

/// Whether the stage judges what comes in by this input, event by event, so that nothing is asked of it.
fn is_judged(stage: &Stage, input: &Input) -> bool {
    is_ingest(stage) && written_input(&input.name) == EVENTS
}

/// Whether any stage of `plan` lets events in.
#[must_use]
pub fn has_ingest(plan: &Plan) -> bool {
    plan.stages.iter().any(is_ingest)
}

fn is_ingest(stage: &Stage) -> bool {
    matches!(&stage.command, Command::Builtin { name, .. } if name == INGEST.name)
}

/// In whose folder a file lies that no receipt lists.
fn from_folder(believed: &Believed, state: &InputState) -> Option<String> {
    let mut near = Near::default();
    state.files().iter().find_map(|file| {
        let giver = believed.folder_giver(&file.path, near.of(believed, &file.path))?;
        Some(format!(
            " lies in a folder that stage `{}` of pipeline `{}` has made, and",
            giver.stage, giver.pipeline
        ))
    })
}

/// Which artifact, from which stage, with which consent.
fn describe(plan: &Plan, believed: &Believed, (input, state): (&Input, &InputState), consent: &str) -> String {
    let from = match &input.source {
        InputSource::Output { stage, .. } => format!(" of stage `{}`", plan.stages[stage.index()].name),
        _ => match believed.consent_giver(state.resolved().digest) {
            Some(claim) => format!(
                " has the bytes of an artifact of stage `{}` of pipeline `{}`, and",
                claim.stage, claim.pipeline
            ),
            None => from_folder(believed, state).unwrap_or_default(),
        },
    };
    match consent {
        NONE => format!(
            "{}{from} holds events that no ingest has let through: consent `none`",
            state.path
        ),
        consent => format!("{}{from} carries consent to `{consent}` alone", state.path),
    }
}
