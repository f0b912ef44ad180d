//! A Keras network as data: its layers in order, before any weight is looked at.
//!
//! [`super::config`] makes a [`Network`] of the JSON that a file brings along, `families` of nothing
//! but the names and shapes of weights. [`super::bind`] finds the weights of its layers, and
//! [`super::import`] turns it into a graph.

use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::Parameter;
use resnet_wgpu::internals::network::resnet::{self, Plan};

/// Layers, which may read later ones too; [`Network::order`] sorts them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    pub(super) name: String,
    /// In the order in which Keras lists, and so numbers, them.
    pub(super) layers: Vec<Layer>,
    /// The layer whose result is the network's.
    pub(super) output: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layer {
    pub(super) name: String,
    /// The class, for errors and because numbered files name groups after it.
    pub(super) class: String,
    pub(super) kind: Kind,
    /// Layers that it reads, by position.
    pub(super) inputs: Vec<usize>,
    pub(super) training: Training,
}

/// Whether a layer was made to compute as in training, by calling it with `training=True`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Training {
    #[default]
    No,
    /// With Keras 3, whose `predict` computes as in inference all the same.
    Overruled,
    /// With Keras 2, which obeys.
    Yes,
}

/// What a layer computes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// The image, or what a network inside of another is given. Rows and columns, where stated.
    Input {
        size: [Option<usize>; 2],
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
    /// Mean over all pixels; `keep` leaves an image of one pixel instead of a vector.
    GlobalAverage {
        keep: bool,
    },
    /// Maximum over all pixels.
    GlobalMax {
        keep: bool,
    },
    /// `first` if the layer was told that channels come first, and therefore moves them last.
    Flatten {
        first: bool,
    },
    Dense(Dense),
    /// Nothing, outside of training.
    Pass,
    Affine(Affine),
    /// A subtraction of means and a division by deviations that were learned, or the inverse of it.
    Normalize {
        invert: bool,
    },
    /// The channels of the image in reverse.
    Reverse,
    /// One channel of the image.
    Channel(usize),
    /// Channels of the image, one input each.
    Stack,
    /// A change of the size of the image to these rows and columns.
    Resize([usize; 2]),
    /// A list as an image of one pixel, or an image as a list.
    Reshape {
        image: bool,
    },
    Model(Box<Network>),
    /// Everything before the head of a network of a known family. Where the layer has no name, those
    /// of the plan are layers of the network around it.
    Plan(Box<Plan>),
}

/// What a layer has in a file.
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) class: String,
    pub(super) roles: Vec<Parameter>,
    /// Those of the layers inside of it.
    pub(super) inner: Option<Vec<Self>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Conv {
    /// What the file says about them; the weight decides.
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
    /// The axis of the channels, counted from the front or, if negative, from the end.
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

/// `scale · x + offset`, with one number each, or one for each channel.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) offset: Vec<f64>,
    pub(super) channels: Channels,
}

impl Affine {
    /// With the same numbers for all channels.
    pub(super) fn of(scale: f64, offset: f64) -> Self {
        Self {
            scale: vec![scale],
            offset: vec![offset],
            channels: Channels::Last,
        }
    }

    /// `(x − mean) / √variance`, or its inverse.
    pub(super) fn normalize(mean: Vec<f64>, variance: &[f64], invert: bool) -> Self {
        // Keras divides by nothing smaller.
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

/// Where the channels of an image are.
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
    /// The parameters of a layer in the order in which Keras makes, and so saves, them.
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
    /// Layers, by name, class and kind, that each read the one before.
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

    /// Rows and columns of the image, where a layer states one of them.
    pub(super) fn size(&self) -> Option<[Option<usize>; 2]> {
        let mut inputs = self
            .flat()
            .into_iter()
            .filter_map(|layer| match layer.kind {
                Kind::Input { size } => Some(size),
                _ => None,
            });
        inputs.find(|size| *size != [None; 2])
    }

    /// What its layers have in a file, in their order.
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

    /// Positions of the layers, each after all that it reads; `None` if layers read each other in a
    /// circle.
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
