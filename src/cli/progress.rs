//! A run as a person sees it: one line a stage, bars on a terminal, notes and failures in between.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use camino::Utf8Path;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::bars::{BAR_NAME, bar_style, cut, message};
use super::terminal::{BOLD, DIM, ERROR, GOOD, HELP, Terminal, WARNING, shown, warn, with_causes};
use super::waiting::{in_brackets, put_aside};
use crate::exec::event::{Event, Failure, FailureKind, Note, Observer, StageOutcome, StageReport};
use crate::plan::action::parameters;
use crate::plan::command_text::command_lines;
use crate::plan::{Plan, StageId};
use crate::stages::ingest::fault::grouped;
use crate::stages::{Progress, Refusal};
use crate::workspace::Workspace;

/// A stage that is done sooner needs no bar.
const BAR_AFTER: Duration = Duration::from_secs(1);
/// How much of a failed stage's log, and of the details of a refusal, is shown.
const TAIL_LINES: usize = 20;
/// How much of a failed stage's command is shown.
const COMMAND_LINES: usize = 12;
/// No more text is held than this.
const MOST_HELD: usize = 16 * 1024;
/// How much of the log is read for that.
const TAIL_BYTES: u64 = 64 * 1024;

/// A stage that runs.
struct Running {
    since: Instant,
    progress: Option<Progress>,
    bar: Option<ProgressBar>,
}

/// Prints events as lines, and bars where a terminal is.
pub(super) struct Lines<'a> {
    terminal: &'a mut Terminal,
    plan: &'a Plan,
    workspace: &'a Workspace,
    width: usize,
    bars: Option<MultiProgress>,
    running: BTreeMap<StageId, Running>,
    /// Lines of stages that are up to date, of which there are many at once: each by itself would be a call to the system.
    held: String,
}

impl<'a> Lines<'a> {
    /// Prints the events of a run of `plan`.
    #[must_use]
    pub(super) fn new(terminal: &'a mut Terminal, plan: &'a Plan, workspace: &'a Workspace) -> Self {
        let bars = terminal
            .err_is_terminal()
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        let width = name_width(plan.stages.iter().map(|stage| stage.name.as_str()));
        Self {
            terminal,
            plan,
            workspace,
            width,
            bars,
            running: BTreeMap::new(),
            held: String::new(),
        }
    }

