//! The normal and the chi-square distribution, in operations whose bits do not depend on the platform.

/// The `z` for which a standard normal number lies within ±z with the probability `level`, which is in (0, 1).
///
/// By Newton's method on ln erfc(z/√2) = ln(1 − level). That function is concave and falls, so the first step from 0 lands
/// at or beyond the root, and the others come back to it one-sidedly; `erfc` is that of `libm` (FreeBSD's, below 1 ulp).
pub(crate) fn normal_quantile(level: f64) -> f64 {
    let wanted = libm::log1p(-level);
    let mut z: f64 = 0.0;
    // Six to eight steps are enough; the bound is for a level next to 1, where steps are of the size of rounding.
    for _ in 0..100 {
        let tail = libm::erfc(z / std::f64::consts::SQRT_2);
        let slope = -libm::exp(-0.5 * z * z) * (2.0 / std::f64::consts::PI).sqrt() / tail;
        let next = z - (libm::log(tail) - wanted) / slope;
        if !next.is_finite() || (next - z).abs() <= 1e-16 * z.abs() {
            break;
        }
        z = next;
    }
    z
}

/// The probability that a chi-square number of so many degrees of freedom is `statistic` or more.
///
/// By the finite sums of Abramowitz and Stegun 26.4.4 and 26.4.5, whose terms are all positive, so that nothing cancels: with
/// a = degrees/2 and x = statistic/2, Q(a, x) is erfc(√x) or 0 (at a = ½ or 0), plus xʲ·e⁻ˣ/Γ(j + 1) for each j = a − 1,
/// a − 2, … not below 0.
pub(crate) fn chi_square_tail(statistic: f64, degrees: u64) -> f64 {
    if statistic <= 0.0 || degrees == 0 {
        return if statistic <= 0.0 { 1.0 } else { 0.0 };
    }
    let x = 0.5 * statistic;
    let is_odd = degrees % 2 == 1;
    let mut tail = if is_odd { libm::erfc(x.sqrt()) } else { 0.0 };
    let first = if is_odd { 0.5 } else { 0.0 };
    for index in 0..degrees / 2 {
        let power = index as f64 + first;
        // In logarithms, for the factors overflow long before the term does.
        tail += libm::exp(power * libm::log(x) - x - libm::lgamma(power + 1.0));
    }
    tail.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// erf⁻¹ and the incomplete gamma function by mpmath with 40 digits, rounded to doubles.
    const QUANTILES: [(f64, f64); 7] = [
        (0.5, 0.674_489_750_196_081_7),
        (0.8, 1.281_551_565_544_600_6),
        (0.9, 1.644_853_626_951_472_9),
        (0.95, 1.959_963_984_540_053_8),
        (0.99, 2.575_829_303_548_900_4),
        (0.999, 3.290_526_731_491_894_5),
        (0.999_999, 4.891_638_475_692_932),
    ];
    const TAILS: [(f64, u64, f64); 12] = [
        (3.841_458_820_694_124, 1, 0.050_000_000_000_000_06),
        (0.001, 1, 0.974_772_879_369_960_4),
        (5.0, 2, 0.082_084_998_623_898_8),
        (12.5, 3, 0.005_852_662_593_326_733),
        (15.5, 8, 0.050_122_054_532_665_224),
        (2.5, 8, 0.961_730_945_710_377_8),
        (18.307, 10, 0.050_000_589_091_398_12),
        (30.0, 23, 0.149_401_647_696_322_86),
        (900.0, 23, 2.295_719_210_742_428_7e-175),
        (1000.0, 1000, 0.494_052_853_829_239_64),
        (1200.0, 1001, 1.349_007_580_754_396e-5),
        (0.5, 40, 1.0),
    ];

    fn assert_close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-12 * expected.abs(),
            "{found:e} is not {expected:e}"
        );
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (level, z) in QUANTILES {
            assert_close(normal_quantile(level), z);
            assert!((libm::erf(z / std::f64::consts::SQRT_2) - level).abs() < 1e-15);
        }
    }

    #[test]
    fn tails_are_those_of_the_tables() {
        for (statistic, degrees, tail) in TAILS {
            assert_close(chi_square_tail(statistic, degrees), tail);
        }
        assert_eq!(chi_square_tail(0.0, 3).to_bits(), 1f64.to_bits());
        assert_eq!(chi_square_tail(1e6, 2).to_bits(), 0f64.to_bits());
    }
}
