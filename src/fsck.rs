//! Is the store what it should be? Every object is hashed again; nothing is written, and no cache is asked.
//!
//! Everything under `.madmall/` may be thrown away, so nothing that is found here is a loss; but a damaged object is one that an
//! output cannot be put back from.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use crate::consent::map::Root;
use crate::consent::population::{KeptPopulation, PopulationError};
use crate::digest::{Digest, blake3_of};
use crate::store::trees::read_file;
use crate::store::usage::digest_of_name;
use crate::store::{Store, StoreError};
use crate::verify::report::{Code, Finding};

/// What a check of the store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// How many objects are whole.
    pub whole: u64,
    /// How many bytes those have.
    pub bytes: u64,
    /// What is wrong, by file.
    pub findings: Vec<Finding>,
}

/// Checks `store`, that of the workspace at `workspace`. Whether an object is whole that is personal, only its secret can tell.
///
/// # Errors
///
/// [`StoreError::Read`] if a folder of it cannot be listed.
pub fn check(store: &Store, workspace: &Utf8Path) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let mut objects = Vec::new();
    let cas = store.root().join("cas");
    for path in list(&cas)? {
        let name = path.strip_prefix(&cas).unwrap_or(&path);
        let is_file = path.symlink_metadata().is_ok_and(|found| found.is_file());
        match digest_of_name(name).filter(|_| is_file) {
            Some(digest) => objects.push((path, digest)),
            None => checked
                .findings
                .push(stray(workspace, &path, "is no object of the store")),
        }
    }
    let hashed: Vec<_> = objects
        .into_par_iter()
        .map(|(path, digest)| (hash(&path), path, digest))
        .collect();
    for (found, path, digest) in hashed {
        match found {
            Ok((found, bytes)) if store.is_named(found, digest) => {
                checked.whole += 1;
                checked.bytes += bytes;
            }
            Ok((found, _)) => checked.findings.push(damaged(workspace, &path, digest, found)),
            Err(error) => {
                let finding = Finding::new(Code::Read, format!("cannot be read: {error}"));
                checked.findings.push(finding.file(relative(workspace, &path)));
            }
        }
    }
    check_trees(workspace, store, &mut checked)?;
    check_populations(workspace, store, &mut checked)?;
    for path in list(&store.pending_folder())? {
        let message = match path.extension() {
            Some("damaged") => "holds receipts of a run that died, which could not be published",
            _ => "holds receipts of a run that goes on or died; the next run publishes them",
        };
        checked.findings.push(stray(workspace, &path, message));
    }
    checked
        .findings
        .sort_by(|a, b| (a.severity, &a.file).cmp(&(b.severity, &b.file)));
    Ok(checked)
}

/// Looks at the listings of output folders: each must be what it is named for. The files are objects, and looked at as such.
fn check_trees(workspace: &Utf8Path, store: &Store, checked: &mut Checked) -> Result<(), StoreError> {
    let trees = store.root().join("trees");
    for path in list(&trees)? {
        let name = path.strip_prefix(&trees).unwrap_or(&path);
        let found = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
        let (Some(digest), Some(found)) = (digest_of_name(name), found) else {
            checked
                .findings
                .push(stray(workspace, &path, "is no listing of an output folder"));
            continue;
        };
        match read_file(&path) {
            Ok((_, listing)) if store.is_named(listing.blake3, digest) => {
                checked.whole += 1;
                checked.bytes += found.len();
            }
            Ok((_, listing)) => checked.findings.push(damaged(workspace, &path, digest, listing.blake3)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                let message = "is damaged: it is no listing of an output folder";
                let help = format!(
                    "`rm {}`: what needs it is made again by the next run",
                    relative(workspace, &path)
                );
                let finding = Finding::new(Code::Object, message).file(relative(workspace, &path));
                checked.findings.push(finding.help(help));
            }
            Err(error) => {
                let finding = Finding::new(Code::Read, format!("cannot be read: {error}"));
                checked.findings.push(finding.file(relative(workspace, &path)));
            }
        }
    }
    Ok(())
}

