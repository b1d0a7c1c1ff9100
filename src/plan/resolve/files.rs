//! Reading the files that say what a pipeline is.

use std::error::Error as _;
use std::sync::Arc;

use camino::Utf8Path;

use crate::diagnostic::{Diagnostic, Source, Span, quoted};
use crate::digest::Digests;
use crate::spec::MAX_BYTES;
use crate::tree::{EntryKind, Tree, TreeError};

/// A text that was read, and the digests of its bytes.
pub(super) type Read = (Arc<Source>, Digests);

/// Reads the file at `path`, which is UTF-8. `None` if nothing is there.
pub(super) fn read_text(tree: &dyn Tree, path: &Utf8Path) -> Result<Option<Read>, Box<Diagnostic>> {
    let refuse =
        |message: String, help: &str| Err(Box::new(Diagnostic::error(message).in_file(path.as_str()).help(help)));
    match tree
        .kind(path)
        .map_err(|error| Box::new(unreadable(&error).in_file(path.as_str())))?
    {
        None => return Ok(None),
        Some(EntryKind::File { .. }) => {}
        Some(EntryKind::BadLink) => {
            let message = format!(
                "{} is a link that leads out of the workspace, or nowhere",
                quoted(path.as_str())
            );
            return refuse(message, "put the file itself there");
        }
        Some(EntryKind::Folder | EntryKind::Other) => {
            return refuse(format!("{} is no file", quoted(path.as_str())), "name a file");
        }
    }
    let bytes = tree
        .read(path, MAX_BYTES)
        .map_err(|error| Box::new(unreadable(&error).in_file(path.as_str())))?;
    let digests = Digests::of(&bytes);
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some((Source::new(path.as_str(), text), digests))),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let source = Source::new(path.as_str(), String::from_utf8_lossy(error.as_bytes()));
            let message = format!("{} is not UTF-8", quoted(path.as_str()));
            let fault = Diagnostic::error(message).at(&source, Span::new(at, at + 1), "this byte");
            Err(Box::new(fault.help("save the file as UTF-8")))
        }
    }
}

/// A tree's own error as a message.
pub(super) fn unreadable(error: &TreeError) -> Diagnostic {
    let fault = Diagnostic::error(error.to_string());
    let fault = match error.source() {
        Some(cause) => fault.note(cause.to_string()),
        None => fault,
    };
    fault.help(match error {
        TreeError::Read { .. } => "make it readable, or leave it out",
        TreeError::TooLarge { .. } => "split it into several files",
        TreeError::NotUtf8 { .. } => "rename it, or name a folder or a pattern that does not have it",
    })
}
