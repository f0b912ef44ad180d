//! The planner: the dispatch list of ResNet-50 as a snapshot, memory reuse as a property, and
//! limits as errors. Needs no GPU.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use proptest::prelude::*;
use resnet_wgpu::Error;
use resnet_wgpu::graph::Graph;
use resnet_wgpu::internals::graph::{Conv2d, Op, Relu};
use resnet_wgpu::internals::kernels::{Precision, Storage};
use resnet_wgpu::internals::memory::{Footprint, StepUse, assign};
use resnet_wgpu::internals::plan::{
    Candidate, Content, ConvShape, DeviceKind, OnBuffers, OnTextures, Step, candidates,
};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::{Model, ModelOptions};
use resnet_wgpu::passes::{Fusion, optimize};
use resnet_wgpu::picture::Preprocess;
use resnet_wgpu::plan::{Capabilities, InputFormat, KernelPath, Plan, PlanOptions, Winograd};
use resnet_wgpu::tensor::{Shape, Tensor};

/// A copy of a device with some fields changed.
fn changed(mut device: Capabilities, set: impl FnOnce(&mut Capabilities)) -> Capabilities {
    set(&mut device);
    device
}

fn model(arch: Arch, batch: usize) -> Model {
    let mut options = ModelOptions::default();
    options.batch = batch;
    let network = arch.random(0, &options).unwrap();
    network.model(&options).unwrap()
}

fn rgba8() -> InputFormat {
    InputFormat::Rgba8(Preprocess::TORCHVISION)
}

fn plan(model: &Model, fusion: Fusion) -> Plan {
    let graph = optimize(&model.graph, fusion).unwrap();
    let options = PlanOptions::new(Capabilities::default()).input(rgba8());
    Plan::new(&graph, &options).unwrap()
}

/// A software Vulkan device with eight lanes.
fn software() -> Capabilities {
    changed(Capabilities::default(), |c| {
        c.immediate_bytes = 128;
        c.read_write_textures = true;
        c.subgroup_lanes = Some([8, 8]);
        c.device = DeviceKind::SOFTWARE;
    })
}

fn textures() -> PlanOptions {
    PlanOptions::new(software())
        .input(rgba8())
        .path(KernelPath::Auto)
}

/// Compares text with a file; `UPDATE_SNAPSHOTS=1 cargo test --test plan` rewrites the file.
#[track_caller]
fn assert_snapshot(name: &str, text: &str) {
    let path = FilePath::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/snapshots")
        .join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        want,
        text,
        "{} is outdated; UPDATE_SNAPSHOTS=1 cargo test --test plan writes it anew",
        path.display()
    );
}

#[test]
fn the_dispatch_list_of_resnet50_is_the_one_on_record() {
    let model = model(Arch::ResNet50, 1);
    assert_snapshot("resnet50.plan.txt", &plan(&model, Fusion::Full).to_string());
}

#[test]
fn the_dispatch_list_of_the_lesson_is_the_one_on_record() {
    let model = model(Arch::Notebook, 1);
    assert_snapshot(
        "notebook.plan.txt",
        &plan(&model, Fusion::Layers).to_string(),
    );
}

#[test]
fn fusion_leaves_55_dispatches_of_resnet50_image_conversion_and_softmax_included() {
    let model = model(Arch::ResNet50, 1);
    let is_sum = |s: &&Step| s.launch.kernel.name == "conv2d_reduce";
    let dispatches = |fusion| {
        let plan = plan(&model, fusion);
        plan.steps().len() - plan.steps().iter().filter(is_sum).count()
    };
    // Image, 53 convolutions, three of which are projections that are computed along with others, 2 pools, fc, softmax.
    assert_eq!(dispatches(Fusion::Full), 58 - 3, "fused");
    // None of them computed along, plus 53 batch norms and 16 additions.
    assert_eq!(
        dispatches(Fusion::Layers),
        58 + 53 + 16,
        "the lesson's chain"
    );
    // Plus 49 ReLUs: one after the stem, three per block.
    assert_eq!(dispatches(Fusion::None), 58 + 53 + 16 + 49, "nothing fused");
}

