//! ResNet v1.5 as torchvision builds it: ResNet-18 to 152, with ResNeXt's groups and wide variants.
//!
//! Residual networks are of He et al. 2015, arXiv:1512.03385. The original strides in the first 1×1
//! of a bottleneck; v1.5, which torchvision, timm and Hugging Face train, strides in its 3×3. timm's
//! C, D, S and T have a stem of three 3×3 (He et al. 2018, arXiv:1812.01187), D and T an average pool
//! in their shortcuts. Names are torchvision's, whatever file the weights are from. Kernels are padded
//! on all sides, the max pool with −∞, the convolutions have no bias, and a global average makes any
//! image size fit.

use super::layers::{Conv, Layers};
use super::skeleton::{Block, Shortcut, Site, Skeleton};
use super::{Body, Settings};
use crate::weights::{Family, Role, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{GlobalAvgPool, MaxPool, Op, PadValue, ValueId, Window};

/// The epsilon of PyTorch's `BatchNorm2d`.
pub(super) const EPSILON: f32 = 1e-5;

/// Channels of the stem of every published network; a bottleneck's width is counted from it.
const STEM: usize = 64;

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
    /// Stem, stages and classifier.
    pub skeleton: Skeleton,
    /// Groups of the 3×3 of a bottleneck.
    pub groups: usize,
    /// Where it strides.
    pub stride_site: StrideSite,
    /// Whether the first stage halves the image too.
    pub first_stage_strides: bool,
}

impl ResNetConfig {
    /// A network of plain blocks.
    pub const fn new(block: Block, blocks: [usize; 4], classes: usize) -> Self {
        Self::scaled(block, blocks, STEM, classes)
    }

    /// A network of plain blocks whose channels are counted from those of the stem.
    pub const fn scaled(block: Block, blocks: [usize; 4], stem: usize, classes: usize) -> Self {
        let widths = [stem, 2 * stem, 4 * stem, 8 * stem];
        let e = block.expansion();
        Self {
            skeleton: Skeleton {
                block,
                blocks,
                stem,
                deep_stem: None,
                widths,
                outputs: [e * widths[0], e * widths[1], e * widths[2], e * widths[3]],
                shortcut: Shortcut::Convolution,
                classes,
            },
            groups: 1,
            stride_site: StrideSite::Middle,
            first_stage_strides: false,
        }
    }

    /// The same with ResNeXt's groups, or a wide ResNet's width, for a stem of 64: the 3×3 of the
    /// first stage has so many groups of so many channels.
    #[must_use]
    pub fn grouped(self, groups: usize, width_per_group: usize) -> Self {
        let widths = self.skeleton.widths;
        Self {
            groups,
            skeleton: Skeleton {
                widths: widths.map(|w| w * width_per_group / STEM * groups),
                ..self.skeleton
            },
            ..self
        }
    }

    /// The structure that the shapes of a file show; the stride shows in none of them.
    ///
    /// # Errors
    /// [`Error::WeightMissing`], [`Error::Model`] for shapes that no structure explains.
    pub(super) fn infer(weights: &Weights) -> Result<Self, Error> {
        // Hugging Face's names have one convolution in the stem, and one in a shortcut, whatever
        // stands before it.
        let by_torch = weights.family() == Family::Torchvision;
        let deep = by_torch && weights.shape("conv1.0", Role::Weight).is_some();
        let first = if deep { "conv1.0" } else { "conv1" };
        let [first_c, image_c] = conv(weights, first)?;
        if image_c != 3 {
            return Err(unexplained(format!(
                "the first convolution takes {image_c} channels, only RGB images are supported"
            )));
        }
        let (stem, deep_stem) = if deep {
            let [second_c, _] = conv(weights, "conv1.3")?;
            let [stem, _] = conv(weights, "conv1.6")?;
            (stem, Some([first_c, second_c]))
        } else {
            (first_c, None)
        };
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
        let (block, last) = if has_third {
            (Block::Bottleneck, "conv3")
        } else {
            (Block::Basic, "conv2")
        };
        let mut config = Self::scaled(block, blocks, stem, classes);
        config.skeleton.deep_stem = deep_stem;
        for stage in 0..4 {
            let layer = format!("layer{}.0", stage + 1);
            [config.skeleton.widths[stage], _] = conv(weights, &format!("{layer}.conv1"))?;
            [config.skeleton.outputs[stage], _] = conv(weights, &format!("{layer}.{last}"))?;
        }
        if has_third {
            let [width, group_width] = conv(weights, "layer1.0.conv2")?;
            // Sizes are never zero in a file; see `weights::file`.
            config.groups = width / group_width;
        }
        if by_torch {
            let averages = (1..=4).any(|stage| {
                let layer = format!("layer{stage}.0.downsample.1");
                let shape = weights.shape(&layer, Role::Weight);
                shape.is_some_and(|dims| dims.len() == 4)
            });
            if averages {
                config.skeleton.shortcut = Shortcut::AveragePool;
            }
        }
        // A projection without need to change the channels is there to stride.
        config.first_stage_strides = config.skeleton.outputs[0] == stem
            && weights
                .shape("layer1.0.downsample.0", Role::Weight)
                .is_some();
        Ok(config)
    }

