//! Every kernel on the GPU against the oracle, over shapes chosen to break it. Needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Numbers, assert_close, gpu, paths, quads, reference, run_fused, run_on, run_with};
use resnet_wgpu::gpu::{Context, Session};
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::compare::Tolerance;
use resnet_wgpu::internals::graph::{
    Add, AttentionPool, AvgPool, BatchNorm, BlurPool, ChannelConv, Conv2d, Flatten, FlattenOrder,
    Gate, GlobalAvgPool, GroupNorm, Interpolation, Linear, MaxPool, Op, PadValue, Padding, Relu,
    Resize, Sigmoid, Softmax, Statistics, Window,
};
use resnet_wgpu::internals::kernels::{Precision, Storage};
use resnet_wgpu::internals::plan::{Candidate, ConvShape, OnBuffers, OnTextures, candidates};
use resnet_wgpu::passes::Fusion;
use resnet_wgpu::picture::{ChannelOrder, Preprocess};
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions, Winograd};
use resnet_wgpu::tensor::{Shape, Tensor};

/// Builds a graph around one op, runs it on every path of the GPU and compares with the oracle.
fn check_op(
    gpu: &Context,
    what: &str,
    shape: Shape,
    terms: usize,
    build: impl Fn(&mut Graph, ValueId, &mut Numbers) -> ValueId,
) {
    let mut numbers = Numbers::new(shape.len() as u64 + terms as u64);
    let mut graph = Graph::new();
    let input = graph.input("input", shape).unwrap();
    let output = build(&mut graph, input, &mut numbers);
    graph.mark_output(output).unwrap();
    let x = numbers.tensor(&shape.dims());
    let want = reference(&graph, &x);
    for path in paths(gpu) {
        let got = run_on(gpu, path, &graph, &x);
        let what = format!("{what}, on {path}");
        assert_close(&what, &want[0], &got[0], Tolerance::for_sum_of(terms));
    }
    if let Some(options) = quads(gpu, &graph) {
        let got = run_with(gpu, &options, &graph, &x);
        let what = format!("{what}, on quads");
        assert_close(&what, &want[0], &got[0], Tolerance::for_sum_of(terms));
    }
}

/// One convolution of the table: input N×C×H×W, outputs, kernel, stride, padding, groups.
struct ConvCase {
    /// What it guards.
    guards: &'static str,
    input: [usize; 4],
    out_c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 4],
    dilation: [usize; 2],
    groups: usize,
}

const PLAIN: ConvCase = ConvCase {
    guards: "",
    input: [1, 4, 5, 7],
    out_c: 4,
    kernel: [1, 1],
    stride: [1, 1],
    padding: [0; 4],
    dilation: [1, 1],
    groups: 1,
};

const CONVOLUTIONS: &[ConvCase] = &[
    ConvCase {
        guards: "1×1 on one pixel",
        input: [1, 4, 1, 1],
        ..PLAIN
    },
    ConvCase {
        guards: "1×1 with channels that are no multiple of four",
        input: [1, 5, 3, 4],
        out_c: 7,
        ..PLAIN
    },
    ConvCase {
        guards: "1×1 with more channels than a tile, and a partial last tile",
        input: [1, 70, 9, 8],
        out_c: 130,
        ..PLAIN
    },
    ConvCase {
        guards: "1×1 with stride 2 on odd sizes and a batch of 3",
        input: [3, 6, 7, 9],
        out_c: 10,
        stride: [2, 2],
        ..PLAIN
    },
    ConvCase {
        guards: "1×1 with padding, which only the general kernel has",
        input: [1, 8, 4, 4],
        padding: [1, 1, 1, 1],
        ..PLAIN
    },
    ConvCase {
        guards: "1×1 with unequal strides",
        input: [2, 4, 6, 9],
        stride: [3, 2],
        ..PLAIN
    },
    ConvCase {
        guards: "3×3 on one pixel: the kernel is mostly padding",
        input: [1, 3, 1, 1],
        kernel: [3, 3],
        padding: [1; 4],
        ..PLAIN
    },
    ConvCase {
        guards: "3×3, H ≠ W, batch 3",
        input: [3, 5, 6, 11],
        out_c: 9,
        kernel: [3, 3],
        padding: [1; 4],
        ..PLAIN
    },
    ConvCase {
        guards: "3×3 with stride 2 on odd sizes",
        input: [1, 8, 13, 7],
        out_c: 12,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1; 4],
        ..PLAIN
    },
    ConvCase {
        guards: "3×3 with stride 2 and TensorFlow's SAME padding: 0 before, 1 after",
        input: [2, 8, 8, 6],
        kernel: [3, 3],
        stride: [2, 2],
        padding: [0, 1, 0, 1],
        ..PLAIN
    },
    ConvCase {
        guards: "padding that differs on all four sides",
        input: [1, 4, 5, 6],
        kernel: [3, 3],
        padding: [2, 0, 1, 3],
        ..PLAIN
    },
    ConvCase {
        guards: "3×3 with two tiles of pixels and of channels",
        input: [1, 32, 12, 13],
        out_c: 100,
        kernel: [3, 3],
        padding: [1; 4],
        ..PLAIN
    },
    ConvCase {
        guards: "7×7 stem, three channels",
        input: [2, 3, 31, 20],
        out_c: 64,
        kernel: [7, 7],
        stride: [2, 2],
        padding: [3; 4],
        ..PLAIN
    },
    ConvCase {
        guards: "a kernel that is not square",
        input: [1, 6, 8, 9],
        out_c: 5,
        kernel: [1, 5],
        padding: [0, 0, 2, 2],
        ..PLAIN
    },
    ConvCase {
        guards: "a kernel as large as the image",
        input: [1, 4, 6, 5],
        out_c: 8,
        kernel: [6, 5],
        ..PLAIN
    },
    ConvCase {
        guards: "depthwise",
        input: [2, 7, 9, 6],
        out_c: 7,
        kernel: [3, 3],
        padding: [1; 4],
        groups: 7,
        ..PLAIN
    },
    ConvCase {
        guards: "depthwise with a channel multiplier",
        input: [1, 3, 5, 5],
        out_c: 6,
        kernel: [3, 3],
        padding: [1; 4],
        groups: 3,
        ..PLAIN
    },
    ConvCase {
        guards: "groups whose channels straddle vectors",
        input: [1, 6, 5, 4],
        out_c: 9,
        kernel: [3, 3],
        padding: [1; 4],
        groups: 3,
        ..PLAIN
    },
    ConvCase {
        guards: "groups of whole vectors, stride 2, as in ResNeXt",
        input: [2, 32, 7, 9],
        out_c: 64,
        kernel: [3, 3],
        stride: [2, 2],
        padding: [1; 4],
        groups: 8,
        ..PLAIN
    },
    ConvCase {
        guards: "3×3 whose taps lie apart, as far as the image is padded",
        input: [2, 9, 11, 8],
        out_c: 7,
        kernel: [3, 3],
        padding: [2; 4],
        dilation: [2, 2],
        ..PLAIN
    },
    ConvCase {
        guards: "unequal dilation, with a stride, beyond the image",
        input: [1, 3, 9, 14],
        out_c: 5,
        kernel: [3, 2],
        stride: [2, 1],
        padding: [6, 5, 3, 0],
        dilation: [5, 3],
        ..PLAIN
    },
    ConvCase {
        guards: "groups whose taps lie apart",
        input: [1, 12, 7, 9],
        out_c: 24,
        kernel: [3, 3],
        padding: [4; 4],
        dilation: [4, 4],
        groups: 3,
        ..PLAIN
    },
    ConvCase {
        guards: "grouped 1×1",
        input: [1, 8, 3, 3],
        out_c: 12,
        groups: 2,
        ..PLAIN
    },
];

