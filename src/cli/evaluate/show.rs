//! What was measured, as tables.

use crate::cli::table::{count, cut, pad, pad_left, width};
use crate::cli::terminal::{BOLD, DIM, Terminal, shown, warn};
use crate::model::evaluation::{Assessment, Evaluation, percent};

/// A value of a group column is cut to this.
const WIDEST: usize = 32;

/// Shows a table for people.
pub(super) fn show(assessment: &Assessment, terminal: &mut Terminal) {
    let rows = &assessment.rows;
    let all = &assessment.evaluation;
    terminal.result(format_args!(
        "{BOLD}{}{BOLD:#}, {} of them `{}`; {} without a label",
        count_of(rows.measured, "row", "rows"),
        all.positives,
        shown(&assessment.labels.positive),
        rows.unlabelled
    ));
    print_figures(all, assessment, terminal);
    print_thresholds(all, terminal);
    for column in &assessment.groups {
        let groups = column.groups.iter().map(|group| {
            let value = group.value.as_deref().map_or_else(|| "(none)".to_owned(), shown);
            (value, &group.evaluation)
        });
        let others = column.others.iter().map(|others| ("(others)".to_owned(), others));
        print_groups(
            &shown(&column.column),
            &groups.chain(others).collect::<Vec<_>>(),
            terminal,
        );
    }
    if assessment.settings.suppress_below > 0 {
        terminal.result(format_args!(
            "{DIM}nothing is shown from which a count below {} of rows of a label could be computed (--suppress-below){DIM:#}",
            assessment.settings.suppress_below
        ));
    }
    if !assessment.absent_features.is_empty() {
        let features = count(assessment.absent_features.len(), "feature has", "features have");
        warn(
            terminal,
            format_args!("{features} no column and counted as 0 (--json names them)"),
        );
    }
    if !assessment.ignored_features.is_empty() {
        let columns = count(assessment.ignored_features.len(), "column is", "columns are");
        warn(
            terminal,
            format_args!("{columns} of no use to the model (--json names them)"),
        );
    }
}

fn count_of(number: u64, one: &str, many: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), one, many)
}

fn print_figures(all: &Evaluation, assessment: &Assessment, terminal: &mut Terminal) {
    let interval = all.auc_interval.map_or_else(String::new, |interval| {
        let level = percent(assessment.settings.confidence);
        format!("  ({level} %: {:.4} to {:.4})", interval.lower, interval.upper)
    });
    let test = all.hosmer_lemeshow.map_or_else(
        || "-".to_owned(),
        |test| {
            format!(
                "{:.2}, {} degrees of freedom, p {:.3}",
                test.statistic, test.degrees_of_freedom, test.p_value
            )
        },
    );
    for (name, text) in [
        ("AUC", number(all.auc) + &interval),
        ("average precision", number(all.average_precision)),
        ("log loss", number(all.log_loss)),
        ("Brier score", number(all.brier)),
        ("Hosmer-Lemeshow", test),
    ] {
        terminal.result(format_args!("  {name:<17}  {text}"));
    }
}

/// Four digits, or `-` for what is not shown or does not exist.
fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

fn print_thresholds(all: &Evaluation, terminal: &mut Terminal) {
    if all.thresholds.is_empty() {
        return;
    }
    let heads = [
        "threshold",
        "sensitivity",
        "specificity",
        "PPV",
        "NPV",
        "F1",
        "accuracy",
    ];
    let rows = all.thresholds.iter().map(|row| {
        let figures = [
            row.sensitivity,
            row.specificity,
            row.positive_predictive_value,
            row.negative_predictive_value,
            row.f1,
            row.accuracy,
        ];
        let first = format!("{:.2}", row.threshold);
        std::iter::once(first).chain(figures.map(number)).collect()
    });
    print_table(&heads, &rows.collect::<Vec<_>>(), terminal);
}

fn print_groups(column: &str, groups: &[(String, &Evaluation)], terminal: &mut Terminal) {
    let rows = groups.iter().map(|(value, found)| {
        let figures = [found.auc, found.average_precision, found.log_loss, found.brier];
        let counts = [found.n, found.positives].map(|count| count.to_string());
        let first = cut(value, WIDEST);
        std::iter::once(first)
            .chain(counts)
            .chain(figures.map(number))
            .collect()
    });
    let column = cut(column, WIDEST);
    let heads = [
        column.as_str(),
        "rows",
        "positive",
        "AUC",
        "av. prec.",
        "log loss",
        "Brier",
    ];
    print_table(&heads, &rows.collect::<Vec<_>>(), terminal);
}

/// An empty line, the heads and the rows; the first column to the left, the others to the right.
fn print_table(heads: &[&str], rows: &[Vec<String>], terminal: &mut Terminal) {
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(column, head)| {
            rows.iter()
                .map(|row| width(&row[column]))
                .chain([width(head)])
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells = cells
            .zip(&widths)
            .enumerate()
            .map(|(place, (cell, width))| match place {
                0 => pad(cell, *width),
                _ => pad_left(cell, *width),
            });
        cells.collect::<Vec<_>>().join("  ")
    };
    terminal.result("");
    terminal.result(format_args!("{BOLD}{}{BOLD:#}", line(&mut heads.iter().copied())));
    for row in rows {
        terminal.result(line(&mut row.iter().map(String::as_str)));
    }
}
