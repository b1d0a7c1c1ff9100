//! Which columns leave an unregularised fit without a finite, single optimum.

use super::blocks::{BLOCK_ROWS, Block, Matrix, Sum};
use super::cholesky::{Symmetric, dependent_columns};
use super::kernels::{self, TILE_ROWS};

/// A column depends on others if less than this share of its variance is its own.
const DEPENDENT: f64 = 1e-12;

/// A column takes part in a separating direction if its share is more than this of the largest.
const MATERIAL: f64 = 1e-6;

/// What was found; columns by their index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    /// One value in every row.
    pub(crate) constant: Vec<usize>,
    /// The value alone tells the label apart, in all rows or in those beyond a threshold.
    pub(crate) separating: Vec<usize>,
    /// Combinations of others: the column, and what it is made of.
    pub(crate) dependent: Vec<(usize, Vec<usize>)>,
}

impl Findings {
    /// Whether nothing was found.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The columns, of `columns`, of which nothing was found.
    pub(crate) fn others(&self, columns: usize) -> Vec<usize> {
        let dependent = |column| self.dependent.iter().any(|(found, _)| *found == column);
        (0..columns)
            .filter(|column| !self.constant.contains(column) && !self.separating.contains(column))
            .filter(|column| !dependent(*column))
            .collect()
    }
}

/// Looks at the columns of `matrix` but the last, which is the constant one of the bias.
pub(crate) fn examine(matrix: &Matrix, labels: &[bool], threads: usize) -> Findings {
    let columns = matrix.columns() - 1;
    let extents = extents(matrix, labels, threads);
    let is_constant = |column: &usize| {
        let [negative, positive] = &extents[*column];
        negative.least.min(positive.least) == negative.most.max(positive.most)
    };
    let (constant, varying): (Vec<usize>, Vec<usize>) = (0..columns).partition(is_constant);
    let separates = |column: &&usize| {
        let [negative, positive] = &extents[**column];
        negative.most <= positive.least || positive.most <= negative.least
    };
    Findings {
        separating: varying.iter().filter(separates).copied().collect(),
        dependent: dependent(matrix, labels, threads, &varying),
        constant,
    }
}

/// The columns that take part in `direction` (a weight for each column, then the bias), each measured by how far its
/// values spread.
pub(crate) fn material(matrix: &Matrix, labels: &[bool], threads: usize, direction: &[f64]) -> Vec<usize> {
    let shares: Vec<f64> = extents(matrix, labels, threads)
        .iter()
        .zip(direction)
        .take(matrix.columns() - 1)
        .map(|([negative, positive], weight)| {
            let spread = negative.most.max(positive.most) - negative.least.min(positive.least);
            spread * weight.abs()
        })
        .collect();
    let largest = shares.iter().fold(0.0, |largest: f64, share| largest.max(*share));
    (0..shares.len())
        .filter(|column| shares[*column] > MATERIAL * largest)
        .collect()
}

/// Least and greatest value.
#[derive(Clone, Copy)]
struct Extent {
    least: f64,
    most: f64,
}

impl Extent {
    const EMPTY: Self = Self {
        least: f64::INFINITY,
        most: f64::NEG_INFINITY,
    };

    fn add(&mut self, other: Self) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
    }
}

/// For each column, the extent of its values in negative and in positive rows.
fn extents(matrix: &Matrix, labels: &[bool], threads: usize) -> Vec<[Extent; 2]> {
    let columns = matrix.columns();
    let work = |block: Block<'_>| kernels::with_vectors(ExtentsOf { block, columns });
    let parts = matrix.map_blocks(labels, threads, work);
    let mut total = vec![[Extent::EMPTY; 2]; columns];
    for part in parts {
        for (extent, more) in total.iter_mut().zip(part) {
            extent[0].add(more[0]);
            extent[1].add(more[1]);
        }
    }
    total
}

/// The work of finding the extents in one block.
struct ExtentsOf<'a> {
    block: Block<'a>,
    columns: usize,
}

impl kernels::Work for ExtentsOf<'_> {
    type Output = Vec<[Extent; 2]>;

    #[inline(always)]
    fn work(self) -> Vec<[Extent; 2]> {
        let mut extents = vec![[Extent::EMPTY; 2]; self.columns];
        for tile in self.block.tiles() {
            // What is to be left out is moved to an end that no extent has.
            let mut away = [[0.0; TILE_ROWS]; 2];
            for (row, label) in tile.labels.iter().enumerate() {
                away[usize::from(!*label)][row] = f64::INFINITY;
            }
            for (extent, values) in extents.iter_mut().zip(kernels::columns(tile.values)) {
                for (extent, away) in extent.iter_mut().zip(&away) {
                    let (mut low, mut high) = ([0.0; TILE_ROWS], [0.0; TILE_ROWS]);
                    for row in 0..TILE_ROWS {
                        low[row] = values[row] + away[row];
                        high[row] = values[row] - away[row];
                    }
                    extent.add(Extent {
                        least: kernels::extent(&low[..tile.labels.len()]).0,
                        most: kernels::extent(&high[..tile.labels.len()]).1,
                    });
                }
            }
        }
        extents
    }
}

