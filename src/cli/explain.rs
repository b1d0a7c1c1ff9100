//! `madmall explain`: what a code means, from the page that the documentation has of it.

use super::terminal::{BOLD, Failure, Terminal};
use crate::diagnostic::nearest;
use crate::exit_code::ExitCode;

/// Every code has a section in it: `## E-JSON`, then text.
const PAGE: &str = include_str!("../../docs/errors.md");

/// Arguments of `explain`.
#[derive(clap::Args)]
pub(super) struct ExplainArguments {
    /// A code that `verify` or `run` printed, for example E-DIGEST; without it, every code with its first sentence
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Explains.
pub(super) fn explain(arguments: &ExplainArguments, terminal: &mut Terminal) -> Result<ExitCode, Failure> {
    let Some(code) = &arguments.code else {
        for (code, text) in sections() {
            terminal.result(format_args!("{BOLD}{code:<15}{BOLD:#} {}", first_sentence(text)));
        }
        return Ok(ExitCode::Success);
    };
    let wanted = code.to_ascii_uppercase();
    match sections().find(|(code, _)| *code == wanted) {
        Some((code, text)) => {
            terminal.result(format_args!("{BOLD}{code}{BOLD:#}\n\n{text}"));
            Ok(ExitCode::Success)
        }
        None => {
            let known = nearest(&wanted, sections().map(|(code, _)| code));
            let help = match known {
                Some(near) => format!("there is a code `{near}`"),
                None => "`madmall explain` lists every code".to_owned(),
            };
            let message = format!("`{code}` is no code of madmall");
            Err(Failure::new(
                ExitCode::Refused,
                super::terminal::shown(&message),
                Some(&help),
            ))
        }
    }
}

/// The codes of the page, each with its text.
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = PAGE.split("\n## ").skip(1);
    sections.filter_map(|section| section.split_once('\n').map(|(code, text)| (code, text.trim())))
}

fn first_sentence(text: &str) -> String {
    let line = text.split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match line.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::report::Code;

    #[test]
    fn every_code_has_one_section_and_every_section_a_text() {
        for code in Code::ALL {
            let found: Vec<_> = sections().filter(|(name, _)| *name == code.as_str()).collect();
            assert_eq!(found.len(), 1, "{}", code.as_str());
        }
        assert!(sections().all(|(_, text)| first_sentence(text).len() > 20));
    }
}
