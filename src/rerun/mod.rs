//! Making results again from their receipts, in a clean checkout, to see whether the same bits come out.
//!
//! ```text
//! receipts ─ recipe ─▶ what to run ─ commit ─▶ whose files ─ checkout ─▶ a root ─ child ─▶ outputs ─ compare ─▶ verdict
//! ```
//!
//! Each stage is run by itself, on the inputs that its receipt names: what a stage before it gave, if that was the same,
//! else the recorded bytes. So the first stage that differs is to blame, and not those after it. `verify` knows nothing of
//! this module; the command line joins what both found.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::exec::interrupt::Interrupts;
use crate::exec::sandbox::Bounds;
use crate::git::{self, CommitId, GitError, Repository};
use crate::listing::{ArtifactDigests, ListedFile};
use crate::receipt::check::is_repository_file;
use crate::receipt::digests::file_digests;
use crate::receipt::statement::Role;
use crate::store::{Store, StoreError, atomic};
use crate::verify::Rested;
use crate::verify::report::{RerunStage, RerunVerdict};
use crate::workspace::Workspace;

mod attest;
mod checkout;
mod child;
mod commit;
mod compare;
mod folders;
mod place;
mod recipe;

pub use attest::{AttestError, attest};
pub use checkout::temporary_folder;
use checkout::{Bench, BringError, Sources};
pub use child::{COMMAND, Ended, run_stage};
use commit::{Commits, Planned};
use compare::Compared;
use recipe::{Needed, Recipe};

/// What is to be made again, and with what.
pub struct Request<'a> {
    /// Where the receipts are from.
    pub workspace: &'a Workspace,
    /// The receipts; with each those that it rests on. Those that are asked about are run, and with them whatever made inputs of
    /// theirs that are no longer here.
    pub receipts: &'a [Rested],
    /// Where files may come from.
    pub origin: Origin,
    /// The commit to take if the one that a receipt names does not have its files.
    pub at: Option<&'a str>,
    /// The folder in which the temporary one is made.
    pub temporary: &'a Utf8Path,
    /// This program.
    pub madmall: &'a Utf8Path,
    /// The caller's variables.
    pub environment: &'a BTreeMap<String, String>,
    /// The consent secret, if there is one: an ingest knows by it what is withdrawn by its token.
    pub secret: Option<&'a ConsentSecret>,
    /// How many threads a built-in stage may use.
    pub jobs: usize,
    /// What the user says by signals.
    pub interrupts: &'a Interrupts,
    /// What programs may use, and what never.
    pub bounds: &'a Bounds,
    /// Where the outputs that were asked about are put, if they are wanted. The folder is empty.
    pub outputs: Option<&'a Utf8Path>,
}

/// Where files may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A commit must have the recorded files.
    Commit,
    /// A commit if there is one that has them, else whatever has the recorded bytes.
    Anywhere,
}

