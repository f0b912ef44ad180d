//! Turns a [`Network`] and its parameters into a [`Draft`].
//!
//! Activations are NCHW there, whatever the data format in Keras. Layers that only reinterpret or
//! pad an activation add no node: padding is merged into the window that reads it, arithmetic on
//! the pixels of the image becomes its preprocessing, and the final softmax is left to the caller.
//! `operations` has the layers that compute something, `pixels` those that may be preprocessing.

mod operations;
pub(super) mod pixels;

use super::bind::{self, Bound};
use super::network::{Activation, COLOURS, Channels, Kind, Layer, Network, Training};
use super::{layer_error, unreadable};
use operations::image;
use pixels::Pixels;
use resnet_wgpu::Error;
use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::resnet::{self, Plan};
use resnet_wgpu::internals::network::{Draft, Operation};

/// An activation, with the shape that Keras gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Value {
    id: ValueId,
    /// Whether it has height and width, rather than being a vector per image.
    is_image: bool,
    pending: Pending,
}

/// An operation that is deferred until something reads the value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Pending {
    Nothing,
    /// Arithmetic on the pixels of the image, to become part of its preprocessing.
    Pixels(Pixels),
    /// The same, followed by the selection of one channel.
    Channel(Pixels, usize),
    /// Padding, to be merged into a convolution or pooling.
    Pad(Padding, PadValue),
    /// A function that yields probabilities, allowed only last; a sigmoid may also gate channels.
    Probabilities(Activation),
}

/// The imported graph and what was found out on the way.
#[derive(Debug)]
pub(super) struct Imported {
    pub(super) draft: Draft,
    /// The output of the network, before its final softmax or sigmoid if it has one.
    pub(super) result: ValueId,
    pub(super) is_image: bool,
    /// The final softmax or sigmoid, and the name of its layer.
    pub(super) probabilities: Option<(Activation, String)>,
    /// The preprocessing that the network itself applies to the pixels of the image.
    pub(super) pixels: Option<Pixels>,
    /// Whether it takes greyscale images.
    pub(super) grey: bool,
    /// Whether it begins with arithmetic on an image that is no picture.
    pub(super) scaled: bool,
    /// Batch normalisations that were called with `training=True`.
    pub(super) trained: Trained,
}

/// Counts of batch normalisations that were called with `training=True`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Trained {
    /// Those that do use the statistics of the batch.
    pub(super) obeyed: usize,
    /// Those that `predict` of Keras 3 runs with the running statistics regardless.
    pub(super) overruled: usize,
}

pub(super) struct Import {
    pub(super) draft: Draft,
    pub(super) weights: Bound,
    channels: Option<Channels>,
    /// The image, and what it was resized to.
    images: Vec<ValueId>,
    /// Whether the numbers of the image have no fractions.
    integers: bool,
    /// Whether the file allows one size of the image only.
    fixed: bool,
    /// The preprocessing after which layers read the image; it must be the same for all.
    pixels: Option<Pixels>,
    grey: bool,
    scaled: bool,
    trained: Trained,
}

/// The layer that is being imported.
pub(super) struct Site<'a> {
    layer: &'a Layer,
    pub(super) path: String,
    /// Whether it, or a network that contains it, was called with `training=True`.
    training: Training,
}

