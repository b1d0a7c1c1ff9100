//! Outputs that are an input file, byte for byte: a built-in stage says so in place of writing them.
//!
//! What is attested and kept is what the stage has read, whatever happens to the file meanwhile: the digest that the stage took of
//! the bytes as it read them has to be that of the action, and so has the digest of the copy that is kept, which nobody
//! else can write to. Both are a BLAKE3. The SHA-256 was computed of bytes with the same BLAKE3, and so of the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::ExecError;
use super::event::FailureKind;
use super::root::{ExecutionRoot, RootError};
use super::stage::{Attempt, Said};
use super::state::FileState;
use crate::commitment::PersonalKey;
use crate::digest::{Digest, Digests};
use crate::listing::ArtifactDigests;
use crate::stages::ingest::lines::open_regular;
use crate::stages::{PassedOn, Progress, Unit};
use crate::store::StoreError;
use crate::store::copy::copy_file;

/// What is known of the outputs that are inputs, by the name of the output.
pub(super) type Known = BTreeMap<String, Digests>;

impl Attempt<'_> {
    /// The digests of the outputs that the stage has `passed_on`, each of which is then a file in the root, or an object of the store.
    /// Or what is wrong: an input is not what the action says.
    pub(super) fn bring_passed_on(
        &self,
        root: &ExecutionRoot,
        passed_on: &BTreeMap<String, PassedOn>,
    ) -> Result<Result<Known, FailureKind>, ExecError> {
        let mut known = Known::new();
        for output in &self.stage.outputs {
            let Some(PassedOn { file, read }) = passed_on.get(&output.name) else {
                continue;
            };
            let changed = || Ok(Err(FailureKind::InputChanged(file.clone())));
            let Some(state) = self
                .file_of_input(file)
                .filter(|state| state.hashed.digests.blake3 == *read)
            else {
                return changed();
            };
            let digests = state.hashed.digests;
            let name = self
                .key_of(output)?
                .map_or(digests.blake3, |key| key.name(digests.blake3));
            if !self.session.store.cas().is_whole(name) {
                let to = root.folder().join(&output.path);
                let from = self.session.workspace.absolute(file);
                let failed = |source| {
                    ExecError::Root(RootError::Bring {
                        path: file.clone(),
                        source,
                    })
                };
                let total = Some(state.hashed.stamp.size());
                let tell = |done| {
                    let unit = Unit::Written;
                    (self.say)(Said::Progress(Progress { unit, done, total }));
                };
                if copy(&from, &to, tell).map_err(failed)? != digests.blake3 {
                    return changed();
                }
            }
            known.insert(output.name.clone(), digests);
        }
        Ok(Ok(known))
    }

    fn file_of_input(&self, path: &Utf8Path) -> Option<&FileState> {
        let mut files = self.inputs.iter().flat_map(|input| input.files());
        files.find(|file| file.path.as_path() == path)
    }

    /// Takes an output that was passed on into the store, by keyed digests if there is a `key`.
    pub(super) fn take_passed_on(
        &self,
        root: &ExecutionRoot,
        path: &Utf8Path,
        digests: &Digests,
        key: Option<&PersonalKey>,
    ) -> Result<ArtifactDigests, ExecError> {
        let plain = ArtifactDigests::File(*digests);
        let digests = plain.keyed_by(key);
        let cas = self.session.store.cas();
        let object: Utf8PathBuf = match root.held().file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => cas.path(digests.blake3()),
            found => {
                let (file, found) = found.map_err(|source| StoreError::Read {
                    path: root.folder().join(path),
                    source,
                })?;
                cas.adopt((&file, &found), digests.blake3(), |to| root.held().move_out(path, to))?
            }
        };
        let bytes = object.metadata().map_or(0, |found| found.len());
        self.session.unsynced.add_sized(object, bytes);
        Ok(digests)
    }
}

/// Copies the file at `from` to the new file `to`. Gives the BLAKE3 of the copy. `tell` is told how many bytes are copied.
fn copy(from: &Utf8Path, to: &Utf8Path, tell: impl Fn(u64)) -> io::Result<Digest> {
    let source = open_regular(from)?;
    let copy = File::options().read(true).write(true).create_new(true).open(to)?;
    copy_file(&source, &copy, tell)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;

    #[test]
    fn a_copy_has_the_digest_of_its_own_bytes_and_is_never_another_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        for length in [0, 1, 1 << 18, (5 << 18) + 1] {
            let (from, to) = (root.join("from"), root.join(length.to_string()));
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            atomic::write(&from, &bytes).expect("written");
            assert_eq!(copy(&from, &to, |_| {}).expect("copied"), Digest::of(&bytes));
            assert!(std::fs::read(&to).expect("read") == bytes);
            assert!(copy(&from, &to, |_| {}).is_err(), "what is there stays");
            atomic::write(&from, b"edited").expect("written");
            assert!(std::fs::read(&to).expect("read") == bytes);
        }
        assert!(copy(root, &root.join("folder"), |_| {}).is_err());
        assert!(copy(&root.join("absent"), &root.join("none"), |_| {}).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_in_the_place_of_an_input_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let pipe = root.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo is there").success());
        let error = copy(&pipe, &root.join("to"), |_| {}).expect_err("no file");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!root.join("to").exists());
    }
}
