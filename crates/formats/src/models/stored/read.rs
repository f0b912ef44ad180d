//! Reading a description, and building the network of it.

use std::collections::HashMap;

use super::super::decision::Decision;
use super::super::{Arch, Model, ModelOptions, finish};
use super::{Description, MAX_LAYERS, Operation, VERSION, refuse};
use crate::weights::{DESCRIPTION, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{
    Add, AvgPool, BatchNorm, Conv2d, Flatten, FlattenOrder, GlobalAvgPool, Graph, Linear, MaxPool,
    Op, PadValue, Padding, ParamId, Relu, Statistics, ValueId, Window,
};
use resnet_wgpu::picture::Labels;
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::tensor::{Shape, Tensor};

/// Builds the network that a file describes.
pub(in super::super) fn build(
    arch: Option<Arch>,
    weights: &mut Weights,
    options: &ModelOptions,
) -> Result<Model, Error> {
    let text = weights.metadata(DESCRIPTION).unwrap_or_default();
    let description = Description::from_json(text)?;
    let name = weights
        .metadata("architecture")
        .unwrap_or("network")
        .to_owned();
    if let Some(arch) = arch.filter(|arch| arch.name() != name) {
        return Err(refuse(format!(
            "it is {name}, not {arch}; leave the architecture out"
        )));
    }
    if let Some(variant) = options.variant {
        return Err(refuse(format!(
            "its layers are listed, so that there is no variant '{variant}' to choose; leave it out"
        )));
    }
    let preprocess = match weights.metadata("preprocess") {
        Some(text) => Preprocess::from_json(text)?,
        None => return Err(refuse("the text 'preprocess' is missing".to_owned())),
    };
    let size = options.size.unwrap_or(description.size);
    let preprocess = preprocess.with_size(size);
    preprocess.check()?;
    let labels = weights.metadata("labels").map(Labels::parse).transpose()?;
    let origin = weights.metadata("origin").unwrap_or("unknown").to_owned();
    let file = weights.path().map(|path| path.display().to_string());

    let mut read = description.build(weights, options.batch, size)?;
    weights.finish()?;
    let shape = read.graph.get(read.logits)?.shape;
    if [shape.h, shape.w] != [1, 1] {
        return Err(refuse(format!(
            "its logits have the shape {shape}, which are no scores of classes"
        )));
    }
    let classes = shape.c;
    if let Some(labels) = &labels {
        labels.check(classes)?;
    }
    if let Some(asked) = options.classes.filter(|&asked| asked != classes) {
        return Err(refuse(format!("it has {classes} classes, not {asked}")));
    }
    let softmax = options.softmax.then_some("softmax");
    let ends = [read.input, read.feature_map, read.features, read.logits];
    finish(&mut read.graph, ends, softmax)?;
    let listed = "the file lists its layers";
    let decisions = [
        Decision::certain("architecture", name.clone(), listed),
        Decision::certain("weights", file.unwrap_or_default(), listed),
        Decision::certain("origin", origin, "metadata of the file"),
        Decision::certain(
            "preprocessing",
            preprocess.to_string(),
            "metadata of the file",
        ),
    ];
    let named = labels.as_ref().map(|labels| {
        let names = format!("{} names", labels.len());
        Decision::certain("labels", names, "metadata of the file")
    });
    let mut model = Model {
        graph: read.graph,
        arch: name,
        family: weights.family(),
        structure: None,
        classes,
        preprocess,
        labels,
        decisions: decisions.into_iter().chain(named).collect(),
    };
    model.ask_bn_mode(options.bn_mode);
    Ok(model)
}

/// A network of a description.
pub(super) struct Read {
    pub(super) graph: Graph,
    pub(super) input: ValueId,
    pub(super) feature_map: ValueId,
    pub(super) features: ValueId,
    pub(super) logits: ValueId,
}

impl Description {
    /// Reads the JSON of a file.
    ///
    /// # Errors
    /// [`Error::Model`] for a text that is none, or of another version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let description: Self = serde_json::from_str(text)
            .map_err(|error| refuse(format!("its JSON is damaged: {error}")))?;
        if description.version != VERSION {
            return Err(refuse(format!(
                "version {} is not supported, only {VERSION}; convert the original again",
                description.version
            )));
        }
        if description.layers.len() > MAX_LAYERS {
            let count = description.layers.len();
            return Err(refuse(format!(
                "{count} layers are more than the {MAX_LAYERS} that are accepted"
            )));
        }
        Ok(description)
    }

    /// Rows and columns of the image that it was written for.
    pub const fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Builds the graph with the tensors of the file, for a batch of images of a size.
    pub(super) fn build(
        &self,
        weights: &mut Weights,
        batch: usize,
        size: [usize; 2],
    ) -> Result<Read, Error> {
        let mut tensors = Tensors {
            weights,
            taken: HashMap::new(),
        };
        let [h, w] = self.size;
        let written = self.graph(&mut tensors, Shape::new(batch, 3, h, w))?;
        if size == self.size {
            return Ok(written);
        }
        let [h, w] = size;
        let read = self.graph(&mut tensors, Shape::new(batch, 3, h, w))?;
        self.check_size(&written.graph, &read.graph)?;
        Ok(read)
    }

    /// Padding on one side only depends on the size of the image: TensorFlow's `SAME` and PyTorch's
    /// `ceil_mode` compute it from what the stride leaves over.
    fn check_size(&self, written: &Graph, read: &Graph) -> Result<(), Error> {
        for (old, new) in written.nodes().iter().zip(read.nodes()) {
            let (stride, padding) = match old.op {
                Op::Conv2d(conv) => (conv.stride, conv.padding),
                Op::MaxPool(MaxPool { window, .. }) | Op::AvgPool(AvgPool { window, .. }) => {
                    (window.stride, window.padding)
                }
                _ => continue,
            };
            let old_shape = written.get(old.inputs[0])?.shape;
            let new_shape = read.get(new.inputs[0])?.shape;
            let left_over = |side: usize, stride: usize| side % stride.max(1);
            let rows = padding.top != padding.bottom
                && left_over(old_shape.h, stride[0]) != left_over(new_shape.h, stride[0]);
            let columns = padding.left != padding.right
                && left_over(old_shape.w, stride[1]) != left_over(new_shape.w, stride[1]);
            if rows || columns {
                let [h, w] = self.size;
                return Err(refuse(format!(
                    "the padding of '{}' is for images of {h}x{w}; convert the original again for \
                     another size",
                    old.name
                )));
            }
        }
        Ok(())
    }

    fn graph(&self, tensors: &mut Tensors<'_>, image: Shape) -> Result<Read, Error> {
        let mut graph = Graph::new();
        let input = graph.input(&self.input, image)?;
        for layer in &self.layers {
            let inputs: Vec<ValueId> = layer
                .inputs
                .iter()
                .map(|name| graph.find(name))
                .collect::<Result<_, _>>()?;
            let op = layer.op.read(&mut graph, tensors)?;
            graph.add(&layer.name, op, &inputs)?;
        }
        Ok(Read {
            input,
            feature_map: graph.find(&self.feature_map)?,
            features: graph.find(&self.features)?,
            logits: graph.find(&self.logits)?,
            graph,
        })
    }
}

