//! The content-addressed store: artifacts by their BLAKE3.

use std::fs::{self, File};
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::{StoreError, atomic};
use crate::commitment::{PersonalKey, is_named};
use crate::digest::{Digest, blake3_of};

/// An object of up to so many bytes is written from memory where it is put: to ask the file system whether it can share the blocks takes
/// longer, and where it cannot, a file is made for it in vain.
const SMALL: u64 = 64 << 10;

/// Bytes by digest, one read-only file each.
#[derive(Clone, Debug)]
pub struct Cas {
    root: Utf8PathBuf,
    key: Option<PersonalKey>,
}

impl Cas {
    /// The store in the folder `root`.
    #[must_use]
    pub fn at(root: Utf8PathBuf) -> Self {
        Self { root, key: None }
    }

    /// The same; an object may be named by its BLAKE3 keyed by `key`.
    #[must_use]
    pub fn keyed_by(self, key: Option<PersonalKey>) -> Self {
        Self { key, ..self }
    }

    /// Whether an object with the plain BLAKE3 `found` may be called `name`.
    fn is_named(&self, found: Digest, name: Digest) -> bool {
        is_named(found, name, self.key.as_ref())
    }

    /// Where the object `digest` lies, or would.
    #[must_use]
    pub fn path(&self, digest: Digest) -> Utf8PathBuf {
        let hex = digest.to_hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// Whether the object is there. Its bytes are checked when they are used, not here.
    #[must_use]
    pub fn contains(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Moves the file at `from` (same file system, its bytes hashed to `digest` by the caller) into the store. Gives the
    /// object's path, for the group commit that makes it durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be moved.
    pub fn adopt(&self, from: &Utf8Path, digest: Digest) -> Result<Utf8PathBuf, StoreError> {
        let path = self.path(digest);
        if path.is_file() && self.is_whole(digest) {
            return Ok(path);
        }
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        set_read_only(&File::open(from).map_err(failed)?).map_err(failed)?;
        atomic::in_folder_of(&path, || fs::rename(from, &path)).map_err(failed)?;
        Ok(path)
    }

    /// Whether the object is there and its bytes are those of `digest`.
    #[must_use]
    pub fn is_whole(&self, digest: Digest) -> bool {
        File::open(self.path(digest))
            .and_then(|mut file| blake3_of(&mut file))
            .is_ok_and(|(found, _)| self.is_named(found, digest))
    }

    /// Puts the object's bytes at `to`, whole or not at all: a copy that shares its blocks where the file system can. Never a hard link: an edit must not reach the store.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the stored bytes are not those of `digest` (the object is then removed, for it is of
    /// no use); [`StoreError`] if it cannot be read or written.
    pub fn place(&self, digest: Digest, to: &Utf8Path, executable: bool) -> Result<(), StoreError> {
        let from = self.path(digest);
        let failed = |source| StoreError::Write {
            path: to.to_owned(),
            source,
        };
        if let Some(bytes) = read_if_small(&from).map_err(|source| StoreError::Read {
            path: from.clone(),
            source,
        })? {
            let found = Digest::of(&bytes);
            if !self.is_named(found, digest) {
                return Err(self.damaged(digest, found));
            }
            return atomic::write_plain(to, &bytes, executable);
        }
        let folder = atomic::folder_of(to);
        atomic::create_folder(folder)?;
        let temporary = tempfile::Builder::new()
            .prefix(atomic::TEMPORARY)
            .make_in(folder, |path| {
                let copied = reflink_copy::reflink_or_copy(&from, path).map(drop);
                // A copy that did not fit on the disk is there all the same; one that somebody else has made is not ours.
                if copied
                    .as_ref()
                    .is_err_and(|error| error.kind() != io::ErrorKind::AlreadyExists)
                {
                    let _ = fs::remove_file(path);
                }
                copied
            })
            .map_err(|source| match File::open(&from) {
                // The object is there: what fails is the place that it goes to (no right to write, a full disk).
                Ok(_) => failed(source),
                Err(source) => StoreError::Read {
                    path: from.clone(),
                    source,
                },
            })?;
        let file = File::open(temporary.path()).map_err(failed)?;
        self.check_copy(digest, &file, executable, failed)?;
        temporary.persist(to).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

impl Cas {
    /// Copies the object's bytes to the new file `to`, in a folder that is not in its place yet.
    ///
    /// # Errors
    ///
    /// Like [`Cas::place`].
    pub fn copy(&self, digest: Digest, to: &Utf8Path, executable: bool) -> Result<(), StoreError> {
        let from = self.path(digest);
        let failed = |source| StoreError::Write {
            path: to.to_owned(),
            source,
        };
        reflink_copy::reflink_or_copy(&from, to).map_err(|source| match File::open(&from) {
            Ok(_) => failed(source),
            Err(source) => StoreError::Read {
                path: from.clone(),
                source,
            },
        })?;
        let file = File::open(to).map_err(failed)?;
        self.check_copy(digest, &file, executable, failed)
    }

    /// The copy is hashed, not the object: what is placed is what was checked.
    fn check_copy(
        &self,
        digest: Digest,
        copy: &File,
        executable: bool,
        failed: impl Fn(io::Error) -> StoreError,
    ) -> Result<(), StoreError> {
        let (found, _) = blake3_of(&mut &*copy).map_err(&failed)?;
        if !self.is_named(found, digest) {
            return Err(self.damaged(digest, found));
        }
        atomic::set_published_mode(copy, executable).map_err(failed)
    }

    /// Removes the object `name`, whose bytes are those of `found`: it is of no use.
    fn damaged(&self, name: Digest, found: Digest) -> StoreError {
        let _ = fs::remove_file(self.path(name));
        StoreError::Damaged { name, found }
    }
}

/// What the file holds, if that is not much.
fn read_if_small(path: &Utf8Path) -> io::Result<Option<Vec<u8>>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    if size > SMALL {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(SMALL + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn set_read_only(file: &File) -> io::Result<()> {
    let mut permissions = file.metadata()?.permissions();
    permissions.set_readonly(true);
    file.set_permissions(permissions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Utf8PathBuf, Cas) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        let cas = Cas::at(root.join("cas"));
        (folder, root, cas)
    }

    #[test]
    fn what_is_adopted_can_be_placed_and_editing_it_there_leaves_the_store_whole() {
        let (_guard, root, cas) = store();
        atomic::write(&root.join("made"), b"bytes").expect("written");
        let digest = Digest::of(b"bytes");
        cas.adopt(&root.join("made"), digest).expect("adopted");
        assert!(!root.join("made").exists());

        cas.place(digest, &root.join("a/b"), false).expect("placed");
        assert_eq!(fs::read(root.join("a/b")).expect("read"), b"bytes");
        atomic::write(&root.join("a/b"), b"edited").expect("written");
        cas.place(digest, &root.join("a/c"), false).expect("placed again");
        assert_eq!(fs::read(root.join("a/c")).expect("read"), b"bytes");
    }

    #[test]
    fn an_error_names_the_side_that_fails() {
        let (_guard, root, cas) = store();
        let digest = Digest::of(b"bytes");
        let absent = cas.place(digest, &root.join("out"), false).expect_err("no object");
        assert!(matches!(absent, StoreError::Read { .. }), "{absent}");
        atomic::write(&cas.path(digest), b"bytes").expect("written");
        // No file system takes so long a name.
        let to = root.join("x".repeat(300)).join("out");
        let refused = cas.place(digest, &to, false).expect_err("no place");
        assert!(matches!(refused, StoreError::Write { .. }), "{refused}");
        let folder = root.join("out");
        std::fs::create_dir(&folder).expect("made");
        let refused = cas.place(digest, &folder, false).expect_err("a folder is there");
        assert!(matches!(refused, StoreError::Write { path, .. } if path == folder));
    }

    #[test]
    fn a_damaged_object_is_never_placed() {
        let (_guard, root, cas) = store();
        for size in [0, SMALL, SMALL + 1] {
            let bytes = vec![b'x'; usize::try_from(size).expect("small")];
            let digest = Digest::of(&bytes);
            atomic::write(&cas.path(digest), &[bytes.as_slice(), b"y"].concat()).expect("written");
            let error = cas.place(digest, &root.join("out"), false).expect_err("refused");
            assert!(matches!(error, StoreError::Damaged { .. }));
            assert!(!root.join("out").exists());
            assert!(!cas.contains(digest), "an object that is not what it says is removed");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_small_and_what_is_not_is_placed_alike_with_the_mode_of_any_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_guard, root, cas) = store();
        let mode = |name: &str| fs::metadata(root.join(name)).expect("found").permissions().mode() & 0o777;
        File::create_new(root.join("any")).expect("made");
        for size in [0, SMALL, SMALL + 1] {
            let bytes = vec![b'x'; usize::try_from(size).expect("small")];
            let digest = Digest::of(&bytes);
            atomic::write(&root.join("made"), &bytes).expect("written");
            cas.adopt(&root.join("made"), digest).expect("adopted");
            cas.place(digest, &root.join("in/data"), false).expect("placed");
            cas.place(digest, &root.join("in/program"), true).expect("placed");
            assert_eq!(fs::read(root.join("in/data")).expect("read"), bytes);
            assert_eq!(mode("in/data"), mode("any"));
            assert_eq!(mode("in/program"), mode("any") | (mode("any") & 0o444) >> 2);
            let names = root.join("in").read_dir_utf8().expect("listed").count();
            assert_eq!(names, 2, "no temporary file is left");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_place_that_cannot_be_written_is_named_and_not_the_object() {
        let (_guard, _root, cas) = store();
        let digest = Digest::of(b"bytes");
        atomic::write(&cas.path(digest), b"bytes").expect("written");
        let to = Utf8Path::new("/proc/self/out");
        let error = cas.place(digest, to, false).expect_err("nobody can write there");
        assert!(matches!(error, StoreError::Write { path, .. } if path == to));
    }
}
