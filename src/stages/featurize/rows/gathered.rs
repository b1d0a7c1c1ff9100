//! Rows from the first to the last: in memory as long as there is room, in the chunks that they came in, and else on disk, parted.

use super::kept::Kept;
use super::order::Parted;
use super::record::{Record, SPELLED, write_with_shape};
use crate::stages::StageError;
use crate::stages::room::Room;

/// Rows may take so many times the room that is for other things: for what is put down has to be read again, more than once.
const ROOM: usize = 4;

/// All rows.
pub(super) enum Gathered {
    /// In memory, chunk by chunk.
    Held(Vec<Held>),
    /// On disk.
    Parted(Parted),
}

/// Rows that are being gathered.
pub(super) struct Gathering {
    room: Room,
    size: usize,
    rows: Gathered,
}

/// The rows of a chunk.
pub(super) struct Held {
    /// Which of all chunks it is.
    pub(super) chunk: u32,
    pub(super) rows: Kept,
    /// For each of its shapes the number among all; nothing if rows stand as they would apart from their chunk.
    shapes: Option<Vec<u32>>,
}

/// A shape of a chunk, as all chunks have it.
pub(super) struct ChunkShape {
    /// Its number; none if there was no room for it.
    pub(super) number: Option<u32>,
    /// The numbers of its keys.
    pub(super) keys: Vec<u16>,
}

impl Gathering {
    /// None yet. What does not fit into `room` goes to disk.
    pub(super) fn new(room: &Room) -> Self {
        Self {
            room: room.clone(),
            size: 0,
            rows: Gathered::Held(Vec::new()),
        }
    }

    /// Adds the rows of a chunk, whose shapes are these.
    pub(super) fn add(&mut self, chunk: u32, mut rows: Kept, shapes: &[ChunkShape]) -> Result<(), StageError> {
        let numbers: Option<Vec<u32>> = shapes.iter().map(|shape| shape.number).collect();
        if numbers.is_none() {
            rows = rows.apart(shapes);
        }
        let added = Held {
            chunk,
            rows,
            shapes: numbers,
        };
        self.size += added.size();
        if let Gathered::Held(held) = &mut self.rows {
            if self.size <= self.room.held.saturating_mul(ROOM) {
                held.push(added.shrunk());
                return Ok(());
            }
            let mut parted = Parted::new(&self.room);
            for held in std::mem::take(held) {
                held.add_to(&mut parted)?;
            }
            self.rows = Gathered::Parted(parted);
        }
        match &mut self.rows {
            Gathered::Parted(parted) => added.add_to(parted),
            Gathered::Held(_) => Ok(()),
        }
    }

    /// All of them.
    pub(super) fn finish(self) -> Gathered {
        self.rows
    }
}

impl Held {
    /// What it takes.
    fn size(&self) -> usize {
        self.rows.size() + self.shapes.as_ref().map_or(0, |shapes| shapes.len() * size_of::<u32>())
    }

    fn shrunk(mut self) -> Self {
        self.rows.shrink();
        self
    }

    /// The row that begins at `start`, and its shape's number among all.
    pub(super) fn row(&self, start: u32) -> (u32, &[u8]) {
        let row = self.rows.row(start);
        (self.shape_of(row), row)
    }

    fn shape_of(&self, row: &[u8]) -> u32 {
        let own = Record::shape_of(row);
        self.shapes.as_ref().map_or(own, |shapes| shapes[own as usize])
    }

    fn add_to(&self, parted: &mut Parted) -> Result<(), StageError> {
        for (key, row) in self.rows.rows() {
            parted.add(key, |bytes| {
                bytes.extend_from_slice(&self.chunk.to_le_bytes());
                write_with_shape(row, self.shape_of(row), &[], bytes);
            })?;
        }
        Ok(())
    }
}

impl Kept {
    /// The same rows as they stand apart from their chunk, whose shapes are these.
    fn apart(&self, shapes: &[ChunkShape]) -> Self {
        let mut apart = Self::default();
        for (key, row) in self.rows() {
            let shape = &shapes[Record::shape_of(row) as usize];
            apart.add(key, |bytes| match shape.number {
                Some(number) => write_with_shape(row, number, &[], bytes),
                None => write_with_shape(row, SPELLED, &shape.keys, bytes),
            });
        }
        apart
    }
}
