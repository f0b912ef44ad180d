//! Operators that change how sizes are listed: most of them add no node.

use super::super::import::{Activation, Form, Import, Pending, Site, Value};
use super::super::tensor::Constant;
use super::{scalar, window};
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::Operation;

/// An axis counted from the front; ONNX counts negative ones from the end.
pub(super) fn axis(site: &Site<'_>, axis: i64, rank: usize) -> Result<usize, Error> {
    let counted = if axis < 0 {
        i64::try_from(rank)
            .ok()
            .and_then(|rank| axis.checked_add(rank))
    } else {
        Some(axis)
    };
    counted
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| site.refuse(format!("there is no axis {axis} among {rank}")))
}

/// Rows and columns of a form, if it has them.
const fn rows_and_columns(form: Form) -> Option<[usize; 2]> {
    match form {
        Form::Nchw => Some([2, 3]),
        Form::Nhwc => Some([1, 2]),
        Form::Vector => None,
    }
}

/// Whether the axes are those of rows and columns, in any order.
fn are_rows_and_columns(site: &Site<'_>, axes: &[i64], form: Form) -> Result<bool, Error> {
    let rank = if form == Form::Vector { 2 } else { 4 };
    let mut counted = Vec::new();
    for &a in axes.iter().take(rank + 1) {
        counted.push(axis(site, a, rank)?);
    }
    counted.sort_unstable();
    Ok(rows_and_columns(form).is_some_and(|both| counted == both))
}

pub(super) fn reduce_mean<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let axes = import.int_list(site, "axes", 1)?.unwrap_or_default();
    if !are_rows_and_columns(site, &axes, x.form)? {
        return Err(site.refuse(format!(
            "a mean over axes {axes:?} is not supported, only over rows and columns"
        )));
    }
    let form = match site.int("keepdims", 1)? {
        0 => Form::Vector,
        _ => x.form,
    };
    import.unary(site, Operation::GlobalAvgPool, Activation { form, ..x })
}

/// All scalars of an image in one vector.
fn vector<'a>(import: &mut Import<'a>, site: &Site<'a>, x: Activation) -> Result<Value, Error> {
    let channels_last = match x.form {
        Form::Vector => return Ok(Value::Activation(x)),
        Form::Nchw => false,
        Form::Nhwc => true,
    };
    let form = Form::Vector;
    let shape = import.draft.shape(x.id);
    if [shape.h, shape.w] == [1, 1] {
        return Ok(Value::Activation(Activation { form, ..x }));
    }
    let flatten = Operation::Flatten { channels_last };
    import.unary(site, flatten, Activation { form, ..x })
}

pub(super) fn flatten<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let rank = import.dims(x).len();
    let first = axis(site, site.int("axis", 1)?, rank)?;
    if first != 1 {
        return Err(site.refuse(format!("axis {first} is not supported, only 1")));
    }
    vector(import, site, x)
}

pub(super) fn reshape<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let stated = import.int_list(site, "shape", 1)?;
    let stated = stated.ok_or_else(|| site.refuse("the shape is missing"))?;
    let value = import.required(site, 0)?;
    let Value::Activation(_) = value else {
        return reshape_constant(site, value, &stated);
    };
    let x = import.plain(site, 0)?;
    let zero_copies = site.int("allowzero", 0)? == 0;
    let dims = import.dims(x);
    let refuse = || {
        site.refuse(format!(
            "from {dims:?} to {stated:?} is not supported, only to one vector for each image"
        ))
    };
    let batch = dims[0];
    let file_batch = import.file_batch;
    let is = |index: usize, size: usize| {
        let stated = stated[index];
        stated == -1
            || usize::try_from(stated).is_ok_and(|stated| stated == size)
            || (stated == 0 && zero_copies && dims.get(index) == Some(&size))
    };
    // A file for one batch size may say that number; the batch asked for takes its place.
    let first_is_batch =
        || is(0, batch) || (file_batch.is_some() && usize::try_from(stated[0]).ok() == file_batch);
    let one_is_open = stated.iter().filter(|&&size| size == -1).count() <= 1;
    let scalars: usize = dims[1..].iter().product();
    match stated.len() {
        2 if one_is_open && first_is_batch() && is(1, scalars) => vector(import, site, x),
        4 if one_is_open
            && first_is_batch()
            && x.form != Form::Nhwc
            && is(1, scalars)
            && is(2, 1)
            && is(3, 1) =>
        {
            // A vector as an image of one pixel; an image stays as it is only if it has one pixel.
            match vector(import, site, x)? {
                Value::Activation(x) => Ok(Value::Activation(Activation {
                    form: Form::Nchw,
                    ..x
                })),
                constant @ Value::Constant(_) => Ok(constant),
            }
        }
        _ => Err(refuse()),
    }
}

