//! The runs that have a file under `runs/`, by name.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::receipt::run_file::{
    LineError, LinesError, MAX_RUN_FILE, RUN_FILE_SUFFIX, Receipt, RunFile, RunFileError, RunFileName, split_lines,
};
use crate::receipt::statement::ReceiptId;
use crate::store::StoreError;
use crate::store::run_files::run_files;
use crate::workspace::Workspace;

/// The fewest characters by which a run can be named.
const MIN_PREFIX: usize = 4;
/// How many runs an error names.
const MOST_NAMED: usize = 5;
/// `2026-11-23T091500Z-`.
const TIME_AND_DASH: usize = 19;
/// `-3f9a2c`.
const DASH_AND_DIGITS: usize = 7;

/// Why the file of a run could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It is a folder, a link, a pipe, or too long.
    #[error("is no file of a run")]
    NoFile,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// It holds something else than receipts of one run.
    #[error(transparent)]
    Receipts(#[from] RunFileError),
    /// Its lines are not lines.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// Its last line is no receipt.
    #[error("the last line: {0}")]
    Own(LineError),
    /// It is a file of a commit, which cannot be read, in words.
    #[error("{0}")]
    Committed(String),
    /// Its last line is not the receipt of the run that its name says.
    #[error("the last line is not the receipt of that run")]
    NotOwn,
}

/// Why a name means no run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NameError {
    /// There are no runs.
    #[error("there are no runs here yet")]
    NoRuns,
    /// No run is called so.
    #[error("no run here is called `{0}`")]
    Unknown(String),
    /// There are fewer runs than that.
    #[error("`{name}` goes back further than the {}", if *runs == 1 { "one run that is here".to_owned() } else { format!("{runs} runs that are here") })]
    TooFarBack {
        /// What was asked for.
        name: String,
        /// How many runs there are.
        runs: usize,
    },
    /// It could be one of several.
    #[error("`{name}` may mean {count} runs: {}", first.join(", "))]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many.
        count: usize,
        /// The first of them.
        first: Vec<String>,
    },
}

/// The ids of the runs that have a file in `runs/`, oldest first. Countersignatures are no runs of their own.
///
/// # Errors
///
/// [`StoreError::Read`] if the folder is there and cannot be read.
pub fn run_ids(workspace: &Workspace) -> Result<Vec<String>, StoreError> {
    let names = run_files(&workspace.absolute("runs".into()))?;
    Ok(names.iter().filter_map(|name| id_of_file(name)).collect())
}

/// The run whose file is called `name`; `None` if it is no file of a run, or a countersignature.
#[must_use]
pub fn id_of_file(name: &str) -> Option<String> {
    let name = RunFileName::parse(name)?;
    let is_of_run = name.countersigner.is_none() && !name.is_erasure;
    is_of_run.then(|| name.run.to_owned())
}

/// The file of a run, relative to the workspace.
#[must_use]
pub fn file_of(id: &str) -> Utf8PathBuf {
    Utf8Path::new("runs").join(format!("{id}{RUN_FILE_SUFFIX}"))
}

/// The pipeline that a run's id speaks of, if the id is spelled as `run` spells them.
#[must_use]
pub fn pipeline_of(id: &str) -> Option<&str> {
    let rest = id.get(TIME_AND_DASH..)?;
    let end = rest.len().checked_sub(DASH_AND_DIGITS)?;
    let (pipeline, digits) = (rest.get(..end)?, rest.get(end..)?.strip_prefix('-')?);
    let is_time = id[..TIME_AND_DASH].ends_with("Z-") && id.as_bytes()[0].is_ascii_digit();
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    (is_time && is_hex && !pipeline.is_empty()).then_some(pipeline)
}

/// The run that `name` means: its id, a beginning of it that only one run has, its file, `latest`, or `latest~N` (the Nth
/// before that). `ids` are all runs, oldest first.
///
/// # Errors
///
/// [`NameError`] if it means none, or more than one.
pub fn find<'a>(ids: &'a [String], name: &str) -> Result<&'a str, NameError> {
    let clipped = || name.chars().take(120).collect::<String>();
    if ids.is_empty() {
        return Err(NameError::NoRuns);
    }
    if let Some(back) = steps_back(name) {
        let found = ids.len().checked_sub(1).and_then(|last| last.checked_sub(back));
        return found
            .map(|index| ids[index].as_str())
            .ok_or_else(|| NameError::TooFarBack {
                name: clipped(),
                runs: ids.len(),
            });
    }
    let file = Utf8Path::new(name).file_name().and_then(id_of_file);
    let wanted = file.as_deref().unwrap_or(name);
    if let Some(id) = ids.iter().find(|id| *id == wanted) {
        return Ok(id);
    }
    let found: Vec<&String> = match wanted.len() >= MIN_PREFIX {
        true => ids.iter().filter(|id| id.starts_with(wanted)).collect(),
        false => Vec::new(),
    };
    match &found[..] {
        [] => Err(NameError::Unknown(clipped())),
        [id] => Ok(id),
        many => Err(NameError::Ambiguous {
            name: clipped(),
            count: many.len(),
            first: many.iter().rev().take(MOST_NAMED).map(|id| (*id).clone()).collect(),
        }),
    }
}

/// `latest` is 0, `latest~2` is 2.
fn steps_back(name: &str) -> Option<usize> {
    match name.strip_prefix("latest")? {
        "" => Some(0),
        rest => {
            let digits = rest.strip_prefix('~')?;
            let is_number = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.is_empty();
            // So many digits that they are no number go back further than anything.
            is_number.then(|| digits.parse().unwrap_or(usize::MAX))
        }
    }
}

