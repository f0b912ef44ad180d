//! Tests of `bench/plot.rs` that need access to private items.

use super::*;

#[test]
fn steps_of_ticks_are_round_and_large_enough() {
    for (least, step) in [
        (0.03, 0.05),
        (1.0, 1.0),
        (1.1, 2.0),
        (5.1, 10.0),
        (70.0, 100.0),
    ] {
        assert!((tick_step(least) - step).abs() < 1e-9 * step, "{least}");
    }
}

#[test]
fn numbers_are_short() {
    for (value, text) in [
        (0.0, "0"),
        (0.0123, "0.0123"),
        (0.5, "0.5"),
        (2.0, "2"),
        (12.34, "12.3"),
        (120.0, "120"),
        (54_321.9, "54322"),
    ] {
        assert_eq!(number(value), text);
    }
}

#[test]
fn ticks_are_inside_the_axis() {
    let axis = LogAxis {
        low: 3.0,
        high: 60.0,
        from: 0.0,
        to: 100.0,
    };
    assert_eq!(axis.ticks(), [5.0, 10.0, 20.0, 50.0]);
    assert!((axis.place(3.0)).abs() < 1e-9, "low end");
    assert!((axis.place(60.0) - 100.0).abs() < 1e-9, "high end");
}

#[test]
fn text_cannot_break_out_of_its_element() {
    assert_eq!(escaped("a<b>&\u{1b}"), "a&lt;b&gt;&amp;\u{fffd}");
}
