//! What featurize says it did.

use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::KeyCounts;
use super::rows::sorted::SortedTable;
use crate::preparation::{Categorical, Input, Numeric, Preparation, Scaling};

/// Counts, and what became of the values. For a number, `missing` counts what is absent, null, a text or out of range; for
/// a category, what is absent or null.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    format: &'static str,
    rows: u64,
    unlabelled: u64,
    labels: BTreeMap<&'a str, u64>,
    features: Vec<FeatureReport<'a>>,
    categories: Vec<CategoryReport<'a>>,
    interactions: &'a [[String; 2]],
    ignored: Vec<IgnoredReport<'a>>,
    /// The key that holds what rows weigh, if one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct FeatureReport<'a> {
    key: &'a str,
    present: u64,
    missing: u64,
    out_of_range: u64,
    /// What stands in the place of what is missing.
    impute: f64,
    indicator: bool,
    scaling: Option<Scaling>,
}

#[derive(Debug, Serialize)]
struct CategoryReport<'a> {
    of: &'a Input,
    missing: u64,
    levels: Vec<LevelReport<'a>>,
}

#[derive(Debug, Serialize)]
struct LevelReport<'a> {
    level: &'a str,
    rows: u64,
    /// Whether it has a column; `exclude` may take it.
    column: bool,
}

#[derive(Debug, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct IgnoredReport<'a> {
    key: &'a str,
    reason: &'static str,
    rows: u64,
}

/// What was counted in `table`, and what `preparation` does to it.
pub(crate) fn report<'a>(table: &'a SortedTable, preparation: &'a Preparation, weights: Option<&'a str>) -> Report<'a> {
    let rows = table.len();
    let labels = table.labels();
    let labelled: u64 = labels.values().sum();
    let features = table.numbers().zip(preparation.numbers());
    let mut ignored: Vec<_> = table.keys().iter().flat_map(ignored).collect();
    ignored.sort();
    Report {
        format: "madmall-features-report/v2",
        rows,
        unlabelled: rows - labelled,
        labels,
        features: features.map(|(counts, number)| feature(counts, number, rows)).collect(),
        categories: preparation
            .categories()
            .iter()
            .map(|category| self::category(table, category))
            .collect(),
        interactions: preparation.interactions(),
        ignored,
        weights,
    }
}

fn feature<'a>(counts: &'a KeyCounts, number: &Numeric, rows: u64) -> FeatureReport<'a> {
    FeatureReport {
        key: &counts.key,
        present: counts.present,
        missing: rows - counts.present,
        out_of_range: counts.out_of_range,
        impute: number.impute,
        indicator: number.indicator,
        scaling: number.scaling,
    }
}

fn category<'a>(table: &'a SortedTable, category: &'a Categorical) -> CategoryReport<'a> {
    let counts = table.counted_levels(&category.of);
    let known: u64 = counts.values().sum();
    let level = |(level, rows)| LevelReport {
        level,
        rows,
        column: category.levels.iter().any(|known| known == level),
    };
    CategoryReport {
        of: &category.of,
        missing: table.len() - known,
        levels: counts.into_iter().map(level).collect(),
    }
}

fn ignored(counts: &KeyCounts) -> Vec<IgnoredReport<'_>> {
    let entry = |reason, rows| IgnoredReport {
        key: &counts.key,
        reason,
        rows,
    };
    let mut entries = Vec::new();
    if counts.is_category {
        return entries;
    }
    if counts.excluded {
        entries.push(entry("excluded", counts.numbers + counts.texts + counts.nulls));
        return entries;
    }
    if counts.texts > 0 {
        entries.push(entry("text", counts.texts));
    }
    // Beside numbers a null is a missing value and counted there.
    if counts.nulls > 0 && counts.numbers == 0 {
        entries.push(entry("null", counts.nulls));
    }
    entries
}
