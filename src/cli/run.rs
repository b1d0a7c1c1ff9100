//! `madmall run`: bring a pipeline up to date.

use std::time::Instant;

use camino::Utf8Path;
use serde_json::json;

use super::ndjson::Json;
use super::numbers::jobs;
use super::opened::{Opened, find_workspace, open_kept, open_noting, overrides};
use super::plan::{PlanArguments, plan};
use super::progress::Lines;
use super::runs::Signer;
use super::settled::Question;
use super::summary::{exit_code, summarize};
use super::surroundings::{Surroundings, random};
use super::terminal::{Failure, Terminal, environment, with_causes};
use super::{PipelineArgument, SetArguments, threads};
use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::exec::event::{Event, Note, Observer};
use crate::exec::interrupt::Interrupts;
use crate::exec::pending::recover;
use crate::exec::{
    CacheMode, Caches, OnFailure, PlanKept, Record, Run, RunOptions, Session, SessionInputs, has_ingest, runs_folder,
};
use crate::exit_code::ExitCode;
use crate::plan::{Overrides, Stage, StageId};
use crate::store::lock::WorkspaceLock;
use crate::store::looks::{Looks, Rigour};
use crate::store::plans::{self, Resolved};
use crate::store::{Store, StoreError, atomic};
use crate::workspace::Workspace;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
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
    #[arg(short, long, value_name = "N", value_parser = jobs, allow_negative_numbers = true)]
    jobs: Option<u16>,
    /// Run every selected stage, and what it reads from, without asking what is up to date
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

    /// Whether an earlier run may be all the answer.
    fn is_plain(&self) -> bool {
        !self.force && !self.record
    }

    fn options(&self) -> RunOptions {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        RunOptions {
            jobs: self.jobs.map_or_else(cores, usize::from),
            on_failure: match self.fail_fast {
                true => OnFailure::Stop,
                false => OnFailure::KeepGoing,
            },
            cache: match self.force {
                true => CacheMode::Bypass,
                false => CacheMode::Use,
            },
            record: match self.record {
                true => Record::Always,
                false => Record::WhenSomethingRan,
            },
            rigour: self.rigour(),
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
    // That every file is as it was is asked by several.
    if arguments.strict {
        threads::start(surroundings)?;
    }
    let signer = Signer::if_any(surroundings)?;
    if let Some(signer) = signer.as_ref().filter(|_| arguments.is_plain())
        && question.answer(&workspace, signer, surroundings, began, terminal)?
    {
        return Ok(ExitCode::Success);
    }
    threads::start(surroundings)?;
    let asked = Asked {
        arguments,
        surroundings,
        question,
        looks: Looks::begin(),
    };
    let mut prepared = asked.prepare(workspace, &overrides, signer, terminal)?;
    let interrupts = Interrupts::listen().map_err(|error| environment(&error))?;
    let Some(run) = asked.carry_out(&mut prepared, &interrupts, terminal)? else {
        return Ok(interrupts.exit_code());
    };
    let code = exit_code(&run, &interrupts);
    match arguments.json {
        true => terminal.result(json!({
            "version": 1, "event": "finished", "run": run.id, "receipts": run.receipts, "exitCode": code.number(),
        })),
        false => summarize(&run, &prepared.signer.key, began, code, terminal),
    }
    // The process ends: what thousands of stages take is not freed piece by piece.
    std::mem::forget((run, prepared, asked));
    Ok(code)
}

/// A run that was asked for, and is not answered by an earlier one.
struct Asked<'a> {
    arguments: &'a RunArguments,
    surroundings: &'a Surroundings,
    question: Question<'a>,
    /// What it looks at.
    looks: Looks,
}

/// What a run needs before it may begin.
struct Prepared {
    opened: Opened,
    store: Store,
    selected: Vec<StageId>,
    signer: Signer,
    secret: Option<ConsentSecret>,
    /// How the pipeline was.
    resolved: Resolved,
    caches: Caches,
}

