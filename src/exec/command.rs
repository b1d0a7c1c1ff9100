//! The command of a stage: a program in its execution root, or a built-in stage in this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use camino::Utf8Path;

use super::ExecError;
use super::confine::not_enforced;
use super::event::FailureKind;
use super::inputs::{Content, InputState};
use super::process::{Ended, Finish, Program, find_executable, run};
use super::root::{ExecutionRoot, RootEntry, RootEntryKind};
use super::sandbox::SandboxError;
use super::stage::{Attempt, Said};
use crate::digest::Digests;
use crate::plan::{Command, Input, InputSource, Streams, written_input};
use crate::stages::ingest::fault::grouped;
use crate::stages::{InputFile, Refusal, StageContext, StageError, builtin};
use crate::store::StoreError;

/// A command that has ended.
pub(super) struct CommandEnd {
    /// What went wrong, if anything.
    pub(super) failure: Option<FailureKind>,
    /// The programs that were run: name and digests of the executable.
    pub(super) tools: Vec<(String, Digests)>,
    /// What the sandbox enforced, as the receipt says it.
    pub(super) sandbox: Vec<String>,
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
            0 => File::create(log),
            _ => File::options().append(true).open(log),
        };
        let mut log_file = log_file.map_err(write_log)?;
        if retry > 0 {
            writeln!(log_file, "madmall: retry {retry}").map_err(write_log)?;
        }
        match &self.stage.command {
            Command::Builtin { name, purpose, .. } => {
                let failure = self.run_builtin(name, purpose.as_deref(), root, log_file)?;
                Ok(CommandEnd {
                    failure,
                    tools: Vec::new(),
                    sandbox: Vec::new(),
                })
            }
            Command::Argv(argv) => self.run_program(argv, root, (log, log_file)),
            Command::Shell(text) => {
                let argv = ["sh", "-eu", "-c", text].map(str::to_owned);
                self.run_program(&argv, root, (log, log_file))
            }
        }
    }

    fn run_program(
        &self,
        argv: &[String],
        root: &ExecutionRoot,
        (log, log_file): (&Utf8Path, File),
    ) -> Result<CommandEnd, ExecError> {
        let session = self.session;
        let path = session.environment.get("PATH").map_or("", String::as_str);
        let folder = root.folder();
        let not_found = || ExecError::ProgramNotFound {
            program: argv[0].clone(),
            stage: self.stage.name.clone(),
        };
        let executable = find_executable(&argv[0], folder, path).ok_or_else(not_found)?;
        let failed = |source| ExecError::Spawn {
            program: argv[0].clone(),
            stage: self.stage.name.clone(),
            source,
        };
        let mut tools = Vec::new();
        // A program in the execution root is an input of the stage, and in the receipt as that.
        if !executable.starts_with(folder) {
            let real = executable.canonicalize_utf8().map_err(failed)?;
            let name = executable.file_name().unwrap_or(&argv[0]).to_owned();
            tools.push((name, session.hashes.file(&real).map_err(failed)?.digests));
        }
        let secrets: Vec<String> = self
            .stage
            .secrets
            .iter()
            .filter_map(|name| session.environment.get(name).cloned())
            .collect();
        let environment = self.program_environment(root);
        let (stdin, stdout) = self.streams(folder)?;
        let mut own_log = log_file.try_clone().map_err(failed)?;
        let program = Program {
            executable: &executable,
            argv,
            folder,
            environment: &environment,
            secrets: &secrets,
            stdin,
            stdout,
            timeout: self.stage.limits.timeout,
            log: log_file,
            confinement: self.confinement(root, log, &executable),
        };
        let end = match run(program, &session.groups) {
            Ok(end) => end,
            Err(SandboxError::Spawn(source)) => return Err(failed(source)),
            Err(SandboxError::NotEnforced(missing)) => {
                let refusal = not_enforced(&missing);
                write_refusal(&mut own_log, &refusal).map_err(failed)?;
                return Ok(CommandEnd {
                    failure: Some(FailureKind::Refused(refusal)),
                    tools,
                    sandbox: Vec::new(),
                });
            }
            Err(error @ SandboxError::Setup(_)) => {
                return Err(ExecError::Sandbox {
                    program: argv[0].clone(),
                    stage: self.stage.name.clone(),
                    reason: error.to_string(),
                });
            }
        };
        let Finish { ended, timed_out } = end.finish;
        let failure = match self.stage.limits.timeout.filter(|_| timed_out) {
            Some(after) => Some(FailureKind::TimedOut { after, ended }),
            None => (ended != Ended::Exited(0)).then_some(FailureKind::Ended(ended)),
        };
        Ok(CommandEnd {
            failure,
            tools,
            sandbox: self.sandbox_words(&end.enforced),
        })
    }

    /// The files that the program's standard input and output are, in the execution root.
    fn streams(&self, folder: &Utf8Path) -> Result<(Option<File>, Option<File>), ExecError> {
        let Streams { stdin, stdout } = &self.stage.streams;
        let input =
            |(input, state): (&Input, &InputState)| (Some(&input.name) == stdin.as_ref()).then(|| state.path.clone());
        let stdin = self.stage.inputs.iter().zip(&self.inputs).find_map(input);
        let stdin = stdin.map(|path| {
            let path = folder.join(path);
            File::open(&path).map_err(|source| StoreError::Read { path, source })
        });
        let output = self
            .stage
            .outputs
            .iter()
            .find(|output| Some(&output.name) == stdout.as_ref());
        let stdout = output.map(|output| {
            let path = folder.join(&output.path);
            File::create_new(&path).map_err(|source| StoreError::Write { path, source })
        });
        Ok((stdin.transpose()?, stdout.transpose()?))
    }

    /// All that a program sees of the environment.
    fn program_environment(&self, root: &ExecutionRoot) -> BTreeMap<String, String> {
        let caller = self.session.environment;
        let mut environment = BTreeMap::from([
            ("HOME".to_owned(), root.home().to_string()),
            ("TMPDIR".to_owned(), root.home().to_string()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), "UTC".to_owned()),
        ]);
        let named = self.stage.env.iter().chain(&self.stage.secrets).map(String::as_str);
        for name in named.chain(["PATH"]) {
            if let Some(value) = caller.get(name) {
                environment.insert(name.to_owned(), value.clone());
            }
        }
        environment
    }

    fn run_builtin(
        &self,
        name: &str,
        purpose: Option<&str>,
        root: &ExecutionRoot,
        mut log: File,
    ) -> Result<Option<FailureKind>, ExecError> {
        let session = self.session;
        let builtin = builtin(name).expect("a plan names only built-ins that there are");
        let folder = root.folder();
        let mut inputs: BTreeMap<&str, Vec<InputFile>> = BTreeMap::new();
        for (input, state) in self.stage.inputs.iter().zip(&self.inputs) {
            let files = state.files().iter().map(|file| InputFile {
                absolute: session.workspace.absolute(&file.path),
                name: file.path.clone(),
            });
            inputs.entry(written_input(&input.name)).or_default().extend(files);
        }
        let outputs = self
            .stage
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), folder.join(&output.path)));
        let mut context = StageContext {
            purpose,
            inputs,
            outputs: outputs.collect(),
            params: &self.stage.params,
            threads: session.options.jobs,
            log: &mut log,
            progress: &|progress| (self.say)(Said::Progress(progress)),
            cancelled: session.interrupts.requested(),
        };
        match (builtin.run)(&mut context) {
            Ok(()) => Ok(None),
            Err(StageError::Cancelled) => Err(ExecError::Interrupted),
            Err(StageError::Refused(refusal)) => {
                let write_log = |source| StoreError::Write {
                    path: "stage log".into(),
                    source,
                };
                write_refusal(&mut log, &refusal).map_err(write_log)?;
                Ok(Some(FailureKind::Refused(refusal)))
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
                path: file.path.clone(),
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

fn write_refusal(log: &mut File, refusal: &Refusal) -> io::Result<()> {
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
