//! What is personal in a run: which inputs are known by keyed digests, and what may not be read as if it were not.

use super::Session;
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
        let key = self.hashes.key().filter(|_| self.believed.knows_personal())?;
        let is_source = |input: &Input| !input.is_personal && !matches!(input.source, InputSource::Output { .. });
        let details: Vec<String> = inputs
            .filter(|(input, state)| {
                let whole = match &state.content {
                    Content::Several { listing, .. } => Some(listing.blake3),
                    Content::File(_) | Content::Gone { .. } => None,
                };
                // Of an empty file nothing can be told apart.
                let files = state.files().iter().filter(|file| file.hashed.stamp.size() > 0);
                let mut digests = files.map(|file| file.hashed.digests.blake3).chain(whole);
                is_source(input) && digests.any(|digest| self.believed.is_personal(key.name(digest)))
            })
            .map(|(input, state)| {
                format!(
                    "input `{}` ({}) has the bytes of an artifact that is personal",
                    input.name, state.path
                )
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
}
