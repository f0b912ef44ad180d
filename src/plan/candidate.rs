//! The ways to compute a convolution, as plain data with stable names.
//!
//! A [`Candidate`] is an algorithm of one of the back ends with its tile. [`candidates`] lists
//! those that a device can run for a layer, the default first; [`Choices`] replaces defaults, layer
//! by layer, with what `resnet tune` has measured. The text form of a layer and of a candidate is
//! stable, because the cache of tuned choices stores it.

use std::collections::HashMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::buffers::OnBuffers;
use super::lower::{Lowered, back_end};
use super::options::{PlanOptions, Winograd};
use super::projection::projection_of;
use super::textures::OnTextures;
use crate::error::Error;
use crate::graph::{Conv2d, Graph, Node, Op};
use crate::kernels::Precision;
use crate::kernels::conv2d::{Geometry, Projection, Residual};
use crate::kernels::winograd::{self, OutTile};

/// A convolution without its weights: layers with equal shapes are equally fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape(Geometry);

impl ConvShape {
    /// The shape of a convolution. It includes whether there is a residual, but not where that is.
    pub fn new(geometry: Geometry) -> Self {
        Self(Geometry {
            residual: match geometry.residual {
                Residual::None => Residual::None,
                Residual::Buffer | Residual::InPlace | Residual::Folded => Residual::Buffer,
            },
            ..geometry
        })
    }

    /// The shape of a node; `None` if it is not a convolution of this graph.
    pub fn of(graph: &Graph, node: &Node) -> Option<Self> {
        match &node.op {
            Op::Conv2d(conv) if graph.has_node(node) => Some(Self::of_conv(graph, node, conv)),
            _ => None,
        }
    }

    /// The shape of a node that is a convolution.
    pub(super) fn of_conv(graph: &Graph, node: &Node, conv: &Conv2d) -> Self {
        let weight = graph.tensor(conv.weight);
        Self(Geometry {
            input: graph.shape(node.inputs[0]),
            output: graph.shape(node.output),
            kernel: [weight.dims()[2], weight.dims()[3]],
            stride: conv.stride,
            padding: conv.padding,
            dilation: conv.dilation,
            groups: conv.groups,
            relu: conv.relu,
            residual: if node.inputs.len() > 1 {
                Residual::Buffer
            } else {
                Residual::None
            },
            projection: projection_of(graph, node).map(|(projection, conv)| Projection {
                input: graph.shape(projection.inputs[0]),
                stride: conv.stride,
            }),
        })
    }

    /// The geometry; the residual, if there is one, counts as a separate buffer.
    pub const fn geometry(&self) -> &Geometry {
        &self.0
    }
}

impl fmt::Display for ConvShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Geometry {
            input,
            output,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            relu,
            residual,
            projection,
        } = &self.0;
        let [n, c, h, w] = input.dims();
        write!(f, "{n}x{c}x{h}x{w}-{}x{}x{}", output.c, output.h, output.w)?;
        write!(
            f,
            "-k{}x{}-s{}x{}",
            kernel[0], kernel[1], stride[0], stride[1]
        )?;
        write!(f, "-p{}.{}", padding.top, padding.left)?;
        if *dilation != [1, 1] {
            write!(f, "-d{}x{}", dilation[0], dilation[1])?;
        }
        if *groups > 1 {
            write!(f, "-g{groups}")?;
        }
        match projection {
            Some(Projection { input, stride }) => {
                let ([_, c, h, w], [down, across]) = (input.dims(), stride);
                write!(f, "-project{c}x{h}x{w}-s{down}x{across}")?;
            }
            None if *residual != Residual::None => f.write_str("-add")?,
            None => {}
        }
        if *relu {
            f.write_str("-relu")?;
        }
        Ok(())
    }
}

/// One way to compute a convolution: an algorithm of one of the back ends, with its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Candidate {
    /// On storage buffers.
    Buffers(OnBuffers),
    /// On textures.
    Textures(OnTextures),
}

impl Candidate {
    /// Whether it computes the projection that is the residual, too.
    pub const fn folds(&self) -> bool {
        match self {
            Self::Buffers(algorithm) => algorithm.folds(),
            Self::Textures(_) => false,
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buffers(algorithm) => algorithm.fmt(f),
            Self::Textures(algorithm) => algorithm.fmt(f),
        }
    }
}

impl Serialize for Candidate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The candidates that a device can run for a layer, the default first, each once.
///
/// # Errors
/// [`Error::PathUnavailable`] if the device cannot run the kernels that the options ask for.
pub fn candidates(shape: &ConvShape, options: &PlanOptions) -> Result<Vec<Candidate>, Error> {
    Ok(back_end(options)?.candidates(shape))
}

