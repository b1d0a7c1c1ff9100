//! The content-addressed store: artifacts by their BLAKE3.

use std::fs::{self, File};
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::copy::copy_file;
use super::{StoreError, atomic, read_sized, root};
use crate::commitment::{PersonalKey, is_named};
use crate::digest::{Digest, blake3_of};
use crate::held::{is_same, open_plain};
use crate::stamp::Stamp;

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
        is_file(&self.path(digest))
    }

    /// Moves a `file`, which was `found` to be this (its bytes hashed to `digest` by the caller), into the store, by `move_to`. What that moves has to be the file: a program
    /// that goes on may have put something else in its place.
    /// Gives the object's path, for the group commit that makes it durable.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be moved.
    pub fn adopt(
        &self,
        (file, found): (&File, &fs::Metadata),
        digest: Digest,
        move_to: impl Fn(&Utf8Path) -> io::Result<()>,
    ) -> Result<Utf8PathBuf, StoreError> {
        let path = self.path(digest);
        if self.is_whole(digest) {
            return Ok(path);
        }
        let failed = |source| StoreError::Write {
            path: path.clone(),
            source,
        };
        let mut permissions = found.permissions();
        permissions.set_readonly(true);
        file.set_permissions(permissions).map_err(failed)?;
        root::refuse_link(atomic::folder_of(&path))?;
        atomic::in_folder_of(&path, || move_to(&path)).map_err(failed)?;
        if !is_same(found, &fs::symlink_metadata(&path).map_err(failed)?) {
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            let why = "the stage's program goes on, and has put something else in its place";
            return Err(failed(io::Error::other(why)));
        }
        Ok(path)
    }

    /// Whether the object is there and its bytes are those of `digest`.
    #[must_use]
    pub fn is_whole(&self, digest: Digest) -> bool {
        open_plain(&self.path(digest))
            .and_then(|(file, _)| blake3_of(&file))
            .is_ok_and(|(found, _)| self.is_named(found, digest))
    }

    /// Puts the object's bytes at `to`, whole or not at all: a copy that shares its blocks where the file system can. Never a hard link: an edit must not reach the store.
    /// Gives the stamp of what lies there then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Damaged`] if the stored bytes are not those of `digest` (the object is then removed, for it is of
    /// no use); [`StoreError`] if it cannot be read or written.
    pub fn place(&self, digest: Digest, to: &Utf8Path, executable: bool) -> Result<Stamp, StoreError> {
        let placed = match self.open(digest)? {
            Object::Small(bytes) => atomic::write_plain(to, &bytes, executable)?,
            Object::Large(object) => {
                let fill = |copy: &mut File| self.copy_checked(digest, &object, copy, to);
                atomic::write_long(to, executable, fill)?
            }
        };
        stamp_of(&placed, to)
    }

    /// Copies the object's bytes to the new file `to`, in a folder that is not in its place yet. Gives the stamp of what lies there then.
    ///
    /// # Errors
    ///
    /// Like [`Cas::place`].
    pub fn copy(&self, digest: Digest, to: &Utf8Path, executable: bool) -> Result<Stamp, StoreError> {
        let failed = |source| StoreError::Write {
            path: to.to_owned(),
            source,
        };
        let object = self.open(digest)?;
        let mut copy = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(to)
            .map_err(failed)?;
        match object {
            Object::Small(bytes) => copy.write_all(&bytes).map_err(failed)?,
            Object::Large(object) => self.copy_checked(digest, &object, &copy, to)?,
        }
        if executable {
            atomic::set_published_mode(&copy, executable).map_err(failed)?;
        }
        stamp_of(&copy, to)
    }

    /// The object. What is small has been checked.
    fn open(&self, digest: Digest) -> Result<Object, StoreError> {
        let path = self.path(digest);
        let object = Object::open(&path).map_err(|source| StoreError::Read { path, source })?;
        match &object {
            Object::Small(bytes) => self.check(digest, Digest::of(bytes))?,
            Object::Large(_) => {}
        }
        Ok(object)
    }

    /// Copies an object to `copy`, which is to become `to`. What was copied is hashed: what is placed is what was checked.
    fn copy_checked(&self, digest: Digest, object: &File, copy: &File, to: &Utf8Path) -> Result<(), StoreError> {
        // The object could be opened: what fails is most likely the place that it goes to (a full disk).
        let found = copy_file(object, copy, |_| {}).map_err(|source| StoreError::Write {
            path: to.to_owned(),
            source,
        })?;
        self.check(digest, found)
    }

    /// An object whose bytes are those of `found` has to be the one called `name`. Else it is removed: it is of no use.
    fn check(&self, name: Digest, found: Digest) -> Result<(), StoreError> {
        if self.is_named(found, name) {
            return Ok(());
        }
        let _ = fs::remove_file(self.path(name));
        Err(StoreError::Damaged { name, found })
    }
}

