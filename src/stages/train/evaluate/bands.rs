//! Rows by their probability, in twenty bands of equal width: what thresholds and calibration are counted from.

use crate::model::evaluation::{CalibrationBin, Confusion, Threshold};
use crate::model::probability;
use crate::stages::train::blocks::Sum;

/// Bands of the probability.
pub(crate) const BANDS: usize = 20;

/// The cut at probability 0.5.
const HALF: usize = BANDS / 2;

/// Rows by label (negative, positive) and band.
pub(crate) type Counts = [[u64; BANDS]; 2];

/// The probability at which band `cut` begins: the double nearest to the decimal fraction.
fn at(cut: usize) -> f64 {
    cut as f64 / BANDS as f64
}

/// The band of a row: that of the last cut which its probability reaches.
pub(crate) fn band(log_odds: f64) -> usize {
    band_of(probability(log_odds))
}

fn band_of(probability: f64) -> usize {
    let (mut low, mut high) = (0, BANDS);
    while high - low > 1 {
        let middle = usize::midpoint(low, high);
        match probability >= at(middle) {
            true => low = middle,
            false => high = middle,
        }
    }
    low
}

/// Thresholds at which counts are shown: some of the cuts 1 to 19, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cuts(Vec<usize>);

impl Cuts {
    /// No threshold.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Every threshold.
    #[cfg(test)]
    pub(crate) fn all() -> Self {
        Self((1..BANDS).collect())
    }

    /// As many cuts, of those that `allowed` has (or of all), as leave in every cell at least `least` rows of each label between
    /// one cut and the next. 0.5 is tried first, then the other tenths, then what is left, each time from the lowest.
    pub(crate) fn choose<'a>(
        cells: &(impl IntoIterator<Item = &'a Counts> + Clone),
        allowed: Option<&Self>,
        least: u64,
    ) -> Self {
        let even = (1..BANDS).filter(|cut| cut % 2 == 0 && *cut != HALF);
        let odd = (1..BANDS).filter(|cut| cut % 2 == 1);
        let mut chosen = Self::none();
        for cut in std::iter::once(HALF).chain(even).chain(odd) {
            if allowed.is_some_and(|allowed| !allowed.0.contains(&cut)) {
                continue;
            }
            let place = chosen.0.partition_point(|other| *other < cut);
            chosen.0.insert(place, cut);
            let is_enough = |counts: &Counts| {
                let mut spans = chosen.spans();
                spans.all(|(from, to)| counts.iter().all(|bands| bands[from..to].iter().sum::<u64>() >= least))
            };
            if !cells.clone().into_iter().all(is_enough) {
                chosen.0.remove(place);
            }
        }
        chosen
    }

    /// The bands between one cut and the next, as ranges.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        let begins = std::iter::once(0).chain(self.0.iter().copied());
        let ends = self.0.iter().copied().chain([BANDS]);
        begins.zip(ends)
    }
}

/// Rows in bands.
#[derive(Default)]
pub(crate) struct Bands {
    counts: Counts,
    /// Σ probability.
    probability: [Sum; BANDS],
}

impl Bands {
    /// Counts a row.
    pub(crate) fn add(&mut self, probability: f64, label: bool) {
        let band = band_of(probability);
        self.counts[usize::from(label)][band] += 1;
        self.probability[band].add(probability);
    }

    fn at_cut(&self, cut: usize) -> Confusion {
        let [negatives, positives] = &self.counts;
        Confusion {
            true_positive: positives[cut..].iter().sum(),
            false_positive: negatives[cut..].iter().sum(),
            true_negative: negatives[..cut].iter().sum(),
            false_negative: positives[..cut].iter().sum(),
        }
    }

    /// The counts at probability 0.5, if that is one of the cuts.
    pub(crate) fn confusion(&self, cuts: &Cuts) -> Option<Confusion> {
        cuts.0.contains(&HALF).then(|| self.at_cut(HALF))
    }

    /// What each cut as a threshold gives.
    pub(crate) fn thresholds(&self, cuts: &Cuts) -> Vec<Threshold> {
        cuts.0
            .iter()
            .map(|cut| threshold(at(*cut), self.at_cut(*cut)))
            .collect()
    }

