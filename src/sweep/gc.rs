//! What of the store can go: objects that nothing needs, logs of runs that are not kept, and, if asked, displaced bytes.

use std::collections::HashSet;
use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use super::needed::Needed;
use crate::digest::Digest;
use crate::receipt::check::is_run_id;
use crate::store::usage::{Amount, StoredObject, amount_below, folders_in, leavings, objects, populations, trees};
use crate::store::{Store, StoreError, atomic};

/// What can go, and what stays.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    /// Objects that can go.
    pub objects: Vec<StoredObject>,
    /// What killed runs were writing, which can go too.
    pub leavings: Vec<Utf8PathBuf>,
    /// How much those are, together.
    pub freed: Amount,
    /// How much stays of the objects.
    pub kept: Amount,
    /// Tokens of events that no receipt speaks of, which can go too.
    pub populations: Vec<Utf8PathBuf>,
    /// Folders of logs that can go.
    pub logs: Vec<Utf8PathBuf>,
    /// How much those hold.
    pub logs_freed: Amount,
    /// Folders of displaced bytes.
    pub displaced: Vec<Utf8PathBuf>,
    /// How much those hold.
    pub displaced_held: Amount,
}

/// Finds what can go: everything but what is `needed`, and what stages are up to date by now (`current`).
///
/// # Errors
///
/// [`StoreError::Read`] if a folder of the store cannot be listed.
pub fn plan(store: &Store, needed: &Needed, current: &HashSet<Digest>, keep_last: usize) -> Result<Sweep, StoreError> {
    let mut sweep = Sweep::default();
    let inside = inside_folders(store, needed.objects.iter().chain(current));
    for object in objects(store)?.into_iter().chain(trees(store)?) {
        let digest = &object.digest;
        if needed.objects.contains(digest) || current.contains(digest) || inside.contains(digest) {
            sweep.kept.add(object.size);
        } else {
            sweep.freed.add(object.size);
            sweep.objects.push(object);
        }
    }
    for (path, size) in leavings(store)? {
        sweep.freed.add(size);
        sweep.leavings.push(path);
    }
    for (root, path, size) in populations(store)? {
        if !needed.populations.contains(&root) {
            sweep.freed.add(size);
            sweep.populations.push(path);
        }
    }
    let output = store.root().join("output");
    let logs = runs_in(&output)?;
    // Runs without receipts have logs too: the last ones stay, whatever they are of.
    let old = logs.len().saturating_sub(keep_last);
    for run in logs.iter().take(old).filter(|run| !needed.runs.contains(*run)) {
        let folder = output.join(run);
        add(&mut sweep.logs_freed, amount_below(&folder)?);
        sweep.logs.push(folder);
    }
    let displaced = store.root().join("displaced");
    for run in runs_in(&displaced)? {
        let folder = displaced.join(run);
        add(&mut sweep.displaced_held, amount_below(&folder)?);
        sweep.displaced.push(folder);
    }
    Ok(sweep)
}

/// The folders of runs in `folder`. What is called otherwise nobody but the user can have put there.
fn runs_in(folder: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let mut runs = folders_in(folder)?;
    runs.retain(|name| is_run_id(name));
    Ok(runs)
}

/// The objects that are files of the folders among `digests`.
fn inside_folders<'a>(store: &Store, digests: impl Iterator<Item = &'a Digest>) -> HashSet<Digest> {
    let trees = store.trees();
    let folders = digests.filter(|digest| trees.contains(**digest));
    let files = folders.filter_map(|digest| trees.read(*digest)).flatten();
    files.map(|file| file.digests.blake3).collect()
}

fn add(sum: &mut Amount, more: Amount) {
    sum.files += more.files;
    sum.bytes += more.bytes;
}

/// Removes what can go. The workspace's lock must be held, and have been since `sweep` was planned.
///
/// # Errors
///
/// [`StoreError::Write`] for the first that cannot be removed; what was removed until then is gone.
pub fn carry_out(sweep: &Sweep, with_displaced: bool) -> Result<(), StoreError> {
    let objects = sweep.objects.iter().map(|object| &object.path);
    for path in objects.chain(&sweep.leavings).chain(&sweep.populations) {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = path.clone();
                return Err(StoreError::Write { path, source: error });
            }
            _ => {}
        }
    }
    for folder in &sweep.logs {
        atomic::remove_folder(folder)?;
    }
    if with_displaced {
        for folder in &sweep.displaced {
            atomic::remove_folder(folder)?;
        }
    }
    Ok(())
}
