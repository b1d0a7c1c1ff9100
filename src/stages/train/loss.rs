//! What is minimised, its gradient and its second derivative, added up over the rows.

mod work;

use self::work::{Asked, LogOddsOf, Part, PartOf, ScalesOf};
use super::blocks::{Block, Matrix, Sum, Tile};
use super::cholesky::Symmetric;
use super::kernels::{self, Column, TILE_ROWS};

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
    /// What each row weighs beside that; nothing if all weigh alike.
    pub(crate) weights: Option<&'a [f64]>,
    /// How many threads to use at most.
    pub(crate) threads: usize,
    /// Only the first of every so many blocks of rows counts; 1 for all.
    pub(crate) stride: usize,
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
    /// Each row's log odds, by the blocks that count.
    pub(crate) log_odds: Vec<Vec<f64>>,
    /// How far the rows have moved; nothing if that was not asked for.
    pub(crate) moves: Moves,
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
    /// Probability of the positive label.
    pub(crate) probability: f64,
}

impl RowTerms {
    /// For a row whose log odds are `log_odds`. Nothing is lost to cancellation, however sure the row is.
    #[inline]
    pub(crate) fn new(log_odds: f64, label: bool) -> Self {
        let margin = if label { log_odds } else { -log_odds };
        let small = libm::exp(-margin.abs());
        let (unlikely, likely) = (small / (1.0 + small), 1.0 / (1.0 + small));
        let (wrong, loss) = if margin >= 0.0 {
            (unlikely, libm::log1p(small))
        } else {
            (likely, libm::log1p(small) - margin)
        };
        Self {
            probability: if log_odds >= 0.0 { likely } else { unlikely },
            loss,
            residual: if label { -wrong } else { wrong },
            curvature: small / (1.0 + small) / (1.0 + small),
        }
    }
}

/// How far a step moved the margin of any row (its log odds, counted towards its own label).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Moves {
    /// The least.
    pub(crate) least: f64,
    /// The greatest.
    pub(crate) most: f64,
}

impl Moves {
    const NONE: Self = Self {
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };

    /// The farthest, in either direction.
    pub(crate) fn farthest(self) -> f64 {
        self.least.abs().max(self.most.abs())
    }

    fn merge(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }
}

impl Objective<'_> {
    /// Parameters: a weight for each feature, and the bias.
    pub(crate) fn size(&self) -> usize {
        self.matrix.columns()
    }

    /// The objective, its gradient and its second derivative at `at`, and how far the rows moved from where their log
    /// odds were `before`, if that is given.
    pub(crate) fn local(&self, at: &[f64], before: Option<&[Vec<f64>]>) -> Local {
        let asked = Asked {
            hessian: true,
            moves: before,
            ..Asked::default()
        };
        self.total(at, asked).into_local().0
    }

    /// The same, and the [`Self::column_scales`]: the rows are looked at once for both.
    pub(crate) fn local_and_scales(&self, at: &[f64]) -> (Local, Vec<f64>) {
        let asked = Asked {
            hessian: true,
            scales: true,
            ..Asked::default()
        };
        self.total(at, asked).into_local()
    }

    /// The gradient alone.
    pub(crate) fn gradient(&self, at: &[f64]) -> Vec<f64> {
        self.total(at, Asked::default()).into_local().0.gradient
    }

    /// Adds up the rows in block order.
    fn total(&self, at: &[f64], asked: Asked<'_>) -> Part {
        let size = self.size();
        let parts = self
            .matrix
            .map_some_blocks(self.labels, self.threads, self.stride, |block| {
                kernels::with_vectors(PartOf {
                    objective: self,
                    block,
                    at,
                    asked,
                })
            });
        let mut total = Part::zeros(size, asked);
        parts.into_iter().for_each(|part| total.merge(part));
        for (index, weight) in at[..size - 1].iter().enumerate() {
            total.loss.add(0.5 * self.l2 * weight * weight);
            total.gradient[index].add(self.l2 * weight);
            if asked.hessian {
                total.hessian.add_at(index, index, self.l2);
            }
        }
        total
    }

    /// For each row of a tile 1 or -1, as its label is, and the row's weight; what only fills the tile up weighs nothing. The first
    /// row of the tile is that of the number `first`.
    #[inline(always)]
    fn signs_and_weights(&self, tile: Tile<'_>, first: usize) -> (Column, Column) {
        let (mut signs, mut weights) = ([1.0; TILE_ROWS], [0.0; TILE_ROWS]);
        for (row, label) in tile.labels.iter().enumerate() {
            signs[row] = if *label { 1.0 } else { -1.0 };
            weights[row] = self.class_weights[usize::from(*label)];
        }
        if let Some(own) = self.weights {
            for (weight, own) in weights.iter_mut().zip(&own[first..][..tile.labels.len()]) {
                *weight *= own;
            }
        }
        (signs, weights)
    }

    /// For each column Σ cᵢ·|xᵢ|: the scale by which its component of the gradient is measured.
    pub(crate) fn column_scales(&self) -> Vec<f64> {
        let work = |block: Block<'_>| kernels::with_vectors(ScalesOf { objective: self, block });
        let parts = self
            .matrix
            .map_some_blocks(self.labels, self.threads, self.stride, work);
        Sum::totals(self.size(), parts)
    }

    /// How far a step along `direction` moves the rows.
    pub(crate) fn margin_moves(&self, direction: &[f64]) -> Moves {
        let work = |block: Block<'_>| {
            let (mut moves, mut moved) = (Moves::NONE, [0.0; TILE_ROWS]);
            for tile in block.tiles() {
                kernels::weighted_sums(tile.values, direction, &mut moved);
                for (moved, label) in moved.iter_mut().zip(tile.labels) {
                    *moved = if *label { *moved } else { -*moved };
                }
                let (least, most) = kernels::extent(&moved[..tile.labels.len()]);
                moves.merge(Moves { least, most });
            }
            moves
        };
        let parts = self
            .matrix
            .map_some_blocks(self.labels, self.threads, self.stride, work);
        let mut total = Moves::NONE;
        parts.into_iter().for_each(|moves| total.merge(moves));
        total
    }
}

