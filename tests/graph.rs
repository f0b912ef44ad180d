//! Shapes are checked when a node is added: every mistake has its own error. Needs no GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use resnet_wgpu::Error;
use resnet_wgpu::graph::{Graph, Role, ValueId};
use resnet_wgpu::internals::explain::Sites;
use resnet_wgpu::internals::graph::{
    Add, AvgPool, BatchNorm, Conv2d, Flatten, FlattenOrder, GlobalAvgPool, Linear, MaxPool, Op,
    PadValue, Padding, ParamId, Relu, Softmax, Statistics, Window,
};
use resnet_wgpu::tensor::{Shape, Tensor};

struct Bench {
    graph: Graph,
    input: ValueId,
}

/// A graph with one input of 2×6×9×7.
fn bench() -> Bench {
    let mut graph = Graph::new();
    let input = graph.input("input", Shape::new(2, 6, 9, 7)).unwrap();
    Bench { graph, input }
}

impl Bench {
    fn param(&mut self, dims: &[usize]) -> ParamId {
        self.graph.param("p", Tensor::from_fn(dims, |_| 0.0))
    }

    fn add(&mut self, op: Op) -> Result<ValueId, Error> {
        self.graph.add("node", op, &[self.input])
    }

    fn conv(&mut self, dims: &[usize], change: impl Fn(Conv2d) -> Conv2d) -> Result<Shape, Error> {
        let weight = self.param(dims);
        let value = self.add(Op::Conv2d(change(Conv2d::new(weight))))?;
        Ok(self.graph.get(value).unwrap().shape)
    }
}

