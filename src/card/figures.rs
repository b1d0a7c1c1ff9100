//! The numbers of a card: consent, metrics, groups, coefficients. They are read from files whose format may be newer or older than
//! this program: what is not there is left out.

use serde_json::Value;

use super::content::heading;
use super::origin::Origin;
use super::{Block, Card};
use crate::model::evaluation::percent;
use crate::stages::ingest::fault::{grouped, printable};

/// A count below this, but for 0, could speak of a person.
const FEWEST: u64 = 5;

const AUC_INTERVAL: &str = "auc_interval";

/// What is shown of an evaluation: the name in the file, and for people.
const MEASURES: [(&str, &str); 7] = [
    ("n", "rows"),
    ("positives", "positive"),
    ("auc", "AUC"),
    (AUC_INTERVAL, "an interval of it"),
    ("average_precision", "average precision"),
    ("log_loss", "log loss"),
    ("brier", "Brier"),
];

/// Who agreed to what, and who was left out.
pub(super) fn consent(report: Option<&Value>) -> Vec<Block> {
    let mut blocks = vec![heading("Data and consent")];
    let Some(report) = report else {
        let text =
            "No report of ingest was found: how many events were let in, and with which consent, is not known here.";
        blocks.push(Block::Text(text.to_owned()));
        return blocks;
    };
    let counts = [
        ("/counts/events", "events"),
        ("/counts/accepted", "let in"),
        (
            "/counts/excluded/purpose",
            "left out: their consent does not cover the purpose",
        ),
        ("/counts/excluded/revoked", "left out: consent was withdrawn"),
        ("/counts/duplicates", "left out: the same event again"),
        ("/counts/invalid", "left out: invalid, or without consent"),
    ];
    let rows = counts.iter().filter_map(|(pointer, name)| {
        let count = report.pointer(pointer)?.as_u64()?;
        Some(vec![(*name).to_owned(), grouped(count)])
    });
    blocks.push(table(["", "events"], rows.collect()));
    for (pointer, name) in [
        ("/accepted_by/scope", "consent of those let in"),
        ("/accepted_by/source_kind", "where they came from"),
    ] {
        let members = report.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
        let counted = members.filter_map(|(name, count)| Some((printable(name), count.as_u64()?)));
        let counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        let has_any = !counted.is_empty();
        let rows = hide_small(counted);
        if rows.is_empty() && has_any {
            blocks.push(Block::Text(format!("Too few to be shown: {name}.")));
        }
        if !rows.is_empty() {
            blocks.push(table(
                [name, "events"],
                rows.into_iter().map(|(name, count)| vec![name, count]).collect(),
            ));
        }
    }
    blocks
}

