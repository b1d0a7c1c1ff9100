//! Commands and parameters as a person reads them.

use crate::receipt::statement::{CommandRecord, ParamRecord, StageParameters};
use crate::spec::{Scalar, without_quotes};

/// What a stage runs as a person would type it, a line each. Words are quoted where the shell would take them apart.
#[must_use]
pub fn command_lines(parameters: &StageParameters) -> Vec<String> {
    let mut lines = lines_of(&parameters.command);
    if let Some(last) = lines.last_mut() {
        last.extend(parameters.stdin.iter().map(|name| format!(" < ${{inputs.{name}}}")));
        last.extend(parameters.stdout.iter().map(|name| format!(" > ${{outputs.{name}}}")));
    }
    lines
}

fn lines_of(command: &CommandRecord) -> Vec<String> {
    match command {
        CommandRecord::Builtin { name, .. } => vec![format!("madmall/{name}")],
        CommandRecord::Argv(argv) => {
            let words: Vec<_> = argv.iter().map(|word| word_for_shell(word)).collect();
            words.join(" ").lines().map(str::to_owned).collect()
        }
        CommandRecord::Shell(text) => text.trim().lines().map(str::to_owned).collect(),
    }
}

/// A command as one line.
pub(super) fn command_line(parameters: &StageParameters) -> String {
    one_line(&command_lines(parameters))
}

fn one_line(lines: &[String]) -> String {
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.trim())
        .filter(|line| !line.is_empty())
        .collect();
    lines.join(" ↵ ")
}

/// At most 60 characters of `line`, among them the first that `other` has otherwise.
pub(super) fn excerpt(line: &str, other: &str) -> String {
    const LONGEST: usize = 60;
    const BEFORE: usize = 20;
    let same = line.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    // What is cut before must be cut from both, or they could not be compared.
    let start = if same < LONGEST - BEFORE { 0 } else { same - BEFORE };
    let mut text = String::from(if start > 0 { "…" } else { "" });
    text.extend(line.chars().skip(start).take(LONGEST));
    if line.chars().nth(start + LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn word_for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// A parameter as a person would write it: a text that means something else without quotes stands in them.
#[must_use]
pub fn param_text(value: &ParamRecord) -> String {
    match value {
        ParamRecord::Null => "null".to_owned(),
        ParamRecord::Boolean(value) => value.to_string(),
        ParamRecord::Number(number) => number.clone(),
        ParamRecord::String(text) if text.starts_with(['"', '\'', '[', '{']) => format!("{text:?}"),
        ParamRecord::String(text) => match without_quotes(text) {
            Scalar::String(text) => text.to_owned(),
            Scalar::Null | Scalar::Boolean(_) | Scalar::Number(_) => format!("{text:?}"),
        },
        ParamRecord::List(items) => {
            let items: Vec<_> = items.iter().map(part_text).collect();
            format!("[{}]", items.join(", "))
        }
        ParamRecord::Map(map) => {
            let members: Vec<_> = map.iter().map(|(k, v)| format!("{k}: {}", part_text(v))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// The same of a part of a list or a map, where a comma would begin the next.
fn part_text(value: &ParamRecord) -> String {
    match value {
        ParamRecord::String(text) if text.contains(',') => format!("{text:?}"),
        value => param_text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_can_be_typed() {
        let argv = ["python3", "-c", "print('a b')", "", "data/x.csv"].map(str::to_owned);
        let shown = lines_of(&CommandRecord::Argv(argv.to_vec()));
        assert_eq!(shown, [r"python3 -c 'print('\''a b'\'')' '' data/x.csv"]);
        let shell = CommandRecord::Shell("set -x\n\n  sleep 1\nfalse\n".to_owned());
        assert_eq!(lines_of(&shell), ["set -x", "", "  sleep 1", "false"]);
        assert_eq!(one_line(&lines_of(&shell)), "set -x ↵ sleep 1 ↵ false");
    }

    #[test]
    fn a_parameter_shows_its_type() {
        let text = |text: &str| param_text(&ParamRecord::String(text.to_owned()));
        let shown = ["fast", "a b", "no", "010", "", "2", "1e3", "true", "~", "[1]"].map(text);
        assert_eq!(
            shown,
            [
                "fast", "a b", "no", "010", "\"\"", "\"2\"", "\"1e3\"", "\"true\"", "\"~\"", "\"[1]\""
            ]
        );
        let list = ParamRecord::List(vec![
            ParamRecord::Number("2".to_owned()),
            ParamRecord::String("2".to_owned()),
        ]);
        assert_eq!(param_text(&list), "[2, \"2\"]");
        let list = |items: &[&str]| {
            let items = items.iter().map(|item| ParamRecord::String((*item).to_owned()));
            param_text(&ParamRecord::List(items.collect()))
        };
        assert_eq!(list(&["a", "b"]), "[a, b]");
        assert_eq!(list(&["a, b"]), "[\"a, b\"]");
    }

    #[test]
    fn a_changed_command_shows_what_changed_however_long_it_is() {
        assert_eq!(excerpt("cp a b", "cat a b"), "cp a b");
        let long = "x".repeat(100);
        let (was, is) = (format!("{long} --rate 1"), format!("{long} --rate 2 {long}"));
        assert_eq!(excerpt(&was, &is), format!("…{} --rate 1", "x".repeat(12)));
        assert_eq!(
            excerpt(&is, &was),
            format!("…{} --rate 2 {}…", "x".repeat(12), "x".repeat(38))
        );
    }
}
