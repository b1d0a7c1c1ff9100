//! A report as JUnit XML: a test case for each promise that was checked, and one for each finding.
//!
//! The shape is that of the `testsuites` that CI servers read (Jenkins, GitLab): a failure has the finding's code as its type.

use crate::markup::escape_with;
use crate::verify::report::{Finding, Report, Severity, State};

/// The whole document, without a line break at its end.
pub(super) fn document(report: &Report) -> String {
    let mut cases = Vec::new();
    for (name, state) in report.assurance.list() {
        let inner = match state {
            State::Held => None,
            State::Failed => Some(element("failure", name, "does not hold; see the findings", "")),
            State::NotChecked => Some("<skipped message=\"not checked\"/>".to_owned()),
        };
        cases.push(case("assurance", name, inner));
    }
    for finding in &report.findings {
        let code = finding.code.as_str();
        let kind = match finding.severity {
            Severity::Failure | Severity::NotReproduced => "failure",
            Severity::Inconclusive => "error",
            // A warning fails nothing.
            Severity::Warning => "system-out",
        };
        let mut details = String::new();
        for (title, value) in finding.details() {
            details.push_str(&format!("{title}: {value}\n"));
        }
        let inner = match kind {
            "system-out" => format!(
                "<system-out>{}\n{}</system-out>",
                escape(&finding.message),
                escape(&details)
            ),
            kind => element(kind, code, &finding.message, &details),
        };
        cases.push(case(code, &about(finding), Some(inner)));
    }
    let count = |wanted: &[Severity]| report.findings.iter().filter(|f| wanted.contains(&f.severity)).count();
    let states = |wanted: State| {
        report
            .assurance
            .list()
            .iter()
            .filter(|(_, state)| *state == wanted)
            .count()
    };
    let failures = count(&[Severity::Failure, Severity::NotReproduced]) + states(State::Failed);
    let errors = count(&[Severity::Inconclusive]);
    let (tests, skipped) = (cases.len(), states(State::NotChecked));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"madmall verify\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\">\n  <testsuite name=\"madmall verify\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\">\n{}\n  </testsuite>\n</testsuites>",
        cases.join("\n")
    )
}

/// What a finding is about, in a line.
fn about(finding: &Finding) -> String {
    match (&finding.file, finding.line) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (Some(file), None) => file.clone(),
        (None, _) => finding.receipt.clone().unwrap_or_else(|| finding.message.clone()),
    }
}

fn case(class: &str, name: &str, inner: Option<String>) -> String {
    let (class, name) = (escape(class), escape(name));
    match inner {
        None => format!("    <testcase classname=\"{class}\" name=\"{name}\"/>"),
        Some(inner) => format!("    <testcase classname=\"{class}\" name=\"{name}\">{inner}</testcase>"),
    }
}

fn element(name: &str, kind: &str, message: &str, text: &str) -> String {
    format!(
        "<{name} type=\"{}\" message=\"{}\">{}</{name}>",
        escape(kind),
        escape(message),
        escape(text)
    )
}

/// Text and attributes; what XML 1.0 cannot hold is spelled out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let spelled = |out: &mut String, c: char| {
        match c {
            '\n' => out.push_str("&#10;"),
            c => out.extend(c.escape_default()),
        }
        Ok::<(), std::convert::Infallible>(())
    };
    match escape_with(&mut out, text, spelled) {
        Ok(()) => out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::report::{Assurance, Code};

    #[test]
    fn what_a_name_holds_stays_text() {
        let finding = Finding::new(Code::Signature, "a <b> & \"c\"\u{1b}[0m").file("x\"/><y>");
        let report = Report {
            version: 1,
            trust: None,
            receipts: 1,
            artifacts: Vec::new(),
            findings: vec![finding],
            assurance: Assurance {
                signature: State::Failed,
                chain: State::Held,
                ..Assurance::default()
            },
            not_checked: Vec::new(),
            rerun: None,
        };
        let text = document(&report);
        assert!(
            text.contains("tests=\"10\" failures=\"2\" errors=\"0\" skipped=\"7\""),
            "{text}"
        );
        assert!(
            text.contains("<testcase classname=\"E-SIG\" name=\"x&quot;/&gt;&lt;y&gt;\">"),
            "{text}"
        );
        assert!(
            text.contains("message=\"a &lt;b&gt; &amp; &quot;c&quot;\\u{1b}[0m\""),
            "{text}"
        );
    }
}
