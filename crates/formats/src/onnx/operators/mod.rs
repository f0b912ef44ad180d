//! The operators, by their names and versions in ONNX.
//!
//! Each function takes a node whose inputs are known and returns what its first output is.

mod fold;
mod layout;
mod linear;
mod window;

use super::import::{Activation, Import, Pending, Site, Value};
use super::proto::is_standard;
use super::tensor::{Constant, FLOAT, FLOAT16};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Operation, Parameter};
use resnet_wgpu::tensor::Tensor;

/// Adds what a node means to the graph.
pub(super) fn run<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let node = site.node;
    if !is_standard(node.domain) {
        return Err(site.refuse(format!(
            "operators of the domain '{}' are not supported",
            node.domain
        )));
    }
    match node.op {
        "Conv" => window::conv(import, site),
        "MaxPool" => window::max_pool(import, site),
        "AveragePool" => window::average_pool(import, site),
        "GlobalAveragePool" => {
            let (x, None) = import.image(site, 0)? else {
                return Err(site.refuse("its input is padded, which is not supported"));
            };
            import.unary(site, Operation::GlobalAvgPool, x)
        }
        "ReduceMean" => layout::reduce_mean(import, site),
        "BatchNormalization" => batch_norm(import, site),
        "Relu" => {
            let x = import.plain(site, 0)?;
            import.unary(site, Operation::Relu, x)
        }
        "Clip" => clip(import, site),
        "Add" => add(import, site),
        "Sum" => match node.inputs.len() {
            1 => import.plain(site, 0).map(Value::Activation),
            2 => add(import, site),
            count => Err(site.refuse(format!(
                "a sum of {count} inputs is not supported, only of 2"
            ))),
        },
        "Gemm" => linear::gemm(import, site),
        "MatMul" => linear::mat_mul(import, site),
        "Softmax" => softmax(import, site),
        "Flatten" => layout::flatten(import, site),
        "Reshape" => layout::reshape(import, site),
        "Squeeze" => layout::squeeze(import, site),
        "Unsqueeze" => layout::unsqueeze(import, site),
        "Transpose" => layout::transpose(import, site),
        "Pad" => layout::pad(import, site),
        "Identity" => import.required(site, 0),
        "Dropout" => dropout(import, site),
        "Cast" => cast(import, site),
        "Constant" => fold::constant(site),
        "Shape" => fold::shape(import, site),
        "Gather" => fold::gather(import, site),
        "Concat" => fold::concat(import, site),
        _ => Err(site.refuse("the operator is not supported")),
    }
}

fn batch_norm<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    site.only("training_mode", 0, 0)?;
    site.only("spatial", 1, 1)?;
    let epsilon = site.float("epsilon", 1e-5)?;
    let x = import.plain(site, 0)?;
    if x.form == super::import::Form::Nhwc {
        return Err(site.refuse("its input is channels-last, which is not supported"));
    }
    let roles = [
        Parameter::Gamma,
        Parameter::Beta,
        Parameter::Mean,
        Parameter::Variance,
    ];
    let mut tensors = Vec::new();
    for (index, role) in roles.into_iter().enumerate() {
        tensors.push((role, import.floats(site, index + 1, role)?));
    }
    let name = import.node_name(site);
    let mut params = Vec::new();
    for (role, tensor) in tensors {
        params.push(import.param(&name, role, tensor)?);
    }
    let Ok([gamma, beta, mean, variance]) = <[String; 4]>::try_from(params) else {
        return Err(site.refuse("it needs four parameters"));
    };
    let operation = Operation::BatchNorm {
        gamma,
        beta,
        mean,
        variance,
        epsilon,
        of_batch: false,
    };
    let id = import.draft.add(&name, operation, &[x.id])?;
    Ok(Value::Activation(Activation { id, ..x }))
}

fn add<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    for index in 0..2 {
        if let Value::Constant(_) = import.required(site, index)? {
            return Err(site.refuse(
                "adding a constant is only supported as the bias of a convolution or product",
            ));
        }
    }
    let (x, y) = (import.plain(site, 0)?, import.plain(site, 1)?);
    if x.form != y.form {
        return Err(site.refuse("its inputs have different numbers of sizes"));
    }
    let name = import.node_name(site);
    let id = import.draft.add(&name, Operation::Add, &[x.id, y.id])?;
    Ok(Value::Activation(Activation { id, ..x }))
}

/// `Clip` is a ReLU when nothing is cut off above.
fn clip<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let mut bounds = [site.float("min", f32::MIN)?, site.float("max", f32::MAX)?];
    for (index, bound) in bounds.iter_mut().enumerate() {
        if let Some(value) = import.optional(site, index + 1)? {
            *bound = scalar(&value).ok_or_else(|| site.refuse("its bounds must be constants"))?;
        }
    }
    let [min, max] = bounds;
    if min == 0.0 && max >= f32::MAX {
        return import.unary(site, Operation::Relu, x);
    }
    Err(site.refuse(format!(
        "clamping to {min}..{max} (a ReLU6 or the like) is not supported, only ReLU"
    )))
}

/// A constant of one number.
fn scalar(value: &Value) -> Option<f32> {
    match value {
        Value::Constant(Constant::Floats(tensor)) => match tensor.data() {
            &[number] => Some(number),
            _ => None,
        },
        _ => None,
    }
}

/// Only noted: the logits are what it reads.
fn softmax<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let dims = import.dims(x);
    let default = if import.opset < 13 { 1 } else { -1 };
    let axis = layout::axis(site, site.int("axis", default)?, dims.len())?;
    let channels = if x.form == super::import::Form::Nhwc {
        3
    } else {
        1
    };
    if axis != channels || import.draft.shape(x.id).pixels() != dims[0] {
        return Err(site.refuse(format!(
            "along axis {axis} of {dims:?} it is not supported, only over the scores of an image"
        )));
    }
    Ok(Value::Activation(Activation {
        pending: Pending::Softmax,
        ..x
    }))
}

/// Does nothing, as the network is not trained here.
fn dropout<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    if site.node.input(2).is_some() {
        return Err(site.refuse("a training mode is not supported"));
    }
    import.required(site, 0)
}

/// Between floats it does nothing: everything is computed with 32 bits.
fn cast<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    const INTS: [i64; 2] = [6, 7];
    let to = site.int("to", 0)?;
    match import.required(site, 0)? {
        value @ Value::Constant(Constant::Ints { .. }) if INTS.contains(&to) => Ok(value),
        value @ (Value::Activation(_) | Value::Constant(Constant::Floats(_)))
            if [FLOAT, FLOAT16].contains(&to) =>
        {
            Ok(value)
        }
        _ => Err(site.refuse("the conversion is not supported, only between floats")),
    }
}

/// A bias of one number for each channel, without the sizes of 1 that some files give it.
fn flat_bias<'a>(site: &Site<'a>, bias: &Tensor, channels: usize) -> Result<Tensor, Error> {
    match *bias.dims() {
        [c] | [1, c] if c == channels => Tensor::new(&[channels], bias.data()),
        _ => Err(site.refuse(format!(
            "a bias of sizes {:?} does not fit {channels} channels",
            bias.dims()
        ))),
    }
}
