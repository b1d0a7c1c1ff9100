//! What a trained model is: a binary logistic regression, as a JSON file.
//!
//! ```text
//! {"bias":-0.25,"feature_keys":["TSH","age"],"format":"madmall-model/v2","kind":"logreg",
//!  "labels":{"negative":"hyperthyroid","positive":"negative"},"preparation":null,"standardisation":null,
//!  "weights":[0.5,-0.125]}
//! ```
//!
//! The probability of the positive label is `1 / (1 + exp(-z))` with `z = weights · x + bias`, where `x` holds a number
//! for each of `feature_keys`, put through `standardisation` first if there is one. How an event becomes `x` is what
//! `preparation` says ([`crate::preparation`]); if it is null, the features are taken as they are, missing ones as 0,
//! booleans as 0 and 1. The bytes are canonical JSON (RFC 8785) and hold nothing that varies from run to run.
//!
//! Version 1 is the same without `preparation`; it is read, and no longer written.

pub mod evaluation;
pub mod export;
pub mod metrics;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::json::{JsonError, Limits, parse_strict};
use crate::preparation::{Preparation, PreparationError};

/// The format's name and version.
pub const FORMAT: &str = "madmall-model/v2";

/// The version before, which is read too.
const FORMAT_V1: &str = "madmall-model/v1";

/// The one kind of model there is.
pub const KIND: &str = "logreg";

/// A model file is no longer than this.
pub const MODEL_BYTES: usize = 64 << 20;

const LIMITS: Limits = Limits {
    bytes: MODEL_BYTES,
    depth: 5,
};

/// A binary logistic regression.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The two labels.
    pub labels: Labels,
    /// The features, sorted by bytes, each once.
    pub feature_keys: Vec<String>,
    /// A weight for each feature.
    pub weights: Vec<f64>,
    /// What is added to the weighted sum.
    pub bias: f64,
    /// What is done to features before they are weighted.
    pub standardisation: Option<Standardisation>,
    /// How an event becomes the features, if the features file said so.
    pub preparation: Option<Preparation>,
}

/// The two labels of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// Whose probability the model does not give.
    pub negative: String,
    /// Whose probability the model gives.
    pub positive: String,
}

/// Each feature becomes `(x - mean) / scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standardisation {
    /// A mean for each feature.
    pub means: Vec<f64>,
    /// A positive scale for each feature.
    pub scales: Vec<f64>,
}

/// Why bytes, or numbers, are no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The bytes are no JSON that is taken.
    #[error("the model is no strict JSON: {0}")]
    Json(#[from] JsonError),
    /// The JSON is no model.
    #[error("the model does not have the shape of `{FORMAT}`: {0}")]
    Shape(String),
    /// The parts do not go together.
    #[error("the model does not hold together: {0}")]
    Inconsistent(String),
    /// A number is NaN or infinite.
    #[error("the model holds a number that is not finite: {0}")]
    NotFinite(String),
    /// Its features cannot be prepared.
    #[error(transparent)]
    Preparation(#[from] PreparationError),
}

/// The file, field by field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelFile {
    format: String,
    kind: String,
    labels: Labels,
    feature_keys: Vec<String>,
    weights: Vec<f64>,
    bias: f64,
    #[serde(deserialize_with = "Option::deserialize")]
    standardisation: Option<Standardisation>,
    preparation: Option<Preparation>,
}

