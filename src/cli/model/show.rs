//! `madmall model show`: a model at a glance.

use camino::Utf8PathBuf;
use serde_json::json;

use super::{prepared, read_model};
use crate::cli::surroundings::Surroundings;
use crate::cli::table::{cut, pad, pad_left, width};
use crate::cli::terminal::{BOLD, DIM, Failure, Terminal, shown};
use crate::exit_code::ExitCode;

/// The widest column of names.
const MOST_COLUMNS: usize = 48;

/// Arguments of `model show`.
#[derive(clap::Args)]
pub(super) struct ShowArguments {
    /// The model, as `train` wrote it
    #[arg(value_name = "MODEL")]
    model: Utf8PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Shows a model.
pub(super) fn show(
    arguments: &ShowArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let model = read_model(&arguments.model, surroundings)?;
    let preparation = prepared(&model)?;
    let inputs: Vec<&str> = preparation
        .inputs()
        .iter()
        .map(crate::preparation::Input::name)
        .collect();
    if arguments.json {
        let named = model.feature_keys.iter().zip(&model.weights);
        let columns: Vec<_> = named
            .map(|(key, weight)| json!({ "column": key, "weight": weight }))
            .collect();
        terminal.result(json!({
            "version": 1, "kind": crate::model::KIND, "positive": model.labels.positive, "negative": model.labels.negative,
            "inputs": inputs, "bias": model.bias, "columns": columns, "standardised": model.standardisation.is_some(),
        }));
        return Ok(ExitCode::Success);
    }
    let (positive, negative) = (shown(&model.labels.positive), shown(&model.labels.negative));
    terminal.result(format_args!(
        "{BOLD}the probability of `{positive}`{BOLD:#}, the other label being `{negative}`"
    ));
    let how = match &model.standardisation {
        None => "",
        Some(_) => ", standardised",
    };
    terminal.result(format_args!(
        "{DIM}{} columns{how}, made from {} of an event's values{DIM:#}",
        model.weights.len(),
        inputs.len()
    ));
    let names: Vec<String> = model
        .feature_keys
        .iter()
        .map(|key| cut(&shown(key), MOST_COLUMNS))
        .collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or_default().max(6);
    let mut line = |name: &str, weight: f64| {
        let weight = pad_left(&format!("{weight:.6}"), 14);
        terminal.result(format_args!("  {} {weight}", pad(name, widest)));
    };
    line("(bias)", model.bias);
    for (name, weight) in names.iter().zip(&model.weights) {
        line(name, *weight);
    }
    Ok(ExitCode::Success)
}
