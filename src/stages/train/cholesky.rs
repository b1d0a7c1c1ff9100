//! Symmetric positive definite systems, factored in a fixed order of operations.

/// A pivot that is smaller than this, where the matrix was scaled to a diagonal of ones, is taken for zero.
const SMALLEST_PIVOT: f64 = 1e-15;

/// A symmetric matrix as its upper triangle, row after row: (0,0) (0,1) … (0,n-1) (1,1) ….
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Symmetric {
    size: usize,
    upper: Vec<f64>,
}

impl Symmetric {
    /// A matrix of zeros.
    pub(crate) fn zeros(size: usize) -> Self {
        Self {
            size,
            upper: vec![0.0; size * (size + 1) / 2],
        }
    }

    /// How many rows, and columns, it has.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn index(&self, row: usize, column: usize) -> usize {
        let (row, column) = (row.min(column), row.max(column));
        row * self.size - row * (row + 1) / 2 + column
    }

    /// The entry at `row`, `column`.
    pub(crate) fn get(&self, row: usize, column: usize) -> f64 {
        self.upper[self.index(row, column)]
    }

    /// Adds `value` to the entry at `row`, `column` (and its mirror).
    pub(crate) fn add_at(&mut self, row: usize, column: usize, value: f64) {
        let index = self.index(row, column);
        self.upper[index] += value;
    }

    /// The entries of `row` from the diagonal on.
    pub(crate) fn row_mut(&mut self, row: usize) -> &mut [f64] {
        let first = self.index(row, row);
        &mut self.upper[first..first + self.size - row]
    }

    /// Adds `other`, entry by entry.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (entry, value) in self.upper.iter_mut().zip(&other.upper) {
            *entry += value;
        }
    }
}

/// A matrix that is not positive definite, as far as doubles can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Singular;

/// `D⁻¹ A D⁻¹ = L Lᵀ` with `D` the square roots of A's diagonal, so that the scales of columns do not matter.
pub(crate) struct Factor {
    size: usize,
    scale: Vec<f64>,
    /// Lower triangle, row after row.
    lower: Vec<f64>,
}

impl Factor {
    /// Factors `matrix`.
    pub(crate) fn new(matrix: &Symmetric) -> Result<Self, Singular> {
        let size = matrix.size;
        let mut scale = Vec::with_capacity(size);
        for index in 0..size {
            let diagonal = matrix.get(index, index);
            if !(diagonal > 0.0 && diagonal.is_finite()) {
                return Err(Singular);
            }
            scale.push(diagonal.sqrt());
        }
        let mut lower = vec![0.0; size * size];
        for row in 0..size {
            for column in 0..=row {
                let mut value = matrix.get(row, column) / scale[row] / scale[column];
                for inner in 0..column {
                    value -= lower[row * size + inner] * lower[column * size + inner];
                }
                lower[row * size + column] = if row == column {
                    if value.is_nan() || value <= SMALLEST_PIVOT {
                        return Err(Singular);
                    }
                    value.sqrt()
                } else {
                    value / lower[column * size + column]
                };
            }
        }
        Ok(Self { size, scale, lower })
    }

    /// The `x` with `A x = right`.
    pub(crate) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let size = self.size;
        let mut x: Vec<f64> = right
            .iter()
            .zip(&self.scale)
            .map(|(value, scale)| value / scale)
            .collect();
        for row in 0..size {
            let known = dot(&self.lower[row * size..row * size + row], &x[..row]);
            x[row] = (x[row] - known) / self.lower[row * size + row];
        }
        for row in (0..size).rev() {
            let mut value = x[row];
            for (below, known) in x.iter().enumerate().skip(row + 1) {
                value -= self.lower[below * size + row] * known;
            }
            x[row] = value / self.lower[row * size + row];
        }
        for (value, scale) in x.iter_mut().zip(&self.scale) {
            *value /= scale;
        }
        x
    }

    /// The diagonal of A's inverse.
    pub(crate) fn inverse_diagonal(&self) -> Vec<f64> {
        (0..self.size)
            .map(|index| {
                let mut unit = vec![0.0; self.size];
                unit[index] = 1.0;
                self.solve(&unit)[index]
            })
            .collect()
    }
}

/// A column that is a combination of others.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dependent {
    /// The column.
    pub(crate) column: usize,
    /// Those it is made of.
    pub(crate) of: Vec<usize>,
}