#[test]
fn convolutions_of_hostile_shapes_agree_with_the_oracle() {
    let gpu = gpu();
    for case in CONVOLUTIONS {
        let [n, c, h, w] = case.input;
        let [top, bottom, left, right] = case.padding;
        let weight_dims = [case.out_c, c / case.groups, case.kernel[0], case.kernel[1]];
        let terms = weight_dims[1..].iter().product::<usize>() + 1;
        for (bias, relu) in [(false, false), (true, true)] {
            let what = format!("{} (bias {bias}, relu {relu})", case.guards);
            check_op(
                &gpu,
                &what,
                Shape::new(n, c, h, w),
                terms,
                |graph, input, numbers| {
                    let weight = graph.param("weight", numbers.tensor(&weight_dims));
                    let bias = bias.then(|| graph.param("bias", numbers.tensor(&[case.out_c])));
                    let conv = Conv2d {
                        stride: case.stride,
                        padding: Padding {
                            top,
                            bottom,
                            left,
                            right,
                        },
                        dilation: case.dilation,
                        groups: case.groups,
                        relu,
                        ..Conv2d::new(weight).bias(bias)
                    };
                    graph.add("conv", Op::Conv2d(conv), &[input]).unwrap()
                },
            );
        }
    }
}

/// y = conv(x) + r, where r is a value that is used last here, or one that is kept.
fn residual_graph(groups: usize, kernel: usize, keep: bool) -> (Graph, Tensor) {
    let mut numbers = Numbers::new(77);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 8, 5, 6);
    let input = graph.input("input", shape).unwrap();
    let shift = graph.param("shift", numbers.tensor(&[8]));
    let scale = graph.param("scale", numbers.positive(&[8]));
    let norm = BatchNorm {
        gamma: scale,
        beta: shift,
        mean: shift,
        variance: scale,
        epsilon: 1e-5,
        statistics: Statistics::Running,
        relu: false,
    };
    let residual = graph
        .add("residual", Op::BatchNorm(norm), &[input])
        .unwrap();
    let weight = graph.param("weight", numbers.tensor(&[8, 8 / groups, kernel, kernel]));
    let conv = Conv2d {
        relu: true,
        ..Conv2d::new(weight).padding(kernel / 2).groups(groups)
    };
    let y = graph
        .add("conv", Op::Conv2d(conv), &[input, residual])
        .unwrap();
    graph.mark_output(y).unwrap();
    if keep {
        graph.mark_output(residual).unwrap();
    }
    (graph, numbers.tensor(&shape.dims()))
}

#[test]
fn a_fused_residual_is_added_before_the_relu_in_place_and_out_of_place() {
    let gpu = gpu();
    for (groups, kernel) in [(1, 1), (1, 3), (2, 3)] {
        for keep in [false, true] {
            let (graph, x) = residual_graph(groups, kernel, keep);
            let residual = graph.nodes().iter().find(|n| n.name == "residual");
            let residual = residual.unwrap().output;
            for path in paths(&gpu) {
                let options = PlanOptions::new(Capabilities::of(&gpu.device)).path(path);
                let plan = Plan::new(&graph, &options).unwrap();
                let name = &graph.get(residual).unwrap().name;
                let mut steps = plan.steps().iter();
                let conv = steps.rfind(|s| s.node == "conv").unwrap();
                let residual = steps.rfind(|s| &s.value == name).unwrap();
                let in_place = residual.allocations.last() == conv.allocations.last();
                // Kept values are in buffers; a kernel on textures works on a copy of them.
                let dies = !keep || (path == KernelPath::Textures && groups == 1);
                assert_eq!(
                    in_place, dies,
                    "groups {groups}, kernel {kernel}, keep {keep}, on {path}: the residual's memory \
                     is taken over when nobody keeps it"
                );
            }
            let want = reference(&graph, &x);
            let on_paths = paths(&gpu).into_iter().map(|path| {
                let got = run_on(&gpu, path, &graph, &x);
                (path.to_string(), got)
            });
            let on_quads = quads(&gpu, &graph).map(|options| {
                let got = run_with(&gpu, &options, &graph, &x);
                ("quads".to_owned(), got)
            });
            for (path, got) in on_paths.chain(on_quads) {
                for (want, got) in want.iter().zip(&got) {
                    let what = format!("groups {groups}, kernel {kernel}, keep {keep}, on {path}");
                    assert_close(
                        &what,
                        want,
                        got,
                        Tolerance::for_sum_of(8 * kernel * kernel + 2),
                    );
                }
            }
        }
    }
}

#[test]
fn elementwise_kernels_agree_with_the_oracle() {
    let gpu = gpu();
    // The last shape has more vectors than one round of the grid-stride loop has threads.
    for dims in [[1, 1, 1, 1], [3, 5, 4, 7], [1, 64, 9, 9], [2, 21, 500, 900]] {
        let [n, c, h, w] = dims;
        let shape = Shape::new(n, c, h, w);
        for (relu, statistics) in [
            (false, Statistics::Running),
            (true, Statistics::Running),
            (false, Statistics::Batch),
            (true, Statistics::Batch),
        ] {
            check_op(
                &gpu,
                &format!("batch_norm {shape} {statistics:?}"),
                shape,
                4,
                |graph, input, numbers| {
                    let mut param = |positive: bool, numbers: &mut Numbers| {
                        let tensor = if positive {
                            numbers.positive(&[c])
                        } else {
                            numbers.tensor(&[c])
                        };
                        graph.param("p", tensor)
                    };
                    let norm = BatchNorm {
                        gamma: param(true, numbers),
                        beta: param(false, numbers),
                        mean: param(false, numbers),
                        variance: param(true, numbers),
                        epsilon: 1e-3,
                        statistics,
                        relu,
                    };
                    graph.add("norm", Op::BatchNorm(norm), &[input]).unwrap()
                },
            );
            check_op(
                &gpu,
                &format!("residual_add {shape}"),
                shape,
                2,
                |graph, input, _| {
                    let y = graph.add("relu", Op::Relu(Relu), &[input]).unwrap();
                    graph
                        .add("add", Op::Add(Add { relu }), &[input, y])
                        .unwrap()
                },
            );
        }
    }
}

