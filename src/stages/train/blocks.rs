//! Work over rows in blocks of a fixed size. Threads decide only who computes a block; results come in block order, so
//! that whatever is added up of them is added up in the same order on any number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Rows of one block, but for the last. Part of what the bits of a model depend on: never to be changed without a new
/// revision of `train`.
pub(crate) const BLOCK_ROWS: usize = 4096;

/// A table of numbers, row after row. Only its storage and its views are ndarray's: what is added up of it is added up by
/// our own loops, in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix(Array2<f64>);

impl Matrix {
    /// A table of `columns` columns, without rows yet.
    pub(crate) fn new(columns: usize) -> Self {
        Self(Array2::zeros((0, columns)))
    }

    /// Adds a row, which must have every column.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = f64>) {
        let row: Array1<f64> = row.into_iter().collect();
        self.0.push_row(row.view()).expect("a row has every column");
    }

    /// How many columns it has.
    pub(crate) fn columns(&self) -> usize {
        self.0.ncols()
    }

    /// The rows, each a slice of [`Matrix::columns`] numbers.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.0
            .rows()
            .into_iter()
            .map(|row| row.to_slice().expect("rows lie one after another"))
    }

    /// The same, to change.
    pub(crate) fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [f64]> {
        self.0
            .rows_mut()
            .into_iter()
            .map(|row| row.into_slice().expect("rows lie one after another"))
    }

    /// The rows of the columns `keep`, in that order.
    pub(crate) fn select(&self, keep: &[usize]) -> Self {
        Self(self.0.select(Axis(1), keep).as_standard_layout().into_owned())
    }

    /// Computes `work` for each block of rows, given with the labels of the same rows, on up to `threads` threads.
    /// The results come in the order of the blocks.
    pub(crate) fn map_blocks<T: Send>(
        &self,
        labels: &[bool],
        threads: usize,
        work: impl Fn(Block<'_>) -> T + Sync,
    ) -> Vec<T> {
        let blocks: Vec<Block<'_>> = self
            .0
            .axis_chunks_iter(Axis(0), BLOCK_ROWS)
            .zip(labels.chunks(BLOCK_ROWS))
            .map(|(rows, labels)| Block { rows, labels })
            .collect();
        map_in_order(&blocks, threads, |block| work(*block))
    }
}

/// Some rows and their labels.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    rows: ArrayView2<'a, f64>,
    labels: &'a [bool],
}

impl<'a> Block<'a> {
    /// Each row and whether its label is the positive one.
    pub(crate) fn rows(self) -> impl Iterator<Item = (&'a [f64], bool)> {
        let columns = self.rows.ncols().max(1);
        let values = self.rows.to_slice().expect("rows lie one after another");
        values.chunks_exact(columns).zip(self.labels.iter().copied())
    }
}

fn map_in_order<I: Sync, T: Send>(items: &[I], threads: usize, work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, item)) = take(items, &next) {
                    let result = work(item);
                    // A thread that panicked has left nothing half done in the list.
                    done.lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take<'a, I>(items: &'a [I], next: &AtomicUsize) -> Option<(usize, &'a I)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    items.get(index).map(|item| (index, item))
}

/// A sum with the rounding errors of its additions kept beside it (Knuth's two-sum), so that it is nearly exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    high: f64,
    low: f64,
}

impl Sum {
    /// Adds `value`.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let taken = sum - self.high;
        let error = (self.high - (sum - taken)) + (value - taken);
        self.high = sum;
        self.low += error;
    }

    /// Adds another sum.
    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.high);
        self.low += other.low;
    }

    /// The sum, rounded once.
    pub(crate) fn value(self) -> f64 {
        let value = self.high + self.low;
        // After an overflow the error term is NaN; the sum itself says more.
        if value.is_nan() && self.high.is_infinite() {
            return self.high;
        }
        value
    }
}

impl std::iter::FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        for value in values {
            sum.add(value);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_block_order_on_any_number_of_threads() {
        let mut matrix = Matrix::new(2);
        let rows = 5 * BLOCK_ROWS + 17;
        for row in 0..rows {
            matrix.push([f64::from(u32::try_from(row).expect("small")), 1.0]);
        }
        let labels = vec![true; rows];
        let first = |block: Block<'_>| block.rows().next().map(|(row, _)| row[0]);
        let one = matrix.map_blocks(&labels, 1, first);
        assert_eq!(one.len(), 6);
        assert_eq!(one[5], Some(5.0 * 4096.0));
        for threads in [2, 3, 7, 100] {
            assert_eq!(matrix.map_blocks(&labels, threads, first), one);
        }
    }

    #[test]
    fn a_sum_keeps_what_plain_addition_loses() {
        let sum: Sum = [1e16, 1.0, 1.0, -1e16].into_iter().collect();
        assert_eq!(sum.value().to_bits(), 2f64.to_bits());
        let mut whole = Sum::default();
        whole.add(1e16);
        let part: Sum = [1.0, 1.0, -1e16].into_iter().collect();
        whole.merge(part);
        assert_eq!(whole.value().to_bits(), 2f64.to_bits());
        let overflown: Sum = [f64::MAX, f64::MAX].into_iter().collect();
        assert!(overflown.value().is_infinite());
    }
}
