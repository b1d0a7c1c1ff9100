//! What the user says by signals: the first asks for an end, the second for one at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit_code::ExitCode;

/// The user's interrupts. Signal handlers set flags; whoever owns the run reads them by [`Interrupts::poll`].
#[derive(Debug, Default)]
pub struct Interrupts {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    requested: AtomicBool,
    terminated: AtomicBool,
    at_once: AtomicBool,
}

impl Interrupts {
    /// Listens to SIGINT and SIGTERM from now on, instead of ending the process.
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub fn listen() -> io::Result<Self> {
        let interrupts = Self::default();
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupts.interrupt))?;
        signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&interrupts.terminate))?;
        Ok(interrupts)
    }

    /// Takes note of signals that have come since the last call.
    pub fn poll(&self) {
        let interrupt = self.interrupt.swap(false, Ordering::Relaxed);
        let terminate = self.terminate.swap(false, Ordering::Relaxed);
        if interrupt || terminate {
            if self.requested.swap(true, Ordering::Relaxed) {
                self.at_once.store(true, Ordering::Relaxed);
            } else if terminate {
                self.terminated.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Set from the first signal on; what stages look at.
    #[must_use]
    pub fn requested(&self) -> &AtomicBool {
        &self.requested
    }

    /// Whether there was a signal.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Whether there was a second one.
    #[must_use]
    pub fn is_at_once(&self) -> bool {
        self.at_once.load(Ordering::Relaxed)
    }

    /// How the process ends after it.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.terminated.load(Ordering::Relaxed) {
            true => ExitCode::Terminated,
            false => ExitCode::Interrupted,
        }
    }
}
