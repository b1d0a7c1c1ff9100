//! What rows weigh: a row of weight w counts like w rows that are equal.

use super::blocks::Sum;

/// How many rows have the negative and the positive label, each counted as often as it weighs.
pub(crate) fn totals(labels: &[bool], weights: Option<&[f64]>) -> [f64; 2] {
    let Some(weights) = weights else {
        let positives = labels.iter().filter(|label| **label).count();
        return [labels.len() - positives, positives].map(|count| count as f64);
    };
    [false, true].map(|wanted| {
        let of_label = labels.iter().zip(weights).filter(|(label, _)| **label == wanted);
        of_label.map(|(_, weight)| *weight).collect::<Sum>().value()
    })
}
