//! Reads ONNX files: whole networks, identified by operators and attributes, never by names.
//!
//! A file exported by PyTorch, MXNet, Caffe2 or tf2onnx becomes a [`Network`] with the nodes of the
//! file. Strides, padding and epsilon are in the file, so nothing about the layers is assumed;
//! preprocessing is in no file, unless the network does it itself or a `preprocessor_config.json`
//! lies beside it. Whatever this crate's graph cannot express exactly is an error that names the
//! node.
//!
//! `wire` reads protocol buffers, `proto` and `tensor` the messages in them, `external` the files beside;
//! `lean` leaves large tensors in the file, `expand` replaces functions, `order` sorts the nodes, `import`
//! turns them into a graph with one file of `operators` for each group of operators; `view` is how ONNX
//! sees its values, `image` what is known of the input.

mod expand;
mod external;
mod image;
mod import;
mod lean;
mod operators;
mod order;
mod proto;
mod site;
mod tensor;
mod view;
mod wire;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::sidecar::SideCars;
use crate::weights::bytes::Bytes;
use external::Files;
use image::Image;
use import::Import;
use order::Links;
use proto::{Declared, Graph};
use resnet_wgpu::Error;
use resnet_wgpu::Hint;
use resnet_wgpu::internals::graph::Op;
use resnet_wgpu::internals::network::{Facts, Family};
use resnet_wgpu::network::{Decision, ModelOptions, Network};
use wire::{Damaged, Message};

/// The supported opsets.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;

/// Maximum number of outputs that are compared with each other.
const MAX_OUTPUTS: usize = 64;

/// Height and width of the input image if neither the file nor the caller states them.
const USUAL_SIZE: usize = 224;

/// Reads a file, and the files that belong to it.
pub(crate) fn open(path: &Path, source: &Bytes, options: &ModelOptions) -> Result<Network, Error> {
    let bytes = lean::copy(source).map_err(|fault| fault.in_file(path))?;
    let reader = Reader {
        path,
        options,
        beside: SideCars::of_graph(path),
    };
    reader.read(&bytes, Files::of(path, source.clone()))
}

/// Reads a file held in memory; `name` takes the place of its path in errors.
///
/// # Errors
/// [`Error::WeightsUnreadable`] if the file is damaged, [`Error::Operator`] if a node is invalid or
/// its operator not supported, [`Error::Model`] if the file and the options contradict each other,
/// and the [graph section](Error) for shapes.
pub fn from_bytes(name: &str, bytes: &[u8], options: &ModelOptions) -> Result<Network, Error> {
    let reader = Reader {
        path: Path::new(name),
        options,
        beside: SideCars::default(),
    };
    reader.read(bytes, Files::default())
}

/// The error for a damaged file; [`Reader::read`] adds the path.
fn unreadable(reason: String) -> Error {
    Error::WeightsUnreadable {
        path: PathBuf::new(),
        reason,
    }
}

/// The error for a node.
fn operator(node: &proto::Node<'_>, reason: String) -> Error {
    Error::Operator {
        node: node.shown().to_owned(),
        op: node.op.to_owned(),
        reason,
    }
}

struct Reader<'a> {
    path: &'a Path,
    options: &'a ModelOptions,
    beside: SideCars,
}

