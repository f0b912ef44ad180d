//! The networks of the known families, layer by layer, for files that do not describe theirs.
//!
//! A [`Plan`] holds everything in which the families differ; [`Plan::network`] lays the layers out in
//! the order in which Keras numbers them. Sources: `keras_applications/resnet50.py` and
//! `resnet_common.py`, Keras' `applications/resnet.py` and `resnet_v2.py`, TensorFlow's
//! `official/legacy/image_classification/resnet/resnet_model.py`, `KerasHub`'s `resnet_backbone.py`.

use super::network::{
    Activation, Channels, Conv, Dense, Kind, Layer, Network, Norm, Pool, Training,
};
use resnet_wgpu::internals::graph::{PadValue, Padding};
use resnet_wgpu::internals::network::resnet::{Block, StrideSite};

/// A network of a family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) naming: Naming,
    /// Blocks of each stage.
    pub(super) blocks: Vec<usize>,
    /// Stride of each stage.
    pub(super) strides: Vec<usize>,
    pub(super) block: Block,
    pub(super) stride_site: StrideSite,
    /// Whether a stage strides in its last block instead of its first.
    pub(super) strides_last: bool,
    /// Whether a normalisation and ReLU come before the convolutions (v2) instead of after.
    pub(super) pre_activation: bool,
    /// Whether a shortcut that strides averages before its convolution.
    pub(super) averages: bool,
    /// Whether the first stage has a convolution in its shortcut too.
    pub(super) first_projects: bool,
    /// Convolutions before the max pool.
    pub(super) stem: usize,
    pub(super) bias: Bias,
    pub(super) epsilon: f32,
    /// How a 3×3 that strides is padded.
    pub(super) stride_padding: StridePadding,
    pub(super) max_pool: MaxPool,
    /// Whether a shortcut is the first summand, and so numbered before the last convolution.
    pub(super) shortcut_first: bool,
    pub(super) head: Option<Head>,
}

/// How layers are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// `res2a_branch2a`, `bn2a_branch2a`.
    Branches,
    /// `conv2_block1_1_conv`.
    Blocks,
    /// `stack0_block0_1_conv`.
    Stacks,
}

/// Which convolutions have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bias {
    All,
    None,
    /// Those that no normalisation follows at once.
    Unnormalised,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StridePadding {
    /// One row and column of zeros on all sides.
    All,
    /// TensorFlow's `same`: on even sizes only below and to the right.
    Same,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaxPool {
    /// One row and column of zeros on all sides.
    Zeros,
    /// One of minus infinity.
    NegInfinity,
    /// TensorFlow's `same`.
    Same,
    None,
}

/// What follows the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) pooling: HeadPooling,
    pub(super) softmax: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadPooling {
    Global,
    /// A 2×2 average and a flattening.
    Lesson,
}

impl Plan {
    /// The usual name of a ResNet, such as `resnet50` or `resnet50v2`.
    pub(super) fn usual_name(blocks: &[usize], block: Block, pre_activation: bool) -> String {
        let convolutions = match block {
            Block::Basic => 2,
            Block::Bottleneck => 3,
        };
        let depth = convolutions * blocks.iter().sum::<usize>() + 2;
        let version = if pre_activation { "v2" } else { "" };
        format!("resnet{depth}{version}")
    }

    /// The layers.
    pub(super) fn network(&self) -> Network {
        let mut sketch = Sketch {
            plan: self,
            layers: Vec::new(),
        };
        let x = sketch.push("image", "InputLayer", Kind::Input { size: [None; 2] }, &[]);
        let x = sketch.stem(x);
        let mut x = sketch.max_pool(x);
        for (stage, (&blocks, &stride)) in self.blocks.iter().zip(&self.strides).enumerate() {
            for block in 0..blocks {
                let strides_here = if self.strides_last {
                    block + 1 == blocks
                } else {
                    block == 0
                };
                let site = Site {
                    stage,
                    block,
                    stride: if strides_here { stride } else { 1 },
                    projects: block == 0 && (stage > 0 || self.first_projects),
                };
                x = sketch.block(site, x);
            }
        }
        if self.pre_activation {
            x = sketch.norm("post_bn", x);
            x = sketch.relu("post_relu", x);
        }
        if let Some(head) = &self.head {
            x = sketch.head(head, x);
        }
        Network {
            name: self.name.clone(),
            layers: sketch.layers,
            output: x,
        }
    }

    /// What a convolution before the max pool is called.
    fn stem_name(&self, number: usize) -> [String; 2] {
        match self.naming {
            Naming::Branches => ["conv1".to_owned(), "bn_conv1".to_owned()],
            Naming::Blocks | Naming::Stacks => {
                [format!("conv{number}_conv"), format!("conv{number}_bn")]
            }
        }
    }

    /// What a convolution of a block, and its normalisation, are called. The shortcut's number is 0.
    fn unit_name(&self, site: Site, unit: usize) -> [String; 2] {
        match self.naming {
            Naming::Branches => {
                let branch = match unit {
                    0 => "1".to_owned(),
                    unit => format!("2{}", letter(unit - 1)),
                };
                let rest = format!("{}{}_branch{branch}", site.stage + 2, letter(site.block));
                [format!("res{rest}"), format!("bn{rest}")]
            }
            Naming::Blocks | Naming::Stacks => {
                let block = self.block_name(site);
                [format!("{block}_{unit}_conv"), format!("{block}_{unit}_bn")]
            }
        }
    }

    /// What starts the names of a block's layers.
    fn block_name(&self, site: Site) -> String {
        match self.naming {
            Naming::Branches => format!("res{}{}", site.stage + 2, letter(site.block)),
            Naming::Blocks => format!("conv{}_block{}", site.stage + 2, site.block + 1),
            Naming::Stacks => format!("stack{}_block{}", site.stage, site.block),
        }
    }

    fn pre_activation_name(&self, site: Site) -> [String; 2] {
        let block = self.block_name(site);
        let middle = match self.naming {
            Naming::Stacks => "pre_activation",
            Naming::Branches | Naming::Blocks => "preact",
        };
        [
            format!("{block}_{middle}_bn"),
            format!("{block}_{middle}_relu"),
        ]
    }
}

/// Where a block stands.
#[derive(Clone, Copy)]
struct Site {
    stage: usize,
    block: usize,
    stride: usize,
    projects: bool,
}

/// a, b, c …; after z come numbers, which no published network has.
fn letter(index: usize) -> String {
    match u8::try_from(index).ok().filter(|index| *index < 26) {
        Some(index) => char::from(b'a' + index).to_string(),
        None => index.to_string(),
    }
}

/// Layers under construction.
struct Sketch<'a> {
    plan: &'a Plan,
    layers: Vec<Layer>,
}

