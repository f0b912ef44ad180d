//! Lists the variables of an HDF5 file, by the layers that own them.
//!
//! Keras has two layouts. The legacy format lists layers and weights by name, in attributes
//! (`layer_names`, `weight_names`). Keras 3, in `.keras` archives too, names groups after the class
//! of a layer and numbers them (`layers/conv2d_1/vars/0`). The `hdf5-reader` crate handles HDF5
//! itself; what it leaves to its caller is checked here: cyclic links, tensor sizes and element
//! types.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use hdf5_reader::error::ByteOrder;
use hdf5_reader::group::Group;
use hdf5_reader::storage::DynStorage;
use hdf5_reader::{Attribute, Dataset, Datatype, Hdf5File, OpenOptions};

use super::Fault;
use crate::weights::contents::Dtype;
use crate::weights::convert;
use resnet_wgpu::Error;

/// Maximum number of groups and datasets. A ResNet-152 has 3,000; 10,000 with its optimiser state.
const MAX_OBJECTS: usize = 1 << 16;

/// Maximum nesting of groups. Keras uses four levels for each nested network.
const MAX_DEPTH: usize = 32;

/// A file may unpack to this many times its size plus the allowance: weights hardly compress.
const MAX_RATIO: u64 = 16;
const ALLOWANCE_BYTES: u64 = 16 << 20;

/// One tensor of a file; its data is read on demand.
pub(super) struct Variable {
    /// Its path in the file.
    pub(super) path: String,
    pub(super) dims: Vec<usize>,
    dtype: Dtype,
    big_endian: bool,
    dataset: Dataset,
}

/// The variables of a file.
#[derive(Debug)]
pub(super) enum Saved {
    /// The legacy layout: layers by name.
    Named(Vec<NamedLayer>),
    /// The Keras 3 layout: groups by class and number.
    Numbered(Folder),
}

/// A layer or nested network, with its variables in order, each under its name.
#[derive(Debug)]
pub(super) struct NamedLayer {
    pub(super) name: String,
    pub(super) variables: Vec<(String, Variable)>,
}

/// A group of the Keras 3 layout.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// The name of the layer, where the file states it.
    pub(super) name: Option<String>,
    /// Its own variables (group `vars`), by number.
    pub(super) variables: BTreeMap<usize, Variable>,
    pub(super) folders: BTreeMap<String, Self>,
}

impl Saved {
    /// Adds the variables of an inner network, saved in a separate file, as the group `group`.
    pub(super) fn around(self, group: &str, inner: Self) -> Result<Self, Fault> {
        let (Self::Numbered(mut outer), Self::Numbered(inner)) = (self, inner) else {
            return Err(Fault(
                "the weights of a preset are not in the layout of Keras 3".to_owned(),
            ));
        };
        let layers = outer.folders.entry("layers".to_owned()).or_default();
        layers.folders.insert(group.to_owned(), inner);
        Ok(Self::Numbered(outer))
    }
}

/// An open HDF5 file.
pub(super) struct Store {
    root: Group,
    limits: Limits,
}

/// What remains of the limits: groups and datasets, and bytes to unpack.
struct Limits {
    objects: Cell<usize>,
    bytes: Cell<u64>,
}

impl Store {
    /// Opens a file.
    pub(super) fn open(storage: DynStorage) -> Result<Self, Fault> {
        let bytes = storage
            .len()
            .saturating_mul(MAX_RATIO)
            .saturating_add(ALLOWANCE_BYTES);
        let limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        let options = OpenOptions::default()
            .with_chunk_cache_bytes(0)
            .with_max_chunk_bytes(limit)
            .with_max_read_bytes(limit);
        let file = Hdf5File::from_storage_with_options(storage, options).map_err(damaged)?;
        Ok(Self {
            root: file.root_group().map_err(damaged)?,
            limits: Limits {
                objects: Cell::new(MAX_OBJECTS),
                bytes: Cell::new(bytes),
            },
        })
    }

