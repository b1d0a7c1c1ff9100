//! The digests of several files together: a folder, or what a pattern finds.
//!
//! ```text
//! blake3    canonical encoding in the domain "madmall listing v1": list of (str path, tag executable, digest BLAKE3)
//! dirHash   SHA-256 of the lines `<sha256 of the file> <space> <space> <path> \n`: Go's Hash1 ("h1:"), in hexadecimal
//! ```
//!
//! Both are over the files sorted by the bytes of their paths. Folders as such, owners and times are not in it.

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::canonical::CanonicalHasher;
use crate::commitment::{Commitment, Shape};
use crate::digest::{Digest, Digests, HexDigits, Sha256};

/// A file of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedFile {
    /// Its path as it is seen in the workspace, in normal form.
    pub path: Utf8PathBuf,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Of its bytes.
    pub digests: Digests,
}

/// A file of a listing, where it is known.
#[derive(Clone, Copy, Debug)]
pub struct Line<'f> {
    /// Its path as it is seen in the workspace, in normal form.
    pub path: &'f Utf8Path,
    /// Whether its owner may execute it.
    pub executable: bool,
    /// Of its bytes.
    pub digests: &'f Digests,
}

impl ListedFile {
    /// As a line of a listing.
    #[must_use]
    pub fn line(&self) -> Line<'_> {
        Line {
            path: &self.path,
            executable: self.executable,
            digests: &self.digests,
        }
    }
}

/// The digests of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ListingDigests {
    /// What identity uses.
    pub blake3: Digest,
    /// What other tools can check: in-toto's `dirHash`.
    pub dir_hash: Sha256,
}

/// The digests of an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ArtifactDigests {
    /// Of a file's bytes.
    File(Digests),
    /// Of a folder's files.
    Folder(ListingDigests),
    /// Keyed, of what is personal.
    Keyed(Commitment),
}

impl ArtifactDigests {
    /// What identity uses.
    #[must_use]
    pub const fn blake3(&self) -> Digest {
        match self {
            Self::File(digests) => digests.blake3,
            Self::Folder(listing) => listing.blake3,
            Self::Keyed(commitment) => commitment.blake3,
        }
    }

    /// Whether it is a folder.
    #[must_use]
    pub const fn is_folder(&self) -> bool {
        matches!(
            self,
            Self::Folder(_)
                | Self::Keyed(Commitment {
                    shape: Shape::Several,
                    ..
                })
        )
    }

    /// What other tools can check, with its name: `sha256:…` or `dirHash:…`; of what is personal the keyed form of it.
    #[must_use]
    pub fn public(&self) -> String {
        match self {
            Self::File(digests) => digests.sha256.to_string(),
            Self::Folder(listing) => format!("dirHash:{}", listing.dir_hash.to_hex()),
            Self::Keyed(commitment) => commitment.public(),
        }
    }
}

/// Why files are no listing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ListingError {
    /// `dirHash` has no spelling for a line break, and receipts have none for other control characters.
    #[error("the name `{}` holds a control character: rename the file", path.as_str().escape_debug())]
    ControlCharacter {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The same path twice.
    #[error("`{path}` stands twice in one listing")]
    Twice {
        /// The path.
        path: Utf8PathBuf,
    },
}

/// The digests of `files`, in whatever order they are given.
///
/// # Errors
///
/// [`ListingError`] if a path holds a control character (a line break, a tab) or stands there twice.
pub fn listing_digests(files: &[ListedFile]) -> Result<ListingDigests, ListingError> {
    digests_of_lines(files.iter().map(ListedFile::line).collect())
}

/// The same of files that are known otherwise.
///
/// # Errors
///
/// Like [`listing_digests`].
pub fn digests_of_lines(mut lines: Vec<Line<'_>>) -> Result<ListingDigests, ListingError> {
    // By their text, which is what is hashed: to compare paths name by name takes longer.
    fn text<'f>(line: &Line<'f>) -> &'f str {
        line.path.as_str()
    }
    lines.par_sort_by(|a, b| text(a).cmp(text(b)));
    let fault = |(at, line): (usize, &Line<'_>)| {
        let path = || line.path.to_owned();
        if at > 0 && text(line) == text(&lines[at - 1]) {
            return Some(ListingError::Twice { path: path() });
        }
        let is_odd = text(line).contains(char::is_control);
        is_odd.then(|| ListingError::ControlCharacter { path: path() })
    };
    if let Some(fault) = lines.par_iter().with_min_len(MANY).enumerate().find_map_first(fault) {
        return Err(fault);
    }
    let spelled = spelled(&lines);
    let (blake3, dir_hash) = match lines.len() {
        0..MANY => (identity_of(&lines), dir_hash_of(&spelled)),
        _ => rayon::join(|| identity_of(&lines), || dir_hash_of(&spelled)),
    };
    Ok(ListingDigests { blake3, dir_hash })
}

