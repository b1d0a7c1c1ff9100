//! The command of a stage: a program in its execution root, or a built-in stage in this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use camino::Utf8Path;

use super::ExecError;
use super::consent::Consents;
use super::event::FailureKind;
use super::root::{ExecutionRoot, RootEntry, RootEntryKind};
use super::stage::{Attempt, Said};
use super::state::Content;
use super::tools::UsedTool;
use super::trial::begin_log;
use crate::consent::population::Population;
use crate::plan::{Command, InputSource, written_input};
use crate::stages::ingest::fault::grouped;
use crate::stages::{InputFile, PassedOn, Refusal, StageContext, StageError, builtin};
use crate::store::StoreError;

/// A command that has ended.
#[derive(Default)]
pub(super) struct CommandEnd {
    /// What went wrong, if anything.
    pub(super) failure: Option<FailureKind>,
    /// The programs of the machine that were used, sorted by name.
    pub(super) tools: Vec<UsedTool>,
    /// What the sandbox enforced, as the receipt says it.
    pub(super) sandbox: Vec<String>,
    /// The outputs that are inputs, and were not written, by their names.
    pub(super) passed_on: BTreeMap<String, PassedOn>,
    /// The consent that outputs carry by the word of a built-in stage, by their names.
    pub(super) consents: Consents,
    /// Which events an ingest has let in.
    pub(super) population: Option<Population>,
}

impl Attempt<'_> {
    /// Runs the command in its root. Gives what went wrong, if anything, and the tools that were used. The log of a `retry`
    /// goes on after what it has.
    pub(super) fn run_in(&self, root: &ExecutionRoot, log: &Utf8Path, retry: u32) -> Result<CommandEnd, ExecError> {
        let write_log = |source| StoreError::Write {
            path: log.to_owned(),
            source,
        };
        let log_file = match retry {
            0 => begin_log(log),
            _ => File::options().append(true).open(log),
        };
        let mut log_file = log_file.map_err(write_log)?;
        if retry > 0 {
            writeln!(log_file, "madmall: retry {retry}").map_err(write_log)?;
        }
        match self
            .stage
            .actual
            .as_ref()
            .map_or(&self.stage.command, |actual| &actual.command)
        {
            Command::Builtin { name, purpose, .. } => {
                let ended = self.run_builtin(name, purpose.as_deref(), root, log_file)?;
                Ok(ended.unwrap_or_else(|failure| CommandEnd {
                    failure: Some(failure),
                    ..CommandEnd::default()
                }))
            }
            Command::Argv(argv) => self.run_argv(argv, root, (log, log_file)),
            Command::Shell(text) => self.run_text(text, root, (log, log_file)),
        }
    }

    /// Gives how the stage ended, or what went wrong.
    fn run_builtin(
        &self,
        name: &str,
        purpose: Option<&str>,
        root: &ExecutionRoot,
        mut log: File,
    ) -> Result<Result<CommandEnd, FailureKind>, ExecError> {
        let session = self.session;
        let builtin = builtin(name).expect("a plan names only built-ins that there are");
        let folder = root.folder();
        let mut inputs: BTreeMap<&str, Vec<InputFile>> = BTreeMap::new();
        for (input, state) in self.stage.inputs.iter().zip(&self.inputs) {
            let files = state.files().iter().map(|file| InputFile {
                absolute: session.workspace.absolute(&file.path),
                name: file.path.as_path().to_owned(),
                digest: Some(file.hashed.digests.blake3),
            });
            inputs.entry(written_input(&input.name)).or_default().extend(files);
        }
        let outputs = self
            .stage
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), folder.join(&output.path)));
        let ahead = self.read_ahead();
        let mut context = StageContext {
            purpose,
            purposes: &session.plan.purposes,
            inputs,
            outputs: outputs.collect(),
            passed_on: BTreeMap::new(),
            consents: BTreeMap::new(),
            secret: session.secret.as_ref(),
            population: None,
            read_ahead: ahead.as_deref(),
            scratch: root.home(),
            params: self
                .stage
                .actual
                .as_ref()
                .map_or(&self.stage.params, |actual| &actual.params),
            threads: session.options.jobs,
            log: &mut log,
            progress: &|progress| (self.say)(Said::Progress(progress)),
            cancelled: session.interrupts.requested(),
        };
        match (builtin.run)(&mut context) {
            Ok(()) => Ok(Ok(CommandEnd {
                passed_on: context.passed_on,
                consents: context.consents,
                population: context.population,
                ..CommandEnd::default()
            })),
            Err(StageError::Cancelled) => Err(ExecError::Interrupted),
            Err(StageError::InputChanged { path }) => Ok(Err(FailureKind::InputChanged(path))),
            Err(StageError::Refused(refusal)) => {
                let write_log = |source| StoreError::Write {
                    path: "stage log".into(),
                    source,
                };
                write_refusal(&mut log, &refusal).map_err(write_log)?;
                Ok(Err(FailureKind::Refused(refusal)))
            }
            Err(StageError::Io { verb, path, source }) => Err(ExecError::BuiltinIo {
                stage: self.stage.name.clone(),
                verb,
                path,
                source,
            }),
        }
    }

    pub(super) fn root_entries(&self) -> Vec<RootEntry> {
        let workspace = self.session.workspace;
        let mut entries = Vec::new();
        for (input, state) in self.stage.inputs.iter().zip(&self.inputs) {
            let is_folder = match &input.source {
                InputSource::Folder { .. } => true,
                InputSource::Output { .. } => matches!(state.content, Content::Several { .. }),
                InputSource::File { .. } | InputSource::Glob { .. } => false,
            };
            if is_folder {
                entries.push(RootEntry {
                    path: state.path.clone(),
                    absolute: workspace.absolute(&state.path),
                    kind: RootEntryKind::Folder,
                });
                continue;
            }
            entries.extend(state.files().iter().map(|file| RootEntry {
                path: file.path.as_path().to_owned(),
                absolute: workspace.absolute(&file.path),
                kind: RootEntryKind::File {
                    size: file.hashed.stamp.size(),
                    digest: file.hashed.digests.blake3,
                    executable: file.hashed.stamp.is_executable(),
                },
            }));
        }
        // Two inputs may name the same file, or a file and a folder that holds it: what is there is there once.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let mut kept: Vec<RootEntry> = Vec::new();
        for entry in entries {
            let covered = kept
                .iter()
                .rev()
                .take_while(|other| entry.path.starts_with(&other.path))
                .next()
                .is_some();
            if !covered {
                kept.push(entry);
            }
        }
        kept
    }
}

/// Writes to a stage's log why it was refused.
pub(super) fn write_refusal(log: &mut File, refusal: &Refusal) -> io::Result<()> {
    for detail in &refusal.details {
        writeln!(log, "{detail}")?;
    }
    if refusal.unlisted > 0 {
        writeln!(log, "and {} more", grouped(refusal.unlisted))?;
    }
    if let Some(help) = &refusal.help {
        writeln!(log, "help: {help}")?;
    }
    writeln!(log, "refused: {}", refusal.summary)
}
