//! The input image of a network: its size, the order of its axes, and its preprocessing.

use super::order::Links;
use super::proto::{Declared, Graph};
use super::tensor::{FLOAT, is_float, is_int, type_name};
use super::view::{Axis, Channels, NCHW};
use super::{USUAL_SIZE, unreadable};
use resnet_wgpu::Error;
use resnet_wgpu::network::{Confidence, Decision, ModelOptions};
use resnet_wgpu::picture::{ChannelOrder, Preprocess, Resize};

/// More channels than images from satellites have, and few enough for a buffer.
const MAX_CHANNELS: usize = 4096;

/// What is known about the input image.
pub(super) struct Image {
    pub(super) size: [usize; 2],
    pub(super) axes: Vec<Axis>,
    /// The batch size, if the file fixes it.
    pub(super) batch: Option<usize>,
    pub(super) channels: usize,
    /// Whether its pixels are integers.
    pub(super) integers: bool,
    /// The source of the size, and how certain it is.
    pub(super) size_from: (&'static str, Confidence),
}

impl Image {
    pub(super) fn resolve(
        file: &Graph<'_>,
        links: &Links<'_>,
        input: &Declared<'_>,
        options: &ModelOptions,
    ) -> Result<Self, Error> {
        let refuse = |reason: String| unreadable(format!("the input '{}' {reason}", input.name));
        let element = input.element.unwrap_or(FLOAT);
        if !is_float(element) && !is_int(element) {
            let element = type_name(element);
            return Err(refuse(format!(
                "is of type {element}, not of floats or bytes"
            )));
        }
        let [n, dims @ ..] = match input.dims.as_deref() {
            None => [None; 4],
            Some(&[n, a, b, c]) => [n, a, b, c],
            Some(&[a, b, c]) => [Some(1), a, b, c],
            Some(dims) => {
                return Err(refuse(format!(
                    "has {} dimensions, an image has 4",
                    dims.len()
                )));
            }
        };
        let channels_last = match dims {
            [Some(1 | 3), ..] => false,
            [.., Some(1 | 3)] => true,
            _ => is_transposed(file, links, input.name),
        };
        let axes = if channels_last {
            [Axis::Image, Axis::Row, Axis::Column, Axis::Channel]
        } else {
            NCHW
        };
        let unbatched = matches!(&input.dims, Some(dims) if dims.len() == 3);
        let [c, h, w] = match dims {
            [h, w, c] if channels_last => [c, h, w],
            dims => dims,
        };
        let side = |size: Option<i64>| size.map(|size| usize::try_from(size).unwrap_or(usize::MAX));
        let channels = side(c).unwrap_or(3);
        if !(1..=MAX_CHANNELS).contains(&channels) {
            return Err(refuse(format!(
                "has {channels} channels, which no image has"
            )));
        }
        let (size, size_from) = match (options.size, side(h), side(w)) {
            (Some(size), ..) => (size, ("asked for", Confidence::Certain)),
            (None, None, None) => (
                [USUAL_SIZE; 2],
                ("the file takes any size", Confidence::Assumed),
            ),
            (None, h, w) => (
                [h.or(w).unwrap_or(USUAL_SIZE), w.or(h).unwrap_or(USUAL_SIZE)],
                ("the file", Confidence::Certain),
            ),
        };
        // Checked before any shape is computed from it.
        Preprocess::TORCHVISION.with_size(size).check()?;
        Ok(Self {
            size,
            axes: axes[usize::from(unbatched)..].to_vec(),
            batch: side(n),
            channels,
            integers: is_int(element),
            size_from,
        })
    }

    /// Rules for its size and its channels.
    pub(super) fn fitted(&self, rules: Preprocess) -> Preprocess {
        let mut rules = rules.with_size(self.size);
        match self.channels {
            1 => rules.channels = ChannelOrder::Grey,
            3 => {}
            channels => {
                let bytes = rules.std == [1.0 / 255.0; 3];
                rules = Preprocess::of_arrays(channels, self.size);
                if bytes {
                    rules.std = [1.0 / 255.0; 3];
                }
                if self.size_from.1 == Confidence::Certain {
                    rules.resize = Resize::Squash;
                }
            }
        }
        rules
    }

