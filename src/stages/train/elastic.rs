//! The elastic net: a penalty that makes weights exactly zero.

use super::blocks::Sum;
use super::cholesky::{Factor, Symmetric};
use super::loss::{Local, Objective};
use super::solve::{Fit, OnStep, SolveError, TOLERANCE, gradient_norm};

/// As many steps as Newton's method may take.
const MAX_STEPS: u64 = 100;

/// Sweeps over all coordinates before the signs that they have come to are tried, and how often that is done.
const SWEEPS: usize = 50;
const ROUNDS: usize = 200;

/// The share of the promised decrease that a step must give (Armijo's rule).
const DECREASE: f64 = 1e-4;

/// How much the objective may rise in a step, relative to itself: rounding, no more.
const ROUNDING: f64 = 1e-12;

/// The weights that minimise `objective` (whose `l2` is its quadratic part) + `l1` · ‖w‖₁, the bias not penalised.
///
/// By the proximal Newton method of Lee, Sun and Saunders (2014): each step goes to the minimum of the quadratic model plus
/// the penalty, along which the step is halved until it gives what it promised. That minimum is found by coordinate
/// descent as Friedman, Hastie and Tibshirani (2010) do it, which finds out which weights are zero and which signs the
/// others have; given these it is a linear system, which is solved by Cholesky. So the end has the quadratic
/// convergence of Newton's method. It is reached when the smallest subgradient has a norm (see [`gradient_norm`]) of
/// 1e-10, and then as long as a step still halves it.
pub(crate) fn elastic_net(objective: &Objective<'_>, l1: f64, on_step: OnStep<'_>) -> Result<Fit, SolveError> {
    let scales = objective.column_scales();
    let mut at = vec![0.0; objective.size()];
    let mut local = objective.local(&at, None);
    let mut best: Option<Fit> = None;
    for steps in 0..=MAX_STEPS {
        on_step(steps)?;
        let norm = gradient_norm(&subgradient(&local.gradient, &at, l1), &scales);
        if !norm.is_finite() || !local.value.is_finite() {
            return Err(SolveError::NotFinite { steps });
        }
        if let Some(best) = best.take_if(|best| norm > 0.5 * best.gradient_norm) {
            return Ok(best);
        }
        if norm <= TOLERANCE {
            best = Some(Fit {
                parameters: at.clone(),
                steps,
                gradient_norm: norm,
                value: penalised(&local, &at, l1),
                hessian: local.hessian.clone(),
            });
            if norm == 0.0 {
                break;
            }
        }
        let target = Quadratic {
            at: &at,
            gradient: &local.gradient,
            hessian: &local.hessian,
            l1,
        }
        .minimise();
        let Some((next, next_local)) = halve(objective, &at, &local, &target, l1) else {
            let gradient_norm = norm;
            return best.ok_or(SolveError::NotConverged { steps, gradient_norm });
        };
        (at, local) = (next, next_local);
    }
    let gradient_norm = gradient_norm(&subgradient(&local.gradient, &at, l1), &scales);
    best.ok_or(SolveError::NotConverged {
        steps: MAX_STEPS,
        gradient_norm,
    })
}

/// The objective with its whole penalty.
fn penalised(local: &Local, at: &[f64], l1: f64) -> f64 {
    local.value + l1 * magnitude(at)
}

/// ‖w‖₁, without the bias.
fn magnitude(at: &[f64]) -> f64 {
    sum_of(at[..at.len() - 1].iter().map(|weight| weight.abs()))
}

fn sum_of(values: impl Iterator<Item = f64>) -> f64 {
    values.collect::<Sum>().value()
}

/// The smallest subgradient: zero just at the optimum.
fn subgradient(gradient: &[f64], at: &[f64], l1: f64) -> Vec<f64> {
    let bias = at.len() - 1;
    let component = |(index, (slope, weight)): (usize, (&f64, &f64))| {
        if index == bias {
            *slope
        } else if *weight == 0.0 {
            (slope.abs() - l1).max(0.0)
        } else {
            slope + l1 * weight.signum()
        }
    };
    gradient.iter().zip(at).enumerate().map(component).collect()
}

