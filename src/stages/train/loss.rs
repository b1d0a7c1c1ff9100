//! What is minimised, its gradient and its second derivative, added up over the rows.

use super::blocks::{Block, Matrix, Sum};
use super::cholesky::Symmetric;

/// Σ cᵢ · log loss of row i + λ/2 · ‖w‖², as a function of the parameters: a weight for each feature, then the bias.
pub(crate) struct Objective<'a> {
    /// Features, and a last column of ones.
    pub(crate) matrix: &'a Matrix,
    /// Whether the label is the positive one.
    pub(crate) labels: &'a [bool],
    /// λ. The bias is not penalised.
    pub(crate) l2: f64,
    /// The weight c of a negative and of a positive row.
    pub(crate) class_weights: [f64; 2],
    /// How many threads to use at most.
    pub(crate) threads: usize,
}

/// The objective around some parameters.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    /// The objective.
    pub(crate) value: f64,
    /// Its gradient.
    pub(crate) gradient: Vec<f64>,
    /// Its second derivative.
    pub(crate) hessian: Symmetric,
}

/// The terms of one row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct RowTerms {
    /// -ln of the probability of the label that is there.
    pub(crate) loss: f64,
    /// Probability of the positive label, less 1 if that is there.
    pub(crate) residual: f64,
    /// p · (1 - p).
    pub(crate) curvature: f64,
}

impl RowTerms {
    /// For a row whose log odds are `log_odds`. Nothing is lost to cancellation, however sure the row is.
    #[inline]
    pub(crate) fn new(log_odds: f64, label: bool) -> Self {
        let margin = if label { log_odds } else { -log_odds };
        let small = libm::exp(-margin.abs());
        let (wrong, loss) = if margin >= 0.0 {
            (small / (1.0 + small), libm::log1p(small))
        } else {
            (1.0 / (1.0 + small), libm::log1p(small) - margin)
        };
        Self {
            loss,
            residual: if label { -wrong } else { wrong },
            curvature: small / (1.0 + small) / (1.0 + small),
        }
    }
}

/// `a · b`, in the order of the columns.
#[inline]
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}

/// What one block adds.
struct Part {
    loss: Sum,
    gradient: Vec<Sum>,
    hessian: Symmetric,
}

