//! Which paths of the machine a program may read: those of the system, of its tools, and of the user's settings.

use camino::{Utf8Path, Utf8PathBuf};

use super::Bounds;
use crate::git;

/// Where systems keep programs and what they need, and nothing of anybody's own.
pub const SYSTEM: &[&str] = &[
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/proc", "/sys",
];
/// No folder of this name may be read, wherever it lies.
pub const NEVER_WHOLE: &str = ".git";
/// A folder that holds a forbidden place is taken apart into no more than so many.
const MOST_PARTS: usize = 4096;

/// What every program of a run may read.
#[derive(Clone, Debug)]
pub struct Places {
    readable: Vec<Utf8PathBuf>,
    never: Vec<Utf8PathBuf>,
    home: Option<Utf8PathBuf>,
    projects: Vec<Utf8PathBuf>,
}

impl Places {
    /// What programs in the workspace at `workspace` (absolute, links resolved) may read.
    #[must_use]
    pub fn of(bounds: &Bounds, workspace: &Utf8Path) -> Self {
        let never = never(bounds, workspace);
        let mut readable = Vec::new();
        // The workspace itself is no system's folder, wherever it lies: what a stage reads of it, it declares.
        let mut not_of_system = never.clone();
        let mut projects = bounds.projects.clone();
        projects.push(workspace.to_owned());
        not_of_system.extend_from_slice(&projects);
        for folder in SYSTEM {
            if let Ok(real) = Utf8Path::new(folder).canonicalize_utf8() {
                take_apart(&real, &not_of_system, &mut readable);
            }
        }
        for path in &bounds.readable {
            if let Ok(real) = path.canonicalize_utf8() {
                take_apart(&real, &never, &mut readable);
            }
        }
        readable.sort_unstable();
        readable.dedup_by(|path, before| path.starts_with(before));
        let home = bounds.home.as_ref();
        Self {
            readable,
            never,
            home: home.and_then(|home| home.canonicalize_utf8().ok()),
            projects,
        }
    }

    /// Those paths, sorted, none within another.
    #[must_use]
    pub fn readable(&self) -> &[Utf8PathBuf] {
        &self.readable
    }

    /// Whether `path` (absolute) lies in one of them.
    #[must_use]
    pub fn cover(&self, path: &Utf8Path) -> bool {
        self.readable.iter().any(|place| path.starts_with(place))
    }

    /// Whether `path` (absolute, links resolved) lies where no program may read.
    #[must_use]
    pub fn forbid(&self, path: &Utf8Path) -> bool {
        self.never.iter().any(|never| path.starts_with(never))
    }

    /// What a program that is run from `executable` needs of where it is installed: the folder above its `bin`, or the
    /// program alone; by the path it was found at, and by where that leads. Nothing that is readable anyway.
    #[must_use]
    pub fn of_tool(&self, executable: &Utf8Path) -> Vec<Utf8PathBuf> {
        let mut needed = Vec::new();
        let real = executable.canonicalize_utf8().ok().filter(|real| real != executable);
        for path in std::iter::once(executable).chain(real.as_deref()) {
            if let Some(place) = self.place_of_tool(path)
                && !self.cover(&place)
                && !needed.contains(&place)
            {
                needed.push(place);
            }
        }
        needed
    }

    fn place_of_tool(&self, executable: &Utf8Path) -> Option<Utf8PathBuf> {
        let bin = executable.parent().filter(|folder| folder.file_name() == Some("bin"));
        let prefix = bin.and_then(Utf8Path::parent);
        let prefix = prefix.and_then(|prefix| prefix.canonicalize_utf8().ok());
        let alone = || executable.canonicalize_utf8().ok().filter(|real| !self.forbid(real));
        prefix.filter(|prefix| self.is_prefix(prefix)).or_else(alone)
    }

    /// Whether all of `prefix` may be read for the sake of a program in it: not if it holds the workspace, the home folder or
    /// a forbidden place, and not `~/.local`, where programs lie beside what the user's own programs keep.
    fn is_prefix(&self, prefix: &Utf8Path) -> bool {
        let local = self.home.as_ref().map(|home| home.join(".local"));
        let own = self.home.iter().chain(&local).chain(&self.projects);
        let mut held = own.chain(&self.never);
        prefix.parent().is_some() && !self.forbid(prefix) && !held.any(|place| place.starts_with(prefix))
    }
}

