//! The names of all that is below a folder, listed by all cores, folder by folder. Nothing is asked of a file: its folder says what it is.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::{Workspace, unreadable};
use crate::shared_path::SharedPath;
use crate::stamp::Kind;
use crate::tree::TreeError;

/// What a folder says of something in it that is no folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A regular file. Another kind of thing under its name would be another name, and the folder have another stamp.
    File,
    /// A link, of which it was not asked where it leads.
    Link,
    /// A socket, a device, a pipe.
    Other,
}

/// How much is seen on a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Not what the folders of git and of madmall hold: it is no stage's business, and may be much.
    OfStages,
    /// All.
    All,
}

impl Scope {
    /// Whether the walk from `top` leaves out what is called `name` in `folder`.
    fn leaves_out(self, top: &Utf8Path, folder: &Utf8Path, name: &str) -> bool {
        let is_root = top.as_str().is_empty() && folder == top;
        self == Self::OfStages && (name == ".git" || (is_root && (name == ".madmall" || name == "runs")))
    }
}

impl Workspace {
    /// All below `folder` that is no folder, sorted by the bytes of the paths; tells of each folder before its names are listed.
    ///
    /// # Errors
    ///
    /// [`TreeError`] if a folder cannot be read or a name is not UTF-8.
    pub(crate) fn names_below(
        &self,
        folder: &Utf8Path,
        scope: Scope,
        on_folder: &dyn Fn(&Utf8Path),
    ) -> Result<Vec<(SharedPath, Named)>, TreeError> {
        let mut found = Vec::new();
        // Folders that are equally deep: so there is no limit to how deep they may be but the system's.
        let mut level = vec![folder.to_owned()];
        while !level.is_empty() {
            level.iter().for_each(|folder| on_folder(folder));
            let listed: Result<Vec<Listed>, TreeError> = level
                .par_iter()
                .map(|below| self.listed(folder, below, scope))
                .collect();
            level.clear();
            for mut listed in listed? {
                level.append(&mut listed.folders);
                found.append(&mut listed.others);
            }
        }
        found.par_sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(found)
    }

    /// What is in `folder`, on a walk from `top`.
    fn listed(&self, top: &Utf8Path, folder: &Utf8Path, scope: Scope) -> Result<Listed, TreeError> {
        let mut listed = Listed::default();
        let failed = |error: io::Error| unreadable(folder, error);
        // Each path is put together here, and then has a place in memory just as long as it is.
        let mut path = folder.as_str().to_owned();
        if !path.is_empty() && !path.ends_with('/') {
            path.push('/');
        }
        let before_name = path.len();
        self.each_name(folder, failed, |name, kind| {
            let name = std::str::from_utf8(name).map_err(|_| TreeError::NotUtf8 {
                folder: top.to_owned(),
                lossy: String::from_utf8_lossy(name).into_owned(),
            })?;
            if !scope.leaves_out(top, folder, name) {
                path.truncate(before_name);
                path.push_str(name);
                let named = match kind {
                    Kind::Folder => None,
                    Kind::File => Some(Named::File),
                    Kind::Link => Some(Named::Link),
                    Kind::Other => Some(Named::Other),
                };
                match named {
                    None => listed.folders.push(path.as_str().into()),
                    Some(named) => listed.others.push((path.as_str().into(), named)),
                }
            }
            Ok(())
        })?;
        Ok(listed)
    }
}

/// What is in a folder.
#[derive(Default)]
struct Listed {
    folders: Vec<Utf8PathBuf>,
    others: Vec<(SharedPath, Named)>,
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn workspace(files: &[&str]) -> (tempfile::TempDir, Workspace) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = root.canonicalize_utf8().expect("it is there");
        for file in files {
            crate::store::atomic::write(&root.join(file), file.as_bytes()).expect("written");
        }
        (folder, Workspace::at(root))
    }

    #[test]
    fn what_is_below_a_folder_is_sorted_by_its_bytes_and_without_what_is_no_stages_business() {
        let deep = format!("data/{}x", "d/".repeat(300));
        let files = [
            ".madmall/a",
            "a.txt",
            "data/.git/a",
            "data/Z",
            "data/a b",
            "data/a/1",
            "data/a.b",
            "data/runs/a",
            &deep,
            "runs/a",
        ];
        let (_folder, workspace) = workspace(&files);
        let folders = RefCell::new(Vec::new());
        let on_folder = |folder: &Utf8Path| folders.borrow_mut().push(folder.to_owned());
        let below = |folder: &str, scope| workspace.names_below(Utf8Path::new(folder), scope, &on_folder);
        let paths = |folder, scope| -> Vec<String> {
            let found = below(folder, scope).expect("readable");
            assert!(found.iter().all(|(_, named)| *named == Named::File));
            found.into_iter().map(|(path, _)| path.to_string()).collect()
        };
        let all = paths("", Scope::OfStages);
        let expected = [
            "a.txt",
            "data/Z",
            "data/a b",
            "data/a.b",
            "data/a/1",
            &deep,
            "data/runs/a",
        ];
        assert_eq!(all, expected);
        assert_eq!(folders.borrow()[..2], ["", "data"]);
        assert_eq!(folders.borrow().len(), 4 + 300);
        assert_eq!(paths("data", Scope::OfStages), all[1..]);
        assert_eq!(paths("", Scope::All).len(), files.len());
        below("absent", Scope::OfStages).expect_err("it is not there");
    }

    #[cfg(unix)]
    #[test]
    fn links_are_told_and_names_that_are_no_text_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::symlink;

        let (_folder, workspace) = workspace(&["data/file", "other/file"]);
        let data = workspace.root().as_std_path().join("data");
        for (to, at) in [("file", "to-file"), ("../other", "to-folder"), ("absent", "to-nothing")] {
            symlink(to, data.join(at)).expect("linked");
        }
        let pipe = std::process::Command::new("mkfifo").arg(data.join("pipe")).status();
        assert!(pipe.expect("mkfifo is there").success());
        let below = |scope| workspace.names_below(Utf8Path::new("data"), scope, &|_| {});
        let found = below(Scope::OfStages).expect("readable");
        let expected = [
            ("data/file", Named::File),
            ("data/pipe", Named::Other),
            ("data/to-file", Named::Link),
            ("data/to-folder", Named::Link),
            ("data/to-nothing", Named::Link),
        ];
        assert_eq!(found, expected.map(|(path, named)| (path.into(), named)));

        let name = std::ffi::OsStr::from_bytes(b"\xff");
        symlink("file", data.join(name)).expect("linked");
        let error = below(Scope::All).expect_err("a name is no text");
        assert!(matches!(error, TreeError::NotUtf8 { folder, .. } if folder == "data"));
    }
}
