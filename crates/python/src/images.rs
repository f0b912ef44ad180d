//! What Python hands over as images, turned into prepared batches.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use numpy::{PyArray3, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::exceptions::{PyBaseException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use resnet_wgpu::Error;
use resnet_wgpu::picture::{Batch, Picture, Preprocess, Reader};

use crate::errors::{self, ImageError};

/// An image in one of the forms to which the Python half reduces all others.
pub(crate) enum Image {
    File(PathBuf),
    /// An image file in memory.
    Bytes(PyBackedBytes),
    /// Rows, columns and one, three or four channels, without gaps, in the memory of somebody else.
    Pixels(Py<PyArray3<u8>>),
}

impl Image {
    /// Takes an image, or the exception that says why there is none.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.cast::<PyArray3<u8>>() {
            let [height, width, channels] = [0, 1, 2].map(|axis| array.shape()[axis]);
            if height * width == 0 || ![1, 3, 4].contains(&channels) || !array.is_c_contiguous() {
                return Err(ImageError::new_err(format!(
                    "an array of shape ({height}, {width}, {channels}) is no image: expected rows, \
                     columns and 1, 3 or 4 channels, without gaps"
                )));
            }
            return Ok(Self::Pixels(array.clone().unbind()));
        }
        if let Ok(bad) = object.cast::<PyBaseException>() {
            return Err(PyErr::from_value(bad.clone().into_any()));
        }
        let bytes = object.extract().map(Self::Bytes);
        let image = bytes.or_else(|_| object.extract().map(Self::File));
        image.map_err(|_| PyTypeError::new_err("expected a path, bytes, an array or an exception"))
    }

    /// Prepares it for a network, on a thread without the interpreter; its number stands for the path of
    /// what has none.
    pub(crate) fn prepare(
        self,
        number: usize,
        reader: Reader,
        rules: &Preprocess,
    ) -> PyResult<Batch> {
        let batch = match self {
            Self::File(path) => reader.prepare_file(&path, rules),
            Self::Bytes(bytes) => reader.prepare(Path::new(&format!("#{number}")), &bytes, rules),
            Self::Pixels(array) => pixels(array, |[height, width], channels, bytes| {
                Batch::of_rows([height, width], rows(width, channels, bytes), rules)
            })?,
        };
        batch.map_err(|error| errors::image(&error))
    }

    /// The whole picture.
    pub(crate) fn decode(self, reader: Reader) -> PyResult<Picture> {
        let picture = match self {
            Self::File(path) => reader.decode_file(&path),
            Self::Bytes(bytes) => reader.decode(Path::new("#0"), &bytes),
            Self::Pixels(array) => pixels(array, |[height, width], channels, bytes| {
                let rows: Vec<_> = rows(width, channels, bytes).collect();
                Picture::new(height, width, rows.concat()).ok_or_else(|| Error::Preprocess {
                    reason: "the picture is empty".to_owned(),
                })
            })?,
        };
        picture.map_err(|error| errors::image(&error))
    }
}

/// Reads size, channels and pixels where they lie; the interpreter is needed to find them, and to let go.
fn pixels<T: Send>(
    array: Py<PyArray3<u8>>,
    read: impl FnOnce([usize; 2], usize, &[u8]) -> T + Send,
) -> PyResult<T> {
    Python::attach(|py| {
        let array = array.into_bound(py).try_readonly()?;
        let (size, channels) = ([array.shape()[0], array.shape()[1]], array.shape()[2]);
        let bytes = array.as_slice()?;
        Ok(py.detach(|| read(size, channels, bytes)))
    })
}

/// The rows of pixels as RGB: not copied where they are, of grey and without alpha otherwise.
fn rows(
    width: usize,
    channels: usize,
    bytes: &[u8],
) -> impl ExactSizeIterator<Item = Cow<'_, [u8]>> {
    bytes
        .chunks_exact(width * channels)
        .map(move |row| match channels {
            1 => Cow::Owned(row.iter().flat_map(|&grey| [grey; 3]).collect()),
            4 => {
                let pixels = row.as_chunks::<4>().0.iter();
                Cow::Owned(pixels.flat_map(|&[r, g, b, _]| [r, g, b]).collect())
            }
            _ => Cow::Borrowed(row),
        })
}
