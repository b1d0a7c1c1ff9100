//! Text in columns, for people.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many columns `text` takes on a terminal.
#[must_use]
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// `text` with spaces after it up to `columns`.
#[must_use]
pub(super) fn pad(text: &str, columns: usize) -> String {
    let mut padded = text.to_owned();
    padded.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(text))));
    padded
}

/// `text` with spaces before it up to `columns`.
#[must_use]
pub(super) fn pad_left(text: &str, columns: usize) -> String {
    let spaces = " ".repeat(columns.saturating_sub(width(text)));
    format!("{spaces}{text}")
}

/// `text`, or as much of its beginning as fits in `columns` with `…` after it.
#[must_use]
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut shortened = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        shortened.push(c);
    }
    if columns > 0 {
        shortened.push('…');
    }
    shortened
}

/// A number of bytes as a person reads it: decimal units, three digits or so.
#[must_use]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut divisor = 1000_u64;
    for unit in UNITS {
        // Rounded to tenths in whole numbers; one that rounds up to a thousand goes by the next unit.
        let tenths = (u128::from(count) * 10 + u128::from(divisor) / 2) / u128::from(divisor);
        if tenths < 10_000 || unit == "EB" {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
        divisor = divisor.saturating_mul(1000);
    }
    format!("{count} B")
}

/// `1 stage`, `2 stages`.
#[must_use]
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_counted_as_a_terminal_shows_them() {
        assert_eq!(pad("äb", 4), "äb  ");
        assert_eq!(pad("日本", 5), "日本 ");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("abcd", 0), "");
        assert_eq!(pad_left("7", 3), "  7");
    }

    #[test]
    fn bytes_are_said_in_the_unit_that_fits() {
        let said = [0, 999, 1000, 1949, 999_949, 999_950, u64::MAX].map(bytes);
        assert_eq!(
            said,
            ["0 B", "999 B", "1.0 kB", "1.9 kB", "999.9 kB", "1.0 MB", "18.4 EB"]
        );
    }
}
