//! What many files hold: they are looked up, and noted, many at a time, so that those who hash them do not wait for each other.

use std::collections::HashSet;
use std::io;

use camino::Utf8Path;
use rayon::prelude::*;

use super::{FileHashes, InputError};
use crate::exec::state::{FileState, InputState};
use crate::shared_path::SharedPath;
use crate::stamp::{Kind, Moment};
use crate::store::looks::Seen;
use crate::store::stat_cache::{Entry, Hashed};
use crate::workspace::walk::{Named, Scope};

/// So many files at most are looked up and noted together.
const TOGETHER: usize = 256;
/// Files are parted into so many parts at least: of long ones nobody should have many left when all others are done.
const PARTS: usize = 64;

impl FileHashes<'_> {
    /// The folder or pattern `path` with these `files`.
    pub(super) fn several(&self, path: &Utf8Path, files: &[SharedPath]) -> Result<InputState, InputError> {
        let read = |(path, source): (SharedPath, io::Error)| InputError::Read {
            path: path.into(),
            source,
        };
        let files = self.files(files).map_err(read)?;
        InputState::of_folder(path, files).map_err(|source| InputError::List {
            path: path.to_owned(),
            source,
        })
    }

    /// What the files at `paths` hold now, in their order; or which of them cannot be read, and why.
    pub(super) fn files(&self, paths: &[SharedPath]) -> Result<Vec<FileState>, (SharedPath, io::Error)> {
        self.change_cache(|cache| cache.make_room_for(paths.len()));
        if let Some(looks) = self.looks {
            looks.make_room_for(paths.len());
        }
        let together = (paths.len() / PARTS).clamp(1, TOGETHER);
        let found: Result<Vec<_>, _> = paths.par_chunks(together).map(|part| self.part(part)).collect();
        if let (Err(_), Some(looks)) = (&found, self.looks) {
            looks.give_up();
        }
        let found = found?;
        let state = |(at, path): (usize, &SharedPath)| FileState {
            path: path.clone(),
            hashed: found[at / together][at % together],
        };
        Ok(paths.par_iter().with_min_len(together).enumerate().map(state).collect())
    }

    /// Which `files` of the folder `path` are links themselves.
    pub fn links_among<'f>(&self, path: &Utf8Path, files: &'f [FileState]) -> Vec<&'f Utf8Path> {
        let paths = || files.iter().map(|file| &*file.path);
        let known = self.looks.and_then(|looks| looks.may_be_links(path, paths()));
        // Where the folder is a link all of its files may be, and to ask where each leads takes ten times as long.
        let is_link = |path: &&Utf8Path| {
            self.workspace
                .found_at(path)
                .is_ok_and(|found| found.kind == Kind::Link)
        };
        let known = known.map(|may_be| may_be.into_iter().filter(is_link).collect());
        known.unwrap_or_else(|| {
            // The names tell which are links: to ask each file would take as long as to look for changes in all of them.
            let names = self.workspace.names_below(path, Scope::OfStages, &|_| {});
            let links = names.unwrap_or_default().into_iter();
            let links: HashSet<SharedPath> = links
                .filter(|(_, named)| *named == Named::Link)
                .map(|(path, _)| path)
                .collect();
            paths().filter(|path| links.contains(path.as_str())).collect()
        })
    }

    fn part(&self, paths: &[SharedPath]) -> Result<Vec<Hashed>, (SharedPath, io::Error)> {
        let looked_at = Moment::now();
        let remembered: Vec<Option<Entry>> = {
            let cache = self.cache();
            paths.iter().map(|path| cache.entry(path)).collect()
        };
        let mut files = Vec::with_capacity(paths.len());
        let mut new = Vec::new();
        for (at, path) in paths.iter().enumerate() {
            let (hashed, is_new) = self
                .hash(path, remembered[at], None)
                .map_err(|error| (path.clone(), error))?;
            if is_new {
                new.push(at);
            }
            files.push(hashed);
        }
        self.change_cache(|cache| {
            for at in new {
                cache.put(&paths[at], &files[at], looked_at);
            }
        });
        if let Some(looks) = self.looks {
            let seen = |hashed: &Hashed| Seen::File(hashed.stamp, hashed.digests.blake3);
            looks.note_all(paths.iter().zip(files.iter().map(seen)), looked_at);
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::digest::{Digest, Digests};
    use crate::store::atomic;
    use crate::store::looks::Looks;
    use crate::store::stat_cache::StatCache;
    use crate::workspace::Workspace;

    fn workspace(files: usize) -> (tempfile::TempDir, Workspace, Vec<SharedPath>) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8").to_owned();
        let paths: Vec<SharedPath> = (0..files)
            .map(|number| format!("{number:04}").as_str().into())
            .collect();
        for path in &paths {
            atomic::write(&root.join(path), path.as_str().as_bytes()).expect("written");
        }
        (folder, Workspace::at(root), paths)
    }

    #[test]
    fn each_of_many_files_has_its_own_digests_and_the_cache_is_asked_first() {
        // Fewer than there are parts, and more than one part takes.
        for files in [0, 1, PARTS + 1, 2 * PARTS + 7] {
            let (_guard, workspace, paths) = workspace(files);
            // What no reading gives, of every third.
            let remembered = Digests::of(b"remembered");
            let mut cache = StatCache::default();
            for path in paths.iter().step_by(3) {
                let stamp = workspace.stamp_of(path).expect("there");
                let hashed = Hashed {
                    digests: remembered,
                    stamp,
                };
                cache.put(path, &hashed, Moment::now() + Duration::from_secs(5));
            }
            let looks = Looks::begin();
            let hashes = FileHashes::new(&workspace, cache).noting(Some(&looks));
            let found = hashes.files(&paths).expect("readable");
            assert_eq!(found.len(), files);
            for (at, (file, path)) in found.iter().zip(&paths).enumerate() {
                let expected = match at % 3 {
                    0 => remembered,
                    _ => Digests::of(path.as_str().as_bytes()),
                };
                assert_eq!((&file.path, file.hashed.digests), (path, expected), "{files}");
                assert_eq!(file.hashed.stamp, workspace.stamp_of(path).expect("there"));
            }
        }
    }

    #[test]
    fn what_was_read_is_remembered_and_noted() {
        let (_guard, workspace, paths) = workspace(2 * PARTS);
        std::thread::sleep(Duration::from_millis(50));
        let looks = Looks::begin();
        let hashes = FileHashes::new(&workspace, StatCache::default()).noting(Some(&looks));
        hashes.files(&paths).expect("readable");
        let seen = looks.settle().expect("old");
        assert_eq!(seen.len(), paths.len());
        for (path, (noted, seen)) in paths.iter().zip(seen) {
            let stamp = workspace.stamp_of(path).expect("there");
            let digest = Digest::of(path.as_str().as_bytes());
            assert_eq!((noted.as_str(), seen), (path.as_str(), Seen::File(stamp, digest)));
            assert!(hashes.vouched(path).is_some(), "{path}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_are_told_from_what_lies_in_a_folder_that_is_one() {
        use std::os::unix::fs::symlink;

        use crate::store::watched::Watched;
        use crate::tree::Tree as _;
        let (_guard, workspace, _) = workspace(1);
        for file in ["d/a", "d/e/b"] {
            atomic::write(&workspace.absolute(Utf8Path::new(file)), b"1").expect("written");
        }
        for (to, link) in [("../0000", "d/link"), ("d", "to-d")] {
            symlink(to, workspace.root().join(link)).expect("linked");
        }
        for folder in ["d", "to-d"] {
            let looks = Looks::begin();
            let watched = Watched::new(&workspace, &looks);
            let below = watched.files_below(Utf8Path::new(folder)).expect("readable");
            let paths: Vec<SharedPath> = below.into_iter().map(|below| below.path).collect();
            for path in &paths {
                watched.real_path(path).expect("readable");
            }
            // Asked of the looks, and of the folder where nothing was noted.
            for looks in [Some(&looks), None] {
                let hashes = FileHashes::new(&workspace, StatCache::default()).noting(looks);
                let files = hashes.files(&paths).expect("readable");
                let links = hashes.links_among(Utf8Path::new(folder), &files);
                assert_eq!(links, [Utf8Path::new(&format!("{folder}/link"))]);
            }
        }
    }

    #[test]
    fn a_file_that_may_change_without_a_trace_is_not_remembered() {
        let (_guard, workspace, paths) = workspace(PARTS);
        let file = std::fs::File::options().write(true).open(workspace.absolute(&paths[1]));
        let from_the_future = SystemTime::now() + Duration::from_secs(60);
        file.and_then(|file| file.set_modified(from_the_future))
            .expect("own file");
        std::thread::sleep(Duration::from_millis(50));
        let hashes = FileHashes::new(&workspace, StatCache::default());
        hashes.files(&paths).expect("readable");
        let vouched = [0, 1, 2].map(|at: usize| hashes.vouched(&paths[at]).is_some());
        assert_eq!(vouched, [true, false, true]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_nothing_is_vouched_for() {
        let (_guard, workspace, paths) = workspace(2 * PARTS);
        let gone = &paths[PARTS + 3];
        std::fs::remove_file(workspace.absolute(gone)).expect("removed");
        let looks = Looks::begin();
        let hashes = FileHashes::new(&workspace, StatCache::default()).noting(Some(&looks));
        let (path, error) = hashes.files(&paths).expect_err("one is gone");
        assert_eq!((&path, error.kind()), (gone, io::ErrorKind::NotFound));
        assert!(looks.settle().is_none());
    }
}
