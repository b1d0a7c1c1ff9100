//! A worker: takes stages from the queue, one after the other, and tells the owner what came of each.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use super::event::StageOutcome;
use super::inbox::Outbox;
use super::stage::{Brought, Said, Upstream, Wanted, bring_up_to_date};
use super::{OnFailure, Session};
use crate::plan::StageId;

/// What a worker is given to do.
pub(super) struct Task {
    pub(super) stage: StageId,
    pub(super) wanted: Wanted,
    /// What the stages before have given.
    pub(super) upstream: Upstream,
}

/// What a worker tells.
pub(super) enum Message {
    /// Of a stage that it is at.
    Said(StageId, Said),
    /// It is done with this stage.
    Brought(StageId, Brought),
    /// It was not begun: the run is over.
    Returned(StageId),
    /// A worker is lost, by a fault of this program.
    Panicked,
}

/// What workers and the owner know of each other without a message.
#[derive(Default)]
pub(super) struct Shared {
    /// How many stages workers are done with of which the owner has not heard yet.
    pub(super) brought: AtomicUsize,
    /// How many stages wait in the queue.
    pub(super) queued: AtomicUsize,
    /// Whether no stage may begin any more that waits in the queue.
    is_over: AtomicBool,
}

/// Tells the owner that a worker panics: it would wait for its stage for ever.
struct Alarm<'a>(&'a Outbox<Message>, &'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.is_over.store(true, Ordering::Relaxed);
            self.0.leave(Message::Panicked);
            self.0.ring();
        }
    }
}

/// Does what is in the `queue` until there is nothing to come.
pub(super) fn work(session: &Session<'_>, queue: &Mutex<Receiver<Task>>, owner: &Outbox<Message>, shared: &Shared) {
    let _alarm = Alarm(owner, shared);
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(task) = next else { return };
        // What was left for the owner is heard before the queue is empty: while there is something in it, nobody waits for the owner.
        if shared.queued.fetch_sub(1, Ordering::Relaxed) == 1 {
            owner.ring();
        }
        let say = |said| owner.leave(Message::Said(task.stage, said));
        if shared.is_over.load(Ordering::Relaxed) {
            owner.leave(Message::Returned(task.stage));
            owner.ring();
            continue;
        }
        let what = bring_up_to_date(session, (task.stage, &task.wanted), &task.upstream, &say);
        // What waits in the queue is there before the owner hears of a failure.
        if let Brought::Done(done) = &what
            && is_the_last(&done.report.outcome, session.options.on_failure)
        {
            shared.is_over.store(true, Ordering::Relaxed);
        }
        // First, so that the owner never hears of more than it has counted.
        shared.brought.fetch_add(1, Ordering::Relaxed);
        owner.leave(Message::Brought(task.stage, what));
        if shared.queued.load(Ordering::Relaxed) == 0 {
            owner.ring();
        }
    }
}

/// Whether nothing begins any more after a stage has ended like this: what fails for the machine's sake would fail again for the next.
pub(super) fn is_the_last(outcome: &StageOutcome, on_failure: OnFailure) -> bool {
    match outcome {
        StageOutcome::Failed(_) => on_failure == OnFailure::Stop,
        StageOutcome::Broken(_) | StageOutcome::Interrupted => true,
        _ => false,
    }
}
