//! The names of stages: `fit` as written, `fit[l2=0.01,seed=1]` for one that is made by `matrix:` or `foreach:`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Number;
use crate::digest::Digest;
use crate::spec::is_name;

/// The longest name of a stage, in bytes.
pub const MAX_STAGE_NAME: usize = 1000;
/// The longest text of a value of an axis, in bytes.
pub const MAX_AXIS_VALUE: usize = 200;

/// Whether `text` can be a value of an axis, as it stands in a stage's name: printable, and nothing that a list of values or
/// a pattern is written with.
#[must_use]
pub fn is_axis_value(text: &str) -> bool {
    let is_allowed = |c: char| !c.is_control() && !",[]{}*?\\`".contains(c);
    (1..=MAX_AXIS_VALUE).contains(&text.len()) && text.trim() == text && text.chars().all(is_allowed)
}

/// Whether `text` can be the name of a stage of a plan.
#[must_use]
pub fn is_stage_name(text: &str) -> bool {
    let Some(parts) = Parts::of(text).filter(|_| text.len() <= MAX_STAGE_NAME) else {
        return false;
    };
    let axes: BTreeSet<&str> = parts.values.iter().map(|(axis, _)| *axis).collect();
    is_name(parts.family)
        && axes.len() == parts.values.len()
        && parts
            .values
            .iter()
            .all(|(axis, value)| is_name(axis) && is_axis_value(value))
}

/// The name under which the pipeline file has the stage `name`.
#[must_use]
pub fn family(name: &str) -> &str {
    name.split_once('[').map_or(name, |(family, _)| family)
}

/// The name of the stage that `written` makes for these values of its axes.
#[must_use]
pub fn made_name<'v>(written: &str, values: impl Iterator<Item = (&'v str, &'v str)>) -> String {
    let values: Vec<String> = values.map(|(axis, value)| format!("{axis}={value}")).collect();
    format!("{written}[{}]", values.join(","))
}

/// Whether the user, who typed `wanted`, means the stage `name`: itself, any of its family (`fit`), or those of it with
/// these values (`fit[l2=1]`, in any order).
#[must_use]
pub fn is_meant(wanted: &str, name: &str) -> bool {
    if wanted == name {
        return true;
    }
    let (Some(wanted), Some(name)) = (Parts::of(wanted), Parts::of(name)) else {
        return false;
    };
    let is_same = |one: &str, other: &str| {
        let number = |text| Number::parse(text);
        one == other || number(one).is_some_and(|one| Some(one) == number(other))
    };
    wanted.family == name.family
        && wanted.values.iter().all(|(axis, value)| {
            let mut values = name.values.iter();
            values.any(|(own, found)| own == axis && is_same(value, found))
        })
}

/// The name of a file for what the stage `name` printed. Different stages have different ones.
#[must_use]
pub fn log_name(name: &str) -> String {
    const LONGEST: usize = 180;
    let mut file = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'=' | b',' | b'+' | b'[' | b']' => {
                file.push(char::from(byte));
            }
            _ => {
                let _ = write!(file, "%{byte:02X}");
            }
        }
    }
    if file.len() > LONGEST {
        let digest = Digest::of(name.as_bytes()).to_hex();
        file.truncate(LONGEST - 33);
        let _ = write!(file, "~{}", &digest[..32]);
    }
    file
}

/// A name taken apart.
struct Parts<'n> {
    family: &'n str,
    /// Axes with their values, at least one; none at all for a stage as written.
    values: Vec<(&'n str, &'n str)>,
}

impl<'n> Parts<'n> {
    fn of(name: &'n str) -> Option<Self> {
        let Some((family, rest)) = name.split_once('[') else {
            return Some(Self {
                family: name,
                values: Vec::new(),
            });
        };
        let values = rest.strip_suffix(']')?.split(',').map(|pair| pair.split_once('='));
        Some(Self {
            family,
            values: values.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for good in ["fit", "fit[l2=0.01,seed=1]", "fit[raw=data/a b.csv]", "f[x=a=b]"] {
            assert!(is_stage_name(good), "{good}");
        }
        let long = format!("f[x={}]", "y".repeat(201));
        for bad in [
            "",
            "Fit",
            "fit[]",
            "fit[l2]",
            "fit[l2=]",
            "fit[l2=1",
            "fit[l2=1]x",
            "fit[l2=1,l2=2]",
            "fit[L=1]",
            "fit[l2=1,]",
            "fit[l2= 1]",
            "fit[l2=a\nb]",
            "fit[l2=[1]]",
            "a/b",
            &long,
        ] {
            assert!(!is_stage_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_family_and_a_part_of_the_values_mean_all_that_have_them() {
        let name = "fit[l2=0.5,seed=1]";
        for wanted in ["fit", name, "fit[seed=1]", "fit[seed=1,l2=0.50]", "fit[l2=.5]"] {
            assert!(is_meant(wanted, name), "{wanted}");
        }
        for wanted in ["fi", "fit[seed=2]", "fit[x=1]", "fit[seed]", "fit[l2=0.5,seed=2]"] {
            assert!(!is_meant(wanted, name), "{wanted}");
        }
        assert!(!is_meant("fit[l2=1]", "fit"));
    }

    #[test]
    fn logs_of_different_stages_are_different_files() {
        assert_eq!(log_name("fit"), "fit");
        assert_eq!(log_name("fit[raw=a/b c.csv]"), "fit[raw=a%2Fb%20c.csv]");
        let long = |end: &str| log_name(&format!("f[x={}{end}]", "/".repeat(190)));
        assert_ne!(long("1"), long("2"));
        assert!(long("1").len() <= 200);
    }
}
