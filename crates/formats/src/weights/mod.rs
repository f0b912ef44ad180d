//! Files of named tensors.
//!
//! [`Weights`] hands out the tensors that a network asks for, each checked against the expected
//! shape and converted to `f32`; [`Weights::finish`] then makes sure that none is left over. `file`
//! handles bytes, `header` and `torch` the formats.

pub(crate) mod bytes;
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

use std::collections::BTreeSet;
use std::path::Path;

#[cfg(feature = "onnx")]
pub(crate) use container::is_onnx;

use crate::sidecar::{self, SideCars};
use bytes::Bytes;
#[cfg(feature = "keras")]
pub(crate) use contents::Fault;
use file::WeightFile;
use half::f16;
use layout::{channels_first, channels_last, transpose};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{self, Config, Naming, Stated};
use resnet_wgpu::internals::network::{Family, TensorSource};
use resnet_wgpu::network::{Decision, ModelOptions, Network};
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
    /// The naming of the tensors; `None` if the file describes its network.
    naming: Option<Naming>,
    /// The side-car files; empty for a file in memory.
    side_cars: SideCars,
    /// Names of the tensors not taken yet.
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
        Self::of_file(path, Bytes::open(path)?, &ModelOptions::default())
    }

    /// [`Self::open`] for a file that is open, and the network in it that the options name. Their entry is the
    /// path of a dict in a checkpoint, the prefix of a network's names, or both.
    pub(crate) fn of_file(
        path: &Path,
        source: Bytes,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let file = WeightFile::open(path, source, options.entry.as_deref())?;
        Self::from_file(file, SideCars::of(path), options)
    }

    /// Does what [`Self::open`] does with a file in memory; `name` stands for its path in errors.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bytes(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Self, Error> {
        Self::in_memory(name, Bytes::from(bytes.into()), &ModelOptions::default())
    }

    /// Does what [`Self::from_bytes`] does with a file embedded in the program, without copying it.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, Error> {
        Self::in_memory(name, Bytes::from(bytes), &ModelOptions::default())
    }

    pub(crate) fn in_memory(
        name: &str,
        source: Bytes,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let file = WeightFile::of_memory(Path::new(name), source, options.entry.as_deref())?;
        Self::from_file(file, SideCars::default(), options)
    }

    fn from_file(
        file: WeightFile,
        side_cars: SideCars,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let names = file.keys().filter(|name| !is_beside(name));
        let mut unused: BTreeSet<String> = names.map(str::to_owned).collect();
        let naming = if file.metadata().contains_key(DESCRIPTION) {
            None
        } else {
            select(&mut unused, &file, options.entry.as_deref())?;
            let dims = |name: &str| file.dims(name).map(<[_]>::to_vec);
            let classifier = options.settings.get("classifier").map(String::as_str);
            let naming = Naming::recognise(&unused, dims, classifier)?;
            unused.retain(|name| naming.is_backbone(name) || !file.is_count(name));
            unused.retain(|name| !naming.leaves_out(name));
            Some(naming)
        };
        Ok(Self {
            file,
            naming,
            side_cars,
            unused,
        })
    }

    /// Builds the network that the tensors belong to, and takes all of its tensors.
    ///
    /// # Errors
    /// [`Error::Model`] if the options do not match the weights, [`Error::Geometry`] if the images
    /// are too small, and the [weights section](Error) of the errors for the tensors.
    pub fn network(&mut self, options: &ModelOptions) -> Result<Network, Error> {
        let network = match self.naming.clone() {
            None => described::read(self, options)?,
            Some(naming) => {
                let arguments = self.file.metadata().get("arguments");
                let arguments = arguments.filter(|_| options.preprocess.is_none());
                let arguments = arguments.map(|text| sidecar::of_arguments(text));
                let stated = Stated {
                    beside: self.beside(options),
                    prepared: arguments.transpose()?.flatten(),
                    path: Some(self.path().display().to_string()),
                    metadata: self.file.metadata().clone(),
                    config: self.config(naming.family(), options)?,
                };
                resnet::open(self, &naming, stated, options)?
            }
        };
        self.finish()?;
        Ok(network)
    }

    /// What stands beside the file about a network of this family, and the arguments with which timm made it,
    /// according to a checkpoint.
    fn config(&self, family: Family, options: &ModelOptions) -> Result<Config, Error> {
        let mut config = self.side_cars.read(family, options)?;
        if let Some(arguments) = self.metadata("model_args") {
            sidecar::state_arguments(&mut config, arguments)?;
        }
        Ok(config)
    }

    /// A remark on other weights in the checkpoint, such as an average of those that are taken.
    fn beside(&self, options: &ModelOptions) -> Option<Decision> {
        let [taken, others @ ..] = self.file.networks() else {
            return None;
        };
        let is_average = |name: &&String| name.contains("ema") || name.contains("averag");
        let average = others.iter().find(is_average)?;
        let evidence = format!("the file has '{average}', too, which is often the better one");
        let value = format!("'{taken}'");
        let asked = options.entry.is_some();
        (!asked).then(|| Decision::assumed("entry", value, evidence))
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

    /// An entry of the metadata in the file, such as `epsilon` or `classes`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.file.metadata().get(key).map(String::as_str)
    }

    /// Names of the tensors that have not been taken yet, in alphabetical order.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.unused.iter().map(String::as_str)
    }

    /// Makes sure that every tensor of the file was taken.
    ///
    /// # Errors
    /// [`Error::WeightsUnused`] if tensors are left: the file belongs to another network.
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
        let tensor = if self.naming.is_none() && self.file.is_scaled(name) {
            self.unused.remove(&file::scale_of(name));
            Tensor::new(dims, self.file.read_scaled(name, dims)?)?
        } else if self.channels_last() {
            let data = transpose(self.file.read(name, &channels_last(dims))?, dims);
            if self.file.is_half(name) {
                // What was a half is one again.
                Tensor::halves(dims, data.iter().map(|&x| f16::from_f32(x)).collect())?
            } else {
                Tensor::new(dims, data)?
            }
        } else if dims.len() == 2 && self.file.dims(name).map(<[_]>::len) == Some(4) {
            // timm stores some classifiers as 1×1 convolutions.
            let in_file = [dims, &[1, 1]].concat();
            self.file.tensor(name, &in_file, dims)?
        } else {
            self.file.tensor(name, dims, dims)?
        };
        self.unused.remove(name);
        Ok(tensor)
    }
}

