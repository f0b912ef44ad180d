//! A network as data: layers by name, tensors by name, padding as a rule.
//!
//! A [`Blueprint`] is valid for any batch and image size, and contains no tensor data. Serialised
//! as JSON, it is the description in the files that `resnet convert` writes. [`Blueprint::graph`]
//! builds the graph for one batch and image size.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::layer::{Layer, Operation, Sheet};
use crate::error::Error;
use crate::graph::{AvgPool, Graph, MaxPool, Op, Role, ValueId};
use crate::tensor::{Shape, Tensor};

/// The version of the description that is written.
const VERSION: u32 = 2;
/// The first version, whose padding is only valid for one image size.
const FIXED_VERSION: u32 = 1;
/// ResNet-152 has 515 layers.
const MAX_LAYERS: usize = 1 << 14;

/// Tensors, by name.
pub type Tensors = HashMap<String, Tensor>;

/// The layers of a network, and which of their values are notable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blueprint {
    version: u32,
    /// The name of the value that holds the image.
    pub(super) input: String,
    /// The nominal height and width of the image.
    pub(super) size: [usize; 2],
    /// The channels of the image.
    #[serde(default = "colours", skip_serializing_if = "are_colours")]
    pub(super) channels: usize,
    layers: Vec<Layer>,
    /// Names of values: the last activation that has height and width, the classifier's input, and
    /// its output, if there is one.
    pub(super) feature_map: String,
    pub(super) features: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) logits: Option<String>,
}

const fn colours() -> usize {
    3
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn are_colours(channels: &usize) -> bool {
    *channels == colours()
}

impl Blueprint {
    pub(super) fn new(
        input: String,
        [channels, h, w]: [usize; 3],
        layers: Vec<Layer>,
        [feature_map, features]: [String; 2],
        logits: Option<String>,
    ) -> Self {
        Self {
            version: VERSION,
            input,
            size: [h, w],
            channels,
            layers,
            feature_map,
            features,
            logits,
        }
    }

    /// Reads the JSON description in a file.
    ///
    /// # Errors
    /// [`Error::Model`] if the text is not a blueprint or has an unknown version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let mut blueprint: Self = serde_json::from_str(text)
            .map_err(|error| refuse(format!("its JSON is damaged: {error}")))?;
        let version = blueprint.version;
        if version != VERSION && version != FIXED_VERSION {
            return Err(refuse(format!(
                "version {version} is not supported, only {FIXED_VERSION} and {VERSION}; convert \
                 the original again"
            )));
        }
        let mut operations = blueprint.layers.iter().map(|layer| &layer.operation);
        if !operations.any(Operation::is_lopsided) {
            // Padding that is equal on both sides is valid for every size.
            blueprint.version = VERSION;
        }
        let count = blueprint.layers.len();
        if count > MAX_LAYERS {
            return Err(refuse(format!(
                "{count} layers are more than the {MAX_LAYERS} that are accepted"
            )));
        }
        Ok(blueprint)
    }

    /// Writes the text that [`Self::from_json`] reads.
    ///
    /// # Errors
    /// [`Error::Model`] if a number has no JSON form.
    pub fn to_json(&self) -> Result<String, Error> {
        serde_json::to_string(self)
            .map_err(|error| refuse(format!("cannot be written as JSON: {error}")))
    }

    /// The nominal height and width of the image.
    pub const fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The notable values: their roles and names.
    pub(super) fn roles(&self) -> impl Iterator<Item = (Role, &str)> {
        let logits = self.logits.as_deref().map(|name| (Role::Logits, name));
        [
            (Role::Image, self.input.as_str()),
            (Role::FeatureMap, &self.feature_map),
            (Role::Features, &self.features),
        ]
        .into_iter()
        .chain(logits)
    }

    /// Changes the nominal size, unless the padding is only valid for one size.
    pub(super) fn resize(&mut self, size: [usize; 2]) {
        if self.version != FIXED_VERSION {
            self.size = size;
        }
    }

    /// The names of the tensors that are variances.
    pub(super) fn variances(&self) -> impl Iterator<Item = &str> {
        let layers = self.layers.iter();
        layers.filter_map(|layer| match &layer.operation {
            Operation::BatchNorm { variance, .. } => Some(variance.as_str()),
            _ => None,
        })
    }

    /// The names of all tensors, in the order of the layers; a name occurs as often as it is used.
    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.layers
            .iter()
            .flat_map(|layer| layer.operation.tensors())
    }

    /// Builds the graph for one batch and image size.
    ///
    /// # Errors
    /// [`Error::WeightMissing`] for a missing tensor, [`Error::Model`] if a file of the first
    /// version has no padding for this size, and the [graph section](Error) for shapes.
    pub fn graph(&self, tensors: &Tensors, batch: usize, size: [usize; 2]) -> Result<Graph, Error> {
        let graph = self.sized(tensors, batch, size)?;
        if self.version == FIXED_VERSION && size != self.size {
            let written = self.sized(tensors, batch, self.size)?;
            self.check_size(&written, &graph)?;
        }
        Ok(graph)
    }

    fn sized(&self, tensors: &Tensors, batch: usize, [h, w]: [usize; 2]) -> Result<Graph, Error> {
        let mut graph = Graph::new();
        graph.input(&self.input, Shape::new(batch, self.channels, h, w))?;
        for layer in &self.layers {
            let inputs = layer.inputs.iter().map(|name| graph.find(name));
            let inputs = inputs.collect::<Result<Vec<ValueId>, _>>()?;
            let mut sheet = Sheet {
                graph: &mut graph,
                tensors,
            };
            sheet.add(layer, &inputs)?;
        }
        Ok(graph)
    }

    /// Refuses a size for which recorded padding is wrong. TensorFlow's `same` and PyTorch's
    /// `ceil_mode` pad one side depending on the size and stride; the first version recorded the
    /// result instead of the rule.
    fn check_size(&self, written: &Graph, read: &Graph) -> Result<(), Error> {
        for (old, new) in written.nodes().iter().zip(read.nodes()) {
            let (stride, padding) = match old.op {
                Op::Conv2d(conv) => (conv.stride, conv.padding),
                Op::MaxPool(MaxPool { window, .. }) | Op::AvgPool(AvgPool { window, .. }) => {
                    (window.stride, window.padding)
                }
                _ => continue,
            };
            let [old_shape, new_shape] =
                [(written, old), (read, new)].map(|(graph, node)| graph.shape(node.inputs[0]));
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
}

/// The error for a file that describes its network.
fn refuse(reason: String) -> Error {
    Error::Model {
        model: "the network that the file describes".to_owned(),
        reason,
    }
}
