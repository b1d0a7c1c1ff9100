//! `verify --rerun` and `madmall rerun`: what receipts tell of is made again, and compared bit for bit.

mod said;

use camino::{Utf8Path, Utf8PathBuf};

use self::said::{Said, findings, state};
use super::bounds::{Apart, bounds};
use super::numbers::jobs;
use super::opened::find_workspace;
use super::runs;
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment, shown, with_causes};
use super::verify::{resolve_in_words, trusted};
use crate::exec::interrupt::Interrupts;
use crate::exec::sandbox::Bounds;
use crate::exit_code::ExitCode;
use crate::git;
use crate::receipt::statement::Role;
use crate::rerun::{AttestError, Origin, Request, RerunError, attest, run_stage, temporary_folder};
use crate::store::Store;
use crate::store::lock::WorkspaceLock;
use crate::verify::report::{Code, Finding, Report, RerunStage, RerunVerdict, Severity, State};
use crate::verify::{self, Rested, VerifyError, What};
use crate::workspace::Workspace;

/// Arguments of `rerun`.
#[derive(clap::Args)]
pub(super) struct RerunArguments {
    /// A receipt (sha256:… or at least eight digits), or a run: its id, a beginning of it, its file, `latest` or `latest~1`
    #[arg(value_name = "RECEIPT|RUN")]
    what: String,
    /// Where to put what comes out: a folder that is not there yet (default: `rerun-` and RECEIPT|RUN as typed)
    #[arg(short, long, alias = "out", value_name = "FOLDER")]
    output: Option<Utf8PathBuf>,
    /// Believe this key, instead of your own policy
    #[arg(long, value_name = "KEY")]
    trust: Option<String>,
    /// How many threads a built-in stage may use (default: another number than a run takes)
    #[arg(short, long, value_name = "N", value_parser = jobs, allow_negative_numbers = true)]
    jobs: Option<u16>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of the hidden command that runs one stage.
#[derive(clap::Args)]
pub(super) struct StageArguments {
    #[arg(long)]
    root: Utf8PathBuf,
    #[arg(long)]
    payload: Utf8PathBuf,
    #[arg(long)]
    jobs: u16,
    #[arg(long)]
    readable: Vec<Utf8PathBuf>,
    #[arg(long)]
    never: Vec<Utf8PathBuf>,
    #[arg(long)]
    project: Vec<Utf8PathBuf>,
    #[arg(long)]
    home: Option<Utf8PathBuf>,
}

/// What `verify --rerun` is to make again.
pub(super) struct Wanted<'a> {
    /// Where.
    pub(super) workspace: &'a Workspace,
    /// What the answer rests on.
    pub(super) receipts: &'a [Rested],
    /// The commit that was asked for.
    pub(super) at: Option<&'a str>,
    /// How many threads.
    pub(super) jobs: Option<u16>,
}

/// Runs one stage in this process, for the process that asked for it.
pub(super) fn stage(
    arguments: &StageArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let jobs = usize::from(arguments.jobs);
    let bounds = Bounds {
        readable: arguments.readable.clone(),
        never: arguments.never.clone(),
        projects: arguments.project.clone(),
        home: arguments.home.clone(),
    };
    // It is given to an ingest, and to nothing else.
    let secret = surroundings.secret_if_any()?;
    let ended = run_stage(
        &arguments.root,
        &arguments.payload,
        jobs,
        &surroundings.environment,
        secret.as_ref(),
        &bounds,
    )
    .map_err(|why| Failure::new(ExitCode::Environment, why, None))?;
    terminal.result(serde_json::to_string(&ended).expect("texts have a spelling"));
    Ok(ExitCode::Success)
}

/// Makes what the report rests on again, and adds what was found to it.
pub(super) fn join(
    report: &mut Report,
    wanted: &Wanted<'_>,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    let again = Again {
        workspace: wanted.workspace,
        receipts: wanted.receipts,
        origin: Origin::Commit,
        at: wanted.at,
        jobs: wanted.jobs,
        outputs: None,
    };
    let stages = again.run(surroundings, terminal)?;
    report.findings.extend(findings(&stages));
    if state(&stages) == State::Held {
        // What was made just now was compared with what the receipts claim.
        let is_moot = |finding: &Finding| finding.code == Code::Absent && finding.message == verify::NOTHING_COMPARED;
        report.findings.retain(|finding| !is_moot(finding));
    }
    // Stages stay in the order of the plan: the first is the one to look at.
    report.findings.sort_by_key(|finding| finding.severity);
    report.assurance.rerun = state(&stages);
    report.not_checked.retain(|note| !note.starts_with("rerun:"));
    report.not_checked.push(NOT_VARIED.to_owned());
    report.not_checked.extend(failed_before(wanted.receipts));
    report.rerun = Some(stages);
    Ok(())
}

