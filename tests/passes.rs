//! Every pass preserves the value of every output. Needs no GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Numbers, assert_close, reference};
use resnet_wgpu::graph::{Graph, Role, ValueId};
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::graph::{Add, BatchNorm, Conv2d, Op, Relu, Statistics};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};

struct Net {
    graph: Graph,
    numbers: Numbers,
}

impl Net {
    fn new() -> (Self, ValueId) {
        let mut graph = Graph::new();
        let input = graph.input("input", Shape::new(2, 6, 5, 7)).unwrap();
        (
            Self {
                graph,
                numbers: Numbers::new(3),
            },
            input,
        )
    }

    fn conv(&mut self, name: &str, x: ValueId, with_bias: bool) -> ValueId {
        let c = self.graph.get(x).unwrap().shape.c;
        let weight = self
            .graph
            .param("weight", self.numbers.tensor(&[6, c, 3, 3]));
        let bias = with_bias.then(|| self.graph.param("bias", self.numbers.tensor(&[6])));
        let conv = Conv2d::new(weight).bias(bias).padding(1);
        self.graph.add(name, Op::Conv2d(conv), &[x]).unwrap()
    }

    fn norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let norm = BatchNorm {
            gamma: self.graph.param("gamma", self.numbers.positive(&[6])),
            beta: self.graph.param("beta", self.numbers.tensor(&[6])),
            mean: self.graph.param("mean", self.numbers.tensor(&[6])),
            variance: self.graph.param("variance", self.numbers.positive(&[6])),
            epsilon: 1e-3,
            statistics: Statistics::Running,
            relu: false,
        };
        self.graph.add(name, Op::BatchNorm(norm), &[x]).unwrap()
    }

    fn op(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.add(name, op, inputs).unwrap()
    }

    /// The operations after optimisation; checks that the outputs kept their values.
    fn optimised(&mut self, fusion: Fusion) -> Vec<&'static str> {
        let x = self.numbers.tensor(&[2, 6, 5, 7]);
        let want = reference(&self.graph, &x);
        let graph = optimize(&self.graph, fusion).unwrap();
        let got = reference(&graph, &x);
        assert_eq!(want.len(), got.len(), "outputs");
        for (index, (want, got)) in want.iter().zip(&got).enumerate() {
            let scale = largest(want);
            let tolerance = Tolerance {
                atol: scale * 1e-6,
                rtol: 1e-5,
            };
            assert_close(
                &format!("output {index}, fusion {fusion}"),
                want,
                got,
                tolerance,
            );
        }
        let names = |g: &Graph| -> Vec<String> {
            g.outputs()
                .iter()
                .map(|&v| g.get(v).unwrap().name.clone())
                .collect()
        };
        assert_eq!(
            names(&self.graph),
            names(&graph),
            "outputs keep their names"
        );
        graph.nodes().iter().map(|n| n.op.kind()).collect()
    }
}

fn largest(tensor: &Tensor) -> f32 {
    tensor.data().iter().fold(0.0, |a, b| a.max(b.abs()))
}

/// conv, norm, relu, conv, norm, + shortcut, relu
fn block(with_bias: bool) -> Net {
    let (mut net, x) = Net::new();
    let a = net.conv("conv1", x, with_bias);
    let a = net.norm("bn1", a);
    let a = net.op("relu1", Op::Relu(Relu), &[a]);
    let a = net.conv("conv2", a, with_bias);
    let a = net.norm("bn2", a);
    let a = net.op("add", Op::Add(Add { relu: false }), &[a, x]);
    let y = net.op("relu2", Op::Relu(Relu), &[a]);
    net.graph.mark_output(y).unwrap();
    net
}

#[test]
fn a_residual_block_becomes_two_convolutions() {
    for with_bias in [false, true] {
        assert_eq!(
            block(with_bias).optimised(Fusion::Full),
            ["conv2d", "conv2d"],
            "fused"
        );
        assert_eq!(
            block(with_bias).optimised(Fusion::Layers),
            [
                "conv2d",
                "batch_norm",
                "conv2d",
                "batch_norm",
                "residual_add"
            ],
            "the lesson's chain"
        );
        assert_eq!(
            block(with_bias).optimised(Fusion::None).len(),
            7,
            "nothing fused"
        );
    }
}

#[test]
fn fused_values_are_called_like_the_last_node_and_layers_like_the_first() {
    let net = block(true);
    let graph = optimize(&net.graph, Fusion::Full).unwrap();
    let nodes: Vec<(&str, &str)> = graph
        .nodes()
        .iter()
        .map(|n| (n.name.as_str(), graph.get(n.output).unwrap().name.as_str()))
        .collect();
    assert_eq!(
        nodes,
        [("conv1", "relu1"), ("conv2", "relu2")],
        "layer and value"
    );
}

#[test]
fn a_value_that_is_asked_for_is_not_fused_away() {
    for name in ["conv1", "bn1", "relu1", "conv2", "bn2", "add"] {
        let mut net = block(true);
        let tap = net.graph.find(name).unwrap();
        net.graph.mark_output(tap).unwrap();
        let kinds = net.optimised(Fusion::Full);
        // relu1 and the output are values of the fused graph anyway.
        let more = usize::from(name != "relu1");
        assert!(kinds.len() >= 2 + more, "{name}: {kinds:?}");
        net.optimised(Fusion::Layers);
    }
}

