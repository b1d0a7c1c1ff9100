//! Names in statements: paths that a verifier may open, and that no file system takes for one another.

use std::collections::HashMap;

use super::statement::{Resource, Role};
use crate::plan::{folded, private_folder};

/// The longest name of a resource, in bytes.
const MAX_NAME: usize = 4096;

/// A path of a file, or a pattern, in the workspace: relative, in normal form, without control characters.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let normal = path.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if normal && path.len() <= MAX_NAME && !path.contains(|c: char| c.is_control()) {
        return Ok(());
    }
    Err(format!(
        "`{}` is not a relative path in normal form",
        clip(path).escape_debug()
    ))
}

/// Outputs lie where a stage may write, and no two of them are one file on some file system.
pub(super) fn check_outputs(subjects: &[Resource]) -> Result<(), String> {
    let mut known: HashMap<String, &str> = HashMap::new();
    let is_output = |subject: &&Resource| matches!(subject.role(), Role::Output { .. });
    for name in subjects.iter().filter(is_output).map(|subject| &subject.name) {
        if let Some(folder) = private_folder(name.as_str().into()) {
            return Err(format!("`{}` lies in `{folder}`, where no stage may write", clip(name)));
        }
        if let Some(other) = known.insert(folded(name), name) {
            let (name, other) = (clip(name), clip(other));
            return Err(format!(
                "`{other}` and `{name}` are one file where letter case does not count"
            ));
        }
    }
    Ok(())
}

/// The name of a tool: no path.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && !name.contains(|c: char| c == '/' || c == '\\' || c.is_control())
}

/// The longest text that a program may say of its version, in bytes.
pub(crate) const MAX_VERSION: usize = 200;

/// What a program says of its version: one line, not empty, that a terminal can show.
pub(crate) fn is_version(text: &str) -> bool {
    let is_trimmed = !text.is_empty() && text.trim() == text;
    is_trimmed && text.len() <= MAX_VERSION && !text.contains(char::is_control)
}

/// As much of a text as an error shows.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(120).collect()
}
