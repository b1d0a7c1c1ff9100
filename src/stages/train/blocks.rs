//! Work over rows in blocks of a fixed size. Threads decide only who computes a block; results come in block order, so
//! that whatever is added up of them is added up in the same order on any number of threads.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kernels::TILE_ROWS;

/// Rows of one block, but for the last: whole tiles. Part of what the bits of a model depend on: never to be changed
/// without a new revision of `train`.
pub(crate) const BLOCK_ROWS: usize = 16 * TILE_ROWS;

/// A table of numbers, laid out for the [`super::kernels`]: in tiles of [`TILE_ROWS`] rows, each column after column. The
/// last tile is filled up with rows of zeros.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Matrix {
    columns: usize,
    rows: usize,
    blocks: Vec<Vec<f64>>,
}

impl Matrix {
    /// A table of `columns` columns, without rows yet.
    pub(crate) fn new(columns: usize) -> Self {
        Self {
            columns,
            rows: 0,
            blocks: Vec::new(),
        }
    }

    /// Adds a row, which must have every column.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = f64>) {
        self.add_zeros();
        let mut columns = 0;
        for value in row {
            self.set(self.rows - 1, columns, value);
            columns += 1;
        }
        assert_eq!(columns, self.columns, "a row has every column");
    }

    /// Adds the rows `rows` of `columns`, and a last column of ones: `columns` are all of the table's but that one.
    pub(crate) fn append(&mut self, columns: &[&[f64]], rows: &[usize]) {
        let mut first = self.rows;
        for _ in rows {
            self.add_zeros();
        }
        let mut rest = rows;
        while !rest.is_empty() {
            let (tile, after) = rest.split_at(rest.len().min(TILE_ROWS - first % TILE_ROWS));
            for (column, values) in columns.iter().enumerate() {
                let place = self.place(first, column);
                let to = &mut self.blocks[first / BLOCK_ROWS][place..][..tile.len()];
                for (to, row) in to.iter_mut().zip(tile) {
                    *to = values[*row];
                }
            }
            let ones = self.place(first, columns.len());
            self.blocks[first / BLOCK_ROWS][ones..][..tile.len()].fill(1.0);
            (first, rest) = (first + tile.len(), after);
        }
    }

    /// The rows `rows`, in that order.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        let mut picked = Self::new(self.columns);
        for row in rows {
            picked.push((0..self.columns).map(|column| self.blocks[row / BLOCK_ROWS][self.place(*row, column)]));
        }
        picked
    }

    #[inline]
    fn set(&mut self, row: usize, column: usize, value: f64) {
        let place = self.place(row, column);
        self.blocks[row / BLOCK_ROWS][place] = value;
    }

    /// Where in its block the value of a row in a column is.
    #[inline]
    fn place(&self, row: usize, column: usize) -> usize {
        let tile = row % BLOCK_ROWS / TILE_ROWS;
        (tile * self.columns + column) * TILE_ROWS + row % TILE_ROWS
    }

    fn add_zeros(&mut self) {
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            self.blocks.push(Vec::with_capacity(BLOCK_ROWS * self.columns));
        }
        if self.rows.is_multiple_of(TILE_ROWS)
            && let Some(block) = self.blocks.last_mut()
        {
            block.resize(block.len() + TILE_ROWS * self.columns, 0.0);
        }
        self.rows += 1;
    }

    /// How many columns it has.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Puts `change` of its column and itself in the place of each value.
    pub(crate) fn change(&mut self, change: impl Fn(usize, f64) -> f64) {
        let mut left = self.rows;
        for block in &mut self.blocks {
            for tile in block.chunks_exact_mut(TILE_ROWS * self.columns) {
                let rows = left.min(TILE_ROWS);
                left -= rows;
                for (column, values) in tile.chunks_exact_mut(TILE_ROWS).enumerate() {
                    for value in &mut values[..rows] {
                        *value = change(column, *value);
                    }
                }
            }
        }
    }

    /// The columns `keep`, in that order.
    pub(crate) fn select(&self, keep: &[usize]) -> Self {
        let select = |block: &Vec<f64>| {
            let tiles = block.chunks_exact(TILE_ROWS * self.columns);
            let columns = tiles.flat_map(|tile| keep.iter().map(|column| &tile[column * TILE_ROWS..][..TILE_ROWS]));
            columns.flatten().copied().collect()
        };
        Self {
            columns: keep.len(),
            rows: self.rows,
            blocks: self.blocks.iter().map(select).collect(),
        }
    }

    /// Computes `work` for each block of rows, given with the labels of the same rows, on up to `threads` threads.
    /// The results come in the order of the blocks.
    pub(crate) fn map_blocks<T: Send>(
        &self,
        labels: &[bool],
        threads: usize,
        work: impl Fn(Block<'_>) -> T + Sync,
    ) -> Vec<T> {
        self.map_some_blocks(labels, threads, 1, work)
    }

    /// The same for the first of every `stride` blocks.
    pub(crate) fn map_some_blocks<T: Send>(
        &self,
        labels: &[bool],
        threads: usize,
        stride: usize,
        work: impl Fn(Block<'_>) -> T + Sync,
    ) -> Vec<T> {
        let block = |(number, (values, labels))| Block {
            number,
            values,
            columns: self.columns,
            labels,
        };
        let blocks = self.blocks.iter().map(Vec::as_slice).zip(labels.chunks(BLOCK_ROWS));
        let blocks: Vec<Block<'_>> = blocks.enumerate().step_by(stride).map(block).collect();
        map_in_order(&blocks, threads, |block| work(*block))
    }
}

/// Some rows and their labels.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a> {
    /// Which of the table's blocks it is.
    pub(crate) number: usize,
    values: &'a [f64],
    columns: usize,
    labels: &'a [bool],
}

