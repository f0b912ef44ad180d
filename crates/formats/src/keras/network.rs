//! A Keras network as data: its layers in order, without their weights.
//!
//! [`super::config`] builds a [`Network`] from the JSON description in a file; `families` builds
//! one from the names and shapes of the weights alone. [`super::bind`] finds the weights of the
//! layers, and [`super::import`] turns the network into a graph.

use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{Interpolation, PadValue, Padding};
use resnet_wgpu::internals::network::Parameter;
use resnet_wgpu::internals::network::resnet::{self, Plan};

/// A network. Layers may read later ones; [`Network::order`] sorts them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    pub(super) name: String,
    /// In the order in which Keras lists them; numbered files count layers in this order.
    pub(super) layers: Vec<Layer>,
    /// Index of the layer whose result is the output of the network.
    pub(super) output: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) name: String,
    /// The Keras class, used in errors and to find groups in numbered files.
    pub(super) class: String,
    pub(super) kind: Kind,
    /// Indices of the layers that it reads.
    pub(super) inputs: Vec<usize>,
    pub(super) training: Training,
}

/// Whether a layer runs in training mode because it was called with `training=True`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Training {
    #[default]
    No,
    /// Saved by Keras 3, whose `predict` runs in inference mode regardless.
    Overruled,
    /// Saved by Keras 2, which honours the flag.
    Yes,
}

/// The channels of an image, where nothing says it.
pub(super) const COLOURS: usize = 3;

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// The input of the network or of a nested one; `size` is its height and width, if stated,
    /// `channels` says how many there are of an image, `integers` whether its numbers have no
    /// fractions.
    Input {
        size: [Option<usize>; 2],
        channels: usize,
        integers: bool,
    },
    Conv(Conv),
    Norm(Norm),
    Pad(Padding, PadValue),
    Activation(Activation),
    Add,
    Subtract,
    Multiply,
    MaxPool(Pool),
    AvgPool(Pool),
    /// Mean over all pixels; `keep` makes the result a 1×1 image instead of a vector.
    GlobalAverage {
        keep: bool,
    },
    /// Maximum over all pixels; `keep` as for `GlobalAverage`.
    GlobalMax {
        keep: bool,
    },
    /// `first`: the data format is channels first; Keras moves channels last before flattening.
    Flatten {
        first: bool,
    },
    Dense(Dense),
    /// The identity, except in training.
    Pass,
    Affine(Affine),
    /// `(x − mean) / √variance` with learned statistics, or its inverse.
    Normalize {
        invert: bool,
    },
    /// Reverses the channels of the image, as from RGB to BGR.
    Reverse,
    /// Selects one channel of the image.
    Channel(usize),
    /// Stacks channels of the image; each input is one of them.
    Stack,
    Resize(Resizing),
    /// Crops the image to this height and width.
    Crop([usize; 2]),
    /// Reshapes a vector to a 1×1 image if `image` is set, an image to a vector if not.
    Reshape {
        image: bool,
    },
    Model(Box<Network>),
    /// A known family's network without its head. If the layer has no name, its inner layers count
    /// as layers of the enclosing network.
    Plan(Box<Plan>),
}

