//! Numbers of JSON (RFC 8259, section 6), read without being copied.

use std::num::NonZeroU64;

use super::scan::{HIGHS, ONES};

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number {
    /// The double that is nearest.
    pub(super) value: f64,
    /// Whether it has neither a fraction nor an exponent.
    pub(super) is_plain: bool,
}

/// Below this, whole numbers are doubles.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// Powers of ten that are doubles.
const TENS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];

/// A number of up to seven characters after its sign, without an exponent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Short {
    is_negative: bool,
    /// The values of its digits, the last in the highest byte.
    digits: u64,
    /// How many of them stand after the point; none without one.
    places: usize,
}

impl Short {
    #[inline(always)]
    pub(super) fn number(self) -> Number {
        // Both are doubles, so that the one rounding is the right one (Clinger, 1990). There are no more than five places, which the
        // compiler cannot know.
        let size = eight_digits(self.digits) as f64 / TENS[self.places & 7];
        Number {
            value: if self.is_negative { -size } else { size },
            is_plain: self.places == 0,
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

/// Any number, at the end of a line too, and where it ends. One that is no double (`1e400`) is none.
#[inline(never)]
pub(super) fn any_number(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
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

    /// As values are read.
    fn number(bytes: &[u8], at: usize) -> Option<(Number, usize)> {
        match short_number(bytes, at) {
            Some((short, end)) => Some((short.number(), end)),
            None => any_number(bytes, at),
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
    }
}
