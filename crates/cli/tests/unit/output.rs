//! Tests of `output.rs` that need access to private items.

use super::*;

#[test]
fn numbers_are_grouped_by_three_digits() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (25_557_032, "25,557,032"),
    ] {
        assert_eq!(grouped(number), text);
    }
}

#[test]
fn bytes_have_the_largest_unit_that_fits() {
    for (count, text) in [
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (128 << 20, "128.0 MiB"),
        (u64::MAX, "16777216.0 TiB"),
    ] {
        assert_eq!(bytes(count), text);
    }
}

#[test]
fn words_are_left_numbers_right_and_csv_is_quoted() {
    let mut table = Table::new(1, "name, n");
    table.row(["a,\"b\"".to_owned(), "10".to_owned()]);
    table.row(["ü".to_owned(), "7".to_owned()]);
    assert_eq!(table.aligned(), "name    n\na,\"b\"  10\nü       7\n");
    assert_eq!(table.csv(), "name,n\n\"a,\"\"b\"\"\",10\nü,7\n");
}
