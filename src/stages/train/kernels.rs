//! The arithmetic of a tile of rows: the same operations in the same order whatever the processor, written so that a
//! compiler finds vectors in them.
//!
//! A tile holds [`TILE_ROWS`] rows, column after column. Along a column every row has its own lane, so that nothing is
//! reassociated by doing several rows at once. What is added up over the rows of a tile is added up in [`LANES`] sums, row
//! `i` into sum `i` modulo [`LANES`], which are then added in a fixed tree. No fused multiply-add is used: the compiler
//! makes none of a product and a sum.
//!
//! `exp`: Cody and Waite's reduction by ln 2, then the Taylor series to degree 13, whose remainder on ±ln 2 / 2 is 4e-18.
//! `ln(1 + s)`: 2 artanh(s / (2 + s)), to degree 33, whose remainder on 0..1 is 2e-18. Both are within a few units in the
//! last place, and are these few lines on every machine.

use pulp::{Arch, Simd, WithSimd};

use super::cholesky::Symmetric;

/// Rows of a tile. Part of what the bits of a model depend on: never to be changed without a new revision of `train`.
pub(crate) const TILE_ROWS: usize = 256;

/// Sums that a column of a tile is added up in. Part of what the bits depend on.
const LANES: usize = 8;

/// Rows whose log odds are summed at once; no bit depends on it.
const STRIP: usize = 32;

/// A value for each row of a tile.
pub(crate) type Column = [f64; TILE_ROWS];

/// Below this `exp` is taken for 0: it would not be a normal number.
const LEAST_EXPONENT: f64 = -708.0;

/// Adding this to a number of magnitude below 2^51 rounds it to an integer, to be found in the lowest bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// ln 2 in two parts; products of the first with integers below 2^20 are exact.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// What can be done with vectors of any width.
pub(crate) trait Work {
    /// What it gives.
    type Output;
    /// Does it. Must be inlined whole, down to its loops, or it is compiled for the oldest processor alone.
    fn work(self) -> Self::Output;
}

/// Does `work`, compiled once more for each width of vectors, with the widest that the processor has. The result is the
/// same to the bit.
pub(crate) fn with_vectors<W: Work>(work: W) -> W::Output {
    Arch::new().dispatch(Dispatched(work))
}

struct Dispatched<W>(W);

impl<W: Work> WithSimd for Dispatched<W> {
    type Output = W::Output;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> W::Output {
        self.0.work()
    }
}

/// Of a tile of rows at some parameters: what the objective and its derivatives are made of.
pub(crate) struct Terms {
    /// -ln of the probability of the label that is there, times the row's weight.
    pub(crate) loss: Column,
    /// Probability of the positive label, less 1 if that is there, times the row's weight.
    pub(crate) residual: Column,
    /// p · (1 - p), times the row's weight.
    pub(crate) curvature: Column,
}

impl Terms {
    pub(crate) const ZERO: Self = Self {
        loss: [0.0; TILE_ROWS],
        residual: [0.0; TILE_ROWS],
        curvature: [0.0; TILE_ROWS],
    };

    /// Of rows whose log odds are `log_odds`, each with its label (1 positive, -1 negative) and its weight.
    #[inline(always)]
    pub(crate) fn fill(&mut self, log_odds: &Column, signs: &Column, weights: &Column) {
        for row in 0..TILE_ROWS {
            let margin = signs[row] * log_odds[row];
            let small = exp_of_nonpositive(-margin.abs());
            let share = 1.0 / (1.0 + small);
            let wrong = if margin >= 0.0 { small * share } else { share };
            let beyond = if margin >= 0.0 { 0.0 } else { -margin };
            self.loss[row] = weights[row] * (ln_1p(small) + beyond);
            self.residual[row] = -(weights[row] * signs[row] * wrong);
            self.curvature[row] = weights[row] * (small * share * share);
        }
    }
}

/// e to the power `x`, which is not positive.
#[inline(always)]
fn exp_of_nonpositive(x: f64) -> f64 {
    const FACTORS: [f64; 14] = [
        1.0,
        1.0,
        1.0 / 2.0,
        1.0 / 6.0,
        1.0 / 24.0,
        1.0 / 120.0,
        1.0 / 720.0,
        1.0 / 5_040.0,
        1.0 / 40_320.0,
        1.0 / 362_880.0,
        1.0 / 3_628_800.0,
        1.0 / 39_916_800.0,
        1.0 / 479_001_600.0,
        1.0 / 6_227_020_800.0,
    ];
    let within = if x < LEAST_EXPONENT { LEAST_EXPONENT } else { x };
    let shifted = within * std::f64::consts::LOG2_E + ROUNDER;
    let power = shifted - ROUNDER;
    let rest = (within - power * LN_2_HIGH) - power * LN_2_LOW;
    let mut sum = FACTORS[13];
    for factor in FACTORS[..13].iter().rev() {
        sum = sum * rest + factor;
    }
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    if x < LEAST_EXPONENT { 0.0 } else { sum * scale }
}