#[test]
fn where_compute_units_are_few_projections_are_computed_along() {
    let model = model(Arch::ResNet50, 1);
    let graph = optimize(&model.graph, Fusion::Full).unwrap();
    let layers = |units: Option<u32>| {
        let device = changed(Capabilities::default(), |c| c.compute_units = units);
        let plan = Plan::new(&graph, &PlanOptions::new(device)).unwrap();
        let windows = |step: &&Step| {
            let kernel = step.launch.kernel.name;
            kernel.starts_with("conv2d") || kernel.contains("pool")
        };
        let macs = plan.steps().iter().map(|step| step.macs);
        let windows = plan.steps().iter().filter(windows);
        let sum = |bytes: fn(&Step) -> u64| plan.steps().iter().map(bytes).sum::<u64>();
        (windows.count(), macs.sum::<u64>(), sum(|step| step.bytes))
    };
    let (few, few_macs, few_bytes) = layers(Some(8));
    assert_eq!(
        few,
        49 + 2,
        "53 convolutions, four of them with others, and two pools"
    );
    let (_, many_macs, many_bytes) = layers(Some(200));
    assert_eq!(few_macs, many_macs, "the same products");
    // The results of the four projections, written and read: 56²·256, 28²·512, 14²·1024 and 7²·2048 numbers.
    let saved = 2 * 4 * (56 * 56 * 256 + 28 * 28 * 512 + 14 * 14 * 1024 + 7 * 7 * 2048);
    assert!(
        many_bytes >= few_bytes + saved,
        "{many_bytes} and {few_bytes}"
    );
}

/// A 1×1 convolution with as many outputs as inputs.
fn pointwise(graph: &mut Graph, channels: usize, relu: bool) -> Op {
    let weight = Tensor::from_fn(&[channels, channels, 1, 1], |i| i as f32);
    let weight = graph.param("weight", weight);
    Op::Conv2d(Conv2d {
        relu,
        ..Conv2d::new(weight)
    })
}

#[test]
fn a_projection_that_somebody_else_reads_is_computed_by_itself() {
    let mut graph = Graph::new();
    let x = graph.input("x", Shape::new(1, 8, 6, 6)).unwrap();
    let [first, projection, last] = [true, false, true].map(|relu| pointwise(&mut graph, 8, relu));
    let first = graph.add("first", first, &[x]).unwrap();
    let shortcut = graph.add("projection", projection, &[x]).unwrap();
    let last = graph.add("last", last, &[first, shortcut]).unwrap();
    graph.mark_output(last).unwrap();
    let few = changed(Capabilities::default(), |c| c.compute_units = Some(1));
    let options = PlanOptions::new(few);
    let names = |graph: &Graph| {
        let plan = Plan::new(graph, &options).unwrap();
        let steps = plan.steps().iter();
        steps.map(|step| step.node.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&graph), ["first", "last"]);
    let mut tapped = graph.clone();
    tapped.mark_output(shortcut).unwrap();
    assert_eq!(names(&tapped), ["first", "projection", "last"], "a tap");
    let again = graph.add("relu", Op::Relu(Relu), &[shortcut]).unwrap();
    graph.mark_output(again).unwrap();
    let all = ["first", "projection", "last", "relu"];
    assert_eq!(names(&graph), all, "a second reader");
}

#[test]
fn only_a_plain_1x1_convolution_is_computed_with_the_one_it_is_added_to() {
    let few = changed(Capabilities::default(), |c| c.compute_units = Some(1));
    let options = PlanOptions::new(few);
    // What the projection and the last convolution are, and whether one step computes both.
    let folds =
        |projection: &dyn Fn(Conv2d) -> Conv2d, last: &dyn Fn(Conv2d) -> Conv2d, kernel: usize| {
            let mut graph = Graph::new();
            let x = graph.input("x", Shape::new(1, 8, 6, 6)).unwrap();
            let mut conv = |kernel: usize| {
                let dims = [8, 8, kernel, kernel];
                let weight = graph.param("weight", Tensor::from_fn(&dims, |i| i as f32));
                Conv2d::new(weight).padding(kernel / 2)
            };
            let [projected, last] = [projection(conv(kernel)), last(conv(1))];
            let projected = graph
                .add("projection", Op::Conv2d(projected), &[x])
                .unwrap();
            // Both inputs may be the same value.
            let y = graph
                .add("last", Op::Conv2d(last), &[x, projected])
                .unwrap();
            graph.mark_output(y).unwrap();
            Plan::new(&graph, &options).unwrap().steps().len() == 1
        };
    let plain = |conv| conv;
    assert!(folds(&plain, &plain, 1), "both are plain");
    assert!(!folds(&plain, &plain, 3), "3×3");
    let clamped = |conv| Conv2d { relu: true, ..conv };
    assert!(!folds(&clamped, &plain, 1), "a ReLU before the addition");
    assert!(folds(&plain, &clamped, 1), "a ReLU after it");
}