/// The columns that depend on others, given the columns' correlations (`matrix` has a diagonal of ones), by Cholesky
/// with pivoting. A column depends on others if less than `tolerance` of its variance is its own.
pub(crate) fn dependent_columns(matrix: &Symmetric, tolerance: f64) -> Vec<Dependent> {
    let size = matrix.size;
    let mut rest: Vec<f64> = (0..size).map(|index| matrix.get(index, index)).collect();
    let mut chosen: Vec<usize> = Vec::new();
    // For each chosen column, its row of the factor, over all columns.
    let mut factor: Vec<Vec<f64>> = Vec::new();
    loop {
        let left = (0..size).filter(|column| !chosen.contains(column));
        // The first of equals, so that of two equal columns the later one is the one that depends.
        let best = left.fold(None, |best: Option<usize>, column| match best {
            Some(best) if rest[best] >= rest[column] => Some(best),
            _ => Some(column),
        });
        let Some(pivot) = best.filter(|pivot| rest[*pivot] > tolerance) else {
            break;
        };
        let root = rest[pivot].sqrt();
        let mut row = vec![0.0; size];
        for column in (0..size).filter(|column| !chosen.contains(column)) {
            let mut value = matrix.get(pivot, column);
            for earlier in &factor {
                value -= earlier[pivot] * earlier[column];
            }
            row[column] = value / root;
            rest[column] -= row[column] * row[column];
        }
        factor.push(row);
        chosen.push(pivot);
    }
    let depends = (0..size).filter(|column| !chosen.contains(column));
    depends.map(|column| combination(column, &chosen, &factor)).collect()
}

/// Which of the `chosen` columns `column` is made of, by back substitution.
fn combination(column: usize, chosen: &[usize], factor: &[Vec<f64>]) -> Dependent {
    let rank = chosen.len();
    let mut shares = vec![0.0; rank];
    for step in (0..rank).rev() {
        let mut value = factor[step][column];
        for later in step + 1..rank {
            value -= factor[step][chosen[later]] * shares[later];
        }
        shares[step] = value / factor[step][chosen[step]];
    }
    let mut of: Vec<usize> = (0..rank)
        .filter(|step| shares[*step].abs() > 1e-6)
        .map(|step| chosen[step])
        .collect();
    of.sort_unstable();
    Dependent { column, of }
}

/// `a · b`, in the order of the columns.
#[inline]
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    for (a, b) in a.iter().zip(b) {
        sum += a * b;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(rows: &[&[f64]]) -> Symmetric {
        let mut matrix = Symmetric::zeros(rows.len());
        for (row, values) in rows.iter().enumerate() {
            for (column, value) in values.iter().enumerate().skip(row) {
                matrix.add_at(row, column, *value);
            }
        }
        matrix
    }

    #[test]
    fn a_system_is_solved_whatever_its_scales() {
        let matrix = matrix(&[&[4e12, 2e6, 1e6], &[2e6, 3.0, 0.5], &[1e6, 0.5, 2.0]]);
        let factor = Factor::new(&matrix).expect("positive definite");
        let x = factor.solve(&[8e6, 5.5, 3.5]);
        for row in 0..3 {
            let product: f64 = (0..3).map(|column| matrix.get(row, column) * x[column]).sum();
            let right = [8e6, 5.5, 3.5][row];
            assert!((product - right).abs() <= 1e-12 * right.abs(), "{product} {right}");
        }
    }

    #[test]
    fn the_diagonal_of_the_inverse_is_right() {
        let factor = Factor::new(&matrix(&[&[2.0, 1.0], &[1.0, 3.0]])).expect("positive definite");
        let diagonal = factor.inverse_diagonal();
        assert!((diagonal[0] - 0.6).abs() < 1e-15 && (diagonal[1] - 0.4).abs() < 1e-15);
    }

    #[test]
    fn what_is_not_positive_definite_is_singular() {
        for rows in [
            [[1.0, 1.0], [1.0, 1.0]],
            [[1.0, 2.0], [2.0, 1.0]],
            [[0.0, 0.0], [0.0, 1.0]],
            [[f64::NAN, 0.0], [0.0, 1.0]],
            [[1.0, f64::NAN], [0.0, 1.0]],
            [[f64::INFINITY, 0.0], [0.0, 1.0]],
        ] {
            let rows: Vec<&[f64]> = rows.iter().map(|row| row.as_slice()).collect();
            assert!(Factor::new(&matrix(&rows)).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn dependent_columns_are_named_with_what_they_are_made_of() {
        // Column 2 is (column 0 + column 1) / √2, column 3 stands alone, column 4 is column 3 again.
        let half = 0.5f64.sqrt();
        let correlations = matrix(&[
            &[1.0, 0.0, half, 0.0, 0.0],
            &[0.0, 1.0, half, 0.0, 0.0],
            &[half, half, 1.0, 0.0, 0.0],
            &[0.0, 0.0, 0.0, 1.0, 1.0],
            &[0.0, 0.0, 0.0, 1.0, 1.0],
        ]);
        let found = dependent_columns(&correlations, 1e-12);
        let expected = [
            Dependent {
                column: 2,
                of: vec![0, 1],
            },
            Dependent { column: 4, of: vec![3] },
        ];
        assert_eq!(found, expected);
    }
}
