//! Everything in which residual networks differ from each other.
//!
//! A network is a [`Plan`] and a [`Naming`](super::Naming): the plan says what the layers compute,
//! the naming what their tensors are called in a file.

use super::Arch;
use crate::network::PaddingRule;

/// The channels of the stem in every published network, from which a bottleneck's width is counted.
pub(super) const STEM: usize = 64;

/// Number of classes in the lesson: the digits 0 to 5, shown with fingers.
pub(super) const LESSON_CLASSES: usize = 6;

/// The two kinds of residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Two 3×3 convolutions (ResNet-18 and 34).
    Basic,
    /// A 3×3 convolution between two 1×1 convolutions that reduce and expand the channels.
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

    /// The number of convolutions in a block, without that of its shortcut.
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
    /// A 1×1 convolution with stride (option B of He et al.).
    #[default]
    Convolution,
    /// A 2×2 average pool, then a 1×1 convolution (the D in timm's names).
    AveragePool,
    /// Every second pixel, with zero channels added on both ends (option A of He et al.).
    Zeros,
}

/// Selective kernels, which replace a 3×3 convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selective {
    /// The channels between the two layers that compute the selection, for each stage.
    pub reduced: Vec<usize>,
    /// Whether each kernel reads only one half of the input channels.
    pub splits: bool,
    /// Whether both kernels are stacked in one, of equal reach, as in `ResNeSt`.
    pub stacked: bool,
}

/// The kind of normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Batch normalisation.
    #[default]
    Batch,
    /// Group normalisation with this many groups.
    Group(usize),
}

/// The filter that smooths an image before it is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AntiAlias {
    /// A 3×3 binomial filter.
    Blur,
    /// A 2×2 mean.
    Average,
}

/// Which convolution strides in the first block of a stage.
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
    /// `res2a_branch2a`, `bn2a_branch2a`: those of the classic lesson.
    Lesson,
    /// The same names, as used by Keras's first ResNet-50.
    Branches,
    /// `conv2_block1_1_conv`: keras.applications.
    Blocks,
    /// `stack0_block0_1_conv`: `KerasHub`.
    Stacks,
}

/// Which convolutions have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Bias {
    /// No convolution.
    #[default]
    None,
    /// Those without a normalisation before the next sum or pool.
    Unnormalised,
    /// All convolutions.
    All,
}

/// Which stages have a convolution in the shortcut of their first block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Projects {
    /// Those that change the image size or the number of channels.
    #[default]
    Needed,
    /// Those, and all stages after the first.
    LaterStages,
    /// All stages.
    All,
}

/// When a block's shortcut is created, and thus the order of layers in files that number them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ShortcutOrder {
    /// Before the main path.
    First,
    /// Before the last convolution of the main path: in Keras the shortcut is the first summand,
    /// and layers are numbered by their distance from the output.
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
    /// A pool with this padding, which reads as −∞.
    pub const fn new(padding: PaddingRule) -> Self {
        Self {
            padding,
            zeros: false,
        }
    }
}

/// The part of a network after the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The name of the classifier.
    pub name: String,
    /// The pooling before it.
    pub pooling: HeadPooling,
    /// The layers between the two, if there are any.
    pub hidden: Vec<Hidden>,
}

/// A layer with parameters between pooling and classifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Its name.
    pub name: String,
    /// The length of its result.
    pub length: usize,
    /// Whether it is a batch normalisation instead of a linear layer.
    pub is_norm: bool,
    /// Whether a ReLU follows it.
    pub clamps: bool,
}

/// The pooling before the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HeadPooling {
    /// A mean over all pixels, for any image size.
    Global,
    /// The maximum over all pixels.
    Max,
    /// A 2×2 average pool, flattened with channels innermost: the classifier fixes the image size.
    Lesson,
    /// Attention with this many heads, as in CLIP's networks: positions fix the image size.
    Attention(usize),
}

