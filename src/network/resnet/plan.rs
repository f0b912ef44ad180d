//! Everything in which residual networks differ from each other.
//!
//! A network is a [`Plan`] and a [`Naming`](super::Naming): the plan says what the layers compute,
//! and the naming what the tensors of a file are called.

use super::Arch;
use crate::network::PaddingRule;

/// The channels of the stem in every published network, from which a bottleneck's width is counted.
pub(super) const STEM: usize = 64;

/// Classes of the lesson: the fingers of a hand, 0 to 5.
pub(super) const LESSON_CLASSES: usize = 6;

/// The two kinds of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Two 3×3 convolutions (ResNet-18 and 34).
    Basic,
    /// A 3×3 convolution between two 1×1, which reduce and expand the channels.
    Bottleneck,
}

impl Block {
    /// The output channels of a block, as a multiple of its stage's width.
    const fn expansion(self) -> usize {
        match self {
            Self::Basic => 1,
            Self::Bottleneck => 4,
        }
    }

    /// The convolutions of a block, without that of its shortcut.
    pub const fn convolutions(self) -> usize {
        match self {
            Self::Basic => 2,
            Self::Bottleneck => 3,
        }
    }
}

/// How a shortcut halves the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shortcut {
    /// Its 1×1 convolution strides.
    #[default]
    Convolution,
    /// A 2×2 average pool before its 1×1 convolution (the D of timm's names).
    AveragePool,
    /// It takes every second pixel and puts zeros before and after its channels (the A of He et al.).
    Zeros,
}

/// Selective kernels in place of a 3×3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selective {
    /// The channels between the two layers that choose, in each stage.
    pub reduced: Vec<usize>,
    /// Whether each kernel reads one half of the channels.
    pub splits: bool,
    /// Whether both kernels are stacked in one, of equal reach, as in `ResNeSt`.
    pub stacked: bool,
}

/// What normalises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Batch normalisation.
    #[default]
    Batch,
    /// Group normalisation with this many groups of channels.
    Group(usize),
}

/// The filter that averages before an image is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AntiAlias {
    /// A 3×3 binomial filter.
    Blur,
    /// A 2×2 mean.
    Average,
}

/// Where the first block of a stage halves the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StrideSite {
    /// In the 3×3 of a bottleneck (v1.5).
    #[default]
    Middle,
    /// In the first 1×1 of a bottleneck (v1, the original).
    First,
}

/// The way in which a network's layers are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Style {
    /// `layer1.0.conv1`, `layer1.0.bn1`: torchvision's, and those of all plain networks here.
    Torchvision,
    /// `stages.0.blocks.0.conv1`, `stages.0.blocks.0.norm1`: timm's `resnetv2`.
    Timm,
    /// `res2a_branch2a`, `bn2a_branch2a`: the classic lesson's.
    Lesson,
    /// The same where Keras' first ResNet-50 has them.
    Branches,
    /// `conv2_block1_1_conv`: keras.applications.
    Blocks,
    /// `stack0_block0_1_conv`: `KerasHub`.
    Stacks,
}

/// Which convolutions have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// None.
    #[default]
    None,
    /// Those that no normalisation follows before the next sum or pool.
    Unnormalised,
    /// All.
    All,
}

/// Which first blocks of stages have a convolution in their shortcut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Projects {
    /// Those that change the size of the image or the number of channels.
    #[default]
    Needed,
    /// These and all after the first stage.
    LaterStages,
    /// All.
    All,
}

/// When the shortcut of a block is laid out: where files number their tensors, this is their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShortcutOrder {
    /// Before the main path.
    First,
    /// Before the last convolution of the main path: the shortcut is the first summand in Keras, which
    /// numbers layers by how far they are from the end.
    BeforeLast,
    /// After the main path.
    #[default]
    Last,
}

/// The max pool after the stem: 3×3 at stride 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool {
    /// The padding around the image.
    pub padding: PaddingRule,
    /// Whether the values outside the image are zeros instead of −∞.
    pub zeros: bool,
}

impl MaxPool {
    /// One with this padding, of −∞.
    pub const fn new(padding: PaddingRule) -> Self {
        Self {
            padding,
            zeros: false,
        }
    }
}

/// The part after the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name of the classifier.
    pub name: String,
    /// The pooling before it.
    pub pooling: HeadPooling,
}

/// The pooling before the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadPooling {
    /// A mean over all pixels, for any image size.
    Global,
    /// A 2×2 average pool and flattening, channels innermost: the classifier fixes the image size.
    Lesson,
    /// Attention with this many heads, as in CLIP's networks: positions fix the image size.
    Attention(usize),
}

