//! Medians of any number of values, exact, in bounded memory.
//!
//! Values have an order of whole numbers ([`key`]). As long as there is no room for all of them, they are counted by 256 equal
//! ranges of that order, and only those in the range that has the median are looked at further: each time over the whole
//! table.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::rows::blocks::Block;
use super::rows::sorted::{CellOf, SortedTable};
use crate::stages::StageError;

const BINS: usize = 256;

/// The median of each of `numbers` (their places, in order), which all have values.
pub(super) fn medians(table: &SortedTable, numbers: &[usize], pool: &ThreadPool) -> Result<Vec<f64>, StageError> {
    let present: Vec<u64> = table.numbers().map(|counts| counts.present).collect();
    let mut searches: Vec<Search> = numbers.iter().map(|number| Search::new(present[*number])).collect();
    let mut place_of = vec![None; present.len()];
    for (place, number) in numbers.iter().enumerate() {
        place_of[*number] = Some(place);
    }
    while searches.iter().map(Search::candidates).sum::<u64>() > (table.room() / size_of::<f64>()) as u64 {
        narrow(table, &mut searches, &place_of, pool)?;
    }
    let mut values: Vec<Vec<f64>> = searches.iter().map(Search::room).collect();
    if searches.iter().any(|search| search.candidates() > 0) {
        let of_block = |block: &Block<'_>| {
            let mut found = Vec::new();
            block.each_run(|run| {
                if let Some(place) = search_of(&place_of, run.of) {
                    let is_sought = |value: &f64| searches[place].bin(key(*value)).is_some();
                    found.extend(run.numbers().filter(is_sought).map(|value| (place, value)));
                }
            });
            found
        };
        table.each_block(pool, 2 * numbers.len(), of_block, |found| {
            found.into_iter().for_each(|(place, value)| values[place].push(value));
            Ok::<(), StageError>(())
        })?;
    }
    let select = |(search, values): (Search, Vec<f64>)| search.select(values);
    Ok(pool.install(|| searches.into_par_iter().zip(values).map(select).collect()))
}

fn search_of(place_of: &[Option<usize>], of: CellOf) -> Option<usize> {
    match of {
        CellOf::Number(number) => place_of[number],
        CellOf::Category(_) | CellOf::Weight => None,
    }
}

fn narrow(
    table: &SortedTable,
    searches: &mut [Search],
    place_of: &[Option<usize>],
    pool: &ThreadPool,
) -> Result<(), StageError> {
    let mut all = vec![Bin::default(); searches.len() * BINS];
    let count = |block: &Block<'_>| {
        let mut bins = vec![Bin::default(); searches.len() * BINS];
        block.each_run(|run| {
            let Some(place) = search_of(place_of, run.of) else {
                return;
            };
            for key in run.numbers().map(key) {
                if let Some(bin) = searches[place].bin(key) {
                    bins[place * BINS + bin].add(key);
                }
            }
        });
        bins
    };
    table.each_block(pool, searches.len(), count, |bins| {
        all.iter_mut().zip(&bins).for_each(|(all, bin)| all.merge(bin));
        Ok::<(), StageError>(())
    })?;
    for (search, bins) in searches.iter_mut().zip(all.chunks(BINS)) {
        search.narrow(bins);
    }
    Ok(())
}

/// The place of a value in the order of [`f64::total_cmp`].
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    match value.is_sign_negative() {
        true => !bits,
        false => bits | 1 << 63,
    }
}

fn value(key: u64) -> f64 {
    f64::from_bits(match key >> 63 {
        0 => !key,
        _ => key & !(1 << 63),
    })
}

/// Values whose keys are in one range.
#[derive(Clone, Copy, Debug)]
struct Bin {
    count: u64,
    least: u64,
    greatest: u64,
}

impl Default for Bin {
    fn default() -> Self {
        Self {
            count: 0,
            least: u64::MAX,
            greatest: 0,
        }
    }
}

