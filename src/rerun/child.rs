//! The process in which one stage is run again: this program, started anew with other surroundings.
//!
//! A program could see, in spite of the rules, the process that runs it. So that process differs from the first in all
//! that should not matter: umask, working folder, time zone, locale, variables, the number of threads. What it is given is
//! the root with the inputs and the payload of the receipt; what it gives is one line of JSON, and a receipt by a key that
//! nobody keeps, under `runs/` of that root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::RerunError;
use super::recipe::Recipe;
use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::diagnostic::with_causes;
use crate::exec::event::{Event, Failure, FailureKind, Observer, StageOutcome};
use crate::exec::interrupt::Interrupts;
use crate::exec::sandbox::Bounds;
use crate::exec::{CacheMode, Caches, OnFailure, Record, RunOptions, Session, SessionInputs};
use crate::plan::{Command as PlannedCommand, StageId, find_files};
use crate::receipt::key::SigningKey;
use crate::receipt::statement::Statement;
use crate::receipt::trust::Trust;
use crate::shared_path::SharedPath;
use crate::stages::ingest;
use crate::store::Store;
use crate::store::looks::Rigour;
use crate::workspace::Workspace;

/// The hidden command by which this program starts itself.
pub const COMMAND: &str = "rerun-stage";

/// The variable by which an ingest is given the consent secret.
const SECRET: &str = "MADMALL_CONSENT_SECRET";

/// The longest answer or complaint that is read from the process.
const LONGEST: u64 = 64 * 1024;

/// How a stage ended that was run again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Ended {
    /// It wrote its outputs.
    Ran {
        /// Its run, whose receipts are under `runs/`.
        run: String,
    },
    /// It failed by itself.
    Failed(String),
    /// The machine failed it.
    Broken(String),
    /// It was ended.
    Interrupted,
}

/// What the process is started with.
pub(super) struct Task<'a> {
    /// This program.
    pub(super) madmall: &'a Utf8Path,
    /// The stage's root.
    pub(super) root: &'a Utf8Path,
    /// The receipt's payload, in a file.
    pub(super) payload: &'a Utf8Path,
    /// `HOME`, `TMPDIR` and the working folder.
    pub(super) home: &'a Utf8Path,
    /// The caller's variables.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// The consent secret, if there is one.
    pub(super) secret: Option<&'a ConsentSecret>,
    /// What is to be run.
    pub(super) recipe: &'a Recipe,
    /// How many threads a built-in stage may use.
    pub(super) jobs: usize,
    /// What programs may use, and what never.
    pub(super) bounds: &'a Bounds,
}

