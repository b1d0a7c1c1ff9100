//! The one owner of a run's state: gives stages to workers as what they read from is done.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::event::{Event, Note, Observer, StageOutcome, StageReport};
use super::gate::Gate;
use super::inbox::{Inbox, inbox};
use super::machine::memory;
use super::process::{Ending, GRACE};
use super::stage::{Brought, Done, Given, Said, Upstream, Wanted, upstream};
use super::survey::Survey;
use super::worker::{Message, Shared, Task, is_the_last, work};
use super::{ExecError, Session};
use crate::plan::{Stage, StageId};

/// How often the owner looks whether the user has interrupted.
const TICK: Duration = Duration::from_millis(50);

/// Where a stage is.
pub(super) enum State {
    /// It waits for this many stages.
    Waiting { blockers: usize },
    /// A worker has it.
    Running,
    /// It cannot run any more, and is done with next.
    Ending,
    /// It is done with.
    Finished(Box<Finished>),
    /// Not part of this run.
    NotSelected,
}

impl State {
    /// What the stage gave.
    pub(super) fn given(&self) -> Option<&Given> {
        match self {
            Self::Finished(finished) => finished.given.as_ref(),
            _ => None,
        }
    }
}

/// A stage that is done with.
pub struct Finished {
    /// Which.
    pub stage: StageId,
    /// How it ended.
    pub report: StageReport,
    /// What it gave.
    pub given: Option<Given>,
}

/// Brings the `selected` stages (closed under what they read from, in the plan's order) up to date. Gives them back in
/// that order.
///
/// # Errors
///
/// [`ExecError::Thread`] if there is nobody to work: not one thread can be started.
pub fn schedule(
    session: &Session<'_>,
    selected: &[StageId],
    observer: &mut dyn Observer,
) -> Result<Vec<Finished>, ExecError> {
    let (tasks, queue) = channel();
    let (to_owner, inbox) = inbox();
    let queue = Arc::new(Mutex::new(queue));
    let shared = Shared::default();
    let mut owner = std::thread::scope(|scope| {
        // In here, so that it is gone, and no worker waits for a task, if it panics itself.
        let mut owner = Owner::new(session, selected, (tasks, &shared), observer);
        let mut workers = 0;
        let mut spawn = |wanted: usize| {
            while workers < wanted.min(session.options.jobs) {
                let (queue, to_owner, shared) = (Arc::clone(&queue), to_owner.clone(), &shared);
                let work = move || work(session, &queue, &to_owner, shared);
                match std::thread::Builder::new().spawn_scoped(scope, work) {
                    Ok(_) => workers += 1,
                    Err(error) if workers == 0 => return Err(error),
                    // Those that are there do it all.
                    Err(_) => break,
                }
            }
            Ok(())
        };
        owner.run(&inbox, &mut spawn);
        owner
    });
    match owner.nobody_works.take() {
        Some(error) => Err(ExecError::Thread(error)),
        None => Ok(owner.into_finished(selected)),
    }
}

struct Owner<'a, 'o> {
    session: &'a Session<'a>,
    states: Vec<State>,
    dependents: Vec<Vec<StageId>>,
    /// Stages that are done with and make their temporary outputs again, each with those that wait for that.
    remaking: BTreeMap<StageId, Vec<StageId>>,
    /// Those of them that wait themselves, each for so many.
    suspended: BTreeMap<StageId, usize>,
    /// Whether one of them has failed, so that what it gave before is not there any more.
    lost: bool,
    /// Whether any output is temporary.
    has_temporary: bool,
    /// By their places, those that are known to be up to date, until they are finished with.
    known: Vec<Option<Box<Done>>>,
    /// Those whose makers are done with.
    ready: VecDeque<StageId>,
    gate: Gate,
    running: usize,
    tasks: Option<Sender<Task>>,
    shared: &'a Shared,
    observer: &'o mut dyn Observer,
    interrupted: Option<Instant>,
    stopping: bool,
    /// Why there is no worker at all.
    nobody_works: Option<io::Error>,
}

