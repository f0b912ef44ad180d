//! Shows what a network looks at: adds the class activation map of one class to a graph.
//!
//! For the last feature map before a global average pool and the classifier, this is the map of
//! Zhou et al. 2016 (arXiv:1512.04150): `Σ_c w[class,c] · x[c,h,w]`. It is as coarse as the feature
//! map: 2×2 for images of 64×64. An earlier feature map is finer; there the gradient of the logit
//! replaces the weights, and only its positive part counts, pixel by pixel:
//! `Σ_c max(∂logit/∂x[c,h,w], 0) · x[c,h,w]`, Layer-CAM (Jiang et al. 2021,
//! doi:10.1109/TIP.2021.3089943).
//!
//! Which feature map is best for images of 64×64 was measured on 100 renderings of solids with
//! masks, at 95 % accuracy: how often the peak of the map lies on the object, with the usual margin
//! of 15 pixels in 224 (the pointing game of Zhang et al. 2016, arXiv:1608.00507), and without.
//! First block of the 4×4 stage: 99 %, 90 %; its last block: 93 %, 84 %, because a 1×1 convolution
//! with a stride reads every other pixel, and the blocks in between spread its gradient. The 8×8
//! stage: 82 % and less. The plain 2×2 map has its peak in a corner. Grad-CAM (arXiv:1610.02391),
//! larger images, and sums and products of the maps of several stages are no better. All this holds
//! for maps aligned with their pixels ([`Sites`](super::Sites)): a map stretched evenly over the
//! image is off by a tenth of it, and the figures are 98 % and 87 %.
//!
//! The gradient of a ResNet consists of the same operations as a ResNet: that of a convolution is a
//! convolution with its kernel rotated by half a turn and its channels swapped, that of a sum goes
//! to both terms, and a ReLU passes gradients where it passed values. Each operation defines its
//! own gradient; the backward pass is more nodes of the same graph, planned and run like all
//! others, on every path.

use std::collections::{HashMap, HashSet};

use crate::error::Error;
use crate::graph::{
    Add, Backward, ChannelDot, ClassGradient, FlattenOrder, Graph, Linear, Node, Op, ParamId,
    ReluGradient, Role, ValueId,
};
use crate::tensor::Tensor;

/// The name of the value that holds a class activation map.
pub const CLASS_MAP: &str = "class_map";

/// Minimum side of the last feature map for it to be used: that of ResNet-50.
const FINE: usize = 7;

/// Minimum side of an earlier feature map for it to be used.
const COARSE: usize = 4;

/// Selects the class activation map that is added to a graph: by default that of the most likely
/// class, at the feature map that suits the size of the image. That is the last one if it has at
/// least 7×7 pixels, otherwise that of the first block in the last stage of at least 4×4.
///
/// A map at the last feature map costs next to nothing. One at an earlier feature map takes a pass
/// backwards, with weights of its own: for images of 64×64, a ResNet-50 then takes three times as long
/// and 1.9 times the memory for weights. [`ClassMap::coarse`] does without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClassMap {
    class: Option<usize>,
    at: Option<String>,
    coarse: bool,
}

impl ClassMap {
    /// Selects a class; `None` is the class with the largest logit. On a GPU the class can be
    /// changed between runs.
    #[must_use]
    pub fn class(self, class: impl Into<Option<usize>>) -> Self {
        Self {
            class: class.into(),
            ..self
        }
    }

    /// Takes the last feature map, however coarse it is: a map of few pixels that costs nothing.
    #[must_use]
    pub fn coarse(self) -> Self {
        Self {
            coarse: true,
            ..self
        }
    }

    /// Selects the feature map by its name.
    #[must_use]
    pub fn at(self, feature_map: impl Into<String>) -> Self {
        Self {
            at: Some(feature_map.into()),
            ..self
        }
    }
}

