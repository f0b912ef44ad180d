//! Sums and products, of activations or with constants; padding; batch normalisation.

use super::super::import::{Import, Site, Value};
use super::super::proto::is_standard;
use super::super::tensor::{Constant, Numbers};
use super::super::view::{Activation, Axis, Border, Channels, Pending};
use super::channels::of_channels;
use super::sizes::{axes, axis};
use super::window;
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::{Operation, Parameter};

/// `Add`, `Sub`, `Mul` and `Div`.
pub(super) fn arithmetic(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let pair = (import.required(site, 0)?, import.required(site, 1)?);
    let (index, constant) = match pair {
        (Value::Activation(_), Value::Constant(constant)) => (0, constant),
        (Value::Constant(constant), Value::Activation(_)) => (1, constant),
        _ => return of_activations(import, site),
    };
    let x = of_channels(import, site, index)?;
    let mut channels = match x.pending {
        Pending::Channels(channels) => channels,
        _ => Channels::unchanged(import.draft.shape(x.id).c),
    };
    let steps = steps(site.node.op, index == 1, &constant, &x.axes, channels.len());
    channels.then(steps.ok_or_else(|| {
        site.refuse(format!(
            "with a constant of shape {:?} it is not supported, only with one number for all or \
             for \
             each channel",
            constant.dims()
        ))
    })?);
    let pending = Pending::Channels(channels);
    Ok(Activation { pending, ..x }.into())
}

/// The operator with a constant, as a factor and a summand for each of `count` channels.
fn steps(
    op: &str,
    constant_first: bool,
    constant: &Constant,
    axes: &[Axis],
    count: usize,
) -> Option<impl Iterator<Item = [f64; 2]>> {
    let Constant {
        numbers: Numbers::Floats(tensor),
        sized: false,
    } = constant
    else {
        return None;
    };
    let dims = tensor.dims();
    let first = axes.len().checked_sub(dims.len())?;
    let fits =
        |(&size, &axis): (&usize, &Axis)| size == 1 || (axis == Axis::Channel && size == count);
    if !dims.iter().zip(&axes[first..]).all(fits) {
        return None;
    }
    let of_number: fn(f64) -> [f64; 2] = match (op, constant_first) {
        ("Add" | "Sum", _) => |number| [1.0, number],
        ("Mul", _) => |number| [number, 0.0],
        ("Sub", false) => |number| [1.0, -number],
        ("Sub", true) => |number| [-1.0, number],
        ("Div", false) => |number| [1.0 / number, 0.0],
        _ => return None,
    };
    let numbers = tensor.data().to_vec();
    let step = move |c| of_number(f64::from(numbers[if numbers.len() == 1 { 0 } else { c }]));
    Some((0..count).map(step))
}

/// Absorbs the following nodes as long as each is arithmetic with a constant and the only consumer:
/// a bias, or an unfused batch normalisation. The node's result then is that of the last of them.
pub(super) fn absorb(
    import: &mut Import<'_>,
    site: &Site<'_>,
    axes: &[Axis],
    count: usize,
) -> Result<Channels, Error> {
    let mut all = Channels::unchanged(count);
    let file = import.file;
    let mut result = site.node.outputs.first().cloned();
    while let Some(name) = result {
        let &[reader] = import.links.consumers(&name) else {
            break;
        };
        let node = &file.nodes[reader];
        if *name == *import.output || !is_standard(node.domain) || node.inputs.len() != 2 {
            break;
        }
        let constant_first = node.inputs[1] == name;
        let next = Site { node };
        if !import.is_known(&node.inputs[usize::from(!constant_first)]) {
            break;
        }
        let value = import.required(&next, usize::from(!constant_first))?;
        let Value::Constant(constant) = value else {
            break;
        };
        let Some(steps) = steps(node.op, constant_first, &constant, axes, count) else {
            break;
        };
        all.then(steps);
        import.absorbed.insert(reader);
        result = node.outputs.first().cloned();
        import.alias.clone_from(&result);
    }
    Ok(all)
}

