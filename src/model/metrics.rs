//! What is measured of a model: the metrics file.

use serde::Serialize;

use super::{Labels, ModelError};

/// The format's name and version.
pub const FORMAT: &str = "madmall-metrics/v1";

/// The metrics file. Canonical JSON (RFC 8785); nothing in it varies from run to run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Metrics {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The two labels.
    pub labels: Labels,
    /// How many rows there were, and what became of them.
    pub rows: RowCounts,
    /// What was asked for.
    pub settings: Settings,
    /// How the solver ended.
    pub convergence: Convergence,
    /// The constant term.
    pub intercept: Coefficient,
    /// One for each feature, in the model's order.
    pub coefficients: Vec<FeatureCoefficient>,
    /// On the rows the model was trained on.
    pub train: Evaluation,
    /// On the rows that were held out, if any were.
    pub holdout: Option<Evaluation>,
    /// By each group column, in the order of their names.
    pub groups: Vec<GroupColumn>,
}

/// How many rows there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RowCounts {
    /// In the features file.
    pub total: u64,
    /// Without a label, and so dropped.
    pub unlabelled: u64,
    /// Trained on.
    pub train: u64,
    /// Held out.
    pub holdout: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// `newton` or `gd`.
    pub solver: &'static str,
    /// λ; `null` for `gd`, which has none.
    pub l2: Option<f64>,
    /// `none` or `balanced`.
    pub class_weight: &'static str,
    /// The fraction of ids that are held out.
    pub holdout: f64,
    /// Whether features were standardised.
    pub standardize: bool,
}

/// How the solver ended.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Convergence {
    /// Whether it is at the optimum (`gradient_norm` at most 1e-10); `gd` does not ask.
    pub converged: bool,
    /// Steps taken.
    pub iterations: u64,
    /// The largest component of the gradient, each divided by the sum of the weighted absolute values of its column.
    pub gradient_norm: f64,
    /// What was minimised, at its end: Σ log loss + λ/2·‖w‖².
    pub objective: f64,
}

/// An estimate and how sure it is. All but the estimate are null after `gd`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coefficient {
    /// The weight.
    pub estimate: f64,
    /// From the inverse of the objective's second derivative at the optimum.
    pub standard_error: Option<f64>,
    /// Estimate over standard error.
    pub z: Option<f64>,
    /// Two-sided, normal.
    pub p_value: Option<f64>,
}

/// A coefficient and its feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FeatureCoefficient {
    /// The feature's key.
    pub feature: String,
    /// Its weight.
    #[serde(flatten)]
    pub coefficient: Coefficient,
}

/// How well probabilities agree with labels on some rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The figures that groups have too.
    #[serde(flatten)]
    pub summary: Summary,
    /// The mean of (probability - label)²; null without rows.
    pub brier: Option<f64>,
    /// At probability 0.5.
    pub confusion: Confusion,
    /// Ten bins of equal width over the probability.
    pub calibration: Vec<CalibrationBin>,
}

/// The main figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Rows.
    pub n: u64,
    /// Rows with the positive label.
    pub positives: u64,
    /// Area under the ROC curve, exact, ties counted half; null unless both labels occur.
    pub auc: Option<f64>,
    /// The mean of -ln(probability of the label that is there); null without rows.
    pub log_loss: Option<f64>,
}

/// Counts by label and prediction, at probability 0.5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// Positive, predicted so.
    pub true_positive: u64,
    /// Negative, predicted positive.
    pub false_positive: u64,
    /// Negative, predicted so.
    pub true_negative: u64,
    /// Positive, predicted negative.
    pub false_negative: u64,
}

/// One bin of the probability: `[k/10, (k+1)/10)`, the last one with its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Rows in it.
    pub n: u64,
    /// The mean probability; null if the bin is empty.
    pub mean_probability: Option<f64>,
    /// The fraction of rows with the positive label; null if the bin is empty.
    pub positive_fraction: Option<f64>,
}

/// The metrics by one group column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupColumn {
    /// The column.
    pub column: String,
    /// The groups that have enough rows, by the bytes of their value, the one without a value first.
    pub groups: Vec<GroupMetrics>,
    /// How many groups are left out because they have too few rows.
    pub suppressed: u64,
}

/// The metrics of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupMetrics {
    /// The column's value.
    pub value: Option<String>,
    /// On its rows that were trained on; null if they are too few to show.
    pub train: Option<Summary>,
    /// On its rows that were held out; null if they are too few to show.
    pub holdout: Option<Summary>,
}

impl Metrics {
    /// The metrics file's bytes: canonical JSON, numbers in their shortest form.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotFinite`] if a number is NaN or infinite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        serde_json_canonicalizer::to_vec(self)
            .map_err(|error| ModelError::NotFinite(format!("in the metrics: {error}")))
    }
}
