//! The preparation that the parameters ask for, fitted on all events.
//!
//! Sums are taken over rows in canonical order, in blocks of a fixed size, the blocks' sums in block order, with the
//! rounding error of each addition kept beside it: they depend neither on the order of lines nor on threads.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::methods::{Impute, Scale};
use super::params::Params;
use super::refused;
use super::rows::{CellOf, KeyCounts, LevelFault, SortedTable};
use crate::preparation::{Categorical, Input, MAX_LEVELS, Numeric, Preparation, Scaling, level_column};
use crate::stages::ingest::fault::printable;
use crate::stages::train::blocks::Sum;
use crate::stages::{Refusal, StageError};

/// Rows of one block, but for the last. Part of what the bits depend on.
const BLOCK_ROWS: usize = 8192;

/// Blocks whose sums are held at once.
const BLOCKS_AT_ONCE: usize = 64;

/// The preparation of `table`'s numbers and categories as `params` ask for it.
pub(crate) fn fit(table: &SortedTable, params: &Params, pool: &ThreadPool) -> Result<Preparation, StageError> {
    let whole = |numbers, categories, interactions| {
        Preparation::new(numbers, categories, interactions)
            .map_err(|error| refused(format!("no columns can be made: {error}")))
    };
    if table.len() == 0 {
        // Whatever is named cannot be there.
        return whole(Vec::new(), Vec::new(), Vec::new());
    }
    let (numbers, categories) = (numbers(table, params, pool)?, categories(table, params)?);
    for factor in params.interactions.iter().flatten() {
        let is_it = |category: &&Categorical| category.of.name() == factor;
        if let Some(category) = categories.iter().find(is_it) {
            let factor = printable(factor);
            return Err(StageError::Refused(Refusal {
                summary: format!("parameter `interactions` names `{factor}`, which is a category and no column"),
                help: Some(format!(
                    "name one of its columns: `{}`",
                    printable(&level_column(&category.of, &category.levels[0]))
                )),
                ..Refusal::default()
            }));
        }
    }
    whole(numbers, categories, params.interactions.clone())
}

fn numbers(table: &SortedTable, params: &Params, pool: &ThreadPool) -> Result<Vec<Numeric>, StageError> {
    let rows = table.len() as u64;
    let counts: Vec<&KeyCounts> = table.numbers().collect();
    let mut numbers: Vec<Numeric> = counts
        .iter()
        .map(|counts| Numeric {
            range: params.range.get(&*counts.key).copied(),
            // One that is nowhere missing would be a column of zeros.
            indicator: params.impute.of(&counts.key) == Impute::Indicator && counts.present < rows,
            ..Numeric::plain(&counts.key)
        })
        .collect();
    let needs_extents = |counts: &&KeyCounts| {
        params.impute.of(&counts.key) == Impute::Mean || params.scale.of(&counts.key) != Scale::None
    };
    let extents = match counts.iter().any(needs_extents) {
        true => fold(
            table,
            pool,
            Extent::default(),
            |extent, _, value| extent.add(value),
            Extent::merge,
        ),
        false => Vec::new(),
    };
    let mut faults = Vec::new();
    for (place, (number, counts)) in numbers.iter_mut().zip(&counts).enumerate() {
        match params.impute.of(&number.key) {
            Impute::Zero | Impute::Indicator => {}
            method if counts.present == 0 => faults.push(format!(
                "`{}` has no value to take the {} of",
                printable(&number.key),
                if method == Impute::Mean { "mean" } else { "median" }
            )),
            Impute::Mean => number.impute = extents[place].sum.value() / count(counts.present),
            Impute::Median => {}
        }
    }
    refuse(
        faults,
        "what is missing cannot be put in place; leave these out with `exclude`, or impute `zero`",
    )?;
    medians(table, params, pool, &mut numbers);
    scale(table, params, pool, &extents, &mut numbers)?;
    Ok(numbers)
}

/// Medians take a copy of the values, one feature for each thread at a time.
fn medians(table: &SortedTable, params: &Params, pool: &ThreadPool, numbers: &mut [Numeric]) {
    pool.install(|| {
        numbers.par_iter_mut().enumerate().for_each(|(place, number)| {
            if params.impute.of(&number.key) == Impute::Median {
                number.impute = median(table.values_of(place));
            }
        });
    });
}

/// The middle value, or the mean of the two in the middle. There must be a value.
fn median(mut values: Vec<f64>) -> f64 {
    let middle = values.len() / 2;
    let is_odd = values.len() % 2 == 1;
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let upper = *upper;
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
    f64::midpoint(lower, upper)
}

