//! Group normalisation, in its own operator or as exporters wrote it before there was one: the channels are
//! reshaped into groups, each is normalised as one, and the shape is taken back.

use super::super::import::{Import, Site, Value};
use super::super::tensor::narrow;
use super::super::view::{Activation, Axis, Groups, GroupsNorm, NCHW, Pending};
use super::arithmetic::absorb;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::{Operation, Parameter};
use resnet_wgpu::tensor::Tensor;

/// How ONNX sees channels in groups.
const GROUPED: [Axis; 3] = [Axis::Image, Axis::Group, Axis::Member];

/// An activation whose channels become groups in other sizes, if that is what they are for.
pub(super) fn grouped(import: &Import<'_>, x: &Activation, to: &[usize]) -> Option<Value> {
    let shape = import.draft.shape(x.id);
    let &[batch, count, _] = to else {
        return None;
    };
    let divides = count > 0 && shape.c.is_multiple_of(count);
    let fits = x.pending == Pending::Nothing && x.fits(&NCHW, shape);
    (fits && divides && batch == import.dims(x)[0]).then(|| {
        let pending = Pending::Groups(Groups { count, norm: None });
        let axes = GROUPED.to_vec();
        Activation {
            axes,
            pending,
            ..*x
        }
        .into()
    })
}

/// The image of grouped channels again.
pub(super) fn ungrouped(
    import: &mut Import<'_>,
    site: &Site<'_>,
    (x, groups): (&Activation, Groups),
    to: &[usize],
) -> Result<Value, Error> {
    let image = Activation::new(x.id, NCHW);
    if x.axes != GROUPED || import.dims(&image) != to {
        return Err(site.refuse("groups of channels may only become the image that they were"));
    }
    match groups.norm {
        None => Ok(image.into()),
        Some(norm) => norm_of(import, site, &image, (groups.count, norm)),
    }
}

/// `InstanceNormalization`: each channel by itself, or each group.
pub(super) fn instance_norm(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let norm = GroupsNorm {
        epsilon: site.float("epsilon", 1e-5)?,
        scale: import.floats(site, 1, Parameter::Gamma)?,
        shift: import.floats(site, 2, Parameter::Beta)?,
    };
    let x = import.activation(site, 0)?;
    if let Pending::Groups(groups) = &x.pending
        && x.axes == GROUPED
        && groups.norm.is_none()
    {
        check(site, &norm, groups.count)?;
        let norm = Some(norm);
        let pending = Pending::Groups(Groups { norm, ..*groups });
        return Ok(Activation { pending, ..x }.into());
    }
    let x = import.plain(site, 0)?;
    let shape = import.draft.shape(x.id);
    if x.axes.len() < 3 || !x.is_channel(1, shape) {
        return Err(site.refuse("its channels do not come second, which is not supported"));
    }
    check(site, &norm, shape.c)?;
    norm_of(import, site, &x, (shape.c, norm))
}

/// `GroupNormalization`, which had parameters of groups before version 21.
pub(super) fn group_norm(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = import.plain(site, 0)?;
    let shape = import.draft.shape(x.id);
    if !x.fits(&NCHW, shape) {
        return Err(site.refuse("its input is not an image with its channels first"));
    }
    let groups = site.int("num_groups", 0)?;
    let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
    let groups = groups.ok_or_else(|| site.refuse("its number of groups makes no sense"))?;
    let norm = GroupsNorm {
        epsilon: site.float("epsilon", 1e-5)?,
        scale: import.floats(site, 1, Parameter::Gamma)?,
        shift: import.floats(site, 2, Parameter::Beta)?,
    };
    let of_groups = import.opset < 21;
    check(site, &norm, if of_groups { groups } else { shape.c })?;
    norm_of(import, site, &x, (groups, norm))
}

fn check(site: &Site<'_>, norm: &GroupsNorm, count: usize) -> Result<(), Error> {
    if [norm.scale.dims(), norm.shift.dims()] == [[count]; 2] {
        return Ok(());
    }
    Err(site.refuse(format!("its parameters are not {count} numbers each")))
}

/// Adds a normalisation, whose parameters are of groups or of channels, with the arithmetic behind it.
fn norm_of(
    import: &mut Import<'_>,
    site: &Site<'_>,
    x: &Activation,
    (groups, norm): (usize, GroupsNorm),
) -> Result<Value, Error> {
    let count = import.draft.shape(x.id).c;
    let after = absorb(import, site, &x.axes, count)?;
    let each = count / norm.scale.len().max(1);
    let of = |tensor: &Tensor, c: usize| f64::from(tensor.data()[c / each.max(1)]);
    let gamma = Tensor::from_fn(&[count], |c| narrow(of(&norm.scale, c) * after.scale[c]));
    let beta = Tensor::from_fn(&[count], |c| {
        narrow(of(&norm.shift, c) * after.scale[c] + after.shift[c])
    });
    let name = import.node_name(site);
    let operation = Operation::GroupNorm {
        gamma: import.param(&name, Parameter::Gamma, gamma)?,
        beta: import.param(&name, Parameter::Beta, beta)?,
        groups,
        epsilon: norm.epsilon,
    };
    let id = import.draft.add(&name, operation, &[x.id])?;
    Ok(Activation::new(id, x.axes.clone()).into())
}
