//! The supported operators, by their ONNX names and opset versions.
//!
//! Each function takes a node whose inputs are known and returns the value of its first output.

mod arithmetic;
mod channels;
mod fold;
mod group_norm;
mod layout;
mod linear;
mod sizes;
mod steps;
mod window;

use super::import::{Import, Site, Value};
use super::proto::is_standard;
use super::tensor::{Constant, Numbers, is_float};
use super::view::{Activation, Axis, Pending};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::Operation;
use resnet_wgpu::network::Activation as Function;

/// Adds a node's operation to the graph and returns its result.
pub(super) fn run(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let node = site.node;
    if !is_standard(node.domain) {
        return match (node.domain, node.op) {
            ("com.microsoft", "FusedConv") => window::conv(import, site),
            (domain, _) => Err(site.refuse(format!(
                "operators of the domain '{domain}' are not supported; export the network again \
                 without optimising it for a runtime"
            ))),
        };
    }
    if let Some(value) = fold::run(import, site)? {
        return Ok(value);
    }
    match node.op {
        "Conv" => window::conv(import, site),
        "MaxPool" => window::max_pool(import, site),
        "AveragePool" => window::average_pool(import, site),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            let (x, None) = import.image(site, 0)? else {
                return Err(site.refuse("its input is padded, which is not supported"));
            };
            layout::pool(import, site, x)
        }
        "ReduceMean" | "ReduceMax" => layout::reduce(import, site),
        "BatchNormalization" => arithmetic::batch_norm(import, site),
        "InstanceNormalization" => group_norm::instance_norm(import, site),
        "GroupNormalization" => group_norm::group_norm(import, site),
        "Relu" => {
            let x = import.plain(site, 0)?;
            import.unary(site, Operation::Relu, x)
        }
        "Clip" | "Max" => clip(import, site),
        "Sum" | "Concat" if node.inputs.len() == 1 => import.required(site, 0),
        "Sum" if node.inputs.len() > 2 => Err(site.refuse(format!(
            "a sum of {} inputs is not supported, only of 2",
            node.inputs.len()
        ))),
        "Add" | "Sum" | "Sub" | "Mul" | "Div" => arithmetic::arithmetic(import, site),
        "Gemm" => linear::gemm(import, site),
        "MatMul" => linear::mat_mul(import, site),
        "Softmax" | "LogSoftmax" => softmax(import, site),
        "Sigmoid" => {
            let x = import.plain(site, 0)?;
            Ok(Activation {
                pending: Pending::Sigmoid,
                ..x
            }
            .into())
        }
        "Flatten" | "Reshape" | "Expand" => layout::reshape(import, site),
        "Squeeze" | "Unsqueeze" => layout::squeeze(import, site),
        "Transpose" => layout::transpose(import, site),
        "Slice" => channels::slice(import, site),
        "Gather" | "GatherND" => channels::gather(import, site),
        "Split" => channels::split(import, site),
        "Concat" => channels::concat(import, site),
        "Pad" => arithmetic::pad(import, site),
        "Identity" => import.required(site, 0),
        "Dropout" => dropout(import, site),
        "Cast" | "CastLike" => cast(import, site),
        "If" => branch(import, site),
        "ArgMax" | "TopK" => Err(site.refuse(
            "the network gives class numbers instead of scores; export it without its last step",
        )),
        _ => Err(site.refuse("the operator is not supported")),
    }
}

