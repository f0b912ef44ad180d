//! ResNet v1.5 as torchvision builds it: ResNet-18 to 152, with ResNeXt's groups and wide variants.
//!
//! Residual networks are of He et al. 2015, arXiv:1512.03385. The original strides in the first 1×1
//! of a bottleneck; v1.5, which torchvision, timm and Hugging Face train, strides in its 3×3. Names
//! are torchvision's, whatever file the weights are from. Kernels are padded on all sides, the max
//! pool with −∞, the convolutions have no bias, and a global average makes any image size fit.

use super::layers::{Conv, Layers};
use super::{Body, Settings};
use crate::error::Error;
use crate::graph::{Op, PadValue, ValueId, Window};
use crate::weights::{Role, Weights};

/// The epsilon of PyTorch's `BatchNorm2d`.
pub(super) const EPSILON: f32 = 1e-5;

/// Channels of the stem of every published network; a bottleneck's width is counted from it.
const STEM: usize = 64;

/// The two kinds of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Two 3×3 convolutions (ResNet-18 and 34).
    Basic,
    /// A 3×3 convolution between two 1×1, which reduce and expand the channels.
    Bottleneck,
}

impl Block {
    /// Channels that a block gives, in widths of its stage.
    const fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    const fn convolutions(self) -> usize {
        match self {
            Self::Basic => 2,
            Self::Bottleneck => 3,
        }
    }
}

/// Where the first block of stages 2 to 4 halves the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StrideSite {
    /// In the 3×3 of a bottleneck (v1.5).
    #[default]
    Middle,
    /// In the first 1×1 of a bottleneck (v1, the original).
    First,
}

/// The structure of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// Kind of all its blocks.
    pub block: Block,
    /// Blocks of each of the four stages.
    pub blocks: [usize; 4],
    /// Channels of the stem and width of the first stage; each stage doubles the width.
    pub stem: usize,
    /// Groups of the 3×3 of a bottleneck.
    pub groups: usize,
    /// Channels of each group in the first stage, for a stem of 64.
    pub width_per_group: usize,
    /// Where it strides.
    pub stride_site: StrideSite,
    /// Classes.
    pub classes: usize,
}

impl ResNetConfig {
    /// A network of plain blocks.
    pub const fn new(block: Block, blocks: [usize; 4], classes: usize) -> Self {
        Self {
            block,
            blocks,
            stem: STEM,
            groups: 1,
            width_per_group: STEM,
            stride_site: StrideSite::Middle,
            classes,
        }
    }

    /// The structure that the shapes of a file show; the stride shows in none of them.
    ///
    /// # Errors
    /// [`Error::WeightMissing`], [`Error::Model`] for shapes that no structure explains.
    pub(super) fn infer(weights: &Weights) -> Result<Self, Error> {
        let unexplained = |reason: String| Error::Model {
            model: "resnet".to_owned(),
            reason,
        };
        let conv = |layer: &str| match weights.shape(layer, Role::Weight).as_deref() {
            Some(&[out_c, in_c, _, _]) => Ok([out_c, in_c]),
            other => Err(unexplained(format!(
                "the convolution '{layer}' must have four sizes, the file has {other:?}"
            ))),
        };
        let [stem, image_c] = conv("conv1")?;
        if image_c != 3 {
            return Err(unexplained(format!(
                "the first convolution takes {image_c} channels, only RGB images are supported"
            )));
        }
        let mut blocks = [0; 4];
        for (stage, count) in (1..).zip(&mut blocks) {
            let exists = |block| {
                let layer = format!("layer{stage}.{block}.conv1");
                weights.shape(&layer, Role::Weight).is_some()
            };
            *count = (0..).take_while(|&block| exists(block)).count();
            if *count == 0 {
                return Err(unexplained(format!(
                    "the file has no block of layer{stage}"
                )));
            }
        }
        let fc = weights.shape("fc", Role::Weight);
        let Some(&[classes, _]) = fc.as_deref() else {
            return Err(unexplained(format!(
                "the file must have a classifier of two sizes, its weight has {fc:?}; a network \
                 without one is not supported yet"
            )));
        };
        let has_third = weights.shape("layer1.0.conv3", Role::Weight).is_some();
        let mut config = Self {
            stem,
            ..Self::new(Block::Basic, blocks, classes)
        };
        if has_third {
            config.block = Block::Bottleneck;
            let [width, group_width] = conv("layer1.0.conv2")?;
            // Sizes are never zero in a file; see `weights::file`.
            config.groups = width / group_width;
            config.width_per_group = group_width * STEM / stem;
            if config.width(0) != width {
                return Err(unexplained(format!(
                    "'layer1.0.conv2' has {width} channels in groups of {group_width}, which a \
                     stem of {stem} channels does not explain"
                )));
            }
        }
        Ok(config)
    }

