//! White space and texts of JSON (RFC 8259), read without being copied.

/// A text, as it stands between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    /// Where it begins, after the quote.
    pub(super) start: usize,
    /// Where its closing quote is.
    pub(super) end: usize,
    /// Whether anything in it is escaped.
    pub(super) is_escaped: bool,
    /// How many bytes its escapes have beyond one for each code point that they stand for.
    surplus: usize,
}

pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
pub(super) const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Where the next byte is, from `at`, that is neither space nor tab. (A line has no other white space.)
#[inline(always)]
pub(super) fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The text whose opening quote stands before `start`.
#[inline(always)]
pub(super) fn text(bytes: &[u8], start: usize) -> Option<Text> {
    let end = plain(bytes, start)?;
    if bytes[end] != b'"' {
        return escaped_text(bytes, start, end);
    }
    Some(Text {
        start,
        end,
        is_escaped: false,
        surplus: 0,
    })
}

/// The same, if nothing in it is escaped.
#[inline(always)]
pub(super) fn plain_text(bytes: &[u8], start: usize) -> Option<Text> {
    let end = plain(bytes, start)?;
    (bytes[end] == b'"').then_some(Text::between(start, end))
}

/// The same, when there is something else than a quote at `at`.
#[cold]
fn escaped_text(bytes: &[u8], start: usize, mut at: usize) -> Option<Text> {
    let mut surplus = 0;
    loop {
        match bytes[at] {
            b'"' => {
                return Some(Text {
                    start,
                    end: at,
                    is_escaped: true,
                    surplus,
                });
            }
            b'\\' => {
                let length = escape(bytes, at)?;
                (surplus, at) = (surplus + length - 1, at + length);
            }
            _ => return None,
        }
        at = plain(bytes, at)?;
    }
}

/// Where the first byte is, from `at`, that is a quote, a backslash or a control character.
///
/// Eight bytes at a time: in a word, the lowest byte that a test marks is one that it is meant for, whatever it marks above.
#[inline(always)]
fn plain(bytes: &[u8], mut at: usize) -> Option<usize> {
    let marks = |byte: u8, word: u64| {
        let same = word ^ (ONES * u64::from(byte));
        same.wrapping_sub(ONES) & !same
    };
    while let Some(eight) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(eight.try_into().ok()?);
        let controls = word.wrapping_sub(ONES * 0x20) & !word;
        let special = (marks(b'"', word) | marks(b'\\', word) | controls) & HIGHS;
        if special != 0 {
            return Some(at + special.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    let found = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    Some(at + found)
}

/// How many bytes the escape has that begins at `at`.
fn escape(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match hexadecimal(bytes, at + 2)? {
            0xd800..=0xdbff => {
                let follows = bytes.get(at + 6..at + 8)? == b"\\u";
                let low = hexadecimal(bytes, at + 8)?;
                (follows && matches!(low, 0xdc00..=0xdfff)).then_some(12)
            }
            0xdc00..=0xdfff => None,
            _ => Some(6),
        },
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits
        .iter()
        .try_fold(0, |sum, digit| Some(sum * 16 + char::from(*digit).to_digit(16)?))
}

impl Text {
    /// The text from `start` up to its closing quote at `end`, in which nothing is escaped.
    #[inline]
    pub(super) fn between(start: usize, end: usize) -> Self {
        Self {
            start,
            end,
            is_escaped: false,
            surplus: 0,
        }
    }

    /// Its code points. The bytes must be UTF-8.
    pub(super) fn code_points(self, bytes: &[u8]) -> u64 {
        let own = &bytes[self.start..self.end];
        if own.is_ascii() {
            return (own.len() - self.surplus) as u64;
        }
        let begun = own.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        (begun - self.surplus) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_ends_at_its_quote_wherever_that_is() {
        for length in 0..40 {
            let inside = "x".repeat(length);
            for (after, end) in [
                ("\"", Some(length)),
                ("\" \"", Some(length)),
                ("", None),
                ("\u{1}\"", None),
                ("\n\"", None),
            ] {
                let bytes = format!("{inside}{after}");
                assert_eq!(text(bytes.as_bytes(), 0).map(|text| text.end), end, "{bytes:?}");
            }
        }
    }

    #[test]
    fn code_points_are_counted_and_wrong_escapes_are_not_taken() {
        for (inside, points) in [
            ("", Some(0)),
            ("größe", Some(5)),
            (r"a\n\u00e4\\", Some(4)),
            (r"\ud83d\ude00x", Some(2)),
            ("😀", Some(1)),
            (r"\ud83d", None),
            (r"\ud83dx\ude00", None),
            (r"\ude00", None),
            (r"\u12g4", None),
            (r"\x41", None),
            (r"\u00", None),
        ] {
            let bytes = format!("{inside}\"");
            let found = text(bytes.as_bytes(), 0);
            assert_eq!(found.map(|text| text.code_points(bytes.as_bytes())), points, "{inside}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_taken_where_serde_json_takes_it(inside in r#"([a-zé😀"\\/bfnrtu0-9dDcC89 ]|\\u[dD][89cC][0-9]{2}|\\[nu"]){0,12}"#) {
            let whole = format!("\"{inside}\"");
            let expected: Option<String> = serde_json::from_str(&whole).ok();
            let found = text(whole.as_bytes(), 1).filter(|text| text.end + 1 == whole.len());
            prop_assert_eq!(
                found.map(|text| text.code_points(whole.as_bytes())),
                expected.map(|text| text.chars().count() as u64)
            );
        }
    }
}