/// All that no program may read or write, links resolved where they lead somewhere.
pub(super) fn never(bounds: &Bounds, workspace: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut never = Vec::new();
    let own = [workspace.join(".madmall"), workspace.join(NEVER_WHOLE)];
    let of_git = git::folders(workspace);
    for path in bounds.never.iter().chain(&own).chain(&of_git) {
        never.push(path.clone());
        never.extend(path.canonicalize_utf8().ok().filter(|real| real != path));
    }
    never
}

/// Adds `folder`, or what is in it if it holds a forbidden place: Landlock can allow a folder, but not all of it but one.
fn take_apart(folder: &Utf8Path, never: &[Utf8PathBuf], to: &mut Vec<Utf8PathBuf>) {
    if never.iter().any(|never| folder.starts_with(never)) {
        return;
    }
    if !never.iter().any(|never| never.starts_with(folder)) {
        to.push(folder.to_owned());
        return;
    }
    let entries = folder.read_dir_utf8().into_iter().flatten().take(MOST_PARTS).flatten();
    for entry in entries {
        // What a link leads to has its own place, or none.
        if entry.file_type().is_ok_and(|kind| !kind.is_symlink()) {
            take_apart(entry.path(), never, to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().canonicalize().expect("it exists");
        let root = Utf8PathBuf::from_path_buf(root).expect("UTF-8");
        for path in [
            "work/.git",
            "work/venv/bin",
            "home/.local/bin",
            "home/tools/x/bin",
            "opt/a",
            "opt/keys",
            "home/bin",
        ] {
            fs::create_dir_all(root.join(path)).expect("made");
        }
        for path in [
            "work/venv/bin/p",
            "home/.local/bin/p",
            "home/tools/x/bin/p",
            "home/bin/p",
            "opt/f",
        ] {
            fs::File::create_new(root.join(path)).expect("made");
        }
        (folder, root)
    }

    fn places(root: &Utf8Path, readable: &[&str]) -> Places {
        let bounds = Bounds {
            readable: readable.iter().map(|path| root.join(path)).collect(),
            never: vec![root.join("opt/keys"), root.join("home/.config/madmall")],
            projects: Vec::new(),
            home: Some(root.join("home")),
        };
        Places::of(&bounds, &root.join("work"))
    }

    #[test]
    fn a_folder_that_holds_a_forbidden_place_is_taken_apart() {
        let (_guard, root) = folder();
        let places = places(&root, &["opt", "gone"]);
        assert!(places.cover(&root.join("opt/a/b")) && places.cover(&root.join("opt/f")));
        assert!(!places.cover(&root.join("opt")) && !places.cover(&root.join("opt/keys")));
        assert!(places.forbid(&root.join("opt/keys/k")) && places.forbid(&root.join("work/.madmall/cas")));
    }

    #[test]
    fn a_tool_brings_the_folder_that_it_is_installed_in_but_nothing_of_anybodys_own() {
        let (_guard, root) = folder();
        let places = places(&root, &[]);
        let of = |path: &str| places.of_tool(&root.join(path));
        assert_eq!(of("home/tools/x/bin/p"), [root.join("home/tools/x")]);
        assert_eq!(of("work/venv/bin/p"), [root.join("work/venv")]);
        for alone in ["home/bin/p", "home/.local/bin/p", "opt/f"] {
            assert_eq!(of(alone), [root.join(alone)]);
        }
        assert!(of("opt/keys/p").is_empty() && of("gone/bin/p").is_empty());
        let none = places.of_tool(Utf8Path::new("/usr/bin/env"));
        assert!(none.is_empty(), "the system's programs are readable anyway: {none:?}");
    }

    #[test]
    fn what_holds_or_lies_in_a_forbidden_place_cannot_be_listed() {
        let (_guard, root) = folder();
        let bounds = Bounds {
            never: vec![root.join("home/.config/madmall")],
            ..Bounds::default()
        };
        let check = |path: &str| super::super::check_readable(&root.join(path), &bounds, &root.join("work"));
        for path in [
            "",
            "home",
            "home/.config",
            "home/.config/madmall/k",
            "work",
            "work/.madmall/cas",
            "work/.git",
            "x/.git/y",
        ] {
            assert!(check(path).is_err(), "{path}");
        }
        for path in ["home/tools", "work/venv", "opt"] {
            assert!(check(path).is_ok(), "{path}");
        }
    }
}
