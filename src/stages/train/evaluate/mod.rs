//! How well a model's probabilities agree with the labels, overall and by group, and what of it may be shown.

pub(crate) mod bands;
pub(crate) mod disclosure;
pub(crate) mod distributions;
mod hosmer_lemeshow;
pub(crate) mod population;
mod ranking;
mod weighted;

use self::bands::{Bands, Cuts};
use self::ranking::Ranking;
use self::weighted::Weighted;
use super::blocks::Sum;
use super::loss::RowTerms;
use super::weights::totals;
use crate::model::evaluation::Evaluation;

/// The log odds that a model gives to rows, beside their labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Scores {
    /// The log odds of the positive label.
    pub(crate) log_odds: Vec<f64>,
    /// Whether the label is the positive one.
    pub(crate) labels: Vec<bool>,
    /// What each row weighs; nothing if all weigh alike.
    pub(crate) weights: Option<Vec<f64>>,
}

impl Scores {
    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// How many rows have the negative and the positive label.
    pub(crate) fn totals(&self) -> [u64; 2] {
        let positives = self.labels.iter().filter(|label| **label).count();
        [(self.len() - positives) as u64, positives as u64]
    }

    /// Each row's log odds and label.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (f64, bool)> {
        self.log_odds.iter().copied().zip(self.labels.iter().copied())
    }

    /// The rows for which `keep`, told their place, says yes.
    pub(crate) fn select(&self, keep: impl Fn(usize) -> bool) -> Self {
        let kept = self.rows().enumerate().filter(|(place, _)| keep(*place));
        let (log_odds, labels) = kept.map(|(_, row)| row).unzip();
        let weights = self.weights.as_ref().map(|weights| {
            let kept = weights.iter().enumerate().filter(|(place, _)| keep(*place));
            kept.map(|(_, weight)| *weight).collect()
        });
        Self {
            log_odds,
            labels,
            weights,
        }
    }

    /// Σ log loss, each row counted as often as it weighs.
    pub(crate) fn loss(&self) -> f64 {
        let terms = self.rows().map(|(log_odds, label)| RowTerms::new(log_odds, label).loss);
        let sum: Sum = match &self.weights {
            None => terms.collect(),
            Some(weights) => terms.zip(weights).map(|(term, weight)| weight * term).collect(),
        };
        sum.value()
    }

    /// How much the rows with the negative and the positive label weigh; how many there are if all weigh alike.
    pub(crate) fn weight_totals(&self) -> [f64; 2] {
        totals(&self.labels, self.weights.as_deref())
    }
}

/// How rows are measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measure {
    /// The level of confidence intervals, in (0, 1).
    pub(crate) confidence: f64,
    /// Rows that have fewer than this of either label have no figures.
    pub(crate) least: u64,
    /// Whether the model was fitted to these rows, which costs Hosmer and Lemeshow's statistic two degrees of freedom.
    pub(crate) fitted: bool,
}

/// Everything that is measured on `scores`; thresholds are those of `cuts`.
pub(crate) fn evaluate(scores: &Scores, cuts: &Cuts, measure: Measure) -> Evaluation {
    let [negatives, positives] = scores.totals();
    let counts = Evaluation {
        n: negatives + positives,
        positives,
        ..Evaluation::default()
    };
    if negatives.min(positives) < measure.least {
        return counts;
    }
    let rank = || match &scores.weights {
        None => {
            let ranking = Ranking::new(scores);
            Evaluation {
                auc: ranking.auc(),
                auc_interval: ranking.auc_interval(measure.confidence),
                average_precision: ranking.average_precision(),
                hosmer_lemeshow: hosmer_lemeshow::test(ranking.rows(), measure.fitted),
                ..counts
            }
        }
        // Both tests are about rows that were drawn one by one.
        Some(weights) => {
            let ranking = Weighted::new(scores, weights);
            Evaluation {
                auc: ranking.auc(),
                average_precision: ranking.average_precision(),
                ..counts
            }
        }
    };
    let (Figures { bands, log_loss, brier }, ranked) = rayon::join(|| Figures::of(scores), rank);
    Evaluation {
        log_loss,
        brier,
        confusion: bands.confusion(cuts),
        calibration: bands.calibration(cuts),
        thresholds: bands.thresholds(cuts),
        ..ranked
    }
}

/// What is added up of rows in their order: all of it at once, for what a row adds is an `exp` and a `log1p`.
struct Figures {
    bands: Bands,
    log_loss: Option<f64>,
    brier: Option<f64>,
}

impl Figures {
    fn of(scores: &Scores) -> Self {
        let mut bands = Bands::default();
        let (mut loss, mut squares) = (Sum::default(), Sum::default());
        let mut add = |(log_odds, label), weigh: &dyn Fn(f64) -> f64| {
            let terms = RowTerms::new(log_odds, label);
            bands.add(terms.probability, label);
            loss.add(weigh(terms.loss));
            squares.add(weigh(terms.residual * terms.residual));
        };
        match &scores.weights {
            None => scores.rows().for_each(|row| add(row, &|term| term)),
            Some(weights) => {
                let rows = scores.rows().zip(weights);
                rows.for_each(|(row, weight)| add(row, &|term| weight * term));
            }
        }
        let [negatives, positives] = scores.weight_totals();
        let mean = |sum: Sum| (scores.len() > 0).then(|| sum.value() / (negatives + positives));
        Self {
            log_loss: mean(loss),
            brier: mean(squares),
            bands,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_agree_with_their_definitions() {
        let odds = libm::log(3.0);
        let scores = Scores {
            log_odds: vec![odds, -odds, odds, -800.0],
            labels: vec![true, false, false, false],
            weights: None,
        };
        let mut measure = Measure {
            confidence: 0.95,
            least: 1,
            fitted: true,
        };
        let found = evaluate(&scores, &Cuts::none(), measure);
        assert_eq!((found.n, found.positives), (4, 1));
        let log_loss = -(2.0 * libm::log(0.75) + libm::log(0.25)) / 4.0;
        assert!((found.log_loss.expect("rows") - log_loss).abs() < 1e-15);
        assert!((found.brier.expect("rows") - (2.0 * 0.0625 + 0.5625) / 4.0).abs() < 1e-15);
        // One positive row is too few to show.
        measure.least = 2;
        let hidden = Evaluation {
            n: 4,
            positives: 1,
            ..Evaluation::default()
        };
        assert_eq!(evaluate(&scores, &Cuts::none(), measure), hidden);
    }
}
