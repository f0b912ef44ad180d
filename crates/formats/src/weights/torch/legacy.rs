//! Checkpoints of PyTorch before 1.6: a stream of pickles, followed by the data of storages.
//!
//! The stream holds a magic number, the protocol version, information about the machine, the
//! objects, and the keys of the storages; then, for each key, its element count and its bytes.

use std::collections::HashMap;
use std::ops::Range;

use super::checkpoint::{self, Storages};
use super::objects::{Objects, Storage, Value, shown};
use super::{check_byte_order, pickle};
use crate::weights::bytes::Bytes;
use crate::weights::contents::{Contents, Dtype, Fault};

/// `0x1950a86a20f9469cfc6c` in little-endian order; the first pickle is this number.
const MAGIC: &[u8] = b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
const PROTOCOL: i64 = 1001;

/// The pickles of a ResNet-152 have 0.4 MB.
const USUAL_BYTES: usize = 2 << 20;

/// Reads the table of contents of a stream. How long its pickles are is known when they are read: first
/// in the start of the file, and in all of it where that does not suffice.
pub(in crate::weights) fn read(source: &Bytes, entry: Option<&str>) -> Result<Contents, Fault> {
    let start = source.read(0..source.len().min(USUAL_BYTES))?;
    match read_pickles(&start, source, entry) {
        Err(_) if start.len() < source.len() => {
            read_pickles(&source.read(0..source.len())?, source, entry)
        }
        result => result,
    }
}

/// `data` is the start of the file, with all of its pickles.
fn read_pickles(data: &[u8], source: &Bytes, entry: Option<&str>) -> Result<Contents, Fault> {
    let mut at = 0;
    let mut next = || {
        let pickle = pickle::load(&data[at..])?;
        at += pickle.bytes;
        Ok::<_, Fault>(pickle)
    };
    let first = next()?;
    if first.root != Value::Long(MAGIC) {
        return Err(not_of_torch(&first));
    }
    let version = next()?.root;
    if version != Value::Int(PROTOCOL) {
        return Err(Fault::Damaged(format!(
            "the checkpoint has another protocol than {PROTOCOL}: {version:?}"
        )));
    }
    let computer = next()?;
    if let Value::Dict(facts) = computer.root {
        let mut facts = computer.objects.named(facts);
        let order = facts.find(|(name, _)| *name == "little_endian");
        check_byte_order(order.is_none_or(|(_, little)| little == Value::Bool(true)))?;
    }
    let pickle = next()?;
    let keys = next()?;
    let places = places(source, at, &pickle.objects, &keys)?;
    let storages = StreamStorages {
        file_bytes: source.len(),
        places,
    };
    checkpoint::contents(&pickle.objects, pickle.root, &storages, entry)
}

/// What to say about a pickle that `torch.save` did not write.
fn not_of_torch(pickle: &pickle::Pickle<'_>) -> Fault {
    if let Value::Object(object) = pickle.root {
        return Fault::Forbidden(pickle.objects.class_of(object));
    }
    let classes = pickle.objects.classes();
    let root = pickle.objects.dict(pickle.root);
    let nested = root.into_iter().flat_map(|dict| pickle.objects.named(dict));
    let nested = nested.filter_map(|(_, value)| pickle.objects.dict(value));
    let mut names = root
        .into_iter()
        .chain(nested)
        .flat_map(|dict| pickle.objects.named(dict));
    let what = if names.any(|(name, _)| name.starts_with("res2.") || name.starts_with("res2_")) {
        "; its names are Detectron2's: load it with Detectron2 and save `model.state_dict()` of the \
         backbone with `torch.save`"
            .to_owned()
    } else if classes
        .iter()
        .any(|(module, _)| module.starts_with("numpy"))
    {
        let named = classes.first().map(|(module, name)| shown(module, name));
        format!(
            "; it holds NumPy arrays ('{}'): make tensors of them and save the dict with `torch.save`",
            named.unwrap_or_default()
        )
    } else {
        classes.first().map_or_else(String::new, |(module, name)| {
            format!(", it holds a '{}'", shown(module, name))
        })
    };
    Fault::Damaged(format!(
        "this is a Python pickle, but not one that `torch.save` wrote{what}"
    ))
}

/// Locates the bytes of every storage.
fn places<'a>(
    source: &Bytes,
    mut at: usize,
    objects: &Objects<'a>,
    keys: &pickle::Pickle<'a>,
) -> Result<HashMap<&'a str, Range<usize>>, Fault> {
    let Value::List(list) = keys.root else {
        return Err(Fault::damaged("the checkpoint does not list its storages"));
    };
    let types: HashMap<&str, Dtype> = objects
        .storages()
        .iter()
        .map(|storage| (storage.key, storage.dtype))
        .collect();
    let mut places = HashMap::new();
    for key in keys.objects.items(list) {
        let Value::Text(key) = *key else {
            return Err(Fault::damaged("the key of a storage is not a text"));
        };
        let cut_off = || {
            Fault::Damaged(format!(
                "the file ends within storage '{key}': it is cut off or damaged"
            ))
        };
        let dtype = types.get(key).ok_or_else(|| {
            Fault::Damaged(format!(
                "no tensor uses storage '{key}': the file is damaged"
            ))
        })?;
        let start = at + size_of::<u64>();
        if start > source.len() {
            return Err(cut_off());
        }
        let len = source.read(at..start)?;
        let len = len.first_chunk().map_or(0, |len| u64::from_le_bytes(*len));
        let bytes = usize::try_from(len).ok();
        let bytes = bytes.and_then(|len| len.checked_mul(dtype.element_bytes()));
        at = bytes
            .and_then(|bytes| start.checked_add(bytes))
            .filter(|&end| end <= source.len())
            .ok_or_else(cut_off)?;
        if places.insert(key, start..at).is_some() {
            return Err(Fault::Damaged(format!("two storages are called '{key}'")));
        }
    }
    Ok(places)
}

/// Storages whose bytes follow the pickles.
struct StreamStorages<'a> {
    file_bytes: usize,
    places: HashMap<&'a str, Range<usize>>,
}

impl Storages for StreamStorages<'_> {
    fn file_bytes(&self) -> usize {
        self.file_bytes
    }

    fn format(&self) -> &'static str {
        "PyTorch checkpoint of the old format"
    }

    fn locate(&self, storage: &Storage<'_>) -> Result<Range<usize>, Fault> {
        let key = storage.key;
        let place = self.places.get(key).cloned();
        place.ok_or_else(|| Fault::Damaged(format!("the checkpoint lacks storage '{key}'")))
    }
}
