//! A row as it is kept, among those whose ids hash alike.
//!
//! ```text
//! file (u32) │ line (u64) │ shape (u32) │ five lengths (u16) │ id │ label │ groups │ keys, if spelled (u16 each) │ values (f64 each)
//! ```

use std::collections::HashMap;

use super::Row;
use crate::stages::ingest::lines::Place;

/// The length of a text that is not there.
const ABSENT: u16 = u16::MAX;
/// The shape of a row that spells its keys.
const SPELLED: u32 = u32::MAX;

/// Which features a row has, in which order: the numbers of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// One of [`Shapes`].
    Known(u32),
    /// One for which there was no room there.
    Spelled(&'a [u16]),
}

/// What is kept of a row.
#[derive(Clone, Copy)]
pub(super) struct NewRecord<'a> {
    /// Where it stands.
    pub(super) place: Place,
    /// What it has beside its features.
    pub(super) row: Row<'a>,
    pub(super) shape: Shape<'a>,
    /// In the order of the shape.
    pub(super) values: &'a [f64],
}

impl NewRecord<'_> {
    /// Adds it to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let (shape, keys) = match self.shape {
            Shape::Known(number) => (number, &[][..]),
            Shape::Spelled(keys) => (SPELLED, keys),
        };
        let texts = [
            Some(self.row.id),
            self.row.label,
            self.row.groups[0],
            self.row.groups[1],
        ];
        bytes.extend_from_slice(&self.place.file.to_le_bytes());
        bytes.extend_from_slice(&self.place.line.to_le_bytes());
        bytes.extend_from_slice(&shape.to_le_bytes());
        for text in texts {
            bytes.extend_from_slice(&text.map_or(ABSENT, |text| length(text.len())).to_le_bytes());
        }
        bytes.extend_from_slice(&length(keys.len()).to_le_bytes());
        for text in texts.into_iter().flatten() {
            bytes.extend_from_slice(text.as_bytes());
        }
        for key in keys {
            bytes.extend_from_slice(&key.to_le_bytes());
        }
        let start = bytes.len();
        bytes.resize(start + self.values.len() * 8, 0);
        let (places, _) = bytes[start..].as_chunks_mut();
        for (place, value) in places.iter_mut().zip(self.values) {
            *place = value.to_le_bytes();
        }
    }
}

fn length(length: usize) -> u16 {
    u16::try_from(length).expect("texts are of 1,024 bytes and keys 4,096 at most")
}

/// A row that was kept.
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) place: Place,
    shape: u32,
    id: &'a [u8],
    label: Option<&'a [u8]>,
    groups: [Option<&'a [u8]>; 2],
    keys: &'a [u8],
    values: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads what [`NewRecord::write`] wrote.
    pub(super) fn read(mut bytes: &'a [u8]) -> Self {
        let rest = &mut bytes;
        let file = u32::from_le_bytes(number(rest));
        let line = u64::from_le_bytes(number(rest));
        let shape = u32::from_le_bytes(number(rest));
        let mut lengths = [0_u16; 5];
        for length in &mut lengths {
            *length = u16::from_le_bytes(number(rest));
        }
        let [id, label, first, second, keys] = lengths;
        let mut text = |length| (length != ABSENT).then(|| take(rest, usize::from(length)));
        Self {
            place: Place { file, line },
            shape,
            id: text(id).unwrap_or_default(),
            label: text(label),
            groups: [text(first), text(second)],
            keys: take(rest, 2 * usize::from(keys)),
            values: bytes,
        }
    }

    pub(super) fn id(&self) -> &'a [u8] {
        self.id
    }

    /// What it has beside its features.
    pub(super) fn row(&self) -> Row<'a> {
        let text = |bytes| std::str::from_utf8(bytes).expect("a text is read as it was written");
        Row {
            id: text(self.id),
            label: self.label.map(text),
            groups: self.groups.map(|group| group.map(text)),
        }
    }

    /// Its shape, if that is one of [`Shapes`].
    pub(super) fn known_shape(&self) -> Option<usize> {
        (self.shape != SPELLED).then_some(self.shape as usize)
    }

    /// The numbers of its keys, if it spells them.
    pub(super) fn keys(&self) -> impl Iterator<Item = u16> {
        let (keys, _) = self.keys.as_chunks();
        keys.iter().map(|key| u16::from_le_bytes(*key))
    }

    /// Its values, in the order of its keys.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        let (values, _) = self.values.as_chunks();
        values.iter().map(|value| f64::from_le_bytes(*value))
    }
}

