//! Two copies of logs, compared: whether one goes on where the other ends, or the two contradict each other.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::LOGS;
use super::checkpoint::{Head, MAX_CHECKPOINT, Signed, SignedCheckpoint};
use super::name::{FileName, LogId};
use super::read::{Fault, Reading, list, read, read_unsigned};
use super::tree::Levels;
use crate::receipt::key::PublicKey;
use crate::receipt::statement::ReceiptId;
use crate::tree::TreeError;
use crate::workspace::Workspace;

/// Why something cannot be compared at all.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The file or folder.
    #[error("cannot read `{path}`")]
    Read {
        /// What was named.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A log in it.
    #[error("cannot read the log `{path}`")]
    Log {
        /// Its folder.
        path: Utf8PathBuf,
        /// Why.
        source: TreeError,
    },
    /// It is neither.
    #[error("`{path}` is no checkpoint, and no folder with logs (a project, its `runs`, or a log)")]
    Neither {
        /// What was named.
        path: Utf8PathBuf,
    },
}

/// One copy of a log.
#[derive(Debug)]
pub struct Copy {
    /// Where it ends.
    pub head: Head,
    /// Which of the trusted keys signed that; none if it is by somebody else, and nobody's word.
    pub signer: Option<usize>,
    /// What is wrong with its files.
    pub faults: Vec<Fault>,
    /// Its hashes and receipts; none of a checkpoint alone, or of files that do not give what its head says.
    content: Option<(Levels, BTreeMap<u64, ReceiptId>)>,
}

/// How two copies of a log are to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Both end at the same place.
    Equal,
    /// The first goes on where the second ends.
    Extends,
    /// The second goes on where the first ends.
    Extended,
    /// They contradict each other.
    Forked {
        /// The first entry that differs, if both copies have their entries.
        first: Option<Difference>,
    },
    /// The longer one does not have what it takes to tell.
    Unknown,
}

/// An entry of which two copies have two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which.
    pub index: u64,
    /// The receipt that each copy has there, if it can be told.
    pub receipts: [Option<ReceiptId>; 2],
}

/// Reads what `path` names: a checkpoint, or a folder with logs. `keys` gives the keys that may sign a log.
///
/// # Errors
///
/// [`CompareError`] if it cannot be read or is neither.
pub fn open(path: &Utf8Path, keys: &dyn Fn(&LogId) -> Vec<PublicKey>) -> Result<BTreeMap<LogId, Copy>, CompareError> {
    let failed = |source| CompareError::Read {
        path: path.to_owned(),
        source,
    };
    let neither = || CompareError::Neither { path: path.to_owned() };
    let real = path.canonicalize_utf8().map_err(failed)?;
    let found = real.symlink_metadata().map_err(failed)?;
    if found.is_file() && found.len() <= MAX_CHECKPOINT {
        let bytes = std::fs::read(&real).map_err(failed)?;
        let signed = SignedCheckpoint::parse(&bytes).map_err(|_| neither())?;
        return Ok(BTreeMap::from([alone(&signed, keys)]));
    }
    if !found.is_dir() {
        return Err(neither());
    }
    let mut copies = BTreeMap::new();
    for folder in folders(&real, path)? {
        let failed = |source| CompareError::Log {
            path: folder.clone(),
            source,
        };
        let Some(log) = folder.file_name().and_then(LogId::parse) else {
            continue;
        };
        if let Some(copy) = of_folder(&folder, &log, &keys(&log)).map_err(failed)? {
            copies.insert(log, copy);
        }
    }
    match copies.is_empty() {
        true => Err(neither()),
        false => Ok(copies),
    }
}

/// The folders of logs that a folder has: it is one itself, it has them, or it has the folder that has them.
fn folders(real: &Utf8Path, named: &Utf8Path) -> Result<BTreeSet<Utf8PathBuf>, CompareError> {
    if real.file_name().and_then(LogId::parse).is_some() {
        return Ok(BTreeSet::from([real.to_owned()]));
    }
    for inner in ["runs/log", LOGS, ""] {
        let folder = real.join(inner);
        // Nothing is read through a link: it could lead anywhere.
        if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
            continue;
        }
        let logs = list(&Workspace::at(folder.clone()), Utf8Path::new(""));
        let logs = logs.map_err(|source| CompareError::Log {
            path: named.join(inner),
            source,
        })?;
        if !logs.is_empty() {
            return Ok(logs.into_iter().map(|log| folder.join(log.to_string())).collect());
        }
    }
    Ok(BTreeSet::new())
}

fn alone(signed: &SignedCheckpoint, keys: &dyn Fn(&LogId) -> Vec<PublicKey>) -> (LogId, Copy) {
    let head = signed.checkpoint.head.clone();
    let keys = keys(&head.log);
    let signer = keys.iter().position(|key| signed.signed_by(key) == Signed::Yes);
    let copy = Copy {
        head: head.clone(),
        signer,
        faults: Vec::new(),
        content: None,
    };
    (head.log, copy)
}

