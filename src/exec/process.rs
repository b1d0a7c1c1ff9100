//! A program stage as processes: spawned in a group of its own, its output captured, the whole group ended with it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use close_fds::CloseFdsBuilder;

use super::log_pipe;
use super::mask::MaskedWriter;
use super::sandbox::{Confinement, SandboxError};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with exit code {code}"),
            Self::Signalled(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// How long a program may take to clean up after it was asked to end, before it is killed.
pub const GRACE: Duration = Duration::from_secs(5);

/// The first file descriptor after the three that a program is given.
const AFTER_STANDARD_ERROR: i32 = 3;

/// Whether what this process has from its own caller is closed in the programs that it starts: files that were open then could be read
/// and written, whatever the sandbox says.
static INHERITED: Once = Once::new();

/// A program that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How.
    pub ended: Ended,
    /// Whether it was ended because it took longer than its timeout.
    pub timed_out: bool,
}

/// A program to run.
pub struct Program<'a> {
    /// The executable, absolute.
    pub executable: &'a Utf8Path,
    /// Its arguments; the first is the name it is called by.
    pub argv: &'a [String],
    /// Its working folder.
    pub folder: &'a Utf8Path,
    /// All of its environment.
    pub environment: &'a BTreeMap<String, String>,
    /// Texts that must not reach the log.
    pub secrets: &'a [String],
    /// Its standard input; nothing if there is none.
    pub stdin: Option<File>,
    /// Its standard output, byte for byte; the log if there is none.
    pub stdout: Option<File>,
    /// How long it may take.
    pub timeout: Option<Duration>,
    /// Takes its standard error, and its standard output if that goes nowhere else.
    pub log: File,
    /// What it may use; anything if there is none.
    pub confinement: Option<Confinement<'a>>,
}

/// A program that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEnd {
    /// How.
    pub finish: Finish,
    /// What its sandbox enforced, sorted.
    pub enforced: Vec<&'static str>,
}

/// The process groups that are running, so that an interrupt can end them.
#[derive(Default)]
pub struct Groups {
    /// Their leaders, and whether each was asked to end.
    leaders: Mutex<Vec<(i32, bool)>>,
}

/// How hard to end a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It may clean up.
    Terminate,
    /// At once.
    Kill,
}

impl Groups {
    /// Signals every running group. One that was asked to end is not asked again: it would be disturbed while it cleans up.
    pub fn end_all(&self, ending: Ending) {
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        for (leader, was_asked) in leaders.iter_mut() {
            if !std::mem::replace(was_asked, true) || ending == Ending::Kill {
                signal_group(*leader, ending);
            }
        }
    }

    fn add(&self, leader: i32) {
        let mut leaders = self.leaders.lock().unwrap_or_else(PoisonError::into_inner);
        leaders.push((leader, false));
    }

    fn remove(&self, leader: i32) {
        self.leaders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(other, _)| *other != leader);
    }
}

/// Runs `program` to its end. Whatever it left running in its group is killed then.
///
/// # Errors
///
/// Whatever confining, spawning, waiting or writing the log gives.
pub fn run(program: Program<'_>, groups: &Groups) -> Result<ProgramEnd, SandboxError> {
    // What this program opens is closed in others as it is; what was open when it began is somebody else's.
    INHERITED.call_once(|| {
        CloseFdsBuilder::new()
            .threadsafe(true)
            .cloexecfrom(AFTER_STANDARD_ERROR)
    });
    let confinement = program.confinement.as_ref();
    let timeout = program.timeout;
    let mut command = Command::new(program.executable);
    command
        .args(&program.argv[1..])
        .current_dir(program.folder)
        .env_clear()
        .envs(program.environment)
        .stdin(program.stdin.map_or_else(Stdio::null, Stdio::from));
    own_group(&mut command, &program.argv[0]);
    if program.secrets.is_empty() {
        match program.stdout {
            Some(stdout) => command.stdout(stdout),
            None => command.stdout(program.log.try_clone()?),
        };
        command.stderr(program.log);
        return carry_out(command, confinement, |child| wait(child, timeout, groups));
    }
    let (pipe, writer) = io::pipe()?;
    match program.stdout {
        Some(stdout) => command.stdout(stdout),
        None => command.stdout(writer.try_clone()?),
    };
    command.stderr(writer);
    let (ended, running) = io::pipe()?;
    std::thread::scope(|scope| {
        let log = MaskedWriter::new(program.log, program.secrets);
        let copy = move || log_pipe::copy(pipe, &ended, log);
        // First: a program whose log nobody reads would not be waited for.
        let copying = std::thread::Builder::new().spawn_scoped(scope, copy)?;
        let end = carry_out(command, confinement, |child| wait(child, timeout, groups));
        drop(running);
        copying
            .join()
            .map_err(|_| io::Error::other("the log's thread panicked"))??;
        end
    })
}

