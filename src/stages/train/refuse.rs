//! What train says when it refuses.

use std::collections::BTreeMap;

use super::identify::Findings;
use super::solve::SolveError;
use crate::stages::ingest::fault::printable;
use crate::stages::{Refusal, StageError};

/// How many labels are listed.
const MOST_LABELS: usize = 20;

/// A refusal without details.
pub(crate) fn refused(summary: impl Into<String>) -> StageError {
    StageError::Refused(Refusal::of(summary))
}

/// Not exactly two labels.
pub(crate) fn wrong_labels(labels: &BTreeMap<String, u64>) -> StageError {
    let details = labels
        .iter()
        .take(MOST_LABELS)
        .map(|(label, rows)| format!("label `{}`: {rows} rows", printable(label)));
    StageError::Refused(Refusal {
        summary: format!("binary training takes exactly two labels; there are {}", labels.len()),
        details: details.collect(),
        unlisted: labels.len().saturating_sub(MOST_LABELS) as u64,
        help: None,
        is_for_lack: false,
    })
}

/// Columns that leave no finite, single optimum. `jointly` separate the labels together.
pub(crate) fn no_optimum(keys: &[String], findings: &Findings, jointly: &[usize]) -> StageError {
    let name = |column: &usize| format!("`{}`", printable(&keys[*column]));
    let list = |columns: &[usize]| columns.iter().map(name).collect::<Vec<_>>().join(", ");
    let mut details = Vec::new();
    for column in &findings.constant {
        details.push(format!("{} is constant: it has one value in all rows", name(column)));
    }
    for (column, of) in &findings.dependent {
        details.push(format!("{} is a combination of {}", name(column), list(of)));
    }
    for column in &findings.separating {
        details.push(format!(
            "{} separates the labels: beyond a threshold only one of them occurs",
            name(column)
        ));
    }
    match jointly {
        [] => {}
        [column] => details.push(format!("{} separates the labels", name(column))),
        columns => details.push(format!("{} separate the labels together", list(columns))),
    }
    let mut columns = findings.constant.clone();
    columns.extend(findings.dependent.iter().map(|(column, _)| *column));
    columns.extend(findings.separating.iter().chain(jointly));
    columns.sort_unstable();
    columns.dedup();
    StageError::Refused(Refusal {
        summary: format!(
            "without `l2` there is no finite, single optimum; because of: {}",
            list(&columns)
        ),
        details,
        help: Some(
            "set `l2` to more than 0, or leave these features out with `exclude` of the stage that makes the features"
                .to_owned(),
        ),
        unlisted: 0,
        is_for_lack: false,
    })
}

/// A solver that ended without a fit for another reason.
pub(crate) fn no_fit(error: SolveError, is_penalised: bool) -> StageError {
    match error {
        SolveError::Stopped(error) => error,
        other => {
            let advice = match is_penalised {
                true => "set `l2` higher, or `standardize: true` if features have very different scales",
                false => "set `l2`, or `standardize: true` if features have very different scales",
            };
            StageError::Refused(Refusal {
                summary: format!("no model: {other}"),
                help: Some(advice.to_owned()),
                ..Refusal::default()
            })
        }
    }
}