impl Asked<'_> {
    /// Resolves the pipeline, and gets what it takes to sign; nobody else is waited for yet.
    fn prepare(
        &self,
        workspace: Workspace,
        overrides: &Overrides,
        signer: Option<Signer>,
        terminal: &mut Terminal,
    ) -> Result<Prepared, Failure> {
        let (surroundings, file) = (self.surroundings, self.question.file);
        let (mut opened, resolved, caches) = match self.question.rigour {
            Rigour::Stamps => {
                let asked = (file, overrides);
                open_remembered(surroundings, workspace, asked, signer.as_ref(), &self.looks, terminal)?
            }
            Rigour::EveryByte => {
                let opened = open_noting(surroundings, workspace, file, overrides, &self.looks, terminal)?;
                (opened, Resolved::Anew, Caches::default())
            }
        };
        let selected = opened.select(self.question.stages)?;
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
        let store = Store::of(opened.workspace.root()).keyed_by(personal_key);
        Ok(Prepared {
            opened,
            store,
            selected,
            signer,
            secret,
            resolved,
            caches,
        })
    }

    /// Runs what was selected, once nobody else runs here; `None` if the user did not want to wait.
    fn carry_out(
        &self,
        prepared: &mut Prepared,
        interrupts: &Interrupts,
        terminal: &mut Terminal,
    ) -> Result<Option<Run>, Failure> {
        let (opened, store) = (&prepared.opened, &prepared.store);
        let observer: Box<dyn Observer + '_> = match self.arguments.json {
            true => Box::new(Json {
                terminal,
                plan: &opened.plan,
            }),
            false => Box::new(Lines::new(terminal, &opened.plan, &opened.workspace)),
        };
        let mut observer = Attentive { observer, told: false };
        let (lock, has_waited) = take_lock(store, opened, interrupts, &mut observer)?;
        let Some(_lock) = lock else {
            return Ok(None);
        };
        // While this run waited for another, the key may have been replaced.
        if has_waited && let Some(signer) = Signer::if_any(self.surroundings)? {
            prepared.signer = signer;
        }
        let Signer { key, trust } = &prepared.signer;
        if !prepared.signer.is_believed() {
            observer.event(Event::Note(Note::NotBelieved {
                keyid: key.public().keyid().short(),
            }));
        }
        atomic::remove_folder(&store.scratch_folder()).map_err(|error| environment(&error))?;
        let recovered = recover(store, &runs_folder(&opened.workspace), key).map_err(|error| environment(&error))?;
        for run in recovered.runs {
            observer.event(Event::Note(Note::Recovered { run }));
        }
        for path in recovered.aside {
            let path = path.strip_prefix(opened.workspace.root()).unwrap_or(&path).to_owned();
            observer.event(Event::Note(Note::PutAside { path }));
        }
        let caches = std::mem::take(&mut prepared.caches);
        let session = self.open_session(prepared, caches, interrupts)?;
        let run = session
            .run(&prepared.selected, &mut observer)
            .map_err(|error| environment(&error))?;
        let secret = prepared.secret.as_ref();
        if run.receipts.is_some() {
            self.question.forget(store, trust, secret);
        }
        if !observer.told && self.arguments.is_plain() {
            let signer = &prepared.signer;
            let kept = self
                .question
                .remember(&run, opened, &self.looks, signer, secret, self.surroundings);
            kept.unwrap_or_else(|error| tell_not_kept(&error, &mut observer));
        }
        Ok(Some(run))
    }

    /// How the resolved pipeline is remembered.
    fn plan(&self) -> plans::Asked<'_> {
        plans::Asked {
            pipeline: self.question.file,
            values: self.question.values,
        }
    }

    fn open_session<'s>(
        &'s self,
        prepared: &'s Prepared,
        caches: Caches,
        interrupts: &'s Interrupts,
    ) -> Result<Session<'s>, Failure> {
        let inputs = SessionInputs {
            plan: &prepared.opened.plan,
            workspace: &prepared.opened.workspace,
            store: &prepared.store,
            key: &prepared.signer.key,
            secret: prepared.secret.as_ref(),
            trust: &prepared.signer.trust,
            environment: &self.surroundings.environment,
            clock: &self.surroundings.clock,
            nonce: random()?,
            options: self.arguments.options(),
            interrupts,
            looks: Some(&self.looks),
            bounds: &prepared.opened.bounds,
            plan_kept: Some(PlanKept {
                asked: self.plan(),
                resolved: &prepared.resolved,
            }),
        };
        Session::open(inputs, caches).map_err(|error| environment(&error))
    }
}

/// Resolves the pipeline, unless it is remembered, and reads beside that what earlier runs of this `signer` have kept.
fn open_remembered(
    surroundings: &Surroundings,
    workspace: Workspace,
    asked: (&Utf8Path, &Overrides),
    signer: Option<&Signer>,
    looks: &Looks,
    terminal: &mut Terminal,
) -> Result<(Opened, Resolved, Caches), Failure> {
    let (of, store) = (workspace.clone(), Store::of(workspace.root()));
    let plan = plans::Asked {
        pipeline: asked.0,
        values: asked.1.said(),
    };
    let mut caches = Caches::default();
    let signer = signer.map(|signer| (&signer.key, &signer.trust));
    let (opened, resolved) = rayon::in_place_scope(|scope| {
        scope.spawn(|_| caches = Caches::read(&store, &of, plan, signer));
        let key = signer.map(|(key, _)| key);
        open_kept(surroundings, workspace, asked, key, looks, terminal)
    })?;
    Ok((opened, resolved, caches))
}

/// What only spares the next run some work is no reason to fail.
fn tell_not_kept(error: &StoreError, observer: &mut dyn Observer) {
    let why = with_causes(error);
    observer.event(Event::Note(Note::NotKept { why }));
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
    let lock = WorkspaceLock::take(store, &holder, &mut waiting).map_err(|error| environment(&error))?;
    Ok((lock, told))
}
