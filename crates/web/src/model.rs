//! A network from a weight file.

use std::collections::BTreeMap;

use resnet_wgpu::Error;
use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::graph::{Graph, Role};
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::network::{Decisions, ModelOptions, Network};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::{Labels, Preprocess};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::{refused, thrown};

/// A network that is ready to be put on a device.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Model {
    pub(crate) graph: Graph,
    pub(crate) rules: Preprocess,
    pub(crate) outputs: Vec<Role>,
    pub(crate) sites: Option<Sites>,
    description: String,
}

/// What a page may say about a file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Options {
    /// As for `--set` of the program.
    settings: BTreeMap<String, String>,
    entry: Option<String>,
    variant: Option<String>,
    size: Option<[usize; 2]>,
}

#[derive(Serialize)]
struct Description<'a> {
    name: &'a str,
    parameters: usize,
    classes: Option<usize>,
    size: [usize; 2],
    labels: Option<Vec<&'a str>>,
    activation: Option<&'static str>,
    decisions: &'a Decisions,
    preprocess: &'a Preprocess,
    /// Why there is no heat map, if there is none.
    no_map: Option<String>,
}

#[wasm_bindgen]
impl Model {
    /// Reads a weight file of any format that the program reads. `options` is JSON.
    #[wasm_bindgen(constructor)]
    pub fn new(name: &str, bytes: Vec<u8>, options: &str) -> Result<Self, JsValue> {
        let asked: Options =
            serde_json::from_str(options).map_err(|error| refused("usage", &error.to_string()))?;
        let variant = asked.variant.map(|name| name.parse()).transpose();
        let mut options = ModelOptions::default();
        options.settings = asked.settings;
        options.entry = asked.entry;
        options.variant = variant.map_err(thrown)?;
        options.size = asked.size;
        Self::read(name, bytes, &options).map_err(thrown)
    }

    /// What the file holds, as JSON.
    pub fn description(&self) -> String {
        self.description.clone()
    }

    /// Forgets the weights, which are on a device by now.
    pub fn release(&mut self) {
        self.graph = Graph::default();
    }

    /// The part of an image that the network sees: its first row, the row after its last, the same
    /// for columns.
    pub fn seen(&self, height: usize, width: usize) -> Vec<usize> {
        let [rows, columns] = self.rules.seen([height, width]);
        vec![rows.start, rows.end, columns.start, columns.end]
    }
}

impl Model {
    fn read(name: &str, bytes: Vec<u8>, options: &ModelOptions) -> Result<Self, Error> {
        let network: Network = resnet_formats::from_bytes(name, bytes, options)?;
        let model = network.model(options)?;
        drop(network);
        let plain = optimize(&model.graph, Fusion::Full)?;
        let (graph, no_map) = match add_class_map(&plain, &ClassMap::default()) {
            Ok(graph) => (graph, None),
            Err(error) => (plain, Some(error.to_string())),
        };
        let sites = graph.role(Role::ClassMap);
        let sites = sites.map(|map| Sites::of(&graph, map)).transpose()?;
        let imagenet = Labels::imagenet1k();
        let labels = match (&model.labels, model.classes) {
            (Some(labels), _) => Some(labels),
            (None, Some(1000)) => Some(&imagenet),
            (None, _) => None,
        };
        let description = Description {
            name: &model.arch,
            parameters: model.parameter_count(),
            classes: model.classes,
            size: model.size(),
            labels: labels.map(|labels| labels.iter().collect()),
            activation: model.activation.map(|activation| activation.name()),
            decisions: &model.decisions,
            preprocess: &model.preprocess,
            no_map,
        };
        let description = serde_json::to_string(&description).unwrap_or_default();
        let outputs = [Role::Logits, Role::Probabilities, Role::ClassMap];
        let outputs = outputs
            .into_iter()
            .filter(|&role| graph.role(role).is_some());
        Ok(Self {
            outputs: outputs.collect(),
            rules: model.preprocess,
            sites,
            description,
            graph,
        })
    }
}