/// Why nothing could be run again: the machine, or the user.
#[derive(Debug, thiserror::Error)]
pub enum RerunError {
    /// The folder for temporary files lies in the workspace, where nothing may be written.
    #[error("the folder for temporary files, `{path}`, lies in the workspace")]
    Inside {
        /// The folder.
        path: Utf8PathBuf,
    },
    /// The folder for temporary files cannot be used.
    #[error("cannot make a temporary folder in `{path}`")]
    Temporary {
        /// The folder.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file could not be written.
    #[error("cannot write `{path}`")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The temporary folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
    /// The process that runs a stage.
    #[error("cannot run the stage in a process of its own")]
    Process {
        /// Why.
        source: io::Error,
    },
    /// The user interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Makes the stages again, in the order of their plan. `tell` is told of each before it runs.
///
/// # Errors
///
/// [`RerunError`] if the machine fails or the user interrupts. Whatever happens, nothing is left behind.
pub fn rerun(request: &Request<'_>, tell: &mut dyn FnMut(&str)) -> Result<Vec<RerunStage>, RerunError> {
    let repository = match git::open(request.workspace.root()) {
        Ok(Some(repository)) => Ok(repository),
        Ok(None) => Err("the workspace is in no git repository".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    let bench = Bench::make(request.temporary, request.workspace)?;
    let mut jobs = prepare(request, repository.as_ref().map_err(String::as_str))?;
    let receipts = request.receipts.iter();
    let mut state = Rerun {
        request,
        repository: repository.as_ref().ok(),
        bench: &bench,
        store: Store::of(request.workspace.root()).keyed_by(request.secret.map(PersonalKey::of)),
        receipts: receipts.map(|rested| (rested.id.to_string(), rested)).collect(),
        verdicts: HashMap::new(),
    };
    state.choose(&mut jobs);
    let mut stages = Vec::new();
    for (number, job) in jobs.iter_mut().filter(|job| job.is_wanted).enumerate() {
        check_interrupt(request.interrupts)?;
        tell(job.name);
        let stage = state.stage(number, job)?;
        state.verdicts.insert(job.rested.id.to_string(), stage.verdict);
        stages.push(stage);
    }
    Ok(stages)
}

fn check_interrupt(interrupts: &Interrupts) -> Result<(), RerunError> {
    interrupts.poll();
    match interrupts.is_requested() {
        true => Err(RerunError::Interrupted),
        false => Ok(()),
    }
}

/// A stage that may be run.
struct Job<'a> {
    rested: &'a Rested,
    name: &'a str,
    is_wanted: bool,
    /// How to run it, or why it cannot be.
    recipe: Result<Recipe, String>,
    commit: Option<CommitId>,
    /// It in the plan of that commit.
    planned: Option<Planned>,
}

/// Finds out how each stage is run and with the files of which commit; in the order of the plan.
fn prepare<'a>(request: &Request<'a>, repository: Result<&Repository, &str>) -> Result<Vec<Job<'a>>, RerunError> {
    let commits = repository.map(|repository| {
        // That it names no commit is said by `verify`.
        let at = request.at.and_then(|revision| repository.resolve_commit(revision).ok());
        let recorded = recorded_sources(request.receipts);
        let key = request.secret.map(PersonalKey::of);
        Commits::of(repository, request.workspace, at, key, recorded)
    });
    let mut seen = BTreeSet::new();
    let mut jobs = Vec::new();
    // A countersignature has the same payload; one that is trusted comes first.
    let mut receipts: Vec<&Rested> = request.receipts.iter().collect();
    receipts.sort_by_key(|rested| !rested.is_trusted);
    for rested in receipts {
        let Some((parameters, _)) = rested.statement.stage() else {
            continue;
        };
        if !rested.statement.is_stage_success() || !seen.insert(rested.id.to_string()) {
            continue;
        }
        let mut job = Job {
            rested,
            name: &parameters.name,
            is_wanted: true,
            recipe: recipe_of(rested),
            commit: None,
            planned: None,
        };
        check_interrupt(request.interrupts)?;
        find_commit(&mut job, commits.as_ref().map_err(|why| *why), request.origin);
        jobs.push(job);
    }
    Ok(in_order(jobs))
}

fn recipe_of(rested: &Rested) -> Result<Recipe, String> {
    match rested.is_trusted {
        true => Recipe::of(&rested.statement),
        // What a stranger's receipt says is not run.
        false => Err("its receipt is by a key that is not trusted".to_owned()),
    }
}

fn find_commit(job: &mut Job<'_>, commits: Result<&Commits<'_>, &str>, origin: Origin) {
    let Ok(recipe) = &job.recipe else { return };
    let found = match commits {
        Ok(commits) => commits.find(recipe, &job.rested.statement),
        Err(why) => Err(why.to_owned()),
    };
    match (found, origin) {
        (Ok((commit, planned)), _) => (job.commit, job.planned) = (Some(commit), Some(planned)),
        (Err(_), Origin::Anywhere) => {}
        (Err(why), Origin::Commit) => job.recipe = Err(why),
    }
}

/// The sources that any receipt names, each with whether it may be executed.
fn recorded_sources(receipts: &[Rested]) -> BTreeMap<Utf8PathBuf, bool> {
    let dependencies = receipts.iter().flat_map(|rested| rested.statement.dependencies());
    let files = dependencies.filter(|dependency| is_repository_file(dependency) && file_digests(dependency).is_some());
    let files = files.filter(|file| !matches!(file.role(), Role::Definition {}));
    let executable = |role: &Role| matches!(role, Role::Member { executable: true, .. });
    files
        .map(|file| (file.name.clone().into(), executable(file.role())))
        .collect()
}

/// The ids of the receipts that made inputs of the stage.
fn makers(rested: &Rested) -> impl Iterator<Item = &str> {
    let dependencies = rested.statement.dependencies().iter();
    dependencies.filter_map(|dependency| match dependency.role() {
        Role::Input { receipt: Some(id), .. } => Some(id.as_str()),
        _ => None,
    })
}

/// Each after those that made its inputs; else as the plan has them.
fn in_order(jobs: Vec<Job<'_>>) -> Vec<Job<'_>> {
    let by_id: HashMap<String, usize> = (0..)
        .zip(&jobs)
        .map(|(index, job)| (job.rested.id.to_string(), index))
        .collect();
    let mut blockers: Vec<BTreeSet<usize>> = Vec::with_capacity(jobs.len());
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (index, job) in jobs.iter().enumerate() {
        let before: BTreeSet<usize> = makers(job.rested).filter_map(|id| by_id.get(id).copied()).collect();
        before.iter().for_each(|maker| dependents[*maker].push(index));
        blockers.push(before);
    }
    let key = |index: usize| {
        let place = jobs[index].planned.as_ref().map_or(usize::MAX, |planned| planned.place);
        (place, jobs[index].name, index)
    };
    let mut ready: BTreeSet<_> = (0..jobs.len())
        .filter(|index| blockers[*index].is_empty())
        .map(key)
        .collect();
    let mut order = Vec::with_capacity(jobs.len());
    while let Some((_, _, index)) = ready.pop_first() {
        order.push(index);
        for dependent in &dependents[index] {
            blockers[*dependent].remove(&index);
            if blockers[*dependent].is_empty() {
                ready.insert(key(*dependent));
            }
        }
    }
    // A receipt's id is a hash of the ids that it names: there is no cycle, and all are in `order`.
    let mut jobs: Vec<Option<Job<'_>>> = jobs.into_iter().map(Some).collect();
    order.into_iter().filter_map(|index| jobs[index].take()).collect()
}

struct Rerun<'a> {
    request: &'a Request<'a>,
    repository: Option<&'a Repository>,
    bench: &'a Bench,
    /// Every receipt, by its id.
    receipts: HashMap<String, &'a Rested>,
    /// The store of the workspace.
    store: Store,
    /// What came of the stages so far, by receipt.
    verdicts: HashMap<String, RerunVerdict>,
}

impl Rerun<'_> {
    /// Marks the stages that are not asked about as not wanted, unless a wanted one needs what they made.
    fn choose(&self, jobs: &mut [Job<'_>]) {
        let sources = Sources {
            commit: None,
            bench: self.bench,
            workspace: self.request.workspace,
            store: &self.store,
        };
        let mut needed: BTreeSet<String> = BTreeSet::new();
        for job in jobs.iter_mut().rev() {
            job.is_wanted = job.rested.is_asked || needed.contains(&job.rested.id.to_string());
            let Ok(recipe) = job.recipe.as_ref().map_err(drop) else {
                continue;
            };
            for file in recipe.needed.iter().filter(|_| job.is_wanted) {
                if let Some(maker) = &file.made_by
                    && sources.find(&file.path, &file.digests).is_none()
                {
                    needed.insert(maker.clone());
                }
            }
            for folder in recipe.unlisted.iter().filter(|_| job.is_wanted) {
                let is_here = || {
                    let files = sources.files_of(folder)?;
                    let mut all = files.iter();
                    let is_here = |file: &ListedFile| {
                        let digests = ArtifactDigests::File(file.digests);
                        sources.find(&file.path, &digests).is_some()
                    };
                    all.all(is_here).then_some(())
                };
                if let Some(maker) = &folder.made_by
                    && is_here().is_none()
                {
                    needed.insert(maker.clone());
                }
            }
        }
    }

    /// Runs one stage and compares what came out.
    fn stage(&self, number: usize, job: &mut Job<'_>) -> Result<RerunStage, RerunError> {
        let mut stage = RerunStage {
            stage: job.name.to_owned(),
            receipt: job.rested.id.to_string(),
            commit: job.commit.map(|commit| commit.to_string()),
            verdict: RerunVerdict::NotCompared,
            reason: None,
            outputs: Vec::new(),
            otherwise: Vec::new(),
        };
        let root = self.bench.root(number, self.request.workspace);
        match self.run(&root, job)? {
            Ok(compared) => {
                stage.verdict = compared.verdict;
                stage.reason = compared.reason;
                stage.outputs = compared.outputs;
                stage.otherwise = compared.otherwise;
            }
            Err(reason) => stage.reason = Some(reason),
        }
        atomic::remove_folder(&root)?;
        Ok(stage)
    }

    /// The inner result is a sentence that says why nothing could be compared.
    fn run(&self, root: &Utf8Path, job: &mut Job<'_>) -> Result<Result<Compared, String>, RerunError> {
        let recipe = match &mut job.recipe {
            Ok(recipe) => recipe,
            Err(why) => return Ok(Err(why.clone())),
        };
        let tree = match (job.commit, self.repository) {
            (Some(commit), Some(repository)) => Some(repository.tree(commit)?),
            _ => None,
        };
        let sources = Sources {
            commit: tree.as_ref(),
            bench: self.bench,
            workspace: self.request.workspace,
            store: &self.store,
        };
        let prepared = sources.list(recipe).and_then(|()| {
            let modes = self.output_modes(recipe);
            let known = |path: &Utf8Path| modes.get(path).copied().unwrap_or_else(|| sources.is_executable(path));
            let fitted = recipe.fit(&known, &job.rested.statement);
            let fitted = fitted.and_then(|()| recipe.check_tools(self.request.environment));
            fitted.map_err(|what| format!("it cannot be run as it was: {what}"))
        });
        if let Err(why) = prepared {
            return Ok(Err(why));
        }
        match sources.bring(recipe, root, self.request.interrupts) {
            Ok(()) => {}
            Err(BringError::Failed(error)) => return Err(error),
            Err(BringError::Missing(what)) => return Ok(Err(self.why_missing(recipe, what))),
        }
        let payload = self.bench.folder().join("payload");
        let bytes = job.rested.statement.to_payload().map_err(|error| RerunError::Process {
            source: io::Error::other(error.to_string()),
        })?;
        atomic::write(&payload, &bytes)?;
        let task = child::Task {
            madmall: self.request.madmall,
            root,
            payload: &payload,
            home: &self.bench.home(),
            environment: self.request.environment,
            secret: self.request.secret,
            recipe,
            jobs: self.request.jobs,
            bounds: self.request.bounds,
        };
        let ended = child::run(&task, self.request.interrupts)?;
        let trial = compare::Trial {
            root,
            recorded: &job.rested.statement,
            sources: &sources,
            tolerances: job.planned.as_ref().map(|planned| &planned.tolerances),
            outputs: self.request.outputs.filter(|_| job.rested.is_asked),
        };
        trial.compare(ended)
    }

    /// Whether the inputs of `recipe` that stages made may be executed, as the receipts of those say.
    fn output_modes(&self, recipe: &Recipe) -> BTreeMap<Utf8PathBuf, bool> {
        let mode = |file: &Needed| {
            let maker = self.receipts.get(file.made_by.as_ref()?)?;
            match maker.statement.subject_named(file.path.as_str())?.role() {
                Role::Output { executable, .. } => Some((file.path.clone(), *executable)),
                _ => None,
            }
        };
        recipe.needed.iter().filter_map(mode).collect()
    }

    /// An input that a stage before made, and that came out otherwise now, is missed for that reason.
    fn why_missing(&self, recipe: &Recipe, what: String) -> String {
        let other = recipe
            .needed
            .iter()
            .filter_map(|file| file.made_by.as_ref())
            .any(|maker| {
                let verdict = self.verdicts.get(maker);
                verdict.is_some_and(|verdict| *verdict != RerunVerdict::Identical)
            });
        match other {
            true => format!("a stage before it came out otherwise, and {what}"),
            false => what,
        }
    }
}
