//! What residual networks have in common, whatever their blocks compute: how many there are, and of
//! how many channels.

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
    pub(super) const fn expansion(self) -> usize {
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

/// How a shortcut halves the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shortcut {
    /// Its 1×1 convolution strides.
    #[default]
    Convolution,
    /// A 2×2 average pool before its 1×1 convolution (the D of timm's names).
    AveragePool,
}

/// Stem, stages and classifier of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Kind of all its blocks.
    pub block: Block,
    /// Blocks of each of the four stages.
    pub blocks: [usize; 4],
    /// Channels of the stem.
    pub stem: usize,
    /// Channels of the first two 3×3 of a stem of three; `None` for a stem of one 7×7.
    pub deep_stem: Option<[usize; 2]>,
    /// Channels inside the blocks of each stage.
    pub widths: [usize; 4],
    /// Channels that the blocks of each stage give.
    pub outputs: [usize; 4],
    /// How the shortcuts stride.
    pub shortcut: Shortcut,
    /// Classes.
    pub classes: usize,
}

impl Skeleton {
    /// Layers with weights on the longest path, which names count.
    pub fn depth(&self) -> usize {
        let blocks: usize = self.blocks.iter().sum();
        self.block.convolutions() * blocks + 2
    }

    /// Whether the stem of three is the narrow one of timm's T.
    pub(super) fn has_tiered_stem(&self) -> bool {
        self.deep_stem == Some([3 * self.stem / 8, self.stem / 2])
    }

    /// All blocks in order. `name` makes the name of one of its stage and its number, both from zero.
    pub(super) fn sites(
        &self,
        first_stage_strides: bool,
        name: impl Fn(usize, usize) -> String,
    ) -> Vec<Site> {
        let mut sites = Vec::new();
        for (stage, &blocks) in self.blocks.iter().enumerate() {
            for block in 0..blocks {
                let first = block == 0;
                let halves = first && (stage > 0 || first_stage_strides);
                sites.push(Site {
                    prefix: name(stage, block),
                    width: self.widths[stage],
                    out_c: self.outputs[stage],
                    stride: if halves { 2 } else { 1 },
                    first,
                });
            }
        }
        sites
    }
}

/// Where a block stands.
pub(super) struct Site {
    /// Name of the block, which starts the names of its layers.
    prefix: String,
    /// Channels inside of the block.
    pub(super) width: usize,
    /// Channels that it gives.
    pub(super) out_c: usize,
    pub(super) stride: usize,
    /// Whether it is the first of its stage.
    pub(super) first: bool,
}

impl Site {
    pub(super) fn layer(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }
}
