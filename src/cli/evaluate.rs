//! `madmall evaluate`: a model on another data set.

use std::fs::File;
use std::io::{Read as _, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::opened::{Surroundings, environment, warn};
use super::table::{count, pad, pad_left, width};
use super::terminal::{BOLD, DIM, Failure, Terminal, shown, with_causes};
use crate::digest::{Digest, hash_reader};
use crate::exit_code::ExitCode;
use crate::model::evaluation::{Assessment, Evaluation};
use crate::model::{MODEL_BYTES, Model};
use crate::stages::train::assess::{AssessError, Request, assess};
use crate::store::atomic;

/// A value of a group column is cut to this.
const WIDEST: usize = 32;

/// Arguments of `evaluate`.
#[derive(clap::Args)]
pub(super) struct EvaluateArguments {
    /// The model, as `train` writes it
    #[arg(long, value_name = "FILE")]
    model: Utf8PathBuf,
    /// The rows to measure it on, as `featurize` writes them (with the parameters that the model's own were made with)
    #[arg(long, value_name = "FILE")]
    features: Utf8PathBuf,
    /// The level of the confidence intervals
    #[arg(long, value_name = "LEVEL", default_value = "0.95", value_parser = level)]
    confidence: f64,
    /// Show nothing from which a count of fewer rows of a label could be computed
    #[arg(long, value_name = "N", default_value_t = 5)]
    suppress_below: u64,
    /// Take a feature that the file has no column for as 0 in every row
    #[arg(long)]
    absent_as_zero: bool,
    /// Write the JSON object to this file too
    #[arg(long, value_name = "FILE")]
    out: Option<Utf8PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn level(text: &str) -> Result<f64, String> {
    let level = text.parse::<f64>().ok();
    let level = level.filter(|level| *level > 0.0 && *level < 1.0);
    level.ok_or_else(|| "must be more than 0 and less than 1".to_owned())
}

/// Measures, and shows a table.
pub(super) fn evaluate(
    arguments: &EvaluateArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let path = |path: &Utf8Path| surroundings.folder.join(path);
    let out = arguments.out.as_deref().map(path);
    if let Some(out) = &out {
        refuse_inputs(out, &[path(&arguments.model), path(&arguments.features)])?;
    }
    let (model, model_digest) = read_model(&path(&arguments.model), &arguments.model)?;
    let assessment = read_features(&path(&arguments.features), arguments, &model, model_digest)?;
    let bytes = assessment
        .to_bytes()
        .map_err(|error| Failure::new(ExitCode::Refused, with_causes(&error), None))?;
    if let Some(out) = &out {
        atomic::write(out, &bytes).map_err(|error| environment(&error))?;
    }
    match arguments.json {
        true => terminal.result(String::from_utf8_lossy(&bytes)),
        false => print(&assessment, terminal),
    }
    Ok(ExitCode::Success)
}

/// The result must not be written over what it is made from.
fn refuse_inputs(out: &Utf8Path, inputs: &[Utf8PathBuf; 2]) -> Result<(), Failure> {
    let place = |path: &Utf8Path| path.canonicalize_utf8().ok();
    let is_input = place(out).is_some_and(|out| inputs.iter().any(|input| place(input).as_ref() == Some(&out)));
    match is_input {
        true => Err(Failure::new(
            ExitCode::Refused,
            format_args!("`--out` names `{}`, which is an input", shown(out.as_str())),
            None,
        )),
        false => Ok(()),
    }
}

fn cannot_read(path: &Utf8Path, error: &std::io::Error) -> Failure {
    Failure::new(
        ExitCode::Environment,
        format_args!("cannot read `{}`: {error}", shown(path.as_str())),
        None,
    )
}

fn read_model(path: &Utf8Path, name: &Utf8Path) -> Result<(Model, String), Failure> {
    let mut bytes = Vec::new();
    let most = MODEL_BYTES as u64 + 1;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|error| cannot_read(name, &error))?;
    let model = Model::parse(&bytes).map_err(|error| {
        let message = format!("`{}` is no model: {}", shown(name.as_str()), with_causes(&error));
        Failure::new(ExitCode::Refused, message, None)
    })?;
    Ok((model, Digest::of(&bytes).to_string()))
}

fn read_features(
    path: &Utf8Path,
    arguments: &EvaluateArguments,
    model: &Model,
    model_digest: String,
) -> Result<Assessment, Failure> {
    let name = &arguments.features;
    let unreadable = |error: &std::io::Error| cannot_read(name, error);
    let mut file = File::open(path).map_err(|error| unreadable(&error))?;
    let (hashed, _) = hash_reader(&mut file).map_err(|error| unreadable(&error))?;
    file.rewind().map_err(|error| unreadable(&error))?;
    let digests = (model_digest, hashed.blake3.to_string());
    let request = Request {
        confidence: arguments.confidence,
        suppress_below: arguments.suppress_below,
        absent_as_zero: arguments.absent_as_zero,
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    assess(model, file, digests, request, threads).map_err(|error| {
        let help = match &error {
            AssessError::Absent { absent, all } if absent.len() < *all => Some(
                "`--absent-as-zero` takes them as 0, as `featurize` takes what is missing where it is not told otherwise",
            ),
            AssessError::Absent { .. } => Some("were these features made for another model?"),
            AssessError::Features(_) => Some("`featurize` makes features files; name its output, and not events"),
            _ => None,
        };
        let message = format!("cannot evaluate on `{}`: {}", shown(name.as_str()), with_causes(&error));
        Failure::new(ExitCode::Refused, message, help)
    })
}

fn print(assessment: &Assessment, terminal: &mut Terminal) {
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
        let level = assessment.settings.confidence * 100.0;
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
        let first = super::table::cut(value, WIDEST);
        std::iter::once(first)
            .chain(counts)
            .chain(figures.map(number))
            .collect()
    });
    let column = super::table::cut(column, WIDEST);
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
