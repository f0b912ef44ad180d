//! Constants, and the arithmetic on shapes that exporters write where a batch can have any size:
//! `x.view(x.size(0), -1)` is Shape, Gather, Unsqueeze, Concat and Reshape.

use super::super::import::{Import, Pending, Site, Value};
use super::super::tensor::{Constant, MAX_INTS};
use super::layout::axis;
use resnet_wgpu::Error;
use resnet_wgpu::tensor::Tensor;

pub(super) fn constant(site: &Site<'_>) -> Result<Value, Error> {
    let node = site.node;
    let damaged = |error| site.damaged(error);
    if let Some(tensor) = node.tensor("value").map_err(damaged)? {
        let constant = Constant::decode(tensor);
        return constant
            .map(Value::Constant)
            .map_err(|reason| site.refuse(reason));
    }
    if let Some(float) = node.float("value_float").map_err(damaged)? {
        let tensor = Tensor::new(&[], vec![float])?;
        return Ok(Value::Constant(Constant::Floats(tensor)));
    }
    let (ints, scalar) = match node.int("value_int").map_err(damaged)? {
        Some(int) => (vec![int], true),
        None => (
            node.ints("value_ints")
                .map_err(damaged)?
                .unwrap_or_default(),
            false,
        ),
    };
    ints_of(site, ints, scalar)
}

fn ints_of(site: &Site<'_>, ints: Vec<i64>, scalar: bool) -> Result<Value, Error> {
    // Files that double a list over and over must not fill the memory.
    if ints.is_empty() || ints.len() > MAX_INTS {
        return Err(
            site.refuse("the constant is not supported, only floats and short lists of integers")
        );
    }
    Ok(Value::Constant(Constant::Ints { ints, scalar }))
}

pub(super) fn shape<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    if site.node.has("start") || site.node.has("end") {
        return Err(site.refuse("a part of a shape is not supported"));
    }
    let x = import.activation(site, 0)?;
    if let Pending::Pad(..) = x.pending {
        return Err(site.refuse("the shape of padded activations is not supported"));
    }
    let dims = import.dims(x)?.into_iter().map(i64::try_from);
    let dims: Result<Vec<i64>, _> = dims.collect();
    ints_of(site, dims.unwrap_or_default(), false)
}

pub(super) fn gather<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    site.only("axis", 0, 0)?;
    let (list, _) = list(import, site, 0)?;
    let (indices, scalar) = self::list(import, site, 1)?;
    let mut picked = Vec::new();
    for index in indices {
        picked.push(list[axis(site, index, list.len())?]);
    }
    ints_of(site, picked, scalar)
}

pub(super) fn concat<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for index in 0..site.node.inputs.len().min(MAX_INTS + 1) {
        all.extend(list(import, site, index)?.0);
    }
    ints_of(site, all, false)
}

/// A constant list of integers, and whether it is one without a size.
fn list<'a>(
    import: &mut Import<'a>,
    site: &Site<'a>,
    index: usize,
) -> Result<(Vec<i64>, bool), Error> {
    match import.required(site, index)? {
        Value::Constant(Constant::Ints { ints, scalar }) => Ok((ints, scalar)),
        _ => Err(site.refuse("it is only supported for shapes, not for images or weights")),
    }
}