    /// Mean probability and frequency from one cut to the next, of those that are tenths.
    pub(crate) fn calibration(&self, cuts: &Cuts) -> Vec<CalibrationBin> {
        let tenths = Cuts(cuts.0.iter().copied().filter(|cut| cut % 2 == 0).collect());
        let bin = |(from, to): (usize, usize)| {
            let [negatives, positives] = &self.counts;
            let positives: u64 = positives[from..to].iter().sum();
            let n = positives + negatives[from..to].iter().sum::<u64>();
            let mut probability = Sum::default();
            for sum in &self.probability[from..to] {
                probability.merge(*sum);
            }
            CalibrationBin {
                lower: at(from),
                upper: at(to),
                n,
                mean_probability: (n > 0).then(|| probability.value() / n as f64),
                positive_fraction: fraction(positives, n),
            }
        };
        tenths.spans().map(bin).collect()
    }
}

fn threshold(threshold: f64, confusion: Confusion) -> Threshold {
    let Confusion {
        true_positive,
        false_positive,
        true_negative,
        false_negative,
    } = confusion;
    let right = true_positive + true_negative;
    let wrong = false_positive + false_negative;
    Threshold {
        threshold,
        confusion,
        sensitivity: fraction(true_positive, true_positive + false_negative),
        specificity: fraction(true_negative, true_negative + false_positive),
        positive_predictive_value: fraction(true_positive, true_positive + false_positive),
        negative_predictive_value: fraction(true_negative, true_negative + false_negative),
        f1: fraction(2 * true_positive, 2 * true_positive + wrong),
        accuracy: fraction(right, right + wrong),
    }
}

fn fraction(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_in_the_band_whose_beginning_it_reaches() {
        assert_eq!(band(0.0), 10);
        assert_eq!(band(-1e-9), 9);
        assert_eq!((band(-1e6), band(1e6)), (0, 19));
        // ln(0.75 / 0.25) is 0.75, or the double before it: the band says which.
        let odds = libm::log(3.0);
        assert_eq!(band(odds) >= 15, probability(odds) >= 0.75);
        assert_eq!(at(3).to_bits(), 0.15f64.to_bits());
    }

    #[test]
    fn thresholds_and_bins_count_the_same_rows() {
        let rows = [
            (2.0, true),
            (1.0, false),
            (0.1, true),
            (-0.1, true),
            (-1.0, false),
            (-3.0, false),
        ];
        let mut bands = Bands::default();
        for (log_odds, label) in rows {
            bands.add(probability(log_odds), label);
        }
        let expected = Confusion {
            true_positive: 2,
            false_positive: 1,
            true_negative: 2,
            false_negative: 1,
        };
        assert_eq!(bands.confusion(&Cuts::all()), Some(expected));
        assert_eq!(bands.confusion(&Cuts::none()), None);
        let table = bands.thresholds(&Cuts::all());
        assert_eq!(table.len(), 19);
        assert_eq!(
            (table[9].confusion, table[9].threshold.to_bits()),
            (expected, 0.5f64.to_bits())
        );
        assert_eq!(table[9].f1, Some(4.0 / 6.0));
        assert_eq!(table[18].positive_predictive_value, None);
        let bins = bands.calibration(&Cuts::all());
        assert_eq!(bins.len(), 10);
        assert_eq!(bins.iter().map(|bin| bin.n).sum::<u64>(), 6);
        assert_eq!((bins[8].n, bins[8].positive_fraction), (1, Some(1.0)));
        assert!((bins[8].mean_probability.expect("a row") - probability(2.0)).abs() < 1e-16);
        let whole = bands.calibration(&Cuts::none());
        assert_eq!((whole.len(), whole[0].n), (1, 6));
    }

    #[test]
    fn cuts_leave_enough_rows_of_each_label_between_them() {
        let mut counts = [[3; BANDS]; 2];
        assert_eq!(Cuts::choose(&[&counts], None, 3), Cuts::all());
        assert_eq!(Cuts::choose(&[&counts], None, 61), Cuts::none());
        // Pairs of bands are enough: tenths.
        let tenths = Cuts(vec![2, 4, 6, 8, 10, 12, 14, 16, 18]);
        assert_eq!(Cuts::choose(&[&counts], None, 5), tenths);
        counts[1][0] = 0;
        counts[1][1] = 0;
        let chosen = Cuts::choose(&[&counts], None, 5);
        assert_eq!(chosen.0, [4, 6, 8, 10, 12, 14, 16, 18]);
        assert_eq!(Cuts::choose(&[&counts], Some(&Cuts(vec![4, 5])), 5).0, [4]);
        assert_eq!(Cuts::choose(&[&counts], None, 0), Cuts::all());
    }
}
