//! Stages that are up to date, found by all cores: each is looked at as soon as those that it reads from are known to be.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use rayon::ScopeFifo;

use super::Session;
use super::scheduler::State;
use super::stage::{Done, Given, known_up_to_date, upstream};
use crate::plan::StageId;

/// As many stages as this are looked at before other cores are asked to help, and by each together.
const TOGETHER: usize = 16;

/// What was found of the stages that were looked at: that one is up to date; nothing, if it may have to run.
pub(super) type Found = HashMap<StageId, Option<Box<Done>>>;

/// What all cores look at.
pub(super) struct Survey<'s> {
    pub(super) session: &'s Session<'s>,
    /// Where each stage is.
    pub(super) states: &'s [State],
    /// For each stage, those that read from it.
    pub(super) dependents: &'s [Vec<StageId>],
    /// Whether to end it early, of how many stages were found that may have to run.
    pub(super) is_over: &'s (dyn Fn(usize) -> bool + Sync),
}

/// How far it is.
#[derive(Default)]
struct Progress {
    found: Found,
    /// How many stages may have to run.
    may_run: usize,
    /// Of stages of which some makers are known to be up to date, how many are not.
    waiting: HashMap<StageId, usize>,
}

impl Survey<'_> {
    /// Looks at the stages `ready`, and at all that need to wait for nothing else then. Whatever was not looked at, because it was over,
    /// may be looked at by another.
    pub(super) fn look(&self, ready: Vec<StageId>) -> Found {
        let progress = Mutex::default();
        let mut ready = VecDeque::from(ready);
        while ready.len() < TOGETHER
            && !self.is_over(&progress)
            && let Some(id) = ready.pop_front()
        {
            ready.extend(self.look_at(id, &progress));
        }
        if !ready.is_empty() && !self.is_over(&progress) {
            rayon::scope_fifo(|scope| self.share(ready.make_contiguous(), &progress, scope));
        }
        let progress: Progress = progress.into_inner().unwrap_or_else(PoisonError::into_inner);
        progress.found
    }

    /// Gives the stages `ready` to whichever cores are free.
    fn share<'p>(&'p self, ready: &[StageId], progress: &'p Mutex<Progress>, scope: &ScopeFifo<'p>) {
        for part in ready.chunks(TOGETHER) {
            let part = part.to_vec();
            scope.spawn_fifo(move |scope| self.look_beside(&part, progress, scope));
        }
    }

    /// What is ready then comes after all that was ready before: what has to run is mostly among the first.
    fn look_beside<'p>(&'p self, part: &[StageId], progress: &'p Mutex<Progress>, scope: &ScopeFifo<'p>) {
        let mut ready = Vec::new();
        for id in part {
            if self.is_over(progress) {
                return;
            }
            ready.extend(self.look_at(*id, progress));
        }
        self.share(&ready, progress, scope);
    }

    fn is_over(&self, progress: &Mutex<Progress>) -> bool {
        let may_run = progress.lock().unwrap_or_else(PoisonError::into_inner).may_run;
        (self.is_over)(may_run)
    }

    /// Looks at a stage. Gives those that wait for nothing else any more.
    fn look_at(&self, id: StageId, progress: &Mutex<Progress>) -> Vec<StageId> {
        let stage = &self.session.plan.stages[id.index()];
        let lock = || progress.lock().unwrap_or_else(PoisonError::into_inner);
        let upstream = {
            let progress = lock();
            upstream(stage, |maker| self.given(&progress.found, maker))
        };
        let done = known_up_to_date(self.session, id, &upstream).map(Box::new);
        let mut progress = lock();
        let is_known = done.is_some();
        progress.found.insert(id, done);
        if !is_known {
            progress.may_run += 1;
            return Vec::new();
        }
        let has_all = |dependent: &&StageId| {
            let State::Waiting { blockers } = &self.states[dependent.index()] else {
                return false;
            };
            let waiting = progress.waiting.entry(**dependent).or_insert(*blockers);
            *waiting -= 1;
            *waiting == 0
        };
        self.dependents[id.index()].iter().filter(has_all).copied().collect()
    }

    fn given<'f>(&'f self, found: &'f Found, maker: StageId) -> Option<&'f Given> {
        let done = found.get(&maker).and_then(Option::as_ref);
        done.map_or_else(|| self.states[maker.index()].given(), |done| done.given.as_ref())
    }
}
