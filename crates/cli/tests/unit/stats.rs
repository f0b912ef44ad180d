//! Tests of `stats.rs` that need access to private items.

use super::*;

#[test]
fn quantiles_interpolate_between_sorted_samples() {
    let samples = [4.0, 1.0, 3.0, 2.0];
    for (q, value) in [(0.0, 1.0), (0.5, 2.5), (0.95, 3.85), (1.0, 4.0)] {
        assert!((quantile(&samples, q) - value).abs() < 1e-12, "{q}");
    }
    assert!((median(&[7.0]) - 7.0).abs() < 1e-12, "one sample");
    assert!(median(&[]).is_nan(), "no sample");
}
