//! A [`Network`] and its parameters as a [`Graph`].
//!
//! Images are NCHW in the graph, wherever Keras had the channels. Layers that only change how an
//! activation is seen or padded add no node: padding becomes part of the window that reads it, the
//! final softmax is left to the caller.

use std::collections::HashSet;

use super::bind::{self, Bound};
use super::network::{
    Activation, Channels, Conv, Dense, Kind, Layer, Network, Norm, Pool, Rescale, Training,
};
use super::{layer_error, unreadable};
use crate::error::Error;
use crate::graph::{
    BatchNorm, Conv2d, FlattenOrder, Graph, Op, PadValue, Padding, Statistics, ValueId, Window,
};
use crate::tensor::{Shape, Tensor};
use crate::weights::Role;

/// An activation as Keras sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    id: ValueId,
    /// Whether it has rows and columns, or is a list of numbers for each image.
    is_image: bool,
    pending: Pending,
}

/// What was asked for and is left to whoever reads the value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    Nothing,
    /// Padding, which becomes part of a convolution or pooling.
    Pad(Padding, PadValue),
    /// A softmax, which may only come last.
    Softmax,
}

/// The result.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) graph: Graph,
    pub(super) input: ValueId,
    /// The result of the network, before the softmax if it ends with one.
    pub(super) result: ValueId,
    pub(super) is_image: bool,
    pub(super) softmax: Option<String>,
    /// What the network itself does to the pixels of the image.
    pub(super) rescale: Option<Rescale>,
    /// Batch normalisations that were called with `training=True`.
    pub(super) trained: Trained,
}

/// How many batch normalisations were called with `training=True`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trained {
    /// Those that use the statistics of the batch.
    pub(super) obeyed: usize,
    /// Those that `predict` of Keras 3 computes with running statistics all the same.
    pub(super) overruled: usize,
}

/// What the caller decides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) image: Shape,
    /// Whether kernels are mirrored, as Theano's are.
    pub(super) mirrored: bool,
}

pub(super) struct Import {
    pub(super) graph: Graph,
    input: ValueId,
    pub(super) weights: Bound,
    pub(super) settings: Settings,
    names: HashSet<String>,
    channels: Option<Channels>,
    rescale: Option<Rescale>,
    trained: Trained,
}

/// A layer that is being imported.
pub(super) struct Site<'a> {
    layer: &'a Layer,
    pub(super) path: String,
    /// Whether a network around it was called with `training=True`.
    training: Training,
}

/// Builds the graph.
pub(super) fn run(
    network: &Network,
    weights: Bound,
    settings: Settings,
) -> Result<Imported, Error> {
    let mut graph = Graph::new();
    let inputs = network
        .layers
        .iter()
        .filter(|l| matches!(l.kind, Kind::Input { .. }));
    let name = inputs
        .map(|layer| layer.name.clone())
        .next()
        .unwrap_or_else(|| "input".to_owned());
    let input = graph.input(&name, settings.image)?;
    let mut import = Import {
        graph,
        input,
        weights,
        settings,
        names: HashSet::from([name]),
        channels: None,
        rescale: None,
        trained: Trained::default(),
    };
    let image = Value {
        id: input,
        is_image: true,
        pending: Pending::Nothing,
    };
    let result = import.network(network, image, "", Training::No)?;
    let softmax =
        (result.pending == Pending::Softmax).then(|| network.layers[network.output].name.clone());
    if matches!(result.pending, Pending::Pad(..)) || result.id == input {
        return Err(unreadable(format!(
            "the network '{}' computes nothing from its image",
            network.name
        )));
    }
    Ok(Imported {
        graph: import.graph,
        input,
        result: result.id,
        is_image: result.is_image,
        softmax,
        rescale: import.rescale,
        trained: import.trained,
    })
}

impl Site<'_> {
    pub(super) fn refuse(&self, reason: impl Into<String>) -> Error {
        layer_error(&self.path, &self.layer.class, reason)
    }
}

