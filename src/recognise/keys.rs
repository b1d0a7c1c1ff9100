//! Keys of members that no schema names, such as those of features: each gets a number, and none may stand twice.

use std::collections::HashMap;

use super::literal::Literal;

/// The most keys that are known at a time; with more, lines are left to the complete reader.
const MAX_KEYS: usize = 8192;

/// The longest key, in bytes.
const MAX_KEY: usize = 1024;

/// The keys that objects at one depth have had.
///
/// Lines resemble each other: which key comes after which is remembered, so that most are found by one comparison.
#[derive(Debug)]
pub(super) struct Keys {
    known: Vec<Known>,
    by_name: HashMap<Box<str>, u32>,
    /// What came first, for each kind of object.
    firsts: Vec<u32>,
    /// Which kind this object is of.
    kind: usize,
    object: u64,
    /// The key before; none before the first.
    previous: u32,
}

#[derive(Debug)]
struct Known {
    text: Box<str>,
    spelled: Literal,
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
            firsts: Vec::new(),
            kind: 0,
            object: 0,
            previous: NONE,
        }
    }
}

impl Keys {
    /// Another object begins, of this kind. The one before has ended.
    #[inline]
    pub(super) fn begin(&mut self, kind: usize) {
        self.object += 1;
        self.previous = NONE;
        self.kind = kind;
    }

    /// The next key of the object, whose opening quote must be at `at`: its number, and where the colon after it ends. `line` is UTF-8.
    ///
    /// Nothing if it stands in the object for the second time, is escaped, or cannot be remembered.
    pub(super) fn next(&mut self, line: &[u8], at: usize) -> Option<(u32, usize)> {
        let (number, end) = match self.expected(line, at) {
            Some(found) => found,
            None => self.find(line, at)?,
        };
        self.previous = number;
        let known = self.known.get_mut(number as usize)?;
        (std::mem::replace(&mut known.last_had, self.object) != self.object).then_some((number, end))
    }

    /// The same of a key that is expected, or follows one that is and does not stand there.
    pub(super) fn expected(&self, line: &[u8], at: usize) -> Option<(u32, usize)> {
        let expected = match self.known.get(self.previous as usize) {
            Some(previous) => previous.after,
            None => *self.firsts.get(self.kind)?,
        };
        let known = self.known.get(expected as usize)?;
        if let Some(end) = known.spelled.stands(line, at) {
            return Some((expected, end));
        }
        let next = self.known.get(known.after as usize)?;
        Some((known.after, next.spelled.stands(line, at)?))
    }

    fn find(&mut self, line: &[u8], at: usize) -> Option<(u32, usize)> {
        let (name, end) = unescaped_key(line, at)?;
        let name = std::str::from_utf8(name).ok()?;
        let number = match self.by_name.get(name) {
            Some(number) => *number,
            None if self.known.len() == MAX_KEYS || name.len() > MAX_KEY => return None,
            None => {
                let number = u32::try_from(self.known.len()).ok()?;
                self.known.push(Known {
                    text: name.into(),
                    spelled: Literal::of_key(name)?,
                    last_had: 0,
                    after: NONE,
                });
                self.by_name.insert(name.into(), number);
                number
            }
        };
        match self.known.get_mut(self.previous as usize) {
            Some(previous) => previous.after = number,
            None => {
                if self.firsts.len() <= self.kind {
                    self.firsts.resize(self.kind + 1, NONE);
                }
                self.firsts[self.kind] = number;
            }
        }
        Some((number, end))
    }

    /// The key with this number.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.known[number as usize].text
    }
}

/// What stands between the quotes of the key at `at`, if nothing in it is escaped, and where the colon after it ends.
pub(super) fn unescaped_key(line: &[u8], at: usize) -> Option<(&[u8], usize)> {
    if line.get(at) != Some(&b'"') {
        return None;
    }
    let text = super::scan::text(line, at + 1).filter(|text| !text.is_escaped)?;
    let colon = super::scan::skip_space(line, text.end + 1);
    (line.get(colon) == Some(&b':')).then_some((&line[text.start..text.end], colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(keys: &mut Keys, object: &[&str]) -> Vec<Option<u32>> {
        keys.begin(object.len() % 2);
        let next = |name: &&str| {
            let line = format!("\"{name}\":1");
            keys.next(line.as_bytes(), 0).map(|(number, end)| {
                assert_eq!(end, name.len() + 3);
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
