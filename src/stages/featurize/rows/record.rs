//! A row as it is kept, among those whose ids hash alike.
//!
//! ```text
//! line (u32) │ shape (u32) │ five lengths (u16) │ id │ label │ groups │ keys, if spelled (u16 each) │ values (f64 each)
//! ```

use std::collections::HashMap;

use super::Row;

/// The length of a text that is not there.
const ABSENT: u16 = u16::MAX;
/// The shape of a row that spells its keys.
pub(super) const SPELLED: u32 = u32::MAX;

/// What is kept of a row.
#[derive(Clone, Copy)]
pub(super) struct NewRecord<'a> {
    /// Its line, counted from the first of its chunk, from 0.
    pub(super) line: u32,
    /// What it has beside its features.
    pub(super) row: Row<'a>,
    /// Which features it has, in which order: a number, or [`SPELLED`].
    pub(super) shape: u32,
    /// The numbers of their keys, if they are spelled.
    pub(super) keys: &'a [u16],
    /// In the order of the shape.
    pub(super) values: &'a [f64],
}

impl NewRecord<'_> {
    /// Adds it to `bytes`.
    pub(super) fn write(&self, bytes: &mut Vec<u8>) {
        let texts = [
            Some(self.row.id),
            self.row.label,
            self.row.groups[0],
            self.row.groups[1],
        ];
        let mut head = [0; HEAD];
        let (places, _) = head.as_chunks_mut::<2>();
        let lengths = texts.map(|text| text.map_or(ABSENT, |text| length(text.len())));
        let lengths = lengths.into_iter().chain([length(self.keys.len())]);
        for (place, length) in places[4..].iter_mut().zip(lengths) {
            *place = length.to_le_bytes();
        }
        head[..4].copy_from_slice(&self.line.to_le_bytes());
        head[4..8].copy_from_slice(&self.shape.to_le_bytes());
        bytes.extend_from_slice(&head);
        for text in texts.into_iter().flatten() {
            bytes.extend_from_slice(text.as_bytes());
        }
        for key in self.keys {
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

/// The bytes of line, shape and lengths.
const HEAD: usize = 4 + 4 + 5 * 2;

fn length(length: usize) -> u16 {
    u16::try_from(length).expect("texts are of 1,024 bytes and keys 4,096 at most")
}

/// A row that was kept.
#[derive(Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(super) line: u32,
    /// A number, or [`SPELLED`].
    pub(super) shape: u32,
    /// Of [`Row::id`] the bytes.
    pub(crate) id: &'a [u8],
    /// Of [`Row::label`].
    pub(crate) label: Option<&'a [u8]>,
    /// Of [`Row::groups`].
    pub(crate) groups: [Option<&'a [u8]>; 2],
    keys: &'a [u8],
    values: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads what [`NewRecord::write`] wrote.
    pub(super) fn read(mut bytes: &'a [u8]) -> Self {
        let rest = &mut bytes;
        let line = u32::from_le_bytes(number(rest));
        let shape = u32::from_le_bytes(number(rest));
        let mut lengths = [0_u16; 5];
        for length in &mut lengths {
            *length = u16::from_le_bytes(number(rest));
        }
        let [id, label, first, second, keys] = lengths;
        let mut text = |length| (length != ABSENT).then(|| take(rest, usize::from(length)));
        Self {
            line,
            shape,
            id: text(id).unwrap_or_default(),
            label: text(label),
            groups: [text(first), text(second)],
            keys: take(rest, 2 * usize::from(keys)),
            values: bytes,
        }
    }

    /// The shape of the row that `bytes` hold.
    pub(super) fn shape_of(bytes: &[u8]) -> u32 {
        let shape = bytes.get(4..).and_then(|rest| rest.first_chunk());
        u32::from_le_bytes(*shape.expect("a row is read as it was written"))
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

    /// The numbers of its keys, if it spells them.
    pub(super) fn keys(&self) -> impl Iterator<Item = u16> {
        let (keys, _) = self.keys.as_chunks();
        keys.iter().map(|key| u16::from_le_bytes(*key))
    }

    /// Its values, in the order of its keys: the bytes of a double each.
    pub(super) fn values(&self) -> &'a [[u8; 8]] {
        self.values.as_chunks().0
    }

    /// The same, as doubles.
    pub(super) fn doubles(&self) -> impl Iterator<Item = f64> {
        self.values().iter().map(|value| f64::from_le_bytes(*value))
    }
}

/// Adds `row`, as it was written, with another shape to `bytes`; and with `keys`, if that is to be spelled.
pub(super) fn write_with_shape(row: &[u8], shape: u32, keys: &[u16], bytes: &mut Vec<u8>) {
    let (line, rest) = row.split_at(4);
    if keys.is_empty() {
        bytes.extend_from_slice(line);
        bytes.extend_from_slice(&shape.to_le_bytes());
        bytes.extend_from_slice(&rest[4..]);
        return;
    }
    let record = Record::read(row);
    let values: Vec<f64> = record.doubles().collect();
    let new = NewRecord {
        line: record.line,
        row: record.row(),
        shape,
        keys,
        values: &values,
    };
    new.write(bytes);
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

    /// The shape of these keys; nothing if there is no room for it.
    pub(super) fn of(&mut self, keys: &[u16]) -> Option<u32> {
        if let Some(known) = self.by_keys.get(keys) {
            return Some(*known);
        }
        let number = u32::try_from(self.all.len()).ok().filter(|number| *number != SPELLED)?;
        self.left = self.left.checked_sub(keys.len() + Self::EACH)?;
        self.all.push(keys.into());
        self.by_keys.insert(keys.into(), number);
        Some(number)
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
            for (shape, keys) in [(7, &[][..]), (SPELLED, &[3, 4000]), (SPELLED, &[])] {
                let new = NewRecord {
                    line: 1 << 30,
                    row: Row {
                        id: "evt-1",
                        label,
                        groups,
                    },
                    shape,
                    keys,
                    values: &[1.5, -2.0, f64::from_bits(9)],
                };
                let mut bytes = b"before".to_vec();
                new.write(&mut bytes);
                let read = Record::read(&bytes[6..]);
                assert_eq!((read.line, read.row(), read.id), (new.line, new.row, &b"evt-1"[..]));
                assert_eq!(read.doubles().collect::<Vec<_>>(), new.values);
                assert_eq!((read.shape, read.keys().collect::<Vec<_>>()), (shape, keys.to_vec()));
            }
        }
    }

    #[test]
    fn a_shape_is_kept_once_and_only_as_long_as_there_is_room() {
        let mut shapes = Shapes::new(64 << 20);
        assert_eq!(shapes.of(&[1, 2]), Some(0));
        assert_eq!(shapes.of(&[2, 1]), Some(1));
        assert_eq!(shapes.of(&[1, 2]), Some(0));
        let mut known = 2;
        for (a, b) in (0..400).flat_map(|a| (0..400).map(move |b| (a, b))) {
            known += u32::from(shapes.of(&[a, b, 5000]) == Some(known));
        }
        assert!(known > 10_000 && known < 160_000, "{known}");
        assert_eq!(shapes.of(&[399, 399, 5000]), None);
        assert_eq!(shapes.of(&[1, 2]), Some(0));
    }
}