/// Weights that old exporters keep in another shape.
fn reshape_constant(site: &Site<'_>, value: Value, stated: &[i64]) -> Result<Value, Error> {
    let refuse = || site.refuse(format!("a constant cannot become {stated:?}"));
    let Value::Constant(Constant::Floats(tensor)) = value else {
        return Err(refuse());
    };
    let mut known = 1usize;
    for &size in stated.iter().filter(|&&size| size != -1) {
        let size = usize::try_from(size).ok().filter(|&size| size > 0);
        let size = size.ok_or_else(refuse)?;
        known = known.checked_mul(size).ok_or_else(refuse)?;
    }
    let open = stated.iter().filter(|&&size| size == -1).count();
    if open > 1 || stated.len() > 4 || !tensor.len().is_multiple_of(known) {
        return Err(refuse());
    }
    let dims: Vec<usize> = stated
        .iter()
        .map(|&size| usize::try_from(size).unwrap_or(tensor.len() / known))
        .collect();
    let tensor = resnet_wgpu::tensor::Tensor::new(&dims, tensor.data()).map_err(|_| refuse())?;
    Ok(Value::Constant(Constant::Floats(tensor)))
}

pub(super) fn squeeze<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let axes = import.int_list(site, "axes", 1)?;
    if let Value::Constant(Constant::Ints { ints, .. }) = import.required(site, 0)? {
        let scalar = ints.len() == 1;
        return Ok(Value::Constant(Constant::Ints { ints, scalar }));
    }
    let x = import.plain(site, 0)?;
    let shape = import.draft.shape(x.id);
    let Some(axes) = axes else {
        return Err(site.refuse("without axes it depends on the batch, which is not supported"));
    };
    if !are_rows_and_columns(site, &axes, x.form)? || [shape.h, shape.w] != [1, 1] {
        return Err(site.refuse(format!(
            "axes {axes:?} of {:?} are not supported, only rows and columns of one pixel",
            import.dims(x)
        )));
    }
    let form = Form::Vector;
    Ok(Value::Activation(Activation { form, ..x }))
}

pub(super) fn unsqueeze<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let axes = import.int_list(site, "axes", 1)?.unwrap_or_default();
    match import.required(site, 0)? {
        Value::Constant(Constant::Ints { ints, scalar: true }) if axes == [0] => {
            let scalar = false;
            Ok(Value::Constant(Constant::Ints { ints, scalar }))
        }
        Value::Activation(x)
            if x.form == Form::Vector && x.pending == Pending::Nothing && axes == [2, 3] =>
        {
            let form = Form::Nchw;
            Ok(Value::Activation(Activation { form, ..x }))
        }
        _ => Err(site.refuse(format!("axes {axes:?} are not supported for this input"))),
    }
}