/// Adds the value [`CLASS_MAP`], `[n, 1, h, w]`, as an output. This is best done after
/// [`optimize`](crate::passes::optimize), so that the backward pass is optimised too.
///
/// # Errors
/// [`Error::Model`] if the graph has no classifier after a feature map, or no such class or feature
/// map; [`Error::Operator`] if an operation on the backward path has no gradient here, such as a
/// max pool.
pub fn add_class_map(graph: &Graph, map: &ClassMap) -> Result<Graph, Error> {
    let head = Head::find(graph)?;
    if let Some(class) = map.class
        && class >= head.classes
    {
        return Err(refuse(format!(
            "there is no class {class}, the network has {}",
            head.classes
        )));
    }
    let target = match &map.at {
        Some(name) => graph.find(name)?,
        None => default_target(graph, &head, map.coarse)?,
    };
    let mut way = WayBack {
        graph: graph.clone(),
        gradients: HashMap::new(),
        dependents: dependents(graph, target),
    };
    if !way.dependents.contains(&head.pooled) {
        return Err(refuse(format!(
            "the classifier does not depend on '{}'",
            graph.value(target).name
        )));
    }
    let start = way.start(&head, map.class)?;
    way.gradients.insert(head.pooled, vec![start]);
    for node in graph.nodes().iter().rev() {
        if node.output != target && way.gradients.contains_key(&node.output) {
            way.pass(node)?;
        }
    }
    let gradient = way.gradient_of(target)?;
    // Before a global pool all pixels have the same gradient, so negative ones count too.
    let positive = !feeds_pool(graph, target);
    let op = Op::ChannelDot(ChannelDot { positive });
    let map = way.graph.add(CLASS_MAP, op, &[gradient, target])?;
    way.graph.mark_output(map)?;
    way.graph.set_role(Role::ClassMap, map)?;
    Ok(way.graph)
}

fn refuse(reason: String) -> Error {
    Error::Model {
        model: "class activation map".to_owned(),
        reason,
    }
}

/// What follows the last feature map.
struct Head {
    logits: ValueId,
    /// The value that is flattened to become the classifier's input.
    pooled: ValueId,
    weight: ParamId,
    order: FlattenOrder,
    classes: usize,
}

impl Head {
    fn find(graph: &Graph) -> Result<Self, Error> {
        let linear = graph.nodes().iter().rev().find_map(|node| {
            let Op::Linear(Linear { weight, .. }) = node.op else {
                return None;
            };
            Some((node, weight))
        });
        let Some((linear, weight)) = linear else {
            return Err(refuse("the network has no linear classifier".to_owned()));
        };
        let features = linear.inputs[0];
        let mut nodes = graph.nodes().iter();
        let (mut pooled, mut order) = (features, FlattenOrder::Chw);
        if let Some(node) = nodes.find(|node| node.output == features)
            && let Op::Flatten(flatten) = node.op
        {
            (pooled, order) = (node.inputs[0], flatten.order);
        }
        Ok(Self {
            logits: linear.output,
            pooled,
            weight,
            order,
            classes: graph.shape(linear.output).c,
        })
    }

    /// The classifier's weights as one image per class, in the shape of its input.
    fn weights(&self, graph: &Graph) -> Tensor {
        let shape = graph.shape(self.pooled);
        let plane = shape.h * shape.w;
        let data = graph.tensor(self.weight).data();
        Tensor::from_fn(&[self.classes, shape.c, shape.h, shape.w], |index| {
            let (class, c, pixel) = (
                index / (shape.c * plane),
                index / plane % shape.c,
                index % plane,
            );
            let feature = match self.order {
                FlattenOrder::Chw => c * plane + pixel,
                FlattenOrder::Hwc => pixel * shape.c + c,
            };
            data[class * shape.c * plane + feature]
        })
    }
}