/// Looks at the tokens of events: each file must be those that it is named for.
fn check_populations(workspace: &Utf8Path, store: &Store, checked: &mut Checked) -> Result<(), StoreError> {
    for path in list(&store.populations_folder())? {
        let found = path.symlink_metadata().ok().filter(std::fs::Metadata::is_file);
        let root = path.file_name().and_then(|name| Root::from_hex(name).ok());
        let (Some(root), Some(found)) = (root, found) else {
            let message = "holds no tokens of events";
            checked.findings.push(stray(workspace, &path, message));
            continue;
        };
        let whole = KeptPopulation::open_file(&path, root).and_then(|kept| kept.each(|_, _| ()));
        let finding = match whole {
            Ok(()) => {
                checked.whole += 1;
                checked.bytes += found.len();
                continue;
            }
            Err(PopulationError::Damaged { what, .. }) => {
                let finding = Finding::new(Code::Object, format!("is damaged: {what}"));
                let path = relative(workspace, &path);
                finding.help(format!(
                    "`rm {path}`, then `madmall run --force`: the ingest writes it again"
                ))
            }
            Err(PopulationError::Read { source, .. }) => Finding::new(Code::Read, format!("cannot be read: {source}")),
        };
        checked.findings.push(finding.file(relative(workspace, &path)));
    }
    Ok(())
}

/// Every file below `folder` (links are not followed), in order; none if there is no such folder.
fn list(folder: &Utf8Path) -> Result<Vec<Utf8PathBuf>, StoreError> {
    if folder
        .symlink_metadata()
        .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    {
        return Ok(Vec::new());
    }
    let failed = |source| StoreError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| failed(error.into()))?;
        if !entry.file_type().is_dir() {
            let lossy = || entry.path().to_string_lossy().into_owned().into();
            files.push(Utf8Path::from_path(entry.path()).map_or_else(lossy, Utf8Path::to_owned));
        }
    }
    Ok(files)
}

fn hash(path: &Utf8Path) -> io::Result<(Digest, u64)> {
    blake3_of(&fs::File::open(path)?)
}

fn damaged(workspace: &Utf8Path, path: &Utf8Path, expected: Digest, found: Digest) -> Finding {
    let message =
        "is damaged, or personal and named by another consent secret: its bytes are not those that its name says";
    let finding = Finding::new(Code::Object, message);
    let path = relative(workspace, path);
    let help = format!("`rm {path}`: what needs it is made again by the next run");
    finding
        .file(&path)
        .differs(expected.to_string(), found.to_string())
        .help(help)
}

fn stray(workspace: &Utf8Path, path: &Utf8Path, message: &str) -> Finding {
    Finding::new(Code::WarnStray, message).file(relative(workspace, path))
}

fn relative(workspace: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
    path.strip_prefix(workspace).unwrap_or(path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use crate::verify::report::Severity;

    #[test]
    fn a_damaged_object_and_a_stray_file_are_named_and_whole_objects_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let store = Store::of(root);
        assert_eq!(check(&store, root).expect("nothing there"), Checked::default());
        let cas = store.cas();
        let write = |path: &Utf8Path, bytes: &[u8]| atomic::write(path, bytes).expect("written");
        write(&cas.path(Digest::of(b"whole")), b"whole");
        write(&cas.path(Digest::of(b"other")), b"wrong");
        write(&root.join(".madmall/cas/zz/short"), b"");
        let checked = check(&store, root).expect("it can be read");
        assert_eq!((checked.whole, checked.bytes), (1, 5));
        let codes: Vec<_> = checked.findings.iter().map(|f| (f.code.as_str(), f.severity)).collect();
        assert_eq!(codes, [("E-OBJECT", Severity::Failure), ("W-STRAY", Severity::Warning)]);
        assert_eq!(checked.findings[0].found, Some(Digest::of(b"wrong").to_string()));
    }
}
