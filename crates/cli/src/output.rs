//! What goes to stdout: text, tables, JSON and CSV.

use std::fmt::{Display, Write as _};
use std::io::{self, BufWriter, Stdout, Write};

use serde::Serialize;

use crate::failure::Failure;

/// Version of every JSON form; it grows when a field changes its meaning or goes away.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// Form of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Jsonl,
    /// A table with commas.
    Csv,
}

/// Buffered stdout whose errors are values: `println!` panics when the reader goes away.
#[derive(Debug)]
pub(crate) struct Out(BufWriter<Stdout>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        Ok(writeln!(self.0, "{line}")?)
    }

    /// Writes a JSON document over several lines.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.0, document).map_err(io::Error::from)?;
        self.line("")
    }

    /// Writes a JSON document on one line.
    pub(crate) fn jsonl(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.0, document).map_err(io::Error::from)?;
        self.line("")
    }

    /// Writes a table, aligned or with commas.
    pub(crate) fn table(&mut self, table: &Table, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Csv => table.csv(),
            _ => table.aligned(),
        };
        Ok(write!(self.0, "{text}")?)
    }

    /// Makes sure that everything has reached the reader.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

/// Rows of cells under a header.
#[derive(Debug)]
pub(crate) struct Table {
    /// Columns that hold words are aligned left, those after them hold numbers.
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `words` columns are no numbers.
    pub(crate) fn new(words: usize, header: &[&str]) -> Self {
        let header = header.iter().map(|&cell| cell.to_owned()).collect();
        Self {
            words,
            rows: vec![header],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    fn aligned(&self) -> String {
        let mut widths = vec![0; self.rows[0].len()];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                // Writing to a string cannot fail.
                let _ = if column < self.words {
                    write!(line, "{cell:<width$}  ")
                } else {
                    write!(line, "{cell:>width$}  ")
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn csv(&self) -> String {
        let lines = self.rows.iter().map(|row| csv_line(row));
        lines.collect()
    }
}

/// One line of CSV (RFC 4180), ended.
pub(crate) fn csv_line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

/// A number of bytes for people.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut scaled = count as f64 / 1024.0;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{scaled:.1} {}", UNITS[unit])
}

/// A number with a comma between each three digits.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Sizes with a times sign between them.
pub(crate) fn sizes(dims: &[usize]) -> String {
    let sides: Vec<String> = dims.iter().map(usize::to_string).collect();
    sides.join("×")
}

#[cfg(test)]
mod tests {
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
        let mut table = Table::new(1, &["name", "n"]);
        table.row(["a,\"b\"".to_owned(), "10".to_owned()]);
        table.row(["ü".to_owned(), "7".to_owned()]);
        assert_eq!(table.aligned(), "name    n\na,\"b\"  10\nü       7\n");
        assert_eq!(table.csv(), "name,n\n\"a,\"\"b\"\"\",10\nü,7\n");
    }
}
