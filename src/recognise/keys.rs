//! Keys of members that no schema names, such as those of features: each gets a number, and none may stand twice.

use std::collections::HashMap;

/// The most keys that are known at a time; with more, lines are left to the complete reader.
const MAX_KEYS: usize = 8192;

/// The longest key, in bytes.
const MAX_KEY: usize = 1024;

/// A key that is looked for in lines.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: Box<str>,
    /// The key and its closing quote as they stand in memory, if both are in eight bytes; and which bits they take.
    head: u64,
    mask: u64,
}

impl Name {
    pub(super) fn new(text: &str) -> Self {
        let mut name = Self {
            text: text.into(),
            head: 0,
            mask: 0,
        };
        if text.len() < 8 {
            for (at, byte) in text.bytes().chain([b'"']).enumerate() {
                name.head |= u64::from(byte) << (8 * at);
                name.mask |= 0xff << (8 * at);
            }
        }
        name
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it, and then a quote, stands at `start`; and where that quote is.
    #[inline]
    pub(super) fn stands(&self, line: &[u8], start: usize) -> Option<usize> {
        let end = start + self.text.len();
        let is_here = match line.get(start..start + 8) {
            // One comparison in place of a call: most keys are short.
            Some(eight) if self.mask != 0 => u64::from_le_bytes(eight.try_into().ok()?) & self.mask == self.head,
            _ => line.get(end) == Some(&b'"') && line[start..end] == *self.text.as_bytes(),
        };
        is_here.then_some(end)
    }
}

/// The keys that objects at one depth have had.
///
/// Lines resemble each other: which key comes after which is remembered, so that most are found by one comparison.
#[derive(Debug)]
pub(super) struct Keys {
    known: Vec<Known>,
    by_name: HashMap<Box<str>, u32>,
    /// What came first.
    first: u32,
    object: u64,
    /// The key before; none before the first.
    previous: u32,
}

#[derive(Debug)]
struct Known {
    name: Name,
    /// The object that had it last.
    last_had: u64,
    /// What came after it.
    after: u32,
}

/// Stands for no key.
const NONE: u32 = u32::MAX;

impl Default for Keys {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            by_name: HashMap::new(),
            first: NONE,
            object: 0,
            previous: NONE,
        }
    }
}

impl Keys {
    /// Another object begins. The one before has ended.
    #[inline]
    pub(super) fn begin(&mut self) {
        self.object += 1;
        self.previous = NONE;
    }

    /// The next key of the object, whose first byte is at `start`: its number and the place of its closing quote. `line` is UTF-8.
    ///
    /// Nothing if it stands in the object for the second time, is escaped, or cannot be remembered.
    #[inline]
    pub(super) fn next(&mut self, line: &[u8], start: usize) -> Option<(u32, usize)> {
        let expected = self
            .known
            .get(self.previous as usize)
            .map_or(self.first, |known| known.after);
        let object = self.object;
        if let Some(known) = self.known.get_mut(expected as usize)
            && let Some(end) = known.name.stands(line, start)
        {
            self.previous = expected;
            return (std::mem::replace(&mut known.last_had, object) != object).then_some((expected, end));
        }
        self.find(line, start)
    }

    #[cold]
    fn find(&mut self, line: &[u8], start: usize) -> Option<(u32, usize)> {
        let (name, end) = unescaped(line, start)?;
        let name = std::str::from_utf8(name).ok()?;
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None if self.known.len() == MAX_KEYS || name.len() > MAX_KEY => return None,
            None => {
                let number = u32::try_from(self.known.len()).ok()?;
                self.known.push(Known {
                    name: Name::new(name),
                    last_had: 0,
                    after: NONE,
                });
                self.by_name.insert(name.into(), number);
                number
            }
        };
        match self.known.get_mut(self.previous as usize) {
            Some(previous) => previous.after = number,
            None => self.first = number,
        }
        self.previous = number;
        let known = &mut self.known[number as usize];
        (std::mem::replace(&mut known.last_had, self.object) != self.object).then_some((number, end))
    }

    /// The key with this number.
    pub(super) fn name(&self, number: u32) -> &str {
        self.known[number as usize].name.as_str()
    }
}

/// The text from `start` up to its closing quote, if nothing in it is escaped, and where that quote is.
pub(super) fn unescaped(line: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let text = super::scan::text(line, start).filter(|text| !text.is_escaped)?;
    Some((&line[start..text.end], text.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(keys: &mut Keys, object: &[&str]) -> Vec<Option<u32>> {
        keys.begin();
        let next = |name: &&str| {
            let line = format!("{name}\":1");
            keys.next(line.as_bytes(), 0).map(|(number, end)| {
                assert_eq!(end, name.len());
                number
            })
        };
        object.iter().map(next).collect()
    }

    #[test]
    fn keys_keep_their_numbers_in_any_order_and_none_is_taken_twice() {
        let mut keys = Keys::default();
        assert_eq!(numbers(&mut keys, &["a", "b", "c"]), [Some(0), Some(1), Some(2)]);
        assert_eq!(numbers(&mut keys, &["a", "b", "c"]), [Some(0), Some(1), Some(2)]);
        assert_eq!(
            numbers(&mut keys, &["c", "a", "ab", "b"]),
            [Some(2), Some(0), Some(3), Some(1)]
        );
        assert_eq!(numbers(&mut keys, &["a", "a"]), [Some(0), None]);
        assert_eq!(numbers(&mut keys, &["b", "c", "b"]), [Some(1), Some(2), None]);
        assert_eq!(
            numbers(&mut keys, &[r"\u0061"]),
            [None],
            "an escape is for the complete reader"
        );
        assert_eq!(keys.name(3), "ab");
    }

    #[test]
    fn with_too_many_keys_no_more_are_learnt() {
        let mut keys = Keys::default();
        let names: Vec<String> = (0..=MAX_KEYS).map(|number| format!("k{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let found = numbers(&mut keys, &names);
        assert_eq!(found.iter().filter(|number| number.is_none()).count(), 1);
        assert_eq!(numbers(&mut keys, &["k7"]), [Some(7)]);
    }
}
