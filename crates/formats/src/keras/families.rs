//! Which network the weights of a file are of, when nothing in it describes the network.
//!
//! Names decide where there are any that a family gives; numbers of layers and the shapes of kernels
//! where there are none. What neither shows (strides, padding, epsilon) follows from the family, and
//! where two families have the same weights, nobody guesses: the caller must say.

use super::bind::Bound;
use super::blueprint::{Bias, Head, HeadPooling, MaxPool, Naming, Plan, StridePadding};
use super::evidence::{Evidence, Found, list};
use super::hub;
use super::network::Network;
use super::store::Saved;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{Block, StrideSite};
use resnet_wgpu::internals::network::{Choice, choose};
use resnet_wgpu::network::{Confidence, Decision, Variant};

/// The result.
#[derive(Debug)]
pub(super) struct Recognised {
    pub(super) network: Network,
    pub(super) bound: Bound,
    pub(super) variant: Variant,
    pub(super) decisions: Vec<Decision>,
    /// What the classifier takes, and how many channels the last block gives.
    pub(super) features: Option<[usize; 2]>,
}

/// Finds out what network the weights are of.
pub(super) fn recognise(saved: Saved, asked: Option<Variant>) -> Result<Recognised, Error> {
    let layers = list(saved);
    let evidence = Evidence::gather(layers)?;
    let family = Family::of(&evidence)?;
    let (variant, confidence) = choose(&family.choice(&evidence), asked)?;
    let plan = plan(variant, &family, &evidence);
    let network = plan.network();
    let decisions = family.decisions(&plan, &evidence, variant, confidence);
    let features = evidence.dense.as_ref().and_then(|dense| {
        let last = evidence.convs.last().and_then(Found::kernel::<4>)?;
        Some([dense.kernel::<2>()?[0], last[3]])
    });
    let bound = match family.source {
        Source::Names { .. } => evidence.bind_by_name(&network)?,
        Source::Order { .. } => evidence.bind_in_order(&network)?,
    };
    Ok(Recognised {
        network,
        bound,
        variant,
        decisions,
        features,
    })
}

/// What the file is called by its weights alone.
#[derive(Debug)]
struct Family {
    source: Source,
    blocks: Vec<usize>,
    block: Block,
    pre_activation: bool,
}

/// What shows the family.
#[derive(Debug)]
enum Source {
    Names {
        naming: Naming,
    },
    Order {
        /// Whether the convolution of a shortcut comes before the last one of its block.
        shortcut_first: bool,
        /// Whether the layers have the names that Keras makes up.
        automatic: bool,
    },
}

impl Family {
    fn of(evidence: &Evidence) -> Result<Self, Error> {
        let named = |naming, blocks: Vec<usize>, block, pre_activation| {
            if blocks.len() < 2 {
                return Err(unknown(format!("only {} stages have blocks", blocks.len())));
            }
            Ok(Self {
                source: Source::Names { naming },
                blocks,
                block,
                pre_activation,
            })
        };
        if evidence.has("res2a_branch2a") {
            let first = |stage: usize, block: usize| {
                let letter = char::from(u8::try_from(block % 26).unwrap_or_default() + b'a');
                format!("res{}{letter}_branch2a", stage + 2)
            };
            return named(
                Naming::Branches,
                evidence.count(first),
                Block::Bottleneck,
                false,
            );
        }
        if evidence.has("conv2_block1_1_conv") {
            let first = |s: usize, b: usize| format!("conv{}_block{}_1_conv", s + 2, b + 1);
            let v2 = evidence.has("conv2_block1_preact_bn");
            return named(Naming::Blocks, evidence.count(first), Block::Bottleneck, v2);
        }
        if evidence.has("stack0_block0_1_conv") {
            let first = |stage: usize, block: usize| format!("stack{stage}_block{block}_1_conv");
            let block = if evidence.has("stack0_block0_3_conv") {
                Block::Bottleneck
            } else {
                Block::Basic
            };
            let v2 = evidence.has("stack0_block0_pre_activation_bn");
            return named(Naming::Stacks, evidence.count(first), block, v2);
        }
        Self::of_shapes(evidence)
    }

