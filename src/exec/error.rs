//! Why a run, or a stage of it, cannot go on for the machine's sake.

use std::io;

use camino::Utf8PathBuf;

use super::inputs::InputError;
use super::root::RootError;
use crate::log::LogError;
use crate::receipt::payload::StatementError;
use crate::store::StoreError;

/// Why a stage, or the run, could not go on: the machine, not the stage. Exit code 7.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An input.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The execution root.
    #[error(transparent)]
    Root(RootError),
    /// The history.
    #[error("the receipts are published, but cannot be appended to the log")]
    Log(#[source] LogError),
    /// The logs that receipts name.
    #[error("cannot find out where the logs of receipts are")]
    Heads(#[source] LogError),
    /// A statement that cannot be signed.
    #[error("cannot attest the stage")]
    Statement(#[from] StatementError),
    /// The stage's program is nowhere in `PATH`.
    #[error(
        "stage `{stage}`: there is no program `{program}` in PATH: install it, or correct its name in the pipeline"
    )]
    ProgramNotFound {
        /// As the pipeline names it.
        program: String,
        /// The stage.
        stage: String,
    },
    /// The stage's program could not be started.
    #[error("stage `{stage}`: cannot run `{program}`")]
    Spawn {
        /// As the pipeline names it.
        program: String,
        /// The stage.
        stage: String,
        /// Why.
        source: io::Error,
    },
    /// The stage's program could not be confined.
    #[error("stage `{stage}`: cannot run `{program}`: {reason}")]
    Sandbox {
        /// As the pipeline names it.
        program: String,
        /// The stage.
        stage: String,
        /// Why.
        reason: String,
    },
    /// A built-in stage could not read or write a file.
    #[error("stage `{stage}`: cannot {verb} `{path}`")]
    BuiltinIo {
        /// The stage.
        stage: String,
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody changed an output while the run went on.
    #[error("output `{path}` was changed by somebody else while the run went on")]
    OutputMeddled {
        /// The output.
        path: Utf8PathBuf,
    },
    /// A program that is part of a stage's action changed while the stage ran.
    #[error("stage `{stage}`: its tool `{tool}`, which is pinned, changed while the run went on")]
    ToolChanged {
        /// Its name.
        tool: String,
        /// The stage.
        stage: String,
    },
    /// Nothing can be done without a thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The user interrupted.
    #[error("interrupted")]
    Interrupted,
}
