//! The data that the pickle of a checkpoint can consist of.
//!
//! Simple values are copied; compound ones live in [`Objects`] and are referred to by index, so a
//! list that contains itself is as harmless as a deeply nested one.

use crate::weights::contents::Dtype;

/// A Python object, reduced to what matters for weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// An integer of more than 64 bits: little-endian, two's complement.
    Long(&'a [u8]),
    Text(&'a str),
    Tuple(Id),
    List(Id),
    /// A list of alternating keys and values.
    Dict(Id),
    Global(Global),
    Storage(Id),
    Tensor(Id),
    /// An unknown class or function, which is never called.
    Class(Id),
    /// The result of calling an unknown class: only its attributes and items are kept.
    Object(Id),
    /// Anything unrelated to weights.
    Other,
}

/// The index of an object among those of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(usize);

/// A known Python name. All of them stand for data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `_rebuild_tensor(_v2)`: storage, offset, sizes, strides, and arguments that are ignored.
    Tensor,
    /// `_rebuild_tensor_v3`: the same, and an element type that replaces that of the storage.
    TensorOfType,
    /// A tensor with attributes: the function that rebuilds it, its class, the arguments.
    TensorWithAttributes,
    /// `_rebuild_parameter`: a tensor, and arguments that are ignored.
    Parameter,
    StorageType(Dtype),
    Type(Dtype),
}

/// The shared bytes of one or more tensors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    pub(super) dtype: Dtype,
    pub(super) len: usize,
    /// Start and length, in elements, of a part of a shared storage, as old files have it.
    pub(super) view: Option<(usize, usize)>,
}

/// A strided view of a storage; all numbers count elements.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Id,
    pub(super) dtype: Dtype,
    pub(super) offset: usize,
    pub(super) dims: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// All objects of one pickle.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    /// Module and name of each unknown class or function.
    classes: Vec<(&'a str, &'a str)>,
    /// Unknown objects: the class, and the list of keys and values.
    made: Vec<(Id, Id)>,
    items: Vec<Vec<Value<'a>>>,
    storages: Vec<Storage<'a>>,
    tensors: Vec<Tensor>,
}

impl<'a> Objects<'a> {
    pub(super) fn add_items(&mut self, items: Vec<Value<'a>>) -> Id {
        self.items.push(items);
        Id(self.items.len() - 1)
    }

    pub(super) fn add_class(&mut self, module: &'a str, name: &'a str) -> Value<'a> {
        self.classes.push((module, name));
        Value::Class(Id(self.classes.len() - 1))
    }

    pub(super) fn add_object(&mut self, class: Id) -> Value<'a> {
        let items = self.add_items(Vec::new());
        self.made.push((class, items));
        Value::Object(Id(self.made.len() - 1))
    }

    /// The full name of an object's class.
    pub(super) fn class_of(&self, object: Id) -> String {
        let (module, name) = self.classes[self.made[object.0].0.0];
        shown(module, name)
    }

    /// Module and name of all unknown classes and functions.
    pub(super) fn classes(&self) -> &[(&'a str, &'a str)] {
        &self.classes
    }

    /// The keys and values of a dict or of an unknown object.
    pub(super) fn dict(&self, value: Value<'a>) -> Option<Id> {
        match value {
            Value::Dict(id) => Some(id),
            Value::Object(id) => Some(self.made[id.0].1),
            _ => None,
        }
    }

    pub(super) fn add_storage(&mut self, storage: Storage<'a>) -> Value<'a> {
        self.storages.push(storage);
        Value::Storage(Id(self.storages.len() - 1))
    }

    pub(super) fn add_tensor(&mut self, tensor: Tensor) -> Value<'a> {
        self.tensors.push(tensor);
        Value::Tensor(Id(self.tensors.len() - 1))
    }

    /// The items of a tuple, list or dict.
    pub(super) fn items(&self, id: Id) -> &[Value<'a>] {
        &self.items[id.0]
    }

    pub(super) fn extend(&mut self, id: Id, items: &[Value<'a>]) {
        self.items[id.0].extend_from_slice(items);
    }

    /// The entries of a dict whose keys are strings.
    pub(super) fn named(&self, id: Id) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let pairs = self.items(id).as_chunks::<2>().0;
        pairs.iter().filter_map(|[key, value]| match key {
            Value::Text(key) => Some((*key, *value)),
            _ => None,
        })
    }

    pub(super) fn storage(&self, id: Id) -> &Storage<'a> {
        &self.storages[id.0]
    }

    pub(super) fn storages(&self) -> &[Storage<'a>] {
        &self.storages
    }

    pub(super) fn tensor(&self, id: Id) -> &Tensor {
        &self.tensors[id.0]
    }
}