#[test]
fn blur_pools_mirror_the_edges_as_the_oracle_does() {
    let gpu = gpu();
    // Odd and even sides, the smallest image, a batch, channel tails, unequal strides.
    for ([n, c, h, w], stride) in [
        ([1, 4, 2, 2], [2, 2]),
        ([2, 5, 9, 7], [2, 2]),
        ([1, 64, 14, 12], [2, 2]),
        ([3, 3, 5, 8], [1, 3]),
    ] {
        let shape = Shape::new(n, c, h, w);
        let what = format!("blur pool of {shape}, stride {stride:?}");
        check_op(&gpu, &what, shape, 9, |graph, input, _| {
            let op = Op::BlurPool(BlurPool { stride });
            graph.add("blur", op, &[input]).unwrap()
        });
    }
}

#[test]
fn resized_images_agree_with_the_oracle() {
    let gpu = gpu();
    // Larger, smaller and both at once, from and to one pixel, the same size, whole and broken scales, batches,
    // channel tails.
    for ([n, c, h, w], size) in [
        ([2, 3, 9, 7], [14, 13]),
        ([2, 5, 13, 11], [4, 3]),
        ([3, 7, 5, 12], [9, 6]),
        ([1, 4, 1, 1], [3, 2]),
        ([2, 4, 6, 5], [1, 1]),
        ([2, 8, 6, 5], [6, 5]),
        ([1, 64, 8, 8], [16, 4]),
        ([2, 3, 180, 150], [160, 170]),
    ] {
        for interpolation in [Interpolation::Linear, Interpolation::Nearest] {
            let shape = Shape::new(n, c, h, w);
            let what = format!("{shape} to {size:?}, {interpolation:?}");
            // One unit in the last place of a position among so many pixels.
            let terms = 4 * h.max(w);
            check_op(&gpu, &what, shape, terms, |graph, input, _| {
                let op = Op::Resize(Resize {
                    size,
                    interpolation,
                });
                graph.add("resize", op, &[input]).unwrap()
            });
        }
    }
}

#[test]
fn group_norms_of_any_size_of_group_agree_with_the_oracle() {
    let gpu = gpu();
    // Groups of 1, 2, 3, 4, 6 and 8 channels, tails of vectors and of blocks, a batch, one pixel, many.
    for ([n, c, h, w], groups) in [
        ([2, 7, 3, 5], 7),
        ([1, 10, 4, 4], 5),
        ([3, 9, 5, 2], 3),
        ([2, 12, 1, 1], 3),
        ([1, 18, 6, 7], 3),
        ([2, 64, 17, 19], 8),
    ] {
        let shape = Shape::new(n, c, h, w);
        let what = format!("{groups} groups of {shape}");
        check_op(&gpu, &what, shape, 64, |graph, input, numbers| {
            let op = Op::GroupNorm(GroupNorm {
                gamma: graph.param("gamma", numbers.tensor(&[c])),
                beta: graph.param("beta", numbers.tensor(&[c])),
                groups,
                epsilon: 1e-5,
            });
            graph.add("norm", op, &[input]).unwrap()
        });
    }
}

#[test]
fn convolutions_along_channels_agree_with_the_oracle() {
    let gpu = gpu();
    for (n, c, taps) in [(1, 1, 3), (3, 6, 3), (2, 70, 5), (1, 256, 7), (5, 2, 9)] {
        let shape = Shape::new(n, c, 1, 1);
        let what = format!("{taps} taps over {shape}");
        check_op(&gpu, &what, shape, taps, |graph, input, numbers| {
            let weight = graph.param("weight", numbers.tensor(&[1, 1, taps]));
            let op = Op::ChannelConv(ChannelConv { weight });
            graph.add("conv", op, &[input]).unwrap()
        });
    }
}

#[test]
fn attention_pools_agree_with_the_oracle() {
    let gpu = gpu();
    // One query and several, one pixel, more tokens than threads, a batch.
    for ([n, c, h, w], queries) in [
        ([1, 4, 1, 1], 1),
        ([2, 8, 3, 5], 3),
        ([3, 64, 7, 7], 2),
        ([1, 12, 9, 11], 4),
    ] {
        let shape = Shape::new(n, c, h, w);
        let what = format!("{queries} queries of {shape}");
        check_op(&gpu, &what, shape, c + h * w, |graph, input, numbers| {
            let mean = Op::GlobalAvgPool(GlobalAvgPool);
            let mean = graph.add("mean", mean, &[input]).unwrap();
            let weight = graph.param("weight", numbers.tensor(&[queries * c, c]));
            let linear = Op::Linear(Linear { weight, bias: None });
            let asked = graph.add("queries", linear, &[mean]).unwrap();
            let positions = graph.param("positions", numbers.tensor(&[h * w + 1, c]));
            let op = Op::AttentionPool(AttentionPool { positions });
            graph.add("pool", op, &[input, asked]).unwrap()
        });
    }
}

#[test]
fn gates_of_every_image_and_channel_agree_with_the_oracle() {
    let gpu = gpu();
    // A batch, channel tails, planes that do not divide the workgroup, and one pixel.
    for [n, c, h, w] in [[3, 7, 5, 9], [1, 1, 1, 1], [2, 64, 14, 14], [2, 6, 1, 17]] {
        let shape = Shape::new(n, c, h, w);
        check_op(
            &gpu,
            &format!("gate {shape}"),
            shape,
            4,
            |graph, input, _| {
                let pool = Op::GlobalAvgPool(GlobalAvgPool);
                let gates = graph.add("gates", pool, &[input]).unwrap();
                graph.add("gate", Op::Gate(Gate), &[input, gates]).unwrap()
            },
        );
    }
}