/// A residual network.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The way in which its layers are named.
    pub style: Style,
    /// The kind of its blocks.
    pub block: Block,
    /// The number of blocks in each stage.
    pub blocks: Vec<usize>,
    /// The stride of each stage.
    pub strides: Vec<usize>,
    /// The channels of each convolution before the max pool: one, or three 3×3.
    pub stem: Vec<usize>,
    /// Rows and columns of the kernel of a stem with one convolution: 7, or 3 for small images.
    pub stem_kernel: usize,
    /// The stride of the first convolution.
    pub stem_stride: usize,
    /// Whether images are grey: the file's first kernels have one channel.
    pub grey: bool,
    /// Rows and columns from one tap of a 3×3 to the next in each stage; 1 where there is no number.
    pub dilations: Vec<usize>,
    /// The channels inside the blocks of each stage.
    pub widths: Vec<usize>,
    /// The output channels of the blocks of each stage.
    pub outputs: Vec<usize>,
    /// Groups of the 3×3 of a bottleneck.
    pub groups: usize,
    /// Where blocks stride.
    pub stride_site: StrideSite,
    /// Whether the last block of a stage strides instead of the first.
    pub strides_last: bool,
    /// What is around the image of a 3×3 that strides.
    pub stride_padding: PaddingRule,
    /// How shortcuts stride.
    pub shortcut: Shortcut,
    /// Which blocks project their shortcut.
    pub projects: Projects,
    /// When a shortcut is laid out.
    pub shortcut_order: ShortcutOrder,
    /// Whether normalisation and ReLU come before the convolutions (v2) instead of after them.
    pub pre_activation: bool,
    /// What normalises.
    pub norm: Norm,
    /// Whether kernels have mean 0 and variance 1 when they are used, whatever the file has.
    pub standardised: bool,
    /// The filter that averages where the image is halved, if there is one.
    pub anti_alias: Option<AntiAlias>,
    /// The channels between the two layers of squeeze-and-excitation in each stage; empty without
    /// it.
    pub squeeze: Vec<usize>,
    /// Taps of the efficient channel attention of each stage; empty without it.
    pub channel_taps: Vec<usize>,
    /// The selective kernels of the blocks, if they have any.
    pub selective: Option<Selective>,
    /// The number of scales within a block, if there are several.
    pub scales: Option<usize>,
    /// Whether a ReLU also follows the last normalisation of a main path.
    pub clamps_last: bool,
    /// Which convolutions have a bias.
    pub bias: Bias,
    /// Whether it is of those that the authors of squeeze-and-excitation trained.
    pub legacy: bool,
    /// Added to the variance by every batch normalisation.
    pub epsilon: f32,
    /// The max pool after the stem, if there is one.
    pub max_pool: Option<MaxPool>,
    /// The part after the last block.
    pub head: Head,
    /// The number of classes; `None` without a classifier.
    pub classes: Option<usize>,
}

impl Plan {
    /// torchvision's network of four stages.
    pub fn new(block: Block, blocks: [usize; 4], classes: usize) -> Self {
        Self::scaled(block, blocks, STEM, classes)
    }

    /// Does what [`Self::new`] does, with channels counted from those of the stem.
    pub fn scaled(block: Block, blocks: [usize; 4], stem: usize, classes: usize) -> Self {
        let widths = [1, 2, 4, 8].map(|factor| factor * stem);
        Self {
            style: Style::Torchvision,
            block,
            blocks: blocks.to_vec(),
            strides: vec![1, 2, 2, 2],
            stem: vec![stem],
            stem_kernel: 7,
            stem_stride: 2,
            grey: false,
            dilations: Vec::new(),
            widths: widths.to_vec(),
            outputs: widths.map(|width| block.expansion() * width).to_vec(),
            groups: 1,
            stride_site: StrideSite::Middle,
            strides_last: false,
            stride_padding: PaddingRule::all(1),
            shortcut: Shortcut::Convolution,
            projects: Projects::Needed,
            shortcut_order: ShortcutOrder::Last,
            pre_activation: false,
            norm: Norm::Batch,
            standardised: false,
            anti_alias: None,
            squeeze: Vec::new(),
            channel_taps: Vec::new(),
            selective: None,
            scales: None,
            clamps_last: false,
            bias: Bias::None,
            legacy: false,
            // The default of PyTorch's `BatchNorm2d`.
            epsilon: 1e-5,
            max_pool: Some(MaxPool::new(PaddingRule::all(1))),
            head: Head {
                name: "fc".to_owned(),
                pooling: HeadPooling::Global,
            },
            classes: Some(classes),
        }
    }

    /// The ResNet-50 of the classic lesson, with channels counted from those of the stem.
    ///
    /// It differs from torchvision's in ways that no shape of a weight shows: the stride is in the
    /// first 1×1 of a block and in its shortcut, the batch normalisation has Keras's epsilon, the
    /// max pool has no padding, and a 2×2 average pool and flattening precede the classifier.
    pub fn lesson(stem: usize, classes: usize) -> Self {
        Self {
            style: Style::Lesson,
            stride_site: StrideSite::First,
            bias: Bias::All,
            // The default of Keras's `BatchNormalization`.
            epsilon: 1e-3,
            max_pool: Some(MaxPool::new(PaddingRule::all(0))),
            head: Head {
                name: format!("fc{classes}"),
                pooling: HeadPooling::Lesson,
            },
            ..Self::scaled(Block::Bottleneck, [3, 4, 6, 3], stem, classes)
        }
    }

