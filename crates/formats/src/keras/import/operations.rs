//! Layers that become nodes of the graph.

use super::super::network::{Activation, Affine, Channels, Conv, Dense, Norm, Pool, Training};
use super::{Import, Pending, Site, Value};
use resnet_wgpu::Error;
use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::{Fill, Operation, PaddingRule, Parameter};
use resnet_wgpu::tensor::Tensor;

impl Import {
    pub(super) fn conv(&mut self, site: &Site<'_>, x: Value, conv: &Conv) -> Result<Value, Error> {
        self.check_channels(site, conv.channels)?;
        let (x, before) = match x.pending {
            Pending::Pad(padding, PadValue::Zero) => (x, padding),
            _ => (self.plain(site, x)?, Padding::all(0)),
        };
        let x = image(site, x)?;
        let mut weight = self.weight(site, 4)?;
        let &[out_c, in_c, kernel_h, kernel_w] = weight.dims() else {
            return Err(site.refuse("its kernel must have four dimensions"));
        };
        if in_c == 1 && conv.groups == 1 && self.images.contains(&x.id) {
            // Grey images have equal red, green and blue: the widened kernel reads red only.
            self.grey = true;
            let (window, narrow) = (kernel_h * kernel_w, weight);
            weight = Tensor::from_fn(&[out_c, 3, kernel_h, kernel_w], |i| {
                let (filter, rest) = (i / (3 * window), i % (3 * window));
                let number = narrow.data().get(filter * window + rest);
                number
                    .filter(|_| rest < window)
                    .copied()
                    .unwrap_or_default()
            });
        }
        let kernel = [kernel_h, kernel_w];
        if conv.kernel.is_some_and(|stated| stated != kernel)
            || conv.filters.is_some_and(|stated| stated != out_c)
        {
            return Err(site.refuse(format!(
                "its kernel is {kernel_h}x{kernel_w} of {out_c} filters in the weights, but not in \
                 the description of the network"
            )));
        }
        let operation = Operation::Conv2d {
            weight: self.param(site, Parameter::Weight, weight)?,
            bias: self.bias(site, conv.bias, out_c)?,
            stride: conv.stride,
            padding: padding(before, conv.same),
            dilation: conv.dilation,
            groups: conv.groups,
        };
        let y = self.node(site, operation, &[x])?;
        self.own_activation(site, y, conv.activation)
    }

    pub(super) fn batch_norm(
        &mut self,
        site: &Site<'_>,
        x: Value,
        norm: &Norm,
    ) -> Result<Value, Error> {
        let x = self.plain(site, x)?;
        let expected: &[i64] = match (x.is_image, self.channels) {
            (false, _) => &[-1, 1],
            (true, Some(Channels::First)) => &[1, -3],
            (true, Some(Channels::Last)) => &[-1, 3],
            (true, None) => &[-1, 3, 1, -3],
        };
        if !expected.contains(&norm.axis) {
            return Err(site.refuse(format!(
                "it normalises along axis {}, which is not that of the channels",
                norm.axis
            )));
        }
        let channels = [self.draft.shape(x.id).c];
        let constant = |number| Tensor::from_fn(&channels, |_| number);
        let gamma = self.vector(site, Parameter::Gamma, norm.scale, constant(1.0))?;
        let beta = self.vector(site, Parameter::Beta, norm.center, constant(0.0))?;
        let mean = self.vector(site, Parameter::Mean, true, constant(0.0))?;
        let variance = self.vector(site, Parameter::Variance, true, constant(1.0))?;
        match site.training {
            Training::No => {}
            Training::Overruled => self.trained.overruled += 1,
            Training::Yes => self.trained.obeyed += 1,
        }
        let operation = Operation::BatchNorm {
            gamma,
            beta,
            mean,
            variance,
            epsilon: norm.epsilon,
            of_batch: site.training == Training::Yes,
        };
        self.node(site, operation, &[x])
    }

    pub(super) fn activation(
        &mut self,
        site: &Site<'_>,
        x: Value,
        activation: Activation,
        name: &str,
    ) -> Result<Value, Error> {
        match activation {
            Activation::Linear => Ok(x),
            Activation::Relu => {
                let x = self.plain(site, x)?;
                let name = self.draft.free(name);
                let id = self.draft.add(&name, Operation::Relu, &[x.id])?;
                Ok(Value { id, ..x })
            }
            Activation::Softmax | Activation::LogSoftmax | Activation::Sigmoid => {
                let x = self.plain(site, x)?;
                let shape = self.draft.shape(x.id);
                if [shape.h, shape.w] != [1, 1] {
                    let name = activation.name();
                    return Err(site.refuse(format!("a {name} of an image is not supported")));
                }
                let pending = Pending::Probabilities(activation);
                Ok(Value { pending, ..x })
            }
        }
    }

