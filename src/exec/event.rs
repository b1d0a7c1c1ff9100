//! What a run tells while it goes on, and how its stages end.

use std::time::Duration;

use camino::Utf8PathBuf;

use super::process::Ended;
use super::root::Breach;
use crate::plan::StageId;
use crate::plan::limits::spell_duration;
use crate::plan::stale::Stale;
use crate::receipt::statement::ReceiptId;
use crate::stages::{Progress, Refusal};

/// Something that happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// A stage runs, for these reasons.
    Started {
        /// Which.
        stage: StageId,
        /// Why.
        why: &'a [Stale],
    },
    /// A stage is this far.
    Progress {
        /// Which.
        stage: StageId,
        /// How far.
        progress: Progress,
    },
    /// A moment has passed while stages run.
    Tick,
    /// A stage is done with, one way or another.
    Finished {
        /// Which.
        stage: StageId,
        /// How.
        report: &'a StageReport,
    },
    /// Something that the user should know.
    Note(Note),
}

/// Something that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Another run has the workspace; this one waits.
    Waiting {
        /// What the other wrote of itself.
        holder: String,
    },
    /// A run that died had finished stages; their receipts are published now.
    Recovered {
        /// The run.
        run: String,
    },
    /// A file among the receipts of runs that died has something that cannot be published.
    PutAside {
        /// Where it is now, relative to the workspace.
        path: Utf8PathBuf,
    },
    /// The user's own policy does not trust the key that signs: what runs now is not believed by the next run.
    NotBelieved {
        /// The key, in short.
        keyid: String,
    },
    /// Bytes that no believed receipt claims were moved out of an output's place.
    Displaced {
        /// The output's path.
        path: Utf8PathBuf,
        /// Where they are now, relative to the workspace.
        to: Utf8PathBuf,
    },
    /// Somebody else's receipts for the same actions have the same outputs.
    Confirmed {
        /// The first of the stages.
        stage: StageId,
        /// How many there are.
        count: usize,
        /// Who signed them.
        keyid: String,
    },
    /// Somebody else's receipt for the same action has other outputs (`W-DIVERGED`).
    Diverged {
        /// The stage.
        stage: StageId,
        /// Who signed it.
        keyid: String,
        /// The output.
        path: Utf8PathBuf,
    },
    /// A program of the machine is another than when stages ran that are up to date (`W-TOOL`).
    ToolChanged {
        /// Its name.
        tool: String,
        /// The first of the stages.
        stage: StageId,
        /// How many there are.
        count: usize,
    },
    /// What the run found out could not be kept for the next one, which will find it out again.
    NotKept {
        /// Why.
        why: String,
    },
    /// A new log was begun, because the one before cannot be gone on with.
    LogBegun {
        /// Its id.
        log: String,
        /// Why.
        why: &'static str,
    },
    /// A program failed and is tried again.
    Retrying {
        /// The stage.
        stage: StageId,
        /// What went wrong.
        why: String,
        /// Which retry it is.
        retry: u32,
        /// Of how many.
        of: u32,
    },
    /// The user interrupted; stages are being ended.
    Interrupting,
    /// Receipts name no commit: there is no repository, none that can be read, or nothing committed.
    NoCommit {
        /// Why, and what to do.
        why: String,
    },
}

/// How a stage ended.
#[derive(Debug)]
pub struct StageReport {
    /// The end.
    pub outcome: StageOutcome,
    /// How long it took, the checks included.
    pub elapsed: Duration,
    /// Why it ran, if it did.
    pub why: Vec<Stale>,
}

/// How a stage ended.
#[derive(Debug)]
pub enum StageOutcome {
    /// Nothing had to run.
    UpToDate {
        /// The receipt that says so.
        receipt: ReceiptId,
        /// Outputs that were put back from the store.
        restored: Vec<Utf8PathBuf>,
    },
    /// It ran and its outputs are in place.
    Ran {
        /// Its receipt.
        receipt: ReceiptId,
        /// Whether any output has other bytes than after its last run.
        changed: bool,
    },
    /// It failed.
    Failed(Failure),
    /// A stage that it reads from failed.
    Blocked {
        /// That stage.
        by: StageId,
    },
    /// It was not begun, because the run was to end.
    NotStarted,
    /// It was ended by the user.
    Interrupted,
    /// The machine failed it: disk, permission, program not found.
    Broken(Box<dyn std::error::Error + Send + Sync>),
}

/// Why and how a stage failed.
#[derive(Debug)]
pub struct Failure {
    /// Its receipt: a failure gets one too.
    pub receipt: ReceiptId,
    /// What went wrong.
    pub kind: FailureKind,
    /// Its log, relative to the workspace.
    pub log: Utf8PathBuf,
    /// What may be of help.
    pub advice: Advice,
}

/// What may be of help with a program that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// What it was allowed to read, in one line; nothing if that is of no interest.
    pub readable: Option<String>,
    /// What it may have wanted and was not given, each with what to do.
    pub wanted: Vec<String>,
}

/// What went wrong in a stage.
#[derive(Debug)]
pub enum FailureKind {
    /// The program ended badly.
    Ended(Ended),
    /// The program took longer than its timeout, and was ended.
    TimedOut {
        /// The timeout.
        after: Duration,
        /// How it ended then.
        ended: Ended,
    },
    /// A built-in stage refused its input (fail closed).
    Refused(Refusal),
    /// It left what its declaration does not allow.
    Breaches(Vec<Breach>),
    /// An input changed while it ran.
    InputChanged(Utf8PathBuf),
}

impl FailureKind {
    /// Whether another try may help: the program failed, not what it was given.
    #[must_use]
    pub fn is_of_program(&self) -> bool {
        matches!(self, Self::Ended(_) | Self::TimedOut { .. } | Self::Breaches(_))
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(ended) => ended.fmt(f),
            Self::TimedOut { after, .. } => write!(f, "took longer than its timeout of {}", spell_duration(*after)),
            Self::Refused(refusal) => write!(f, "refused: {}", refusal.summary),
            Self::Breaches(breaches) if breaches.len() == 1 => write!(f, "broke its declaration: {}", breaches[0]),
            Self::Breaches(breaches) => write!(f, "broke its declaration in {} places", breaches.len()),
            Self::InputChanged(path) => write!(f, "had its input `{path}` changed while it ran"),
        }
    }
}

/// Told of events, in the thread that owns the run.
pub trait Observer {
    /// Something happened.
    fn event(&mut self, event: Event<'_>);
}
