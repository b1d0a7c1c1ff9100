//! The files that a command line says to write.

use camino::{Utf8Path, Utf8PathBuf};

use super::surroundings::Surroundings;
use super::terminal::{Failure, shown};
use crate::exit_code::ExitCode;
use crate::store::atomic::{self, FOLDER, LINK};

/// The path of the file `name` to write: nothing is there, or a file, which will be replaced. Asked before anything is done for it. `otherwise`
/// says how to have the same without a file.
///
/// # Errors
///
/// [`Failure`] with code 2 if something else is there: a device, say, which a file must not take the place of.
pub(super) fn writable(name: &Utf8Path, surroundings: &Surroundings, otherwise: &str) -> Result<Utf8PathBuf, Failure> {
    let path = surroundings.folder.join(name);
    let Some(what) = atomic::in_the_way(&path) else {
        return Ok(path);
    };
    let help = match what {
        // It may be one of the system's, which leads to a terminal or a pipe.
        LINK if !path.metadata().is_ok_and(|found| found.is_file()) => otherwise,
        LINK => "name the file that it leads to, or remove the link",
        FOLDER => "name a file in it",
        _ => otherwise,
    };
    let message = format!("`{name}` is {what}, and not replaced by a file");
    Err(Failure::new(ExitCode::Refused, shown(&message), Some(help)))
}

/// The file `name` must not be written over what it is made from: the files that `inputs` names.
///
/// # Errors
///
/// [`Failure`] with code 2 if it is one of them.
pub(super) fn not_an_input<'a>(
    name: &Utf8Path,
    inputs: impl IntoIterator<Item = &'a Utf8PathBuf>,
    surroundings: &Surroundings,
) -> Result<(), Failure> {
    let place = |name: &Utf8Path| surroundings.folder.join(name).canonicalize_utf8().ok();
    let is_input = place(name).is_some_and(|out| inputs.into_iter().any(|input| place(input).as_ref() == Some(&out)));
    if !is_input {
        return Ok(());
    }
    let message = format!("`--output` names `{name}`, which is an input");
    Err(Failure::new(
        ExitCode::Refused,
        shown(&message),
        Some("name another file"),
    ))
}

/// How to have what goes to standard output if no file is named.
pub(super) const NOT_NAMED: &str = "name another file, or none: then it goes to standard output";
