//! The fast CPU path against the oracle, over shapes chosen to break it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pulp::Arch;
use resnet_wgpu::engine::CpuExecutor;
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::graph::{
    Add, AvgPool, BatchNorm, BlurPool, Conv2d, Flatten, FlattenOrder, Gate, GlobalAvgPool,
    Interpolation, Linear, MaxPool, Op, PadValue, Padding, ParamId, Relu, Resize, Sigmoid, Softmax,
    Statistics, Window,
};
use resnet_wgpu::internals::noise::Noise;
use resnet_wgpu::internals::reference;
use resnet_wgpu::tensor::{Shape, Tensor};

/// `|got − want| ≤ atol + rtol·|want|`, with the same number for both.
///
/// The longest sum here has 4608 products of numbers below 1 and reaches about 16 on its way; 4608
/// roundings at that magnitude add up to 2^-24 · 16 · 0.3 · √4608 = 2·10⁻⁵, or five times that at
/// worst.
const DIRECT: f32 = 1e-4;
/// Winograd's transforms lose about one digit, on sums of at most 594 products.
const WINOGRAD: f32 = 2e-4;

fn assert_close(name: &str, got: &Tensor, want: &Tensor, tolerance: f32) {
    assert_eq!(got.dims(), want.dims(), "{name}: sizes");
    for (i, (got, want)) in got.data().iter().zip(want.data()).enumerate() {
        let close = (got - want).abs() <= tolerance + tolerance * want.abs();
        assert!(close, "{name}: element {i} is {got}, want {want}");
    }
}

/// Every vector instruction set that this machine has, and scalar code.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

/// Compares every value of the graph, in two runs, since the second one starts with used buffers.
fn check(graph: &Graph, tolerance: f32) {
    let mut random = Noise::new(7);
    let executors = archs().into_iter();
    let executors: Vec<_> = executors
        .map(|arch| CpuExecutor::with_arch(graph, arch))
        .collect();
    for _ in 0..2 {
        let shapes = graph
            .inputs()
            .iter()
            .map(|&id| graph.get(id).unwrap().shape.dims());
        let inputs: Vec<_> = shapes.map(|dims| random.tensor(&dims)).collect();
        let want = reference::run_keeping(graph, &inputs, reference::Keep::All).unwrap();
        for executor in &executors {
            let got = executor.run_keeping_all(&inputs).unwrap();
            for (id, value) in graph.values() {
                let [got, want] = [&got, &want].map(|values| values.get(id).unwrap());
                assert_close(&value.name, got, want, tolerance);
            }
            let outputs = executor.run_inputs(&inputs).unwrap();
            for (&id, output) in graph.outputs().iter().zip(&outputs) {
                assert_close("output", output, want.get(id).unwrap(), tolerance);
            }
        }
    }
}

/// Checks a graph of one operation.
fn check_op(shape: Shape, build: impl FnOnce(&mut Graph, &mut Noise) -> Op) {
    let mut graph = Graph::new();
    let x = graph.input("x", shape).unwrap();
    let op = build(&mut graph, &mut Noise::new(1));
    let y = graph.add(&format!("{op:?} of {shape}"), op, &[x]).unwrap();
    graph.mark_output(y).unwrap();
    check(&graph, DIRECT);
}

struct ConvCase {
    x: Shape,
    out_c: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: Padding,
    dilation: [usize; 2],
    groups: usize,
}

impl ConvCase {
    fn new(x: Shape, out_c: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            x,
            out_c,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: Padding::all(padding),
            dilation: [1, 1],
            groups: 1,
        }
    }

    /// Checks with and without bias, residual and ReLU together.
    fn check(&self, tolerance: f32) {
        for fused in [false, true] {
            let mut graph = Graph::new();
            let mut random = Noise::new(3);
            let x = graph.input("x", self.x).unwrap();
            let [kernel_h, kernel_w] = self.kernel;
            let weight = random.tensor(&[self.out_c, self.x.c / self.groups, kernel_h, kernel_w]);
            let weight = graph.param("weight", weight);
            let conv = Conv2d {
                stride: self.stride,
                padding: self.padding,
                dilation: self.dilation,
                groups: self.groups,
                ..Conv2d::new(weight)
            };
            let mut y = graph.add("plain", Op::Conv2d(conv), &[x]).unwrap();
            if fused {
                let residual = graph
                    .input("residual", graph.get(y).unwrap().shape)
                    .unwrap();
                let bias = graph.param("bias", random.tensor(&[self.out_c]));
                let conv = Conv2d {
                    bias: Some(bias),
                    relu: true,
                    ..conv
                };
                y = graph
                    .add("fused", Op::Conv2d(conv), &[x, residual])
                    .unwrap();
            }
            graph.mark_output(y).unwrap();
            check(&graph, tolerance);
        }
    }
}