/// Builds the graph, for input images of height and width `size`.
pub(super) fn run(network: &Network, weights: Bound, size: [usize; 2]) -> Result<Imported, Error> {
    let inputs = network
        .layers
        .iter()
        .filter(|l| matches!(l.kind, Kind::Input { .. }));
    let name = inputs
        .map(|layer| layer.name.clone())
        .next()
        .unwrap_or_else(|| "input".to_owned());
    let channels = network.channels();
    let draft = Draft::new(&name, channels, size)?;
    let input = draft.input();
    let mut import = Import {
        draft,
        weights,
        channels: None,
        images: vec![input],
        integers: network.integers(),
        fixed: network.is_fixed(),
        pixels: None,
        grey: false,
        scaled: false,
        trained: Trained::default(),
    };
    let image = Value {
        id: input,
        is_image: true,
        // What a network does to the colours of an image is done when it is prepared.
        pending: match channels {
            COLOURS => Pending::Pixels(Pixels::AS_THEY_ARE),
            _ => Pending::Nothing,
        },
    };
    let result = import.network(network, image, "", Training::No)?;
    let probabilities = match result.pending {
        Pending::Probabilities(activation) => {
            Some((activation, network.layers[network.output].name.clone()))
        }
        _ => None,
    };
    if matches!(result.pending, Pending::Pad(..)) || import.images.contains(&result.id) {
        return Err(unreadable(format!(
            "the network '{}' computes nothing from its image",
            network.name
        )));
    }
    Ok(Imported {
        draft: import.draft,
        result: result.id,
        is_image: result.is_image,
        probabilities,
        pixels: import
            .pixels
            .filter(|pixels| *pixels != Pixels::AS_THEY_ARE),
        grey: import.grey,
        scaled: import.scaled,
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
        let order = network
            .order()
            .ok_or_else(|| unreadable(format!("the layers of '{}' form a cycle", network.name)))?;
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
                (Kind::Subtract, &[x, y]) => self.subtract(&site, x, y)?,
                (Kind::Multiply, &[x, y]) => self.multiply(&site, x, y)?,
                (Kind::Stack, channels) => self.stack(&site, channels)?,
                (Kind::Add, _) => {
                    let count = read.len();
                    return Err(
                        site.refuse(format!("a sum of {count} is not supported, only of 2"))
                    );
                }
                (Kind::Plan(plan), &[x]) => self.plan(&site, x, plan)?,
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

    /// Adds the backbone of a known family.
    fn plan(&mut self, site: &Site<'_>, x: Value, plan: &Plan) -> Result<Value, Error> {
        self.check_channels(site, Channels::Last)?;
        let x = image(site, self.plain(site, x)?)?;
        let mut scope = site.path.clone();
        if !scope.is_empty() {
            scope.push('/');
        }
        let mut source = self.weights.below(&site.path);
        let id = resnet::backbone(plan, &mut source, (&mut self.draft, x.id), &scope)?;
        Ok(Value { id, ..x })
    }

    fn layer(&mut self, site: &Site<'_>, x: Value) -> Result<Value, Error> {
        match &site.layer.kind {
            Kind::Conv(conv) => self.conv(site, x, conv),
            Kind::Norm(norm) => self.batch_norm(site, x, norm),
            Kind::Pad(padding, value) => self.pad(site, x, *padding, *value),
            Kind::Activation(activation) => self.activation(site, x, *activation, &site.path),
            Kind::MaxPool(pool) => self.max_pool(site, x, pool),
            Kind::AvgPool(pool) => self.avg_pool(site, x, pool),
            Kind::GlobalAverage { keep } => {
                let x = image(site, self.plain(site, x)?)?;
                let y = self.node(site, Operation::GlobalAvgPool, &[x])?;
                let is_image = *keep;
                Ok(Value { is_image, ..y })
            }
            Kind::GlobalMax { keep } => self.global_max(site, x, *keep),
            Kind::Flatten { first } => self.flatten(site, x, *first),
            Kind::Dense(dense) => self.dense(site, x, dense),
            Kind::Pass => Ok(x),
            Kind::Affine(affine) => self.affine(site, x, affine),
            Kind::Normalize { invert } => self.normalize(site, x, *invert),
            Kind::Reverse => self.reverse(site, x),
            Kind::Channel(channel) => self.channel(site, x, *channel),
            Kind::Resize(resizing) => self.resize(site, x, resizing),
            Kind::Crop(size) => self.crop(site, x, *size),
            Kind::Reshape { image } => self.reshape(site, x, *image),
            Kind::Input { .. }
            | Kind::Add
            | Kind::Subtract
            | Kind::Multiply
            | Kind::Stack
            | Kind::Model(_)
            | Kind::Plan(_) => Err(site.refuse("it needs at least two inputs")),
        }
    }

    fn node(
        &mut self,
        site: &Site<'_>,
        operation: Operation,
        inputs: &[Value],
    ) -> Result<Value, Error> {
        let name = self.draft.free(&site.path);
        let ids: Vec<ValueId> = inputs.iter().map(|value| value.id).collect();
        let id = self.draft.add(&name, operation, &ids)?;
        Ok(Value {
            id,
            is_image: inputs.iter().all(|value| value.is_image),
            pending: Pending::Nothing,
        })
    }
}
