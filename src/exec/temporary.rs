//! Temporary outputs: removed from their places when all that read them are done, and from the store when the run is published.

use std::collections::HashSet;
use std::fs;
use std::io;

use camino::Utf8Path;

use super::Session;
use super::event::StageOutcome;
use super::scheduler::Finished;
use super::stage::Given;
use super::state::{Content, InputState};
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::plan::StageId;
use crate::stamp::Stamp;
use crate::store::{StoreError, atomic};

impl Session<'_> {
    /// Removes the temporary outputs that the stage `id` has given from their places, if they are what it gave. The store has
    /// them until the run is published, so that a run that dies loses no receipt.
    pub(super) fn drop_temporary(&self, id: StageId, given: Option<&Given>) {
        let outputs = &self.plan.stages[id.index()].outputs;
        let states = given.map_or(&[][..], |given| &given.outputs);
        for (output, state) in outputs.iter().zip(states).filter(|(output, _)| output.is_temporary) {
            // Best effort: what cannot be removed is there, and that does no harm.
            let _ = self.remove_unchanged(&output.path, state);
        }
    }

    fn remove_unchanged(&self, path: &Utf8Path, state: &InputState) -> io::Result<()> {
        let absolute = self.workspace.absolute(path);
        match &state.content {
            Content::Gone { .. } => Ok(()),
            Content::File(file) if Stamp::of(&absolute)? == file.hashed.stamp => fs::remove_file(&absolute),
            Content::Several { .. } if self.hashes.output(path, &state.digests())?.digests() == state.digests() => {
                // By one rename: half a folder would look like an edited one.
                let away = self.scratch();
                let away = away.join(format!("dropped-{}", state.digests().blake3().to_hex()));
                atomic::create_folder(atomic::folder_of(&away)).map_err(io::Error::other)?;
                atomic::move_away(&absolute, &away)?;
                atomic::remove_folder(&away).map_err(io::Error::other)
            }
            Content::File(_) | Content::Several { .. } => Ok(()),
        }
    }

    /// Removes from the store what only temporary outputs have needed that are not in their places any more.
    pub(super) fn forget_temporary(&self, stages: &[Finished]) -> Result<(), StoreError> {
        let mut candidates: HashSet<ArtifactDigests> = HashSet::new();
        for finished in stages {
            let outputs = &self.plan.stages[finished.stage.index()].outputs;
            let states = finished.given.as_ref().map_or(&[][..], |given| &given.outputs);
            for (output, state) in outputs.iter().zip(states) {
                let is_there = || self.workspace.absolute(&output.path).symlink_metadata().is_ok();
                if output.is_temporary && !is_there() {
                    candidates.insert(state.digests());
                }
            }
        }
        let (cas, trees) = (self.store.cas(), self.store.trees());
        candidates.retain(|digests| match digests.is_folder() {
            false => cas.contains(digests.blake3()),
            true => trees.contains(digests.blake3()),
        });
        if candidates.is_empty() {
            return Ok(());
        }
        let needed = self.needed_by_others(stages);
        for digests in &candidates {
            for object in self.objects_of(digests) {
                if !needed.contains(&object) {
                    remove(&cas.path(object))?;
                }
            }
            if digests.is_folder() && !needed.contains(&digests.blake3()) {
                remove(&trees.path(digests.blake3()))?;
            }
        }
        Ok(())
    }

    /// Every object that outputs need which are not temporary: by what receipts say, and by this run.
    fn needed_by_others(&self, stages: &[Finished]) -> HashSet<Digest> {
        let mut needed = HashSet::new();
        let mut add = |digests: &ArtifactDigests| {
            if needed.insert(digests.blake3()) {
                needed.extend(self.objects_of(digests));
            }
        };
        for claim in self.believed.all() {
            let own = self.plan.stages.iter();
            let mut own = own.filter(|stage| stage.name == claim.stage && self.plan.pipeline == claim.pipeline);
            let stage = own.next();
            for output in &claim.outputs {
                let is_temporary = stage.is_some_and(|stage| {
                    let mut outputs = stage.outputs.iter();
                    outputs.any(|own| own.is_temporary && own.name == output.name)
                });
                if !is_temporary {
                    add(&output.digests);
                }
            }
        }
        for finished in stages {
            let outputs = &self.plan.stages[finished.stage.index()].outputs;
            let states = finished.given.as_ref().map_or(&[][..], |given| &given.outputs);
            for (output, state) in outputs.iter().zip(states) {
                let is_kept = !output.is_temporary || matches!(finished.report.outcome, StageOutcome::Failed(_));
                if is_kept || self.workspace.absolute(&output.path).symlink_metadata().is_ok() {
                    add(&state.digests());
                }
            }
        }
        needed
    }

    fn objects_of(&self, digests: &ArtifactDigests) -> Vec<Digest> {
        match digests.is_folder() {
            false => vec![digests.blake3()],
            true => {
                let files = self.store.files_of(digests).unwrap_or_default();
                files.iter().map(|file| file.digests.blake3).collect()
            }
        }
    }
}

fn remove(path: &Utf8Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let path = path.to_owned();
            Err(StoreError::Write { path, source })
        }
        _ => Ok(()),
    }
}
