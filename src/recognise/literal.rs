//! Bytes that are looked for in lines.

/// What stands in lines as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    bytes: Box<[u8]>,
    /// Its first 16 bytes, as they stand in memory; and which bits they take.
    head: [u64; 2],
    mask: [u64; 2],
    /// No line is as long as a literal that has no length here.
    length: u32,
}

/// As many bytes as are compared at once.
const HEAD: usize = 16;

impl Literal {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let (mut head, mut mask) = ([0; HEAD], [0; HEAD]);
        for ((byte, head), mask) in bytes.iter().zip(&mut head).zip(&mut mask) {
            (*head, *mask) = (*byte, 0xff);
        }
        Self {
            bytes: bytes.into(),
            head: words(&head),
            mask: words(&mask),
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    }

    /// A key in its quotes, and the colon after it; nothing if anything in it would be escaped.
    pub(super) fn of_key(text: &str) -> Option<Self> {
        (!is_escaped(text)).then(|| Self::new(format!("\"{text}\":").as_bytes()))
    }

    /// A text in its quotes; nothing if anything in it would be escaped.
    pub(super) fn of_word(text: &str) -> Option<Self> {
        (!is_escaped(text)).then(|| Self::new(format!("\"{text}\"").as_bytes()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it stands in `line` at `at`, and where it ends.
    #[inline(always)]
    pub(super) fn stands(&self, line: &[u8], at: usize) -> Option<usize> {
        let Some(begins) = line.get(at..at + HEAD).and_then(<[u8]>::first_chunk) else {
            return self.stands_at_the_end(line, at);
        };
        // Two comparisons in place of a call: most are short.
        let [first, second] = words(begins);
        let differs = (first & self.mask[0]) ^ self.head[0] | (second & self.mask[1]) ^ self.head[1];
        if differs != 0 {
            return None;
        }
        if self.length as usize > HEAD {
            return self.stands_at_the_end(line, at);
        }
        Some(at + self.length as usize)
    }

    /// The same, byte for byte.
    #[inline(never)]
    fn stands_at_the_end(&self, line: &[u8], at: usize) -> Option<usize> {
        line.get(at..)?
            .starts_with(&self.bytes)
            .then_some(at + self.length as usize)
    }
}

fn is_escaped(text: &str) -> bool {
    text.contains(|letter| matches!(letter, '"' | '\\' | '\0'..='\u{1f}'))
}

#[inline(always)]
fn words(bytes: &[u8; HEAD]) -> [u64; 2] {
    let mut words = [0; 2];
    let (eights, _) = bytes.as_chunks();
    for (word, eight) in words.iter_mut().zip(eights) {
        *word = u64::from_le_bytes(*eight);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_stands_where_all_of_it_does() {
        for length in 0..40 {
            let text: String = ('a'..='z').cycle().take(length).collect();
            let key = Literal::of_key(&text).expect("nothing is escaped");
            for after in ["", "1", "1234567890123456789"] {
                let line = format!("{{\"{text}\":{after}");
                assert_eq!(key.stands(line.as_bytes(), 1), Some(length + 4), "{line}");
                for at in 1..length + 4 {
                    let mut other = line.clone().into_bytes();
                    other[at] ^= 1;
                    assert_eq!(key.stands(&other, 1), None, "{line} but for {at}");
                }
                let short = &line.as_bytes()[..length + 3];
                assert_eq!(key.stands(short, 1), None, "{line} without its colon");
            }
        }
    }

    #[test]
    fn what_would_be_escaped_is_no_key_and_no_word() {
        for text in ["a\"b", "a\\", "\n"] {
            assert_eq!((Literal::of_key(text), Literal::of_word(text)), (None, None));
        }
    }
}