/// What differs between convolutions of a family.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    same: bool,
    normalised: bool,
}

impl Sketch<'_> {
    fn push(&mut self, name: &str, class: &str, kind: Kind, inputs: &[usize]) -> usize {
        self.layers.push(Layer {
            name: name.to_owned(),
            class: class.to_owned(),
            kind,
            inputs: inputs.to_vec(),
            training: Training::No,
        });
        self.layers.len() - 1
    }

    fn stem(&mut self, x: usize) -> usize {
        let mut x = x;
        for number in 1..=self.plan.stem {
            let first = number == 1;
            let last = number == self.plan.stem;
            if first {
                // (kernel − 1) / 2, for the 7×7 of a single convolution or the first 3×3 of three.
                let padding = if self.plan.stem == 1 { 3 } else { 1 };
                let kind = Kind::Pad(Padding::all(padding), PadValue::Zero);
                x = self.push("conv1_pad", "ZeroPadding2D", kind, &[x]);
            }
            let [conv, norm] = self.plan.stem_name(number);
            let window = Window {
                kernel: if self.plan.stem == 1 { 7 } else { 3 },
                stride: if first { 2 } else { 1 },
                same: !first,
                normalised: !(last && self.plan.pre_activation),
            };
            x = self.conv(&conv, x, window);
            if window.normalised {
                x = self.norm(&norm, x);
                x = self.relu(&format!("conv{number}_relu"), x);
            }
        }
        x
    }

    fn max_pool(&mut self, x: usize) -> usize {
        let pad = |value| Kind::Pad(Padding::all(1), value);
        let x = match self.plan.max_pool {
            MaxPool::Zeros => self.push("pool1_pad", "ZeroPadding2D", pad(PadValue::Zero), &[x]),
            MaxPool::NegInfinity => self.push("pool1_pad", "Pad", pad(PadValue::NegInfinity), &[x]),
            MaxPool::Same | MaxPool::None => x,
        };
        let same = self.plan.max_pool == MaxPool::Same;
        let pool = pool(3, 2, same);
        self.push("pool1_pool", "MaxPooling2D", Kind::MaxPool(pool), &[x])
    }

    fn block(&mut self, site: Site, x: usize) -> usize {
        let name = self.plan.block_name(site);
        let entry = if self.plan.pre_activation {
            let [norm, relu] = self.plan.pre_activation_name(site);
            let y = self.norm(&norm, x);
            self.relu(&relu, y)
        } else {
            x
        };
        let units: &[(usize, bool)] = match (self.plan.block, self.plan.stride_site) {
            (Block::Basic, _) => &[(3, true), (3, false)],
            (Block::Bottleneck, StrideSite::Middle) => &[(1, false), (3, true), (1, false)],
            (Block::Bottleneck, StrideSite::First) => &[(1, true), (3, false), (1, false)],
        };
        let mut y = entry;
        let mut shortcut = None;
        for (number, &(kernel, strides)) in (1..).zip(units) {
            let last = number == units.len();
            // As far from the end as the last convolution: Keras numbers both in the order in which
            // the sum reads them.
            if last && self.plan.shortcut_first {
                shortcut = Some(self.shortcut(site, x, entry));
            }
            let stride = if strides { site.stride } else { 1 };
            let [conv, norm] = self.plan.unit_name(site, number);
            let explicit =
                stride > 1 && kernel > 1 && self.plan.stride_padding == StridePadding::All;
            if explicit {
                let kind = Kind::Pad(Padding::all(1), PadValue::Zero);
                y = self.push(&format!("{name}_{number}_pad"), "ZeroPadding2D", kind, &[y]);
            }
            let window = Window {
                kernel,
                stride,
                same: !explicit,
                normalised: !(last && self.plan.pre_activation),
            };
            y = self.conv(&conv, y, window);
            if window.normalised {
                y = self.norm(&norm, y);
            }
            if !last {
                y = self.relu(&format!("{name}_{number}_relu"), y);
            }
        }
        let shortcut = match shortcut {
            Some(shortcut) => shortcut,
            None => self.shortcut(site, x, entry),
        };
        if self.plan.pre_activation {
            return self.push(&format!("{name}_out"), "Add", Kind::Add, &[shortcut, y]);
        }
        let sum = self.push(&format!("{name}_add"), "Add", Kind::Add, &[shortcut, y]);
        self.relu(&format!("{name}_out"), sum)
    }

    fn shortcut(&mut self, site: Site, x: usize, entry: usize) -> usize {
        let name = self.plan.block_name(site);
        if !site.projects {
            if site.stride == 1 {
                return x;
            }
            let pool = Kind::MaxPool(pool(1, site.stride, false));
            return self.push(&format!("{name}_0_pool"), "MaxPooling2D", pool, &[x]);
        }
        let mut y = entry;
        let mut stride = site.stride;
        if self.plan.averages && stride > 1 {
            let pool = Kind::AvgPool(pool(2, stride, true));
            y = self.push(&format!("{name}_0_pool"), "AveragePooling2D", pool, &[y]);
            stride = 1;
        }
        let [conv, norm] = self.plan.unit_name(site, 0);
        let window = Window {
            kernel: 1,
            stride,
            same: false,
            normalised: !self.plan.pre_activation,
        };
        let y = self.conv(&conv, y, window);
        if window.normalised {
            return self.norm(&norm, y);
        }
        y
    }

    fn head(&mut self, head: &Head, x: usize) -> usize {
        let x = match head.pooling {
            HeadPooling::Global => {
                let kind = Kind::GlobalAverage { keep: false };
                self.push("avg_pool", "GlobalAveragePooling2D", kind, &[x])
            }
            HeadPooling::Lesson => {
                let kind = Kind::AvgPool(pool(2, 2, false));
                let x = self.push("avg_pool", "AveragePooling2D", kind, &[x]);
                self.push("flatten", "Flatten", Kind::Flatten { first: false }, &[x])
            }
        };
        let dense = Kind::Dense(Dense {
            units: None,
            bias: true,
            activation: if head.softmax {
                Activation::Softmax
            } else {
                Activation::Linear
            },
        });
        self.push(&head.name, "Dense", dense, &[x])
    }

    fn conv(&mut self, name: &str, x: usize, window: Window) -> usize {
        let kind = Kind::Conv(Conv {
            filters: None,
            kernel: Some([window.kernel; 2]),
            stride: [window.stride; 2],
            same: window.same,
            groups: 1,
            bias: match self.plan.bias {
                Bias::All => true,
                Bias::None => false,
                Bias::Unnormalised => !window.normalised,
            },
            activation: Activation::Linear,
            channels: Channels::Last,
        });
        self.push(name, "Conv2D", kind, &[x])
    }

    fn norm(&mut self, name: &str, x: usize) -> usize {
        let kind = Kind::Norm(Norm {
            axis: -1,
            epsilon: self.plan.epsilon,
            scale: true,
            center: true,
        });
        self.push(name, "BatchNormalization", kind, &[x])
    }

    fn relu(&mut self, name: &str, x: usize) -> usize {
        self.push(name, "Activation", Kind::Activation(Activation::Relu), &[x])
    }
}

const fn pool(kernel: usize, stride: usize, same: bool) -> Pool {
    Pool {
        kernel: [kernel; 2],
        stride: [stride; 2],
        same,
        channels: Channels::Last,
    }
}
