//! Which commit has the files that a receipt names: the recorded one, the one asked for, or one found in the history.
//!
//! People run first and commit after, so the commit that a receipt records may not have what was used. A commit fits if
//! it has every definition file with the recorded digests and no source with others, and if its pipeline gives a stage of
//! the recorded definition over just the recorded files. A source that it does not have at all may come from elsewhere:
//! large data is not in git.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};

use super::recipe::{Recipe, source_path};
use crate::commitment::{PersonalKey, Same};
use crate::diagnostic;
use crate::git::{CommitId, CommitTree, Repository};
use crate::listing::ArtifactDigests;
use crate::plan::action::definition_digest;
use crate::plan::{InputSource, Output, Plan, Stage, resolve};
use crate::receipt::statement::Statement;
use crate::shared_path::SharedPath;
use crate::tree::{Below, EntryKind, Tree, TreeError};
use crate::workspace::Workspace;

/// So many commits are looked through for one that fits.
const MOST_COMMITS: usize = 10_000;

/// A pipeline as a commit has it, or why it cannot be resolved.
type Resolved = Rc<Result<Plan, String>>;

/// Finds commits, and remembers what was found.
pub(super) struct Commits<'a> {
    repository: &'a Repository,
    workspace: &'a Workspace,
    at: Option<CommitId>,
    /// What the digests of what is personal are keyed by, if it is known.
    key: Option<PersonalKey>,
    /// Sources that receipts name; what no commit has is seen by the pipeline all the same.
    recorded: BTreeMap<Utf8PathBuf, bool>,
    history: RefCell<Option<Rc<[CommitId]>>>,
    last: RefCell<Option<CommitId>>,
    plans: RefCell<HashMap<(CommitId, Utf8PathBuf), Resolved>>,
}

/// A stage in the plan of a commit.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// Its place.
    pub(super) place: usize,
    /// How far numbers may be off, by the path of the output.
    pub(super) tolerances: BTreeMap<Utf8PathBuf, f64>,
}

/// How well a commit fits.
enum Fit {
    /// It has all the files.
    Whole(Planned),
    /// It has all but some sources, which it does not have at all.
    Partly(Planned),
    /// It has other files; the first of them.
    No(String),
}

impl<'a> Commits<'a> {
    /// Looks in `repository`; `at` is tried after what receipts record. `recorded` are the sources of all receipts, with
    /// their executable bits. What is personal is compared by `key`.
    pub(super) fn of(
        repository: &'a Repository,
        workspace: &'a Workspace,
        at: Option<CommitId>,
        key: Option<PersonalKey>,
        recorded: BTreeMap<Utf8PathBuf, bool>,
    ) -> Self {
        Self {
            repository,
            workspace,
            at,
            key,
            recorded,
            history: RefCell::default(),
            last: RefCell::default(),
            plans: RefCell::default(),
        }
    }

    /// The commit for `recipe`, and its stage in the plan there. The text says why there is none.
    pub(super) fn find(&self, recipe: &Recipe, statement: &Statement) -> Result<(CommitId, Planned), String> {
        let made = statement.internal().made.commit.as_deref();
        let recorded = made.and_then(|hex| self.repository.find_commit(hex));
        let last = *self.last.borrow();
        let mut why = None;
        for commit in [recorded, self.at, last].into_iter().flatten() {
            match self.fits(commit, recipe)? {
                Fit::Whole(planned) | Fit::Partly(planned) => return Ok(self.keep(commit, planned)),
                Fit::No(reason) => why = why.or(Some((commit, reason))),
            }
        }
        let mut partly = None;
        for commit in self.history()?.iter() {
            match self.fits(*commit, recipe)? {
                Fit::Whole(planned) => return Ok(self.keep(*commit, planned)),
                Fit::Partly(planned) => partly = partly.or(Some((*commit, planned))),
                Fit::No(reason) => why = why.or(Some((*commit, reason))),
            }
        }
        match (partly, why) {
            (Some((commit, planned)), _) => Ok(self.keep(commit, planned)),
            (None, Some((commit, reason))) => Err(format!(
                "no commit here has the files that its receipt names; in {}, {reason}",
                &commit.to_string()[..12]
            )),
            (None, None) => Err("there is no commit here".to_owned()),
        }
    }