    /// Reads the blocks off the kernels: 1×1, 3×3, 1×1, and one more 1×1 where a stage starts.
    fn of_shapes(evidence: &Evidence) -> Result<Self, Error> {
        let kernels: Vec<[usize; 4]> = evidence
            .convs
            .iter()
            .filter_map(Found::kernel::<4>)
            .collect();
        let strange = |at: usize| {
            let kernel = kernels.get(at);
            unknown(format!(
                "convolution {at} of {} has a kernel of {kernel:?}, which is in no bottleneck of a \
                 ResNet; if it is one, save the whole model instead of the weights",
                kernels.len()
            ))
        };
        let mut blocks = Vec::new();
        let mut shortcut_first = None;
        let mut at = 1;
        while at < kernels.len() {
            let [reduce, middle, third] = [at, at + 1, at + 2].map(|i| kernels.get(i).copied());
            let (
                Some([1, 1, _, width]),
                Some([_, _, middle_in, middle_out]),
                Some([1, 1, third_in, out]),
            ) = (reduce, middle, third)
            else {
                return Err(strange(at));
            };
            if [middle_in, middle_out] != [width; 2] {
                return Err(strange(at + 1));
            }
            // The next block starts with another 1×1, which gives fewer channels.
            match kernels.get(at + 3) {
                Some(&[1, 1, fourth_in, fourth_out]) if fourth_out == out => {
                    blocks.push(0);
                    if third_in != fourth_in {
                        let first = third_in != width;
                        if shortcut_first.is_some_and(|before| before != first) {
                            return Err(unknown(
                                "its shortcuts stand before the last convolution of some blocks \
                                 and behind that of others"
                                    .to_owned(),
                            ));
                        }
                        shortcut_first = Some(first);
                    }
                    at += 4;
                }
                _ => at += 3,
            }
            match blocks.last_mut() {
                Some(count) => *count += 1,
                None => return Err(strange(at)),
            }
        }
        let Some(shortcut_first) = shortcut_first else {
            return Err(unknown(format!(
                "its {} convolutions are not those of a ResNet, by their names or shapes",
                kernels.len()
            )));
        };
        // Without pre-activation, every normalisation follows a convolution.
        let follows = |norm: &Found, kernel: &[usize; 4]| norm.kernel::<1>() == Some([kernel[3]]);
        let pre_activation = evidence.norms.len() != kernels.len()
            || !evidence
                .norms
                .iter()
                .zip(&kernels)
                .all(|(norm, kernel)| follows(norm, kernel));
        let automatic = evidence.names().next().is_some()
            && evidence
                .names()
                .all(|name| name.starts_with("conv2d") || name.starts_with("batch_normalization"));
        Ok(Self {
            source: Source::Order {
                shortcut_first,
                automatic,
            },
            blocks,
            block: Block::Bottleneck,
            pre_activation,
        })
    }

    /// The networks that have such weights.
    fn choice(&self, evidence: &Evidence) -> Choice<'static> {
        use Confidence::{Assumed, Certain, Inferred};
        use Variant::{
            Fchollet, FcholletUnpadded, KerasApplications, KerasApplicationsV2, KerasHub, Notebook,
            TfOfficial,
        };
        let thousand = evidence.classes() == Some(1000);
        let one = |possible: &'static [Variant], confidence| {
            (possible, Some((possible[0], confidence)), "")
        };
        let (possible, usual, reason): (&'static [Variant], _, _) = match &self.source {
            Source::Names {
                naming: Naming::Blocks,
            } if self.pre_activation => one(&[KerasApplicationsV2], Certain),
            Source::Names {
                naming: Naming::Blocks,
            } => one(&[KerasApplications], Certain),
            Source::Names {
                naming: Naming::Stacks,
            } => one(&[KerasHub], Certain),
            Source::Names {
                naming: Naming::Branches,
            } => match evidence.head_name() {
                _ if evidence.biases == 0 => (
                    &[TfOfficial],
                    None,
                    "TensorFlow's official ResNet v1.5 has these names without biases, but so have \
                     Caffe's and others, which stride and pad elsewhere and are not supported",
                ),
                Some(name) if name != "fc1000" => {
                    one(&[Notebook, Fchollet, FcholletUnpadded], Assumed)
                }
                _ => one(&[Fchollet, FcholletUnpadded, Notebook], Assumed),
            },
            Source::Order { .. } if self.pre_activation => one(&[KerasApplicationsV2], Inferred),
            Source::Order { .. } if evidence.biases == 0 => (
                &[KerasHub, TfOfficial],
                None,
                "layers without names and biases are KerasHub's, or those of TensorFlow's official \
                 ResNet v1.5, which pads elsewhere",
            ),
            Source::Order {
                automatic: true, ..
            } => one(&[Notebook, Fchollet, KerasApplications], Assumed),
            Source::Order {
                shortcut_first: true,
                ..
            } if thousand => one(&[KerasApplications, Notebook], Assumed),
            Source::Order {
                shortcut_first: false,
                ..
            } if thousand => one(&[Fchollet, FcholletUnpadded, Notebook], Assumed),
            Source::Order {
                shortcut_first: false,
                ..
            } => one(&[Notebook, Fchollet, FcholletUnpadded], Assumed),
            Source::Order { .. } => (
                &[KerasApplications, Notebook],
                None,
                "the layers have no names, and those of keras.applications and of the classic \
                 lesson have the same shapes",
            ),
        };
        Choice {
            model: "a Keras ResNet",
            possible,
            usual,
            reason,
        }
    }

    fn decisions(
        &self,
        plan: &Plan,
        evidence: &Evidence,
        variant: Variant,
        confidence: Confidence,
    ) -> Vec<Decision> {
        let (naming, names) = match self.source {
            Source::Names { .. } => {
                let name = evidence.names().nth(1).unwrap_or_default();
                ("bound by name", format!("names such as '{name}'"))
            }
            Source::Order { .. } => {
                let count = evidence.convs.len();
                (
                    "bound in order",
                    format!("shapes of {count} convolutions without names"),
                )
            }
        };
        let biases = format!(
            "{} of {} convolutions have biases",
            evidence.biases,
            evidence.convs.len()
        );
        let mut decisions = vec![
            Decision::new(
                "variant",
                variant.name(),
                format!("{names}; {biases}"),
                confidence,
            ),
            Decision::certain("binding", naming, names.clone()),
        ];
        if let Source::Order { shortcut_first, .. } = self.source {
            let first = if shortcut_first {
                "the shortcut"
            } else {
                "the main path"
            };
            decisions.push(Decision::inferred(
                "sum",
                format!("{first} is the first summand"),
                "kernels of the stages after the first, where shapes show it",
            ));
        }
        let stride = match (plan.block, plan.stride_site, plan.strides_last) {
            (_, _, true) => "3x3 of the last block of a stage",
            (Block::Basic, ..) => "first 3x3 of a block",
            (_, StrideSite::Middle, _) => "3x3 of a bottleneck",
            (_, StrideSite::First, _) => "first 1x1 of a bottleneck",
        };
        let max_pool = match plan.max_pool {
            MaxPool::Zeros => "3x3/2, one row and column of zeros around",
            MaxPool::NegInfinity => "3x3/2, one row and column of minus infinity around",
            MaxPool::Same => "3x3/2, padded as TensorFlow's same",
            MaxPool::None => "3x3/2, no padding",
        };
        let head = match &plan.head {
            None => "none".to_owned(),
            Some(head) => match head.pooling {
                HeadPooling::Global => format!("global average, '{}'", head.name),
                HeadPooling::Lesson => format!("2x2 average, flatten (HWC), '{}'", head.name),
            },
        };
        let family = format!("variant {variant}");
        for (what, value) in [
            ("epsilon", format!("{:e}", plan.epsilon)),
            ("stride", stride.to_owned()),
            ("max pool", max_pool.to_owned()),
            ("head", head),
        ] {
            decisions.push(Decision::new(what, value, family.clone(), confidence));
        }
        decisions
    }
}

