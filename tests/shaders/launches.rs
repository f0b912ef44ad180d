//! Launches of every kernel and every flag, from one made-up network.

use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{
    Add, AttentionPool, AvgPool, AvgPoolGradient, BatchNorm, BlurPool, ChannelConv, ChannelDot,
    ClassGradient, Conv2d, Dilate, Flatten, FlattenOrder, Gate, GlobalAvgPool, GroupNorm,
    Interpolation, Linear, MaxPool, Op, PadValue, Padding, Relu, ReluGradient, Resize, Sigmoid,
    Softmax, Statistics, Window,
};
use resnet_wgpu::internals::kernels::textures::similarity_texture;
use resnet_wgpu::internals::kernels::{Launch, Precision};
use resnet_wgpu::internals::kernels::{
    heat_map, resample_columns, resample_rows, similarity, top_k, unit_vector,
};
use resnet_wgpu::internals::plan::{Candidate, ConvShape, candidates};
use resnet_wgpu::picture::{ChannelOrder, Preprocess};
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions};
use resnet_wgpu::tensor::{Shape, Tensor};

/// WebGPU's defaults, except for what is set.
pub(crate) fn capabilities(set: impl FnOnce(&mut Capabilities)) -> Capabilities {
    let mut capabilities = Capabilities::default();
    set(&mut capabilities);
    capabilities
}

