//! What the metrics file says: of the fit, of its coefficients, and of how the model does on the rows.

use rayon::prelude::*;

use super::cholesky::Factor;
use super::evaluate::bands::Cuts;
use super::evaluate::disclosure::Disclosure;
use super::evaluate::distributions::{chi_square_tail, normal_quantile};
use super::evaluate::population::Population;
use super::evaluate::{Measure, Scores, evaluate};
use super::params::{Params, Solver};
use super::solve::Fit;
use crate::model::evaluation::{ChiSquare, Evaluation};
use crate::model::metrics::{Coefficient, Group, GroupColumn, Interval, Likelihood, Parts};

/// Rows in parts, overall and by group.
pub(crate) struct Measured {
    /// For each part, all of its rows.
    pub(crate) overall: Vec<Evaluation>,
    /// For each column its groups.
    pub(crate) columns: Vec<MeasuredColumn>,
}

/// The groups of a column, each measured in each part.
pub(crate) struct MeasuredColumn {
    /// The column.
    pub(crate) name: String,
    /// The groups that may be shown.
    pub(crate) groups: Vec<(Option<String>, Vec<Evaluation>)>,
    /// All others together.
    pub(crate) others: Option<Vec<Evaluation>>,
}

/// Measures every part of `population`, of which the first was fitted to if `is_fitted`, and shows what may be shown. All cores take part,
/// each with a group of its own: no number depends on how many they are.
pub(crate) fn measure(population: &Population, confidence: f64, least: u64, is_fitted: bool) -> Measured {
    let disclosure = Disclosure::decide(population, least);
    let how = |part: usize| Measure {
        confidence,
        least,
        fitted: is_fitted && part == 0,
    };
    let each = |cuts: &Cuts, scores: &(dyn Fn(usize) -> Scores + Sync)| -> Vec<Evaluation> {
        let parts = 0..population.parts.len();
        parts.map(|part| evaluate(&scores(part), cuts, how(part))).collect()
    };
    let overall = || {
        let parts = population.parts.par_iter().enumerate();
        parts
            .map(|(part, rows)| evaluate(&rows.scores, &disclosure.overall, how(part)))
            .collect()
    };
    let column = |(index, column): (usize, &super::evaluate::population::Column)| {
        let shown = &disclosure.shown[index];
        let rows_where = |keep: &(dyn Fn(usize) -> bool + Sync)| {
            each(&disclosure.grouped, &|part| {
                let part = &population.parts[part];
                part.scores.select(|row| keep(part.groups[index][row]))
            })
        };
        let groups = column.values.par_iter().enumerate();
        let groups = groups.filter(|(place, _)| shown[*place]);
        let groups = groups.map(|(place, value)| (value.clone(), rows_where(&|of| of == place)));
        let (groups, others) = rayon::join(
            || groups.collect(),
            || shown.contains(&false).then(|| rows_where(&|of| !shown[of])),
        );
        MeasuredColumn {
            name: column.name.clone(),
            groups,
            others,
        }
    };
    let columns = || population.columns.par_iter().enumerate().map(column).collect();
    let (overall, columns) = rayon::join(overall, columns);
    Measured { overall, columns }
}

impl Measured {
    /// The same as the metrics file has it.
    pub(crate) fn into_parts(self) -> (Parts, Vec<GroupColumn>) {
        let columns = self.columns.into_iter().map(|column| GroupColumn {
            column: column.name,
            groups: column
                .groups
                .into_iter()
                .map(|(value, each)| Group {
                    value,
                    parts: parts(each),
                })
                .collect(),
            others: column.others.map(parts),
        });
        let columns = columns.collect();
        (parts(self.overall), columns)
    }
}

fn parts(each: Vec<Evaluation>) -> Parts {
    let mut each = each.into_iter();
    Parts {
        train: each.next().unwrap_or_default(),
        holdout: each.next(),
    }
}

/// How likely the labels of the rows that were trained on are.
pub(crate) fn likelihood(train: &Scores, features: usize, params: &Params) -> Likelihood {
    let log_likelihood = -train.loss();
    let totals = train.weight_totals();
    let rows = totals[0] + totals[1];
    let null_log_likelihood = totals.iter().map(|count| count * libm::log(count / rows)).sum::<f64>();
    // Only there do the estimates maximise the likelihood.
    let is_maximal = params.solver.is_unpenalised() && !params.balanced;
    let parameters = features as f64 + 1.0;
    let statistic = (2.0 * (log_likelihood - null_log_likelihood)).max(0.0);
    Likelihood {
        log_likelihood,
        null_log_likelihood,
        mcfadden_r2: 1.0 - log_likelihood / null_log_likelihood,
        likelihood_ratio: is_maximal.then(|| ChiSquare {
            statistic,
            degrees_of_freedom: features as u64,
            p_value: chi_square_tail(statistic, features as u64),
        }),
        aic: is_maximal.then_some(2.0 * parameters - 2.0 * log_likelihood),
        bic: is_maximal.then(|| parameters * libm::log(rows) - 2.0 * log_likelihood),
        weight: train.weights.as_ref().map(|_| rows),
    }
}

/// Each parameter with its standard error, from the inverse of the second derivative, and what rests on it. Away from the
/// optimum, where `gd` stops, that would mean nothing; and where weights were made zero it would not know of it.
pub(crate) fn coefficients(fit: &Fit, params: &Params) -> Vec<Coefficient> {
    let variances = match params.solver {
        Solver::Newton { .. } => Factor::new(&fit.hessian).ok().map(|factor| factor.inverse_diagonal()),
        Solver::ElasticNet { .. } | Solver::Descent => None,
    };
    let reach = normal_quantile(params.confidence);
    let parameters = fit.parameters.iter().enumerate();
    parameters
        .map(|(index, estimate)| {
            let standard_error = variances.as_ref().map(|variances| variances[index].sqrt());
            coefficient(*estimate, standard_error, reach)
        })
        .collect()
}

/// `reach` is the interval's half width in standard errors.
fn coefficient(estimate: f64, standard_error: Option<f64>, reach: f64) -> Coefficient {
    let z = standard_error.map(|error| estimate / error).filter(|z| z.is_finite());
    let interval = standard_error.map(|error| Interval {
        lower: estimate - reach * error,
        upper: estimate + reach * error,
    });
    let ratios = interval.map(|interval| Interval {
        lower: libm::exp(interval.lower),
        upper: libm::exp(interval.upper),
    });
    Coefficient {
        estimate,
        standard_error,
        z,
        p_value: z.map(|z| libm::erfc(z.abs() / std::f64::consts::SQRT_2)),
        interval,
        odds_ratio: Some(libm::exp(estimate)).filter(|ratio| ratio.is_finite()),
        odds_ratio_interval: ratios.filter(|ratios| ratios.upper.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odds_ratios_are_powers_of_e_or_absent() {
        let found = coefficient(0.5, Some(0.25), 2.0);
        assert_eq!(found.interval, Some(Interval { lower: 0.0, upper: 1.0 }));
        let ratios = found.odds_ratio_interval.expect("finite");
        assert!((ratios.lower - 1.0).abs() < 1e-16 && (ratios.upper - std::f64::consts::E).abs() < 1e-15);
        assert_eq!(coefficient(1000.0, Some(1.0), 2.0).odds_ratio, None);
        assert_eq!(coefficient(709.0, Some(1.0), 2.0).odds_ratio_interval, None);
        let unsure = coefficient(1.0, None, 2.0);
        assert_eq!((unsure.interval, unsure.odds_ratio_interval), (None, None));
    }
}
