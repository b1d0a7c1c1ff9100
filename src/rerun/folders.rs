//! Output folders of a stage that was run again: kept, handed over, compared file by file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::RerunError;
use super::compare::{Trial, copy_file};
use super::place::compare;
use crate::listing::{ArtifactDigests, ListedFile};
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::Resource;
use crate::store::{Store, atomic};

impl Trial<'_, '_> {
    /// The store in which the stage was run.
    fn store(&self) -> Store {
        Store::of(self.root).keyed_by(self.sources.store.key().cloned())
    }

    /// Puts a copy of an output, which `found` is about, where it is wanted.
    pub(super) fn hand_over(&self, made: &Utf8Path, to: &Utf8Path, found: Option<&Resource>) -> Result<(), RerunError> {
        let folder = found.and_then(artifact_digests).filter(ArtifactDigests::is_folder);
        let Some(folder) = folder else {
            return copy_file(made, to);
        };
        for file in self.store().files_of(&folder).unwrap_or_default() {
            let below = file.path.strip_prefix(found.map_or("", |found| &found.name));
            copy_file(&self.root.join(&file.path), &to.join(below.unwrap_or(&file.path)))?;
        }
        Ok(())
    }

    /// Keeps a folder that came out the same, for the stages after it.
    pub(super) fn keep_folder(&self, recorded: &Resource, folder: &ArtifactDigests) -> Result<(), RerunError> {
        let store = self.store();
        let files = store.files_of(folder).unwrap_or_default();
        for file in &files {
            let to = self.sources.bench.output(&ArtifactDigests::File(file.digests));
            let made = self.root.join(&file.path);
            // Two files with the same bytes are kept once.
            if !to.exists() {
                fs::rename(made, &to).map_err(|source| RerunError::Write { path: to, source })?;
            }
        }
        let to = self.sources.bench.listing(folder);
        let kept = fs::read(store.trees().path(folder.blake3())).map_err(|source| RerunError::Write {
            path: recorded.name.clone().into(),
            source,
        })?;
        Ok(atomic::write(&to, &kept)?)
    }

    /// The first file of the folder `name` that is not as it was, and where.
    pub(super) fn place_in_folder(&self, name: &str, was: &ArtifactDigests, is: &ArtifactDigests) -> String {
        let path = Utf8Path::new(name);
        let before = self.sources.files_of_folder(path, was);
        let (Some(before), Some(now)) = (before, self.store().files_of(is)) else {
            return "a place that cannot be named: the recorded files are not here".to_owned();
        };
        let by_path = |files: &'_ [ListedFile]| -> BTreeMap<Utf8PathBuf, ListedFile> {
            files.iter().map(|file| (file.path.clone(), file.clone())).collect()
        };
        let (before, now) = (by_path(&before), by_path(&now));
        for path in before.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
            let place = match (before.get(path), now.get(path)) {
                (Some(_), None) => "it is not there".to_owned(),
                (None, _) => "it was not there".to_owned(),
                (Some(was), Some(is)) if was.digests != is.digests => {
                    match self.sources.find(path, &ArtifactDigests::File(was.digests)) {
                        Some(before) => compare(&before, &self.root.join(path), path, None).place,
                        None => "its bytes; the recorded ones are not here".to_owned(),
                    }
                }
                (Some(was), Some(is)) if was.executable != is.executable => "its executable bit".to_owned(),
                _ => continue,
            };
            return format!("`{path}`: {place}");
        }
        "no file: it changed back meanwhile".to_owned()
    }
}
