//! What depends on the order of the scores alone: the areas under the ROC and the precision-recall curve.

use rayon::prelude::*;

use super::Scores;
use super::distributions::normal_quantile;
use crate::model::evaluation::AucInterval;
use crate::stages::train::blocks::Sum;

/// Rows by their log odds, lowest first, in groups of equal ones.
pub(crate) struct Ranking {
    rows: Vec<(f64, bool)>,
    /// For each group of equal scores: negative and positive rows.
    ties: Vec<[u64; 2]>,
    totals: [u128; 2],
}

impl Ranking {
    /// Sorts the rows.
    pub(crate) fn new(scores: &Scores) -> Self {
        let mut rows: Vec<(f64, bool)> = scores.rows().collect();
        // Equal rows are equal in all that is asked of them, so their order does not matter.
        rows.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let ties = rows.chunk_by(|a, b| a.0 == b.0).map(|tied| {
            let positives = tied.iter().filter(|(_, label)| *label).count();
            [(tied.len() - positives) as u64, positives as u64]
        });
        let ties = ties.collect();
        let [negatives, positives] = scores.totals();
        Self {
            rows,
            ties,
            totals: [negatives.into(), positives.into()],
        }
    }

    /// Log odds and label of each row, lowest first.
    pub(crate) fn rows(&self) -> &[(f64, bool)] {
        &self.rows
    }

    /// For each group of equal scores with its counts, twice the number of rows of the other label that a row of it beats: a
    /// negative row beats positive ones above it, a positive row negative ones below it, ties count half.
    fn twice_beaten(&self) -> impl Iterator<Item = ([u128; 2], [u128; 2])> {
        let mut below = [0, 0];
        self.ties.iter().map(move |tied| {
            let tied = tied.map(u128::from);
            let beaten_by_positive = 2 * below[0] + tied[0];
            below = [below[0] + tied[0], below[1] + tied[1]];
            let beaten_by_negative = 2 * (self.totals[1] - below[1]) + tied[1];
            (tied, [beaten_by_negative, beaten_by_positive])
        })
    }

    /// The area under the ROC curve: of all pairs of a positive and a negative row, the share in which the positive one has
    /// the higher score, ties counted half. Counted in whole numbers and divided once.
    pub(crate) fn auc(&self) -> Option<f64> {
        let [negatives, positives] = self.totals;
        let twice_won: u128 = self.twice_beaten().map(|(tied, beaten)| tied[1] * beaten[1]).sum();
        let pairs = negatives * positives;
        (pairs > 0).then(|| ratio(twice_won, 2 * pairs))
    }

    /// The interval of DeLong, DeLong and Clarke-Pearson (1988). Their placements are read off midranks, as Sun and Xu (2014)
    /// do; the variances of the placements are counted in whole numbers and divided once.
    pub(crate) fn auc_interval(&self, confidence: f64) -> Option<AucInterval> {
        let area = self.auc()?;
        let mut sums = [(0u128, 0u128); 2];
        for (tied, beaten) in self.twice_beaten() {
            for (label, (sum, squares)) in sums.iter_mut().enumerate() {
                *sum += tied[label] * beaten[label];
                *squares += tied[label] * beaten[label] * beaten[label];
            }
        }
        let variance = |label: usize| {
            let (rows, others) = (self.totals[label], self.totals[1 - label]);
            if rows < 2 {
                return None;
            }
            let (sum, squares) = sums[label];
            let spread = rows * squares - sum * sum;
            // (spread / rows) / (rows - 1) is the variance of twice the counts; a placement is a count over `others`.
            Some(spread as f64 / rows as f64 / (rows - 1) as f64 / (4 * others * others) as f64 / rows as f64)
        };
        let standard_error = (variance(0)? + variance(1)?).sqrt();
        let reach = normal_quantile(confidence) * standard_error;
        Some(AucInterval {
            standard_error,
            lower: (area - reach).max(0.0),
            upper: (area + reach).min(1.0),
        })
    }