/// The longest of the steps 1, ½, ¼ … towards `target` that gives its share of what the model promises.
fn halve(objective: &Objective<'_>, at: &[f64], local: &Local, target: &[f64], l1: f64) -> Option<(Vec<f64>, Local)> {
    let direction: Vec<f64> = target.iter().zip(at).map(|(to, from)| to - from).collect();
    let promised = sum_of(local.gradient.iter().zip(&direction).map(|(slope, step)| slope * step))
        + l1 * (magnitude(target) - magnitude(at));
    let value = penalised(local, at, l1);
    let mut length = 1.0;
    for _ in 0..50 {
        // A whole step takes the target itself: what is zero there is zero.
        let next: Vec<f64> = match length == 1.0 {
            true => target.to_vec(),
            false => at.iter().zip(&direction).map(|(at, step)| at + length * step).collect(),
        };
        let next_local = objective.local(&next, None);
        let allowed = value + DECREASE * length * promised.min(0.0) + ROUNDING * value.abs();
        if penalised(&next_local, &next, l1) <= allowed {
            return Some((next, next_local));
        }
        length *= 0.5;
    }
    None
}

/// The quadratic model of the smooth part around `at`, plus the penalty.
struct Quadratic<'a> {
    at: &'a [f64],
    gradient: &'a [f64],
    hessian: &'a Symmetric,
    l1: f64,
}

impl Quadratic<'_> {
    fn minimise(&self) -> Vec<f64> {
        let mut to = self.at.to_vec();
        // H · (to − at), kept as `to` moves.
        let mut turned = vec![0.0; to.len()];
        for _ in 0..ROUNDS {
            let mut is_moving = true;
            for _ in 0..SWEEPS {
                is_moving = self.sweep(&mut to, &mut turned);
                if !is_moving {
                    break;
                }
            }
            if let Some(exact) = self.solve(&to) {
                return exact;
            }
            if !is_moving {
                break;
            }
        }
        to
    }

    /// Brings each coordinate in turn to its best place, the others as they are. Says whether one moved.
    fn sweep(&self, to: &mut [f64], turned: &mut [f64]) -> bool {
        let bias = to.len() - 1;
        let mut is_moving = false;
        for index in 0..to.len() {
            let curvature = self.hessian.get(index, index);
            if curvature <= 0.0 {
                continue;
            }
            let slope = self.gradient[index] + turned[index];
            let pulled = curvature * to[index] - slope;
            let place = match index == bias {
                true => pulled / curvature,
                false => shrink(pulled, self.l1) / curvature,
            };
            let moved = place - to[index];
            if moved == 0.0 {
                continue;
            }
            is_moving |= moved.abs() > 1e-15 * place.abs();
            to[index] = place;
            for (other, turned) in turned.iter_mut().enumerate() {
                *turned += self.hessian.get(index, other) * moved;
            }
        }
        is_moving
    }

    /// The minimum among the points with the zeros and signs of `to`, if it has them itself and no zero wants to move.
    fn solve(&self, to: &[f64]) -> Option<Vec<f64>> {
        let bias = to.len() - 1;
        let free: Vec<usize> = (0..to.len())
            .filter(|index| *index == bias || to[*index] != 0.0)
            .collect();
        let mut system = Symmetric::zeros(free.len());
        for (row, own) in free.iter().enumerate() {
            for (column, other) in free.iter().enumerate().skip(row) {
                system.add_at(row, column, self.hessian.get(*own, *other));
            }
        }
        let sign = |index: usize| if index == bias { 0.0 } else { to[index].signum() };
        let given: Vec<usize> = (0..bias)
            .filter(|index| to[*index] == 0.0 && self.at[*index] != 0.0)
            .collect();
        let right = free.iter().map(|index| {
            let given: f64 = given
                .iter()
                .map(|other| self.hessian.get(*index, *other) * self.at[*other])
                .sum();
            given - self.gradient[*index] - self.l1 * sign(*index)
        });
        let steps = Factor::new(&system).ok()?.solve(&right.collect::<Vec<f64>>());
        let mut found = vec![0.0; to.len()];
        for (index, step) in free.iter().zip(steps) {
            found[*index] = self.at[*index] + step;
        }
        let keeps_sign =
            |index: &usize| *index == bias || found[*index].signum() == sign(*index) && found[*index] != 0.0;
        let stays = |index: usize| {
            let moves = (0..to.len()).map(|other| self.hessian.get(index, other) * (found[other] - self.at[other]));
            (self.gradient[index] + moves.sum::<f64>()).abs() <= self.l1 * (1.0 + 1e-9)
        };
        let is_minimum = free.iter().all(keeps_sign) && (0..bias).filter(|index| to[*index] == 0.0).all(stays);
        (is_minimum && found.iter().all(|value| value.is_finite())).then_some(found)
    }
}

