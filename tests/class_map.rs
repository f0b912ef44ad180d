//! Class activation maps: the backward pass is the gradient, and every path computes the same map.
//! The module `gpu` needs an adapter.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Numbers, assert_close, reference};
use resnet_wgpu::Error;
use resnet_wgpu::explain::{ClassMap, add_class_map};
use resnet_wgpu::graph::{Graph, ValueId};
use resnet_wgpu::internals::compare::{Difference, Tolerance};
use resnet_wgpu::internals::explain::{CLASS_MAP, Sites};
use resnet_wgpu::internals::graph::{
    Add, AvgPool, BatchNorm, Conv2d, Flatten, FlattenOrder, GlobalAvgPool, Linear, MaxPool, Op,
    PadValue, Padding, Relu, Statistics, Window,
};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::ModelOptions;
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::tensor::{Shape, Tensor};

/// The positions, in an image of the given size, of the pixels of a value.
fn sites(arch: Arch, size: usize, value: &str) -> Sites {
    let mut options = ModelOptions::default();
    options.size = Some([size, size]);
    let network = arch.random(0, &options).unwrap();
    let model = network.model(&options).unwrap();
    Sites::of(&model.graph, model.graph.find(value).unwrap()).unwrap()
}

#[test]
fn centres_are_where_the_windows_are() {
    // The 7×7 at stride 2 starts at −3; the unpadded 3×3 at stride 2 reads its pixels 0, 2 and 4.
    let lesson = sites(Arch::Notebook, 64, "res4a_relu");
    assert_eq!((lesson.first, lesson.step), ([2.0; 2], [16.0; 2]), "lesson");
    let torch = sites(Arch::ResNet18, 224, "layer4.1.relu2");
    assert_eq!(
        (torch.first, torch.step),
        ([0.0; 2], [32.0; 2]),
        "torchvision"
    );
}

const CLASSES: usize = 5;

/// Builds a network of residual blocks, each with a stride, from layers that can be fused.
struct Network {
    graph: Graph,
    numbers: Numbers,
}

impl Network {
    fn new(input: Shape) -> (Self, ValueId) {
        let mut graph = Graph::new();
        let image = graph.input("image", input).unwrap();
        let numbers = Numbers::new(7);
        (Self { graph, numbers }, image)
    }

    fn conv(
        &mut self,
        name: &str,
        x: ValueId,
        dims: &[usize],
        edit: impl Fn(Conv2d) -> Conv2d,
    ) -> ValueId {
        let weight = self.graph.param("weight", self.numbers.tensor(dims));
        let bias = self.graph.param("bias", self.numbers.tensor(&dims[..1]));
        let conv = edit(Conv2d::new(weight).bias(Some(bias)));
        let y = self.graph.add(name, Op::Conv2d(conv), &[x]).unwrap();
        let mut vector = |positive: bool| {
            let dims = [dims[0]];
            let tensor = if positive {
                self.numbers.positive(&dims)
            } else {
                self.numbers.tensor(&dims)
            };
            self.graph.param("vector", tensor)
        };
        let norm = BatchNorm {
            gamma: vector(true),
            beta: vector(false),
            mean: vector(false),
            variance: vector(true),
            epsilon: 1e-3,
            statistics: Statistics::Running,
            relu: false,
        };
        let name = format!("{name}.bn");
        self.graph.add(&name, Op::BatchNorm(norm), &[y]).unwrap()
    }

    fn relu(&mut self, name: &str, x: ValueId) -> ValueId {
        self.graph.add(name, Op::Relu(Relu), &[x]).unwrap()
    }

    fn add(&mut self, name: &str, x: ValueId, y: ValueId) -> ValueId {
        let op = Op::Add(Add { relu: false });
        self.graph.add(name, op, &[x, y]).unwrap()
    }

    /// A block that strides in its 3×3, with uneven padding as in TensorFlow.
    fn block_of_the_middle(&mut self, x: ValueId) -> ValueId {
        let uneven = Padding {
            top: 0,
            left: 0,
            bottom: 1,
            right: 1,
        };
        let y = self.conv("a1", x, &[6, 4, 1, 1], |c| c);
        let y = self.relu("a1.relu", y);
        let y = self.conv("a2", y, &[6, 3, 3, 3], |c| Conv2d {
            padding: uneven,
            ..c.stride(2).groups(2)
        });
        let y = self.relu("a2.relu", y);
        let y = self.conv("a3", y, &[8, 6, 1, 1], |c| c);
        let short = self.conv("a.short", x, &[8, 4, 2, 2], |c| c.stride(2));
        let y = self.add("a.add", y, short);
        self.relu("a.relu", y)
    }