/// The sizes of Winograd tiles that a layer may use.
pub(super) fn out_tiles(
    options: &PlanOptions,
    geometry: &Geometry,
) -> impl Iterator<Item = OutTile> {
    let wanted = match options.winograd {
        // Tiles of 4×4 lose four of the eleven significant bits of half precision.
        Winograd::Auto if options.precision == Precision::F16 => &[OutTile::Two][..],
        Winograd::Auto => &[OutTile::Two, OutTile::Four],
        Winograd::Off => &[],
        Winograd::Two => &[OutTile::Two],
        Winograd::Four => &[OutTile::Four],
    };
    let applies = winograd::applies(geometry);
    wanted.iter().copied().filter(move |_| applies)
}

/// The lowered form of a convolution: by the algorithm that was chosen for it, if that is possible, otherwise by the
/// default, or the first one of those possible that may be used.
///
/// If the weights are on the device for other algorithms, but not for this one, it is one of these: the first one
/// of `kinds`, which are the defaults for each order of the weights, or else of those possible.
pub(super) fn choose<A: Copy + PartialEq + fmt::Display>(
    options: &PlanOptions,
    chosen: Option<A>,
    (possible, kinds): (Vec<A>, impl FnOnce() -> Vec<A>),
    lower: impl Fn(A) -> Lowered,
) -> Lowered {
    let trusted = |algorithm: &A| options.trusts(algorithm);
    let default = possible[0];
    let wanted = match chosen {
        Some(choice) if trusted(&choice) && possible.contains(&choice) => choice,
        _ => *possible.iter().find(|a| trusted(a)).unwrap_or(&default),
    };
    let lowered = lower(wanted);
    if !options.has_shared() || lowered.is_shared(options) {
        return lowered;
    }
    let kinds = kinds().into_iter().filter(|kind| possible.contains(kind));
    let others = kinds.chain(possible.iter().copied()).filter(trusted);
    let shared = others.map(lower).find(|other| other.is_shared(options));
    shared.unwrap_or(lowered)
}

/// The default and the other candidates, each once.
pub(super) fn distinct<A: PartialEq>(default: A, others: impl IntoIterator<Item = A>) -> Vec<A> {
    let mut distinct = vec![default];
    for other in others {
        if !distinct.contains(&other) {
            distinct.push(other);
        }
    }
    distinct
}

/// Candidates that replace the defaults of some layers, by layer shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choices(HashMap<ConvShape, Candidate>);

#[doc(hidden)]
impl Choices {
    /// Replaces the default of a layer. The planner ignores a choice that is not among the layer's
    /// [`candidates`].
    pub fn set(&mut self, shape: ConvShape, candidate: Candidate) {
        self.0.insert(shape, candidate);
    }

    /// The candidate that replaces the default of a layer.
    pub fn get(&self, shape: &ConvShape) -> Option<Candidate> {
        self.0.get(shape).copied()
    }

