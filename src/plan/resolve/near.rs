//! Which path was probably meant by one where nothing is.

use camino::{Utf8Path, Utf8PathBuf};

use super::paths;
use crate::diagnostic::{nearest, quoted};
use crate::tree::{EntryKind, Tree};

/// A path that is there, and may be what was meant.
pub(super) struct Near {
    path: Utf8PathBuf,
    is_folder: bool,
}

impl Near {
    /// As advice.
    pub(super) fn advice(&self) -> String {
        let what = if self.is_folder { "folder" } else { "file" };
        format!("there is a {what} {}", quoted(self.path.as_str()))
    }
}

/// What is nearest to `path`: where the first of its names that is not there is spelled as one that is, of all that `may_be_meant`. If the
/// rest of `path` is not there either, the folder of that name.
pub(super) fn near(tree: &dyn Tree, path: &Utf8Path, may_be_meant: impl Fn(&Utf8Path) -> bool) -> Option<Near> {
    let kind = |path: &Utf8Path| tree.kind(path).ok().flatten();
    let mut folder = Utf8PathBuf::new();
    let mut names = path.components();
    let name = loop {
        let name = names.next()?.as_str();
        let below = folder.join(name);
        match kind(&below) {
            Some(EntryKind::Folder) => folder = below,
            _ => break name,
        }
    };
    let listed = tree.names_in(&folder).ok()?;
    let listed = listed.iter().map(|listed| folder.join(listed));
    let meant: Vec<Utf8PathBuf> = listed
        .filter(|path| paths::private_folder(path).is_none() && may_be_meant(path))
        .collect();
    let there = folder.join(nearest(name, meant.iter().filter_map(|path| path.file_name()))?);
    let rest = names.as_path();
    // With an empty rest it would end in a slash.
    let whole = (!rest.as_str().is_empty()).then(|| there.join(rest));
    let found = |path: Utf8PathBuf| match kind(&path)? {
        EntryKind::File { .. } => Some(Near { path, is_folder: false }),
        EntryKind::Folder => Some(Near { path, is_folder: true }),
        EntryKind::BadLink | EntryKind::Other => None,
    };
    match whole {
        None => found(there),
        Some(whole) => found(whole).or_else(|| found(there).filter(|near| near.is_folder)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::atomic;
    use crate::workspace::Workspace;

    #[test]
    fn one_name_that_is_spelled_otherwise_is_meant() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let workspace = Workspace::at(root.canonicalize_utf8().expect("it is there"));
        for file in ["data/2026/jan.csv", "data/feb.csv", "runs/r.json", "model.json"] {
            atomic::write(&workspace.absolute(Utf8Path::new(file)), b"x").expect("written");
        }
        let advice = |path: &str, may_be_meant: &dyn Fn(&Utf8Path) -> bool| {
            near(&workspace, Utf8Path::new(path), may_be_meant).map(|near| near.advice())
        };
        for (path, meant) in [
            ("modle.json", Some("there is a file `model.json`")),
            ("dta", Some("there is a folder `data`")),
            ("dta/2026/jan.csv", Some("there is a file `data/2026/jan.csv`")),
            ("data/2062/jan.csv", Some("there is a file `data/2026/jan.csv`")),
            ("data/2026/jna.csv", Some("there is a file `data/2026/jan.csv`")),
            ("dta/2026", Some("there is a folder `data/2026`")),
            // What would be there if two names were spelled otherwise is not looked for.
            ("dta/2062/jan.csv", Some("there is a folder `data`")),
            ("data/mar.csv/x", None),
            ("modle.json/x", None),
            ("run/r.json", None),
            ("other.txt", None),
            // There it is.
            ("data", None),
            ("", None),
        ] {
            assert_eq!(advice(path, &|_| true).as_deref(), meant, "{path}");
        }
        assert_eq!(advice("modle.json", &|path| path != "model.json"), None);
    }
}
