//! What files hold now: hashed once, in parallel, and vouched for by the stat cache after that.

mod changed;
mod several;

use std::io;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use camino::{Utf8Path, Utf8PathBuf};

use super::state::{FileState, InputState};
use crate::commitment::PersonalKey;
use crate::digest::Digests;
use crate::listing::{ArtifactDigests, ListingError};
use crate::plan::{InputSource, Output};
use crate::shared_path::SharedPath;
use crate::stamp::Moment;
use crate::store::looks::{Held, Looks, Seen};
use crate::store::stat_cache::{Entry, Hashed, StatCache, hash_as_expected, hash_as_stamped, hash_stamped};
use crate::workspace::Workspace;
use crate::workspace::walk::{Named, Scope};

/// Why an input could not be hashed. Exit code 7, but for a file that is gone.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// It could not be read, or it changed while it was read.
    #[error("cannot read input `{path}`")]
    Read {
        /// Its path in the workspace.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is personal, and there is no secret that its digests could be keyed by.
    #[error("`{path}` is personal, and there is no consent secret that its digests could be keyed by")]
    NoSecret {
        /// Its path in the workspace.
        path: Utf8PathBuf,
    },
    /// A folder's file has a name that a listing cannot hold.
    #[error("cannot list input `{path}`")]
    List {
        /// The folder or pattern.
        path: Utf8PathBuf,
        /// Why.
        source: ListingError,
    },
}

/// The digests of files in a workspace, with the stat cache behind them. Shared by all workers.
pub struct FileHashes<'a> {
    workspace: &'a Workspace,
    cache: RwLock<StatCache>,
    looks: Option<&'a Looks>,
    /// What the digests of what is personal are keyed by.
    key: Option<PersonalKey>,
}

impl<'a> FileHashes<'a> {
    /// Hashes files of `workspace`, with `cache` to spare the second time.
    #[must_use]
    pub fn new(workspace: &'a Workspace, cache: StatCache) -> Self {
        Self {
            workspace,
            cache: RwLock::new(cache),
            looks: None,
            key: None,
        }
    }

    /// The same; the digests of what is personal are keyed by `key`.
    #[must_use]
    pub fn keyed_by(self, key: Option<PersonalKey>) -> Self {
        Self { key, ..self }
    }

    /// What the digests of what is personal are keyed by.
    #[must_use]
    pub fn key(&self) -> Option<&PersonalKey> {
        self.key.as_ref()
    }

    /// The same; what is seen is noted in `looks`.
    #[must_use]
    pub fn noting(self, looks: Option<&'a Looks>) -> Self {
        Self { looks, ..self }
    }

