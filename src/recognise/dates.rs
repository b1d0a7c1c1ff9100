//! Dates and times (RFC 3339) that are known by their shape.

use super::program::Shape;

impl Shape {
    /// Whether `text` has the shape beyond doubt. (A leap second has not, though it is allowed.)
    pub(super) fn is_of(self, text: &[u8]) -> bool {
        match self {
            Self::Date => is_date(text),
            Self::DateTime => is_date_time(text),
        }
    }
}

/// The number that two digits spell, or one that no two digits do.
#[inline]
fn two_digits(tens: u8, ones: u8) -> u8 {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    if tens < 10 && ones < 10 {
        tens * 10 + ones
    } else {
        u8::MAX
    }
}

fn is_date(text: &[u8]) -> bool {
    let Ok([c, e, y, z, b'-', m, n, b'-', d, f]) = <[u8; 10]>::try_from(text) else {
        return false;
    };
    let [century, year, month, day] = [two_digits(c, e), two_digits(y, z), two_digits(m, n), two_digits(d, f)];
    let is_leap = if year == 0 { century % 4 == 0 } else { year % 4 == 0 };
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..100).contains(&century) && year < 100 && (1..=days).contains(&day)
}

fn is_date_time(text: &[u8]) -> bool {
    let Some((date, [b'T', h, i, b':', m, n, b':', s, t, zone @ ..])) = text.split_at_checked(10) else {
        return false;
    };
    let is_time = two_digits(*h, *i) < 24 && two_digits(*m, *n) < 60 && two_digits(*s, *t) < 60;
    let zone = match zone {
        [b'.', fraction @ ..] => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if !(1..=9).contains(&digits) {
                return false;
            }
            &fraction[digits..]
        }
        _ => zone,
    };
    let is_zone = match zone {
        b"Z" => true,
        [b'+' | b'-', h, i, b':', m, n] => two_digits(*h, *i) < 24 && two_digits(*m, *n) < 60,
        _ => false,
    };
    is_time && is_zone && is_date(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_known_by_their_shape() {
        for (text, date, date_time) in [
            ("2026-01-05", true, false),
            ("2024-02-29", true, false),
            ("2026-02-29", false, false),
            ("1900-02-29", false, false),
            ("2000-02-29", true, false),
            ("2026-04-30", true, false),
            ("2026-04-31", false, false),
            ("2026-11-31", false, false),
            ("2026-12-31", true, false),
            ("0000-01-01", false, false),
            ("2026/01/05", false, false),
            ("2026-13-01", false, false),
            ("2026-00-01", false, false),
            ("2026-01-00", false, false),
            ("2026-01-5", false, false),
            ("2026-01-05T07:12:33Z", false, true),
            ("2026-01-05T07:12:33.125Z", false, true),
            ("2026-01-05T07:12:33+05:30", false, true),
            ("2026-01-05T24:00:00Z", false, false),
            ("2026-01-05T23:59:60Z", false, false),
            ("2026-01-05T07:12:33", false, false),
            ("2026-01-05T07:12:33.Z", false, false),
            ("2026-01-05T07:12Z", false, false),
            ("2026-01-05 07:12:33Z", false, false),
            ("2026-01-05T07:12:33+24:00", false, false),
            ("", false, false),
        ] {
            assert_eq!(Shape::Date.is_of(text.as_bytes()), date, "{text}");
            assert_eq!(Shape::DateTime.is_of(text.as_bytes()), date_time, "{text}");
        }
    }
}