    /// A block that strides in its first 1×1, and so skips pixels.
    fn block_of_the_first(&mut self, x: ValueId) -> ValueId {
        let y = self.conv("b1", x, &[5, 8, 1, 1], |c| c.stride(2));
        let y = self.relu("b1.relu", y);
        let y = self.conv("b2", y, &[5, 5, 3, 3], |c| Conv2d {
            dilation: [2, 1],
            padding: Padding {
                top: 2,
                bottom: 2,
                ..Padding::all(1)
            },
            ..c
        });
        let y = self.relu("b2.relu", y);
        let y = self.conv("b3", y, &[7, 5, 1, 1], |c| c);
        let short = self.conv("b.short", x, &[7, 8, 1, 1], |c| c.stride(2));
        let y = self.add("b.add", y, short);
        let y = self.relu("b.relu", y);
        // A block whose shortcut is the identity.
        let z = self.conv("c1", y, &[7, 7, 3, 3], |c| c.padding(1));
        let z = self.add("c.add", z, y);
        self.relu("c.relu", z)
    }

    fn classify(mut self, features: ValueId) -> Graph {
        let inputs = self.graph.get(features).unwrap().shape.c;
        let weight = self.numbers.tensor(&[CLASSES, inputs]);
        let weight = self.graph.param("fc.weight", weight);
        let op = Op::Linear(Linear { weight, bias: None });
        let logits = self.graph.add("fc", op, &[features]).unwrap();
        self.graph.mark_output(logits).unwrap();
        self.graph
    }
}

/// 12×14 pixels, 6×7 and 3×4 after the blocks, then a 2×2 pool and a flatten as in the lesson.
fn lesson(batch: usize) -> Graph {
    let (mut net, x) = Network::new(Shape::new(batch, 4, 12, 14));
    let x = net.block_of_the_middle(x);
    let x = net.block_of_the_first(x);
    let window = Window::square(2, 1);
    let count_padding = false;
    let op = Op::AvgPool(AvgPool {
        window,
        count_padding,
    });
    let x = net.graph.add("pool", op, &[x]).unwrap();
    let order = FlattenOrder::Hwc;
    let x = net
        .graph
        .add("flatten", Op::Flatten(Flatten { order }), &[x]);
    net.classify(x.unwrap())
}

/// The same with a global average pool.
fn resnet(batch: usize) -> Graph {
    let (mut net, x) = Network::new(Shape::new(batch, 4, 12, 14));
    let x = net.block_of_the_middle(x);
    let x = net.block_of_the_first(x);
    let x = net
        .graph
        .add("pool", Op::GlobalAvgPool(GlobalAvgPool), &[x])
        .unwrap();
    net.classify(x)
}

fn at(name: &str) -> ClassMap {
    ClassMap::default().at(name)
}

fn map_of(graph: &Graph, image: &Tensor) -> Tensor {
    reference(graph, image).pop().unwrap()
}

#[test]
fn the_way_back_is_the_gradient_at_every_fusion() {
    for graph in [lesson(1), resnet(1)] {
        let image = Numbers::new(3).tensor(&[1, 4, 12, 14]);
        let class = 3;
        let logit = |image: &Tensor| f64::from(reference(&graph, image)[0].data()[class]);
        // The gradient by finite differences, compared with the one that the map is computed from.
        let step = 1.0 / 512.0;
        let mut want = vec![0.0; 12 * 14];
        for (index, &x) in image.data().iter().enumerate() {
            let moved = |by: f32| {
                let data = image.data().iter().enumerate();
                let data: Vec<f32> = data
                    .map(|(i, &x)| if i == index { x + by } else { x })
                    .collect();
                Tensor::new(image.dims(), data).unwrap()
            };
            let slope = (logit(&moved(step)) - logit(&moved(-step))) / f64::from(2.0 * step);
            want[index % (12 * 14)] += slope.max(0.0) * f64::from(x);
        }
        let largest = want.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        assert!(largest > 0.1, "there is something to see");
        for fusion in [Fusion::None, Fusion::Layers, Fusion::Full] {
            let map = at("image").class(class);
            let graph = add_class_map(&optimize(&graph, fusion).unwrap(), &map).unwrap();
            let got = map_of(&graph, &image);
            assert_eq!(got.dims(), [1, 1, 12, 14], "{fusion}");
            // Across the kink of a ReLU, a finite difference is not the gradient; this is rare.
            let pairs = got.data().iter().zip(&want);
            let off = |(got, want): (&f32, &f64)| (f64::from(*got) - want).abs() / largest > 0.01;
            let wrong = pairs.filter(|&pair| off(pair)).count();
            assert!(wrong <= 8, "{fusion}: {wrong} of 168 pixels");
        }
    }
}