/// None if there is no checkpoint in it.
fn of_folder(folder: &Utf8Path, log: &LogId, keys: &[PublicKey]) -> Result<Option<Copy>, TreeError> {
    let Some(parent) = folder.parent() else { return Ok(None) };
    let site = Workspace::at(parent.to_owned());
    let name = Utf8PathBuf::from(log.to_string());
    let trusted = read(&site, &name, log, keys)?;
    let (reading, signer) = match &trusted.head {
        Some((_, signer)) => {
            let signer = Some(*signer);
            (trusted, signer)
        }
        None => (read_unsigned(&site, &name, log)?, None),
    };
    let Reading {
        head, entries, faults, ..
    } = &reading;
    let Some((checkpoint, _)) = head else { return Ok(None) };
    let content = reading.levels().map(|levels| {
        let receipts = entries.iter().copied().collect();
        (levels.clone(), receipts)
    });
    Ok(Some(Copy {
        head: checkpoint.head.clone(),
        signer,
        faults: faults.clone(),
        content,
    }))
}

impl Copy {
    /// The file of the checkpoint at which it ends, relative to the log's folder.
    #[must_use]
    pub fn checkpoint(&self) -> Utf8PathBuf {
        FileName::Checkpoint { size: self.head.size }.path()
    }
}

/// Compares two copies of one log.
#[must_use]
pub fn compare(a: &Copy, b: &Copy) -> Relation {
    let (short, long, relation) = match a.head.size.cmp(&b.head.size) {
        std::cmp::Ordering::Less => (a, b, Relation::Extended),
        std::cmp::Ordering::Equal => (a, b, Relation::Equal),
        std::cmp::Ordering::Greater => (b, a, Relation::Extends),
    };
    let size = short.head.size;
    let root = match (long.head.size == size, &long.content) {
        (true, _) => Some(long.head.root),
        (false, Some((levels, _))) => usize::try_from(size).ok().and_then(|size| levels.root_at(size)),
        (false, None) => None,
    };
    match root {
        None => Relation::Unknown,
        Some(root) if root == short.head.root => relation,
        Some(_) => Relation::Forked {
            first: first_difference(a, b),
        },
    }
}

fn first_difference(a: &Copy, b: &Copy) -> Option<Difference> {
    let ((left, left_receipts), (right, right_receipts)) = (a.content.as_ref()?, b.content.as_ref()?);
    let pairs = left.leaves().iter().zip(right.leaves());
    let index = pairs.take_while(|(left, right)| left == right).count() as u64;
    let receipts = [left_receipts.get(&index).copied(), right_receipts.get(&index).copied()];
    Some(Difference { index, receipts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256;
    use crate::log::name::entry;
    use crate::log::tree::leaf_hash;

    /// A copy of a log with these entries, one a character.
    fn copy(text: &str) -> Copy {
        let ids: Vec<ReceiptId> = text.bytes().map(|byte| Sha256::of(&[byte])).collect();
        let levels = Levels::of(ids.iter().map(|id| leaf_hash(&entry(id))).collect());
        let head = Head {
            log: LogId::of([1; 8]),
            size: ids.len() as u64,
            root: levels.root_at(ids.len()).expect("in it"),
        };
        Copy {
            head,
            signer: None,
            faults: Vec::new(),
            content: Some((levels, (0..).zip(ids).collect())),
        }
    }

    fn bare(text: &str) -> Copy {
        Copy {
            content: None,
            ..copy(text)
        }
    }

    #[test]
    fn copies_are_equal_or_one_goes_on_or_they_fork() {
        assert_eq!(compare(&copy("abc"), &copy("abc")), Relation::Equal);
        assert_eq!(compare(&copy("abcd"), &copy("abc")), Relation::Extends);
        assert_eq!(compare(&copy("abc"), &copy("abcdefg")), Relation::Extended);
        for (a, b, index) in [("abc", "abd", 2), ("abcdef", "xbc", 0), ("ab", "axcd", 1)] {
            let of = |text: &str| text.as_bytes().get(index).map(|byte| Sha256::of(&[*byte]));
            let first = Difference {
                index: index as u64,
                receipts: [of(a), of(b)],
            };
            assert_eq!(compare(&copy(a), &copy(b)), Relation::Forked { first: Some(first) });
        }
    }

    #[test]
    fn a_checkpoint_alone_is_enough_where_the_other_has_its_entries() {
        assert_eq!(compare(&bare("abc"), &copy("abcd")), Relation::Extended);
        assert_eq!(compare(&copy("abcd"), &bare("abc")), Relation::Extends);
        assert_eq!(compare(&bare("abc"), &bare("abc")), Relation::Equal);
        assert_eq!(compare(&bare("abc"), &bare("abd")), Relation::Forked { first: None });
        assert_eq!(compare(&bare("abx"), &copy("abcd")), Relation::Forked { first: None });
        assert_eq!(compare(&bare("abcd"), &copy("abc")), Relation::Unknown);
        assert_eq!(compare(&bare("abcd"), &bare("abc")), Relation::Unknown);
    }
}