impl Import {
    fn network(
        &mut self,
        network: &Network,
        given: Value,
        scope: &str,
        training: Training,
    ) -> Result<Value, Error> {
        let order = network.order().ok_or_else(|| {
            unreadable(format!(
                "layers of '{}' read each other in a circle",
                network.name
            ))
        })?;
        let mut values: Vec<Option<Value>> = vec![None; network.layers.len()];
        let mut inputs = 0;
        for index in order {
            let layer = &network.layers[index];
            let site = Site {
                layer,
                path: bind::path(scope, &layer.name),
                training: training.max(layer.training),
            };
            let read: Option<Vec<Value>> =
                layer.inputs.iter().map(|&input| values[input]).collect();
            let read = read.ok_or_else(|| site.refuse("what it reads is not known"))?;
            values[index] = Some(match (&layer.kind, &read[..]) {
                (Kind::Input { .. }, []) => {
                    inputs += 1;
                    if inputs > 1 {
                        return Err(site.refuse("a second input is not supported"));
                    }
                    given
                }
                (Kind::Model(inner), &[x]) => self.network(inner, x, &site.path, site.training)?,
                (Kind::Add, &[x, y]) => self.add(&site, x, y)?,
                (Kind::Add, _) => {
                    let count = read.len();
                    return Err(
                        site.refuse(format!("a sum of {count} is not supported, only of 2"))
                    );
                }
                (_, &[x]) => self.layer(&site, x)?,
                _ => {
                    let count = read.len();
                    return Err(site.refuse(format!("it reads {count} values, not one")));
                }
            });
        }
        values[network.output].ok_or_else(|| {
            unreadable(format!(
                "the output of '{}' depends on no image",
                network.name
            ))
        })
    }

    fn layer(&mut self, site: &Site<'_>, x: Value) -> Result<Value, Error> {
        match &site.layer.kind {
            Kind::Conv(conv) => self.conv(site, x, conv),
            Kind::Norm(norm) => self.batch_norm(site, x, norm),
            Kind::Pad(padding, value) => pad(site, x, *padding, *value),
            Kind::Activation(activation) => self.activation(site, x, *activation, &site.path),
            Kind::MaxPool(pool) => self.max_pool(site, x, pool),
            Kind::AvgPool(pool) => self.avg_pool(site, x, pool),
            Kind::GlobalAverage { keep } => {
                let x = image(site, plain(site, x)?)?;
                let y = self.node(site, Op::GlobalAvgPool, &[x])?;
                let is_image = *keep;
                Ok(Value { is_image, ..y })
            }
            Kind::Flatten { first } => self.flatten(site, x, *first),
            Kind::Dense(dense) => self.dense(site, x, dense),
            Kind::Pass => Ok(x),
            Kind::Rescale(rescale) => self.rescale(site, x, *rescale),
            Kind::Input { .. } | Kind::Add | Kind::Model(_) => {
                Err(site.refuse("it makes no sense here"))
            }
        }
    }

    fn conv(&mut self, site: &Site<'_>, x: Value, conv: &Conv) -> Result<Value, Error> {
        self.check_channels(site, conv.channels)?;
        let (x, before) = match x.pending {
            Pending::Pad(padding, PadValue::Zero) => (x, padding),
            _ => (plain(site, x)?, Padding::all(0)),
        };
        let x = image(site, x)?;
        let weight = self.weight(site, 4)?;
        let &[out_c, _, kernel_h, kernel_w] = weight.dims() else {
            return Err(site.refuse("its kernel must have four sizes"));
        };
        let kernel = [kernel_h, kernel_w];
        if conv.kernel.is_some_and(|stated| stated != kernel)
            || conv.filters.is_some_and(|stated| stated != out_c)
        {
            return Err(site.refuse(format!(
                "its kernel is {kernel_h}x{kernel_w} of {out_c} filters in the weights, but not in \
                 the description of the network"
            )));
        }
        let weight = self.param(site, Role::Weight, weight);
        let bias = self.bias(site, conv.bias, out_c)?;
        let own = self.same(x.id, before, kernel, conv.stride, conv.same);
        let op = Op::Conv2d(Conv2d {
            stride: conv.stride,
            padding: sum(before, own),
            ..Conv2d::new(weight).bias(bias).groups(conv.groups)
        });
        let y = self.node(site, op, &[x])?;
        self.own_activation(site, y, conv.activation)
    }

