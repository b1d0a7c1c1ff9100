//! The programs of the machine that stages use: which they are now, and what each says of its version.
//!
//! See `docs/tools.md`.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::Session;
use super::process::{Ended, Program, candidates, is_executable, run};
use super::sandbox::{Demand, Own, Wanted};
use crate::digest::{Digest, Digests};
use crate::plan::{Stage, StageId};
use crate::receipt::{MAX_VERSION, is_version};
use crate::store::atomic;

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(2);

/// A program of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    /// Where it was found.
    pub(super) executable: Utf8PathBuf,
    /// Of its bytes.
    pub(super) digests: Digests,
}

/// A program that a stage used, as its receipt names it.
#[derive(Clone, Debug)]
pub struct UsedTool {
    /// Its name, without a folder.
    pub name: String,
    /// Of its bytes.
    pub digests: Digests,
    /// What it says of its version, if it says anything.
    pub version: Option<String>,
}

/// What a run knows of programs.
#[derive(Default)]
pub(super) struct Tools {
    /// By what they are called; `None` for one that is not there.
    known: Mutex<HashMap<String, Option<Tool>>>,
    /// By what they are called, where those are that stages have run.
    places: Mutex<HashMap<String, Utf8PathBuf>>,
    /// By where they are, what they say of their version.
    versions: Mutex<HashMap<Utf8PathBuf, Arc<Version>>>,
    /// How many were asked.
    asked: AtomicUsize,
    /// Those that are others than when stages ran that are up to date: the first of these, and how many there are.
    changed: Mutex<BTreeMap<String, (StageId, usize)>>,
}

/// What a program says of its version.
struct Version {
    /// Of the program's bytes.
    digest: Digest,
    /// Which of those that were asked it was, from 0.
    number: usize,
    /// Nothing while it is being asked.
    said: OnceLock<Option<String>>,
}

impl Tools {
    /// Takes what was found to be changed.
    pub(super) fn take_changed(&self) -> BTreeMap<String, (StageId, usize)> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Session<'_> {
    /// The program that is called `name`, by `PATH` or by its absolute path, as it is now. `None` if there is none.
    ///
    /// # Errors
    ///
    /// What reading it gives.
    pub(super) fn find_tool(&self, name: &str) -> io::Result<Option<Tool>> {
        let path = self.environment.get("PATH").map_or("", String::as_str);
        for executable in candidates(name, Utf8Path::new("/"), path) {
            if is_executable(&executable) {
                let digests = self.hashes.file(&executable)?.digests;
                return Ok(Some(Tool { executable, digests }));
            }
            self.hashes.note_passed_over(&executable);
        }
        Ok(None)
    }

    /// The same for a stage that runs it by the path where it is found: it is looked for in `PATH` once in a run, and then there where it was.
    ///
    /// # Errors
    ///
    /// What reading it gives.
    pub(super) fn find_tool_to_run(&self, name: &str) -> io::Result<Option<Tool>> {
        let was = self
            .tools
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned();
        if let Some(executable) = was
            && let Ok(found) = self.hashes.file(&executable)
            && found.stamp.is_executable()
        {
            let digests = found.digests;
            return Ok(Some(Tool { executable, digests }));
        }
        let tool = self.find_tool(name)?;
        if let Some(tool) = &tool {
            let mut places = self.tools.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.insert(name.to_owned(), tool.executable.clone());
        }
        Ok(tool)
    }