/// Layers of every kind, chosen so that every kernel and every flag is planned at least once.
pub(crate) fn launches() -> Vec<Launch> {
    let mut graph = Graph::new();
    let input = graph.input("input", Shape::new(2, 3, 17, 13)).unwrap();
    let ones = |dims: &[usize]| Tensor::from_fn(dims, |_| 1.0);
    let conv = |graph: &mut Graph, dims: &[usize]| {
        let weight = graph.param("weight", ones(dims));
        let bias = graph.param("bias", ones(&dims[..1]));
        Conv2d::new(weight).bias(Some(bias))
    };
    let stem = conv(&mut graph, &[64, 3, 7, 7]).stride(2).padding(3);
    let x = graph.add("stem", Op::Conv2d(stem), &[input]).unwrap();
    let vector = graph.param("vector", ones(&[64]));
    let norm = BatchNorm {
        gamma: vector,
        beta: vector,
        mean: vector,
        variance: vector,
        epsilon: 1e-5,
        statistics: Statistics::Running,
        relu: true,
    };
    let x = graph.add("norm", Op::BatchNorm(norm), &[x]).unwrap();
    let of_batch = BatchNorm {
        statistics: Statistics::Batch,
        ..norm
    };
    let x = graph
        .add("norm of batch", Op::BatchNorm(of_batch), &[x])
        .unwrap();
    let r = graph.add("relu", Op::Relu(Relu), &[x]).unwrap();
    let x = graph
        .add("add", Op::Add(Add { relu: true }), &[x, r])
        .unwrap();
    let window = Window::square(3, 1).padded(1);
    let pool = Op::MaxPool(MaxPool {
        window,
        pad_value: PadValue::Zero,
    });
    let y = graph.add("max", pool, &[x]).unwrap();
    let pool = Op::AvgPool(AvgPool {
        window: Window::square(2, 2),
        count_padding: true,
    });
    let y = graph.add("avg", pool, &[y]).unwrap();
    let pointwise = conv(&mut graph, &[256, 64, 1, 1]);
    let a = graph.add("pointwise", Op::Conv2d(pointwise), &[y]).unwrap();
    let clamped = |conv: Conv2d| Op::Conv2d(Conv2d { relu: true, ..conv });
    let inner = clamped(conv(&mut graph, &[40, 64, 1, 1]));
    let inner = graph.add("inner", inner, &[y]).unwrap();
    let projection = Op::Conv2d(conv(&mut graph, &[72, 64, 1, 1]));
    let projection = graph.add("projection", projection, &[y]).unwrap();
    let expand = clamped(conv(&mut graph, &[72, 40, 1, 1]));
    let projected = graph.add("expand", expand, &[inner, projection]).unwrap();
    let reduce = conv(&mut graph, &[256, 256, 1, 1]);
    let b = graph
        .add(
            "in place",
            Op::Conv2d(Conv2d {
                relu: true,
                ..reduce
            }),
            &[a, a],
        )
        .unwrap();
    let grouped = conv(&mut graph, &[256, 8, 3, 3]).padding(1).groups(32);
    let c = graph.add("grouped", Op::Conv2d(grouped), &[b, a]).unwrap();
    let odd = Conv2d {
        padding: Padding {
            bottom: 1,
            right: 1,
            ..Padding::all(0)
        },
        ..conv(&mut graph, &[5, 256, 2, 2])
    };
    let d = graph.add("odd", Op::Conv2d(odd), &[c]).unwrap();
    let square = conv(&mut graph, &[5, 5, 3, 3]).padding(1);
    let d = graph.add("square", Op::Conv2d(square), &[d]).unwrap();
    let d = graph.add("block", Op::Conv2d(square), &[d, d]).unwrap();
    let e = graph
        .add(
            "flatten",
            Op::Flatten(Flatten {
                order: FlattenOrder::Hwc,
            }),
            &[d],
        )
        .unwrap();
    let g = graph
        .add("gap", Op::GlobalAvgPool(GlobalAvgPool), &[d])
        .unwrap();
    let op = Op::BlurPool(BlurPool { stride: [2, 1] });
    let blurred = graph.add("blur", op, &[d]).unwrap();
    let op = Op::Resize(Resize {
        size: [9, 4],
        interpolation: Interpolation::Linear,
    });
    let resized = graph.add("resize", op, &[d]).unwrap();
    let op = Op::Resize(Resize {
        size: [3, 7],
        interpolation: Interpolation::Nearest,
    });
    let nearest = graph.add("nearest", op, &[d]).unwrap();
    let weight = graph.param("taps", ones(&[1, 1, 3]));
    let op = Op::ChannelConv(ChannelConv { weight });
    let gates = graph.add("gates", op, &[g]).unwrap();
    let gated = graph.add("gate", Op::Gate(Gate), &[d, gates]).unwrap();
    let map = graph.get(a).unwrap().shape;
    let positions = graph.param("positions", ones(&[map.h * map.w + 1, map.c]));
    let op = Op::AttentionPool(AttentionPool { positions });
    let asked = graph
        .add("asked", Op::GlobalAvgPool(GlobalAvgPool), &[a])
        .unwrap();
    let attended = graph.add("attention", op, &[a, asked]).unwrap();
    let dilated = Conv2d {
        dilation: [2, 3],
        ..square.padding(3)
    };
    let far = graph.add("far", Op::Conv2d(dilated), &[d]).unwrap();
    let by_groups = Op::GroupNorm(GroupNorm {
        gamma: vector,
        beta: vector,
        groups: 32,
        epsilon: 1e-5,
    });
    let by_groups = graph.add("norm of groups", by_groups, &[r]).unwrap();
    let features = graph.get(e).unwrap().shape.c;
    let weight = graph.param("fc.weight", ones(&[10, features]));
    let f = graph
        .add("fc", Op::Linear(Linear { weight, bias: None }), &[e])
        .unwrap();
    let p = graph.add("softmax", Op::Softmax(Softmax), &[f]).unwrap();
    graph.add("sigmoid", Op::Sigmoid(Sigmoid), &[f]).unwrap();
    let weight = graph.param("rows", ones(&[10, 5, 1, 1]));
    let class = graph.param("class", ones(&[1]));
    let op = Op::ClassGradient(ClassGradient { weight, class });
    let row = graph.add("row", op, &[f]).unwrap();
    let square = graph.get(d).unwrap().shape;
    let op = Op::AvgPoolGradient(AvgPoolGradient {
        window: Window {
            kernel: [square.h, square.w],
            ..Window::square(1, 1)
        },
        size: [square.h, square.w],
    });
    let spread = graph.add("spread", op, &[row]).unwrap();
    let through = graph
        .add("through", Op::ReluGradient(ReluGradient), &[spread, d])
        .unwrap();
    let op = Op::ChannelDot(ChannelDot { positive: true });
    let map = graph.add("map", op, &[through, d]).unwrap();
    let op = Op::Dilate(Dilate {
        stride: [2, 3],
        size: [square.h * 2, square.w * 3],
    });
    let apart = graph.add("apart", op, &[map]).unwrap();
    let maps = [blurred, resized, nearest, gated, apart, far];
    for output in maps
        .into_iter()
        .chain([p, g, by_groups, attended, projected])
    {
        graph.mark_output(output).unwrap();
    }
    let mut rules = Preprocess::TORCHVISION;
    rules.mean = [0.5; 3];
    rules.std = [0.25; 3];
    rules.channels = ChannelOrder::Bgr;
    let mut launches = Vec::new();
    let paths = [
        (KernelPath::Buffers, 8),
        (KernelPath::Textures, 4),
        (KernelPath::Textures, 8),
        (KernelPath::Textures, 16),
    ];
    for (path, lanes) in paths {
        let limits = capabilities(|c| {
            c.immediate_bytes = 64;
            c.read_write_textures = true;
            c.half_arithmetic = true;
            c.subgroup_lanes = Some([lanes, lanes]);
        });
        for input in [InputFormat::Rgba8(rules), InputFormat::Tensor] {
            for precision in Precision::ALL {
                let options = PlanOptions::new(limits)
                    .input(input)
                    .path(path)
                    .precision(precision);
                for launch in launches_of_all_candidates(&graph, &options) {
                    if !launches.contains(&launch) {
                        launches.push(launch);
                    }
                }
            }
        }
    }
    launches.extend([
        heat_map::launch([30, 20]),
        resample_rows::launch([30, 20], 1),
        resample_rows::launch([30, 20], 2),
        resample_rows::launch([30, 20], 3),
        resample_columns::launch([30, 20]),
        similarity::launch(1000, 512),
        similarity_texture::launch(1000, 512, 4),
        similarity_texture::launch(1000, 512, 8),
        similarity_texture::launch(1000, 512, 16),
        top_k::launch(10),
        unit_vector::launch(512, 1),
        unit_vector::launch(512, 8),
    ]);
    let with_matrices = PlanOptions::new(capabilities(|c| {
        c.cooperative_matrix = true;
        c.subgroup_lanes = Some([32, 64]);
        c.half_arithmetic = true;
    }))
    .precision(Precision::F16)
    .cooperative_matrix(true);
    launches.extend(launches_of_all_candidates(&graph, &with_matrices));
    launches
}

