//! Convolution and pooling.

use super::super::import::{Activation, Form, Import, Pending, Site, Value};
use super::super::window::{AutoPad, Placed, Placement};
use super::flat_bias;
use resnet_wgpu::Error;
use resnet_wgpu::graph::{AvgPool, Conv2d, MaxPool, Op, PadValue, Padding, Window};
use resnet_wgpu::internals::network::Parameter;

/// Strides, kernels and padding are at most this: far more than any network has, and small enough
/// for sums of them not to overflow.
const MAX_GEOMETRY: i64 = 1 << 15;

pub(super) fn conv<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let (x, pending) = import.image(site, 0)?;
    let weight = import.floats(site, 1, Parameter::Weight)?;
    let &[out_c, _, kernel_h, kernel_w] = weight.dims() else {
        return Err(site.refuse(format!(
            "a weight of sizes {:?} is not supported, only of four",
            weight.dims()
        )));
    };
    let kernel = [kernel_h, kernel_w];
    if let Some(stated) = pair(site, "kernel_shape")?
        && stated != kernel
    {
        return Err(site.refuse(format!(
            "kernel_shape {stated:?} is not that of the weight, {kernel:?}"
        )));
    }
    let groups = site.int("group", 1)?;
    let groups = usize::try_from(groups)
        .map_err(|_| site.refuse(format!("{groups} groups make no sense")))?;
    let before = match pending {
        None => Padding::all(0),
        Some((padding, PadValue::Zero)) => padding,
        Some((_, PadValue::NegInfinity)) => {
            return Err(site.refuse("its input is padded with minus infinity"));
        }
    };
    let placement = placement(site, kernel)?;
    let placed = placement.place(padded_size(import, x, before)?);

    let mut absorbed = false;
    let bias = match site.node.input(2) {
        Some(_) => {
            let bias = import.floats(site, 2, Parameter::Bias)?;
            Some(flat_bias(site, &bias, out_c)?)
        }
        None => {
            let bias = import.absorb_bias(site, out_c, Form::Nchw)?;
            absorbed = bias.is_some();
            bias
        }
    };
    let name = import.node_name(site);
    let weight = import.param(&name, Parameter::Weight, weight)?;
    let bias = bias
        .map(|bias| import.param(&name, Parameter::Bias, bias))
        .transpose()?;
    let op = Op::Conv2d(Conv2d {
        stride: placement.stride,
        padding: sum(before, placed.whole()),
        ..Conv2d::new(weight).bias(bias).groups(groups)
    });
    let id = import.graph.add(&name, op, &[x.id])?;
    let value = Value::Activation(Activation {
        id,
        form: Form::Nchw,
        pending: Pending::Nothing,
    });
    if absorbed {
        import.alias_reader(site, &value);
    }
    Ok(value)
}

pub(super) fn max_pool<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let (x, pending) = import.image(site, 0)?;
    let (placement, placed, before) = pool(import, site, x, pending.map(|(padding, _)| padding))?;
    let own = placed.whole();
    let pad_value = match pending {
        None | Some((_, PadValue::NegInfinity)) => PadValue::NegInfinity,
        Some((_, PadValue::Zero)) if own == Padding::all(0) => PadValue::Zero,
        Some((_, PadValue::Zero)) => {
            return Err(site.refuse(
                "its input is padded with zeros and its window with minus infinity, which is not \
                 supported together",
            ));
        }
    };
    let window = Window {
        kernel: placement.kernel,
        stride: placement.stride,
        padding: sum(before, own),
    };
    import.unary(site, Op::MaxPool(MaxPool { window, pad_value }), x)
}

pub(super) fn average_pool<'a>(import: &mut Import<'a>, site: &Site<'a>) -> Result<Value, Error> {
    let (x, pending) = import.image(site, 0)?;
    if matches!(pending, Some((_, PadValue::NegInfinity))) {
        return Err(site.refuse("its input is padded with minus infinity"));
    }
    let include = site.int("count_include_pad", 0)? != 0;
    let (placement, placed, before) = pool(import, site, x, pending.map(|(padding, _)| padding))?;
    let none = Padding::all(0);
    // Zeros of a Pad always count, the window's own padding if the attribute says so, and what
    // rounding up adds never. All that there are must agree.
    let kinds = [
        (before != none, true),
        (placed.padding != none, include),
        (placed.extra != [0, 0], false),
    ];
    let mut counted = kinds.iter().filter(|(there, _)| *there).map(|kind| kind.1);
    let count_padding = counted.next().unwrap_or(false);
    if counted.any(|counts| counts != count_padding) {
        return Err(site.refuse(
            "a mean that counts a part of its padding only (Pad, count_include_pad, ceil_mode) is \
             not supported",
        ));
    }
    let window = Window {
        kernel: placement.kernel,
        stride: placement.stride,
        padding: sum(before, placed.whole()),
    };
    let op = Op::AvgPool(AvgPool {
        window,
        count_padding,
    });
    import.unary(site, op, x)
}