/// Refuses a file whose format can only be told by its name, and one that holds a part of the tensors.
pub(crate) fn refuse_foreign(path: &Path, data: &[u8]) -> Result<(), Error> {
    let reason = container::foreign_name(path, data).or_else(|| shards::part(path));
    reason.map_or(Ok(()), |reason| {
        Err(Error::WeightsUnreadable {
            path: path.to_owned(),
            reason,
        })
    })
}

/// Keeps only the tensors of one network in the file: the one at `entry`, or the first, if all
/// others are the same tensors under other names.
fn select(
    names: &mut BTreeSet<String>,
    file: &WeightFile,
    entry: Option<&str>,
) -> Result<(), Error> {
    let taken = file.networks().first().map_or("", String::as_str);
    let rest = entry.and_then(|entry| match entry.strip_prefix(taken) {
        Some("") => None,
        Some(rest) if rest.starts_with('.') => Some(&rest[1..]),
        _ => Some(entry),
    });
    let mut prefixes = Naming::prefixes(names);
    if let Some(rest) = rest {
        let mut inside = format!("{}.", rest.trim_end_matches('.'));
        let is_there = |inside: &str| names.iter().any(|name| name.starts_with(inside));
        if !is_there(&inside) {
            // Wrappers such as `module.` need not be named.
            let wrapped = format!(".{inside}");
            let mut found = prefixes.iter().filter(|prefix| prefix.ends_with(&wrapped));
            if let (Some(only), None) = (found.next(), found.next()) {
                inside.clone_from(only);
            }
        }
        if !is_there(&inside) {
            let known = file.networks().iter().cloned();
            let prefixes = prefixes
                .iter()
                .map(|prefix| prefix.trim_end_matches('.').to_owned());
            let known = known.chain(prefixes).filter(|name| !name.is_empty());
            let known: Vec<String> = known.map(|name| format!("'{name}'")).collect();
            return Err(Error::WeightsUnrecognised {
                reason: match known[..] {
                    [] => format!("there is no entry '{rest}', the file holds one network"),
                    _ => format!("there is no entry '{rest}', only {}", known.join(", ")),
                },
                hint: None,
            });
        }
        names.retain(|name| name.starts_with(&inside));
        return Ok(());
    }
    prefixes.sort_by_key(String::len);
    let mut others = prefixes.into_iter();
    let Some(first) = others.next() else {
        return Ok(());
    };
    for other in others {
        let original = |copy: &str| format!("{first}{}", &copy[other.len()..]);
        let mut copies = names.iter().filter(|name| name.starts_with(&other));
        if copies.all(|copy| file.are_one(copy, &original(copy))) {
            names.retain(|name| !name.starts_with(&other));
        }
    }
    Ok(())
}

/// Whether a tensor belongs to training, not to the network: PyTorch counts the batches seen by
/// each batch normalisation, profilers count operations, and losses have weights of their own.
fn is_beside(name: &str) -> bool {
    const LAST: &[&str] = &[
        "num_batches_tracked",
        "total_ops",
        "total_params",
        "n_averaged",
        "num_updates",
    ];
    const MODULES: &[&str] = &["criterion", "loss", "loss_fn", "loss_func", "loss_function"];
    let mut modules = name.split('.').rev();
    modules.next().is_some_and(|last| LAST.contains(&last))
        || modules.any(|module| MODULES.contains(&module))
}
