//! Operators that change how sizes are listed: most of them add no node.

use super::super::import::{Import, Site, Value};
use super::super::tensor::MAX_RANK;
use super::super::view::{Activation, Axis, Channels, Pending};
use resnet_wgpu::Error;
use resnet_wgpu::graph::Padding;
use resnet_wgpu::internals::network::{Operation, PaddingRule};

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

/// Different axes, counted from the front and sorted.
pub(super) fn axes(site: &Site<'_>, listed: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
    let mut found = Vec::new();
    for &listed in listed.iter().take(MAX_RANK + 1) {
        found.push(axis(site, listed, rank)?);
    }
    found.sort_unstable();
    if found.windows(2).any(|pair| pair[0] == pair[1]) || found.len() != listed.len() {
        return Err(site.refuse(format!("axes {listed:?} make no sense")));
    }
    Ok(found)
}

/// An order of all axes.
pub(super) fn permutation(site: &Site<'_>, perm: &[i64], rank: usize) -> Result<Vec<usize>, Error> {
    if axes(site, perm, rank)?.len() != rank {
        return Err(site.refuse(format!("perm {perm:?} does not fit {rank} sizes")));
    }
    perm.iter().map(|&index| axis(site, index, rank)).collect()
}

/// The axes that a `Squeeze` leaves.
pub(super) fn squeezed(
    site: &Site<'_>,
    dims: &[usize],
    listed: Option<&[i64]>,
) -> Result<Vec<usize>, Error> {
    let gone = match listed {
        Some(listed) => axes(site, listed, dims.len())?,
        None => (0..dims.len()).filter(|&axis| dims[axis] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&axis| dims[axis] != 1) {
        return Err(site.refuse(format!("axis {axis} of {dims:?} is not of size 1")));
    }
    Ok((0..dims.len())
        .filter(|axis| !gone.contains(axis))
        .collect())
}

/// Inserts the axes of an `Unsqueeze`, which are those of the result.
pub(super) fn widen<T: Copy>(
    site: &Site<'_>,
    list: &mut Vec<T>,
    listed: &[i64],
    one: T,
) -> Result<(), Error> {
    let rank = list.len() + listed.len();
    if rank > MAX_RANK {
        return Err(site.refuse("it has too many sizes"));
    }
    for axis in axes(site, listed, rank)? {
        list.insert(axis, one);
    }
    Ok(())
}

/// The sizes that a `Reshape` states, with those that follow from the others.
pub(super) fn inferred(
    site: &Site<'_>,
    dims: &[usize],
    stated: &[i64],
) -> Result<Vec<usize>, Error> {
    let refuse = || site.refuse(format!("{dims:?} cannot become {stated:?}"));
    let zero_copies = site.int("allowzero", 0)? == 0;
    let mut sizes = Vec::new();
    for (index, &size) in stated.iter().enumerate() {
        sizes.push(match size {
            -1 => None,
            0 if zero_copies => Some(*dims.get(index).ok_or_else(refuse)?),
            size => Some(usize::try_from(size).map_err(|_| refuse())?),
        });
    }
    let mut known = sizes.iter().flatten().copied();
    let known = known
        .try_fold(1usize, usize::checked_mul)
        .ok_or_else(refuse)?;
    let open = sizes.iter().filter(|size| size.is_none()).count();
    let len: usize = dims.iter().product();
    let fits = match open {
        0 => known == len,
        1 => known > 0 && len.is_multiple_of(known),
        _ => false,
    };
    if !fits || sizes.len() > MAX_RANK {
        return Err(refuse());
    }
    Ok(sizes
        .into_iter()
        .map(|size| size.unwrap_or_else(|| len / known))
        .collect())
}

/// What a `Slice` takes along an axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start: usize,
    pub(super) step: isize,
    pub(super) len: usize,
}

