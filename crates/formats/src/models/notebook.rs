//! The ResNet-50 of the classic lesson, built by the functions of its notebook.
//!
//! It differs from torchvision's in ways that no shape of a weight shows: the stride is in the first
//! 1×1 of a block and in its shortcut, convolutions have biases, the batch normalisation has Keras'
//! epsilon of 1e-3, the max pool has no padding, and a 2×2 average pool and a flattening, channels
//! innermost, stand before the classifier, which therefore fixes the size of the image.

use super::layers::{Conv, Layers};
use super::variant::{self, Choice};
use super::{Body, Confidence, Settings, Variant};
use crate::weights::{Role, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{AvgPool, Flatten, FlattenOrder, MaxPool, Op, PadValue, ValueId, Window};

/// The epsilon of Keras' `BatchNormalization`.
pub(super) const EPSILON: f32 = 1e-3;

/// Classes of the lesson: the fingers of a hand, 0 to 5.
pub(super) const CLASSES: usize = 6;

/// What the metadata of a file calls this family.
const LESSON: [&str; 2] = ["notebook", "deeplearning.ai"];

/// What differs between networks of this family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotebookConfig {
    /// Channels of the stem: 64 in the lesson. The filters of the blocks are multiples of it.
    pub stem: usize,
    /// Classes.
    pub classes: usize,
    /// Name of the classifier, which has the number of classes in it: `fc6`.
    pub fc: String,
}

impl NotebookConfig {
    /// The lesson's network.
    pub fn new(classes: usize) -> Self {
        Self {
            stem: 64,
            classes,
            fc: format!("fc{classes}"),
        }
    }

    /// The structure that the shapes of a file show, and how many features its classifier takes.
    ///
    /// # Errors
    /// [`Error::Model`] for shapes that no structure explains.
    pub(super) fn infer(weights: &Weights, asked: Option<Variant>) -> Result<(Self, usize), Error> {
        let unexplained = |reason: String| Error::Model {
            model: "notebook".to_owned(),
            reason,
        };
        let shape = weights.shape("conv1", Role::Weight);
        let Some(&[stem, image_c, _, _]) = shape.as_deref() else {
            return Err(unexplained(format!(
                "the kernel of 'conv1' must have four sizes, the file has {shape:?}"
            )));
        };
        if image_c != 3 {
            return Err(unexplained(format!(
                "the first convolution takes {image_c} channels, only RGB images are supported"
            )));
        }
        if weights.shape("conv1", Role::Bias).is_none() {
            return Err(unexplained(
                "the convolutions have no biases: the names are the lesson's, but the network is \
                 one of its relatives (TensorFlow's official ResNet, Caffe), which differ in \
                 stride and padding and are not supported"
                    .to_owned(),
            ));
        }
        let fc = weights
            .unused()
            .filter_map(|key| key.split_once('/'))
            .map(|(layer, _)| layer)
            .find(|layer| {
                let number = layer.strip_prefix("fc");
                number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
            })
            .ok_or_else(|| unexplained("the file has no classifier 'fc{classes}'".to_owned()))?
            .to_owned();
        let shape = weights.shape(&fc, Role::Weight);
        let Some(&[classes, features]) = shape.as_deref() else {
            return Err(unexplained(format!(
                "the kernel of '{fc}' must have two sizes, the file has {shape:?}"
            )));
        };
        let config = Self { stem, classes, fc };
        let declared = weights.metadata("family");
        if config.fc == "fc1000"
            && features == config.out_c()
            && !declared.is_some_and(|family| LESSON.contains(&family))
            && asked != Some(Variant::Notebook)
        {
            return Err(unexplained(format!(
                "a classifier 'fc1000' of {features} features is usually that of Keras' first \
                 ResNet-50, which has the same names but another pooling and is not supported; if \
                 this is the lesson's network, ask for the variant '{}'",
                Variant::Notebook
            )));
        }
        variant::choose(
            &Choice {
                model: "notebook",
                possible: &[Variant::Notebook],
                usual: Some((Variant::Notebook, Confidence::Inferred)),
                reason: "",
            },
            asked,
        )?;
        Ok((config, features))
    }

    /// Channels of the last block.
    const fn out_c(&self) -> usize {
        self.stem * 32
    }

    /// The size of the image for a classifier that takes so many features: the lesson's 64×64, or
    /// the square that every 64 pixels more add a row and a column to.
    pub(crate) fn size_for(&self, features: usize) -> Option<[usize; 2]> {
        let pixels = features / self.out_c();
        let side = pixels.isqrt();
        if side == 0 || self.features([64 * side, 64 * side]) != Some(features) {
            return None;
        }
        // Both 192 and ImageNet's 224 leave 3×3; the second is the usual one.
        Some(if side == 3 {
            [224, 224]
        } else {
            [64 * side, 64 * side]
        })
    }

    /// How many features the classifier takes for a size of the image, if it is not too small.
    pub(super) fn features(&self, size: [usize; 2]) -> Option<usize> {
        let [h, w] = size.map(|side| {
            let side = side.checked_add(6)?.checked_sub(7)? / 2 + 1;
            let side = side.checked_sub(3)? / 2 + 1;
            // Stages 3 to 5 start with an unpadded 1×1 at stride 2.
            let side = (0..3).fold(side, |side, _| (side - 1) / 2 + 1);
            Some(side.checked_sub(2)? / 2 + 1)
        });
        self.out_c().checked_mul(h?)?.checked_mul(w?)
    }
}