/// Every candidate of every layer: as many plans as the layer with the most candidates has.
pub(crate) fn launches_of_all_candidates(graph: &Graph, options: &PlanOptions) -> Vec<Launch> {
    let shapes = graph.nodes().iter().filter_map(|n| ConvShape::of(graph, n));
    let possible: Vec<(ConvShape, Vec<Candidate>)> = shapes
        .map(|shape| (shape, candidates(&shape, options).unwrap()))
        .collect();
    let most = possible.iter().map(|(_, list)| list.len()).max().unwrap();
    let mut launches = Vec::new();
    for round in 0..most {
        let choose =
            |(shape, list): &(ConvShape, Vec<Candidate>)| Some((*shape, *list.get(round)?));
        // A projection that another layer includes has launches of its own where that layer keeps to itself.
        let alone = |(shape, list): &(ConvShape, Vec<Candidate>)| match shape.geometry().projection
        {
            Some(_) => Some((*shape, *list.iter().find(|candidate| !candidate.folds())?)),
            None => Some((*shape, *list.get(round)?)),
        };
        let rounds = [
            possible.iter().filter_map(choose).collect(),
            possible.iter().filter_map(alone).collect(),
        ];
        for choices in rounds {
            let plan = Plan::new(graph, &options.clone().choices(choices)).unwrap();
            for step in plan.steps() {
                if !launches.contains(&step.launch) {
                    launches.push(step.launch.clone());
                }
            }
        }
    }
    launches
}