#[test]
fn convolutions_of_hostile_shapes() {
    for case in [
        // One pixel, fewer channels than a vector, padding on all sides.
        ConvCase::new(Shape::new(1, 1, 1, 1), 1, 1, 1, 0),
        ConvCase::new(Shape::new(1, 5, 1, 1), 3, 3, 1, 1),
        // The stem on an odd, oblong image; 1, 4 and 5 input channels (5 is the first with blocks).
        ConvCase::new(Shape::new(1, 3, 13, 9), 20, 7, 2, 3),
        ConvCase::new(Shape::new(2, 1, 5, 8), 16, 3, 1, 1),
        ConvCase::new(Shape::new(1, 4, 6, 5), 8, 5, 2, 2),
        ConvCase::new(Shape::new(1, 5, 6, 5), 8, 5, 2, 2),
        // Channel counts that are not multiples of anything, stride 2 on odd sizes, batch 3.
        ConvCase::new(Shape::new(3, 19, 7, 5), 33, 3, 2, 1),
        ConvCase::new(Shape::new(3, 33, 5, 3), 70, 1, 1, 0),
        ConvCase::new(Shape::new(1, 17, 9, 7), 100, 1, 2, 0),
        // Several work items in both directions, four and five blocks, every remainder of pixels.
        ConvCase::new(Shape::new(1, 64, 14, 13), 128, 3, 2, 1),
        ConvCase::new(Shape::new(2, 96, 7, 7), 80, 3, 1, 1),
        ConvCase::new(Shape::new(1, 512, 3, 3), 64, 3, 1, 1),
        ConvCase::new(Shape::new(1, 48, 11, 11), 48, 3, 1, 1),
        // Padding larger than the image, and stride larger than the kernel.
        ConvCase::new(Shape::new(1, 18, 2, 1), 16, 3, 1, 4),
        ConvCase::new(Shape::new(1, 18, 9, 10), 16, 2, 3, 0),
    ] {
        case.check(DIRECT);
    }
}

#[test]
fn winograd_convolutions_of_hostile_shapes() {
    let cases = [
        // Tiles that reach beyond the image, partial blocks of channels, five blocks.
        ConvCase::new(Shape::new(1, 64, 14, 13), 128, 3, 1, 1),
        ConvCase::new(Shape::new(3, 19, 7, 5), 70, 3, 1, 1),
        // No padding, more than the kernel needs, and unequal sides.
        ConvCase::new(Shape::new(1, 33, 19, 14), 17, 3, 1, 0),
        ConvCase::new(Shape::new(1, 18, 9, 10), 16, 3, 1, 4),
        ConvCase {
            padding: Padding {
                top: 0,
                bottom: 2,
                left: 3,
                right: 1,
            },
            ..ConvCase::new(Shape::new(2, 16, 11, 6), 31, 3, 1, 0)
        },
        // Two stripes, with the border between them inside the second image.
        ConvCase::new(Shape::new(2, 16, 109, 110), 16, 3, 1, 1),
    ];
    for case in cases {
        case.check(WINOGRAD);
    }
}

#[test]
fn convolutions_with_unequal_sides() {
    for x in [Shape::new(2, 21, 6, 9), Shape::new(1, 3, 6, 9)] {
        ConvCase {
            kernel: [3, 2],
            stride: [2, 1],
            padding: Padding {
                top: 0,
                bottom: 2,
                left: 1,
                right: 3,
            },
            ..ConvCase::new(x, 18, 1, 1, 0)
        }
        .check(DIRECT);
    }
}

#[test]
fn convolutions_whose_taps_lie_apart() {
    // A stem, read by rows unless its columns are dilated; what would suit Winograd; groups.
    for (in_c, groups, stride, dilation) in [
        (3, 1, 2, [2, 1]),
        (3, 1, 1, [1, 3]),
        (32, 1, 1, [2, 2]),
        (20, 1, 2, [4, 3]),
        (24, 3, 1, [2, 2]),
    ] {
        ConvCase {
            dilation,
            groups,
            ..ConvCase::new(Shape::new(2, in_c, 11, 13), 48, 3, stride, 3)
        }
        .check(DIRECT);
    }
}