/// The window of a pooling, where it lies, and the padding that was pending.
fn pool<'a>(
    import: &Import<'a>,
    site: &Site<'a>,
    x: Activation,
    pending: Option<Padding>,
) -> Result<(Placement, Placed, Padding), Error> {
    let kernel = pair(site, "kernel_shape")?;
    let kernel = kernel.ok_or_else(|| site.refuse("kernel_shape is missing"))?;
    let before = pending.unwrap_or_default();
    let placement = placement(site, kernel)?;
    let placed = placement.place(padded_size(import, x, before)?);
    Ok((placement, placed, before))
}

/// The attributes that convolution and pooling share.
fn placement(site: &Site<'_>, kernel: [usize; 2]) -> Result<Placement, Error> {
    let stride = pair(site, "strides")?.unwrap_or([1, 1]);
    let dilation = pair(site, "dilations")?.unwrap_or([1, 1]);
    if dilation != [1, 1] {
        return Err(site.refuse(format!("dilations {dilation:?} are not supported")));
    }
    if stride.contains(&0) || kernel.contains(&0) {
        return Err(site.refuse(format!(
            "a kernel of {kernel:?} with strides {stride:?} makes no sense"
        )));
    }
    if let Some(side) = kernel.into_iter().find(|&side| side > 1 << 15) {
        return Err(site.refuse(format!("a kernel of {side} is too large")));
    }
    let stated = geometry::<4>(site, "pads")?.unwrap_or_default();
    let rule = site.node.text("auto_pad").map_err(|e| site.damaged(e))?;
    let pad = match rule.unwrap_or("NOTSET") {
        "NOTSET" | "" => AutoPad::Stated(stated),
        // Both at once are not allowed; zeros are harmless.
        rule if stated != [0; 4] => {
            return Err(site.refuse(format!("auto_pad {rule} contradicts pads {stated:?}")));
        }
        "VALID" => AutoPad::Stated([0; 4]),
        "SAME_UPPER" => AutoPad::SameUpper,
        "SAME_LOWER" => AutoPad::SameLower,
        rule => return Err(site.refuse(format!("auto_pad {rule} is not supported"))),
    };
    Ok(Placement {
        kernel,
        stride,
        pad,
        ceil: site.int("ceil_mode", 0)? != 0,
    })
}

/// Numbers of an attribute that must be as many as `N`, none of them negative.
fn geometry<const N: usize>(site: &Site<'_>, name: &str) -> Result<Option<[usize; N]>, Error> {
    let Some(ints) = site.ints(name)? else {
        return Ok(None);
    };
    let in_range = |&int: &i64| (0..=MAX_GEOMETRY).contains(&int);
    let sizes: Vec<usize> = ints
        .iter()
        .filter(|int| in_range(int))
        .filter_map(|&int| usize::try_from(int).ok())
        .collect();
    match <[usize; N]>::try_from(sizes) {
        Ok(sizes) if ints.len() == N => Ok(Some(sizes)),
        _ => {
            let shown = &ints[..ints.len().min(8)];
            Err(site.refuse(format!(
                "{name} {shown:?} is not supported, only {N} numbers from 0"
            )))
        }
    }
}

fn pair(site: &Site<'_>, name: &str) -> Result<Option<[usize; 2]>, Error> {
    geometry::<2>(site, name)
}

fn padded_size(import: &Import<'_>, x: Activation, padding: Padding) -> Result<[usize; 2], Error> {
    let shape = import.graph.get(x.id)?.shape;
    Ok([
        shape.h + padding.top + padding.bottom,
        shape.w + padding.left + padding.right,
    ])
}

pub(super) const fn sum(a: Padding, b: Padding) -> Padding {
    Padding {
        top: a.top + b.top,
        bottom: a.bottom + b.bottom,
        left: a.left + b.left,
        right: a.right + b.right,
    }
}
