//! What the program's exit codes mean.

/// How a command ended, for the caller's script. Section "Exit codes" of the README says the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitCode {
    /// Done, up to date, verified.
    Success,
    /// A stage failed.
    StageFailed,
    /// Refused: usage, pipeline, invalid event, consent, policy (fail closed).
    Refused,
    /// Work is pending (`plan --check`).
    Pending,
    /// Verification failed: something was changed.
    VerificationFailed,
    /// Not reproduced.
    NotReproduced,
    /// Inconclusive: evidence, key or object is missing.
    Inconclusive,
    /// The environment failed: disk, lock, key.
    Environment,
    /// A bug in madmall.
    Bug,
    /// Ended by SIGHUP.
    HungUp,
    /// Interrupted by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

impl ExitCode {
    /// The number that the process ends with.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::StageFailed => 1,
            Self::Refused => 2,
            Self::Pending => 3,
            Self::VerificationFailed => 4,
            Self::NotReproduced => 5,
            Self::Inconclusive => 6,
            Self::Environment => 7,
            Self::Bug => 70,
            Self::HungUp => 129,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}
