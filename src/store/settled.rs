//! Runs that found nothing to do, remembered: a run that looks at the same and sees the same finds nothing to do.
//!
//! A file for each way of asking (pipeline, stages, values), sealed with a keyed BLAKE3 whose key derives from the signing key. One
//! that does not open is dropped. See `docs/decisions/0031-a-run-with-nothing-to-do-is-remembered.md`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::looks::Seen;
use super::stat_cache::{Stamp, hash_stamped};
use super::{MAX_CACHE, StoreError, atomic, read_bounded};
use crate::canonical::CanonicalHasher;
use crate::digest::Digest;
use crate::receipt::statement::ReceiptId;

const HEADER: &[u8] = b"madmall settled v1\n";
/// How many ways of asking are remembered. One more, and all are dropped: there is no clock to say which is the oldest.
const MOST: usize = 64;
/// With fewer looks than this, threads cost more than they spare.
const FEW: usize = 4000;
/// A file up to this size is read at once.
const SMALL: u64 = 1 << 20;

/// How a run was asked for, by whom, of which program: what decides besides files and variables.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The pipeline file.
    pub pipeline: &'a Utf8Path,
    /// The stages, as they were named.
    pub stages: &'a [String],
    /// What else was said that changes what the stages are, in its own order.
    pub values: &'a [String],
    /// Of the policy.
    pub trust: Digest,
}

impl Asked<'_> {
    /// The digest of all of it, and of the program that runs.
    fn digest(&self) -> Option<Digest> {
        let program = std::env::current_exe().ok()?;
        let program = Stamp::of(Utf8Path::from_path(&program)?).ok()?;
        let mut hasher = CanonicalHasher::new("madmall settled under v1");
        hasher.str(env!("CARGO_PKG_VERSION"));
        hasher.bytes(&postcard::to_stdvec(&program).ok()?);
        hasher.str(self.pipeline.as_str()).digest(self.trust);
        for list in [self.stages, self.values] {
            hasher.list(list, |h, text| {
                h.str(text);
            });
        }
        Some(hasher.finish())
    }
}

/// A run that found nothing to do.
#[derive(Debug, Serialize, Deserialize)]
pub struct Settled {
    /// The pipeline's name.
    pub name: String,
    /// What was looked at, sorted by path.
    pub looks: Vec<(Utf8PathBuf, Seen)>,
    /// The variables whose values are part of actions, hashed; `None` for one that is not set.
    pub variables: BTreeMap<String, Option<Digest>>,
    /// The selected stages, and the receipts that say that they are up to date.
    pub stages: Vec<(String, ReceiptId)>,
}

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rigour {
    /// Stamps vouch for files.
    Stamps,
    /// Every file is hashed again.
    EveryByte,
}

impl Settled {
    /// The run that was remembered in `folder` for what is asked; `None` if there is none that opens.
    #[must_use]
    pub fn load(folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32]) -> Option<Self> {
        let digest = asked.digest()?;
        let bytes = read_bounded(&file_of(folder, digest), MAX_CACHE)?;
        let (seal, body) = bytes.strip_prefix(HEADER)?.split_at_checked(32)?;
        let seal: [u8; 32] = seal.try_into().ok()?;
        if blake3::keyed_hash(seal_key, body) != blake3::Hash::from_bytes(seal) {
            return None;
        }
        let (asked, settled): (Digest, Self) = postcard::from_bytes(body).ok()?;
        (asked == digest).then_some(settled)
    }

    /// Remembers it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Write`] if it cannot be written.
    pub fn save(&self, folder: &Utf8Path, asked: &Asked<'_>, seal_key: &[u8; 32]) -> Result<(), StoreError> {
        let Some(digest) = asked.digest() else { return Ok(()) };
        let body = postcard::to_stdvec(&(digest, self)).expect("plain data has an encoding");
        let seal = blake3::keyed_hash(seal_key, &body);
        let file = file_of(folder, digest);
        let others = folder.read_dir_utf8().map_or(0, Iterator::count);
        if others >= MOST && !file.exists() {
            atomic::remove_folder(&folder.to_owned())?;
        }
        atomic::write_cache(&file, &[HEADER, seal.as_bytes(), &body].concat())
    }

    /// Whether a look at the same, in the workspace at `root` and with these variables, shows the same.
    #[must_use]
    pub fn holds(&self, root: &Utf8Path, environment: &BTreeMap<String, String>, rigour: Rigour) -> bool {
        let same_value = |(name, value): (&String, &Option<Digest>)| {
            *value == environment.get(name).map(|value| Digest::of(value.as_bytes()))
        };
        let same = |(path, seen): &(Utf8PathBuf, Seen)| looks_like(&root.join(path), seen, rigour);
        self.variables.iter().all(same_value)
            && match self.looks.len() < FEW && rigour == Rigour::Stamps {
                true => self.looks.iter().all(same),
                false => self.looks.par_iter().with_min_len(64).all(same),
            }
    }
}

fn looks_like(path: &Utf8Path, seen: &Seen, rigour: Rigour) -> bool {
    match seen {
        Seen::Absent => matches!(Stamp::of_entry(path), Ok(None)),
        Seen::Entry(stamp) => Stamp::of_entry(path).is_ok_and(|now| now.is_some_and(|now| now.is_same_entry(stamp))),
        Seen::Folder(stamp) => Stamp::of_folder(path).is_ok_and(|now| now == *stamp),
        Seen::File(stamp, digest) => match rigour {
            Rigour::Stamps => Stamp::of(path).is_ok_and(|now| now == *stamp),
            Rigour::EveryByte => has_bytes(path, stamp, digest).unwrap_or(false),
        },
    }
}

/// Whether the file at `path` has these bytes, and may be executed as it might.
fn has_bytes(path: &Utf8Path, stamp: &Stamp, digest: &Digest) -> io::Result<bool> {
    let now = Stamp::of(path)?;
    if now.size() != stamp.size() || now.is_executable() != stamp.is_executable() {
        return Ok(false);
    }
    if now.size() > SMALL {
        return Ok(hash_stamped(path)?.digests.blake3 == *digest);
    }
    let mut bytes = vec![0; usize::try_from(now.size()).unwrap_or(0)];
    fs::File::open(path)?.read_exact(&mut bytes)?;
    Ok(Digest::of(&bytes) == *digest)
}

fn file_of(folder: &Utf8Path, asked: Digest) -> Utf8PathBuf {
    folder.join(&asked.to_hex()[..32])
}
