//! What output folders hold: the listing of each, by the digest that receipts know the folder by.
//!
//! ```text
//! .madmall/trees/ab/cdef…     named by the BLAKE3 of the listing, read-only
//! madmall tree v1\n
//! <BLAKE3> <SHA-256> <x or -> <path>\n        for each file, by the bytes of the paths
//! ```
//!
//! A listing is what it is named for, or it is not used: the digests are computed again from what it says. The files' bytes
//! are objects of the store like any other.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::durable::Unsynced;
use super::{StoreError, atomic, root};
use crate::commitment::{PersonalKey, is_named};
use crate::digest::{Digest, Digests, Sha256};
use crate::listing::{ListedFile, ListingDigests, listing_digests};

const HEADER: &str = "madmall tree v1\n";
/// No listing that is read is longer.
const MAX_BYTES: u64 = 1 << 30;
/// An output folder has at most this many files.
pub const MAX_FILES: usize = 1_000_000;

/// The listings of output folders.
#[derive(Clone, Debug)]
pub struct Trees {
    root: Utf8PathBuf,
    key: Option<PersonalKey>,
}

impl Trees {
    /// Those in the folder `root`.
    #[must_use]
    pub fn at(root: Utf8PathBuf) -> Self {
        Self { root, key: None }
    }

    /// The same; a listing may be named by its BLAKE3 keyed by `key`.
    #[must_use]
    pub fn keyed_by(self, key: Option<PersonalKey>) -> Self {
        Self { key, ..self }
    }

    /// Where the listing `digest` lies, or would.
    #[must_use]
    pub fn path(&self, digest: Digest) -> Utf8PathBuf {
        let hex = digest.to_hex();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    /// Keeps the listing of `files`, whose digest is `listing`. It is durable after `unsynced` is.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn keep(&self, listing: Digest, files: &[ListedFile], unsynced: &Unsynced) -> Result<(), StoreError> {
        let path = self.path(listing);
        if self.read(listing).is_some() {
            return Ok(());
        }
        root::refuse_link(atomic::folder_of(&path))?;
        atomic::write_unsynced(&path, &to_bytes(files), unsynced)
    }

    /// The files of the folder that receipts know by the listing `digest`, if its listing is here and whole.
    #[must_use]
    pub fn read(&self, digest: Digest) -> Option<Vec<ListedFile>> {
        let (files, found) = read_file(&self.path(digest)).ok()?;
        is_named(found.blake3, digest, self.key.as_ref()).then_some(files)
    }

    /// Whether there is one, whole or not.
    #[must_use]
    pub fn contains(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }
}

/// The files of the listing in `bytes`, and the digests that they give. `None` if it is none in its one spelling.
#[must_use]
pub fn parse(bytes: &[u8]) -> Option<(Vec<ListedFile>, ListingDigests)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let lines = text.strip_prefix(HEADER)?;
    if !lines.is_empty() && !lines.ends_with('\n') {
        return None;
    }
    let files = lines.lines().map(parse_line).collect::<Option<Vec<_>>>()?;
    let listing = listing_digests(&files).ok()?;
    Some((files, listing))
}

/// Reads the listing in the file `path`.
///
/// # Errors
///
/// Whatever reading gives; an error of kind `InvalidData` if it is no listing.
pub fn read_file(path: &Utf8Path) -> io::Result<(Vec<ListedFile>, ListingDigests)> {
    let bad = || io::Error::new(io::ErrorKind::InvalidData, "it is no listing of a folder");
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(bad());
    }
    let mut reader = BufReader::new(File::open(path)?.take(MAX_BYTES));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if line != HEADER {
        return Err(bad());
    }
    let mut files = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            break;
        }
        let text = line.strip_suffix('\n').ok_or_else(bad)?;
        files.push(parse_line(text).ok_or_else(bad)?);
        if files.len() > MAX_FILES {
            return Err(bad());
        }
    }
    let listing = listing_digests(&files).map_err(|_| bad())?;
    Ok((files, listing))
}

fn parse_line(line: &str) -> Option<ListedFile> {
    let mut parts = line.splitn(4, ' ');
    let digests = Digests {
        blake3: Digest::from_hex(parts.next()?).ok()?,
        sha256: Sha256::from_hex(parts.next()?).ok()?,
    };
    let executable = match parts.next()? {
        "x" => true,
        "-" => false,
        _ => return None,
    };
    let path = parts.next()?;
    // It is joined to the workspace's own path: nothing may lead out of that.
    let is_plain = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    is_plain.then(|| ListedFile {
        path: path.into(),
        executable,
        digests,
    })
}

fn to_bytes(files: &[ListedFile]) -> Vec<u8> {
    use std::io::Write as _;
    let mut bytes = HEADER.as_bytes().to_vec();
    for file in files {
        let mode = if file.executable { 'x' } else { '-' };
        let (blake3, sha256) = (file.digests.blake3.to_hex(), file.digests.sha256.to_hex());
        writeln!(bytes, "{blake3} {sha256} {mode} {}", file.path).expect("writing to a Vec cannot fail");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> ListedFile {
        ListedFile {
            path: path.into(),
            executable: path.ends_with(".sh"),
            digests: Digests::of(path.as_bytes()),
        }
    }

    #[test]
    fn what_is_kept_is_read_back_and_what_was_changed_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let trees = Trees::at(root.to_owned());
        let files = [listed("o/a b"), listed("o/d/é.sh")];
        let listing = listing_digests(&files).expect("a listing").blake3;
        trees.keep(listing, &files, &Unsynced::default()).expect("kept");
        assert_eq!(trees.read(listing).as_deref(), Some(&files[..]));

        let path = trees.path(listing);
        let bytes = fs::read(&path).expect("read");
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            atomic::write(&path, &changed).expect("written");
            // The SHA-256 is no part of the listing's BLAKE3; it gives another `dirHash`.
            let read = trees.read(listing).and_then(|files| listing_digests(&files).ok());
            assert_ne!(read, listing_digests(&files).ok(), "byte {place}");
        }
    }

    #[test]
    fn a_path_that_leads_out_is_no_listing() {
        for path in ["../x", "/x", "o/../../x", "o//x", "./x", ""] {
            let line = format!(
                "{}{}\n",
                HEADER,
                String::from_utf8_lossy(&to_bytes(&[listed("o")])[HEADER.len()..])
            );
            let line = line.replace(" o\n", &format!(" {path}\n"));
            assert!(parse(line.as_bytes()).is_none(), "{path}");
        }
    }
}
