//! Weights: where the numbers of a network come from.
//!
//! In goes a weight file (or a seed); out come the parameters that a builder of
//! [`crate::models`] asks for, layer by layer, each checked against the shape that the network
//! expects and converted to `f32`. Afterwards [`Weights::finish`] proves that the file held nothing
//! else. Files are recognised by their key set; `scheme` knows the names, `file` the bytes, `header`
//! and `torch` the formats.

pub(crate) mod beside;
mod container;
pub(crate) mod contents;
pub(crate) mod convert;
mod file;
mod header;
pub(crate) mod layout;
mod random;
mod save;
mod scheme;
mod shards;
#[cfg(feature = "torch")]
mod torch;
#[cfg(any(feature = "torch", feature = "keras"))]
pub(crate) mod zip;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

pub(crate) use beside::Beside;
#[cfg(feature = "onnx")]
pub(crate) use container::is_onnx;
pub use save::save;
pub use scheme::{Family, Role};

#[cfg(feature = "keras")]
pub(crate) use contents::Fault;
use file::WeightFile;
#[cfg(feature = "keras")]
pub(crate) use file::{map, release};
use layout::{channels_first, channels_last, transpose};
use resnet_wgpu::Error;
use resnet_wgpu::tensor::Tensor;
use scheme::Scheme;

/// The text in the metadata with which a file lists its layers.
pub(crate) const DESCRIPTION: &str = "graph";

/// The most scalars of one made-up tensor: 1 GiB. Real ones are a hundred times smaller; only a
/// mistyped size or number of classes comes here.
const MAX_RANDOM_LEN: usize = 1 << 28;

/// A source of parameters, consumed one by one.
///
/// ```no_run
/// use resnet_formats::weights::{Role, Weights};
///
/// let mut weights = Weights::open("resnet50.safetensors")?;
/// let kernel = weights.take("conv1", Role::Weight, &[64, 3, 7, 7])?;
/// # Ok::<(), resnet_wgpu::Error>(())
/// ```
#[derive(Debug)]
pub struct Weights {
    source: Source,
}

#[derive(Debug)]
enum Source {
    File {
        file: Box<WeightFile>,
        scheme: Scheme,
        /// Empty for a file in memory.
        beside: Beside,
        /// Keys that nothing asked for yet.
        unused: BTreeSet<String>,
    },
    Random {
        seed: u64,
    },
}