    /// The usual name, such as `resnet50`, `resnext50_32x4d`, `wide_resnet50_2` or `resnet50d`.
    pub fn name(&self) -> String {
        let Skeleton {
            block,
            widths,
            outputs,
            ..
        } = self.skeleton;
        let depth = self.skeleton.depth();
        let letter = self.stem_letter();
        // The channels from which those of the network are counted: those of the stem, but for an S.
        let unit = (outputs[0] / block.expansion()).max(1);
        let width = widths[0] / self.groups.max(1) * STEM / unit;
        let mut name = match (self.groups, width) {
            (1, STEM) => format!("resnet{depth}{letter}"),
            (1, _) if width.is_multiple_of(STEM) => {
                format!("wide_resnet{depth}{letter}_{}", width / STEM)
            }
            (groups, _) => format!("resnext{depth}{letter}_{groups}x{width}d"),
        };
        if unit != STEM {
            name.push_str(&format!("_stem{unit}"));
        }
        name
    }

    /// timm's letter for the form of the stem and the shortcuts.
    fn stem_letter(&self) -> &'static str {
        let skeleton = &self.skeleton;
        match (skeleton.deep_stem, skeleton.shortcut) {
            (None, Shortcut::Convolution) => "",
            (None, Shortcut::AveragePool) => "_avg",
            (Some(_), Shortcut::Convolution) if skeleton.stem == skeleton.widths[0] => "c",
            (Some(_), Shortcut::Convolution) => "s",
            (Some(_), Shortcut::AveragePool) if skeleton.has_tiered_stem() => "t",
            (Some(_), Shortcut::AveragePool) => "d",
        }
    }
}

fn unexplained(reason: String) -> Error {
    Error::Model {
        model: "resnet".to_owned(),
        reason,
    }
}

