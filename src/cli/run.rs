//! `madmall run`: bring a pipeline up to date.

use std::time::Instant;

use camino::Utf8Path;
use serde_json::json;

use super::ndjson::Json;
use super::opened::{Opened, ToKeep, find_workspace, open_kept, open_noting, overrides};
use super::plan::{PlanArguments, plan};
use super::progress::Lines;
use super::runs::Signer;
use super::settled::Question;
use super::surroundings::Surroundings;
use super::terminal::{DIM, Failure, Terminal, environment, with_causes};
use super::{PipelineArgument, SetArguments};
use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::exec::event::{Event, FailureKind, Note, Observer, StageOutcome};
use crate::exec::interrupt::Interrupts;
use crate::exec::pending::recover;
use crate::exec::{
    CacheMode, Caches, OnFailure, Record, Run, RunOptions, Session, SessionInputs, has_ingest, runs_folder,
};
use crate::exit_code::ExitCode;
use crate::plan::{Overrides, Stage};
use crate::receipt::key::SigningKey;
use crate::receipt::trust::Trust;
use crate::store::lock::WorkspaceLock;
use crate::store::looks::{Looks, Rigour};
use crate::store::{Store, StoreError, atomic, plans};
use crate::workspace::Workspace;

/// Arguments of `run`.
#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct RunArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    set: SetArguments,
    /// Only these stages and what they read from
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// How many stages at once (default: the number of cores)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Run every selected stage, without asking what is up to date
    #[arg(long)]
    force: bool,
    /// After a failure, go on with all stages that do not depend on it (the default)
    #[arg(short, long, conflicts_with = "fail_fast")]
    keep_going: bool,
    /// After a failure, begin no other stage
    #[arg(long)]
    fail_fast: bool,
    /// Only show what would be done
    #[arg(short = 'n', long, conflicts_with = "record")]
    dry_run: bool,
    /// Write a receipt of the run even if nothing had to run (for a release)
    #[arg(long)]
    record: bool,
    /// Hash every file again, whatever the file system says of it
    #[arg(long)]
    strict: bool,
    /// Print events as NDJSON
    #[arg(long)]
    json: bool,
}

impl RunArguments {
    fn rigour(&self) -> Rigour {
        match self.strict {
            true => Rigour::EveryByte,
            false => Rigour::Stamps,
        }
    }
}

/// Passes events on, and remembers whether there was anything to tell besides how stages ended.
struct Attentive<'a> {
    observer: Box<dyn Observer + 'a>,
    told: bool,
}

impl Observer for Attentive<'_> {
    fn event(&mut self, event: Event<'_>) {
        self.told |= matches!(event, Event::Note(_));
        self.observer.event(event);
    }
}

