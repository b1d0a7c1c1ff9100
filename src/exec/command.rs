//! The command of a stage: a program in its execution root, or a built-in stage in this process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use camino::Utf8Path;

use super::ExecError;
use super::confine::not_enforced;
use super::consent::Consents;
use super::event::FailureKind;
use super::process::{Ended, Finish, Program, is_executable, run};
use super::root::{ExecutionRoot, RootEntry, RootEntryKind};
use super::sandbox::SandboxError;
use super::stage::{Attempt, Said};
use super::state::{Content, InputState};
use super::tools::{Tool, UsedTool};
use crate::consent::population::Population;
use crate::plan::{Command, Input, InputSource, SHELL, Streams, written_input};
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

/// A program of the machine that a stage uses.
struct FoundTool {
    /// As the stage calls it.
    called: String,
    tool: Tool,
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
            Command::Argv(argv) => self.run_program(argv, root, (log, log_file)),
            Command::Shell(text) => {
                let argv = [SHELL, "-eu", "-c", text].map(str::to_owned);
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
        let folder = root.folder();
        let found = self.find_tools()?;
        // A program in the execution root is an input of the stage, and in the receipt as that.
        let own = found.values().find(|tool| tool.called == argv[0]);
        let executable = match own {
            Some(own) => own.tool.executable.clone(),
            None => Some(folder.join(&argv[0]))
                .filter(|path| is_executable(path))
                .ok_or_else(|| self.not_found(&argv[0]))?,
        };
        let failed = |source| self.cannot_run(&argv[0], source);
        let secrets: Vec<String> = self
            .stage
            .secrets
            .iter()
            .filter_map(|name| session.environment.get(name).cloned())
            .collect();
        let environment = self.program_environment(root);
        let (stdin, stdout) = self.streams(folder)?;
        let mut own_log = log_file.try_clone().map_err(failed)?;
        let executables: Vec<&Utf8Path> = found.values().map(|found| found.tool.executable.as_path()).collect();
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
            confinement: self.confinement(root, log, &executables),
        };
        let tools = found.values().map(|found| (found.called.as_str(), &found.tool));
        let end = match session.run_beside_asking(tools, || run(program, &session.groups)) {
            Ok(end) => end,
            Err(SandboxError::Spawn(source)) => return Err(failed(source)),
            Err(SandboxError::NotEnforced(missing)) => {
                let refusal = not_enforced(&missing);
                write_refusal(&mut own_log, &refusal).map_err(failed)?;
                return Ok(CommandEnd {
                    failure: Some(FailureKind::Refused(refusal)),
                    tools: self.used_tools(found)?,
                    ..CommandEnd::default()
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
            tools: self.used_tools(found)?,
            sandbox: self.sandbox_words(&end.enforced),
            ..CommandEnd::default()
        })
    }

    /// The programs of the machine that the stage uses, by name. One that is not there is an error, before anything runs.
    fn find_tools(&self) -> Result<BTreeMap<String, FoundTool>, ExecError> {
        let mut found = BTreeMap::new();
        for (name, called) in self.stage.called_tools() {
            let tool = match self.stage.pin {
                true => self.session.find_tool(called),
                false => self.session.find_tool_to_run(called),
            };
            let tool = tool.map_err(|source| self.cannot_run(called, source))?;
            let tool = tool.ok_or_else(|| self.not_found(called))?;
            let called = called.to_owned();
            found.insert(name.to_owned(), FoundTool { called, tool });
        }
        for (name, pinned) in &self.resolved.tools {
            let found = found.get(name).map(|found| found.tool.digests.blake3);
            if found != *pinned {
                return Err(self.tool_changed(name));
            }
        }
        Ok(found)
    }

    /// What the receipt says of the programs that the stage used. One that is pinned may not have changed meanwhile.
    fn used_tools(&self, found: BTreeMap<String, FoundTool>) -> Result<Vec<UsedTool>, ExecError> {
        let mut used = Vec::with_capacity(found.len());
        for (name, FoundTool { called, tool }) in found {
            if self.stage.pin
                && !self
                    .session
                    .find_tool(&called)
                    .is_ok_and(|now| now.as_ref() == Some(&tool))
            {
                return Err(self.tool_changed(&name));
            }
            let version = self.session.version_of(&called, &tool);
            let digests = tool.digests;
            used.push(UsedTool { name, digests, version });
        }
        Ok(used)
    }

    fn not_found(&self, program: &str) -> ExecError {
        ExecError::ProgramNotFound {
            program: program.to_owned(),
            stage: self.stage.name.clone(),
        }
    }

    fn cannot_run(&self, program: &str, source: io::Error) -> ExecError {
        ExecError::Spawn {
            program: program.to_owned(),
            stage: self.stage.name.clone(),
            source,
        }
    }

    fn tool_changed(&self, tool: &str) -> ExecError {
        ExecError::ToolChanged {
            tool: tool.to_owned(),
            stage: self.stage.name.clone(),
        }
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
                name: file.path.clone(),
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
