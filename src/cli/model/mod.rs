//! `madmall model`: what can be done with a trained model, beside scoring by it.

mod card;
mod export;
mod show;

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;

use camino::Utf8Path;

use super::meant::meant;
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, shown};
use crate::digest::Digest;
use crate::exit_code::ExitCode;
use crate::model::{MODEL_BYTES, Model};
use crate::preparation::Preparation;

/// Arguments of `model`.
#[derive(clap::Args)]
pub(super) struct ModelArguments {
    #[command(subcommand)]
    command: ModelCommand,
}

#[derive(clap::Subcommand)]
enum ModelCommand {
    /// Write a page for people: data, consent, how good it is and for whom, limits, and the receipt that made it
    Card(card::CardArguments),
    /// Write a model in a form that other programs run
    Export(export::ExportArguments),
    /// Show what a model weighs
    Show(show::ShowArguments),
}

/// Does what is asked of a model.
pub(super) fn model(
    arguments: &ModelArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    match &arguments.command {
        ModelCommand::Card(arguments) => card::card(arguments, surroundings, terminal),
        ModelCommand::Show(arguments) => show::show(arguments, surroundings, terminal),
        ModelCommand::Export(arguments) => export::export(arguments, surroundings, terminal),
    }
}

/// Reads a model that the user names.
///
/// # Errors
///
/// [`Failure`] with code 2 if it cannot be read or is no model.
pub(super) fn read_model(path: &Utf8Path, surroundings: &Surroundings) -> Result<Model, Failure> {
    parse(path, &read_bytes(path, surroundings)?)
}

/// The same, and the digest of the file.
///
/// # Errors
///
/// Like [`read_model`].
pub(super) fn read_model_hashed(path: &Utf8Path, surroundings: &Surroundings) -> Result<(Model, String), Failure> {
    let bytes = read_bytes(path, surroundings)?;
    Ok((parse(path, &bytes)?, Digest::of(&bytes).to_string()))
}

fn read_bytes(path: &Utf8Path, surroundings: &Surroundings) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let place = surroundings.folder.join(path);
    File::open(&place)
        .and_then(|file| file.take(MODEL_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| {
            let help = meant(&place, path, &error);
            refused(&format!("cannot read the model `{path}`: {error}"), help.as_deref())
        })?;
    Ok(bytes)
}

fn parse(path: &Utf8Path, bytes: &[u8]) -> Result<Model, Failure> {
    Model::parse(bytes).map_err(|error| {
        let help = "`madmall run PIPELINE` makes models; `train` writes them";
        refused(&format!("`{path}` is no model: {error}"), Some(help))
    })
}

fn refused(message: &str, help: Option<&str>) -> Failure {
    Failure::new(ExitCode::Refused, shown(message), help)
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