#[test]
fn pools_of_hostile_shapes_agree_with_the_oracle() {
    let gpu = gpu();
    let window = |kernel, stride, padding: [usize; 4]| {
        let [top, bottom, left, right] = padding;
        Window {
            kernel,
            stride,
            padding: Padding {
                top,
                bottom,
                left,
                right,
            },
        }
    };
    let windows = [
        (window([3, 3], [2, 2], [1; 4]), [2, 5, 9, 7]),
        (window([3, 3], [2, 2], [0; 4]), [1, 4, 32, 31]),
        (window([3, 3], [2, 2], [0, 1, 0, 1]), [1, 4, 8, 6]),
        (window([2, 2], [2, 2], [0; 4]), [3, 8, 2, 2]),
        (window([1, 1], [2, 3], [0; 4]), [1, 6, 5, 7]),
        (window([2, 5], [1, 2], [1, 0, 4, 2]), [1, 3, 4, 6]),
        (window([3, 3], [1, 1], [1; 4]), [1, 1, 1, 1]),
    ];
    for (window, [n, c, h, w]) in windows {
        let shape = Shape::new(n, c, h, w);
        // All inputs are below zero: a zero that leaks in from the padding would win.
        let below_zero = |graph: &mut Graph, input: ValueId| {
            let one = graph.param("one", Tensor::from_fn(&[c], |_| 1.0));
            let two = graph.param("two", Tensor::from_fn(&[c], |_| 2.0));
            let zero = graph.param("zero", Tensor::from_fn(&[c], |_| 0.0));
            let norm = BatchNorm {
                gamma: one,
                beta: zero,
                mean: two,
                variance: one,
                epsilon: 0.0,
                statistics: Statistics::Running,
                relu: false,
            };
            graph.add("shift", Op::BatchNorm(norm), &[input]).unwrap()
        };
        for pad_value in [PadValue::NegInfinity, PadValue::Zero] {
            let what = format!("max pool {window:?} of {shape}, {pad_value:?}");
            check_op(&gpu, &what, shape, 4, |graph, input, _| {
                let x = below_zero(graph, input);
                graph
                    .add("pool", Op::MaxPool(MaxPool { window, pad_value }), &[x])
                    .unwrap()
            });
        }
        for count_padding in [false, true] {
            let what = format!("average pool {window:?} of {shape}, count padding {count_padding}");
            check_op(&gpu, &what, shape, 16, |graph, input, _| {
                graph
                    .add(
                        "pool",
                        Op::AvgPool(AvgPool {
                            window,
                            count_padding,
                        }),
                        &[input],
                    )
                    .unwrap()
            });
        }
    }
    for [n, c, h, w] in [[1, 1, 1, 1], [3, 7, 5, 9], [2, 2048, 7, 7], [1, 3, 40, 50]] {
        let shape = Shape::new(n, c, h, w);
        check_op(
            &gpu,
            &format!("global average pool {shape}"),
            shape,
            h * w,
            |graph, input, _| {
                graph
                    .add("pool", Op::GlobalAvgPool(GlobalAvgPool), &[input])
                    .unwrap()
            },
        );
    }
}

#[test]
fn flatten_and_linear_agree_with_the_oracle() {
    let gpu = gpu();
    for order in [FlattenOrder::Chw, FlattenOrder::Hwc] {
        for [n, c, h, w] in [[1, 3, 1, 1], [3, 5, 2, 3], [2, 8, 4, 1], [2, 6, 1, 1]] {
            let shape = Shape::new(n, c, h, w);
            let what = format!("flatten {order:?} {shape}");
            check_op(&gpu, &what, shape, 1, |graph, input, _| {
                let x = graph.add("relu", Op::Relu(Relu), &[input]).unwrap();
                graph
                    .add("flatten", Op::Flatten(Flatten { order }), &[x])
                    .unwrap()
            });
        }
    }
    for (n, inputs, outputs) in [(1, 1, 1), (3, 7, 5), (2, 2048, 1000), (1, 513, 10)] {
        let what = format!("linear {inputs} → {outputs}, batch {n}");
        for with_bias in [false, true] {
            check_op(
                &gpu,
                &what,
                Shape::new(n, inputs, 1, 1),
                inputs,
                |graph, input, numbers| {
                    let weight = graph.param("weight", numbers.tensor(&[outputs, inputs]));
                    let bias = with_bias.then(|| graph.param("bias", numbers.tensor(&[outputs])));
                    graph
                        .add("fc", Op::Linear(Linear { weight, bias }), &[input])
                        .unwrap()
                },
            );
        }
    }
}

#[test]
fn probabilities_agree_with_the_oracle_and_survive_large_logits() {
    let gpu = gpu();
    for (n, c) in [(1, 1), (3, 6), (2, 10), (1, 1000), (2, 1001)] {
        let ops = [Op::Softmax(Softmax), Op::Sigmoid(Sigmoid)];
        for (scale, op) in [1.0, 300.0].into_iter().flat_map(|s| ops.map(|op| (s, op))) {
            let what = format!("{} of {c}, batch {n}, scale {scale}", op.kind());
            check_op(
                &gpu,
                &what,
                Shape::new(n, c, 1, 1),
                256,
                |graph, input, _| {
                    let gamma = graph.param("gamma", Tensor::from_fn(&[c], |_| scale));
                    let one = graph.param("one", Tensor::from_fn(&[c], |_| 1.0));
                    let zero = graph.param("zero", Tensor::from_fn(&[c], |_| 0.0));
                    let norm = BatchNorm {
                        gamma,
                        beta: zero,
                        mean: zero,
                        variance: one,
                        epsilon: 0.0,
                        statistics: Statistics::Running,
                        relu: false,
                    };
                    let x = graph.add("scale", Op::BatchNorm(norm), &[input]).unwrap();
                    graph.add("probabilities", op, &[x]).unwrap()
                },
            );
        }
    }
}

#[test]
fn pixels_become_the_tensor_that_the_oracle_makes_of_them() {
    let gpu = gpu();
    let shape = Shape::new(2, 3, 5, 7);
    // Every byte value occurs, with a period that divides no side of the image.
    let rgba: Vec<u8> = (0u8..=255)
        .cycle()
        .step_by(37)
        .take(shape.pixels() * 4)
        .collect();
    for channels in [ChannelOrder::Rgb, ChannelOrder::Bgr] {
        let mut rules = Preprocess::TORCHVISION;
        rules.channels = channels;
        let mut graph = Graph::new();
        let input = graph.input("input", shape).unwrap();
        graph.mark_output(input).unwrap();
        let relu = graph.add("relu", Op::Relu(Relu), &[input]).unwrap();
        graph.mark_output(relu).unwrap();
        let options =
            PlanOptions::new(Capabilities::of(&gpu.device)).input(InputFormat::Rgba8(rules));
        let plan = Plan::new(&graph, &options).unwrap();
        let session = Session::new(&gpu, &plan).unwrap();
        let got = session.run_pixels(&rgba).unwrap();
        let want = resnet_wgpu::internals::reference::image_to_tensor(
            &rgba,
            shape,
            &rules.normalization(),
        )
        .unwrap();
        assert_close("image_to_tensor", &want, &got[0], Tolerance::for_sum_of(4));
        assert!(
            session.run_pixels(&rgba[1..]).is_err(),
            "a missing byte is an error"
        );
        assert!(session.run(&want).is_err(), "a tensor is not pixels");
    }
}