/// Builds the network.
pub(super) fn build(
    config: &NotebookConfig,
    weights: &mut Weights,
    settings: &Settings,
) -> Result<Body, Error> {
    let mut net = Notebook {
        layers: Layers::new(weights, settings.epsilon),
    };
    let f = config.stem;
    let input = net.layers.graph.input("input", settings.input)?;

    // Stage 1
    let stem = Conv::new(f, 7).stride(2).padding(3).bias();
    let x = net.layers.conv("conv1", input, stem)?;
    let x = net.layers.batch_norm("bn_conv1", x)?;
    let x = net.layers.relu("conv1_relu", x)?;
    let max_pool = Op::MaxPool(MaxPool {
        window: Window::square(3, 2),
        pad_value: PadValue::NegInfinity,
    });
    let x = net.layers.graph.add("max_pool", max_pool, &[x])?;

    // Stage 2
    let x = net.convolutional_block(x, 3, [f, f, 4 * f], 2, 'a', 1)?;
    let x = net.identity_block(x, 3, [f, f, 4 * f], 2, 'b')?;
    let x = net.identity_block(x, 3, [f, f, 4 * f], 2, 'c')?;

    // Stage 3
    let x = net.convolutional_block(x, 3, [2 * f, 2 * f, 8 * f], 3, 'a', 2)?;
    let x = net.identity_block(x, 3, [2 * f, 2 * f, 8 * f], 3, 'b')?;
    let x = net.identity_block(x, 3, [2 * f, 2 * f, 8 * f], 3, 'c')?;
    let x = net.identity_block(x, 3, [2 * f, 2 * f, 8 * f], 3, 'd')?;

    // Stage 4
    let x = net.convolutional_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'a', 2)?;
    let x = net.identity_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'b')?;
    let x = net.identity_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'c')?;
    let x = net.identity_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'd')?;
    let x = net.identity_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'e')?;
    let x = net.identity_block(x, 3, [4 * f, 4 * f, 16 * f], 4, 'f')?;

    // Stage 5
    let x = net.convolutional_block(x, 3, [8 * f, 8 * f, 32 * f], 5, 'a', 2)?;
    let x = net.identity_block(x, 3, [8 * f, 8 * f, 32 * f], 5, 'b')?;
    let x = net.identity_block(x, 3, [8 * f, 8 * f, 32 * f], 5, 'c')?;
    let feature_map = x;

    // Head
    let avg_pool = Op::AvgPool(AvgPool {
        window: Window::square(2, 2),
        count_padding: false,
    });
    let x = net.layers.graph.add("avg_pool", avg_pool, &[x])?;
    let order = FlattenOrder::Hwc;
    let features = net
        .layers
        .graph
        .add("flatten", Op::Flatten(Flatten { order }), &[x])?;
    let logits = net.layers.linear(&config.fc, features, config.classes)?;
    Ok(Body {
        graph: net.layers.graph,
        input,
        feature_map,
        features,
        logits,
    })
}

struct Notebook<'w> {
    layers: Layers<'w>,
}

impl Notebook<'_> {
    /// The block whose input and output have the same shape. `f` is the size of the middle kernel,
    /// `filters` are the channels of the three convolutions of the main path.
    fn identity_block(
        &mut self,
        x: ValueId,
        f: usize,
        filters: [usize; 3],
        stage: usize,
        block: char,
    ) -> Result<ValueId, Error> {
        let main = self.main_path(x, f, filters, Name { stage, block }, 1)?;
        self.join(Name { stage, block }, main, x)
    }

    /// The block whose shortcut has a convolution, because the shape changes. `s` is the stride of
    /// the first convolution of both paths.
    fn convolutional_block(
        &mut self,
        x: ValueId,
        f: usize,
        filters: [usize; 3],
        stage: usize,
        block: char,
        s: usize,
    ) -> Result<ValueId, Error> {
        let name = Name { stage, block };
        let main = self.main_path(x, f, filters, name, s)?;
        let shortcut = Conv::new(filters[2], 1).stride(s).bias();
        let shortcut = self.layers.conv(&name.res("_branch1"), x, shortcut)?;
        let shortcut = self.layers.batch_norm(&name.bn("_branch1"), shortcut)?;
        self.join(name, main, shortcut)
    }

    fn main_path(
        &mut self,
        x: ValueId,
        f: usize,
        [f1, f2, f3]: [usize; 3],
        name: Name,
        s: usize,
    ) -> Result<ValueId, Error> {
        // "Same" padding of an odd kernel at stride 1.
        let same = f / 2;

        let x = self
            .layers
            .conv(&name.res("_branch2a"), x, Conv::new(f1, 1).stride(s).bias())?;
        let x = self.layers.batch_norm(&name.bn("_branch2a"), x)?;
        let x = self.layers.relu(&name.res("_branch2a_relu"), x)?;

        let x = self.layers.conv(
            &name.res("_branch2b"),
            x,
            Conv::new(f2, f).padding(same).bias(),
        )?;
        let x = self.layers.batch_norm(&name.bn("_branch2b"), x)?;
        let x = self.layers.relu(&name.res("_branch2b_relu"), x)?;

        let x = self
            .layers
            .conv(&name.res("_branch2c"), x, Conv::new(f3, 1).bias())?;
        self.layers.batch_norm(&name.bn("_branch2c"), x)
    }

    fn join(&mut self, name: Name, main: ValueId, shortcut: ValueId) -> Result<ValueId, Error> {
        let sum = self.layers.add(&name.res("_add"), main, shortcut)?;
        self.layers.relu(&name.res("_relu"), sum)
    }
}

/// What the names of a block's layers are made of.
#[derive(Clone, Copy)]
struct Name {
    stage: usize,
    block: char,
}

impl Name {
    fn res(self, suffix: &str) -> String {
        format!("res{}{}{suffix}", self.stage, self.block)
    }

    fn bn(self, suffix: &str) -> String {
        format!("bn{}{}{suffix}", self.stage, self.block)
    }
}