#[test]
fn before_the_pool_it_is_the_map_of_zhou_et_al() {
    let mut graph = optimize(&resnet(2), Fusion::Full).unwrap();
    let features = graph.find("c.relu").unwrap();
    graph.mark_output(features).unwrap();
    let graph = add_class_map(&graph, &at("c.relu")).unwrap();
    let best = |logits: &[f32]| {
        (0..CLASSES)
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap()
    };
    // Two images of different classes.
    let outputs = (4..)
        .map(|seed| reference(&graph, &Numbers::new(seed).tensor(&[2, 4, 12, 14])))
        .find(|outputs| {
            let (first, second) = outputs[0].data().split_at(CLASSES);
            best(first) != best(second)
        });
    let [logits, x, map] = &outputs.unwrap()[..] else {
        panic!("three outputs");
    };
    let weight = graph.params().iter().find(|p| p.name == "fc.weight");
    let weight = weight.unwrap().tensor.data();
    for n in 0..2 {
        let best = best(&logits.data()[n * CLASSES..][..CLASSES]);
        for pixel in 0..12 {
            let channel = |c: usize| x.data()[(n * 7 + c) * 12 + pixel] * weight[best * 7 + c];
            let want = (0..7).map(channel).sum::<f32>() / 12.0;
            let got = map.data()[n * 12 + pixel];
            assert!(
                (got - want).abs() < 1e-5,
                "image {n}, {pixel}: {got} for {want}"
            );
        }
    }
}

#[test]
fn maps_are_made_of_a_stage_that_is_fine_enough() {
    let map_of = |arch: Arch, size, how: &ClassMap| {
        let mut options = ModelOptions::default();
        options.size = Some(size);
        let network = arch.random(0, &options).unwrap();
        let model = network.model(&options).unwrap();
        let graph = optimize(&model.graph, Fusion::Full).unwrap();
        let graph = add_class_map(&graph, how).unwrap();
        let map = graph.nodes().last().unwrap();
        let Shape { h, w, .. } = graph.get(map.output).unwrap().shape;
        (graph.get(map.inputs[1]).unwrap().name.clone(), [h, w])
    };
    let map = |name: &str, size| (name.to_owned(), size);
    for (arch, size, expected) in [
        (Arch::ResNet18, [224, 320], map("layer4.1.relu2", [7, 10])),
        (Arch::ResNet18, [128, 64], map("layer3.0.relu2", [8, 4])),
        (Arch::ResNet18, [32, 16], map("layer1.0.relu2", [8, 4])),
        (Arch::ResNet18, [16, 16], map("layer1.0.relu2", [4, 4])),
        (Arch::Notebook, [64, 64], map("res4a_relu", [4, 4])),
    ] {
        let map = map_of(arch, size, &ClassMap::default());
        assert_eq!(map, expected, "{arch} {size:?}");
    }
    let coarse = ClassMap::default().coarse();
    let last = map("layer4.1.relu2", [4, 2]);
    assert_eq!(map_of(Arch::ResNet18, [128, 64], &coarse), last, "coarse");
}

#[test]
fn maps_that_cannot_be_made_are_errors() {
    let graph = lesson(1);
    let refused = |graph: &Graph, map: &ClassMap| add_class_map(graph, map).unwrap_err();
    let map = ClassMap::default().class(CLASSES);
    assert!(
        matches!(refused(&graph, &map), Error::Model { .. }),
        "class"
    );
    let error = refused(&graph, &at("nowhere"));
    assert!(matches!(error, Error::UnknownValue { .. }), "{error:?}");
    let error = refused(&graph, &at("fc"));
    assert!(matches!(error, Error::Model { .. }), "{error:?}");

    let (mut net, x) = Network::new(Shape::new(1, 4, 12, 14));
    let op = Op::MaxPool(MaxPool {
        window: Window::square(2, 2),
        pad_value: PadValue::NegInfinity,
    });
    let y = net.graph.add("max", op, &[x]).unwrap();
    let y = net
        .graph
        .add("pool", Op::GlobalAvgPool(GlobalAvgPool), &[y])
        .unwrap();
    let graph = net.classify(y);
    let error = refused(&graph, &at("image"));
    assert!(matches!(error, Error::Operator { .. }), "{error:?}");
    let error = refused(&graph, &ClassMap::default());
    assert!(error.to_string().contains("no residual block"), "{error}");
    assert!(
        add_class_map(&graph, &at("max")).is_ok(),
        "behind the max pool"
    );
}

