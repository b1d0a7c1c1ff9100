//! The areas under the ROC and the precision-recall curve of rows that do not weigh alike.

use super::Scores;
use crate::stages::train::blocks::Sum;

/// What rows of equal log odds weigh by their labels, the lowest first.
pub(super) struct Weighted {
    /// For each group of equal scores: negative and positive rows.
    ties: Vec<[f64; 2]>,
    totals: [f64; 2],
}

impl Weighted {
    /// Sorts the rows.
    pub(super) fn new(scores: &Scores, weights: &[f64]) -> Self {
        let mut rows: Vec<(f64, bool, f64)> = scores
            .rows()
            .zip(weights)
            .map(|((log_odds, label), weight)| (log_odds, label, *weight))
            .collect();
        // By the weight as well, so that sums over equal scores depend on nothing else.
        rows.sort_unstable_by(|a, b| {
            let by_score = a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            by_score.then(a.2.total_cmp(&b.2))
        });
        let ties = rows.chunk_by(|a, b| a.0 == b.0).map(|tied| {
            [false, true].map(|label| {
                let of_label = tied.iter().filter(|row| row.1 == label);
                of_label.map(|row| row.2).collect::<Sum>().value()
            })
        });
        let ties: Vec<[f64; 2]> = ties.collect();
        let total = |label: usize| ties.iter().map(|tied| tied[label]).collect::<Sum>().value();
        let totals = [0, 1].map(total);
        Self { ties, totals }
    }

    /// The area under the ROC curve: of the weight of all pairs of a positive and a negative row, which is the product of the two
    /// weights, the share of those in which the positive one has the higher score, ties counted half.
    pub(super) fn auc(&self) -> Option<f64> {
        let (mut below, mut won) = (Sum::default(), Sum::default());
        for tied in &self.ties {
            won.add(tied[1] * (below.value() + 0.5 * tied[0]));
            below.add(tied[0]);
        }
        let pairs = self.totals[0] * self.totals[1];
        (pairs > 0.0).then(|| won.value() / pairs)
    }

    /// Average precision: Σ (Rᵢ − Rᵢ₋₁) · Pᵢ over the distinct scores, highest first, precision and recall by weight.
    pub(super) fn average_precision(&self) -> Option<f64> {
        let (mut negatives, mut positives, mut sum) = (Sum::default(), Sum::default(), Sum::default());
        for tied in self.ties.iter().rev() {
            negatives.add(tied[0]);
            positives.add(tied[1]);
            if tied[1] > 0.0 {
                sum.add(tied[1] * (positives.value() / (positives.value() + negatives.value())));
            }
        }
        (self.totals[1] > 0.0).then(|| sum.value() / self.totals[1])
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranking::Ranking;
    use super::*;

    #[test]
    fn a_row_of_weight_three_counts_like_three_rows() {
        let rows: Vec<(f64, bool, u32)> = (0..80u32)
            .map(|n| (f64::from(n * n % 17) + f64::from(n % 3), n * n % 7 < 3, 1 + n % 4))
            .collect();
        let repeated = rows.iter().flat_map(|row| vec![(row.0, row.1); row.2 as usize]);
        let (log_odds, labels) = repeated.unzip();
        let repeated = Ranking::new(&Scores {
            log_odds,
            labels,
            weights: None,
        });
        let (log_odds, labels) = rows.iter().map(|row| (row.0, row.1)).unzip();
        let scores = Scores {
            log_odds,
            labels,
            weights: None,
        };
        for unit in [1.0, 0.125] {
            let weights: Vec<f64> = rows.iter().map(|row| f64::from(row.2) * unit).collect();
            let weighted = Weighted::new(&scores, &weights);
            for (found, expected) in [
                (weighted.auc(), repeated.auc()),
                (weighted.average_precision(), repeated.average_precision()),
            ] {
                assert!(
                    (found.expect("rows") - expected.expect("rows")).abs() < 1e-15,
                    "{found:?}"
                );
            }
            // Rows in another order are the same rows.
            let order: Vec<usize> = (0..80).map(|n| n * 37 % 80).collect();
            let shuffled = Scores {
                log_odds: order.iter().map(|row| scores.log_odds[*row]).collect(),
                labels: order.iter().map(|row| scores.labels[*row]).collect(),
                weights: None,
            };
            let weights: Vec<f64> = order.iter().map(|row| weights[*row]).collect();
            let again = Weighted::new(&shuffled, &weights);
            assert_eq!(
                (again.auc(), again.average_precision()),
                (weighted.auc(), weighted.average_precision())
            );
        }
        let one_label = Scores {
            log_odds: vec![1.0],
            labels: vec![true],
            weights: None,
        };
        assert_eq!(Weighted::new(&one_label, &[2.0]).auc(), None);
    }
}