/// All receipts of a run, its own last.
///
/// # Errors
///
/// [`RunError`] if its file cannot be read, or is none.
pub fn read(workspace: &Workspace, id: &str) -> Result<Vec<Receipt>, RunError> {
    Ok(RunFile::parse(&bytes_of(workspace, id)?)?.into_receipts())
}

/// Those of a run's receipts of which `is_wanted` says so by their ids. What others say is not read.
///
/// # Errors
///
/// [`RunError`] if the file cannot be read, or a line is no envelope, or one that is wanted no receipt.
pub fn read_wanted(
    workspace: &Workspace,
    id: &str,
    is_wanted: impl Fn(&ReceiptId) -> bool,
) -> Result<Vec<Receipt>, RunError> {
    let bytes = bytes_of(workspace, id)?;
    let lines = (1..).zip(split_lines(&bytes)?);
    let wanted = lines.filter_map(|(line, text)| {
        let read = Receipt::parse_wanted(text, &is_wanted);
        let read = read.map_err(|source| RunFileError::Line { line, source });
        read.map_err(RunError::Receipts).transpose()
    });
    wanted.collect()
}

/// The run's own receipt alone, which names those of all its stages.
///
/// # Errors
///
/// [`RunError`] if the file cannot be read, or does not end with it.
pub fn read_own(workspace: &Workspace, id: &str) -> Result<Receipt, RunError> {
    own_of(&bytes_of(workspace, id)?, id)
}

/// The run's own receipt, from the bytes of its file.
///
/// # Errors
///
/// [`RunError`] if they do not end with it.
pub fn own_of(bytes: &[u8], id: &str) -> Result<Receipt, RunError> {
    let lines = split_lines(bytes)?;
    let last = lines.last().ok_or(RunError::NotOwn)?;
    let receipt = Receipt::parse(last).map_err(RunError::Own)?;
    let is_own = receipt.statement.is_run() && receipt.statement.metadata().invocation_id == id;
    is_own.then_some(receipt).ok_or(RunError::NotOwn)
}

fn bytes_of(workspace: &Workspace, id: &str) -> Result<Vec<u8>, RunError> {
    let path = workspace.absolute(&file_of(id));
    let found = path.symlink_metadata().map_err(RunError::Read)?;
    if !found.is_file() || found.len() > MAX_RUN_FILE {
        return Err(RunError::NoFile);
    }
    fs::read(path).map_err(RunError::Read)
}

/// The newest run of `pipeline`, with its own receipt; or why the file of a newer one, that may be of that pipeline,
/// cannot be read.
///
/// # Errors
///
/// The run's id and [`RunError`].
pub fn newest_of(workspace: &Workspace, ids: &[String], pipeline: &str) -> Result<Option<Receipt>, (String, RunError)> {
    for id in ids.iter().rev() {
        // An id that is spelled otherwise may be of any pipeline.
        if pipeline_of(id).is_some_and(|of| of != pipeline) {
            continue;
        }
        let receipt = read_own(workspace, id).map_err(|error| (id.clone(), error))?;
        if receipt.statement.external().pipeline == pipeline {
            return Ok(Some(receipt));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_its_id_a_beginning_of_it_its_file_or_its_place() {
        let ids = [
            "2026-11-23T091500Z-p-000a2c",
            "2026-11-23T091501Z-p-3f9a2c",
            "2026-11-24T000000Z-q-3f9a2c",
        ];
        let ids = ids.map(str::to_owned);
        for (name, place) in [
            ("latest", 2),
            ("latest~0", 2),
            ("latest~2", 0),
            ("2026-11-24", 2),
            ("2026-11-23T091501Z-p-3f9a2c", 1),
            ("runs/2026-11-23T091501Z-p-3f9a2c.intoto.jsonl", 1),
        ] {
            assert_eq!(find(&ids, name), Ok(ids[place].as_str()), "{name}");
        }
        let refused = |name: &str| find(&ids, name).expect_err(name).to_string();
        assert!(refused("2026-11-23").starts_with("`2026-11-23` may mean 2 runs: 2026-11-23T091501Z-p-3f9a2c, "));
        assert_eq!(refused("202"), "no run here is called `202`");
        assert_eq!(refused(""), "no run here is called ``");
        assert_eq!(refused("latest~"), "no run here is called `latest~`");
        assert_eq!(
            refused("latest~3"),
            "`latest~3` goes back further than the 3 runs that are here"
        );
        let one = find(&ids[..1], "latest~1").expect_err("there is one").to_string();
        assert_eq!(one, "`latest~1` goes back further than the one run that is here");
        let digits = format!("latest~{}", "9".repeat(90));
        assert!(matches!(find(&ids, &digits), Err(NameError::TooFarBack { .. })));
        assert_eq!(find(&[], "latest"), Err(NameError::NoRuns));
    }

    #[test]
    fn the_pipeline_is_read_out_of_an_id_and_not_guessed() {
        assert_eq!(pipeline_of("2026-11-23T091500Z-base-line-3f9a2c"), Some("base-line"));
        for other in [
            "",
            "x",
            "2026-11-23T091500Z-3f9a2c",
            "2026-11-23T091500Z-p-3f9a2x",
            "äääääääääääääääää-p-3f9a2c",
        ] {
            assert_eq!(pipeline_of(other), None, "{other}");
        }
    }
}
