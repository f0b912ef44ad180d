//! Files of named tensors.
//!
//! In goes a weight file; out come the tensors that a network asks for, each checked against the
//! expected shape and converted to `f32`. [`Weights::finish`] then proves that the file held
//! nothing else. `file` knows the bytes, `header` and `torch` the formats.

mod container;
pub(crate) mod contents;
pub(crate) mod convert;
pub(crate) mod described;
mod file;
mod header;
pub(crate) mod layout;
mod save;
pub(crate) mod shards;
#[cfg(feature = "torch")]
mod torch;
#[cfg(any(feature = "torch", feature = "keras"))]
pub(crate) mod zip;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

#[cfg(feature = "onnx")]
pub(crate) use container::is_onnx;

use crate::sidecar::SideCars;
#[cfg(feature = "keras")]
pub(crate) use contents::Fault;
use file::WeightFile;
pub(crate) use file::map;
#[cfg(feature = "onnx")]
pub(crate) use file::release;
use layout::{channels_first, channels_last, transpose};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{self, Naming, Stated};
use resnet_wgpu::internals::network::{Family, TensorSource};
use resnet_wgpu::network::{ModelOptions, Network};
use resnet_wgpu::tensor::Tensor;

/// The metadata key under which a file lists its layers.
pub(crate) const DESCRIPTION: &str = "graph";

/// An open weight file, whose tensors are taken one by one.
///
/// ```no_run
/// use resnet_wgpu::internals::network::TensorSource;
/// use resnet_formats::weights::Weights;
///
/// let mut weights = Weights::open("resnet50.safetensors")?;
/// let kernel = weights.take("conv1.weight", &[64, 3, 7, 7])?;
/// # Ok::<(), resnet_wgpu::Error>(())
/// ```
#[derive(Debug)]
pub struct Weights {
    file: WeightFile,
    /// The naming of the tensors; `None` for a file that describes its network.
    naming: Option<Naming>,
    /// Empty for a file in memory.
    side_cars: SideCars,
    /// Names that have not been taken yet.
    unused: BTreeSet<String>,
}

impl Weights {
    /// Opens a weight file and recognises its family. Tensors are read when they are taken. The
    /// files `config.json` and `preprocessor_config.json` next to it are read too, if they exist.
    ///
    /// The file may be safetensors, an index of shards (`model.safetensors.index.json`) or, with
    /// the cargo feature `torch`, a PyTorch checkpoint (`.pth`, `.pt`, `.bin`), none of whose code
    /// is run.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightsUnreadable`] for a damaged file or one of another format,
    /// [`Error::WeightsForbidden`] for a pickle that asks for more than tensors,
    /// [`Error::WeightsUnrecognised`] for an unknown family.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::of_map(path, map(path)?)
    }

    pub(crate) fn of_map(path: &Path, map: memmap2::Mmap) -> Result<Self, Error> {
        Self::from_file(WeightFile::open(path, map)?, SideCars::of(path))
    }

    /// Does what [`Self::open`] does for a file in memory; `name` stands for its path in errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        Self::in_memory(name, Cow::Owned(bytes.into()))
    }

    /// Does what [`Self::from_bytes`] does for a file embedded in the program, without copying it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, Error> {
        Self::in_memory(name, Cow::Borrowed(bytes))
    }

    fn in_memory(name: &str, bytes: Cow<'static, [u8]>) -> Result<Self, Error> {
        let file = WeightFile::from_bytes(Path::new(name), bytes)?;
        Self::from_file(file, SideCars::default())
    }

    fn from_file(file: WeightFile, side_cars: SideCars) -> Result<Self, Error> {
        let names = file.keys().filter(|name| !is_counter(name));
        let unused: BTreeSet<String> = names.map(str::to_owned).collect();
        let naming = match file.metadata().get(DESCRIPTION) {
            Some(_) => None,
            None => Some(Naming::recognise(&unused, |name| {
                file.dims(name).map(<[_]>::to_vec)
            })?),
        };
        Ok(Self {
            file,
            naming,
            side_cars,
            unused,
        })
    }

    /// Builds the network that the tensors belong to, and takes all of them.
    ///
    /// # Errors
    /// [`Error::Model`] if the options do not match the weights, [`Error::Geometry`] if the images
    /// are too small, and the [weights section](Error) of the errors for the tensors.
    pub fn network(&mut self, options: &ModelOptions) -> Result<Network, Error> {
        let network = match self.naming.clone() {
            None => described::read(self, options)?,
            Some(naming) => {
                let stated = Stated {
                    path: Some(self.path().display().to_string()),
                    metadata: self.file.metadata().clone(),
                    config: self.side_cars.read(naming.family())?,
                };
                resnet::open(self, &naming, stated, options)?
            }
        };
        self.finish()?;
        Ok(network)
    }

    /// The family of the file.
    pub fn family(&self) -> Family {
        let naming = self.naming.as_ref();
        naming.map_or(Family::Described, Naming::family)
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The format of the file in words, such as `safetensors`.
    pub fn format(&self) -> &str {
        self.file.format()
    }

    /// An entry of the file's own metadata, such as `epsilon` or `classes`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.file.metadata().get(key).map(String::as_str)
    }

    /// Names of the tensors that have not been taken yet, in alphabetical order.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().map(String::as_str)
    }

    /// Proves that every tensor of the file was taken.
    ///
    /// # Errors
    /// [`Error::WeightsUnused`] if the file belongs to another network than the one built.
    pub fn finish(&self) -> Result<(), Error> {
        match self.unused.first() {
            None => Ok(()),
            Some(first) => Err(Error::WeightsUnused {
                first: first.clone(),
                count: self.unused.len(),
            }),
        }
    }

    fn channels_last(&self) -> bool {
        self.naming.as_ref().is_some_and(Naming::channels_last)
    }
}

impl TensorSource for Weights {
    fn dims(&self, name: &str) -> Option<Vec<usize>> {
        let dims = self.file.dims(name)?;
        Some(if self.channels_last() {
            channels_first(dims)
        } else {
            dims.to_vec()
        })
    }

    fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, Error> {
        let data = if self.channels_last() {
            let data = self.file.read(name, &channels_last(dims))?;
            transpose(data, dims)
        } else if dims.len() == 2 && self.file.dims(name).map(<[_]>::len) == Some(4) {
            // timm stores some classifiers as 1×1 convolutions.
            self.file.read(name, &[dims, &[1, 1]].concat())?
        } else {
            self.file.read(name, dims)?
        };
        self.unused.remove(name);
        Tensor::new(dims, data)
    }
}

/// Whether a tensor is a training counter, which is of no use here: PyTorch counts the batches of
/// every batch normalisation, except in old files.
fn is_counter(name: &str) -> bool {
    name.ends_with(".num_batches_tracked")
}
