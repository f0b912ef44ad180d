//! Identifies the network from its weights, when a file has no description.
//!
//! Layer names decide if a known family uses them, otherwise the number of layers and the shapes of
//! kernels. What neither shows (strides, padding, epsilon) follows from the family. If several
//! families fit and none is the usual one, the caller must choose.

use super::bind::Bound;
use super::evidence::{Evidence, Found, list};
use super::hub;
use super::network::{Activation, COLOURS, Channels, Dense, Kind, Network, Pool};
use super::store::Saved;
use resnet_wgpu::Error;
use resnet_wgpu::internals::network::resnet::{
    Bias, Block, MaxPool, Plan, Projects, Shortcut, ShortcutOrder, StrideSite, Style, of_names,
};
use resnet_wgpu::internals::network::{Choice, Fill, PaddingRule, choose};
use resnet_wgpu::network::{Confidence, Decision, Variant};

/// A recognised network.
#[derive(Debug)]
pub(super) struct Recognised {
    pub(super) network: Network,
    pub(super) bound: Bound,
    pub(super) variant: Variant,
    pub(super) decisions: Vec<Decision>,
    /// Features into the classifier, and channels out of the last block.
    pub(super) features: Option<[usize; 2]>,
}

/// Identifies the network; `asked` is the caller's choice among the variants that fit.
pub(super) fn recognise(saved: Saved, asked: Option<Variant>) -> Result<Recognised, Error> {
    let layers = list(saved);
    if layers
        .iter()
        .any(|layer| layer.path().contains("tf_res_net"))
    {
        return Err(unknown(
            "it belongs to Hugging Face's classes for TensorFlow; use `model.safetensors` of the \
             same repository"
                .to_owned(),
        ));
    }
    let evidence = Evidence::gather(layers)?;
    let family = Family::of(&evidence)?;
    let (variant, confidence) = choose(&family.choice(&evidence), asked)?;
    let plan = family.plan(variant);
    let network = network(variant, plan.clone(), &evidence);
    let decisions = family.decisions(&plan, &evidence, variant, confidence);
    let features = evidence.dense.as_ref().and_then(|dense| {
        let last = evidence.convs.last().and_then(Found::kernel::<4>)?;
        Some([dense.kernel::<2>()?[0], last[3]])
    });
    let bound = match family.source {
        Source::Names => evidence.bind_by_name(&network)?,
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

/// What the weights alone reveal.
#[derive(Debug)]
struct Family {
    source: Source,
    /// Blocks, stem and pre-activation; also the naming style if layers have names.
    plan: Plan,
}

/// What identified the family: the names of layers, or their order and shapes.
#[derive(Debug)]
enum Source {
    Names,
    Order {
        /// Whether the shortcut's convolution comes before the last convolution of its block.
        shortcut_first: bool,
        /// Whether the layers have the automatic names of Keras, such as `conv2d_1`.
        automatic: bool,
    },
}

impl Family {
    fn of(evidence: &Evidence) -> Result<Self, Error> {
        let styles = [Style::Branches, Style::Blocks, Style::Stacks].into_iter();
        let mut plans = styles.filter_map(|style| of_names(style, |name| evidence.has(name)));
        let Some(plan) = plans.next() else {
            return Self::of_shapes(evidence);
        };
        if plan.blocks.len() < 2 {
            return Err(unknown(format!(
                "only {} stages have blocks",
                plan.blocks.len()
            )));
        }
        Ok(Self {
            source: Source::Names,
            plan,
        })
    }

    fn of_shapes(evidence: &Evidence) -> Result<Self, Error> {
        let kernels = evidence.convs.iter().filter_map(Found::kernel::<4>);
        let kernels: Vec<[usize; 4]> = kernels.collect();
        let (blocks, shortcut_first) = blocks(&kernels)?;
        let Some(shortcut_first) = shortcut_first else {
            return Err(unknown(format!(
                "its {} convolutions are not those of a ResNet, by their names or shapes",
                kernels.len()
            )));
        };
        // Without pre-activation, each convolution has a normalisation right after it.
        let follows = |norm: &Found, kernel: &[usize; 4]| norm.kernel::<1>() == Some([kernel[3]]);
        let mut pairs = evidence.norms.iter().zip(&kernels);
        let pre_activation = evidence.norms.len() != kernels.len()
            || !pairs.all(|(norm, kernel)| follows(norm, kernel));
        let automatic = evidence.names().next().is_some()
            && evidence
                .names()
                .all(|name| name.starts_with("conv2d") || name.starts_with("batch_normalization"));
        Ok(Self {
            source: Source::Order {
                shortcut_first,
                automatic,
            },
            plan: Plan {
                blocks,
                pre_activation,
                ..Plan::new(Block::Bottleneck, [0; 4], 0)
            },
        })
    }

    /// The variants that have such weights, and which of them is the usual one.
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
            Source::Names if self.plan.style == Style::Stacks => one(&[KerasHub], Certain),
            Source::Names if self.plan.style == Style::Blocks => {
                if self.plan.pre_activation {
                    one(&[KerasApplicationsV2], Certain)
                } else {
                    one(&[KerasApplications], Certain)
                }
            }
            Source::Names => match evidence.head_name() {
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
            Source::Order { .. } if self.plan.pre_activation => {
                one(&[KerasApplicationsV2], Inferred)
            }
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
            Source::Names => {
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
        let MaxPool { padding, zeros } = plan.max_pool.unwrap_or(MaxPool::new(PaddingRule::all(1)));
        let max_pool = match (padding.fill, zeros) {
            (Fill::Same, _) => "3x3/2, padded as TensorFlow's same",
            (_, true) => "3x3/2, one row and column of zeros around",
            (_, false) if padding == PaddingRule::all(0) => "3x3/2, no padding",
            (_, false) => "3x3/2, one row and column of minus infinity around",
        };
        let head = match evidence.head_name() {
            None => "none".to_owned(),
            Some(name) if variant == Variant::Notebook => {
                format!("2x2 average, flatten (HWC), '{name}'")
            }
            Some(name) => format!("global average, '{name}'"),
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

/// Counts the blocks of each stage: a block has kernels 1×1, 3×3, 1×1, the first of a stage also a
/// 1×1 shortcut. Also says whether that comes before the last kernel, if shapes show it.
fn blocks(kernels: &[[usize; 4]]) -> Result<(Vec<usize>, Option<bool>), Error> {
    let strange = |at: usize| {
        let kernel = kernels.get(at);
        unknown(format!(
            "convolution {at} of {} has a kernel of {kernel:?}, which is in no bottleneck of a \
             ResNet; if it is one, save the whole model instead of the weights",
            kernels.len()
        ))
    };
    let mut blocks: Vec<usize> = Vec::new();
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
        // If not a shortcut, the next kernel starts a block: a 1×1 with fewer output channels.
        match kernels.get(at + 3) {
            Some(&[1, 1, fourth_in, fourth_out]) if fourth_out == out => {
                blocks.push(0);
                if third_in != fourth_in {
                    let first = third_in != width;
                    if shortcut_first.is_some_and(|before| before != first) {
                        return Err(unknown(
                            "its shortcuts come before the last convolution of some blocks and \
                             after that of others"
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
    Ok((blocks, shortcut_first))
}

impl Family {
    /// The plan of a variant, with the blocks found in the file.
    fn plan(&self, variant: Variant) -> Plan {
        let hub = hub::usual(self.plan.clone());
        let padded = |padding, zeros| Some(MaxPool { padding, zeros });
        let first = Plan {
            style: Style::Branches,
            stride_site: StrideSite::First,
            shortcut: Shortcut::Convolution,
            projects: Projects::All,
            shortcut_order: ShortcutOrder::Last,
            stem: vec![0],
            bias: Bias::All,
            epsilon: 1e-3,
            max_pool: padded(PaddingRule::all(1), true),
            ..hub.clone()
        };
        let applications = |plan: Plan| Plan {
            style: Style::Blocks,
            epsilon: 1.001e-5,
            shortcut_order: ShortcutOrder::BeforeLast,
            ..plan
        };
        let mut plan = match variant {
            Variant::Fchollet => first,
            Variant::FcholletUnpadded | Variant::Notebook => Plan {
                max_pool: padded(PaddingRule::all(0), false),
                ..first
            },
            Variant::TfOfficial => Plan {
                stride_site: StrideSite::Middle,
                bias: Bias::None,
                epsilon: 1e-5,
                stride_padding: PaddingRule::filled(Fill::Same),
                max_pool: padded(PaddingRule::filled(Fill::Same), false),
                ..first
            },
            Variant::KerasApplicationsV2 => {
                let last = first.blocks.len() - 1;
                applications(Plan {
                    strides: (0..=last)
                        .map(|stage| if stage == last { 1 } else { 2 })
                        .collect(),
                    strides_last: true,
                    stride_site: StrideSite::Middle,
                    bias: Bias::Unnormalised,
                    ..first
                })
            }
            Variant::KerasHub => hub,
            // `KerasApplications`; no other variant can be chosen for a Keras file.
            _ => applications(first),
        };
        if let Source::Order { shortcut_first, .. } = self.source {
            plan.shortcut_order = if shortcut_first {
                ShortcutOrder::BeforeLast
            } else {
                ShortcutOrder::Last
            };
        }
        plan
    }
}

/// The network of a plan, followed by the classifier of the file.
fn network(variant: Variant, plan: Plan, evidence: &Evidence) -> Network {
    let is_lesson = variant == Variant::Notebook;
    let name = if is_lesson {
        "notebook".to_owned()
    } else {
        plan.name()
    };
    let input = Kind::Input {
        size: [None; 2],
        channels: COLOURS,
        integers: false,
    };
    let mut layers = vec![("image", "InputLayer", input), hub::of_plan(plan)];
    let head = evidence.head_name();
    if let Some(head) = &head {
        if is_lesson {
            let pool = Kind::AvgPool(Pool {
                kernel: [2; 2],
                stride: [2; 2],
                same: false,
                channels: Channels::Last,
            });
            layers.push(("avg_pool", "AveragePooling2D", pool));
            layers.push(("flatten", "Flatten", Kind::Flatten { first: false }));
        } else {
            let mean = Kind::GlobalAverage { keep: false };
            layers.push(("avg_pool", "GlobalAveragePooling2D", mean));
        }
        let dense = Kind::Dense(Dense {
            units: None,
            bias: true,
            activation: if variant == Variant::KerasHub {
                Activation::Linear
            } else {
                Activation::Softmax
            },
        });
        layers.push((head, "Dense", dense));
    }
    Network::chain(&name, layers)
}

/// The error for weights that belong to no known family.
pub(super) fn unknown(reason: String) -> Error {
    Error::WeightsUnrecognised {
        reason: format!("the file does not describe its network, and {reason}"),
        hint: None,
    }
}