/// The tensors of a file, each read once.
struct Tensors<'w> {
    weights: &'w mut Weights,
    taken: HashMap<String, Tensor>,
}

impl Tensors<'_> {
    fn add(&mut self, graph: &mut Graph, name: &str) -> Result<ParamId, Error> {
        let tensor = match self.taken.get(name) {
            Some(tensor) => tensor.clone(),
            None => {
                let tensor = self.weights.take_named(name)?;
                self.taken.insert(name.to_owned(), tensor.clone());
                tensor
            }
        };
        Ok(graph.param(name, tensor))
    }
}

impl Operation {
    fn read(&self, graph: &mut Graph, tensors: &mut Tensors<'_>) -> Result<Op, Error> {
        let mut param = |name: &String| tensors.add(graph, name);
        let sides = |[top, bottom, left, right]: [usize; 4]| Padding {
            top,
            bottom,
            left,
            right,
        };
        Ok(match self {
            Self::Conv2d {
                weight,
                bias,
                stride,
                padding,
                groups,
            } => Op::Conv2d(Conv2d {
                bias: bias.as_ref().map(&mut param).transpose()?,
                stride: *stride,
                padding: sides(*padding),
                groups: *groups,
                ..Conv2d::new(param(weight)?)
            }),
            Self::BatchNorm {
                gamma,
                beta,
                mean,
                variance,
                epsilon,
                of_batch,
            } => Op::BatchNorm(BatchNorm {
                gamma: param(gamma)?,
                beta: param(beta)?,
                mean: param(mean)?,
                variance: param(variance)?,
                epsilon: *epsilon,
                statistics: if *of_batch {
                    Statistics::Batch
                } else {
                    Statistics::Running
                },
                relu: false,
            }),
            Self::Relu => Op::Relu(Relu),
            Self::Add => Op::Add(Add { relu: false }),
            Self::MaxPool {
                kernel,
                stride,
                padding,
                zeros,
            } => Op::MaxPool(MaxPool {
                window: Window {
                    kernel: *kernel,
                    stride: *stride,
                    padding: sides(*padding),
                },
                pad_value: if *zeros {
                    PadValue::Zero
                } else {
                    PadValue::NegInfinity
                },
            }),
            Self::AvgPool {
                kernel,
                stride,
                padding,
                count_padding,
            } => Op::AvgPool(AvgPool {
                window: Window {
                    kernel: *kernel,
                    stride: *stride,
                    padding: sides(*padding),
                },
                count_padding: *count_padding,
            }),
            Self::GlobalAvgPool => Op::GlobalAvgPool(GlobalAvgPool),
            Self::Flatten { channels_last } => Op::Flatten(Flatten {
                order: if *channels_last {
                    FlattenOrder::Hwc
                } else {
                    FlattenOrder::Chw
                },
            }),
            Self::Linear { weight, bias } => Op::Linear(Linear {
                weight: param(weight)?,
                bias: bias.as_ref().map(&mut param).transpose()?,
            }),
        })
    }
}
