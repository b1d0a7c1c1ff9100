//! The bar of a stage that runs, on a terminal.

use std::time::Duration;

use indicatif::ProgressStyle;

use crate::stages::{Progress, Unit};

/// A bar's line must fit into 80 columns: a longer name is cut there.
pub(super) const BAR_NAME: usize = 20;

/// `name` in exactly `width` columns.
pub(super) fn cut(name: &str, width: usize) -> String {
    match name.chars().count() > width {
        true => name.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => format!("{name:width$}"),
    }
}

/// How the bar of a stage looks that is this far.
pub(super) fn bar_style(progress: Option<Progress>) -> ProgressStyle {
    let template = match progress.map(|progress| (progress.unit, progress.total)) {
        None => "  {prefix}  {spinner} {elapsed}",
        Some((Unit::Events { faults: 0, .. }, _)) => {
            "  {prefix}  {bar:12} {percent:>3}% of {total_bytes}{msg}  {eta} left"
        }
        Some((Unit::Events { .. }, _)) => "  {prefix}  {bar:8} {percent:>3}% of {total_bytes}{msg}  {eta} left",
        Some((Unit::Written, _)) => "  {prefix}  {bar:12} {percent:>3}% of {total_bytes} written  {eta} left",
        Some((Unit::Bytes, Some(_))) => "  {prefix}  {bar:20} {percent:>3}% of {total_bytes}  {eta} left",
        Some((Unit::Bytes, None)) => "  {prefix}  {spinner} {bytes}  {bytes_per_sec}",
        Some((Unit::Rows, Some(_))) => "  {prefix}  {bar:20} {percent:>3}% of {human_len} rows  {eta} left",
        Some((Unit::Rows, None)) => "  {prefix}  {spinner} {human_pos} rows",
        Some((Unit::Steps, Some(_))) => "  {prefix}  {spinner} step {human_pos} of at most {human_len}  {elapsed}",
        Some((Unit::Steps, None)) => "  {prefix}  {spinner} step {human_pos}  {elapsed}",
    };
    ProgressStyle::with_template(template)
        .expect("the templates are constants")
        .progress_chars("=> ")
}

/// What else is to be said of how far a stage is that runs for so long.
pub(super) fn message(progress: Progress, elapsed: Duration) -> String {
    let Unit::Events { events, faults } = progress.unit else {
        return String::new();
    };
    let rate = u128::from(events) * 1000 / elapsed.as_millis().max(1);
    let mut text = format!("  {} events/s", short(rate));
    match faults {
        0 => {}
        1 => text.push_str("  1 fault"),
        _ => text.push_str(&format!("  {} faults", short(faults.into()))),
    }
    text
}

/// `834`, `12k`, `3.4M`: at most five characters.
fn short(number: u128) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => format!("{}k", number / 1_000),
        1_000_000..1_000_000_000 => format!("{}.{}M", number / 1_000_000, number / 100_000 % 10),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_fast_events_are_read_and_how_many_are_wrong_is_said_in_few_words() {
        let said = |events, faults, millis| {
            let unit = Unit::Events { events, faults };
            let (done, total) = (0, None);
            message(Progress { unit, done, total }, Duration::from_millis(millis))
        };
        assert_eq!(said(0, 0, 0), "  0 events/s");
        assert_eq!(said(1_668_000, 0, 2000), "  834k events/s");
        assert_eq!(said(3_456_789, 1, 1000), "  3.4M events/s  1 fault");
        assert_eq!(said(u64::MAX, 12_345, 1000), "  18446744073G events/s  12k faults");
        assert_eq!(said(999, 999, 1000), "  999 events/s  999 faults");
    }

    #[test]
    fn a_name_fits_its_bar() {
        assert_eq!(cut("train", 7), "train  ");
        assert_eq!(cut("a-rather-long-name", 8), "a-rathe…");
    }
}
