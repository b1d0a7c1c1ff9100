//! Which file was probably meant by one that is not there.

use std::io;

use camino::Utf8Path;

use super::terminal::shown;
use super::typed::from_here;
use crate::diagnostic::nearest;
use crate::status::PIPELINES;
use crate::tree::Tree as _;
use crate::workspace::Workspace;

/// So many entries of a folder are looked at.
const MOST_ENTRIES: usize = 10_000;

/// What to say beside the `error` that opening `path` gave, which the user wrote as `written`: the file beside it that is called nearly
/// so, if it is not there.
pub(super) fn meant(path: &Utf8Path, written: &Utf8Path, error: &io::Error) -> Option<String> {
    if error.kind() != io::ErrorKind::NotFound {
        return None;
    }
    let entries = path.parent()?.read_dir_utf8().ok()?.flatten().take(MOST_ENTRIES);
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let names: Vec<String> = files.map(|entry| entry.file_name().to_owned()).collect();
    let near = nearest(path.file_name()?, names.iter().map(String::as_str))?;
    Some(format!(
        "did you mean `{}`?",
        shown(written.with_file_name(near).as_str())
    ))
}

/// The same of a pipeline `file` in `workspace`, looked at from the working `folder`: one that lies under `pipelines/` may be meant too.
/// Nothing if the file is there, or it is not known what else could be meant. (Whoever resolves it knows the workspace, and not where the user is.)
pub(super) fn meant_pipeline(file: &Utf8Path, workspace: &Workspace, folder: &Utf8Path) -> Option<String> {
    let absolute = workspace.absolute(file);
    let error = absolute.metadata().err()?;
    if let Some(beside) = meant(&absolute, &from_here(file, workspace, folder), &error) {
        return Some(beside);
    }
    let below = workspace.files_below(PIPELINES.into()).unwrap_or_default();
    let known = || below.iter().map(|below| below.path.as_str());
    let here = |file: &str| {
        let file = from_here(Utf8Path::new(file), workspace, folder);
        shown(file.as_str())
    };
    match nearest(file.as_str(), known()) {
        Some(near) => Some(format!("did you mean `{}`?", here(near))),
        None => known().next().map(|first| format!("there is `{}`", here(first))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_it_is_meant_and_nothing_else() {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
        std::fs::create_dir_all(folder.join("out/modae.json")).expect("made");
        std::fs::File::create(folder.join("out/model.json")).expect("made");
        let absent = io::Error::from(io::ErrorKind::NotFound);
        let says = |path: &str, error: &io::Error| meant(&folder.join(path), Utf8Path::new(path), error);
        assert_eq!(
            says("out/modle.json", &absent).as_deref(),
            Some("did you mean `out/model.json`?")
        );
        assert_eq!(says("out/features.arrow", &absent), None);
        assert_eq!(says("none/model.json", &absent), None);
        assert_eq!(says("/", &absent), None);
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert_eq!(says("out/modle.json", &denied), None);
    }
}