    /// Prints after what is held, with the bars out of the way.
    fn print(&mut self, print: impl FnOnce(&mut Terminal)) {
        // They are drawn again with the next tick; not where the terminal is gone.
        if self.bars.as_ref().is_some_and(|bars| bars.clear().is_err()) {
            self.bars = None;
        }
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.terminal.results(&held);
        }
        print(self.terminal);
    }

    /// Prints what is held.
    fn let_go(&mut self) {
        if !self.held.is_empty() {
            self.print(|_| {});
        }
    }

    fn name(&self, stage: StageId) -> &'a str {
        &self.plan.stages[stage.index()].name
    }

    fn progress(&mut self, stage: StageId, progress: Progress) {
        let Some(running) = self.running.get_mut(&stage) else {
            return;
        };
        let before = running.progress.replace(progress);
        if let Some(bar) = &running.bar {
            let is_same =
                |before: Progress| std::mem::discriminant(&before.unit) == std::mem::discriminant(&progress.unit);
            if !before.is_some_and(is_same) {
                // What is counted now says nothing of how long what was counted before took.
                bar.reset_eta();
            }
            bar.set_style(bar_style(Some(progress)));
            bar.set_message(message(progress, running.since.elapsed()));
            bar.set_length(progress.total.unwrap_or(0));
            bar.set_position(progress.done);
        }
    }

    /// Gives a bar to each stage that has run long enough, and moves those that there are.
    fn tick(&mut self) {
        self.let_go();
        let Some(bars) = &self.bars else { return };
        for (stage, running) in &mut self.running {
            if running.bar.is_none() && running.since.elapsed() >= BAR_AFTER {
                let total = running.progress.and_then(|progress| progress.total).unwrap_or(0);
                let bar = bars.add(ProgressBar::new(total)).with_elapsed(running.since.elapsed());
                bar.set_style(bar_style(running.progress));
                let width = self.width.min(BAR_NAME);
                bar.set_prefix(cut(&self.plan.stages[stage.index()].name, width));
                running.bar = Some(bar);
            }
            if let Some(bar) = &running.bar {
                bar.tick();
            }
        }
    }

    fn finished(&mut self, stage: StageId, report: &StageReport) {
        if let Some(bar) = self.running.remove(&stage).and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
        let time = format!("{:.2} s", report.elapsed.as_secs_f64());
        let why = report
            .why
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        let (style, state, time, text) = match &report.outcome {
            StageOutcome::UpToDate { restored, .. } if restored.is_empty() => {
                (DIM, "up to date", String::new(), String::new())
            }
            StageOutcome::UpToDate { restored, .. } => {
                let paths: Vec<_> = restored.iter().map(|path| path.as_str()).collect();
                (GOOD, "restored", time, format!("{} from the store", paths.join(", ")))
            }
            StageOutcome::Ran { changed: true, .. } => (GOOD, "ran", time, why),
            StageOutcome::Ran { changed: false, .. } => {
                (GOOD, "ran", time, format!("{why}; its outputs are as before"))
            }
            StageOutcome::Failed(Failure {
                kind: FailureKind::Refused(_),
                ..
            }) => (ERROR, "REFUSED", time, why),
            StageOutcome::Failed(_) => (ERROR, "FAILED", time, why),
            StageOutcome::Broken(_) => (ERROR, "BROKEN", time, why),
            StageOutcome::Blocked { by } => (WARNING, "blocked", String::new(), format!("by `{}`", self.name(*by))),
            StageOutcome::NotStarted => (WARNING, "not started", String::new(), String::new()),
            StageOutcome::Interrupted => (WARNING, "interrupted", String::new(), String::new()),
        };
        let (name, width) = (self.name(stage), self.width);
        let line = stage_line(name, width, (style, state), &time, &shown(&text));
        match &report.outcome {
            StageOutcome::UpToDate { restored, .. } if restored.is_empty() && self.held.len() < MOST_HELD => {
                self.held.push_str(&line);
                self.held.push('\n');
            }
            _ => self.print(|terminal| terminal.result(line)),
        }
        match &report.outcome {
            StageOutcome::Failed(failure) => self.failure(stage, failure),
            StageOutcome::Broken(error) => {
                let text = with_causes(&**error);
                self.print(|terminal| terminal.say(format_args!("{ERROR}error{ERROR:#}{BOLD}: {text}{BOLD:#}")));
            }
            _ => {}
        }
    }

    /// What a person needs to mend a failed stage: the command, how it ended, the end of its log, where the rest is.
    fn failure(&mut self, stage: StageId, failure: &Failure) {
        let stage = &self.plan.stages[stage.index()];
        let how = match &failure.kind {
            FailureKind::Ended(_) | FailureKind::TimedOut { .. } => format!(" {}", failure.kind),
            FailureKind::Refused(refusal) => return self.refusal(&stage.name, refusal, &failure.log),
            FailureKind::Breaches(breaches) if breaches.len() == 1 => format!(": {}", breaches[0]),
            FailureKind::Breaches(breaches) => format!(" broke its declaration in {} places", breaches.len()),
            FailureKind::InputChanged(path) => format!(": its input `{path}` changed while it ran"),
        };
        let resolved = crate::plan::action::Resolved {
            inputs: Vec::new(),
            env: Vec::new(),
            tools: Vec::new(),
            personal: None,
        };
        let command = command_lines(&parameters(stage, &resolved));
        // What a program says of what is personal is not for a terminal, which a CI server keeps for all to see.
        let is_personal = stage.is_personal();
        let (tail, skipped) = match is_personal {
            // What madmall itself says of it holds names alone.
            true => match &failure.kind {
                FailureKind::Breaches(breaches) if breaches.len() > 1 => (
                    breaches.iter().take(TAIL_LINES).map(ToString::to_string).collect(),
                    false,
                ),
                _ => (Vec::new(), false),
            },
            false => tail_of(&self.workspace.absolute(&failure.log)),
        };
        let (name, log) = (&stage.name, &failure.log);
        self.print(|terminal| {
            terminal.say(format_args!("{ERROR}error{ERROR:#}{BOLD}: stage `{name}`{how}{BOLD:#}"));
            for (n, line) in command.iter().take(COMMAND_LINES).enumerate() {
                let begin = if n == 0 { "command:" } else { "        " };
                terminal.say(format!("  {begin} {}", shown(line)).trim_end());
            }
            if command.len() > COMMAND_LINES {
                terminal.say("           …");
            }
            if skipped {
                terminal.say("  | …");
            }
            for line in &tail {
                terminal.say(format_args!("  | {}", shown(line)));
            }
            if is_personal {
                terminal.say(format_args!(
                    "  it reads or writes what is personal, so what it said is not shown: {log}"
                ));
            } else if tail.is_empty() {
                terminal.say("  it wrote nothing to its log");
            } else {
                terminal.say(format_args!("  all of it: {log}"));
            }
            if let Some(readable) = &failure.advice.readable {
                terminal.say(format_args!("  it was allowed to read: {}", shown(readable)));
            }
            for wanted in &failure.advice.wanted {
                terminal.say(format_args!("{HELP}help{HELP:#}: {}", shown(wanted)));
            }
        });
    }

    /// What a built-in stage will not do, where exactly (what comes first is most useful), and what to do about it.
    fn refusal(&mut self, name: &str, refusal: &Refusal, log: &Utf8Path) {
        let listed = &refusal.details;
        let in_log = (listed.len().saturating_sub(TAIL_LINES)) as u64;
        self.print(|terminal| {
            let summary = shown(&refusal.summary);
            terminal.say(format_args!(
                "{ERROR}error{ERROR:#}{BOLD}: stage `{name}` refused: {summary}{BOLD:#}"
            ));
            for detail in listed.iter().take(TAIL_LINES) {
                terminal.say(format_args!("  {}", shown(detail)));
            }
            let more = grouped(in_log + refusal.unlisted);
            match (in_log, refusal.unlisted) {
                (0, 0) => {}
                (0, _) => terminal.say(format_args!("  and {more} more")),
                (_, 0) => terminal.say(format_args!("  and {more} more in {log}")),
                _ => {
                    let in_log = grouped(in_log);
                    terminal.say(format_args!("  and {more} more, {in_log} of them in {log}"));
                }
            }
            if let Some(help) = &refusal.help {
                terminal.say(format_args!("{HELP}help{HELP:#}: {help}"));
            }
        });
    }

    fn note(&mut self, note: &Note) {
        let plan = self.plan;
        let name = |stage: &StageId| plan.stages[stage.index()].name.as_str();
        match note {
            Note::Waiting { holder } => {
                let who = in_brackets(holder);
                self.print(|terminal| {
                    terminal.say(format_args!("another run has this workspace{who}; waiting for it"));
                });
            }
            Note::Recovered { run } => self.print(|terminal| {
                terminal.say(format_args!(
                    "an earlier run ended halfway; the stages that it finished are kept: runs/{run}.intoto.jsonl"
                ));
            }),
            Note::PutAside { path } => self.print(|terminal| warn(terminal, put_aside(path))),
            Note::NotBelieved { keyid } => self.print(|terminal| {
                warn(
                    terminal,
                    format_args!(
                        "your policy does not trust the key {keyid} that you sign with: what runs now will run again \
                         (`madmall key list` shows the policy)"
                    ),
                );
            }),
            Note::Displaced { path, to } => self.print(|terminal| {
                warn(
                    terminal,
                    format_args!("`{path}` held bytes that no receipt of yours claims; they are kept in `{to}`"),
                );
            }),
            Note::Confirmed { stage, count, keyid } => {
                let (name, key) = (name(stage), &keyid[..keyid.len().min(8)]);
                let of = match count - 1 {
                    0 => format!("`{name}`"),
                    others => format!("`{name}` and {others} more stages"),
                };
                self.print(|terminal| {
                    terminal.say(format_args!(
                        "{of} gave the same outputs as for the key {key}: confirmed"
                    ));
                });
            }
            Note::Diverged { stage, keyid, path } => {
                let (name, key) = (name(stage), &keyid[..keyid.len().min(8)]);
                self.print(|terminal| {
                    warn(
                        terminal,
                        format_args!("`{name}` gave another `{path}` than for the key {key} (W-DIVERGED)"),
                    );
                });
            }
            Note::ToolChanged { tool, stage, count } => {
                let (name, tool) = (name(stage), shown(tool));
                let of = match count - 1 {
                    0 => format!("`{name}`, which is up to date,"),
                    others => format!("`{name}` and {others} more stages, which are up to date,"),
                };
                self.print(|terminal| {
                    warn(
                        terminal,
                        format_args!("the program `{tool}` is another than when {of} ran (W-TOOL)"),
                    );
                });
            }
            Note::NotKept { why } => self.print(|terminal| {
                warn(
                    terminal,
                    format_args!("the next run has to look at everything anew: {}", shown(why)),
                );
            }),
            Note::LogBegun { log, why } => self.print(|terminal| {
                terminal.say(format_args!(
                    "began a new log, runs/log/{log}, because the old one cannot be gone on with: {why}"
                ));
            }),
            Note::Retrying { stage, why, retry, of } => self.print(|terminal| {
                let (name, why) = (name(stage), shown(why));
                terminal.say(format_args!("stage `{name}` {why}; tried again ({retry} of {of})"));
            }),
            Note::Interrupting => self.print(|terminal| {
                terminal.say("interrupted: ending what runs; once more ends it at once");
            }),
            Note::NoCommit { why } => {
                self.print(|terminal| terminal.say(format_args!("{why}; receipts name no commit")));
            }
        }
    }
}