/// Arithmetic between two activations: a residual sum, or the gate of a squeeze-and-excitation.
fn of_activations(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    match site.node.op {
        "Add" | "Sum" => {
            let (x, y) = (import.plain(site, 0)?, import.plain(site, 1)?);
            if !y.fits(&x.axes, import.draft.shape(y.id)) {
                return Err(site.refuse("its inputs have different sizes"));
            }
            let name = import.node_name(site);
            let id = import.draft.add(&name, Operation::Add, &[x.id, y.id])?;
            return Ok(Activation::new(id, x.axes).into());
        }
        "Mul" => {}
        _ => return Err(site.refuse("it is only supported with a constant")),
    }
    let index = usize::from(import.activation(site, 1)?.pending == Pending::Sigmoid);
    let gate = import.activation(site, index)?;
    if gate.pending != Pending::Sigmoid {
        return Err(site.refuse(
            "a product of activations is not supported, only with a Sigmoid for each channel",
        ));
    }
    let x = import.plain(site, 1 - index)?;
    let shape = import.draft.shape(gate.id);
    let fits = |(at, &axis): (usize, &Axis)| match axis {
        Axis::Image => gate.axes[at] == Axis::Image,
        Axis::Channel => gate.is_channel(at, shape),
        _ => gate.axes[at] != Axis::Image && gate.size(gate.axes[at], shape) == 1,
    };
    if gate.axes.len() != x.axes.len() || !x.axes.iter().enumerate().all(fits) {
        return Err(site.refuse(if gate.id == x.id {
            "an activation times its own Sigmoid (a SiLU or Swish) is not supported, only ReLU"
        } else {
            "its Sigmoid is not one number for each channel"
        }));
    }
    let name = import.node_name(site);
    let id = import.draft.add(&name, Operation::Gate, &[x.id, gate.id])?;
    Ok(Activation::new(id, x.axes).into())
}

pub(super) fn batch_norm(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    site.only("spatial", 1, 1)?;
    site.only("is_test", 1, 1)?;
    let outputs = site
        .node
        .outputs
        .iter()
        .filter(|name| !name.is_empty())
        .count();
    // Before opset 14, additional outputs for the statistics marked training mode.
    if site.int("training_mode", 0)? != 0 || outputs > 1 {
        return Err(site.refuse(
            "it uses the statistics of the batch, as in training; export the network in evaluation \
             mode",
        ));
    }
    let epsilon = site.float("epsilon", 1e-5)?;
    let x = import.plain(site, 0)?;
    let shape = import.draft.shape(x.id);
    if x.axes.len() < 2 || !x.is_channel(1, shape) {
        return Err(site.refuse("its channels do not come second, which is not supported"));
    }
    let roles = [
        Parameter::Gamma,
        Parameter::Beta,
        Parameter::Mean,
        Parameter::Variance,
    ];
    let mut tensors = Vec::new();
    for (index, role) in roles.into_iter().enumerate() {
        tensors.push(import.floats(site, index + 1, role)?);
    }
    if tensors.iter().any(|tensor| tensor.dims() != [shape.c]) {
        return Err(site.refuse(format!(
            "its parameters are not of {} channels each",
            shape.c
        )));
    }
    if let Some(variance) = tensors[3].data().iter().find(|&&v| v + epsilon <= 0.0) {
        return Err(site.refuse(format!("a variance of {variance} makes no sense")));
    }
    if x.id == import.draft.input() && import.front.is_none() {
        let mut front = Channels::unchanged(shape.c);
        front.then((0..shape.c).map(|c| {
            let [gamma, beta, mean, variance] =
                [0, 1, 2, 3].map(|i: usize| f64::from(tensors[i].data()[c]));
            let scale = gamma / (variance + f64::from(epsilon)).sqrt();
            [scale, beta - mean * scale]
        }));
        import.front = Some(front);
    }
    let name = import.node_name(site);
    let mut names = Vec::new();
    for (role, tensor) in roles.into_iter().zip(tensors) {
        names.push(import.param(&name, role, tensor)?);
    }
    let Ok([gamma, beta, mean, variance]) = <[String; 4]>::try_from(names) else {
        return Err(site.refuse("it needs four parameters"));
    };
    let operation = Operation::BatchNorm {
        gamma,
        beta,
        mean,
        variance,
        epsilon,
        of_batch: false,
    };
    let id = import.draft.add(&name, operation, &[x.id])?;
    Ok(Activation::new(id, x.axes).into())
}