impl<'a, 'o> Owner<'a, 'o> {
    fn new(
        session: &'a Session<'a>,
        selected: &[StageId],
        (tasks, shared): (Sender<Task>, &'a Shared),
        observer: &'o mut dyn Observer,
    ) -> Self {
        let stages = &session.plan.stages;
        let mut states: Vec<State> = stages.iter().map(|_| State::NotSelected).collect();
        let mut dependents = vec![Vec::new(); stages.len()];
        // Only asked for if somebody wants some.
        let wants_memory = stages.iter().any(|stage| stage.limits.memory.is_some());
        let memory = if wants_memory { memory() } else { None };
        let gate = Gate::new(session.plan, session.options.jobs, memory);
        let mut ready = VecDeque::new();
        for id in selected {
            let reads_from = stages[id.index()].reads_from();
            for maker in &reads_from {
                dependents[maker.index()].push(*id);
            }
            if reads_from.is_empty() {
                ready.push_back(*id);
            }
            states[id.index()] = State::Waiting {
                blockers: reads_from.len(),
            };
        }
        Self {
            session,
            states,
            dependents,
            remaking: BTreeMap::new(),
            suspended: BTreeMap::new(),
            lost: false,
            has_temporary: stages.iter().any(has_temporary),
            known: session.as_known(selected),
            ready,
            gate,
            running: 0,
            tasks: Some(tasks),
            shared,
            observer,
            interrupted: None,
            stopping: false,
            nobody_works: None,
        }
    }

    fn run(&mut self, inbox: &Inbox<Message>, spawn: &mut dyn FnMut(usize) -> io::Result<()>) {
        let mut ticked = Instant::now();
        loop {
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.observer.event(Event::Tick);
            }
            self.watch_for_interrupt();
            while let Some(message) = inbox.next() {
                if !self.take(message) {
                    // The other workers finish what they are at, and the panic goes on from here.
                    self.tasks = None;
                    return;
                }
            }
            self.welcome();
            while let Some(id) = self.gate.next() {
                self.start(id, spawn);
            }
            // A worker that is done goes on without waiting until it is heard.
            while !self.stopping
                && !self.has_temporary
                && let Some(id) = self.gate.next_ahead()
            {
                self.start(id, spawn);
            }
            if !self.ready.is_empty() {
                continue;
            }
            if self.running == 0 || self.nobody_works.is_some() {
                // Without tasks to come, the workers end.
                self.tasks = None;
                return;
            }
            inbox.wait(TICK);
        }
    }