    /// Adds the activation that a layer has as an option.
    fn own_activation(
        &mut self,
        site: &Site<'_>,
        x: Value,
        activation: Activation,
    ) -> Result<Value, Error> {
        self.activation(site, x, activation, &format!("{}/relu", site.path))
    }

    pub(super) fn add(&mut self, site: &Site<'_>, x: Value, y: Value) -> Result<Value, Error> {
        let (x, y) = (self.plain(site, x)?, self.plain(site, y)?);
        if x.is_image != y.is_image {
            return Err(site.refuse("its inputs have different numbers of dimensions"));
        }
        self.node(site, Operation::Add, &[x, y])
    }

    pub(super) fn max_pool(
        &mut self,
        site: &Site<'_>,
        x: Value,
        pool: &Pool,
    ) -> Result<Value, Error> {
        self.check_channels(site, pool.channels)?;
        let (x, pending) = match x.pending {
            Pending::Pad(padding, value) => (x, Some((padding, value))),
            _ => (self.plain(site, x)?, None),
        };
        let x = image(site, x)?;
        let before = pending.map_or_else(Padding::default, |(padding, _)| padding);
        let padding = padding(before, pool.same);
        let zeros = matches!(pending, Some((_, PadValue::Zero)));
        if zeros && self.is_filled(x.id, padding, pool) {
            return Err(site.refuse(
                "its input is padded with zeros and its window with minus infinity, which is \
                 not supported together",
            ));
        }
        let operation = Operation::MaxPool {
            kernel: pool.kernel,
            stride: pool.stride,
            padding,
            zeros,
        };
        self.node(site, operation, &[x])
    }

    pub(super) fn avg_pool(
        &mut self,
        site: &Site<'_>,
        x: Value,
        pool: &Pool,
    ) -> Result<Value, Error> {
        self.check_channels(site, pool.channels)?;
        let (x, before) = match x.pending {
            Pending::Pad(padding, PadValue::Zero) => (x, padding),
            _ => (self.plain(site, x)?, Padding::all(0)),
        };
        let x = image(site, x)?;
        let padding = padding(before, pool.same);
        // Zeros added by a padding layer count towards the mean, those of `same` do not.
        let count_padding = before != Padding::all(0);
        if count_padding && self.is_filled(x.id, padding, pool) {
            return Err(site.refuse("a mean that counts a part of its padding is not supported"));
        }
        let operation = Operation::AvgPool {
            kernel: pool.kernel,
            stride: pool.stride,
            padding,
            count_padding,
        };
        self.node(site, operation, &[x])
    }

    pub(super) fn flatten(
        &mut self,
        site: &Site<'_>,
        x: Value,
        first: bool,
    ) -> Result<Value, Error> {
        let x = self.plain(site, x)?;
        if !x.is_image {
            return Ok(x);
        }
        let channels_last = match (self.channels, first) {
            // With channels first, the layer moves channels last before flattening.
            (Some(Channels::Last) | None, false) | (Some(Channels::First), true) => true,
            (Some(Channels::First), false) => false,
            (Some(Channels::Last) | None, true) => {
                return Err(site.refuse("its data format is not that of the layers before it"));
            }
        };
        let y = self.node(site, Operation::Flatten { channels_last }, &[x])?;
        Ok(Value {
            is_image: false,
            ..y
        })
    }

