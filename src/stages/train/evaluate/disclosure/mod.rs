//! Which groups and which thresholds may be shown, so that nobody can compute a count small enough to identify a person.
//!
//! What is shown is a sum of *cells*: the rows of one label, in one part (trained on or held out), in one class of a column
//! (a group that is shown, or all others together), between two neighbouring thresholds. Classes and thresholds are chosen
//! such that every cell holds at least `least` rows, in both labels and both parts; and such that what is left of a class
//! when classes of another column that lie within it are subtracted does too. Whatever is added or subtracted of what is
//! shown, what comes out is such a cell, a sum of them, or no count of anybody. Decision 0043 says why, and what this does
//! not hide.

use super::bands::{BANDS, Counts, Cuts};
use super::population::{Combination, Population};

/// What may be shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Disclosure {
    /// Thresholds for all rows together.
    pub(crate) overall: Cuts,
    /// Thresholds for groups: some of the above.
    pub(crate) grouped: Cuts,
    /// For each column, for each value, whether it is shown by itself.
    pub(crate) shown: Vec<Vec<bool>>,
}

/// Counts of some rows, for each part.
type Tables = Vec<Counts>;

/// A class of a column: the place of the value that is shown, or none for all the others together.
type Class = Option<usize>;

impl Disclosure {
    /// Decides for `population`. With `least` 0 everything is shown.
    pub(crate) fn decide(population: &Population, least: u64) -> Self {
        let combinations = population.combinations();
        let mut chooser = Chooser {
            least,
            by_value: population
                .columns
                .iter()
                .enumerate()
                .map(|(index, column)| by_value(&combinations, index, column.places(), population.parts.len()))
                .collect(),
            shown: population
                .columns
                .iter()
                .map(|column| (0..column.places()).map(|place| place < column.values.len()).collect())
                .collect(),
            combinations,
        };
        let all = sum(chooser.combinations.iter().map(|of| &of.counts), population.parts.len());
        let overall = Cuts::choose(&all.iter(), None, least);
        chooser.hide_small();
        chooser.hide_remainders();
        let cells = chooser.cells();
        let grouped = Cuts::choose(&cells.iter().flatten(), Some(&overall), least);
        Self {
            overall,
            grouped,
            shown: chooser.shown,
        }
    }
}

struct Chooser {
    least: u64,
    combinations: Vec<Combination>,
    /// For each column and value, its rows.
    by_value: Vec<Vec<Tables>>,
    shown: Vec<Vec<bool>>,
}

impl Chooser {
    /// Hides what is small by itself, and then in each column the next smallest until the hidden ones are enough together.
    fn hide_small(&mut self) {
        for column in 0..self.shown.len() {
            for value in 0..self.shown[column].len() {
                if self.is_small(&self.by_value[column][value]) {
                    self.shown[column][value] = false;
                }
            }
            self.complement(column);
        }
    }

    /// Hides the next smallest of `column` until those that are hidden are enough together. One alone is as good as shown.
    fn complement(&mut self, column: usize) {
        let mut hidden = self.shown[column].iter().filter(|shown| !**shown).count();
        while hidden > 0 && (hidden == 1 || self.is_small(&self.tables(column, None))) {
            let Some(value) = self.smallest(column, |_| true) else {
                break;
            };
            self.shown[column][value] = false;
            hidden += 1;
        }
    }

    /// The value of `column` that is shown and has the fewest rows, among those that `is_meant`; of equal ones the first.
    fn smallest(&self, column: usize, is_meant: impl Fn(usize) -> bool) -> Option<usize> {
        let shown = (0..self.shown[column].len()).filter(|value| self.shown[column][*value] && is_meant(*value));
        shown.min_by_key(|value| rows(&self.by_value[column][*value]))
    }

    /// Whether one of the labels has too few rows in one of the parts.
    fn is_small(&self, tables: &Tables) -> bool {
        let mut cells = tables.iter().flatten();
        cells.any(|bands| bands.iter().sum::<u64>() < self.least)
    }

    fn class(&self, column: usize, value: usize) -> Class {
        self.shown[column][value].then_some(value)
    }

    /// The classes of `column`.
    fn classes(&self, column: usize) -> Vec<Class> {
        let mut classes: Vec<Class> = (0..self.shown[column].len())
            .map(|value| self.class(column, value))
            .collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }

    fn tables(&self, column: usize, class: Class) -> Tables {
        let own = self.by_value[column].iter().enumerate();
        let own = own.filter(|(value, _)| self.class(column, *value) == class);
        sum(own.map(|(_, tables)| tables), self.parts())
    }

