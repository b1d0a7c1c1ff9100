//! A fresh folder with a pipeline in it, and the real binary.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use camino::{Utf8Path, Utf8PathBuf};

/// A workspace of its own, with a key of its own.
pub(crate) struct Space {
    folder: std::sync::Arc<tempfile::TempDir>,
    base: Utf8PathBuf,
    workspace: String,
    environment: BTreeMap<String, String>,
}

impl Space {
    /// An empty workspace. Its path has a space in it, as users' paths have.
    pub(crate) fn empty() -> Self {
        Self::in_folder(tempfile::tempdir().expect("a temporary folder"))
    }

    /// An empty workspace in memory where there is such a folder, for what is made and thrown away many times.
    pub(crate) fn in_memory() -> Self {
        Self::in_folder(tempfile::tempdir_in(memory()).expect("a temporary folder"))
    }

    /// The same for as long as this process lives. What earlier ones, dead by now, have left under that name is removed.
    pub(crate) fn for_this_process(name: &str) -> Self {
        for left in memory().read_dir_utf8().into_iter().flatten().flatten() {
            let process = left
                .file_name()
                .strip_prefix(name)
                .and_then(|rest| rest.split('.').nth(1));
            if process.is_some_and(|process| !Utf8Path::new("/proc").join(process).exists()) {
                let _ = fs::remove_dir_all(left.path());
            }
        }
        let prefix = format!("{name}.{}.", std::process::id());
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(memory());
        Self::in_folder(folder.expect("a temporary folder"))
    }

    fn in_folder(folder: tempfile::TempDir) -> Self {
        let base = Utf8PathBuf::from_path_buf(folder.path().canonicalize().expect("it exists")).expect("UTF-8");
        fs::create_dir_all(base.join("work space")).expect("made");
        let mut environment = BTreeMap::new();
        for (name, value) in [
            ("HOME", base.join("home")),
            ("MADMALL_CONFIG_DIR", base.join("config")),
            ("TRACE", base.join("trace")),
        ] {
            environment.insert(name.to_owned(), value.into_string());
        }
        // Where programs are is the machine's business; all else is chosen here.
        let path = std::env::vars().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        environment.insert("PATH".to_owned(), path.expect("a PATH"));
        for (name, value) in [("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null")] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        Self {
            folder: std::sync::Arc::new(folder),
            base,
            workspace: "work space".to_owned(),
            environment,
        }
    }

    /// The same again in a folder of its own, with all that lies beside it but what is named.
    pub(crate) fn copied(&self, without: &[&str]) -> Self {
        let copy = Self::in_memory();
        let without: Vec<_> = without.iter().map(|name| self.base.join(name)).collect();
        copy_folder(&self.base, &copy.base, &without);
        let moved = |(name, value): (&String, &String)| {
            let value = value.replace(self.base.as_str(), copy.base.as_str());
            (name.clone(), value)
        };
        let environment = self.environment.iter().map(moved).collect();
        Self { environment, ..copy }
    }

    /// Another workspace beside this one, with another configuration folder.
    pub(crate) fn beside(&self, folder: &str, config: &str) -> Self {
        let mut environment = self.environment.clone();
        let config = self.base.join(config).into_string();
        environment.insert("MADMALL_CONFIG_DIR".to_owned(), config);
        Self {
            folder: std::sync::Arc::clone(&self.folder),
            base: self.base.clone(),
            workspace: folder.to_owned(),
            environment,
        }
    }

    /// A workspace whose `pipeline.yaml` has these stages (and whatever else stands beside them).
    pub(crate) fn with(stages: &str) -> Self {
        let space = Self::empty();
        space.write("madmall.yaml", "");
        space.pipeline(stages);
        space
    }

    /// Writes `pipeline.yaml` anew.
    pub(crate) fn pipeline(&self, stages: &str) {
        self.write("pipeline.yaml", format!("version: 1\nname: test\n{stages}\n"));
    }

    /// The workspace's folder.
    pub(crate) fn root(&self) -> Utf8PathBuf {
        self.base.join(&self.workspace)
    }

    /// The folder that holds the workspace and all beside it.
    pub(crate) fn base(&self) -> &Utf8Path {
        &self.base
    }