impl Model {
    /// Reads a model file strictly: no unknown, missing or repeated field, and all parts go together.
    ///
    /// # Errors
    ///
    /// [`ModelError`], which says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ModelError> {
        let value = parse_strict(bytes, LIMITS)?;
        let has_preparation = value.get("preparation").is_some();
        let file: ModelFile = serde_json::from_value(value).map_err(|error| ModelError::Shape(error.to_string()))?;
        let is_known = match file.format.as_str() {
            FORMAT => has_preparation,
            FORMAT_V1 => !has_preparation,
            _ => false,
        };
        if !is_known || file.kind != KIND {
            let with = if has_preparation { "with" } else { "without" };
            let message = format!("format `{}` {with} a preparation, kind `{}`", file.format, file.kind);
            return Err(ModelError::Shape(message));
        }
        let model = Self {
            labels: file.labels,
            feature_keys: file.feature_keys,
            weights: file.weights,
            bias: file.bias,
            standardisation: file.standardisation,
            preparation: file.preparation,
        };
        model.check()?;
        Ok(model)
    }

    /// The model file's bytes: canonical JSON, numbers in their shortest form.
    ///
    /// # Errors
    ///
    /// [`ModelError`] if the model holds a number that is not finite, or its parts do not go together.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ModelError> {
        self.check()?;
        let file = ModelFile {
            format: FORMAT.to_owned(),
            kind: KIND.to_owned(),
            labels: self.labels.clone(),
            feature_keys: self.feature_keys.clone(),
            weights: self.weights.clone(),
            bias: self.bias,
            standardisation: self.standardisation.clone(),
            preparation: self.preparation.clone(),
        };
        serde_json_canonicalizer::to_vec(&file).map_err(|error| ModelError::Shape(error.to_string()))
    }

    /// How an event becomes the features that [`Model::log_odds`] takes: as the model says, and if it says nothing, each
    /// key as it is, missing as 0.
    ///
    /// # Errors
    ///
    /// [`ModelError::Preparation`] if the model says nothing and has too many keys, or too long ones, to be prepared.
    pub fn preparation(&self) -> Result<Cow<'_, Preparation>, ModelError> {
        match &self.preparation {
            Some(preparation) => Ok(Cow::Borrowed(preparation)),
            None => Ok(Cow::Owned(Preparation::plain(&self.feature_keys)?)),
        }
    }

    /// The weighted sum for `features` (one for each key, in the keys' order): the log odds of the positive label.
    /// `None` if there are more or fewer features than weights.
    #[must_use]
    pub fn log_odds(&self, features: &[f64]) -> Option<f64> {
        if features.len() != self.weights.len() {
            return None;
        }
        let contributions = (0..)
            .zip(features)
            .map(|(index, feature)| self.contribution(index, *feature));
        Some(self.total(contributions))
    }

    /// What the value of the feature at `index` adds to the log odds: weight times value, standardised first if features are.
    ///
    /// # Panics
    ///
    /// If there is no such feature.
    #[must_use]
    pub fn contribution(&self, index: usize, value: f64) -> f64 {
        let value = match &self.standardisation {
            Some(standardisation) => standardisation.apply(index, value),
            None => value,
        };
        self.weights[index] * value
    }

    /// The log odds of which these are the contributions: added up one after the other, then the bias.
    #[must_use]
    pub fn total(&self, contributions: impl IntoIterator<Item = f64>) -> f64 {
        let sum = contributions
            .into_iter()
            .fold(0.0, |sum, contribution| sum + contribution);
        sum + self.bias
    }

    /// The probability of the positive label for `features`; `None` as for [`Model::log_odds`].
    #[must_use]
    pub fn probability(&self, features: &[f64]) -> Option<f64> {
        self.log_odds(features).map(probability)
    }

    fn check(&self) -> Result<(), ModelError> {
        let keys = self.feature_keys.len();
        let lengths = |name: &str, length: usize| match length == keys {
            true => Ok(()),
            false => Err(ModelError::Inconsistent(format!(
                "{keys} feature keys but {length} {name}"
            ))),
        };
        let finite = |name: &str, values: &[f64]| match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(ModelError::NotFinite(format!(
                "{name} of `{}`",
                self.feature_keys[index]
            ))),
        };
        lengths("weights", self.weights.len())?;
        finite("weight", &self.weights)?;
        if !self.bias.is_finite() {
            return Err(ModelError::NotFinite("the bias".to_owned()));
        }
        if let Some(standardisation) = &self.standardisation {
            lengths("means", standardisation.means.len())?;
            lengths("scales", standardisation.scales.len())?;
            finite("mean", &standardisation.means)?;
            finite("scale", &standardisation.scales)?;
            if let Some(index) = standardisation.scales.iter().position(|scale| *scale <= 0.0) {
                let key = &self.feature_keys[index];
                return Err(ModelError::Inconsistent(format!(
                    "the scale of `{key}` is not positive"
                )));
            }
        }
        let unsorted = |pair: &&[String]| pair[0].as_bytes() >= pair[1].as_bytes();
        if let Some(pair) = self.feature_keys.windows(2).find(unsorted) {
            return Err(ModelError::Inconsistent(format!(
                "feature keys `{}` and `{}` are not sorted, each once",
                pair[0], pair[1]
            )));
        }
        if let Some(preparation) = &self.preparation
            && preparation.columns() != self.feature_keys
        {
            return Err(ModelError::Inconsistent(
                "the columns of its preparation are not its feature keys".to_owned(),
            ));
        }
        if self.labels.negative == self.labels.positive {
            return Err(ModelError::Inconsistent("the two labels are the same".to_owned()));
        }
        Ok(())
    }
}

impl Standardisation {
    /// What the value of the feature at `index` becomes.
    ///
    /// # Panics
    ///
    /// If there is no such feature.
    #[must_use]
    pub fn apply(&self, index: usize, value: f64) -> f64 {
        (value - self.means[index]) / self.scales[index]
    }
}