/// The network of a variant with the blocks of the file.
fn plan(variant: Variant, family: &Family, evidence: &Evidence) -> Plan {
    let stem = evidence.names().filter(|name| {
        name.strip_prefix("conv")
            .and_then(|n| n.strip_suffix("_conv"))
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    });
    let stem = stem.count().max(1);
    let base = Plan {
        naming: Naming::Branches,
        stride_site: StrideSite::First,
        averages: false,
        first_projects: true,
        stem: 1,
        bias: Bias::All,
        epsilon: 1e-3,
        max_pool: MaxPool::Zeros,
        shortcut_first: false,
        ..hub::plan(
            family.blocks.clone(),
            family.block,
            family.pre_activation,
            stem,
        )
    };
    let mut plan = match variant {
        Variant::Fchollet => base,
        Variant::FcholletUnpadded => Plan {
            max_pool: MaxPool::None,
            ..base
        },
        Variant::Notebook => Plan {
            name: "notebook".to_owned(),
            max_pool: MaxPool::None,
            ..base
        },
        Variant::TfOfficial => Plan {
            stride_site: StrideSite::Middle,
            bias: Bias::None,
            epsilon: 1e-5,
            stride_padding: StridePadding::Same,
            max_pool: MaxPool::Same,
            ..base
        },
        Variant::KerasApplicationsV2 => {
            let mut strides = vec![2; family.blocks.len()];
            if let Some(last) = strides.last_mut() {
                *last = 1;
            }
            Plan {
                naming: Naming::Blocks,
                strides,
                strides_last: true,
                stride_site: StrideSite::Middle,
                bias: Bias::Unnormalised,
                epsilon: 1.001e-5,
                shortcut_first: true,
                ..base
            }
        }
        Variant::KerasHub => hub::plan(
            family.blocks.clone(),
            family.block,
            family.pre_activation,
            stem,
        ),
        // `KerasApplications`: no other is among the choices of a Keras file.
        _ => Plan {
            naming: Naming::Blocks,
            epsilon: 1.001e-5,
            shortcut_first: true,
            ..base
        },
    };
    if let Source::Order { shortcut_first, .. } = family.source {
        plan.shortcut_first = shortcut_first;
    }
    plan.head = evidence.head_name().map(|name| Head {
        name,
        pooling: if variant == Variant::Notebook {
            HeadPooling::Lesson
        } else {
            HeadPooling::Global
        },
        softmax: variant != Variant::KerasHub,
    });
    plan
}

/// The error of weights that are of no known family.
pub(super) fn unknown(reason: String) -> Error {
    Error::WeightsUnrecognised {
        reason: format!("the file does not describe its network, and {reason}"),
        hint: None,
    }
}
