//! The parameters of train.

use std::collections::BTreeMap;

use super::refused;
use crate::model::metrics::Settings;
use crate::plan::ParamValue;
use crate::stages::StageError;

/// λ where the pipeline does not say.
const DEFAULT_L2: f64 = 1.0;

/// What is asked of train.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Params {
    /// Which solver, and λ for the one that has it.
    pub(crate) solver: Solver,
    /// The fraction of ids that are held out.
    pub(crate) holdout: f64,
    /// Whether both labels count alike, however many rows have them.
    pub(crate) balanced: bool,
    /// The label whose probability the model gives.
    pub(crate) positive: Option<String>,
    /// Whether features are brought to mean 0 and deviation 1 first.
    pub(crate) standardize: bool,
    /// The level of confidence intervals, in (0, 1).
    pub(crate) confidence: f64,
    /// Fewer rows than this are not shown.
    pub(crate) suppress_below: u64,
    /// Parts of the cross-validation, at least 2, if there is one.
    pub(crate) folds: Option<usize>,
    /// The column that holds what rows weigh.
    pub(crate) weights: Option<String>,
}

/// How the weights are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Solver {
    /// Newton's method to the optimum.
    Newton {
        /// λ.
        l2: f64,
    },
    /// The proximal Newton method to the optimum with a penalty that makes weights zero.
    ElasticNet {
        /// λ, more than 0.
        l2: f64,
        /// The share of ‖w‖₁ in the penalty, more than 0.
        l1_ratio: f64,
    },
    /// The replaced package's 800 steps.
    Descent,
}

impl Solver {
    /// As the parameter spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Newton { .. } | Self::ElasticNet { .. } => "newton",
            Self::Descent => "gd",
        }
    }

    /// Whether it finds the optimum of the likelihood itself.
    pub(crate) fn is_unpenalised(self) -> bool {
        self.l2() == Some(0.0)
    }

    /// λ, where there is one.
    pub(crate) const fn l2(self) -> Option<f64> {
        match self {
            Self::Newton { l2 } | Self::ElasticNet { l2, .. } => Some(l2),
            Self::Descent => None,
        }
    }

    /// The share of ‖w‖₁ in the penalty, where there is a penalty.
    pub(crate) const fn l1_ratio(self) -> Option<f64> {
        match self {
            Self::Newton { .. } => Some(0.0),
            Self::ElasticNet { l1_ratio, .. } => Some(l1_ratio),
            Self::Descent => None,
        }
    }

    /// The factor of ‖w‖²/2 in the objective.
    pub(crate) fn quadratic(self) -> f64 {
        match self {
            Self::Newton { l2 } => l2,
            Self::ElasticNet { l2, l1_ratio } => l2 * (1.0 - l1_ratio),
            Self::Descent => 0.0,
        }
    }
}

/// The level of confidence intervals where nothing is said.
pub(crate) const DEFAULT_CONFIDENCE: f64 = 0.95;

/// What is not shown where nothing is said.
pub(crate) const DEFAULT_SUPPRESS_BELOW: u64 = 5;

/// The most folds: each costs a model.
const MOST_FOLDS: u64 = 1000;

impl Params {
    /// Reads the stage's parameters.
    pub(crate) fn read(params: &BTreeMap<String, ParamValue>) -> Result<Self, StageError> {
        let l2 = number(params, "l2")?;
        if l2.is_some_and(|l2| l2 < 0.0) {
            return Err(refused("parameter `l2` must not be negative"));
        }
        let holdout = number(params, "holdout")?.unwrap_or(0.2);
        if !(0.0..1.0).contains(&holdout) {
            return Err(refused("parameter `holdout` must be at least 0 and less than 1"));
        }
        let balanced = match text(params, "class_weight")?.as_deref() {
            None | Some("none") => false,
            Some("balanced") => true,
            Some(other) => {
                return Err(refused(format!(
                    "parameter `class_weight` is `none` or `balanced`, not `{other}`"
                )));
            }
        };
        let l1_ratio = number(params, "l1_ratio")?;
        if l1_ratio.is_some_and(|ratio| !(0.0..=1.0).contains(&ratio)) {
            return Err(refused("parameter `l1_ratio` must be from 0 to 1"));
        }
        let solver = match text(params, "solver")?.as_deref() {
            None | Some("newton") => newton(l2.unwrap_or(DEFAULT_L2), l1_ratio.unwrap_or(0.0))?,
            Some("gd") if l2.is_some() || l1_ratio.is_some() || balanced => {
                return Err(refused(
                    "`solver: gd` takes neither `l2` nor `l1_ratio` nor `class_weight`; remove them",
                ));
            }
            Some("gd") => Solver::Descent,
            Some(other) => {
                return Err(refused(format!(
                    "parameter `solver` is `newton` or `gd`, not `{other}`"
                )));
            }
        };
        let weights = text(params, "weights")?;
        if weights.is_some() && solver == Solver::Descent {
            return Err(refused("`solver: gd` takes no `weights`; remove one of the two"));
        }
        let confidence = number(params, "confidence")?.unwrap_or(DEFAULT_CONFIDENCE);
        if !is_level(confidence) {
            return Err(refused("parameter `confidence` must be more than 0 and less than 1"));
        }
        let folds = count(params, "folds")?;
        if folds.is_some_and(|folds| !(2..=MOST_FOLDS).contains(&folds)) {
            return Err(refused(format!("parameter `folds` must be from 2 to {MOST_FOLDS}")));
        }
        Ok(Self {
            solver,
            holdout,
            balanced,
            positive: text(params, "positive")?,
            standardize: boolean(params, "standardize")?,
            confidence,
            suppress_below: count(params, "suppress_below")?.unwrap_or(DEFAULT_SUPPRESS_BELOW),
            folds: folds.and_then(|folds| usize::try_from(folds).ok()),
            weights,
        })
    }