/// The ranges of all axes; `settings` are starts, ends, axes and steps.
pub(super) fn ranges(
    site: &Site<'_>,
    dims: &[usize],
    [starts, ends, listed, steps]: [Option<Vec<i64>>; 4],
) -> Result<Vec<Range>, Error> {
    let mut ranges: Vec<Range> = dims
        .iter()
        .map(|&len| Range {
            start: 0,
            step: 1,
            len,
        })
        .collect();
    let (Some(starts), Some(ends)) = (starts, ends) else {
        return Err(site.refuse("starts or ends are missing"));
    };
    let all = || {
        (0..starts.len())
            .filter_map(|axis| i64::try_from(axis).ok())
            .collect()
    };
    let listed = listed.unwrap_or_else(all);
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    axes(site, &listed, dims.len())?;
    if [ends.len(), listed.len(), steps.len()] != [starts.len(); 3] || steps.contains(&0) {
        return Err(site.refuse("its starts, ends, axes and steps do not fit each other"));
    }
    for (index, &listed) in listed.iter().enumerate() {
        let at = axis(site, listed, dims.len())?;
        let size = i64::try_from(dims[at]).unwrap_or(i64::MAX);
        let step = steps[index];
        let counted = |bound: i64| {
            if bound < 0 {
                bound.saturating_add(size)
            } else {
                bound
            }
        };
        let (start, end) = (counted(starts[index]), counted(ends[index]));
        let (start, distance) = if step > 0 {
            let start = start.clamp(0, size);
            (start, end.clamp(0, size) - start)
        } else {
            let start = start.clamp(0, (size - 1).max(0));
            (start, start - end.clamp(-1, (size - 1).max(0)))
        };
        let len = distance
            .max(0)
            .cast_unsigned()
            .div_ceil(step.unsigned_abs());
        ranges[at] = Range {
            start: usize::try_from(start).unwrap_or(0),
            step: isize::try_from(step).unwrap_or(isize::MAX),
            len: usize::try_from(len).unwrap_or(0),
        };
    }
    Ok(ranges)
}

/// A mean over all rows and columns, in one step or in two.
pub(super) fn reduce_mean(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = match import.activation(site, 0)? {
        x @ Activation {
            pending: Pending::Mean(_),
            ..
        } => x,
        _ => import.plain(site, 0)?,
    };
    let listed = import.int_list(site, "axes", 1)?.unwrap_or_default();
    if listed.is_empty() && site.int("noop_with_empty_axes", 0)? != 0 {
        return Ok(x.into());
    }
    let shape = import.draft.shape(x.id);
    let refuse = || {
        site.refuse(format!(
            "a mean over axes {listed:?} of {:?} is not supported, only over rows and columns",
            import.dims(&x)
        ))
    };
    let mut over = Vec::new();
    for at in axes(site, &listed, x.axes.len())? {
        match x.axes[at] {
            Axis::Image => return Err(refuse()),
            found @ (Axis::Row | Axis::Column | Axis::Pixel) => over.push(found),
            found if x.size(found, shape) == 1 => {}
            _ => return Err(refuse()),
        }
    }
    if listed.is_empty() {
        return Err(refuse());
    }
    let keep = site.int("keepdims", 1)? != 0;
    let gone = axes(site, &listed, x.axes.len())?;
    let mut view = Vec::new();
    for (at, &axis) in x.axes.iter().enumerate() {
        match gone.contains(&at) {
            false => view.push(axis),
            true if keep => view.push(Axis::One),
            true => {}
        }
    }
    let before = match x.pending {
        Pending::Mean(axis) => Some(axis),
        _ => None,
    };
    let whole = match (before, &over[..]) {
        (None, [Axis::Pixel] | [Axis::Row, Axis::Column] | [Axis::Column, Axis::Row]) => true,
        (Some(Axis::Row), [Axis::Column]) | (Some(Axis::Column), [Axis::Row]) => true,
        (_, []) => return Ok(Activation { axes: view, ..x }.into()),
        (None, _) => false,
        (Some(_), _) => return Err(refuse()),
    };
    if whole {
        // An axis of one of them that was kept is one of size 1 from here on.
        return import.unary(
            site,
            Operation::GlobalAvgPool,
            Activation { axes: view, ..x },
        );
    }
    let pending = Pending::Mean(over[0]);
    Ok(Activation {
        axes: view,
        pending,
        ..x
    }
    .into())
}

