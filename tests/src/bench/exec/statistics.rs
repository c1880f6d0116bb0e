//! Medians, and how sure they are.

use crate::bench::quantile;
use crate::bench::rows::scatter;

/// Samples drawn to find an interval.
const SAMPLES: u64 = 10_000;

/// A value and the interval that holds it in 95 of 100 cases.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimate {
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Estimate {
    /// A value without an interval.
    pub(super) const fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }
}

/// The median; 0 of nothing.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => 0.0,
        length if length % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

/// The standard deviation; 0 of fewer than two values.
pub(super) fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() - 1) as f64).sqrt()
}

/// The median with its interval by the bootstrap's percentiles (Efron 1979): the medians of samples
/// drawn from the values with replacement, always the same ones.
pub(super) fn estimate(values: &[f64]) -> Estimate {
    let value = median(values);
    if values.len() < 2 {
        return Estimate::exact(value);
    }
    let mut draws = 0;
    let mut medians: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let sample: Vec<f64> = (0..values.len())
                .map(|_| {
                    draws += 1;
                    values[(scatter(draws) % values.len() as u64) as usize]
                })
                .collect();
            median(&sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Estimate { value, low: quantile(&medians, 0.025), high: quantile(&medians, 0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_its_interval() {
        let values: Vec<f64> = (0..61_u64).map(|index| (scatter(index) % 1_000) as f64).collect();
        let Estimate { value, low, high } = estimate(&values);
        assert!(low < value && value < high, "{low} {value} {high}");
        // For 61 values the binomial distribution gives the 23rd and the 39th.
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        assert!((sorted[20]..=sorted[24]).contains(&low), "{low} {sorted:?}");
        assert!((sorted[36]..=sorted[40]).contains(&high), "{high} {sorted:?}");
        assert_eq!(estimate(&values), estimate(&values));
    }

    #[test]
    fn few_values_have_a_median_and_a_deviation() {
        assert_eq!(median(&[]), 0.0);
        assert_eq!(median(&[3.0, 1.0]), 2.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(estimate(&[4.0]), Estimate::exact(4.0));
        assert_eq!(deviation(&[1.0, 3.0]), 2.0_f64.sqrt());
    }
}
