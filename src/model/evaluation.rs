//! What is measured on some rows: how well a model's probabilities agree with the labels. `docs/model.md` defines each figure.

use serde::Serialize;

use super::{Labels, ModelError};

/// A level of confidence in percent, as short as the number that was given: of 0.57 it is 57, although the product of doubles is not.
#[must_use]
pub fn percent(level: f64) -> f64 {
    (level * 1e14).round() / 1e12
}

/// How well probabilities agree with labels on some rows.
///
/// The figures are null, and the lists empty, where one of the labels has fewer rows than may be shown. A figure that does
/// not exist is null too.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evaluation {
    /// Rows.
    pub n: u64,
    /// Rows with the positive label.
    pub positives: u64,
    /// Area under the ROC curve, exact, ties counted half; null unless both labels occur.
    pub auc: Option<f64>,
    /// How sure that is, after DeLong, DeLong and Clarke-Pearson (1988); null unless each label occurs twice.
    pub auc_interval: Option<AucInterval>,
    /// Area under the precision-recall curve as average precision: Σ (Rᵢ − Rᵢ₋₁) · Pᵢ over the distinct scores, highest first.
    pub average_precision: Option<f64>,
    /// The mean of -ln(probability of the label that is there); null without rows.
    pub log_loss: Option<f64>,
    /// The mean of (probability - label)²; null without rows.
    pub brier: Option<f64>,
    /// Whether frequencies agree with probabilities, by Hosmer and Lemeshow's test; null where it has too few groups of risk.
    pub hosmer_lemeshow: Option<ChiSquare>,
    /// At probability 0.5; null if that threshold would show too few rows.
    pub confusion: Option<Confusion>,
    /// Bins of the probability, which lie side by side from 0 to 1: ten of equal width, or fewer where some hold too few rows.
    pub calibration: Vec<CalibrationBin>,
    /// At 0.05, 0.1, … 0.95, but for thresholds that would show too few rows.
    pub thresholds: Vec<Threshold>,
}

/// A confidence interval of the area under the ROC curve: normal, cut to `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AucInterval {
    /// The standard error.
    pub standard_error: f64,
    /// The lower end.
    pub lower: f64,
    /// The upper end.
    pub upper: f64,
}

/// A statistic that has a chi-square distribution if the hypothesis holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChiSquare {
    /// The statistic.
    pub statistic: f64,
    /// Degrees of freedom of the distribution.
    pub degrees_of_freedom: u64,
    /// The probability of as much or more.
    pub p_value: f64,
}

/// Counts by label and prediction.
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

/// One bin of the probability: `[lower, upper)`, the last one with its end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationBin {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Rows in it.
    pub n: u64,
    /// The mean probability; null if the bin is empty.
    pub mean_probability: Option<f64>,
    /// The fraction of rows with the positive label; null if the bin is empty.
    pub positive_fraction: Option<f64>,
}

/// What predicting the positive label from this probability on would give.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Threshold {
    /// Rows whose probability is at least this are predicted positive.
    pub threshold: f64,
    /// The counts.
    #[serde(flatten)]
    pub confusion: Confusion,
    /// Of the positive rows, the fraction that is predicted so (recall).
    pub sensitivity: Option<f64>,
    /// Of the negative rows, the fraction that is predicted so.
    pub specificity: Option<f64>,
    /// Of the rows predicted positive, the fraction that is (precision).
    pub positive_predictive_value: Option<f64>,
    /// Of the rows predicted negative, the fraction that is.
    pub negative_predictive_value: Option<f64>,
    /// The harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// The fraction of rows that is predicted rightly.
    pub accuracy: Option<f64>,
}

/// The name and version of what [`Assessment`] is written as.
pub const FORMAT: &str = "madmall-evaluation/v1";

/// A model measured on another data set. Canonical JSON (RFC 8785); a function of model, table and settings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Assessment {
    /// [`FORMAT`].
    pub format: &'static str,
    /// The digest of the model file.
    pub model: String,
    /// The digest of the features file, if it was measured on one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<String>,
    /// The events, if it was measured on these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<AssessmentEvents>,
    /// The model's labels.
    pub labels: Labels,
    /// How many rows there were.
    pub rows: AssessmentRows,
    /// What was asked for.
    pub settings: AssessmentSettings,
    /// Features of the model that have no column, and counted as 0.
    pub absent_features: Vec<String>,
    /// Columns that the model has no weight for.
    pub ignored_features: Vec<String>,
    /// On all labelled rows.
    pub evaluation: Evaluation,
    /// By each group column, in the order of their names.
    pub groups: Vec<AssessmentGroups>,
}

/// The events that a model was measured on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AssessmentEvents {
    /// The digests of their files, sorted.
    pub files: Vec<String>,
    /// How many the consent of which does not cover the purpose, and were left out.
    pub not_covered: u64,
    /// How many were revoked, and left out.
    pub revoked: u64,
    /// How many lines were no events, and left out.
    pub invalid: u64,
}

/// How many rows there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct AssessmentRows {
    /// In the features file; of events, those that were scored.
    pub total: u64,
    /// Without a label, and so not measured.
    pub unlabelled: u64,
    /// Measured.
    pub measured: u64,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssessmentSettings {
    /// The level of the confidence intervals.
    pub confidence: f64,
    /// Fewer rows than this of a label are not shown.
    pub suppress_below: u64,
    /// The column that held what rows weigh, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

/// The same by one group column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssessmentGroups {
    /// The column.
    pub column: String,
    /// The groups that may be shown, by the bytes of their value, the one without a value first.
    pub groups: Vec<AssessmentGroup>,
    /// All others together.
    pub others: Option<Evaluation>,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AssessmentGroup {
    /// The column's value.
    pub value: Option<String>,
    /// On its rows.
    pub evaluation: Evaluation,
}

impl Assessment {
    /// Canonical JSON, numbers in their shortest form.
    ///
    /// # Errors
    ///
    /// [`ModelError::NotFinite`] if a number is NaN or infinite.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        serde_json_canonicalizer::to_vec(self)
            .map_err(|error| ModelError::NotFinite(format!("in the evaluation: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_in_percent_is_as_short_as_it_was_given() {
        for thousandths in 1..1000_u16 {
            let level: f64 = format!("0.{thousandths:03}").parse().expect("a number");
            assert_eq!(percent(level).to_string(), (f64::from(thousandths) / 10.0).to_string());
        }
        assert_eq!(percent(0.9999).to_string(), "99.99");
    }
}
