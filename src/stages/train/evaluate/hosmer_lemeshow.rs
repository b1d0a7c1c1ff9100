//! Hosmer and Lemeshow's test: whether frequencies agree with probabilities from the lowest to the highest risk.

use super::distributions::chi_square_tail;
use crate::model::evaluation::ChiSquare;
use crate::model::probability;
use crate::stages::train::blocks::Sum;

/// Deciles of risk.
const GROUPS: usize = 10;

/// The statistic of Hosmer and Lemeshow (1980), Σ (O − E)² / (n·p̄·(1 − p̄)) over groups of risk, for `rows` sorted by their
/// log odds.
///
/// Of n rows the one at place i (from 0) is in group ⌊10·i/n⌋, and rows of equal log odds are all where the first of them
/// is: so the groups are a function of the scores alone. Groups that get no row are not counted. On rows that the model
/// was fitted to it has g − 2 degrees of freedom, on others g (Hosmer, Lemeshow and Sturdivant 2013, section 5.2.2).
///
/// Nothing if there are fewer than three groups, or one has no variance at all.
pub(crate) fn test(rows: &[(f64, bool)], fitted: bool) -> Option<ChiSquare> {
    let mut groups = [(0usize, 0usize, Sum::default()); GROUPS];
    let mut place = 0;
    for tied in rows.chunk_by(|a, b| a.0 == b.0) {
        let (count, positives, expected) = &mut groups[place * GROUPS / rows.len()];
        for (log_odds, label) in tied {
            *count += 1;
            *positives += usize::from(*label);
            expected.add(probability(*log_odds));
        }
        place += tied.len();
    }
    let mut statistic = Sum::default();
    let mut used = 0;
    for (count, positives, expected) in groups.into_iter().filter(|(count, ..)| *count > 0) {
        used += 1;
        let expected = expected.value();
        let difference = positives as f64 - expected;
        let variance = expected * (1.0 - expected / count as f64);
        if variance <= 0.0 {
            return None;
        }
        statistic.add(difference * difference / variance);
    }
    let statistic = Some(statistic.value()).filter(|statistic| statistic.is_finite() && used > 2)?;
    let degrees_of_freedom = if fitted { used - 2 } else { used };
    Some(ChiSquare {
        statistic,
        degrees_of_freedom,
        p_value: chi_square_tail(statistic, degrees_of_freedom),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_equal_risk_are_where_the_first_of_them_is() {
        // Four scores, which begin at 0, 5, 50 and 95 of 100 rows: the first two are in one group.
        let log_odds = |n: u32| match n {
            0..5 => -2.0,
            5..50 => -1.0,
            50..95 => 0.5,
            _ => 2.0,
        };
        let rows: Vec<(f64, bool)> = (0..100).map(|n| (log_odds(n), n * n % 7 < 3)).collect();
        let expected: f64 = [0..50, 50..95, 95..100]
            .map(|group: std::ops::Range<usize>| {
                let count = group.len() as f64;
                let observed = rows[group.clone()].iter().filter(|(_, label)| *label).count() as f64;
                let sum: f64 = rows[group].iter().map(|(log_odds, _)| probability(*log_odds)).sum();
                (observed - sum) * (observed - sum) / (sum * (1.0 - sum / count))
            })
            .iter()
            .sum();
        let found = test(&rows, true).expect("three groups");
        assert!((found.statistic - expected).abs() < 1e-12, "{found:?} {expected}");
        assert_eq!(found.degrees_of_freedom, 1);
        let unseen = test(&rows, false).expect("three groups");
        assert_eq!(unseen.degrees_of_freedom, 3);
        assert!((unseen.p_value - chi_square_tail(expected, 3)).abs() < 1e-14);
    }

    #[test]
    fn without_enough_groups_or_variance_there_is_no_test() {
        assert_eq!(test(&[], true), None);
        assert_eq!(test(&[(0.5, true), (0.5, false), (0.6, true)], true), None);
        assert_eq!(test(&[(-1e6, false), (0.0, true), (1.0, true)], true), None);
    }
}