    /// The same with ResNeXt's groups, or a wide ResNet's width, for a stem of 64: the 3×3 of the
    /// first stage has `groups` groups of `width_per_group` channels.
    #[must_use]
    pub fn grouped(mut self, groups: usize, width_per_group: usize) -> Self {
        for width in &mut self.widths {
            *width = *width * width_per_group / STEM * groups;
        }
        self.groups = groups;
        self
    }

    /// The usual name, such as `resnet50`, `resnext50_32x4d`, `resnet50d`, `resnetv2_50` or
    /// `notebook`.
    pub fn name(&self) -> String {
        let depth = self.depth();
        let letter = self.letter();
        // The channels from which those of the network are counted: those of the stem, except in an
        // S.
        let unit = match self.style {
            Style::Lesson => return Arch::Notebook.name().to_owned(),
            Style::Timm => self.stem_channels(),
            Style::Branches | Style::Blocks | Style::Stacks => {
                let version = if self.pre_activation { "v2" } else { "" };
                return format!("resnet{depth}{version}");
            }
            Style::Torchvision => {
                let output = self.outputs.first().copied().unwrap_or_default();
                (output / self.block.expansion()).max(1)
            }
        };
        let first = self.widths.first().copied().unwrap_or_default();
        let width = first / self.groups.max(1) * STEM / unit.max(1);
        let aa = match self.anti_alias {
            None => "",
            Some(AntiAlias::Blur) => "blur",
            Some(AntiAlias::Average) => "aa",
        };
        let mut name = match (self.style, self.groups, width) {
            (Style::Timm, ..) => format!("resnetv2_{depth}{letter}"),
            (_, 1, STEM) => format!("resnet{aa}{depth}{letter}"),
            (_, 1, _) if width.is_multiple_of(STEM) => {
                format!("wide_resnet{aa}{depth}{letter}_{}", width / STEM)
            }
            (_, groups, _) => format!("resnext{aa}{depth}{letter}_{groups}x{width}d"),
        };
        if let Some(scales) = self.scales {
            let kind = if self.groups > 1 { "next" } else { "net" };
            let width = width / scales;
            name = format!("res2{kind}{depth}{letter}_{width}w_{scales}s");
        }
        if let HeadPooling::Attention(_) = self.head.pooling {
            name = format!("clip_resnet{depth}");
        }
        if self.is_small() {
            name.push_str("_cifar");
        }
        if unit != self.usual_stem() {
            name.push_str(&format!("_stem{unit}"));
        }
        if self.norm != Norm::Batch {
            name.push_str(if self.standardised { "_bit" } else { "_gn" });
        }
        match &self.selective {
            Some(Selective { stacked: true, .. }) => name = name.replacen("resnet", "resnest", 1),
            Some(_) => name.insert_str(0, "sk"),
            None => {}
        }
        if !self.channel_taps.is_empty() {
            name.insert_str(0, "eca");
        }
        if !self.squeeze.is_empty() {
            name.insert_str(0, if self.legacy { "legacy_se" } else { "se" });
        }
        name
    }

    /// timm's letter for the kind of stem and shortcuts.
    fn letter(&self) -> &'static str {
        let stem = self.stem_channels();
        let deep = self.stem.len() > 1;
        let tiered = self.stem == [3 * stem / 8, stem / 2, stem];
        match self.shortcut {
            Shortcut::Convolution | Shortcut::Zeros if !deep => "",
            Shortcut::AveragePool if !deep => "_avg",
            Shortcut::Convolution if self.widths.first() == Some(&stem) => "c",
            Shortcut::Convolution | Shortcut::Zeros => "s",
            Shortcut::AveragePool if tiered => "t",
            Shortcut::AveragePool => "d",
        }
    }

    /// Convolutions on the way through the network, and the classifier.
    fn depth(&self) -> usize {
        self.block.convolutions() * self.blocks.iter().sum::<usize>() + 2
    }

    /// Whether its stem is one for small images, such as those of CIFAR: one 3×3.
    pub(super) fn is_small(&self) -> bool {
        self.stem_kernel == 3 && self.stem.len() == 1
    }

    /// Channels that the stem of such a network usually gives.
    fn usual_stem(&self) -> usize {
        if self.is_small() && self.blocks.len() == 3 {
            STEM / 4
        } else {
            STEM
        }
    }

    /// Rows and columns from one tap to the next in the 3×3 of a stage.
    pub(super) fn dilation(&self, stage: usize) -> usize {
        self.dilations.get(stage).copied().unwrap_or(1)
    }

    /// The output channels of the stem.
    pub(super) fn stem_channels(&self) -> usize {
        self.stem.last().copied().unwrap_or_default()
    }
}