    /// A path in the workspace.
    pub(crate) fn path(&self, path: &str) -> Utf8PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        String::from_utf8(self.bytes(path)).expect("UTF-8")
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        fs::read(self.path(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.path(path)).expect("removed");
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// The real binary, ready to be run here.
    pub(crate) fn command<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_madmall"));
        command
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .envs(&self.environment);
        command
    }

    /// Begins the program and does not wait for it; what it says is in pipes.
    pub(crate) fn begin<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary runs")
    }

    /// Runs the real binary.
    pub(crate) fn madmall<I: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = I>) -> Ran {
        Ran::of(&self.command(arguments).output().expect("the binary runs"))
    }

    /// `madmall run pipeline.yaml` with these arguments after it.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.madmall(["run", "pipeline.yaml"].iter().chain(arguments))
    }

    /// What the stages wrote to `$TRACE` since it was last asked.
    pub(crate) fn trace(&self) -> String {
        let path = self.base.join("trace");
        let text = fs::read_to_string(&path).unwrap_or_default();
        let _ = fs::remove_file(path);
        text
    }

    /// Runs git in the workspace.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@example.org",
                "-c",
                "init.defaultBranch=main",
            ])
            .args(arguments)
            .current_dir(self.root())
            .env_clear()
            .envs(&self.environment)
            .output()
            .expect("git runs");
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
    }

    /// The files of receipts, oldest first, by name.
    pub(crate) fn receipt_files(&self) -> Vec<String> {
        let mut names: Vec<String> = files_below(&self.path("runs"))
            .into_iter()
            .filter(|name| name.ends_with(".intoto.jsonl"))
            .collect();
        names.sort();
        names
    }

    /// What was just written is too new for its times to vouch for it: waits until they do.
    pub(crate) fn let_clock_tick() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }

    /// Every file of the workspace with its bytes. The lock's file says who had it last, and what is
    /// remembered of settled runs only spares work: both are left out.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let root = self.root();
        let read = |path: String| {
            let bytes = fs::read(root.join(&path)).expect("read");
            (path, bytes)
        };
        files_below(&root)
            .into_iter()
            .filter(|path| path != ".madmall/lock" && !path.starts_with(".madmall/settled/"))
            .map(read)
            .collect()
    }

    /// Nothing may have been written since `before`.
    #[track_caller]
    pub(crate) fn is_as(&self, before: &BTreeMap<String, Vec<u8>>) {
        let now = self.snapshot();
        let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed: Vec<_> = names
            .into_iter()
            .filter(|name| before.get(*name) != now.get(*name))
            .collect();
        assert!(changed.is_empty(), "these changed: {changed:?}");
    }
}

fn memory() -> Utf8PathBuf {
    let memory = Utf8PathBuf::from("/dev/shm");
    match memory.is_dir() {
        true => memory,
        false => Utf8PathBuf::from_path_buf(std::env::temp_dir()).expect("UTF-8"),
    }
}

/// Copies whatever is below a folder, links as links.
fn copy_folder(from: &Utf8Path, to: &Utf8Path, without: &[Utf8PathBuf]) {
    fs::create_dir_all(to).expect("made");
    for entry in from.read_dir_utf8().expect("a folder") {
        let entry = entry.expect("an entry");
        if without.iter().any(|path| path == entry.path()) {
            continue;
        }
        let target = to.join(entry.file_name());
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() {
            copy_folder(entry.path(), &target, without);
        } else if kind.is_symlink() {
            let link = entry.path().read_link_utf8().expect("a link");
            std::os::unix::fs::symlink(link, target).expect("made");
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Paths of all files below a folder, relative to it. `.git` is left out.
pub(crate) fn files_below(folder: &Utf8Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from(folder.as_std_path())];
    while let Some(current) = folders.pop() {
        let Ok(entries) = fs::read_dir(&current) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != ".git" {
                folders.push(path);
            } else if path.is_file() {
                files.push(path.strip_prefix(folder).expect("below").to_string_lossy().into_owned());
            }
        }
    }
    files.sort();
    files
}

/// The binary, after it has run.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.code(0)
    }

    /// Its results or its messages must say this.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(
            found,
            "`{text}` is not in\nstdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    #[track_caller]
    pub(crate) fn says_not(self, text: &str) -> Self {
        let found = self.out.contains(text) || self.err.contains(text);
        assert!(!found, "`{text}` is in\nstdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }
}
