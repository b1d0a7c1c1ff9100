//! Who was measured: rows trained on and rows held out, each row with its group in every column.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::Scores;
use super::bands::{BANDS, Counts, band};

/// So many groups of a column are shown at most: a table of more is none that a person reads.
const MOST_VALUES: usize = 1000;

/// The rows of one part.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Their scores.
    pub(crate) scores: Scores,
    /// For each column, for each row, the place of its value among [`Column::values`].
    pub(crate) groups: Vec<Vec<usize>>,
}

/// A group column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    /// Its name.
    pub(crate) name: String,
    /// Its values, sorted, the missing one first; of very many those with the most rows.
    pub(crate) values: Vec<Option<String>>,
    /// Whether there are more. Their rows have the place after the last.
    pub(crate) has_more: bool,
}

impl Column {
    /// How many places there are: one for each value, and one for all that are not kept.
    pub(crate) fn places(&self) -> usize {
        self.values.len() + usize::from(self.has_more)
    }
}

/// All rows that are measured for one file.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    /// Rows trained on, then rows held out, if any were asked for; or the one part that there is.
    pub(crate) parts: Vec<Part>,
    /// The group columns.
    pub(crate) columns: Vec<Column>,
}

/// The values that rows have in a group column.
#[derive(Clone, Debug)]
pub(crate) struct Coded<'a> {
    /// For each row the place of its value in `values`.
    pub(crate) codes: &'a [u32],
    /// Values, each once, in any order; `None` is that of a row without one.
    pub(crate) values: Vec<Option<&'a str>>,
}

impl Population {
    /// From each part's scores, and for each of `names` the values of its rows.
    pub(crate) fn new(names: &[String], parts: Vec<(Scores, Vec<Coded<'_>>)>) -> Self {
        let mut columns = Vec::new();
        let mut codes: Vec<Vec<Vec<usize>>> = vec![Vec::new(); parts.len()];
        for (column, name) in names.iter().enumerate() {
            let mut seen: BTreeMap<Option<&str>, usize> = BTreeMap::new();
            let mut counts: Vec<u64> = Vec::new();
            for ((_, groups), codes) in parts.iter().zip(&mut codes) {
                let Coded { codes: rows, values } = &groups[column];
                let mut known: Vec<Option<usize>> = vec![None; values.len()];
                let code = |place: &u32| {
                    let place = *place as usize;
                    let code = *known[place].get_or_insert_with(|| {
                        let next = seen.len();
                        *seen.entry(values[place]).or_insert(next)
                    });
                    if code == counts.len() {
                        counts.push(0);
                    }
                    counts[code] += 1;
                    code
                };
                codes.push(rows.iter().map(code).collect());
            }
            let (kept, places) = places(&seen, &counts);
            for code in codes.iter_mut().flat_map(|columns| &mut columns[column]) {
                *code = places[*code];
            }
            columns.push(Column {
                name: name.clone(),
                has_more: kept.len() < seen.len(),
                values: kept,
            });
        }
        let parts = parts.into_iter().zip(codes);
        Self {
            parts: parts.map(|((scores, _), groups)| Part { scores, groups }).collect(),
            columns,
        }
    }

    /// The rows counted by the values of all columns: for each combination that occurs, the counts of each part.
    pub(crate) fn combinations(&self) -> Vec<Combination> {
        let spans = self.parts.iter().enumerate().flat_map(|(part, rows)| {
            let rows = 0..rows.scores.len();
            rows.step_by(SPAN).map(move |first| (part, first))
        });
        let spans: Vec<(usize, usize)> = spans.collect();
        let count = |found, (part, first): (usize, usize)| self.count_span(found, part, first);
        let found = spans.into_par_iter().fold(Found::new, count).reduce(Found::new, merge);
        let combination = |(values, counts)| Combination { values, counts };
        found.into_iter().map(combination).collect()
    }

    /// Counts [`SPAN`] rows of a part, from the row `first` on.
    fn count_span(&self, mut found: Found, part: usize, first: usize) -> Found {
        let Part { scores, groups } = &self.parts[part];
        let mut values = Vec::new();
        for row in first..scores.len().min(first + SPAN) {
            values.clear();
            values.extend(groups.iter().map(|column| column[row]));
            if !found.contains_key(&values) {
                found.insert(values.clone(), vec![[[0; BANDS]; 2]; self.parts.len()]);
            }
            if let Some(counts) = found.get_mut(&values) {
                counts[part][usize::from(scores.labels[row])][band(scores.log_odds[row])] += 1;
            }
        }
        found
    }
}

/// So many rows are counted at once.
const SPAN: usize = 1 << 15;

/// By the values of all columns, the counts of each part.
type Found = BTreeMap<Vec<usize>, Vec<Counts>>;

fn merge(mut all: Found, more: Found) -> Found {
    for (values, more) in more {
        match all.entry(values) {
            Entry::Vacant(place) => drop(place.insert(more)),
            Entry::Occupied(mut counts) => {
                let counts = counts.get_mut().iter_mut().flatten().flatten();
                counts
                    .zip(more.iter().flatten().flatten())
                    .for_each(|(count, more)| *count += more);
            }
        }
    }
    all
}

/// The values that are kept, sorted, and for each code that was given the place of its value.
fn places(seen: &BTreeMap<Option<&str>, usize>, counts: &[u64]) -> (Vec<Option<String>>, Vec<usize>) {
    let mut by_size: Vec<(u64, usize)> = seen
        .values()
        .enumerate()
        .map(|(place, code)| (counts[*code], place))
        .collect();
    by_size.sort_unstable_by_key(|(count, place)| (std::cmp::Reverse(*count), *place));
    let kept: BTreeSet<usize> = by_size.into_iter().take(MOST_VALUES).map(|(_, place)| place).collect();
    let mut places = vec![kept.len(); counts.len()];
    let mut values = Vec::with_capacity(kept.len());
    for (place, (value, code)) in seen.iter().enumerate() {
        if kept.contains(&place) {
            places[*code] = values.len();
            values.push(value.map(str::to_owned));
        }
    }
    (values, places)
}

/// The rows that have one value in each column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Combination {
    /// The value of each column, by its place.
    pub(crate) values: Vec<usize>,
    /// For each part, the rows by label and band.
    pub(crate) counts: Vec<Counts>,
}

