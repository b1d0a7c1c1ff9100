//! What is personal in a run: which inputs are known by keyed digests, and what may not be read as if it were not.

use super::Session;
use super::consent::Near;
use super::inputs::InputError;
use super::state::{Content, InputState};
use crate::consent::secret::SecretId;
use crate::plan::{Input, InputSource, Stage};
use crate::stages::Refusal;

impl Session<'_> {
    /// A source as the stage reads it: known by keyed digests, if it is personal.
    pub(super) fn as_input(&self, input: &Input, state: InputState) -> Result<InputState, InputError> {
        if !input.is_personal {
            return Ok(state);
        }
        let path = state.path.clone();
        self.hashes.keyed(state).ok_or(InputError::NoSecret { path })
    }

    /// What the secret is called that the digests of a stage are keyed by which reads or writes what is personal.
    pub(super) fn personal_secret(&self, stage: &Stage) -> Option<SecretId> {
        let key = self.hashes.key().filter(|_| stage.is_personal())?;
        Some(key.id())
    }

    /// Why a stage may not begin with these inputs, if it would name by plain digests what a receipt has as personal: another pipeline made
    /// it, or this one when it said so.
    pub(super) fn personal_refusal<'i>(
        &self,
        inputs: impl Iterator<Item = (&'i Input, &'i InputState)>,
    ) -> Option<Refusal> {
        if !self.believed.knows_personal() {
            return None;
        }
        let is_source = |input: &Input| !input.is_personal && !matches!(input.source, InputSource::Output { .. });
        let sources = inputs.filter(|(input, _)| is_source(input));
        let details: Vec<String> = sources
            .filter_map(|(input, state)| {
                let why = self.why_personal(state)?;
                Some(format!("input `{}` ({}) {why}", input.name, state.path))
            })
            .collect();
        (!details.is_empty()).then(|| Refusal {
            summary: "its receipt would name by plain digests what is personal".to_owned(),
            details,
            unlisted: 0,
            help: Some("say so of the input: `{ path: …, personal: true }`".to_owned()),
            is_for_lack: false,
        })
    }
    /// Why a source is personal by what receipts say, if it is.
    fn why_personal(&self, state: &InputState) -> Option<&'static str> {
        let whole = match &state.content {
            Content::Several { listing, .. } => Some(listing.blake3),
            Content::File(_) | Content::Gone { .. } => None,
        };
        // Of an empty file nothing can be told apart.
        let files = || state.files().iter().filter(|file| file.hashed.stamp.size() > 0);
        let mut digests = files().map(|file| file.hashed.digests.blake3).chain(whole);
        let key = self.hashes.key();
        if digests.any(|digest| key.is_some_and(|key| self.believed.is_personal(key.name(digest)))) {
            return Some("has the bytes of an artifact that is personal");
        }
        let mut near = Near::default();
        files()
            .any(|file| {
                let near = near.of(&self.believed, &file.path);
                self.believed.is_in_personal_folder(&file.path, near)
            })
            .then_some("lies in a folder that is personal")
    }
}
