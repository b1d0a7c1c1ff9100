//! `timeout:`, `retries:`, `mutex:` and `resources:`: what holds a stage back, as written.

use super::model::WrittenLimits;
use super::parse::{Node, NodeKind};
use super::scalar::{Scalar, scalar};
use super::shape::{Checker, Fields};
use crate::diagnostic::quoted;
use crate::plan::limits::{MOST_RETRIES, parse_duration, parse_size};

/// The fields of `resources:`.
pub const RESOURCE_FIELDS: &[&str] = &["cpus", "memory", "time"];

impl Checker<'_> {
    /// The limits of a stage or of a definition.
    pub(super) fn limits(&mut self, fields: &Fields<'_>) -> WrittenLimits {
        let mut written = WrittenLimits::default();
        let limits = &mut written.limits;
        if let Some(node) = fields.get("timeout") {
            limits.timeout = self.spelled(node, "`timeout`", parse_duration, DURATION);
        }
        if let Some(node) = fields.get("retries") {
            limits.retries = self.whole(node, "`retries`", 0..=MOST_RETRIES);
        }
        if let Some(node) = fields.get("mutex") {
            limits.mutex = self.mutexes(node);
        }
        if let Some(node) = fields.get("resources")
            && let Some(fields) = self.fields(node, "`resources`", RESOURCE_FIELDS)
        {
            if let Some(node) = fields.get("cpus") {
                limits.cpus = self.whole(node, "`cpus`", 1..=65_535);
            }
            if let Some(node) = fields.get("memory") {
                let help = "write a whole number with its unit, such as `512MiB` or `8GiB`";
                limits.memory = self.spelled(node, "`memory`", parse_size, help);
            }
            if let Some(node) = fields.get("time") {
                limits.time = self.spelled(node, "`time`", parse_duration, DURATION);
            }
        }
        written.of_programs = ["timeout", "retries"].iter().find_map(|name| fields.key(name)).cloned();
        written
    }

    /// One name, or a list of names.
    fn mutexes(&mut self, node: &Node) -> Option<Vec<String>> {
        let one = std::slice::from_ref(node);
        let items = match &node.kind {
            NodeKind::List(items) => &items[..],
            _ => one,
        };
        let mut names = Vec::new();
        for item in items {
            let text = self.text(item, "`mutex`")?;
            if !self.name(&text, "a mutex") {
                return None;
            }
            if names.contains(&text.text) {
                self.fault(
                    text.span,
                    format!("`mutex` names `{}` twice", text.text),
                    "",
                    "remove one of the two",
                );
                return None;
            }
            names.push(text.text);
        }
        Some(names)
    }

    fn spelled<T>(&mut self, node: &Node, what: &str, parse: impl Fn(&str) -> Option<T>, help: &str) -> Option<T> {
        let Some(Scalar::String(text)) = scalar(node) else {
            self.wrong_shape(node, what, "a number with its unit", help);
            return None;
        };
        let parsed = parse(text);
        if parsed.is_none() {
            self.fault(node.span, format!("{what} cannot be {}", quoted(text)), "", help);
        }
        parsed
    }

    fn whole(&mut self, node: &Node, what: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let help = format!("write a whole number from {} to {}", range.start(), range.end());
        let Some(Scalar::Number(number)) = scalar(node) else {
            self.wrong_shape(node, what, "a whole number", &help);
            return None;
        };
        let value = number.to_integer().and_then(|value| u32::try_from(value).ok());
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.fault(node.span, format!("{what} cannot be `{number}`"), "", help);
        }
        value
    }
}

const DURATION: &str = "write whole numbers with their units, such as `90s`, `10m` or `1h30m`";
