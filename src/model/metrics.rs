//! What is measured of a model: the metrics file.

use serde::Serialize;

use super::evaluation::{ChiSquare, Evaluation};
use super::{Labels, ModelError};

/// The format's name and version.
pub const FORMAT: &str = "madmall-metrics/v2";

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
    /// How likely the labels are under the model, on the rows it was trained on.
    pub likelihood: Likelihood,
    /// The constant term.
    pub intercept: Coefficient,
    /// One for each feature, in the model's order.
    pub coefficients: Vec<FeatureCoefficient>,
    /// On the rows the model was trained on.
    pub train: Evaluation,
    /// On the rows that were held out, if any were.
    pub holdout: Option<Evaluation>,
    /// The same measures on rows that a model of the other rows had not seen; null unless `folds` was asked for.
    pub cross_validation: Option<CrossValidation>,
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
    /// The share of ‖w‖₁ in the penalty λ·((1 − r)/2·‖w‖² + r·‖w‖₁); `null` for `gd`.
    pub l1_ratio: Option<f64>,
    /// `none` or `balanced`.
    pub class_weight: &'static str,
    /// The fraction of ids that are held out.
    pub holdout: f64,
    /// Whether features were standardised.
    pub standardize: bool,
    /// The level of the confidence intervals.
    pub confidence: f64,
    /// Fewer rows than this of a label are not shown.
    pub suppress_below: u64,
    /// Parts of the cross-validation; null if there is none.
    pub folds: Option<u64>,
    /// The column that held what rows weigh, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
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
    /// What was minimised, at its end: Σ log loss and the penalty.
    pub objective: f64,
}

/// How likely the labels are under a model, and whether its features earn their place.
///
/// What compares likelihoods of models (`likelihood_ratio`, `aic`, `bic`) is null where the estimates do not maximise the
/// likelihood: with a penalty, with weights, after `gd`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Likelihood {
    /// Σ ln(probability of the label that is there), every row counted once, or as often as it weighs.
    pub log_likelihood: f64,
    /// The same for a model without features.
    pub null_log_likelihood: f64,
    /// McFadden's pseudo-R²: one less the quotient of the two.
    pub mcfadden_r2: f64,
    /// Twice their difference: the test of all features against none.
    pub likelihood_ratio: Option<ChiSquare>,
    /// Akaike's information criterion, 2·k − 2·ln L, of k parameters, the intercept among them.
    pub aic: Option<f64>,
    /// Schwarz's, k·ln n − 2·ln L.
    pub bic: Option<f64>,
    /// How much the rows weigh together, which is the n of all this; absent if all weigh alike.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

/// An estimate and how sure it is. Null is all that rests on the standard error where there is none: after `gd`, and with `l1_ratio`.
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
    /// Of the estimate (Wald's, normal).
    pub interval: Option<Interval>,
    /// The factor by which the odds change for one unit more, or, with `standardize`, one deviation more: exp(estimate). Null if
    /// that is no finite number.
    pub odds_ratio: Option<f64>,
    /// Of the odds ratio: exp of the ends of `interval`.
    pub odds_ratio_interval: Option<Interval>,
}

impl Coefficient {
    /// A weight of 0 of which nothing else is known.
    #[must_use]
    pub fn none() -> Self {
        Self {
            estimate: 0.0,
            standard_error: None,
            z: None,
            p_value: None,
            interval: None,
            odds_ratio: Some(1.0),
            odds_ratio_interval: None,
        }
    }
}

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
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

/// The same by one group column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupColumn {
    /// The column.
    pub column: String,
    /// The groups that may be shown, by the bytes of their value, the one without a value first.
    pub groups: Vec<Group>,
    /// All others together: those with too few rows, and as many of the next smallest as it takes to hide them.
    pub others: Option<Parts>,
}

/// The metrics of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// The column's value.
    pub value: Option<String>,
    /// What is measured.
    #[serde(flatten)]
    pub parts: Parts,
}

/// Rows trained on, and rows held out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parts {
    /// On those that were trained on.
    pub train: Evaluation,
    /// On those that were held out, if any were.
    pub holdout: Option<Evaluation>,
}

/// Each fold measured by a model of the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CrossValidation {
    /// The mean of each figure over the folds; null if a fold has not got it.
    pub mean: Figures,
    /// Its standard deviation over the folds (over k − 1).
    pub deviation: Figures,
    /// Each fold.
    pub folds: Vec<Fold>,
}

/// One fold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Fold {
    /// Rows.
    pub n: u64,
    /// Rows with the positive label.
    pub positives: u64,
    /// Null if too few rows have one of the labels.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The figures of cross-validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// As in [`Evaluation`].
    pub auc: Option<f64>,
    /// As in [`Evaluation`].
    pub average_precision: Option<f64>,
    /// As in [`Evaluation`].
    pub log_loss: Option<f64>,
    /// As in [`Evaluation`].
    pub brier: Option<f64>,
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
