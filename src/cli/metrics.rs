//! `madmall metrics`: numbers across runs.

use camino::Utf8Path;
use serde_json::json;

use super::numbers::some;
use super::opened::find_workspace;
use super::surroundings::Surroundings;
use super::table::{count, cut, pad, pad_left, width};
use super::terminal::{BOLD, DIM, Failure, Terminal, environment, shown, warn};
use crate::diagnostic::nearest;
use crate::exit_code::ExitCode;
use crate::history::metrics::{Request, Row, Table, table};
use crate::history::numbers::short;
use crate::history::runs::run_ids;
use crate::store::Store;

/// A column's name is cut to this.
const WIDEST: usize = 24;
/// So many notes are told.
const MOST_NOTES: usize = 10;
/// The part of a run's id that says when it was: enough to name it, unless two began in one second.
const TIME: usize = 18;

/// Arguments of `metrics`.
#[derive(clap::Args)]
pub(super) struct MetricsArguments {
    /// Only runs of this pipeline: its file or its name
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// The numbers to show, by name: `auc`, `holdout.auc`, `train.metrics.holdout.auc` (default: the highest level of outputs
    /// named `metrics`)
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    select: Vec<String>,
    /// Only the newest N runs
    #[arg(short = 'n', long, value_name = "N", value_parser = some, allow_negative_numbers = true)]
    limit: Option<usize>,
    /// Print CSV, with all columns and every digit
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows the table.
pub(super) fn metrics(
    arguments: &MetricsArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let ids = run_ids(&workspace).map_err(|error| environment(&error))?;
    // A file is named relative to where one is, a receipt names it relative to the workspace.
    let pipeline = arguments.pipeline.as_ref().map(|text| {
        let path = Utf8Path::new(text);
        match find_workspace(&surroundings.folder, path) {
            Ok((_, file)) if path.extension().is_some() => file.into_string(),
            _ => text.clone(),
        }
    });
    let request = Request {
        pipeline: pipeline.as_deref(),
        select: &arguments.select,
        limit: arguments.limit,
    };
    let table = table(&workspace, &Store::of(workspace.root()), &ids, request);
    refuse_nothing(arguments, ids.is_empty(), &table)?;
    if arguments.json {
        print_json(&table, terminal);
        return Ok(code_of(&table));
    }
    match arguments.csv {
        true => terminal.bytes(csv(&table).as_bytes()),
        false => print_text(&table, terminal),
    }
    for note in table.notes.iter().take(MOST_NOTES) {
        warn(terminal, shown(note));
    }
    if let Some(more) = table.notes.len().checked_sub(MOST_NOTES).filter(|more| *more > 0) {
        warn(
            terminal,
            format_args!("{more} more files were not read (--json names them)"),
        );
    }
    Ok(code_of(&table))
}

/// What cannot be shown at all.
fn refuse_nothing(arguments: &MetricsArguments, no_runs: bool, table: &Table) -> Result<(), Failure> {
    if let Some((name, known)) = table.unknown.first().filter(|_| table.any_run) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("there is a number `{}`", shown(near)),
            None if known.is_empty() => "no JSON output of these runs can be read".to_owned(),
            None => format!("there are {}", shown(&known[..known.len().min(12)].join(", "))),
        };
        let message = format!("no run has a number called `{}`", shown(name));
        return Err(Failure::new(ExitCode::Refused, message, Some(&help)));
    }
    if !table.any_run && table.notes.is_empty() {
        let message = match &arguments.pipeline {
            Some(pipeline) if !no_runs => format!("there is no run of `{}` here", shown(pipeline)),
            _ => "there are no runs here yet".to_owned(),
        };
        let help = "`madmall log` lists runs, `madmall run PIPELINE` makes one";
        return Err(Failure::new(ExitCode::Inconclusive, message, Some(help)));
    }
    Ok(())
}

fn code_of(table: &Table) -> ExitCode {
    match table.rows.is_empty() && !table.notes.is_empty() {
        true => ExitCode::Inconclusive,
        false => ExitCode::Success,
    }
}

