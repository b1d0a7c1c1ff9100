//! The purposes that a project has, by its settings, and whether those that a pipeline names are among them.

use camino::Utf8Path;

use super::files::read_text;
use crate::consent::purposes::Purposes;
use crate::diagnostic::{Diagnostic, Faults, nearest, quoted};
use crate::spec::{self, PipelineSpec, Text};
use crate::tree::Tree;

/// The file that marks a workspace, and holds its settings.
pub const SETTINGS_FILE: &str = "madmall.yaml";

/// Reads the order of purposes from the settings; that which every project has if they name none. Whatever is wrong with the settings is
/// added to `faults`.
pub(super) fn read(tree: &dyn Tree, faults: &mut Vec<Diagnostic>) -> Purposes {
    let source = match read_text(tree, Utf8Path::new(SETTINGS_FILE)) {
        Ok(Some((source, _))) if !spec::is_blank(source.text()) => source,
        Ok(_) => return Purposes::default(),
        Err(fault) => {
            faults.push(*fault);
            return Purposes::default();
        }
    };
    let (root, wrong) = spec::parse(&source);
    faults.extend(wrong);
    let Some(root) = root else { return Purposes::default() };
    let (settings, wrong) = spec::check::settings(&source, &root);
    faults.extend(wrong);
    settings.purposes.unwrap_or_default()
}

/// The purposes of the project that `tree` is, by its settings.
///
/// # Errors
///
/// [`Faults`]: what is wrong with the settings.
pub fn purposes_of(tree: &dyn Tree) -> Result<Purposes, Faults> {
    let mut faults = Vec::new();
    let purposes = read(tree, &mut faults);
    match faults.is_empty() {
        true => Ok(purposes),
        false => Err(Faults(faults)),
    }
}

/// Adds a fault for each purpose that `spec` names and that is none of `purposes`.
pub(super) fn check(spec: &PipelineSpec, purposes: &Purposes, faults: &mut Vec<Diagnostic>) {
    let requires = spec.stages.iter().filter_map(|stage| stage.consent.requires.as_ref());
    let named = spec.purpose.iter().map(|purpose| ("purpose", purpose));
    for (field, word) in named.chain(requires.map(|word| ("requires", word))) {
        if !purposes.has(&word.text) {
            faults.push(unknown(spec, purposes, field, word));
        }
    }
}

fn unknown(spec: &PipelineSpec, purposes: &Purposes, field: &str, word: &Text) -> Diagnostic {
    let help = match nearest(&word.text, purposes.words()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => {
            let words: Vec<&str> = purposes.words().collect();
            format!(
                "write one of `{}`; `purposes:` in `{SETTINGS_FILE}` declares others",
                words.join("`, `")
            )
        }
    };
    let message = format!("`{field}` cannot be {}", quoted(&word.text));
    Diagnostic::error(message).at(&spec.source, word.span, "").help(help)
}