    /// What the file at `path` (relative to the workspace, or absolute for a tool) holds now.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn file(&self, path: &Utf8Path) -> io::Result<Hashed> {
        self.find_noting(path, None)
    }

    /// The same of a file that was put in place in this run, with these digests.
    ///
    /// # Errors
    ///
    /// Whatever reading gives.
    pub fn placed(&self, path: &Utf8Path, digests: Digests) -> io::Result<FileState> {
        let hashed = self.find_noting(path, Some(digests))?;
        let path = path.into();
        Ok(FileState { path, hashed })
    }

    /// Takes note of a file that was put in place after the time `since`, and whose bytes were hashed on the way.
    pub fn copied(&self, path: &Utf8Path, hashed: Hashed, since: Moment) -> FileState {
        self.change_cache(|cache| cache.put(path, &hashed, since));
        self.note(path, &hashed, since);
        let path = path.into();
        FileState { path, hashed }
    }

    fn note(&self, path: &Utf8Path, hashed: &Hashed, looked_at: Moment) {
        if let Some(looks) = self.looks {
            looks.note(path, Seen::File(hashed.stamp, hashed.digests.blake3), looked_at);
        }
    }

    fn find_noting(&self, path: &Utf8Path, expected: Option<Digests>) -> io::Result<Hashed> {
        let hashed = self.find(path, expected);
        // What is not there, or cannot be read, may be found otherwise next time.
        if let (Err(_), Some(looks)) = (&hashed, self.looks) {
            looks.give_up();
        }
        hashed
    }

    /// Notes that no program was found at `path`, so that one that comes to lie there is noticed.
    pub fn note_passed_over(&self, path: &Utf8Path) {
        let Some(looks) = self.looks else { return };
        match self.workspace.stamp_of_entry(path) {
            Ok(None) => looks.note(path, Seen::Absent, Moment::now()),
            // It may come to be one without being another.
            Ok(Some(_)) | Err(_) => looks.give_up(),
        }
    }

    fn find(&self, path: &Utf8Path, expected: Option<Digests>) -> io::Result<Hashed> {
        let looked_at = Moment::now();
        let remembered = self.cache().entry(path);
        let (hashed, is_new) = self.hash(path, remembered, expected)?;
        if is_new {
            self.change_cache(|cache| cache.put(path, &hashed, looked_at));
        }
        self.note(path, &hashed, looked_at);
        Ok(hashed)
    }

    /// What the file at `path` holds, of which this is `remembered` and this `expected`; and whether it was read for that.
    fn hash(
        &self,
        path: &Utf8Path,
        remembered: Option<Entry>,
        expected: Option<Digests>,
    ) -> io::Result<(Hashed, bool)> {
        let workspace = self.workspace;
        // Where nothing is remembered or expected, there is nothing to compare the file with before it is opened.
        if remembered.is_none() && expected.is_none() {
            return hash_stamped(workspace, path).map(|hashed| (hashed, true));
        }
        let stamp = workspace.stamp_of(path)?;
        if let Some(digests) = remembered.and_then(|remembered| remembered.vouched(&stamp)) {
            return Ok((Hashed { digests, stamp }, false));
        }
        let likely = || remembered.and_then(|remembered| remembered.likely(&stamp));
        let hashed = match expected.or_else(likely) {
            Some(expected) => hash_as_expected(workspace, path, stamp, expected),
            None => hash_as_stamped(workspace, path, stamp),
        };
        hashed.map(|hashed| (hashed, true))
    }

    /// What lies in the place of the output that is `claimed`: the file, or the folder with all that is in it.
    ///
    /// # Errors
    ///
    /// Whatever reading gives; an error of kind `InvalidData` if the folder holds what no output folder does.
    pub fn output(&self, path: &Utf8Path, claimed: &ArtifactDigests) -> io::Result<InputState> {
        let state = self.in_place(path, claimed.is_folder())?;
        Ok(match claimed {
            // By another key, or without any, it is not what was claimed.
            ArtifactDigests::Keyed(_) => self.keyed(state.clone()).unwrap_or(state),
            ArtifactDigests::File(_) | ArtifactDigests::Folder(_) => state,
        })
    }

    /// What lies in the place of `output`, by the digests that receipts of it have now.
    ///
    /// # Errors
    ///
    /// Like [`Self::output`].
    pub fn output_of(&self, output: &Output) -> io::Result<InputState> {
        let state = self.in_place(&output.path, output.is_folder)?;
        Ok(match output.is_personal {
            true => self.keyed(state.clone()).unwrap_or(state),
            false => state,
        })
    }

    /// What lies in the folder `path`, by its plain digests.
    ///
    /// # Errors
    ///
    /// Like [`Self::output`].
    pub fn output_folder(&self, path: &Utf8Path) -> io::Result<InputState> {
        self.in_place(path, true)
    }

    fn in_place(&self, path: &Utf8Path, is_folder: bool) -> io::Result<InputState> {
        if is_folder {
            let found = self.folder(path);
            if let (Err(_), Some(looks)) = (&found, self.looks) {
                looks.give_up();
            }
            return found;
        }
        let hashed = self.file(path)?;
        let path = path.into();
        Ok(FileState { path, hashed }.into())
    }

    /// The same, known by keyed digests; `None` without a key.
    #[must_use]
    pub fn keyed(&self, state: InputState) -> Option<InputState> {
        let key = self.key.as_ref()?;
        Some(state.keyed_by(key))
    }

    /// The same of a temporary output, which need not be there.
    ///
    /// # Errors
    ///
    /// Like [`Self::output`].
    pub fn output_if_there(&self, path: &Utf8Path, claimed: &ArtifactDigests) -> io::Result<Option<InputState>> {
        let looked_at = Moment::now();
        match self.workspace.absolute(path).symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(looks) = self.looks {
                    looks.note(path, Seen::Absent, looked_at);
                }
                Ok(None)
            }
            _ => self.output(path, claimed).map(Some),
        }
    }

    fn folder(&self, path: &Utf8Path) -> io::Result<InputState> {
        if !self.workspace.absolute(path).symlink_metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "it holds more than regular files");
        let on_folder = |folder: &Utf8Path| {
            if let Some(looks) = self.looks {
                looks.note_folder(self.workspace, folder);
            }
        };
        let found = self.workspace.names_below(path, Scope::All, &on_folder);
        let found = found.map_err(io::Error::other)?;
        if !found.iter().all(|(_, named)| *named == Named::File) {
            return Err(bad());
        }
        let paths: Vec<SharedPath> = found.into_iter().map(|(path, _)| path).collect();
        let files = self.files(&paths).map_err(|(_, error)| error)?;
        InputState::of_folder(path, files).map_err(io::Error::other)
    }

    /// What the file at `path` holds, if that is known without reading it.
    #[must_use]
    pub fn vouched(&self, path: &Utf8Path) -> Option<Hashed> {
        let (stamp, looked_at) = match self.looks.and_then(|looks| looks.just_seen(path)) {
            Some(just) => just,
            None => {
                let looked_at = Moment::now();
                (self.workspace.stamp_of(path).ok()?, looked_at)
            }
        };
        let digests = self.cache().get(path, &stamp)?;
        if let Some(looks) = self.looks {
            looks.note(path, Seen::File(stamp, digests.blake3), looked_at);
        }
        Some(Hashed { digests, stamp })
    }

    /// What is known of files that were looked at a moment ago, for whoever asks about many of them; `None` if nobody notes looks.
    #[must_use]
    pub fn just_looked_at<'p>(&self) -> Option<JustLookedAt<'_, 'p>> {
        Some(JustLookedAt {
            cache: self.cache(),
            looks: self.looks?.hold(),
            now: Moment::now(),
            used: Vec::new(),
        })
    }

    /// The cache, for whoever only asks: many may at a time, and nobody changes it meanwhile.
    pub(super) fn cache(&self) -> RwLockReadGuard<'_, StatCache> {
        self.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change_cache(&self, change: impl FnOnce(&mut StatCache)) {
        change(&mut self.cache.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What a source (an input that no stage makes) holds now.
    ///
    /// # Errors
    ///
    /// [`InputError`] if a file of it cannot be read.
    ///
    /// # Panics
    ///
    /// If `source` is the output of a stage, whose digests come from its receipt.
    pub fn source(&self, source: &InputSource) -> Result<InputState, InputError> {
        match source {
            InputSource::File { path } => Ok(self.file_state(path)?.into()),
            InputSource::Folder { path, files } => self.several(path, files),
            InputSource::Glob { pattern, files } => self.several(Utf8Path::new(pattern), files),
            InputSource::Output { .. } => unreachable!("the digests of an output come from its stage"),
        }
    }

    fn file_state(&self, path: &Utf8Path) -> Result<FileState, InputError> {
        let hashed = self.file(path).map_err(|source| InputError::Read {
            path: path.to_owned(),
            source,
        })?;
        Ok(FileState {
            path: path.into(),
            hashed,
        })
    }
}

/// What is known of files that were looked at a moment ago.
pub struct JustLookedAt<'h, 'p> {
    cache: RwLockReadGuard<'h, StatCache>,
    looks: Held<'h>,
    now: Moment,
    /// What was asked for: that it was used is noted when all have been.
    used: Vec<(&'p Utf8Path, Seen, Moment)>,
}

impl<'p> JustLookedAt<'_, 'p> {
    /// What the file at `path` holds, if that is known without looking at it again.
    pub fn vouched(&mut self, path: &'p Utf8Path) -> Option<Hashed> {
        let (stamp, looked_at) = self.looks.just_seen(path, self.now)?;
        let digests = self.cache.get(path, &stamp)?;
        self.used.push((path, Seen::File(stamp, digests.blake3), looked_at));
        Some(Hashed { digests, stamp })
    }
}

impl Drop for JustLookedAt<'_, '_> {
    fn drop(&mut self) {
        for (path, seen, looked_at) in self.used.drain(..) {
            self.looks.note(path, seen, looked_at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::digest::{Digest, Sha256};
    use crate::store::atomic;

    #[test]
    fn what_the_cache_vouches_for_is_not_read_and_what_has_another_stamp_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = Workspace::at(Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8"));
        let path = Utf8Path::new("f");
        atomic::write(&workspace.absolute(path), b"1").expect("written");
        // What no reading gives.
        let digests = Digests {
            blake3: Digest::of(b"remembered"),
            sha256: Sha256::of(b"remembered"),
        };
        let stamp = workspace.stamp_of(path).expect("stamped");
        let mut cache = StatCache::default();
        cache.put(path, &Hashed { digests, stamp }, Moment::now() + Duration::from_secs(5));
        let hashes = FileHashes::new(&workspace, cache);
        assert_eq!(hashes.file(path).expect("known").digests, digests);
        assert_eq!(hashes.vouched(path).expect("known").digests, digests);

        atomic::write(&workspace.absolute(path), b"2").expect("written");
        assert_eq!(hashes.vouched(path), None);
        assert_eq!(hashes.file(path).expect("read").digests.blake3, Digest::of(b"2"));
    }

    #[test]
    fn the_sha_256_of_bytes_that_were_hashed_before_is_not_computed_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let workspace = Workspace::at(Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8"));
        let path = Utf8Path::new("f");
        let (before, after) = (vec![1; 2 << 20], vec![2; 2 << 20]);
        // What no reading gives.
        let digests = Digests {
            blake3: Digest::of(&before),
            sha256: Sha256::of(b"remembered"),
        };
        for (bytes, found) in [(&before, digests), (&after, Digests::of(&after))] {
            atomic::write(&workspace.absolute(path), &before).expect("written");
            let stamp = workspace.stamp_of(path).expect("stamped");
            let mut cache = StatCache::default();
            let later = Moment::now() + Duration::from_secs(5);
            cache.put(path, &Hashed { digests, stamp }, later);
            atomic::write(&workspace.absolute(path), bytes).expect("written again");
            let hashes = FileHashes::new(&workspace, cache);
            assert_eq!(hashes.vouched(path), None);
            assert_eq!(hashes.file(path).expect("read").digests, found);
        }
    }
}