#[test]
fn a_projection_whose_weights_do_not_fit_with_the_others_is_computed_by_itself() {
    let mut graph = Graph::new();
    let x = graph.input("x", Shape::new(1, 64, 8, 8)).unwrap();
    let [projection, last] = [false, true].map(|relu| pointwise(&mut graph, 64, relu));
    let shortcut = graph.add("projection", projection, &[x]).unwrap();
    let last = graph.add("last", last, &[x, shortcut]).unwrap();
    graph.mark_output(last).unwrap();
    let steps = |bytes: u64| {
        let device = changed(Capabilities::default(), |c| {
            c.compute_units = Some(1);
            c.storage_binding_bytes = bytes;
        });
        let plan = Plan::new(&graph, &PlanOptions::new(device)).unwrap();
        plan.steps().len()
    };
    // 64·64 numbers each.
    assert_eq!(steps(64 * 64 * 4 * 2), 1);
    assert_eq!(steps(64 * 64 * 4 * 2 - 1), 2);
}

#[test]
fn activations_of_deep_networks_stay_within_a_tenth_of_the_lower_bound() {
    let networks = [
        ("ResNet-50", model(Arch::ResNet50, 1)),
        ("ResNet-101", model(Arch::ResNet101, 1)),
        ("ResNet-152", model(Arch::ResNet152, 1)),
        ("ResNet-50, batch 8", model(Arch::ResNet50, 8)),
    ];
    for (name, network) in networks {
        let graph = optimize(&network.graph, Fusion::Full).unwrap();
        for path in [KernelPath::Buffers, KernelPath::Textures] {
            for winograd in [Winograd::Off, Winograd::Auto, Winograd::Four] {
                let options = textures().path(path).winograd(winograd);
                let plan = Plan::new(&graph, &options).unwrap();
                let (bytes, bound) = (plan.activation_bytes(), plan.activation_lower_bound_bytes());
                assert!(
                    bound <= bytes && bytes * 10 <= bound * 11,
                    "{name}, {path}, Winograd {winograd}: {bytes} of {bound}"
                );
            }
        }
    }
}

#[test]
fn no_step_writes_the_buffer_of_a_value_that_it_or_a_later_step_reads() {
    for arch in Arch::ALL {
        for fusion in [Fusion::None, Fusion::Layers, Fusion::Full] {
            let graph = optimize(&model(arch, 1).graph, fusion).unwrap();
            let plans = [PlanOptions::new(Capabilities::default()), textures()];
            for plan in plans.map(|options| Plan::new(&graph, &options).unwrap()) {
                for step in plan.steps() {
                    let (output, inputs) = step.allocations.split_last().unwrap();
                    assert!(
                        !inputs.contains(output),
                        "{arch:?} {fusion}: {} is bound twice",
                        step.node
                    );
                    let content = &plan.allocation(*output).content;
                    assert!(
                        matches!(content, Content::Activations),
                        "{}: writes activations",
                        step.node
                    );
                }
            }
        }
    }
}

#[test]
fn halves_take_half_the_memory_and_outputs_stay_in_single_precision() {
    let graph = optimize(&model(Arch::ResNet50, 1).graph, Fusion::Full).unwrap();
    let buffers = PlanOptions::new(Capabilities::default()).input(rgba8());
    for single in [buffers, textures()] {
        let half = single
            .clone()
            .precision(Precision::F16)
            .winograd(Winograd::Off);
        let single = single.winograd(Winograd::Off);
        let [single, half] = [single, half].map(|o| Plan::new(&graph, &o).unwrap());
        for (what, single, half) in [
            ("weights", single.weight_bytes(), half.weight_bytes()),
            (
                "activations",
                single.activation_bytes(),
                half.activation_bytes(),
            ),
        ] {
            // Biases, and vectors of one pixel, remain in 32 bits.
            let [low, high] = [single * 49 / 100, single * 51 / 100];
            assert!((low..=high).contains(&half), "{what}: {half} of {single}");
        }
        for output in half.outputs() {
            let buffer = half.allocation(output.allocation);
            assert_eq!(buffer.storage, Storage::Buffer, "{}", output.name);
            let bytes = (output.shape.packed_len() * 4) as u64;
            assert!(
                buffer.bytes >= bytes,
                "{} is of single precision",
                output.name
            );
        }
        for step in half.steps() {
            let bound = step.launch.kernel.bindings.iter().zip(&step.allocations);
            for (binding, &id) in bound {
                let buffer = half.allocation(id);
                if matches!(buffer.content, Content::Parameters(_)) && binding.name == "weight" {
                    assert_eq!(buffer.precision, step.launch.precision, "{}", step.node);
                }
            }
        }
    }
}