/// Starts `command`, and waits for it by `wait`.
fn carry_out(
    mut command: Command,
    confinement: Option<&Confinement<'_>>,
    wait: impl FnOnce(Child) -> io::Result<Finish> + Send,
) -> Result<ProgramEnd, SandboxError> {
    let (finish, enforced) = match confinement {
        Some(confinement) => confinement.run(command, wait)?,
        None => {
            let child = command.spawn()?;
            // It holds open what the program writes to, and a pipe ends when nobody does.
            drop(command);
            (wait(child), Vec::new())
        }
    };
    Ok(ProgramEnd {
        finish: finish?,
        enforced,
    })
}

/// Where the program may be that `name` means, in the order in which it is looked for: a path is taken from `folder`, a plain name
/// is in the absolute folders of `path` (as in the variable `PATH`).
pub fn candidates(name: &str, folder: &Utf8Path, path: &str) -> impl Iterator<Item = Utf8PathBuf> {
    let is_path = name.contains('/');
    let own = is_path.then(|| folder.join(name));
    let folders = path.split(':').filter(move |entry| !is_path && entry.starts_with('/'));
    own.into_iter()
        .chain(folders.map(move |entry| Utf8Path::new(entry).join(name)))
}

/// Whether there is a program.
#[cfg(unix)]
pub(crate) fn is_executable(path: &Utf8Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Whether there is a program.
#[cfg(not(unix))]
pub(crate) fn is_executable(path: &Utf8Path) -> bool {
    path.is_file()
}

#[cfg(unix)]
fn own_group(command: &mut Command, name: &str) {
    use std::os::unix::process::CommandExt as _;
    command.process_group(0).arg0(name);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command, _name: &str) {}

#[cfg(unix)]
fn signal_group(leader: i32, ending: Ending) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = match ending {
        Ending::Terminate => Signal::TERM,
        Ending::Kill => Signal::KILL,
    };
    if let Some(leader) = Pid::from_raw(leader) {
        // It may have ended by itself; that is as good.
        let _ = kill_process_group(leader, signal);
    }
}

#[cfg(not(unix))]
fn signal_group(_leader: i32, _ending: Ending) {}

#[cfg(unix)]
fn wait(mut child: Child, timeout: Option<Duration>, groups: &Groups) -> io::Result<Finish> {
    use std::os::unix::process::ExitStatusExt as _;

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    let leader = child.id().cast_signed();
    groups.add(leader);
    // The leader is left unreaped until its group is killed: until then its number cannot be anybody else's.
    let pid = Pid::from_raw(leader).expect("a child has a positive process id");
    let to_its_end = || loop {
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other,
        }
    };
    let (seen, timed_out) = match timeout {
        None => (to_its_end().map_err(io::Error::from), false),
        Some(timeout) => std::thread::scope(|scope| {
            let (has_ended, ended) = channel();
            let watch = move || end_after(timeout, leader, &ended);
            let watching = std::thread::Builder::new().spawn_scoped(scope, watch);
            if watching.is_err() {
                // Nobody would end it.
                signal_group(leader, Ending::Kill);
            }
            let seen = to_its_end();
            drop(has_ended);
            match watching {
                Ok(watching) => (seen.map_err(io::Error::from), watching.join().unwrap_or(false)),
                Err(error) => (Err(error), false),
            }
        }),
    };
    signal_group(leader, Ending::Kill);
    groups.remove(leader);
    seen?;
    let status = child.wait()?;
    let ended = match status.code() {
        Some(code) => Ended::Exited(code),
        None => Ended::Signalled(status.signal().unwrap_or(0)),
    };
    Ok(Finish { ended, timed_out })
}

/// Ends the group when `timeout` has passed, as an interrupt does: kindly first. Gives whether it came to that before its
/// leader `ended` (the other side of the channel is gone then).
#[cfg(unix)]
fn end_after(timeout: Duration, leader: i32, ended: &Receiver<()>) -> bool {
    if ended.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout) {
        return false;
    }
    signal_group(leader, Ending::Terminate);
    if ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
        signal_group(leader, Ending::Kill);
    }
    true
}

#[cfg(not(unix))]
fn wait(mut child: Child, _timeout: Option<Duration>, _groups: &Groups) -> io::Result<Finish> {
    let ended = Ended::Exited(child.wait()?.code().unwrap_or(1));
    Ok(Finish {
        ended,
        timed_out: false,
    })
}
