//! The bytes of an output that a receipt claims, if they can still be had.

use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;

use crate::digest::Digest;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::Resource;
use crate::store::Store;
use crate::tree::{EntryKind, Tree as _};
use crate::workspace::Workspace;

/// Why the bytes cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// The store does not have them, and in the output's place are others.
    #[error("its bytes are neither in the store nor in place")]
    Gone,
    /// There are more of them than are read.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// What is personal is shown by nobody who only reads receipts.
    #[error("it is personal; if it holds nothing of a person, its stage can say so (`declassify:`)")]
    Personal,
}

/// By what the bytes of an output are known that is a file; `None` of a folder.
#[must_use]
pub fn digest(subject: &Resource) -> Option<Result<Digest, Unavailable>> {
    let digests = artifact_digests(subject).filter(|digests| !digests.is_folder())?;
    Some(match subject.is_keyed() {
        true => Err(Unavailable::Personal),
        false => Ok(digests.blake3()),
    })
}

/// The bytes of the artifact `digest`: from the store, else from its place `path`. They are hashed: what is given is what
/// the receipt claims.
///
/// # Errors
///
/// [`Unavailable`] if they are nowhere, or more than `limit`.
pub fn bytes(
    workspace: &Workspace,
    store: &Store,
    digest: Digest,
    path: &Utf8Path,
    limit: u64,
) -> Result<Vec<u8>, Unavailable> {
    let mut longest = None;
    let stored = store.cas().path(digest);
    let in_place = matches!(workspace.kind(path), Ok(Some(EntryKind::File { .. }))).then(|| workspace.absolute(path));
    for file in [Some(stored), in_place].into_iter().flatten() {
        // Only a regular file is opened: a pipe would be waited for.
        if !file.metadata().is_ok_and(|found| found.is_file()) {
            continue;
        }
        match read(&file, limit) {
            Some(bytes) if bytes.len() as u64 > limit => longest = Some(Unavailable::TooLong(limit)),
            Some(bytes) if Digest::of(&bytes) == digest => return Ok(bytes),
            _ => {}
        }
    }
    Err(longest.unwrap_or(Unavailable::Gone))
}

/// At most one byte more than `limit`.
fn read(path: &Utf8Path, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
