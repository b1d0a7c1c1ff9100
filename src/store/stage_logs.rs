//! What stages printed, as the runs of this clone kept it.

use std::io;
use std::time::SystemTime;

use camino::{Utf8Path, Utf8PathBuf};

use super::usage::folders_in;
use super::{Store, StoreError};

/// What a stage printed in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageLog {
    /// The run.
    pub run: String,
    /// The stage, as [`log_name`](crate::plan::stage_name::log_name) spells it.
    pub stage: String,
    /// Its file.
    pub path: Utf8PathBuf,
    /// How many bytes it has.
    pub bytes: u64,
    /// When something was last printed.
    pub modified: SystemTime,
}

/// The runs whose logs are here, in the order of their ids.
///
/// # Errors
///
/// [`StoreError::Read`] if they cannot be listed.
pub fn runs(store: &Store) -> Result<Vec<String>, StoreError> {
    folders_in(&store.root().join("output"))
}

/// The logs of `run`, by their stages' names; none if it has left none.
///
/// # Errors
///
/// [`StoreError::Read`] if they cannot be listed.
pub fn of_run(store: &Store, run: &str) -> Result<Vec<StageLog>, StoreError> {
    let folder = store.output_folder(run);
    let mut found = list(&folder, run).map_err(|source| StoreError::Read { path: folder, source })?;
    found.sort_by(|a, b| a.stage.cmp(&b.stage));
    Ok(found)
}

fn list(folder: &Utf8Path, run: &str) -> io::Result<Vec<StageLog>> {
    // What is a link, or has a name that no run gives, was put there by somebody else.
    match folder.symlink_metadata() {
        Ok(about) if about.is_dir() => {}
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => return Ok(Vec::new()),
    }
    let mut found = Vec::new();
    for entry in folder.as_std_path().read_dir()? {
        let entry = entry?;
        let Ok(path) = Utf8PathBuf::from_path_buf(entry.path()) else {
            continue;
        };
        let Some(stage) = path.file_name().and_then(|name| name.strip_suffix(".log")) else {
            continue;
        };
        let about = entry.metadata()?;
        if about.is_file() {
            found.push(StageLog {
                run: run.to_owned(),
                stage: stage.to_owned(),
                bytes: about.len(),
                modified: about.modified()?,
                path,
            });
        }
    }
    Ok(found)
}
