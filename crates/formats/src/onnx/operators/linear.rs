//! `Gemm` and `MatMul`: the classifier.

use super::super::import::{Activation, Form, Import, Pending, Site, Value};
use super::flat_bias;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Operation, Parameter};
use resnet_wgpu::tensor::Tensor;

/// `y = x · W + b`, with the weight as `[in, out]` or, transposed, `[out, in]`.
pub(super) fn gemm<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    site.only("transA", 0, 0)?;
    for factor in ["alpha", "beta"] {
        let value = site.float(factor, 1.0)?;
        if value != 1.0 {
            return Err(site.refuse(format!("{factor} = {value} is not supported, only 1")));
        }
    }
    let matrix = import.floats(site, 1, Parameter::Weight)?;
    let weight = match site.int("transB", 0)? {
        0 => import.transpose(site, 1, &matrix)?,
        _ => matrix,
    };
    let bias = match site.node.input(2) {
        Some(_) => {
            let bias = import.floats(site, 2, Parameter::Bias)?;
            let channels = weight.dims().first().copied().unwrap_or_default();
            Some(flat_bias(site, &bias, channels)?)
        }
        None => None,
    };
    linear(import, site, weight, bias)
}

/// `y = x · W`, with the bias that the next node adds.
pub(super) fn mat_mul<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let matrix = import.floats(site, 1, Parameter::Weight)?;
    let weight = import.transpose(site, 1, &matrix)?;
    let bias = import.absorb_bias(site, weight.dims()[0], Form::Vector)?;
    let value = linear(import, site, weight, bias)?;
    import.alias_reader(site, &value);
    Ok(value)
}

fn linear<'a>(
    import: &mut Import<'a>,
    site: &Site<'a>,
    weight: Tensor,
    bias: Option<Tensor>,
) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    if x.form != Form::Vector {
        return Err(site.refuse("its input is an image; a Flatten is missing"));
    }
    let name = import.node_name(site);
    let weight = import.param(&name, Parameter::Weight, weight)?;
    let bias = bias
        .map(|bias| import.param(&name, Parameter::Bias, bias))
        .transpose()?;
    let operation = Operation::Linear { weight, bias };
    let id = import.draft.add(&name, operation, &[x.id])?;
    Ok(Value::Activation(Activation {
        id,
        form: Form::Vector,
        pending: Pending::Nothing,
    }))
}
