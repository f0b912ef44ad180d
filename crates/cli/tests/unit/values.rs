//! Tests of `values.rs` that need access to private items.

use super::*;

#[test]
fn sizes_are_square_or_rows_by_columns() {
    assert_eq!(size("64"), Ok([64, 64]), "square");
    assert_eq!(size("160x240"), Ok([160, 240]), "rows first");
    for text in [
        "",
        "x",
        "0",
        "64x",
        "64x0",
        "-1",
        "64x64x3",
        "99999999999999999999",
    ] {
        assert!(size(text).is_err(), "{text:?}");
    }
}