mod gpu {
    use super::*;
    use common::{finish, gpu, paths, read, run_with};
    use resnet_wgpu::engine::{CpuExecutor, Engine};
    use resnet_wgpu::gpu::{Executor, Input, Output, Readback};
    use resnet_wgpu::internals::kernels::Precision;
    use resnet_wgpu::plan::{Capabilities, Plan, PlanOptions};
    use resnet_wgpu::wgpu;

    #[test]
    fn every_path_computes_the_map_of_the_oracle() {
        let gpu = gpu();
        for (graph, value) in [(lesson(2), "a.relu"), (resnet(2), "b.relu")] {
            let image = Numbers::new(5).tensor(&[2, 4, 12, 14]);
            let graph = optimize(&graph, Fusion::Full).unwrap();
            let graph = add_class_map(&graph, &at(value)).unwrap();
            let want = map_of(&graph, &image);
            let largest = want.data().iter().fold(0.0f32, |a, b| a.max(b.abs()));
            assert!(largest > 0.01, "{value}: there is something to see");
            let executor = CpuExecutor::new(&graph).unwrap();
            let got = executor.run(&image).unwrap();
            let tolerance = Tolerance::for_sum_of(1000);
            assert_close(&format!("{value}, CPU"), &want, &got[1], tolerance);
            for path in paths(&gpu) {
                let on = |precision| {
                    let options = PlanOptions::new(Capabilities::of(&gpu.device))
                        .path(path)
                        .precision(precision);
                    run_with(&gpu, &options, &graph, &image).swap_remove(1)
                };
                let got = on(Precision::F32);
                assert_close(&format!("{value}, {path}"), &want, &got, tolerance);
                // In half precision, an activation near zero can change its sign, and a ReLU then
                // passes a gradient that it should block, or blocks one that it should pass: single
                // pixels differ.
                let halves = Difference::between(&want, &on(Precision::F16), tolerance).unwrap();
                assert!(halves.cosine > 0.995, "{value}, {path}, halves: {halves}");
            }
        }
    }

    #[test]
    fn the_class_can_be_changed_between_runs_and_the_map_left_out() {
        let gpu = gpu();
        let graph = optimize(&lesson(1), Fusion::Full).unwrap();
        let image = Numbers::new(6).tensor(&[1, 4, 12, 14]);
        let with_class = |class| {
            let map = at("a.relu").class(class);
            add_class_map(&graph, &map).unwrap()
        };
        let options = PlanOptions::new(Capabilities::of(&gpu.device));
        let plan = Plan::new(&with_class(None), &options).unwrap();
        let executor = Executor::new(&gpu.device, &gpu.queue, &plan).unwrap();
        executor.write_tensor(&gpu.queue, &image).unwrap();
        let readback = Readback::of(&gpu.device, &executor, [CLASS_MAP]).unwrap();
        for class in [Some(4), Some(0), None] {
            executor.select_class(&gpu.queue, class).unwrap();
            let mut encoder = gpu
                .device
                .create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            executor
                .record(&mut encoder, &Input::uploaded(), &Output::kept())
                .unwrap();
            readback.record(&mut encoder).unwrap();
            finish(&gpu, encoder);
            let want = map_of(&with_class(class), &image);
            let got = &read(&gpu.device, &readback)[0];
            let what = format!("{class:?}");
            assert_close(&what, &want, got, Tolerance::for_sum_of(1000));
        }
        let error = executor
            .select_class(&gpu.queue, Some(CLASSES))
            .unwrap_err();
        assert!(matches!(error, Error::Recording { .. }), "{error:?}");

        let logits = Output::builder(&executor).keep("fc").unwrap().build();
        let plain = Plan::new(&graph, &options).unwrap();
        let steps = executor.step_count(&Input::uploaded(), &logits).unwrap();
        assert_eq!(steps, plain.steps().len(), "without the map");
    }
}
