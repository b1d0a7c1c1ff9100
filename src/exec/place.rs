//! The outputs that a receipt claims, put in their places.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::ExecError;
use super::event::Note;
use super::stage::{Attempt, Given, Said, Subject, Wanted};
use super::state::InputState;
use crate::listing::ArtifactDigests;
use crate::receipt::statement::{ReceiptId, Resource, Role};
use crate::stamp::Moment;
use crate::store::believed::{Claim, ClaimedOutput};
use crate::store::stat_cache::Hashed;
use crate::store::{StoreError, atomic};

/// Whether the outputs that a receipt claims are in place.
pub(super) enum Placed {
    /// They are, perhaps put back just now.
    Whole { restored: Vec<Utf8PathBuf>, given: Given },
    /// This one is neither in place nor in the store.
    Missing(Utf8PathBuf),
}

impl Attempt<'_> {
    /// Puts the outputs that `claim` names in place, from the store where they are not there already; those that are temporary
    /// only if they are wanted.
    pub(super) fn put_in_place(&self, claim: &Claim, wanted: &Wanted) -> Result<Placed, ExecError> {
        let mut restored = Vec::new();
        let mut states = Vec::with_capacity(claim.outputs.len());
        for output in &claim.outputs {
            let path = Utf8Path::new(&output.path);
            if self.is_temporary(path) && self.waits_for(path, wanted).is_none() {
                let found = self
                    .session
                    .hashes
                    .output_if_there(path, &output.digests)
                    .ok()
                    .flatten();
                let found = found.filter(|state| state.is(output));
                states.push(Some(found.unwrap_or_else(|| InputState::gone(output))));
                continue;
            }
            states.push(match self.session.hashes.output(path, &output.digests) {
                Ok(state) if state.is(output) => Some(state),
                _ if self.session.store.holds(&output.digests) => None,
                _ => return Ok(Placed::Missing(path.to_owned())),
            });
        }
        for (output, state) in claim.outputs.iter().zip(&mut states) {
            if state.is_some() {
                continue;
            }
            match self.place(output) {
                Err(ExecError::Store(StoreError::Damaged { .. })) => {
                    return Ok(Placed::Missing(output.path.clone().into()));
                }
                placed => *state = Some(placed?),
            }
            restored.push(output.path.clone().into());
        }
        let states = states.into_iter().flatten().collect();
        let given = self.given_by(claim.id, claim.outputs.clone(), states)?;
        Ok(Placed::Whole { restored, given })
    }

    /// Puts one output in place from the store. What lies there and could be lost is moved away first.
    /// Gives what lies there then.
    fn place(&self, output: &ClaimedOutput) -> Result<InputState, ExecError> {
        let path = Utf8Path::new(&output.path);
        if output.digests.is_folder() {
            return self.place_folder(path, &output.digests);
        }
        self.displace(path)?;
        let session = self.session;
        let absolute = session.workspace.absolute(path);
        let cas = session.store.cas();
        let placed_at = Moment::now();
        let stamp = cas.place(output.digests.blake3(), &absolute, output.executable)?;
        let found = match output.digests {
            ArtifactDigests::File(digests) => {
                let hashed = Hashed { digests, stamp };
                Ok(session.hashes.copied(path, hashed, placed_at).into())
            }
            // What the plain digests are, no receipt says.
            ref claimed => session.hashes.output(path, claimed),
        };
        let sizes = |state: &InputState| state.files().iter().map(|file| file.hashed.stamp.size()).sum();
        session.unsynced.add_sized(absolute, found.as_ref().map_or(0, sizes));
        let found = found.map_err(|source| StoreError::Read {
            path: path.to_owned(),
            source,
        })?;
        for file in found.files() {
            session.note_placed(path, file.hashed.digests);
        }
        Ok(found)
    }

    /// Moves what lies at `path` to `.madmall/displaced/`, unless the store has the same bytes under a believed receipt.
    pub(super) fn displace(&self, path: &Utf8Path) -> Result<(), ExecError> {
        let session = self.session;
        let absolute = session.workspace.absolute(path);
        match fs::symlink_metadata(&absolute) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StoreError::Read { path: absolute, source }.into()),
            Ok(found) if found.is_file() => {
                let digest = session.hashes.file(path).map(|hashed| hashed.digests.blake3);
                let can_be_had = |name| session.believed.is_claimed(name) && session.store.cas().contains(name);
                if digest.is_ok_and(|digest| session.names_of(digest).any(can_be_had)) {
                    return Ok(());
                }
            }
            Ok(_) => {}
        }
        let to = session.store.displaced_folder(&session.run_id).join(path);
        atomic::rename(&absolute, &to)?;
        let to = to.strip_prefix(session.workspace.root()).unwrap_or(&to).to_owned();
        (self.say)(Said::Note(Note::Displaced {
            path: path.to_owned(),
            to,
        }));
        Ok(())
    }

    /// What the stage gives to those after it by an earlier `receipt` of these `outputs`, once they are in place: `states`, in their order.
    pub(super) fn given_by(
        &self,
        receipt: ReceiptId,
        outputs: Vec<ClaimedOutput>,
        states: Vec<InputState>,
    ) -> Result<Given, ExecError> {
        Ok(Given {
            receipt,
            outputs: self.given_states(receipt, &outputs, states)?,
            sources: self.known_sources(),
            subject: Subject::Claimed(outputs),
        })
    }

    /// What the stage gives to those after it, once its outputs are in place: `states`, in the order of `outputs`.
    pub(super) fn given_states(
        &self,
        receipt: ReceiptId,
        outputs: &[ClaimedOutput],
        states: Vec<InputState>,
    ) -> Result<Vec<InputState>, ExecError> {
        let session = self.session;
        let mut claimed: Vec<(&ClaimedOutput, Option<InputState>)> =
            outputs.iter().zip(states.into_iter().map(Some)).collect();
        claimed.sort_unstable_by_key(|(output, _)| &output.name);
        // Collected as a result it would get room for four, and most stages have one.
        let mut given = Vec::with_capacity(self.stage.outputs.len());
        for output in &self.stage.outputs {
            let place = claimed.binary_search_by_key(&&output.name, |(output, _)| &output.name);
            let found = place.ok().and_then(|place| {
                let (output, state) = &mut claimed[place];
                Some((*output, state.take()?))
            });
            match found.filter(|(claimed, state)| claimed.digests == state.digests()) {
                Some((claimed, state)) => given.push(InputState {
                    receipt: Some(receipt),
                    consent: session.narrowed(self.stage, self.inputs.iter(), claimed),
                    ..state
                }),
                None => {
                    return Err(ExecError::OutputMeddled {
                        path: output.path.clone(),
                    });
                }
            }
        }
        Ok(given)
    }

    /// Puts in place what is not there. Gives what lies there then, and whether anything is new.
    pub(super) fn place_all(&self, outputs: &[ClaimedOutput]) -> Result<(Vec<InputState>, bool), ExecError> {
        let mut changed = false;
        let mut states = Vec::with_capacity(outputs.len());
        for output in outputs {
            let in_place = self.session.hashes.output(Utf8Path::new(&output.path), &output.digests);
            states.push(match in_place {
                Ok(state) if state.is(output) => state,
                _ => {
                    changed = true;
                    self.place(output)?
                }
            });
        }
        Ok((states, changed))
    }
}

pub(super) fn output_resource(output: &ClaimedOutput) -> Resource {
    let role = Role::Output {
        consent: output.consent.clone(),
        output: output.name.clone(),
        stage: None,
        executable: output.executable,
    };
    Resource::artifact(&output.path, &output.digests, role)
}