/// A residual network.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// How its layers are named.
    pub style: Style,
    /// The kind of its blocks.
    pub block: Block,
    /// The number of blocks in each stage.
    pub blocks: Vec<usize>,
    /// The stride of each stage.
    pub strides: Vec<usize>,
    /// Output channels of the convolutions before the max pool: one, or three 3×3.
    pub stem: Vec<usize>,
    /// Kernel size of a stem with a single convolution: 7, or 3 for small images.
    pub stem_kernel: usize,
    /// The stride of the first convolution.
    pub stem_stride: usize,
    /// The channels of images: three, one if they are grey, or more that are no colours.
    pub image_c: usize,
    /// Dilation of the 3×3 convolutions in each stage; 1 if the list is too short.
    pub dilations: Vec<usize>,
    /// Channels inside the blocks of each stage.
    pub widths: Vec<usize>,
    /// Output channels of the blocks of each stage.
    pub outputs: Vec<usize>,
    /// Groups of the 3×3 convolution in a bottleneck.
    pub groups: usize,
    /// Which convolution of a block strides.
    pub stride_site: StrideSite,
    /// Whether the last block of a stage strides instead of the first.
    pub strides_last: bool,
    /// The padding of 3×3 convolutions that stride.
    pub stride_padding: PaddingRule,
    /// How shortcuts stride.
    pub shortcut: Shortcut,
    /// Which shortcuts have a convolution.
    pub projects: Projects,
    /// When the layers of a shortcut are created.
    pub shortcut_order: ShortcutOrder,
    /// Whether normalisation and ReLU precede the convolutions (v2) instead of following them.
    pub pre_activation: bool,
    /// The kind of normalisation.
    pub norm: Norm,
    /// Whether kernels are standardised to mean 0 and variance 1 when the network is built.
    pub standardised: bool,
    /// The anti-aliasing filter applied where the image is halved, if there is one.
    pub anti_alias: Option<AntiAlias>,
    /// Channels between the two layers of the squeeze-and-excitation, for each stage; empty if
    /// there is none.
    pub squeeze: Vec<usize>,
    /// Kernel size of the efficient channel attention, for each stage; empty if there is none.
    pub channel_taps: Vec<usize>,
    /// The selective kernels of the blocks, if they have any.
    pub selective: Option<Selective>,
    /// The number of scales within a block, if there are several.
    pub scales: Option<usize>,
    /// Whether a ReLU also follows the last normalisation of a main path.
    pub clamps_last: bool,
    /// Which convolutions have a bias.
    pub bias: Bias,
    /// Whether the network is one that the authors of squeeze-and-excitation trained.
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
    /// A four-stage network as torchvision builds it.
    pub fn new(block: Block, blocks: [usize; 4], classes: usize) -> Self {
        Self::scaled(block, blocks, STEM, classes)
    }

    /// Does what [`Self::new`] does, with all channels in proportion to those of the stem.
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
            image_c: 3,
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
                hidden: Vec::new(),
            },
            classes: Some(classes),
        }
    }

    /// The ResNet-50 of the classic lesson, with all channels in proportion to those of the stem.
    ///
    /// It differs from torchvision's in ways that no weight's shape shows: blocks stride in their
    /// first 1×1 and in their shortcut, batch normalisation has Keras's epsilon, the max pool has
    /// no padding, and a 2×2 average pool and flattening precede the classifier.
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
                hidden: Vec::new(),
            },
            ..Self::scaled(Block::Bottleneck, [3, 4, 6, 3], stem, classes)
        }
    }

    /// Applies ResNeXt's groups or a wide ResNet's width, for a stem of 64 channels: the 3×3 of the
    /// first stage gets `groups` groups of `width_per_group` channels.
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
        // The channels that all others are proportional to: those of the stem, except in an S.
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

    /// timm's letter for this kind of stem and shortcut.
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

    /// The depth in the network's name: convolutions of the main path, and the classifier.
    fn depth(&self) -> usize {
        self.block.convolutions() * self.blocks.iter().sum::<usize>() + 2
    }

    /// Whether its stem is meant for small images such as CIFAR's: a single 3×3 convolution.
    pub(super) fn is_small(&self) -> bool {
        self.stem_kernel == 3 && self.stem.len() == 1
    }

    /// The usual number of output channels of such a stem.
    fn usual_stem(&self) -> usize {
        if self.is_small() && self.blocks.len() == 3 {
            STEM / 4
        } else {
            STEM
        }
    }

    /// Dilation of the 3×3 convolutions in a stage.
    pub(super) fn dilation(&self, stage: usize) -> usize {
        self.dilations.get(stage).copied().unwrap_or(1)
    }

    /// The output channels of the stem.
    pub(super) fn stem_channels(&self) -> usize {
        self.stem.last().copied().unwrap_or_default()
    }
}