/// The run that is to be countersigned, if that is wanted: it must be named, for `--attest` is about a run as a whole.
pub(super) fn run_to_attest(what: &What, is_wanted: bool) -> Result<Option<String>, Failure> {
    match what {
        _ if !is_wanted => Ok(None),
        What::Run(run) => Ok(Some(run.clone())),
        _ => Err(no_run()),
    }
}

fn no_run() -> Failure {
    let help = "name the run, as `madmall log` lists it: `madmall verify --rerun --attest RUN`";
    Failure::new(
        ExitCode::Refused,
        "`--attest` signs the receipts of one run, and none is named",
        Some(help),
    )
}

/// Countersigns the run, if it came out the same and nothing else is wrong.
pub(super) fn countersign(
    (report, verified): (&Report, &[Rested]),
    run: &str,
    workspace: &Workspace,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<(), Failure> {
    if report.exit_code() != ExitCode::Success || report.assurance.rerun != State::Held {
        terminal.say(format_args!(
            "run `{run}` is not countersigned: it is not verified, or did not come out the same"
        ));
        return Ok(());
    }
    let stages = report.rerun.as_deref().unwrap_or_default();
    let key = surroundings.key(terminal)?;
    let store = Store::of(workspace.root());
    let holder = format!("process {}, verify --attest", std::process::id());
    let interrupts = Interrupts::listen().map_err(|error| environment(&error))?;
    let mut waiting = |_: &str| {
        interrupts.poll();
        !interrupts.is_requested()
    };
    let lock = WorkspaceLock::take(&store, &holder, &mut waiting).map_err(|error| environment(&error))?;
    if lock.is_none() {
        return Err(interrupted(&interrupts));
    }
    match attest(workspace, run, (verified, stages), &key) {
        Ok(path) => {
            let keyid = key.public().keyid().short();
            terminal.say(format_args!("countersigned by your key {keyid}: {path}"));
            Ok(())
        }
        Err(error @ AttestError::Already { .. }) => {
            terminal.say(error);
            Ok(())
        }
        Err(error @ AttestError::NotReproduced { .. }) => Err(Failure::of(ExitCode::Inconclusive, &error)),
        Err(error) => Err(environment(&error)),
    }
}

fn interrupted(interrupts: &Interrupts) -> Failure {
    Failure {
        code: interrupts.exit_code(),
        text: "interrupted; nothing is left of what was run again".to_owned(),
    }
}

const NOT_VARIED: &str = "rerun: path, umask, threads, locale and time zone were varied; the clock and the processor were not, nor \
                          the order in which a folder lists its files where the file system decides it (TMPDIR on a tmpfs does)";

/// Stages that failed the first time are not run again.
fn failed_before(receipts: &[Rested]) -> Vec<String> {
    let failed = receipts
        .iter()
        .filter(|rested| rested.is_asked && !rested.statement.is_stage_success());
    let told = failed.filter_map(|rested| {
        let (stage, _) = rested.statement.stage()?;
        Some(format!(
            "rerun: `{}` failed the first time, and was not run again",
            stage.name
        ))
    });
    told.collect()
}

/// What is to be made again, with what.
struct Again<'a> {
    workspace: &'a Workspace,
    receipts: &'a [Rested],
    origin: Origin,
    at: Option<&'a str>,
    jobs: Option<u16>,
    outputs: Option<&'a Utf8Path>,
}

