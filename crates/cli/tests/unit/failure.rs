//! Tests of `failure.rs` that need its private parts.

use super::*;

#[test]
fn names_of_a_damaged_file_stay_on_one_line() {
    assert_eq!(
        one_line("layer 'a\n\u{1b}[2J'"),
        "layer 'a\u{fffd}\u{fffd}[2J'"
    );
    assert_eq!(one_line("1×1, β ≥ 0"), "1×1, β ≥ 0", "other letters stay");
}
