//! The columns of the features file: values as the preparation makes them, column by column.
//!
//! Number for number this is what [`Preparation::row`] gives.

use std::ops::Range;

use super::event::Group;
use super::rows::{CellOf, SortedTable};
use crate::preparation::{Preparation, multiply};

/// A table, and what becomes of its values.
pub(crate) struct Prepared<'a> {
    table: &'a SortedTable,
    preparation: &'a Preparation,
    /// For each category of the table.
    categories: Vec<LevelColumns>,
    groups: Vec<(Group, LevelColumns)>,
    /// Columns that may hold more than a double can.
    may_overflow: Vec<usize>,
}

/// For each chunk, and each level by its number there, the level's column, if it has one.
type LevelColumns = Vec<Vec<Option<usize>>>;

/// The column in which a value is too large.
#[derive(Debug)]
pub(crate) struct TooLarge(pub(crate) String);

impl<'a> Prepared<'a> {
    /// `preparation` must have the numbers and the categories of `table`.
    pub(crate) fn new(table: &'a SortedTable, preparation: &'a Preparation) -> Self {
        let (mut categories, mut groups) = (Vec::new(), Vec::new());
        for (category, columns) in preparation.categories().iter().zip(preparation.level_places()) {
            let column = |level: &str| {
                let place = category.levels.binary_search_by(|known| known.as_str().cmp(level));
                place.ok().map(|place| columns[place])
            };
            let levels = table.levels(&category.of);
            let columns = levels
                .map(|levels| levels.into_iter().map(|(level, _)| column(level)).collect())
                .collect();
            match Group::of(&category.of) {
                None => categories.push(columns),
                Some(group) => groups.push((group, columns)),
            }
        }
        let numbers = preparation.numbers().iter().zip(preparation.number_places());
        let scaled = numbers.filter(|(number, _)| number.scaling.is_some());
        let products = preparation.products().iter().map(|product| product.column);
        Self {
            table,
            preparation,
            categories,
            groups,
            may_overflow: scaled.map(|(_, place)| place.column).chain(products).collect(),
        }
    }

    /// What becomes of the values.
    pub(crate) fn preparation(&self) -> &'a Preparation {
        self.preparation
    }

    /// The columns, for the rows in `range`.
    pub(crate) fn columns(&self, range: Range<usize>) -> Result<Vec<Vec<f64>>, TooLarge> {
        let numbers = self.preparation.numbers();
        let places = self.preparation.number_places();
        let mut columns = vec![vec![0.0; range.len()]; self.preparation.columns().len()];
        for (number, place) in numbers.iter().zip(places) {
            columns[place.column].fill(number.prepare(None));
            if let Some(indicator) = place.indicator {
                columns[indicator].fill(1.0);
            }
        }
        self.table.each_cell(range.clone(), |cell| match cell.of {
            CellOf::Number(number) => {
                columns[places[number].column][cell.place] = numbers[number].prepare(Some(cell.number()));
                if let Some(indicator) = places[number].indicator {
                    columns[indicator][cell.place] = 0.0;
                }
            }
            CellOf::Category(category) => {
                if let Some(column) = self.categories[category][cell.chunk][cell.level()] {
                    columns[column][cell.place] = 1.0;
                }
            }
        });
        for (group, levels) in &self.groups {
            for (place, (chunk, level)) in self.table.group_levels(range.clone(), *group).enumerate() {
                if let Some(column) = level.and_then(|level| levels[chunk][level]) {
                    columns[column][place] = 1.0;
                }
            }
        }
        for product in self.preparation.products() {
            let [a, b] = product.factors.map(|factor| &columns[factor]);
            columns[product.column] = a.iter().zip(b).map(|(a, b)| multiply(*a, *b)).collect();
        }
        let is_too_large = |column: &&usize| columns[**column].iter().any(|value| !value.is_finite());
        match self.may_overflow.iter().find(is_too_large) {
            None => Ok(columns),
            Some(column) => Err(TooLarge(self.preparation.columns()[*column].clone())),
        }
    }
}
