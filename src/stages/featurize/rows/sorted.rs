//! All rows in canonical order, and what is known of all of them.

use std::collections::BTreeMap;

use rayon::ThreadPool;

use super::levels::AllLevels;
use super::order::{ChunkLine, Ordered, Unordered, put_in_order};
use super::{KeyCounts, Rows, place};
use crate::preparation::Input;
use crate::stages::StageError;
use crate::stages::ingest::lines::Place;
use crate::stages::partitions::Part;

/// Rows in canonical order, and which keys are numbers and which categories.
pub(crate) struct SortedTable {
    pub(super) rows: Ordered,
    /// For each chunk that rows came in, the line before its first.
    before: Vec<Place>,
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

/// Why rows cannot be put in order.
#[derive(Debug)]
pub(crate) enum OrderError {
    /// Ids stand twice: the places of the first of them, the earlier place first.
    Duplicates(Vec<[Place; 2]>),
    /// What does not fit into memory cannot be written or read.
    Disk(StageError),
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
    pub(super) fn new(rows: Rows, most: usize, pool: &ThreadPool) -> Result<Self, OrderError> {
        let Rows {
            room,
            gathering,
            before,
            keys,
            shapes,
            levels,
            labels,
            params,
            ..
        } = rows;
        let place_of = |(chunk, line): ChunkLine| place(line, before[chunk as usize]);
        let rows = match put_in_order(gathering.finish(), room.held, most, pool) {
            Ok(rows) => rows,
            Err(Unordered::Disk(error)) => return Err(OrderError::Disk(error)),
            Err(Unordered::Duplicates(pairs)) => {
                return Err(OrderError::Duplicates(
                    pairs.into_iter().map(|pair| pair.map(place_of)).collect(),
                ));
            }
        };
        let (len, size) = match &rows {
            Ordered::Held { chunks, starts } => (
                starts.len() as u64,
                chunks.iter().map(|held| held.rows.size() as u64).sum(),
            ),
            Ordered::Parts(parts) => (parts.iter().map(Part::count).sum(), parts.iter().map(Part::size).sum()),
        };
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
            rows,
            before,
            len,
            size,
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

    /// Where a row stood.
    pub(super) fn place_of(&self, (chunk, line): ChunkLine) -> Place {
        place(line, self.before[chunk as usize])
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