/// Padding is deferred to the convolution or pooling that reads it; padded channels are zeros.
pub(super) fn pad(import: &mut Import<'_>, site: &Site<'_>) -> Result<Value, Error> {
    let x = match import.activation(site, 0)? {
        x @ Activation {
            pending: Pending::Pad(..),
            ..
        } => x,
        _ => import.plain(site, 0)?,
    };
    let sides = sides(import, site, &x)?;
    let number = match import.constant(site, 2)? {
        None => site.float("value", 0.0)?,
        Some(value) => value
            .scalar()
            .ok_or_else(|| site.refuse("what it pads with must be one constant number"))?,
    };
    let shape = import.draft.shape(x.id);
    let border = match site.text("mode")?.unwrap_or("constant") {
        "constant" if number == 0.0 => Border::Value(PadValue::Zero),
        "constant" if number <= f32::MIN => Border::Value(PadValue::NegInfinity),
        "constant" => {
            return Err(site.refuse(format!(
                "padding with {number} is not supported, only with 0 or minus infinity"
            )));
        }
        "reflect" => Border::Mirror,
        mode => return Err(site.refuse(format!("mode {mode} is not supported"))),
    };
    let mut padding = Padding::all(0);
    let mut channels = None;
    for (at, &[before, after]) in sides.iter().enumerate() {
        match x.axes[at] {
            _ if [before, after] == [0, 0] => {}
            Axis::Row => (padding.top, padding.bottom) = (before, after),
            Axis::Column => (padding.left, padding.right) = (before, after),
            Axis::Channel if border == Border::Value(PadValue::Zero) => {
                let mut padded = zeros(before);
                padded.append(Channels::unchanged(shape.c));
                padded.append(zeros(after));
                channels = Some(padded);
            }
            _ => return Err(site.refuse("it is only supported for rows, columns and channels")),
        }
    }
    let pending = match (x.pending.clone(), channels) {
        (pending, None) if padding == Padding::all(0) => pending,
        (Pending::Nothing, None) => Pending::Pad(padding, border),
        (Pending::Nothing, Some(channels)) if padding == Padding::all(0) => {
            Pending::Channels(channels)
        }
        (Pending::Pad(before, same), None) if same == border && border != Border::Mirror => {
            Pending::Pad(window::sum(before, padding), border)
        }
        _ => return Err(site.refuse("padding of different kinds together is not supported")),
    };
    Ok(Activation { pending, ..x }.into())
}

/// `count` channels of zeros.
fn zeros(count: usize) -> Channels {
    Channels {
        source: vec![0; count],
        scale: vec![0.0; count],
        shift: vec![0.0; count],
    }
}

/// The padding before and after each axis. A `Pad` lists all starts, then all ends, for all axes or
/// for those in its input `axes`.
fn sides(
    import: &mut Import<'_>,
    site: &Site<'_>,
    x: &Activation,
) -> Result<Vec<[usize; 2]>, Error> {
    const MAX_PADDING: usize = 1 << 15;
    let pads = import.int_list(site, "pads", 1)?;
    let pads = pads.ok_or_else(|| site.refuse("pads are missing"))?;
    let rank = x.axes.len();
    let listed = match import.int_list(site, "axes", 3)? {
        None => (0..rank).collect(),
        Some(listed) => {
            axes(site, &listed, rank)?;
            let counted: Result<Vec<usize>, Error> =
                listed.iter().map(|&a| axis(site, a, rank)).collect();
            counted?
        }
    };
    let refuse = || {
        site.refuse(format!(
            "pads {pads:?} are not supported, only what adds to an image"
        ))
    };
    if pads.len() != 2 * listed.len() {
        return Err(refuse());
    }
    let mut sides = vec![[0; 2]; rank];
    for (index, &axis) in listed.iter().enumerate() {
        for (end, side) in sides[axis].iter_mut().enumerate() {
            let stated = usize::try_from(pads[index + end * listed.len()]).ok();
            let stated = stated.filter(|&stated| stated <= MAX_PADDING);
            *side = stated.ok_or_else(refuse)?;
        }
    }
    Ok(sides)
}