    /// An attribute of the root group, as text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Fault> {
        text(&self.root, name)
    }

    /// Lists the variables.
    pub(super) fn saved(&self) -> Result<Saved, Fault> {
        let (groups, _) = self.root.member_names().map_err(damaged)?;
        let weights = if groups.iter().any(|name| name == "model_weights") {
            self.root.group("model_weights").map_err(damaged)?
        } else {
            self.root.clone()
        };
        if let Some(layers) = strings(&weights, "layer_names")? {
            return self.named(&weights, &layers).map(Saved::Named);
        }
        let mut seen = HashSet::new();
        let folder = self.folder(&self.root, "", &mut seen, 0)?;
        if folder.folders.is_empty() {
            return Err(Fault(
                "this HDF5 file was not written by Keras: it has neither the attribute \
                 'layer_names' nor \
                 folders of layers"
                    .to_owned(),
            ));
        }
        Ok(Saved::Numbered(folder))
    }

    fn named(&self, weights: &Group, layers: &[String]) -> Result<Vec<NamedLayer>, Fault> {
        let mut named = Vec::new();
        for layer in layers {
            let group = weights.group(layer).map_err(damaged)?;
            let names = strings(&group, "weight_names")?.unwrap_or_default();
            let mut variables = Vec::new();
            for name in names {
                let dataset = dataset(&group, &name)?;
                let variable = self.variable(format!("{layer}/{name}"), dataset)?;
                variables.push((name, variable));
            }
            named.push(NamedLayer {
                name: layer.clone(),
                variables,
            });
        }
        Ok(named)
    }

    fn folder(
        &self,
        group: &Group,
        path: &str,
        seen: &mut HashSet<u64>,
        depth: usize,
    ) -> Result<Folder, Fault> {
        if depth > MAX_DEPTH || !seen.insert(group.address()) {
            return Err(Fault(format!(
                "the group '{path}' is in a cycle of links, or nested too deeply, in the HDF5 file"
            )));
        }
        let mut folder = Folder::default();
        let (groups, datasets) = group.member_names().map_err(damaged)?;
        for name in datasets {
            // State of optimisers and random generators has other names, or integer elements.
            if let Ok(number) = name.parse() {
                let dataset = group.dataset(&name).map_err(damaged)?;
                let variable = self.variable(format!("{path}/{name}"), dataset)?;
                folder.variables.insert(number, variable);
            }
        }
        for name in groups {
            self.limits.object()?;
            // The optimiser repeats all weights; metrics are not weights.
            if depth == 0 && matches!(&name[..], "optimizer" | "metrics" | "_metrics") {
                continue;
            }
            let inner = group.group(&name).map_err(damaged)?;
            let inner_path = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}/{name}")
            };
            let inner_folder = self.folder(&inner, &inner_path, seen, depth + 1)?;
            if name == "vars" {
                folder.name = text(&inner, "name")?;
                folder.variables = inner_folder.variables;
            } else {
                folder.folders.insert(name, inner_folder);
            }
        }
        Ok(folder)
    }

    fn variable(&self, path: String, dataset: Dataset) -> Result<Variable, Fault> {
        self.limits.object()?;
        let refuse = |reason: String| Fault(format!("variable '{path}': {reason}"));
        let dims = dataset.shape().iter().map(|&side| usize::try_from(side));
        let dims: Vec<usize> = dims
            .collect::<Result<_, _>>()
            .map_err(|_| refuse("its shape is too large".to_owned()))?;
        let (dtype, big_endian) = element(&dataset)?;
        let len = dims
            .iter()
            .try_fold(1usize, |len, &side| len.checked_mul(side));
        let bytes = len.and_then(|len| len.checked_mul(dtype.element_bytes().max(4)));
        let bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok());
        let left = bytes.and_then(|bytes| self.limits.bytes.get().checked_sub(bytes));
        let Some(left) = left else {
            return Err(refuse(format!(
                "a shape of {dims:?} is more than the file can hold"
            )));
        };
        self.limits.bytes.set(left);
        Ok(Variable {
            path,
            dims,
            dtype,
            big_endian,
            dataset,
        })
    }
}

impl Limits {
    fn object(&self) -> Result<(), Fault> {
        let left = self.objects.get().checked_sub(1).ok_or_else(|| {
            Fault(format!(
                "the HDF5 file has more than {MAX_OBJECTS} groups and datasets"
            ))
        })?;
        self.objects.set(left);
        Ok(())
    }
}

