//! ONNX files: a whole network, read by its operators and their attributes, never by names.
//!
//! In goes a file that PyTorch, MXNet, Caffe2 or tf2onnx exported; out comes a [`Network`] with the
//! nodes of the file. Strides, padding and epsilon are in the file, so nothing about the layers is
//! assumed; how images are prepared is in no file, and is assumed to be as torchvision does it.
//! Whatever the graph of this crate cannot express exactly is an error that names the node.
//!
//! `wire` reads protocol buffers, `proto` and `tensor` the messages in them, `order` sorts the nodes,
//! `import` turns them into a graph with one file of `operators` for each group of operators.

mod import;
mod operators;
mod order;
mod proto;
mod tensor;
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::weights;
use import::Imported;
use resnet_wgpu::Error;
use resnet_wgpu::internals::graph::Op;
use resnet_wgpu::internals::network::{Facts, Family};
use resnet_wgpu::network::{Activation, Decision, ModelOptions, Network};
use resnet_wgpu::picture::Preprocess;
use wire::{Damaged, Message};

/// Versions of the standard operators whose meaning is known.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=21;

/// Rows and columns of the image where neither the file nor the caller states them.
const USUAL_SIZE: usize = 224;

/// Reads a file that is mapped into memory.
pub(crate) fn open(
    path: &Path,
    map: &memmap2::Mmap,
    options: &ModelOptions,
) -> Result<Network, Error> {
    read(path, map, options, &|part| weights::release(map, part))
}

/// Reads a file that is in memory; `name` stands for its path in errors.
///
/// # Errors
/// [`Error::WeightsUnreadable`] for a damaged file, [`Error::Operator`] for an operator that is not
/// supported or makes no sense, [`Error::Model`] when the file and the options do not fit each other,
/// the [graph section](Error) of the errors for shapes.
pub fn from_bytes(name: &str, bytes: &[u8], options: &ModelOptions) -> Result<Network, Error> {
    read(Path::new(name), bytes, options, &|_| ())
}

/// `release` is told which bytes of the file were read for the last time.
fn read(
    path: &Path,
    bytes: &[u8],
    options: &ModelOptions,
    release: &dyn Fn(&[u8]),
) -> Result<Network, Error> {
    crate::refuse_arch(options, "an ONNX file")?;
    build(path, bytes, options, release).map_err(|error| match error {
        Error::WeightsUnreadable { reason, .. } => Error::WeightsUnreadable {
            path: path.to_owned(),
            reason,
        },
        other => other,
    })
}

/// The error of a damaged file; [`read`] adds the path.
fn unreadable(reason: String) -> Error {
    Error::WeightsUnreadable {
        path: PathBuf::new(),
        reason,
    }
}

/// The error of a node.
fn operator(node: &proto::Node<'_>, reason: String) -> Error {
    Error::Operator {
        node: name(node).to_owned(),
        op: node.op.to_owned(),
        reason,
    }
}

/// What a node is called: by its name, or by what it computes.
fn name<'a>(node: &proto::Node<'a>) -> &'a str {
    if node.name.is_empty() {
        node.outputs.first().copied().unwrap_or_default()
    } else {
        node.name
    }
}

fn build(
    path: &Path,
    bytes: &[u8],
    options: &ModelOptions,
    release: &dyn Fn(&[u8]),
) -> Result<Network, Error> {
    let file = proto::Model::decode(Message(bytes))
        .map_err(|Damaged(reason)| unreadable(format!("damaged ONNX file: {reason}")))?;
    let opset = file.opset.unwrap_or_default();
    if !OPSETS.contains(&opset) {
        let (first, last) = (OPSETS.start(), OPSETS.end());
        return Err(unreadable(format!(
            "operators of version {opset} are not supported; export with opset {first} to {last}"
        )));
    }
    let Imported {
        draft,
        logits,
        softmax,
        channels_last,
        size_from,
    } = import::run(&file.graph, opset, options, release)?;

    let model_name = match file.graph.name {
        "" => "onnx".to_owned(),
        name => name.to_owned(),
    };
    let refuse = |reason: String| Error::Model {
        model: model_name.clone(),
        reason,
    };
    if options.variant.is_some() {
        let reason = "an ONNX file states its layers; leave the variant out".to_owned();
        return Err(refuse(reason));
    }
    let activation = softmax.map(|_| Activation::Softmax);
    let graph = draft.graph();
    let shape = draft.shape(draft.input());
    let preprocess = Preprocess::TORCHVISION.with_size([shape.h, shape.w]);
    let layout = if channels_last { "NHWC" } else { "NCHW" };
    let depth = depth(graph);
    let operators = "operators of the file";
    let architecture =
        format!("'{model_name}', {depth} convolutions and linear layers on the longest path");
    let origin = format!(
        "{}, ONNX of '{}', opset {opset}",
        path.display(),
        file.producer
    );
    let input_form = format!("'{}', {layout} in the file", graph.get(draft.input())?.name);
    let size = format!("{}x{}", shape.h, shape.w);
    let decisions = [
        Decision::certain("architecture", architecture, operators),
        Decision::certain("weights", origin, "the file"),
        Decision::certain("input", input_form, operators),
        Decision::new("size", size, size_from.0, size_from.1),
        match softmax {
            Some(_) => Decision::certain("logits", "what the final Softmax reads", operators),
            None => Decision::inferred("logits", "the output", "the file ends without Softmax"),
        },
        Decision::assumed(
            "preprocessing",
            preprocess.to_string(),
            "torchvision's; no ONNX file says it",
        ),
    ];
    let facts = Facts {
        arch: model_name,
        family: Family::Onnx,
        plan: None,
        preprocess,
        labels: None,
        decisions: decisions.into_iter().collect(),
        activation,
        probabilities: softmax.map(str::to_owned),
    };
    let ends = draft.ends(logits, activation);
    Network::new(draft.finish(ends), facts, options)
}

/// Convolutions and linear layers on the longest path: 50 for a ResNet-50.
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