#[test]
fn a_value_with_two_readers_is_not_fused_away() {
    let (mut net, x) = Net::new();
    let a = net.conv("conv", x, true);
    let b = net.norm("bn", a);
    let y = net.op("add", Op::Add(Add { relu: false }), &[a, b]);
    net.graph.mark_output(y).unwrap();
    assert_eq!(
        net.optimised(Fusion::Full),
        ["conv2d", "batch_norm", "residual_add"],
        "conv is read twice"
    );
}

#[test]
fn a_relu_between_convolution_and_batch_norm_stays_there() {
    let (mut net, x) = Net::new();
    let a = net.conv("conv", x, true);
    let a = net.op("relu", Op::Relu(Relu), &[a]);
    let y = net.norm("bn", a);
    net.graph.mark_output(y).unwrap();
    assert_eq!(
        net.optimised(Fusion::Full),
        ["conv2d", "batch_norm"],
        "the ReLU joins the convolution"
    );
}

#[test]
fn a_projection_block_keeps_its_shortcut_convolution() {
    let (mut net, x) = Net::new();
    let a = net.conv("main", x, false);
    let a = net.norm("bn main", a);
    let b = net.conv("shortcut", x, false);
    let b = net.norm("bn shortcut", b);
    let a = net.op("add", Op::Add(Add { relu: false }), &[a, b]);
    let y = net.op("relu", Op::Relu(Relu), &[a]);
    net.graph.mark_output(y).unwrap();
    assert_eq!(
        net.optimised(Fusion::Full),
        ["conv2d", "conv2d"],
        "one of them adds the other"
    );
}

#[test]
fn a_convolution_that_strides_leaves_the_addition_to_the_other_one() {
    for [first, last] in [[2, 1], [1, 2], [1, 1], [2, 2]] {
        let (mut net, x) = Net::new();
        let mut summand = |name: &str, stride: usize| {
            // Both leave 3×4 of 5×7 pixels.
            let window = if stride == 1 { [3, 4] } else { [1, 1] };
            let weight = net.numbers.tensor(&[6, 6, window[0], window[1]]);
            let weight = net.graph.param("weight", weight);
            net.op(name, Op::Conv2d(Conv2d::new(weight).stride(stride)), &[x])
        };
        let a = summand("first", first);
        let b = summand("last", last);
        let y = net.op("add", Op::Add(Add { relu: true }), &[a, b]);
        net.graph.mark_output(y).unwrap();
        net.optimised(Fusion::Full);
        let graph = optimize(&net.graph, Fusion::Full).unwrap();
        let adds = graph.nodes().iter().find(|n| n.inputs.len() == 2).unwrap();
        let want = if [first, last] == [1, 2] {
            "first"
        } else {
            "last"
        };
        assert_eq!(adds.name, want, "strides {first} and {last}");
    }
}

#[test]
fn twice_the_same_value_can_be_added() {
    let (mut net, x) = Net::new();
    let a = net.conv("conv", x, true);
    let y = net.op("add", Op::Add(Add { relu: true }), &[a, a]);
    net.graph.mark_output(y).unwrap();
    assert_eq!(
        net.optimised(Fusion::Full),
        ["conv2d", "residual_add"],
        "conv is read twice"
    );
}

#[test]
fn two_additions_in_a_row_do_not_both_land_in_one_convolution() {
    let (mut net, x) = Net::new();
    let a = net.conv("conv", x, true);
    let a = net.op("add1", Op::Add(Add { relu: false }), &[a, x]);
    let y = net.op("add2", Op::Add(Add { relu: false }), &[a, x]);
    net.graph.mark_output(y).unwrap();
    assert_eq!(
        net.optimised(Fusion::Full),
        ["conv2d", "residual_add"],
        "one residual per convolution"
    );
}

#[test]
fn roles_go_with_their_values_into_the_fused_graph_and_its_plan() {
    let (mut net, input) = Net::new();
    let x = net.conv("conv", input, false);
    let y = net.op("relu", Op::Relu(Relu), &[x]);
    net.graph.set_role(Role::Image, input).unwrap();
    net.graph.set_role(Role::Stage(1), x).unwrap();
    net.graph.set_role(Role::FeatureMap, y).unwrap();
    net.graph.mark_output(y).unwrap();
    let fused = optimize(&net.graph, Fusion::Full).unwrap();
    let name = |role| fused.value_of(role).map(|value| value.name.as_str());
    assert_eq!(name(Role::Image).unwrap(), "input", "what goes in");
    assert_eq!(name(Role::FeatureMap).unwrap(), "relu", "what comes out");
    assert!(name(Role::Stage(1)).is_err(), "fused away with its value");
    assert!(fused.get(y).is_err(), "an id does not outlive its graph");

    let plan = Plan::new(&fused, &PlanOptions::new(Capabilities::default())).unwrap();
    assert_eq!(plan.output(Role::FeatureMap).unwrap().name, "relu", "role");
    assert_eq!(
        plan.output("relu").unwrap().roles,
        [Role::FeatureMap],
        "name"
    );
    let error = plan.output(Role::Logits).unwrap_err().to_string();
    assert!(
        error.contains("no logits") && error.contains("relu"),
        "{error}"
    );
}
