//! What workers tell the owner of a run, who is woken only for what cannot wait: to wake it costs as much as a part of a small program.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

/// The owner's side.
pub(super) struct Inbox<T> {
    messages: Receiver<T>,
    bell: Receiver<()>,
}

/// A worker's side.
pub(super) struct Outbox<T> {
    messages: Sender<T>,
    bell: SyncSender<()>,
}

/// Both sides.
pub(super) fn inbox<T>() -> (Outbox<T>, Inbox<T>) {
    let (sender, messages) = channel();
    // Who has rung once need not ring again before somebody comes.
    let (ring, bell) = sync_channel(1);
    let outbox = Outbox {
        messages: sender,
        bell: ring,
    };
    (outbox, Inbox { messages, bell })
}

impl<T> Outbox<T> {
    /// Leaves a message, which is heard when the owner listens next. The owner outlives its workers; if it is gone, nobody listens.
    pub(super) fn leave(&self, message: T) {
        let _ = self.messages.send(message);
    }

    /// Wakes the owner.
    pub(super) fn ring(&self) {
        let _ = self.bell.try_send(());
    }
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            messages: self.messages.clone(),
            bell: self.bell.clone(),
        }
    }
}

impl<T> Inbox<T> {
    /// The next message, if there is one.
    pub(super) fn next(&self) -> Option<T> {
        self.messages.try_recv().ok()
    }

    /// Waits until somebody rings, but no longer than `time`.
    pub(super) fn wait(&self, time: Duration) {
        match self.bell.recv_timeout(time) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            // Nobody is left who could.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn messages_come_in_order_and_only_a_bell_wakes() {
        let (outbox, inbox) = inbox();
        let (long, short) = (Duration::from_secs(60), Duration::from_millis(20));
        outbox.leave(1);
        let began = Instant::now();
        inbox.wait(short);
        assert!(began.elapsed() >= short, "nobody has rung");
        for message in [2, 3] {
            outbox.leave(message);
            outbox.ring();
        }
        inbox.wait(long);
        assert!(began.elapsed() < long);
        assert_eq!(std::iter::from_fn(|| inbox.next()).collect::<Vec<_>>(), [1, 2, 3]);
        let again = Instant::now();
        inbox.wait(short);
        assert!(again.elapsed() >= short, "they rang once before it came");
    }
}
