//! A report as commands of a GitHub Actions runner, which shows each finding at its file and line.
//!
//! ```text
//! ::error file=runs/x.intoto.jsonl,line=3,title=E-SIG::the signature does not fit …
//! ```
//!
//! The syntax is that of "Workflow commands for GitHub Actions"; in data `%`, CR and LF are percent-encoded, in properties `:`
//! and `,` too.

use crate::diagnostic::tame;
use crate::verify::report::{Finding, Report, Severity};

/// One line a finding, then one with the verdict.
pub(super) fn lines(report: &Report) -> Vec<String> {
    let mut lines: Vec<String> = report.findings.iter().map(command).collect();
    let verdict = super::verdict(report);
    lines.push(format!("::notice title=madmall verify::{}", data(&verdict)));
    lines
}

fn command(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Failure | Severity::NotReproduced | Severity::Inconclusive => "error",
        Severity::Warning => "warning",
    };
    let mut properties = Vec::new();
    properties.extend(finding.file.iter().map(|file| format!("file={}", property(file))));
    properties.extend(finding.line.iter().map(|line| format!("line={line}")));
    properties.push(format!("title={}", finding.code.as_str()));
    let mut text = finding.message.clone();
    for (title, value) in finding.details() {
        text.push_str(&format!("\n{title}: {value}"));
    }
    format!("::{level} {}::{}", properties.join(","), data(&text))
}

fn data(text: &str) -> String {
    // A carriage return has a spelling of its own here.
    let lines = text.split('\r').map(tame).collect::<Vec<_>>().join("\r");
    lines.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::report::Code;

    #[test]
    fn a_name_from_a_hostile_folder_cannot_begin_a_command_of_its_own() {
        let finding =
            Finding::new(Code::Digest, "was changed\n::error::forged").file("a,line=9:b\r\n::stop-commands::x");
        let line = command(&finding.differs("50%", "60%"));
        let of_terminal = Finding::new(Code::Digest, "\u{1b}[2J\u{202e}").file("runs/\u{1b}]0;x\u{7}");
        let spelled = "::error file=runs/\\u{1b}]0;x\\u{7},title=E-DIGEST::\\u{1b}[2J\\u{202e}";
        assert_eq!(command(&of_terminal), spelled);
        assert_eq!(
            line,
            "::error file=a%2Cline=9%3Ab%0D%0A%3A%3Astop-commands%3A%3Ax,title=E-DIGEST::was changed%0A::error::forged\
             %0Aexpected: 50%25%0Afound: 60%25"
        );
    }
}
