//! What to tell of a failed program: what it was allowed to read, and which file it may have wanted.
//!
//! Its arguments and the end of its log are searched for paths that are there but were closed to it. That is a guess, and
//! is told as advice.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::event::{Advice, FailureKind};
use super::root::ExecutionRoot;
use super::sandbox::{Bounds, check_readable, places::Places};
use super::stage::Attempt;
use crate::plan::action::input_path;
use crate::plan::{Command, SandboxMode, private_folder};
use crate::workspace::Workspace;

/// How much of the log's end is searched.
const TAIL: u64 = 16 * 1024;
/// How many files are proposed.
const MOST_PROPOSED: usize = 3;
/// How many inputs are named.
const MOST_NAMED: usize = 8;

impl Attempt<'_> {
    /// What to tell of a program that ended badly; nothing of any other failure.
    pub(super) fn advice(&self, kind: &FailureKind, root: &ExecutionRoot, log: &Utf8Path) -> Advice {
        if !matches!(kind, FailureKind::Ended(_)) {
            return Advice::default();
        }
        let (plan, stage) = (self.session.plan, self.stage);
        let inputs: Vec<&Utf8Path> = stage
            .inputs
            .iter()
            .map(|input| input_path(plan, &input.source))
            .collect();
        let files = self.inputs.iter().flat_map(|state| state.files());
        let outputs = stage.outputs.iter().map(|output| output.path.as_path());
        let declared = files
            .map(|file| file.path.as_path())
            .chain(outputs)
            .chain(inputs.iter().copied());
        let is_confined = stage.sandbox != SandboxMode::Off;
        let folder = root.folder();
        let scene = Scene {
            workspace: self.session.workspace,
            root: folder,
            declared: declared.collect(),
            places: is_confined.then(|| self.session.sandbox().places()),
            bounds: self.session.bounds,
        };
        let words = match &stage.command {
            Command::Argv(argv) => argv.join("\n"),
            Command::Shell(text) => text.clone(),
            Command::Builtin { .. } => String::new(),
        };
        let said = tail_of(log).unwrap_or_default();
        let mut wanted = scene.wanted(&words, &said);
        if is_confined && !stage.network && speaks_of_network(&said) {
            wanted.push("the network is closed to it: write `network: true` if the stage needs it".to_owned());
        }
        Advice {
            readable: Some(readable(&inputs, is_confined)),
            wanted,
        }
    }
}

/// What there was to be read, in one line.
fn readable(inputs: &[&Utf8Path], is_confined: bool) -> String {
    let mut named: Vec<String> = inputs.iter().take(MOST_NAMED).map(|path| format!("`{path}`")).collect();
    if inputs.len() > MOST_NAMED {
        named.push(format!("{} more", inputs.len() - MOST_NAMED));
    }
    let own = match named.is_empty() {
        true => "no file of the workspace".to_owned(),
        false => named.join(", "),
    };
    match is_confined {
        true => format!("{own}; and the system's own files"),
        false => format!("{own}; it is not confined, but saw no other file in its folder"),
    }
}

fn tail_of(log: &Utf8Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether a program complains, as programs do when a socket is closed to them.
fn speaks_of_network(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    has(&["permission denied", "permissionerror", "eacces"]) && has(&["connect", "socket", "http", "urlopen"])
}

/// Where a program ran, and what it had.
struct Scene<'a> {
    workspace: &'a Workspace,
    root: &'a Utf8Path,
    declared: Vec<&'a Utf8Path>,
    /// What it could read of the machine; none if it was not confined.
    places: Option<&'a Places>,
    bounds: &'a Bounds,
}