/// How good the model is on rows it has seen, and on others.
pub(super) fn metrics(origin: &Origin) -> Vec<Block> {
    let mut blocks = vec![heading("How good it is")];
    let Some(metrics) = &origin.metrics else {
        blocks.push(Block::Text("No metrics were found beside the model.".to_owned()));
        return blocks;
    };
    let parts = [("train", "rows it was trained on"), ("holdout", "rows held out")];
    let there: Vec<(&Value, &str)> = parts
        .iter()
        .filter_map(|(part, name)| Some((metrics.get(*part).filter(|part| part.is_object())?, *name)))
        .collect();
    let head: Vec<String> = [""]
        .into_iter()
        .chain(there.iter().map(|(_, name)| *name))
        .map(str::to_owned)
        .collect();
    let level = metrics.pointer("/settings/confidence").and_then(Value::as_f64);
    let name_of = |key: &str, name: &str| match level {
        Some(level) if key == AUC_INTERVAL => format!("{} % of it", percent(level)),
        _ => name.to_owned(),
    };
    let is_there = |(key, _): &&(&str, &str)| there.iter().any(|(part, _)| part.get(*key).is_some());
    let rows = MEASURES.iter().filter(is_there).map(|(key, name)| {
        let cells = there.iter().map(|(part, _)| cell(part.get(*key)));
        [name_of(key, name)].into_iter().chain(cells).collect()
    });
    blocks.push(Block::Table {
        head,
        rows: rows.collect(),
        numbers: true,
    });
    if !there.iter().any(|(_, name)| *name == parts[1].1) {
        let text = "No rows were held out: these figures are better than those of events to come.";
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks
}

/// The same by group; those too small to be shown stay hidden.
pub(super) fn groups(origin: &Origin) -> Vec<Block> {
    let columns = origin
        .metrics
        .as_ref()
        .and_then(|metrics| metrics.get("groups")?.as_array());
    let mut blocks = Vec::new();
    for column in columns.into_iter().flatten() {
        let name = column
            .get("column")
            .and_then(Value::as_str)
            .map(printable)
            .unwrap_or_default();
        let groups = column.get("groups").and_then(Value::as_array).into_iter().flatten();
        let mut rows: Vec<Vec<String>> = groups
            .map(|group| {
                let value = group.get("value").and_then(Value::as_str);
                group_row(value.map_or_else(|| "none given".to_owned(), printable), group)
            })
            .collect();
        if let Some(others) = column.get("others").filter(|others| others.is_object()) {
            rows.push(group_row("all others together".to_owned(), others));
        }
        let hidden = column
            .get("suppressed")
            .and_then(Value::as_u64)
            .filter(|hidden| *hidden > 0);
        if !rows.is_empty() {
            let head = [name.as_str(), "rows", "AUC", "log loss", "held out", "AUC", "log loss"];
            blocks.push(Block::Table {
                head: head.map(str::to_owned).to_vec(),
                rows,
                numbers: true,
            });
        }
        if let Some(hidden) = hidden {
            blocks.push(Block::Text(format!(
                "{hidden} groups of {name} are too small to be shown."
            )));
        }
    }
    if !blocks.is_empty() {
        blocks.insert(0, heading("By group"));
    }
    blocks
}

fn group_row(name: String, group: &Value) -> Vec<String> {
    let mut row = vec![name];
    for part in ["train", "holdout"] {
        for measure in ["n", "auc", "log_loss"] {
            row.push(cell(group.get(part).and_then(|part| part.get(measure))));
        }
    }
    row
}

/// Each column's weight, and how sure it is.
pub(super) fn coefficients(card: &Card<'_>, most: usize) -> Vec<Block> {
    let known = card.origin.as_ref().and_then(|origin| origin.metrics.as_ref());
    let known = known.and_then(|metrics| metrics.get("coefficients")?.as_array());
    let of = |key: &str| {
        let is_it = |entry: &&Value| entry.get("feature").and_then(Value::as_str) == Some(key);
        known.and_then(|entries| entries.iter().find(is_it))
    };
    let model = card.model;
    let mut rows = vec![vec![
        "(bias)".to_owned(),
        short(model.bias),
        String::new(),
        String::new(),
    ]];
    for (key, weight) in model.feature_keys.iter().zip(&model.weights).take(most) {
        let found = of(key);
        let part = |name: &str| cell(found.and_then(|entry| entry.get(name)));
        rows.push(vec![
            printable(key),
            short(*weight),
            part("standard_error"),
            part("p_value"),
        ]);
    }
    let head = ["column", "weight", "standard error", "p"];
    let mut blocks = vec![
        heading("Coefficients"),
        Block::Table {
            head: head.map(str::to_owned).to_vec(),
            rows,
            numbers: true,
        },
    ];
    if model.weights.len() > most {
        blocks.push(Block::Text(format!("and {} more", model.weights.len() - most)));
    }
    blocks
}

fn table(head: [&str; 2], rows: Vec<Vec<String>>) -> Block {
    Block::Table {
        head: head.map(str::to_owned).to_vec(),
        rows,
        numbers: true,
    }
}

/// A figure for people.
fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(count), _) => grouped(count),
            (None, Some(number)) => short(number),
            _ => "–".to_owned(),
        },
        Some(Value::Object(interval)) => match (interval.get("lower"), interval.get("upper")) {
            (Some(lower), Some(upper)) => format!("{} to {}", cell(Some(lower)), cell(Some(upper))),
            _ => "–".to_owned(),
        },
        _ => "–".to_owned(),
    }
}

