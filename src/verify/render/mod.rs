//! A report in words: the verdict first, then what was found, then what was not checked.

mod github;
mod junit;

use std::fmt::Write as _;

use super::report::{Artifact, Finding, Report, RerunStage, RerunVerdict, Severity, State};
use crate::exit_code::ExitCode;

/// A form in which programs of others take a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Commands of a GitHub Actions runner.
    Github,
    /// JUnit XML.
    Junit,
}

/// The most raw inputs that are named for one artifact; `--json` names all.
const MAX_SOURCES: usize = 6;

/// What a line says, so that the caller can colour it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Good,
    /// Something was changed.
    Bad,
    /// It cannot be told, or is worth knowing.
    Caution,
    /// The name of a thing.
    Name,
    /// The rest.
    Plain,
}

/// A line of text and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub tone: Tone,
    /// Without a line break.
    pub text: String,
}

impl Report {
    /// The report as plain text.
    #[must_use]
    pub fn render(&self) -> String {
        self.lines().into_iter().fold(String::new(), |mut text, line| {
            text.push_str(&line.text);
            text.push('\n');
            text
        })
    }

    /// The report in a form that CI servers show.
    #[must_use]
    pub fn render_as(&self, format: Format) -> String {
        match format {
            Format::Github => github::lines(self).join("\n"),
            Format::Junit => junit::document(self),
        }
    }

    /// The report line by line.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let tone = match self.exit_code() {
            ExitCode::Success => Tone::Good,
            ExitCode::Inconclusive => Tone::Caution,
            _ => Tone::Bad,
        };
        push(&mut lines, tone, verdict(self));
        for artifact in &self.artifacts {
            render_artifact(&mut lines, artifact);
        }
        if let Some(stages) = &self.rerun {
            render_rerun(&mut lines, stages);
        }
        if !self.findings.is_empty() {
            push(&mut lines, Tone::Plain, String::new());
        }
        for finding in &self.findings {
            render_finding(&mut lines, finding);
        }
        push(&mut lines, Tone::Plain, String::new());
        for (tone, title, state) in [
            (Tone::Good, "held:       ", State::Held),
            (Tone::Bad, "failed:     ", State::Failed),
            (Tone::Caution, "not checked:", State::NotChecked),
        ] {
            let all = self.assurance.list();
            let names: Vec<&str> = all.iter().filter(|(_, s)| *s == state).map(|(n, _)| *n).collect();
            if !names.is_empty() {
                push(&mut lines, tone, format!("{title} {}", names.join(", ")));
            }
        }
        for note in &self.not_checked {
            push(&mut lines, Tone::Plain, format!("  - {note}"));
        }
        lines
    }
}

/// The first line: the verdict, and on whose word.
fn verdict(report: &Report) -> String {
    let verdict = match report.exit_code() {
        ExitCode::Success => "verified",
        ExitCode::Inconclusive => "inconclusive",
        ExitCode::NotReproduced => "NOT REPRODUCED",
        _ => "FAILED",
    };
    let trust = report.trust.as_deref().unwrap_or("nobody");
    format!("{verdict}: {} receipts read; trusted: {trust}", report.receipts)
}

fn render_artifact(lines: &mut Vec<Line>, artifact: &Artifact) {
    push(lines, Tone::Name, escape(&artifact.path));
    let at = match &artifact.commit {
        Some(commit) => format!("at commit {}", &commit[..12.min(commit.len())]),
        None => "at no commit".to_owned(),
    };
    let uncommitted = if artifact.uncommitted {
        " with uncommitted files"
    } else {
        ""
    };
    let copy = match &artifact.copy_of {
        Some(original) => format!("a copy of `{}`, ", escape(original)),
        None => String::new(),
    };
    let mut text = format!(
        "  {copy}made by stage `{}` of `{}` {at}{uncommitted}, {}, signed by {} ({})",
        escape(&artifact.stage),
        escape(&artifact.pipeline_file),
        artifact.finished_on,
        escape(&artifact.signer),
        &artifact.keyid[..8.min(artifact.keyid.len())],
    );
    push(lines, Tone::Plain, std::mem::take(&mut text));
    for source in artifact.sources.iter().take(MAX_SOURCES) {
        let digest = &source.digest[..source.digest.len().min(19)];
        push(
            lines,
            Tone::Plain,
            format!("  from `{}` ({digest}…)", escape(&source.path)),
        );
    }
    if artifact.sources.len() > MAX_SOURCES {
        let more = artifact.sources.len() - MAX_SOURCES;
        push(lines, Tone::Plain, format!("  and from {more} more"));
    }
}

/// A finding line by line.
#[must_use]
pub fn finding_lines(finding: &Finding) -> Vec<Line> {
    let mut lines = Vec::new();
    render_finding(&mut lines, finding);
    lines
}

/// One line for each verdict on stages that were run again.
fn render_rerun(lines: &mut Vec<Line>, stages: &[RerunStage]) {
    for (tone, title, verdict) in [
        (Tone::Good, "identical", RerunVerdict::Identical),
        (Tone::Caution, "within tolerance", RerunVerdict::WithinTolerance),
        (Tone::Bad, "came out otherwise", RerunVerdict::Differs),
        (Tone::Caution, "not compared", RerunVerdict::NotCompared),
    ] {
        let of_it = stages.iter().filter(|stage| stage.verdict == verdict);
        let names: Vec<String> = of_it.map(|stage| escape(&stage.stage)).collect();
        if !names.is_empty() {
            push(lines, tone, format!("run again, {title}: {}", names.join(", ")));
        }
    }
}

fn render_finding(lines: &mut Vec<Line>, finding: &Finding) {
    let (tone, word) = match finding.severity {
        Severity::Failure | Severity::NotReproduced => (Tone::Bad, "error"),
        Severity::Inconclusive => (Tone::Caution, "open"),
        Severity::Warning => (Tone::Caution, "warning"),
    };
    let mut text = format!("{word}[{}]: ", finding.code.as_str());
    if let Some(file) = &finding.file {
        text.push_str(&escape(file));
        if let Some(line) = finding.line {
            let _ = write!(text, ":{line}");
        }
        text.push_str(": ");
    }
    text.push_str(&escape(&finding.message));
    push(lines, tone, text);
    for (title, value) in finding.details() {
        push(lines, Tone::Plain, format!("  {title:<8} {}", escape(value)));
    }
}

/// Text from a receipt or a file's name cannot move the cursor or begin a line of its own.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

fn push(lines: &mut Vec<Line>, tone: Tone, text: String) {
    lines.push(Line { tone, text });
}
