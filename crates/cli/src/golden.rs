//! Expected values from a file, for `resnet compare --golden`.

use std::collections::BTreeMap;
use std::path::Path;

use resnet_wgpu::internals::files::read_at_most;
use resnet_wgpu::tensor::{Shape, Tensor};
use safetensors::{Dtype, SafeTensors};

use crate::failure::Failure;

/// Activations of a network at a usual image size take far less.
const MAX_BYTES: u64 = 4 << 30;
/// The name of the input tensor.
const INPUT: &str = "input";

/// Values by name, as computed by another implementation.
#[derive(Debug)]
pub(crate) struct Golden {
    pub(crate) input: Tensor,
    pub(crate) values: BTreeMap<String, Tensor>,
}

impl Golden {
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |reason: String| {
            Failure::runtime(format!("golden file '{}': {reason}", path.display()))
        };
        let bytes = read_at_most(path, MAX_BYTES).map_err(|error| refuse(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| refuse(format!("not a safetensors file: {error}")))?;
        let mut values = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(refuse(format!("'{name}' is {:?}, not F32", view.dtype())));
            }
            let (scalars, _) = view.data().as_chunks::<4>();
            let scalars: Vec<f32> = scalars.iter().map(|&b| f32::from_le_bytes(b)).collect();
            values.insert(name, Tensor::new(view.shape(), scalars)?);
        }
        let input = values
            .remove(INPUT)
            .ok_or_else(|| refuse(format!("there is no tensor '{INPUT}'")))?;
        match input.dims() {
            [_, 3, _, _] if !input.is_empty() => Ok(Self { input, values }),
            dims => Err(refuse(format!(
                "'{INPUT}' must be images of three channels (NCHW), got {dims:?}"
            ))),
        }
    }

    /// A value in the shape that the network gives it, if the file has it. Other implementations
    /// drop dimensions of size 1: PyTorch's logits are `[N, classes]`.
    pub(crate) fn get(&self, name: &str, shape: Shape) -> Result<Option<Tensor>, Failure> {
        let Some(tensor) = self.values.get(name) else {
            return Ok(None);
        };
        let long = |dims: &[usize]| -> Vec<usize> {
            dims.iter().copied().filter(|&side| side != 1).collect()
        };
        if long(tensor.dims()) != long(&shape.dims()) {
            return Err(Failure::runtime(format!(
                "golden tensor '{name}': expected shape {shape}, got {:?}",
                tensor.dims()
            )));
        }
        Ok(Some(Tensor::new(&shape.dims(), tensor.data())?))
    }
}
