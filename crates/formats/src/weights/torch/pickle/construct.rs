//! What "calling" a Python object creates in a pickle: dicts, storages and tensors, never code.

use super::{MAX_DIMS, Machine};
use crate::weights::contents::{Dtype, Fault};
use crate::weights::torch::objects::{Global, Id, Storage, Tensor, Value, is_harmless, shown};

impl<'a> Machine<'a> {
    /// Pushes a Python name: a known one, or one that may accompany weights.
    pub(super) fn global(&mut self, module: &'a str, name: &'a str) -> Result<(), Fault> {
        let value = match Global::find(module, name) {
            Some(global) => Value::Global(global),
            None if is_harmless(module, name) => self.objects.add_class(module, name),
            None => return Err(Fault::Forbidden(shown(module, name))),
        };
        self.push(value);
        Ok(())
    }

    /// A persistent ID stands for a storage: `("storage", type, key, device, elements)`, in old
    /// files followed by a view `(key, start, length)`.
    pub(super) fn persistent(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let items = self.tuple_items(id);
        let (fixed, view) = match items.unwrap_or_default() {
            [fixed @ .., view] if fixed.len() == 5 => (fixed, Some(*view)),
            fixed => (fixed, None),
        };
        if let [Value::Text("module"), class, ..] = *fixed {
            // Old files have the source code of a module beside its class.
            self.push(class);
            return Ok(());
        }
        let [
            Value::Text("storage"),
            Value::Global(Global::StorageType(dtype)),
            Value::Text(key),
            _,
            Value::Int(len),
        ] = *fixed
        else {
            return Err(self.damaged("refers to something other than a storage"));
        };
        let view = match view {
            None | Some(Value::None) => None,
            Some(view) => match self.tuple_items(view) {
                Some([_, start, len]) => size(*start).zip(size(*len)),
                _ => None,
            }
            .map(Some)
            .ok_or_else(|| self.damaged("has a storage that is no part of another"))?,
        };
        let len = size(Value::Int(len)).ok_or_else(|| self.damaged("has a negative length"))?;
        let storage = self.objects.add_storage(Storage {
            key,
            dtype,
            len,
            view,
        });
        self.push(storage);
        Ok(())
    }

    fn tuple_items(&self, value: Value<'a>) -> Option<&[Value<'a>]> {
        match value {
            Value::Tuple(id) => Some(self.objects.items(id)),
            _ => None,
        }
    }

    /// The result of "calling" an object; calls of unknown ones are only recorded.
    pub(super) fn reduce(
        &mut self,
        function: Value<'a>,
        arguments: Value<'a>,
    ) -> Result<Value<'a>, Fault> {
        let Value::Global(global) = function else {
            return match function {
                Value::Class(class) => Ok(self.objects.add_object(class)),
                // An attribute of something unknown.
                Value::Other | Value::Object(_) => Ok(Value::Other),
                _ => Err(self.damaged("calls something that is not a function")),
            };
        };
        let given = self.tuple_items(arguments);
        let given = given.ok_or_else(|| self.damaged("calls a function without arguments"))?;
        match (global, given) {
            (Global::OrderedDict, []) => Ok(Value::Dict(self.objects.add_items(Vec::new()))),
            (Global::OrderedDict, &[Value::List(pairs), ..]) => self.dict_of_pairs(pairs),
            // `defaultdict(list)`
            (Global::OrderedDict, [Value::Class(_) | Value::Global(_) | Value::None]) => {
                Ok(Value::Dict(self.objects.add_items(Vec::new())))
            }
            (Global::Tensor, &[Value::Storage(storage), offset, dims, strides, ..]) => {
                let dtype = self.objects.storage(storage).dtype;
                self.tensor(storage, dtype, [offset, dims, strides])
            }
            (
                Global::TensorOfType,
                &[
                    Value::Storage(storage),
                    offset,
                    dims,
                    strides,
                    _,
                    _,
                    Value::Global(Global::Type(dtype)),
                    ..,
                ],
            ) => self.tensor(storage, dtype, [offset, dims, strides]),
            // The function rebuilds the tensor itself, so this recurses only once.
            (
                Global::TensorWithAttributes,
                &[
                    inner
                    @ Value::Global(Global::Tensor | Global::TensorOfType | Global::Parameter),
                    _,
                    arguments,
                    ..,
                ],
            ) => self.reduce(inner, arguments),
            (Global::Parameter, &[tensor @ Value::Tensor(_), ..]) => Ok(tensor),
            (Global::TensorWithAttributes, [Value::Class(_), ..]) => Ok(Value::Other),
            _ => Err(self.damaged("makes an object of the wrong parts")),
        }
    }

    /// `OrderedDict([[key, value], …])`, as Python 2 wrote it.
    fn dict_of_pairs(&mut self, pairs: Id) -> Result<Value<'a>, Fault> {
        // One list may be used repeatedly, so every copy is charged as steps.
        self.count(self.objects.items(pairs).len())?;
        let mut items = Vec::new();
        for pair in self.objects.items(pairs) {
            let (Value::Tuple(pair) | Value::List(pair)) = *pair else {
                return Err(self.damaged("makes a dict of something other than pairs"));
            };
            let [key, value] = *self.objects.items(pair) else {
                return Err(self.damaged("makes a dict of something other than pairs"));
            };
            items.extend([key, value]);
        }
        Ok(Value::Dict(self.objects.add_items(items)))
    }

    fn tensor(
        &mut self,
        storage: Id,
        dtype: Dtype,
        [offset, dims, strides]: [Value<'a>; 3],
    ) -> Result<Value<'a>, Fault> {
        let sizes = |value| {
            let items = self.tuple_items(value)?;
            let few = items.len() <= MAX_DIMS;
            few.then(|| items.iter().map(|&item| size(item)).collect::<Option<_>>())?
        };
        let parts: Option<(usize, Vec<usize>, Vec<usize>)> =
            size(offset).and_then(|offset| Some((offset, sizes(dims)?, sizes(strides)?)));
        match parts {
            Some((offset, dims, strides)) if dims.len() == strides.len() => {
                Ok(self.objects.add_tensor(Tensor {
                    storage,
                    dtype,
                    offset,
                    dims,
                    strides,
                }))
            }
            _ => Err(self.damaged("makes a tensor of a shape that makes no sense")),
        }
    }

    /// Sets the attributes of the object below the top of the stack.
    pub(super) fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let Value::Object(_) = self.top()? else {
            // Known objects have no weights in their attributes.
            return Ok(());
        };
        let parts = match state {
            // The attribute dict, and attributes stored in slots.
            Value::Tuple(both) => self.objects.items(both).to_vec(),
            one => vec![one],
        };
        for part in parts {
            if let Value::Dict(attributes) = part {
                let items = self.objects.items(attributes).to_vec();
                self.count(items.len())?;
                self.add(&items)?;
            }
        }
        Ok(())
    }
}

fn size(value: Value<'_>) -> Option<usize> {
    match value {
        Value::Int(number) => usize::try_from(number).ok(),
        _ => None,
    }
}