/// The same numbers in other sizes.
pub(super) fn reshape(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = import.activation(site, 0)?;
    let dims = import.dims(&x);
    let to = match site.node.op {
        "Flatten" => {
            let first = axis(site, site.int("axis", 1)?, dims.len())?;
            if first != 1 {
                return Err(site.refuse(format!("axis {first} is not supported, only 1")));
            }
            [&dims[..1], &dims[1..]]
                .map(|part| part.iter().product())
                .to_vec()
        }
        "Expand" => {
            let stated = import.int_list(site, "shape", 1)?.unwrap_or_default();
            let same = stated.len() <= dims.len()
                && stated
                    .iter()
                    .rev()
                    .zip(dims.iter().rev())
                    .all(|(&stated, &size)| {
                        stated == 1 || usize::try_from(stated).ok() == Some(size)
                    });
            if !same {
                return Err(site.refuse(format!("{dims:?} to {stated:?} is not supported")));
            }
            dims.clone()
        }
        _ => {
            let stated = import.int_list(site, "shape", 1)?;
            let stated = stated.ok_or_else(|| site.refuse("the shape is missing"))?;
            inferred(site, &dims, &stated)?
        }
    };
    if matches!(x.pending, Pending::Pad(..) | Pending::Mean(_)) {
        return import.plain(site, 0).map(Value::from);
    }
    let refuse = || {
        let reason = "is not supported, only what leaves each image and the order of its channels";
        site.refuse(format!("{dims:?} to {to:?} {reason}"))
    };
    match regroup(import, &x, &to).ok_or_else(refuse)? {
        (axes, None) => Ok(Activation { axes, ..x }.into()),
        (axes, Some(channels_last)) => {
            let x = import.plain(site, 0)?;
            let flatten = Operation::Flatten { channels_last };
            import.unary(site, flatten, Activation { axes, ..x })
        }
    }
}

/// The axes of an activation in other sizes; the second is for channels last or first where all of an
/// image becomes one vector.
fn regroup(import: &Import<'_>, x: &Activation, to: &[usize]) -> Option<(Vec<Axis>, Option<bool>)> {
    let shape = import.draft.shape(x.id);
    let (mut axes, mut to) = (Vec::new(), to);
    let mut from: Vec<Axis> = x.axes.clone();
    if let Some(at) = from.iter().position(|&axis| axis == Axis::Image) {
        let batch = import.batch.unwrap_or(1);
        if at != 0 || to.first() != Some(&batch) {
            return None;
        }
        axes.push(Axis::Image);
        (from, to) = (from[1..].to_vec(), &to[1..]);
    }
    from.retain(|&axis| x.size(axis, shape) != 1);
    let all: usize = from.iter().map(|&axis| x.size(axis, shape)).product();
    let mut order = None;
    let mut left = &from[..];
    for &size in to {
        if size == 1 {
            axes.push(Axis::One);
            continue;
        }
        let is = |axes: &[Axis]| {
            axes.iter()
                .map(|&axis| x.size(axis, shape))
                .product::<usize>()
                == size
        };
        match left {
            [first, rest @ ..] if is(&[*first]) => {
                axes.push(*first);
                left = rest;
            }
            [Axis::Row, Axis::Column, rest @ ..] if is(&[Axis::Pixel]) => {
                axes.push(Axis::Pixel);
                left = rest;
            }
            [Axis::Pixel, rest @ ..] if size == shape.h && left.len() == rest.len() + 1 => {
                axes.push(Axis::Row);
                from = [&[Axis::Column], rest].concat();
                left = &from;
            }
            _ if size == all && left.len() == from.len() && from.len() > 1 => {
                order = Some(match (from.first(), from.last()) {
                    (Some(Axis::Channel), _) if in_order(&from[1..]) => false,
                    (_, Some(Axis::Channel)) if in_order(&from[..from.len() - 1]) => true,
                    _ => return None,
                });
                axes.push(Axis::Channel);
                left = &[];
            }
            _ => return None,
        }
    }
    left.is_empty().then_some((axes, order))
}