/// ln(1 + `x`) for `x` in 0..=1.
#[inline(always)]
fn ln_1p(x: f64) -> f64 {
    let ratio = x / (2.0 + x);
    let square = ratio * ratio;
    let mut sum = 1.0 / 33.0;
    for divisor in [
        31.0, 29.0, 27.0, 25.0, 23.0, 21.0, 19.0, 17.0, 15.0, 13.0, 11.0, 9.0, 7.0, 5.0, 3.0,
    ] {
        sum = sum * square + 1.0 / divisor;
    }
    let twice = 2.0 * ratio;
    twice + twice * (square * sum)
}

/// Σ of `factors` · column, for each row of `tile`.
#[inline(always)]
pub(crate) fn weighted_sums(tile: &[f64], factors: &[f64], sums: &mut Column) {
    for (strip, sums) in sums.as_chunks_mut::<STRIP>().0.iter_mut().enumerate() {
        let mut sum = [0.0; STRIP];
        for (column, factor) in columns(tile).zip(factors) {
            let values = &column.as_chunks::<STRIP>().0[strip];
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value * factor;
            }
        }
        *sums = sum;
    }
}

/// The columns of a tile.
#[inline(always)]
pub(crate) fn columns(tile: &[f64]) -> impl ExactSizeIterator<Item = &Column> {
    tile.as_chunks::<TILE_ROWS>().0.iter()
}

/// Tells `add` of each column of a tile Σ `factors` · column over its rows.
#[inline(always)]
pub(crate) fn column_sums(tile: &[f64], factors: &Column, add: impl FnMut(usize, f64)) {
    products::<4>(factors, tile.as_chunks::<TILE_ROWS>().0, add);
}

/// Adds Σ `weights` · column · columnᵀ over the rows of a tile to `sum`.
#[inline(always)]
pub(crate) fn outer_products(tile: &[f64], weights: &Column, sum: &mut Symmetric) {
    let columns = tile.as_chunks::<TILE_ROWS>().0;
    let mut scaled = [0.0; TILE_ROWS];
    for (first, column) in columns.iter().enumerate() {
        for row in 0..TILE_ROWS {
            scaled[row] = weights[row] * column[row];
        }
        let entries = sum.row_mut(first);
        products::<4>(&scaled, &columns[first..], |second, product| entries[second] += product);
    }
}

/// Σ of a column's values.
#[inline(always)]
pub(crate) fn sum(values: &Column) -> f64 {
    let mut lanes = [0.0; LANES];
    for values in values.as_chunks::<LANES>().0 {
        for lane in 0..LANES {
            lanes[lane] += values[lane];
        }
    }
    tree(&lanes)
}

/// The least and the greatest of `values`; NaN is neither.
#[inline(always)]
pub(crate) fn extent(values: &[f64]) -> (f64, f64) {
    let (mut least, mut most) = ([f64::INFINITY; LANES], [f64::NEG_INFINITY; LANES]);
    let (groups, rest) = values.as_chunks::<LANES>();
    for values in groups {
        for lane in 0..LANES {
            least[lane] = if values[lane] < least[lane] {
                values[lane]
            } else {
                least[lane]
            };
            most[lane] = if values[lane] > most[lane] {
                values[lane]
            } else {
                most[lane]
            };
        }
    }
    let all = |lanes: [f64; LANES]| lanes.into_iter().chain(rest.iter().copied());
    (
        all(least).fold(f64::INFINITY, f64::min),
        all(most).fold(f64::NEG_INFINITY, f64::max),
    )
}

/// The scalar products of `factors` with each of `columns`, `AT_ONCE` of them together; no bit depends on that.
#[inline(always)]
fn products<const AT_ONCE: usize>(factors: &Column, columns: &[Column], mut take: impl FnMut(usize, f64)) {
    let (groups, rest) = columns.as_chunks::<AT_ONCE>();
    for (group, columns) in groups.iter().enumerate() {
        let sums = some_products(factors, columns);
        for (place, sum) in sums.iter().enumerate() {
            take(group * AT_ONCE + place, *sum);
        }
    }
    for (place, column) in rest.iter().enumerate() {
        let [sum] = some_products(factors, std::array::from_ref(column));
        take(groups.len() * AT_ONCE + place, sum);
    }
}

#[inline(always)]
fn some_products<const COUNT: usize>(factors: &Column, columns: &[Column; COUNT]) -> [f64; COUNT] {
    let mut lanes = [[0.0; LANES]; COUNT];
    for (step, factors) in factors.as_chunks::<LANES>().0.iter().enumerate() {
        for (lanes, column) in lanes.iter_mut().zip(columns) {
            let values = &column.as_chunks::<LANES>().0[step];
            for lane in 0..LANES {
                lanes[lane] += factors[lane] * values[lane];
            }
        }
    }
    // No method of arrays: what is not inlined without link-time optimisation takes longer than the products.
    let mut sums = [0.0; COUNT];
    for (sum, lanes) in sums.iter_mut().zip(&lanes) {
        *sum = tree(lanes);
    }
    sums
}