/// `Clip` and `Max` count as `ReLU` if the lower bound is 0 and there is no upper bound.
fn clip(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let constants = "its bounds must be constants";
    let (index, [min, max]) = if site.node.op == "Max" {
        let [first, second] = [0, 1].map(|index| import.optional(site, index));
        let (index, bound) = match (first?, second?) {
            (Some(Value::Activation(_)), Some(Value::Constant(bound))) => (0, bound),
            (Some(Value::Constant(bound)), Some(Value::Activation(_))) => (1, bound),
            _ => return Err(site.refuse("it is only supported of an activation and a number")),
        };
        let bound = bound.scalar().ok_or_else(|| site.refuse(constants))?;
        (index, [bound, f32::MAX])
    } else {
        let mut bounds = [site.float("min", f32::MIN)?, site.float("max", f32::MAX)?];
        for (index, bound) in bounds.iter_mut().enumerate() {
            if let Some(value) = import.constant(site, index + 1)? {
                *bound = value.scalar().ok_or_else(|| site.refuse(constants))?;
            }
        }
        (0, bounds)
    };
    let x = import.plain(site, index)?;
    if min == 0.0 && max >= f32::MAX && site.node.inputs.len() < 4 {
        return import.unary(site, Operation::Relu, x);
    }
    Err(site.refuse(format!(
        "clamping to {min}..{max} (a ReLU6 or the like) is not supported, only ReLU"
    )))
}

/// Recorded as pending: the logits are its input.
fn softmax(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let function = match site.node.op {
        "Softmax" => Function::Softmax,
        _ => Function::LogSoftmax,
    };
    let x = import.plain(site, 0)?;
    let (dims, shape) = (import.dims(&x), import.draft.shape(x.id));
    let default = if import.opset < 13 { 1 } else { -1 };
    let axis = sizes::axis(site, site.int("axis", default)?, dims.len())?;
    // Before opset 13 it covered all axes from the stated one on.
    let over = if import.opset < 13 {
        axis..dims.len()
    } else {
        axis..axis + 1
    };
    let channels = over.clone().any(|axis| x.is_channel(axis, shape));
    let images = over.clone().any(|axis| x.axes[axis] == Axis::Image);
    if !channels || images || shape.pixels() != 1 {
        return Err(site.refuse(format!(
            "along axis {axis} of {dims:?} it is not supported, only over the scores of an image"
        )));
    }
    Ok(Activation {
        pending: Pending::Last(function),
        ..x
    }
    .into())
}

/// The identity at inference.
fn dropout(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    match import.optional(site, 2)? {
        None => {}
        Some(Value::Constant(mode)) if mode.scalar() == Some(0.0) => {}
        Some(_) => return Err(site.refuse("a training mode is not supported")),
    }
    import.required(site, 0)
}

/// The identity between float types, as everything is computed in 32 bits. Integer pixels of the
/// image may be cast to floats.
fn cast(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let to_float = match site.node.op {
        "Cast" => is_float(site.int("to", 0)?),
        _ => match import.required(site, 1)? {
            Value::Activation(like) => like.pending != Pending::Integers,
            Value::Constant(like) => matches!(like.numbers, Numbers::Floats(_)),
        },
    };
    match import.required(site, 0)? {
        Value::Activation(x) if to_float && x.pending == Pending::Integers => {
            let pending = import.of_pixels();
            Ok(Activation { pending, ..x }.into())
        }
        Value::Activation(x) if to_float => Ok(x.into()),
        value @ Value::Constant(Constant {
            numbers: Numbers::Floats(_),
            ..
        }) if to_float => Ok(value),
        _ => Err(site.refuse("the conversion is not supported, only to floats")),
    }
}

/// `If` with a constant condition: runs the branch that it selects.
fn branch(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let condition = import
        .constant(site, 0)?
        .and_then(|condition| condition.scalar());
    let name = match condition {
        None => return Err(site.refuse("its condition must be a constant")),
        Some(0.0) => "else_branch",
        Some(_) => "then_branch",
    };
    let graph = site.node.graph(name).map_err(|error| site.damaged(error))?;
    let graph = graph.ok_or_else(|| site.refuse(format!("{name} is missing")))?;
    for &(name, tensor) in &graph.initializers {
        import.define(site, name, tensor)?;
    }
    for node in &graph.nodes {
        import.step(node)?;
    }
    let ([output], [_]) = (&graph.outputs[..], &site.node.outputs[..]) else {
        return Err(site.refuse("it has more than one result"));
    };
    let value = import.values.get(output.name);
    let value = value
        .cloned()
        .ok_or_else(|| site.refuse("its branch gives nothing"))?;
    Ok(value)
}
