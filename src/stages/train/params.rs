//! The parameters of train.

use std::collections::BTreeMap;

use super::refused;
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
}

/// How the weights are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Solver {
    /// Newton's method to the optimum.
    Newton {
        /// λ.
        l2: f64,
    },
    /// The replaced package's 800 steps.
    Descent,
}

impl Solver {
    /// As the parameter spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Newton { .. } => "newton",
            Self::Descent => "gd",
        }
    }

    /// λ, where there is one.
    pub(crate) const fn l2(self) -> Option<f64> {
        match self {
            Self::Newton { l2 } => Some(l2),
            Self::Descent => None,
        }
    }
}

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
        let solver = match text(params, "solver")?.as_deref() {
            None | Some("newton") => Solver::Newton {
                l2: l2.unwrap_or(DEFAULT_L2),
            },
            Some("gd") if l2.is_some() || balanced => {
                return Err(refused(
                    "`solver: gd` takes neither `l2` nor `class_weight`; remove them",
                ));
            }
            Some("gd") => Solver::Descent,
            Some(other) => {
                return Err(refused(format!(
                    "parameter `solver` is `newton` or `gd`, not `{other}`"
                )));
            }
        };
        Ok(Self {
            solver,
            holdout,
            balanced,
            positive: text(params, "positive")?,
            standardize: boolean(params, "standardize")?,
        })
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
            ("holdout", number(1.0)),
            ("holdout", number(-0.1)),
            ("class_weight", text("some")),
            ("solver", text("lbfgs")),
            ("positive", number(1.0)),
            ("standardize", text("yes")),
        ] {
            let message = read(&[(name, value)]).expect_err(name);
            assert!(message.contains(&format!("`{name}`")), "{message}");
        }
        assert!(read(&[("solver", text("gd")), ("l2", number(1.0))]).is_err());
        assert!(read(&[("solver", text("gd")), ("class_weight", text("balanced"))]).is_err());
        assert_eq!(read(&[("solver", text("gd"))]).expect("good").solver, Solver::Descent);
    }
}
