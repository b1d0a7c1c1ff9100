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

fn two_digits(text: &[u8], at: usize) -> Option<u8> {
    match text.get(at..at + 2)? {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => Some((tens - b'0') * 10 + ones - b'0'),
        _ => None,
    }
}

fn is_date(text: &[u8]) -> bool {
    let read = || {
        Some((
            two_digits(text, 0)?,
            two_digits(text, 2)?,
            two_digits(text, 5)?,
            two_digits(text, 8)?,
        ))
    };
    let Some((century, year, month, day)) = read() else {
        return false;
    };
    let is_leap = if year == 0 { century % 4 == 0 } else { year % 4 == 0 };
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    text.len() == 10 && text[4] == b'-' && text[7] == b'-' && century > 0 && (1..=days).contains(&day)
}

fn is_date_time(text: &[u8]) -> bool {
    let Some((date, time)) = text.split_at_checked(10) else {
        return false;
    };
    let clock = |at| Some((two_digits(time, at)?, two_digits(time, at + 3)?));
    let Some(((hour, minute), (_, second))) = clock(1).zip(clock(4)) else {
        return false;
    };
    let is_time = time[0] == b'T' && time[3] == b':' && time[6] == b':' && hour < 24 && minute < 60 && second < 60;
    let mut zone = &time[9..];
    if let Some(fraction) = zone.strip_prefix(b".") {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        zone = &fraction[digits..];
    }
    let is_zone = match zone {
        b"Z" => true,
        [b'+' | b'-', rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            matches!((two_digits(rest, 0), two_digits(rest, 3)), (Some(0..24), Some(0..60)))
        }
        _ => false,
    };
    is_date(date) && is_time && is_zone
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