    fn keep(&self, commit: CommitId, planned: Planned) -> (CommitId, Planned) {
        *self.last.borrow_mut() = Some(commit);
        (commit, planned)
    }

    fn history(&self) -> Result<Rc<[CommitId]>, String> {
        let mut history = self.history.borrow_mut();
        if let Some(commits) = &*history {
            return Ok(Rc::clone(commits));
        }
        let walked = self.repository.history(MOST_COMMITS);
        let commits: Rc<[CommitId]> = walked.map_err(|error| error.to_string())?.into();
        *history = Some(Rc::clone(&commits));
        Ok(commits)
    }

    fn fits(&self, commit: CommitId, recipe: &Recipe) -> Result<Fit, String> {
        let tree = self.repository.tree(commit).map_err(|error| error.to_string())?;
        let digests = |path: &Utf8Path| tree.file_digests(path).map_err(|error| error.to_string());
        for file in &recipe.plan.definition_files {
            match digests(&file.path)? {
                Some(found) if found == file.digests => {}
                Some(_) => return Ok(Fit::No(format!("`{}` has other bytes", file.path))),
                None => return Ok(Fit::No(format!("there is no `{}`", file.path))),
            }
        }
        let mut is_whole = true;
        for file in recipe.needed.iter().filter(|file| file.made_by.is_none()) {
            match digests(&file.path)?.map(ArtifactDigests::File) {
                Some(found) if found.compare(&file.digests, self.key.as_ref()) == Same::Yes => {}
                Some(_) => return Ok(Fit::No(format!("`{}` has other bytes", file.path))),
                None => is_whole = false,
            }
        }
        match self.gives(commit, &tree, recipe) {
            Ok(planned) if is_whole => Ok(Fit::Whole(planned)),
            Ok(planned) => Ok(Fit::Partly(planned)),
            Err(reason) => Ok(Fit::No(reason)),
        }
    }

    /// The stage of `recipe` in the pipeline of `commit`. The text says why not.
    fn gives(&self, commit: CommitId, tree: &CommitTree<'_>, recipe: &Recipe) -> Result<Planned, String> {
        let key = (commit, recipe.plan.pipeline_file.clone());
        let known = self.plans.borrow().get(&key).cloned();
        let plan = known.unwrap_or_else(|| {
            let plan = Rc::new(self.resolve(tree, &recipe.plan.pipeline_file, &self.recorded));
            self.plans.borrow_mut().insert(key, Rc::clone(&plan));
            plan
        });
        let checked = plan.as_ref().as_ref().map_err(String::clone);
        checked.and_then(|plan| planned(plan, recipe)).or_else(|_| {
            // What another receipt names, a pattern of this one may find.
            let sources = recipe.needed.iter().filter(|file| file.made_by.is_none());
            let own = sources.map(|file| (file.path.clone(), file.executable == Some(true)));
            let plan = self.resolve(tree, &recipe.plan.pipeline_file, &own.collect())?;
            planned(&plan, recipe)
        })
    }

    fn resolve(
        &self,
        commit: &CommitTree<'_>,
        file: &Utf8Path,
        recorded: &BTreeMap<Utf8PathBuf, bool>,
    ) -> Result<Plan, String> {
        let overlay = Overlay {
            commit,
            recorded,
            workspace: self.workspace,
        };
        let plan = resolve(&overlay, file).map(|resolution| resolution.plan);
        plan.map_err(|faults| {
            let text = diagnostic::render(&faults.0, false);
            let first = text.lines().next().unwrap_or_default();
            let first = first.strip_prefix("error: ").unwrap_or(first);
            format!("`{file}` cannot be resolved: {first}")
        })
    }
}

