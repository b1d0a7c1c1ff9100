//! The two solvers: Newton's method to the optimum, and the replaced package's fixed steps.

use super::blocks::BLOCK_ROWS;
use super::cholesky::{Factor, Symmetric};
use super::loss::{Local, Moves, Objective};
use crate::stages::StageError;

/// Newton takes a handful of steps, a few dozen on hard data; more than this means that there is no optimum to find.
const MAX_STEPS: u64 = 100;

/// Gradient norm (see [`gradient_norm`]) at which the optimum is reached.
pub(crate) const TOLERANCE: f64 = 1e-10;

/// At the optimum the last step moved no row's log odds by more than this. On separable data the gradient vanishes
/// while the weights still grow: there the steps do not get smaller.
const SETTLED: f64 = 1e-6;

/// A step that moved no row's log odds by more than this ended at the optimum: what is left is of the order of its square,
/// which doubles cannot tell from nothing.
const AT_THE_OPTIMUM: f64 = 1e-8;

/// With at least so many blocks of rows, a part of them is solved first: one block in so many, until a step moves no row's
/// log odds by more than this, or too many are taken. All four are part of what the bits of a model depend on.
const LEAST_BLOCKS: usize = 16;
const STRIDE: usize = 16;
const WARM: f64 = 0.1;
const MAX_WARM_STEPS: usize = 12;

/// A direction separates if no row loses more than this share of what some row gains along it.
const SEPARATION_SLACK: f64 = 1e-8;

/// How much the objective may rise in a step, relative to itself: rounding, no more.
const ROUNDING: f64 = 1e-12;

/// Steps and rate of the replaced package.
const DESCENT_STEPS: u64 = 800;
const DESCENT_RATE: f64 = 0.1;

/// Told the number of the step before each; an error ends the solver.
pub(crate) type OnStep<'a> = &'a dyn Fn(u64) -> Result<(), StageError>;

/// Where a solver ended.
#[derive(Clone, Debug)]
pub(crate) struct Fit {
    /// A weight for each feature, then the bias.
    pub(crate) parameters: Vec<f64>,
    /// Steps taken.
    pub(crate) steps: u64,
    /// See [`gradient_norm`].
    pub(crate) gradient_norm: f64,
    /// The objective.
    pub(crate) value: f64,
    /// Its second derivative.
    pub(crate) hessian: Symmetric,
}

/// Why there is no fit.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SolveError {
    /// Along this direction (a weight for each feature, then the bias) the objective falls for ever.
    #[error("the labels are separated")]
    Separated { direction: Vec<f64> },
    /// The second derivative has no inverse that doubles can find.
    #[error("the system is singular at step {steps}")]
    Singular { steps: u64 },
    /// No optimum after so many steps.
    #[error("not at the optimum after {steps} steps ({})", unmet(*gradient_norm))]
    NotConverged { steps: u64, gradient_norm: f64 },
    /// A number overflowed.
    #[error("a number became infinite at step {steps}")]
    NotFinite { steps: u64 },
    /// Interrupted.
    #[error(transparent)]
    Stopped(#[from] StageError),
}

/// What an optimum has and this place has not.
fn unmet(gradient_norm: f64) -> String {
    match gradient_norm <= TOLERANCE {
        false => format!("gradient norm {gradient_norm:e}, must be 1e-10"),
        true => {
            "the gradient is as small as it must be, but a step still moves the log odds of a row by more than 1e-6"
                .to_owned()
        }
    }
}

/// The largest component of the gradient, each divided by its column's scale (Σ cᵢ·|xᵢ|): a mean residual, weighted by
/// the column, that does not depend on units or on the number of rows.
pub(crate) fn gradient_norm(gradient: &[f64], scales: &[f64]) -> f64 {
    let mut norm = 0.0;
    for (component, scale) in gradient.iter().zip(scales) {
        let scaled = component.abs() / if *scale > 0.0 { *scale } else { 1.0 };
        if scaled.is_nan() || scaled > norm {
            norm = scaled;
        }
    }
    norm
}

/// Newton's method with step halving, to [`TOLERANCE`] and then on as long as steps still help. Many rows are begun where
/// the optimum of a part of them is, else it is from zero.
pub(crate) fn newton(objective: &Objective<'_>, on_step: OnStep<'_>) -> Result<Fit, SolveError> {
    on_step(0)?;
    let mut at = warm_start(objective).unwrap_or_else(|| vec![0.0; objective.size()]);
    let (mut local, scales) = objective.local_and_scales(&at);
    let mut moved = f64::INFINITY;
    let mut best: Option<Fit> = None;
    for steps in 0..=MAX_STEPS {
        on_step(steps)?;
        let norm = gradient_norm(&local.gradient, &scales);
        if !norm.is_finite() || !local.value.is_finite() {
            return Err(SolveError::NotFinite { steps });
        }
        let settled = norm <= TOLERANCE && moved <= SETTLED;
        if let Some(best) = best.take_if(|best| !settled || norm > 0.5 * best.gradient_norm) {
            return Ok(best);
        }
        if settled {
            let fit = Fit {
                parameters: at.clone(),
                steps,
                gradient_norm: norm,
                value: local.value,
                hessian: local.hessian.clone(),
            };
            if norm == 0.0 || moved <= AT_THE_OPTIMUM {
                return Ok(fit);
            }
            best = Some(fit);
        }
        let Ok(factor) = Factor::new(&local.hessian) else {
            return best.ok_or(SolveError::Singular { steps });
        };
        match step(objective, &at, &local, &factor)? {
            Some(taken) => (at, local) = taken,
            None => {
                let gradient_norm = norm;
                return best.ok_or(SolveError::NotConverged { steps, gradient_norm });
            }
        }
        moved = local.moves.farthest();
    }
    let gradient_norm = gradient_norm(&local.gradient, &scales);
    best.ok_or(SolveError::NotConverged {
        steps: MAX_STEPS,
        gradient_norm,
    })
}

