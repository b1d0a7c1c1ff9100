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
    /// The first 16 bytes of the key with its closing quote and the colon after it, as they stand in memory; and which bits they take.
    head: [u64; 2],
    mask: [u64; 2],
}

/// As many bytes as are compared at once.
const HEAD: usize = 16;

impl Name {
    pub(super) fn new(text: &str) -> Self {
        let (mut head, mut mask) = ([0; HEAD], [0; HEAD]);
        for ((byte, head), mask) in text.bytes().chain(*b"\":").zip(&mut head).zip(&mut mask) {
            (*head, *mask) = (byte, 0xff);
        }
        Self {
            text: text.into(),
            head: words(&head),
            mask: words(&mask),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it, a quote and a colon stand at `start`; and where the colon ends.
    #[inline]
    pub(super) fn stands(&self, line: &[u8], start: usize) -> Option<usize> {
        let Some(begins) = line.get(start..).and_then(|rest| rest.first_chunk()) else {
            return self.stands_at_the_end(line, start);
        };
        // Two comparisons in place of a call: most keys are short.
        let [first, second] = words(begins);
        let differs = (first & self.mask[0]) ^ self.head[0] | (second & self.mask[1]) ^ self.head[1];
        match differs == 0 {
            true if self.text.len() + 2 > HEAD => self.stands_at_the_end(line, start),
            true => Some(start + self.text.len() + 2),
            false => None,
        }
    }

    /// The same, byte for byte.
    #[inline(never)]
    fn stands_at_the_end(&self, line: &[u8], start: usize) -> Option<usize> {
        let rest = line.get(start..)?.strip_prefix(self.text.as_bytes())?;
        rest.starts_with(b"\":").then_some(start + self.text.len() + 2)
    }
}

fn words(bytes: &[u8; HEAD]) -> [u64; 2] {
    let mut words = [0; 2];
    let (eights, _) = bytes.as_chunks();
    for (word, eight) in words.iter_mut().zip(eights) {
        *word = u64::from_le_bytes(*eight);
    }
    words
}

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

    /// The next key of the object, whose first byte is at `start`: its number, and where the colon after it ends. `line` is UTF-8.
    ///
    /// Nothing if it stands in the object for the second time, is escaped, or cannot be remembered.
    #[inline]
    pub(super) fn next(&mut self, line: &[u8], start: usize) -> Option<(u32, usize)> {
        let (number, after) = match self.expected(line, start) {
            Some(found) => found,
            None => self.find(line, start)?,
        };
        self.previous = number;
        let known = self.known.get_mut(number as usize)?;
        (std::mem::replace(&mut known.last_had, self.object) != self.object).then_some((number, after))
    }

    /// The same of a key that is expected, or follows one that is and does not stand there.
    #[inline]
    pub(super) fn expected(&self, line: &[u8], start: usize) -> Option<(u32, usize)> {
        let expected = match self.known.get(self.previous as usize) {
            Some(previous) => previous.after,
            None => *self.firsts.get(self.kind)?,
        };
        let known = self.known.get(expected as usize)?;
        if let Some(after) = known.name.stands(line, start) {
            return Some((expected, after));
        }
        let next = self.known.get(known.after as usize)?;
        Some((known.after, next.name.stands(line, start)?))
    }

    #[cold]
    fn find(&mut self, line: &[u8], start: usize) -> Option<(u32, usize)> {
        let (name, after) = unescaped_key(line, start)?;
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
            None => {
                if self.firsts.len() <= self.kind {
                    self.firsts.resize(self.kind + 1, NONE);
                }
                self.firsts[self.kind] = number;
            }
        }
        Some((number, after))
    }

    /// The key with this number.
    pub(super) fn name(&self, number: u32) -> &str {
        self.known[number as usize].name.as_str()
    }
}

/// The key from `start` up to its closing quote, if nothing in it is escaped, and where the colon after it ends.
pub(super) fn unescaped_key(line: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let text = super::scan::text(line, start).filter(|text| !text.is_escaped)?;
    let colon = super::scan::skip_space(line, text.end + 1);
    (line.get(colon) == Some(&b':')).then_some((&line[start..text.end], colon + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(keys: &mut Keys, object: &[&str]) -> Vec<Option<u32>> {
        keys.begin(object.len() % 2);
        let next = |name: &&str| {
            let line = format!("{name}\":1");
            keys.next(line.as_bytes(), 0).map(|(number, end)| {
                assert_eq!(end, name.len() + 2);
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
    fn a_name_stands_where_it_is_whole_with_its_quote_and_its_colon() {
        for length in 0..40 {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let name = Name::new(&text);
            for after in ["", "1", "1234567890123456789"] {
                let line = format!("{{\"{text}\":{after}");
                assert_eq!(name.stands(line.as_bytes(), 2), Some(length + 4), "{line}");
                for at in 2..length + 4 {
                    let mut other = line.clone().into_bytes();
                    other[at] ^= 1;
                    assert_eq!(name.stands(&other, 2), None, "{line} but for {at}");
                }
                let short = &line.as_bytes()[..length + 3];
                assert_eq!(name.stands(short, 2), None, "{line} without its colon");
            }
        }
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
