//! The words of JSON (RFC 8259): white space, texts and numbers, read without being copied.

use std::num::NonZeroU64;

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

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    /// The double that is nearest.
    pub(super) value: f64,
    /// Whether it has neither a fraction nor an exponent.
    pub(super) is_plain: bool,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Below this, whole numbers are doubles.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// Powers of ten that are doubles.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

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

/// The number that begins at `at`, and where it ends. One that is no double (`1e400`) is none.
#[inline(always)]
pub(super) fn number(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
    match short_number(bytes, at) {
        Some((short, end)) => Some((short.number(), end)),
        None => any_number(bytes, at),
    }
}

/// A number of up to seven characters after its sign, without an exponent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    is_negative: bool,
    /// The values of its digits, the last in the highest byte.
    digits: u64,
    /// How many of them stand after the point; none without one.
    places: usize,
    is_plain: bool,
}

impl Short {
    #[inline(always)]
    pub(super) fn number(self) -> Number {
        // Both are doubles, so that the one rounding is the right one (Clinger, 1990).
        let size = eight_digits(self.digits) as f64 / TENS[self.places & 7];
        Number {
            value: if self.is_negative { -size } else { size },
            is_plain: self.is_plain,
        }
    }
}

/// The short number that begins at `at`, if it is one and does not stand at the end of the line, and where it ends.
///
/// All eight bytes at once, so that the processor need not guess how many of them are digits.
#[inline(always)]
pub(super) fn short_number(bytes: &[u8], at: usize) -> Option<(Short, usize)> {
    let is_negative = *bytes.get(at)? == b'-';
    let start = at + usize::from(is_negative);
    let word = u64::from_le_bytes(*bytes.get(start..start + 8)?.first_chunk()?);
    let digits = word ^ (ONES * u64::from(b'0'));
    let others = (((digits & !HIGHS) + ONES * (0x80 - 10)) | digits) & HIGHS;
    // In bits, of which each byte has eight.
    let first = |marks: u64| NonZeroU64::new(marks).map(|marks| marks.trailing_zeros() & !7);
    let whole = first(others)?;
    if whole == 0 || (whole > 8 && digits & 0xff == 0) {
        return None;
    }
    let (end, places, digits) = if (word >> whole) & 0xff == u64::from(b'.') {
        let end = first(others & (others - 1))?;
        let places = (end - whole) / 8 - 1;
        if places == 0 {
            return None;
        }
        // Closes the gap that the point leaves: the byte of the first digit becomes a zero.
        let before = (1 << whole) - 1;
        let joined = (digits & before) << 8 | digits & (!0xff << whole);
        (end, places, joined << (64 - end))
    } else {
        (whole, 0, digits << (64 - whole))
    };
    if (word >> end) & 0xff | 0x20 == u64::from(b'e') {
        return None;
    }
    let short = Short {
        is_negative,
        digits,
        places: places as usize,
        is_plain: places == 0,
    };
    Some((short, start + (end / 8) as usize))
}

/// The number that eight bytes spell, each of which is a digit's value; the first digit is in the lowest.
#[inline]
fn eight_digits(digits: u64) -> u64 {
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours * 10_000 + (fours >> 32)) & 0xffff_ffff
}

/// Any number.
#[inline(never)]
fn any_number(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
    let is_negative = bytes.get(at) == Some(&b'-');
    let mut at = at + usize::from(is_negative);
    // As long as there are at most 19 digits this cannot overflow; if there are more it is not used.
    let mut mantissa: u64 = 0;
    let whole = at;
    at = digits(bytes, at, &mut mantissa);
    let mut count = at - whole;
    if count == 0 || (count > 1 && bytes[whole] == b'0') {
        return None;
    }
    let mut is_plain = true;
    let mut exponent: i64 = 0;
    if bytes.get(at) == Some(&b'.') {
        at += 1;
        let fraction = at;
        at = digits(bytes, at, &mut mantissa);
        if at == fraction {
            return None;
        }
        (is_plain, count, exponent) = (false, count + at - fraction, -((at - fraction) as i64));
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let (power, end) = power(bytes, at + 1)?;
        (is_plain, exponent, at) = (false, exponent + power, end);
    }
    let size = match usize::try_from(exponent.unsigned_abs()) {
        // Both factors are doubles, so that the one rounding is the right one (Clinger, 1990).
        Ok(power) if count <= 19 && mantissa < 1 << 53 && power < TENS.len() => {
            let whole = mantissa as f64;
            if exponent < 0 {
                whole / TENS[power]
            } else {
                whole * TENS[power]
            }
        }
        _ => {
            let unsigned = std::str::from_utf8(&bytes[whole..at]).ok()?;
            unsigned.parse().ok()?
        }
    };
    let value = if is_negative { -size } else { size };
    value.is_finite().then_some((Number { value, is_plain }, at))
}

/// Takes the digits from `at` on into `mantissa`, and gives where they end.
#[inline]
fn digits(bytes: &[u8], mut at: usize, mantissa: &mut u64) -> usize {
    while let Some(digit) = bytes
        .get(at)
        .map(|byte| byte.wrapping_sub(b'0'))
        .filter(|digit| *digit < 10)
    {
        *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
        at += 1;
    }
    at
}

/// The exponent whose sign or first digit is at `at`, and where it ends.
fn power(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let is_negative = bytes.get(at) == Some(&b'-');
    let mut at = at + usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
    let first = at;
    let mut power: i64 = 0;
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        // Beyond this it is zero or no double in any case.
        power = (power * 10 + i64::from(digit - b'0')).min(1_000_000);
        at += 1;
    }
    (at > first).then_some((if is_negative { -power } else { power }, at))
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

    #[test]
    fn what_is_no_number_is_not_taken() {
        for text in [
            "", "-", "01", "-01", "01.5", "1.", ".5", "1e", "1e+", "+1", "1e400", "-1e400", "NaN",
        ] {
            assert_eq!(number(text.as_bytes(), 0), None, "{text}");
            let line = format!("{text},\"next\":1");
            assert_eq!(number(line.as_bytes(), 0), None, "{line}");
        }
        let (found, end) = number(b"-12.50e1,", 0).expect("a number");
        assert_eq!((found.value, found.is_plain, end), (-125.0, false, 8));
    }

    proptest! {
        #[test]
        fn a_number_is_the_double_that_serde_json_gives(text in r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?") {
            let expected: Option<f64> = serde_json::from_str::<serde_json::Value>(&text).ok().and_then(|value| value.as_f64());
            // At the end of a line, and before the rest of one.
            for after in ["", "}", ",\"next\":12345678"] {
                let line = format!("{text}{after}");
                let found = number(line.as_bytes(), 0);
                prop_assert_eq!(found.map(|(number, _)| number.value.to_bits()), expected.map(|value| value.to_bits()));
                let is_plain = !text.contains(['.', 'e', 'E']);
                prop_assert!(found.is_none_or(|(number, end)| end == text.len() && number.is_plain == is_plain));
            }
        }

        #[test]
        fn the_quick_way_with_numbers_takes_what_the_other_takes(text in r"-?[0-9]{0,8}(\.[0-9]{0,7})?[eE,}.0]?[ -~]{8}") {
            if let Some((short, end)) = short_number(text.as_bytes(), 0) {
                prop_assert_eq!(Some((short.number(), end)), any_number(text.as_bytes(), 0));
            }
        }

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