/// What is in the store.
enum Object {
    /// All of it, up to [`SMALL`] bytes.
    Small(Vec<u8>),
    /// A file to be copied.
    Large(File),
}

impl Object {
    fn open(path: &Utf8Path) -> io::Result<Self> {
        let (file, found) = open_plain(path)?;
        let size = found.len();
        if size > SMALL {
            return Ok(Self::Large(file));
        }
        Ok(Self::Small(read_sized(file, size)?))
    }
}

/// The stamp of `file`, which lies at `path`.
fn stamp_of(file: &File, path: &Utf8Path) -> Result<Stamp, StoreError> {
    let found = file.metadata().map_err(|source| StoreError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(Stamp::from_metadata(&found))
}

/// A link is no object, wherever it leads.
fn is_file(path: &Utf8Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
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

    fn adopt(cas: &Cas, from: &Utf8Path, digest: Digest) {
        let file = File::open(from).expect("opened");
        let found = file.metadata().expect("found");
        cas.adopt((&file, &found), digest, |to| fs::rename(from, to))
            .expect("adopted");
    }

    #[test]
    fn what_is_adopted_can_be_placed_and_editing_it_there_leaves_the_store_whole() {
        let (_guard, root, cas) = store();
        atomic::write(&root.join("made"), b"bytes").expect("written");
        let digest = Digest::of(b"bytes");
        adopt(&cas, &root.join("made"), digest);
        assert!(!root.join("made").exists());
        let object = fs::metadata(cas.path(digest)).expect("found");
        assert!(object.permissions().readonly(), "nobody writes to an object by mistake");

        cas.place(digest, &root.join("a/b"), false).expect("placed");
        assert_eq!(fs::read(root.join("a/b")).expect("read"), b"bytes");
        atomic::write(&root.join("a/b"), b"edited").expect("written");
        cas.place(digest, &root.join("a/c"), false).expect("placed again");
        assert_eq!(fs::read(root.join("a/c")).expect("read"), b"bytes");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_the_file_that_was_hashed_is_not_taken_in_and_no_link_is_an_object() {
        let (_guard, root, cas) = store();
        for name in ["made", "other", "secret"] {
            atomic::write(&root.join(name), name.as_bytes()).expect("written");
        }
        std::os::unix::fs::symlink(root.join("secret"), root.join("link")).expect("linked");
        fs::create_dir_all(root.join("folder/in it")).expect("made");
        let file = File::open(root.join("made")).expect("opened");
        let found = file.metadata().expect("found");
        let digest = Digest::of(b"made");
        for swapped in ["other", "link", "folder"] {
            let refused = cas.adopt((&file, &found), digest, |to| fs::rename(root.join(swapped), to));
            assert!(matches!(refused, Err(StoreError::Write { .. })), "{swapped}");
            assert!(
                cas.path(digest).symlink_metadata().is_err(),
                "{swapped} stays in the store"
            );
        }
        let mode = fs::metadata(root.join("secret")).expect("found").permissions();
        assert!(!mode.readonly(), "what a link leads to is as it was");
        // Somebody has put a link there, to the very bytes.
        std::os::unix::fs::symlink(root.join("made"), cas.path(digest)).expect("linked");
        assert!(!cas.contains(digest) && !cas.is_whole(digest));
        cas.place(digest, &root.join("out"), false).expect_err("no object");
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
            adopt(&cas, &root.join("made"), digest);
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