impl Reader<'_> {
    fn read(&self, bytes: &[u8], files: Files) -> Result<Network, Error> {
        crate::refuse_arch(self.options, "an ONNX file")?;
        self.network(bytes, files).map_err(|error| match error {
            Error::WeightsUnreadable { reason, path } if path.as_os_str().is_empty() => {
                Error::WeightsUnreadable {
                    path: self.path.to_owned(),
                    reason,
                }
            }
            other => other,
        })
    }

    fn network(&self, bytes: &[u8], files: Files) -> Result<Network, Error> {
        let mut file = proto::Model::decode(Message(bytes))
            .map_err(|Damaged(reason)| unreadable(format!("damaged ONNX file: {reason}")))?;
        let opset = file.opset.unwrap_or_default();
        if !OPSETS.contains(&opset) {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            return Err(unreadable(format!(
                "operators of version {opset} are not supported; export with opset {first} to {last}"
            )));
        }
        let nodes = std::mem::take(&mut file.graph.nodes);
        file.graph.nodes = expand::expand(nodes, &file.functions, opset)?;
        refuse_quantised(&file.graph)?;

        let graph = &file.graph;
        let mut initializers = HashMap::new();
        for &(name, tensor) in &graph.initializers {
            if initializers.insert(name, tensor).is_some() {
                return Err(unreadable(format!("two tensors are called '{name}'")));
            }
        }
        let declared: HashSet<&str> = graph.inputs.iter().map(|input| input.name).collect();
        let given = |name: &str| initializers.contains_key(name) || declared.contains(name);
        let links = Links::new(graph, given)?;
        let (output, chosen) = self.output(graph, &links)?;
        let order = links.order(graph, output)?;
        // Old files list initializers among their inputs; others have inputs that no node needs.
        let read = order.iter().flat_map(|&index| graph.nodes[index].reads());
        let read: HashSet<&str> = read.map(|name| &**name).collect();
        let inputs: Vec<&Declared<'_>> = graph
            .inputs
            .iter()
            .filter(|input| read.contains(input.name) && !initializers.contains_key(input.name))
            .collect();
        let &[input] = &inputs[..] else {
            let names = listed(inputs.iter().map(|input| input.name));
            return Err(unreadable(format!(
                "a network has one image as input, this one has {} inputs{names}",
                inputs.len()
            )));
        };
        let image = Image::resolve(graph, &links, input, self.options)?;
        let mut import = Import::new(
            graph,
            (links, initializers),
            (&image, input.name, output),
            (opset, files),
        )?;
        import.run(&order, input.name)?;
        self.finish(import, &image, (&file, opset), chosen)
    }

    /// The output that holds the class scores.
    fn output<'a>(
        &self,
        graph: &'a Graph<'_>,
        links: &Links<'_>,
    ) -> Result<(&'a str, Option<Decision>), Error> {
        let names = || graph.outputs.iter().map(|output| output.name);
        if let Some(asked) = &self.options.entry {
            let found = names().find(|name| name == asked);
            let found = found.ok_or_else(|| {
                let known = listed(names());
                unreadable(format!(
                    "there is no output '{asked}'; it has {}{known}",
                    graph.outputs.len()
                ))
            })?;
            return Ok((found, Some(Decision::certain("output", found, "asked for"))));
        }
        if let [only] = &graph.outputs[..] {
            return Ok((only.name, None));
        }
        if let Some(logits) = names().find(|name| *name == "logits") {
            return Ok((
                logits,
                Some(Decision::inferred("output", logits, "its name")),
            ));
        }
        // If outputs are computed from each other, the last of them is the result.
        let few = graph.outputs.len() <= MAX_OUTPUTS;
        let sources: Vec<_> = names()
            .take(MAX_OUTPUTS)
            .map(|name| (name, links.sources(graph, name)))
            .collect();
        let reads = |name: &str| {
            let mut others = sources.iter().filter(|(other, _)| *other != name);
            others.any(|(_, sources)| sources.contains(name))
        };
        let is_last = |name: &&str| few && !reads(name);
        let mut last = names().filter(is_last);
        match (last.next(), last.next()) {
            (Some(name), None) => Ok((
                name,
                Some(Decision::inferred("output", name, "it is the last of them")),
            )),
            _ => Err(Error::WeightsUnrecognised {
                reason: format!(
                    "the file has {} outputs{}",
                    graph.outputs.len(),
                    listed(names())
                ),
                hint: Some(Hint::Entry),
            }),
        }
    }

    fn finish(
        &self,
        mut import: Import<'_>,
        image: &Image,
        (file, opset): (&proto::Model<'_>, i64),
        chosen: Option<Decision>,
    ) -> Result<Network, Error> {
        let output = import.output;
        let (logits, activation) = import.result()?;
        let arch = match file.graph.name {
            "" => "onnx".to_owned(),
            name => name.to_owned(),
        };
        if self.options.variant.is_some() || !self.options.settings.is_empty() {
            return Err(Error::Model {
                model: arch,
                reason: "an ONNX file states its layers; leave the variant and the settings out"
                    .to_owned(),
            });
        }
        let beside = self.beside.of_pictures(self.options)?;
        let (preprocess, prepared) = match beside.preprocess {
            Some((rules, evidence)) => {
                let rules = image.fitted(rules);
                let decision = Decision::certain("preprocessing", rules.to_string(), evidence);
                (rules, decision)
            }
            None => image::rules(&file.graph, image, import.front.as_ref(), file.producer),
        };
        let graph = import.draft.graph();
        let depth = depth(graph);
        let operators = "operators of the file";
        let architecture =
            format!("'{arch}', {depth} convolutions and linear layers on the longest path");
        let origin = format!(
            "{}, ONNX of '{}', opset {opset}",
            self.path.display(),
            file.producer
        );
        let name = &graph.get(import.draft.input())?.name;
        let input_form = format!("'{name}', {} in the file", image.layout());
        let [h, w] = image.size;
        let (evidence, confidence) = image.size_from;
        let scores = match activation {
            Some(activation) => Decision::certain(
                "logits",
                format!("what the final {activation} reads"),
                operators,
            ),
            None => Decision::inferred(
                "logits",
                "the output",
                "the file ends without an activation",
            ),
        };
        let decisions = [
            Decision::certain("architecture", architecture, operators),
            Decision::certain("weights", origin, "the file"),
            Decision::certain("input", input_form, operators),
            Decision::new("size", format!("{h}x{w}"), evidence, confidence),
            scores,
            prepared,
        ];
        let facts = Facts {
            arch,
            family: Family::Onnx,
            plan: None,
            preprocess,
            labels: beside.labels,
            decisions: decisions.into_iter().chain(chosen).collect(),
            activation: activation.or(beside.activation),
            probabilities: activation.map(|_| output.to_owned()),
        };
        let ends = import.draft.ends(logits, activation);
        Network::new(import.draft.finish(ends), facts, self.options)
    }
}

/// The first eight names, in parentheses.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.take(8).collect();
    if names.is_empty() {
        String::new()
    } else {
        format!(" ({})", names.join(", "))
    }
}

/// Refuses quantised networks as such, rather than at the first unknown operator.
fn refuse_quantised(graph: &Graph<'_>) -> Result<(), Error> {
    let quantised = |op: &str| {
        op.starts_with("QLinear")
            || op.contains("QuantizeLinear")
            || op.contains("equantizeLinear")
            || op.ends_with("Integer")
            || op == "MatMulNBits"
    };
    match graph.nodes.iter().find(|node| quantised(node.op)) {
        None => Ok(()),
        Some(node) => Err(operator(
            node,
            "the network is quantised, which is not supported; use the network from before it was \
             quantised"
                .to_owned(),
        )),
    }
}

/// Number of convolutions and linear layers on the longest path: 50 for a ResNet-50.
fn depth(graph: &resnet_wgpu::graph::Graph) -> usize {
    let mut depths = HashMap::new();
    for node in graph.nodes() {
        let before = node.inputs.iter().filter_map(|input| depths.get(input));
        let own = matches!(node.op, Op::Conv2d(_) | Op::Linear { .. });
        let depth = before.max().copied().unwrap_or_default() + usize::from(own);
        depths.insert(node.output, depth);
    }
    depths.into_values().max().unwrap_or_default()
}
