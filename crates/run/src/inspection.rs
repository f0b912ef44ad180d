//! What there is to say about a network, in the form of the program's JSON.

use resnet_wgpu::Error;
use resnet_wgpu::check::WrongKernel;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::Node;
use resnet_wgpu::network::{Activation, Decisions};
use resnet_wgpu::picture::{Labels, Preprocess};
use serde::Serialize;

use crate::{Caches, Network};

/// The description of a network in results.
#[derive(Debug, Serialize)]
pub struct ModelInfo {
    /// The architecture.
    pub name: String,
    /// The origin of the weights.
    pub family: &'static str,
    /// Null for random weights.
    pub weights: Option<String>,
    /// Null without a classifier.
    pub classes: Option<usize>,
    /// The activation that turns its scores into probabilities.
    pub activation: Option<&'static str>,
    /// Rows and columns of the image.
    pub size: [usize; 2],
    /// The number of trained scalars.
    pub parameters: usize,
    /// Multiply-accumulate operations.
    pub macs_per_image: u64,
    /// How far layers are merged.
    pub fusion: String,
}

impl ModelInfo {
    /// Such as `1000 classes`.
    pub fn classes_in_words(&self) -> String {
        match self.classes {
            Some(classes) => format!("{classes} classes"),
            None => "no classifier".to_owned(),
        }
    }
}

/// A network, what was decided about it and why, and its layers.
#[derive(Debug, Serialize)]
pub struct Inspection {
    /// The network.
    pub model: ModelInfo,
    /// Images that run together.
    pub batch: usize,
    /// What was decided about it.
    pub decisions: Decisions,
    /// How images are prepared.
    pub preprocess: Preprocess,
    /// Null when nothing names the classes.
    pub labels: Option<Vec<String>>,
    /// Its layers.
    pub layers: Vec<InspectedLayer>,
    /// Kernels that were found to compute wrongly on an adapter of this machine, and are not used there.
    pub wrong_kernels: Vec<WrongKernel>,
}

/// A layer.
#[derive(Debug, Serialize)]
pub struct InspectedLayer {
    /// Its name.
    pub name: String,
    /// What it computes.
    pub op: &'static str,
    /// Its settings.
    pub detail: String,
    /// The shape of its result.
    pub output: [usize; 4],
    /// The number of its trained scalars.
    pub parameters: usize,
    /// Its multiply-accumulate operations.
    pub macs: u64,
}

impl Network {
    /// The description of the network in the results.
    pub fn info(&self) -> ModelInfo {
        ModelInfo {
            name: self.model.arch.clone(),
            family: self.model.family.name(),
            weights: self.weights.clone(),
            classes: self.model.classes,
            activation: self.model.activation.map(Activation::name),
            size: self.model.size(),
            parameters: self.model.parameter_count(),
            macs_per_image: self.macs() / self.batch() as u64,
            fusion: self.fusion.to_string(),
        }
    }

    /// All that is known about the network.
    ///
    /// # Errors
    /// None that a network can cause.
    pub fn inspection(&self, labels: Option<&Labels>) -> Result<Inspection, Error> {
        let model = &self.model;
        let layers = model.graph.nodes().iter();
        Ok(Inspection {
            model: self.info(),
            batch: self.batch(),
            decisions: model.decisions.clone(),
            preprocess: model.preprocess,
            labels: labels.map(|labels| labels.iter().map(str::to_owned).collect()),
            layers: layers
                .map(|node| layer(&model.graph, node))
                .collect::<Result<_, _>>()?,
            wrong_kernels: Caches::new(None)
                .map(|caches| caches.wrong_on(None))
                .unwrap_or_default(),
        })
    }
}

fn layer(graph: &Graph, node: &Node) -> Result<InspectedLayer, Error> {
    Ok(InspectedLayer {
        name: node.name.clone(),
        op: node.op.kind(),
        detail: graph.settings(node)?,
        output: graph.get(node.output)?.shape.dims(),
        parameters: graph.trained(node)?,
        macs: graph.macs(node)?,
    })
}
