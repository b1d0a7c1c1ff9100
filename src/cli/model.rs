//! `madmall model`: what can be done with a trained model, beside scoring by it.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;

use super::opened::Surroundings;
use super::terminal::{Failure, shown};
use crate::exit_code::ExitCode;
use crate::model::Model;
use crate::preparation::Preparation;

/// More than the longest model that is taken, in bytes.
const MAX_MODEL: u64 = 1 << 27;

/// Reads a model that the user names.
///
/// # Errors
///
/// [`Failure`] with code 2 if it cannot be read or is no model.
pub(super) fn read_model(path: &Utf8Path, surroundings: &Surroundings) -> Result<Model, Failure> {
    let refused = |message: String, help| Failure::new(ExitCode::Refused, shown(&message), help);
    let mut bytes = Vec::new();
    File::open(surroundings.folder.join(path))
        .and_then(|file| file.take(MAX_MODEL).read_to_end(&mut bytes))
        .map_err(|error| refused(format!("cannot read the model `{path}`: {error}"), None))?;
    Model::parse(&bytes).map_err(|error| {
        let help = "`madmall run PIPELINE` makes models; `train` writes them";
        refused(format!("`{path}`: {error}"), Some(help))
    })
}

/// How an event becomes what the model weighs.
///
/// # Errors
///
/// [`Failure`] with code 2 if the model has more columns than can be prepared.
pub(super) fn prepared(model: &Model) -> Result<Cow<'_, Preparation>, Failure> {
    model
        .preparation()
        .map_err(|error| Failure::of(ExitCode::Refused, &error))
}