impl Again<'_> {
    fn run(&self, surroundings: &Surroundings, terminal: &mut Terminal) -> Result<Vec<RerunStage>, Failure> {
        let broken = |why: String| Failure::new(ExitCode::Environment, why, None);
        let interrupts = Interrupts::listen().map_err(|error| broken(with_causes(&error)))?;
        let madmall = std::env::current_exe().map_err(|error| broken(format!("cannot find this program: {error}")))?;
        let madmall = Utf8PathBuf::from_path_buf(madmall)
            .map_err(|path| broken(format!("the path of this program is not UTF-8: {}", path.display())))?;
        let mut bounds = bounds(surroundings, self.workspace, self.workspace)?;
        let apart = Apart::of(&bounds, self.workspace);
        for rested in self.receipts {
            let Some((stage, _)) = rested.statement.stage() else {
                continue;
            };
            surroundings.check_variables(&stage.name, stage.secrets.iter())?;
            let read = rested.statement.dependencies().iter();
            let read = read.filter(|resource| matches!(resource.role(), Role::Input { .. }));
            let named = read
                .chain(&rested.statement.subject)
                .map(|resource| Utf8Path::new(&resource.name));
            apart.check(&stage.name, named)?;
        }
        // What a stage reads of the project, it has in its checkout.
        bounds.never.push(self.workspace.root().join(".madmall"));
        bounds.never.extend(git::folders(self.workspace.root()));
        bounds.projects.push(self.workspace.root().to_owned());
        // One that cannot be read is as good as none: an ingest that needs it says so.
        let secret = surroundings.secret_if_any().ok().flatten();
        let request = Request {
            workspace: self.workspace,
            receipts: self.receipts,
            origin: self.origin,
            at: self.at,
            temporary: &temporary_folder(surroundings.variable("TMPDIR")),
            madmall: &madmall,
            environment: &surroundings.environment,
            secret: secret.as_ref(),
            jobs: self.jobs.map_or_else(other_jobs, usize::from),
            interrupts: &interrupts,
            bounds: &bounds,
            outputs: self.outputs,
        };
        let mut tell = |stage: &str| terminal.say(format_args!("running `{}` again", shown(stage)));
        crate::rerun::rerun(&request, &mut tell).map_err(|error| match error {
            RerunError::Interrupted => interrupted(&interrupts),
            RerunError::Inside { .. } => {
                let help = "set TMPDIR to a folder outside of it, for example `TMPDIR=/var/tmp`";
                Failure::new(ExitCode::Refused, with_causes(&error), Some(help))
            }
            error => broken(with_causes(&error)),
        })
    }
}

/// Another number of threads than a run takes if it is not told: one, unless that is what a run takes.
fn other_jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores > 1 { 1 } else { 2 }
}

/// Makes an old result again.
pub(super) fn rerun(
    arguments: &RerunArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let here = surroundings
        .folder
        .canonicalize_utf8()
        .unwrap_or_else(|_| surroundings.folder.clone());
    let failed = |error: VerifyError| Failure::new(error.exit_code(), with_causes(&error), None);
    let what = runs::receipts_named(&arguments.what, &workspace, &here)?;
    let trust = trusted(arguments.trust.as_deref(), surroundings)?;
    let request = verify::Request {
        site: &workspace,
        what,
        trust: trust.as_ref(),
        pins: &[],
        at: None,
        require_clean: false,
        tokens: None,
        personal: None,
        resolve: &resolve_in_words,
    };
    let (report, receipts) = verify::examine(&request).map_err(failed)?;
    if !receipts.iter().any(|rested| rested.is_asked && rested.is_trusted) {
        let said = Said {
            findings: report.findings.iter().collect(),
            folder: None,
            stages: &[],
        };
        said.tell(arguments.json, terminal);
        return Ok(said.code());
    }
    let name = arguments.what.trim_start_matches("sha256:");
    let name = Utf8Path::new(name).file_name().unwrap_or(name);
    let name = name.split('.').next().unwrap_or(name);
    let folder = here.join(
        arguments
            .output
            .clone()
            .unwrap_or_else(|| format!("rerun-{name}").into()),
    );
    make_folder(&folder)?;
    let again = Again {
        workspace: &workspace,
        receipts: &receipts,
        origin: Origin::Anywhere,
        at: None,
        jobs: arguments.jobs,
        outputs: Some(&folder),
    };
    let stages = again.run(surroundings, terminal);
    let has_outputs = stages.as_ref().is_ok_and(|stages| stages.iter().any(is_made));
    if !has_outputs {
        // Nothing whole is in it.
        let _ = std::fs::remove_dir_all(&folder);
    }
    let stages = stages?;
    let said = Said {
        findings: report
            .findings
            .iter()
            .filter(|finding| is_of_receipts(finding))
            .collect(),
        folder: has_outputs.then_some(&folder),
        stages: &stages,
    };
    said.tell(arguments.json, terminal);
    Ok(said.code())
}

/// Whether it is about the receipts themselves: what lies in place of the outputs says nothing of what is made again.
fn is_of_receipts(finding: &Finding) -> bool {
    let codes = [Code::Json, Code::Signature, Code::Key, Code::Chain, Code::Log];
    codes.contains(&finding.code) && finding.severity != Severity::Warning
}

fn is_made(stage: &RerunStage) -> bool {
    stage.verdict == RerunVerdict::Identical || !stage.outputs.is_empty()
}

fn make_folder(folder: &Utf8Path) -> Result<(), Failure> {
    let parent = folder.parent().unwrap_or(folder);
    let broken = |error: std::io::Error| {
        Failure::new(
            ExitCode::Environment,
            format!("cannot make the folder `{folder}`: {error}"),
            None,
        )
    };
    std::fs::create_dir_all(parent).map_err(broken)?;
    std::fs::create_dir(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Failure::new(
            ExitCode::Refused,
            format!("`{folder}` is there already, and nothing in it is written over"),
            Some("name another folder with `-o`"),
        ),
        _ => broken(error),
    })
}
