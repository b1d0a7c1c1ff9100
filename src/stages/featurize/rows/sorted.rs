//! All rows in canonical order, and what is known of all of them.

use std::collections::BTreeMap;

use rayon::ThreadPool;

use super::levels::AllLevels;
use super::order::{OrderError, put_in_order};
use super::{KeyCounts, Rows};
use crate::preparation::Input;
use crate::stages::partitions::Part;

/// Rows in canonical order, and which keys are numbers and which categories.
pub(crate) struct SortedTable {
    pub(super) parts: Vec<Part>,
    pub(super) len: u64,
    pub(super) size: u64,
    /// So many bytes of rows may be held at once.
    pub(super) room: usize,
    keys: Vec<KeyCounts>,
    /// Indices of keys, in the order of the keys' bytes.
    numbers: Vec<usize>,
    /// The same.
    categories: Vec<usize>,
    /// For each key what it is.
    pub(super) cell_of: Vec<CellOf>,
    /// For each known shape, what each cell is of.
    pub(super) cells: Vec<Vec<CellOf>>,
    levels: BTreeMap<Input, AllLevels>,
    labels: BTreeMap<Box<str>, u64>,
}

/// Which number, or which category, a cell is of: its place among all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellOf {
    /// Among [`SortedTable::numbers`].
    Number(usize),
    /// Among [`SortedTable::categories`].
    Category(usize),
    /// What the row weighs.
    Weight,
}

impl SortedTable {
    /// Puts rows in order, and looks for ids that stand twice, of which at most `most` are told.
    pub(super) fn new(rows: Rows<'_>, most: usize, pool: &ThreadPool) -> Result<Self, OrderError> {
        let Rows {
            room,
            parted,
            keys,
            shapes,
            levels,
            labels,
            params,
            ..
        } = rows;
        let parts = put_in_order(parted, room.held, most, pool)?;
        let mut sorted: Vec<usize> = (0..keys.len()).collect();
        sorted.sort_by(|a, b| keys[*a].key.as_bytes().cmp(keys[*b].key.as_bytes()));
        let is_category = |index: &usize| keys[*index].is_category;
        let weight = params.weights.as_ref();
        let weight = weight.and_then(|weight| keys.iter().position(|known| *known.key == **weight));
        let is_number = |index: &usize| {
            let known = &keys[*index];
            known.numbers > 0 && !known.excluded && !is_category(index) && Some(*index) != weight
        };
        let numbers: Vec<usize> = sorted.iter().copied().filter(is_number).collect();
        let categories: Vec<usize> = sorted.into_iter().filter(is_category).collect();
        let mut cell_of = vec![CellOf::Number(usize::MAX); keys.len()];
        for (number, index) in numbers.iter().enumerate() {
            cell_of[*index] = CellOf::Number(number);
        }
        for (category, index) in categories.iter().enumerate() {
            cell_of[*index] = CellOf::Category(category);
        }
        if let Some(index) = weight {
            cell_of[index] = CellOf::Weight;
        }
        let cells = |shape: &[u16]| shape.iter().map(|key| cell_of[usize::from(*key)]).collect();
        Ok(Self {
            len: parts.iter().map(Part::count).sum(),
            size: parts.iter().map(Part::size).sum(),
            parts,
            room: room.held,
            keys,
            numbers,
            categories,
            cells: shapes.all().map(cells).collect(),
            cell_of,
            levels,
            labels,
        })
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Every key, in no particular order.
    pub(crate) fn keys(&self) -> &[KeyCounts] {
        &self.keys
    }

    /// The keys that are numbers, in the order of their bytes.
    pub(crate) fn numbers(&self) -> impl ExactSizeIterator<Item = &KeyCounts> {
        self.numbers.iter().map(|index| &self.keys[*index])
    }

    /// The keys that are categories, in the order of their bytes.
    pub(crate) fn categories(&self) -> impl ExactSizeIterator<Item = &KeyCounts> {
        self.categories.iter().map(|index| &self.keys[*index])
    }

    /// Labels, each with how many rows have it.
    pub(crate) fn labels(&self) -> BTreeMap<&str, u64> {
        self.labels.iter().map(|(label, rows)| (&**label, *rows)).collect()
    }

    /// The levels of an input that is a category, each with how many rows have it. Of too many, not all are there.
    pub(crate) fn counted_levels(&self, of: &Input) -> BTreeMap<&str, u64> {
        self.levels
            .get(of)
            .into_iter()
            .flat_map(|levels| levels.counted())
            .collect()
    }

    /// The same levels in the order of the numbers that cells have.
    pub(crate) fn numbered_levels(&self, of: &Input) -> Vec<&str> {
        self.levels.get(of).map_or_else(Vec::new, |levels| levels.numbered())
    }

    /// How many bytes may be held at once of what grows with the number of rows.
    pub(crate) fn room(&self) -> usize {
        self.room
    }
}
