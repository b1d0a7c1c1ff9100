//! What the user says by signals: the first asks for an end, the second for one at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::exit_code::ExitCode;

/// The user's interrupts. Signal handlers set flags; whoever owns the run reads them by [`Interrupts::poll`].
#[derive(Debug, Default)]
pub struct Interrupts {
    interrupt: Arc<AtomicBool>,
    terminate: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
    requested: AtomicBool,
    terminated: AtomicBool,
    hung_up: AtomicBool,
    at_once: AtomicBool,
}

impl Interrupts {
    /// Listens to SIGINT and SIGTERM from now on, instead of ending the process; to SIGHUP too, where it is known that whoever began the
    /// process did not say that it should outlive the terminal (`nohup`).
    ///
    /// # Errors
    ///
    /// Whatever the system gives.
    pub fn listen() -> io::Result<Self> {
        let interrupts = Self::default();
        signal_hook::flag::register(SIGINT, Arc::clone(&interrupts.interrupt))?;
        signal_hook::flag::register(SIGTERM, Arc::clone(&interrupts.terminate))?;
        #[cfg(target_os = "linux")]
        if is_heeded(signal_hook::consts::SIGHUP) {
            signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::clone(&interrupts.hang_up))?;
        }
        Ok(interrupts)
    }

    /// Takes note of signals that have come since the last call.
    pub fn poll(&self) {
        let interrupt = self.interrupt.swap(false, Ordering::Relaxed);
        let terminate = self.terminate.swap(false, Ordering::Relaxed);
        let hang_up = self.hang_up.swap(false, Ordering::Relaxed);
        if !(interrupt || terminate || hang_up) {
            return;
        }
        if !self.requested.swap(true, Ordering::Relaxed) {
            self.terminated.store(terminate, Ordering::Relaxed);
            self.hung_up.store(hang_up, Ordering::Relaxed);
        } else if interrupt || terminate {
            // Who closes a terminal sends SIGHUP more than once, the shell and the system each: that is no haste.
            self.at_once.store(true, Ordering::Relaxed);
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
        match (
            self.terminated.load(Ordering::Relaxed),
            self.hung_up.load(Ordering::Relaxed),
        ) {
            (true, _) => ExitCode::Terminated,
            (false, true) => ExitCode::HungUp,
            (false, false) => ExitCode::Interrupted,
        }
    }
}

/// Whether it is known that `signal` is not ignored. The system's own call that tells is unsafe, or changes it.
#[cfg(target_os = "linux")]
fn is_heeded(signal: i32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return false;
    };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (signal - 1)) == 0)
}
