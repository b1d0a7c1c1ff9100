//! What holds a stage back: how long it may take, how often it is tried, what it needs. No part of its identity.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The most tries that a stage may ask for, beside the first.
pub const MOST_RETRIES: u32 = 100;

/// What holds a stage back, as far as it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `timeout:`; a program that takes longer is ended, and has failed.
    pub timeout: Option<Duration>,
    /// `retries:`; so often a program that failed is tried again.
    pub retries: Option<u32>,
    /// `mutex:`; of the stages that name the same one, only one runs at a time.
    pub mutex: Option<Vec<String>>,
    /// `resources: { cpus }`; so many of `-j` it counts as.
    pub cpus: Option<u32>,
    /// `resources: { memory }`, in bytes.
    pub memory: Option<u64>,
    /// `resources: { time }`; for whoever places it. Nothing here ends it.
    pub time: Option<Duration>,
}

impl Limits {
    /// These, and where they say nothing, those of `under`.
    #[must_use]
    pub fn over(self, under: &Self) -> Self {
        Self {
            timeout: self.timeout.or(under.timeout),
            retries: self.retries.or(under.retries),
            mutex: self.mutex.or_else(|| under.mutex.clone()),
            cpus: self.cpus.or(under.cpus),
            memory: self.memory.or(under.memory),
            time: self.time.or(under.time),
        }
    }
}

/// The duration that `text` spells: `90s`, `10m`, `1h30m`, `2d`; whole numbers, larger units first, more than nothing and at
/// most a year.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];
    let mut seconds: u64 = 0;
    let mut units = UNITS.iter();
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = number(rest)?;
        let unit = after.chars().next()?;
        let (_, worth) = units.find(|(letter, _)| *letter == unit)?;
        seconds = seconds.checked_add(number.checked_mul(*worth)?)?;
        rest = &after[1..];
    }
    (1..=366 * 86_400)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

/// The bytes that `text` spells: `512MiB`, `8GiB`, `1TB`; a whole number with one of `B`, `kB`, `MB`, `GB`, `TB`, `KiB`, `MiB`,
/// `GiB`, `TiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 9] = [
        ("B", 1),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
    ];
    let (number, unit) = number(text)?;
    let (_, worth) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*worth).filter(|bytes| *bytes > 0)
}

/// `duration` as [`parse_duration`] reads it.
#[must_use]
pub fn spell_duration(duration: Duration) -> String {
    let mut rest = duration.as_secs();
    let mut text = String::new();
    for (unit, worth) in [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)] {
        if rest >= worth {
            text.push_str(&format!("{}{unit}", rest / worth));
            rest %= worth;
        }
    }
    text
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    (!digits.starts_with('0')).then_some(())?;
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_whole_numbers_and_units() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1d1s", 86_401)] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "0s",
            "10",
            "m",
            "1.5h",
            "30m1h",
            "1h1h",
            "-1s",
            "01s",
            "400d",
            "1w",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        assert_eq!(spell_duration(Duration::from_secs(5400)), "1h30m");
    }

    #[test]
    fn sizes_have_a_whole_number_and_a_unit() {
        assert_eq!(parse_size("8GiB"), Some(8 << 30));
        assert_eq!(parse_size("500MB"), Some(500_000_000));
        for text in ["", "8", "8G", "GiB", "1.5GiB", "0B", "8 GiB", "99999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