/// The log odds of each row at the parameters `at`.
pub(crate) fn log_odds(matrix: &Matrix, labels: &[bool], threads: usize, at: &[f64]) -> Vec<f64> {
    let work = |block: Block<'_>| kernels::with_vectors(LogOddsOf { block, at });
    matrix.map_blocks(labels, threads, work).concat()
}

impl Part {
    /// The objective around the parameters, and the columns' scales if they were asked for.
    fn into_local(self) -> (Local, Vec<f64>) {
        let values = |sums: Vec<Sum>| sums.into_iter().map(Sum::value).collect();
        let local = Local {
            value: self.loss.value(),
            gradient: values(self.gradient),
            hessian: self.hessian,
            log_odds: self.log_odds,
            moves: self.moves,
        };
        (local, values(self.scales))
    }
}

#[cfg(test)]
impl<'a> Objective<'a> {
    /// On one thread, both labels weighing the same.
    pub(crate) fn for_test(matrix: &'a Matrix, labels: &'a [bool], l2: f64) -> Self {
        Self {
            matrix,
            labels,
            l2,
            class_weights: [1.0, 1.0],
            weights: None,
            threads: 1,
            stride: 1,
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
        let weights: Vec<f64> = (0..50u32).map(|row| 0.5 + f64::from(row % 7)).collect();
        let objective = Objective {
            matrix: &matrix,
            labels: &labels,
            l2: 0.5,
            class_weights: [1.0, 2.0],
            weights: Some(&weights),
            threads: 1,
            stride: 1,
        };
        let at = [0.3, -0.2, 0.1];
        let local = objective.local(&at, None);
        assert_eq!(objective.gradient(&at), local.gradient);
        let step = 1e-5;
        for index in 0..3 {
            let moved = |by: f64| {
                let mut at = at;
                at[index] += by;
                at
            };
            let slope =
                (objective.local(&moved(step), None).value - objective.local(&moved(-step), None).value) / (2.0 * step);
            assert!((slope - local.gradient[index]).abs() < 1e-6, "{index}");
            let (up, down) = (
                objective.local(&moved(step), None),
                objective.local(&moved(-step), None),
            );
            for other in 0..3 {
                let bend = (up.gradient[other] - down.gradient[other]) / (2.0 * step);
                assert!((bend - local.hessian.get(index, other)).abs() < 1e-6, "{index} {other}");
            }
        }
    }
}
