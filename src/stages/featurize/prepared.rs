//! The columns of the features file: values as the preparation makes them, column by column.
//!
//! Number for number this is what [`Preparation::row`] gives.

use super::event::Group;

use super::rows::blocks::Block;
use super::rows::sorted::{CellOf, SortedTable};
use crate::preparation::{Preparation, multiply};

/// What becomes of the values of a table.
pub(crate) struct Prepared<'a> {
    preparation: &'a Preparation,
    /// For each category of the table, and each of its levels by its number there, the level's column, if it has one.
    categories: Vec<Vec<Option<usize>>>,
    groups: Vec<GroupColumns<'a>>,
    /// Columns that may hold more than a double can.
    may_overflow: Vec<usize>,
}

/// A group whose texts are levels, and the levels' columns.
struct GroupColumns<'a> {
    group: Group,
    levels: &'a [String],
    columns: &'a [usize],
}

/// The column in which a value is too large.
#[derive(Debug)]
pub(crate) struct TooLarge(pub(crate) String);

impl<'a> Prepared<'a> {
    /// `preparation` must have the numbers and the categories of `table`.
    pub(crate) fn new(table: &SortedTable, preparation: &'a Preparation) -> Self {
        let (mut categories, mut groups) = (Vec::new(), Vec::new());
        for (category, columns) in preparation.categories().iter().zip(preparation.level_places()) {
            match Group::of(&category.of) {
                None => {
                    let levels = table.numbered_levels(&category.of).into_iter();
                    categories.push(
                        levels
                            .map(|level| column_of(level, &category.levels, columns))
                            .collect(),
                    );
                }
                Some(group) => groups.push(GroupColumns {
                    group,
                    levels: &category.levels,
                    columns,
                }),
            }
        }
        let numbers = preparation.numbers().iter().zip(preparation.number_places());
        let scaled = numbers.filter(|(number, _)| number.scaling.is_some());
        let products = preparation.products().iter().map(|product| product.column);
        Self {
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

    /// The columns, for the rows of `block`.
    pub(crate) fn columns(&self, block: &Block<'_>) -> Result<Vec<Vec<f64>>, TooLarge> {
        let numbers = self.preparation.numbers();
        let places = self.preparation.number_places();
        let mut columns = vec![vec![0.0; block.len()]; self.preparation.columns().len()];
        for (number, place) in numbers.iter().zip(places) {
            columns[place.column].fill(number.prepare(None));
            if let Some(indicator) = place.indicator {
                columns[indicator].fill(1.0);
            }
        }
        block.each_run(|run| match run.of {
            CellOf::Number(number) => {
                let cells = columns[places[number].column][run.places()].iter_mut();
                let prepare = |(cell, value): (&mut f64, f64)| *cell = numbers[number].prepare(Some(value));
                cells.zip(run.numbers()).for_each(prepare);
                if let Some(indicator) = places[number].indicator {
                    columns[indicator][run.places()].fill(0.0);
                }
            }
            CellOf::Category(category) => {
                for (place, level) in run.places().zip(run.levels()) {
                    if let Some(Some(column)) = self.categories[category].get(level) {
                        columns[*column][place] = 1.0;
                    }
                }
            }
            CellOf::Weight => {}
        });
        for of in &self.groups {
            for (place, row) in block.rows().enumerate() {
                let level = row.groups[of.group as usize];
                if let Some(column) = level.and_then(|level| column_of(level, of.levels, of.columns)) {
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

/// The column of `level`, if it is one of `levels`.
fn column_of(level: &str, levels: &[String], columns: &[usize]) -> Option<usize> {
    let place = levels.binary_search_by(|known| known.as_str().cmp(level));
    place.ok().map(|place| columns[place])
}
