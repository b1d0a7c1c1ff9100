//! Where text goes: results to standard output, everything else to standard error.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};

use crate::diagnostic::tame;
pub(super) use crate::diagnostic::with_causes;
use crate::exit_code::ExitCode;

/// The two streams. Colour is kept only where it is wanted (a terminal, no `NO_COLOR`).
pub(super) struct Terminal {
    out: anstream::AutoStream<io::Stdout>,
    err: anstream::AutoStream<io::Stderr>,
    lost: bool,
}

impl Terminal {
    /// The process's own streams.
    #[must_use]
    pub(super) fn of_process() -> Self {
        Self {
            out: anstream::AutoStream::auto(io::stdout()),
            err: anstream::AutoStream::auto(io::stderr()),
            lost: false,
        }
    }

    /// Writes a line of a result.
    pub(super) fn result(&mut self, line: impl std::fmt::Display) {
        let written = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        // Whoever closed the pipe has read enough; any other failure loses a result.
        self.lost |= written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
    }

    /// Writes the lines of a result at once: a call to the system for each would cost more than they do.
    pub(super) fn results(&mut self, lines: &str) {
        match self.out.current_choice() {
            anstream::ColorChoice::Never => self.bytes(anstream::adapter::strip_str(lines).to_string().as_bytes()),
            _ => self.result(lines.trim_end_matches('\n')),
        }
    }

    /// Writes the bytes of a result exactly, without a line break after them.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let written = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
        self.lost |= written.is_err_and(|error| error.kind() != io::ErrorKind::BrokenPipe);
    }

    /// Writes a line of everything else.
    pub(super) fn say(&mut self, line: impl std::fmt::Display) {
        // There is nowhere to complain about a standard error that does not work.
        let _ = writeln!(self.err, "{line}");
    }

    /// Whether a person looks at standard error, so that bars make sense.
    #[must_use]
    pub(super) fn err_is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    /// How many columns a line of a result may take: those of the terminal. A pipe takes lines of any length, and is laid
    /// out for 80.
    #[must_use]
    pub(super) fn columns(&self) -> Columns {
        let stdout = io::stdout();
        match rustix::termios::tcgetwinsize(&stdout) {
            Ok(size) if stdout.is_terminal() && size.ws_col >= 20 => Columns {
                layout: size.ws_col.into(),
                most: size.ws_col.into(),
            },
            _ => Columns {
                layout: 80,
                most: usize::MAX,
            },
        }
    }

    /// Whether a result could not be written.
    #[must_use]
    pub(super) fn has_lost_results(&self) -> bool {
        self.lost
    }
}

/// The width of what is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// What columns and wrapped lines are laid out for.
    pub(super) layout: usize,
    /// Where a line is cut.
    pub(super) most: usize,
}

/// A command that could not do what it was asked: what to tell, and how to end.
#[derive(Debug)]
pub(super) struct Failure {
    /// How to end.
    pub(super) code: ExitCode,
    /// What to tell, whole lines; it begins with `error: `.
    pub(super) text: String,
}

impl Failure {
    /// Tells `message`, with an advice if there is one.
    #[must_use]
    pub(super) fn new(code: ExitCode, message: impl std::fmt::Display, help: Option<&str>) -> Self {
        // What an error says may have names of files in it, of whoever made them.
        let message = tame(&message.to_string());
        let mut text = format!("{ERROR}error{ERROR:#}{BOLD}: {message}{BOLD:#}");
        if let Some(help) = help {
            let _ = write!(text, "\n{HELP}help{HELP:#}: {}", tame(help));
        }
        Self { code, text }
    }

    /// Tells an error with its causes.
    #[must_use]
    pub(super) fn of(code: ExitCode, error: &dyn std::error::Error) -> Self {
        Self::new(code, with_causes(error), None)
    }
}

/// A warning that is not tied to a file.
pub(super) fn warn(terminal: &mut Terminal, text: impl std::fmt::Display) {
    let text = tame(&text.to_string());
    terminal.say(format_args!("{WARNING}warning{WARNING:#}: {text}"));
}

/// The failure that an error of the machine is.
#[must_use]
pub(super) fn environment(error: &dyn std::error::Error) -> Failure {
    Failure::of(ExitCode::Environment, error)
}

/// The style of the word `error`.
pub(super) const ERROR: anstyle::Style = anstyle::AnsiColor::BrightRed.on_default().bold();
/// The style of the word `warning`.
pub(super) const WARNING: anstyle::Style = anstyle::AnsiColor::Yellow.on_default().bold();
/// The style of the word `help`.
pub(super) const HELP: anstyle::Style = anstyle::AnsiColor::BrightCyan.on_default().bold();
/// The style of what went well.
pub(super) const GOOD: anstyle::Style = anstyle::AnsiColor::Green.on_default();
/// The style of what matters less.
pub(super) const DIM: anstyle::Style = anstyle::Style::new().dimmed();
/// The style of what matters more.
pub(super) const BOLD: anstyle::Style = anstyle::Style::new().bold();

/// A line that somebody else wrote, as it can be shown on a terminal: control characters spelled out, cut where it is long.
#[must_use]
pub(super) fn shown(line: &str) -> String {
    const LONGEST: usize = 400;
    let mut cut: String = line.chars().take(LONGEST).collect();
    if cut.len() < line.len() {
        cut.push('…');
    }
    tame(&cut).replace('\n', "\\n")
}