#[test]
fn textures_are_chosen_on_software_with_all_that_their_kernels_need_only() {
    let graph = optimize(&model(Arch::ResNet18, 1).graph, Fusion::Full).unwrap();
    let on_textures = |limits, path| {
        let options = PlanOptions::new(limits).path(path);
        let plan = Plan::new(&graph, &options)?;
        let mut slots = plan.allocations().iter();
        Ok::<_, Error>(slots.any(|b| b.storage == Storage::Texture))
    };
    let gpu = changed(software(), |c| {
        c.device = DeviceKind::default();
    });
    let unable = [
        Capabilities::default(),
        changed(software(), |c| {
            c.subgroup_lanes = Some([4, 8]);
        }),
        changed(software(), |c| {
            c.subgroup_lanes = Some([32, 32]);
        }),
        changed(software(), |c| {
            c.subgroup_lanes = None;
        }),
        changed(software(), |c| {
            c.immediate_bytes = 0;
        }),
        changed(software(), |c| {
            c.read_write_textures = false;
        }),
    ];
    for lanes in [4, 8, 16] {
        let limits = changed(software(), |c| {
            c.subgroup_lanes = Some([lanes, lanes]);
        });
        assert!(
            on_textures(limits, KernelPath::Auto).unwrap(),
            "{lanes} lanes"
        );
    }
    assert!(!on_textures(gpu, KernelPath::Auto).unwrap(), "a GPU");
    assert!(
        on_textures(gpu, KernelPath::Textures).unwrap(),
        "a GPU, forced"
    );
    assert!(
        !on_textures(software(), KernelPath::Buffers).unwrap(),
        "forced"
    );
    for limits in unable {
        assert!(
            !on_textures(limits, KernelPath::Auto).unwrap(),
            "{limits:?}"
        );
        let forced = on_textures(limits, KernelPath::Textures);
        assert!(
            matches!(forced, Err(Error::PathUnavailable { .. })),
            "{limits:?}"
        );
    }
}

#[test]
fn resnet50_needs_17_pipelines_on_textures() {
    // llvmpipe has to compile every pipeline before the first result.
    let graph = optimize(&model(Arch::ResNet50, 1).graph, Fusion::Full).unwrap();
    let plan = Plan::new(&graph, &textures()).unwrap();
    assert_eq!(plan.distinct_pipelines(), 17);
}

#[test]
fn fused_networks_run_on_textures_up_to_the_classifier() {
    for arch in Arch::ALL {
        let graph = optimize(&model(arch, 1).graph, Fusion::Full).unwrap();
        let plan = Plan::new(&graph, &textures()).unwrap();
        let kernels = plan.steps().iter().map(|s| s.launch.kernel.name);
        let on_textures = |k: &&str| k.ends_with("_texture") || k.starts_with("winograd_");
        let on_buffers: Vec<&str> = kernels.filter(|k| !on_textures(k)).collect();
        assert_eq!(on_buffers, ["softmax"], "{arch}");
    }
}

/// Random steps, each of which reads some of the earlier values; value 0 is the caller's.
fn programs() -> impl Strategy<Value = (Vec<Footprint>, Vec<StepUse>, Vec<usize>)> {
    let step = |index: usize| {
        let reads = prop::collection::vec(0..=index, 1..4);
        (reads, any::<bool>(), 0..8usize).prop_map(move |(reads, in_place, pick)| StepUse {
            in_place: in_place.then(|| reads[pick % reads.len()]),
            reads,
            write: index + 1,
        })
    };
    (2..24usize).prop_flat_map(move |len| {
        let steps: Vec<_> = (0..len).map(step).collect();
        let place = (prop::sample::select(vec![4u64, 8, 8, 8, 64]), any::<bool>());
        let place = place.prop_map(|(bytes, texture)| Footprint {
            bytes,
            storage: if texture {
                Storage::Texture
            } else {
                Storage::Buffer
            },
        });
        let values = prop::collection::vec(place, len + 1);
        let kept = prop::collection::vec(0..=len, 0..4);
        (values, steps, kept)
    })
}