/// What a file must hold for one layer.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) roles: Vec<Parameter>,
    /// The slots of its inner layers, if it is a nested network.
    pub(super) inner: Option<Vec<Self>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conv {
    /// Output channels and kernel size as the description states them; the weight itself decides.
    pub(super) filters: Option<usize>,
    pub(super) kernel: Option<[usize; 2]>,
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    pub(super) same: bool,
    pub(super) groups: usize,
    pub(super) bias: bool,
    pub(super) activation: Activation,
    pub(super) channels: Channels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Norm {
    /// The channel axis; negative values count from the end.
    pub(super) axis: i64,
    pub(super) epsilon: f32,
    pub(super) scale: bool,
    pub(super) center: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pool {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) same: bool,
    pub(super) channels: Channels,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Dense {
    pub(super) units: Option<usize>,
    pub(super) bias: bool,
    pub(super) activation: Activation,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Resizing {
    pub(super) size: [usize; 2],
    /// Why it is not supported, if it is not.
    pub(super) interpolation: Result<Interpolation, String>,
    /// The option by which an image of another aspect ratio is cropped or padded, if one is set.
    pub(super) keeps_ratio: Option<&'static str>,
    /// Whether integers are resized to integers.
    pub(super) rounds: bool,
    pub(super) channels: Channels,
}

/// `scale · x + offset`. Each vector has one number, or one per channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) offset: Vec<f64>,
    pub(super) channels: Channels,
}

impl Affine {
    /// One scale and one offset for all channels.
    pub(super) fn of(scale: f64, offset: f64) -> Self {
        Self {
            scale: vec![scale],
            offset: vec![offset],
            channels: Channels::Last,
        }
    }

    /// `(x − mean) / √variance`, or its inverse if `invert` is set.
    pub(super) fn normalize(mean: Vec<f64>, variance: &[f64], invert: bool) -> Self {
        // Keras uses 1e-7 as the smallest divisor.
        let deviation = variance.iter().map(|variance| variance.sqrt().max(1e-7));
        let deviation: Vec<f64> = deviation.collect();
        let (scale, offset) = if invert {
            (deviation, mean)
        } else {
            let count = mean.len().max(deviation.len());
            let pick = |list: &[f64], index: usize| list[index.min(list.len() - 1)];
            let offset = (0..count).map(|i| -pick(&mean, i) / pick(&deviation, i));
            (
                deviation.iter().map(|deviation| 1.0 / deviation).collect(),
                offset.collect(),
            )
        };
        Self {
            scale,
            offset,
            channels: Channels::Last,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    Linear,
    Relu,
    Softmax,
    LogSoftmax,
    Sigmoid,
}

/// Position of the channel axis: before height and width, or after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channels {
    First,
    Last,
}

impl Activation {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Relu => "relu",
            Self::Softmax => "softmax",
            Self::LogSoftmax => "log-softmax",
            Self::Sigmoid => "sigmoid",
        }
    }
}

impl Kind {
    /// The parameters of the layer, in the order in which Keras creates and saves them.
    pub(super) fn roles(&self) -> Vec<Parameter> {
        let list = |flags: &[(bool, Parameter)]| {
            let there = flags.iter().filter(|(there, _)| *there);
            there.map(|&(_, role)| role).collect()
        };
        match self {
            Self::Conv(Conv { bias, .. }) | Self::Dense(Dense { bias, .. }) => {
                list(&[(true, Parameter::Weight), (*bias, Parameter::Bias)])
            }
            Self::Norm(norm) => list(&[
                (norm.scale, Parameter::Gamma),
                (norm.center, Parameter::Beta),
                (true, Parameter::Mean),
                (true, Parameter::Variance),
            ]),
            Self::Normalize { .. } => vec![Parameter::Mean, Parameter::Variance],
            _ => Vec::new(),
        }
    }
}

impl Network {
    /// A chain of layers, given as name, class and kind; each reads the one before it.
    pub(super) fn chain<'a>(
        name: &str,
        layers: impl IntoIterator<Item = (&'a str, &'a str, Kind)>,
    ) -> Self {
        let layers = layers.into_iter().enumerate();
        let layers = layers.map(|(index, (name, class, kind))| Layer {
            name: name.to_owned(),
            class: class.to_owned(),
            kind,
            inputs: index.checked_sub(1).into_iter().collect(),
            training: Training::No,
        });
        let layers: Vec<Layer> = layers.collect();
        Self {
            name: name.to_owned(),
            output: layers.len().saturating_sub(1),
            layers,
        }
    }

    /// Height and width of the input image, from the first input layer that states either of them.
    pub(super) fn size(&self) -> Option<[Option<usize>; 2]> {
        let mut inputs = self
            .flat()
            .into_iter()
            .filter_map(|layer| match layer.kind {
                Kind::Input { size, .. } => Some(size),
                _ => None,
            });
        inputs.find(|size| *size != [None; 2])
    }

    /// The channels of the input image: those of the first input layer.
    pub(super) fn channels(&self) -> usize {
        let inputs = self.flat().into_iter();
        let mut channels = inputs.filter_map(|layer| match layer.kind {
            Kind::Input { channels, .. } => Some(channels),
            _ => None,
        });
        channels.next().unwrap_or(COLOURS)
    }

    /// Whether the first input layer says that the numbers of the image have no fractions.
    pub(super) fn integers(&self) -> bool {
        let first = self.flat().into_iter().find_map(|layer| match layer.kind {
            Kind::Input { integers, .. } => Some(integers),
            _ => None,
        });
        first.unwrap_or(false)
    }

    /// Whether the first input layer allows one size only.
    pub(super) fn is_fixed(&self) -> bool {
        let first = self.flat().into_iter().find_map(|layer| match layer.kind {
            Kind::Input { size, .. } => Some(size),
            _ => None,
        });
        matches!(first, Some([Some(_), Some(_)]))
    }

    /// The slots of its layers, in the order of the layers.
    pub(super) fn slots(&self) -> Result<Vec<Slot>, Error> {
        let mut slots = Vec::new();
        for layer in &self.layers {
            let inner = match &layer.kind {
                Kind::Model(inner) => Some(inner.slots()?),
                Kind::Plan(plan) => Some(slots_of(plan)?),
                _ => None,
            };
            match inner {
                Some(inner) if layer.name.is_empty() => slots.extend(inner),
                inner => slots.push(Slot {
                    name: layer.name.clone(),
                    class: layer.class.clone(),
                    roles: layer.kind.roles(),
                    inner,
                }),
            }
        }
        Ok(slots)
    }

    /// Indices of the layers, each after all that it reads; `None` if the layers form a cycle.
    pub(super) fn order(&self) -> Option<Vec<usize>> {
        let mut waiting: Vec<usize> = self.layers.iter().map(|l| l.inputs.len()).collect();
        let mut readers = vec![Vec::new(); self.layers.len()];
        for (index, layer) in self.layers.iter().enumerate() {
            for &input in &layer.inputs {
                readers[input].push(index);
            }
        }
        let mut order: Vec<usize> = (0..self.layers.len())
            .filter(|&i| waiting[i] == 0)
            .collect();
        let mut next = 0;
        while let Some(&done) = order.get(next) {
            for &reader in &readers[done] {
                waiting[reader] -= 1;
                if waiting[reader] == 0 {
                    order.push(reader);
                }
            }
            next += 1;
        }
        (order.len() == self.layers.len()).then_some(order)
    }

    /// The number of its layers, those of a plan being what has weights.
    pub(super) fn count(&self) -> Result<usize, Error> {
        let mut count = 0;
        for layer in self.flat() {
            count += match &layer.kind {
                Kind::Plan(plan) => resnet::layers(plan)?.len(),
                _ => 1,
            };
        }
        Ok(count)
    }

    /// All layers, those of networks inside of it included.
    pub(super) fn flat(&self) -> Vec<&Layer> {
        let mut all = Vec::new();
        for layer in &self.layers {
            match &layer.kind {
                Kind::Model(inner) => all.extend(inner.flat()),
                _ => all.push(layer),
            }
        }
        all
    }
}