    fn batch_norm(&mut self, site: &Site<'_>, x: Value, norm: &Norm) -> Result<Value, Error> {
        let x = plain(site, x)?;
        let expected: &[i64] = match (x.is_image, self.channels) {
            (false, _) => &[-1, 1],
            (true, Some(Channels::First)) => &[1, -3],
            (true, Some(Channels::Last)) => &[-1, 3],
            (true, None) => &[-1, 3, 1, -3],
        };
        if !expected.contains(&norm.axis) {
            return Err(site.refuse(format!(
                "it normalises along axis {}, which are no channels",
                norm.axis
            )));
        }
        let channels = [self.graph.shape(x.id).c];
        let constant = |number| Tensor::from_fn(&channels, |_| number);
        let gamma = self.vector(site, Role::Gamma, norm.scale, constant(1.0))?;
        let beta = self.vector(site, Role::Beta, norm.center, constant(0.0))?;
        let mean = self.vector(site, Role::Mean, true, constant(0.0))?;
        let variance = self.vector(site, Role::Variance, true, constant(1.0))?;
        let statistics = match site.training {
            Training::No => Statistics::Running,
            Training::Overruled => {
                self.trained.overruled += 1;
                Statistics::Running
            }
            Training::Yes => {
                self.trained.obeyed += 1;
                Statistics::Batch
            }
        };
        let op = Op::BatchNorm(BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            epsilon: norm.epsilon,
            statistics,
            relu: false,
        });
        self.node(site, op, &[x])
    }

    fn activation(
        &mut self,
        site: &Site<'_>,
        x: Value,
        activation: Activation,
        name: &str,
    ) -> Result<Value, Error> {
        match activation {
            Activation::Linear => Ok(x),
            Activation::Relu => {
                let x = plain(site, x)?;
                let name = self.free(name);
                let id = self.graph.add(&name, Op::Relu, &[x.id])?;
                Ok(Value { id, ..x })
            }
            Activation::Softmax => {
                let x = plain(site, x)?;
                let shape = self.graph.shape(x.id);
                if [shape.h, shape.w] != [1, 1] {
                    return Err(site.refuse("a softmax of an image is not supported"));
                }
                let pending = Pending::Softmax;
                Ok(Value { pending, ..x })
            }
        }
    }

    /// The activation that a layer has as an option.
    fn own_activation(
        &mut self,
        site: &Site<'_>,
        x: Value,
        activation: Activation,
    ) -> Result<Value, Error> {
        self.activation(site, x, activation, &format!("{}/relu", site.path))
    }

    fn add(&mut self, site: &Site<'_>, x: Value, y: Value) -> Result<Value, Error> {
        let (x, y) = (plain(site, x)?, plain(site, y)?);
        if x.is_image != y.is_image {
            return Err(site.refuse("its inputs have different numbers of sizes"));
        }
        self.node(site, Op::Add { relu: false }, &[x, y])
    }

    fn max_pool(&mut self, site: &Site<'_>, x: Value, pool: &Pool) -> Result<Value, Error> {
        self.check_channels(site, pool.channels)?;
        let (x, pending) = match x.pending {
            Pending::Pad(padding, value) => (x, Some((padding, value))),
            _ => (plain(site, x)?, None),
        };
        let x = image(site, x)?;
        let before = pending.map_or_else(Padding::default, |(padding, _)| padding);
        let own = self.same(x.id, before, pool.kernel, pool.stride, pool.same);
        let pad_value = match pending {
            None | Some((_, PadValue::NegInfinity)) => PadValue::NegInfinity,
            Some((_, PadValue::Zero)) if own == Padding::all(0) => PadValue::Zero,
            Some((_, PadValue::Zero)) => {
                return Err(site.refuse(
                    "its input is padded with zeros and its window with minus infinity, which is \
                     not supported together",
                ));
            }
        };
        let window = Window {
            kernel: pool.kernel,
            stride: pool.stride,
            padding: sum(before, own),
        };
        self.node(site, Op::MaxPool { window, pad_value }, &[x])
    }

    fn avg_pool(&mut self, site: &Site<'_>, x: Value, pool: &Pool) -> Result<Value, Error> {
        self.check_channels(site, pool.channels)?;
        let (x, before) = match x.pending {
            Pending::Pad(padding, PadValue::Zero) => (x, padding),
            _ => (plain(site, x)?, Padding::all(0)),
        };
        let x = image(site, x)?;
        let own = self.same(x.id, before, pool.kernel, pool.stride, pool.same);
        // Zeros of a padding layer count, what `same` adds does not.
        let count_padding = before != Padding::all(0);
        if count_padding && own != Padding::all(0) {
            return Err(site.refuse("a mean that counts a part of its padding is not supported"));
        }
        let window = Window {
            kernel: pool.kernel,
            stride: pool.stride,
            padding: sum(before, own),
        };
        let op = Op::AvgPool {
            window,
            count_padding,
        };
        self.node(site, op, &[x])
    }

    fn flatten(&mut self, site: &Site<'_>, x: Value, first: bool) -> Result<Value, Error> {
        let x = plain(site, x)?;
        if !x.is_image {
            return Ok(x);
        }
        let order = match (self.channels, first) {
            // Told that channels come first, the layer moves them last.
            (Some(Channels::Last) | None, false) | (Some(Channels::First), true) => {
                FlattenOrder::Hwc
            }
            (Some(Channels::First), false) => FlattenOrder::Chw,
            (Some(Channels::Last) | None, true) => {
                return Err(site.refuse("its data format is not that of the layers before it"));
            }
        };
        let y = self.node(site, Op::Flatten { order }, &[x])?;
        Ok(Value {
            is_image: false,
            ..y
        })
    }

    fn dense(&mut self, site: &Site<'_>, x: Value, dense: &Dense) -> Result<Value, Error> {
        let x = plain(site, x)?;
        let shape = self.graph.shape(x.id);
        if [shape.h, shape.w] != [1, 1] {
            return Err(site.refuse(format!(
                "it reads an image of {}x{}; only one pixel, or a list, is supported",
                shape.h, shape.w
            )));
        }
        let weight = self.weight(site, 2)?;
        let &[out_c, in_c] = weight.dims() else {
            return Err(site.refuse("its kernel must have two sizes"));
        };
        if in_c != shape.c {
            return Err(site.refuse(format!(
                "its kernel takes {in_c} features, the layers before it give {}: the image must \
                 have the size that the network was trained with",
                shape.c
            )));
        }
        if dense.units.is_some_and(|stated| stated != out_c) {
            return Err(site.refuse(format!(
                "it has {out_c} units in the weights, but not in the description of the network"
            )));
        }
        let weight = self.param(site, Role::Weight, weight);
        let bias = self.bias(site, dense.bias, out_c)?;
        let y = self.node(site, Op::Linear { weight, bias }, &[x])?;
        self.own_activation(site, y, dense.activation)
    }

    fn rescale(&mut self, site: &Site<'_>, x: Value, rescale: Rescale) -> Result<Value, Error> {
        let usable = x.id == self.input && x.pending == Pending::Nothing && self.rescale.is_none();
        if !usable || rescale.scale.iter().any(|&scale| scale <= 0.0) {
            return Err(site.refuse("it is only supported once, right after the image"));
        }
        self.rescale = Some(rescale);
        Ok(x)
    }

    /// Channels are at the same end in all layers.
    fn check_channels(&mut self, site: &Site<'_>, channels: Channels) -> Result<(), Error> {
        if *self.channels.get_or_insert(channels) == channels {
            return Ok(());
        }
        Err(site.refuse("its data format is not that of the layers before it"))
    }

    /// The padding of TensorFlow's `same`: as much as makes ⌈size / stride⌉ positions, the odd one
    /// below and to the right (`padding_util` of TensorFlow's documentation of `tf.nn`).
    fn same(
        &self,
        x: ValueId,
        before: Padding,
        kernel: [usize; 2],
        stride: [usize; 2],
        same: bool,
    ) -> Padding {
        if !same {
            return Padding::all(0);
        }
        let shape = self.graph.shape(x);
        let sides = |size: usize, kernel: usize, stride: usize| {
            let covered = (size.div_ceil(stride) - 1) * stride + kernel;
            let total = covered.saturating_sub(size);
            (total / 2, total - total / 2)
        };
        let rows = shape.h + before.top + before.bottom;
        let columns = shape.w + before.left + before.right;
        let (top, bottom) = sides(rows, kernel[0], stride[0]);
        let (left, right) = sides(columns, kernel[1], stride[1]);
        Padding {
            top,
            bottom,
            left,
            right,
        }
    }

    fn node(&mut self, site: &Site<'_>, op: Op, inputs: &[Value]) -> Result<Value, Error> {
        let name = self.free(&site.path);
        let ids: Vec<ValueId> = inputs.iter().map(|value| value.id).collect();
        let id = self.graph.add(&name, op, &ids)?;
        Ok(Value {
            id,
            is_image: inputs.iter().all(|value| value.is_image),
            pending: Pending::Nothing,
        })
    }

    /// The name, or the name with a number if it is taken: that of the image may be a layer's too.
    fn free(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        let mut number = 2;
        while !self.names.insert(free.clone()) {
            free = format!("{name}_{number}");
            number += 1;
        }
        free
    }
}

