//! Confining program stages: what one may read and write, and what of that the kernel enforced.
//!
//! A stage is confined by Landlock, which binds a thread and what it spawns. So each stage has a thread of its own that
//! restricts itself, starts the program, waits for it and ends; the thread that reads its output is free. What
//! may be read is decided by paths ([`places`]) and opened once for a run; a stage adds its own few. What was enforced is
//! told by the kernel's version of Landlock, never guessed: where there is none, nothing is.
//!
//! Built-in stages run in this process and are not confined: they open what they are given.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};

#[cfg(target_os = "linux")]
mod landlock;
#[cfg(not(target_os = "linux"))]
#[path = "nothing.rs"]
mod landlock;
pub mod places;

use places::{NEVER_WHOLE, Places};

/// What `sandbox: required` wants, of a stage that may not use the network and of one that may. Older kernels lack some
/// of it; what only the newest have (`udp`, `unix-sockets`) is taken where it is.
const REQUIRED: &[&str] = &[
    "abstract-sockets",
    "device-control",
    "files",
    "signals",
    "tcp",
    "truncation",
];
/// What of that is about the network.
const OF_NETWORK: &[&str] = &["abstract-sockets", "tcp"];

/// What the user's settings and surroundings say about all sandboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Files and folders that every program may read: `sandbox.read`, absolute.
    pub readable: Vec<Utf8PathBuf>,
    /// What no program may ever read or write: the folder of keys, git's folders.
    pub never: Vec<Utf8PathBuf>,
    /// Other workspaces than the one that stages run in: read only where something in them is listed, wherever they lie.
    pub projects: Vec<Utf8PathBuf>,
    /// The user's home folder.
    pub home: Option<Utf8PathBuf>,
}

/// Why a program could not be confined, and so was not started.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel has Landlock, but would not do what it was asked.
    #[error("cannot confine it: {0}")]
    Setup(String),
    /// `sandbox: required`, and this machine cannot enforce these.
    #[error("this machine cannot enforce {}", .0.join(", "))]
    NotEnforced(Vec<&'static str>),
    /// The program itself could not be started.
    #[error(transparent)]
    Spawn(#[from] io::Error),
}

/// How a path may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Read and executed.
    Read,
    /// Read, written, and whatever else is done with files and folders; no devices are made.
    Write,
    /// A device that is read and written.
    Device,
    /// A file that is only written: the stage's own log, which a program may open again as `/dev/stderr`.
    Append,
}

/// What all stages of a run may use, opened once.
pub struct Sandbox {
    places: Places,
    rules: landlock::Rules,
    /// By where programs were found, what they need of where they are installed.
    tools: Mutex<HashMap<Utf8PathBuf, Vec<Utf8PathBuf>>>,
}

/// What one stage may use.
pub struct Confinement<'a> {
    sandbox: &'a Sandbox,
    own: landlock::Rules,
    wanted: Wanted,
}

/// What a stage asks of its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whether it may use the network.
    pub network: bool,
    /// Without what it may not run.
    pub demand: Demand,
}

/// What a machine must be able to enforce before a program runs there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: it is confined as far as can be.
    Nothing,
    /// Which files it reads and writes.
    Files,
    /// All that `sandbox: required` wants.
    All,
}

/// The paths that are a stage's own.
pub struct Own<'a> {
    /// Folders that it may do anything with.
    pub writable: &'a [Utf8PathBuf],
    /// Files and folders that it may read: inputs that are linked to, and what its tools are installed with.
    pub readable: &'a [Utf8PathBuf],
    /// Its log.
    pub log: &'a Utf8Path,
}

impl Sandbox {
    /// Opens what all stages in the workspace at `workspace` may use.
    #[must_use]
    pub fn open(bounds: &Bounds, workspace: &Utf8Path) -> Self {
        let places = Places::of(bounds, workspace);
        let mut rules = landlock::Rules::default();
        for path in places.readable() {
            rules.add(path, Use::Read);
        }
        for device in ["/dev/urandom", "/dev/random"] {
            rules.add(Utf8Path::new(device), Use::Read);
        }
        for device in ["/dev/null", "/dev/zero", "/dev/full", "/dev/tty"] {
            rules.add(Utf8Path::new(device), Use::Device);
        }
        Self {
            places,
            rules,
            tools: Mutex::default(),
        }
    }