impl Weights {
    /// Opens a weight file and recognises its family. The tensors are read when taken. The files
    /// `config.json` and `preprocessor_config.json` beside it are read too, if they are there.
    ///
    /// The file is safetensors, an index of shards (`model.safetensors.index.json`) or, with the
    /// cargo feature `torch`, a checkpoint of PyTorch (`.pth`, `.pt`, `.bin`) of which no code is run.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::WeightsUnreadable`] for a damaged file or one of another format,
    /// [`Error::WeightsForbidden`] for a pickle that asks for more than tensors,
    /// [`Error::WeightsUnrecognised`] for an unknown family.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::from_file(WeightFile::open(path)?, Beside::of(path))
    }

    /// [`Self::open`] for a file that is in memory; `name` stands for its path in errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        Self::in_memory(name, Cow::Owned(bytes.into()))
    }

    /// [`Self::from_bytes`] for a file within the program itself, which is not copied.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, Error> {
        Self::in_memory(name, Cow::Borrowed(bytes))
    }

    fn in_memory(name: &str, bytes: Cow<'static, [u8]>) -> Result<Self, Error> {
        let file = WeightFile::from_bytes(Path::new(name), bytes)?;
        Self::from_file(file, Beside::default())
    }

    fn from_file(file: WeightFile, beside: Beside) -> Result<Self, Error> {
        let keys = file.keys().filter(|key| !Scheme::is_counter(key));
        let unused: BTreeSet<String> = keys.map(str::to_owned).collect();
        let described = file.metadata(DESCRIPTION).is_some();
        let scheme = Scheme::recognise(&unused, described)?;
        Ok(Self {
            source: Source::File {
                file: Box::new(file),
                scheme,
                beside,
                unused,
            },
        })
    }

    /// Made-up weights as the lesson initialises them: Glorot uniform kernels, zero biases, batch
    /// normalisations that change nothing. The same seed gives the same numbers, always.
    pub const fn random(seed: u64) -> Self {
        Self {
            source: Source::Random { seed },
        }
    }

    /// The family of the file, or [`Family::Random`].
    pub const fn family(&self) -> Family {
        match &self.source {
            Source::File { scheme, .. } => scheme.family(),
            Source::Random { .. } => Family::Random,
        }
    }

    /// The path of the file, if there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::File { file, .. } => Some(file.path()),
            Source::Random { .. } => None,
        }
    }

    /// The format of the file in words, such as `safetensors`, if there is one.
    pub fn format(&self) -> Option<&str> {
        match &self.source {
            Source::File { file, .. } => Some(file.format()),
            Source::Random { .. } => None,
        }
    }

    /// What stands beside the file.
    pub(crate) fn beside(&self) -> Option<&Beside> {
        match &self.source {
            Source::File { beside, .. } => Some(beside),
            Source::Random { .. } => None,
        }
    }

    /// A text that the file says about itself, such as `epsilon` or `classes`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        match &self.source {
            Source::File { file, .. } => file.metadata(key),
            Source::Random { .. } => None,
        }
    }

    /// The shape of a parameter in canonical order (OIHW, `[out, in]`), if the file has it.
    pub fn shape(&self, layer: &str, role: Role) -> Option<Vec<usize>> {
        match &self.source {
            Source::File { file, scheme, .. } => {
                let dims = file.dims(&scheme.key(layer, role))?;
                Some(match dims {
                    _ if scheme.channels_last() => channels_first(dims),
                    [out_c, in_c, 1, 1] if scheme.is_classifier(layer) => vec![*out_c, *in_c],
                    _ => dims.to_vec(),
                })
            }
            Source::Random { .. } => None,
        }
    }

    /// Keys of the file that nothing took yet, in alphabetical order.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let unused = match &self.source {
            Source::File { unused, .. } => Some(unused),
            Source::Random { .. } => None,
        };
        unused.into_iter().flatten().map(String::as_str)
    }

    /// Takes a parameter of a layer. `shape` is in canonical order (OIHW, `[out, in]`).
    ///
    /// # Errors
    /// [`Error::WeightMissing`], [`Error::WeightShape`], [`Error::WeightType`] and
    /// [`Error::WeightNotFinite`] name the key and the shapes as the file has them.
    pub fn take(&mut self, layer: &str, role: Role, shape: &[usize]) -> Result<Tensor, Error> {
        match &mut self.source {
            Source::File {
                file,
                scheme,
                unused,
                ..
            } => {
                let key = scheme.key(layer, role);
                let data = if scheme.channels_last() {
                    let data = file.read(&key, &channels_last(shape))?;
                    transpose(data, shape)
                } else if scheme.is_classifier(layer) && file.dims(&key).map(<[_]>::len) == Some(4)
                {
                    file.read(&key, &[shape, &[1, 1]].concat())?
                } else {
                    file.read(&key, shape)?
                };
                unused.remove(&key);
                Tensor::new(shape, data)
            }
            Source::Random { seed } => {
                let len = shape.iter().try_fold(1usize, |len, &d| len.checked_mul(d));
                if len.is_none_or(|len| len > MAX_RANDOM_LEN) {
                    return Err(Error::Model {
                        model: layer.to_owned(),
                        reason: format!(
                            "a {} of shape {shape:?} is too large; reduce the size or the classes",
                            role.name()
                        ),
                    });
                }
                Ok(random::parameter(*seed, layer, role, shape))
            }
        }
    }

    /// Takes a tensor by its name in the file, as it is there.
    ///
    /// # Errors
    /// As [`Self::take`]; [`Error::WeightMissing`] for made-up weights too, which have no names.
    pub fn take_named(&mut self, name: &str) -> Result<Tensor, Error> {
        let missing = || Error::WeightMissing {
            name: name.to_owned(),
            expected: Vec::new(),
        };
        let Source::File { file, unused, .. } = &mut self.source else {
            return Err(missing());
        };
        let dims = file.dims(name).ok_or_else(missing)?.to_vec();
        let data = file.read(name, &dims)?;
        unused.remove(name);
        Tensor::new(&dims, data)
    }

    /// Proves that every tensor of the file was taken.
    ///
    /// # Errors
    /// [`Error::WeightsUnused`]: the file is of another network than the one built.
    pub fn finish(&self) -> Result<(), Error> {
        let mut unused = self.unused();
        match unused.next() {
            None => Ok(()),
            Some(first) => Err(Error::WeightsUnused {
                first: first.to_owned(),
                count: 1 + unused.count(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_tensors_have_a_limit() {
        let shape = [usize::MAX, 2, 1, 1];
        assert!(
            matches!(
                Weights::random(0).take("fc", Role::Weight, &shape),
                Err(Error::Model { .. })
            ),
            "overflow is an error"
        );
    }
}