/// Of so many files each digest has a core of its own.
const MANY: usize = 4096;
/// So many lines are spelled together.
const TOGETHER: usize = 1024;

fn identity_of(sorted: &[Line<'_>]) -> Digest {
    let mut listing = CanonicalHasher::new("madmall listing v1");
    listing.list(sorted.iter(), |h, file| {
        h.str(file.path.as_str());
        h.tag(u8::from(file.executable)).digest(file.digests.blake3);
    });
    listing.finish()
}

/// The lines of `dirHash`, so many together: by all cores, for of SHA-256 there is one after the other alone.
fn spelled(sorted: &[Line<'_>]) -> Vec<String> {
    let spell = |lines: &[Line<'_>]| {
        let length = |file: &Line<'_>| 2 * size_of::<Sha256>() + 3 + file.path.as_str().len();
        let mut text = String::with_capacity(lines.iter().map(length).sum());
        for file in lines {
            text.push_str(HexDigits::of(file.digests.sha256.as_bytes()).as_str());
            text.push_str("  ");
            text.push_str(file.path.as_str());
            text.push('\n');
        }
        text
    };
    sorted.par_chunks(TOGETHER).map(spell).collect()
}

fn dir_hash_of(spelled: &[String]) -> Sha256 {
    let mut lines = sha2::Sha256::new();
    spelled.iter().for_each(|text| lines.update(text));
    Sha256::from_bytes(lines.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, executable: bool) -> ListedFile {
        ListedFile {
            path: path.into(),
            executable,
            digests: Digests::of(text.as_bytes()),
        }
    }

    #[test]
    fn dir_hash_is_that_of_gos_hash1() {
        // The same by hand: printf 'data for abc' | sha256sum, and so on; then sha256sum of the two lines.
        let files = [file("def", "data for def", false), file("abc", "data for abc", false)];
        let digests = listing_digests(&files).expect("a listing");
        assert_eq!(
            digests.dir_hash.to_hex(),
            "5e586d448df4217993e3621a1b7eacb975bddb809c1167bdbf5412376b8b6228"
        );
    }

    #[test]
    fn order_does_not_matter_but_everything_else_does() {
        let base = [file("a", "1", false), file("b/c", "2", false)];
        let digests = listing_digests(&base).expect("a listing");
        let turned = [base[1].clone(), base[0].clone()];
        assert_eq!(listing_digests(&turned), Ok(digests));
        for other in [
            vec![],
            vec![file("a", "1", false)],
            vec![file("a", "1", true), file("b/c", "2", false)],
            vec![file("a", "2", false), file("b/c", "2", false)],
            vec![file("a", "1", false), file("b/d", "2", false)],
        ] {
            let other = listing_digests(&other).expect("a listing");
            assert_ne!(other.blake3, digests.blake3);
        }
    }

    #[test]
    fn of_many_files_the_digests_are_made_alike() {
        let files: Vec<ListedFile> = (0..MANY + 1)
            .map(|n| file(&format!("f/{n:05}"), &n.to_string(), n % 3 == 0))
            .collect();
        let found = listing_digests(&files).expect("a listing");
        let sorted: Vec<Line<'_>> = files.iter().map(ListedFile::line).collect();
        assert_eq!(
            (found.blake3, found.dir_hash),
            (identity_of(&sorted), dir_hash_of(&spelled(&sorted)))
        );
        let spelled = |file: &ListedFile| format!("{}  {}\n", file.digests.sha256.to_hex(), file.path);
        let text: String = files.iter().map(spelled).collect();
        assert_eq!(found.dir_hash, Sha256::of(text.as_bytes()));
    }

    #[test]
    fn names_without_one_spelling_are_refused() {
        let broken = [file("a\nb", "1", false)];
        assert!(matches!(
            listing_digests(&broken),
            Err(ListingError::ControlCharacter { .. })
        ));
        let twice = [file("a", "1", false), file("a", "2", false)];
        assert!(matches!(listing_digests(&twice), Err(ListingError::Twice { .. })));
    }
}