/// Adds up the sums of a column in a fixed tree. By itself, or the compiler lays out the lanes for this and not for the
/// loops before it, which are what takes time.
#[inline(never)]
fn tree(lanes: &[f64; LANES]) -> f64 {
    let [a, b, c, d, e, f, g, h] = *lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_functions_are_right_to_a_few_units_in_the_last_place(x in -708.0f64..=0.0, s in 0.0f64..=1.0, tiny in 0u64..1 << 62) {
            let exact = libm::exp(x);
            prop_assert!((exp_of_nonpositive(x) - exact).abs() <= 4.0 * f64::EPSILON * exact, "exp {x}");
            for s in [s, f64::from_bits(tiny).min(1.0)] {
                let exact = libm::log1p(s);
                // Half of an odd subnormal number is no number.
                let last = f64::from_bits(1);
                prop_assert!((ln_1p(s) - exact).abs() <= 4.0 * f64::EPSILON * exact + last, "ln {s}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_functions_are_right() {
        assert_eq!(exp_of_nonpositive(-0.0), 1.0);
        assert_eq!(exp_of_nonpositive(f64::NEG_INFINITY), 0.0);
        assert_eq!(exp_of_nonpositive(-1e300), 0.0);
        assert!(exp_of_nonpositive(f64::NAN).is_nan());
        assert_eq!(ln_1p(0.0), 0.0);
        assert!((ln_1p(1.0) - std::f64::consts::LN_2).abs() <= f64::EPSILON);
    }

    #[test]
    fn the_terms_are_those_of_a_row_by_itself() {
        let mut log_odds = [0.0; TILE_ROWS];
        let mut signs = [1.0; TILE_ROWS];
        for row in 0..TILE_ROWS {
            log_odds[row] = (f64::from(u32::try_from(row).expect("small")) - 128.0) * 0.37;
            signs[row] = if row % 3 == 0 { 1.0 } else { -1.0 };
        }
        let mut terms = Terms::ZERO;
        terms.fill(&log_odds, &signs, &[2.0; TILE_ROWS]);
        for row in 0..TILE_ROWS {
            let alone = super::super::loss::RowTerms::new(log_odds[row], signs[row] > 0.0);
            let close = |a: f64, b: f64| (a - 2.0 * b).abs() <= 8.0 * f64::EPSILON * a.abs();
            assert!(close(terms.loss[row], alone.loss), "{row}");
            assert!(close(terms.residual[row], alone.residual), "{row}");
            assert!(close(terms.curvature[row], alone.curvature), "{row}");
        }
    }

    #[test]
    fn products_of_columns_are_the_sums_over_the_rows() {
        let columns = 7;
        let tile: Vec<f64> = (0..columns * TILE_ROWS)
            .map(|at| ((at * 7919) % 101) as f64 - 50.0)
            .collect();
        let weights: Column = std::array::from_fn(|row| (row % 5) as f64);
        let mut found = Symmetric::zeros(columns);
        outer_products(&tile, &weights, &mut found);
        let mut sums = vec![0.0; columns];
        column_sums(&tile, &weights, |column, sum| sums[column] += sum);
        let mut weighted = [0.0; TILE_ROWS];
        let factors: Vec<f64> = (0..columns).map(|column| column as f64 - 3.0).collect();
        weighted_sums(&tile, &factors, &mut weighted);
        // Whole numbers: every sum is exact, whatever its order.
        for (first, column_sum) in sums.iter().enumerate() {
            let at = |column: usize, row: usize| tile[column * TILE_ROWS + row];
            let sum = |term: &dyn Fn(usize) -> f64| (0..TILE_ROWS).map(term).sum::<f64>();
            assert_eq!(*column_sum, sum(&|row| weights[row] * at(first, row)));
            for second in first..columns {
                assert_eq!(
                    found.get(first, second),
                    sum(&|row| weights[row] * at(first, row) * at(second, row))
                );
            }
        }
        for row in 0..TILE_ROWS {
            let expected: f64 = (0..columns)
                .map(|column| factors[column] * tile[column * TILE_ROWS + row])
                .sum();
            assert_eq!(weighted[row], expected);
        }
        assert_eq!(sum(&weights), weights.iter().sum::<f64>());
    }

    #[test]
    fn an_extent_is_that_of_all_values_but_nan() {
        let mut values: Vec<f64> = (0..77).map(|at| f64::from((at * 31) % 77)).collect();
        assert_eq!(extent(&values), (0.0, 76.0));
        values[3] = f64::NAN;
        values[76] = -5.0;
        assert_eq!(extent(&values), (-5.0, 76.0));
        assert_eq!(extent(&[]), (f64::INFINITY, f64::NEG_INFINITY));
    }
}