/// Between NCHW and NHWC it only changes how the same activation is seen.
pub(super) fn transpose<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.activation(site, 0)?;
    let perm = site.ints("perm")?;
    let shown = perm.clone().unwrap_or_default();
    let form = match (x.form, shown.as_slice()) {
        (Form::Nhwc, [0, 3, 1, 2]) => Form::Nchw,
        (Form::Nchw, [0, 2, 3, 1]) => Form::Nhwc,
        (form, [0, 1, 2, 3]) if form != Form::Vector => form,
        (Form::Vector, [0, 1]) => Form::Vector,
        _ => {
            return Err(site.refuse(format!(
                "perm {shown:?} of {:?} is not supported, only between NCHW and NHWC",
                import.dims(x)
            )));
        }
    };
    if x.pending == Pending::Softmax {
        return import.plain(site, 0).map(Value::Activation);
    }
    Ok(Value::Activation(Activation { form, ..x }))
}

/// Padding is left to the convolution or pooling that reads the result.
pub(super) fn pad<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let x = import.activation(site, 0)?;
    let mode = site.node.text("mode").map_err(|e| site.damaged(e))?;
    if let Some(mode) = mode.filter(|mode| *mode != "constant") {
        return Err(site.refuse(format!("mode {mode} is not supported, only constant")));
    }
    let Some([rows, columns]) = rows_and_columns(x.form) else {
        return Err(site.refuse("padding a vector is not supported"));
    };
    let padding = padding(import, site, [rows, columns])?;
    let number = match import.optional(site, 2)? {
        None => site.float("value", 0.0)?,
        Some(value) => scalar(&value)
            .ok_or_else(|| site.refuse("what it pads with must be one constant number"))?,
    };
    let value = if number == 0.0 {
        PadValue::Zero
    } else if number <= f32::MIN {
        PadValue::NegInfinity
    } else {
        return Err(site.refuse(format!(
            "padding with {number} is not supported, only with 0 or minus infinity"
        )));
    };
    let pending = match x.pending {
        Pending::Nothing if padding == Padding::all(0) => Pending::Nothing,
        Pending::Nothing => Pending::Pad(padding, value),
        Pending::Pad(before, same) if same == value => {
            Pending::Pad(window::sum(before, padding), value)
        }
        _ => return import.plain(site, 0).map(Value::Activation),
    };
    Ok(Value::Activation(Activation { pending, ..x }))
}

/// The numbers of a `Pad`: all starts, then all ends, of all axes or of those that are listed.
fn padding<'a>(
    import: &mut Import<'a>,
    site: &Site<'a>,
    [rows, columns]: [usize; 2],
) -> Result<Padding, Error> {
    const RANK: usize = 4;
    const MAX_PADDING: usize = 1 << 15;
    let pads = import.int_list(site, "pads", 1)?;
    let pads = pads.ok_or_else(|| site.refuse("pads are missing"))?;
    let mut axes = Vec::new();
    match import.int_list(site, "axes", 3)? {
        None => axes.extend(0..RANK),
        Some(listed) => {
            for &a in listed.iter().take(RANK + 1) {
                axes.push(axis(site, a, RANK)?);
            }
        }
    }
    let refuse = || {
        site.refuse(format!(
            "pads {pads:?} are not supported, only rows and columns added to an image"
        ))
    };
    if pads.len() != 2 * axes.len() {
        return Err(refuse());
    }
    let mut sides = [[0; 2]; RANK];
    for (index, &axis) in axes.iter().enumerate() {
        for (end, side) in sides[axis].iter_mut().enumerate() {
            let stated = usize::try_from(pads[index + end * axes.len()]).ok();
            let stated = stated.filter(|&stated| stated <= MAX_PADDING);
            *side = stated.ok_or_else(refuse)?;
        }
    }
    let others = (0..RANK).filter(|axis| ![rows, columns].contains(axis));
    if others.into_iter().any(|axis| sides[axis] != [0, 0]) {
        return Err(refuse());
    }
    Ok(Padding {
        top: sides[rows][0],
        bottom: sides[rows][1],
        left: sides[columns][0],
        right: sides[columns][1],
    })
}
