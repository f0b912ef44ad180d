//! Convolution and pooling.

use super::super::import::{Import, Site, Value};
use super::super::view::{Activation, Axis, Border, NCHW};
use super::arithmetic::absorb;
use super::linear::{flat_bias, scaled};
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::{Fill, Operation, PaddingRule, Parameter};
use resnet_wgpu::tensor::Tensor;

/// Upper bound for strides, kernel sizes and padding: far more than any network uses, and small
/// enough that sums of them cannot overflow.
const MAX_GEOMETRY: i64 = 1 << 15;

/// `Conv`, and ONNX Runtime's `FusedConv`, which may add a residual and apply a ReLU.
pub(super) fn conv(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let fused = site.node.op == "FusedConv";
    let weight = import.floats(site, 1, Parameter::Weight)?;
    if let ([1, 1, taps], false) = (weight.dims(), fused) {
        return channel_conv(import, site, *taps, weight);
    }
    let (x, pending) = import.image(site, 0)?;
    let &[out_c, _, kernel_h, kernel_w] = weight.dims() else {
        return Err(site.refuse(format!(
            "a weight of shape {:?} is not supported, only four dimensions",
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
    let bias = match site.node.input(2) {
        Some(_) => Some(flat_bias(
            site,
            &import.floats(site, 2, Parameter::Bias)?,
            out_c,
        )?),
        None => None,
    };
    let window = Window::read(site, kernel)?;
    let before = match pending {
        None => Padding::all(0),
        Some((padding, Border::Value(PadValue::Zero))) => padding,
        Some((_, Border::Value(PadValue::NegInfinity))) => {
            return Err(site.refuse("its input is padded with minus infinity"));
        }
        Some((padding, Border::Mirror)) => {
            let channels = import.draft.shape(x.id).c;
            if padding == Padding::all(1)
                && (is_zero(bias.as_ref()) && !fused && groups == channels && is_blur(&weight))
                && (window.padding, window.dilation) == (PaddingRule::default(), [1, 1])
            {
                let stride = window.stride;
                return import.unary(site, Operation::BlurPool { stride }, x);
            }
            return Err(
                site.refuse("its input is mirrored at the edges, which only blur pools may")
            );
        }
    };
    let (weight, bias) = if fused {
        (weight, bias)
    } else {
        let after = absorb(import, site, &NCHW, out_c)?;
        scaled(weight, bias, &after)
    };
    let name = import.node_name(site);
    let weight = import.param(&name, Parameter::Weight, weight)?;
    let bias = bias
        .map(|bias| import.param(&name, Parameter::Bias, bias))
        .transpose()?;
    let operation = Operation::Conv2d {
        weight,
        bias,
        stride: window.stride,
        padding: window.behind(site, before)?,
        dilation: window.dilation,
        groups,
    };
    let id = import.draft.add(&name, operation, &[x.id])?;
    if fused {
        return finish_fused(import, site, Activation::new(id, NCHW));
    }
    Ok(Activation::new(id, NCHW).into())
}

/// A convolution along the channels of vectors, which lie in a row for it.
fn channel_conv(
    import: &mut Import<'_>,
    site: &Site<'_>,
    taps: usize,
    weight: Tensor,
) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let shape = import.draft.shape(x.id);
    let is_row = match x.axes[..] {
        [Axis::Image, one, _] => x.is_channel(2, shape) && x.size(one, shape) == 1,
        _ => false,
    };
    let bias = match site.node.input(2) {
        Some(_) => Some(import.floats(site, 2, Parameter::Bias)?),
        None => None,
    };
    let half = taps / 2;
    let keeps = match site.text("auto_pad")?.unwrap_or("NOTSET") {
        "NOTSET" | "" => geometry::<2>(site, "pads")?.unwrap_or_default() == [half; 2],
        rule => rule.starts_with("SAME"),
    };
    let ones = ["strides", "dilations"].map(|name| geometry::<1>(site, name));
    let [stride, dilation] = ones;
    let ones = [stride?, dilation?].iter().flatten().all(|[one]| *one == 1);
    if !(is_row && is_zero(bias.as_ref()) && keeps && ones && taps % 2 == 1)
        || site.int("group", 1)? != 1
        || geometry::<1>(site, "kernel_shape")?.is_some_and(|stated| stated != [taps])
    {
        return Err(site.refuse(
            "along one axis it is only supported for channels, whose number it keeps, without a bias",
        ));
    }
    let name = import.node_name(site);
    let weight = import.param(&name, Parameter::Weight, weight)?;
    let id = import
        .draft
        .add(&name, Operation::ChannelConv { weight }, &[x.id])?;
    Ok(Activation::new(id, x.axes).into())
}

/// Whether a bias adds nothing.
fn is_zero(bias: Option<&Tensor>) -> bool {
    bias.is_none_or(|bias| bias.data().iter().all(|&x| x == 0.0))
}

/// A depthwise binomial filter, `[1 2 1]/4` along rows and columns.
fn is_blur(weight: &Tensor) -> bool {
    let row = [0.25, 0.5, 0.25];
    let is = |(i, &number): (usize, &f32)| (number - row[i % 9 / 3] * row[i % 3]).abs() < 1e-6;
    weight.dims()[1..] == [1, 3, 3] && weight.data().iter().enumerate().all(is)
}

/// The residual and activation of a `FusedConv`.
fn finish_fused(
    import: &mut Import<'_>,
    site: &Site<'_>,
    mut x: Activation,
) -> Result<Value, Error> {
    if site.node.input(3).is_some() {
        let (y, None) = import.image(site, 3)? else {
            return Err(site.refuse("its residual is padded"));
        };
        let name = import.node_name(site);
        x.id = import.draft.add(&name, Operation::Add, &[x.id, y.id])?;
    }
    match site.text("activation")?.unwrap_or_default() {
        "" => Ok(x.into()),
        "Relu" => import.unary(site, Operation::Relu, x),
        other => Err(site.refuse(format!(
            "the activation {other} is not supported, only Relu"
        ))),
    }
}

pub(super) fn max_pool(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let (x, pending) = import.image(site, 0)?;
    let window = Window::of_pool(site)?;
    if let Some((_, Border::Mirror)) = pending {
        return Err(site.refuse("its input is mirrored at the edges"));
    }
    let before = pending.map_or_else(Padding::default, |(padding, _)| padding);
    let zeros = matches!(pending, Some((_, Border::Value(PadValue::Zero))));
    let added = window.added(import, site, &x, before)?;
    if zeros && sum(window.padding.sides, added) != Padding::all(0) {
        return Err(site.refuse(
            "its input is padded with zeros and its window with minus infinity, which is not \
             supported together",
        ));
    }
    let operation = Operation::MaxPool {
        kernel: window.kernel,
        stride: window.stride,
        padding: window.behind(site, before)?,
        zeros,
    };
    import.unary(site, operation, x)
}

pub(super) fn average_pool(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let (x, pending) = import.image(site, 0)?;
    if matches!(pending, Some((_, border)) if border != Border::Value(PadValue::Zero)) {
        return Err(site.refuse("its input is padded with something other than zeros"));
    }
    let include = site.int("count_include_pad", 0)? != 0;
    let window = Window::of_pool(site)?;
    let before = pending.map_or_else(Padding::default, |(padding, _)| padding);
    let none = Padding::all(0);
    let added = window.added(import, site, &x, before)?;
    let rounded_up = window.padding.fill == Fill::Ceil;
    // A Pad's zeros always count, the window's own padding if the attribute says so, padding from
    // rounding up never. Whichever are present must agree.
    let kinds = [
        (before != none, true),
        (window.padding.sides != none, include),
        (added != none, include && !rounded_up),
    ];
    let mut counted = kinds.iter().filter(|(there, _)| *there).map(|kind| kind.1);
    let count_padding = counted.next().unwrap_or(false);
    if counted.any(|counts| counts != count_padding) {
        return Err(site.refuse(
            "a mean that counts a part of its padding only (Pad, count_include_pad, ceil_mode) is \
             not supported",
        ));
    }
    let operation = Operation::AvgPool {
        kernel: window.kernel,
        stride: window.stride,
        padding: window.behind(site, before)?,
        count_padding,
    };
    import.unary(site, operation, x)
}

/// The attributes shared by convolution and pooling.
struct Window {
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    padding: PaddingRule,
}

impl Window {
    fn of_pool(site: &Site<'_>) -> Result<Self, Error> {
        let kernel = pair(site, "kernel_shape")?;
        let kernel = kernel.ok_or_else(|| site.refuse("kernel_shape is missing"))?;
        let window = Self::read(site, kernel)?;
        if window.dilation != [1, 1] {
            return Err(site.refuse("dilations of a pool are not supported"));
        }
        Ok(window)
    }

    fn read(site: &Site<'_>, kernel: [usize; 2]) -> Result<Self, Error> {
        let stride = pair(site, "strides")?.unwrap_or([1, 1]);
        let dilation = pair(site, "dilations")?.unwrap_or([1, 1]);
        if [stride, dilation, kernel].as_flattened().contains(&0) {
            return Err(site.refuse(format!(
                "a kernel of {kernel:?} with strides {stride:?} and dilations {dilation:?} makes no \
                 sense"
            )));
        }
        if let Some(side) = kernel.into_iter().find(|&side| side > 1 << 15) {
            return Err(site.refuse(format!("a kernel of {side} is too large")));
        }
        let stated = geometry::<4>(site, "pads")?.unwrap_or_default();
        let rule = site.text("auto_pad")?;
        let fill = match rule.unwrap_or("NOTSET") {
            "NOTSET" | "" => None,
            // Having both is not allowed, but all-zero pads are harmless.
            rule if stated != [0; 4] => {
                return Err(site.refuse(format!("auto_pad {rule} contradicts pads {stated:?}")));
            }
            "VALID" => None,
            "SAME_UPPER" => Some(Fill::Same),
            "SAME_LOWER" => Some(Fill::SameLower),
            rule => return Err(site.refuse(format!("auto_pad {rule} is not supported"))),
        };
        let ceil = site.int("ceil_mode", 0)? != 0;
        let [top, left, bottom, right] = stated;
        let sides = Padding {
            top,
            bottom,
            left,
            right,
        };
        let fill = fill.unwrap_or(if ceil { Fill::Ceil } else { Fill::Nothing });
        Ok(Self {
            kernel,
            stride,
            dilation,
            padding: PaddingRule { sides, fill },
        })
    }

    /// The padding that the rule adds to an image already padded by `before`.
    fn added(
        &self,
        import: &Import<'_>,
        site: &Site<'_>,
        x: &Activation,
        before: Padding,
    ) -> Result<Padding, Error> {
        let shape = import.draft.shape(x.id);
        let size = [
            shape.h + before.top + before.bottom,
            shape.w + before.left + before.right,
        ];
        let added = self.padding.added(self.kernel, self.stride, size);
        added.ok_or_else(|| site.refuse("its padding overflows"))
    }

    /// The padding rule, with that of a preceding Pad merged in.
    fn behind(&self, site: &Site<'_>, before: Padding) -> Result<PaddingRule, Error> {
        let PaddingRule { sides, fill } = self.padding;
        // The last window may start in the zeros of a Pad, but not in padding of its own.
        if fill == Fill::Ceil && (before.bottom > 0 || before.right > 0) {
            return Err(site.refuse("a Pad before a window that rounds up is not supported"));
        }
        let sides = sum(before, sides);
        Ok(PaddingRule { sides, fill })
    }
}

/// An attribute with exactly `N` numbers, none of them negative.
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

pub(super) const fn sum(a: Padding, b: Padding) -> Padding {
    Padding {
        top: a.top + b.top,
        bottom: a.bottom + b.bottom,
        left: a.left + b.left,
        right: a.right + b.right,
    }
}
