//! A network under construction: the one builder that all readers and families use.
//!
//! A [`Draft`] adds each layer to a [`Blueprint`] and, at the nominal image size, to a graph, so
//! that shapes are known and checked during construction.

use std::collections::HashMap;
use std::fmt;

use super::Activation;
use super::blueprint::{Blueprint, Tensors};
use super::layer::{Layer, Operation, Sheet};
use crate::error::Error;
use crate::graph::{Graph, Op, ValueId};
use crate::tensor::{Shape, Tensor};

/// A network under construction.
pub struct Draft {
    graph: Graph,
    input: ValueId,
    layers: Vec<Layer>,
    tensors: Tensors,
    /// The number for the next copy of each name.
    copies: HashMap<String, usize>,
}

/// The notable values of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The last activation that has height and width.
    pub feature_map: ValueId,
    /// The input of the classifier, or the output of the last pool if there is no classifier.
    pub features: ValueId,
    /// The class scores, if the network has a classifier.
    pub logits: Option<ValueId>,
}

impl Draft {
    /// Starts a network whose input image has this name, so many channels and this nominal size.
    ///
    /// # Errors
    /// [`Error::Geometry`] if the size is empty or too large.
    pub fn new(input: &str, channels: usize, [h, w]: [usize; 2]) -> Result<Self, Error> {
        let mut graph = Graph::new();
        let id = graph.input(input, Shape::new(1, channels, h, w))?;
        Ok(Self {
            graph,
            input: id,
            layers: Vec::new(),
            tensors: Tensors::new(),
            copies: HashMap::new(),
        })
    }

    /// The image.
    pub const fn input(&self) -> ValueId {
        self.input
    }

    /// The shape of a value for one image of the nominal size.
    ///
    /// # Panics
    /// If the value belongs to another, larger network.
    pub fn shape(&self, value: ValueId) -> Shape {
        self.graph.shape(value)
    }

    /// The layers so far, for one image of the nominal size.
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The name, followed by a number if a value already has it.
    pub fn free(&mut self, name: &str) -> String {
        let base = if name.is_empty() { "node" } else { name };
        let mut free = base.to_owned();
        while self.graph.find(&free).is_ok() {
            let number = self.copies.entry(base.to_owned()).or_insert(2);
            free = format!("{base}_{number}");
            *number += 1;
        }
        free
    }

    /// Adds a tensor under a name.
    ///
    /// # Errors
    /// [`Error::Model`] if another tensor has the name.
    pub fn tensor(&mut self, name: &str, tensor: Tensor) -> Result<(), Error> {
        match self.tensors.get(name) {
            Some(earlier) if *earlier == tensor => Ok(()),
            Some(_) => Err(Error::Model {
                model: "network".to_owned(),
                reason: format!("two different tensors are called '{name}'"),
            }),
            None => {
                self.tensors.insert(name.to_owned(), tensor);
                Ok(())
            }
        }
    }

    /// Adds a layer and returns its result, which is named after it.
    ///
    /// # Errors
    /// [`Error::WeightMissing`] for an unknown tensor, and the [graph section](Error) of the
    /// errors.
    pub fn add(
        &mut self,
        name: &str,
        operation: Operation,
        inputs: &[ValueId],
    ) -> Result<ValueId, Error> {
        let read = inputs.iter().map(|&id| self.graph.value(id).name.clone());
        let layer = Layer {
            name: name.to_owned(),
            inputs: read.collect(),
            operation,
        };
        let mut sheet = Sheet {
            graph: &mut self.graph,
            tensors: &self.tensors,
        };
        let value = sheet.add(&layer, inputs)?;
        self.layers.push(layer);
        Ok(value)
    }

    /// Finds the notable values of a network by tracing its result back. The result is class scores
    /// if an activation follows it, or if it comes from a classifier: a linear layer, or a
    /// convolution whose output is a single pixel.
    pub fn ends(&self, result: ValueId, activation: Option<Activation>) -> Ends {
        let graph = &self.graph;
        let producer = |value| graph.nodes().iter().rev().find(|node| node.output == value);
        let one_pixel = |value| [graph.shape(value).h, graph.shape(value).w] == [1, 1];
        let mut last = result;
        while let Some(node) = producer(last)
            && matches!(node.op, Op::Flatten(_) | Op::BatchNorm(_))
            && one_pixel(node.inputs[0])
        {
            last = node.inputs[0];
        }
        let classifier = producer(last).filter(|node| match node.op {
            Op::Linear(_) => true,
            Op::Conv2d(_) => one_pixel(node.inputs[0]),
            _ => false,
        });
        let scores = activation.and_then(|_| producer(result));
        let features = classifier.or(scores).map_or(result, |node| node.inputs[0]);
        let logits = (classifier.is_some() || activation.is_some()).then_some(result);
        let mut feature_map = features;
        while let Some(node) = producer(feature_map)
            && match node.op {
                Op::Flatten(_) | Op::GlobalAvgPool(_) | Op::AvgPool(_) => true,
                Op::MaxPool(_) => one_pixel(node.output),
                _ => false,
            }
        {
            feature_map = node.inputs[0];
        }
        Ends {
            feature_map,
            features,
            logits,
        }
    }

    /// The finished blueprint and its tensors.
    pub fn finish(self, ends: Ends) -> (Blueprint, Tensors) {
        let name = |id| self.graph.value(id).name.clone();
        let shape = self.graph.shape(self.input);
        let logits = ends.logits.map(name);
        let ends = [ends.feature_map, ends.features].map(name);
        let input = name(self.input);
        let blueprint = Blueprint::new(
            input,
            [shape.c, shape.h, shape.w],
            self.layers,
            ends,
            logits,
        );
        (blueprint, self.tensors)
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.graph, f)
    }
}
