//! A file of the workspace as the user would type it.

use camino::{Utf8Path, Utf8PathBuf};

use crate::diagnostic::shell_word;
use crate::workspace::Workspace;

/// The file's path from the working `folder`. `file` is relative to the workspace.
pub(super) fn from_here(file: &Utf8Path, workspace: &Workspace, folder: &Utf8Path) -> Utf8PathBuf {
    let here = folder.canonicalize_utf8().unwrap_or_else(|_| folder.to_owned());
    let there = workspace.absolute(file);
    let shared = here.components().zip(there.components()).take_while(|(a, b)| a == b);
    let shared = shared.count();
    let up = here.components().skip(shared).map(|_| "..");
    let from_here: Utf8PathBuf = up
        .chain(there.components().skip(shared).map(|name| name.as_str()))
        .collect();
    // It would be taken for an option.
    match from_here.as_str().starts_with('-') {
        true => Utf8Path::new(".").join(from_here),
        false => from_here,
    }
}

/// The same as one word of a command, which can be copied into a shell.
pub(super) fn typed(file: &Utf8Path, workspace: &Workspace, folder: &Utf8Path) -> String {
    shell_word(from_here(file, workspace, folder).as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_from_where_the_user_is() {
        let workspace = Workspace::at("/none/project".into());
        let said = |file: &str, folder: &str| typed(file.into(), &workspace, folder.into());
        assert_eq!(said("pipelines/a.yaml", "/none/project"), "pipelines/a.yaml");
        assert_eq!(said("pipelines/a.yaml", "/none/project/pipelines"), "a.yaml");
        assert_eq!(
            said("pipelines/a.yaml", "/none/project/data/raw"),
            "../../pipelines/a.yaml"
        );
        assert_eq!(said("a.yaml", "/none"), "project/a.yaml");
        assert_eq!(said("my pipes/it's.yaml", "/none/project"), r"'my pipes/it'\''s.yaml'");
        assert_eq!(said("p$x.yaml", "/none/project"), "'p$x.yaml'");
        assert_eq!(said("pipelines/-x.yaml", "/none/project/pipelines"), "./-x.yaml");
        assert_eq!(said("\u{e4}.yaml", "/none/project"), "\u{e4}.yaml");
    }
}