    pub(super) fn dense(
        &mut self,
        site: &Site<'_>,
        x: Value,
        dense: &Dense,
    ) -> Result<Value, Error> {
        let x = self.plain(site, x)?;
        let shape = self.draft.shape(x.id);
        if [shape.h, shape.w] != [1, 1] {
            return Err(site.refuse(format!(
                "it reads an image of {}x{}; only one pixel, or a list, is supported",
                shape.h, shape.w
            )));
        }
        let weight = self.weight(site, 2)?;
        let &[out_c, in_c] = weight.dims() else {
            return Err(site.refuse("its kernel must have two dimensions"));
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
        let operation = Operation::Linear {
            weight: self.param(site, Parameter::Weight, weight)?,
            bias: self.bias(site, dense.bias, out_c)?,
        };
        let y = self.node(site, operation, &[x])?;
        self.own_activation(site, y, dense.activation)
    }

    pub(super) fn subtract(&mut self, site: &Site<'_>, x: Value, y: Value) -> Result<Value, Error> {
        let y = self.plain(site, y)?;
        let negative = self.affine(site, y, &Affine::of(-1.0, 0.0))?;
        self.add(site, x, negative)
    }

    /// A product with a sigmoid of one number per channel: the gate of a squeeze-and-excitation.
    pub(super) fn multiply(&mut self, site: &Site<'_>, x: Value, y: Value) -> Result<Value, Error> {
        let sigmoid = Pending::Probabilities(Activation::Sigmoid);
        let (x, scale) = if x.pending == sigmoid { (y, x) } else { (x, y) };
        let x = self.plain(site, x)?;
        if scale.pending != sigmoid || self.draft.shape(x.id).c != self.draft.shape(scale.id).c {
            return Err(site.refuse(
                "only a product of an image and a sigmoid for each of its channels is supported",
            ));
        }
        let y = self.node(site, Operation::Gate, &[x, scale])?;
        Ok(Value {
            is_image: x.is_image,
            ..y
        })
    }

    pub(super) fn global_max(
        &mut self,
        site: &Site<'_>,
        x: Value,
        keep: bool,
    ) -> Result<Value, Error> {
        let x = image(site, self.plain(site, x)?)?;
        let y = self.node(site, Operation::GlobalMaxPool, &[x])?;
        Ok(Value {
            is_image: keep,
            ..y
        })
    }

    pub(super) fn reshape(
        &mut self,
        site: &Site<'_>,
        x: Value,
        is_image: bool,
    ) -> Result<Value, Error> {
        let shape = self.draft.shape(x.id);
        if [shape.h, shape.w] == [1, 1] {
            return Ok(Value { is_image, ..x });
        }
        if is_image {
            return Err(site.refuse("an image of several pixels as one pixel is not supported"));
        }
        self.flatten(site, x, false)
    }

    pub(super) fn pad(
        &mut self,
        site: &Site<'_>,
        x: Value,
        padding: Padding,
        value: PadValue,
    ) -> Result<Value, Error> {
        let x = image(site, self.settle(site, x)?)?;
        let pending = match x.pending {
            Pending::Nothing if padding == Padding::all(0) => Pending::Nothing,
            Pending::Nothing => Pending::Pad(padding, value),
            Pending::Pad(before, same) if same == value => {
                Pending::Pad(sum(before, padding), value)
            }
            _ => return self.plain(site, x),
        };
        Ok(Value { pending, ..x })
    }

    /// A value with nothing pending; an error if something is.
    pub(super) fn plain(&mut self, site: &Site<'_>, x: Value) -> Result<Value, Error> {
        let x = self.settle(site, x)?;
        match x.pending {
            Pending::Nothing => Ok(x),
            Pending::Pixels(_) | Pending::Channel(..) => {
                Err(site.refuse("one channel of the image alone is not supported"))
            }
            Pending::Pad(..) => Err(site.refuse(
                "its input is padded, which is only supported before a convolution or pooling",
            )),
            Pending::Probabilities(activation) => {
                let name = activation.name();
                Err(site.refuse(format!(
                    "its input is a {name}, which is only supported at the end"
                )))
            }
        }
    }

    /// Checks that all layers have the same data format.
    pub(super) fn check_channels(
        &mut self,
        site: &Site<'_>,
        channels: Channels,
    ) -> Result<(), Error> {
        if *self.channels.get_or_insert(channels) == channels {
            return Ok(());
        }
        Err(site.refuse("its data format is not that of the layers before it"))
    }

    /// Whether the padding rule adds anything to the explicit padding.
    fn is_filled(&self, x: ValueId, padding: PaddingRule, pool: &Pool) -> bool {
        let shape = self.draft.shape(x);
        let added = padding.added(pool.kernel, pool.stride, [shape.h, shape.w]);
        added != Some(Padding::all(0))
    }
}

/// The padding of a preceding layer combined with that of the window itself.
const fn padding(before: Padding, same: bool) -> PaddingRule {
    PaddingRule {
        sides: before,
        fill: if same { Fill::Same } else { Fill::Nothing },
    }
}

pub(super) fn image(site: &Site<'_>, x: Value) -> Result<Value, Error> {
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