#[test]
fn the_fused_block_equals_the_chain_of_single_kernels() {
    let gpu = gpu();
    let mut numbers = Numbers::new(5);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 16, 9, 7);
    let input = graph.input("input", shape).unwrap();
    let mut x = graph.add("pre", Op::Relu(Relu), &[input]).unwrap();
    let shortcut = x;
    for (index, (in_c, out_c, kernel)) in
        [(16, 8, 1), (8, 8, 3), (8, 16, 1)].into_iter().enumerate()
    {
        let weight = graph.param("weight", numbers.tensor(&[out_c, in_c, kernel, kernel]));
        let conv = Conv2d::new(weight).padding(kernel / 2);
        x = graph
            .add(&format!("conv{index}"), Op::Conv2d(conv), &[x])
            .unwrap();
        let norm = BatchNorm {
            gamma: graph.param("gamma", numbers.positive(&[out_c])),
            beta: graph.param("beta", numbers.tensor(&[out_c])),
            mean: graph.param("mean", numbers.tensor(&[out_c])),
            variance: graph.param("variance", numbers.positive(&[out_c])),
            epsilon: 1e-5,
            statistics: Statistics::Running,
            relu: false,
        };
        x = graph
            .add(&format!("bn{index}"), Op::BatchNorm(norm), &[x])
            .unwrap();
        if index < 2 {
            x = graph
                .add(&format!("relu{index}"), Op::Relu(Relu), &[x])
                .unwrap();
        }
    }
    let x = graph
        .add("add", Op::Add(Add { relu: false }), &[x, shortcut])
        .unwrap();
    let y = graph.add("out", Op::Relu(Relu), &[x]).unwrap();
    graph.mark_output(y).unwrap();
    let x = numbers.tensor(&shape.dims());
    let want = reference(&graph, &x);
    for fusion in [Fusion::None, Fusion::Layers, Fusion::Full] {
        let got = run_fused(&gpu, &graph, fusion, &x);
        let scale = want[0].data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
        let tolerance = Tolerance {
            atol: scale * 1e-6,
            rtol: 1e-5,
        };
        assert_close(&format!("fusion {fusion}"), &want[0], &got[0], tolerance);
    }
}

#[test]
fn pixels_become_a_texture_where_the_first_layer_reads_one() {
    let gpu = gpu();
    let shape = Shape::new(2, 3, 5, 7);
    let mut numbers = Numbers::new(10);
    // Every byte value occurs, with a period that divides no side of the image.
    let rgba: Vec<u8> = (0u8..=255)
        .cycle()
        .step_by(37)
        .take(shape.pixels() * 4)
        .collect();
    let mut rules = Preprocess::TORCHVISION;
    rules.channels = ChannelOrder::Rgb;
    let mut graph = Graph::new();
    let input = graph.input("input", shape).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[6, 3, 3, 3]));
    let conv = Conv2d::new(weight).stride(2).padding(1);
    let y = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
    for output in [y, input] {
        graph.mark_output(output).unwrap();
    }
    let x =
        resnet_wgpu::internals::reference::image_to_tensor(&rgba, shape, &rules.normalization())
            .unwrap();
    let want = reference(&graph, &x);
    for path in paths(&gpu) {
        let options = PlanOptions::new(Capabilities::of(&gpu.device))
            .input(InputFormat::Rgba8(rules))
            .path(path);
        let plan = Plan::new(&graph, &options).unwrap();
        let conversions = plan.steps().iter().filter(|s| s.macs == 0).count();
        assert_eq!(
            conversions,
            if path == KernelPath::Textures { 3 } else { 1 },
            "from pixels, and of both outputs to buffers, on {path}"
        );
        let session = Session::new(&gpu, &plan).unwrap();
        let got = session.run_pixels(&rgba).unwrap();
        for (want, got) in want.iter().zip(&got) {
            let what = format!("pixels on {path}");
            assert_close(&what, want, got, Tolerance::for_sum_of(28));
        }
    }
}

#[test]
fn a_value_that_both_kinds_of_kernel_read_is_converted_once() {
    let gpu = gpu();
    let mut numbers = Numbers::new(11);
    let mut graph = Graph::new();
    let shape = Shape::new(3, 6, 7, 5);
    let input = graph.input("input", shape).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[6, 6, 3, 3]));
    let conv = Conv2d::new(weight).padding(1);
    let a = graph.add("a", Op::Conv2d(conv), &[input]).unwrap();
    let b = graph.add("b", Op::Conv2d(conv), &[a]).unwrap();
    let c = graph.add("c", Op::Relu(Relu), &[a]).unwrap();
    let sum = graph
        .add("sum", Op::Add(Add { relu: true }), &[b, c])
        .unwrap();
    let weight = graph.param("grouped", numbers.tensor(&[4, 3, 3, 3]));
    let grouped = Conv2d::new(weight).groups(2);
    let d = graph.add("d", Op::Conv2d(grouped), &[a]).unwrap();
    let e = graph
        .add("e", Op::GlobalAvgPool(GlobalAvgPool), &[sum])
        .unwrap();
    for output in [d, e] {
        graph.mark_output(output).unwrap();
    }
    let x = numbers.tensor(&shape.dims());
    let want = reference(&graph, &x);
    for path in paths(&gpu) {
        if path == KernelPath::Textures {
            let options = PlanOptions::new(Capabilities::of(&gpu.device)).path(path);
            let plan = Plan::new(&graph, &options).unwrap();
            let copies = plan.steps().iter().filter(|s| {
                let [from, .., to] = s.launch.kernel.bindings else {
                    return false;
                };
                s.macs == 0 && s.launch.kernel.bindings.len() == 2 && from.storage != to.storage
            });
            let copied: Vec<&str> = copies.map(|s| s.value.as_str()).collect();
            assert_eq!(copied, ["input", "a", "c", "e"], "each value once");
            for step in plan.steps() {
                for (binding, &id) in step.launch.kernel.bindings.iter().zip(&step.allocations) {
                    let storage = plan.allocation(id).storage;
                    assert_eq!(binding.storage, storage, "{}: {}", step.node, binding.name);
                }
            }
            let kept = plan.outputs().iter();
            let mut kept = kept.map(|output| plan.allocation(output.allocation).storage);
            assert!(kept.all(|s| s == Storage::Buffer), "outputs are buffers");
        }
        let got = run_on(&gpu, path, &graph, &x);
        for (want, got) in want.iter().zip(&got) {
            let what = format!("mixed kernels on {path}");
            assert_close(&what, want, got, Tolerance::for_sum_of(2000));
        }
    }
}

