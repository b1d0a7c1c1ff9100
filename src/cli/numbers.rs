//! Numbers in arguments, and what is said of those that are none.

use std::num::{NonZeroU16, NonZeroUsize};
use std::str::FromStr;

/// How many at once.
pub(super) fn jobs(text: &str) -> Result<u16, String> {
    let jobs = text.parse::<NonZeroU16>();
    jobs.map(NonZeroU16::get)
        .map_err(|_| format!("give a whole number from 1 to {}", u16::MAX))
}

/// How many of something are shown, which are some.
pub(super) fn some(text: &str) -> Result<usize, String> {
    let some = text.parse::<NonZeroUsize>();
    some.map(NonZeroUsize::get)
        .map_err(|_| "give a whole number from 1, such as 10".to_owned())
}

/// A whole number.
pub(super) fn whole<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| "give a whole number, such as 10".to_owned())
}
