//! NumPy files, format version 1.0: an array of 32-bit floats with a row for each image, and behind it an
//! array of bytes, the JSON of their names. NumPy reads one after the other from an open file, or the
//! first alone.

use std::io;
use std::path::Path;

use resnet_wgpu::internals::files::{NewFile, read_at_most};
use resnet_wgpu::internals::host_memory;
use resnet_wgpu::internals::npy::Array;

use crate::escape::shown;
use crate::failure::Failure;

/// The most bytes of an index: a million vectors of ResNet-50.
const MAX_INDEX: u64 = 8 << 30;

/// A file that is being written.
pub(crate) struct Npy {
    file: NewFile,
    width: usize,
    /// What the rows are of.
    names: Vec<String>,
}

/// Bytes before the numbers: enough for any number of rows.
const NPY_HEADER: usize = 128;

impl Npy {
    pub(crate) fn create(path: &Path, width: usize) -> Result<Self, Failure> {
        let mut file = NewFile::create(path)?;
        // The number of rows is only known at the end.
        file.write(&[0; NPY_HEADER])?;
        Ok(Self {
            file,
            width,
            names: Vec::new(),
        })
    }

    pub(crate) fn row(&mut self, name: &str, row: &[f32]) -> Result<(), Failure> {
        self.names.push(name.to_owned());
        let bytes: Vec<u8> = row.iter().flat_map(|x| x.to_le_bytes()).collect();
        Ok(self.file.write(&bytes)?)
    }

    /// Completes the file, and returns what its rows are of. Without rows there is none, and an older one stays.
    pub(crate) fn finish(mut self) -> Result<Vec<String>, Failure> {
        if self.names.is_empty() {
            return Ok(self.names);
        }
        let names = serde_json::to_vec(&self.names).map_err(io::Error::from)?;
        self.file
            .write(&header("|u1", &format!("({},)", names.len())))?;
        self.file.write(&names)?;
        let shape = format!("({}, {})", self.names.len(), self.width);
        self.file.rewrite_start(&header("<f4", &shape))?;
        self.file.finish()?;
        Ok(self.names)
    }
}

/// The magic bytes, the version, the length of the text, and the text, ending in a newline.
fn header(kind: &str, shape: &str) -> [u8; NPY_HEADER] {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut header = [b' '; NPY_HEADER];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    header[8..10].copy_from_slice(&118u16.to_le_bytes());
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[NPY_HEADER - 1] = b'\n';
    header
}

/// Lengths of vectors of larger numbers overflow in single precision.
const LARGEST: f32 = 1e15;

/// The vectors of a file.
pub(crate) struct Index {
    pub(crate) width: usize,
    /// One after another.
    pub(crate) vectors: Vec<f32>,
    names: Option<Vec<String>>,
}

impl Index {
    /// Reads a file that [`Npy`] wrote, or any other of a two-dimensional array of 32-bit floats.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |reason: &str| Failure::runtime(format!("'{}': {reason}", shown(path)));
        // The file and its numbers.
        let bytes = std::fs::metadata(path).map_or(0, |found| found.len().min(MAX_INDEX));
        host_memory::check(&format!("the index '{}'", shown(path)), 2 * bytes)?;
        let bytes = read_at_most(path, MAX_INDEX).map_err(|error| refuse(&error.to_string()))?;
        let what =
            "this is not a NumPy file of rows of 32-bit floats; write one with `resnet embed -o`";
        let index = array(&bytes, "<f4").ok_or_else(|| refuse(what))?;
        let &[rows, width] = &index.dims[..] else {
            return Err(refuse(what));
        };
        let len = rows.checked_mul(width).and_then(|len| len.checked_mul(4));
        let Some((data, rest)) = len
            .filter(|&len| len > 0)
            .and_then(|len| index.data.split_at_checked(len))
        else {
            return Err(refuse("the file is empty or was cut off"));
        };
        let names = if rest.is_empty() {
            None
        } else {
            let names = array(rest, "|u1").and_then(|array| {
                let json = array.data.get(..*array.dims.first()?)?;
                serde_json::from_slice::<Vec<String>>(json).ok()
            });
            let names = names.filter(|names| names.len() == rows);
            Some(names.ok_or_else(|| refuse("the vectors are not followed by their names"))?)
        };
        let words = data.as_chunks::<4>().0.iter();
        let vectors: Vec<f32> = words.map(|&word| f32::from_le_bytes(word)).collect();
        // Nor anything that is no number.
        if let Some(place) = vectors.iter().position(|x| x.is_nan() || x.abs() > LARGEST) {
            let row = place / width;
            return Err(refuse(&format!(
                "row {row} has numbers that no network makes of a picture; write it anew with `resnet embed -o`"
            )));
        }
        Ok(Self {
            width,
            vectors,
            names,
        })
    }

    /// What a row is of.
    pub(crate) fn name(&self, row: usize) -> String {
        match &self.names {
            Some(names) => names[row].clone(),
            None => format!("row {row}"),
        }
    }
}

/// An array of a type, in the order of C.
fn array<'a>(bytes: &'a [u8], kind: &str) -> Option<Array<'a>> {
    let array = Array::read(bytes)?;
    (array.kind == kind && !array.fortran).then_some(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_numpy() {
        let header = header("<f4", "(3, 2048)");
        assert_eq!(
            header[..10],
            *b"\x93NUMPY\x01\x00\x76\x00",
            "magic and length"
        );
        let text = std::str::from_utf8(&header[10..]).unwrap();
        let want = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2048), }";
        assert_eq!(text.trim_end(), want, "text");
        assert!(text.ends_with(" \n"), "padded, and a newline at the end");
        assert_eq!(
            usize::from(u16::from_le_bytes([header[8], header[9]])),
            text.len(),
            "length"
        );
        // The longest possible header still fits.
        assert_eq!(
            super::header("<f4", &format!("({0}, {0})", usize::MAX))[NPY_HEADER - 1],
            b'\n',
            "end"
        );
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.npy");
        let mut file = Npy::create(&path, 2).unwrap();
        file.row("a b.png", &[1.0, -2.0]).unwrap();
        file.row("ü.png", &[0.5, 0.0]).unwrap();
        file.finish().unwrap();
        let index = Index::read(&path).unwrap();
        assert_eq!(index.width, 2, "width");
        assert_eq!(index.vectors, [1.0, -2.0, 0.5, 0.0], "numbers");
        assert_eq!(index.name(1), "ü.png", "name");

        let whole = std::fs::read(&path).unwrap();
        // Any array of 32-bit floats will do: without names, rows have numbers.
        std::fs::write(&path, &whole[..144]).unwrap();
        assert_eq!(Index::read(&path).unwrap().name(1), "row 1", "no name");
        for length in (0..144).chain(145..whole.len()) {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(Index::read(&path).is_err(), "{length} bytes");
        }
        for (from, to) in [
            ("<f4", "<f8"),
            ("False", "True "),
            ("(2, 2)", "(2, 0)"),
            ("(2, 2)", "(9, 9)"),
        ] {
            let at = whole.windows(from.len()).position(|w| w == from.as_bytes());
            let mut damaged = whole.clone();
            damaged[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
            std::fs::write(&path, &damaged).unwrap();
            assert!(Index::read(&path).is_err(), "{to}");
        }
    }
}
