//! Events gathered into rows, in canonical order, and what was counted on the way.
//!
//! ```text
//! a chunk for each block of lines ─ append ─▶ all rows ─ order ─▶ the table, block by block
//! ```

pub(crate) mod blocks;
pub(crate) mod chunk;
mod gathered;
mod kept;
mod levels;
mod order;
mod record;
pub(crate) mod sorted;
mod texts;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rayon::ThreadPool;

use self::chunk::{Chunk, Rewriting};
use self::gathered::{ChunkShape, Gathering};
use self::levels::AllLevels;
use self::record::Shapes;
use self::sorted::{OrderError, SortedTable};
pub(crate) use self::texts::LevelFault;
use super::params::Params;
use crate::preparation::{Input, Range};
use crate::stages::StageError;
use crate::stages::ingest::lines::Place;
use crate::stages::room::Room;

/// The most feature keys that are taken.
pub(crate) const MAX_FEATURES: usize = 4096;

/// All rows, and what was counted in them.
pub(crate) struct Rows {
    params: Arc<Params>,
    room: Room,
    gathering: Gathering,
    /// For each chunk the line before its first.
    before: Vec<Place>,
    keys: Vec<KeyCounts>,
    by_key: HashMap<Box<str>, usize>,
    shapes: Shapes,
    levels: BTreeMap<Input, AllLevels>,
    labels: BTreeMap<Box<str>, u64>,
}

/// A feature key, and how often what stands there.
#[derive(Default)]
pub(crate) struct KeyCounts {
    pub(crate) key: Box<str>,
    pub(crate) excluded: bool,
    range: Option<Range>,
    /// Values that are taken: numbers in their range, and levels.
    pub(crate) present: u64,
    pub(crate) out_of_range: u64,
    pub(crate) texts: u64,
    pub(crate) nulls: u64,
    pub(crate) numbers: u64,
    pub(crate) is_category: bool,
    /// Why it cannot be a category, though it shall.
    pub(crate) level_fault: Option<LevelFault>,
}

/// What one row has beside its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// `event_id`.
    pub(crate) id: &'a str,
    /// `payload.label`.
    pub(crate) label: Option<&'a str>,
    /// A value for each of `Group::ALL`.
    pub(crate) groups: [Option<&'a str>; 2],
}

/// Why rows cannot be added.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// More keys than can be columns.
    #[error("more than {MAX_FEATURES} different feature keys")]
    TooManyKeys {
        /// Where the first of those stands that are too many.
        place: Place,
    },
    /// What does not fit into memory cannot be written.
    #[error(transparent)]
    Disk(#[from] StageError),
}

impl Rows {
    /// None yet. What does not fit into `room` goes to disk.
    pub(crate) fn new(params: &Arc<Params>, room: &Room) -> Self {
        let groups = params.one_hot_groups.iter().map(|group| group.input());
        Self {
            params: Arc::clone(params),
            room: room.clone(),
            gathering: Gathering::new(room),
            before: Vec::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            shapes: Shapes::new(room.held),
            levels: groups
                .map(|of| (of.clone(), AllLevels::new(of, &params.exclude)))
                .collect(),
            labels: BTreeMap::new(),
        }
    }

    /// Adds the rows of lines that come after all others; the line before the first of them is `before`.
    pub(crate) fn append(&mut self, mut chunk: Chunk, before: Place) -> Result<(), AppendError> {
        chunk.count_numbers();
        let rewriting = self.count(&chunk, before)?;
        let shapes = chunk.shapes().map(|shape| {
            let keys = rewriting.shape(shape);
            let number = self.shapes.of(&keys);
            ChunkShape { number, keys }
        });
        let shapes: Vec<ChunkShape> = shapes.collect();
        let mut rows = std::mem::take(&mut chunk.rows);
        if rewriting.has_levels() {
            rows.rewrite(|shape, place, value| rewriting.value(chunk.key_at(shape, place), value));
        }
        let number =
            u32::try_from(self.before.len()).expect("there are fewer chunks than blocks of lines in all files");
        self.before.push(before);
        Ok(self.gathering.add(number, rows, &shapes)?)
    }

    /// Counts what is in a chunk, and gives the numbers that its keys and levels have among all.
    fn count(&mut self, chunk: &Chunk, before: Place) -> Result<Rewriting, AppendError> {
        let exclude = &self.params.exclude;
        let mut rewriting = Rewriting::default();
        for own in &chunk.keys {
            let index = match self.by_key.get(&own.counts.key) {
                Some(index) => *index,
                None if self.keys.len() == MAX_FEATURES => {
                    let place = place(own.first_line, before);
                    return Err(AppendError::TooManyKeys { place });
                }
                None => {
                    self.by_key.insert(own.counts.key.clone(), self.keys.len());
                    self.keys.push(KeyCounts {
                        key: own.counts.key.clone(),
                        excluded: own.counts.excluded,
                        is_category: own.levels.is_some(),
                        ..KeyCounts::default()
                    });
                    self.keys.len() - 1
                }
            };
            self.keys[index].add(&own.counts);
            let numbers = own.levels.as_ref().map(|levels| {
                let fault = &mut self.keys[index].level_fault;
                *fault = fault.or(levels.fault());
                let of = Input::Feature(own.counts.key.to_string());
                let all = self.levels.entry(of.clone());
                let all = all.or_insert_with(|| AllLevels::new(of, exclude));
                let counted = levels.counted();
                counted.map(|(level, rows)| all.add(level, rows, exclude)).collect()
            });
            rewriting.push(index, numbers);
        }
        for group in &self.params.one_hot_groups {
            let Some(all) = self.levels.get_mut(&group.input()) else {
                continue;
            };
            for (level, rows) in chunk.group_levels(*group) {
                all.add(level, rows, exclude);
            }
        }
        for (label, rows) in chunk.labels() {
            match self.labels.get_mut(label) {
                Some(known) => *known += rows,
                None => drop(self.labels.insert(label.into(), rows)),
            }
        }
        Ok(rewriting)
    }

    /// What is asked of what they are made into.
    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// Puts rows into canonical order (by the BLAKE3 of their ids) and columns into the order of their keys' bytes, on the threads of
    /// `pool`. If ids stand twice, the places of at most `most` of them are given instead.
    pub(crate) fn into_table(self, most: usize, pool: &ThreadPool) -> Result<SortedTable, OrderError> {
        SortedTable::new(self, most, pool)
    }
}

/// Where the line stands that is this many after the first, which comes after `before`.
fn place(line: u32, before: Place) -> Place {
    Place {
        line: before.line + 1 + u64::from(line),
        ..before
    }
}

impl KeyCounts {
    fn add(&mut self, other: &Self) {
        self.present += other.present;
        self.out_of_range += other.out_of_range;
        self.texts += other.texts;
        self.nulls += other.nulls;
        self.numbers += other.numbers;
    }
}
