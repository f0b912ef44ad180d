//! Operators that select channels, or every n-th row and column, of an activation.

use super::super::import::{Import, Site, Value};
use super::super::view::{Activation, Axis, Channels, Pending};
use super::sizes::{axis, ranges};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Operation, PaddingRule};

/// Selects channels of an activation, in any order.
fn pick(import: &Import<'_>, x: &Activation, picked: &[usize]) -> Channels {
    let channels = match &x.pending {
        Pending::Channels(channels) => channels.clone(),
        _ => Channels::unchanged(import.draft.shape(x.id).c),
    };
    channels.pick(picked)
}

/// An input whose channels can be selected: pending channel arithmetic may remain pending.
pub(super) fn of_channels(
    import: &mut Import<'_>,
    site: &Site<'_>,
    index: usize,
) -> Result<Activation, Error> {
    match import.activation(site, index)? {
        x @ Activation {
            pending: Pending::Channels(_),
            ..
        } => Ok(x),
        _ => import.plain(site, index),
    }
}

/// Selects channels, or every n-th row and column.
pub(super) fn slice(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = of_channels(import, site, 0)?;
    let settings = [("starts", 1), ("ends", 2), ("axes", 3), ("steps", 4)];
    let [starts, ends, axes, steps] =
        settings.map(|(name, index)| import.int_list(site, name, index));
    let dims = import.dims(&x);
    let ranges = ranges(site, &dims, [starts?, ends?, axes?, steps?])?;
    let shape = import.draft.shape(x.id);
    let mut stride = [1, 1];
    let mut picked = None;
    for (at, range) in ranges.iter().enumerate() {
        let whole = range.start == 0
            && range.step > 0
            && range.len == dims[at].div_ceil(range.step.unsigned_abs());
        match x.axes[at] {
            _ if whole && range.step == 1 => {}
            _ if x.is_channel(at, shape) && range.len > 0 => {
                let index = |i: usize| {
                    range
                        .start
                        .wrapping_add_signed(range.step * i.cast_signed())
                };
                picked = Some((0..range.len).map(index).collect::<Vec<_>>());
            }
            Axis::Row if whole => stride[0] = range.step.unsigned_abs(),
            Axis::Column if whole => stride[1] = range.step.unsigned_abs(),
            _ => return Err(site.refuse("cutting a part out of an image is not supported")),
        }
    }
    let x = match picked {
        Some(picked) => Activation {
            pending: Pending::Channels(pick(import, &x, &picked)),
            ..x
        },
        None => x,
    };
    if stride == [1, 1] {
        return Ok(x.into());
    }
    if x.pending != import.activation(site, 0)?.pending {
        return Err(site.refuse("it takes channels and pixels at once, which is not supported"));
    }
    let x = import.plain(site, 0)?;
    let padding = PaddingRule::all(0);
    let zeros = false;
    import.unary(
        site,
        Operation::MaxPool {
            kernel: [1, 1],
            stride,
            padding,
            zeros,
        },
        x,
    )
}

/// Selects channels by index; a `GatherND` must amount to a `Gather` along the first axis. Along an
/// axis of size 1, only index 0 or −1 is possible.
pub(super) fn gather(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let mut x = of_channels(import, site, 0)?;
    let at = axis(site, site.int("axis", 0)?, x.axes.len())?;
    let refuse = || site.refuse("it is only supported for shapes and channels, not for pixels");
    let indices = import.constant(site, 1)?.ok_or_else(refuse)?;
    let rank = match (site.node.op, indices.dims()) {
        ("GatherND", [_, 1]) if site.int("batch_dims", 0)? == 0 => 1,
        ("Gather", dims) if dims.len() < 2 => dims.len(),
        _ => return Err(refuse()),
    };
    let listed = import.int_list(site, "indices", 1)?.unwrap_or_default();
    let shape = import.draft.shape(x.id);
    let is_one = x.axes[at] != Axis::Image && x.size(x.axes[at], shape) == 1;
    if x.is_channel(at, shape) && !listed.is_empty() {
        let count = x.size(Axis::Channel, shape);
        let picked = listed.iter().map(|&index| axis(site, index, count));
        let picked: Vec<usize> = picked.collect::<Result<_, _>>()?;
        x.pending = Pending::Channels(pick(import, &x, &picked));
    } else if !(is_one && matches!(listed[..], [0 | -1])) {
        return Err(refuse());
    }
    if rank == 0 {
        x.axes.remove(at);
    }
    Ok(x.into())
}

/// Splits the channels into groups, one for each output.
pub(super) fn split(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = of_channels(import, site, 0)?;
    let at = axis(site, site.int("axis", 0)?, x.axes.len())?;
    let shape = import.draft.shape(x.id);
    let (count, parts) = (x.size(Axis::Channel, shape), site.node.outputs.len());
    if !x.is_channel(at, shape) {
        return Err(site.refuse("it is only supported for channels, not for pixels"));
    }
    let sizes = match import.int_list(site, "split", 1)? {
        Some(sizes) => sizes
            .iter()
            .map(|&size| usize::try_from(size).unwrap_or(usize::MAX))
            .collect(),
        None => {
            let each = count.div_ceil(parts.max(1));
            let size = |part: usize| each.min(count.saturating_sub(part * each));
            (0..parts).map(size).collect::<Vec<_>>()
        }
    };
    let total = sizes
        .iter()
        .try_fold(0usize, |total, &size| total.checked_add(size));
    if sizes.len() != parts || total != Some(count) || sizes.contains(&0) {
        return Err(site.refuse(format!(
            "{count} channels do not fall into parts of {sizes:?}"
        )));
    }
    let mut first = 0;
    for (output, size) in site.node.outputs.iter().zip(sizes) {
        let picked: Vec<usize> = (first..first + size).collect();
        let pending = Pending::Channels(pick(import, &x, &picked));
        let part = Activation {
            pending,
            ..x.clone()
        };
        import.values.insert(output.clone(), part.into());
        first += size;
    }
    let value = site
        .node
        .outputs
        .first()
        .and_then(|first| import.values.get(first));
    value
        .cloned()
        .ok_or_else(|| site.refuse("it has no outputs"))
}

/// Concatenates channels of one activation.
pub(super) fn concat(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let refuse = || site.refuse("joining images is not supported, only channels of one image");
    let mut joined: Option<(Activation, Channels)> = None;
    for index in 0..site.node.inputs.len() {
        let Value::Activation(_) = import.required(site, index)? else {
            return Err(refuse());
        };
        let x = of_channels(import, site, index)?;
        let shape = import.draft.shape(x.id);
        let at = axis(site, site.int("axis", 0)?, x.axes.len())?;
        if !x.is_channel(at, shape) && x.axes[at] != Axis::One {
            return Err(refuse());
        }
        let all: Vec<usize> = (0..x.size(Axis::Channel, shape)).collect();
        let own = pick(import, &x, &all);
        // A single channel may be represented by any axis of size 1.
        let mut axes = x.axes.clone();
        axes[at] = Axis::Channel;
        if axes.iter().filter(|&&axis| axis == Axis::Channel).count() > 1 {
            return Err(refuse());
        }
        match &mut joined {
            None => joined = Some((Activation { axes, ..x }, own)),
            Some((first, channels)) if first.id == x.id && first.axes == axes => {
                channels.append(own);
            }
            Some(_) => return Err(refuse()),
        }
    }
    let (first, channels) = joined.ok_or_else(|| site.refuse("it has no inputs"))?;
    Ok(Activation {
        pending: Pending::Channels(channels),
        ..first
    }
    .into())
}
