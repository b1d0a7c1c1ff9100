//! `madmall diff`: what is different between two runs.

use camino::Utf8Path;
use serde_json::json;

use super::opened::find_workspace;
use super::runs::{named, unreadable};
use super::surroundings::Surroundings;
use super::table::{count, cut, pad, width};
use super::terminal::{BOLD, Columns, DIM, Failure, Terminal, environment, shown, warn};
use crate::exit_code::ExitCode;
use crate::history::diff::{Comparison, Row, Section, compare};
use crate::history::numbers::short;
use crate::history::past::{PastRun, load};
use crate::history::runs::run_ids;
use crate::store::Store;

/// So many rows of a section are shown without `--all`.
const MOST_ROWS: usize = 20;
/// The name of a value is cut to this.
const WIDEST_NAME: usize = 44;

/// Arguments of `diff`.
#[derive(clap::Args)]
pub(super) struct DiffArguments {
    /// A run: its id, a beginning of it, its file, `latest` or `latest~1`
    #[arg(value_name = "RUN")]
    first: String,
    /// The run to compare it with
    #[arg(value_name = "RUN")]
    second: String,
    /// Show what is the same too
    #[arg(long)]
    all: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Compares two runs.
pub(super) fn diff(
    arguments: &DiffArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let ids = run_ids(&workspace).map_err(|error| environment(&error))?;
    let read = |name: &str| {
        let id = named(&ids, name)?;
        load(&workspace, &ids, id).map_err(|error| unreadable(id, &error))
    };
    let (first, second) = (read(&arguments.first)?, read(&arguments.second)?);
    let store = Store::of(workspace.root());
    let comparison = compare(&first, &second, &workspace, &store);
    match arguments.json {
        true => print_json(arguments, (&first, &second), &comparison, terminal),
        false => print_text(arguments, (&first, &second), &comparison, terminal),
    }
    Ok(ExitCode::Success)
}

fn print_json(
    arguments: &DiffArguments,
    (first, second): (&PastRun, &PastRun),
    comparison: &Comparison,
    terminal: &mut Terminal,
) {
    let rows = comparison.rows.iter().filter(|row| arguments.all || row.differs()).map(|row| {
        json!({
            "section": row.section.title(), "stage": row.stage, "file": row.file, "name": row.name, "first": row.was, "second": row.is,
            "change": row.change, "differs": row.differs(),
        })
    });
    let rows: Vec<_> = rows.collect();
    let run = |run: &PastRun| json!({ "run": run.id(), "receipt": run.own.id.to_string() });
    terminal.result(json!({
        "version": 1, "first": run(first), "second": run(second), "rows": rows, "notes": comparison.notes,
    }));
}

fn print_text(
    arguments: &DiffArguments,
    (first, second): (&PastRun, &PastRun),
    comparison: &Comparison,
    terminal: &mut Terminal,
) {
    let chosen: Vec<&Row> = comparison
        .rows
        .iter()
        .filter(|row| arguments.all || row.differs())
        .collect();
    let widths = Widths::of(&chosen, terminal.columns());
    terminal.result(format_args!("{DIM}first {DIM:#} {BOLD}{}{BOLD:#}", shown(first.id())));
    terminal.result(format_args!("{DIM}second{DIM:#} {BOLD}{}{BOLD:#}", shown(second.id())));
    for section in Section::ALL {
        let rows: Vec<&&Row> = chosen.iter().filter(|row| row.section == section).collect();
        if rows.is_empty() {
            continue;
        }
        terminal.result(format_args!("{BOLD}{}{BOLD:#}", section.title()));
        let most = if arguments.all { usize::MAX } else { MOST_ROWS };
        let mut file = None;
        for row in rows.iter().take(most) {
            if row.file.is_some() && file != Some((&row.stage, &row.file)) {
                file = Some((&row.stage, &row.file));
                let title = format!(
                    "{}  {}",
                    row.stage.as_deref().unwrap_or_default(),
                    row.file.as_deref().unwrap_or_default()
                );
                terminal.result(cut(&format!("  {}", shown(&title)), widths.most));
            }
            terminal.result(line(row, &widths));
        }
        if let Some(more) = rows.len().checked_sub(most).filter(|more| *more > 0) {
            terminal.result(format_args!("  {DIM}and {more} more (--all){DIM:#}"));
        }
    }
    let same = comparison.rows.iter().filter(|row| !row.differs()).count();
    if chosen.iter().all(|row| !row.differs()) {
        terminal.result(format_args!("no difference in {}", count(same, "value", "values")));
    } else if !arguments.all {
        terminal.result(format_args!(
            "{DIM}{} the same (--all){DIM:#}",
            count(same, "value is", "values are")
        ));
    }
    for note in &comparison.notes {
        warn(terminal, shown(note));
    }
}

/// How wide the columns are.
struct Widths {
    name: usize,
    value: usize,
    most: usize,
}

impl Widths {
    fn of(rows: &[&Row], columns: Columns) -> Self {
        let names = rows.iter().map(|row| width(&name_of(row)));
        let name = names.max().unwrap_or(0).min(WIDEST_NAME).min(columns.layout / 2);
        let values = rows
            .iter()
            .flat_map(|row| [value_of(row, &row.was), value_of(row, &row.is)]);
        // Two values, and room for a change after them.
        let room = columns.layout.saturating_sub(name + 2 + 2 + 2) / 2;
        Self {
            name,
            value: values.map(|value| width(&value)).max().unwrap_or(0).min(room.max(14)),
            most: columns.most,
        }
    }
}

fn line(row: &Row, widths: &Widths) -> String {
    let name = pad(&cut(&name_of(row), widths.name), widths.name);
    let (was, is) = told_apart(&value_of(row, &row.was), &value_of(row, &row.is), widths.value);
    let is = match &row.change {
        Some(change) => format!("{}  {change}", pad(&is, widths.value.min(14))),
        None => is,
    };
    let line = format!("  {name}  {}  {is}", pad(&was, widths.value));
    cut(&line, widths.most).trim_end().to_owned()
}

/// Two values in so many columns each. Where both are longer and begin alike, both are cut before they differ.
fn told_apart(was: &str, is: &str, columns: usize) -> (String, String) {
    const BEFORE: usize = 4;
    let same = was.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
    let begin = |text: &str| {
        let tail: String = text.chars().skip(same.saturating_sub(BEFORE)).collect();
        cut(&format!("…{tail}"), columns)
    };
    let is_longer = width(was).max(width(is)) > columns;
    match was != is && is_longer && same + BEFORE > columns {
        true => (begin(was), begin(is)),
        false => (cut(was, columns), cut(is, columns)),
    }
}

/// The name of a row; numbers stand below the name of their file.
fn name_of(row: &Row) -> String {
    let name = match (&row.stage, &row.file) {
        (_, Some(_)) => format!("  {}", row.name),
        (Some(stage), None) => format!("{stage}  {}", row.name),
        (None, None) => row.name.clone(),
    };
    shown(&name)
}

/// A value as a person tells two apart: the first digits of digests and commits, six digits of numbers.
fn value_of(row: &Row, value: &Option<String>) -> String {
    let Some(text) = value else {
        return "-".to_owned();
    };
    let number = match row.section {
        Section::Metrics => serde_json::from_str(text).ok().map(|number| short(&number, 6)),
        _ => None,
    };
    let other = |value: &Option<String>| value.as_ref().and_then(|text| serde_json::from_str(text).ok());
    let is_told = |_: &String| match (other(&row.was), other(&row.is)) {
        // Two numbers that differ must not look the same.
        (Some(was), Some(is)) => !row.differs() || short(&was, 6) != short(&is, 6),
        _ => true,
    };
    if let Some(number) = number.filter(is_told) {
        return number;
    }
    for algorithm in ["blake3:", "sha256:"] {
        if let Some(hex) = text.strip_prefix(algorithm) {
            let version = hex.get(64..).unwrap_or_default();
            return shown(&format!("{}{version}", hex.get(..12).unwrap_or(hex)));
        }
    }
    if row.section == Section::Run && row.name == "commit" {
        let (commit, edits) = text
            .split_once(", ")
            .map_or((text.as_str(), ""), |(commit, _)| (commit, "+"));
        return shown(&format!("{}{edits}", commit.get(..12).unwrap_or(commit)));
    }
    shown(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_where_they_differ() {
        let (was, is) = told_apart("cp a-long-name/x out", "cp a-long-name/y out", 12);
        assert_eq!((was.as_str(), is.as_str()), ("…ame/x out", "…ame/y out"));
        assert_eq!(told_apart("abc", "abd", 12), ("abc".into(), "abd".into()));
        let (was, _) = told_apart("x-very-long-text", "y-very-long-text", 8);
        assert_eq!(was, "x-very-…");
    }
}
