//! Finds the state dict in a checkpoint and turns it into a table of contents.
//!
//! Training scripts wrap the state dict in another dict, together with the optimiser's state. The
//! tensors of one state dict are returned, each with a checked byte range.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::facts::facts;
use super::objects::{Id, Objects, Storage, Tensor, Value, shown};
use crate::weights::contents::{Contents, Fault, StoredTensor};

/// The usual keys of a wrapped state dict. If there are several, the first wins: averaged weights
/// stored beside it, such as `model_ema`, are used only if there is nothing else.
const WRAPPERS: &[&str] = &[
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
];

/// Maximum depth of nested dicts that are searched for a state dict.
const MAX_DEPTH: usize = 4;
/// Maximum number of state dicts listed in an error.
const MAX_FOUND: usize = 16;
/// ResNet-152 has 932.
const MAX_TENSORS: usize = 1 << 16;
/// Bytes of a tensor's name.
pub(super) const MAX_NAME_BYTES: usize = 1024;
/// How far views that share storages may exceed the size of the file once each is a tensor of its
/// own.
const MAX_GROWTH: usize = 2;
const GROWTH_ALLOWANCE_BYTES: usize = 1 << 16;

/// Locates the bytes of storages in a file.
pub(super) trait Storages {
    /// The length of the whole file.
    fn file_bytes(&self) -> usize;
    /// The format in words.
    fn format(&self) -> &'static str;
    /// The byte range of a whole storage.
    fn locate(&self, storage: &Storage<'_>) -> Result<Range<usize>, Fault>;
}

/// Finds the state dict and checks all of its tensors.
pub(super) fn contents(
    objects: &Objects<'_>,
    root: Value<'_>,
    storages: &impl Storages,
    entry_name: Option<&str>,
) -> Result<Contents, Fault> {
    if let Some(fault) = foreign(objects) {
        return Err(fault);
    }
    let (networks, dict) = state_dict(objects, root, entry_name)?;
    let path = &networks[0];
    let mut entries = HashMap::new();
    let mut used_bytes = 0usize;
    for (name, value) in objects.named(dict) {
        let Value::Tensor(tensor) = value else {
            continue;
        };
        if name.len() > MAX_NAME_BYTES {
            return Err(Fault::damaged("the name of a tensor is too long"));
        }
        let tensor = objects.tensor(tensor);
        let entry = entry(tensor, objects.storage(tensor.storage), storages)
            .map_err(|fault| in_tensor(name, fault))?;
        let len: usize = entry.dims.iter().product();
        used_bytes = used_bytes.saturating_add(len * entry.dtype.element_bytes());
        entries.insert(name.to_owned(), entry);
        if entries.len() > MAX_TENSORS {
            return Err(Fault::Damaged(format!(
                "the checkpoint has more than {MAX_TENSORS} tensors"
            )));
        }
    }
    let limit = storages.file_bytes().saturating_mul(MAX_GROWTH);
    if used_bytes > limit.saturating_add(GROWTH_ALLOWANCE_BYTES) {
        return Err(Fault::Damaged(format!(
            "the tensors share storages: separately they take {used_bytes} bytes, far more than \
             the file with {}",
            storages.file_bytes()
        )));
    }
    let format = storages.format();
    Ok(Contents {
        entries,
        metadata: facts(objects, root),
        format: if path.is_empty() {
            format.to_owned()
        } else {
            format!("{format}, entry '{path}'")
        },
        networks,
    })
}

fn in_tensor(name: &str, fault: Fault) -> Fault {
    match fault {
        Fault::Damaged(reason) => Fault::Damaged(format!("tensor '{name}': {reason}")),
        other => other,
    }
}

// === The state dict ===

/// The paths of all state dicts, the chosen one first, and its dict. If `entry` does not choose
/// one, the one with the most usual key is taken.
fn state_dict(
    objects: &Objects<'_>,
    root: Value<'_>,
    entry: Option<&str>,
) -> Result<(Vec<String>, Id), Fault> {
    let Value::Dict(root) = root else {
        return Err(not_a_dict(objects, root));
    };
    let mut search = Search {
        objects,
        seen: HashSet::new(),
        path: Vec::new(),
        found: Vec::new(),
    };
    search.visit(root)?;
    let rank = |path: &[&str]| match path {
        [] => 0,
        [.., last] => {
            let usual = WRAPPERS.iter().position(|name| name == last);
            1 + usual.unwrap_or(WRAPPERS.len())
        }
    };
    let mut found = search.found;
    found.sort_by_key(|(path, _)| rank(path));
    let ties = found.len() > 1 && rank(&found[0].0) == rank(&found[1].0);
    let mut found: Vec<(String, Id)> = found
        .into_iter()
        .map(|(path, dict)| (path.join("."), dict))
        .collect();
    let names = found.iter().map(|(path, _)| format!("'{path}'"));
    let names = names.collect::<Vec<_>>().join(", ");
    // `entry` may continue with a prefix of the tensors inside the dict.
    let within = |path: &str| {
        let rest = entry.and_then(|entry| entry.strip_prefix(path));
        rest.is_some_and(|rest| rest.is_empty() || (!path.is_empty() && rest.starts_with('.')))
    };
    let chosen = found.iter().position(|(path, _)| within(path));
    match (chosen, found.is_empty()) {
        (_, true) => {
            let mut classes = objects.classes().iter();
            let beside = if classes
                .clone()
                .any(|(module, _)| module.starts_with("numpy"))
            {
                ", but NumPy arrays; make tensors of them with `torch.from_numpy`".to_owned()
            } else {
                let class = classes.find(|(module, _)| *module != "torch");
                let class = class.map_or_else(String::new, |(module, name)| {
                    format!(", but a '{}'", shown(module, name))
                });
                format!("{class}; save `model.state_dict()`")
            };
            return Err(Fault::Damaged(format!(
                "the checkpoint holds no dict of weights{beside}"
            )));
        }
        (None, _) if ties => {
            let reason = format!("the checkpoint holds several networks: {names}");
            return Err(Fault::Several(reason));
        }
        (chosen, _) => found.swap(0, chosen.unwrap_or(0)),
    }
    let dict = found[0].1;
    Ok((found.into_iter().map(|(path, _)| path).collect(), dict))
}

fn not_a_dict(objects: &Objects<'_>, root: Value<'_>) -> Fault {
    let what = match root {
        // A pickled model: its class is code of the program that saved it.
        Value::Object(object) => return Fault::Forbidden(objects.class_of(object)),
        Value::Class(_) | Value::Global(_) => "a class",
        Value::Tensor(_) => "a single tensor",
        Value::List(_) | Value::Tuple(_) => "a list",
        _ => "something else",
    };
    Fault::Damaged(format!(
        "the checkpoint is {what}, not a dict of tensors; save `model.state_dict()`"
    ))
}

/// Refuses tensors of unsupported kinds, recognised by the functions that rebuild them.
fn foreign(objects: &Objects<'_>) -> Option<Fault> {
    let made_by = |name: &str| objects.classes().iter().any(|(_, found)| *found == name);
    let reason = if made_by("_rebuild_qtensor") {
        "its weights are quantised, which is not supported; save those of the network before it \
         was quantised"
    } else if made_by("_rebuild_sparse_tensor") {
        "its weights are sparse; save `tensor.to_dense()` of each"
    } else if made_by("DTensor") {
        "its weights are spread over several devices; save the full state dict"
    } else {
        return None;
    };
    Some(Fault::damaged(reason))
}

struct Search<'a, 'o> {
    objects: &'o Objects<'a>,
    seen: HashSet<Id>,
    path: Vec<&'a str>,
    found: Vec<(Vec<&'a str>, Id)>,
}

impl Search<'_, '_> {
    fn visit(&mut self, dict: Id) -> Result<(), Fault> {
        if !self.seen.insert(dict) {
            return Ok(());
        }
        // Names of weights contain a layer and a parameter, unlike that of a tensor called `loss`.
        let mut entries = self.objects.named(dict);
        let holds_weights = entries
            .any(|(name, value)| matches!(value, Value::Tensor(_)) && name.contains(['.', '/']));
        if holds_weights {
            if self.found.len() == MAX_FOUND {
                return Err(Fault::damaged("the checkpoint holds too many networks"));
            }
            self.found.push((self.path.clone(), dict));
        }
        if self.path.len() < MAX_DEPTH {
            for (name, value) in self.objects.named(dict) {
                if let Some(inner) = self.objects.dict(value)
                    && name.len() <= MAX_NAME_BYTES
                {
                    self.path.push(name);
                    self.visit(inner)?;
                    self.path.pop();
                }
            }
        }
        Ok(())
    }
}

// === One tensor ===

/// Checks that every element of a tensor lies within the file.
fn entry(
    tensor: &Tensor,
    storage: &Storage<'_>,
    storages: &impl Storages,
) -> Result<StoredTensor, Fault> {
    if tensor.dims.contains(&0) {
        return Err(Fault::Damaged(format!(
            "it is empty: shape {:?}",
            tensor.dims
        )));
    }
    let whole = storages.locate(storage)?;
    let bytes = part(storage, whole.len())
        .ok_or_else(|| Fault::damaged("its storage has fewer bytes than the checkpoint says"))?;
    let element_bytes = tensor.dtype.element_bytes();
    let held = bytes.len() / element_bytes;
    let start = whole.start + bytes.start;
    let outside = || {
        Fault::Damaged(format!(
            "shape {:?} with strides {:?} from element {} is outside of its storage of {held}",
            tensor.dims, tensor.strides, tensor.offset
        ))
    };
    let last = last_element(tensor).ok_or_else(outside)?;
    let len = tensor
        .dims
        .iter()
        .try_fold(1usize, |len, &d| len.checked_mul(d));
    // A view may repeat elements, so that a few bytes could pose as gigabytes.
    if last >= held || len.is_none_or(|len| len > held) {
        return Err(outside());
    }
    Ok(StoredTensor {
        dtype: tensor.dtype,
        dims: tensor.dims.clone(),
        range: start + tensor.offset * element_bytes..start + (last + 1) * element_bytes,
        strides: (!is_row_major(tensor)).then(|| tensor.strides.clone()),
    })
}

/// The byte range of the part of a storage that is used, relative to its start.
fn part(storage: &Storage<'_>, held_bytes: usize) -> Option<Range<usize>> {
    let element_bytes = storage.dtype.element_bytes();
    let bytes = storage.len.checked_mul(element_bytes)?;
    let part = match storage.view {
        None => 0..bytes,
        Some((start, len)) => {
            let start = start.checked_mul(element_bytes)?;
            start..start.checked_add(len.checked_mul(element_bytes)?)?
        }
    };
    (bytes.max(part.end) <= held_bytes).then_some(part)
}

/// Index of the tensor's last element in its storage.
fn last_element(tensor: &Tensor) -> Option<usize> {
    let axes = tensor.dims.iter().zip(&tensor.strides);
    axes.into_iter()
        .try_fold(tensor.offset, |last, (&dim, &stride)| {
            last.checked_add((dim - 1).checked_mul(stride)?)
        })
}

fn is_row_major(tensor: &Tensor) -> bool {
    let mut expected = 1;
    for (&dim, &stride) in tensor.dims.iter().zip(&tensor.strides).rev() {
        // The stride of an axis of length 1 has no meaning.
        if dim > 1 && stride != expected {
            return false;
        }
        expected *= dim;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::contents::Dtype;

    struct OneStorage(usize);

    impl Storages for OneStorage {
        fn file_bytes(&self) -> usize {
            self.0
        }
        fn format(&self) -> &'static str {
            "test"
        }
        fn locate(&self, _: &Storage<'_>) -> Result<Range<usize>, Fault> {
            Ok(100..100 + self.0)
        }
    }

    fn check(
        offset: usize,
        dims: &[usize],
        strides: &[usize],
        held_bytes: usize,
    ) -> Option<StoredTensor> {
        let storage = Storage {
            key: "0",
            dtype: Dtype::F32,
            len: 12,
            view: None,
        };
        let mut objects = Objects::default();
        let Value::Storage(id) = objects.add_storage(storage) else {
            panic!("a storage was added");
        };
        let tensor = Tensor {
            storage: id,
            dtype: Dtype::F32,
            offset,
            dims: dims.to_vec(),
            strides: strides.to_vec(),
        };
        entry(&tensor, objects.storage(id), &OneStorage(held_bytes)).ok()
    }

    #[test]
    fn views_are_checked_against_their_storage() {
        let whole = check(0, &[3, 4], &[4, 1], 48).expect("fits");
        assert_eq!((whole.range, whole.strides), (100..148, None), "row-major");
        let turned = check(0, &[4, 3], &[1, 4], 48).expect("fits");
        assert_eq!(turned.strides, Some(vec![1, 4]), "column-major");
        let part = check(5, &[2, 1, 3], &[3, 77, 1], 48).expect("fits");
        assert_eq!((part.range, part.strides), (120..144, None), "an offset");
        assert!(check(11, &[], &[], 48).is_some(), "the last as a scalar");

        for (offset, dims, strides, held_bytes) in [
            (0, &[3, 4][..], &[4, 1][..], 47),
            (1, &[3, 4], &[4, 1], 48),
            (12, &[], &[], 48),
            (0, &[0, 4], &[4, 1], 48),
            (0, &[1 << 40], &[0], 48),
            (0, &[1 << 40, 1 << 40], &[0, 0], 48),
            (0, &[2], &[usize::MAX], 48),
            (usize::MAX, &[2], &[1], 48),
            (0, &[3, 5], &[0, 1], 48),
        ] {
            assert!(
                check(offset, dims, strides, held_bytes).is_none(),
                "{offset} {dims:?} {strides:?} {held_bytes}"
            );
        }
    }
}