/// Runs the pipeline.
pub(super) fn run(
    arguments: &RunArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    if arguments.dry_run {
        let arguments = PlanArguments::of_dry_run(
            (&arguments.pipeline, &arguments.set),
            &arguments.stages,
            arguments.force,
            arguments.json,
        );
        return plan(&arguments, surroundings, terminal);
    }
    let began = Instant::now();
    let (workspace, file) = find_workspace(&surroundings.folder, &arguments.pipeline.pipeline)?;
    let overrides = overrides(surroundings, &arguments.set)?;
    let question = Question {
        file: &file,
        stages: &arguments.stages,
        values: overrides.said(),
        rigour: arguments.rigour(),
        json: arguments.json,
    };
    let signer = Signer::if_any(surroundings)?;
    if let Some(signer) = signer.as_ref().filter(|_| !arguments.force && !arguments.record)
        && question.answer(&workspace, signer, surroundings, began, terminal)?
    {
        return Ok(ExitCode::Success);
    }
    let looks = Looks::begin();
    let asked = (&*file, &overrides);
    let (mut opened, to_keep, caches) = match arguments.rigour() {
        Rigour::Stamps => open_remembered(surroundings, workspace, asked, signer.as_ref(), &looks, terminal)?,
        Rigour::EveryByte => {
            let opened = open_noting(surroundings, workspace, &file, &overrides, &looks, terminal)?;
            (opened, None, Caches::default())
        }
    };
    let selected = opened.select(&arguments.stages)?;
    let signer = signer.map_or_else(|| Signer::get(surroundings, terminal), Ok)?;
    let secret = match has_ingest(&opened.plan) || opened.plan.stages.iter().any(Stage::is_personal) {
        true => Some(surroundings.secret(terminal)?),
        // It is only asked whether a file is one that another pipeline calls personal: one that cannot be read is as good as none.
        false => surroundings.secret_if_any().ok().flatten(),
    };
    let personal_key = secret.as_ref().map(PersonalKey::of);
    if let Some(key) = &personal_key {
        opened.plan.mask(key);
    }
    let opened = opened;
    let interrupts = Interrupts::listen().map_err(|error| environment(&error))?;
    let store = Store::of(opened.workspace.root()).keyed_by(personal_key);
    store.create().map_err(|error| environment(&error))?;

    let observer: Box<dyn Observer + '_> = match arguments.json {
        true => Box::new(Json {
            terminal,
            plan: &opened.plan,
        }),
        false => Box::new(Lines::new(terminal, &opened.plan, &opened.workspace)),
    };
    let mut observer = Attentive { observer, told: false };
    let (lock, has_waited) = take_lock(&store, &opened, &interrupts, &mut observer)?;
    let Some(_lock) = lock else {
        return Ok(interrupts.exit_code());
    };
    // While this run waited for another, the key may have been replaced.
    let signer = match has_waited {
        true => Signer::if_any(surroundings)?.unwrap_or(signer),
        false => signer,
    };
    let Signer { key, trust } = &signer;
    if !signer.is_believed() {
        observer.event(Event::Note(Note::NotBelieved {
            keyid: key.public().keyid().short(),
        }));
    }
    if let Some(seen) = to_keep {
        let (pipeline, values) = (file.as_path(), overrides.said());
        let asked = plans::Asked { pipeline, values };
        let kept = plans::save(
            &store.plans_folder(),
            asked,
            &key.derive_seal_key(),
            &opened.plan,
            &seen,
        );
        tell_not_kept(kept, &mut observer);
    }
    atomic::remove_folder(&store.scratch_folder()).map_err(|error| environment(&error))?;
    for run in recover(&store, &runs_folder(&opened.workspace), key).map_err(|error| environment(&error))? {
        observer.event(Event::Note(Note::Recovered { run }));
    }
    let session = open_session(
        arguments,
        surroundings,
        &opened,
        &store,
        (key, secret.as_ref(), trust),
        &interrupts,
        (&looks, caches),
    )?;
    let run = session
        .run(&selected, &mut observer)
        .map_err(|error| environment(&error))?;
    if run.receipts.is_some() {
        question.forget(&store, trust);
    }
    if !observer.told && !arguments.force && !arguments.record {
        let kept = question.remember(&run, &opened, &looks, &signer, surroundings);
        tell_not_kept(kept, &mut observer);
    }
    drop(observer);

    let code = exit_code(&run, &interrupts);
    match arguments.json {
        true => terminal.result(json!({
            "version": 1, "event": "finished", "run": run.id, "receipts": run.receipts, "exitCode": code.number(),
        })),
        false => summarize(&run, key, began, code, terminal),
    }
    // The process ends: what thousands of stages take is not freed piece by piece.
    std::mem::forget((run, opened, looks));
    Ok(code)
}