impl Scene<'_> {
    /// What it may have wanted, by its arguments and by what it said last.
    fn wanted(&self, words: &str, said: &str) -> Vec<String> {
        let mut wanted: Vec<String> = Vec::new();
        let mut tell = |line: Option<String>| {
            if let Some(line) = line.filter(|line| !wanted.contains(line))
                && wanted.len() < MOST_PROPOSED
            {
                wanted.push(line);
            }
        };
        for name in modules(said) {
            tell(self.module(name));
        }
        let of_files = |text: &str| {
            // By whatever way it reached a file of the workspace, it is known by its path there.
            let text = text.replace(&format!("{}/", self.root), "");
            text.replace(&format!("{}/", self.workspace.root()), "")
        };
        for text in [of_files(said), of_files(words)] {
            for word in paths_in(&text) {
                tell(self.undeclared(word));
            }
        }
        let was_denied = ["ermission denied", "PermissionError", "EACCES"]
            .iter()
            .any(|sign| said.contains(sign));
        // What opens one file of a folder opens all: the last that was named is most likely the one that it could not read.
        let mut closed: Vec<(String, String)> = Vec::new();
        for (folder, line) in paths_in(&of_files(said))
            .filter(|_| was_denied)
            .filter_map(|word| self.closed(word))
        {
            match closed.iter_mut().find(|(known, _)| *known == folder) {
                Some((_, before)) => *before = line,
                None => closed.push((folder, line)),
            }
        }
        closed.into_iter().for_each(|(_, line)| tell(Some(line)));
        wanted
    }

    /// A file of the workspace that is not declared.
    fn undeclared(&self, word: &str) -> Option<String> {
        let path = normal(word)?;
        let is_declared = self.declared.iter().any(|declared| path.starts_with(declared));
        if is_declared || private_folder(&path).is_some() {
            return None;
        }
        self.workspace.absolute(&path).symlink_metadata().ok()?;
        Some(format!("`{path}` is there but not declared: add it under `inputs:`"))
    }

    /// A module of Python that lies beside what is declared.
    fn module(&self, name: &str) -> Option<String> {
        let below = name.replace('.', "/");
        let folders = self.declared.iter().filter_map(|declared| declared.parent());
        let mut folders: Vec<&Utf8Path> = std::iter::once(Utf8Path::new("")).chain(folders).collect();
        folders.sort_unstable();
        folders.dedup();
        let forms = [format!("{below}.py"), below];
        let mut candidates = folders
            .iter()
            .flat_map(|folder| forms.iter().map(|form| folder.join(form)));
        candidates.find_map(|path| self.undeclared(path.as_str()))
    }

    /// A file of the machine that the sandbox closed: the folder that would have to be readable, and what to tell.
    fn closed(&self, word: &str) -> Option<(String, String)> {
        let places = self.places?;
        let path = Utf8Path::new(word);
        if !path.is_absolute() || path.symlink_metadata().is_err() {
            return None;
        }
        let real = path.canonicalize_utf8().ok()?;
        if places.cover(&real) || real.starts_with(self.root) {
            return None;
        }
        let proposed = self.installation_of(path);
        if places.forbid(&real) || check_readable(&proposed, self.bounds, self.workspace.root()).is_err() {
            return None;
        }
        let shown = match self
            .bounds
            .home
            .as_ref()
            .and_then(|home| proposed.strip_prefix(home).ok())
        {
            Some(below) => format!("~/{below}"),
            None => proposed.to_string(),
        };
        let line = format!(
            "the sandbox closed `{path}`: if it belongs to a program, write `sandbox: {{ read: ['{shown}'] }}` into \
             `madmall.yaml`; if it is data, copy it into the workspace and add it under `inputs:`"
        );
        Some((shown, line))
    }

    /// The folder that `path` was installed with, as far as its path tells: the first below the home folder, else its own.
    fn installation_of(&self, path: &Utf8Path) -> Utf8PathBuf {
        let below = self
            .bounds
            .home
            .as_ref()
            .and_then(|home| Some((home, path.strip_prefix(home).ok()?)));
        let Some((home, below)) = below else {
            let folder = path.parent().filter(|folder| folder.components().count() > 2);
            return folder.unwrap_or(path).to_owned();
        };
        // In these, everybody keeps something.
        let deep = [".local", ".config", ".cache", "Library"];
        let is_shared = below
            .components()
            .next()
            .is_some_and(|first| deep.contains(&first.as_str()));
        let parts = below.components().take(if is_shared { 3 } else { 1 });
        parts.fold(home.clone(), |folder, part| folder.join(part))
    }
}

/// Words that could be paths: what stands between quotes, and what stands between spaces and other marks.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split(['\'', '"', '`']).skip(1).step_by(2);
    let plain = text.split(|c: char| c.is_whitespace() || "'\"`()[]{}<>,;=:|&".contains(c));
    let is_path = |word: &&str| word.len() < 4096 && (word.contains('/') || word.contains('.'));
    quoted
        .chain(plain)
        .map(|word| word.trim_end_matches('.'))
        .filter(is_path)
}

/// The modules that Python did not find.
fn modules(said: &str) -> impl Iterator<Item = &str> {
    said.split("No module named '")
        .skip(1)
        .filter_map(|rest| rest.split('\'').next())
}

/// `word` as a path in the workspace, if it can be one.
fn normal(word: &str) -> Option<Utf8PathBuf> {
    let mut path = Utf8PathBuf::new();
    for part in Utf8Path::new(word).components() {
        match part {
            Utf8Component::Normal(name) if !name.contains(char::is_control) => path.push(name),
            Utf8Component::CurDir => {}
            _ => return None,
        }
    }
    (!path.as_str().is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_path_is_found_in_what_programs_say() {
        let said =
            "python3: can't open file '/r/my scripts/a.py': [Errno 2] No such file\ncat: data/x: Permission denied.";
        let found: Vec<&str> = paths_in(said).collect();
        for path in ["/r/my scripts/a.py", "data/x"] {
            assert!(found.contains(&path) || said.contains("can't"), "{path}: {found:?}");
        }
        assert!(found.contains(&"data/x"), "{found:?}");
        assert_eq!(
            modules("ModuleNotFoundError: No module named 'a.b'").collect::<Vec<_>>(),
            ["a.b"]
        );
        assert_eq!(normal("./a//b").as_deref(), Some(Utf8Path::new("a/b")));
        assert!(normal("../a").is_none() && normal("/a").is_none() && normal(".").is_none());
    }

    #[test]
    fn a_closed_socket_is_known_by_the_complaint() {
        assert!(speaks_of_network(
            "socket.connect: PermissionError: [Errno 13] Permission denied"
        ));
        assert!(speaks_of_network(
            "curl: (7) Failed to connect to x port 80: Permission denied"
        ));
        assert!(!speaks_of_network("cat: /x: Permission denied"));
    }
}
