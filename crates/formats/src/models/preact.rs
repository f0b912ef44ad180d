//! Pre-activation networks ("v2", He et al. 2016, arXiv:1603.05027) as timm builds them: `resnetv2_50`
//! and relatives with batch normalisation.
//!
//! Every block normalises and clamps its input first, and nothing clamps the sum at its end; the
//! network ends with one more normalisation. The stem has none, so the max pool sees negative
//! numbers, and what it sees outside of the image matters. Bottlenecks stride in their 3×3. The first
//! block of every stage projects its shortcut, from the normalised input. Names are timm's.

use super::layers::{Conv, Layers};
use super::resnet::conv;
use super::skeleton::{Block, Shortcut, Site, Skeleton};
use super::{Body, Settings};
use crate::weights::{Role, Weights};
use resnet_wgpu::Error;
use resnet_wgpu::graph::{GlobalAvgPool, MaxPool, Op, PadValue, ValueId, Window};

/// The structure of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreActConfig {
    /// Stem, stages and classifier.
    pub skeleton: Skeleton,
    /// Whether the max pool sees zeros outside of the image instead of −∞ (timm's `fixed` stems).
    pub zero_padded_pool: bool,
}

impl PreActConfig {
    /// The structure that the shapes of a file show, except how it pools and strides.
    ///
    /// # Errors
    /// [`Error::Model`] for shapes that no structure explains.
    pub(super) fn infer(weights: &Weights) -> Result<Self, Error> {
        let exists = |layer: &str| weights.shape(layer, Role::Weight).is_some();
        let (stem, deep_stem) = if exists("stem.conv1") {
            let [first, _] = conv(weights, "stem.conv1")?;
            let [second, _] = conv(weights, "stem.conv2")?;
            (conv(weights, "stem.conv3")?[0], Some([first, second]))
        } else {
            (conv(weights, "stem.conv")?[0], None)
        };
        if exists("stem.norm") || exists("stem.norm3") {
            return Err(unexplained(
                "the stem is normalised: a network of timm that is not pre-activated, which is not \
                 supported",
            ));
        }
        let (block, last) = if exists("stages.0.blocks.0.conv3") {
            (Block::Bottleneck, "conv3")
        } else {
            (Block::Basic, "conv2")
        };
        let [mut blocks, mut widths, mut outputs] = [[0; 4]; 3];
        for stage in 0..4 {
            let layer = |block: usize, name: &str| format!("stages.{stage}.blocks.{block}.{name}");
            blocks[stage] = (0..)
                .take_while(|&block| exists(&layer(block, "conv1")))
                .count();
            [widths[stage], _] = conv(weights, &layer(0, "conv1"))?;
            [outputs[stage], _] = conv(weights, &layer(0, last))?;
        }
        let fc = weights.shape("head.fc", Role::Weight);
        let Some(&[classes, _]) = fc.as_deref() else {
            return Err(unexplained(&format!(
                "the file must have a classifier, the weight of 'head.fc' has {fc:?}"
            )));
        };
        // All of timm's networks with a deep stem are of the D or T kind.
        let shortcut = if deep_stem.is_some() {
            Shortcut::AveragePool
        } else {
            Shortcut::Convolution
        };
        Ok(Self {
            skeleton: Skeleton {
                block,
                blocks,
                stem,
                deep_stem,
                widths,
                outputs,
                shortcut,
                classes,
            },
            zero_padded_pool: false,
        })
    }

    /// The usual name, such as `resnetv2_50` or `resnetv2_50d`.
    pub fn name(&self) -> String {
        let skeleton = &self.skeleton;
        let depth = skeleton.depth();
        let letter = match skeleton.deep_stem {
            None => "",
            Some(_) if skeleton.has_tiered_stem() => "t",
            Some(_) => "d",
        };
        let mut name = format!("resnetv2_{depth}{letter}");
        if skeleton.stem != 64 {
            name.push_str(&format!("_stem{}", skeleton.stem));
        }
        name
    }
}

fn unexplained(reason: &str) -> Error {
    Error::Model {
        model: "resnetv2".to_owned(),
        reason: reason.to_owned(),
    }
}