impl Variable {
    /// Reads the tensor as 32-bit floats, in the layout of the file.
    pub(super) fn read(&self) -> Result<Arc<[f32]>, Error> {
        let unreadable = |reason: String| super::unreadable(format!("'{}': {reason}", self.path));
        let mut bytes = self
            .dataset
            .read_raw_bytes()
            .map_err(|e| unreadable(e.to_string()))?;
        if self.big_endian {
            for element in bytes.chunks_exact_mut(self.dtype.element_bytes()) {
                element.reverse();
            }
        }
        let data = convert::to_f32(self.dtype, &bytes).ok_or_else(|| Error::WeightType {
            name: self.path.clone(),
            got: self.dtype.name().to_owned(),
        })?;
        convert::check_finite(&self.path, &data)?;
        Ok(data)
    }
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {}", self.path, self.dims, self.dtype.name())
    }
}

/// Finds a dataset by its path below a group; slashes in the path separate groups.
fn dataset(group: &Group, path: &str) -> Result<Dataset, Fault> {
    let mut group = group.clone();
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return group.dataset(part).map_err(damaged);
        }
        group = group.group(part).map_err(damaged)?;
    }
    Err(Fault("a weight in the HDF5 file has no name".to_owned()))
}

/// The element type, and whether it is big-endian.
fn element(dataset: &Dataset) -> Result<(Dtype, bool), Fault> {
    let other = |name, size: u64| Dtype::Other {
        name,
        element_bytes: usize::try_from(size).unwrap_or(usize::MAX),
    };
    let bfloat16 = || {
        let stated = dataset.attribute("dtype").and_then(|a| a.read_string());
        stated.is_ok_and(|stated| stated == "bfloat16")
    };
    Ok(match dataset.dtype() {
        Datatype::FloatingPoint { size, byte_order } => {
            let dtype = match size {
                4 => Dtype::F32,
                8 => Dtype::F64,
                2 if exponent_bits(dataset)? == 8 => Dtype::BF16,
                2 => Dtype::F16,
                &size => other("a float of a rare size", size.into()),
            };
            (dtype, matches!(byte_order, ByteOrder::BigEndian))
        }
        // NumPy has no bfloat16: Keras stores opaque bytes and names their type in an attribute.
        Datatype::Opaque { size: 2, .. } if bfloat16() => (Dtype::BF16, false),
        Datatype::FixedPoint { size, .. } => (other("an integer", (*size).into()), false),
        _ => (other("not a number", 1), false),
    })
}

/// Width of a float's exponent in bits, from byte 13 of the raw HDF5 datatype.
fn exponent_bits(dataset: &Dataset) -> Result<u8, Fault> {
    let raw = dataset.raw_datatype().map_err(damaged)?;
    Ok(raw.get(13).copied().unwrap_or_default())
}

fn attribute(group: &Group, name: &str) -> Result<Option<Attribute>, Fault> {
    let attributes = group.attributes().map_err(damaged)?;
    Ok(attributes.into_iter().find(|a| a.name == name))
}

/// An attribute, as text.
fn text(group: &Group, name: &str) -> Result<Option<String>, Fault> {
    let attribute = attribute(group, name)?;
    attribute
        .map(|a| a.read_string().map_err(damaged))
        .transpose()
}

/// An attribute that is a list of strings. If too long for one attribute, it is split over several,
/// with numbers appended to the name.
fn strings(group: &Group, name: &str) -> Result<Option<Vec<String>>, Fault> {
    let attributes = group.attributes().map_err(damaged)?;
    let list = |name: &str| -> Result<Option<Vec<String>>, Fault> {
        let Some(attribute) = attributes.iter().find(|a| a.name == name) else {
            return Ok(None);
        };
        // NumPy gives an empty list the element type float.
        if attribute.num_elements().map_err(damaged)? == 0 {
            return Ok(Some(Vec::new()));
        }
        attribute.read_strings().map(Some).map_err(damaged)
    };
    if let Some(whole) = list(name)? {
        return Ok(Some(whole));
    }
    let mut joined = Vec::new();
    for number in 0.. {
        match list(&format!("{name}{number}"))? {
            Some(part) => joined.extend(part),
            None if number == 0 => return Ok(None),
            None => break,
        }
    }
    Ok(Some(joined))
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` hands over")]
fn damaged(error: hdf5_reader::error::Error) -> Fault {
    Fault(format!(
        "the HDF5 file is damaged, or uses a part of the format that is not supported ({error}); if \
         it was downloaded, compare its size with the source"
    ))
}
