//! What is said of stages that ran again.

use camino::Utf8Path;
use serde_json::json;

use crate::cli::terminal::{ERROR, GOOD, Terminal, WARNING, shown};
use crate::cli::verify::show_lines;
use crate::exit_code::ExitCode;
use crate::verify;
use crate::verify::report::{Code, Finding, RerunStage, RerunVerdict, Severity, State};

/// What is said at the end of `madmall rerun`.
pub(super) struct Said<'a> {
    /// What is wrong with what was asked for.
    pub(super) findings: Vec<&'a Finding>,
    /// Where that lies which came out, if something did.
    pub(super) folder: Option<&'a Utf8Path>,
    pub(super) stages: &'a [RerunStage],
}

impl Said<'_> {
    /// As a report ends: what was changed comes before what came out otherwise, and that before what cannot be told.
    pub(super) fn code(&self) -> ExitCode {
        match (
            self.findings.iter().map(|finding| finding.severity).min(),
            code(self.stages),
        ) {
            (Some(Severity::Failure), _) => ExitCode::VerificationFailed,
            (Some(Severity::Inconclusive), ExitCode::Success) => ExitCode::Inconclusive,
            (_, code) => code,
        }
    }

    pub(super) fn tell(&self, as_json: bool, terminal: &mut Terminal) {
        if as_json {
            return terminal.result(json!({
                "version": 1, "folder": self.folder, "stages": self.stages, "findings": self.findings,
                "exitCode": self.code().number(),
            }));
        }
        for finding in &self.findings {
            show_lines(&verify::finding_lines(finding), terminal);
        }
        print(self.stages, terminal);
        if let Some(folder) = self.folder {
            terminal.result(format_args!("what came out is in {folder}"));
        }
        if self.stages.is_empty() && self.findings.is_empty() {
            terminal.say("nothing could be run again: the receipt is of no stage that succeeded");
        }
    }
}

/// Whether all came out as it was.
pub(super) fn state(stages: &[RerunStage]) -> State {
    let any = |verdict| stages.iter().any(|stage| stage.verdict == verdict);
    if any(RerunVerdict::Differs) {
        State::Failed
    } else if stages.is_empty() || any(RerunVerdict::NotCompared) || any(RerunVerdict::WithinTolerance) {
        State::NotChecked
    } else {
        State::Held
    }
}

/// What running the stages again gave, as findings, in their order.
pub(super) fn findings(stages: &[RerunStage]) -> Vec<Finding> {
    if stages.is_empty() {
        let message =
            "nothing could be run again: no trusted receipt of a stage that succeeded is about what was asked";
        let help = "name a run or a receipt, as `madmall log` lists them, if its outputs are not in place";
        return vec![Finding::new(Code::NoRerun, message).help(help)];
    }
    let mut findings = Vec::new();
    let mut is_first = true;
    for stage in stages {
        let name = &stage.stage;
        let finding = match stage.verdict {
            RerunVerdict::Identical => continue,
            RerunVerdict::NotCompared => {
                let reason = stage.reason.as_deref().unwrap_or("nobody knows why");
                Finding::new(Code::NoRerun, format!("stage `{name}` was not compared: {reason}"))
            }
            RerunVerdict::WithinTolerance => Finding::new(
                Code::WarnTolerance,
                format!("stage `{name}` was reproduced within tolerance; the bits are not the same"),
            ),
            RerunVerdict::Differs => differs(stage, std::mem::replace(&mut is_first, false)),
        };
        findings.push(Finding {
            receipt: Some(stage.receipt.clone()),
            ..finding
        });
    }
    findings
}

fn differs(stage: &RerunStage, is_first: bool) -> Finding {
    let name = &stage.stage;
    let which = match is_first {
        true => format!("stage `{name}` is the first that came out otherwise"),
        false => format!("stage `{name}` came out otherwise too"),
    };
    let also = match stage.outputs.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more of its outputs)", count - 1),
    };
    let mut finding = match (stage.outputs.first(), &stage.reason) {
        (Some(output), _) => Finding::new(Code::Rerun, format!("{which}: first at {}{also}", output.place))
            .file(&output.path)
            .differs(&output.expected, &output.found),
        (None, reason) => {
            let reason = reason.as_deref().unwrap_or_default();
            Finding::new(Code::Rerun, format!("{which}: {reason}"))
        }
    };
    if !stage.otherwise.is_empty() {
        finding = finding.help(format!("what else is not as it was: {}", stage.otherwise.join("; ")));
    }
    finding
}

fn code(stages: &[RerunStage]) -> ExitCode {
    match state(stages) {
        State::Held => ExitCode::Success,
        State::Failed => ExitCode::NotReproduced,
        State::NotChecked if stages.iter().any(|stage| stage.verdict == RerunVerdict::NotCompared) => {
            ExitCode::Inconclusive
        }
        State::NotChecked if stages.is_empty() => ExitCode::Inconclusive,
        State::NotChecked => ExitCode::Success,
    }
}

fn print(stages: &[RerunStage], terminal: &mut Terminal) {
    for stage in stages {
        let name = shown(&stage.stage);
        match stage.verdict {
            RerunVerdict::Identical => terminal.result(format_args!("{GOOD}identical{GOOD:#}     {name}")),
            RerunVerdict::WithinTolerance => {
                terminal.result(format_args!("{WARNING}within tolerance{WARNING:#}  {name}"));
            }
            RerunVerdict::Differs => terminal.result(format_args!("{ERROR}differs{ERROR:#}       {name}")),
            RerunVerdict::NotCompared => {
                terminal.result(format_args!("{WARNING}not compared{WARNING:#}  {name}"));
            }
        }
        if let Some(reason) = &stage.reason {
            terminal.result(format_args!("  {}", shown(reason)));
        }
        for output in &stage.outputs {
            let (path, place) = (shown(&output.path), shown(&output.place));
            let first = if output.is_within { "" } else { "first at " };
            terminal.result(format_args!("  `{path}`: {first}{place}"));
        }
        for other in &stage.otherwise {
            terminal.result(format_args!("  not as it was: {}", shown(other)));
        }
    }
}