proptest! {
    /// Executes the program on the assigned slots: every read must find the value it expects.
    #[test]
    fn every_read_finds_its_value_intact((values, steps, kept) in programs()) {
        let plan = assign(&values, &steps, &kept);
        let mut holds = vec![0; plan.slots.len()];
        for step in &steps {
            let target = plan.slot_of[step.write].unwrap();
            let (slot, value) = (plan.slots[target], values[step.write]);
            prop_assert!(slot.bytes >= value.bytes, "the slot is large enough");
            prop_assert_eq!(slot.storage, value.storage, "buffers and textures never share");
            for &read in &step.reads {
                let Some(slot) = plan.slot_of[read] else { continue };
                prop_assert_eq!(holds[slot], read, "value {} was overwritten", read);
                let once = step.reads.iter().filter(|&&r| r == read).count() == 1;
                prop_assert!(
                    slot != target || (step.in_place == Some(read) && once),
                    "value {} is overwritten while it is read", read
                );
            }
            holds[target] = step.write;
        }
        for &value in &kept {
            if let Some(slot) = plan.slot_of[value] {
                prop_assert_eq!(holds[slot], value, "output {} was overwritten", value);
            }
        }
        prop_assert!(plan.total_bytes() >= plan.lower_bound_bytes, "the lower bound is one");
    }
}

/// The distinct convolutions of a fused network, and the number of layers of each shape.
fn convolutions(graph: &Graph) -> Vec<(ConvShape, usize)> {
    let mut counts: Vec<(ConvShape, usize)> = Vec::new();
    for shape in graph.nodes().iter().filter_map(|n| ConvShape::of(graph, n)) {
        match counts.iter_mut().find(|(seen, _)| *seen == shape) {
            Some((_, count)) => *count += 1,
            None => counts.push((shape, 1)),
        }
    }
    counts
}

#[test]
fn resnet50_has_convolutions_of_28_shapes_whose_names_differ() {
    let graph = optimize(&model(Arch::ResNet50, 1).graph, Fusion::Full).unwrap();
    let shapes = convolutions(&graph);
    assert_eq!(shapes.iter().map(|(_, count)| count).sum::<usize>(), 53);
    assert_eq!(shapes.len(), 28, "distinct, those with a projection too");
    let names: BTreeSet<String> = shapes.iter().map(|(s, _)| s.to_string()).collect();
    assert_eq!(names.len(), shapes.len(), "one name for each");
    for name in [
        "1x3x224x224-64x112x112-k7x7-s2x2-p3.3-relu",
        "1x64x56x56-64x56x56-k3x3-s1x1-p1.1-relu",
        "1x512x7x7-2048x7x7-k1x1-s1x1-p0.0-add-relu",
        "1x512x7x7-2048x7x7-k1x1-s1x1-p0.0-project1024x14x14-s2x2-relu",
    ] {
        assert!(names.contains(name), "{name} in {names:#?}");
    }
}

#[test]
fn a_choice_replaces_the_default_of_all_layers_of_its_shape_and_of_no_other() {
    let graph = optimize(&model(Arch::ResNet50, 1).graph, Fusion::Full).unwrap();
    for options in [PlanOptions::new(Capabilities::default()), textures()] {
        let before = Plan::new(&graph, &options).unwrap();
        let has_steps = |plan: &Plan, shape| {
            let mut nodes = graph.nodes().iter();
            let node = nodes.find(|node| ConvShape::of(&graph, node) == Some(shape));
            let mut steps = plan.steps().iter();
            steps.any(|step| node.is_some_and(|node| node.name == step.node))
        };
        for (shape, count) in convolutions(&graph) {
            if !has_steps(&before, shape) {
                // Another layer computes it along.
                continue;
            }
            let possible = candidates(&shape, &options).unwrap();
            assert!(possible.len() > 1, "{shape}: something to choose");
            let default = possible[0];
            let other = possible[possible.len() - 1];
            assert_ne!(default, other, "{shape}");
            let options = options
                .clone()
                .choices([(shape, other)].into_iter().collect());
            let after = Plan::new(&graph, &options).unwrap();
            let layers = |plan: &Plan, choice| -> BTreeSet<String> {
                let steps = plan.steps().iter().filter(|s| s.choice == Some(choice));
                steps.map(|s| s.node.clone()).collect()
            };
            let added = &layers(&after, other) - &layers(&before, other);
            assert_eq!(added.len(), count, "{shape}: {other}");
            let removed = &layers(&before, default) - &layers(&after, default);
            assert!(removed.is_superset(&added), "{shape}: {default}");
            // What is computed along has no steps any more.
            for name in &removed - &added {
                assert!(after.steps().iter().all(|s| s.node != name), "{name}");
            }
        }
    }
}