    /// The usual name, such as `resnet50`, `resnext50_32x4d` or `wide_resnet50_2`.
    pub fn name(&self) -> String {
        let blocks: usize = self.blocks.iter().sum();
        let depth = self.block.convolutions() * blocks + 2;
        let width = self.width_per_group;
        let mut name = match (self.groups, width) {
            (1, STEM) => format!("resnet{depth}"),
            (1, _) if width.is_multiple_of(STEM) => format!("wide_resnet{depth}_{}", width / STEM),
            (groups, _) => format!("resnext{depth}_{groups}x{width}d"),
        };
        if self.stem != STEM {
            name.push_str(&format!("_stem{}", self.stem));
        }
        name
    }

    /// Channels inside the blocks of a stage, counted from zero.
    fn width(&self, stage: usize) -> usize {
        let plain = self.stem << stage;
        match self.block {
            Block::Basic => plain,
            Block::Bottleneck => plain * self.width_per_group / STEM * self.groups,
        }
    }

    /// Channels that the blocks of a stage give, counted from zero.
    fn out_c(&self, stage: usize) -> usize {
        (self.stem << stage) * self.block.expansion()
    }
}

/// Builds the network.
pub(super) fn build(
    config: &ResNetConfig,
    weights: &mut Weights,
    settings: &Settings,
) -> Result<Body, Error> {
    let mut net = ResNet {
        layers: Layers::new(weights, settings.epsilon),
        config,
    };
    let input = net.layers.graph.input("input", settings.input)?;

    let x = net.layers.conv(
        "conv1",
        input,
        Conv::new(config.stem, 7).stride(2).padding(3),
    )?;
    let x = net.layers.batch_norm("bn1", x)?;
    let x = net.layers.relu("relu", x)?;
    let max_pool = Op::MaxPool {
        window: Window::square(3, 2).padded(1),
        pad_value: PadValue::NegInfinity,
    };
    let mut x = net.layers.graph.add("maxpool", max_pool, &[x])?;

    for (stage, &blocks) in config.blocks.iter().enumerate() {
        for block in 0..blocks {
            let halves = stage > 0 && block == 0;
            let site = Site {
                prefix: format!("layer{}.{block}", stage + 1),
                stage,
                stride: if halves { 2 } else { 1 },
            };
            x = match config.block {
                Block::Basic => net.basic_block(&site, x)?,
                Block::Bottleneck => net.bottleneck(&site, x)?,
            };
        }
    }

    let features = net.layers.graph.add("avgpool", Op::GlobalAvgPool, &[x])?;
    let logits = net.layers.linear("fc", features, config.classes)?;
    Ok(Body {
        graph: net.layers.graph,
        input,
        feature_map: x,
        features,
        logits,
    })
}

struct ResNet<'a> {
    layers: Layers<'a>,
    config: &'a ResNetConfig,
}

/// Where a block stands.
struct Site {
    /// Name of the block, which starts the names of its layers.
    prefix: String,
    /// Stage, from zero.
    stage: usize,
    stride: usize,
}

impl Site {
    fn layer(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}

impl ResNet<'_> {
    fn basic_block(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let width = self.config.width(site.stage);
        let conv1 = Conv::new(width, 3).stride(site.stride).padding(1);
        let y = self.conv_bn(site, 1, x, conv1)?;
        let y = self.layers.relu(&site.layer("relu1"), y)?;
        let y = self.conv_bn(site, 2, y, Conv::new(width, 3).padding(1))?;
        let shortcut = self.shortcut(site, x)?;
        let sum = self.layers.add(&site.layer("add"), y, shortcut)?;
        self.layers.relu(&site.layer("relu2"), sum)
    }

    fn bottleneck(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let width = self.config.width(site.stage);
        let (first, middle) = match self.config.stride_site {
            StrideSite::First => (site.stride, 1),
            StrideSite::Middle => (1, site.stride),
        };
        let conv2 = Conv::new(width, 3)
            .stride(middle)
            .padding(1)
            .groups(self.config.groups);
        let y = self.conv_bn(site, 1, x, Conv::new(width, 1).stride(first))?;
        let y = self.layers.relu(&site.layer("relu1"), y)?;
        let y = self.conv_bn(site, 2, y, conv2)?;
        let y = self.layers.relu(&site.layer("relu2"), y)?;
        let y = self.conv_bn(site, 3, y, Conv::new(self.config.out_c(site.stage), 1))?;
        let shortcut = self.shortcut(site, x)?;
        let sum = self.layers.add(&site.layer("add"), y, shortcut)?;
        self.layers.relu(&site.layer("relu3"), sum)
    }

    /// The input of a block, projected when the block changes its shape.
    fn shortcut(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let out_c = self.config.out_c(site.stage);
        if site.stride == 1 && self.layers.shape(x).c == out_c {
            return Ok(x);
        }
        let projection = Conv::new(out_c, 1).stride(site.stride);
        let y = self
            .layers
            .conv(&site.layer("downsample.0"), x, projection)?;
        self.layers.batch_norm(&site.layer("downsample.1"), y)
    }

    fn conv_bn(
        &mut self,
        site: &Site,
        number: usize,
        x: ValueId,
        conv: Conv,
    ) -> Result<ValueId, Error> {
        let y = self
            .layers
            .conv(&site.layer(&format!("conv{number}")), x, conv)?;
        self.layers
            .batch_norm(&site.layer(&format!("bn{number}")), y)
    }
}