/// The last feature map if it is fine enough or may be coarse, otherwise that of the first block of an earlier
/// stage.
fn default_target(graph: &Graph, head: &Head, coarse: bool) -> Result<ValueId, Error> {
    let side = |value: ValueId| graph.shape(value).h.min(graph.shape(value).w);
    let mut blocks: Vec<ValueId> = graph
        .nodes()
        .iter()
        .filter(|node| is_block_output(graph, node))
        .map(|node| node.output)
        .collect();
    blocks.retain(|&value| dependents(graph, value).contains(&head.pooled));
    let Some(&last) = blocks.last() else {
        return Err(refuse(
            "the network has no residual block; name the value to make the map of".to_owned(),
        ));
    };
    if coarse || side(last) >= FINE {
        return Ok(last);
    }
    let fine = blocks.iter().rev().find(|&&value| side(value) >= COARSE);
    // If none is fine enough, the finest is taken.
    let stage = fine.or(blocks.first()).map_or(last, |&value| value);
    let of_stage = |value: &&ValueId| graph.shape(**value) == graph.shape(stage);
    Ok(blocks.iter().find(of_stage).map_or(last, |&value| value))
}

/// Whether a node completes a residual block: the sum, or the ReLU after it if that is separate.
fn is_block_output(graph: &Graph, node: &Node) -> bool {
    let is_sum = |node: &Node| {
        matches!(node.op, Op::Add(_)) || matches!(node.op, Op::Conv2d(_)) && node.inputs.len() == 2
    };
    if matches!(node.op, Op::Relu(_)) {
        let mut nodes = graph.nodes().iter();
        return nodes.any(|n| n.output == node.inputs[0] && is_sum(n));
    }
    node.op.as_operation().summary().clamps && is_sum(node)
}

fn feeds_pool(graph: &Graph, value: ValueId) -> bool {
    let mut readers = graph.nodes().iter().filter(|n| n.inputs.contains(&value));
    readers.any(|n| matches!(n.op, Op::GlobalAvgPool(_) | Op::AvgPool(_)))
}

/// A value, and all values computed from it.
fn dependents(graph: &Graph, value: ValueId) -> HashSet<ValueId> {
    let mut found = HashSet::from([value]);
    for node in graph.nodes() {
        if node.inputs.iter().any(|input| found.contains(input)) {
            found.insert(node.output);
        }
    }
    found
}

/// The backward pass from the classifier to the target.
struct WayBack {
    graph: Graph,
    /// The gradients collected for each value so far, to be summed.
    gradients: HashMap<ValueId, Vec<ValueId>>,
    /// The target and all values computed from it: no others need a gradient.
    dependents: HashSet<ValueId>,
}

impl WayBack {
    /// The gradient with respect to the classifier's input.
    fn start(&mut self, head: &Head, class: Option<usize>) -> Result<ValueId, Error> {
        let weights = head.weights(&self.graph);
        let weight = self.graph.param("class_gradient.weight", weights);
        let class = Tensor::from_fn(&[1], |_| ClassGradient::choice(class));
        let class = self.graph.param("class_gradient.class", class);
        let op = Op::ClassGradient(ClassGradient { weight, class });
        self.graph.add("class_gradient", op, &[head.logits])
    }

    /// The sum of all gradients collected for a value.
    fn gradient_of(&mut self, value: ValueId) -> Result<ValueId, Error> {
        let parts = self.gradients.remove(&value).unwrap_or_default();
        let mut parts = parts.into_iter();
        let Some(mut sum) = parts.next() else {
            unreachable!("every value on the way has a reader on the way");
        };
        for (index, part) in parts.enumerate() {
            let name = format!("{}.gradient_sum{index}", self.graph.value(value).name);
            let add = Op::Add(Add { relu: false });
            sum = self.graph.add(&name, add, &[sum, part])?;
        }
        Ok(sum)
    }

    /// Propagates the gradient of a node's output to its inputs.
    fn pass(&mut self, node: &Node) -> Result<(), Error> {
        let mut gradient = self.gradient_of(node.output)?;
        let op = node.op.as_operation();
        if op.summary().clamps {
            let name = format!("{}.relu_gradient", node.name);
            let relu = Op::ReluGradient(ReluGradient);
            gradient = self.graph.add(&name, relu, &[gradient, node.output])?;
        }
        for (index, &input) in node.inputs.iter().enumerate() {
            if !self.dependents.contains(&input) {
                continue;
            }
            let mut back = Backward {
                graph: &mut self.graph,
                node,
                gradient,
            };
            let gradient = op.gradient(&mut back, index)?;
            self.gradients.entry(input).or_default().push(gradient);
        }
        Ok(())
    }
}