#[test]
fn a_choice_that_is_no_candidate_of_the_layer_is_ignored() {
    let graph = optimize(&model(Arch::ResNet18, 1).graph, Fusion::Full).unwrap();
    let shapes = convolutions(&graph);
    let foreign = [(textures(), Candidate::Buffers(OnBuffers::Grouped)), {
        let options = textures();
        let on_textures = candidates(&shapes[0].0, &options).unwrap()[0];
        (PlanOptions::new(Capabilities::default()), on_textures)
    }];
    for (options, choice) in foreign {
        let want = Plan::new(&graph, &options).unwrap().to_string();
        let options = options
            .clone()
            .choices(shapes.iter().map(|&(s, _)| (s, choice)).collect());
        assert_eq!(Plan::new(&graph, &options).unwrap().to_string(), want);
    }
    let options = textures();
    let winograd = |c: &Candidate| matches!(c, Candidate::Textures(OnTextures::Winograd(..)));
    let (shape, choice) = shapes
        .iter()
        .find_map(|&(shape, _)| {
            let mut possible = candidates(&shape, &options).unwrap().into_iter();
            Some((shape, possible.find(winograd)?))
        })
        .unwrap();
    let options = options
        .choices([(shape, choice)].into_iter().collect())
        .winograd(Winograd::Off);
    let plan = Plan::new(&graph, &options).unwrap();
    let mut choices = plan.steps().iter().filter_map(|s| s.choice);
    assert!(!choices.any(|c| winograd(&c)), "Winograd is off");
}

#[test]
fn candidates_are_distinct_and_so_are_their_names() {
    let graph = optimize(&model(Arch::ResNet50, 1).graph, Fusion::Full).unwrap();
    for (shape, _) in convolutions(&graph) {
        for options in [PlanOptions::new(Capabilities::default()), textures()] {
            let possible = candidates(&shape, &options).unwrap();
            let names: BTreeSet<String> = possible.iter().map(Candidate::to_string).collect();
            assert_eq!(names.len(), possible.len(), "{shape}: {possible:?}");
        }
    }
}

#[test]
fn a_layer_beyond_the_limits_is_an_error_that_names_it() {
    let graph = optimize(&model(Arch::ResNet18, 1).graph, Fusion::Full).unwrap();
    let plan_with = |limits| Plan::new(&graph, &PlanOptions::new(limits));
    let small_buffers = changed(Capabilities::default(), |c| {
        c.storage_binding_bytes = 1 << 20;
    });
    match plan_with(small_buffers) {
        Err(Error::LimitExceeded { node, allowed, .. }) => {
            assert_eq!(allowed, 1 << 20, "the limit");
            assert!(
                graph.nodes().iter().any(|n| n.name == node),
                "{node} is a layer"
            );
        }
        other => panic!("expected a limit error, got {other:?}"),
    }
    let few_workgroups = changed(Capabilities::default(), |c| {
        c.workgroups_per_dimension = 50;
    });
    let error = plan_with(few_workgroups).unwrap_err();
    assert!(error.to_string().contains("'conv1'"), "{error}");
}

#[test]
fn a_graph_without_output_or_with_gray_pixels_is_an_error() {
    let mut graph = Graph::new();
    let input = graph.input("input", Shape::new(1, 1, 4, 4)).unwrap();
    assert!(
        Plan::new(&graph, &PlanOptions::new(Capabilities::default())).is_err(),
        "no output"
    );
    let weight = graph.param("weight", Tensor::from_fn(&[1, 1, 1, 1], |_| 1.0));
    let y = graph
        .add("conv", Op::Conv2d(Conv2d::new(weight)), &[input])
        .unwrap();
    graph.mark_output(y).unwrap();
    let options = PlanOptions::new(Capabilities::default()).input(rgba8());
    assert!(
        Plan::new(&graph, &options).is_err(),
        "one channel is not RGB"
    );
    assert!(
        Plan::new(&graph, &PlanOptions::new(Capabilities::default())).is_ok(),
        "a tensor of one channel is fine"
    );
}

#[test]
fn a_normalization_that_divides_by_zero_is_an_error() {
    let mut rules = Preprocess::TORCHVISION;
    rules.std = [1.0, 0.0, 1.0];
    let options = PlanOptions::new(Capabilities::default()).input(InputFormat::Rgba8(rules));
    let model = model(Arch::ResNet18, 1);
    assert!(
        Plan::new(&model.graph, &options).is_err(),
        "standard deviation 0"
    );
}
