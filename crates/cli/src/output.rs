//! Output on stdout: text, tables, JSON and CSV.

use std::fmt::{Display, Write as _};
use std::io::{self, Write};
use std::sync::Mutex;

use serde::Serialize;

use crate::escape::{printable, short, without_controls};
use crate::failure::Failure;

/// The version of all JSON output; it increases when a field changes its meaning or is removed.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// The format of the results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for human readers.
    Text,
    /// One JSON document.
    Json,
    /// One JSON document per line.
    Jsonl,
    /// Comma-separated values.
    Csv,
}

/// Prints a report: as JSON, or as `text` writes it.
pub(crate) fn print(
    report: &impl Serialize,
    format: Format,
    text: impl FnOnce(&mut Out) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut out = Out::new();
    match format {
        Format::Json => out.json(report)?,
        _ => text(&mut out)?,
    }
    out.flush()
}

/// Number of buffered bytes at which the buffer is written out.
const BLOCK: usize = 1 << 16;

/// Held while lines are written: whoever ends the process waits for the line to be complete.
pub(crate) static WRITING: Mutex<()> = Mutex::new(());

/// Buffered stdout that returns errors as values: `println!` panics when the reader goes away. Only
/// whole lines are written out.
#[derive(Debug)]
pub(crate) struct Out(Vec<u8>);

impl Out {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Writes a text and a newline; control characters are escaped.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        let text = text.to_string();
        let lines: Vec<String> = text.split('\n').map(printable).collect();
        self.write(&lines.join("\n"))
    }

    /// Writes a line as it is, with whatever characters it has.
    pub(crate) fn write(&mut self, line: &str) -> Result<(), Failure> {
        self.0.extend_from_slice(line.as_bytes());
        self.0.push(b'\n');
        if self.0.len() >= BLOCK {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes an indented JSON document.
    pub(crate) fn json(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(document).map_err(io::Error::from)?;
        self.write(&without_controls(&json))
    }

    /// Writes a JSON document on a single line.
    pub(crate) fn jsonl(&mut self, document: &impl Serialize) -> Result<(), Failure> {
        let json = serde_json::to_string(document).map_err(io::Error::from)?;
        self.write(&without_controls(&json))
    }

    /// Writes a table, aligned or comma-separated.
    pub(crate) fn table(&mut self, table: &Table, format: Format) -> Result<(), Failure> {
        let text = match format {
            Format::Csv => table.csv(),
            _ => table.aligned(),
        };
        self.write(text.trim_end_matches('\n'))
    }

    /// Writes out everything that is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        let _whole = WRITING.lock();
        let lines = std::mem::take(&mut self.0);
        let mut stdout = io::stdout().lock();
        Ok(stdout.write_all(&lines).and_then(|()| stdout.flush())?)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        // Reached only after an error, which is reported elsewhere.
        let _ = self.flush();
    }
}

/// Rows of cells under a header.
#[derive(Debug)]
pub(crate) struct Table {
    /// The first `words` columns hold words and are left-aligned; the rest hold numbers.
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `words` columns are text; `header` is separated by ", ".
    pub(crate) fn new(words: usize, header: &str) -> Self {
        let header = header.split(", ").map(str::to_owned).collect();
        Self {
            words,
            rows: vec![header],
        }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows
            .push(cells.iter().map(|cell| short(cell)).collect());
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

/// A line of CSV (RFC 4180), including its end.
pub(crate) fn csv_line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| {
        let cell = printable(cell);
        if cell.contains([',', '"']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

/// A number of bytes for human readers.
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

/// A number with thousands separators.
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

/// Formats a hash as `xxhsum -H2` does.
pub(crate) fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Dimensions joined by ×.
pub(crate) fn sizes(dims: &[usize]) -> String {
    let sides: Vec<String> = dims.iter().map(usize::to_string).collect();
    sides.join("×")
}

#[cfg(test)]
#[path = "../tests/unit/output.rs"]
mod tests;