fn print_text(table: &Table, terminal: &mut Terminal) {
    if table.columns.is_empty() {
        let runs = count(table.without, "run has", "runs have");
        terminal.say(format_args!(
            "{runs} no output named `metrics` with numbers in it; --select takes them from others"
        ));
        return;
    }
    let cells: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| {
            row.values
                .iter()
                .map(|value| value.as_ref().map_or("-".into(), |v| short(v, 6)))
                .collect()
        })
        .collect();
    let heads: Vec<(String, String)> = table.columns.iter().map(|name| head(name)).collect();
    let width_of = |column: usize| {
        let cells = cells.iter().map(|row| width(&row[column]));
        cells
            .chain([width(&heads[column].0), width(&heads[column].1)])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width_of).collect();
    let names: Vec<String> = table.rows.iter().map(|row| when(row, &table.rows)).collect();
    let name_width = names.iter().map(|name| width(name)).max().unwrap_or(0);
    let commit_width = table
        .rows
        .iter()
        .map(|row| width(&commit(row)))
        .max()
        .unwrap_or(0)
        .max(6);
    let room = terminal.columns().layout.saturating_sub(name_width + 2 + commit_width);
    let chosen = table.fitting(&|columns| columns.iter().map(|column| widths[*column] + 2).sum::<usize>() <= room);
    let line = |first: &str, second: &str, cell: &dyn Fn(usize) -> String| {
        let cells: String = chosen
            .iter()
            .map(|c| format!("  {}", pad_left(&cell(*c), widths[*c])))
            .collect();
        let line = format!("{}  {}{cells}", pad(first, name_width), pad(second, commit_width));
        line.trim_end().to_owned()
    };
    if chosen.iter().any(|c| !heads[*c].0.is_empty()) {
        terminal.result(format_args!("{BOLD}{}{BOLD:#}", line("", "", &|c| heads[c].0.clone())));
    }
    terminal.result(format_args!(
        "{BOLD}{}{BOLD:#}",
        line("run", "commit", &|c| heads[c].1.clone())
    ));
    for ((row, name), cells) in table.rows.iter().zip(&names).zip(&cells) {
        let failed = if row.succeeded {
            ""
        } else {
            "  (not all stages succeeded)"
        };
        terminal.result(format_args!(
            "{}{failed}",
            line(name, &commit(row), &|c| cells[c].clone())
        ));
    }
    let hidden = table.columns.len() - chosen.len() + table.left_out;
    if hidden > 0 {
        let columns = count(hidden, "column does", "columns do");
        terminal.result(format_args!(
            "{DIM}{columns} not fit; --select NAME,… chooses, --csv and --json have all{DIM:#}"
        ));
    }
    if table.without > 0 {
        let runs = count(table.without, "run has", "runs have");
        terminal.result(format_args!("{DIM}{runs} none of these numbers{DIM:#}"));
    }
}

/// A column's name in two lines: what leads to the number, and its own.
fn head(name: &str) -> (String, String) {
    let (group, own) = name.rsplit_once('.').unwrap_or(("", name));
    (cut(&shown(group), WIDEST), cut(&shown(own), WIDEST))
}

/// As much of a run's id as names it.
fn when(row: &Row, rows: &[Row]) -> String {
    let begin = row.run.get(..TIME).unwrap_or(&row.run);
    match rows.iter().filter(|other| other.run.starts_with(begin)).count() {
        1 => shown(begin),
        _ => shown(&row.run),
    }
}

fn commit(row: &Row) -> String {
    let plus = if row.uncommitted { "+" } else { "" };
    match &row.commit {
        Some(commit) => format!("{}{plus}", commit.get(..12).unwrap_or(commit)),
        None => "-".to_owned(),
    }
}

fn print_json(table: &Table, terminal: &mut Terminal) {
    let rows = table.rows.iter().map(|row| {
        json!({
            "run": row.run, "pipeline": row.pipeline, "finishedOn": row.finished_on, "commit": row.commit,
            "uncommitted": row.uncommitted, "succeeded": row.succeeded, "values": row.values,
        })
    });
    let rows: Vec<_> = rows.collect();
    terminal.result(json!({
        "version": 1, "columns": table.columns, "rows": rows, "runsWithout": table.without,
        "columnsLeftOut": table.left_out, "notes": table.notes,
    }));
}

/// RFC 4180, with line feeds.
fn csv(table: &Table) -> String {
    let heads = ["run", "pipeline", "finishedOn", "commit", "uncommitted", "succeeded"].map(str::to_owned);
    let mut lines = vec![
        heads
            .iter()
            .chain(&table.columns)
            .map(|head| field(head))
            .collect::<Vec<_>>(),
    ];
    for row in &table.rows {
        let fixed = [
            row.run.clone(),
            row.pipeline.clone(),
            row.finished_on.clone(),
            row.commit.clone().unwrap_or_default(),
            row.uncommitted.to_string(),
            row.succeeded.to_string(),
        ];
        let values = row
            .values
            .iter()
            .map(|value| value.as_ref().map(ToString::to_string).unwrap_or_default());
        lines.push(fixed.into_iter().chain(values).map(|value| field(&value)).collect());
    }
    lines.iter().map(|line| line.join(",") + "\n").collect()
}

/// A field of CSV. A name that a spreadsheet would take for a formula is made a text.
fn field(text: &str) -> String {
    let is_number = text.parse::<f64>().is_ok();
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number;
    let text = if is_formula {
        format!("'{text}")
    } else {
        text.to_owned()
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_field_and_no_formula() {
        for (text, spelled) in [
            ("auc", "auc"),
            ("a,b", "\"a,b\""),
            ("say \"x\"", "\"say \"\"x\"\"\""),
            ("-0.5", "-0.5"),
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
        ] {
            assert_eq!(field(text), spelled);
        }
    }
}
