//! A [`Network`] and its parameters as a [`Draft`].
//!
//! Images are NCHW there, wherever Keras had the channels. Layers that only change how an
//! activation is seen or padded add no node: padding becomes part of the window that reads it, the
//! final softmax is left to the caller. `operations` has the layers that compute something.

mod operations;

use super::bind::{self, Bound};
use super::network::{Channels, Kind, Layer, Network, Rescale, Training};
use super::{layer_error, unreadable};
use operations::{image, pad, plain};
use resnet_wgpu::Error;
use resnet_wgpu::graph::ValueId;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::resnet::{self, Plan};
use resnet_wgpu::internals::network::{Draft, Operation};

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
    pub(super) draft: Draft,
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

pub(super) struct Import {
    pub(super) draft: Draft,
    pub(super) weights: Bound,
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
pub(super) fn run(network: &Network, weights: Bound, size: [usize; 2]) -> Result<Imported, Error> {
    let inputs = network
        .layers
        .iter()
        .filter(|l| matches!(l.kind, Kind::Input { .. }));
    let name = inputs
        .map(|layer| layer.name.clone())
        .next()
        .unwrap_or_else(|| "input".to_owned());
    let draft = Draft::new(&name, size)?;
    let input = draft.input();
    let mut import = Import {
        draft,
        weights,
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
        draft: import.draft,
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

    /// The layers of a known family.
    fn plan(&mut self, site: &Site<'_>, x: Value, plan: &Plan) -> Result<Value, Error> {
        self.check_channels(site, Channels::Last)?;
        let x = image(site, plain(site, x)?)?;
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
            Kind::Pad(padding, value) => pad(site, x, *padding, *value),
            Kind::Activation(activation) => self.activation(site, x, *activation, &site.path),
            Kind::MaxPool(pool) => self.max_pool(site, x, pool),
            Kind::AvgPool(pool) => self.avg_pool(site, x, pool),
            Kind::GlobalAverage { keep } => {
                let x = image(site, plain(site, x)?)?;
                let y = self.node(site, Operation::GlobalAvgPool, &[x])?;
                let is_image = *keep;
                Ok(Value { is_image, ..y })
            }
            Kind::Flatten { first } => self.flatten(site, x, *first),
            Kind::Dense(dense) => self.dense(site, x, dense),
            Kind::Pass => Ok(x),
            Kind::Rescale(rescale) => self.rescale(site, x, *rescale),
            Kind::Input { .. } | Kind::Add | Kind::Model(_) | Kind::Plan(_) => {
                Err(site.refuse("it makes no sense here"))
            }
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
