//! Networks: published shapes and sizes, and what the builders refuse.

use resnet_wgpu::Error;
use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::graph::{Conv2d, Op};
use resnet_wgpu::network::Arch;
use resnet_wgpu::network::{Model, ModelOptions};

fn build(arch: Arch, options: &ModelOptions) -> Result<Model, Error> {
    arch.random(0, options)?.model(options)
}

fn random(arch: Arch, options: &ModelOptions) -> Model {
    build(arch, options).expect("random weights fit")
}

fn of_size(h: usize, w: usize) -> ModelOptions {
    let mut options = ModelOptions::default();
    options.size = Some([h, w]);
    options
}

fn side(model: &Model, name: &str) -> usize {
    let shape = model
        .graph
        .get(model.graph.find(name).expect(name))
        .expect(name)
        .shape;
    assert_eq!(shape.h, shape.w, "{name} is square");
    shape.h
}

#[test]
fn parameters_are_as_many_as_published() {
    // torchvision's `num_params` of each weight enum; the notebook's own summary.
    for (arch, count) in [
        (Arch::ResNet18, 11_689_512),
        (Arch::ResNet34, 21_797_672),
        (Arch::ResNet50, 25_557_032),
        (Arch::ResNet101, 44_549_160),
        (Arch::ResNet152, 60_192_808),
    ] {
        let model = random(arch, &ModelOptions::default());
        assert_eq!(model.parameter_count(), count, "{arch}");
        assert_eq!(model.arch, arch.name(), "name from the structure");
    }
    let model = random(Arch::Notebook, &ModelOptions::default());
    let statistics = 2 * 26_560;
    assert_eq!(model.parameter_count() + statistics, 23_600_006, "notebook");
}

#[test]
fn the_notebook_shrinks_the_image_as_in_the_lesson() {
    let model = random(Arch::Notebook, &ModelOptions::default());
    assert_eq!(model.size(), [64, 64], "the lesson's size");
    for (name, expected) in [
        ("conv1", 32),
        ("max_pool", 15),
        ("res2c_relu", 15),
        ("res3d_relu", 8),
        ("res4f_relu", 4),
        ("res5c_relu", 2),
        ("avg_pool", 1),
    ] {
        assert_eq!(side(&model, name), expected, "{name}");
    }
    let graph = &model.graph;
    assert_eq!(
        graph.value_of(Role::Features).unwrap().shape.dims(),
        [1, 2048, 1, 1],
        "flattened"
    );
    assert_eq!(
        graph.value_of(Role::Logits).unwrap().shape.dims(),
        [1, 6, 1, 1],
        "classes"
    );
    assert_eq!(
        graph.value_of(Role::Logits).unwrap().name,
        "fc6",
        "name of the classifier"
    );
}

#[test]
fn resnet50_shrinks_the_image_and_strides_in_the_3x3() {
    let model = random(Arch::ResNet50, &ModelOptions::default());
    for (name, expected) in [
        ("conv1", 112),
        ("maxpool", 56),
        ("layer1.2.relu3", 56),
        ("layer2.0.conv1", 56),
        ("layer2.0.conv2", 28),
        ("layer2.3.relu3", 28),
        ("layer3.5.relu3", 14),
        ("layer4.2.relu3", 7),
        ("avgpool", 1),
    ] {
        assert_eq!(side(&model, name), expected, "{name}");
    }
    let graph = &model.graph;
    for (stage, dims) in [[256, 56], [512, 28], [1024, 14], [2048, 7]]
        .iter()
        .enumerate()
    {
        let value = graph.value_of(Role::Stage(stage + 1)).unwrap();
        assert_eq!([value.shape.c, value.shape.h], *dims, "stage {}", stage + 1);
    }
    assert!(graph.value_of(Role::Stage(5)).is_err(), "four stages");
    assert_eq!(
        graph.value_of(Role::FeatureMap).unwrap().shape.dims(),
        [1, 2048, 7, 7],
        "feature map"
    );
    assert_eq!(
        graph.value_of(Role::Features).unwrap().shape.dims(),
        [1, 2048, 1, 1],
        "features"
    );
    assert_eq!(graph.value_of(Role::Logits).unwrap().name, "fc", "logits");
    assert_eq!(
        graph.outputs(),
        [
            model.graph.role(Role::Logits).unwrap(),
            model.graph.role(Role::Probabilities).expect("asked for")
        ],
        "outputs"
    );
    let convolutions = graph
        .nodes()
        .iter()
        .filter(|n| matches!(n.op, Op::Conv2d(_)));
    assert_eq!(convolutions.count(), 53, "convolutions");
    let macs: u64 = graph
        .nodes()
        .iter()
        .map(|node| graph.macs(node).unwrap())
        .sum();
    // torchvision publishes 4.089 G.
    assert_eq!(macs / 1_000_000, 4089, "multiply-adds");
}

