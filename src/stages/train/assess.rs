//! A model measured on another data set: what `madmall evaluate` tells.

use std::io::{Read, Seek};

use super::evaluate::Scores;
use super::evaluate::population::{Coded, Population};
use super::features_file::{FeatureTable, FeaturesError, LabelledRows};
use super::loss::log_odds;
use super::measure::measure;
use crate::model::evaluation::{
    Assessment, AssessmentGroup, AssessmentGroups, AssessmentRows, AssessmentSettings, Evaluation, FORMAT,
};
use crate::model::{Labels, Model};
use crate::preparation::Numeric;
use crate::stages::ingest::blocks::pool;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request {
    /// The level of confidence intervals, in (0, 1).
    pub confidence: f64,
    /// Fewer rows than this are not shown.
    pub suppress_below: u64,
    /// Whether a feature of the model that has no column counts as 0 in every row.
    pub absent_as_zero: bool,
}

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum AssessError {
    /// The table cannot be read.
    #[error("it is no features file")]
    Features(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The model's features are not all there.
    #[error("it has no column for {} of the model's {} features: {}", .absent.len(), .all, list(.absent))]
    Absent {
        /// The keys.
        absent: Vec<String>,
        /// How many the model has.
        all: usize,
    },
    /// The same feature is another number here.
    #[error("its feature `{}` is prepared otherwise than the model's: with another range, imputation or scaling", shown(.key))]
    Prepared {
        /// The feature.
        key: String,
    },
    /// A label that is none of the model's.
    #[error("it has the label `{}`; the model knows `{}` and `{}`", shown(.label), shown(&.known.negative), shown(&.known.positive))]
    Label {
        /// The label.
        label: String,
        /// The model's.
        known: Labels,
    },
    /// No row has a label.
    #[error("none of its {total} rows has a label")]
    Unlabelled {
        /// Rows.
        total: u64,
    },
    /// The weighted sum of a row is no number.
    #[error("the model gives a row no probability: a sum overflows")]
    NotFinite,
}

/// So many keys are named.
const MOST_NAMED: usize = 5;

fn shown(text: &str) -> String {
    crate::stages::ingest::fault::printable(text)
}

fn list(keys: &[String]) -> String {
    let named: Vec<String> = keys
        .iter()
        .take(MOST_NAMED)
        .map(|key| format!("`{}`", shown(key)))
        .collect();
    let more = if keys.len() > MOST_NAMED { ", …" } else { "" };
    named.join(", ") + more
}

impl From<FeaturesError> for AssessError {
    fn from(error: FeaturesError) -> Self {
        Self::Features(error.into())
    }
}

/// Measures `model` on the labelled rows of the features file `features`; `digests` are those of the two files; `weights` is the column that holds
/// what rows weigh, if one does. Works on up to `threads` threads, whose number changes nothing.
///
/// # Errors
///
/// [`AssessError`], which says why not.
pub fn assess(
    model: &Model,
    features: impl Read + Seek,
    weights: Option<&str>,
    digests: (String, String),
    request: Request,
    threads: usize,
) -> Result<Assessment, AssessError> {
    let pool = pool(threads).map_err(|error| AssessError::Features(error.into()))?;
    let (table, [part, _]) = FeatureTable::read(features, 0.0, weights, &pool, |_| Ok::<_, AssessError>(()))?;
    check_labels(&table, model)?;
    check_preparation(&table, model)?;
    let columns: Vec<Option<usize>> = model
        .feature_keys
        .iter()
        .map(|key| {
            table
                .keys
                .binary_search_by(|other| other.as_bytes().cmp(key.as_bytes()))
                .ok()
        })
        .collect();
    let absent: Vec<String> = (model.feature_keys.iter().zip(&columns))
        .filter(|(_, column)| column.is_none())
        .map(|(key, _)| key.clone())
        .collect();
    if !absent.is_empty() && (!request.absent_as_zero || absent.len() == model.feature_keys.len()) {
        let all = model.feature_keys.len();
        return Err(AssessError::Absent { absent, all });
    }
    let ignored = table.keys.iter().filter(|key| !model.feature_keys.contains(key));
    let ignored: Vec<String> = ignored.cloned().collect();
    let labels = table.have_label(&part, &model.labels.positive);
    let scores = score(model, &part, labels, &columns, threads)?;
    let measured_rows = scores.len() as u64;
    let (evaluation, groups) = measured(scores, &table.groups, table.values(&part.groups), request);
    let (model_digest, features_digest) = digests;
    Ok(Assessment {
        format: FORMAT,
        model: model_digest,
        features: Some(features_digest),
        events: None,
        labels: model.labels.clone(),
        rows: AssessmentRows {
            total: table.total_rows,
            unlabelled: table.unlabelled_rows(),
            measured: measured_rows,
        },
        settings: AssessmentSettings {
            confidence: request.confidence,
            suppress_below: request.suppress_below,
            weights: weights.map(str::to_owned),
        },
        absent_features: absent,
        ignored_features: ignored,
        evaluation,
        groups,
    })
}

/// What is measured on rows of these log odds and labels, in canonical order: on all of them, and by each of the columns `names`,
/// in which they have the values `groups`.
pub(crate) fn measure_rows(
    (log_odds, labels): (&[f64], &[bool]),
    names: &[String],
    groups: Vec<Coded<'_>>,
    request: Request,
) -> (Evaluation, Vec<AssessmentGroups>) {
    let scores = Scores {
        log_odds: log_odds.to_vec(),
        labels: labels.to_vec(),
        weights: None,
    };
    measured(scores, names, groups, request)
}

fn measured(
    scores: Scores,
    names: &[String],
    groups: Vec<Coded<'_>>,
    request: Request,
) -> (Evaluation, Vec<AssessmentGroups>) {
    let population = Population::new(names, vec![(scores, groups)]);
    let measured = measure(&population, request.confidence, request.suppress_below, false);
    let first = |all: Vec<_>| all.into_iter().next().unwrap_or_default();
    let column = |column: super::measure::MeasuredColumn| AssessmentGroups {
        column: column.name,
        groups: column
            .groups
            .into_iter()
            .map(|(value, all)| AssessmentGroup {
                value,
                evaluation: first(all),
            })
            .collect(),
        others: column.others.map(first),
    };
    let columns = measured.columns.into_iter().map(column).collect();
    (first(measured.overall), columns)
}

fn check_labels(table: &FeatureTable, model: &Model) -> Result<(), AssessError> {
    let known = &model.labels;
    if let Some(label) = table
        .labels
        .keys()
        .find(|label| **label != known.negative && **label != known.positive)
    {
        return Err(AssessError::Label {
            label: label.clone(),
            known: known.clone(),
        });
    }
    match table.labels.is_empty() {
        true => Err(AssessError::Unlabelled {
            total: table.total_rows,
        }),
        false => Ok(()),
    }
}

/// A number that was imputed or scaled by other rows is not the one that the model has a weight for. Whether there is a column that says
/// where it is missing depends on whether it is missing anywhere: a column that is not there is told of as such.
fn check_preparation(table: &FeatureTable, model: &Model) -> Result<(), AssessError> {
    let (Some(own), Some(other)) = (&model.preparation, &table.preparation) else {
        return Ok(());
    };
    let prepared = |number: &Numeric| (number.range, number.impute, number.scaling);
    let differs = |number: &&Numeric| {
        let mut others = other.numbers().iter();
        others.any(|other| other.key == number.key && prepared(other) != prepared(number))
    };
    match own.numbers().iter().find(differs) {
        Some(number) => Err(AssessError::Prepared {
            key: number.key.clone(),
        }),
        None => Ok(()),
    }
}

/// `columns` is, for each of the model's features, its column in the table.
fn score(
    model: &Model,
    part: &LabelledRows,
    labels: Vec<bool>,
    columns: &[Option<usize>],
    threads: usize,
) -> Result<Scores, AssessError> {
    let value = |feature: usize, value: f64| match &model.standardisation {
        Some(standardisation) => standardisation.apply(feature, value),
        None => value,
    };
    let (mut present, mut selected, mut parameters, mut bias) = (Vec::new(), Vec::new(), Vec::new(), model.bias);
    for (feature, (column, weight)) in columns.iter().zip(&model.weights).enumerate() {
        match column {
            Some(column) => {
                present.push(feature);
                selected.push(*column);
                parameters.push(*weight);
            }
            // The same for all rows.
            None => bias += weight * value(feature, 0.0),
        }
    }
    selected.push(part.matrix.columns() - 1);
    parameters.push(bias);
    let mut matrix = part.matrix.select(&selected);
    matrix.change(|column, found| present.get(column).map_or(found, |feature| value(*feature, found)));
    let log_odds = log_odds(&matrix, &labels, threads, &parameters);
    match log_odds.iter().all(|log_odds| log_odds.is_finite()) {
        true => Ok(Scores {
            log_odds,
            labels,
            weights: part.weights.clone(),
        }),
        false => Err(AssessError::NotFinite),
    }
}