/// Where a step from `at` ends; `None` if there is none that does not raise the objective.
fn step(
    objective: &Objective<'_>,
    at: &[f64],
    local: &Local,
    factor: &Factor,
) -> Result<Option<(Vec<f64>, Local)>, SolveError> {
    let direction: Vec<f64> = factor.solve(&local.gradient).into_iter().map(|value| -value).collect();
    let taken = halve(objective, at, local, &direction);
    // Whether rows lose nothing is told roughly from where they were and are, and then exactly.
    let may_separate = taken
        .as_ref()
        .is_none_or(|(_, next)| next.moves.least >= -1e-3 * next.moves.most);
    if may_separate && separates(objective, &direction) {
        return Err(SolveError::Separated { direction });
    }
    Ok(taken)
}

/// The optimum of one block of rows in [`STRIDE`], roughly. `None` if that is too few rows, or has none: then nothing is
/// known but that it is no good place to begin.
fn warm_start(objective: &Objective<'_>) -> Option<Vec<f64>> {
    let rows = objective.labels.len();
    if rows < LEAST_BLOCKS * BLOCK_ROWS {
        return None;
    }
    let part = Objective {
        stride: STRIDE,
        l2: objective.l2 / f64::from(u32::try_from(STRIDE).ok()?),
        ..*objective
    };
    let mut at = vec![0.0; part.size()];
    let mut local = part.local(&at, None);
    for _ in 0..MAX_WARM_STEPS {
        let factor = Factor::new(&local.hessian).ok()?;
        let direction: Vec<f64> = factor.solve(&local.gradient).into_iter().map(|value| -value).collect();
        (at, local) = halve(&part, &at, &local, &direction)?;
        if local.moves.farthest() <= WARM {
            return Some(at);
        }
    }
    None
}

/// Whether there is no optimum, for along `direction` no row loses and some gain.
fn separates(objective: &Objective<'_>, direction: &[f64]) -> bool {
    if objective.l2 > 0.0 {
        return false;
    }
    let Moves { least, most } = objective.margin_moves(direction);
    most > 1e-3 && least >= -SEPARATION_SLACK * most
}

/// The longest of the steps 1, ½, ¼ … along `direction` that does not raise the objective: where it ends.
fn halve(objective: &Objective<'_>, at: &[f64], local: &Local, direction: &[f64]) -> Option<(Vec<f64>, Local)> {
    let mut length = 1.0;
    for _ in 0..50 {
        let next: Vec<f64> = at.iter().zip(direction).map(|(at, step)| at + length * step).collect();
        let next_local = objective.local(&next, Some(&local.log_odds));
        if next_local.value <= local.value + ROUNDING * local.value.abs() {
            return Some((next, next_local));
        }
        length *= 0.5;
    }
    None
}