#[test]
fn grouped_and_depthwise_convolutions() {
    // Input channels, output channels, groups.
    for (in_c, out_c, groups) in [
        (128, 128, 32),
        (64, 64, 64),
        (20, 20, 20),
        (6, 9, 3),
        (64, 32, 2),
        (96, 32, 32),
        (10, 20, 10),
        (40, 24, 2),
    ] {
        ConvCase {
            groups,
            ..ConvCase::new(Shape::new(2, in_c, 5, 7), out_c, 3, 2, 1)
        }
        .check(DIRECT);
    }
}

#[test]
fn linear_layers() {
    for (n, in_c, out_c) in [(1, 7, 5), (3, 2048, 10), (9, 100, 1000)] {
        for with_bias in [false, true] {
            check_op(Shape::new(n, in_c, 1, 1), |graph, random| {
                let weight = graph.param("weight", random.tensor(&[out_c, in_c]));
                let bias = with_bias.then(|| graph.param("bias", random.tensor(&[out_c])));
                Op::Linear(Linear { weight, bias })
            });
        }
    }
}

#[test]
fn operations_without_weights() {
    let windows = [
        Window::square(3, 2).padded(1),
        Window::square(2, 2),
        Window {
            kernel: [2, 3],
            stride: [1, 2],
            padding: Padding {
                top: 1,
                bottom: 0,
                left: 0,
                right: 2,
            },
        },
    ];
    let mut ops = vec![
        Op::Relu(Relu),
        Op::GlobalAvgPool(GlobalAvgPool),
        Op::Flatten(Flatten {
            order: FlattenOrder::Chw,
        }),
        Op::Flatten(Flatten {
            order: FlattenOrder::Hwc,
        }),
    ];
    for window in windows {
        let max = |pad_value| Op::MaxPool(MaxPool { window, pad_value });
        let avg = |count_padding| {
            Op::AvgPool(AvgPool {
                window,
                count_padding,
            })
        };
        ops.extend([max(PadValue::NegInfinity), max(PadValue::Zero)]);
        ops.extend([avg(false), avg(true)]);
    }
    for shape in [Shape::new(1, 3, 7, 5), Shape::new(3, 35, 4, 9)] {
        for &op in &ops {
            check_op(shape, |_, _| op);
        }
    }
    check_op(Shape::new(3, 37, 1, 1), |_, _| Op::Softmax(Softmax));
    check_op(Shape::new(3, 37, 1, 1), |_, _| Op::Sigmoid(Sigmoid));
}

#[test]
fn blur_pools_and_gates_of_a_batch_that_is_not_square() {
    // Odd and even sides, the smallest image, more channels than one block.
    for (shape, stride) in [
        (Shape::new(2, 21, 5, 8), [2, 2]),
        (Shape::new(3, 16, 2, 7), [1, 3]),
        (Shape::new(1, 3, 2, 2), [2, 2]),
    ] {
        check_op(shape, |_, _| Op::BlurPool(BlurPool { stride }));
        let mut graph = Graph::new();
        let x = graph.input("x", shape).unwrap();
        let pool = Op::GlobalAvgPool(GlobalAvgPool);
        let gates = graph.add("gates", pool, &[x]).unwrap();
        let y = graph.add("gate", Op::Gate(Gate), &[x, gates]).unwrap();
        graph.mark_output(y).unwrap();
        check(&graph, DIRECT);
    }
}

#[test]
fn resized_images_of_a_batch() {
    // Larger, smaller, both at once, the same size, from and to one pixel, more channels than one block.
    for (shape, size) in [
        (Shape::new(2, 3, 9, 7), [14, 13]),
        (Shape::new(3, 21, 13, 11), [4, 3]),
        (Shape::new(2, 16, 5, 12), [9, 6]),
        (Shape::new(2, 5, 6, 5), [6, 5]),
        (Shape::new(1, 3, 1, 1), [3, 2]),
        (Shape::new(2, 33, 6, 5), [1, 1]),
    ] {
        for interpolation in [Interpolation::Linear, Interpolation::Nearest] {
            check_op(shape, |_, _| {
                Op::Resize(Resize {
                    size,
                    interpolation,
                })
            });
        }
    }
}

