//! How well a model's probabilities agree with the labels.

use std::collections::BTreeMap;

use super::blocks::Sum;
use super::features_file::LabelledRow;
use super::loss::RowTerms;
use crate::model::metrics::{CalibrationBin, Confusion, Evaluation, GroupColumn, GroupMetrics, Summary};
use crate::model::probability;

/// A group with fewer rows is not shown: its figures could be those of a person.
const SMALLEST_GROUP: usize = 5;

/// Bins of the calibration.
const BINS: usize = 10;

/// A row with its score.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored<'a> {
    /// The row.
    pub(crate) row: &'a LabelledRow,
    /// Whether its label is the positive one.
    pub(crate) label: bool,
    /// The model's log odds of the positive label.
    pub(crate) log_odds: f64,
}

/// Everything that is measured on `rows`.
pub(crate) fn evaluate(rows: &[Scored<'_>]) -> Evaluation {
    let mut confusion = Confusion::default();
    for row in rows {
        let cell = match (row.label, row.log_odds >= 0.0) {
            (true, true) => &mut confusion.true_positive,
            (false, true) => &mut confusion.false_positive,
            (false, false) => &mut confusion.true_negative,
            (true, false) => &mut confusion.false_negative,
        };
        *cell += 1;
    }
    let squares = rows.iter().map(|row| {
        let residual = RowTerms::new(row.log_odds, row.label).residual;
        residual * residual
    });
    Evaluation {
        summary: summarise(rows),
        brier: mean(squares.collect(), rows.len()),
        confusion,
        calibration: calibrate(rows),
    }
}

/// The main figures of `rows`.
pub(crate) fn summarise(rows: &[Scored<'_>]) -> Summary {
    let losses = rows.iter().map(|row| RowTerms::new(row.log_odds, row.label).loss);
    Summary {
        n: rows.len() as u64,
        positives: rows.iter().filter(|row| row.label).count() as u64,
        auc: auc(rows),
        log_loss: mean(losses.collect(), rows.len()),
    }
}

/// The area under the ROC curve: of all pairs of a positive and a negative row, the share in which the positive one has
/// the higher score, ties counted half. Counted in whole numbers and divided once.
fn auc(rows: &[Scored<'_>]) -> Option<f64> {
    let mut sorted: Vec<(f64, bool)> = rows.iter().map(|row| (row.log_odds, row.label)).collect();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut negatives, mut positives, mut twice_won) = (0u128, 0u128, 0u128);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let positive = tied.iter().filter(|(_, label)| *label).count() as u128;
        let negative = tied.len() as u128 - positive;
        twice_won += positive * (2 * negatives + negative);
        negatives += negative;
        positives += positive;
    }
    let pairs = negatives * positives;
    (pairs > 0).then(|| ratio(twice_won, 2 * pairs))
}

fn calibrate(rows: &[Scored<'_>]) -> Vec<CalibrationBin> {
    let mut bins = vec![(0usize, 0usize, Sum::default()); BINS];
    for row in rows {
        let probability = probability(row.log_odds);
        let bin = (1..BINS)
            .take_while(|bin| probability >= ratio(*bin as u128, BINS as u128))
            .count();
        let (count, positives, sum) = &mut bins[bin];
        *count += 1;
        *positives += usize::from(row.label);
        sum.add(probability);
    }
    let bins = bins.into_iter().map(|(count, positives, sum)| CalibrationBin {
        n: count as u64,
        mean_probability: mean(sum, count),
        positive_fraction: (count > 0).then(|| ratio(positives as u128, count as u128)),
    });
    bins.collect()
}

/// The main figures by the value of each group column. Groups under 5 rows are left out and counted.
pub(crate) fn by_group(columns: &[String], train: &[Scored<'_>], holdout: &[Scored<'_>]) -> Vec<GroupColumn> {
    let by_column = columns.iter().enumerate().map(|(index, column)| {
        let (train, holdout) = (partition(train, index), partition(holdout, index));
        let mut values: Vec<Option<&str>> = train.keys().chain(holdout.keys()).copied().collect();
        values.sort_unstable();
        values.dedup();
        let shown = |part: Option<&Vec<Scored<'_>>>| {
            part.filter(|rows| rows.len() >= SMALLEST_GROUP)
                .map(|rows| summarise(rows))
        };
        let all = values.len();
        let groups: Vec<GroupMetrics> = values
            .into_iter()
            .map(|value| GroupMetrics {
                value: value.map(str::to_owned),
                train: shown(train.get(&value)),
                holdout: shown(holdout.get(&value)),
            })
            .filter(|group| group.train.is_some() || group.holdout.is_some())
            .collect();
        GroupColumn {
            column: column.clone(),
            suppressed: (all - groups.len()) as u64,
            groups,
        }
    });
    by_column.collect()
}

fn partition<'a>(rows: &[Scored<'a>], column: usize) -> BTreeMap<Option<&'a str>, Vec<Scored<'a>>> {
    let mut parts: BTreeMap<Option<&str>, Vec<Scored<'_>>> = BTreeMap::new();
    for scored in rows {
        parts
            .entry(scored.row.groups[column].as_deref())
            .or_default()
            .push(*scored);
    }
    parts
}