    /// The same, looked for once in a run.
    pub(super) fn known_tool(&self, name: &str) -> Option<Tool> {
        let known = &self.tools.known;
        if let Some(tool) = known.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return tool.clone();
        }
        // One that cannot be read is said where it is run.
        let tool = self.find_tool(name).unwrap_or_default();
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(name.to_owned(), tool.clone());
        tool
    }

    /// The programs that are part of the stage's action.
    pub(super) fn pinned(&self, stage: &Stage) -> Vec<(String, Option<Digest>)> {
        if !stage.pin {
            return Vec::new();
        }
        let called = stage.called_tools().into_iter();
        let digest = |tool: Tool| tool.digests.blake3;
        called
            .map(|(name, called)| (name.to_owned(), self.known_tool(called).map(digest)))
            .collect()
    }

    /// Notes the programs that are others now than the `tools` were, by name and digest, when the stage ran.
    pub(super) fn compare_tools(&self, id: StageId, tools: &[(String, Digest)]) {
        let called = self.plan.stages[id.index()].called_tools();
        for (name, was) in tools {
            let now = called.get(name.as_str()).and_then(|called| self.known_tool(called));
            if now.is_some_and(|now| now.digests.blake3 != *was) {
                let mut changed = self.tools.changed.lock().unwrap_or_else(PoisonError::into_inner);
                let (first, count) = changed.entry(name.clone()).or_insert((id, 0));
                *first = (*first).min(id);
                *count += 1;
            }
        }
    }

    /// Runs the stage's program by `run`, and asks beside it those of the `tools`, each with what it is called, that were not asked yet.
    pub(super) fn run_beside_asking<'t, T>(
        &self,
        tools: impl Iterator<Item = (&'t str, &'t Tool)>,
        run: impl FnOnce() -> T,
    ) -> T {
        std::thread::scope(|scope| {
            for (name, tool) in tools {
                let (version, is_new) = self.version(tool);
                if is_new {
                    let ask = move || self.ask_once(name, tool, &version);
                    // Where there can be no thread more, it is asked when its version is wanted.
                    let _ = std::thread::Builder::new().spawn_scoped(scope, ask);
                }
            }
            run()
        })
    }

    /// What the program says of its version when it is asked with `--version`: the first line. It is asked once in a run, with
    /// nothing to read or write but a folder of its own; where that folder cannot be made, or the kernel cannot see to that, it is
    /// not asked.
    pub(super) fn version_of(&self, name: &str, tool: &Tool) -> Option<String> {
        let (version, _) = self.version(tool);
        self.ask_once(name, tool, &version);
        version.said.get().cloned().flatten()
    }

    /// The version of the program as it is now, and whether nobody has wanted it before.
    fn version(&self, tool: &Tool) -> (Arc<Version>, bool) {
        let mut versions = self.tools.versions.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = tool.digests.blake3;
        if let Some(version) = versions
            .get(&tool.executable)
            .filter(|version| version.digest == digest)
        {
            return (Arc::clone(version), false);
        }
        let number = self.tools.asked.fetch_add(1, Ordering::Relaxed);
        let said = OnceLock::new();
        let version = Arc::new(Version { digest, number, said });
        versions.insert(tool.executable.clone(), Arc::clone(&version));
        (version, true)
    }

    /// Asks the program, or waits for it if it is being asked.
    fn ask_once(&self, name: &str, tool: &Tool, version: &Version) {
        version.said.get_or_init(|| {
            let folder = self.scratch().join("versions").join(version.number.to_string());
            let may_be_asked = !self.interrupts.is_requested() && atomic::create_folder(&folder).is_ok();
            may_be_asked.then(|| self.ask_version(name, tool, &folder))?
        });
    }

    fn ask_version(&self, name: &str, tool: &Tool, folder: &Utf8Path) -> Option<String> {
        let said = folder.join("said");
        let mut environment = BTreeMap::from([
            ("HOME".to_owned(), folder.to_string()),
            ("TMPDIR".to_owned(), folder.to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), "UTC".to_owned()),
        ]);
        environment.extend(
            self.environment
                .get_key_value("PATH")
                .map(|(k, v)| (k.clone(), v.clone())),
        );
        let sandbox = self.sandbox();
        let mut readable = Vec::new();
        sandbox.add_tool(&tool.executable, &mut readable);
        let own = Own {
            writable: &[folder.to_owned()],
            readable: &readable,
            log: &said,
        };
        let wanted = Wanted {
            network: false,
            demand: Demand::Files,
        };
        let program = Program {
            executable: &tool.executable,
            argv: &[name.to_owned(), "--version".to_owned()],
            folder,
            environment: &environment,
            secrets: &[],
            stdin: None,
            stdout: None,
            timeout: Some(PATIENCE),
            log: File::create_new(&said).ok()?,
            confinement: Some(sandbox.confine(&own, wanted)),
        };
        let end = run(program, &self.groups).ok()?;
        (end.finish.ended == Ended::Exited(0)).then(|| first_line(&said))?
    }
}

/// The first line of the file, if it is one that can stand in a receipt.
fn first_line(path: &Utf8Path) -> Option<String> {
    let mut bytes = Vec::new();
    let limit = MAX_VERSION as u64 + 1;
    File::open(path).ok()?.take(limit).read_to_end(&mut bytes).ok()?;
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim();
    is_version(line).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_short_line_is_a_version() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Utf8Path::from_path(folder.path()).expect("UTF-8").join("said");
        let of = |bytes: &[u8]| {
            atomic::write(&file, bytes).expect("written");
            first_line(&file)
        };
        assert_eq!(of(b"x 1.2\nmore\n").as_deref(), Some("x 1.2"));
        assert_eq!(of(b" x 1.2 \r\n").as_deref(), Some("x 1.2"));
        assert_eq!(of(b"\nx 1.2\n"), None);
        assert_eq!(of(b""), None);
        assert_eq!(of(b"\x1b[31mred\n"), None);
        assert_eq!(of(&[0xff, b'\n']), None);
        assert_eq!(of(&[b'x'; MAX_VERSION]).map(|line| line.len()), Some(MAX_VERSION));
        assert_eq!(of(&[b'x'; MAX_VERSION + 1]), None);
    }
}