/// The replaced package's solver: 800 steps of gradient descent on the mean log loss, at rate 0.1, from zero.
pub(crate) fn descent(objective: &Objective<'_>, on_step: OnStep<'_>) -> Result<Fit, SolveError> {
    let rows = objective.labels.len();
    let rows = f64::from(u32::try_from(rows).map_err(|_| SolveError::NotFinite { steps: 0 })?);
    let mut at = vec![0.0; objective.size()];
    for steps in 0..DESCENT_STEPS {
        on_step(steps)?;
        let gradient = objective.gradient(&at);
        for (parameter, slope) in at.iter_mut().zip(&gradient) {
            *parameter -= DESCENT_RATE * (slope / rows);
        }
        if at.iter().any(|parameter| !parameter.is_finite()) {
            return Err(SolveError::NotFinite { steps });
        }
    }
    let local = objective.local(&at, None);
    Ok(Fit {
        gradient_norm: gradient_norm(&local.gradient, &objective.column_scales()),
        value: local.value,
        hessian: local.hessian,
        parameters: at,
        steps: DESCENT_STEPS,
    })
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Matrix;
    use super::*;

    fn data(rows: &[(f64, bool)]) -> (Matrix, Vec<bool>) {
        let mut matrix = Matrix::new(2);
        for (x, _) in rows {
            matrix.push([*x, 1.0]);
        }
        (matrix, rows.iter().map(|(_, label)| *label).collect())
    }

    #[test]
    fn newton_finds_the_odds_of_a_table_of_four() {
        // With one binary feature the optimum has a closed form: log odds per group.
        let mut rows = vec![(0.0, false); 30];
        rows.extend([(0.0, true); 10]);
        rows.extend([(1.0, false); 5]);
        rows.extend([(1.0, true); 20]);
        let (matrix, labels) = data(&rows);
        let fit = newton(&Objective::for_test(&matrix, &labels, 0.0), &|_| Ok(())).expect("has an optimum");
        let bias = libm::log(10.0 / 30.0);
        assert!((fit.parameters[1] - bias).abs() < 1e-14);
        assert!((fit.parameters[0] - (libm::log(4.0) - bias)).abs() < 1e-14);
        assert!(fit.gradient_norm <= TOLERANCE);
    }

    #[test]
    fn many_rows_are_begun_near_the_optimum_and_end_at_it() {
        let rows = 2 * LEAST_BLOCKS * BLOCK_ROWS + 1000;
        let row = |row: usize| {
            let x = f64::from(u32::try_from(row * 7919 % 1009).expect("small")) / 100.0;
            (x, (row * row + 3 * row) % 1013 < 300 + row * 7919 % 1009 / 3)
        };
        let few: Vec<(f64, bool)> = (0..rows).map(row).collect();
        let (matrix, labels) = data(&few);
        let fit = newton(&Objective::for_test(&matrix, &labels, 1.0), &|_| Ok(())).expect("has an optimum");
        assert!(
            fit.steps <= 3 && fit.gradient_norm < 1e-15,
            "{} {}",
            fit.steps,
            fit.gradient_norm
        );
        // A part that has no optimum is no place to begin; the whole has one all the same.
        let one_sided = few.iter().enumerate().map(|(row, (x, label))| {
            let is_part = (row / BLOCK_ROWS).is_multiple_of(STRIDE);
            (*x, *label && !is_part)
        });
        let (matrix, labels) = data(&one_sided.collect::<Vec<_>>());
        for l2 in [0.0, 1.0] {
            let fit = newton(&Objective::for_test(&matrix, &labels, l2), &|_| Ok(())).expect("has an optimum");
            assert!(
                fit.steps > 3 && fit.gradient_norm < 1e-15,
                "{} {}",
                fit.steps,
                fit.gradient_norm
            );
        }
    }

    #[test]
    fn newton_takes_features_in_any_units() {
        let rows: Vec<(f64, bool)> = (0..200u32)
            .map(|row| (f64::from(row % 17) * 1e9 + 1e12, (row * row) % 7 < 3))
            .collect();
        let (matrix, labels) = data(&rows);
        let fit = newton(&Objective::for_test(&matrix, &labels, 0.0), &|_| Ok(())).expect("has an optimum");
        assert!(fit.gradient_norm <= TOLERANCE, "{}", fit.gradient_norm);
    }

    #[test]
    fn separated_labels_have_no_optimum_without_a_penalty() {
        let complete = [(1.0, false), (2.0, false), (3.0, true), (4.0, true)];
        let quasi = [(1.0, false), (2.0, false), (2.0, true), (3.0, true), (2.0, true)];
        let one_sided = [(0.0, false), (0.0, true), (1.0, true), (0.0, false)];
        for rows in [complete.as_slice(), &quasi, &one_sided] {
            let (matrix, labels) = data(rows);
            let result = newton(&Objective::for_test(&matrix, &labels, 0.0), &|_| Ok(()));
            assert!(matches!(result, Err(SolveError::Separated { .. })), "{rows:?}");
            newton(&Objective::for_test(&matrix, &labels, 1.0), &|_| Ok(())).expect("has an optimum with a penalty");
        }
    }

    #[test]
    fn descent_diverging_to_no_number_is_an_error() {
        let (matrix, labels) = data(&[(1e308, true), (-1e308, true), (1e308, false)]);
        let result = descent(&Objective::for_test(&matrix, &labels, 0.0), &|_| Ok(()));
        assert!(matches!(result, Err(SolveError::NotFinite { .. })));
    }

    #[test]
    fn what_keeps_a_place_from_being_the_optimum_is_named() {
        let said = |gradient_norm| {
            SolveError::NotConverged {
                steps: 9,
                gradient_norm,
            }
            .to_string()
        };
        assert_eq!(
            said(0.5),
            "not at the optimum after 9 steps (gradient norm 5e-1, must be 1e-10)"
        );
        assert!(
            said(1e-45).contains("but a step still moves the log odds"),
            "{}",
            said(1e-45)
        );
    }

    #[test]
    fn a_solver_stops_when_told_to() {
        let (matrix, labels) = data(&[(1.0, true), (0.0, false), (1.0, false)]);
        let stop = |step| if step == 2 { Err(StageError::Cancelled) } else { Ok(()) };
        let result = descent(&Objective::for_test(&matrix, &labels, 0.0), &stop);
        assert!(matches!(result, Err(SolveError::Stopped(StageError::Cancelled))));
    }
}
