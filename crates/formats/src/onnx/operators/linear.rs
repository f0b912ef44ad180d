//! `Gemm` and `MatMul`: linear layers.

use super::super::import::{Import, Site, Value};
use super::super::tensor::narrow;
use super::super::view::{Activation, Axis, Channels};
use super::arithmetic::absorb;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Operation, PaddingRule, Parameter};
use resnet_wgpu::tensor::Tensor;

/// `y = alpha · x · W + beta · b`.
pub(super) fn gemm(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let mut x = import.plain(site, 0)?;
    if site.int("transA", 0)? != 0 {
        x.axes.reverse();
    }
    if x.axes.len() != 2 {
        return Err(site.refuse("its input is an image; a Flatten is missing"));
    }
    let matrix = import.floats(site, 1, Parameter::Weight)?;
    let (alpha, beta) = (site.float("alpha", 1.0)?, site.float("beta", 1.0)?);
    let weight = matrix_of(site, &matrix, site.int("transB", 0)? != 0, alpha)?;
    let bias = match site.node.input(2) {
        Some(_) => {
            let bias = import.floats(site, 2, Parameter::Bias)?;
            let bias = flat_bias(site, &bias, weight.dims()[0])?;
            Some(Tensor::from_fn(bias.dims(), |c| beta * bias.data()[c]))
        }
        None => None,
    };
    linear(import, site, x, weight, bias)
}

/// `y = x · W`, merged with the arithmetic of the nodes after it.
pub(super) fn mat_mul(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let matrix = import.floats(site, 1, Parameter::Weight)?;
    let weight = matrix_of(site, &matrix, false, 1.0)?;
    linear(import, site, x, weight, None)
}

/// A matrix, transposed to `[out, in]` and multiplied by a number.
fn matrix_of(
    site: &Site<'_>,
    matrix: &Tensor,
    transposed: bool,
    factor: f32,
) -> Result<Tensor, Error> {
    let (data, dims) = (matrix.data(), matrix.dims());
    match *dims {
        [_, _] if transposed && factor == 1.0 => Ok(matrix.clone()),
        [_, _] if transposed => Ok(Tensor::from_fn(dims, |i| factor * data[i])),
        [in_c, out_c] => Ok(Tensor::from_fn(&[out_c, in_c], |i| {
            factor * data[i % in_c * out_c + i / in_c]
        })),
        _ => Err(site.refuse(format!("the weight has shape {dims:?}, not two dimensions"))),
    }
}

/// A bias with one number per channel, from any shape that broadcasts to it.
pub(super) fn flat_bias(site: &Site<'_>, bias: &Tensor, channels: usize) -> Result<Tensor, Error> {
    match *bias.dims() {
        [c] | [1, c] if c == channels => Tensor::new(&[channels], bias.data()),
        [] | [1] | [1, 1] => Ok(Tensor::from_fn(&[channels], |_| bias.data()[0])),
        _ => Err(site.refuse(format!(
            "a bias of shape {:?} does not fit {channels} channels",
            bias.dims()
        ))),
    }
}

/// Merges a scale and a shift of the result into the weight and bias of a layer.
pub(super) fn scaled(
    weight: Tensor,
    bias: Option<Tensor>,
    after: &Channels,
) -> (Tensor, Option<Tensor>) {
    let count = after.len();
    if *after == Channels::unchanged(count) {
        return (weight, bias);
    }
    let each = (weight.len() / count.max(1)).max(1);
    let product = |factor: f64, number: f32| narrow(factor * f64::from(number));
    let old = |c: usize| bias.as_ref().map_or(0.0, |bias| f64::from(bias.data()[c]));
    let shifted = Tensor::from_fn(&[count], |c| {
        narrow(after.scale[c] * old(c) + after.shift[c])
    });
    let weight = Tensor::from_fn(weight.dims(), |i| {
        product(after.scale[i / each], weight.data()[i])
    });
    (weight, Some(shifted))
}

fn linear(
    import: &mut Import<'_>,
    site: &Site<'_>,
    x: Activation,
    weight: Tensor,
    bias: Option<Tensor>,
) -> Result<Value, Error> {
    let shape = import.draft.shape(x.id);
    if !x
        .axes
        .len()
        .checked_sub(1)
        .is_some_and(|last| x.is_channel(last, shape))
    {
        return Err(site.refuse("the channels of its input do not come last"));
    }
    let &[out_c, in_c] = weight.dims() else {
        return Err(site.refuse("its weight is not a matrix"));
    };
    let mut axes = x.axes;
    if let Some(last) = axes.last_mut() {
        *last = Axis::Channel;
    }
    let after = absorb(import, site, &axes, out_c)?;
    let (weight, bias) = scaled(weight, bias, &after);
    let name = import.node_name(site);
    let each_pixel = axes
        .iter()
        .any(|axis| matches!(axis, Axis::Row | Axis::Column | Axis::Pixel));
    let weight = if each_pixel {
        Tensor::new(&[out_c, in_c, 1, 1], weight.data())?
    } else {
        weight
    };
    let weight = import.param(&name, Parameter::Weight, weight)?;
    let bias = bias
        .map(|bias| import.param(&name, Parameter::Bias, bias))
        .transpose()?;
    let operation = if each_pixel {
        let padding = PaddingRule::all(0);
        Operation::Conv2d {
            weight,
            bias,
            stride: [1, 1],
            padding,
            dilation: [1; 2],
            groups: 1,
        }
    } else {
        Operation::Linear { weight, bias }
    };
    let id = import.draft.add(&name, operation, &[x.id])?;
    Ok(Activation::new(id, axes).into())
}
