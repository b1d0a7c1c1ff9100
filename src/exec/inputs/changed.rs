//! Whether inputs still hold what they held.

use camino::Utf8Path;
use rayon::prelude::*;

use super::FileHashes;
use crate::exec::state::{Content, FileState, InputState};
use crate::plan::is_pattern;
use crate::store::looks::Looks;
use crate::store::stat_cache::hash_stamped;
use crate::workspace::walk::Scope;

impl FileHashes<'_> {
    /// The first file of `inputs` that no longer holds what it held, if any; or a folder that has other files than it had.
    #[must_use]
    pub fn first_changed<'b>(&self, inputs: &'b [InputState]) -> Option<&'b Utf8Path> {
        let file_changed = |file: &&FileState| {
            let same = self
                .workspace
                .stamp_of(&file.path)
                .is_ok_and(|stamp| stamp == file.hashed.stamp)
                || hash_stamped(self.workspace, &file.path).is_ok_and(|now| {
                    now.digests == file.hashed.digests && now.stamp.is_executable() == file.hashed.stamp.is_executable()
                });
            !same
        };
        inputs.iter().find_map(|input| {
            let changed = || input.files().par_iter().with_min_len(64).find_first(file_changed);
            let (file, has_others) = match input.files().len() {
                0..64 => (input.files().iter().find(file_changed), self.has_other_files(input)),
                _ => rayon::join(changed, || self.has_other_files(input)),
            };
            let file = file.map(|file| file.path.as_path());
            file.or_else(|| has_others.then_some(input.path.as_path()))
        })
    }

    /// Whether the folder `input` has files that it had not, which a program may have read.
    fn has_other_files(&self, input: &InputState) -> bool {
        let Content::Several { files, .. } = &input.content else {
            return false;
        };
        // A pattern's files are brought in one by one: no other is seen.
        if is_pattern(input.path.as_str()) {
            return false;
        }
        let is_as_listed = |looks: &Looks| looks.have_same_names(self.workspace, &input.path);
        if self.looks.is_some_and(is_as_listed) {
            return false;
        }
        match self.workspace.names_below(&input.path, Scope::OfStages, &|_| {}) {
            Ok(found) => {
                let is_private = |path: &Utf8Path| path.iter().any(|name| name.eq_ignore_ascii_case(".git"));
                let now = found.iter().map(|(path, _)| path).filter(|path| !is_private(path));
                !now.eq(files.iter().map(|file| &file.path))
            }
            Err(_) => true,
        }
    }
}