    /// The same as the metrics file has it.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            solver: self.solver.name(),
            l2: self.solver.l2(),
            l1_ratio: self.solver.l1_ratio(),
            class_weight: if self.balanced { "balanced" } else { "none" },
            holdout: self.holdout,
            standardize: self.standardize,
            confidence: self.confidence,
            suppress_below: self.suppress_below,
            folds: self.folds.map(|folds| folds as u64),
            weights: self.weights.clone(),
        }
    }
}

fn newton(l2: f64, l1_ratio: f64) -> Result<Solver, StageError> {
    match (l2 > 0.0, l1_ratio > 0.0) {
        (_, false) => Ok(Solver::Newton { l2 }),
        (true, true) => Ok(Solver::ElasticNet { l2, l1_ratio }),
        (false, true) => Err(refused("`l1_ratio` divides the penalty `l2`, which is 0: set `l2` too")),
    }
}

/// Whether `level` can be the level of a confidence interval.
pub(crate) fn is_level(level: f64) -> bool {
    level > 0.0 && level < 1.0
}

/// A number that counts something.
fn count(params: &BTreeMap<String, ParamValue>, name: &str) -> Result<Option<u64>, StageError> {
    let wrong = || refused(format!("parameter `{name}` must be a whole number, 0 or more"));
    match params.get(name) {
        None | Some(ParamValue::Null) => Ok(None),
        Some(ParamValue::Number(number)) => number.to_string().parse().map(Some).map_err(|_| wrong()),
        Some(_) => Err(wrong()),
    }
}

fn number(params: &BTreeMap<String, ParamValue>, name: &str) -> Result<Option<f64>, StageError> {
    match params.get(name) {
        None | Some(ParamValue::Null) => Ok(None),
        Some(ParamValue::Number(number)) => Ok(Some(number.to_f64())),
        Some(_) => Err(refused(format!("parameter `{name}` must be a number"))),
    }
}

fn text(params: &BTreeMap<String, ParamValue>, name: &str) -> Result<Option<String>, StageError> {
    match params.get(name) {
        None | Some(ParamValue::Null) => Ok(None),
        Some(ParamValue::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(refused(format!("parameter `{name}` must be a text"))),
    }
}

fn boolean(params: &BTreeMap<String, ParamValue>, name: &str) -> Result<bool, StageError> {
    match params.get(name) {
        None | Some(ParamValue::Null) => Ok(false),
        Some(ParamValue::Boolean(value)) => Ok(*value),
        Some(_) => Err(refused(format!("parameter `{name}` must be `true` or `false`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Number;

    fn read(entries: &[(&str, ParamValue)]) -> Result<Params, String> {
        let params = entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        Params::read(&params).map_err(|error| error.to_string())
    }

    fn number(value: f64) -> ParamValue {
        ParamValue::Number(Number::from_f64(value).expect("finite"))
    }

    fn text(text: &str) -> ParamValue {
        ParamValue::String(text.to_owned())
    }

    #[test]
    fn without_parameters_it_is_newton_with_a_penalty_and_a_fifth_held_out() {
        let params = read(&[("l2", ParamValue::Null)]).expect("good");
        assert_eq!(params.solver, Solver::Newton { l2: 1.0 });
        assert_eq!(
            (params.holdout, params.balanced, params.standardize),
            (0.2, false, false)
        );
    }

    #[test]
    fn wrong_parameters_are_refused_by_name() {
        for (name, value) in [
            ("l2", number(-1.0)),
            ("l2", text("one")),
            ("l1_ratio", number(1.5)),
            ("l1_ratio", number(-0.5)),
            ("holdout", number(1.0)),
            ("holdout", number(-0.1)),
            ("class_weight", text("some")),
            ("solver", text("lbfgs")),
            ("positive", number(1.0)),
            ("standardize", text("yes")),
            ("confidence", number(1.0)),
            ("confidence", number(0.0)),
            ("weights", number(1.0)),
            ("suppress_below", number(-1.0)),
            ("suppress_below", number(2.5)),
            ("folds", number(1.0)),
            ("folds", number(1001.0)),
        ] {
            let message = read(&[(name, value)]).expect_err(name);
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
        assert!(read(&[("solver", text("gd")), ("l2", number(1.0))]).is_err());
        assert!(read(&[("solver", text("gd")), ("l1_ratio", number(0.5))]).is_err());
        assert!(read(&[("l2", number(0.0)), ("l1_ratio", number(0.5))]).is_err());
        let net = Solver::ElasticNet { l2: 1.0, l1_ratio: 0.5 };
        assert_eq!(read(&[("l1_ratio", number(0.5))]).expect("good").solver, net);
        assert!(read(&[("solver", text("gd")), ("class_weight", text("balanced"))]).is_err());
        assert!(read(&[("solver", text("gd")), ("weights", text("weight"))]).is_err());
        assert_eq!(read(&[("solver", text("gd"))]).expect("good").solver, Solver::Descent);
    }
}