#[test]
fn convolution_shapes_follow_the_formula() {
    type Case = (&'static str, [usize; 4], fn(Conv2d) -> Conv2d, [usize; 2]);
    let cases: &[Case] = &[
        ("1×1", [5, 6, 1, 1], |c| c, [9, 7]),
        ("3×3 padded", [5, 6, 3, 3], |c| c.padding(1), [9, 7]),
        (
            "3×3 padded, stride 2 on odd sizes",
            [5, 6, 3, 3],
            |c| c.padding(1).stride(2),
            [5, 4],
        ),
        (
            "7×7, stride 2",
            [5, 6, 7, 7],
            |c| c.padding(3).stride(2),
            [5, 4],
        ),
        ("as large as the image", [5, 6, 9, 7], |c| c, [1, 1]),
        ("groups", [6, 2, 1, 1], |c| c.groups(3), [9, 7]),
        (
            "asymmetric padding",
            [5, 6, 2, 2],
            |c| Conv2d {
                padding: Padding {
                    bottom: 3,
                    ..Padding::all(0)
                },
                ..c
            },
            [11, 6],
        ),
    ];
    for (what, dims, change, [h, w]) in cases {
        let shape = bench().conv(dims, change).unwrap();
        assert_eq!(shape, Shape::new(2, dims[0], *h, *w), "{what}");
    }
}

#[test]
fn a_convolution_that_does_not_fit_is_refused_with_names_and_numbers() {
    let wrong_channels = bench().conv(&[5, 4, 1, 1], |c| c).unwrap_err();
    assert_eq!(
        wrong_channels.to_string(),
        "node 'node': weight must have shape [5, 6, 1, 1], got [5, 4, 1, 1]"
    );
    let geometry = |result: Result<Shape, Error>| matches!(result, Err(Error::Geometry { .. }));
    assert!(
        geometry(bench().conv(&[5, 6, 1], |c| c)),
        "three sizes are not OIHW"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 10, 1], |c| c)),
        "kernel higher than the image"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 0, 1], |c| c)),
        "kernel without rows"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 1, 1], |c| c.stride(0))),
        "stride 0"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 1, 1], |c| c.groups(0))),
        "no groups"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 1, 1], |c| c.groups(4))),
        "6 channels in 4 groups"
    );
    assert!(
        geometry(bench().conv(&[5, 6, 1, 1], |c| c.padding(usize::MAX))),
        "padding overflows"
    );
    assert!(
        geometry(bench().conv(&[0, 6, 1, 1], |c| c)),
        "no output channels"
    );

    let mut bench = bench();
    let bias = bench.param(&[4]);
    let error = bench
        .conv(&[5, 6, 1, 1], |c| c.bias(Some(bias)))
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::ParameterShape {
                parameter: "bias",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_residual_must_have_the_shape_of_the_result() {
    let Bench { mut graph, input } = bench();
    let weight = graph.param("w", Tensor::from_fn(&[6, 6, 1, 1], |_| 0.0));
    let fits = Op::Conv2d(Conv2d::new(weight));
    assert!(
        graph.add("fits", fits, &[input, input]).is_ok(),
        "same shape"
    );
    let strided = Op::Conv2d(Conv2d::new(weight).stride(2));
    let error = graph.add("strided", strided, &[input, input]).unwrap_err();
    let Error::InputShape {
        node,
        expected,
        got,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(node, "strided", "node");
    assert_eq!(
        (expected, got),
        (Shape::new(2, 6, 5, 4), Shape::new(2, 6, 9, 7)),
        "shapes"
    );
}

#[test]
fn pools_check_their_window() {
    let pool = |window| {
        Op::MaxPool(MaxPool {
            window,
            pad_value: PadValue::NegInfinity,
        })
    };
    let average = |window| {
        Op::AvgPool(AvgPool {
            window,
            count_padding: true,
        })
    };
    assert!(
        bench().add(pool(Window::square(3, 2).padded(1))).is_ok(),
        "the usual one"
    );
    for op in [pool, average as fn(Window) -> Op] {
        assert!(
            bench().add(op(Window::square(8, 1))).is_err(),
            "wider than the image"
        );
        assert!(
            bench().add(op(Window::square(2, 1).padded(2))).is_err(),
            "sees only padding"
        );
        assert!(
            bench().add(op(Window::square(0, 1))).is_err(),
            "empty window"
        );
    }
}

#[test]
fn batch_norm_checks_every_vector_and_epsilon() {
    for (wrong, role) in [(0, "gamma"), (1, "beta"), (2, "mean"), (3, "variance")] {
        let mut bench = bench();
        let params: Vec<ParamId> = (0..4)
            .map(|i| bench.param(&[if i == wrong { 5 } else { 6 }]))
            .collect();
        let norm = BatchNorm {
            gamma: params[0],
            beta: params[1],
            mean: params[2],
            variance: params[3],
            epsilon: 1e-5,
            statistics: Statistics::Running,
            relu: false,
        };
        match bench.add(Op::BatchNorm(norm)) {
            Err(Error::ParameterShape { parameter, .. }) => assert_eq!(parameter, role, "role"),
            other => panic!("{role}: {other:?}"),
        }
    }
    for epsilon in [f32::NAN, -1.0, f32::INFINITY] {
        let mut bench = bench();
        let p = bench.param(&[6]);
        let norm = BatchNorm {
            gamma: p,
            beta: p,
            mean: p,
            variance: p,
            epsilon,
            statistics: Statistics::Running,
            relu: false,
        };
        assert!(bench.add(Op::BatchNorm(norm)).is_err(), "epsilon {epsilon}");
    }
}

#[test]
fn linear_and_softmax_want_one_pixel() {
    let mut bench = bench();
    let weight = bench.param(&[3, 6]);
    let linear = Op::Linear(Linear { weight, bias: None });
    assert!(
        matches!(bench.add(linear), Err(Error::InputShape { .. })),
        "9×7 pixels"
    );
    assert!(bench.add(Op::Softmax(Softmax)).is_err(), "9×7 pixels");
    let Bench { mut graph, input } = bench;
    let flat = graph
        .add(
            "flat",
            Op::Flatten(Flatten {
                order: FlattenOrder::Chw,
            }),
            &[input],
        )
        .unwrap();
    assert_eq!(
        graph.get(flat).unwrap().shape,
        Shape::new(2, 6 * 9 * 7, 1, 1),
        "flattened"
    );
    assert!(
        matches!(
            graph.add("fc", linear, &[flat]),
            Err(Error::ParameterShape { .. })
        ),
        "6 ≠ 378"
    );
    let pooled = graph
        .add("pool", Op::GlobalAvgPool(GlobalAvgPool), &[input])
        .unwrap();
    let y = graph.add("fc", linear, &[pooled]).unwrap();
    assert_eq!(
        graph.get(y).unwrap().shape,
        Shape::new(2, 3, 1, 1),
        "logits"
    );
}

#[test]
fn names_inputs_and_parameters_must_be_of_this_graph() {
    let Bench { mut graph, input } = bench();
    graph.add("a", Op::Relu(Relu), &[input]).unwrap();
    assert!(
        matches!(
            graph.add("a", Op::Relu(Relu), &[input]),
            Err(Error::DuplicateName { .. })
        ),
        "name"
    );
    assert!(
        matches!(
            graph.add("b", Op::Relu(Relu), &[]),
            Err(Error::InputCount { .. })
        ),
        "no input"
    );
    let add = Op::Add(Add { relu: false });
    assert!(
        matches!(graph.add("c", add, &[input]), Err(Error::InputCount { .. })),
        "one summand"
    );

    let mut other = Graph::new();
    let mut foreign = other.input("x", Shape::new(1, 1, 1, 1)).unwrap();
    for i in 0..5 {
        foreign = other
            .add(&format!("n{i}"), Op::Relu(Relu), &[foreign])
            .unwrap();
    }
    assert!(
        matches!(
            graph.add("d", Op::Relu(Relu), &[foreign]),
            Err(Error::UnknownInput { .. })
        ),
        "value"
    );
    assert!(graph.mark_output(foreign).is_err(), "output");
    let foreign = (0..9)
        .map(|_| other.param("p", Tensor::from_fn(&[1], |_| 0.0)))
        .last()
        .unwrap();
    assert!(
        graph
            .add("e", Op::Conv2d(Conv2d::new(foreign)), &[input])
            .is_err(),
        "parameter"
    );
    let error = graph.find("nothing").unwrap_err();
    assert!(error.to_string().contains("'nothing'"), "{error}");
}

#[test]
fn empty_and_enormous_shapes_are_refused() {
    let mut graph = Graph::new();
    assert!(
        graph.input("empty", Shape::new(1, 0, 4, 4)).is_err(),
        "no channels"
    );
    let huge = Shape::new(usize::MAX, 4, 4, 4);
    assert!(graph.input("huge", huge).is_err(), "does not fit memory");
}

/// A graph of one ReLU, with its input and its result.
fn one_relu() -> (Graph, [ValueId; 2]) {
    let mut graph = Graph::new();
    let x = graph.input("x", Shape::new(1, 1, 2, 2)).unwrap();
    let y = graph.add("y", Op::Relu(Relu), &[x]).unwrap();
    (graph, [x, y])
}

#[test]
fn ids_of_another_graph_are_errors_even_when_they_are_in_range() {
    let (mut graph, [x, y]) = one_relu();
    let weight = graph.param("w", Tensor::from_fn(&[1, 1, 1, 1], |_| 1.0));
    let (mut other, _) = one_relu();
    let own = other.param("w", Tensor::from_fn(&[1, 1, 1, 1], |_| 1.0));
    let foreign = |result: Result<(), Error>| matches!(result, Err(Error::ForeignId { .. }));
    assert!(foreign(other.get(x).map(|_| ())), "value");
    assert!(foreign(other.get_param(weight).map(|_| ())), "parameter");
    assert!(foreign(other.mark_output(y)), "output");
    assert!(foreign(other.set_role(Role::Logits, y)), "role");
    assert!(foreign(Sites::of(&other, y).map(|_| ())), "sites");
    let conv = Op::Conv2d(Conv2d::new(weight));
    assert!(
        foreign(other.adopt(&Graph::new(), &conv).map(|_| ())),
        "adopted"
    );
    let node = &graph.nodes()[0];
    assert!(foreign(other.macs(node).map(|_| ())), "work of a node");
    assert!(foreign(other.window(node).map(|_| ())), "window of a node");
    assert!(
        matches!(
            other.add("z", Op::Relu(Relu), &[x]),
            Err(Error::UnknownInput { .. })
        ),
        "input"
    );
    let [input] = *other.inputs() else {
        panic!("one input");
    };
    assert!(other.add("z", conv, &[input]).is_err(), "weight");
    let conv = Op::Conv2d(Conv2d::new(own));
    assert!(other.add("z", conv, &[input]).is_ok(), "all its own");
}

#[test]
fn a_clone_shares_the_ids_given_before_and_none_given_later() {
    let (mut graph, [x, y]) = one_relu();
    let mut clone = graph.clone();
    assert_eq!(clone.get(y).unwrap().name, "y", "before");
    let one = graph.add("one", Op::Relu(Relu), &[y]).unwrap();
    let two = clone.add("two", Op::Relu(Relu), &[y]).unwrap();
    assert_eq!(graph.get(one).unwrap().name, "one", "its own");
    assert_eq!(clone.get(two).unwrap().name, "two", "its own");
    assert!(graph.get(two).is_err(), "of the clone");
    assert!(clone.get(one).is_err(), "of the original");
    let grandchild = clone.clone();
    assert!(
        grandchild.get(x).is_ok() && grandchild.get(two).is_ok(),
        "both"
    );
    assert!(grandchild.get(one).is_err(), "of neither");
}

#[test]
fn a_role_is_of_one_value_and_can_be_moved() {
    let (mut graph, [x, y]) = one_relu();
    assert_eq!(graph.role(Role::Features), None, "nobody");
    assert!(
        matches!(graph.value_of(Role::Features), Err(Error::NoRole { .. })),
        "nobody"
    );
    graph.set_role(Role::Features, x).unwrap();
    graph.set_role(Role::Features, y).unwrap();
    graph.set_role(Role::Stage(2), y).unwrap();
    assert_eq!(graph.value_of(Role::Features).unwrap().name, "y", "moved");
    let roles: Vec<_> = graph.roles().collect();
    let want = [(Role::Stage(2), y), (Role::Features, y)];
    assert_eq!(roles, want, "one value, two roles");
    assert!(graph.outputs().is_empty(), "a role makes no output");
}
