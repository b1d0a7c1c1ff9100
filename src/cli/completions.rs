//! `madmall completions`: what a shell completes of commands and options.

use super::terminal::Terminal;
use crate::exit_code::ExitCode;

/// Arguments of `completions`.
#[derive(clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell that is to read them
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Prints the script by which a shell completes what users are shown of `command`.
pub(super) fn completions(
    arguments: &CompletionsArguments,
    command: &clap::Command,
    terminal: &mut Terminal,
) -> ExitCode {
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut command = clap::Command::new("madmall")
        .args(command.get_arguments())
        .subcommands(shown);
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "madmall", &mut script);
    terminal.bytes(&script);
    ExitCode::Success
}