/// Builds the network.
pub(super) fn build(
    config: &PreActConfig,
    weights: &mut Weights,
    settings: &Settings,
) -> Result<Body, Error> {
    let mut net = PreAct {
        layers: Layers::new(weights, settings.epsilon),
        config,
    };
    let input = net.layers.graph.input("input", settings.input)?;
    let x = net.stem(input)?;
    let max_pool = Op::MaxPool(MaxPool {
        window: Window::square(3, 2).padded(1),
        pad_value: if config.zero_padded_pool {
            PadValue::Zero
        } else {
            PadValue::NegInfinity
        },
    });
    let mut x = net.layers.graph.add("stem.pool", max_pool, &[x])?;
    let name = |stage, block| format!("stages.{stage}.blocks.{block}");
    for site in config.skeleton.sites(false, name) {
        x = net.block(&site, x)?;
    }
    let feature_map = net.normalise("norm", x)?;
    let features = net.layers.graph.add(
        "head.global_pool",
        Op::GlobalAvgPool(GlobalAvgPool),
        &[feature_map],
    )?;
    let logits = net
        .layers
        .linear("head.fc", features, config.skeleton.classes)?;
    Ok(Body {
        graph: net.layers.graph,
        input,
        feature_map,
        features,
        logits,
    })
}

struct PreAct<'a> {
    layers: Layers<'a>,
    config: &'a PreActConfig,
}

impl PreAct<'_> {
    /// What is before the max pool: one 7×7, or three 3×3. The last is not normalised.
    fn stem(&mut self, input: ValueId) -> Result<ValueId, Error> {
        let stem = self.config.skeleton.stem;
        let Some([first, second]) = self.config.skeleton.deep_stem else {
            let conv = Conv::new(stem, 7).stride(2).padding(3);
            return self.layers.conv("stem.conv", input, conv);
        };
        let three = |out_c| Conv::new(out_c, 3).padding(1);
        let x = self
            .layers
            .conv("stem.conv1", input, three(first).stride(2))?;
        let x = self.normalise("stem.norm1", x)?;
        let x = self.layers.conv("stem.conv2", x, three(second))?;
        let x = self.normalise("stem.norm2", x)?;
        self.layers.conv("stem.conv3", x, three(stem))
    }

    fn block(&mut self, site: &Site, x: ValueId) -> Result<ValueId, Error> {
        let (width, out_c) = (site.width, site.out_c);
        let three = Conv::new(width, 3).padding(1);
        let basic = self.config.skeleton.block == Block::Basic;
        let convolutions = if basic {
            let second = Conv::new(out_c, 3).padding(1);
            vec![three.stride(site.stride), second]
        } else {
            let (first, last) = (Conv::new(width, 1), Conv::new(out_c, 1));
            vec![first, three.stride(site.stride), last]
        };
        let activated = self.normalise(&site.layer("norm1"), x)?;
        let shortcut = self.shortcut(site, x, activated)?;
        let mut y = activated;
        for (number, conv) in (1..).zip(convolutions) {
            if number > 1 {
                y = self.normalise(&site.layer(&format!("norm{number}")), y)?;
            }
            let name = site.layer(&format!("conv{number}"));
            y = self.layers.conv(&name, y, conv)?;
        }
        self.layers.add(&site.layer("add"), y, shortcut)
    }

    /// The input of a block, or its projection after the normalisation. Bottlenecks always project at
    /// the start of a stage, basic blocks where the shape changes.
    fn shortcut(&mut self, site: &Site, x: ValueId, activated: ValueId) -> Result<ValueId, Error> {
        let out_c = site.out_c;
        let changes = site.stride != 1 || self.layers.shape(x)?.c != out_c;
        let projects = match self.config.skeleton.block {
            Block::Bottleneck => site.first,
            Block::Basic => changes,
        };
        if !projects {
            return Ok(x);
        }
        let name = site.layer("downsample.conv");
        let projection = Conv::new(out_c, 1);
        match self.config.skeleton.shortcut {
            Shortcut::Convolution => {
                self.layers
                    .conv(&name, activated, projection.stride(site.stride))
            }
            Shortcut::AveragePool if site.stride == 1 => {
                self.layers.conv(&name, activated, projection)
            }
            Shortcut::AveragePool => {
                let pool = site.layer("downsample.pool");
                let pooled = self.layers.halve(&pool, activated)?;
                self.layers.conv(&name, pooled, projection)
            }
        }
    }

    /// Batch normalisation and ReLU.
    fn normalise(&mut self, name: &str, x: ValueId) -> Result<ValueId, Error> {
        let y = self.layers.batch_norm(name, x)?;
        self.layers.relu(&format!("{name}.act"), y)
    }
}