impl<'a> Block<'a> {
    /// Its tiles, each with the labels of its rows.
    #[inline]
    pub(crate) fn tiles(self) -> impl Iterator<Item = Tile<'a>> {
        self.values
            .chunks_exact(TILE_ROWS * self.columns)
            .zip(self.labels.chunks(TILE_ROWS))
            .map(|(values, labels)| Tile { values, labels })
    }
}

/// Up to [`TILE_ROWS`] rows.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The columns, one after another, filled up with zeros.
    pub(crate) values: &'a [f64],
    /// Of each row whether its label is the positive one: as many as there are rows.
    pub(crate) labels: &'a [bool],
}

impl<'a> Tile<'a> {
    /// Each column's values, without what fills it up.
    #[inline]
    pub(crate) fn columns(self) -> impl Iterator<Item = &'a [f64]> {
        self.values
            .chunks_exact(TILE_ROWS)
            .map(move |column| &column[..self.labels.len()])
    }
}

fn map_in_order<I: Sync, T: Send>(items: &[I], threads: usize, work: impl Fn(&I) -> T + Sync) -> Vec<T> {
    let threads = threads.min(items.len());
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    let work_on = || {
        while let Some((index, item)) = take(items, &next) {
            let result = work(item);
            // A thread that panicked has left nothing half done in the list.
            done.lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push((index, result));
        }
    };
    std::thread::scope(|scope| {
        let start = || std::thread::Builder::new().spawn_scoped(scope, work_on).is_ok();
        // Where there can be no thread more, this one does it.
        if (0..threads).filter(|_| start()).count() == 0 {
            work_on();
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

    /// The totals of `parts`, added up in their order, each of which has `size` sums.
    pub(crate) fn totals(size: usize, parts: Vec<Vec<Self>>) -> Vec<f64> {
        let mut totals = vec![Self::default(); size];
        for part in parts {
            for (total, sum) in totals.iter_mut().zip(part) {
                total.merge(sum);
            }
        }
        totals.into_iter().map(Self::value).collect()
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
        let first = |block: Block<'_>| block.tiles().next().map(|tile| (block.number, tile.values[0]));
        let one = matrix.map_blocks(&labels, 1, first);
        assert_eq!(one.len(), 6);
        assert_eq!(one[5], Some((5, 5.0 * 4096.0)));
        for threads in [2, 3, 7, 100] {
            assert_eq!(matrix.map_blocks(&labels, threads, first), one);
        }
        let some = matrix.map_some_blocks(&labels, 2, 4, first);
        assert_eq!(some, [one[0], one[4]]);
    }

    #[test]
    fn a_table_is_the_same_however_it_is_filled() {
        let rows = BLOCK_ROWS + TILE_ROWS + 3;
        let value = |row: usize, column: usize| (row * 3 + column) as f64;
        let mut pushed = Matrix::new(3);
        for row in 0..rows {
            pushed.push([value(row, 0), value(row, 1), 1.0]);
        }
        let mut appended = Matrix::new(3);
        for rows in [0..5, 5..rows - 1, rows - 1..rows] {
            // Every second value is to be left out.
            let column = |column| {
                rows.clone()
                    .flat_map(|row| [value(row, column), f64::NAN])
                    .collect::<Vec<_>>()
            };
            let columns = [column(0), column(1)];
            let wanted: Vec<usize> = (0..rows.len()).map(|row| 2 * row).collect();
            appended.append(&columns.each_ref().map(Vec::as_slice), &wanted);
        }
        assert_eq!(appended, pushed);
        let backwards: Vec<usize> = (0..rows).rev().collect();
        assert_ne!(pushed.pick(&backwards), pushed);
        assert_eq!(pushed.pick(&backwards).pick(&backwards), pushed);
        let labels = vec![false; rows];
        let swapped = pushed.select(&[2, 0]);
        let lengths = swapped.map_blocks(&labels, 1, |block| {
            block
                .tiles()
                .map(|tile| tile.columns().map(<[f64]>::len).sum::<usize>())
                .sum::<usize>()
        });
        assert_eq!(lengths, [2 * BLOCK_ROWS, 2 * (TILE_ROWS + 3)]);
        let mut doubled = swapped.clone();
        doubled.change(|column, value| if column == 1 { value * 2.0 } else { value });
        let mut expected = Matrix::new(2);
        for row in 0..rows {
            expected.push([1.0, 2.0 * value(row, 0)]);
        }
        assert_eq!(doubled, expected);
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
