//! Paths as a pipeline writes them: into normal form, and what is refused.

use camino::{Utf8Path, Utf8PathBuf};
use unicode_normalization::UnicodeNormalization as _;

/// The longest path, in bytes.
const LONGEST: usize = 4000;

/// Why a text is no path in the workspace, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathFault {
    Empty,
    Interpolated,
    Absolute,
    Upward,
    Unprintable,
    TooLong,
}

impl PathFault {
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Empty => "the path names nothing in the workspace",
            Self::Interpolated => "a path cannot be put together: `${` is not allowed here",
            Self::Absolute => "the path is absolute, so it leads out of the workspace",
            Self::Upward => "the path has a `..`, so it may lead out of the workspace",
            Self::Unprintable => "the path has a control character in it",
            Self::TooLong => "the path is too long for any file system",
        }
    }

    pub(super) const fn help(self) -> &'static str {
        match self {
            Self::Empty => "name a file or a folder in the workspace",
            Self::Interpolated => {
                "write the path out; only values of the stage's own axes can stand in one: `${matrix.name}`, `${foreach.name}`"
            }
            Self::Absolute => "write it relative to the workspace, and keep what is read and written inside it",
            Self::Upward => "write it relative to the workspace, without `..`",
            Self::Unprintable => "rename the file",
            Self::TooLong => "use a shorter path",
        }
    }
}

/// The normal form of `text`: no `.`, no empty names, `/` between names.
pub(super) fn normalise(text: &str) -> Result<Utf8PathBuf, PathFault> {
    if text.contains("${") {
        return Err(PathFault::Interpolated);
    }
    if text.starts_with('/') {
        return Err(PathFault::Absolute);
    }
    if text.chars().any(char::is_control) {
        return Err(PathFault::Unprintable);
    }
    let mut path = String::with_capacity(text.len());
    for name in text.split('/').filter(|name| !matches!(*name, "" | ".")) {
        if name == ".." {
            return Err(PathFault::Upward);
        }
        if name.len() > 255 {
            return Err(PathFault::TooLong);
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
    }
    match path.len() {
        0 => Err(PathFault::Empty),
        length if length > LONGEST => Err(PathFault::TooLong),
        _ => Ok(path.into()),
    }
}

/// The same text for two paths that some file system takes for one: case folded, in Unicode's composed form.
pub(crate) fn folded(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    path.nfd()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .nfc()
        .collect()
}

/// The folder that a stage has no business in, if `path` lies in one: git's, madmall's own, or that of the receipts.
pub(crate) fn private_folder(path: &Utf8Path) -> Option<&'static str> {
    // Most names are plain, and are asked for in folders of many files.
    let is = |name: &str, wanted: &str| match name.is_ascii() {
        true => name.eq_ignore_ascii_case(wanted),
        false => folded(name) == wanted,
    };
    let mut names = path.as_str().split('/');
    if names.clone().any(|name| is(name, ".git")) {
        return Some(".git");
    }
    let first = names.next().unwrap_or_default();
    [".madmall", "runs"].into_iter().find(|folder| is(first, folder))
}

/// What kind of definition a file at `path` is, if it is one: a pipeline, a stage or the settings.
pub(super) fn definition_kind(path: &Utf8Path) -> Option<&'static str> {
    let path = folded(path.as_str());
    let is_yaml = path.ends_with(".yaml") || path.ends_with(".yml");
    if path == "madmall.yaml" {
        Some("the settings")
    } else if is_yaml && path.starts_with("pipelines/") {
        Some("a pipeline")
    } else if is_yaml && path.starts_with("stages/") {
        Some("a stage definition")
    } else {
        None
    }
}

/// The folders above `path`, the nearest first, without the workspace itself.
pub(super) fn folders_above(path: &Utf8Path) -> impl Iterator<Item = &Utf8Path> {
    path.ancestors().skip(1).filter(|folder| !folder.as_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form() {
        for (text, wanted) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("a/./b", "a/b"),
            (".hidden", ".hidden"),
        ] {
            assert_eq!(normalise(text).as_deref(), Ok(Utf8Path::new(wanted)));
        }
        for (text, wanted) in [
            ("", PathFault::Empty),
            ("./", PathFault::Empty),
            ("/etc/passwd", PathFault::Absolute),
            ("a/../b", PathFault::Upward),
            ("a\0b", PathFault::Unprintable),
            ("${params.x}/b", PathFault::Interpolated),
        ] {
            assert_eq!(normalise(text), Err(wanted), "{text:?}");
        }
    }

    #[test]
    fn paths_that_a_file_system_takes_for_one_fold_alike() {
        for (one, other) in [
            ("Data/X", "data/x"),
            ("caf\u{e9}", "cafe\u{301}"),
            ("STRASSE", "straße"),
            ("ΣΑΣ", "σας"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        assert_ne!(folded("a"), folded("b"));
    }

    #[test]
    fn private_folders_are_known_in_any_case() {
        for (path, wanted) in [
            (".git/x", Some(".git")),
            ("sub/.GIT/x", Some(".git")),
            ("Runs/x", Some("runs")),
            ("sub/runs/x", None),
            (".gitignore", None),
        ] {
            assert_eq!(private_folder(Utf8Path::new(path)), wanted, "{path}");
        }
    }
}
