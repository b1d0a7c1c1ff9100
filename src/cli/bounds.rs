//! What programs may use by the settings of the workspace, and what they never may.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::surroundings::Surroundings;
use super::terminal::Failure;
use crate::diagnostic::{self, Diagnostic, Source, quoted};
use crate::exec::sandbox::{Bounds, check_readable};
use crate::exit_code::ExitCode;
use crate::plan::SETTINGS_FILE;
use crate::spec;
use crate::tree::Tree;
use crate::workspace::Workspace;

/// What programs in `workspace`, read as `tree`, may use by its settings, and what they never may.
///
/// # Errors
///
/// [`Failure`] with code 2 if the settings are wrong.
pub(super) fn bounds(surroundings: &Surroundings, tree: &dyn Tree, workspace: &Workspace) -> Result<Bounds, Failure> {
    let key = surroundings.variable("MADMALL_SIGNING_KEY");
    // A key's text has several lines, and is no path.
    let key = key
        .filter(|key| !key.contains('\n'))
        .map(|key| surroundings.folder.join(key));
    let mut bounds = Bounds {
        readable: Vec::new(),
        never: surroundings.config_dir().into_iter().chain(key).collect(),
        projects: Vec::new(),
        home: surroundings.variable("HOME").map(Utf8PathBuf::from),
    };
    let Some((source, settings)) = settings(tree)? else {
        return Ok(bounds);
    };
    let mut faults = Vec::new();
    for written in &settings.readable {
        match readable(&written.text, &bounds, workspace) {
            Ok(path) => bounds.readable.push(path),
            Err((message, help)) => {
                faults.push(Diagnostic::error(message).at(&source, written.span, "").help(help));
            }
        }
    }
    refuse(&faults)?;
    Ok(bounds)
}

/// The path that an entry of `sandbox.read` means, or what is wrong with it and what to do.
fn readable(text: &str, bounds: &Bounds, workspace: &Workspace) -> Result<Utf8PathBuf, (String, String)> {
    let path = match (text.strip_prefix("~/"), &bounds.home) {
        (Some(below), Some(home)) => home.join(below),
        _ => Utf8PathBuf::from(text),
    };
    let is_plain = path.components().all(|part| part.as_str() != "..");
    if !path.is_absolute() || !is_plain {
        return Err((
            format!("{} is not an absolute path", quoted(text)),
            "write a path that begins with `/` or `~/`, without `..`; files of the workspace are declared under `inputs:`"
                .to_owned(),
        ));
    }
    match check_readable(&path, bounds, workspace.root()) {
        Ok(()) => Ok(path),
        Err(place) => Err((
            format!(
                "{} cannot be made readable: no program may read `{place}`",
                quoted(text)
            ),
            "name a folder that neither holds nor lies in git's folder, `.madmall` or the folder of keys".to_owned(),
        )),
    }
}

/// Reads the settings, if there are any; an empty file only marks the workspace.
fn settings(workspace: &dyn Tree) -> Result<Option<(Arc<Source>, spec::Settings)>, Failure> {
    let path = Utf8Path::new(SETTINGS_FILE);
    let readable = |error: &dyn std::error::Error| Failure::of(ExitCode::Environment, error);
    if workspace.kind(path).map_err(|error| readable(&error))?.is_none() {
        return Ok(None);
    }
    let bytes = workspace
        .read(path, spec::MAX_BYTES)
        .map_err(|error| readable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            ExitCode::Refused,
            format!("`{SETTINGS_FILE}` is not UTF-8"),
            Some("save it as UTF-8"),
        )
    })?;
    if spec::is_blank(&text) {
        return Ok(None);
    }
    let source = Source::new(SETTINGS_FILE, text);
    let (root, mut faults) = spec::parse(&source);
    let mut settings = spec::Settings::default();
    if let Some(root) = &root {
        let (read, wrong) = spec::check::settings(&source, root);
        settings = read;
        faults.extend(wrong);
    }
    refuse(&faults)?;
    Ok(Some((source, settings)))
}

fn refuse(faults: &[Diagnostic]) -> Result<(), Failure> {
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure {
            code: ExitCode::Refused,
            text: diagnostic::render(faults, true).trim_end().to_owned(),
        }),
    }
}