fn number<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (number, after) = rest.split_first_chunk().expect("a row is read as it was written");
    *rest = after;
    *number
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

/// The shapes of most rows, each kept once.
pub(super) struct Shapes {
    all: Vec<Box<[u16]>>,
    by_keys: HashMap<Box<[u16]>, u32>,
    /// How many keys and shapes more there is room for.
    left: usize,
}

impl Shapes {
    /// What a shape takes beside its keys, counted in keys.
    const EACH: usize = 32;

    /// None yet. A small part of `held` bytes is for them; a row that has one for which there is no room spells it.
    pub(super) fn new(held: usize) -> Self {
        Self {
            all: Vec::new(),
            by_keys: HashMap::new(),
            left: held / 64,
        }
    }

    /// The shape of these keys.
    pub(super) fn of<'a>(&mut self, keys: &'a [u16]) -> Shape<'a> {
        if let Some(known) = self.by_keys.get(keys) {
            return Shape::Known(*known);
        }
        let number = u32::try_from(self.all.len()).unwrap_or(SPELLED);
        let Some(left) = self
            .left
            .checked_sub(keys.len() + Self::EACH)
            .filter(|_| number != SPELLED)
        else {
            return Shape::Spelled(keys);
        };
        self.left = left;
        self.all.push(keys.into());
        self.by_keys.insert(keys.into(), number);
        Shape::Known(number)
    }

    /// All of them, in the order of their numbers.
    pub(super) fn all(&self) -> impl Iterator<Item = &[u16]> {
        self.all.iter().map(|keys| &**keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_as_it_was_written() {
        let text = "ü".repeat(512);
        for (label, groups) in [
            (None, [None, Some("north")]),
            (Some(""), [Some("self"), None]),
            (Some(text.as_str()), [None, None]),
        ] {
            for shape in [Shape::Known(7), Shape::Spelled(&[3, 4000]), Shape::Spelled(&[])] {
                let new = NewRecord {
                    place: Place { file: 3, line: 1 << 40 },
                    row: Row {
                        id: "evt-1",
                        label,
                        groups,
                    },
                    shape,
                    values: &[1.5, -2.0, f64::from_bits(9)],
                };
                let mut bytes = b"before".to_vec();
                new.write(&mut bytes);
                let read = Record::read(&bytes[6..]);
                assert_eq!((read.place, read.row(), read.id()), (new.place, new.row, &b"evt-1"[..]));
                assert_eq!(read.values().collect::<Vec<_>>(), new.values);
                let keys: Vec<u16> = read.keys().collect();
                match shape {
                    Shape::Known(number) => assert_eq!((read.known_shape(), keys), (Some(number as usize), vec![])),
                    Shape::Spelled(spelled) => assert_eq!((read.known_shape(), &*keys), (None, spelled)),
                }
            }
        }
    }

    #[test]
    fn a_shape_is_kept_once_and_only_as_long_as_there_is_room() {
        let mut shapes = Shapes::new(64 << 20);
        assert_eq!(shapes.of(&[1, 2]), Shape::Known(0));
        assert_eq!(shapes.of(&[2, 1]), Shape::Known(1));
        assert_eq!(shapes.of(&[1, 2]), Shape::Known(0));
        let mut known = 2;
        for (a, b) in (0..400).flat_map(|a| (0..400).map(move |b| (a, b))) {
            known += u32::from(shapes.of(&[a, b, 5000]) == Shape::Known(known));
        }
        assert!(known > 10_000 && known < 160_000, "{known}");
        assert_eq!(shapes.of(&[399, 399, 5000]), Shape::Spelled(&[399, 399, 5000]));
        assert_eq!(shapes.of(&[1, 2]), Shape::Known(0));
    }
}
