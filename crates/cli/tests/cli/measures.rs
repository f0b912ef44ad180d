//! `compare` and `bench` on the CPU.

use resnet_wgpu::graph::Role;
use resnet_wgpu::internals::reference::{self, Keep};
use resnet_wgpu::network::{Arch, ModelOptions};
use resnet_wgpu::tensor::Tensor;
use safetensors::tensor::TensorView;

use super::*;

#[test]
fn compare_on_the_cpu_is_within_the_default_and_outside_of_nothing_at_all() {
    let compare = ["compare", "--cpu", "--format", "json"];
    let json = Run::new(&[&compare, &TINY]).ends_with(0).json();
    assert_eq!(json["logits"]["top5_equal"], true, "top 5");
    assert!(
        json["logits"]["max_rel"].as_f64().unwrap() < 1e-4,
        "{}",
        json["logits"]
    );
    let run = Run::new(&[&compare, &TINY, &["--layer-tolerance", "0"]]);
    assert_eq!(run.json()["first_outside"], "conv1", "first layer");
    run.ends_with(5).complains_of("'conv1'");
}

#[test]
fn compare_reads_what_another_implementation_computed() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = ModelOptions::default();
    options.size = Some([32, 40]);
    let network = Arch::ResNet18.random(0, &options).unwrap();
    let model = network.model(&options).unwrap();
    let image = model.graph.value_of(Role::Image).unwrap();
    let input = Tensor::from_fn(&image.shape.dims(), |i| {
        f32::from(u16::try_from(i * 31 % 512).unwrap()) / 256.0 - 1.0
    });
    let all = reference::run_keeping(&model.graph, std::slice::from_ref(&input), Keep::All);
    let all = all.unwrap();
    let value = |name| all.get(model.graph.find(name).unwrap()).unwrap().clone();
    // Logits without dimensions of size 1, as in PyTorch; `conv1` is fused away.
    let logits = Tensor::new(&[1, 1000], value("fc").data()).unwrap();
    let wrong = Tensor::from_fn(value("maxpool").dims(), |_| 0.5);
    let golden = |name: &str, maxpool: &Tensor| {
        let tensors = [
            ("input", &input),
            ("conv1", &value("conv1")),
            ("maxpool", maxpool),
            ("fc", &logits),
        ]
        .map(|(name, tensor)| {
            let bytes: Vec<u8> = tensor.data().iter().flat_map(|x| x.to_le_bytes()).collect();
            (name, tensor.dims().to_vec(), bytes)
        });
        let views = tensors.iter().map(|(name, dims, bytes)| {
            let dtype = safetensors::Dtype::F32;
            (*name, TensorView::new(dtype, dims.clone(), bytes).unwrap())
        });
        let file = folder.path().join(name);
        std::fs::write(&file, safetensors::serialize(views, None).unwrap()).unwrap();
        file
    };
    let compare = [
        "compare", "--cpu", "--arch", "resnet18", "--format", "json", "--golden",
    ];

    let right = golden("right.safetensors", &value("maxpool"));
    let run = Run::new(&[&compare, &[path(&right)]]).ends_with(0);
    assert!(
        run.stderr.contains("'conv1'"),
        "not compared: {}",
        run.stderr
    );
    let json = run.json();
    let names: Vec<&str> = json["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["maxpool", "fc"], "layers");
    assert_eq!(
        json["model"]["size"],
        serde_json::json!([32, 40]),
        "size of the input"
    );

    let wrong = golden("wrong.safetensors", &wrong);
    Run::new(&[&compare, &[path(&wrong)]])
        .ends_with(5)
        .complains_of("'maxpool'");
}

#[test]
fn bench_on_the_cpu_has_the_documented_json() {
    let bench = [
        "bench",
        "--format",
        "json",
        "--iterations",
        "2",
        "--batch",
        "1,2",
    ];
    let json = Run::new(&[&bench, &TINY, &ON_CPU, &["--reference"]])
        .ends_with(0)
        .json();
    let runs = json["runs"].as_array().unwrap();
    let paths: Vec<_> = runs
        .iter()
        .map(|r| (r["path"].clone(), r["batch"].clone()))
        .collect();
    let expected = [("cpu", 1), ("reference", 1), ("cpu", 2), ("reference", 2)];
    assert_eq!(
        paths,
        expected.map(|(path, batch)| (path.into(), batch.into())),
        "runs"
    );
    for run in runs {
        let number = |field: &str| run[field].as_f64().unwrap();
        assert!(number("min_ms") > 0.0, "{run}");
        assert!(number("min_ms") <= number("median_ms"), "{run}");
        assert!(number("median_ms") <= number("p95_ms"), "{run}");
        assert_eq!(run["samples_ms"].as_array().unwrap().len(), 2, "{run}");
        assert!(run["gpu_ms"].is_null(), "{run}");
        assert_eq!(run["size"], serde_json::json!([32, 32]), "{run}");
    }
    assert_eq!(json["precision"], "f32", "precision");
    for field in [
        "adapter_ms",
        "weights_ms",
        "pipelines_ms",
        "first_result_ms",
    ] {
        assert!(json["startup"][field].is_number(), "{field}");
    }
}