    /// Average precision: Σ (Rᵢ − Rᵢ₋₁) · Pᵢ over the distinct scores, highest first, with Pᵢ and Rᵢ the precision and the
    /// recall of predicting positive from that score on. Nothing is interpolated.
    pub(crate) fn average_precision(&self) -> Option<f64> {
        let (mut negatives, mut positives) = (0u64, 0u64);
        let mut sum = Sum::default();
        for tied in self.ties.iter().rev() {
            negatives += tied[0];
            positives += tied[1];
            if tied[1] > 0 {
                sum.add(tied[1] as f64 * ratio(positives.into(), (positives + negatives).into()));
            }
        }
        (positives > 0).then(|| sum.value() / positives as f64)
    }
}

fn ratio(part: u128, whole: u128) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(rows: &[(f64, bool)]) -> Ranking {
        let (log_odds, labels) = rows.iter().copied().unzip();
        Ranking::new(&Scores {
            log_odds,
            labels,
            weights: None,
        })
    }

    #[test]
    fn auc_counts_ties_half() {
        let auc_of = |rows: &[(f64, bool)]| ranking(rows).auc();
        assert_eq!(auc_of(&[(1.0, false), (2.0, true)]), Some(1.0));
        assert_eq!(auc_of(&[(2.0, false), (1.0, true)]), Some(0.0));
        assert_eq!(auc_of(&[(1.0, false), (1.0, true)]), Some(0.5));
        assert_eq!(auc_of(&[(-0.0, false), (0.0, true)]), Some(0.5));
        assert_eq!(auc_of(&[(1.0, true), (2.0, true)]), None);
        assert_eq!(auc_of(&[]), None);
        // Six pairs: two won, two tied, two lost.
        let rows = [(1.0, false), (2.0, false), (2.0, true), (1.0, true), (3.0, false)];
        assert_eq!(auc_of(&rows), Some((2.0 * 1.0 + 2.0) / 12.0));
    }

    /// Some rows with ties, and the placements of each by looking at every pair.
    fn placements() -> (Vec<(f64, bool)>, [Vec<f64>; 2]) {
        let rows: Vec<(f64, bool)> = (0..60u32)
            .map(|n| (f64::from(n * n % 17) + f64::from(n % 3), n * n % 7 < 3))
            .collect();
        let of = |label: bool| {
            let own = rows.iter().filter(|row| row.1 == label);
            let placement = |(score, _): &(f64, bool)| {
                let other: Vec<f64> = rows.iter().filter(|row| row.1 != label).map(|row| row.0).collect();
                let won = other.iter().map(|other| {
                    let ahead = if label { score - other } else { other - score };
                    0.5 * f64::from(u8::from(ahead >= 0.0)) + 0.5 * f64::from(u8::from(ahead > 0.0))
                });
                won.sum::<f64>() / other.len() as f64
            };
            own.map(placement).collect()
        };
        let both = [of(false), of(true)];
        (rows, both)
    }

    #[test]
    fn delongs_error_is_that_of_its_definition() {
        let (rows, placements) = placements();
        let variance = |values: &[f64]| {
            let count = values.len() as f64;
            let mean = values.iter().sum::<f64>() / count;
            values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / (count - 1.0) / count
        };
        let expected = (variance(&placements[0]) + variance(&placements[1])).sqrt();
        let found = ranking(&rows).auc_interval(0.95).expect("an interval");
        assert!((found.standard_error - expected).abs() < 1e-15, "{found:?} {expected}");
        let area = ranking(&rows).auc().expect("both labels");
        assert!((found.upper - area - 1.959_963_984_540_054 * expected).abs() < 1e-14);
        assert_eq!(
            ranking(&[(1.0, false), (2.0, true), (0.5, false)]).auc_interval(0.95),
            None
        );
    }

    #[test]
    fn average_precision_takes_equal_scores_at_once() {
        let found = |rows: &[(f64, bool)]| ranking(rows).average_precision();
        // From the top: 2 of 2 right (both positives of three, tied), then 3 of 4.
        let rows = [(3.0, true), (3.0, true), (2.0, false), (2.0, true), (1.0, false)];
        assert_eq!(found(&rows), Some((2.0 * 1.0 + 1.0 * 0.75) / 3.0));
        assert_eq!(found(&[(1.0, false)]), None);
        assert_eq!(found(&[(1.0, true)]), Some(1.0));
    }
}