fn slots_of(plan: &Plan) -> Result<Vec<Slot>, Error> {
    let layers = resnet::layers(plan)?.into_iter();
    let slots = layers.map(|(name, roles)| {
        let is_conv = roles.contains(&Parameter::Weight);
        let class = if is_conv {
            "Conv2D"
        } else {
            "BatchNormalization"
        };
        Slot {
            name,
            class: class.to_owned(),
            roles,
            inner: None,
        }
    });
    Ok(slots.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(inputs: &[&[usize]]) -> Network {
        let layers = inputs.iter().enumerate().map(|(index, inputs)| Layer {
            name: index.to_string(),
            class: "Add".to_owned(),
            kind: Kind::Add,
            inputs: inputs.to_vec(),
            training: Training::No,
        });
        Network {
            name: "test".to_owned(),
            layers: layers.collect(),
            output: 0,
        }
    }

    #[test]
    fn layers_come_after_what_they_read_and_circles_are_found() {
        let order = network(&[&[2, 1], &[2], &[]]).order();
        assert_eq!(order, Some(vec![2, 1, 0]), "reversed");
        assert_eq!(network(&[&[1], &[0]]).order(), None, "a circle");
        assert_eq!(network(&[&[], &[1]]).order(), None, "reads itself");
    }
}
