//! What Python hands over as images, turned into prepared batches.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use numpy::{PyReadonlyArray3, PyUntypedArrayMethods};
use pyo3::exceptions::{PyBaseException, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use rayon::prelude::*;
use resnet_wgpu::Error;
use resnet_wgpu::picture::{Batch, Picture, Preprocess, Reader};

use crate::engine::Engine;
use crate::errors::{self, ImageError};

/// An image in one of the forms to which the Python half reduces all others.
pub(crate) enum Image<'py> {
    File(PathBuf),
    /// An image file in memory.
    Bytes(PyBackedBytes),
    /// Rows, columns and one, three or four channels, without gaps.
    Pixels(PyReadonlyArray3<'py, u8>),
}

impl<'py> Image<'py> {
    /// Takes an image, or the exception that says why there is none.
    pub(crate) fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(array) = object.extract::<PyReadonlyArray3<'py, u8>>() {
            let [height, width, channels] = [0, 1, 2].map(|axis| array.shape()[axis]);
            if height * width == 0 || ![1, 3, 4].contains(&channels) || array.as_slice().is_err() {
                return Err(ImageError::new_err(format!(
                    "an array of shape ({height}, {width}, {channels}) is no image: expected rows, \
                     columns and 1, 3 or 4 channels, without gaps"
                )));
            }
            return Ok(Self::Pixels(array));
        }
        if let Ok(bad) = object.cast::<PyBaseException>() {
            return Err(PyErr::from_value(bad.clone().into_any()));
        }
        let bytes = object.extract().map(Self::Bytes);
        let image = bytes.or_else(|_| object.extract().map(Self::File));
        image.map_err(|_| PyTypeError::new_err("expected a path, bytes, an array or an exception"))
    }

    /// The same without the interpreter; `number` stands for the path of what has none.
    fn view(&self, number: usize) -> View<'_> {
        let name = format!("#{number}").into();
        match self {
            Self::File(path) => View::File(path),
            Self::Bytes(bytes) => View::Bytes(name, bytes),
            Self::Pixels(array) => View::Pixels {
                size: [array.shape()[0], array.shape()[1]],
                channels: array.shape()[2],
                bytes: array.as_slice().unwrap_or_default(),
            },
        }
    }
}

/// An image that a thread without the interpreter can read.
enum View<'a> {
    File(&'a Path),
    Bytes(PathBuf, &'a [u8]),
    /// Pixels in the memory of somebody else.
    Pixels {
        size: [usize; 2],
        channels: usize,
        bytes: &'a [u8],
    },
}

impl View<'_> {
    fn prepare(&self, reader: Reader, rules: &Preprocess) -> Result<Batch, Error> {
        match self {
            Self::File(path) => reader.prepare_file(path, rules),
            Self::Bytes(name, bytes) => reader.prepare(name, bytes, rules),
            Self::Pixels {
                size,
                channels,
                bytes,
            } => Batch::of_rows(*size, rows(size[1], *channels, bytes), rules),
        }
    }

    fn decode(&self, reader: Reader) -> Result<Picture, Error> {
        match self {
            Self::File(path) => reader.decode_file(path),
            Self::Bytes(name, bytes) => reader.decode(name, bytes),
            Self::Pixels {
                size: [height, width],
                channels,
                bytes,
            } => {
                let rows: Vec<_> = rows(*width, *channels, bytes).collect();
                Picture::new(*height, *width, rows.concat()).ok_or_else(|| Error::Preprocess {
                    reason: "the picture is empty".to_owned(),
                })
            }
        }
    }
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

/// Prepares images for a network, on all of its threads; `first` is the number of the first.
pub(crate) fn prepare(
    py: Python<'_>,
    images: Vec<PyResult<Image<'_>>>,
    first: usize,
    engine: &Engine,
) -> Vec<PyResult<Batch>> {
    let views = (first..).zip(&images);
    let views: Vec<_> = views
        .map(|(number, image)| Some(image.as_ref().ok()?.view(number)))
        .collect();
    let (reader, rules) = (engine.reader, &engine.rules);
    let prepared: Vec<_> = py.detach(|| {
        engine.install(|| {
            let prepared = views.par_iter();
            let prepared = prepared.map(|view| Some(view.as_ref()?.prepare(reader, rules)));
            prepared.collect()
        })
    });
    drop(views);
    let outcomes = images.into_iter().zip(prepared);
    outcomes
        .filter_map(|(image, outcome)| match image {
            Err(error) => Some(Err(error)),
            Ok(_) => outcome.map(|outcome| outcome.map_err(|error| errors::image(&error))),
        })
        .collect()
}

/// The whole picture.
pub(crate) fn picture(py: Python<'_>, image: &Image<'_>, reader: Reader) -> PyResult<Picture> {
    let view = image.view(0);
    let picture = py.detach(|| view.decode(reader));
    picture.map_err(|error| errors::image(&error))
}