#[test]
fn winograd_convolutions_agree_with_the_oracle_whatever_the_tiles_cut_off() {
    let gpu = gpu();
    // Input N×C×H×W, outputs, padding.
    let cases = [
        ([1, 4, 8, 8], 4, [1; 4]),
        ([3, 5, 7, 6], 9, [1; 4]),
        ([2, 70, 9, 11], 40, [0; 4]),
        ([1, 8, 3, 3], 8, [0; 4]),
        ([1, 3, 5, 4], 6, [2, 1, 0, 1]),
        ([1, 64, 14, 14], 64, [1; 4]),
        ([2, 33, 1, 1], 35, [1; 4]),
    ];
    for ([n, c, h, w], out_c, [top, bottom, left, right]) in cases {
        let mut numbers = Numbers::new((c * h) as u64);
        let mut graph = Graph::new();
        let shape = Shape::new(n, c, h, w);
        let input = graph.input("input", shape).unwrap();
        let weight = graph.param("weight", numbers.tensor(&[out_c, c, 3, 3]));
        let bias = graph.param("bias", numbers.tensor(&[out_c]));
        let conv = Conv2d {
            padding: Padding {
                top,
                bottom,
                left,
                right,
            },
            ..Conv2d::new(weight).bias(Some(bias))
        };
        let a = graph.add("a", Op::Conv2d(conv), &[input]).unwrap();
        let relu = Conv2d { relu: true, ..conv };
        let b = graph.add("b", Op::Conv2d(relu), &[input, a]).unwrap();
        for output in [a, b] {
            graph.mark_output(output).unwrap();
        }
        let x = numbers.tensor(&shape.dims());
        let want = reference(&graph, &x);
        let winograds = [Winograd::Two, Winograd::Four];
        let runs = paths(&gpu).into_iter();
        for (path, winograd) in runs.flat_map(|path| winograds.map(|w| (path, w))) {
            let options = PlanOptions::new(Capabilities::of(&gpu.device))
                .path(path)
                .winograd(winograd);
            let plan = Plan::new(&graph, &options).unwrap();
            let mut products = plan.steps().iter().filter(|s| s.macs > 0);
            assert!(
                products.all(|s| s.launch.workgroups[2] > 1),
                "a layer of workgroups for each component"
            );
            let session = Session::new(&gpu, &plan).unwrap();
            let got = session.run(&x).unwrap();
            for (want, got) in want.iter().zip(&got) {
                let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
                // Transforms lose bits: one in F(2², 3²), four in F(4², 3²).
                let loss = if winograd == Winograd::Two { 2.0 } else { 16.0 };
                let tolerance = Tolerance {
                    atol: scale * loss * 1e-6,
                    rtol: loss * 1e-6,
                };
                let what = format!("Winograd {winograd} of {shape} to {out_c} on {path}");
                assert_close(&what, want, got, tolerance);
            }
        }
    }
}

/// A stem, a 3×3, a 1×1 and a strided convolution, the last ones with a residual.
fn convolutions_of_each_kind() -> (Graph, Tensor) {
    let mut numbers = Numbers::new(11);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 3, 23, 17);
    let input = graph.input("input", shape).unwrap();
    let mut conv = |graph: &mut Graph, dims: &[usize]| {
        let weight = graph.param("weight", numbers.tensor(dims));
        let bias = graph.param("bias", numbers.tensor(&dims[..1]));
        let padding = Padding::all(dims[2] / 2);
        Conv2d {
            padding,
            ..Conv2d::new(weight).bias(Some(bias))
        }
    };
    let stem = conv(&mut graph, &[40, 3, 7, 7]).stride(2);
    let x = graph.add("stem", Op::Conv2d(stem), &[input]).unwrap();
    let square = conv(&mut graph, &[72, 40, 3, 3]);
    let y = graph.add("square", Op::Conv2d(square), &[x]).unwrap();
    let pointwise = Conv2d {
        relu: true,
        ..conv(&mut graph, &[72, 40, 1, 1])
    };
    let y = graph.add("expand", Op::Conv2d(pointwise), &[x, y]).unwrap();
    let block = conv(&mut graph, &[72, 72, 3, 3]);
    let y = graph.add("block", Op::Conv2d(block), &[y, y]).unwrap();
    let strided = conv(&mut graph, &[33, 72, 3, 3]).stride(2);
    let y = graph.add("strided", Op::Conv2d(strided), &[y]).unwrap();
    graph.mark_output(y).unwrap();
    let x = numbers.tensor(&shape.dims());
    (graph, x)
}

/// A block of two 1×1 convolutions whose shortcut is a projection: channels of its input, between the two, and of
/// its result.
fn projected(
    graph: &mut Graph,
    x: ValueId,
    [in_c, middle_c, out_c]: [usize; 3],
    stride: [usize; 2],
    numbers: &mut Numbers,
) -> ValueId {
    let mut conv = |graph: &mut Graph, dims: [usize; 2]| {
        // Results stay near one.
        let scale = 1.0 / (dims[1] as f32).sqrt();
        let weight = numbers.tensor(&[dims[0], dims[1], 1, 1]);
        let weight = Tensor::from_fn(weight.dims(), |i| weight.data()[i] * scale);
        let weight = graph.param("weight", weight);
        let bias = graph.param("bias", numbers.tensor(&dims[..1]));
        Conv2d::new(weight).bias(Some(bias))
    };
    let reduce = Conv2d {
        stride,
        relu: true,
        ..conv(graph, [middle_c, in_c])
    };
    let projection = Conv2d {
        stride,
        ..conv(graph, [out_c, in_c])
    };
    let expand = Conv2d {
        relu: true,
        ..conv(graph, [out_c, middle_c])
    };
    let name = |layer: &str| format!("{layer} {out_c} of {in_c}");
    let shortcut = graph
        .add(&name("projection"), Op::Conv2d(projection), &[x])
        .unwrap();
    let y = graph
        .add(&name("reduce"), Op::Conv2d(reduce), &[x])
        .unwrap();
    let expand = Op::Conv2d(expand);
    graph.add(&name("expand"), expand, &[y, shortcut]).unwrap()
}

#[test]
fn a_projection_is_computed_along_with_every_tile_in_both_precisions() {
    let gpu = gpu();
    let mut numbers = Numbers::new(5);
    let mut graph = Graph::new();
    let shape = Shape::new(3, 61, 5, 7);
    let input = graph.input("input", shape).unwrap();
    let y = projected(&mut graph, input, [61, 202, 66], [2, 1], &mut numbers);
    graph.mark_output(y).unwrap();
    let x = numbers.tensor(&shape.dims());
    let want = reference(&graph, &x);
    let last = graph.nodes().last().unwrap();
    let shape = ConvShape::of(&graph, last).unwrap();
    let single = (Precision::F32, Tolerance::for_sum_of(263));
    for (precision, tolerance) in [single, (Precision::F16, halves(263))] {
        let options = PlanOptions::new(Capabilities::of(&gpu.device));
        let options = options.path(KernelPath::Buffers).precision(precision);
        let folds = |candidate: &Candidate| match candidate {
            Candidate::Buffers(OnBuffers::Folded(_)) => true,
            Candidate::Buffers(OnBuffers::FoldedSplit(tile, 2)) => tile.px == 32,
            _ => false,
        };
        let possible = candidates(&shape, &options).unwrap().into_iter();
        let possible: Vec<Candidate> = possible.filter(folds).collect();
        assert!(possible.len() >= 8, "{possible:?}");
        for candidate in possible {
            let choices = [(shape, candidate)].into_iter().collect();
            let options = options.clone().choices(choices);
            let plan = Plan::new(&graph, &options).unwrap();
            let mut steps = plan.steps().iter();
            assert!(
                steps.all(|step| !step.node.starts_with("projection")),
                "{plan}"
            );
            let got = run_with(&gpu, &options, &graph, &x);
            let what = format!("{candidate} in {precision}");
            assert_close(&what, &want[0], &got[0], tolerance);
        }
    }
}