/// `1 / (1 + exp(-log_odds))`, without overflow, with bits that do not depend on the platform.
#[must_use]
pub fn probability(log_odds: f64) -> f64 {
    let small = libm::exp(-log_odds.abs());
    if log_odds >= 0.0 {
        1.0 / (1.0 + small)
    } else {
        small / (1.0 + small)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preparation::Range;

    fn model() -> Model {
        Model {
            labels: Labels {
                negative: "a".to_owned(),
                positive: "b".to_owned(),
            },
            feature_keys: vec!["TSH".to_owned(), "age".to_owned()],
            weights: vec![0.1, -1e-7],
            bias: -0.25,
            standardisation: None,
            preparation: None,
        }
    }

    #[test]
    fn what_is_written_reads_back_as_the_same_bits() {
        let mut model = model();
        for standardisation in [
            None,
            Some(Standardisation {
                means: vec![1.0 / 3.0, 2e-300],
                scales: vec![0.1, 1e300],
            }),
        ] {
            model.standardisation = standardisation;
            let bytes = model.to_bytes().expect("a good model");
            assert_eq!(Model::parse(&bytes).expect("reads back"), model);
        }
    }

    #[test]
    fn the_file_is_canonical_json() {
        let text = String::from_utf8(model().to_bytes().expect("a good model")).expect("JSON is UTF-8");
        assert_eq!(
            text,
            r#"{"bias":-0.25,"feature_keys":["TSH","age"],"format":"madmall-model/v2","kind":"logreg","#.to_owned()
                + r#""labels":{"negative":"a","positive":"b"},"preparation":null,"standardisation":null,"weights":[0.1,-1e-7]}"#
        );
    }

    #[test]
    fn what_is_not_finite_is_never_written() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut broken = model();
            broken.weights[1] = value;
            let error = broken.to_bytes().expect_err("must be refused");
            assert!(error.to_string().contains("weight of `age`"), "{error}");
            broken = model();
            broken.bias = value;
            assert!(matches!(broken.to_bytes(), Err(ModelError::NotFinite(_))));
        }
    }

    #[test]
    fn what_does_not_hold_together_is_refused() {
        let change = |from: &str, to: &str| {
            let bytes = model().to_bytes().expect("a good model");
            let text = String::from_utf8(bytes).expect("JSON is UTF-8");
            assert!(text.contains(from), "{from}");
            Model::parse(text.replace(from, to).as_bytes()).expect_err(to)
        };
        assert!(matches!(change("-1e-7]", "1]]"), ModelError::Json(_)));
        assert!(matches!(
            change("{\"bias\"", "{\"bias\":1,\"bias\""),
            ModelError::Json(_)
        ));
        assert!(matches!(change("model/v2", "model/v1"), ModelError::Shape(_)));
        assert!(matches!(change("model/v2", "model/v3"), ModelError::Shape(_)));
        assert!(matches!(change("\"preparation\":null,", ""), ModelError::Shape(_)));
        assert!(matches!(change("logreg", "tree"), ModelError::Shape(_)));
        assert!(matches!(change("\"bias\":-0.25,", ""), ModelError::Shape(_)));
        assert!(matches!(change("\"standardisation\":null,", ""), ModelError::Shape(_)));
        assert!(matches!(change("\"bias\"", "\"x\":0,\"bias\""), ModelError::Shape(_)));
        assert!(matches!(change(",-1e-7", ""), ModelError::Inconsistent(_)));
        assert!(matches!(change("TSH", "zzz"), ModelError::Inconsistent(_)));
        assert!(matches!(change("TSH", "age"), ModelError::Inconsistent(_)));
        assert!(matches!(change("\"b\"}", "\"a\"}"), ModelError::Inconsistent(_)));
        let zero_scale = r#""standardisation":{"means":[0,0],"scales":[1,0]}"#;
        let error = change(r#""standardisation":null"#, zero_scale);
        assert!(error.to_string().contains("`age`"), "{error}");
    }

    #[test]
    fn a_model_carries_how_its_features_come_about() {
        let mut model = model();
        let plain = model.preparation().expect("few keys").into_owned();
        assert_eq!(plain, Preparation::plain(&model.feature_keys).expect("few keys"));
        let mut numbers = plain.numbers().to_vec();
        numbers[1].range = Some(Range(0.0, 120.0));
        let preparation = Preparation::new(numbers, Vec::new(), Vec::new()).expect("it holds together");
        model.preparation = Some(preparation.clone());
        let bytes = model.to_bytes().expect("a good model");
        let read = Model::parse(&bytes).expect("reads back");
        assert_eq!(read, model);
        assert_eq!(read.preparation().expect("it has one").as_ref(), &preparation);
        model.preparation = Some(Preparation::plain(&model.feature_keys[1..]).expect("few keys"));
        let error = model.to_bytes().expect_err("must be refused");
        assert!(error.to_string().contains("are not its feature keys"), "{error}");
        let text = String::from_utf8(bytes).expect("JSON is UTF-8");
        let error = Model::parse(text.replace("[0,120]", "[120,0]").as_bytes()).expect_err("must be refused");
        assert!(error.to_string().contains("upside down"), "{error}");
    }

    #[test]
    fn a_model_of_the_first_version_is_read() {
        let text = String::from_utf8(model().to_bytes().expect("a good model")).expect("JSON is UTF-8");
        let first = text
            .replace("model/v2", "model/v1")
            .replace("\"preparation\":null,", "");
        assert_eq!(Model::parse(first.as_bytes()).expect("it is read"), model());
    }

    #[test]
    fn probabilities_do_not_overflow() {
        assert!((probability(0.0) - 0.5).abs() < 1e-16);
        assert!(probability(1e308) == 1.0 && probability(-1e308) == 0.0);
        assert!(probability(-700.0) > 0.0);
        let model = model();
        assert_eq!(model.probability(&[1.0]), None);
        assert_eq!(model.log_odds(&[1.0, 0.0]), Some(0.1 - 0.25));
    }
}