    /// The number of layer shapes with a replacement.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no replacements.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ConvShape, Candidate)> for Choices {
    fn from_iter<I: IntoIterator<Item = (ConvShape, Candidate)>>(choices: I) -> Self {
        Self(choices.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::plan::{
        Capabilities, Content, DeviceClass, DeviceKind, KernelPath, ParametersKey, Plan, Vendor,
    };
    use crate::tensor::{Shape, Tensor};

    /// A layer for which every algorithm is possible, with a residual behind it.
    fn graph(side: usize) -> Graph {
        let mut graph = Graph::new();
        let x = graph.input("x", Shape::new(1, 24, side, side)).unwrap();
        let weight = Tensor::from_fn(&[40, 24, 3, 3], |i| (i % 251) as f32 - 125.0);
        let weight = graph.param("weight", weight.scaled(vec![0.5; 40]));
        let bias = graph.param("bias", Tensor::from_fn(&[40], |i| i as f32));
        let mut conv = Conv2d::new(weight).padding(1);
        conv.bias = Some(bias);
        let y = graph.add("y", Op::Conv2d(conv), &[x]).unwrap();
        graph.mark_output(y).unwrap();
        graph
    }

    /// A layer with a projection, which the second layer of the graph is.
    fn projected(side: usize) -> Graph {
        let mut graph = Graph::new();
        let x = graph.input("x", Shape::new(1, 24, side, side)).unwrap();
        let conv = |graph: &mut Graph, out_c: usize, in_c: usize, relu| {
            let weight = Tensor::from_fn(&[out_c, in_c, 1, 1], |i| (i % 251) as f32 - 125.0);
            let weight = graph.param("weight", weight);
            let bias = graph.param("bias", Tensor::from_fn(&[out_c], |i| i as f32));
            let conv = Conv2d::new(weight).bias(Some(bias));
            Op::Conv2d(Conv2d { relu, ..conv })
        };
        let first = conv(&mut graph, 130, 24, true);
        let first = graph.add("first", first, &[x]).unwrap();
        let projection = conv(&mut graph, 40, 24, false);
        let projection = graph.add("projection", projection, &[x]).unwrap();
        let last = conv(&mut graph, 40, 130, true);
        let last = graph.add("last", last, &[first, projection]).unwrap();
        graph.mark_output(last).unwrap();
        graph
    }

    fn devices() -> Vec<PlanOptions> {
        let mut software = Capabilities {
            immediate_bytes: 64,
            read_write_textures: true,
            subgroup_lanes: Some([8, 8]),
            device: DeviceKind::SOFTWARE,
            ..Capabilities::default()
        };
        let eight = PlanOptions::new(software);
        software.subgroup_lanes = Some([4, 4]);
        let integrated = PlanOptions::new(Capabilities {
            half_arithmetic: true,
            device: DeviceKind {
                class: DeviceClass::Integrated,
                vendor: Vendor::Intel,
            },
            ..Capabilities::default()
        });
        vec![
            eight,
            PlanOptions::new(software),
            PlanOptions::new(software).path(KernelPath::Buffers),
            integrated.clone(),
            integrated.precision(Precision::F16),
        ]
    }

    fn shape_of(graph: &Graph) -> ConvShape {
        ConvShape::of(graph, graph.nodes().last().unwrap()).unwrap()
    }

    fn keys(plan: &Plan) -> HashSet<ParametersKey> {
        let allocations = plan.allocations().iter();
        allocations.filter_map(|a| a.parameters_key()).collect()
    }

    /// The plan with one of the candidates.
    fn plan_by(graph: &Graph, options: &PlanOptions, candidate: Candidate) -> Plan {
        let choices = [(shape_of(graph), candidate)].into_iter().collect();
        let plan = Plan::new(graph, &options.clone().choices(choices)).unwrap();
        assert!(plan.steps().iter().any(|s| s.choice == Some(candidate)));
        plan
    }

    #[test]
    fn parameters_with_the_same_key_are_the_same() {
        let pairs = [graph(12), projected(12)];
        let on_devices = devices().into_iter();
        let each = on_devices.flat_map(|options| pairs.iter().map(move |g| (options.clone(), g)));
        for (options, graph) in each {
            let mut known: HashMap<ParametersKey, (u64, Vec<f32>)> = HashMap::new();
            let mut orders = 0;
            for candidate in candidates(&shape_of(graph), &options).unwrap() {
                let plan = plan_by(graph, &options, candidate);
                for allocation in plan.allocations() {
                    let Content::Parameters(packing) = &allocation.content else {
                        continue;
                    };
                    let got = (allocation.bytes, packing.scalars());
                    let key = allocation.parameters_key().unwrap();
                    let first = known.entry(key).or_insert_with(|| {
                        orders += 1;
                        got.clone()
                    });
                    assert!(*first == got, "{candidate}: {}", allocation.name);
                }
            }
            assert!(orders >= 2, "{orders} orders of the weights");
        }
    }

    #[test]
    fn whatever_order_the_weights_are_in_another_size_reads_them() {
        let pairs = [(graph(12), graph(7)), (projected(12), projected(7))];
        let on_devices = devices().into_iter();
        let each = on_devices.flat_map(|options| pairs.iter().map(move |p| (options.clone(), p)));
        for (options, (first, second)) in each {
            let fresh = Plan::new(second, &options).unwrap().to_string();
            for candidate in candidates(&shape_of(first), &options).unwrap() {
                let there = keys(&plan_by(first, &options, candidate));
                let sharing = options.clone().share(there.clone());
                let plan = Plan::new(second, &sharing).unwrap();
                assert!(keys(&plan).is_subset(&there), "{candidate}: {plan}");
                // What was measured for a layer has the last word if it reads what is there.
                let same = plan_by(first, &sharing, candidate);
                assert!(keys(&same).is_subset(&there), "{candidate}");
            }
            // Nothing of this network is there.
            let mut other = Graph::new();
            let x = other.input("x", Shape::new(1, 24, 9, 9)).unwrap();
            let weight = Tensor::from_fn(&[40, 24, 3, 3], |i| i as f32);
            let weight = other.param("weight", weight);
            let conv = Op::Conv2d(Conv2d::new(weight));
            let y = other.add("y", conv, &[x]).unwrap();
            other.mark_output(y).unwrap();
            let there = keys(&Plan::new(&other, &options).unwrap());
            let plan = Plan::new(second, &options.share(there)).unwrap();
            assert_eq!(plan.to_string(), fresh, "as without");
        }
    }

    #[test]
    fn what_is_there_is_not_preferred_where_it_needs_more_than_the_device_has() {
        let options = &devices()[3];
        let (first, second) = (graph(12), graph(40));
        let of_the_algorithm = |winograd| options.clone().winograd(winograd);
        let four = Plan::new(&first, &of_the_algorithm(Winograd::Four)).unwrap();
        let mut little = options.clone().share(keys(&four));
        let names_winograd = |plan: &Plan| plan.to_string().contains("winograd4");
        assert!(names_winograd(&Plan::new(&second, &little).unwrap()));
        // Room for the output, not for the components.
        little.capabilities.storage_binding_bytes = 40 * 40 * 40 * 4;
        let plan = Plan::new(&second, &little).unwrap();
        assert!(!names_winograd(&plan), "{plan}");
    }
}