/// PyTorch's element types: name of the storage class, name of the dtype, type here.
const TYPES: &[(&str, &str, Dtype)] = &[
    ("FloatStorage", "float32", Dtype::F32),
    ("HalfStorage", "float16", Dtype::F16),
    ("BFloat16Storage", "bfloat16", Dtype::BF16),
    ("DoubleStorage", "float64", Dtype::F64),
    ("LongStorage", "int64", other("I64", 8)),
    ("IntStorage", "int32", other("I32", 4)),
    ("ShortStorage", "int16", other("I16", 2)),
    ("CharStorage", "int8", other("I8", 1)),
    ("ByteStorage", "uint8", other("U8", 1)),
    ("BoolStorage", "bool", other("BOOL", 1)),
    ("ComplexFloatStorage", "complex64", other("C64", 8)),
    ("ComplexDoubleStorage", "complex128", other("C128", 16)),
    ("QInt8Storage", "qint8", other("QI8", 1)),
    ("QUInt8Storage", "quint8", other("QU8", 1)),
    ("QInt32Storage", "qint32", other("QI32", 4)),
    ("UntypedStorage", "", other("untyped", 1)),
    ("", "uint16", other("U16", 2)),
    ("", "uint32", other("U32", 4)),
    ("", "uint64", other("U64", 8)),
    ("", "float8_e4m3fn", other("F8_E4M3", 1)),
    ("", "float8_e4m3fnuz", other("F8_E4M3FNUZ", 1)),
    ("", "float8_e5m2", other("F8_E5M2", 1)),
    ("", "float8_e5m2fnuz", other("F8_E5M2FNUZ", 1)),
];

const fn other(name: &'static str, element_bytes: usize) -> Dtype {
    Dtype::Other {
        name,
        element_bytes,
    }
}

/// Modules whose functions act on the computer. No checkpoint needs them, so a file that names one
/// was made to do harm.
const ACTING: &[&str] = &[
    "os",
    "posix",
    "nt",
    "sys",
    "subprocess",
    "shutil",
    "socket",
    "runpy",
    "importlib",
    "pty",
    "ctypes",
    "code",
    "commands",
    "webbrowser",
    "pdb",
    "timeit",
];

/// Built-in functions that execute a text or open the file that it names.
const BUILTINS: &[&str] = &[
    "eval",
    "exec",
    "execfile",
    "compile",
    "open",
    "__import__",
    "apply",
    "input",
];

/// Whether a name may belong to an object that accompanies weights.
pub(super) fn is_harmless(module: &str, name: &str) -> bool {
    let plain = |text: &str| {
        let known = |c: char| c.is_alphanumeric() || "_.<>".contains(c);
        !text.is_empty() && text.chars().all(known)
    };
    let package = module.split('.').next().unwrap_or_default();
    let acts = match package {
        "builtins" | "__builtin__" => BUILTINS.contains(&name),
        _ => ACTING.contains(&package),
    };
    plain(module) && plain(name) && !acts
}

/// A Python name for an error message, shortened and free of terminal control characters.
pub(super) fn shown(module: &str, name: &str) -> String {
    let both = module.chars().chain(['.']).chain(name.chars());
    both.take(120)
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

impl Global {
    /// Looks up a known name.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict" | "defaultdict")
            | ("builtins" | "__builtin__", "dict") => return Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => {
                return Some(Self::Tensor);
            }
            ("torch._utils", "_rebuild_tensor_v3") => return Some(Self::TensorOfType),
            ("torch._tensor", "_rebuild_from_type_v2") => {
                return Some(Self::TensorWithAttributes);
            }
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state")
            | ("torch.nn.parameter", "Parameter" | "Buffer") => return Some(Self::Parameter),
            _ => (),
        }
        let types = || TYPES.iter().filter(|_| !name.is_empty());
        match module {
            "torch" | "torch.cuda" | "torch.storage" => {
                if let Some((.., dtype)) = types().find(|(storage, ..)| *storage == name) {
                    return Some(Self::StorageType(*dtype));
                }
                if let Some((.., dtype)) = types().find(|(_, plain, _)| *plain == name) {
                    return Some(Self::Type(*dtype));
                }
            }
            _ => (),
        }
        None
    }
}