#[test]
fn unfused_batch_norm_relu_and_residual_sum() {
    let mut graph = Graph::new();
    let mut random = Noise::new(5);
    let x = graph.input("x", Shape::new(2, 21, 3, 5)).unwrap();
    let mut param = |name: &str| graph.param(name, random.tensor(&[21]));
    let [gamma, beta, mean] = ["gamma", "beta", "mean"].map(&mut param);
    let variance = graph.param("variance", Tensor::from_fn(&[21], |_| 0.5));
    let mut norm = BatchNorm {
        gamma,
        beta,
        mean,
        variance,
        epsilon: 1e-5,
        statistics: Statistics::Running,
        relu: false,
    };
    let a = graph.add("norm", Op::BatchNorm(norm), &[x]).unwrap();
    norm.relu = true;
    let b = graph.add("norm_relu", Op::BatchNorm(norm), &[x]).unwrap();
    norm.statistics = Statistics::Batch;
    let of_batch = graph.add("of_batch", Op::BatchNorm(norm), &[b]).unwrap();
    let a = graph
        .add("both", Op::Add(Add { relu: false }), &[a, of_batch])
        .unwrap();
    let c = graph
        .add("sum", Op::Add(Add { relu: false }), &[a, b])
        .unwrap();
    let d = graph.add("sum_relu", Op::Add(Add { relu: true }), &[c, a]);
    graph.mark_output(d.unwrap()).unwrap();
    graph.mark_output(x).unwrap();
    check(&graph, DIRECT);
}

/// ResNet-50 v1.5 in fused form with random weights.
struct Net {
    graph: Graph,
    random: Noise,
}

impl Net {
    fn resnet50(image: Shape) -> Graph {
        let mut net = Self {
            graph: Graph::new(),
            random: Noise::new(11),
        };
        let x = net.graph.input("image", image).unwrap();
        let mut x = net.conv("stem", &[x], [64, 7, 2], true);
        let pool = Op::MaxPool(MaxPool {
            window: Window::square(3, 2).padded(1),
            pad_value: PadValue::NegInfinity,
        });
        x = net.graph.add("pool", pool, &[x]).unwrap();
        for (stage, (width, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)]
            .into_iter()
            .enumerate()
        {
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let name = |part| format!("layer{stage}.{block}.{part}");
                let mut y = net.conv(&name("conv1"), &[x], [width, 1, 1], true);
                y = net.conv(&name("conv2"), &[y], [width, 3, stride], true);
                if block == 0 {
                    x = net.conv(&name("shortcut"), &[x], [4 * width, 1, stride], false);
                }
                x = net.conv(&name("conv3"), &[y, x], [4 * width, 1, 1], true);
            }
        }
        x = net
            .graph
            .add("pooled", Op::GlobalAvgPool(GlobalAvgPool), &[x])
            .unwrap();
        let weight = net.weight("fc", &[1000, 2048]);
        let fc = Op::Linear(Linear { weight, bias: None });
        x = net.graph.add("fc", fc, &[x]).unwrap();
        net.graph.mark_output(x).unwrap();
        net.graph
    }

    /// A weight scaled so that activations neither grow nor vanish.
    fn weight(&mut self, name: &str, dims: &[usize]) -> ParamId {
        let fan_in: usize = dims[1..].iter().product();
        let scale = (3.0 / fan_in as f32).sqrt();
        let scaled = Tensor::from_fn(dims, |_| self.random.scalar() * scale);
        self.graph.param(name, scaled)
    }

    fn conv(
        &mut self,
        name: &str,
        inputs: &[ValueId],
        [out_c, kernel, stride]: [usize; 3],
        relu: bool,
    ) -> ValueId {
        let in_c = self.graph.get(inputs[0]).unwrap().shape.c;
        let weight = self.weight(name, &[out_c, in_c, kernel, kernel]);
        let bias = self.graph.param(name, self.random.tensor(&[out_c]));
        let conv = Conv2d {
            relu,
            bias: Some(bias),
            ..Conv2d::new(weight).stride(stride).padding(kernel / 2)
        };
        self.graph.add(name, Op::Conv2d(conv), inputs).unwrap()
    }
}

#[test]
fn resnet50_on_a_small_oblong_image() {
    check(&Net::resnet50(Shape::new(1, 3, 40, 65)), WINOGRAD);
}