#[test]
fn every_candidate_of_a_convolution_agrees_with_the_oracle() {
    let gpu = gpu();
    for path in paths(&gpu) {
        let options = PlanOptions::new(Capabilities::of(&gpu.device)).path(path);
        each_candidate_agrees(&gpu, &options, |_| true);
    }
}

#[test]
fn fused_sums_agree_with_the_oracle() {
    let gpu = gpu();
    let mut device = Capabilities::of(&gpu.device);
    if device.subgroup_lanes != Some([8, 8]) || !paths(&gpu).contains(&KernelPath::Textures) {
        return;
    }
    // As in a version that fuses, whichever this is.
    device.llvmpipe = Some(26);
    let options = PlanOptions::new(device).path(KernelPath::Textures);
    each_candidate_agrees(&gpu, &options, |candidate| match candidate {
        Candidate::Textures(OnTextures::Tiled(tile) | OnTextures::Winograd(_, tile)) => tile.fused,
        Candidate::Buffers(_) => false,
    });
}

/// Runs convolutions of each kind by all candidates, one after the other, of which each is as expected.
#[track_caller]
fn each_candidate_agrees(
    gpu: &Context,
    options: &PlanOptions,
    is_expected: impl Fn(&Candidate) -> bool,
) {
    let (graph, x) = convolutions_of_each_kind();
    let want = &reference(&graph, &x)[0];
    let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
    let shapes = graph
        .nodes()
        .iter()
        .filter_map(|n| ConvShape::of(&graph, n));
    let possible: Vec<(ConvShape, Vec<Candidate>)> = shapes
        .map(|shape| (shape, candidates(&shape, options).unwrap()))
        .collect();
    for candidate in possible.iter().flat_map(|(_, list)| list) {
        assert!(is_expected(candidate), "{candidate:?}");
    }
    let most = possible.iter().map(|(_, list)| list.len()).max().unwrap();
    for round in 0..most {
        let choices = possible
            .iter()
            .filter_map(|(s, c)| Some((*s, *c.get(round)?)));
        let options = options.clone().choices(choices.collect());
        let plan = Plan::new(&graph, &options).unwrap();
        let chosen: Vec<String> = plan
            .steps()
            .iter()
            .filter_map(|s| s.choice.map(|c| c.to_string()))
            .collect();
        let session = Session::new(gpu, &plan).unwrap();
        // Winograd's transforms lose up to four bits.
        let tolerance = Tolerance {
            atol: scale * 2e-5,
            rtol: 2e-5,
        };
        let got = session.run(&x).unwrap();
        assert_close(&chosen.join(" "), want, &got[0], tolerance);
    }
}

/// The tolerance for sums of products of numbers that were rounded to half precision.
fn halves(terms: usize) -> Tolerance {
    Tolerance {
        atol: 2e-3 * (terms as f32).sqrt(),
        rtol: 4e-3,
    }
}

#[test]
fn convolutions_on_halves_agree_with_the_oracle() {
    let gpu = gpu();
    for (index, case) in CONVOLUTIONS.iter().enumerate() {
        let [n, c, h, w] = case.input;
        let [top, bottom, left, right] = case.padding;
        let weight_dims = [case.out_c, c / case.groups, case.kernel[0], case.kernel[1]];
        let terms = weight_dims[1..].iter().product::<usize>() + 2;
        let mut numbers = Numbers::new(terms as u64);
        let mut graph = Graph::new();
        let shape = Shape::new(n, c, h, w);
        let input = graph.input("input", shape).unwrap();
        let weight = graph.param("weight", numbers.tensor(&weight_dims));
        let bias = graph.param("bias", numbers.tensor(&[case.out_c]));
        let conv = Conv2d {
            stride: case.stride,
            padding: Padding {
                top,
                bottom,
                left,
                right,
            },
            groups: case.groups,
            relu: true,
            ..Conv2d::new(weight).bias(Some(bias))
        };
        let y = graph.add("conv", Op::Conv2d(conv), &[input]).unwrap();
        graph.mark_output(y).unwrap();
        let x = numbers.tensor(&shape.dims());
        let want = reference(&graph, &x);
        // On textures only the format differs, so a few of them will do.
        let mut paths = paths(&gpu);
        paths.retain(|&path| path == KernelPath::Buffers || index % 4 == 3);
        for path in paths {
            let got = run_with(&gpu, &on_halves(&gpu, path), &graph, &x);
            let what = format!("{} on halves, on {path}", case.guards);
            assert_close(&what, &want[0], &got[0], halves(terms));
        }
    }
}

fn on_halves(gpu: &Context, path: KernelPath) -> PlanOptions {
    PlanOptions::new(Capabilities::of(&gpu.device))
        .path(path)
        .precision(Precision::F16)
}

#[test]
fn half_arithmetic_and_split_reductions_of_halves_agree_with_the_oracle() {
    let gpu = gpu();
    let options = on_halves(&gpu, KernelPath::Buffers);
    let mut numbers = Numbers::new(3);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 40, 5, 7);
    let input = graph.input("input", shape).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[70, 40, 3, 3]));
    let bias = graph.param("bias", numbers.tensor(&[70]));
    let conv = Conv2d::new(weight).padding(1).bias(Some(bias));
    let a = graph.add("a", Op::Conv2d(conv), &[input]).unwrap();
    let relu = Conv2d { relu: true, ..conv };
    let b = graph.add("b", Op::Conv2d(relu), &[input, a]).unwrap();
    graph.mark_output(b).unwrap();
    let x = numbers.tensor(&shape.dims());
    let want = reference(&graph, &x);
    let shapes = graph.nodes().iter();
    let shapes: Vec<ConvShape> = shapes.filter_map(|n| ConvShape::of(&graph, n)).collect();
    let possible = candidates(&shapes[0], &options).unwrap();
    let wanted = |c: &&Candidate| match c {
        Candidate::Buffers(OnBuffers::Tiled(tile)) => tile.arithmetic == Precision::F16,
        Candidate::Buffers(OnBuffers::Split(tile, 2)) => tile.px == 32 && tile.per_thread_co == 8,
        _ => false,
    };
    let chosen: Vec<Candidate> = possible.iter().filter(wanted).copied().collect();
    let half_arithmetic = Capabilities::of(&gpu.device).half_arithmetic;
    let splits = chosen
        .iter()
        .filter(|c| matches!(c, Candidate::Buffers(OnBuffers::Split(..))));
    let tiles = chosen
        .iter()
        .filter(|c| matches!(c, Candidate::Buffers(OnBuffers::Tiled(..))));
    let counts = [splits.count(), tiles.count()];
    let expected = if half_arithmetic { [2, 3] } else { [1, 0] };
    assert_eq!(counts, expected, "{possible:?}");
    for candidate in chosen {
        let options = options
            .clone()
            .choices(shapes.iter().map(|&shape| (shape, candidate)).collect());
        let got = run_with(&gpu, &options, &graph, &x);
        let what = format!("{candidate} on halves");
        assert_close(&what, &want[0], &got[0], halves(2 * 9 * 40));
    }
}