/// The stage of `recipe` in `plan`, over the same files. The text says why there is none.
fn planned(plan: &Plan, recipe: &Recipe) -> Result<Planned, String> {
    let file = &recipe.plan.pipeline_file;
    let is_defined = |(_, stage): &(usize, &Stage)| definition_digest(plan, stage) == recipe.definition;
    let mut defined = plan.stages.iter().enumerate().filter(is_defined).peekable();
    if defined.peek().is_none() {
        return Err(format!("`{file}` has no stage with the recorded definition"));
    }
    let has_files = |stage: &Stage| {
        let mut pairs = stage.inputs.iter().zip(&recipe.stage().inputs);
        pairs.all(|(there, here)| match (files(&there.source), files(&here.source)) {
            // Files that no receipt lists are compared where they are brought in.
            (Some(there), Some(here)) => here.is_empty() || there == here,
            _ => true,
        })
    };
    let found = defined.find(|(_, stage)| has_files(stage)).map(|(place, stage)| {
        let tolerance = |output: &Output| Some((output.path.clone(), output.tolerance.as_ref()?.to_f64()));
        Planned {
            place,
            tolerances: stage.outputs.iter().filter_map(tolerance).collect(),
        }
    });
    found.ok_or_else(|| {
        let several = recipe
            .stage()
            .inputs
            .iter()
            .find(|input| files(&input.source).is_some());
        let path = several.map_or_else(String::new, |input| source_path(&input.source).to_string());
        format!("`{path}` has other files than its receipt names")
    })
}

fn files(source: &InputSource) -> Option<&[SharedPath]> {
    match source {
        InputSource::Folder { files, .. } | InputSource::Glob { files, .. } => Some(files),
        _ => None,
    }
}

/// A commit, with the sources that it does not have: those that receipts name, else those that are in the workspace.
/// Only what there is can be seen through it; the bytes that are used are checked elsewhere.
struct Overlay<'a> {
    commit: &'a dyn Tree,
    recorded: &'a BTreeMap<Utf8PathBuf, bool>,
    workspace: &'a Workspace,
}

impl Overlay<'_> {
    fn recorded_kind(&self, path: &Utf8Path) -> Option<EntryKind> {
        if let Some(executable) = self.recorded.get(path) {
            let executable = *executable;
            return Some(EntryKind::File { executable });
        }
        let mut below = self.recorded.range(path.to_owned()..).map(|(path, _)| path);
        // Names that only begin alike may stand before those below it.
        below
            .by_ref()
            .take_while(|other| other.as_str().starts_with(path.as_str()))
            .any(|other| other.starts_with(path))
            .then_some(EntryKind::Folder)
    }
}

impl Tree for Overlay<'_> {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        match self.commit.kind(path)?.or_else(|| self.recorded_kind(path)) {
            Some(kind) => Ok(Some(kind)),
            None => self.workspace.kind(path),
        }
    }

    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError> {
        match self.commit.real_path(path)? {
            Some(real) => Ok(Some(real)),
            None if self.recorded_kind(path).is_some() => Ok(Some(path.to_owned())),
            None => self.workspace.real_path(path),
        }
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        match self.commit.kind(path)? {
            Some(_) => self.commit.read(path, limit),
            None => self.workspace.read(path, limit),
        }
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError> {
        let mut files = self.commit.files_below(folder)?;
        let known: BTreeSet<SharedPath> = files.iter().map(|below| below.path.clone()).collect();
        let is_below = |path: &Utf8Path| folder.as_str().is_empty() || path.starts_with(folder);
        for (path, executable) in self.recorded {
            if is_below(path) && !known.contains(path.as_str()) {
                let executable = *executable;
                files.push(Below::asked(path.as_path(), EntryKind::File { executable }));
            }
        }
        if files.is_empty() {
            return self.workspace.files_below(folder);
        }
        files.sort_by(|a, b| a.path.as_str().cmp(b.path.as_str()));
        Ok(files)
    }
}