impl Observer for Lines<'_> {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Started { stage, .. } => {
                let running = Running {
                    since: Instant::now(),
                    progress: None,
                    bar: None,
                };
                self.running.insert(stage, running);
            }
            Event::Progress { stage, progress } => self.progress(stage, progress),
            Event::Tick => self.tick(),
            Event::Finished { stage, report } => self.finished(stage, report),
            Event::Note(note) => self.note(&note),
        }
    }
}

impl Drop for Lines<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// A stage's line. Nothing is padded at its end, not even within a style.
fn stage_line(name: &str, width: usize, (style, state): (anstyle::Style, &str), time: &str, text: &str) -> String {
    let mut line = format!("  {name:width$}  {style}{state}{style:#}");
    if time.is_empty() && text.is_empty() {
        return line;
    }
    // Behind the reset: what a style covers, `trim_end` does not see.
    line.push_str(&format!(
        "{:pad$}  {time:>8}  {text}",
        "",
        pad = 11 - state.len().min(11)
    ));
    line.truncate(line.trim_end().len());
    line
}

/// The lines of stages that are up to date, as one text.
pub(super) fn up_to_date_lines<'n>(names: impl Iterator<Item = &'n str> + Clone) -> String {
    let width = name_width(names.clone());
    let lines = names.map(|name| stage_line(name, width, (DIM, "up to date"), "", "") + "\n");
    lines.collect()
}