    /// Which paths those are.
    #[must_use]
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Adds what a program that is run from `executable` needs of where it is installed, as it was when that was first asked.
    pub fn add_tool(&self, executable: &Utf8Path, to: &mut Vec<Utf8PathBuf>) {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        let places = match tools.get(executable) {
            Some(places) => places,
            None => tools
                .entry(executable.to_owned())
                .or_insert_with(|| self.places.of_tool(executable)),
        };
        to.extend_from_slice(places);
    }

    /// Opens what one stage may use beside it.
    #[must_use]
    pub fn confine(&self, own: &Own<'_>, wanted: Wanted) -> Confinement<'_> {
        let mut rules = landlock::Rules::default();
        for path in own.writable {
            rules.add(path, Use::Write);
        }
        for path in own.readable {
            rules.add(path, Use::Read);
        }
        rules.add(own.log, Use::Append);
        if wanted.network {
            // Names are looked up by what this says, and it is often a link to a folder of its own.
            if let Ok(real) = Utf8Path::new("/etc/resolv.conf").canonicalize_utf8() {
                rules.add(&real, Use::Read);
            }
        }
        Confinement {
            sandbox: self,
            own: rules,
            wanted,
        }
    }
}

impl Confinement<'_> {
    /// Starts the program, confined, and waits for it by `wait`. Gives what that gives, and what was enforced, sorted.
    ///
    /// # Errors
    ///
    /// [`SandboxError`]; the program was not started then.
    pub fn run<T: Send>(
        &self,
        mut command: Command,
        wait: impl FnOnce(Child) -> T + Send,
    ) -> Result<(T, Vec<&'static str>), SandboxError> {
        std::thread::scope(|scope| {
            // The restriction stays with the thread for ever, so the thread ends with the program. It waits for it, too: to wake this one
            // only for that would cost more than to restrict it.
            let confined = std::thread::Builder::new().spawn_scoped(scope, move || {
                let rules = [&self.sandbox.rules, &self.own];
                let enforced = landlock::restrict_thread(rules, self.wanted.network).map_err(SandboxError::Setup)?;
                let missing = missing(&enforced, self.wanted);
                if !missing.is_empty() {
                    return Err(SandboxError::NotEnforced(missing));
                }
                let child = command.spawn()?;
                // It holds open what the program writes to, and a pipe ends when nobody does.
                drop(command);
                Ok((wait(child), enforced))
            })?;
            let panicked = |_| SandboxError::Setup("its thread panicked".to_owned());
            confined.join().map_err(panicked)?
        })
    }
}

/// What is wanted and was not enforced.
fn missing(enforced: &[&'static str], wanted: Wanted) -> Vec<&'static str> {
    let demanded = match wanted.demand {
        Demand::Nothing => &[][..],
        Demand::Files => &["files"][..],
        Demand::All => REQUIRED,
    };
    let demanded = demanded
        .iter()
        .filter(|word| !(wanted.network && OF_NETWORK.contains(*word)));
    demanded.filter(|word| !enforced.contains(*word)).copied().collect()
}

/// Whether `path` can be made readable for all programs.
///
/// # Errors
///
/// The forbidden place that it lies in or holds.
pub fn check_readable(path: &Utf8Path, bounds: &Bounds, workspace: &Utf8Path) -> Result<(), Utf8PathBuf> {
    let real = path.canonicalize_utf8();
    let never = places::never(bounds, workspace);
    for path in std::iter::once(path).chain(real.as_deref().ok()) {
        if path.components().any(|part| part.as_str() == NEVER_WHOLE) {
            return Err(path.to_owned());
        }
        if let Some(place) = never
            .iter()
            .find(|never| never.starts_with(path) || path.starts_with(never))
        {
            return Err(place.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::sandbox::WORDS;

    #[test]
    fn what_is_required_depends_on_the_network_and_not_on_the_newest_kernel() {
        let missing = |enforced: &[&'static str], demand, network| missing(enforced, Wanted { network, demand });
        assert_eq!(missing(&[], Demand::All, false), REQUIRED);
        assert_eq!(missing(REQUIRED, Demand::All, false), [""; 0]);
        let local = ["device-control", "files", "signals", "truncation"];
        assert_eq!(missing(&local, Demand::All, true), [""; 0]);
        assert_eq!(missing(&local, Demand::All, false), OF_NETWORK);
        assert_eq!(missing(&[], Demand::Files, false), ["files"]);
        assert_eq!(missing(&["files"], Demand::Files, false), [""; 0]);
        assert_eq!(missing(&[], Demand::Nothing, false), [""; 0]);
        assert!(REQUIRED.iter().all(|word| WORDS.contains(word)));
    }
}