/// Resolves the pipeline, unless it is remembered, and reads beside that what earlier runs of this `signer` have kept.
fn open_remembered(
    surroundings: &Surroundings,
    workspace: Workspace,
    asked: (&Utf8Path, &Overrides),
    signer: Option<&Signer>,
    looks: &Looks,
    terminal: &mut Terminal,
) -> Result<(Opened, ToKeep, Caches), Failure> {
    let (of, store) = (workspace.clone(), Store::of(workspace.root()));
    let mut caches = Caches::default();
    let (opened, to_keep) = rayon::in_place_scope(|scope| {
        scope.spawn(|_| caches = Caches::read(&store, &of, signer.map(|signer| (&signer.key, &signer.trust))));
        let key = signer.map(|signer| &signer.key);
        open_kept(surroundings, workspace, asked, key, looks, terminal)
    })?;
    Ok((opened, to_keep, caches))
}

/// What only spares the next run some work is no reason to fail.
fn tell_not_kept(kept: Result<(), StoreError>, observer: &mut dyn Observer) {
    if let Err(error) = kept {
        let why = with_causes(&error);
        observer.event(Event::Note(Note::NotKept { why }));
    }
}

/// The workspace's lock; none if the user has interrupted. And whether this run has waited for another.
fn take_lock(
    store: &Store,
    opened: &Opened,
    interrupts: &Interrupts,
    observer: &mut dyn Observer,
) -> Result<(Option<WorkspaceLock>, bool), Failure> {
    let holder = format!("process {}, pipeline {}", std::process::id(), opened.plan.pipeline);
    let mut told = false;
    let mut waiting = |holder: &str| {
        if !std::mem::replace(&mut told, true) {
            observer.event(Event::Note(Note::Waiting {
                holder: holder.to_owned(),
            }));
        }
        interrupts.poll();
        !interrupts.is_requested()
    };
    let lock = WorkspaceLock::take(&store.lock_file(), &holder, &mut waiting).map_err(|error| environment(&error))?;
    Ok((lock, told))
}

fn open_session<'a>(
    arguments: &RunArguments,
    surroundings: &'a Surroundings,
    opened: &'a Opened,
    store: &'a Store,
    (key, secret, trust): (&'a SigningKey, Option<&'a ConsentSecret>, &'a Trust),
    interrupts: &'a Interrupts,
    (looks, caches): (&'a Looks, Caches),
) -> Result<Session<'a>, Failure> {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = RunOptions {
        jobs: arguments.jobs.map_or_else(cores, usize::from),
        on_failure: if arguments.fail_fast {
            OnFailure::Stop
        } else {
            OnFailure::KeepGoing
        },
        cache: if arguments.force {
            CacheMode::Bypass
        } else {
            CacheMode::Use
        },
        record: if arguments.record {
            Record::Always
        } else {
            Record::WhenSomethingRan
        },
        rigour: arguments.rigour(),
    };
    let inputs = SessionInputs {
        plan: &opened.plan,
        workspace: &opened.workspace,
        store,
        key,
        secret,
        trust,
        environment: &surroundings.environment,
        clock: &surroundings.clock,
        nonce: random()?,
        options,
        interrupts,
        looks: Some(looks),
        bounds: &opened.bounds,
    };
    Session::open(inputs, caches).map_err(|error| environment(&error))
}

/// Random bits for a run's id.
pub(super) fn random() -> Result<u16, Failure> {
    let mut nonce = [0; 2];
    getrandom::fill(&mut nonce)
        .map_err(|error| Failure::new(ExitCode::Environment, format!("cannot get random bytes: {error}"), None))?;
    Ok(u16::from_le_bytes(nonce))
}

/// How a run ends: by the worst that happened to a stage.
fn exit_code(run: &Run, interrupts: &Interrupts) -> ExitCode {
    if interrupts.is_requested() {
        return interrupts.exit_code();
    }
    let any = |wanted: fn(&StageOutcome) -> bool| run.stages.iter().any(|stage| wanted(&stage.report.outcome));
    let is_refusal = |outcome: &StageOutcome| matches!(outcome, StageOutcome::Failed(failure) if matches!(failure.kind, FailureKind::Refused(_)));
    if any(|outcome| matches!(outcome, StageOutcome::Broken(_))) {
        ExitCode::Environment
    } else if run
        .stages
        .iter()
        .any(|stage| matches!(stage.report.outcome, StageOutcome::Failed(_)) && !is_refusal(&stage.report.outcome))
    {
        ExitCode::StageFailed
    } else if any(|outcome| matches!(outcome, StageOutcome::Failed(_))) {
        ExitCode::Refused
    } else {
        ExitCode::Success
    }
}

