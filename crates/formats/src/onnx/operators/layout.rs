//! Operators on shapes and axes, most of which add no node, and reductions over pixels.

use super::super::import::{Import, Site, Value};
use super::super::view::{Activation, Axis, Pending};
use super::group_norm;
use super::sizes::{axes, axis, inferred, permutation, squeezed, widen};
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::Operation;

/// Global pooling: the mean or maximum over all pixels.
pub(super) fn pool(
    import: &mut Import<'_>,
    site: &Site<'_>,
    x: Activation,
) -> Result<Value, Error> {
    let operation = match site.node.op {
        "GlobalAveragePool" | "ReduceMean" => Operation::GlobalAvgPool,
        _ => Operation::GlobalMaxPool,
    };
    import.unary(site, operation, x)
}

/// A mean or maximum over rows and columns; a mean may take them one after the other.
pub(super) fn reduce(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
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
            "axes {listed:?} of {:?} are not supported, only rows and columns",
            import.dims(&x)
        ))
    };
    let mut over = Vec::new();
    let gone = axes(site, &listed, x.axes.len())?;
    for &at in &gone {
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
    let extent = |axis| x.size(axis, shape);
    let whole = match (before, &over[..]) {
        (Some(Axis::Row), [Axis::Column]) | (Some(Axis::Column), [Axis::Row]) => true,
        (_, []) => return Ok(Activation { axes: view, ..x }.into()),
        (None, over) => {
            over.iter().map(|&axis| extent(axis)).product::<usize>() == extent(Axis::Pixel)
        }
        (Some(_), _) => return Err(refuse()),
    };
    if site.node.op == "ReduceMax" && (before.is_some() || !whole) {
        return Err(refuse());
    }
    if whole {
        return pool(import, site, Activation { axes: view, ..x });
    }
    let pending = Pending::Mean(over[0]);
    Ok(Activation {
        axes: view,
        pending,
        ..x
    }
    .into())
}

/// `Reshape` and its relatives: the same elements in another shape.
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
            // A gate says the same to all pixels, whether or not it is repeated for each.
            if x.pending == Pending::Sigmoid
                && only_reader(import, site) == Some("Mul")
                && stated.len() == dims.len()
            {
                return Ok(x.into());
            }
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
    if let Pending::Groups(groups) = x.pending.clone() {
        return group_norm::ungrouped(import, site, (&x, groups), &to);
    }
    let refuse = || {
        let reason = "is not supported, only what leaves each image and the order of its channels";
        site.refuse(format!("{dims:?} to {to:?} {reason}"))
    };
    // One group of all channels looks like a vector.
    if to.get(1) != dims.get(1) && only_reader(import, site) == Some("InstanceNormalization") {
        let x = import.plain(site, 0)?;
        if let Some(groups) = group_norm::grouped(import, &x, &to) {
            return Ok(groups);
        }
    }
    match regroup(import, &x, &to).ok_or_else(refuse)? {
        (axes, None) => Ok(Activation { axes, ..x }.into()),
        (axes, Some(channels_last)) => {
            let x = import.plain(site, 0)?;
            let flatten = Operation::Flatten { channels_last };
            import.unary(site, flatten, Activation { axes, ..x })
        }
    }
}

/// The operator of the only node that reads what this one gives.
fn only_reader<'a>(import: &Import<'a>, site: &Site<'_>) -> Option<&'a str> {
    match import.links.consumers(site.node.outputs.first()?) {
        &[reader] => Some(import.file.nodes[reader].op),
        _ => None,
    }
}

/// The axes of an activation after a reshape. If a whole image becomes one vector, also whether its
/// channels come last (`true`) or first.
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
    let mut left = squeezed(site, &import.dims(&x), listed.as_deref())?;
    let image = x.axes.iter().position(|&axis| axis == Axis::Image);
    if let Some(image) = image.filter(|image| import.batch.is_none() && !left.contains(image)) {
        if listed.is_some() {
            return Err(site.refuse("the axis of the images is not of size 1"));
        }
        // The file takes any batch size, so the batch axis is kept.
        left.insert(left.partition_point(|&axis| axis < image), image);
    }
    let left = left.into_iter().map(|axis| x.axes[axis]).collect();
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