/// How wide the column of names is.
fn name_width<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    names.map(str::len).max().unwrap_or(0).min(40)
}

/// The last lines of a log, and whether there are more before them.
fn tail_of(log: &Utf8Path) -> (Vec<String>, bool) {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let read = || {
        let mut file = std::fs::File::open(log)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        std::io::Result::Ok((bytes, size > TAIL_BYTES))
    };
    // A log that cannot be read is not worth a second error: its path is shown.
    let Ok((bytes, cut)) = read() else {
        return (Vec::new(), false);
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let skip = lines.len().saturating_sub(TAIL_LINES);
    (
        lines[skip..].iter().map(|line| (*line).to_owned()).collect(),
        cut || skip > 0,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_ends_with_spaces_even_behind_a_style() {
        let plain = |state, time, text| {
            let line = stage_line("a", 3, (DIM, state), time, text);
            anstream::adapter::strip_str(&line).to_string()
        };
        assert_eq!(plain("up to date", "", ""), "  a    up to date");
        assert_eq!(plain("ran", "0.10 s", ""), "  a    ran            0.10 s");
        assert_eq!(plain("blocked", "", "by `b`"), "  a    blocked                by `b`");
        assert_eq!(plain("not started", "1.00 s", "x"), "  a    not started    1.00 s  x");
    }
}
