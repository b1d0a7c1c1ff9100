//! The preparation that the parameters ask for, fitted on all events.
//!
//! Sums are taken over rows in canonical order, in blocks of a fixed size, the blocks' sums in block order, with the
//! rounding error of each addition kept beside it: they depend neither on the order of lines nor on threads, nor on where
//! rows are kept.

use rayon::ThreadPool;

use super::medians::medians;
use super::methods::{Impute, Scale};
use super::params::Params;
use super::refused;
use super::rows::blocks::Block;
use super::rows::sorted::{CellOf, SortedTable};
use super::rows::{KeyCounts, LevelFault};
use crate::preparation::{Categorical, Input, MAX_LEVELS, Numeric, Preparation, Scaling, level_column};
use crate::stages::ingest::fault::printable;
use crate::stages::train::blocks::Sum;
use crate::stages::{Refusal, StageError};

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
    let rows = table.len();
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
        )?,
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
            Impute::Mean => {
                number.impute = extents[place].sum.value() / count(counts.present);
                if !number.impute.is_finite() {
                    let key = printable(&number.key);
                    return Err(refused(format!(
                        "`{key}` has no mean: its values are too large to be added up"
                    )));
                }
            }
            Impute::Median => {}
        }
    }
    refuse(
        faults,
        "what is missing cannot be put in place; leave these out with `exclude`, or impute `zero`",
    )?;
    let is_median = |number: &Numeric| params.impute.of(&number.key) == Impute::Median;
    let places: Vec<usize> = (0..numbers.len()).filter(|place| is_median(&numbers[*place])).collect();
    for (place, median) in places.iter().zip(medians(table, &places, pool)?) {
        numbers[*place].impute = median;
    }
    scale(table, params, pool, &extents, &mut numbers)?;
    Ok(numbers)
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
    let rows = count(table.len());
    let missing: Vec<u64> = table.numbers().map(|counts| table.len() - counts.present).collect();
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
        )?,
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
        if extent.least == extent.greatest {
            constant.push(format!("`{}` has one value in all events", printable(&number.key)));
        } else if scaling.scale <= 0.0 {
            return Err(refused(format!(
                "`{}` cannot be scaled: its values lie too close to each other",
                printable(&number.key)
            )));
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
) -> Result<Vec<T>, StageError> {
    let zeros = vec![zero; table.numbers().len()];
    let mut all = zeros.clone();
    let of_block = |block: &Block<'_>| {
        let mut of = zeros.clone();
        block.each_run(|run| {
            if let CellOf::Number(number) = run.of {
                run.numbers().for_each(|value| add(&mut of[number], number, value));
            }
        });
        of
    };
    table.each_block(pool, 0, of_block, |of| {
        all.iter_mut().zip(of).for_each(|(all, part)| merge(all, part));
        Ok::<(), StageError>(())
    })?;
    Ok(all)
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
