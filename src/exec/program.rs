//! A stage that is a program: what is started, with which tools, streams and variables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use camino::Utf8Path;

use super::ExecError;
use super::command::{CommandEnd, write_refusal};
use super::confine::not_enforced;
use super::event::FailureKind;
use super::process::{Ended, Finish, Program, is_executable, run};
use super::root::ExecutionRoot;
use super::sandbox::SandboxError;
use super::stage::Attempt;
use super::state::{Content, InputState};
use super::tools::{Tool, UsedTool};
use crate::plan::plain::Plain;
use crate::plan::{Input, Output, SHELL, Streams, variables};
use crate::store::StoreError;

/// A program of the machine that a stage uses.
struct FoundTool {
    /// As the stage calls it.
    called: String,
    tool: Tool,
}

/// A program that is to be started.
struct Start<'a> {
    /// What it is called by, and its arguments.
    argv: Cow<'a, [String]>,
    /// The input that is its standard input; nothing if there is none.
    stdin: Option<&'a Utf8Path>,
    /// The output that its standard output is; the log if there is none.
    stdout: Option<&'a Utf8Path>,
    /// Whether it is what a text for the shell comes to. A shell tells what it starts which folder it is in.
    is_from_text: bool,
}

impl Start<'_> {
    /// The files that its standard input and output are, in the execution root `folder`.
    fn streams(&self, folder: &Utf8Path) -> Result<(Option<File>, Option<File>), ExecError> {
        let stdin = self.stdin.map(|path| {
            let path = folder.join(path);
            File::open(&path).map_err(|source| StoreError::Read { path, source })
        });
        let stdout = self.stdout.map(|path| {
            let path = folder.join(path);
            File::create_new(&path).map_err(|source| StoreError::Write { path, source })
        });
        Ok((stdin.transpose()?, stdout.transpose()?))
    }
}

/// The file of `files` that is named, if one is; `None` if it is none of them.
fn named<'a>(name: Option<String>, mut files: impl Iterator<Item = &'a Utf8Path>) -> Option<Option<&'a Utf8Path>> {
    match name {
        None => Some(None),
        Some(name) => files.find(|file| *file == name).map(Some),
    }
}

/// Whether something could not be started because it is no program, or none that this user may run.
fn is_no_program(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errors = [Errno::NOENT, Errno::ACCESS, Errno::NOEXEC, Errno::NOTDIR];
    errors
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Attempt<'_> {
    /// Runs a text for the shell; if the shell would do nothing but start a program, that program, as the shell would.
    pub(super) fn run_text(
        &self,
        text: &str,
        root: &ExecutionRoot,
        (log, log_file): (&Utf8Path, File),
    ) -> Result<CommandEnd, ExecError> {
        if let Some(start) = self.stage.plain().and_then(|plain| self.start_plain(plain)) {
            let log_file = log_file.try_clone().map_err(|source| self.cannot_run(SHELL, source))?;
            match self.run_program(&start, root, (log, log_file)) {
                // What is not there, or no program, is for the shell to read, or to say.
                Err(ExecError::ProgramNotFound { .. }) => {}
                Err(ExecError::Spawn { source, .. }) if is_no_program(&source) => {}
                ended => return ended,
            }
        }
        let argv = [SHELL, "-eu", "-c", text].map(str::to_owned);
        self.run_argv(&argv, root, (log, log_file))
    }

    /// Runs a program of words.
    pub(super) fn run_argv(
        &self,
        argv: &[String],
        root: &ExecutionRoot,
        log: (&Utf8Path, File),
    ) -> Result<CommandEnd, ExecError> {
        self.run_program(&self.start(argv), root, log)
    }

    fn run_program(
        &self,
        start: &Start<'_>,
        root: &ExecutionRoot,
        (log, log_file): (&Utf8Path, File),
    ) -> Result<CommandEnd, ExecError> {
        let (session, argv) = (self.session, &*start.argv);
        let folder = root.folder();
        let found = self.find_tools(start.is_from_text)?;
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
        let mut environment = self.program_environment(root);
        if start.is_from_text {
            environment.insert("PWD".to_owned(), folder.to_string());
        }
        let (stdin, stdout) = start.streams(folder)?;
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

    /// The programs of the machine that the stage uses, by name; the shell is none of them where its text is run without it. One that is
    /// not there is an error, before anything runs.
    fn find_tools(&self, is_without_shell: bool) -> Result<BTreeMap<String, FoundTool>, ExecError> {
        let is_named = |name: &str| self.stage.tools.iter().any(|named| named == name);
        let plain = self.stage.plain().map(|plain| plain.program);
        let mut found = BTreeMap::new();
        for (name, called) in self.stage.called_tools() {
            if is_without_shell && called == SHELL && !is_named(name) {
                continue;
            }
            let tool = match self.stage.pin {
                true => self.session.find_tool(called),
                false => self.session.find_tool_to_run(called),
            };
            let tool = match tool {
                Ok(Some(tool)) => tool,
                // That it cannot be started is for the shell to say.
                Ok(None) | Err(_) if plain == Some(called) && !is_named(name) => continue,
                Ok(None) => return Err(self.not_found(called)),
                Err(source) => return Err(self.cannot_run(called, source)),
            };
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

    /// The stage's program, with the streams that the stage gives it.
    fn start<'s>(&'s self, argv: &'s [String]) -> Start<'s> {
        let Streams { stdin, stdout } = &self.stage.streams;
        let input = |(input, state): (&Input, &'s InputState)| {
            (Some(&input.name) == stdin.as_ref()).then(|| state.path.as_path())
        };
        let output = |output: &'s Output| (Some(&output.name) == stdout.as_ref()).then(|| output.path.as_path());
        Start {
            argv: argv.into(),
            stdin: self.stage.inputs.iter().zip(&self.inputs).find_map(input),
            stdout: self.stage.outputs.iter().find_map(output),
            is_from_text: false,
        }
    }

    /// The program that a text for the shell is, if what it reads and writes itself are an input and an output of the stage, which are
    /// files.
    fn start_plain<'s>(&'s self, plain: Plain<'_>) -> Option<Start<'s>> {
        let is_file = |state: &&InputState| matches!(state.content, Content::File(_));
        let inputs = self.inputs.iter().filter(is_file).map(|state| state.path.as_path());
        let outputs = self.stage.outputs.iter().filter(|output| !output.is_folder);
        let stdin = named(plain.stdin, inputs)?;
        let stdout = named(plain.stdout, outputs.map(|output| output.path.as_path()))?;
        // The shell looks for programs in relative folders, too.
        let path = self.session.environment.get("PATH").map_or("", String::as_str);
        if path.split(':').any(|folder| !folder.starts_with('/')) {
            return None;
        }
        let argv = std::iter::once(plain.program.to_owned())
            .chain(plain.arguments)
            .collect();
        Some(Start {
            argv: Cow::Owned(argv),
            stdin,
            stdout,
            is_from_text: true,
        })
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
        for name in named.filter(|name| !variables::is_own(name)).chain(["PATH"]) {
            if let Some(value) = caller.get(name) {
                environment.insert(name.to_owned(), value.clone());
            }
        }
        environment
    }
}
