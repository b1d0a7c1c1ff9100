//! Work on many things side by side, whose results are used in order.
//!
//! ```text
//! calling thread   takes 5 │ uses 1, takes 6 │ uses 2, 3, takes 7, 8 │ …
//! other threads    1 2     │ 3 2             │ 3 4                   │ …
//! ```
//!
//! Only so many are under way at once; nobody waits for others as long as there are some left.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;

use rayon::ThreadPool;

/// Gives each thing that `next` takes from `state` to `work`, on the threads of `pool`, and what comes of it to `consume`, in order and
/// on this thread. No more than `most` are under way at once.
///
/// # Errors
///
/// Whatever `next` and `consume` give.
pub(crate) fn in_order<S, J: Send, R: Send, E>(
    (state, pool, most): (&mut S, &ThreadPool, usize),
    mut next: impl FnMut(&mut S) -> Result<Option<J>, E>,
    work: impl Fn(J) -> R + Sync,
    mut consume: impl FnMut(&mut S, R) -> Result<(), E>,
) -> Result<(), E> {
    let (made, results) = mpsc::channel();
    pool.in_place_scope_fifo(|scope| {
        let mut under_way = InOrder::default();
        loop {
            while under_way.len() < most.max(1)
                && let Some(job) = next(state)?
            {
                let (place, made, work) = (under_way.begin(), made.clone(), &work);
                scope.spawn_fifo(move |_| {
                    // A panic is told here, or its result would be waited for without end.
                    let result = catch_unwind(AssertUnwindSafe(|| work(job)));
                    // Nobody waits for it any more if something failed.
                    let _ = made.send((place, result));
                });
            }
            if under_way.len() == 0 {
                return Ok(());
            }
            let (place, result) = results.recv().expect("a sender is kept here");
            under_way.end(place, result);
            while let Some(result) = under_way.next() {
                consume(state, result.unwrap_or_else(|panic| resume_unwind(panic)))?;
            }
        }
    })
}

/// What is begun in one order, ends in any, and is used in the first.
struct InOrder<T> {
    /// The place of the first of those below.
    first: usize,
    /// What was begun and is not used yet; nothing where it has not ended.
    ended: VecDeque<Option<T>>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            first: 0,
            ended: VecDeque::new(),
        }
    }
}

impl<T> InOrder<T> {
    fn len(&self) -> usize {
        self.ended.len()
    }

    /// One more is begun: its place.
    fn begin(&mut self) -> usize {
        self.ended.push_back(None);
        self.first + self.ended.len() - 1
    }

    fn end(&mut self, place: usize, made: T) {
        self.ended[place - self.first] = Some(made);
    }

    /// The next in order, if it has ended.
    fn next(&mut self) -> Option<T> {
        let next = self.ended.front_mut()?.take()?;
        self.ended.pop_front();
        self.first += 1;
        Some(next)
    }
}