/// A number in four digits or so.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        0.0 => "0".to_owned(),
        size if (1e-3..1e6).contains(&size) => format!("{number:.4}"),
        _ => format!("{number:.2e}"),
    }
}

/// Counts that could speak of a person are hidden, and with them all that are the smallest of the others. The total then leaves of each hidden count at
/// least two values: its own, and that of one of the other kind, for which of them is which is not said. With nothing to hide them among, none are given: of
/// a few kinds that have so little each, the names and the total tell the counts.
fn hide_small(counts: Vec<(String, u64)>) -> Vec<(String, String)> {
    let is_small = |count: u64| count < FEWEST;
    if !counts.iter().any(|(_, count)| is_small(*count)) {
        return counts.into_iter().map(|(name, count)| (name, grouped(count))).collect();
    }
    let others = counts.iter().map(|(_, count)| *count).filter(|count| !is_small(*count));
    let Some(least) = others.min() else {
        return Vec::new();
    };
    let show = |(name, count): (String, u64)| match count <= least {
        true => (name, "not shown".to_owned()),
        false => (name, grouped(count)),
    };
    counts.into_iter().map(show).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_small_count_is_hidden_and_cannot_be_worked_out_from_the_total() {
        let shown = |counts: &[u64]| -> Vec<String> {
            let named = counts.iter().map(|count| (String::new(), *count)).collect();
            hide_small(named).into_iter().map(|(_, shown)| shown).collect()
        };
        let none = "not shown";
        assert_eq!(shown(&[4, 1000, 8, 7]), [none, "1,000", "8", none]);
        // Two kinds of one event each, of 300: two less 300, 157 and 141 would be one each.
        assert_eq!(shown(&[157, 1, 1, 141]), ["157", none, none, none]);
        assert_eq!(shown(&[4, 3, 7]), [none, none, none]);
        assert_eq!(shown(&[5, 6]), ["5", "6"]);
        assert_eq!(shown(&[2]), [""; 0]);
        assert_eq!(shown(&[1, 1]), [""; 0]);
    }

    /// Whoever knows the rule, the total and what is shown finds at least two values of each count that is not.
    #[test]
    fn whoever_knows_the_rule_cannot_work_a_hidden_count_out() {
        let shown = |counts: &[u64]| -> Vec<String> {
            let named = counts.iter().map(|count| (String::new(), *count)).collect();
            hide_small(named).into_iter().map(|(_, shown)| shown).collect()
        };
        let most = 9;
        let mut seen: BTreeMap<(u64, Vec<String>), Vec<[u64; 4]>> = BTreeMap::new();
        for number in 0..most * most * most * most {
            let counts = [1, most, most * most, most * most * most].map(|size| number / size % most + 1);
            let told = (counts.iter().sum::<u64>(), shown(&counts));
            seen.entry(told).or_default().push(counts);
        }
        for ((total, rows), possible) in seen {
            for place in (0..rows.len()).filter(|place| rows[*place] == "not shown") {
                let values: BTreeSet<u64> = possible.iter().map(|counts| counts[place]).collect();
                assert!(values.len() > 1, "{place} of {rows:?} in {total} is {values:?}");
            }
        }
    }

    #[test]
    fn figures_are_short_and_what_is_not_there_is_a_dash() {
        let value = serde_json::json!([0.123456, 1e-10, 12345, null, {"lower": 0.5, "upper": 0.75}, -3.0]);
        let cells: Vec<String> = (0..7).map(|place| cell(value.get(place))).collect();
        assert_eq!(
            cells,
            ["0.1235", "1.00e-10", "12,345", "–", "0.5000 to 0.7500", "-3.0000", "–"]
        );
    }
}