/// The work of adding up the products of the columns `columns`, less their means, over one block.
struct ProductsOf<'a> {
    block: Block<'a>,
    columns: &'a [usize],
    means: &'a [f64],
}

impl kernels::Work for ProductsOf<'_> {
    type Output = Symmetric;

    #[inline(always)]
    fn work(self) -> Symmetric {
        let mut sum = Symmetric::zeros(self.columns.len());
        let mut centred = vec![0.0; self.columns.len() * TILE_ROWS];
        for tile in self.block.tiles() {
            let rows = tile.labels.len();
            for (values, column) in centred.chunks_exact_mut(TILE_ROWS).zip(self.columns) {
                let raw = &tile.values[column * TILE_ROWS..][..rows];
                for (value, raw) in values.iter_mut().zip(raw) {
                    *value = raw - self.means[*column];
                }
                values[rows..].fill(0.0);
            }
            kernels::outer_products(&centred, &[1.0; TILE_ROWS], &mut sum);
        }
        sum
    }
}

/// The columns, of `columns`, that are combinations of others and a constant.
fn dependent(matrix: &Matrix, labels: &[bool], threads: usize, columns: &[usize]) -> Vec<(usize, Vec<usize>)> {
    let means = means(matrix, labels, None, threads);
    let parts = matrix.map_blocks(labels, threads, |block| {
        kernels::with_vectors(ProductsOf {
            block,
            columns,
            means: &means,
        })
    });
    let mut products = Symmetric::zeros(columns.len());
    for part in &parts {
        products.merge(part);
    }
    let found = dependent_columns(&correlations(&products), DEPENDENT);
    let original = |column: usize| columns[column];
    found
        .into_iter()
        .map(|found| (original(found.column), found.of.into_iter().map(original).collect()))
        .collect()
}

/// The mean of each column, each row counted as often as it weighs.
pub(crate) fn means(matrix: &Matrix, labels: &[bool], weights: Option<&[f64]>, threads: usize) -> Vec<f64> {
    let count = count(matrix, weights);
    let sums = column_sums(matrix, labels, weights, threads, |value, _| value);
    sums.into_iter().map(|sum| sum / count).collect()
}

/// The standard deviation of each column (over n), given the means.
pub(crate) fn deviations(
    matrix: &Matrix,
    labels: &[bool],
    weights: Option<&[f64]>,
    threads: usize,
    means: &[f64],
) -> Vec<f64> {
    let count = count(matrix, weights);
    let square = |value: f64, column: usize| (value - means[column]) * (value - means[column]);
    let sums = column_sums(matrix, labels, weights, threads, square);
    sums.into_iter().map(|sum| (sum / count).sqrt()).collect()
}

fn count(matrix: &Matrix, weights: Option<&[f64]>) -> f64 {
    match weights {
        None => matrix.rows() as f64,
        Some(weights) => weights.iter().copied().collect::<Sum>().value(),
    }
}

fn column_sums(
    matrix: &Matrix,
    labels: &[bool],
    weights: Option<&[f64]>,
    threads: usize,
    term: impl Fn(f64, usize) -> f64 + Sync,
) -> Vec<f64> {
    let columns = matrix.columns();
    let parts = matrix.map_blocks(labels, threads, |block| {
        let mut sums = vec![Sum::default(); columns];
        for (number, tile) in block.tiles().enumerate() {
            let first = block.number * BLOCK_ROWS + number * TILE_ROWS;
            let weights = weights.map(|weights| &weights[first..][..tile.labels.len()]);
            for (column, (sum, values)) in sums.iter_mut().zip(tile.columns()).enumerate() {
                let mut terms = [0.0; TILE_ROWS];
                for (place, value) in terms.iter_mut().zip(values) {
                    *place = term(*value, column);
                }
                for (place, weight) in terms.iter_mut().zip(weights.unwrap_or_default()) {
                    *place *= weight;
                }
                sum.add(kernels::sum(&terms));
            }
        }
        sums
    });
    Sum::totals(columns, parts)
}

fn correlations(products: &Symmetric) -> Symmetric {
    let size = products.size();
    let mut correlations = Symmetric::zeros(size);
    for row in 0..size {
        for column in row..size {
            let value = if row == column {
                1.0
            } else {
                products.get(row, column) / products.get(row, row).sqrt() / products.get(column, column).sqrt()
            };
            correlations.add_at(row, column, value);
        }
    }
    correlations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_column_is_told_apart() {
        let mut matrix = Matrix::new(7);
        let mut labels = Vec::new();
        for row in 0..100u32 {
            let label = row % 3 == 0;
            let a = f64::from(row % 7);
            let b = f64::from(row % 11);
            let only_positive = f64::from(u8::from(label && row % 2 == 0));
            let above = if label { 5.0 + a } else { 5.0 - b };
            matrix.push([a, 2.5, b, only_positive, above, 1e6 + 3.0 * a - 2.0 * b, 1.0]);
            labels.push(label);
        }
        let found = examine(&matrix, &labels, 1);
        assert_eq!(
            found,
            Findings {
                constant: vec![1],
                separating: vec![3, 4],
                dependent: vec![(5, vec![0, 2])],
            }
        );
        assert_eq!(found.others(6), [0, 2]);
        assert_eq!(material(&matrix, &labels, 1, &[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 5.0]), [3]);
    }
}