/// `value`, nearer to zero by `by`, or zero (soft thresholding).
fn shrink(value: f64, by: f64) -> f64 {
    if value > by {
        value - by
    } else if value < -by {
        value + by
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::Matrix;
    use super::super::solve::newton;
    use super::*;

    /// Five columns of different scales, the fourth of no use, the fifth twice the first; and the bias.
    fn data() -> (Matrix, Vec<bool>) {
        let mut matrix = Matrix::new(6);
        let mut labels = Vec::new();
        for row in 0..300u32 {
            let n = f64::from(row);
            let (a, b, c) = (
                libm::sin(n),
                100.0 * libm::cos(1.7 * n),
                0.01 * libm::sin(0.3 * n) + 3.0,
            );
            matrix.push([a, b, c, libm::sin(5.1 * n), 2.0 * a, 1.0]);
            labels.push(a + 0.01 * b + 30.0 * (c - 3.0) + libm::sin(77.7 * n) > 0.3);
        }
        (matrix, labels)
    }

    #[test]
    fn without_the_absolute_part_it_is_newtons_optimum() {
        let (matrix, labels) = data();
        let objective = Objective::for_test(&matrix, &labels, 2.0);
        let (ridge, net) = (
            newton(&objective, &|_| Ok(())).expect("an optimum"),
            elastic_net(&objective, 0.0, &|_| Ok(())).expect("an optimum"),
        );
        for (a, b) in ridge.parameters.iter().zip(&net.parameters) {
            assert!((a - b).abs() <= 1e-12 * a.abs().max(1.0), "{a} {b}");
        }
    }

    #[test]
    fn weights_leave_zero_where_the_penalty_gives_way_to_the_slope() {
        let (matrix, labels) = data();
        let objective = Objective::for_test(&matrix, &labels, 0.0);
        let positives = labels.iter().filter(|label| **label).count() as f64;
        let odds = libm::log(positives / (labels.len() as f64 - positives));
        let null = objective.gradient(&[0.0, 0.0, 0.0, 0.0, 0.0, odds]);
        let steepest = null[..5].iter().fold(0.0, |most: f64, slope| most.max(slope.abs()));
        let found = |l1| elastic_net(&objective, l1, &|_| Ok(())).expect("an optimum").parameters;
        let none = found(1.0001 * steepest);
        assert!(none[..5].iter().all(|weight| *weight == 0.0), "{none:?}");
        assert!((none[5] - odds).abs() < 1e-13);
        let one = found(0.999 * steepest);
        assert_eq!(one[..5].iter().filter(|weight| **weight != 0.0).count(), 1, "{one:?}");
    }

    #[test]
    fn the_optimum_is_reached_with_columns_that_depend_on_one_another() {
        let (matrix, labels) = data();
        for (l2, l1) in [(0.0, 3.0), (1.0, 1.0), (0.0, 0.01), (5.0, 0.5)] {
            let objective = Objective::for_test(&matrix, &labels, l2);
            let fit = elastic_net(&objective, l1, &|_| Ok(())).expect("an optimum");
            assert!(fit.gradient_norm <= TOLERANCE, "{l2} {l1}: {}", fit.gradient_norm);
            // No step along a coordinate is downhill.
            let value = |at: &[f64]| penalised(&objective.local(at, None), at, l1);
            let least = value(&fit.parameters);
            assert!((least - fit.value).abs() <= 1e-12 * least);
            for index in 0..6 {
                for step in [1e-4, -1e-4] {
                    let mut at = fit.parameters.clone();
                    at[index] += step;
                    assert!(value(&at) >= least - 1e-10, "{l2} {l1} {index}");
                }
            }
        }
    }
}