#[cfg(test)]
impl Population {
    /// The same, of values that are told one by one: for a row and a column.
    pub(crate) fn of_texts<'a, Groups>(names: &[String], parts: Vec<(Scores, Groups)>) -> Self
    where
        Groups: Fn(usize, usize) -> Option<&'a str>,
    {
        let most = parts.iter().map(|(scores, _)| scores.len()).max();
        let codes: Vec<u32> = (0..u32::MAX).take(most.unwrap_or(0)).collect();
        let part = |(scores, groups): (Scores, Groups)| {
            let rows = 0..scores.len();
            let coded = |column| Coded {
                codes: &codes[rows.clone()],
                values: rows.clone().map(|row| groups(row, column)).collect(),
            };
            let coded = (0..names.len()).map(coded).collect();
            (scores, coded)
        };
        Self::new(names, parts.into_iter().map(part).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_in_their_order_and_combinations_counted() {
        let scores = |labels: &[bool]| Scores {
            weights: None,
            log_odds: vec![0.0; labels.len()],
            labels: labels.to_vec(),
        };
        let rows = [Some("b"), None, Some("a"), Some("b")];
        let groups = |row: usize, column: usize| if column == 0 { rows[row] } else { Some("x") };
        let population = Population::of_texts(
            &["kind".to_owned(), "region".to_owned()],
            vec![(scores(&[true, false, true, false]), groups), (scores(&[true]), groups)],
        );
        let values = [None, Some("a".to_owned()), Some("b".to_owned())];
        assert_eq!(population.columns[0].values, values);
        assert_eq!(population.parts[0].groups[0], [2, 0, 1, 2]);
        let combinations = population.combinations();
        assert_eq!(combinations.len(), 3);
        assert_eq!(combinations[2].values, [2, 0]);
        let at_half = |part: usize| combinations[2].counts[part].map(|bands| bands[10]);
        assert_eq!((at_half(0), at_half(1)), ([1, 1], [0, 1]));
    }

    #[test]
    fn of_very_many_rows_each_is_counted_once() {
        let rows = 2 * SPAN + 3;
        let part = |rows: usize| Scores {
            weights: None,
            log_odds: vec![0.0; rows],
            labels: (0..rows).map(|row| row % 3 == 0).collect(),
        };
        let group = |row: usize, _: usize| Some(["even", "odd"][row % 2]);
        let population = Population::of_texts(&["kind".to_owned()], vec![(part(rows), group), (part(SPAN + 1), group)]);
        let combinations = population.combinations();
        let count = |part: usize, label: usize| {
            let counts = combinations.iter().map(|of| of.counts[part][label].iter().sum::<u64>());
            counts.collect::<Vec<_>>()
        };
        let expected = |rows: usize, is_positive: bool| {
            let of = |odd: usize| {
                (0..rows)
                    .filter(|row| row % 2 == odd && (row % 3 == 0) == is_positive)
                    .count()
            };
            [of(0) as u64, of(1) as u64]
        };
        for (part, rows) in [(0, rows), (1, SPAN + 1)] {
            assert_eq!(count(part, 0), expected(rows, false));
            assert_eq!(count(part, 1), expected(rows, true));
        }
    }

    #[test]
    fn of_very_many_values_the_largest_are_kept() {
        let scores = Scores {
            weights: None,
            log_odds: vec![0.0; 2003],
            labels: vec![true; 2003],
        };
        let texts: Vec<String> = (0..1001).map(|n| format!("{n:04}")).collect();
        // 0000 to 1000 twice, but the first only once.
        let group = |row: usize, _: usize| Some(texts[(row + 1) % 1001].as_str()).filter(|_| row < 2001);
        let population = Population::of_texts(&["kind".to_owned()], vec![(scores, group)]);
        let column = &population.columns[0];
        assert_eq!(
            (column.values.len(), column.has_more, column.places()),
            (1000, true, 1001)
        );
        assert_eq!(column.values[0], None);
        assert_eq!(column.values[1].as_deref(), Some("0001"));
        // 0000 and 1000 were left out.
        assert_eq!(population.parts[0].groups[0][1000], 1000);
    }
}