/// Output and input channels of a convolution in a file.
pub(super) fn conv(weights: &Weights, layer: &str) -> Result<[usize; 2], Error> {
    match weights.shape(layer, Role::Weight).as_deref() {
        Some(&[out_c, in_c, _, _]) => Ok([out_c, in_c]),
        other => Err(unexplained(format!(
            "the convolution '{layer}' must have four sizes, the file has {other:?}"
        ))),
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

    let x = net.stem(input)?;
    let max_pool = Op::MaxPool(MaxPool {
        window: Window::square(3, 2).padded(1),
        pad_value: PadValue::NegInfinity,
    });
    let mut x = net.layers.graph.add("maxpool", max_pool, &[x])?;

    let name = |stage, block| format!("layer{}.{block}", stage + 1);
    for site in config.skeleton.sites(config.first_stage_strides, name) {
        x = match config.skeleton.block {
            Block::Basic => net.basic_block(&site, x)?,
            Block::Bottleneck => net.bottleneck(&site, x)?,
        };
    }

    let features = net
        .layers
        .graph
        .add("avgpool", Op::GlobalAvgPool(GlobalAvgPool), &[x])?;
    let logits = net.layers.linear("fc", features, config.skeleton.classes)?;
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

impl ResNet<'_> {
    /// What is before the max pool: one 7×7, or three 3×3.
    fn stem(&mut self, input: ValueId) -> Result<ValueId, Error> {
        let stem = self.config.skeleton.stem;
        let Some([first, second]) = self.config.skeleton.deep_stem else {
            let x = self.conv_bn(
                ["conv1", "bn1"],
                input,
                Conv::new(stem, 7).stride(2).padding(3),
            )?;
            return self.layers.relu("relu", x);
        };
        let three = |out_c| Conv::new(out_c, 3).padding(1);
        let x = self.conv_bn(["conv1.0", "conv1.1"], input, three(first).stride(2))?;
        let x = self.layers.relu("conv1.2", x)?;
        let x = self.conv_bn(["conv1.3", "conv1.4"], x, three(second))?;
        let x = self.layers.relu("conv1.5", x)?;
        let x = self.conv_bn(["conv1.6", "bn1"], x, three(stem))?;
        self.layers.relu("relu", x)
    }

    fn basic_block(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let (width, out_c) = (site.width, site.out_c);
        let conv1 = Conv::new(width, 3).stride(site.stride).padding(1);
        let y = self.numbered(site, 1, x, conv1)?;
        let y = self.layers.relu(&site.layer("relu1"), y)?;
        let y = self.numbered(site, 2, y, Conv::new(out_c, 3).padding(1))?;
        let shortcut = self.shortcut(site, x)?;
        let sum = self.layers.add(&site.layer("add"), y, shortcut)?;
        self.layers.relu(&site.layer("relu2"), sum)
    }

    fn bottleneck(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let (width, out_c) = (site.width, site.out_c);
        let (first, middle) = match self.config.stride_site {
            StrideSite::First => (site.stride, 1),
            StrideSite::Middle => (1, site.stride),
        };
        let conv2 = Conv::new(width, 3)
            .stride(middle)
            .padding(1)
            .groups(self.config.groups);
        let y = self.numbered(site, 1, x, Conv::new(width, 1).stride(first))?;
        let y = self.layers.relu(&site.layer("relu1"), y)?;
        let y = self.numbered(site, 2, y, conv2)?;
        let y = self.layers.relu(&site.layer("relu2"), y)?;
        let y = self.numbered(site, 3, y, Conv::new(out_c, 1))?;
        let shortcut = self.shortcut(site, x)?;
        let sum = self.layers.add(&site.layer("add"), y, shortcut)?;
        self.layers.relu(&site.layer("relu3"), sum)
    }

    /// The input of a block, projected when the block changes its shape.
    fn shortcut(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let out_c = site.out_c;
        if site.stride == 1 && self.layers.shape(x)?.c == out_c {
            return Ok(x);
        }
        let layer = |number: usize| site.layer(&format!("downsample.{number}"));
        match self.config.skeleton.shortcut {
            Shortcut::Convolution => {
                let projection = Conv::new(out_c, 1).stride(site.stride);
                self.conv_bn([&layer(0), &layer(1)], x, projection)
            }
            Shortcut::AveragePool => {
                let x = if site.stride == 1 {
                    x
                } else {
                    self.layers.halve(&layer(0), x)?
                };
                self.conv_bn([&layer(1), &layer(2)], x, Conv::new(out_c, 1))
            }
        }
    }

    fn numbered(
        &mut self,
        site: &Site,
        number: usize,
        x: ValueId,
        conv: Conv,
    ) -> Result<ValueId, Error> {
        let names = ["conv", "bn"].map(|kind| site.layer(&format!("{kind}{number}")));
        self.conv_bn([&names[0], &names[1]], x, conv)
    }

    /// A convolution and its batch normalisation.
    fn conv_bn(
        &mut self,
        [conv_name, bn_name]: [&str; 2],
        x: ValueId,
        conv: Conv,
    ) -> Result<ValueId, Error> {
        let y = self.layers.conv(conv_name, x, conv)?;
        self.layers.batch_norm(bn_name, y)
    }
}