#[test]
fn any_size_and_batch_are_built_where_the_head_allows_it() {
    let mut options = of_size(33, 97);
    options.batch = 3;
    options.softmax = false;
    let model = random(Arch::ResNet18, &options);
    assert_eq!(
        model.graph.value_of(Role::Image).unwrap().shape.dims(),
        [3, 3, 33, 97],
        "input"
    );
    assert_eq!(
        model.graph.value_of(Role::Logits).unwrap().shape.dims(),
        [3, 1000, 1, 1],
        "logits"
    );
    assert_eq!(model.graph.role(Role::Probabilities), None, "not asked for");
    assert_eq!(
        model.graph.outputs(),
        [model.graph.role(Role::Logits).unwrap()],
        "one output"
    );
    random(Arch::ResNet18, &of_size(1, 1));

    // Adding 64 rows of pixels adds one row before the classifier.
    let model = random(Arch::Notebook, &of_size(128, 64));
    assert_eq!(
        model.graph.value_of(Role::Features).unwrap().shape.c,
        2 * 2048,
        "features"
    );
    assert_eq!(model.preprocess.size, [128, 64], "preprocessing follows");
}

#[test]
fn sizes_that_cannot_be_are_errors() {
    for (arch, options) in [
        // The average pool of the notebook needs two rows.
        (Arch::Notebook, of_size(32, 64)),
        (Arch::Notebook, of_size(1, 1)),
        (Arch::ResNet18, of_size(0, 224)),
        (Arch::ResNet18, of_size(usize::MAX, 224)),
        (Arch::Notebook, of_size(usize::MAX, usize::MAX)),
        (Arch::ResNet18, {
            let mut options = ModelOptions::default();
            options.batch = 0;
            options
        }),
        (Arch::ResNet18, {
            let mut options = ModelOptions::default();
            options.batch = usize::MAX / 2;
            options
        }),
        (Arch::ResNet18, {
            let mut options = ModelOptions::default();
            options.classes = Some(usize::MAX);
            options
        }),
        (Arch::ResNet18, {
            let mut options = ModelOptions::default();
            options.classes = Some(0);
            options
        }),
    ] {
        let result = build(arch, &options);
        assert!(result.is_err(), "{arch}: {options:?}");
    }
}

#[test]
fn names_are_read_and_unknown_ones_listed() {
    for arch in Arch::ALL {
        assert_eq!(arch.name().parse::<Arch>().ok(), Some(arch), "{arch}");
    }
    let error = "vgg16".parse::<Arch>().expect_err("not a residual network");
    assert!(error.to_string().contains("resnet18, resnet34"), "{error}");
}

#[test]
fn only_the_notebook_has_biases() {
    for (arch, expected) in [(Arch::ResNet18, false), (Arch::Notebook, true)] {
        let model = random(arch, &ModelOptions::default());
        for node in model.graph.nodes() {
            if let Op::Conv2d(Conv2d { bias, .. }) = node.op {
                assert_eq!(bias.is_some(), expected, "{arch}: {}", node.name);
            }
        }
    }
}