    /// Gives whether the workers are all right.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Panicked => return false,
            Message::Said(stage, said) => self.tell(stage, said),
            Message::Returned(stage) => {
                self.stopping = true;
                self.running -= 1;
                self.gate.leave(stage);
                self.finish(stage, report(StageOutcome::NotStarted), None);
            }
            Message::Brought(stage, brought) => {
                self.shared.brought.fetch_sub(1, Ordering::Relaxed);
                self.running -= 1;
                self.gate.leave(stage);
                match brought {
                    Brought::Done(done) => self.finish(stage, done.report, done.given),
                    Brought::Needs(makers) => self.wait_for(stage, makers),
                }
            }
        }
        true
    }

    /// What is up to date needs no slot, and is done with at once; what may have to run goes to the gate. What could not be looked at
    /// yet, because workers wait, stays ready.
    fn welcome(&mut self) {
        if self.stopping || self.lost {
            self.ready.drain(..).for_each(|id| self.gate.come(id));
            return;
        }
        let free = self.session.options.jobs.saturating_sub(self.running);
        let unknown = self.finish_known(free > 0);
        if unknown.is_empty() {
            return;
        }
        let began = Instant::now();
        let survey = Survey {
            session: self.session,
            states: &self.states,
            dependents: &self.dependents,
            is_over: &|may_run| {
                (free > 0 && may_run > 0) || self.shared.brought.load(Ordering::Relaxed) > 0 || began.elapsed() >= TICK
            },
        };
        let mut found = survey.look(unknown.clone());
        for id in unknown.into_iter().rev() {
            self.ready.push_front(id);
        }
        let mut later = VecDeque::new();
        // Each that is finished with makes others ready.
        while let Some(id) = self.ready.pop_front() {
            match found.remove(&id) {
                Some(Some(done)) => self.finish(id, done.report, done.given),
                Some(None) => self.gate.come(id),
                None => later.push_back(id),
            }
        }
        self.ready = later;
    }

    /// Finishes with those that are ready and known to be up to date. Gives those of which nothing is known; no more than the `first`, if a
    /// worker waits for it.
    fn finish_known(&mut self, first: bool) -> Vec<StageId> {
        let mut unknown = Vec::new();
        while let Some(id) = self.ready.pop_front() {
            match self.known.get_mut(id.index()).and_then(Option::take) {
                Some(done) => self.finish(id, done.report, done.given),
                None => unknown.push(id),
            }
            if first && !self.known.is_empty() && !unknown.is_empty() {
                break;
            }
        }
        unknown
    }

    fn start(&mut self, id: StageId, spawn: &mut dyn FnMut(usize) -> io::Result<()>) {
        if self.stopping {
            self.gate.leave(id);
            self.finish(id, report(StageOutcome::NotStarted), None);
            return;
        }
        let read = self.lost.then(|| self.session.plan.stages[id.index()].reads_from());
        if let Some(by) = read.into_iter().flatten().find(|maker| !self.is_good(*maker)) {
            self.gate.leave(id);
            self.finish(id, report(StageOutcome::Blocked { by }), None);
            return;
        }
        let wanted = match self.remaking.get(&id) {
            // It stays finished for all others meanwhile.
            Some(waiting) => Wanted::Outputs { by: waiting.clone() },
            None => {
                self.states[id.index()] = State::Running;
                Wanted::Settled
            }
        };
        self.running += 1;
        self.nobody_works = spawn(self.running).err();
        let task = Task {
            stage: id,
            wanted,
            upstream: self.upstream(id),
        };
        let tasks = self.tasks.as_ref().expect("tasks are taken while stages are started");
        self.shared.queued.fetch_add(1, Ordering::Relaxed);
        tasks.send(task).expect("the queue lives as long as the workers' scope");
    }

    /// A stage has to run, and what it reads was temporary: `makers`, which are done with, make it once more.
    fn wait_for(&mut self, id: StageId, makers: Vec<StageId>) {
        let blockers = makers.len();
        match self.remaking.contains_key(&id) {
            true => drop(self.suspended.insert(id, blockers)),
            false => self.states[id.index()] = State::Waiting { blockers },
        }
        for maker in makers {
            let waiting = self.remaking.entry(maker).or_default();
            waiting.push(id);
            if waiting.len() == 1 {
                self.gate.come(maker);
            }
        }
    }

    /// Removes the temporary outputs of the stages that `id` reads from, if nobody in this run has still to read them. What a
    /// failed stage reads stays, so that it can be tried again.
    fn drop_read(&self, id: StageId) {
        if !self.has_temporary {
            return;
        }
        let stages = &self.session.plan.stages;
        let makers = stages[id.index()].reads_from().into_iter();
        for maker in makers.filter(|maker| has_temporary(&stages[maker.index()])) {
            let is_done = |reader: &StageId| !self.remaking.contains_key(reader) && self.is_good(*reader);
            if !self.remaking.contains_key(&maker) && self.dependents[maker.index()].iter().all(is_done) {
                self.session.drop_temporary(maker, self.states[maker.index()].given());
            }
        }
    }

    /// Whether what the stage gave can be used.
    fn is_good(&self, id: StageId) -> bool {
        let State::Finished(finished) = &self.states[id.index()] else {
            return false;
        };
        matches!(ending_of(&finished.report.outcome, id), ForDependents::Go)
    }

    /// What the stages before have given to `id`.
    fn upstream(&self, id: StageId) -> Upstream {
        upstream(&self.session.plan.stages[id.index()], |maker| {
            self.states[maker.index()].given()
        })
    }

    fn tell(&mut self, stage: StageId, said: Said) {
        match said {
            Said::Started(why) => self.observer.event(Event::Started { stage, why: &why }),
            Said::Progress(progress) => self.observer.event(Event::Progress { stage, progress }),
            Said::Note(note) => self.observer.event(Event::Note(note)),
        }
    }

    /// Notes how a stage ended, and with it what cannot run any more.
    fn finish(&mut self, id: StageId, report: StageReport, given: Option<Given>) {
        let mut ended = vec![(id, report, given)];
        while let Some((id, report, given)) = ended.pop() {
            self.observer.event(Event::Finished {
                stage: id,
                report: &report,
            });
            let ending = ending_of(&report.outcome, id);
            self.stopping |= is_the_last(&report.outcome, self.session.options.on_failure);
            // One that was to make temporary outputs again and did not run is as it was.
            let remade = self.remaking.remove(&id);
            let is_as_before = matches!(report.outcome, StageOutcome::NotStarted | StageOutcome::Blocked { .. });
            if remade.is_none() || !is_as_before {
                self.lost |= remade.is_some() && !matches!(ending, ForDependents::Go);
                self.states[id.index()] = State::Finished(Box::new(Finished {
                    stage: id,
                    report,
                    given,
                }));
            }
            if matches!(ending, ForDependents::Go) {
                self.drop_read(id);
            }
            for dependent in remade.as_ref().unwrap_or(&self.dependents[id.index()]) {
                let is_suspended = remade.is_some() && self.suspended.contains_key(dependent);
                let blockers = match &mut self.states[dependent.index()] {
                    _ if is_suspended => self.suspended.entry(*dependent).or_default(),
                    State::Waiting { blockers } => blockers,
                    _ => continue,
                };
                let outcome = match ending {
                    ForDependents::Go => {
                        *blockers -= 1;
                        if *blockers == 0 {
                            let must_run = self.suspended.remove(dependent).is_some() || remade.is_some();
                            match must_run {
                                true => self.gate.come(*dependent),
                                false => self.ready.push_back(*dependent),
                            }
                        }
                        continue;
                    }
                    ForDependents::Blocked(by) => StageOutcome::Blocked { by },
                    ForDependents::NotStarted => StageOutcome::NotStarted,
                };
                match is_suspended {
                    true => drop(self.suspended.remove(dependent)),
                    false => self.states[dependent.index()] = State::Ending,
                }
                ended.push((*dependent, self::report(outcome), None));
            }
        }
    }

    /// The first interrupt ends programs kindly, so that they can clean up; later, or at the second, they are killed.
    fn watch_for_interrupt(&mut self) {
        let interrupts = self.session.interrupts;
        interrupts.poll();
        if !interrupts.is_requested() {
            return;
        }
        self.stopping = true;
        let since = *self.interrupted.get_or_insert_with(|| {
            self.observer.event(Event::Note(Note::Interrupting));
            Instant::now()
        });
        let ending = match since.elapsed() < GRACE && !interrupts.is_at_once() {
            true => Ending::Terminate,
            false => Ending::Kill,
        };
        self.session.groups.end_all(ending);
    }

    fn into_finished(self, selected: &[StageId]) -> Vec<Finished> {
        let mut states: Vec<Option<State>> = self.states.into_iter().map(Some).collect();
        selected
            .iter()
            .map(|id| match states[id.index()].take() {
                Some(State::Finished(finished)) => *finished,
                // Every stage is finished when the owner returns; if not, nothing may be said of it.
                _ => Finished {
                    stage: *id,
                    report: report(StageOutcome::NotStarted),
                    given: None,
                },
            })
            .collect()
    }
}

fn has_temporary(stage: &Stage) -> bool {
    stage.outputs.iter().any(|output| output.is_temporary)
}

/// What the end of a stage means for those that read from it.
#[derive(Clone, Copy)]
enum ForDependents {
    Go,
    Blocked(StageId),
    NotStarted,
}

fn ending_of(outcome: &StageOutcome, id: StageId) -> ForDependents {
    match outcome {
        StageOutcome::UpToDate { .. } | StageOutcome::Ran { .. } => ForDependents::Go,
        StageOutcome::Failed(_) | StageOutcome::Broken(_) => ForDependents::Blocked(id),
        StageOutcome::Blocked { by } => ForDependents::Blocked(*by),
        StageOutcome::NotStarted | StageOutcome::Interrupted => ForDependents::NotStarted,
    }
}

fn report(outcome: StageOutcome) -> StageReport {
    StageReport {
        outcome,
        elapsed: Duration::ZERO,
        why: Vec::new(),
    }
}
