//! What one block of rows adds, compiled for each width of vectors.

use super::{Moves, Objective};
use crate::stages::train::blocks::{BLOCK_ROWS, Block, Sum, Tile};
use crate::stages::train::cholesky::Symmetric;
use crate::stages::train::kernels::{self, Column, TILE_ROWS, Terms};

/// What some rows add.
pub(super) struct Part {
    pub(super) loss: Sum,
    pub(super) gradient: Vec<Sum>,
    pub(super) hessian: Symmetric,
    /// Of each block's rows; nothing if that was not asked for.
    pub(super) log_odds: Vec<Vec<f64>>,
    pub(super) moves: Moves,
    /// As [`Objective::column_scales`]; nothing if that was not asked for.
    pub(super) scales: Vec<Sum>,
}

/// What is asked for beside the objective and its gradient.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// The second derivative, and each row's log odds.
    pub(super) hessian: bool,
    /// How far rows have moved from these log odds.
    pub(super) moves: Option<&'a [Vec<f64>]>,
    /// The columns' scales.
    pub(super) scales: bool,
}

impl Part {
    pub(super) fn zeros(size: usize, asked: Asked<'_>) -> Self {
        Self {
            loss: Sum::default(),
            gradient: vec![Sum::default(); size],
            hessian: Symmetric::zeros(if asked.hessian { size } else { 0 }),
            log_odds: Vec::new(),
            moves: Moves::NONE,
            scales: vec![Sum::default(); if asked.scales { size } else { 0 }],
        }
    }

    /// Adds what the rows after these add.
    pub(super) fn merge(&mut self, other: Self) {
        self.loss.merge(other.loss);
        for (sum, more) in self.gradient.iter_mut().zip(other.gradient) {
            sum.merge(more);
        }
        for (sum, more) in self.scales.iter_mut().zip(other.scales) {
            sum.merge(more);
        }
        self.hessian.merge(&other.hessian);
        self.log_odds.extend(other.log_odds);
        self.moves.merge(other.moves);
    }
}

/// The work of adding up one block.
pub(super) struct PartOf<'a> {
    pub(super) objective: &'a Objective<'a>,
    pub(super) block: Block<'a>,
    pub(super) at: &'a [f64],
    pub(super) asked: Asked<'a>,
}

impl kernels::Work for PartOf<'_> {
    type Output = Part;

    #[inline(always)]
    fn work(self) -> Part {
        let Self {
            objective,
            block,
            asked,
            ..
        } = self;
        let mut part = Part::zeros(objective.size(), asked);
        let before = asked.moves.map(|blocks| &blocks[block.number / objective.stride]);
        let (mut log_odds, mut terms) = ([0.0; TILE_ROWS], Terms::ZERO);
        let mut all_log_odds = Vec::new();
        for (number, tile) in block.tiles().enumerate() {
            let row = block.number * BLOCK_ROWS + number * TILE_ROWS;
            let (signs, weights) = objective.signs_and_weights(tile, row);
            kernels::weighted_sums(tile.values, self.at, &mut log_odds);
            terms.fill(&log_odds, &signs, &weights);
            part.loss.add(kernels::sum(&terms.loss));
            kernels::column_sums(tile.values, &terms.residual, |column, sum| {
                part.gradient[column].add(sum)
            });
            if asked.scales {
                add_scales(tile, &weights, &mut part.scales);
            }
            if asked.hessian {
                kernels::outer_products(tile.values, &terms.curvature, &mut part.hessian);
                all_log_odds.extend_from_slice(&log_odds[..tile.labels.len()]);
            }
            if let Some(before) = before {
                let before = &before[number * TILE_ROWS..][..tile.labels.len()];
                let mut moved = [0.0; TILE_ROWS];
                for (row, before) in before.iter().enumerate() {
                    moved[row] = signs[row] * (log_odds[row] - before);
                }
                let (least, most) = kernels::extent(&moved[..before.len()]);
                part.moves.merge(Moves { least, most });
            }
        }
        if asked.hessian {
            part.log_odds.push(all_log_odds);
        }
        part
    }
}

/// The work of adding up a block's part of [`Objective::column_scales`].
pub(super) struct ScalesOf<'a> {
    pub(super) objective: &'a Objective<'a>,
    pub(super) block: Block<'a>,
}

impl kernels::Work for ScalesOf<'_> {
    type Output = Vec<Sum>;

    #[inline(always)]
    fn work(self) -> Vec<Sum> {
        let mut sums = vec![Sum::default(); self.objective.size()];
        for (number, tile) in self.block.tiles().enumerate() {
            let row = self.block.number * BLOCK_ROWS + number * TILE_ROWS;
            let (_, weights) = self.objective.signs_and_weights(tile, row);
            add_scales(tile, &weights, &mut sums);
        }
        sums
    }
}

/// Adds what the rows of a tile, which weigh `weights`, are of each column's scale.
#[inline(always)]
fn add_scales(tile: Tile<'_>, weights: &Column, sums: &mut [Sum]) {
    let mut terms = [0.0; TILE_ROWS];
    for (sum, values) in sums.iter_mut().zip(kernels::columns(tile.values)) {
        for row in 0..TILE_ROWS {
            terms[row] = weights[row] * values[row].abs();
        }
        sum.add(kernels::sum(&terms));
    }
}

/// The work of finding the log odds of one block's rows.
pub(super) struct LogOddsOf<'a> {
    pub(super) block: Block<'a>,
    pub(super) at: &'a [f64],
}

impl kernels::Work for LogOddsOf<'_> {
    type Output = Vec<f64>;

    #[inline(always)]
    fn work(self) -> Vec<f64> {
        let mut sums = [0.0; TILE_ROWS];
        let mut found = Vec::with_capacity(BLOCK_ROWS);
        for tile in self.block.tiles() {
            kernels::weighted_sums(tile.values, self.at, &mut sums);
            found.extend_from_slice(&sums[..tile.labels.len()]);
        }
        found
    }
}