    /// The order of its axes in words.
    pub(super) fn layout(&self) -> &'static str {
        if self.axes.last() == Some(&Axis::Channel) {
            "NHWC"
        } else {
            "NCHW"
        }
    }
}

/// Whether the image is transposed from NHWC to NCHW before anything but arithmetic happens to it.
fn is_transposed(file: &Graph<'_>, links: &Links<'_>, input: &str) -> bool {
    let mut value = input;
    while let &[reader, ..] = links.consumers(value) {
        let node = &file.nodes[reader];
        match node.op {
            "Transpose" => return matches!(node.ints("perm"), Ok(Some(p)) if p == [0, 3, 1, 2]),
            "Cast" | "Identity" | "Add" | "Sub" | "Mul" | "Div" => {}
            _ => return false,
        }
        match node.outputs.first() {
            Some(output) if **output != *value => value = output,
            _ => return false,
        }
    }
    false
}

/// The range of pixel values that the network expects: 0 to 255, or 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Range {
    Bytes,
    Unit,
}

/// The range that arithmetic at the input, read as `(x − mean) / deviation`, makes plausible.
fn range(front: &Channels) -> Option<Range> {
    let count = front.len() as f64;
    let steps = || front.scale.iter().zip(&front.shift);
    let mean: f64 = steps().map(|(scale, shift)| -shift / scale / count).sum();
    let deviation: f64 = steps().map(|(scale, _)| 1.0 / scale.abs() / count).sum();
    if (40.0..=200.0).contains(&mean) || (30.0..=300.0).contains(&deviation) {
        Some(Range::Bytes)
    } else if (0.2..=0.8).contains(&mean) || (0.001..=0.02).contains(&deviation) {
        Some(Range::Unit)
    } else {
        None
    }
}

/// The preprocessing, as far as the file shows it: by arithmetic on the image before the first
/// layer, and by node names that TensorFlow's exporter keeps from `keras.applications`.
pub(super) fn rules(
    file: &Graph<'_>,
    image: &Image,
    front: Option<&Channels>,
    producer: &str,
) -> (Preprocess, Decision) {
    let keras = producer.contains("tf2onnx") || producer.contains("keras2onnx");
    let names = || {
        file.nodes
            .iter()
            .flat_map(|node| node.outputs.iter().chain([&node.name]))
    };
    let any = |part: &str| names().any(|name| name.contains(part));
    let named = |name| Preprocess::named(name).unwrap_or(Preprocess::TORCHVISION);
    let range = if image.integers {
        Some(Range::Bytes)
    } else {
        front.and_then(range)
    };
    let (rules, evidence) = match range {
        Some(range) => {
            let usual = if keras {
                named("keras-tf")
            } else {
                Preprocess::TORCHVISION
            };
            let (std, evidence) = match range {
                Range::Bytes => (
                    1.0 / 255.0,
                    "the network takes pixels of 0 to 255 and scales them itself",
                ),
                Range::Unit => (
                    1.0,
                    "the network takes pixels of 0 to 1 and normalises them itself",
                ),
            };
            let mut rules = usual;
            rules.mean = [0.0; 3];
            rules.std = [std; 3];
            (rules, evidence)
        }
        None if keras && (any("conv2_block1_preact") || any("post_bn")) => (
            named("keras-tf"),
            "the names of its nodes are those of ResNetV2 of keras.applications",
        ),
        None if keras && any("conv2_block1_") => (
            named("keras-caffe"),
            "the names of its nodes are those of ResNet of keras.applications",
        ),
        None => (
            Preprocess::TORCHVISION,
            "torchvision's; no ONNX file says it",
        ),
    };
    let rules = image.fitted(rules);
    let words = rules.to_string();
    let decision = if rules.takes_arrays() {
        Decision::inferred("preprocessing", words, "the channels of the image")
    } else {
        Decision::assumed("preprocessing", words, evidence)
    };
    (rules, decision)
}