/// Works out the scalings that are asked for, of the values with what was put in place of missing ones.
fn scale(
    table: &SortedTable,
    params: &Params,
    pool: &ThreadPool,
    extents: &[Extent],
    numbers: &mut [Numeric],
) -> Result<(), StageError> {
    if extents.is_empty() {
        return Ok(());
    }
    let rows = count(table.len() as u64);
    let missing: Vec<u64> = table
        .numbers()
        .map(|counts| table.len() as u64 - counts.present)
        .collect();
    let whole: Vec<Extent> = (numbers.iter().zip(extents))
        .zip(&missing)
        .map(|((number, extent), missing)| extent.with(number.impute, *missing))
        .collect();
    let means: Vec<f64> = whole.iter().map(|extent| extent.sum.value() / rows).collect();
    let is_standard = |number: &Numeric| params.scale.of(&number.key) == Scale::Standard;
    let squares = match numbers.iter().any(is_standard) {
        true => fold(
            table,
            pool,
            Sum::default(),
            |sum, number, value| sum.add((value - means[number]) * (value - means[number])),
            Sum::merge,
        ),
        false => vec![Sum::default(); numbers.len()],
    };
    let mut constant = Vec::new();
    for (place, number) in numbers.iter_mut().enumerate() {
        let (extent, mean) = (whole[place], means[place]);
        let scaling = match params.scale.of(&number.key) {
            Scale::None => continue,
            Scale::MinMax => Scaling {
                center: extent.least,
                scale: extent.greatest - extent.least,
            },
            Scale::Standard => {
                let mut squares = squares[place];
                squares.add((number.impute - mean) * (number.impute - mean) * count(missing[place]));
                Scaling {
                    center: mean,
                    scale: (squares.value() / rows).sqrt(),
                }
            }
        };
        if extent.least == extent.greatest || scaling.scale <= 0.0 {
            constant.push(format!("`{}` has one value in all events", printable(&number.key)));
        } else if !(scaling.center.is_finite() && scaling.scale.is_finite()) {
            return Err(refused(format!(
                "`{}` cannot be scaled: its values are too large to be added up",
                printable(&number.key)
            )));
        }
        number.scaling = Some(scaling);
    }
    refuse(
        constant,
        "what is constant cannot be scaled; leave these out with `exclude`, or scale them by `none`",
    )
}

/// Categories in the order of their inputs: features by their keys, then groups.
fn categories(table: &SortedTable, params: &Params) -> Result<Vec<Categorical>, StageError> {
    let (mut categories, mut faults) = (Vec::new(), Vec::new());
    let features = table
        .categories()
        .map(|counts| (Input::Feature(counts.key.to_string()), counts.level_fault));
    let groups = params.one_hot_groups.iter().map(|group| (group.input(), None));
    for (of, fault) in features.chain(groups) {
        let levels: Vec<String> = (table.counted_levels(&of).into_keys().map(str::to_owned))
            .filter(|level| !params.exclude.contains(&level_column(&of, level)))
            .collect();
        let fault = fault.or((levels.len() > MAX_LEVELS).then_some(LevelFault::TooMany));
        if fault.is_none() && !levels.is_empty() {
            categories.push(Categorical { of, levels });
            continue;
        }
        let what = fault.map_or("has no value that makes a column".to_owned(), |fault| fault.to_string());
        faults.push(format!("`{}` {what}", printable(of.name())));
    }
    refuse(faults, "parameter `one_hot` names what makes no columns")?;
    Ok(categories)
}

fn refuse(faults: Vec<String>, summary: &str) -> Result<(), StageError> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(StageError::Refused(Refusal {
        summary: summary.to_owned(),
        details: faults,
        ..Refusal::default()
    }))
}

/// For each number, `add` of all its values, with its place.
fn fold<T: Clone + Send + Sync>(
    table: &SortedTable,
    pool: &ThreadPool,
    zero: T,
    add: impl Fn(&mut T, usize, f64) + Sync,
    merge: impl Fn(&mut T, T),
) -> Vec<T> {
    let zeros = vec![zero; table.numbers().len()];
    let block = |start: &usize| {
        let mut of = zeros.clone();
        table.each_cell(*start..table.len().min(start + BLOCK_ROWS), |cell| {
            if let CellOf::Number(number) = cell.of {
                add(&mut of[number], number, cell.number());
            }
        });
        of
    };
    let mut all = zeros.clone();
    let starts: Vec<usize> = (0..table.len()).step_by(BLOCK_ROWS).collect();
    for starts in starts.chunks(BLOCKS_AT_ONCE) {
        let blocks: Vec<Vec<T>> = pool.install(|| starts.par_iter().map(block).collect());
        for block in blocks {
            all.iter_mut().zip(block).for_each(|(all, part)| merge(all, part));
        }
    }
    all
}

/// The sum of some values, the least and the greatest.
#[derive(Clone, Copy, Debug)]
struct Extent {
    sum: Sum,
    least: f64,
    greatest: f64,
}

impl Default for Extent {
    fn default() -> Self {
        Self {
            sum: Sum::default(),
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

impl Extent {
    fn add(&mut self, value: f64) {
        self.sum.add(value);
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
    }

    fn merge(&mut self, other: Self) {
        self.sum.merge(other.sum);
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The same with `value` as often as something is missing.
    fn with(mut self, value: f64, missing: u64) -> Self {
        if missing > 0 {
            self.sum.add(value * count(missing));
            self.least = self.least.min(value);
            self.greatest = self.greatest.max(value);
        }
        self
    }
}

fn count(rows: u64) -> f64 {
    rows as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_two_in_the_middle() {
        for (values, expected) in [
            (vec![3.0], 3.0),
            (vec![3.0, -1.0], 1.0),
            (vec![9.0, 1.0, 5.0], 5.0),
            (vec![4.0, 1.0, 3.0, 2.0], 2.5),
            (vec![f64::MAX, f64::MAX], f64::MAX),
            (vec![7.0, 7.0, 7.0, 0.0], 7.0),
        ] {
            assert_eq!(median(values.clone()).to_bits(), f64::to_bits(expected), "{values:?}");
        }
    }
}