fn mean(sum: Sum, count: usize) -> Option<f64> {
    (count > 0).then(|| sum.value() / count as f64)
}

fn ratio(part: u128, whole: u128) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(group: Option<&str>) -> LabelledRow {
        LabelledRow::for_test(group)
    }

    fn scored<'a>(row: &'a LabelledRow, scores: &[(f64, bool)]) -> Vec<Scored<'a>> {
        let scored = |(log_odds, label): &(f64, bool)| Scored {
            row,
            label: *label,
            log_odds: *log_odds,
        };
        scores.iter().map(scored).collect()
    }

    #[test]
    fn auc_counts_ties_half() {
        let row = row(None);
        let auc_of = |scores: &[(f64, bool)]| auc(&scored(&row, scores));
        assert_eq!(auc_of(&[(1.0, false), (2.0, true)]), Some(1.0));
        assert_eq!(auc_of(&[(2.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc_of(&[(1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(auc_of(&[(-0.0, false), (0.0, true)]), Some(0.5));
        assert_eq!(auc_of(&[(1.0, true), (2.0, true)]), None);
        assert_eq!(auc_of(&[]), None);
        // Six pairs: two won, two tied, two lost.
        let scores = [(1.0, false), (2.0, false), (2.0, true), (1.0, true), (3.0, false)];
        assert_eq!(auc_of(&scores), Some((2.0 * 1.0 + 2.0) / 12.0));
    }

    #[test]
    fn figures_agree_with_their_definitions() {
        let row = row(None);
        let odds = libm::log(3.0);
        let found = evaluate(&scored(
            &row,
            &[(odds, true), (-odds, false), (odds, false), (-800.0, false)],
        ));
        assert_eq!((found.summary.n, found.summary.positives), (4, 1));
        let log_loss = -(2.0 * libm::log(0.75) + libm::log(0.25)) / 4.0;
        assert!((found.summary.log_loss.expect("rows") - log_loss).abs() < 1e-15);
        assert!((found.brier.expect("rows") - (2.0 * 0.0625 + 0.5625) / 4.0).abs() < 1e-15);
        let confusion = Confusion {
            true_positive: 1,
            false_positive: 1,
            true_negative: 2,
            false_negative: 0,
        };
        assert_eq!(found.confusion, confusion);
        let counts: Vec<u64> = found.calibration.iter().map(|bin| bin.n).collect();
        assert_eq!(counts, [1, 0, 1, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(found.calibration[7].positive_fraction, Some(0.5));
        assert!((found.calibration[7].mean_probability.expect("rows") - 0.75).abs() < 1e-15);
        assert_eq!(found.calibration[1].mean_probability, None);
    }

    #[test]
    fn a_certain_row_falls_into_the_last_bin() {
        let row = row(None);
        let found = evaluate(&scored(&row, &[(1e6, true)]));
        assert_eq!(found.calibration[9].n, 1);
    }

    #[test]
    fn small_groups_are_counted_but_not_shown() {
        let (small, large, none) = (row(Some("small")), row(Some("large")), row(None));
        let scores = [(0.5, true), (0.1, false), (0.2, true), (0.9, true), (0.3, false)];
        let mut train = scored(&large, &scores);
        train.extend(scored(&small, &scores[..4]));
        train.extend(scored(&none, &scores));
        let holdout = scored(&large, &scores[..4]);
        let found = by_group(&["source.kind".to_owned()], &train, &holdout);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].suppressed, 1);
        let values: Vec<_> = found[0].groups.iter().map(|group| group.value.as_deref()).collect();
        assert_eq!(values, [None, Some("large")]);
        assert!(found[0].groups[1].train.is_some() && found[0].groups[1].holdout.is_none());
    }
}