#[test]
fn every_kind_of_kernel_on_halves_agrees_with_the_oracle() {
    let gpu = gpu();
    let mut numbers = Numbers::new(21);
    let mut graph = Graph::new();
    let shape = Shape::new(2, 3, 22, 17);
    let input = graph.input("input", shape).unwrap();
    let weight = graph.param("weight", numbers.tensor(&[12, 3, 3, 3]));
    let x = graph
        .add("conv", Op::Conv2d(Conv2d::new(weight).padding(1)), &[input])
        .unwrap();
    let norm = BatchNorm {
        gamma: graph.param("gamma", numbers.positive(&[12])),
        beta: graph.param("beta", numbers.tensor(&[12])),
        mean: graph.param("mean", numbers.tensor(&[12])),
        variance: graph.param("variance", numbers.positive(&[12])),
        epsilon: 1e-5,
        relu: false,
        statistics: Statistics::Running,
    };
    let x = graph.add("norm", Op::BatchNorm(norm), &[x]).unwrap();
    let norm = BatchNorm {
        statistics: Statistics::Batch,
        ..norm
    };
    let x = graph.add("batch", Op::BatchNorm(norm), &[x]).unwrap();
    let r = graph.add("relu", Op::Relu(Relu), &[x]).unwrap();
    let x = graph
        .add("add", Op::Add(Add { relu: false }), &[x, r])
        .unwrap();
    let window = Window::square(3, 2).padded(1);
    let pad_value = PadValue::NegInfinity;
    let x = graph
        .add("max", Op::MaxPool(MaxPool { window, pad_value }), &[x])
        .unwrap();
    let grouped = graph.param("grouped", numbers.tensor(&[12, 4, 3, 3]));
    let grouped = Conv2d::new(grouped).padding(1).groups(3);
    let x = graph.add("grouped", Op::Conv2d(grouped), &[x]).unwrap();
    let average = Op::AvgPool(AvgPool {
        window: Window::square(2, 2),
        count_padding: false,
    });
    let x = graph.add("average", average, &[x]).unwrap();
    let mean = graph
        .add("mean", Op::GlobalAvgPool(GlobalAvgPool), &[x])
        .unwrap();
    let order = FlattenOrder::Chw;
    let flat = graph
        .add("flat", Op::Flatten(Flatten { order }), &[x])
        .unwrap();
    let features = graph.get(flat).unwrap().shape.c;
    let weight = graph.param("fc", numbers.tensor(&[7, features]));
    let fc = graph
        .add("fc", Op::Linear(Linear { weight, bias: None }), &[flat])
        .unwrap();
    let softmax = graph.add("softmax", Op::Softmax(Softmax), &[mean]).unwrap();
    for output in [fc, softmax, r, input] {
        graph.mark_output(output).unwrap();
    }
    let rgba: Vec<u8> = (0u8..=255)
        .cycle()
        .step_by(37)
        .take(shape.pixels() * 4)
        .collect();
    let mut rules = Preprocess::TORCHVISION;
    rules.channels = ChannelOrder::Bgr;
    let x =
        resnet_wgpu::internals::reference::image_to_tensor(&rgba, shape, &rules.normalization())
            .unwrap();
    let want = reference(&graph, &x);
    for path in paths(&gpu) {
        let options = on_halves(&gpu, path);
        let from_tensor = run_with(&gpu, &options, &graph, &x);
        let options = options.input(InputFormat::Rgba8(rules));
        let plan = Plan::new(&graph, &options).unwrap();
        let session = Session::new(&gpu, &plan).unwrap();
        let from_pixels = session.run_pixels(&rgba).unwrap();
        for got in [from_tensor, from_pixels] {
            for (want, got) in want.iter().zip(&got) {
                let scale = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
                let tolerance = Tolerance {
                    atol: scale * 4e-3,
                    rtol: 0.0,
                };
                assert_close(&format!("halves on {path}"), want, got, tolerance);
            }
        }
    }
}

#[test]
fn halves_in_textures_are_the_nearest_ones() {
    let gpu = gpu();
    if !paths(&gpu).contains(&KernelPath::Textures) {
        return;
    }
    let mut graph = Graph::new();
    let shape = Shape::new(2, 7, 9, 11);
    let input = graph.input("input", shape).unwrap();
    let op = Op::MaxPool(MaxPool {
        window: Window::square(1, 1),
        pad_value: PadValue::NegInfinity,
    });
    let y = graph.add("same", op, &[input]).unwrap();
    graph.mark_output(y).unwrap();
    // Two ties, one above an even mantissa; then the limits of the format; then other numbers.
    let place = 2.0f32.powi(-11);
    let special = [1.0 + place, 1.0 + 3.0 * place, -1.0 - place, 65519.0, -1e6];
    let random = Numbers::new(23).tensor(&shape.dims());
    let value = |i: usize| special.get(i).copied().unwrap_or(random.data()[i]);
    let x = Tensor::from_fn(&shape.dims(), value);
    let got = run_with(&gpu, &on_halves(&gpu, KernelPath::Textures), &graph, &x);
    let nearest = |v: f32| half::f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32();
    for (&x, &got) in x.data().iter().zip(got[0].data()) {
        // Below this, half-precision numbers are spaced more coarsely.
        if x.abs() > 1e-4 {
            assert_eq!(got, nearest(x), "of {x}");
        }
    }
}

#[test]
fn what_is_too_large_for_a_half_becomes_the_largest_one() {
    let gpu = gpu();
    let mut graph = Graph::new();
    let shape = Shape::new(1, 4, 1, 3);
    let input = graph.input("input", shape).unwrap();
    let y = graph.add("relu", Op::Relu(Relu), &[input]).unwrap();
    graph.mark_output(y).unwrap();
    let x = Tensor::from_fn(&shape.dims(), |i| [1e6, 65504.0, 0.1, -3.0][i % 4]);
    let got = run_with(&gpu, &on_halves(&gpu, KernelPath::Buffers), &graph, &x);
    let rounded = half::f16::from_f32(0.1).to_f32();
    let want = Tensor::from_fn(&shape.dims(), |i| [65504.0, 65504.0, rounded, 0.0][i % 4]);
    assert_eq!(got[0].data(), want.data());
}
