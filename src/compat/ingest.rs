//! `ingest --in RAW --out EVENTS`, as the replaced package had it.
//!
//! Every event is held against the embedded schema of byte events. Either all are valid and are written, each with the
//! bytes it came with, or nothing is. The output is whole or as before, at any moment. There is no purpose here, and
//! no revocations: both belong to a pipeline.

use std::error::Error as _;
use std::io::{self, BufWriter};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;

use super::{CompatOutcome, room};
use crate::stages::ingest::check::{Checked, NonRevocable, Rules, check};
use crate::stages::ingest::fault::{Faults, Listed, grouped};
use crate::stages::ingest::report::Counts;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::write::{Sink, WriteError, write};
use crate::stages::{InputFile, StageError};
use crate::store::atomic::in_the_way;

/// Where the events go if `--out` is not given.
pub const DEFAULT_OUT: &str = "ml/data/events.ndjson";

/// What the command is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestArgs {
    /// `--in`: the raw events.
    pub raw: Utf8PathBuf,
    /// `--out`: the events.
    pub out: Utf8PathBuf,
}

#[derive(Serialize)]
struct Success<'a> {
    status: &'static str,
    written: u64,
    path: &'a str,
}

#[derive(Serialize)]
struct Failure<'a> {
    status: &'static str,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<Vec<EventErrors>>,
}

/// What is wrong with one event. `line` is ours; the rest is as the replaced package had it.
#[derive(Serialize)]
struct EventErrors {
    /// Which of the lines that are not blank, from 0.
    index: u64,
    /// Which line, from 1.
    line: u64,
    errors: Vec<FieldError>,
}

#[derive(Serialize)]
struct FieldError {
    message: String,
    field: String,
}

/// Runs the command. `threads` changes how long it takes and nothing else.
#[must_use]
pub fn ingest(args: &IngestArgs, threads: usize) -> CompatOutcome {
    if let Some(what) = in_the_way(&args.out) {
        return failure(
            &format!("Cannot write the events: it is {what}, and not replaced by a file"),
            Some(&args.out),
        );
    }
    let files = [InputFile {
        absolute: args.raw.clone(),
        name: args.raw.clone(),
        digest: None,
    }];
    let rules = Rules {
        schema: &EventSchema::byte_event(),
        purpose: None,
        revocations: &Revocations::default(),
        non_revocable: NonRevocable::Honour,
        tokens: None,
        ahead: None,
    };
    let checked = match check(&files, rules, threads, &room(), &mut |_| Ok(())) {
        Ok(checked) => checked,
        Err(error) => return unreadable(&args.raw, &error),
    };
    if !checked.faults.is_empty() {
        return invalid(&checked.faults);
    }
    let counts = Counts::of(&checked);
    if counts.events == 0 {
        return failure("No events found in the input file", Some(&args.raw));
    }
    match publish(&args.out, &files, &checked) {
        Ok(()) => success(&args.out, &counts),
        Err(WriteError::Stage(error)) => unreadable(&args.raw, &error),
        Err(WriteError::Accepted(error) | WriteError::Rejected(error)) => {
            failure(&format!("Cannot write the events: {error}"), Some(&args.out))
        }
    }
}

fn success(out: &Utf8Path, counts: &Counts) -> CompatOutcome {
    let mut outcome = CompatOutcome::success(&Success {
        status: "OK",
        written: counts.accepted,
        path: out.as_str(),
    });
    if counts.duplicates > 0 {
        outcome.notes.push(format!(
            "{} lines repeat an earlier event byte for byte and were written once",
            grouped(counts.duplicates)
        ));
    }
    outcome
}

/// The refusal for the reason `why`.
pub(super) fn failure(why: &str, path: Option<&Utf8Path>) -> CompatOutcome {
    CompatOutcome::fail_closed(&Failure {
        status: "FAIL_CLOSED",
        why,
        path: path.map(Utf8Path::as_str),
        errors: None,
    })
}

fn unreadable(raw: &Utf8Path, error: &StageError) -> CompatOutcome {
    match error {
        StageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            failure("Input file not found", Some(raw))
        }
        error => {
            // The path stands beside it: the cause alone says what is new.
            let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
            failure(&format!("Cannot read the input file: {cause}"), Some(raw))
        }
    }
}

/// The refusal that lists what is wrong with each event.
pub(super) fn invalid(faults: &Faults) -> CompatOutcome {
    let mut errors: Vec<EventErrors> = Vec::new();
    for listed in faults.listed() {
        let error = field_error(listed);
        match errors.last_mut() {
            Some(last) if last.index == listed.index => last.errors.push(error),
            _ => errors.push(EventErrors {
                index: listed.index,
                line: listed.place.line,
                errors: vec![error],
            }),
        }
    }
    let mut outcome = CompatOutcome::fail_closed(&Failure {
        status: "FAIL_CLOSED",
        why: "One or more events failed schema validation",
        path: None,
        errors: Some(errors),
    });
    if faults.unlisted() > 0 {
        outcome
            .notes
            .push(format!("{} more errors are not listed", grouped(faults.unlisted())));
    }
    outcome
}

/// The field as a caller of the replaced package knows it: names joined by dots.
fn field_error(listed: &Listed) -> FieldError {
    let fault = &listed.fault;
    let names: Vec<String> = fault
        .pointer
        .split('/')
        .skip(1)
        .map(|name| name.replace("~1", "/").replace("~0", "~"))
        .collect();
    let other = fault
        .other
        .map(|other| format!(" (line {})", other.line))
        .unwrap_or_default();
    FieldError {
        message: format!("{}{other} [{}]", fault.message, fault.rule),
        field: names.join("."),
    }
}

/// Writes the accepted lines to a temporary file beside `out` and moves it there when it is whole and on disk.
fn publish(out: &Utf8Path, files: &[InputFile], checked: &Checked) -> Result<(), WriteError> {
    let folder = match out.parent() {
        Some(folder) if !folder.as_str().is_empty() => folder,
        _ => Utf8Path::new("."),
    };
    let temporary = make_folder(folder)
        .and_then(|()| temporary_in(folder))
        .map_err(WriteError::Accepted)?;
    let mut writer = BufWriter::with_capacity(1 << 18, temporary.as_file());
    write(files, checked, Sink::new(&mut writer), None, &mut |_| Ok(()))?;
    drop(writer);
    temporary
        .as_file()
        .sync_all()
        .and_then(|()| temporary.persist(out).map_err(|error| error.error))
        // Sync the folder too: after a crash the rename may be lost although the file's bytes are safe.
        .and_then(|_| std::fs::File::open(folder)?.sync_all())
        .map_err(WriteError::Accepted)
}

/// Makes the folder and those above it.
pub(super) fn make_folder(folder: &Utf8Path) -> io::Result<()> {
    std::fs::create_dir_all(folder).map_err(|error| {
        // That "it exists" must not be taken for an output that is there already.
        let mut above = folder.ancestors().filter(|above| !above.as_str().is_empty());
        match above.find(|above| above.exists() && !above.is_dir()) {
            Some(file) => io::Error::new(io::ErrorKind::NotADirectory, format!("`{file}` is not a folder")),
            None => error,
        }
    })
}

#[cfg(unix)]
pub(super) fn temporary_in(folder: &Utf8Path) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt as _;
    // As a file that is simply created: the caller's mask decides who may read it.
    tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder)
}

#[cfg(not(unix))]
pub(super) fn temporary_in(folder: &Utf8Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::NamedTempFile::new_in(folder)
}
