//! The files of receipts under `runs/`: which there are, and how many are read at once.

use std::io;

use camino::Utf8Path;
use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::StoreError;
use crate::receipt::run_file::RUN_FILE_SUFFIX;

/// So many files are read side by side: they are held while they are looked at.
const AT_A_TIME: usize = 8;

/// The names of the files in `runs` that hold receipts, sorted. None if there is no such folder.
///
/// # Errors
///
/// [`StoreError::Read`] if the folder is there and cannot be read.
pub fn run_files(runs: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Read {
        path: runs.to_owned(),
        source,
    };
    let entries = match runs.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // A pipe of that name would be waited for without an end, a link could lead anywhere: `verify` says what they are.
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if is_file && entry.file_name().ends_with(RUN_FILE_SUFFIX) {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What `read` gives of each of `files` (names, or ids of runs), in their order. A few at a time are read side by side, by all cores, and none
/// before it is asked for.
pub fn read_each<T: Send>(files: Vec<String>, read: impl Fn(&str) -> T + Sync) -> impl Iterator<Item = T> {
    let mut files = files.into_iter();
    std::iter::from_fn(move || {
        let few: Vec<String> = files.by_ref().take(AT_A_TIME).collect();
        match &few[..] {
            [] => None,
            // To wake other threads for one file takes longer than it may be worth.
            [one] => Some(vec![read(one)]),
            several => Some(several.par_iter().map(|file| read(file)).collect()),
        }
    })
    .flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn each_is_read_once_and_in_order() {
        for count in [0, 1, AT_A_TIME, AT_A_TIME + 1, 5 * AT_A_TIME - 1] {
            let ids: Vec<String> = (0..count).map(|number| number.to_string()).collect();
            assert_eq!(read_each(ids.clone(), str::to_owned).collect::<Vec<_>>(), ids);
        }
        // No further than is asked for, but for those beside it.
        let read = AtomicUsize::new(0);
        let ids = (0..100).map(|number: usize| number.to_string()).collect();
        let add = |_: &str| read.fetch_add(1, Ordering::Relaxed);
        assert!(read_each(ids, add).next().is_some());
        assert_eq!(read.into_inner(), AT_A_TIME);
    }
}