    fn parts(&self) -> usize {
        self.combinations.first().map_or(0, |of| of.counts.len())
    }

    /// Classes of different columns may lie within one another (a clinic in its region). Where what they leave of one is small,
    /// the smallest of those that were subtracted is hidden; where none of them is shown by itself, what they lie in, or else
    /// the next smallest of either column.
    fn hide_remainders(&mut self) {
        while let Some(found) = self.remainders().into_iter().find(|found| self.is_small(&found.tables)) {
            let (column, class) = found.of;
            let subtracted = self.smallest(found.other, |value| found.within.contains(&value));
            let choices = [
                subtracted.map(|value| (found.other, value)),
                class.map(|value| (column, value)),
                self.smallest(column, |_| true).map(|value| (column, value)),
                self.smallest(found.other, |_| true).map(|value| (found.other, value)),
            ];
            let Some((column, value)) = choices.into_iter().flatten().next() else {
                // Both columns have one class, everybody, and nothing is left of it.
                break;
            };
            self.shown[column][value] = false;
            self.complement(column);
        }
    }

    /// What classes of one column leave of a class of another in which they lie.
    fn remainders(&self) -> Vec<Remainder> {
        let columns = self.shown.len();
        let pairs = (0..columns).flat_map(|a| (0..columns).map(move |b| (a, b)));
        let pairs = pairs.filter(|(a, b)| a != b);
        pairs.flat_map(|(a, b)| self.remainders_of(a, b)).collect()
    }

    fn remainders_of(&self, column: usize, other: usize) -> Vec<Remainder> {
        let class_in = |column: usize, of: &Combination| self.class(column, of.values[column]);
        // For each class of the other column, the one class of this that it lies in, if there is just one.
        let lies_in = |inner: Class| {
            let of_inner = || self.combinations.iter().filter(|of| class_in(other, of) == inner);
            let outer = of_inner().next().map(|of| class_in(column, of))?;
            of_inner().all(|of| class_in(column, of) == outer).then_some(outer)
        };
        let inner: Vec<(Class, Class)> = self
            .classes(other)
            .into_iter()
            .filter_map(|inner| lies_in(inner).map(|outer| (inner, outer)))
            .collect();
        let remainder = |outer: Class| {
            let within: Vec<Class> = inner.iter().filter(|(_, of)| *of == outer).map(|(i, _)| *i).collect();
            let left = self
                .combinations
                .iter()
                .filter(|of| class_in(column, of) == outer && !within.contains(&class_in(other, of)));
            let tables = sum(left.map(|of| &of.counts), self.parts());
            (!within.is_empty() && rows(&tables) > 0).then(|| Remainder {
                of: (column, outer),
                other,
                within: within.into_iter().flatten().collect(),
                tables,
            })
        };
        self.classes(column).into_iter().filter_map(remainder).collect()
    }

    /// Everything that a threshold splits: the classes of each column, and what they leave of one another.
    fn cells(&self) -> Vec<Tables> {
        let classes = (0..self.shown.len()).flat_map(|column| {
            let classes = self.classes(column).into_iter();
            classes.map(move |class| self.tables(column, class))
        });
        let remainders = self.remainders().into_iter().map(|remainder| remainder.tables);
        classes.chain(remainders).collect()
    }
}

/// What is left of a class.
struct Remainder {
    of: (usize, Class),
    /// The column whose classes were subtracted.
    other: usize,
    /// Its values that are shown and were subtracted.
    within: Vec<usize>,
    tables: Tables,
}

fn by_value(combinations: &[Combination], column: usize, values: usize, parts: usize) -> Vec<Tables> {
    let mut tables = vec![vec![[[0; BANDS]; 2]; parts]; values];
    for combination in combinations {
        add(&mut tables[combination.values[column]], &combination.counts);
    }
    tables
}

fn sum<'a>(all: impl Iterator<Item = &'a Tables>, parts: usize) -> Tables {
    let mut total = vec![[[0; BANDS]; 2]; parts];
    for tables in all {
        add(&mut total, tables);
    }
    total
}

fn add(total: &mut Tables, more: &Tables) {
    let total = total.iter_mut().flatten().flatten();
    for (count, more) in total.zip(more.iter().flatten().flatten()) {
        *count += more;
    }
}

fn rows(tables: &Tables) -> u64 {
    tables.iter().flatten().flatten().sum()
}

#[cfg(test)]
mod tests;