fn summary_line(total: usize, parts: &str, began: Instant) -> String {
    let noun = if total == 1 { "stage" } else { "stages" };
    format!("{total} {noun}: {parts} in {:.2} s", began.elapsed().as_secs_f64())
}

/// The last line of a run that found nothing to do.
pub(super) fn up_to_date_summary(total: usize, began: Instant) -> String {
    summary_line(total, &format!("{total} up to date"), began)
}

fn summarize(run: &Run, key: &SigningKey, began: Instant, code: ExitCode, terminal: &mut Terminal) {
    let count = |wanted: fn(&StageOutcome) -> bool| run.stages.iter().filter(|s| wanted(&s.report.outcome)).count();
    let parts = [
        (count(|o| matches!(o, StageOutcome::Ran { .. })), "ran"),
        (
            count(|o| matches!(o, StageOutcome::UpToDate { restored, .. } if !restored.is_empty())),
            "restored",
        ),
        (
            count(|o| matches!(o, StageOutcome::UpToDate { restored, .. } if restored.is_empty())),
            "up to date",
        ),
        (
            count(|o| matches!(o, StageOutcome::Failed(_) | StageOutcome::Broken(_))),
            "failed",
        ),
        (count(|o| matches!(o, StageOutcome::Blocked { .. })), "blocked"),
        (
            count(|o| matches!(o, StageOutcome::NotStarted | StageOutcome::Interrupted)),
            "not done",
        ),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    terminal.result(summary_line(run.stages.len(), &parts.join(", "), began));
    if let Some(path) = &run.receipts {
        let keyid = key.public().keyid().short();
        terminal.result(format_args!(
            "{DIM}receipts: {path} (signed by your key {keyid}){DIM:#}"
        ));
    }
    if matches!(code, ExitCode::Interrupted | ExitCode::Terminated) {
        terminal.say("interrupted; the same command goes on from here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::event::StageReport;
    use crate::exec::scheduler::Finished;
    use crate::stages::Refusal;

    fn run_of(outcomes: Vec<StageOutcome>) -> Run {
        let stages = outcomes.into_iter().map(|outcome| Finished {
            stage: crate::plan::StageId::new(0),
            report: StageReport {
                outcome,
                elapsed: std::time::Duration::ZERO,
                why: Vec::new(),
            },
            given: None,
        });
        Run {
            id: "r".into(),
            stages: stages.collect(),
            receipts: None,
        }
    }

    fn failed(kind: FailureKind) -> StageOutcome {
        let receipt = crate::digest::Sha256::of(b"");
        StageOutcome::Failed(crate::exec::event::Failure {
            receipt,
            kind,
            log: "log".into(),
            advice: crate::exec::event::Advice::default(),
        })
    }

    #[test]
    fn the_exit_code_is_2_only_if_every_failure_is_a_refusal() {
        let refused = || failed(FailureKind::Refused(Refusal::default()));
        let ended = || failed(FailureKind::Ended(crate::exec::process::Ended::Exited(2)));
        let code = |outcomes| exit_code(&run_of(outcomes), &Interrupts::default());
        assert_eq!(code(vec![]), ExitCode::Success);
        assert_eq!(code(vec![refused()]), ExitCode::Refused);
        assert_eq!(code(vec![refused(), ended()]), ExitCode::StageFailed);
        assert_eq!(
            code(vec![ended(), StageOutcome::Broken("x".into())]),
            ExitCode::Environment
        );
    }
}