/// Runs the stage in a process of its own.
pub(super) fn run(task: &Task<'_>, interrupts: &Interrupts) -> Result<Ended, RerunError> {
    let failed = |source| RerunError::Process { source };
    let complaints = task.home.join("complaints");
    let answer = task.home.join("answer");
    let mut command = Command::new(task.madmall);
    command
        .args([
            COMMAND,
            "--root",
            task.root.as_str(),
            "--payload",
            task.payload.as_str(),
        ])
        .args(["--jobs", &task.jobs.to_string()])
        .args(
            task.bounds
                .readable
                .iter()
                .flat_map(|path| ["--readable", path.as_str()]),
        )
        .args(task.bounds.never.iter().flat_map(|path| ["--never", path.as_str()]))
        .args(
            task.bounds
                .projects
                .iter()
                .flat_map(|path| ["--project", path.as_str()]),
        )
        .args(task.bounds.home.iter().flat_map(|path| ["--home", path.as_str()]))
        .current_dir(task.home)
        .env_clear()
        .envs(surroundings(task))
        .stdin(Stdio::null())
        .stdout(File::create(&answer).map_err(failed)?)
        .stderr(File::create(&complaints).map_err(failed)?);
    own_group(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    let status = wait(&mut child, interrupts).map_err(failed)?;
    if interrupts.is_requested() {
        return Err(RerunError::Interrupted);
    }
    let answer = read_text(&answer).map_err(failed)?;
    match serde_json::from_str(answer.trim_end()) {
        Ok(Ended::Interrupted) => Err(RerunError::Interrupted),
        Ok(ended) => Ok(ended),
        Err(_) => {
            let complaints = read_text(&complaints).unwrap_or_default();
            let last = complaints.lines().next_back().unwrap_or("it said nothing");
            Err(failed(io::Error::other(format!("it ended with {status}: {last}"))))
        }
    }
}

/// The variables of the process: the secrets of the stage, and everything else otherwise than here. What the receipt has of others only
/// the stage's own program is given: by some of them any program can be made to do something else, and this one is confined by nothing.
fn surroundings(task: &Task<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("HOME".to_owned(), task.home.to_string()),
        ("TMPDIR".to_owned(), task.home.to_string()),
        ("TZ".to_owned(), "Asia/Kathmandu".to_owned()),
        ("LANG".to_owned(), "tr_TR.UTF-8".to_owned()),
        ("LC_ALL".to_owned(), "tr_TR.UTF-8".to_owned()),
        ("MADMALL_RERUN".to_owned(), "1".to_owned()),
    ]);
    let stage = task.recipe.stage();
    for name in stage.secrets.iter().map(String::as_str).chain(["PATH"]) {
        if let Some(value) = task.environment.get(name) {
            variables.insert(name.to_owned(), value.clone());
        }
    }
    let is_ingest = matches!(&stage.command, PlannedCommand::Builtin { name, .. } if name == ingest::BUILTIN.name);
    if let Some(secret) = task.secret.filter(|_| is_ingest || stage.is_personal()) {
        variables.insert(SECRET.to_owned(), secret.to_text().to_string());
    }
    variables
}

/// The variables that the stage's program may be given: those of this process, and what the receipt has.
fn recorded(environment: &BTreeMap<String, String>, recipe: &Recipe) -> BTreeMap<String, String> {
    let mut variables = environment.clone();
    for (name, value) in recipe.stage().env.iter().zip(&recipe.resolved.env) {
        match value {
            Some(value) => variables.insert(name.clone(), value.clone()),
            None => variables.remove(name),
        };
    }
    variables
}

/// Waits for the process; the user's interrupts are handed on to it.
fn wait(child: &mut Child, interrupts: &Interrupts) -> io::Result<std::process::ExitStatus> {
    let mut pause = Duration::from_millis(1);
    let mut told = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        interrupts.poll();
        let wanted = u8::from(interrupts.is_requested()) + u8::from(interrupts.is_at_once());
        if told < wanted {
            told += 1;
            terminate(child);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(25));
    }
}

#[cfg(unix)]
fn own_group(command: &mut Command) {
    use std::os::unix::process::CommandExt as _;
    // Ctrl-C goes to this process alone, which hands it on: else the other would take it for two.
    command.process_group(0);
}

#[cfg(not(unix))]
fn own_group(_command: &mut Command) {}

#[cfg(unix)]
fn terminate(child: &Child) {
    use rustix::process::{Pid, Signal, kill_process};
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // It may have ended by itself; that is as good.
        let _ = kill_process(pid, Signal::TERM);
    }
}

#[cfg(not(unix))]
fn terminate(_child: &Child) {}

