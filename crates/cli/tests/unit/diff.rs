//! Tests of `bench/diff.rs` that need access to private items.

use super::*;

#[test]
fn intervals_hold_the_true_ratio_about_as_often_as_they_say() {
    // Exponentially distributed times, which vary widely; the second set is 1.5 times as long.
    let mut random = Random(1);
    let mut draw = |scale: f64| -> Vec<f64> {
        let mut unit = || ((random.next() >> 11) as f64 + 1.0) * 2.0f64.powi(-53);
        (0..25).map(|_| 1.0 - scale * unit().ln()).collect()
    };
    // Medians: 1 + ln 2 and 1 + 1.5 ln 2.
    let ln2 = std::f64::consts::LN_2;
    let ratio = (1.0 + 1.5 * ln2) / (1.0 + ln2);
    let trials = 200;
    let held = (0..trials)
        .filter(|_| {
            let [low, high] = bootstrap(&draw(1.0), &draw(1.5)).unwrap();
            (low..=high).contains(&ratio)
        })
        .count();
    assert!((180..=200).contains(&held), "{held} of {trials}");
}

#[test]
fn verdicts_follow_from_the_interval() {
    for (interval, verdict) in [
        (None, Verdict::TooFewSamples),
        (Some([1.06, 1.2]), Verdict::Regression),
        (Some([1.05, 1.2]), Verdict::Slower),
        (Some([1.0, 1.2]), Verdict::Same),
        (Some([0.9, 1.0]), Verdict::Same),
        (Some([0.8, 0.9]), Verdict::Faster),
    ] {
        assert_eq!(Verdict::new(interval, 1.05), verdict, "{interval:?}");
    }
}