impl Bin {
    fn add(&mut self, key: u64) {
        self.count += 1;
        self.least = self.least.min(key);
        self.greatest = self.greatest.max(key);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// What is known of where the median is.
#[derive(Clone, Copy, Debug)]
struct Search {
    /// The value in the middle, counted from 0; of the two in the middle the greater.
    middle: u64,
    /// Whether there are two.
    has_two: bool,
    /// So many values are less than all that are looked at.
    below: u64,
    /// What is looked at: the values whose keys are among these, and how many there are.
    range: Bin,
    found: Option<f64>,
}

impl Search {
    fn new(values: u64) -> Self {
        Self {
            middle: values / 2,
            has_two: values.is_multiple_of(2),
            below: 0,
            range: Bin {
                count: values,
                least: 0,
                greatest: u64::MAX,
            },
            found: None,
        }
    }

    /// How many values are still looked at.
    fn candidates(&self) -> u64 {
        match self.found {
            Some(_) => 0,
            None => self.range.count,
        }
    }

    /// Room for them.
    fn room(&self) -> Vec<f64> {
        Vec::with_capacity(usize::try_from(self.candidates()).unwrap_or_default())
    }

    /// The bin that a value falls into, if it is looked at.
    fn bin(&self, key: u64) -> Option<usize> {
        let Bin { least, greatest, .. } = self.range;
        if self.found.is_some() || key < least || key > greatest {
            return None;
        }
        let width = (greatest - least) / BINS as u64 + 1;
        usize::try_from((key - least) / width).ok()
    }

    /// Looks only at the bin with the middle. If that falls between two bins, or on values that are all alike, it is found.
    fn narrow(&mut self, bins: &[Bin]) {
        if self.found.is_some() {
            return;
        }
        let mut lower = None;
        for bin in bins.iter().filter(|bin| bin.count > 0) {
            let next = self.below + bin.count;
            if self.middle < next {
                let is_first = self.middle == self.below;
                self.range = *bin;
                self.found = match lower {
                    Some(lower) if self.has_two && is_first => Some(f64::midpoint(value(lower), value(bin.least))),
                    _ if bin.least == bin.greatest => Some(match self.has_two {
                        true => f64::midpoint(value(bin.least), value(bin.least)),
                        false => value(bin.least),
                    }),
                    _ => None,
                };
                return;
            }
            lower = Some(bin.greatest);
            self.below = next;
        }
    }

    /// The median, if `values` are those that are looked at.
    fn select(self, mut values: Vec<f64>) -> f64 {
        if let Some(found) = self.found {
            return found;
        }
        let middle = usize::try_from(self.middle - self.below).unwrap_or(usize::MAX);
        let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
        let upper = *upper;
        if !self.has_two {
            return upper;
        }
        let lower = below.iter().copied().max_by(f64::total_cmp).unwrap_or(upper);
        f64::midpoint(lower, upper)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The median, after narrowing so many times.
    fn median(values: &[f64], times: usize) -> f64 {
        let mut search = Search::new(values.len() as u64);
        for _ in 0..times {
            let mut bins = vec![Bin::default(); BINS];
            for key in values.iter().map(|value| key(*value)) {
                if let Some(bin) = search.bin(key) {
                    bins[bin].add(key);
                }
            }
            search.narrow(&bins);
        }
        let is_candidate = |value: &f64| search.bin(key(*value)).is_some();
        let candidates: Vec<f64> = values.iter().copied().filter(is_candidate).collect();
        assert_eq!(candidates.len() as u64, search.candidates());
        assert!(times < 8 || candidates.is_empty(), "it is found in eight steps");
        search.select(candidates)
    }

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
            for times in 0..9 {
                assert_eq!(median(&values, times).to_bits(), f64::to_bits(expected), "{values:?}");
            }
        }
    }

    #[test]
    fn keys_have_the_order_of_numbers() {
        let numbers = [f64::MIN, -1.5, -f64::MIN_POSITIVE, 0.0, 5e-324, 1.0, 1.5, f64::MAX];
        assert!(numbers.map(key).is_sorted());
        assert_eq!(numbers.map(key).map(value).map(f64::to_bits), numbers.map(f64::to_bits));
    }

    proptest! {
        #[test]
        fn narrowing_does_not_change_a_median(
            values in prop::collection::vec(
                prop_oneof![-1e300..1e300_f64, -4.0..4.0_f64, Just(0.0), Just(1.0), (0..5_u8).prop_map(f64::from)],
                1..200,
            ),
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let upper = sorted[values.len() / 2];
            let expected = match values.len() % 2 {
                0 => f64::midpoint(sorted[values.len() / 2 - 1], upper),
                _ => upper,
            };
            for times in 0..9 {
                prop_assert_eq!(median(&values, times).to_bits(), expected.to_bits(), "after {} times", times);
            }
        }
    }
}