fn read_text(path: &Utf8Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the process itself does. Nothing is printed; the answer is for the caller to print.
///
/// # Errors
///
/// A sentence, if the stage could not be begun.
pub fn run_stage(
    root: &Utf8Path,
    payload: &Utf8Path,
    jobs: usize,
    environment: &BTreeMap<String, String>,
    secret: Option<&ConsentSecret>,
    bounds: &Bounds,
) -> Result<Ended, String> {
    vary_process();
    let text = |error: &dyn std::error::Error| with_causes(error);
    let interrupts = Interrupts::listen().map_err(|error| text(&error))?;
    let payload = fs::read(payload).map_err(|error| text(&error))?;
    let statement = Statement::parse(&payload).map_err(|error| text(&error))?;
    let mut recipe = Recipe::of(&statement)?;
    let workspace = Workspace::at(root.to_owned());
    for unlisted in recipe.unlisted.clone() {
        let files = find_files(&workspace, &unlisted.path).unwrap_or_default();
        let files: Vec<SharedPath> = files.into_iter().map(|(path, _)| path.into()).collect();
        recipe.list(&unlisted.input, &files);
    }
    let store = Store::of(root).keyed_by(secret.map(PersonalKey::of));
    store.create().map_err(|error| text(&error))?;
    let key = SigningKey::generate().map_err(|error| text(&error))?;
    let trust = Trust::own_key(&key.public());
    let environment = recorded(environment, &recipe);
    let session = Session::open(
        SessionInputs {
            plan: &recipe.plan,
            workspace: &workspace,
            store: &store,
            key: &key,
            // Only to know what is withdrawn by its token. Which events were let in is nobody's to say but the run's that is compared with.
            secret,
            trust: &trust,
            environment: &environment,
            clock: &jiff::Timestamp::now,
            nonce: 0,
            options: RunOptions {
                jobs,
                on_failure: OnFailure::Stop,
                cache: CacheMode::Bypass,
                record: Record::WhenSomethingRan,
                rigour: Rigour::EveryByte,
            },
            interrupts: &interrupts,
            looks: None,
            bounds,
            plan_kept: None,
        },
        Caches::default(),
    )
    .map_err(|error| text(&error))?;
    let run = session.run(&[StageId::new(0)], &mut Silent);
    let run = match run {
        Ok(run) => run,
        Err(error) => return Ok(Ended::Broken(text(&error))),
    };
    let outcome = run.stages.into_iter().next().map(|stage| stage.report.outcome);
    Ok(match outcome {
        Some(StageOutcome::Ran { .. }) => Ended::Ran { run: run.id },
        Some(StageOutcome::Failed(failure)) if is_for_lack(&failure) => {
            Ended::Broken(failure_text(&failure, &workspace))
        }
        Some(StageOutcome::Failed(failure)) => Ended::Failed(failure_text(&failure, &workspace)),
        Some(StageOutcome::Broken(error)) => Ended::Broken(text(&*error)),
        _ => Ended::Interrupted,
    })
}

/// Another umask than the one that was inherited; and an end with the process that asked for it.
fn vary_process() {
    #[cfg(unix)]
    {
        use rustix::fs::Mode;
        let other = Mode::from_raw_mode(0o077);
        if rustix::process::umask(other) == other {
            rustix::process::umask(Mode::from_raw_mode(0o022));
        }
    }
    #[cfg(target_os = "linux")]
    {
        // Without it, a stage would go on when nobody waits for it any more.
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM));
    }
}

/// In one line: how it failed, and the last that it said.
/// Whether it failed only for want of what is not at hand here, which is no word on what was recorded.
fn is_for_lack(failure: &Failure) -> bool {
    matches!(&failure.kind, FailureKind::Refused(refusal) if refusal.is_for_lack)
}

fn failure_text(failure: &Failure, workspace: &Workspace) -> String {
    let how = match &failure.kind {
        kind @ FailureKind::TimedOut { .. } => kind.to_string(),
        FailureKind::Ended(ended) => ended.to_string(),
        FailureKind::Refused(refusal) => return format!("it refused: {}", refusal.summary),
        FailureKind::Breaches(breaches) => match breaches.first() {
            Some(breach) => return breach.to_string(),
            None => "it broke its declaration".to_owned(),
        },
        FailureKind::InputChanged(path) => return format!("its input `{path}` changed while it ran"),
    };
    let log = read_text(&workspace.absolute(&failure.log)).unwrap_or_default();
    match log.lines().next_back() {
        Some(last) => format!("it {how}; the last line of its log: {last}"),
        None => format!("it {how}"),
    }
}

/// Whoever runs a stage again wants to know how it ended, and no more.
struct Silent;

impl Observer for Silent {
    fn event(&mut self, _event: Event<'_>) {}
}

/// The file of the receipts of the run `run` below `root`.
pub(super) fn receipts_of(root: &Utf8Path, run: &str) -> Utf8PathBuf {
    root.join("runs")
        .join(format!("{run}{}", crate::receipt::run_file::RUN_FILE_SUFFIX))
}