/// Whether rows come before columns.
fn in_order(axes: &[Axis]) -> bool {
    matches!(
        axes,
        [Axis::Row, Axis::Column] | [Axis::Row | Axis::Column | Axis::Pixel]
    )
}

pub(super) fn squeeze(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let listed = import.int_list(site, "axes", 1)?;
    let mut x = import.activation(site, 0)?;
    if let Pending::Pad(..) = x.pending {
        return import.plain(site, 0).map(Value::from);
    }
    if site.node.op == "Unsqueeze" {
        widen(site, &mut x.axes, &listed.unwrap_or_default(), Axis::One)?;
        return Ok(x.into());
    }
    let left = squeezed(site, &import.dims(&x), listed.as_deref())?;
    let left: Vec<Axis> = left.into_iter().map(|axis| x.axes[axis]).collect();
    if import.batch.is_none() && x.axes.contains(&Axis::Image) && !left.contains(&Axis::Image) {
        return Err(site.refuse("it depends on the number of images, which is not supported"));
    }
    x.axes = left;
    Ok(x.into())
}

pub(super) fn transpose(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = import.activation(site, 0)?;
    let rank = x.axes.len();
    let reversed = || {
        (0..rank)
            .rev()
            .filter_map(|axis| i64::try_from(axis).ok())
            .collect()
    };
    let perm = site.ints("perm")?.unwrap_or_else(reversed);
    let perm = permutation(site, &perm, rank)?;
    let axes = perm.into_iter().map(|axis| x.axes[axis]).collect();
    Ok(Activation { axes, ..x }.into())
}

/// Some of the channels of an activation, in any order.
fn pick(import: &Import<'_>, x: &Activation, picked: &[usize]) -> Channels {
    let channels = match &x.pending {
        Pending::Channels(channels) => channels.clone(),
        _ => Channels::unchanged(import.draft.shape(x.id).c),
    };
    channels.pick(picked)
}

/// An activation whose channels can be chosen from.
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

/// Channels, or every so many rows and columns.
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
    let padding = PaddingRule::fixed(Padding::all(0));
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

/// Channels by their numbers.
pub(super) fn gather(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let mut x = of_channels(import, site, 0)?;
    let at = axis(site, site.int("axis", 0)?, x.axes.len())?;
    let indices = import.constant(site, 1)?;
    let rank = indices.map_or(2, |indices| indices.dims().len());
    let listed = import.int_list(site, "indices", 1)?.unwrap_or_default();
    let shape = import.draft.shape(x.id);
    if !x.is_channel(at, shape) || rank > 1 || listed.is_empty() {
        return Err(site.refuse("it is only supported for shapes and channels, not for pixels"));
    }
    let count = x.size(Axis::Channel, shape);
    let picked: Result<Vec<usize>, Error> = listed.iter().map(|&c| axis(site, c, count)).collect();
    x.pending = Pending::Channels(pick(import, &x, &picked?));
    if rank == 0 {
        x.axes.remove(at);
    }
    Ok(x.into())
}

/// Groups of channels, one for each output.
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

/// Joins channels of one activation.
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
        // A single channel may lie along any axis of size 1.
        let mut axes = x.axes.clone();
        axes[at] = Axis::Channel;
        if axes.iter().filter(|&&axis| axis == Axis::Channel).count() > 1 {
            return Err(refuse());
        }
        match &mut joined {
            None => joined = Some((Activation { axes, ..x }, own)),
            Some((first, channels)) if first.id == x.id && first.axes == axes => {
                channels.append(own)
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