fn pad(site: &Site<'_>, x: Value, padding: Padding, value: PadValue) -> Result<Value, Error> {
    let x = image(site, x)?;
    let pending = match x.pending {
        Pending::Nothing if padding == Padding::all(0) => Pending::Nothing,
        Pending::Nothing => Pending::Pad(padding, value),
        Pending::Pad(before, same) if same == value => Pending::Pad(sum(before, padding), value),
        _ => return plain(site, x),
    };
    Ok(Value { pending, ..x })
}

/// A value with nothing pending.
fn plain(site: &Site<'_>, x: Value) -> Result<Value, Error> {
    match x.pending {
        Pending::Nothing => Ok(x),
        Pending::Pad(..) => Err(site.refuse(
            "its input is padded, which is only supported before a convolution or pooling",
        )),
        Pending::Softmax => {
            Err(site.refuse("its input is a softmax, which is only supported at the end"))
        }
    }
}

fn image(site: &Site<'_>, x: Value) -> Result<Value, Error> {
    if x.is_image {
        return Ok(x);
    }
    Err(site.refuse("its input is a list of numbers, not an image"))
}

const fn sum(a: Padding, b: Padding) -> Padding {
    Padding {
        top: a.top + b.top,
        bottom: a.bottom + b.bottom,
        left: a.left + b.left,
        right: a.right + b.right,
    }
}