impl Objective<'_> {
    /// Parameters: a weight for each feature, and the bias.
    pub(crate) fn size(&self) -> usize {
        self.matrix.columns()
    }

    /// The objective, its gradient and its second derivative at `at`.
    pub(crate) fn local(&self, at: &[f64]) -> Local {
        let total = self.total(at, self.size());
        Local {
            value: total.loss.value(),
            gradient: total.gradient.into_iter().map(Sum::value).collect(),
            hessian: total.hessian,
        }
    }

    /// The gradient alone.
    pub(crate) fn gradient(&self, at: &[f64]) -> Vec<f64> {
        self.total(at, 0).gradient.into_iter().map(Sum::value).collect()
    }

    /// Adds up the rows in block order. `hessian_size` is 0 where the second derivative is not asked for.
    fn total(&self, at: &[f64], hessian_size: usize) -> Part {
        let size = self.size();
        let parts = self
            .matrix
            .map_blocks(self.labels, self.threads, |block| self.part(block, at, hessian_size));
        let mut total = Part::zeros(size, hessian_size);
        for part in &parts {
            total.loss.merge(part.loss);
            for (sum, more) in total.gradient.iter_mut().zip(&part.gradient) {
                sum.merge(*more);
            }
            total.hessian.merge(&part.hessian);
        }
        for (index, weight) in at[..size - 1].iter().enumerate() {
            total.loss.add(0.5 * self.l2 * weight * weight);
            total.gradient[index].add(self.l2 * weight);
            if hessian_size > 0 {
                total.hessian.add_at(index, index, self.l2);
            }
        }
        total
    }

    fn part(&self, block: Block<'_>, at: &[f64], hessian_size: usize) -> Part {
        let mut part = Part::zeros(self.size(), hessian_size);
        for (row, label) in block.rows() {
            let terms = RowTerms::new(dot(row, at), label);
            let weight = self.class_weights[usize::from(label)];
            part.loss.add(weight * terms.loss);
            let residual = weight * terms.residual;
            for (sum, value) in part.gradient.iter_mut().zip(row) {
                sum.add(residual * value);
            }
            part.hessian.add_outer(weight * terms.curvature, &row[..hessian_size]);
        }
        part
    }

    /// For each column Σ cᵢ·|xᵢ|: the scale by which its component of the gradient is measured.
    pub(crate) fn column_scales(&self) -> Vec<f64> {
        let size = self.size();
        let parts = self.matrix.map_blocks(self.labels, self.threads, |block| {
            let mut sums = vec![Sum::default(); size];
            for (row, label) in block.rows() {
                let weight = self.class_weights[usize::from(label)];
                for (sum, value) in sums.iter_mut().zip(row) {
                    sum.add(weight * value.abs());
                }
            }
            sums
        });
        let mut totals = vec![Sum::default(); size];
        for part in parts {
            for (total, sum) in totals.iter_mut().zip(part) {
                total.merge(sum);
            }
        }
        totals.into_iter().map(Sum::value).collect()
    }

    /// How far a step along `direction` moves the margin of any row (its log odds, counted towards its own label):
    /// the least and the greatest.
    pub(crate) fn margin_moves(&self, direction: &[f64]) -> (f64, f64) {
        let parts = self.matrix.map_blocks(self.labels, self.threads, |block| {
            let moves = block.rows().map(|(row, label)| {
                let moved = dot(row, direction);
                if label { moved } else { -moved }
            });
            moves.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), moved| {
                (least.min(moved), most.max(moved))
            })
        });
        parts
            .into_iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), (least, most)| {
                (a.min(least), b.max(most))
            })
    }
}

impl Part {
    fn zeros(size: usize, hessian_size: usize) -> Self {
        Self {
            loss: Sum::default(),
            gradient: vec![Sum::default(); size],
            hessian: Symmetric::zeros(hessian_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_of_a_row_are_exact_however_sure_it_is() {
        let even = RowTerms::new(0.0, true);
        assert!((even.loss - std::f64::consts::LN_2).abs() < 1e-16);
        assert!((even.residual + 0.5).abs() < 1e-16 && (even.curvature - 0.25).abs() < 1e-16);
        let sure = RowTerms::new(-700.0, false);
        assert!(sure.loss > 0.0 && (sure.loss / libm::exp(-700.0) - 1.0).abs() < 1e-12);
        assert!(sure.residual > 0.0);
        let wrong = RowTerms::new(-1e300, true);
        assert!(wrong.loss == 1e300 && wrong.residual == -1.0 && wrong.curvature == 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_the_value() {
        let mut matrix = Matrix::new(3);
        let mut labels = Vec::new();
        for row in 0..50u32 {
            let x = f64::from(row);
            matrix.push([libm::sin(x), x / 10.0, 1.0]);
            labels.push(row % 3 == 0);
        }
        let objective = Objective {
            matrix: &matrix,
            labels: &labels,
            l2: 0.5,
            class_weights: [1.0, 2.0],
            threads: 1,
        };
        let at = [0.3, -0.2, 0.1];
        let local = objective.local(&at);
        assert_eq!(objective.gradient(&at), local.gradient);
        let step = 1e-5;
        for index in 0..3 {
            let moved = |by: f64| {
                let mut at = at;
                at[index] += by;
                at
            };
            let slope = (objective.local(&moved(step)).value - objective.local(&moved(-step)).value) / (2.0 * step);
            assert!((slope - local.gradient[index]).abs() < 1e-6, "{index}");
            let (up, down) = (objective.local(&moved(step)), objective.local(&moved(-step)));
            for other in 0..3 {
                let bend = (up.gradient[other] - down.gradient[other]) / (2.0 * step);
                assert!((bend - local.hessian.get(index, other)).abs() < 1e-6, "{index} {other}");
            }
        }
    }
}
